//! The queue of events, bounded in bytes, and the last ones that were written.

use std::{
    cmp::Reverse,
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::{
    event::{Caller, Changes, Event, Outcome},
    refusals::{Omitted, Refusals, WINDOW},
};
use crate::{
    identity::{Principal, Protocol},
    model::Reason,
};

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
    /// Of events that are kept when they have been written. Refusals have a quarter in addition.
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
    /// Events that wait to be written, in the order of their numbers.
    waiting: Ring,
    /// The last refusals that were written.
    refusals: Ring,
    /// The last other events that were written.
    kept: Ring,
    /// Which refusals are recorded.
    limit: Refusals,
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

/// Events, the oldest first.
#[derive(Debug, Default)]
struct Ring {
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
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
/// The memory of refusals that are kept, as a part of that of others: a quarter.
const KEPT_REFUSALS_PART: usize = 4;
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
                waiting: Ring::default(),
                refusals: Ring::default(),
                kept: Ring::default(),
                limit: Refusals::default(),
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

    /// Adds an event, or counts it as lost. Never waits for what is written. Returns false if the event
    /// is a refused request that is only counted.
    pub(super) fn push(&self, event: Event) -> bool {
        let at = event.end;
        let mut state = self.lock();
        let due = state.limit.take_due(at);
        state.push_requests(due, at, self.limits);
        if !state.limit.admit(&event) {
            return false;
        }
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
        true
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
            None => {
                // From time to time, there are refusals to report.
                let waited = self.changed.wait_timeout_while(state, WINDOW, is_idle);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            Some(timeout) => {
                let waited = self.changed.wait_timeout_while(state, timeout, is_early);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        state.idle = false;
        let now = Instant::now();
        let due = state.limit.take_due(now);
        state.push_requests(due, now, self.limits);
        let waiting = state.waiting.entries.iter();
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
            state.keep(self.limits.kept);
        }
        if state.unreported > 0 {
            state.push_lost(Instant::now());
        }
    }

    /// Lets events gather for a time, unless the queue fills or is to be emptied.
    pub(super) fn pause(&self, time: Duration) {
        let half = self.limits.waiting.unwrap_or_default() / 2;
        let may_wait =
            |state: &mut State| state.waiting.bytes < half && !state.closing && !state.reopen;
        let state = self.lock();
        drop(self.changed.wait_timeout_while(state, time, may_wait));
    }

    /// Events with numbers below `bound` that are in memory, the newest first.
    pub(super) fn newest_first(&self, bound: u64) -> Vec<Arc<Entry>> {
        let mut state = self.lock();
        let now = Instant::now();
        let due = state.limit.take_due(now);
        state.push_requests(due, now, self.limits);
        let all = [&state.kept, &state.refusals, &state.waiting];
        let entries = all.into_iter().flat_map(|ring| &ring.entries);
        let found = entries.filter(|entry| entry.seq < bound).cloned();
        let mut found: Vec<_> = found.collect();
        drop(state);
        found.sort_unstable_by_key(|entry| Reverse(entry.seq));
        found
    }

    /// Has the file opened anew.
    pub(super) fn reopen(&self) {
        self.lock().reopen = true;
        self.changed.notify_all();
    }

    /// Has the thread end when everything is written.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closing = true;
        let omitted = state.limit.take();
        state.push_requests(omitted, Instant::now(), self.limits);
        drop(state);
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
        state.waiting.entries.len() as u64 + state.unreported
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
            if self.waiting.bytes + size > limit {
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
        self.add(time, event);
        if limits.waiting.is_none() {
            self.keep(limits.kept);
        }
        true
    }

    /// Records how many refused requests were only counted, if there were any.
    fn push_requests(&mut self, omitted: Vec<Omitted>, at: Instant, limits: Limits) {
        for Omitted {
            principal,
            outcome,
            count,
        } in omitted
        {
            let (operation, reason) = match outcome {
                Outcome::Unauthenticated => ("authenticate", Reason::Unauthenticated),
                _ => ("refused_requests", Reason::PermissionDenied),
            };
            let internal = Event::internal(at);
            let event = Event {
                caller: Caller {
                    principal: principal.unwrap_or_else(Principal::system),
                    ..internal.caller
                },
                operation: operation.into(),
                changes: Changes::Requests(count),
                outcome,
                reason: Some(reason),
                ..internal
            };
            self.push(event, limits);
        }
    }

    /// Records that records were lost, in the place of the lost ones.
    fn push_lost(&mut self, at: Instant) {
        let event = Event {
            operation: "records_lost".into(),
            changes: Changes::Lost(std::mem::take(&mut self.unreported)),
            outcome: Outcome::Failure,
            ..Event::internal(at)
        };
        let time = self.wall_clock.at(at);
        self.add(time, event);
    }

    fn add(&mut self, time: i64, event: Event) {
        let seq = self.next_seq;
        self.next_seq += 1;
        self.waiting.push(Arc::new(Entry { seq, time, event }));
    }

    /// Keeps the oldest event that waits, which is written, in the place of older ones. Refusals cannot
    /// displace others.
    fn keep(&mut self, kept: usize) {
        let Some(entry) = self.waiting.pop() else {
            return;
        };
        let (ring, limit) = match entry.event.outcome.is_refusal() {
            true => (&mut self.refusals, kept / KEPT_REFUSALS_PART),
            false => (&mut self.kept, kept),
        };
        ring.push(entry);
        while ring.bytes > limit && ring.pop().is_some() {}
    }

    fn has_waiting(&self) -> bool {
        !self.waiting.entries.is_empty()
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

// === impl Ring ===

impl Ring {
    fn push(&mut self, entry: Arc<Entry>) {
        self.bytes += entry.size();
        self.entries.push_back(entry);
    }

    /// Removes the oldest event.
    fn pop(&mut self) -> Option<Arc<Entry>> {
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.size();
        Some(entry)
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
    /// An event of the audit trail itself, in which nothing is done.
    fn internal(at: Instant) -> Self {
        Self {
            caller: Caller {
                principal: Principal::system(),
                peer: None,
                request_id: None,
                protocol: Protocol::Internal,
            },
            operation: "".into(),
            service: None,
            server: None,
            changes: Changes::None,
            outcome: Outcome::Success,
            reason: None,
            start: None,
            end: at,
        }
    }

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
