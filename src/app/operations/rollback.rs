//! Undoes the operations of an apply, the last first, where the kernel still has what they wrote.

use std::collections::HashSet;

use super::{
    current::Current,
    execution::Execution,
    report::{Lost, OperationReport, OperationResult},
    step::PlannedStep,
};
use crate::{
    executor::{CommandResult, Table},
    model::{DirectorState, Op, ServiceKey, Table as Configurations},
};

/// What the kernel has while operations are undone.
struct Known {
    table: Configurations,
    director: DirectorState,
}

/// Undoes what was done. `current` is what the kernel has now. Returns whether everything was restored.
pub(super) async fn roll_back(
    execution: &mut Execution,
    steps: &[PlannedStep],
    operations: &mut [OperationReport],
    current: Current,
) -> bool {
    let keys: HashSet<_> = steps.iter().filter_map(|step| step.op.service()).collect();
    let mut known = Known {
        table: known(&current.table, &keys),
        director: current.director,
    };
    let mut complete = true;
    // Numbers of operations, for each step that is undone.
    let mut undone: Vec<(usize, usize)> = Vec::new();
    let mut ops = Vec::new();
    for (index, (step, operation)) in steps.iter().zip(&mut *operations).enumerate().rev() {
        if operation.result != OperationResult::Done && !operation.maybe_executed {
            continue;
        }
        if operation.was_gone {
            operation.result = OperationResult::Skipped { executed: false };
            continue;
        }
        if known.shows(&step.op) {
            step.undo.iter().for_each(|op| known.apply(op));
            undone.push((index, step.undo.len()));
            ops.extend(step.undo.iter().cloned());
        } else if !operation.maybe_executed {
            operation.result = OperationResult::Skipped { executed: true };
            complete = false;
        }
    }
    let mut results = execution.undo(ops).await.into_iter();
    for (index, count) in undone {
        let failed = results
            .by_ref()
            .take(count)
            .filter(|result| *result != CommandResult::Done)
            .count();
        let (Some(step), Some(operation)) = (steps.get(index), operations.get_mut(index)) else {
            continue;
        };
        if failed > 0 {
            operation.result = OperationResult::Skipped { executed: true };
            complete = false;
            continue;
        }
        if !operation.maybe_executed {
            operation.result = OperationResult::Undone;
        }
        operation.lost = lost(&step.op);
        complete &= operation.lost.is_empty();
    }
    complete
}

/// What an undo does not restore. The kernel keeps the counters and connections of a deleted server for
/// about two minutes, unless its service is deleted, too (`ip_vs_trash_get_dest`).
fn lost(op: &Op) -> Vec<Lost> {
    match op {
        Op::DeleteService(_) => vec![Lost::Counters, Lost::Connections],
        Op::DeleteServer(..) => vec![Lost::ServerOrder],
        _ => Vec::new(),
    }
}

/// Services of a table, as configurations.
pub(in crate::app) fn known(table: &Table, keys: &HashSet<ServiceKey>) -> Configurations {
    let mut known = Configurations::default();
    for entry in &**table {
        let service = &entry.service;
        if !keys.contains(&service.key) {
            continue;
        }
        let create = Op::CreateService(service.key, service.config, service.stored().clone());
        apply(&mut known, &create);
        // The kernel inserts each server before the others.
        for server in entry.configured().rev() {
            let op = Op::CreateServer(service.key, server.key, server.config);
            apply(&mut known, &op);
        }
    }
    known
}

/// Applies an operation that the kernel has executed or will accept.
fn apply(known: &mut Configurations, op: &Op) {
    // Fails only for an object that is shown twice, of which the first counts.
    drop(known.apply(op, 0));
}

// === impl Known ===

impl Known {
    /// Applies an operation that undoes another. At most one stops the daemon of a role, after which one may
    /// start it, and at most one sets the timeouts.
    fn apply(&mut self, op: &Op) {
        match op {
            Op::StopSyncDaemon(state) => {
                if let Some(daemons) = &mut self.director.sync_daemons {
                    daemons.retain(|daemon| daemon.state != *state);
                }
            }
            op => apply(&mut self.table, op),
        }
    }

    /// Whether this is what the operation has written, so that it may be undone. A service that was created
    /// may be deleted only without servers: others than those of the apply are not its own.
    fn shows(&self, op: &Op) -> bool {
        let Self { table, director } = self;
        match op {
            Op::CreateService(key, config, _) => {
                table.service(*key) == Some(*config) && !table.has_servers(*key)
            }
            Op::SetService(key, config) => table.service(*key) == Some(*config),
            Op::SetStored(key, stored) => table.stored(*key) == *stored,
            Op::DeleteService(key) => table.service(*key).is_none(),
            Op::CreateServer(key, server, config) | Op::SetServer(key, server, config) => {
                table.server(*key, *server) == Some(*config)
            }
            Op::DeleteServer(key, server) => {
                table.service(*key).is_some() && table.server(*key, *server).is_none()
            }
            Op::SetTimeouts(timeouts) => director.timeouts == Some(*timeouts),
            Op::StartSyncDaemon(config) => {
                let running = director.daemon(config.state);
                running.is_some_and(|running| config.matches(running))
            }
            Op::StopSyncDaemon(state) => director.daemon(*state).is_none(),
            _ => false,
        }
    }
}
