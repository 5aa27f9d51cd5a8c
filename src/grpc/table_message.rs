//! Conversion of declared tables to messages.

use super::{
    convert::{count, timestamp},
    server_message, service_message,
};
use crate::{
    app::{Conflict, TableReport},
    model::{LastApply, ServiceView, SyncDaemonConfig, TableSummary, TargetService, Timeouts},
    proto::v1 as pb,
};

/// The first byte of each server and of each service in `ApplyTableRequest`: its field number and the wire
/// type. Other bytes can be equal, so that counting them yields an upper bound of their number. Texts have
/// these two, `j` and `z`, rarely.
pub const TABLE_TAGS: [u8; 2] = [(13 << 3) | 2, (15 << 3) | 2];

/// The first byte of each flag of a scheduler in a service.
pub const FLAG_TAG: u8 = (8 << 3) | 2;

/// A table without its services.
pub(super) fn table(table: &TableSummary, conflicts: &[Conflict]) -> pb::Table {
    let TableSummary {
        owner,
        generation,
        service_count,
        server_count,
        settings,
        director,
        etag,
        status,
        last_apply,
        lost,
    } = table;
    pb::Table {
        owner: owner.to_string(),
        generation: *generation,
        keep_weights: settings.keep_weights,
        reconcile: settings.reconcile.as_str().to_owned(),
        removal: settings.removal.as_str().to_owned(),
        drain_deadline_seconds: settings.drain_deadline_seconds,
        timeouts: director.timeouts.map(declared_timeouts),
        sync_daemons: director.sync_daemons.as_deref().map(declared_daemons),
        service_count: count(*service_count),
        server_count: count(*server_count),
        etag: etag.to_string(),
        status: Some(pb::TableStatus {
            state: status.as_str().to_owned(),
            last_apply: last_apply.as_ref().map(pb::LastApply::from),
            lost: lost.iter().map(ToString::to_string).collect(),
            conflicts: conflicts.iter().map(pb::TableConflict::from).collect(),
        }),
    }
}

/// The table of a report without its services.
pub(super) fn of_report(report: &TableReport) -> pb::Table {
    table(&report.summary(), &report.conflicts)
}

/// A declared service with its servers.
pub(super) fn service(target: &TargetService) -> pb::Service {
    let servers = target.servers.iter().map(|server| pb::Server {
        etag: String::new(),
        ..server_message::of_config(server.key, server.config)
    });
    pb::Service {
        servers: servers.collect(),
        ..service_message::without_servers(&ServiceView::declared(target))
    }
}

/// Timeouts without their ETag.
pub(super) fn declared_timeouts(timeouts: Timeouts) -> pb::Timeouts {
    pb::Timeouts {
        etag: String::new(),
        ..timeouts.into()
    }
}

fn declared_daemons(daemons: &[SyncDaemonConfig]) -> pb::TableSyncDaemons {
    let daemons = daemons.iter().copied();
    pb::TableSyncDaemons {
        sync_daemons: daemons.map(pb::SyncDaemon::from).collect(),
    }
}

// === pb::TableConflict ===

impl From<&Conflict> for pb::TableConflict {
    fn from(conflict: &Conflict) -> Self {
        let object = conflict.object;
        Self {
            service: object
                .service()
                .map(|key| key.to_string())
                .unwrap_or_default(),
            server: object.server().map(|server| server.to_string()),
            resource: object.resource().to_owned(),
            sync_daemon: object.sync_daemon().map(|state| state.to_string()),
            repairs: conflict.repairs,
            next_repair_time: Some(timestamp(conflict.next_time)),
        }
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
