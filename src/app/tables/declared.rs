//! What a table declares.

use std::{collections::BTreeMap, hash::Hash, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::model::{
    ApplyOutcome, Director, Error, Etag, EtagScope, LastApply, Owner, Reason, Reconcile,
    ServiceKey, TableSettings, TableStatus, TableSummary, TargetServer, TargetService,
};

/// Declared services by their keys.
pub(super) type Services = BTreeMap<ServiceKey, Arc<TargetService>>;

/// A declared table.
#[derive(Clone, Debug)]
pub struct DeclaredTable {
    /// Whose it is.
    pub owner: Owner,
    /// The declared services.
    pub services: BTreeMap<ServiceKey, Arc<TargetService>>,
    /// The rest of it.
    pub state: TableState,
    /// Of the declaration.
    pub etag: Etag,
}

/// What is stored of a table beside its services.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TableState {
    /// Number of the declaration, from 1. Grows when the declaration changes.
    pub generation: u64,
    /// How it is kept.
    #[serde(flatten)]
    pub settings: TableSettings,
    /// The timeouts and sync daemons.
    #[serde(flatten)]
    pub director: Director,
    /// The last apply that began to change the kernel's table; `None` before it.
    pub last_apply: Option<LastApply>,
    /// Declared services that another table has taken over.
    pub lost: Vec<ServiceKey>,
}

// === impl DeclaredTable ===

impl DeclaredTable {
    /// A table from its parts.
    pub(super) fn new(owner: Owner, services: Services, state: TableState) -> Self {
        let etag = Etag::compute(EtagScope::Table, |hasher| {
            state.settings.hash(hasher);
            if !state.director.is_empty() {
                state.director.hash(hasher);
            }
            for (key, service) in &services {
                (key, service.config, service.servers.len()).hash(hasher);
                service.stored.hash(hasher);
                for server in &service.servers {
                    (server.key, server.config).hash(hasher);
                }
            }
        });
        Self {
            owner,
            services,
            state,
            etag,
        }
    }

    /// The table without its services.
    pub(super) fn summary(&self, status: TableStatus) -> TableSummary {
        TableSummary {
            owner: self.owner.clone(),
            generation: self.state.generation,
            service_count: self.services.len(),
            server_count: self.server_count(),
            settings: self.state.settings,
            director: self.state.director.clone(),
            etag: self.etag,
            status,
            last_apply: self.state.last_apply.clone(),
            lost: self.state.lost.clone(),
        }
    }

    /// Its services, to be compared with the kernel's.
    pub(super) fn target(&self) -> Vec<&TargetService> {
        self.services.values().map(Arc::as_ref).collect()
    }

    /// Whether the daemon repairs it.
    pub(super) fn is_repaired(&self) -> bool {
        self.state.settings.reconcile == Reconcile::Repair
    }

    /// Number of its servers.
    pub fn server_count(&self) -> usize {
        let services = self.services.values();
        services.map(|service| service.servers.len()).sum()
    }
}

/// The table that is declared after an apply. The owner of the old one accepts what it has lost.
pub(super) fn declare(
    owner: &Owner,
    old: Option<&DeclaredTable>,
    services: Services,
    settings: TableSettings,
    director: Director,
) -> DeclaredTable {
    let state = old.map_or_else(TableState::default, |old| old.state.clone());
    let state = TableState {
        settings,
        director,
        lost: Vec::new(),
        ..state
    };
    let mut table = DeclaredTable::new(owner.clone(), services, state);
    if old.is_none_or(|old| old.etag != table.etag) {
        table.state.generation += 1;
    }
    table
}

/// How a declared table and the kernel's compare after an apply that ended so.
pub(super) fn status_after(last: Option<ApplyOutcome>, is_drifted: bool) -> TableStatus {
    match last {
        _ if !is_drifted => TableStatus::InSync,
        Some(ApplyOutcome::RolledBack | ApplyOutcome::RollbackIncomplete) => TableStatus::Failed,
        _ => TableStatus::Drifted,
    }
}

/// The services of a table; none if there is no table.
pub(super) fn services_of(table: Option<&DeclaredTable>) -> &Services {
    static NONE: Services = BTreeMap::new();
    table.map_or(&NONE, |table| &table.services)
}

/// The services that are new, or differ from those before.
pub(super) fn changed<'a>(
    before: &'a Services,
    after: &'a Services,
) -> impl Iterator<Item = (&'a ServiceKey, &'a Arc<TargetService>)> {
    let after = after.iter();
    after.filter(|(key, service)| {
        !before
            .get(key)
            .is_some_and(|before| is_same(before, service))
    })
}

/// Whether two services declare the same: where they were asked for is no part of it.
fn is_same(a: &Arc<TargetService>, b: &Arc<TargetService>) -> bool {
    let server = |server: &TargetServer| (server.key, server.config);
    Arc::ptr_eq(a, b)
        || (a.key == b.key && a.config == b.config && a.stored == b.stored)
            && a.servers
                .iter()
                .map(server)
                .eq(b.servers.iter().map(server))
}

/// The services of those before that there are no more.
pub(super) fn gone<'a>(
    before: &'a Services,
    after: &'a Services,
) -> impl Iterator<Item = &'a ServiceKey> {
    before.keys().filter(|key| !after.contains_key(key))
}

/// The error for an owner without a table.
pub(super) fn table_not_found(owner: &Owner) -> Error {
    Error::new(Reason::TableNotFound, format!("{owner} has no table"))
}
