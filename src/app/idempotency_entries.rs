//! The idempotency keys in memory, and what is stored of them.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    model::{Error, Reason, Sha256},
    store::{Collection, StoreError, WriteBatch},
};

#[derive(Debug, Default)]
pub(super) struct Entries {
    pub by_key: HashMap<Sha256, Entry>,
    /// The keys in the order in which they were first used.
    order: BTreeMap<u64, Sha256>,
    /// The numbers of the keys of each principal.
    by_principal: HashMap<Sha256, BTreeSet<u64>>,
    next: u64,
    /// Of keys that are done: the responses that are not durable yet.
    pub responses: HashMap<Sha256, Response>,
    /// Whether a task is about to store them.
    pub is_storing: bool,
}

#[derive(Debug)]
pub(super) struct Response {
    pub content: Value,
    /// Whether it is in a batch.
    pub is_submitted: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    principal: Sha256,
    pub content: Sha256,
    number: u64,
    /// When it was first used, in seconds since 1970.
    time: i64,
    pub phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    /// It has begun, and how it ended is unknown.
    Interrupted,
    Done,
}

/// What is stored of a key beside its response.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub principal: Sha256,
    pub content: Sha256,
    pub time: i64,
    pub done: bool,
}

/// Keys, by the digest of principal and key.
pub(super) const KEYS: Collection<Record> = Collection::new("idempotency-keys");
/// Responses of those that are done, by the same digest.
pub(super) const RESPONSES: Collection<Value> = Collection::new("idempotency-responses");

/// Seconds for which a key is kept.
const MAX_AGE: i64 = 24 * 60 * 60;
/// Keys that a request removes at most, beside the one that makes place for its own.
const MAX_REMOVED: usize = 100;

// === impl Entries ===

impl Entries {
    pub fn insert(&mut self, key: Sha256, record: &Record, phase: Phase) {
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

    /// Changes the phase of a key, if it is this one.
    pub fn set_phase(&mut self, key: Sha256, from: Phase, to: Phase) {
        if let Some(entry) = self.by_key.get_mut(&key).filter(|it| it.phase == from) {
            entry.phase = to;
        }
    }

    /// Adds the responses that are in no batch to one.
    pub fn submit_responses(&mut self, batch: &mut WriteBatch) -> Vec<Sha256> {
        let mut submitted = Vec::new();
        for (key, response) in self.responses.iter_mut().filter(|(_, it)| !it.is_submitted) {
            let Some(entry) = self.by_key.get(key) else {
                continue;
            };
            let record = Record {
                principal: entry.principal,
                content: entry.content,
                time: entry.time,
                done: true,
            };
            let text = key.to_string();
            let put = batch
                .put(&RESPONSES, text.as_str(), &response.content)
                .and_then(|()| batch.put(&KEYS, text, &record));
            // One that has no place waits for the next batch.
            if put.is_ok() {
                response.is_submitted = true;
                submitted.push(*key);
            }
        }
        submitted
    }

    /// Forgets responses that are durable; others are in no batch again.
    pub fn settle(&mut self, responses: &[Sha256], are_durable: bool) {
        for key in responses {
            if are_durable {
                self.responses.remove(key);
            } else if let Some(response) = self.responses.get_mut(key) {
                response.is_submitted = false;
            }
        }
    }

    pub fn remove(&mut self, key: Sha256) {
        self.responses.remove(&key);
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
    pub fn current(&mut self, key: Sha256, now: i64) -> Option<&mut Entry> {
        let entry = self.by_key.get_mut(&key)?;
        (entry.phase == Phase::Running || !is_expired(entry.time, now)).then_some(entry)
    }

    /// Removes keys that are too old; those in use stay.
    pub fn remove_expired(&mut self, now: i64, batch: &mut WriteBatch) -> Result<(), StoreError> {
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
    pub fn make_place(&mut self, principal: Sha256, batch: &mut WriteBatch) -> Result<(), Error> {
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

pub(super) fn remove_from_store(batch: &mut WriteBatch, key: &str) -> Result<(), StoreError> {
    batch.delete(&KEYS, key)?;
    batch.delete(&RESPONSES, key)
}

pub(super) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

pub(super) fn is_expired(time: i64, now: i64) -> bool {
    now.saturating_sub(time) >= MAX_AGE
}
