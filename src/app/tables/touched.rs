//! What an apply changes, before and after: for its undo after the end of the daemon.

use std::collections::{BTreeMap, HashMap};

use super::pending::{Pending, Replaced, Touched, TouchedDirector};
use crate::{
    app::operations::{Current, PlannedStep},
    model::{
        Director, DirectorState, Op, ServerConfig, ServerKey, ServiceConfig, ServiceEntry,
        StoredFields, StoredTarget, SyncDaemonConfig, TargetServer, TargetService,
        diff_with_director,
    },
};

/// What steps change.
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
                config: None,
                stored: None,
                servers: Vec::new(),
            });
            all.len() - 1
        });
        if let Some(touched) = all.get_mut(place) {
            touched.add(step);
        }
    }
    all
}

/// What steps change of the timeouts and sync daemons.
pub(super) fn touched_director(steps: &[PlannedStep]) -> TouchedDirector {
    let mut touched = TouchedDirector::default();
    // A start beside a daemon that runs has no undo: the kernel refuses it.
    for step in steps.iter().filter(|step| !step.undo.is_empty()) {
        touched.add(&step.op, step.before.as_ref());
    }
    touched
}

/// The operations that restore what an apply has changed, where the kernel still has what it has written.
pub(super) fn undo_steps(kernel: &Current, pending: &Pending) -> Vec<PlannedStep> {
    let current: HashMap<_, _> = kernel
        .table
        .iter()
        .map(|entry| (entry.service.key, entry))
        .collect();
    let mut compared: Vec<&ServiceEntry> = Vec::new();
    let mut target = Vec::new();
    for touched in &pending.touched {
        let entry = current.get(&touched.service).copied();
        compared.extend(entry);
        target.extend(match entry {
            Some(entry) => touched.restored(entry),
            None => touched.created_again(),
        });
    }
    let (written, before) = pending.director.restored(&kernel.director);
    let director = (&written, &Director::NONE, &before);
    let difference = diff_with_director(compared, &target, director);
    let changes = difference.make.into_iter().chain(difference.remove);
    changes
        .map(|change| PlannedStep {
            op: change.op,
            index: None,
            before: change.undo,
            undo: Vec::new(),
            drains: false,
        })
        .collect()
}

// === impl Touched ===

impl Touched {
    fn add(&mut self, step: &PlannedStep) {
        match (&step.op, &step.before) {
            (Op::DeleteService(_), _) => {
                for op in &step.undo {
                    match op {
                        Op::CreateService(_, config, stored) => {
                            self.config = Some(Replaced::gone(*config));
                            self.stored = Some(Replaced::gone(stored.clone()));
                        }
                        Op::CreateServer(_, key, config) => {
                            self.servers.push((*key, Replaced::gone(*config)));
                        }
                        _ => {}
                    }
                }
            }
            (Op::CreateService(_, config, _) | Op::SetService(_, config), before) => {
                self.config = Some(Replaced {
                    before: before.as_ref().and_then(service_config),
                    after: Some(*config),
                });
            }
            (Op::SetStored(_, stored), before) => {
                self.stored = Some(Replaced {
                    before: before.as_ref().and_then(stored_of),
                    after: Some(stored.clone()),
                });
            }
            (Op::CreateServer(_, key, config) | Op::SetServer(_, key, config), before) => {
                let replaced = Replaced {
                    before: before.as_ref().and_then(server_config),
                    after: Some(*config),
                };
                self.servers.push((*key, replaced));
            }
            (Op::DeleteServer(_, key), Some(before)) => {
                let replaced = server_config(before).map(Replaced::gone);
                self.servers.extend(replaced.map(|gone| (*key, gone)));
            }
            _ => {}
        }
    }

    /// The service as it was, if the apply has deleted it.
    fn created_again(&self) -> Option<TargetService> {
        let Replaced { before, after } = self.config?;
        let is_deleted = after.is_none();
        let servers = self.servers.iter();
        let servers = servers.filter_map(|(key, of)| Some(target(*key, of.before?)));
        Some(TargetService {
            key: self.service,
            config: before.filter(|_| is_deleted)?,
            stored: target_of(self.stored.as_ref()),
            servers: servers.collect(),
            origin: 0,
        })
    }

    /// What a service that exists is to be; `None` to delete it. What other programs have changed since the
    /// apply stays: also the service itself, if it has servers that are not those of the apply.
    fn restored(&self, entry: &ServiceEntry) -> Option<TargetService> {
        let is_deletion = self.config.is_some_and(|config| config.after.is_none());
        let mut servers: BTreeMap<_, _> = entry.configured().map(|s| (s.key, s.config)).collect();
        // A service that exists was not deleted, or by nobody but others created again.
        for (key, replaced) in self.servers.iter().filter(|_| !is_deletion) {
            if servers.get(key).copied() == replaced.after {
                match replaced.before {
                    Some(config) => servers.insert(*key, config),
                    None => servers.remove(key),
                };
            }
        }
        let now = entry.service.config;
        let config = match self.config {
            Some(Replaced { before, after }) if after == Some(now) => match before {
                None if servers.is_empty() => return None,
                before => before.unwrap_or(now),
            },
            _ => now,
        };
        let stored = self.stored.as_ref();
        let stored = stored.filter(|of| of.after.as_ref() == Some(entry.service.stored()));
        Some(TargetService {
            key: self.service,
            config,
            stored: target_of(stored),
            servers: servers
                .into_iter()
                .map(|(key, it)| target(key, it))
                .collect(),
            origin: 0,
        })
    }
}

// === impl TouchedDirector ===

impl TouchedDirector {
    fn add(&mut self, op: &Op, before: Option<&Op>) {
        match (op, before) {
            (Op::SetTimeouts(after), Some(Op::SetTimeouts(before))) => {
                self.timeouts = Some(Replaced {
                    before: Some(*before),
                    after: Some(*after),
                });
            }
            (Op::StopSyncDaemon(state), Some(Op::StartSyncDaemon(before))) => {
                self.sync_daemons.insert(*state, Replaced::gone(*before));
            }
            // After it was stopped, or because none ran.
            (Op::StartSyncDaemon(after), _) => {
                let replaced = self.sync_daemons.entry(after.state);
                replaced.or_insert(Replaced::NONE).after = Some(*after);
            }
            _ => {}
        }
    }

    /// What the kernel has of what the apply has written, and what is to be again.
    fn restored(&self, current: &DirectorState) -> (DirectorState, Director) {
        let is_written =
            |state, after: Option<SyncDaemonConfig>| match (current.daemon(state), after) {
                (Some(running), Some(after)) => after.matches(running),
                // An apply stops a daemon before it starts another.
                (None, _) => true,
                (Some(_), None) => false,
            };
        let timeouts = self.timeouts.filter(|it| it.after == current.timeouts);
        let (mut running, mut before) = (Vec::new(), Vec::new());
        for (state, replaced) in &self.sync_daemons {
            if is_written(*state, replaced.after) {
                running.extend(current.daemon(*state).copied());
                before.extend(replaced.before);
            }
        }
        let written = DirectorState {
            timeouts: current.timeouts,
            sync_daemons: Some(running),
        };
        let before = Director {
            timeouts: timeouts.and_then(|it| it.before),
            sync_daemons: Some(before),
        };
        (written, before)
    }
}

// === impl Replaced ===

impl<C> Replaced<C> {
    /// Of an object that does not exist.
    const NONE: Self = Self {
        before: None,
        after: None,
    };

    /// Of an object that is deleted.
    fn gone(config: C) -> Self {
        Self {
            before: Some(config),
            after: None,
        }
    }
}

fn service_config(op: &Op) -> Option<ServiceConfig> {
    match op {
        Op::CreateService(_, config, _) | Op::SetService(_, config) => Some(*config),
        _ => None,
    }
}

fn stored_of(op: &Op) -> Option<StoredFields> {
    match op {
        Op::CreateService(_, _, stored) | Op::SetStored(_, stored) => Some(stored.clone()),
        _ => None,
    }
}

/// The stored fields as they were.
fn target_of(stored: Option<&Replaced<StoredFields>>) -> StoredTarget {
    let before = stored.and_then(|of| of.before.clone());
    before.map_or_else(StoredTarget::default, StoredTarget::exactly)
}

fn server_config(op: &Op) -> Option<ServerConfig> {
    match op {
        Op::CreateServer(.., config) | Op::SetServer(.., config) => Some(*config),
        _ => None,
    }
}

fn target(key: ServerKey, config: ServerConfig) -> TargetServer {
    TargetServer {
        key,
        config,
        origin: 0,
    }
}
