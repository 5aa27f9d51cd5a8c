//! The labels of services: stored before the kernel executes what sets them, so that the two do not differ.

use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use super::{offload::offload, socket::Outcome};
use crate::{
    model::{Error, Kept, Labels, Op, Reason, ServiceKey},
    watch::WatchCache,
};

/// Stores labels.
pub trait LabelStore: Debug + Send + Sync {
    /// Stores the labels of services; a service without any has no record. They are durable when it returns. If it
    /// fails, nothing was changed. Blocks.
    fn write(&self, changes: &[(ServiceKey, Labels)]) -> Result<(), Error>;
}

/// What is stored of the labels of services.
#[derive(Debug, Default)]
pub(super) struct StoredLabels {
    /// `None`: labels are kept in memory alone.
    store: OnceLock<Box<dyn LabelStore>>,
    stored: Mutex<Stored>,
}

#[derive(Debug, Default)]
struct Stored {
    by_service: HashMap<ServiceKey, Labels>,
    /// Memory of the labels, about.
    bytes: usize,
}

/// Labels of all services at most, in bytes.
const MAX_BYTES: usize = 64 << 20;

// === impl StoredLabels ===

impl StoredLabels {
    /// Sets where labels are stored, and what is stored. Only the first call has an effect.
    pub fn load(&self, store: Box<dyn LabelStore>, labels: &[(ServiceKey, Labels)]) {
        if self.store.set(store).is_ok() {
            let mut stored = self.stored();
            labels.iter().for_each(|(key, one)| stored.set(*key, one));
        }
    }

    /// Stores the labels that operations set, before the kernel executes any of them.
    pub fn store(&self, ops: &[Op]) -> Result<(), Error> {
        let set = |op: &Op| match op {
            Op::CreateService(key, _, labels) | Op::SetLabels(key, labels) => {
                Some((*key, labels.clone()))
            }
            _ => None,
        };
        self.write(ops.iter().filter_map(set).collect())
    }

    /// Makes what is stored equal to what is kept, after operations: a service that was deleted has no labels, and
    /// one that was not created has those that were kept. Of an operation whose outcome is unknown, they stay.
    pub fn settle<'a>(&self, ops: impl Iterator<Item = (&'a Op, Outcome)>, watch: &WatchCache) {
        if self.stored().by_service.is_empty() {
            return;
        }
        let mut services = Vec::new();
        for (op, _) in ops.filter(|(_, outcome)| *outcome != Outcome::Unknown) {
            match op {
                Op::CreateService(key, ..) | Op::SetLabels(key, _) | Op::DeleteService(key) => {
                    services.push(*key);
                }
                Op::Clear => services.extend(self.stored().by_service.keys()),
                _ => {}
            }
        }
        let kept = watch.kept();
        let labels = |key| (key, Kept::labels(&kept.of(key)).clone());
        if let Err(error) = self.write(services.into_iter().map(labels).collect()) {
            tracing::error!(%error, "labels are stored that services do not have; the next change of the service corrects them");
        }
    }

    /// Stores labels.
    fn write(&self, wanted: HashMap<ServiceKey, Labels>) -> Result<(), Error> {
        if wanted.is_empty() {
            return Ok(());
        }
        let mut stored = self.stored();
        let mut changes: Vec<_> = wanted.into_iter().collect();
        changes.retain(|(key, labels)| stored.of(*key) != labels);
        if changes.is_empty() {
            return Ok(());
        }
        let added: usize = changes.iter().map(|(_, labels)| labels.bytes()).sum();
        if added > 0 && stored.bytes + added > MAX_BYTES {
            let limit = MAX_BYTES >> 20;
            let detail =
                format!("the labels of all services exceed {limit} MB; nothing was changed");
            let hint = "remove labels that are not needed";
            return Err(Error::new(Reason::RateLimited, detail).with_hint(hint));
        }
        if let Some(store) = self.store.get() {
            offload(|| store.write(&changes))?;
        }
        changes
            .iter()
            .for_each(|(key, labels)| stored.set(*key, labels));
        Ok(())
    }

    fn stored(&self) -> MutexGuard<'_, Stored> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Stored ===

impl Stored {
    fn of(&self, key: ServiceKey) -> &Labels {
        self.by_service.get(&key).unwrap_or(Labels::NONE)
    }

    fn set(&mut self, key: ServiceKey, labels: &Labels) {
        let before = match labels.is_empty() {
            true => self.by_service.remove(&key),
            false => self.by_service.insert(key, labels.clone()),
        };
        self.bytes -= before.map_or(0, |before| before.bytes());
        self.bytes += labels.bytes();
    }
}
