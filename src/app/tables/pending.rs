//! An apply that has begun, as it is stored until it has ended.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{
    Director, Labels, Removal, ServerConfig, ServerKey, ServiceConfig, ServiceKey,
    SyncDaemonConfig, SyncState, TableSettings, TargetService, Timeouts,
};

/// An apply that has begun to change the kernel's table. It is stored before the first operation and
/// deleted with the outcome, so that one is found at the start if the daemon ended in between.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::app) struct Pending {
    /// Id of the apply.
    pub apply_id: String,
    /// Who sent it.
    pub principal: String,
    /// Number of its operations.
    pub operations: usize,
    /// The declared table afterwards: services that differ, and those that it has no more. `None` for the
    /// deletion of the table.
    pub declares: Option<Declaration>,
    /// See [`ApplyOptions::removal`](super::ApplyOptions::removal).
    #[serde(default)]
    pub removal: Option<Removal>,
    /// What the operations change of services.
    pub touched: Vec<Touched>,
    /// What they change of the timeouts and sync daemons.
    #[serde(default)]
    pub director: TouchedDirector,
}

/// What an apply declares beside what was declared before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::app) struct Declaration {
    /// How it is kept.
    #[serde(flatten)]
    pub settings: TableSettings,
    /// The timeouts and sync daemons.
    #[serde(flatten)]
    pub director: Director,
    /// Services that are new or differ.
    pub set: Vec<TargetService>,
    /// Services that the table has no more.
    pub unset: Vec<ServiceKey>,
}

/// What an apply changes of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::app) struct Touched {
    /// The service.
    pub service: ServiceKey,
    /// The service itself; `None` if the apply changes only servers.
    pub config: Option<Replaced<ServiceConfig>>,
    /// Its labels; `None` if the apply does not change them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Replaced<Labels>>,
    /// Servers that the apply changes, or deletes with the service.
    pub servers: Vec<(ServerKey, Replaced<ServerConfig>)>,
}

/// What an apply changes of the timeouts and sync daemons.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::app) struct TouchedDirector {
    /// The timeouts.
    pub timeouts: Option<Replaced<Timeouts>>,
    /// Sync daemons.
    pub sync_daemons: BTreeMap<SyncState, Replaced<SyncDaemonConfig>>,
}

/// The configuration of an object that an apply changes; `None` if it does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::app) struct Replaced<C> {
    /// Before the apply.
    pub before: Option<C>,
    /// After it.
    pub after: Option<C>,
}
