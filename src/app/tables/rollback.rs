//! Undoes the operations of an apply, the last first, where the kernel still has what they wrote.

use std::collections::HashMap;

use super::{
    execution::Execution,
    plan::PlannedStep,
    report::{Lost, OperationReport, OperationResult},
};
use crate::{
    executor::{CommandResult, Table},
    model::{Op, ServerConfig, ServerKey, ServiceConfig, ServiceKey},
};

/// Configurations that the kernel has, and those that the undo makes of them.
#[derive(Default)]
struct Known(HashMap<ServiceKey, (ServiceConfig, HashMap<ServerKey, ServerConfig>)>);

/// Undoes what was done. `table` is what the kernel has now. Returns whether everything was restored.
pub(super) async fn roll_back(
    execution: &mut Execution<'_>,
    steps: &[PlannedStep],
    operations: &mut [OperationReport],
    table: &Table,
) -> bool {
    let mut known = Known::of(table, steps);
    let mut complete = true;
    // Numbers of operations, for each step that is undone.
    let mut undone: Vec<(usize, usize)> = Vec::new();
    let mut ops = Vec::new();
    for (index, (step, operation)) in steps.iter().zip(&mut *operations).enumerate().rev() {
        if operation.result != OperationResult::Done && !operation.maybe_executed {
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

// === impl Known ===

impl Known {
    /// The services of a plan.
    fn of(table: &Table, steps: &[PlannedStep]) -> Self {
        let mut known = HashMap::new();
        let keys: std::collections::HashSet<_> =
            steps.iter().filter_map(|step| step.op.service()).collect();
        for entry in table
            .iter()
            .filter(|entry| keys.contains(&entry.service.key))
        {
            let servers = entry.servers.iter().map(|s| (s.key, s.config)).collect();
            known.insert(entry.service.key, (entry.service.config, servers));
        }
        Self(known)
    }

    fn server(&self, service: ServiceKey, server: ServerKey) -> Option<ServerConfig> {
        self.0.get(&service)?.1.get(&server).copied()
    }

    /// Whether this is what the operation has written, so that it may be undone. A service that was
    /// created may be deleted only without servers: others than those of the apply are not its own.
    fn shows(&self, op: &Op) -> bool {
        match op {
            Op::CreateService(key, config) => {
                let found = self.0.get(key);
                found.is_some_and(|(now, servers)| now == config && servers.is_empty())
            }
            Op::SetService(key, config) => self.0.get(key).is_some_and(|(now, _)| now == config),
            Op::DeleteService(key) => !self.0.contains_key(key),
            Op::CreateServer(key, server, config) | Op::SetServer(key, server, config) => {
                self.server(*key, *server) == Some(*config)
            }
            Op::DeleteServer(key, server) => {
                self.0.contains_key(key) && self.server(*key, *server).is_none()
            }
            _ => false,
        }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::CreateService(key, config) => {
                self.0.insert(key, (config, HashMap::new()));
            }
            Op::SetService(key, config) => {
                if let Some((now, _)) = self.0.get_mut(&key) {
                    *now = config;
                }
            }
            Op::DeleteService(key) => {
                self.0.remove(&key);
            }
            Op::CreateServer(key, server, config) | Op::SetServer(key, server, config) => {
                if let Some((_, servers)) = self.0.get_mut(&key) {
                    servers.insert(server, config);
                }
            }
            Op::DeleteServer(key, server) => {
                if let Some((_, servers)) = self.0.get_mut(&key) {
                    servers.remove(&server);
                }
            }
            _ => {}
        }
    }
}
