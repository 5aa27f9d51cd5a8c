//! Conversion of declared tables and of the reports of applies to messages.

use serde_json::{Map, Value};

use super::{
    convert::{count, timestamp},
    server_message, service_message,
};
use crate::{
    app::{ApplyReport, DeclaredTable, LastApply, OperationReport, Summary, TableReport},
    model::{Include, Op, Service, ServiceView, TargetService},
    proto::v1::{self as pb, resource::Resource as Kind},
};

/// The first byte of each server and of each service in `ApplyTableRequest`: its field number and the wire
/// type. Other bytes can be equal, so that counting them yields an upper bound of their number. Texts have
/// these two, `j` and `z`, rarely.
pub const TABLE_TAGS: [u8; 2] = [(13 << 3) | 2, (15 << 3) | 2];

/// The first byte of each flag of a scheduler in a service.
pub const FLAG_TAG: u8 = (8 << 3) | 2;

/// A table without its services.
pub(super) fn table(report: &TableReport) -> pb::Table {
    let DeclaredTable {
        owner,
        services,
        state,
        etag,
    } = &*report.table;
    pb::Table {
        owner: owner.to_string(),
        generation: state.generation,
        keep_weights: state.keep_weights,
        service_count: count(services.len()),
        server_count: count(report.table.server_count()),
        etag: etag.to_string(),
        status: Some(pb::TableStatus {
            state: report.status.as_str().to_owned(),
            last_apply: state.last_apply.as_ref().map(pb::LastApply::from),
            lost: state.lost.iter().map(ToString::to_string).collect(),
        }),
    }
}

/// A declared service with its servers.
pub(super) fn service(target: &TargetService) -> pb::Service {
    let service = target.service();
    let servers = target.servers.iter().map(|server| pb::Server {
        etag: String::new(),
        ..server_message::of_config(server.key, server.config)
    });
    pb::Service {
        servers: servers.collect(),
        ..service_message::without_servers(&ServiceView::bare(&service, Include::NONE))
    }
}

/// What an apply did.
pub(super) fn report(report: &ApplyReport) -> pb::ApplyReport {
    pb::ApplyReport {
        owner: report.owner.to_string(),
        apply_id: report.apply_id.clone(),
        generation: report.generation,
        outcome: report.outcome.as_str().to_owned(),
        plan: report.plan.to_string(),
        operations: report.shown().map(pb::TableOperation::from).collect(),
        operations_total: count(report.operations.len()),
        summary: Some(report.summary.into()),
        etag: report.etag.map(|etag| etag.to_string()),
    }
}

/// The fields of a resource that a value names, from the operation that makes them.
fn resource(op: Option<&Op>, value: Option<Value>) -> Option<pb::Resource> {
    let value = value?;
    let fields = value.as_object()?.values().next()?.as_object()?;
    let kind = match *op? {
        Op::CreateService(key, config) | Op::SetService(key, config) => {
            let service = Service::idle(key, config);
            let message =
                service_message::without_servers(&ServiceView::bare(&service, Include::NONE));
            Kind::Service(of_service(message, fields))
        }
        Op::CreateServer(_, key, config) | Op::SetServer(_, key, config) => {
            Kind::Server(of_server(server_message::of_config(key, config), fields))
        }
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
        ..pb::Service::default()
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

// === pb::LastApply ===

impl From<&LastApply> for pb::LastApply {
    fn from(last: &LastApply) -> Self {
        let LastApply {
            apply_id,
            end_time,
            outcome,
        } = last;
        Self {
            apply_id: apply_id.clone(),
            end_time: end_time.parse().ok().map(timestamp),
            outcome: outcome.as_str().to_owned(),
        }
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
        } = summary;
        Self {
            create: count(create),
            update: count(update),
            delete: count(delete),
            unchanged: count(unchanged),
        }
    }
}
