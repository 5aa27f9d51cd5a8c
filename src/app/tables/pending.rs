//! An apply that has begun, as it is stored until it has ended.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::plan::PlannedStep;
use crate::{
    executor::Table,
    model::{
        Op, Server, ServerConfig, ServerKey, ServiceConfig, ServiceEntry, ServiceKey, TargetServer,
        TargetService, diff,
    },
};

/// An apply that has begun to change the kernel's table. It is stored before the first operation and
/// deleted with the outcome, so that one is found at the start if the daemon ended in between.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::app) struct Pending {
    /// Its id.
    pub apply_id: String,
    /// Who sent it.
    pub principal: String,
    /// Number of its operations.
    pub operations: usize,
    /// The declared table afterwards: services that differ, and those that it has no more. `None` for the
    /// deletion of the table.
    pub declares: Option<Declaration>,
    /// What the operations change, as it was.
    pub before: Vec<Touched>,
}

/// What an apply declares beside what was declared before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::app) struct Declaration {
    /// See [`TableState::keep_weights`].
    pub keep_weights: bool,
    /// Services that are new or differ.
    pub set: Vec<TargetService>,
    /// Services that the table has no more.
    pub unset: Vec<ServiceKey>,
}

/// A service that an apply changes, as it was. Its servers are those that the apply changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::app) struct Touched {
    /// The service.
    pub service: ServiceKey,
    /// The service itself.
    pub was: Was,
    /// Servers; `None` if they did not exist.
    pub servers: Vec<(ServerKey, Option<ServerConfig>)>,
}

/// What a service was before an apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::app) enum Was {
    /// It did not exist.
    Absent,
    /// The apply changes only servers.
    Kept,
    /// It had this configuration.
    Configured(ServiceConfig),
}

/// What steps change, as it is before them.
pub(super) fn touched(steps: &[PlannedStep]) -> Vec<Touched> {
    let mut all: Vec<Touched> = Vec::new();
    let mut index = HashMap::new();
    for step in steps {
        let Some(service) = step.op.service() else {
            continue;
        };
        let place = *index.entry(service).or_insert_with(|| {
            all.push(Touched {
                service,
                was: Was::Kept,
                servers: Vec::new(),
            });
            all.len() - 1
        });
        let Some(touched) = all.get_mut(place) else {
            continue;
        };
        match (&step.op, step.before.as_ref()) {
            (Op::DeleteService(_), _) => {
                for op in &step.undo {
                    touched.restore(op);
                }
            }
            (_, Some(before)) => touched.restore(before),
            (Op::CreateService(..), None) => touched.was = Was::Absent,
            (Op::CreateServer(_, key, _), None) => touched.servers.push((*key, None)),
            _ => {}
        }
    }
    all
}

/// The operations that restore what an apply has changed. The configuration of a service of which the
/// apply changed only servers stays.
pub(super) fn undo_steps(table: &Table, before: &[Touched]) -> Vec<PlannedStep> {
    let current: HashMap<_, _> = table
        .iter()
        .map(|entry| (entry.service.key, entry))
        .collect();
    let mut compared: Vec<&ServiceEntry> = Vec::new();
    let mut target = Vec::new();
    for touched in before {
        let entry = current.get(&touched.service).copied();
        compared.extend(entry);
        let Some(config) = touched.config(entry) else {
            continue;
        };
        let mut servers: Vec<_> = entry
            .into_iter()
            .flat_map(|entry| &entry.servers)
            .map(target_of)
            .collect();
        for (key, config) in &touched.servers {
            servers.retain(|server| server.key != *key);
            servers.extend(config.map(|config| TargetServer {
                key: *key,
                config,
                origin: 0,
            }));
        }
        target.push(TargetService {
            key: touched.service,
            config,
            servers,
            origin: 0,
        });
    }
    let difference = diff(compared, &target);
    let changes = difference.make.into_iter().chain(difference.remove);
    changes
        .map(|change| PlannedStep {
            op: change.op,
            before: change.undo,
            undo: Vec::new(),
        })
        .collect()
}

fn target_of(server: &Server) -> TargetServer {
    TargetServer {
        key: server.key,
        config: server.config,
        origin: 0,
    }
}

// === impl Touched ===

impl Touched {
    fn restore(&mut self, op: &Op) {
        match *op {
            Op::CreateService(_, config) | Op::SetService(_, config) => {
                self.was = Was::Configured(config);
            }
            Op::CreateServer(_, key, config) | Op::SetServer(_, key, config) => {
                self.servers.push((key, Some(config)));
            }
            _ => {}
        }
    }

    /// The configuration that the service is to have again; `None` if it is not to exist. A service that
    /// did not exist stays if another program has given it servers.
    fn config(&self, entry: Option<&ServiceEntry>) -> Option<ServiceConfig> {
        let is_own = |server: &Server| self.servers.iter().any(|(key, _)| *key == server.key);
        match (self.was, entry) {
            (Was::Configured(config), _) => Some(config),
            (Was::Absent, Some(entry)) if entry.servers.iter().all(is_own) => None,
            (Was::Absent | Was::Kept, entry) => entry.map(|entry| entry.service.config),
        }
    }
}
