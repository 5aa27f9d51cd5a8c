//! An apply that has begun, as it is stored until it has ended.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::declared::{DeclaredTable, Services, changed, gone};
use crate::model::{
    Adopt, Director, Removal, ServerConfig, ServerKey, ServiceConfig, ServiceKey, StoredFields,
    SyncDaemonConfig, SyncState, TableSettings, TargetServer, TargetService, Timeouts,
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
    /// Which services it may take over.
    #[serde(default)]
    pub adopt: Adopt,
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
    /// Services that are new or differ in more than their servers' configurations.
    set: Vec<TargetService>,
    /// Servers of the others whose configurations differ: usually few of many.
    #[serde(default)]
    edited: Vec<(ServiceKey, Vec<TargetServer>)>,
    /// Services that the table has no more.
    unset: Vec<ServiceKey>,
}

/// What an apply changes of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::app) struct Touched {
    /// The service.
    pub service: ServiceKey,
    /// The service itself; `None` if the apply changes only servers.
    pub config: Option<Replaced<ServiceConfig>>,
    /// Its stored fields; `None` if the apply does not change them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<Replaced<StoredFields>>,
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

// === impl Declaration ===

impl Declaration {
    /// What a table declares beside the services that were declared before.
    pub fn of(table: &DeclaredTable, before: &Services) -> Self {
        let mut declaration = Self {
            settings: table.state.settings,
            director: table.state.director.clone(),
            set: Vec::new(),
            edited: Vec::new(),
            unset: Vec::new(),
        };
        for (key, service) in changed(before, &table.services) {
            match before
                .get(key)
                .and_then(|before| edited_servers(before, service))
            {
                Some(servers) => declaration.edited.push((*key, servers)),
                None => declaration.set.push(TargetService::clone(service)),
            }
        }
        declaration.unset.extend(gone(before, &table.services));
        declaration
    }

    /// The services of the table, from those that were declared before.
    pub fn services(&self, before: &Services) -> Services {
        let mut services = before.clone();
        for key in &self.unset {
            services.remove(key);
        }
        for service in &self.set {
            services.insert(service.key, Arc::new(service.clone()));
        }
        for (key, edited) in &self.edited {
            let Some(service) = services.get_mut(key) else {
                continue;
            };
            edit(Arc::make_mut(service), edited);
        }
        services
    }
}

/// Edits servers of a service.
pub(super) fn edit(service: &mut TargetService, edited: &[TargetServer]) {
    let edited: HashMap<_, _> = edited.iter().map(|it| (it.key, it.config)).collect();
    for server in &mut service.servers {
        server.config = edited.get(&server.key).copied().unwrap_or(server.config);
    }
}

/// The servers with other configurations, if nothing else of a service differs.
pub(super) fn edited_servers(
    before: &TargetService,
    after: &TargetService,
) -> Option<Vec<TargetServer>> {
    let is_same = before.config == after.config
        && before.stored == after.stored
        && before.servers.len() == after.servers.len();
    let pairs = || before.servers.iter().zip(&after.servers);
    if !is_same || pairs().any(|(before, after)| before.key != after.key) {
        return None;
    }
    let edited = pairs().filter(|(before, after)| before.config != after.config);
    Some(edited.map(|(_, after)| *after).collect())
}
