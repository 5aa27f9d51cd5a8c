//! What the executor is asked to do: look, decide, act, look again, as one turn that no other
//! request of this process comes between.

use std::{fmt, sync::Arc};

use crate::model::{Error, Info, Op, Query, Server, ServiceEntry, SyncDaemon, Timeouts};

/// A change in three steps. What it decides, it decides from what the kernel has at that moment.
///
/// One that looks at a service, or reads one back, is about that service alone: it goes packed with
/// changes of others.
pub struct Change {
    /// What must be known first. Changes that look at nothing may be packed with others of the same
    /// service, whose operations may come between their stages.
    pub look: Option<Query>,
    /// What to do about it. Must not block: the owner of the kernel socket runs it.
    pub decide: Decide,
    /// What is read back after.
    pub read_back: Option<Query>,
}

/// See [`Change::decide`].
pub type Decide = Box<dyn FnOnce(Option<&Seen>) -> Result<Plan, Error> + Send>;

/// Operations in stages. A stage begins when the one before has succeeded as a whole; when an
/// operation fails, those that were carried out are undone as far as the kernel allows.
#[derive(Debug, Default)]
pub struct Plan {
    /// The stages.
    pub stages: Vec<Vec<Step>>,
    /// Whether this makes what was not there.
    pub creates: bool,
}

/// One operation of a plan.
#[derive(Debug)]
pub struct Step {
    /// It.
    pub op: Op,
    /// What takes it back; `None` where nothing can.
    pub undo: Option<Op>,
    /// Where the request asked for it, such as `servers[2]`, for the error.
    pub path: Option<String>,
}

/// Operations in their order, each on its own: one that fails undoes nothing.
#[derive(Clone, Debug)]
pub struct Batch {
    /// They.
    pub ops: Vec<Op>,
    /// Whether none is carried out after the first that fails. They go to the kernel one by one
    /// then, rather than packed.
    pub stop: bool,
}

/// What came of a change.
#[derive(Debug)]
pub struct Changed {
    /// What [`Change::read_back`] asked for.
    pub seen: Option<Seen>,
    /// Whether there was anything to do.
    pub changed: bool,
    /// As [`Plan::creates`].
    pub created: bool,
}

/// What the kernel answered to a [`Query`].
#[derive(Clone, Debug)]
pub enum Seen {
    /// To [`Query::Info`].
    Info(Info),
    /// To [`Query::Timeouts`].
    Timeouts(Timeouts),
    /// To [`Query::SyncDaemons`]: master first.
    SyncDaemons(Vec<SyncDaemon>),
    /// To [`Query::Services`] (without servers) and [`Query::Table`] (with them).
    Table(Arc<Vec<ServiceEntry>>),
    /// To [`Query::Service`] (without servers) and [`Query::ServiceWithServers`] (with them).
    Service(Option<Arc<ServiceEntry>>),
    /// To [`Query::Servers`]; `None` where there is no such service.
    Servers(Option<Arc<Vec<Server>>>),
}

// === impl Change ===

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change")
            .field("look", &self.look)
            .field("read_back", &self.read_back)
            .finish_non_exhaustive()
    }
}

impl Change {
    /// Operations that need no look first.
    pub fn blind(ops: impl IntoIterator<Item = Op>, read_back: Option<Query>) -> Self {
        let plan = Plan::of(ops.into_iter().map(Step::from));
        Self {
            look: None,
            decide: Box::new(|_| Ok(plan)),
            read_back,
        }
    }
}

// === impl Plan ===

impl Plan {
    /// Nothing to do.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// One stage.
    pub fn of(steps: impl IntoIterator<Item = Step>) -> Self {
        Self::staged([steps.into_iter().collect()])
    }

    /// Several stages, in this order.
    pub fn staged(stages: impl IntoIterator<Item = Vec<Step>>) -> Self {
        Self {
            stages: stages.into_iter().collect(),
            creates: false,
        }
    }

    /// The same plan, which makes what was not there.
    #[must_use]
    pub fn creating(self) -> Self {
        Self {
            creates: true,
            ..self
        }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.stages.iter().all(Vec::is_empty)
    }
}

// === impl Step ===

impl From<Op> for Step {
    fn from(op: Op) -> Self {
        Self {
            op,
            undo: None,
            path: None,
        }
    }
}

impl Step {
    /// An operation with what takes it back.
    pub fn new(op: Op, undo: Op) -> Self {
        Self {
            op,
            undo: Some(undo),
            path: None,
        }
    }

    /// The same step with where the request asked for it.
    #[must_use]
    pub fn at(self, path: impl Into<String>) -> Self {
        Self {
            path: Some(path.into()),
            ..self
        }
    }
}

// === impl Seen ===

impl Seen {
    /// Whether this, read after it, shows the effect of `op`: what it made is there, what it
    /// deleted is not. `None` where this cannot tell.
    pub fn shows(&self, op: &Op) -> Option<bool> {
        let entry = |key| match self {
            Self::Service(entry) => Some(entry.as_deref()),
            Self::Table(table) => Some(table.iter().find(|entry| entry.service.key == key)),
            _ => None,
        };
        Some(match (op, self) {
            (Op::CreateService(key, config) | Op::SetService(key, config), _) => {
                entry(*key)?.is_some_and(|entry| entry.service.config == *config)
            }
            (Op::DeleteService(key), _) => entry(*key)?.is_none(),
            (Op::CreateServer(key, server, config) | Op::SetServer(key, server, config), _) => {
                entry(*key)?.is_some_and(|entry| {
                    entry
                        .servers
                        .iter()
                        .any(|s| s.key == *server && s.config == *config)
                })
            }
            (Op::DeleteServer(key, server), _) => {
                entry(*key)?.is_none_or(|entry| entry.servers.iter().all(|s| s.key != *server))
            }
            (Op::Clear, Self::Table(table)) => table.is_empty(),
            (Op::SetTimeouts(wanted), Self::Timeouts(seen)) => wanted == seen,
            (Op::StartSyncDaemon(config), Self::SyncDaemons(running)) => {
                running.iter().any(|daemon| config.matches(daemon))
            }
            (Op::StopSyncDaemon(state), Self::SyncDaemons(running)) => {
                running.iter().all(|daemon| daemon.state != *state)
            }
            _ => return None,
        })
    }
}
