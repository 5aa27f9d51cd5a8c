//! The declared tables: in memory, and in the store.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, atomic::AtomicBool},
};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::{
    pending::Pending,
    protection::{Claims, Protected, forget},
    repairs::Repairs,
};
use crate::{
    app::ApplyOutcome,
    executor::{KeptStore, offload},
    model::{
        Director, Error, Etag, EtagScope, Owner, Reason, Reconcile, ServerKey, ServiceKey,
        TableSettings, TargetService,
    },
    store::{Collection, Store, StoreError, WriteBatch},
    watch::Author,
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

/// The last apply of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastApply {
    /// Id of the apply.
    pub apply_id: String,
    /// When it ended (RFC 3339).
    pub end_time: String,
    /// How it ended.
    pub outcome: ApplyOutcome,
}

/// All declared tables. Applies and deletions hold the lock of the whole table while they change it.
#[derive(Debug)]
pub(in crate::app) struct Registry {
    store: Store,
    kept: KeptStore,
    tables: RwLock<Tables>,
    /// Wakes the task that compares tables with the kernel's.
    pub(super) woken: Notify,
    /// Of tables under repair.
    repairs: Mutex<HashMap<Owner, Repairs>>,
    /// Whether nothing of the last snapshot is needed any more.
    pub(super) may_replace_snapshot: AtomicBool,
}

#[derive(Debug, Default)]
struct Tables {
    by_owner: BTreeMap<Owner, Arc<DeclaredTable>>,
    /// Owners whose apply has begun and not ended: one that holds the lock of the whole table, and those that
    /// the end of the daemon has interrupted.
    applying: BTreeSet<Owner>,
    claims: Arc<Claims>,
    /// What tables under [`Reconcile::Repair`] declare.
    protected: Arc<Protected>,
}

/// The table of an owner from now on; `None` if it has none any more.
pub(super) type Changed = (Owner, Option<DeclaredTable>);

/// Tables, by owner.
const TABLES: Collection<TableState> = Collection::new("tables");
/// Services of tables, by `OWNER/SERVICE`.
const SERVICES: Collection<TargetService> = Collection::new("table-services");
/// Applies in progress, by owner.
const PENDING: Collection<Pending> = Collection::new("applies");

/// Owners at most.
const MAX_OWNERS: usize = 1000;

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
                if let Some(labels) = &service.labels {
                    ("labels", labels).hash(hasher);
                }
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

// === impl Registry ===

impl Registry {
    /// No tables, and a store in memory.
    pub(in crate::app) fn empty(kept: KeptStore) -> Self {
        Self::empty_in(Store::in_memory(), kept)
    }

    fn empty_in(store: Store, kept: KeptStore) -> Self {
        Self {
            store,
            kept,
            tables: RwLock::default(),
            woken: Notify::new(),
            repairs: Mutex::default(),
            may_replace_snapshot: AtomicBool::default(),
        }
    }

    /// Reads the declared tables. Blocks.
    pub(in crate::app) fn load(store: Store, kept: KeptStore) -> Result<Self, StoreError> {
        let mut services: BTreeMap<String, BTreeMap<_, _>> = BTreeMap::new();
        for (key, service) in store.load_if_available(&SERVICES)? {
            let owner = key.split('/').next().unwrap_or_default();
            let of_owner = services.entry(owner.to_owned()).or_default();
            of_owner.insert(service.key, Arc::new(service));
        }
        let mut tables = Tables::default();
        for (name, state) in store.load_if_available(&TABLES)? {
            let Ok(owner) = name.parse::<Owner>() else {
                tracing::warn!(
                    name,
                    "a stored table has no valid owner; it is left as it is"
                );
                continue;
            };
            let services = services.remove(&name).unwrap_or_default();
            tables.insert(DeclaredTable::new(owner, services, state));
        }
        if store.unavailable_because().is_some() {
            kept.be_unknown();
        }
        let claims = tables.claims.iter();
        let claims = claims.map(|(key, owner)| (*key, Some(owner.clone())));
        kept.claim(claims, None);
        let registry = Self {
            tables: RwLock::new(tables),
            ..Self::empty_in(store, kept)
        };
        let interrupted = registry.interrupted()?.into_iter();
        let owners = interrupted.map(|(owner, _)| owner).collect();
        registry.change(|tables| tables.applying = owners);
        Ok(registry)
    }

    pub(in crate::app) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn table(&self, owner: &Owner) -> Option<Arc<DeclaredTable>> {
        self.read(|tables| tables.by_owner.get(owner).cloned())
    }

    pub(super) fn all(&self) -> Vec<Arc<DeclaredTable>> {
        self.read(|tables| tables.by_owner.values().cloned().collect())
    }

    /// The owner of each service that a table declares.
    pub(in crate::app) fn claims(&self) -> Arc<Claims> {
        self.read(|tables| tables.claims.clone())
    }

    /// What only applies may change, with the owners: what tables under repair declare.
    pub(in crate::app) fn protected(&self) -> Arc<Protected> {
        self.read(|tables| tables.protected.clone())
    }

    /// The tables that are compared with the kernel's from time to time.
    pub(super) fn reconciled(&self) -> Vec<Arc<DeclaredTable>> {
        let mut tables = self.all();
        tables.retain(|table| table.state.settings.reconcile != Reconcile::Off);
        tables
    }

    pub(super) fn repairs(&self) -> MutexGuard<'_, HashMap<Owner, Repairs>> {
        let repairs = self.repairs.lock();
        repairs.unwrap_or_else(PoisonError::into_inner)
    }

    /// The owner of a table for which this holds.
    pub(super) fn find(&self, of: impl Fn(&DeclaredTable) -> bool) -> Option<Owner> {
        self.read(|tables| {
            let mut tables = tables.by_owner.values();
            let found = tables.find(|table| of(table));
            found.map(|table| table.owner.clone())
        })
    }

    /// Fails if it is not known what is declared, because the daemon serves without its store.
    pub(in crate::app) fn available(&self) -> Result<(), Error> {
        Ok(self.store.available()?)
    }

    /// The owner whose table declares a server.
    pub(in crate::app) fn declarer(&self, service: ServiceKey, server: ServerKey) -> Option<Owner> {
        let owner = self.claims().get(&service)?.clone();
        let table = self.table(&owner)?;
        let mut servers = table.services.get(&service)?.servers.iter();
        servers
            .any(|declared| declared.key == server)
            .then_some(owner)
    }

    /// Whether there may be a table of an owner.
    pub(super) fn check(&self, owner: &Owner) -> Result<(), Error> {
        let is_full = self.read(|tables| {
            tables.by_owner.len() >= MAX_OWNERS && !tables.by_owner.contains_key(owner)
        });
        match is_full {
            true => Err(Error::new(
                Reason::RateLimited,
                format!("there are {MAX_OWNERS} tables, which is the limit; nothing was changed"),
            )
            .with_hint("delete a table that is not needed: DELETE /v1/tables/{owner}")),
            false => Ok(()),
        }
    }

    /// The applies that were in progress when the daemon ended. Blocks.
    pub(super) fn interrupted(&self) -> Result<Vec<(Owner, Pending)>, StoreError> {
        let pending = self.store.load_if_available(&PENDING)?.into_iter();
        let valid = |(name, pending): (String, Pending)| Some((name.parse().ok()?, pending));
        Ok(pending.filter_map(valid).collect())
    }

    /// Whether the table of an owner is being applied.
    pub(in crate::app) fn is_applying(&self, owner: &Owner) -> bool {
        self.read(|tables| tables.applying.contains(owner))
    }

    /// The owners whose tables are being applied.
    pub(super) fn applying(&self) -> BTreeSet<Owner> {
        self.read(|tables| tables.applying.clone())
    }

    /// Stores that an apply is about to change the kernel's table.
    pub(super) async fn begin(&self, owner: &Owner, pending: &Pending) -> Result<(), Error> {
        let mut batch = WriteBatch::new();
        offload(|| batch.put(&PENDING, owner.as_str(), pending))?;
        self.store.write(batch).await?;
        self.change(|tables| tables.applying.insert(owner.clone()));
        Ok(())
    }

    /// Notes that an interrupted apply could not be recovered.
    pub(super) fn give_up(&self, owner: &Owner) {
        self.change(|tables| tables.applying.remove(owner));
    }

    /// Stores tables, and that the apply of the last of them has ended.
    pub(super) async fn put(
        &self,
        changed: Vec<Changed>,
        author: &Author,
    ) -> Result<(), StoreError> {
        let applied = changed.last().map(|(owner, _)| owner.clone());
        let touched = offload(|| self.services_of(&changed));
        let stored = self.write(changed, applied).await;
        offload(|| {
            let claims = self.claims();
            let owner_of = |key| (key, claims.get(&key).cloned());
            self.kept
                .claim(touched.into_iter().map(owner_of), Some(author));
        });
        stored
    }

    /// Stores tables that were not applied. Each declares what the one of its owner has declared.
    pub(super) async fn replace(&self, changed: Vec<Changed>) -> Result<(), StoreError> {
        self.write(changed, None).await
    }

    /// Stores tables in one transaction: each replaces the one of its owner, or deletes it. Only what differs is
    /// written. The apply of `applied` has ended.
    async fn write(&self, changed: Vec<Changed>, applied: Option<Owner>) -> Result<(), StoreError> {
        let mut batch = WriteBatch::new();
        offload(|| {
            changed.iter().try_for_each(|(owner, table)| {
                let old = self.table(owner);
                write(&mut batch, owner, old.as_deref(), table.as_ref())
            })
        })?;
        if let Some(owner) = &applied {
            batch.delete(&PENDING, owner.as_str())?;
        }
        let stored = self.store.write(batch).await;
        self.change(|tables| {
            if let Some(owner) = &applied {
                tables.applying.remove(owner);
            }
            if stored.is_err() {
                return;
            }
            // Those that lose services first, so that claims pass on.
            for (owner, table) in changed {
                if !table.as_ref().is_some_and(DeclaredTable::is_repaired) {
                    self.repairs().remove(&owner);
                }
                tables.remove(&owner);
                if let Some(table) = table {
                    tables.insert(table);
                }
            }
        });
        self.woken.notify_one();
        stored
    }

    /// The services of tables, and of those that they replace.
    fn services_of(&self, changed: &[Changed]) -> BTreeSet<ServiceKey> {
        let mut services = BTreeSet::new();
        for (owner, table) in changed {
            let old = self.table(owner);
            services.extend(services_of(old.as_deref()).keys());
            services.extend(services_of(table.as_ref()).keys());
        }
        services
    }

    fn change<T>(&self, change: impl FnOnce(&mut Tables) -> T) -> T {
        change(&mut self.tables.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn read<T>(&self, get: impl FnOnce(&Tables) -> T) -> T {
        get(&self.tables.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Adds what differs between two tables of an owner to a batch.
fn write(
    batch: &mut WriteBatch,
    owner: &Owner,
    old: Option<&DeclaredTable>,
    new: Option<&DeclaredTable>,
) -> Result<(), StoreError> {
    let key = |service: &ServiceKey| format!("{owner}/{service}");
    let (before, after) = (services_of(old), services_of(new));
    write_services(batch, &SERVICES, before, after, key)?;
    match new {
        Some(table) => batch.put(&TABLES, owner.as_str(), &table.state),
        None => batch.delete(&TABLES, owner.as_str()),
    }
}

/// Adds what differs between services of a collection to a batch.
pub(super) fn write_services(
    batch: &mut WriteBatch,
    collection: &Collection<TargetService>,
    before: &Services,
    after: &Services,
    key: impl Fn(&ServiceKey) -> String,
) -> Result<(), StoreError> {
    for service in before.keys().filter(|key| !after.contains_key(key)) {
        batch.delete(collection, key(service))?;
    }
    for (id, service) in after {
        if before.get(id) != Some(service) {
            batch.put(collection, key(id), service)?;
        }
    }
    Ok(())
}

// === impl Tables ===

impl Tables {
    fn insert(&mut self, table: DeclaredTable) {
        let claims = Arc::make_mut(&mut self.claims);
        let keys = table.services.keys();
        claims.extend(keys.map(|key| (*key, table.owner.clone())));
        if table.is_repaired() {
            let protected = Arc::make_mut(&mut self.protected);
            protected.add(&table.owner, table.services.keys(), &table.state.director);
        }
        self.by_owner.insert(table.owner.clone(), Arc::new(table));
    }

    fn remove(&mut self, owner: &Owner) {
        if let Some(table) = self.by_owner.remove(owner) {
            if !table.services.is_empty() {
                forget(
                    Arc::make_mut(&mut self.claims),
                    owner,
                    table.services.keys(),
                );
            }
            if table.is_repaired() {
                Arc::make_mut(&mut self.protected).remove(owner, table.services.keys());
            }
        }
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

/// The services of a table; none if there is no table.
pub(super) fn services_of(table: Option<&DeclaredTable>) -> &Services {
    static NONE: Services = BTreeMap::new();
    table.map_or(&NONE, |table| &table.services)
}

/// The error for an owner without a table.
pub(super) fn table_not_found(owner: &Owner) -> Error {
    Error::new(Reason::TableNotFound, format!("{owner} has no table"))
}
