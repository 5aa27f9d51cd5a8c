//! The most recent query results, for requests that accept some age.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    thread::Thread,
    time::{Duration, Instant},
};

use super::query::TypedQuery;
use crate::{clock, kernel::NamespaceId, watch::Revision};

/// A query result with its age.
#[derive(Clone, Debug)]
pub struct Cached<T> {
    /// The result.
    pub value: T,
    /// Time since it was read; zero if it was read for this request.
    pub age: Duration,
    /// Whether the cache keeps it for later requests.
    pub kept: bool,
    /// A revision such that the result has every change up to it, if somebody needs the watch cache.
    pub revision: Option<Revision>,
}

/// Results that some request accepts with an age, until the next own write.
///
/// A std mutex: it is held for a few instructions and never across an await.
#[derive(Debug, Default)]
pub struct Cache {
    entries: Mutex<Entries>,
    /// The thread that [frees](Self::free_unusable) results. A table may be large, and a change may run
    /// in a task.
    thread: OnceLock<Thread>,
}

#[derive(Debug, Default)]
struct Entries {
    /// Number of times the cache was cleared.
    generation: u64,
    /// At most one entry per [`TypedQuery::kept_as`].
    by_query: HashMap<TypeId, Entry>,
}

#[derive(Debug)]
struct Entry {
    /// The generation in which it was read. A later one cannot use it.
    generation: u64,
    read: Instant,
    /// The network namespace in which it was read.
    namespace: NamespaceId,
    /// The largest age that a request has accepted.
    max_age: Duration,
    revision: Option<Revision>,
    /// A `Q::Answer`.
    value: Box<dyn Any + Send>,
}

// === impl Cache ===

impl Cache {
    /// The kept result of a query in a network namespace, if it is at most `max_age` old.
    pub(super) fn get<Q: TypedQuery>(
        &self,
        namespace: NamespaceId,
        max_age: Duration,
    ) -> Option<Cached<Q::Answer>> {
        if max_age.is_zero() || !Q::CACHED {
            return None;
        }
        let mut entries = self.entries();
        let generation = entries.generation;
        let entry = entries.by_query.get_mut(&Q::kept_as())?;
        entry.max_age = entry.max_age.max(max_age);
        let age = clock::now().saturating_duration_since(entry.read);
        let value = entry.value.downcast_ref::<Q::Answer>()?;
        let is_valid = entry.generation == generation
            && entry.namespace == namespace
            && age <= max_age
            && Q::is_answered_by(value);
        is_valid.then(|| Cached {
            value: value.clone(),
            age,
            kept: true,
            revision: entry.revision,
        })
    }

    /// Keeps a fresh result if a request accepts it with an age, and the cache has not been cleared since
    /// `generation`. Returns whether it did.
    pub(super) fn keep<Q: TypedQuery>(
        &self,
        namespace: NamespaceId,
        value: &Q::Answer,
        max_age: Duration,
        generation: u64,
        revision: Option<Revision>,
    ) -> bool {
        if max_age.is_zero() || !Q::CACHED {
            return false;
        }
        let entry = Entry {
            generation,
            read: Instant::now(),
            namespace,
            max_age,
            revision,
            value: Box::new(value.clone()),
        };
        let mut entries = self.entries();
        // Under the same lock as `clear`: a change may end at any moment.
        if entries.generation != generation {
            return false;
        }
        entries.by_query.insert(Q::kept_as(), entry);
        true
    }

    /// Removes a result before it is read again, so that two tables never exist at once. Returns
    /// the largest age that a request has accepted for it; zero if none has in that time.
    pub(super) fn take_max_age<Q: TypedQuery>(&self) -> Duration {
        if !Q::CACHED {
            return Duration::ZERO;
        }
        let mut entries = self.entries();
        let generation = entries.generation;
        let removed = entries.by_query.remove(&Q::kept_as());
        drop(entries);
        removed
            .filter(|entry| entry.generation == generation && entry.read.elapsed() <= entry.max_age)
            .map_or(Duration::ZERO, |entry| entry.max_age)
    }

    /// Makes all results unusable, because this process has changed the kernel.
    pub(super) fn clear(&self) {
        let mut entries = self.entries();
        let current = entries.generation;
        entries.generation += 1;
        let wake = entries
            .by_query
            .values()
            .any(|entry| entry.generation == current);
        drop(entries);
        if let Some(thread) = self.thread.get().filter(|_| wake) {
            thread.unpark();
        }
    }

    /// Makes the current thread the one that frees results.
    pub(super) fn attach(&self) {
        // There is one such thread.
        let _ = self.thread.set(std::thread::current());
    }

    /// Frees the results that no request can use any more; those of short reads, which are small, possibly
    /// later. Returns the time until another one becomes
    /// too old, if there is one.
    pub(super) fn free_unusable(&self) -> Option<Duration> {
        let mut entries = self.entries();
        if entries.by_query.is_empty() {
            return None;
        }
        let (generation, now) = (entries.generation, Instant::now());
        let left = |entry: &Entry| entry.max_age.saturating_sub(now.duration_since(entry.read));
        let unusable: Vec<_> = entries
            .by_query
            .extract_if(|_, entry| entry.generation != generation || left(entry).is_zero())
            .collect();
        let next = entries.by_query.values().map(left).min();
        drop(entries);
        // Without the lock.
        drop(unusable);
        next
    }

    /// Number of times the cache was cleared. A result that was read while this grew is not kept.
    pub(super) fn generation(&self) -> u64 {
        self.entries().generation
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // No code panics while it holds the lock, and a cache may be used after a panic anyway.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
