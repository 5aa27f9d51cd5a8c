//! Batches: changes of records that happen together or not at all.

use std::borrow::Cow;

use serde::Serialize;

use super::{collection::Collection, error::StoreError};

/// Changes of records, in their order. They happen together or not at all.
#[derive(Clone, Debug, Default)]
pub struct WriteBatch {
    changes: Vec<Change>,
    bytes: usize,
}

/// A change of a collection.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) collection: Cow<'static, str>,
    pub(super) action: Action,
}

#[derive(Clone, Debug)]
pub(super) enum Action {
    /// Creates or replaces the record of a key. The value is JSON.
    Put { key: String, value: Vec<u8> },
    /// Deletes the record of a key, if there is one.
    Delete { key: String },
    /// Deletes the records whose keys begin so; all if it is empty.
    DeletePrefix { prefix: String },
}

/// Longest key in bytes. A key is part of the inner nodes of the tree, too.
pub const MAX_KEY_BYTES: usize = 2048;

/// Largest batch in bytes: several times the largest declared table (1000 services with 100 servers each are
/// 6 MB of JSON). It is also the memory of all batches that wait.
pub const MAX_BATCH_BYTES: usize = 32 << 20;

/// Memory of a change beside key and value, in bytes, about.
const OVERHEAD: usize = 128;

// === impl WriteBatch ===

impl WriteBatch {
    /// A batch without changes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates the record of a key, or replaces it. Fails if the value cannot be written as JSON, or if key or
    /// batch become too large; the batch is then as before.
    pub fn put<V: Serialize>(
        &mut self,
        collection: &Collection<V>,
        key: impl Into<String>,
        value: &V,
    ) -> Result<(), StoreError> {
        let value = serde_json::to_vec(value)
            .map_err(|error| StoreError::unwritable(collection.name(), error))?;
        self.put_json(Cow::Borrowed(collection.name()), key.into(), value)
    }

    /// Deletes the record of a key, if there is one. Fails as [`put`](Self::put) does.
    pub fn delete<V>(
        &mut self,
        collection: &Collection<V>,
        key: impl Into<String>,
    ) -> Result<(), StoreError> {
        self.push(collection.name(), Action::Delete { key: key.into() })
    }

    /// Deletes all records whose keys begin with `prefix`; those of the whole collection if it is empty. Fails
    /// as [`put`](Self::put) does.
    pub fn delete_prefix<V>(
        &mut self,
        collection: &Collection<V>,
        prefix: impl Into<String>,
    ) -> Result<(), StoreError> {
        let prefix = prefix.into();
        self.push(collection.name(), Action::DeletePrefix { prefix })
    }

    /// Whether there is no change.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Memory in bytes, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Creates or replaces the record of a key. The value is JSON.
    pub(super) fn put_json(
        &mut self,
        collection: Cow<'static, str>,
        key: String,
        value: Vec<u8>,
    ) -> Result<(), StoreError> {
        self.push(collection, Action::Put { key, value })
    }

    pub(super) fn push(
        &mut self,
        collection: impl Into<Cow<'static, str>>,
        action: Action,
    ) -> Result<(), StoreError> {
        let (key, value) = match &action {
            Action::Put { key, value } => (key, value.len()),
            Action::Delete { key } => (key, 0),
            Action::DeletePrefix { prefix } => (prefix, 0),
        };
        if key.len() > MAX_KEY_BYTES {
            return Err(StoreError::TooLarge {
                what: "a key",
                limit: MAX_KEY_BYTES,
            });
        }
        let bytes = self.bytes.saturating_add(key.len() + value + OVERHEAD);
        if bytes > MAX_BATCH_BYTES {
            return Err(StoreError::TooLarge {
                what: "a change",
                limit: MAX_BATCH_BYTES,
            });
        }
        self.bytes = bytes;
        self.changes.push(Change {
            collection: collection.into(),
            action,
        });
        Ok(())
    }
}
