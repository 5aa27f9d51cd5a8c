//! Services with so many servers that a read of them is not short.

use std::sync::{Mutex, PoisonError};

use foldhash::{HashSet, HashSetExt};

use crate::model::ServiceKey;

/// The services of which the last dump of servers had more datagrams than one receive takes. They are
/// read on the thread for long reads.
#[derive(Debug)]
pub struct LargeServices(Mutex<HashSet<ServiceKey>>);

/// The most services that are remembered. Beyond them, each read of another one is taken for short.
const MOST: usize = 4096;

// === impl LargeServices ===

impl LargeServices {
    pub(super) fn new() -> Self {
        Self(Mutex::new(HashSet::new()))
    }

    pub(super) fn contains(&self, key: ServiceKey) -> bool {
        let large = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        !large.is_empty() && large.contains(&key)
    }

    /// Forgets all services, because they have been deleted.
    pub(super) fn clear(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// Remembers the size of a service.
    pub(super) fn note(&self, key: ServiceKey, is_large: bool) {
        let mut large = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_large {
            large.remove(&key);
        } else if large.len() < MOST {
            large.insert(key);
        }
    }
}
