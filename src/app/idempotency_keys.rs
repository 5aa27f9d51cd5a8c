//! The idempotency keys of the last day, in memory and in the store.
//!
//! A key is durable before its write begins. If the end of the daemon cuts the write, or its outcome is unknown,
//! the repetition is executed as [`RequestContext::resumed`](super::RequestContext::resumed): what is as
//! requested already counts as done.
//!
//! A response is sent before it is durable. It becomes durable with the key of the next write, or
//! [`MAX_WAIT`] later: a write needs one commit instead of two. A repetition after a crash in between is resumed.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value;

use super::idempotency_entries::{
    Entries, KEYS, Phase, RESPONSES, Record, Response, is_expired, now, remove_from_store,
};
use crate::{
    identity::Principal,
    model::{Error, Reason, Sha256},
    store::{Store, StoreError, WriteBatch},
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

/// The keys of the last day. Their responses are in the store only, once they are durable.
#[derive(Debug)]
pub(super) struct IdempotencyKeys {
    store: Store,
    max: usize,
    entries: Mutex<Entries>,
}

/// A write in progress. Unless it [finishes](Self::finish), the repetition resumes it.
#[derive(Debug)]
pub(super) struct Run {
    keys: Arc<IdempotencyKeys>,
    key: Sha256,
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

/// How long a response waits for the key of another write. It is longer than a client on the same network takes to
/// send one.
const MAX_WAIT: Duration = Duration::from_millis(10);

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
                return Ok(Begun::Run(self.run(key, true)));
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
            let commit = self.submit(&mut entries, batch);
            entries.insert(key, &record, Phase::Running);
            (self.run(key, false), commit)
        };
        // In a task: the responses of other writes are in the batch, whatever becomes of this request.
        let stored = tokio::spawn(commit).await;
        let stored = stored.unwrap_or(Err(StoreError::Closed));
        match stored {
            Ok(()) => Ok(Begun::Run(run)),
            Err(error) => {
                run.forget();
                Err(error.into())
            }
        }
    }

    fn run(self: &Arc<Self>, key: Sha256, is_resumed: bool) -> Run {
        Run {
            keys: self.clone(),
            key,
            is_resumed,
            is_ended: false,
        }
    }

    /// Submits a batch, with the responses that are in no batch. The result waits until they are durable; those that
    /// could not be stored wait for the next batch.
    fn submit(
        self: &Arc<Self>,
        entries: &mut Entries,
        mut batch: WriteBatch,
    ) -> impl Future<Output = Result<(), StoreError>> + Send + 'static {
        let responses = entries.submit_responses(&mut batch);
        let commit = self.store.submit(batch);
        let keys = self.clone();
        async move {
            let stored = match commit {
                Ok(commit) => commit.await,
                Err(error) => Err(error),
            };
            if !responses.is_empty() {
                keys.lock().settle(&responses, stored.is_ok());
            }
            stored
        }
    }

    /// Stores the responses that no other write has stored until then.
    pub async fn store_responses(self: Arc<Self>) {
        tokio::time::sleep(MAX_WAIT).await;
        let commit = {
            let mut entries = self.lock();
            entries.is_storing = false;
            self.submit(&mut entries, WriteBatch::new())
        };
        if let Err(error) = commit.await {
            tracing::warn!(%error, "responses to requests with idempotency keys cannot be stored yet");
        }
    }

    /// What is kept of a response.
    pub async fn response(&self, key: Sha256) -> Result<Value, Error> {
        if let Some(response) = self.lock().responses.get(&key) {
            return Ok(response.content.clone());
        }
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

// === impl Run ===

impl Run {
    /// Keeps what is kept of the response, or makes the key free again. Returns whether
    /// [`IdempotencyKeys::store_responses`] must be called.
    pub fn finish(self, ended: Ended) -> bool {
        match ended {
            Ended::Kept(response) => self.keep(response),
            Ended::Refused => {
                self.free();
                false
            }
            // It stays as it is stored.
            Ended::Unknown => false,
        }
    }

    fn keep(mut self, content: Value) -> bool {
        self.is_ended = true;
        let mut entries = self.keys.lock();
        entries.set_phase(self.key, Phase::Running, Phase::Done);
        let response = Response {
            content,
            is_submitted: false,
        };
        entries.responses.insert(self.key, response);
        !std::mem::replace(&mut entries.is_storing, true)
    }

    fn free(self) {
        let mut batch = WriteBatch::new();
        // Before the same key is stored again. If it stays, a repetition is resumed, and does the same.
        let deleted = batch
            .delete(&KEYS, self.key.to_string())
            .and_then(|()| self.keys.store.submit(batch).map(drop));
        if let Err(error) = deleted {
            tracing::warn!(%error, "an idempotency key cannot be made free");
        }
        self.forget();
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
        let mut entries = self.keys.lock();
        entries.set_phase(self.key, Phase::Running, Phase::Interrupted);
    }
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
