//! The async handles of the executor's thread.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::Thread,
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc,
    time::{sleep_until, timeout_at},
};

use super::{
    cache::{Cache, Cached},
    job::{Job, Write, queue_full},
    pending::{Awaited, channel, failed, not_started},
    query::TypedQuery,
    table_reads::TableReads,
};
use crate::{
    kernel::Kernel,
    model::{Error, Reason},
};

/// Runs queries. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reader {
    submitter: Submitter,
    cache: Arc<Cache>,
    /// See [`ExecutorLimits::min_read_interval`](super::ExecutorLimits::min_read_interval).
    min_interval: Duration,
    pub(super) kernel: Arc<dyn Kernel>,
    pub(super) table_reads: TableReads,
}

/// Executes changes. Cheap to clone.
///
/// Only `App`'s write path holds one, so that no change bypasses it.
#[derive(Clone, Debug)]
pub struct Writer {
    submitter: Submitter,
}

/// Puts jobs into the queue and wakes the thread.
#[derive(Clone, Debug)]
pub(super) struct Submitter {
    // Before the waker: its drop wakes the thread for the last time, to find the queue closed.
    jobs: mpsc::Sender<Job>,
    waker: Arc<Waker>,
}

/// Wakes the thread once for all tasks that submit at the same moment. Otherwise the thread would
/// start with the first job alone, and each job would cost its own wake-up and send.
#[derive(Debug)]
pub(super) struct Waker {
    pub(super) thread: Thread,
    /// Whether a task is about to wake the thread.
    pub(super) pending: AtomicBool,
}

/// Wakes the thread when dropped, even if the submitting task is cancelled.
struct WakeGuard<'a>(&'a Waker);

// === impl Reader ===

impl Reader {
    pub(super) fn new(
        submitter: Submitter,
        cache: Arc<Cache>,
        min_interval: Duration,
        kernel: Arc<dyn Kernel>,
        table_reads: TableReads,
    ) -> Self {
        Self {
            submitter,
            cache,
            min_interval,
            kernel,
            table_reads,
        }
    }

    /// Runs a query. The result is at most `max_age` old, or `min_read_interval` if that is longer;
    /// zero requests a fresh one. Only results
    /// of queries that accept some age are kept, so fresh reads cost no memory.
    pub async fn read<Q: TypedQuery>(
        &self,
        query: Q,
        max_age: Duration,
        deadline: Instant,
    ) -> Result<Cached<Q::Answer>, Error> {
        let max_age = match Q::CACHED {
            true => max_age.max(self.min_interval),
            false => max_age,
        };
        if let Some(cached) = self.cached(&query, max_age) {
            return Ok(cached);
        }
        let (reply, awaited) = channel();
        let job = Job::read(query, max_age, deadline, reply);
        self.submitter.send(job).await?;
        awaited.result(deadline).await
    }

    /// A kept result, if the namespace in which it was read still has the managed name.
    fn cached<Q: TypedQuery>(&self, query: &Q, max_age: Duration) -> Option<Cached<Q::Answer>> {
        if max_age.is_zero() {
            return None;
        }
        let here = self.kernel.identity().ok()?;
        self.cache.get(query, here, max_age)
    }
}

// === impl Writer ===

impl Writer {
    pub(super) fn new(submitter: Submitter) -> Self {
        Self { submitter }
    }

    /// Executes a change. With `dry_run` it is planned from the kernel's current state, and the
    /// outcome is the one that execution would have; the kernel is not changed. A change that has not
    /// started by `deadline` does not start; once it has, this waits for its outcome.
    pub async fn write<W: Write>(
        &self,
        write: W,
        deadline: Instant,
        dry_run: bool,
    ) -> Result<W::Outcome, Error> {
        let (reply, awaited) = channel();
        self.submitter
            .send(write.into_job(deadline, dry_run, reply))
            .await?;
        awaited.outcome(deadline).await
    }
}

// === impl Submitter ===

impl Submitter {
    pub(super) fn new(jobs: mpsc::Sender<Job>, thread: Thread) -> Self {
        let pending = AtomicBool::new(false);
        Self {
            jobs,
            waker: Arc::new(Waker { thread, pending }),
        }
    }

    /// Puts a job into the queue.
    async fn send(&self, job: Job) -> Result<(), Error> {
        self.jobs.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => queue_full(),
            mpsc::error::TrySendError::Closed(_) => {
                Error::new(Reason::Internal, "the executor has stopped")
            }
        })?;
        self.waker.wake().await;
        Ok(())
    }
}

// === impl Awaited ===

impl<A> Awaited<A> {
    /// Waits for the result of a read until its deadline.
    async fn result(self, deadline: Instant) -> Result<A, Error> {
        match timeout_at(deadline.into(), self.receiver).await {
            Ok(result) => result.unwrap_or_else(|_| Err(failed())),
            Err(_) => Err(Error::new(
                Reason::DeadlineExceeded,
                "the kernel has not replied before the deadline; nothing was done",
            )),
        }
    }

    /// Waits for the outcome of a change. A change that has not started by its deadline does not
    /// start; once it has, this waits for its end.
    async fn outcome(mut self, deadline: Instant) -> Result<A, Error> {
        tokio::select! {
            biased;
            outcome = &mut self.receiver => return outcome.unwrap_or_else(|_| Err(failed())),
            () = sleep_until(deadline.into()) => {}
        }
        if !self.taken.swap(true, Ordering::AcqRel) {
            return Err(not_started());
        }
        self.receiver.await.unwrap_or_else(|_| Err(failed()))
    }
}

// === impl Waker ===

impl Waker {
    /// Yields once, so that other runnable tasks can submit, then wakes the thread. A task that
    /// submits while another is about to wake the thread relies on that one.
    pub(super) async fn wake(&self) {
        if !self.pending.swap(true, Ordering::AcqRel) {
            let _guard = WakeGuard(self);
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        self.thread.unpark();
    }
}

impl Drop for WakeGuard<'_> {
    fn drop(&mut self) {
        // Release: jobs queued before this are visible to the thread when it wakes.
        self.0.pending.swap(false, Ordering::AcqRel);
        self.0.thread.unpark();
    }
}
