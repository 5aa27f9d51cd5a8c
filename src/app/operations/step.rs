//! Planned operations.

use std::hash::Hash;

use crate::model::{Change, Etag, EtagScope, HoldKind, Op, Server, ServiceEntry, ServiceKey};

/// An operation of a plan.
#[derive(Clone, Debug)]
pub(in crate::app) struct PlannedStep {
    pub op: Op,
    /// See [`OperationReport::index`](super::OperationReport::index).
    pub index: Option<usize>,
    /// The operation that would restore the object itself; `None` if it does not exist yet.
    pub before: Option<Op>,
    /// The operations that undo it, in their order.
    pub undo: Vec<Op>,
    /// Whether the server is drained and then deleted: a drain begins instead of the operation.
    pub drains: bool,
}

/// A digest of operations and of what they replace.
pub(in crate::app) fn digest(steps: &[PlannedStep]) -> Etag {
    Etag::compute(EtagScope::Plan, |hasher| {
        for step in steps {
            step.op.hash(hasher);
            step.before.hash(hasher);
            if step.drains {
                HoldKind::Drain.hash(hasher);
            }
        }
    })
}

// === impl PlannedStep ===

impl PlannedStep {
    /// The step of a change of a service, as it is before, or of its servers.
    pub fn new(change: Change, entry: Option<&ServiceEntry>) -> Self {
        let Change { op, undo, .. } = change;
        let is_new = matches!(
            op,
            Op::CreateService(..) | Op::CreateServer(..) | Op::StartSyncDaemon(_)
        );
        let (before, undo) = match (&op, entry) {
            (Op::DeleteService(key), Some(entry)) => {
                let create =
                    Op::CreateService(*key, entry.service.config, entry.service.stored().clone());
                // The kernel inserts each server before the others.
                let servers = entry.configured().rev();
                let create_server = |s: &Server| Op::CreateServer(*key, s.key, s.config);
                let undo = [create.clone()].into_iter();
                let undo = undo.chain(servers.map(create_server)).collect();
                (Some(create), undo)
            }
            _ => {
                let before = undo.clone().filter(|_| !is_new);
                (before, undo.into_iter().collect())
            }
        };
        Self {
            op,
            index: None,
            before,
            undo,
            drains: false,
        }
    }

    /// The step that drains a server and then deletes it.
    pub fn draining(service: ServiceKey, server: &Server) -> Self {
        Self {
            op: Op::DeleteServer(service, server.key),
            index: None,
            before: Some(Op::CreateServer(service, server.key, server.config)),
            undo: Vec::new(),
            drains: true,
        }
    }
}
