//! What is stored of the health of servers: which have failed, and overrides. Of others, nothing is stored.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    executor::Member,
    model::Forced,
    store::{Collection, Store, StoreError, WriteBatch},
};

/// What is stored of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredHealth {
    /// Whether it has failed and is held.
    pub is_down: bool,
    /// When its state began.
    pub since: Timestamp,
    /// Why it has failed.
    #[serde(default)]
    pub reason: Option<String>,
    /// The override.
    #[serde(default)]
    pub forced: Option<Override>,
}

/// What an operator has forced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Override {
    /// What is forced.
    pub state: Forced,
    /// When it began.
    pub since: Timestamp,
    /// When it ends; `None`: never.
    pub expires: Option<Timestamp>,
}

/// By `SERVICE/SERVER`.
const HEALTH: Collection<StoredHealth> = Collection::new("server-health");

/// Reads the records. Blocks.
pub(super) fn load(store: &Store) -> Result<HashMap<Member, StoredHealth>, StoreError> {
    let stored = store.load_if_available(&HEALTH)?.into_iter();
    let member = |key: &str| {
        let (service, server) = key.split_once('/')?;
        Some((service.parse().ok()?, server.parse().ok()?))
    };
    Ok(stored
        .filter_map(|(key, health)| Some((member(&key)?, health)))
        .collect())
}

/// Records of a batch. More of them might be more than a batch may have.
pub(super) const BATCH: usize = 4096;

/// A change that stores records; `None` deletes one.
pub(super) fn batch(records: &[(Member, Option<StoredHealth>)]) -> Result<WriteBatch, StoreError> {
    let mut batch = WriteBatch::new();
    for ((service, server), record) in records {
        let key = format!("{service}/{server}");
        match record {
            Some(record) => batch.put(&HEALTH, key, record)?,
            None => batch.delete(&HEALTH, key)?,
        }
    }
    Ok(batch)
}
