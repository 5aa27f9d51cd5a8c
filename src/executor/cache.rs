//! The most recent query results, for requests that accept some age.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::query::TypedQuery;
use crate::kernel::NamespaceId;

/// A query result with its age.
#[derive(Clone, Debug)]
pub struct Cached<T> {
    /// The result.
    pub value: T,
    /// Time since it was read; zero if it was read for this request.
    pub age: Duration,
    /// Whether the cache keeps it for later requests.
    pub kept: bool,
}

/// Results that some request accepts with an age, until the next own write.
///
/// A std mutex: it is held for a few instructions and never across an await.
#[derive(Debug, Default)]
pub struct Cache(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    /// Number of times the cache was cleared.
    generation: u64,
    /// At most one entry, an `Entry<Q::Answer>`, per [`TypedQuery::kept_as`]: cached queries have no
    /// parameters.
    by_query: HashMap<TypeId, Box<dyn Any + Send>>,
}

#[derive(Debug)]
struct Entry<A> {
    read: Instant,
    /// The network namespace in which it was read.
    namespace: NamespaceId,
    value: A,
    /// The largest age that a request has accepted.
    max_age: Duration,
}

// === impl Cache ===

impl Cache {
    /// The kept result of a query in a network namespace, if it is at most `max_age` old.
    pub(super) fn get<Q: TypedQuery>(
        &self,
        _query: &Q,
        namespace: NamespaceId,
        max_age: Duration,
    ) -> Option<Cached<Q::Answer>> {
        if max_age.is_zero() || !Q::CACHED {
            return None;
        }
        let mut entries = self.entries();
        let entry = entries.by_query.get_mut(&Q::kept_as())?;
        let entry = entry.downcast_mut::<Entry<Q::Answer>>()?;
        entry.max_age = entry.max_age.max(max_age);
        let age = entry.read.elapsed();
        let is_valid = age <= max_age && entry.namespace == namespace;
        (is_valid && Q::is_answered_by(&entry.value)).then(|| Cached {
            value: entry.value.clone(),
            age,
            kept: true,
        })
    }

    /// Keeps a fresh result if a request accepts it with an age, and the cache has not been cleared since
    /// `generation`. Returns whether it did.
    pub(super) fn keep<Q: TypedQuery>(
        &self,
        _query: &Q,
        namespace: NamespaceId,
        value: &Q::Answer,
        max_age: Duration,
        generation: u64,
    ) -> bool {
        if max_age.is_zero() || !Q::CACHED {
            return false;
        }
        let entry = Entry {
            read: Instant::now(),
            namespace,
            value: value.clone(),
            max_age,
        };
        let mut entries = self.entries();
        // Under the same lock as `clear`: a change may end at any moment.
        if entries.generation != generation {
            return false;
        }
        entries.by_query.insert(Q::kept_as(), Box::new(entry));
        true
    }

    /// Removes a result before it is read again, so that two tables never exist at once. Returns
    /// the largest age that a request has accepted for it; zero if none has in that time.
    pub(super) fn take_max_age<Q: TypedQuery>(&self, _query: &Q) -> Duration {
        if !Q::CACHED {
            return Duration::ZERO;
        }
        let removed = self.entries().by_query.remove(&Q::kept_as());
        removed
            .and_then(|entry| entry.downcast::<Entry<Q::Answer>>().ok())
            .filter(|entry| entry.read.elapsed() <= entry.max_age)
            .map_or(Duration::ZERO, |entry| entry.max_age)
    }

    /// Removes everything, because this process has changed the kernel.
    pub(super) fn clear(&self) {
        let mut entries = self.entries();
        entries.generation += 1;
        let removed = std::mem::take(&mut entries.by_query);
        drop(entries);
        // A table is large: free it without the lock.
        drop(removed);
    }

    /// Number of times the cache was cleared. A result that was read while this grew is not kept.
    pub(super) fn generation(&self) -> u64 {
        self.entries().generation
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // No code panics while it holds the lock, and a cache may be used after a panic anyway.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
