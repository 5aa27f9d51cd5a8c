//! The bounded queue of a thread. The thread parks while the queue is empty.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    thread::Thread,
};

use super::job::queue_full;
use crate::model::{Error, Reason};

/// A queue of jobs in the order of their arrival.
pub struct Queue<T> {
    state: Mutex<State<T>>,
    /// The most jobs that wait.
    capacity: usize,
    thread: OnceLock<Thread>,
}

struct State<T> {
    jobs: VecDeque<T>,
    closed: bool,
}

// === impl Queue ===

impl<T> Queue<T> {
    pub(super) fn new(capacity: usize) -> Self {
        let state = State {
            jobs: VecDeque::new(),
            closed: false,
        };
        Self {
            state: Mutex::new(state),
            capacity: capacity.max(1),
            thread: OnceLock::new(),
        }
    }

    /// Adds a job. If the queue is full, jobs that `is_wanted` rejects make space.
    ///
    /// # Errors
    /// `RATE_LIMITED` if there is no space, `INTERNAL` if the thread has ended.
    pub(super) fn push(&self, job: T, is_wanted: impl FnMut(&mut T) -> bool) -> Result<(), Error> {
        let mut state = self.state();
        if state.closed {
            return Err(Error::new(Reason::Internal, "the executor has stopped"));
        }
        if state.jobs.len() >= self.capacity {
            state.jobs.retain_mut(is_wanted);
        }
        if state.jobs.len() >= self.capacity {
            return Err(queue_full());
        }
        state.jobs.push_back(job);
        Ok(())
    }

    /// Takes at most `most` jobs, up to the first that `until` holds for.
    pub(super) fn take(&self, most: usize, until: impl Fn(&T) -> bool) -> Vec<T> {
        let mut state = self.state();
        let waiting = state.jobs.iter().take(most);
        let count = waiting.take_while(|job| !until(job)).count();
        state.jobs.drain(..count).collect()
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
