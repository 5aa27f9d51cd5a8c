//! The declared tables: in memory, and in the store.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, atomic::AtomicBool},
};

use tokio::sync::Notify;

use super::{
    declared::{DeclaredTable, services_of},
    last_operations::LastOperations,
    memory::Tables,
    pending::Pending,
    protection::{Claims, Protected},
    repairs::Repairs,
    stored::{self, Edits},
};
use crate::{
    executor::{KeptStore, offload},
    model::{Error, Owner, Reason, Reconcile, ServerKey, ServiceKey},
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

    /// Whether the table of an owner is being applied, or the record of its last apply is still stored.
    pub(in crate::app) fn is_applying(&self, owner: &Owner) -> bool {
        self.read(|tables| tables.applying.contains(owner))
    }

    /// Whether the end of the daemon has interrupted the apply of an owner's table, and nothing has ended it since.
    pub(super) fn is_interrupted(&self, owner: &Owner) -> bool {
        self.read(|tables| tables.applying.contains(owner) && !tables.ended.contains(owner))
    }

    /// The table of an owner, and whether it [is being applied](Self::is_applying).
    pub(super) fn table_and_state(&self, owner: &Owner) -> (Option<Arc<DeclaredTable>>, bool) {
        self.read(|tables| {
            let table = tables.by_owner.get(owner).cloned();
            (table, tables.applying.contains(owner))
        })
    }

    /// All tables, and the owners whose tables are being applied.
    pub(super) fn all_and_applying(&self) -> (Vec<Arc<DeclaredTable>>, BTreeSet<Owner>) {
        self.read(|tables| {
            let all = tables.by_owner.values().cloned().collect();
            (all, tables.applying.clone())
        })
    }

    /// Whether a table has been applied since it was read, or is being applied.
    pub(super) fn is_applied_since(&self, read: &DeclaredTable) -> bool {
        self.read(|tables| {
            let table = tables.by_owner.get(&read.owner);
            let last = table.map(|table| &table.state.last_apply);
            tables.applying.contains(&read.owner) || last != Some(&read.state.last_apply)
        })
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
        let (mut batch, cleared) = self.clearing()?;
        offload(|| batch.put(&PENDING, owner.as_str(), pending))?;
        self.store.write(batch).await?;
        self.change(|tables| {
            tables.cleared(&cleared);
            tables.applying.insert(owner.clone());
            for owner in cleared.iter().filter(|it| *it != owner).chain([owner]) {
                self.show(tables, owner, Some(author));
            }
        });
        Ok(())
    }

    /// Notes that an apply has ended without a change of the declared tables. Its record is still stored.
    pub(super) fn leave(&self, owner: &Owner, author: &Author) {
        self.change(|tables| {
            tables.leave(owner);
            self.show(tables, owner, Some(author));
        });
        self.woken.notify_one();
    }

    /// Whether records of applies that have ended are still stored.
    pub(super) fn has_ended(&self) -> bool {
        self.read(|tables| !tables.ended.is_empty())
    }

    /// Deletes the records of applies that have ended. The caller holds the lock of the whole table.
    pub(super) async fn clear_ended(&self) -> Result<(), StoreError> {
        let (batch, cleared) = self.clearing()?;
        if !cleared.is_empty() {
            self.store.write(batch).await?;
            self.change(|tables| {
                tables.cleared(&cleared);
                for owner in &cleared {
                    self.show(tables, owner, None);
                }
            });
        }
        Ok(())
    }

    /// A batch that deletes the records of applies that have ended, and their owners. Each change of the tables
    /// begins with it: the next start must not complete these applies over what is stored since.
    fn clearing(&self) -> Result<(WriteBatch, BTreeSet<Owner>), StoreError> {
        let mut batch = WriteBatch::new();
        let ended = self.read(|tables| tables.ended.clone());
        ended
            .iter()
            .try_for_each(|owner| batch.delete(&PENDING, owner.as_str()))?;
        Ok((batch, ended))
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
        match self.store_tables(&changed, applied.as_ref()).await {
            Ok(cleared) => {
                self.change(|tables| {
                    self.replace_in_memory(tables, changed, applied, cleared, author);
                });
                self.woken.notify_one();
                Ok(())
            }
            Err(error) => {
                if let Some(owner) = &applied {
                    self.leave(owner, author);
                }
                Err(error)
            }
        }
    }

    /// Stores tables and the end of an apply. The result is the owners whose applies had ended before.
    async fn store_tables(
        &self,
        changed: &[Changed],
        applied: Option<&Owner>,
    ) -> Result<BTreeSet<Owner>, StoreError> {
        let (mut batch, cleared) = self.clearing()?;
        let mut edits = Vec::new();
        offload(|| {
            changed.iter().try_for_each(|(owner, table)| {
                let old = self.table(owner);
                let written = self.edits();
                edits.extend(written.write(&mut batch, owner, old.as_deref(), table.as_ref())?);
                Ok::<_, StoreError>(())
            })
        })?;
        if let Some(owner) = applied {
            batch.delete(&PENDING, owner.as_str())?;
        }
        self.store.write(batch).await?;
        self.edits().stored(edits);
        Ok(cleared)
    }

    /// Replaces tables by those that are stored, and shows them and those of `others`, whose records are deleted.
    fn replace_in_memory(
        &self,
        tables: &mut Tables,
        changed: Vec<Changed>,
        applied: Option<Owner>,
        mut others: BTreeSet<Owner>,
        author: &Author,
    ) {
        if let Some(owner) = applied {
            tables.drifted.remove(&owner);
            others.insert(owner);
        }
        tables.cleared(&others);
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
        others.retain(|owner| !owners.contains(owner));
        for owner in owners.iter().chain(&others) {
            self.show(tables, owner, Some(author));
        }
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
