//! The declared tables in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    declared::{DeclaredTable, status_after},
    protection::{Claims, Protected, forget},
};
use crate::model::{ApplyOutcome, Owner, TableStatus};

/// The declared tables, and what is known about each.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub by_owner: BTreeMap<Owner, Arc<DeclaredTable>>,
    /// Whether the kernel had something else than each table declares when they were compared since its last apply.
    pub drifted: BTreeMap<Owner, bool>,
    /// Owners whose apply has begun and not ended: one that holds the lock of the whole table, and those that
    /// the end of the daemon has interrupted.
    pub applying: BTreeSet<Owner>,
    /// Those of them whose apply has ended, but the store has failed: only its record is left to be deleted.
    pub ended: BTreeSet<Owner>,
    pub claims: Arc<Claims>,
    /// What tables under [`Reconcile::Repair`](crate::model::Reconcile::Repair) declare.
    pub protected: Arc<Protected>,
}

// === impl Tables ===

impl Tables {
    pub fn insert(&mut self, table: DeclaredTable) {
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
    pub fn status(&self, table: &DeclaredTable) -> TableStatus {
        if self.applying.contains(&table.owner) {
            return TableStatus::Applying;
        }
        let last = table.state.last_apply.as_ref().map(|last| last.outcome);
        let is_drifted = self.drifted.get(&table.owner).copied();
        let is_drifted = is_drifted
            .or(last.map(|last| !matches!(last, ApplyOutcome::Unchanged | ApplyOutcome::Applied)));
        status_after(last, is_drifted.unwrap_or_default())
    }

    pub fn remove(&mut self, owner: &Owner) {
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

    /// Notes that the apply of an owner has ended, and is stored as one that has not. The kernel may have what is not
    /// declared.
    pub fn leave(&mut self, owner: &Owner) {
        if self.applying.contains(owner) {
            self.ended.insert(owner.clone());
        }
        self.drifted.insert(owner.clone(), true);
    }

    /// Notes that the records of applies that have ended are deleted.
    pub fn cleared(&mut self, owners: &BTreeSet<Owner>) {
        self.ended.retain(|owner| !owners.contains(owner));
        self.applying.retain(|owner| !owners.contains(owner));
    }
}
