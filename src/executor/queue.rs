//! The bounded queue of a thread. The thread parks while the queue is empty.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::Thread,
    time::Instant,
};

use crate::model::{Error, Reason};

/// What waits in a queue.
pub trait Waits {
    /// Drops the requests whose receiver has been dropped or whose deadline has passed. Returns whether
    /// others are left.
    fn drop_unwanted(&mut self, now: Instant) -> bool;
}

/// A queue of jobs in the order of their arrival.
pub struct Queue<T> {
    state: Mutex<State<T>>,
    /// Jobs that found no space.
    refused: AtomicU64,
    /// The most jobs that wait.
    capacity: usize,
    thread: OnceLock<Thread>,
}

struct State<T> {
    jobs: VecDeque<T>,
    closed: bool,
}

/// The error for a request beyond `limits.queue_length`.
fn queue_full() -> Error {
    Error::new(Reason::RateLimited, "the request queue is full")
        .with_hint("retry later; limits.queue_length bounds the queue")
}

// === impl Queue ===

impl<T: Waits> Queue<T> {
    pub(super) fn new(capacity: usize) -> Self {
        let state = State {
            jobs: VecDeque::new(),
            closed: false,
        };
        Self {
            state: Mutex::new(state),
            refused: AtomicU64::new(0),
            capacity: capacity.max(1),
            thread: OnceLock::new(),
        }
    }

    /// Adds a job. If the queue is full, jobs that nobody waits for make space.
    ///
    /// # Errors
    /// `RATE_LIMITED` if there is no space, `INTERNAL` if the thread has ended.
    pub(super) fn push(&self, job: T) -> Result<(), Error> {
        let mut state = self.state();
        if state.closed {
            return Err(Error::new(Reason::Internal, "the executor has stopped"));
        }
        if state.jobs.len() >= self.capacity {
            let now = Instant::now();
            state.jobs.retain_mut(|job| job.drop_unwanted(now));
        }
        if state.jobs.len() >= self.capacity {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(queue_full());
        }
        state.jobs.push_back(job);
        Ok(())
    }

    /// Adds a job before all others, even if the queue is full.
    pub(super) fn push_first(&self, job: T) {
        let mut state = self.state();
        if !state.closed {
            state.jobs.push_front(job);
        }
    }

    /// Takes at most `most` jobs, up to the first that `until` holds for.
    pub(super) fn take(&self, most: usize, until: impl Fn(&T) -> bool) -> Vec<T> {
        let mut state = self.state();
        let waiting = state.jobs.iter().take(most);
        let count = waiting.take_while(|job| !until(job)).count();
        state.jobs.drain(..count).collect()
    }

    /// The number of jobs that wait.
    pub(super) fn len(&self) -> usize {
        self.state().jobs.len()
    }

    /// The number of jobs that found no space.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.state().jobs.is_empty()
    }

    /// Makes the current thread the one that [`wake`](Self::wake) wakes.
    pub(super) fn attach(&self) {
        // Each queue has one thread.
        let _ = self.thread.set(std::thread::current());
    }

    pub(super) fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Accepts no further jobs, and ends the thread when it has run those that wait.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.wake();
    }

    /// Whether the thread is to end.
    pub(super) fn has_ended(&self) -> bool {
        let state = self.state();
        state.closed && state.jobs.is_empty()
    }

    /// No code panics while it holds the lock.
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
