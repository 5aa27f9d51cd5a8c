//! What applies of tables and batches did, as messages.

use serde_json::{Map, Value};
use tonic::{Request, Response};

use super::{
    api::{Api, Reply},
    convert::count,
    metadata, server_message, service_message, status, table_message,
};
use crate::{
    app::{ApplyReport, OperationReport, RequestContext, Summary},
    model::{Error, Op, ServiceView},
    proto::v1::{self as pb, resource::Resource as Kind},
};

/// Runs a method that ends with the report of an apply. An apply that did not do what was declared is an
/// error.
pub(super) async fn reported<Q, F>(
    api: &Api,
    request: Request<Q>,
    method: impl FnOnce(Api, Q, RequestContext) -> F,
) -> Reply<Option<pb::ApplyReport>>
where
    Q: metadata::ContextFields,
    F: Future<Output = Result<Option<ApplyReport>, Error>>,
{
    let id = metadata::request_id(request.metadata().as_ref()).map(str::to_owned);
    let report = api.unary(request, method).await?.into_inner();
    let failure = report.as_ref().and_then(|report| {
        let error = report.failure.as_ref()?;
        Some(status::of_apply(report, error, id.as_deref()))
    });
    match failure {
        Some(status) => Err(status),
        None => Ok(Response::new(report.as_ref().map(message))),
    }
}

/// What an apply did.
pub(super) fn message(report: &ApplyReport) -> pb::ApplyReport {
    pb::ApplyReport {
        owner: report
            .owner
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        apply_id: report.apply_id.clone(),
        generation: report.generation,
        outcome: report.outcome.as_str().to_owned(),
        plan: report.plan.to_string(),
        operations: report.shown().map(pb::TableOperation::from).collect(),
        operations_total: count(report.operations.len()),
        summary: Some(report.summary.into()),
        etag: report.etag.map(|etag| etag.to_string()),
        revision: report.revision.map(|it| it.to_string()).unwrap_or_default(),
    }
}

/// The fields of a resource that a value names, from the operation that makes them.
fn resource(op: Option<&Op>, value: Option<Value>) -> Option<pb::Resource> {
    let value = value?;
    let fields = value.as_object()?.values().next()?.as_object()?;
    let kind = match *op? {
        Op::CreateService(key, config, ref stored) => {
            let view = ServiceView::storing(key, &config, stored);
            Kind::Service(of_service(service_message::without_servers(&view), fields))
        }
        Op::SetService(key, config) => {
            let message = service_message::without_servers(&ServiceView::of_config(key, &config));
            Kind::Service(of_service(message, fields))
        }
        Op::SetStored(_, ref stored) => {
            let message = pb::Service {
                labels: stored.labels.to_map(),
                health_check: Some(match stored.health_check.as_deref() {
                    Some(check) => check.into(),
                    None => pb::HealthCheck::default(),
                }),
                ..pb::Service::default()
            };
            Kind::Service(of_service(message, fields))
        }
        Op::CreateServer(_, key, config) | Op::SetServer(_, key, config) => {
            Kind::Server(of_server(server_message::of_config(key, config), fields))
        }
        Op::SetTimeouts(timeouts) => {
            let message = table_message::declared_timeouts(timeouts);
            Kind::Timeouts(of_timeouts(message, fields))
        }
        Op::StartSyncDaemon(config) => Kind::SyncDaemon(config.into()),
        _ => return None,
    };
    Some(pb::Resource {
        resource: Some(kind),
    })
}

fn of_service(message: pb::Service, fields: &Map<String, Value>) -> pb::Service {
    let has = |name: &str| fields.contains_key(name);
    let pb::Service {
        id,
        protocol,
        address,
        port,
        fwmark,
        family,
        scheduler,
        scheduler_flags,
        one_packet,
        persistence,
        netmask,
        persistence_engine,
        servers: _,
        server_count: _,
        stats: _,
        rates: _,
        etag: _,
        owner: _,
        labels,
        health_check,
    } = message;
    pb::Service {
        id: Some(id).filter(|_| has("id")).unwrap_or_default(),
        protocol: protocol.filter(|_| has("protocol")),
        address: address.filter(|_| has("address")),
        port: port.filter(|_| has("port")),
        fwmark: fwmark.filter(|_| has("fwmark")),
        family: family.filter(|_| has("family")),
        scheduler: scheduler.filter(|_| has("scheduler")),
        scheduler_flags: Some(scheduler_flags)
            .filter(|_| has("scheduler_flags"))
            .unwrap_or_default(),
        one_packet: one_packet.filter(|_| has("one_packet")),
        persistence: persistence.filter(|_| has("persistence")),
        netmask: netmask.filter(|_| has("netmask")),
        persistence_engine: persistence_engine.filter(|_| has("persistence_engine")),
        labels: Some(labels).filter(|_| has("labels")).unwrap_or_default(),
        health_check: health_check.filter(|_| has("health_check")),
        ..pb::Service::default()
    }
}

fn of_timeouts(message: pb::Timeouts, fields: &Map<String, Value>) -> pb::Timeouts {
    let has = |name: &str| fields.contains_key(name);
    let pb::Timeouts {
        tcp_seconds,
        tcp_fin_seconds,
        udp_seconds,
        etag,
    } = message;
    pb::Timeouts {
        tcp_seconds: tcp_seconds.filter(|_| has("tcp_seconds")),
        tcp_fin_seconds: tcp_fin_seconds.filter(|_| has("tcp_fin_seconds")),
        udp_seconds: udp_seconds.filter(|_| has("udp_seconds")),
        etag,
    }
}

fn of_server(message: pb::Server, fields: &Map<String, Value>) -> pb::Server {
    let has = |name: &str| fields.contains_key(name);
    let pb::Server {
        id,
        address,
        port,
        forwarding,
        weight,
        upper_threshold,
        lower_threshold,
        tunnel,
        active_connections: _,
        inactive_connections: _,
        persistent_connections: _,
        stats: _,
        rates: _,
        etag: _,
        effective_weight: _,
        holds: _,
        membership: _,
    } = message;
    pb::Server {
        id: Some(id).filter(|_| has("id")).unwrap_or_default(),
        address: address.filter(|_| has("address")),
        port: port.filter(|_| has("port")),
        forwarding: forwarding.filter(|_| has("forwarding")),
        weight: weight.filter(|_| has("weight")),
        upper_threshold: upper_threshold.filter(|_| has("upper_threshold")),
        lower_threshold: lower_threshold.filter(|_| has("lower_threshold")),
        tunnel: tunnel.filter(|_| has("tunnel")),
        ..pb::Server::default()
    }
}

// === pb::TableOperation ===

impl From<&OperationReport> for pb::TableOperation {
    fn from(operation: &OperationReport) -> Self {
        let (before, after) = operation.changes();
        let op = &operation.op;
        Self {
            op: op.name().to_owned(),
            service: op.service().map(|key| key.to_string()).unwrap_or_default(),
            server: op.server().map(|key| key.to_string()),
            before: resource(operation.before.as_ref(), before),
            after: resource(Some(op), after),
            result: operation.result.as_str().to_owned(),
            index: operation.index.map(count),
            drain: operation.drain.map(|id| id.to_string()).unwrap_or_default(),
        }
    }
}

// === pb::ApplySummary ===

impl From<Summary> for pb::ApplySummary {
    fn from(summary: Summary) -> Self {
        let Summary {
            create,
            update,
            delete,
            unchanged,
            draining,
        } = summary;
        Self {
            create: count(create),
            update: count(update),
            delete: count(delete),
            unchanged: count(unchanged),
            draining: count(draining),
        }
    }
}
