//! The queue of events, bounded in bytes, and the last ones that were written.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::event::{Caller, Changes, Event, Outcome};
use crate::identity::{Principal, Protocol};

/// An event with its number.
#[derive(Debug)]
pub struct Entry {
    /// See [`AuditRecord::seq`](super::AuditRecord::seq).
    pub(super) seq: u64,
    /// Milliseconds since 1970.
    pub(super) time: i64,
    pub(super) event: Event,
}

/// What requests and the thread that writes share.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    limits: Limits,
}

/// Sizes in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Of events that wait to be written; `None` if nothing is written.
    pub(super) waiting: Option<usize>,
    /// Of events that are kept when they have been written.
    pub(super) kept: usize,
}

/// Events that are written together.
pub(super) struct Batch {
    pub(super) entries: Vec<Arc<Entry>>,
    /// The thread is to end when everything is written.
    pub(super) closing: bool,
    /// The file is to be opened anew.
    pub(super) reopen: bool,
}

#[derive(Debug)]
struct State {
    /// In the order of their numbers.
    entries: VecDeque<Arc<Entry>>,
    /// How many of the entries, the first ones, are written.
    written: usize,
    written_bytes: usize,
    waiting_bytes: usize,
    next_seq: u64,
    /// Events that were lost and not recorded as lost.
    unreported: u64,
    /// Events that were lost since the start.
    lost: u64,
    /// When the loss of events was logged last.
    warned: Option<Instant>,
    wall_clock: WallClock,
    /// The thread waits for an event.
    idle: bool,
    closing: bool,
    closed: bool,
    reopen: bool,
}

/// The wall clock, which is a system call on some machines, at one instant.
#[derive(Clone, Copy, Debug)]
struct WallClock {
    at: Instant,
    time: SystemTime,
}

/// Events that are written together, at most.
const MAX_BATCH: usize = 256;
/// The part of the queue that refused requests may use, which anybody can send: a half.
const REFUSALS_PART: usize = 2;
/// Time between two lines in the log about lost records.
const WARN_INTERVAL: Duration = Duration::from_secs(10);
/// Time after which the wall clock is read again.
const CLOCK_AGE: Duration = Duration::from_secs(1);
/// What the allocator adds to an entry.
const OVERHEAD: usize = 32;

// === impl Queue ===

impl Queue {
    /// An empty queue, whose first event has the number `next_seq`.
    pub(super) fn new(limits: Limits, next_seq: u64) -> Self {
        Self {
            state: Mutex::new(State {
                entries: VecDeque::new(),
                written: 0,
                written_bytes: 0,
                waiting_bytes: 0,
                next_seq,
                unreported: 0,
                lost: 0,
                warned: None,
                wall_clock: WallClock::read(),
                idle: false,
                closing: false,
                closed: false,
                reopen: false,
            }),
            changed: Condvar::new(),
            limits,
        }
    }

    /// Adds an event, or counts it as lost. Never waits for what is written.
    pub(super) fn push(&self, event: Event) {
        let at = event.end;
        let mut state = self.lock();
        let added = state.push(event, self.limits);
        let wake = added && state.idle;
        let warning = if added { None } else { state.warning(at) };
        drop(state);
        if wake {
            self.changed.notify_all();
        }
        if let Some(lost) = warning {
            tracing::warn!(
                lost,
                "audit records are lost: too many wait to be written (audit.max_queue_bytes)"
            );
        }
    }

    /// Waits for events, and returns the first ones. They stay until they are
    /// [`written`](Self::written). With a timeout, waits for that long: those that wait have failed to be
    /// written.
    pub(super) fn next(&self, timeout: Option<Duration>) -> Batch {
        let is_idle = |state: &mut State| {
            state.idle = !state.has_waiting() && !state.closing && !state.reopen;
            state.idle
        };
        // A new event would fail like those that wait.
        let is_early = |state: &mut State| !state.closing && !state.reopen;
        let state = self.lock();
        let mut state = match timeout {
            None => self
                .changed
                .wait_while(state, is_idle)
                .unwrap_or_else(PoisonError::into_inner),
            Some(timeout) => {
                let waited = self.changed.wait_timeout_while(state, timeout, is_early);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        state.idle = false;
        let waiting = state.entries.iter().skip(state.written);
        Batch {
            entries: waiting.take(MAX_BATCH).cloned().collect(),
            closing: state.closing,
            reopen: std::mem::take(&mut state.reopen),
        }
    }

    /// Notes that the first events that waited are written.
    pub(super) fn written(&self, count: usize) {
        let mut state = self.lock();
        for _ in 0..count {
            let size = state.entries.get(state.written).map(|entry| entry.size());
            let Some(size) = size else { break };
            state.written += 1;
            state.waiting_bytes -= size;
            state.written_bytes += size;
        }
        state.forget(self.limits.kept);
        if state.unreported > 0 {
            state.push_lost(Instant::now());
        }
    }

    /// Lets events gather for a time, unless the queue fills or is to be emptied.
    pub(super) fn pause(&self, time: Duration) {
        let half = self.limits.waiting.unwrap_or_default() / 2;
        let may_wait =
            |state: &mut State| state.waiting_bytes < half && !state.closing && !state.reopen;
        let state = self.lock();
        drop(self.changed.wait_timeout_while(state, time, may_wait));
    }

    /// Events with numbers below `bound` that are in memory, the newest first.
    pub(super) fn newest_first(&self, bound: u64) -> Vec<Arc<Entry>> {
        let state = self.lock();
        let entries = state.entries.iter().rev();
        entries.filter(|entry| entry.seq < bound).cloned().collect()
    }

    /// Has the file opened anew.
    pub(super) fn reopen(&self) {
        self.lock().reopen = true;
        self.changed.notify_all();
    }

    /// Has the thread end when everything is written.
    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.changed.notify_all();
    }

    /// Notes that the thread has ended.
    pub(super) fn closed(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Waits for the end of the thread, for at most `timeout`. Returns the number of events that are
    /// not written.
    pub(super) fn wait_closed(&self, timeout: Duration) -> u64 {
        let open = |state: &mut State| !state.closed;
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), timeout, open)
            .unwrap_or_else(PoisonError::into_inner);
        let state = waited.0;
        (state.entries.len() - state.written) as u64 + state.unreported
    }

    /// Events that were lost since the start.
    pub(super) fn lost(&self) -> u64 {
        self.lock().lost
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    /// Adds an event. Returns false if it is lost.
    fn push(&mut self, event: Event, limits: Limits) -> bool {
        let size = event.size();
        if let Some(waiting) = limits.waiting {
            let limit = match event.outcome.is_refusal() {
                true => waiting / REFUSALS_PART,
                false => waiting,
            };
            if self.waiting_bytes + size > limit {
                self.next_seq += 1;
                self.unreported += 1;
                self.lost += 1;
                return false;
            }
        }
        if self.unreported > 0 {
            self.push_lost(event.end);
        }
        let time = self.wall_clock.at(event.end);
        self.add(time, event, size);
        if limits.waiting.is_none() {
            self.written = self.entries.len();
            self.written_bytes += std::mem::take(&mut self.waiting_bytes);
            self.forget(limits.kept);
        }
        true
    }

    /// Records that records were lost, in the place of the lost ones.
    fn push_lost(&mut self, at: Instant) {
        let event = Event {
            caller: Caller {
                principal: Principal::system(),
                peer: None,
                request_id: None,
                protocol: Protocol::Internal,
            },
            operation: "records_lost".into(),
            service: None,
            server: None,
            changes: Changes::Lost(std::mem::take(&mut self.unreported)),
            outcome: Outcome::Failure,
            reason: None,
            start: None,
            end: at,
        };
        let (time, size) = (self.wall_clock.at(at), event.size());
        self.add(time, event, size);
    }

    fn add(&mut self, time: i64, event: Event, size: usize) {
        let seq = self.next_seq;
        self.next_seq += 1;
        self.waiting_bytes += size;
        self.entries.push_back(Arc::new(Entry { seq, time, event }));
    }

    /// Drops the oldest events that are written and exceed what is kept.
    fn forget(&mut self, kept: usize) {
        while self.written > 0 && self.written_bytes > kept {
            let Some(oldest) = self.entries.pop_front() else {
                break;
            };
            self.written -= 1;
            self.written_bytes -= oldest.size();
        }
    }

    fn has_waiting(&self) -> bool {
        self.written < self.entries.len()
    }

    /// The number of lost records, if it is time to log it.
    fn warning(&mut self, at: Instant) -> Option<u64> {
        let recently = |warned| at.saturating_duration_since(warned) < WARN_INTERVAL;
        if self.warned.is_some_and(recently) {
            return None;
        }
        self.warned = Some(at);
        Some(self.lost)
    }
}

// === impl Entry ===

impl Entry {
    /// Memory in bytes.
    fn size(&self) -> usize {
        self.event.size()
    }
}

// === impl Event ===

impl Event {
    /// Memory in bytes of its entry.
    fn size(&self) -> usize {
        let operation = self.operation.len();
        let request_id = self.caller.request_id.as_ref().map_or(0, |id| id.len());
        size_of::<Entry>() + OVERHEAD + operation + request_id + self.changes.size()
    }
}

// === impl WallClock ===

impl WallClock {
    fn read() -> Self {
        Self {
            at: Instant::now(),
            time: SystemTime::now(),
        }
    }

    /// Milliseconds from 1970 to an instant of now.
    fn at(&mut self, instant: Instant) -> i64 {
        if instant.saturating_duration_since(self.at) > CLOCK_AGE {
            *self = Self::read();
        }
        let time = match instant.checked_duration_since(self.at) {
            Some(later) => self.time + later,
            None => self.time - self.at.saturating_duration_since(instant),
        };
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }
}
