//! The idempotency keys of the last day, in memory and in the store.
//!
//! A key is durable before its write begins. If the end of the daemon cuts the write, or its outcome is unknown,
//! the repetition is executed as [`RequestContext::resumed`](super::RequestContext::resumed): what is as
//! requested already counts as done.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    identity::Principal,
    model::{Error, Reason, Sha256},
    store::{Collection, Store, StoreError, WriteBatch},
};

/// A request with a key, by digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyedRequest {
    principal: Sha256,
    /// Of the principal and of the key.
    pub(super) key: Sha256,
    /// Of everything that a repetition has in common with the first request.
    content: Sha256,
}

/// The keys of the last day. Their responses are in the store only.
#[derive(Debug)]
pub(super) struct IdempotencyKeys {
    store: Store,
    max: usize,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    by_key: HashMap<Sha256, Entry>,
    /// The keys in the order in which they were first used.
    order: BTreeMap<u64, Sha256>,
    /// The numbers of the keys of each principal.
    by_principal: HashMap<Sha256, BTreeSet<u64>>,
    next: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    principal: Sha256,
    content: Sha256,
    number: u64,
    /// When it was first used, in seconds since 1970.
    time: i64,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// It has begun, and how it ended is unknown.
    Interrupted,
    Done,
}

/// What is stored of a key beside its response.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    principal: Sha256,
    content: Sha256,
    time: i64,
    done: bool,
}

/// A write in progress. Unless it [finishes](Self::finish), the repetition resumes it.
#[derive(Debug)]
pub(super) struct Run {
    keys: Arc<IdempotencyKeys>,
    key: Sha256,
    record: Record,
    /// Whether the write was begun before, with an unknown outcome.
    pub is_resumed: bool,
    is_ended: bool,
}

/// What becomes of a key at the end of its write.
#[derive(Debug)]
pub enum Ended {
    /// A repetition gets what is kept of the response.
    Kept(Value),
    /// Nothing was changed: a repetition is executed.
    Refused,
    /// The outcome is unknown: a repetition is [resumed](super::RequestContext::resumed).
    Unknown,
}

/// What becomes of a request with a key.
pub(super) enum Begun {
    /// It is executed.
    Run(Run),
    /// It was executed before.
    Done,
}

/// Keys, by the digest of principal and key.
const KEYS: Collection<Record> = Collection::new("idempotency-keys");
/// Responses of those that are done, by the same digest.
const RESPONSES: Collection<Value> = Collection::new("idempotency-responses");

/// Seconds for which a key is kept.
const MAX_AGE: i64 = 24 * 60 * 60;
/// Keys that a request removes at most, beside the one that makes place for its own.
const MAX_REMOVED: usize = 100;

// === impl KeyedRequest ===

impl KeyedRequest {
    /// The request of a principal with a key. `content` has all parts that a repetition must have in common.
    pub fn new(principal: &Principal, key: &str, content: &[&[u8]]) -> Self {
        let Principal { name, kind, .. } = principal;
        let principal = Sha256::of_parts(&[kind.to_string().as_bytes(), name.as_bytes()]);
        Self {
            principal,
            key: Sha256::of_parts(&[principal.as_bytes(), key.as_bytes()]),
            content: Sha256::of_parts(content),
        }
    }
}

// === impl IdempotencyKeys ===

/// No keys, and a store in memory, which keeps none.
impl Default for IdempotencyKeys {
    fn default() -> Self {
        Self {
            store: Store::in_memory(),
            max: 0,
            entries: Mutex::default(),
        }
    }
}

impl IdempotencyKeys {
    /// Reads the keys, and removes those that are too old or too many. Blocks.
    pub fn load(store: Store, max: usize) -> Result<Self, StoreError> {
        let mut records = store.load_if_available(&KEYS)?;
        records.sort_by_key(|(_, record)| record.time);
        let mut entries = Entries::default();
        let mut batch = WriteBatch::new();
        let excess = records.len().saturating_sub(max);
        let now = now();
        for (index, (text, record)) in records.into_iter().enumerate() {
            let Ok(key) = text.parse() else {
                tracing::warn!(
                    key = text,
                    "a stored idempotency key is not valid; it is left"
                );
                continue;
            };
            if index < excess || is_expired(record.time, now) {
                remove_from_store(&mut batch, &text)?;
                continue;
            }
            let phase = match record.done {
                true => Phase::Done,
                false => Phase::Interrupted,
            };
            entries.insert(key, &record, phase);
        }
        if !batch.is_empty() {
            store.write_blocking(batch)?;
        }
        Ok(Self {
            store,
            max,
            entries: Mutex::new(entries),
        })
    }

    /// Begins a write, whose key is then durable, unless it was begun before.
    pub async fn begin(self: &Arc<Self>, request: KeyedRequest) -> Result<Begun, Error> {
        let KeyedRequest {
            principal,
            key,
            content,
        } = request;
        let now = now();
        let (run, commit) = {
            let mut entries = self.lock();
            if let Some(entry) = entries.current(key, now) {
                if entry.content != content {
                    return Err(reused());
                }
                match entry.phase {
                    Phase::Running => return Err(in_progress()),
                    Phase::Done => return Ok(Begun::Done),
                    Phase::Interrupted => entry.phase = Phase::Running,
                }
                let record = Record::of(entry);
                return Ok(Begun::Run(self.run(key, record, true)));
            }
            let mut batch = WriteBatch::new();
            entries.remove_expired(now, &mut batch)?;
            if entries.by_key.len() >= self.max {
                entries.make_place(principal, &mut batch)?;
            }
            let record = Record {
                principal,
                content,
                time: now,
                done: false,
            };
            batch.put(&KEYS, key.to_string(), &record)?;
            let commit = self.store.submit(batch)?;
            entries.insert(key, &record, Phase::Running);
            (self.run(key, record, false), commit)
        };
        match commit.await {
            Ok(()) => Ok(Begun::Run(run)),
            Err(error) => {
                run.forget();
                Err(error.into())
            }
        }
    }

    fn run(self: &Arc<Self>, key: Sha256, record: Record, is_resumed: bool) -> Run {
        Run {
            keys: self.clone(),
            key,
            record,
            is_resumed,
            is_ended: false,
        }
    }

    /// What is kept of a response.
    pub async fn response(&self, key: Sha256) -> Result<Value, Error> {
        let store = self.store.clone();
        let read = move || store.get(&RESPONSES, &key.to_string());
        let read = tokio::task::spawn_blocking(read).await;
        let read = read.map_err(|error| Error::new(Reason::Internal, error.to_string()))?;
        // It can be removed meanwhile.
        read?.ok_or_else(in_progress)
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Record ===

impl Record {
    /// Of a write that has not ended.
    fn of(entry: &Entry) -> Self {
        let Entry {
            principal,
            content,
            time,
            ..
        } = *entry;
        Self {
            principal,
            content,
            time,
            done: false,
        }
    }
}

// === impl Entries ===

impl Entries {
    fn insert(&mut self, key: Sha256, record: &Record, phase: Phase) {
        let Record {
            principal,
            content,
            time,
            ..
        } = *record;
        // One that is too old.
        self.remove(key);
        let number = self.next;
        self.next += 1;
        self.order.insert(number, key);
        self.by_principal
            .entry(principal)
            .or_default()
            .insert(number);
        let entry = Entry {
            principal,
            content,
            number,
            time,
            phase,
        };
        self.by_key.insert(key, entry);
    }

    fn remove(&mut self, key: Sha256) {
        let Some(entry) = self.by_key.remove(&key) else {
            return;
        };
        self.order.remove(&entry.number);
        if let Some(numbers) = self.by_principal.get_mut(&entry.principal) {
            numbers.remove(&entry.number);
            if numbers.is_empty() {
                self.by_principal.remove(&entry.principal);
            }
        }
    }

    /// The entry of a key, if it is not too old.
    fn current(&mut self, key: Sha256, now: i64) -> Option<&mut Entry> {
        let entry = self.by_key.get_mut(&key)?;
        (entry.phase == Phase::Running || !is_expired(entry.time, now)).then_some(entry)
    }

    /// Removes keys that are too old; those in use stay.
    fn remove_expired(&mut self, now: i64, batch: &mut WriteBatch) -> Result<(), StoreError> {
        let entry = |key: &Sha256| self.by_key.get(key).copied();
        let expired: Vec<_> = self
            .order
            .values()
            .map_while(|key| {
                entry(key)
                    .filter(|it| is_expired(it.time, now))
                    .map(|it| (*key, it))
            })
            .take(MAX_REMOVED)
            .filter(|(_, entry)| entry.phase != Phase::Running)
            .collect();
        for (key, _) in expired {
            self.remove(key);
            remove_from_store(batch, &key.to_string())?;
        }
        Ok(())
    }

    /// Removes the oldest key that is not in use of the principal that has the most, with the new one of
    /// `principal`: nobody can push out the keys of those that have fewer.
    fn make_place(&mut self, principal: Sha256, batch: &mut WriteBatch) -> Result<(), Error> {
        let idle = |number: &u64| {
            let key = self.order.get(number)?;
            let entry = self.by_key.get(key)?;
            (entry.phase != Phase::Running).then_some((*number, *key))
        };
        let oldest = self.by_principal.iter().filter_map(|(of, numbers)| {
            let (number, key) = numbers.iter().find_map(idle)?;
            let count = numbers.len() + usize::from(*of == principal);
            Some(((count, Reverse(number)), key))
        });
        let Some((_, key)) = oldest.max_by_key(|(rank, _)| *rank) else {
            let detail = "as many requests with idempotency keys are in progress as may be";
            return Err(Error::new(Reason::RateLimited, detail)
                .with_hint("retry later, or raise idempotency.max_keys of the daemon"));
        };
        self.remove(key);
        Ok(remove_from_store(batch, &key.to_string())?)
    }
}

// === impl Run ===

impl Run {
    /// Stores what is kept of the response, or makes the key free again.
    pub async fn finish(self, ended: Ended) {
        let stored = match ended {
            Ended::Kept(response) => self.store(&response).await,
            Ended::Refused => self.free(),
            // It stays as it is stored.
            Ended::Unknown => Ok(()),
        };
        if let Err(error) = stored {
            tracing::warn!(%error, "the outcome of a request with an idempotency key cannot be stored");
        }
    }

    async fn store(mut self, response: &Value) -> Result<(), StoreError> {
        let key = self.key.to_string();
        self.record.done = true;
        let mut batch = WriteBatch::new();
        batch.put(&RESPONSES, key.as_str(), response)?;
        batch.put(&KEYS, key, &self.record)?;
        self.keys.store.write(batch).await?;
        self.is_ended = true;
        if let Some(entry) = self.keys.lock().by_key.get_mut(&self.key) {
            entry.phase = Phase::Done;
        }
        Ok(())
    }

    fn free(self) -> Result<(), StoreError> {
        let mut batch = WriteBatch::new();
        batch.delete(&KEYS, self.key.to_string())?;
        // Before the same key is stored again. If it stays, a repetition is resumed, and does the same.
        let submitted = self.keys.store.submit(batch);
        self.forget();
        submitted.map(drop)
    }

    /// Frees the key in memory.
    fn forget(mut self) {
        self.is_ended = true;
        self.keys.lock().remove(self.key);
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.is_ended {
            return;
        }
        if let Some(entry) = self.keys.lock().by_key.get_mut(&self.key) {
            entry.phase = Phase::Interrupted;
        }
    }
}

fn remove_from_store(batch: &mut WriteBatch, key: &str) -> Result<(), StoreError> {
    batch.delete(&KEYS, key)?;
    batch.delete(&RESPONSES, key)
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn is_expired(time: i64, now: i64) -> bool {
    now.saturating_sub(time) >= MAX_AGE
}

fn in_progress() -> Error {
    let detail = "a request with this idempotency key is in progress";
    Error::new(Reason::IdempotencyInProgress, detail)
        .with_hint("repeat it later with the same key: the response is that of the first request")
}

fn reused() -> Error {
    let detail = "another request was sent with this idempotency key; nothing was changed";
    Error::new(Reason::IdempotencyKeyReused, detail).with_hint("use a new key for each request")
}
