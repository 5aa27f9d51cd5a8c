//! The store of a daemon without a directory: records in memory, which end with the process.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    batch::{Action, WriteBatch},
    collection::Visit,
    error::StoreError,
};

/// Records by key, by collection.
type Collections = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Collections>);

// === impl Memory ===

impl Memory {
    /// Makes all changes of the batch.
    pub(super) fn apply(&self, batch: &WriteBatch) {
        let mut collections = self.lock();
        for change in batch.changes() {
            let name = change.collection.as_ref();
            let records = match collections.get_mut(name) {
                Some(records) => records,
                None => collections.entry(name.to_owned()).or_default(),
            };
            match &change.action {
                Action::Put { key, value } => drop(records.insert(key.clone(), value.clone())),
                Action::Delete { key } => drop(records.remove(key)),
                Action::DeletePrefix { prefix } => {
                    records.retain(|key, _| !key.starts_with(prefix));
                }
            }
        }
    }

    /// Calls `visit` for the records whose keys begin with `prefix`, in the order of the keys.
    pub(super) fn scan(
        &self,
        collection: &str,
        prefix: &str,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        let collections = self.lock();
        let Some(records) = collections.get(collection) else {
            return Ok(());
        };
        records
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .try_for_each(|(key, value)| visit(key, value))
    }

    /// The record of a key.
    pub(super) fn get(&self, collection: &str, key: &str) -> Option<Vec<u8>> {
        self.lock().get(collection)?.get(key).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Collections> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
