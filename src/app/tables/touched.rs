//! What an apply changes, as it was before: for its undo after the end of the daemon.

use std::collections::HashMap;

use super::{
    pending::{Touched, Was},
    plan::PlannedStep,
};
use crate::{
    executor::Table,
    model::{Op, Server, ServiceConfig, ServiceEntry, TargetServer, TargetService, diff},
};

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
