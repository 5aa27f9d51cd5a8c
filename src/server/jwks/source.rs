//! The keys of one issuer: read in the background, kept while they cannot be read.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    task::AbortHandle,
    time::{sleep_until, timeout},
};

use super::{
    super::input_file::FileStamp,
    fetch::{FetchError, Read, fetch},
};
use crate::{
    clock,
    identity::jwt::{KeyLocation, KeySet},
    model::Sha256,
};

/// When keys are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    /// Time from one read to the next.
    pub(super) interval: Duration,
    /// Shortest time between two reads, whatever tokens ask for.
    pub(super) gap: Duration,
    /// Time that a request waits for keys that it needs.
    pub(super) wait: Duration,
    /// Time that a read may take.
    pub(super) limit: Duration,
    /// Age at which keys that cannot be read again are dropped.
    pub(super) max_age: Duration,
}

/// The keys of one issuer. Dropping it ends the reads.
#[derive(Debug)]
pub(super) struct KeySource {
    location: KeyLocation,
    timing: Timing,
    shared: Arc<Shared>,
    task: Option<AbortHandle>,
}

#[derive(Debug)]
struct Shared {
    state: watch::Sender<State>,
    wanted: Notify,
}

/// The state of the keys after a read.
#[derive(Clone, Debug, Default)]
struct State {
    keys: Option<Keys>,
    last: LastRead,
    is_failing: bool,
}

/// Keys that were read.
#[derive(Clone, Debug)]
struct Keys {
    set: Arc<KeySet>,
    /// Of the text, which distinguishes one set from another.
    digest: Sha256,
    /// When the text was last read.
    confirmed: Instant,
    stamp: Option<FileStamp>,
}

/// The last read, successful or not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LastRead {
    /// The number of reads so far.
    reads: u64,
    /// When it ended.
    ended: Option<Instant>,
}

// === impl Timing ===

impl Timing {
    /// The times for a location: a file is checked for changes without reading it, so it is checked often.
    pub(super) fn of(location: &KeyLocation) -> Self {
        let (interval, gap) = match location {
            KeyLocation::File(_) => (Duration::from_secs(5), Duration::from_secs(1)),
            KeyLocation::Url { .. } => (Duration::from_secs(300), Duration::from_secs(10)),
        };
        Self {
            interval,
            gap,
            wait: Duration::from_secs(2),
            limit: Duration::from_secs(10),
            max_age: Duration::from_secs(24 * 3600),
        }
    }
}

// === impl KeySource ===

impl KeySource {
    /// Starts to read keys; not without the runtime (`--check-config`).
    pub(super) fn start(location: KeyLocation, timing: Timing) -> Self {
        let shared = Arc::new(Shared {
            state: watch::Sender::new(State::default()),
            wanted: Notify::new(),
        });
        let read = shared.clone().run(location.clone(), timing);
        let runtime = Handle::try_current().ok();
        let task = runtime.map(|runtime| runtime.spawn(read).abort_handle());
        Self {
            location,
            timing,
            shared,
            task,
        }
    }

    pub(super) fn location(&self) -> &KeyLocation {
        &self.location
    }

    /// The keys, if there are any that are not too old.
    pub(super) fn keys(&self) -> Option<Arc<KeySet>> {
        let state = self.shared.state.borrow();
        let keys = state.keys.as_ref()?;
        let age = clock::now().saturating_duration_since(keys.confirmed);
        (age < self.timing.max_age).then(|| keys.set.clone())
    }

    /// The last read that ended.
    pub(super) fn last_read(&self) -> LastRead {
        self.shared.state.borrow().last
    }

    /// Has the keys read again, and waits a short time for the end of a read after `last`. All that wait
    /// share it. Returns whether there was one. It does not wait if none may begin in this time.
    pub(super) async fn has_newer_than(&self, last: LastRead) -> bool {
        self.shared.wanted.notify_one();
        let due = last.ended.map(|ended| ended + self.timing.gap);
        if due.is_some_and(|due| due > clock::now() + self.timing.wait) {
            return false;
        }
        let mut states = self.shared.state.subscribe();
        let newer = states.wait_for(|state| state.last.reads > last.reads);
        matches!(timeout(self.timing.wait, newer).await, Ok(Ok(_)))
    }
}

impl Drop for KeySource {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

// === impl Shared ===

impl Shared {
    /// Reads the keys at intervals, and when they are wanted.
    async fn run(self: Arc<Self>, location: KeyLocation, timing: Timing) {
        loop {
            let known = self
                .state
                .borrow()
                .keys
                .as_ref()
                .and_then(|keys| keys.stamp);
            let read = fetch(&location, known, timing.limit).await;
            self.finish(&location, timing, read);
            let end = Instant::now();
            let interval = match self.state.borrow().is_failing {
                true => timing.interval.min(timing.gap),
                false => timing.interval,
            };
            tokio::select! {
                () = sleep_until((end + interval).into()) => {}
                () = self.wanted.notified() => sleep_until((end + timing.gap).into()).await,
            }
        }
    }

    /// Publishes the outcome of a read, and logs what has changed.
    fn finish(&self, location: &KeyLocation, timing: Timing, read: Result<Read, FetchError>) {
        let mut state = self.state.borrow().clone();
        let now = Instant::now();
        match read.and_then(|read| state.keys_of(read, now)) {
            Ok((keys, are_new)) => {
                if are_new || state.is_failing {
                    let skipped = keys.set.skipped().iter().map(ToString::to_string);
                    let skipped = skipped.collect::<Vec<_>>().join("; ");
                    let number = keys.set.len();
                    tracing::info!(%location, number, skipped, "keys of JWTs loaded");
                }
                state.keys = Some(keys);
                state.is_failing = false;
            }
            Err(error) => {
                if !state.is_failing {
                    let old_keys = state.keys.is_some();
                    tracing::warn!(%location, %error, old_keys, "cannot load keys of JWTs");
                }
                state.is_failing = true;
                let is_old = |keys: &mut Keys| now - keys.confirmed >= timing.max_age;
                if state.keys.take_if(is_old).is_some() {
                    tracing::warn!(%location, "keys of JWTs are too old: all JWTs are refused");
                }
            }
        }
        state.last = LastRead {
            reads: state.last.reads + 1,
            ended: Some(now),
        };
        self.state.send_replace(state);
    }
}

// === impl State ===

impl State {
    /// The keys after a read, and whether they are others than before.
    fn keys_of(&self, read: Read, now: Instant) -> Result<(Keys, bool), FetchError> {
        let old = self.keys.as_ref();
        let (text, stamp) = match (read, old) {
            (Read::Text { text, stamp }, _) => (text, stamp),
            (Read::Unchanged, Some(old)) => return Ok((old.confirmed(old.stamp, now), false)),
            (Read::Unchanged, None) => return Err(FetchError::Ends),
        };
        let digest = Sha256::of(&text);
        match old.filter(|old| old.digest == digest) {
            Some(old) => Ok((old.confirmed(stamp, now), false)),
            None => {
                let keys = Keys {
                    set: Arc::new(KeySet::parse(&text)?),
                    digest,
                    confirmed: now,
                    stamp,
                };
                Ok((keys, true))
            }
        }
    }
}

// === impl Keys ===

impl Keys {
    /// The same keys, read again.
    fn confirmed(&self, stamp: Option<FileStamp>, now: Instant) -> Self {
        Self {
            confirmed: now,
            stamp,
            ..self.clone()
        }
    }
}
