//! The async handles of the executor.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::time::{sleep_until, timeout_at};

use super::{
    cache::{Cache, Cached},
    job::{Job, PendingRead, Write, pending_read},
    large::LargeServices,
    pending::{Awaited, channel, failed, not_started},
    progress::Probe,
    query::TypedQuery,
    queue::Queue,
    service_state::Servers,
    table_reads::TableReads,
    transaction::WriteMode,
    worker::Dispatcher,
};
use crate::{
    kernel::Kernel,
    metrics::KernelMetrics,
    model::{Error, Reason},
};

/// Runs queries. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reader {
    queues: Arc<Queues>,
    cache: Arc<Cache>,
    /// See [`ExecutorLimits::min_read_interval`](super::ExecutorLimits::min_read_interval).
    min_interval: Duration,
    pub(super) kernel: Arc<dyn Kernel>,
    pub(super) table_reads: TableReads,
    metrics: Arc<KernelMetrics>,
}

/// Executes changes. Cheap to clone.
///
/// Only `App`'s write path holds one, so that no change bypasses it.
#[derive(Clone, Debug)]
pub struct Writer {
    pub(super) queues: Arc<Queues>,
}

/// The queues of the two threads, which end when it is dropped.
pub(super) struct Queues {
    pub(super) dispatcher: Arc<Dispatcher>,
    pub(super) reads: Arc<Queue<Box<dyn PendingRead>>>,
    pub(super) large: Arc<LargeServices>,
}

// === impl Reader ===

impl Reader {
    pub(super) fn new(
        queues: Arc<Queues>,
        cache: Arc<Cache>,
        min_interval: Duration,
        kernel: Arc<dyn Kernel>,
        table_reads: TableReads,
        metrics: Arc<KernelMetrics>,
    ) -> Self {
        Self {
            queues,
            cache,
            min_interval,
            kernel,
            table_reads,
            metrics,
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
        if let Some(cached) = self.cached::<Q>(max_age) {
            self.metrics.cache_hit();
            return Ok(cached);
        }
        let (reply, awaited) = channel();
        let is_short = self.queues.is_short(&query);
        let read = pending_read(query, max_age, deadline, reply);
        match is_short {
            true => self.queues.dispatcher.submit(Job::Read(read))?,
            false => self.queues.submit_long(read)?,
        }
        awaited.result(deadline).await
    }

    /// Returns when both threads have executed what was in progress, with success or not. It does not return while
    /// one of them is blocked, for example in the kernel.
    pub async fn progress(&self) {
        let (probe, changes) = Probe::channel();
        self.queues.dispatcher.submit_first(Job::Read(probe));
        let (probe, reads) = Probe::channel();
        self.queues.reads.push_first(probe);
        self.queues.reads.wake();
        // An error means that the executor has ended.
        let _ = tokio::join!(changes, reads);
    }

    /// The queues: their names, and how many requests wait and were refused.
    pub fn queues(&self) -> [(&'static str, usize, u64); 2] {
        let (changes, reads) = (self.queues.dispatcher.queue(), &self.queues.reads);
        [
            ("changes", changes.len(), changes.refused()),
            ("reads", reads.len(), reads.refused()),
        ]
    }

    /// A kept result, if the namespace in which it was read still has the managed name.
    fn cached<Q: TypedQuery>(&self, max_age: Duration) -> Option<Cached<Q::Answer>> {
        if max_age.is_zero() {
            return None;
        }
        let here = self.kernel.identity().ok()?;
        self.cache.get::<Q>(here, max_age)
    }
}

// === impl Writer ===

impl Writer {
    pub(super) fn new(queues: Arc<Queues>) -> Self {
        Self { queues }
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
        let mode = WriteMode {
            dry_run,
            author: None,
        };
        self.write_as(write, deadline, mode).await
    }

    /// Executes a change like [`write`](Self::write), on behalf of somebody.
    pub async fn write_as<W: Write>(
        &self,
        write: W,
        deadline: Instant,
        mode: WriteMode,
    ) -> Result<W::Outcome, Error> {
        let (reply, awaited) = channel();
        let job = write.into_job(deadline, mode, reply);
        self.queues.dispatcher.submit(job)?;
        awaited.outcome(deadline).await
    }
}

// === impl Queues ===

impl Queues {
    /// Whether the query reads a few datagrams at most.
    fn is_short<Q: TypedQuery>(&self, query: &Q) -> bool {
        match query.service_read() {
            Some(read) => matches!(read.servers, Servers::None) || !self.large.contains(read.key),
            None => Q::SHORT,
        }
    }

    fn submit_long(&self, read: Box<dyn PendingRead>) -> Result<(), Error> {
        self.reads.push(read)?;
        self.reads.wake();
        Ok(())
    }
}

impl Drop for Queues {
    fn drop(&mut self) {
        self.dispatcher.close();
        self.reads.close();
    }
}

impl std::fmt::Debug for Queues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queues").finish_non_exhaustive()
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
