//! The stored fields of services: stored before the kernel executes what sets them, so that the two do not differ.

use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use super::{offload::offload, socket::Outcome};
use crate::{
    model::{Error, Kept, Op, Reason, ServiceKey, StoredFields},
    watch::WatchCache,
};

/// Stores the stored fields of services.
pub trait FieldStore: Debug + Send + Sync {
    /// Stores the fields of services; a service without any has no record. They are durable when it returns. If it
    /// fails, nothing was changed. Blocks.
    fn write(&self, changes: &[(ServiceKey, StoredFields)]) -> Result<(), Error>;
}

/// What is stored of services.
#[derive(Debug, Default)]
pub(super) struct StoredServices {
    /// `None`: it is kept in memory alone.
    store: OnceLock<Box<dyn FieldStore>>,
    stored: Mutex<Stored>,
}

#[derive(Debug, Default)]
struct Stored {
    by_service: HashMap<ServiceKey, StoredFields>,
    /// Memory of the fields, about.
    bytes: usize,
}

/// Stored fields of all services at most, in bytes.
const MAX_BYTES: usize = 64 << 20;

// === impl StoredServices ===

impl StoredServices {
    /// Sets where the fields are stored, and what is stored. Only the first call has an effect.
    pub fn load(&self, store: Box<dyn FieldStore>, fields: &[(ServiceKey, StoredFields)]) {
        if self.store.set(store).is_ok() {
            let mut stored = self.stored();
            fields.iter().for_each(|(key, one)| stored.set(*key, one));
        }
    }

    /// Stores the fields that operations set, before the kernel executes any of them.
    pub fn store(&self, ops: &[Op]) -> Result<(), Error> {
        let set = |op: &Op| match op {
            Op::CreateService(key, _, fields) | Op::SetStored(key, fields) => {
                Some((*key, fields.clone()))
            }
            _ => None,
        };
        self.write(ops.iter().filter_map(set).collect())
    }

    /// Makes what is stored equal to what is kept, after operations: a service that was deleted has none, and
    /// one that was not created has those that were kept. Of an operation whose outcome is unknown, they stay.
    pub fn settle<'a>(&self, ops: impl Iterator<Item = (&'a Op, Outcome)>, watch: &WatchCache) {
        if self.stored().by_service.is_empty() {
            return;
        }
        let mut services = Vec::new();
        for (op, _) in ops.filter(|(_, outcome)| *outcome != Outcome::Unknown) {
            match op {
                Op::CreateService(key, ..) | Op::SetStored(key, _) | Op::DeleteService(key) => {
                    services.push(*key);
                }
                Op::Clear => services.extend(self.stored().by_service.keys()),
                _ => {}
            }
        }
        let kept = watch.kept();
        let fields = |key| (key, Kept::stored(&kept.of(key)).clone());
        if let Err(error) = self.write(services.into_iter().map(fields).collect()) {
            tracing::error!(%error, "labels or health checks are stored that services do not have; the next change of the service corrects them");
        }
    }

    /// Stores fields.
    fn write(&self, wanted: HashMap<ServiceKey, StoredFields>) -> Result<(), Error> {
        if wanted.is_empty() {
            return Ok(());
        }
        let mut stored = self.stored();
        let mut changes: Vec<_> = wanted.into_iter().collect();
        changes.retain(|(key, fields)| stored.of(*key) != fields);
        if changes.is_empty() {
            return Ok(());
        }
        let added: usize = changes.iter().map(|(_, fields)| fields.bytes()).sum();
        if added > 0 && stored.bytes + added > MAX_BYTES {
            let limit = MAX_BYTES >> 20;
            let detail = format!(
                "the labels and health checks of all services exceed {limit} MB; nothing was changed"
            );
            let hint = "remove those that are not needed";
            return Err(Error::new(Reason::RateLimited, detail).with_hint(hint));
        }
        if let Some(store) = self.store.get() {
            offload(|| store.write(&changes))?;
        }
        changes
            .iter()
            .for_each(|(key, fields)| stored.set(*key, fields));
        Ok(())
    }

    fn stored(&self) -> MutexGuard<'_, Stored> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Stored ===

impl Stored {
    fn of(&self, key: ServiceKey) -> &StoredFields {
        self.by_service.get(&key).unwrap_or(StoredFields::NONE)
    }

    fn set(&mut self, key: ServiceKey, fields: &StoredFields) {
        let before = match fields.is_empty() {
            true => self.by_service.remove(&key),
            false => self.by_service.insert(key, fields.clone()),
        };
        self.bytes -= before.map_or(0, |before| before.bytes());
        self.bytes += fields.bytes();
    }
}
