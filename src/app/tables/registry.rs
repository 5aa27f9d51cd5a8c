//! The declared tables: in memory, and in the store.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, atomic::AtomicBool},
};

use tokio::sync::Notify;

use super::{
    declared::{DeclaredTable, services_of, status_after},
    last_operations::LastOperations,
    pending::Pending,
    protection::{Claims, Protected, forget},
    repairs::Repairs,
    stored::{self, Edits},
};
use crate::{
    executor::{KeptStore, offload},
    model::{ApplyOutcome, Error, Owner, Reason, Reconcile, ServerKey, ServiceKey, TableStatus},
    store::{Collection, Store, StoreError, WriteBatch},
    watch::{Author, RecordKey, Resource, Showing, WatchCache},
};

/// All declared tables. Applies and deletions hold the lock of the whole table while they change it.
#[derive(Debug)]
pub(in crate::app) struct Registry {
    store: Store,
    kept: KeptStore,
    /// Gets each change while `tables` is locked.
    watch: Arc<WatchCache>,
    tables: RwLock<Tables>,
    /// What is stored beside the services of tables.
    edits: Mutex<Edits>,
    /// Wakes the task that compares tables with the kernel's.
    pub(super) woken: Notify,
    /// Of tables under repair.
    repairs: Mutex<HashMap<Owner, Repairs>>,
    last_operations: Mutex<LastOperations>,
    /// Whether nothing of the last snapshot is needed any more.
    pub(super) may_replace_snapshot: AtomicBool,
}

#[derive(Debug, Default)]
struct Tables {
    by_owner: BTreeMap<Owner, Arc<DeclaredTable>>,
    /// Whether the kernel had something else than each table declares when they were compared since its last apply.
    drifted: BTreeMap<Owner, bool>,
    /// Owners whose apply has begun and not ended: one that holds the lock of the whole table, and those that
    /// the end of the daemon has interrupted.
    applying: BTreeSet<Owner>,
    claims: Arc<Claims>,
    /// What tables under [`Reconcile::Repair`] declare.
    protected: Arc<Protected>,
}

/// The table of an owner from now on; `None` if it has none any more.
pub(super) type Changed = (Owner, Option<DeclaredTable>);

/// Applies in progress, by owner.
const PENDING: Collection<Pending> = Collection::new("applies");

/// Owners at most.
const MAX_OWNERS: usize = 1000;

// === impl Registry ===

impl Registry {
    /// No tables, and a store in memory.
    pub(in crate::app) fn empty(kept: KeptStore, watch: Arc<WatchCache>) -> Self {
        Self::empty_in(Store::in_memory(), kept, watch)
    }

    fn empty_in(store: Store, kept: KeptStore, watch: Arc<WatchCache>) -> Self {
        Self {
            store,
            kept,
            watch,
            tables: RwLock::default(),
            edits: Mutex::default(),
            woken: Notify::new(),
            repairs: Mutex::default(),
            last_operations: Mutex::default(),
            may_replace_snapshot: AtomicBool::default(),
        }
    }

    /// Reads the declared tables. Blocks.
    pub(in crate::app) fn load(
        store: Store,
        kept: KeptStore,
        watch: Arc<WatchCache>,
    ) -> Result<Self, StoreError> {
        let (stored, edits) = stored::load(&store)?;
        let mut tables = Tables::default();
        stored.into_iter().for_each(|table| tables.insert(table));
        if store.unavailable_because().is_some() {
            kept.be_unknown();
        }
        let claims = tables.claims.iter();
        let claims = claims.map(|(key, owner)| (*key, Some(owner.clone())));
        kept.claim(claims, None);
        let registry = Self {
            tables: RwLock::new(tables),
            edits: Mutex::new(edits),
            ..Self::empty_in(store, kept, watch)
        };
        let interrupted = registry.interrupted()?.into_iter();
        let owners = interrupted.map(|(owner, _)| owner).collect();
        registry.change(|tables| {
            tables.applying = owners;
            for owner in tables.by_owner.keys() {
                registry.show(tables, owner, None);
            }
        });
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

    fn edits(&self) -> MutexGuard<'_, Edits> {
        self.edits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The operations of the last applies.
    pub(super) fn last_operations(&self) -> MutexGuard<'_, LastOperations> {
        let last = self.last_operations.lock();
        last.unwrap_or_else(PoisonError::into_inner)
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
    pub(super) async fn begin(
        &self,
        owner: &Owner,
        pending: &Pending,
        author: &Author,
    ) -> Result<(), Error> {
        let mut batch = WriteBatch::new();
        offload(|| batch.put(&PENDING, owner.as_str(), pending))?;
        self.store.write(batch).await?;
        self.change(|tables| {
            tables.applying.insert(owner.clone());
            self.show(tables, owner, Some(author));
        });
        Ok(())
    }

    /// Notes that an interrupted apply could not be recovered.
    pub(super) fn give_up(&self, owner: &Owner) {
        self.change(|tables| self.leave(tables, owner, None));
    }

    /// Notes that an apply is over whose end is not stored: the kernel may have what is not declared.
    fn leave(&self, tables: &mut Tables, owner: &Owner, author: Option<&Author>) {
        tables.applying.remove(owner);
        tables.drifted.insert(owner.clone(), true);
        self.show(tables, owner, author);
    }

    /// Notes whether the kernel has something else than a table declares.
    pub(super) fn compared(&self, table: &Arc<DeclaredTable>, is_drifted: bool) {
        let noted = self.read(|tables| tables.drifted.get(&table.owner).copied());
        if noted == Some(is_drifted) {
            return;
        }
        self.change(|tables| {
            let declared = tables.by_owner.get(&table.owner);
            // An apply since is younger than what was compared.
            if declared.is_some_and(|declared| Arc::ptr_eq(declared, table)) {
                tables.drifted.insert(table.owner.clone(), is_drifted);
                self.show(tables, &table.owner, None);
            }
        });
    }

    /// Shows watchers the table of an owner as it is now.
    fn show(&self, tables: &Tables, owner: &Owner, author: Option<&Author>) {
        let table = tables.by_owner.get(owner);
        let shown = table.map(|table| {
            let summary = table.summary(tables.status(table));
            let services = table.services.keys().copied().collect();
            (Resource::of_table(summary), services)
        });
        let key = RecordKey::Table(owner.clone());
        self.watch.show(key, shown, Showing::First, author);
    }

    /// Stores tables, and that the apply of the last of them has ended.
    pub(super) async fn put(
        &self,
        changed: Vec<Changed>,
        author: &Author,
    ) -> Result<(), StoreError> {
        let applied = changed.last().map(|(owner, _)| owner.clone());
        let touched = offload(|| self.services_of(&changed));
        let stored = self.write(changed, applied, author).await;
        offload(|| {
            let claims = self.claims();
            let owner_of = |key| (key, claims.get(&key).cloned());
            self.kept
                .claim(touched.into_iter().map(owner_of), Some(author));
        });
        stored
    }

    /// Stores tables that were not applied. Each declares what the one of its owner has declared.
    pub(super) async fn replace(
        &self,
        changed: Vec<Changed>,
        author: &Author,
    ) -> Result<(), StoreError> {
        self.write(changed, None, author).await
    }

    /// Stores tables in one transaction: each replaces the one of its owner, or deletes it. Only what differs is
    /// written. The apply of `applied` has ended.
    async fn write(
        &self,
        changed: Vec<Changed>,
        applied: Option<Owner>,
        author: &Author,
    ) -> Result<(), StoreError> {
        let mut batch = WriteBatch::new();
        let mut edits = Vec::new();
        offload(|| {
            changed.iter().try_for_each(|(owner, table)| {
                let old = self.table(owner);
                let written = self.edits();
                edits.extend(written.write(&mut batch, owner, old.as_deref(), table.as_ref())?);
                Ok::<_, StoreError>(())
            })
        })?;
        if let Some(owner) = &applied {
            batch.delete(&PENDING, owner.as_str())?;
        }
        let stored = self.store.write(batch).await;
        if stored.is_ok() {
            self.edits().stored(edits);
        }
        self.change(|tables| {
            if stored.is_err() {
                if let Some(owner) = &applied {
                    self.leave(tables, owner, Some(author));
                }
                return;
            }
            if let Some(owner) = &applied {
                tables.applying.remove(owner);
                tables.drifted.remove(owner);
            }
            let owners: Vec<_> = changed.iter().map(|(owner, _)| owner.clone()).collect();
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
            for owner in &owners {
                self.show(tables, owner, Some(author));
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

    /// How the kernel's table compares, as far as it is known without a comparison.
    fn status(&self, table: &DeclaredTable) -> TableStatus {
        if self.applying.contains(&table.owner) {
            return TableStatus::Applying;
        }
        let last = table.state.last_apply.as_ref().map(|last| last.outcome);
        let is_drifted = self.drifted.get(&table.owner).copied();
        let is_drifted = is_drifted
            .or(last.map(|last| !matches!(last, ApplyOutcome::Unchanged | ApplyOutcome::Applied)));
        status_after(last, is_drifted.unwrap_or_default())
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
