//! The thread that owns the sockets. Each iteration takes the waiting jobs, executes the changes in
//! order, then runs the queries.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::sync::mpsc::{self, error::TryRecvError};

use super::{
    cache::Cache,
    engine::Engine,
    job::{Job, PendingRead, QueryRunner, queue_full},
    limits::ExecutorLimits,
    query::Source,
    reconnect::ReconnectingSocket,
};
use crate::{
    kernel::{Kernel, NamespaceId},
    model::Error,
};

/// The state of the thread.
pub struct Worker {
    jobs: mpsc::Receiver<Job>,
    engine: Engine,
    /// For queries. The kernel runs one dump per socket at a time, and a change may need a dump
    /// while that of a query is in progress.
    reads: ReconnectingSocket,
    /// The queries to run next.
    queries: Vec<Box<dyn PendingRead>>,
    /// The most of them.
    queue_length: usize,
}

/// Changes per iteration: enough to fill batches.
const CHANGES_PER_ITERATION: usize = 256;
/// Time between two checks, while no requests arrive, whether the managed network namespace has been
/// deleted: sockets in it would keep it, with its interfaces and addresses.
const NAMESPACE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

// === impl Worker ===

impl Worker {
    /// A worker that has not connected yet.
    pub(super) fn new(
        kernel: Arc<dyn Kernel>,
        jobs: mpsc::Receiver<Job>,
        cache: Arc<Cache>,
        limits: &ExecutorLimits,
    ) -> Self {
        let engine = Engine::new(kernel, cache, limits.budget.clone());
        Self {
            reads: engine.socket.sibling(),
            engine,
            jobs,
            queries: Vec::new(),
            queue_length: limits.queue_length.max(1),
        }
    }

    /// Runs until all handles are dropped. A handle unparks this thread after it has queued a job.
    pub(super) fn run(mut self) {
        loop {
            let first = match self.jobs.try_recv() {
                Ok(job) => job,
                Err(TryRecvError::Empty) => {
                    self.park();
                    continue;
                }
                Err(TryRecvError::Disconnected) => return,
            };
            // A panic fails the requests of this iteration (their reply channels are dropped), not
            // the daemon.
            if catch_unwind(AssertUnwindSafe(|| self.iterate(first))).is_err() {
                tracing::error!("executor iteration panicked; its requests fail with INTERNAL");
                self.engine.socket.close();
                self.reads.close();
                self.engine.planned_in = None;
                self.engine.dumping = None;
                self.queries.clear();
            }
        }
    }

    /// Waits for a job.
    fn park(&mut self) {
        if self.engine.kernel.namespace().is_none() {
            return thread::park();
        }
        thread::park_timeout(NAMESPACE_CHECK_INTERVAL);
        // A failure is logged, and the next request reports it.
        for socket in [&mut self.engine.socket, &mut self.reads] {
            drop(socket.refresh());
        }
    }

    /// Executes the waiting changes, then runs the waiting queries, which see the changes.
    fn iterate(&mut self, first: Job) {
        self.take_jobs(Some(first));
        while !self.queries.is_empty() {
            self.run_queries();
        }
    }

    /// Takes the waiting jobs, executes the changes in order, and collects the queries. Queries do not
    /// count: however many wait for the end of a dump, the changes behind them are executed during it.
    fn take_jobs(&mut self, first: Option<Job>) {
        let waiting = self.jobs.len();
        let mut jobs = first.into_iter();
        let mut transactions = Vec::new();
        let mut changes = 0;
        for _ in 0..=waiting {
            let Some(job) = jobs.next().or_else(|| self.jobs.try_recv().ok()) else {
                break;
            };
            match job {
                Job::Read(read) => {
                    self.collect(read);
                    continue;
                }
                Job::Transaction(transaction) => transactions.push(transaction),
                Job::Commands(commands, dry_run) => {
                    // Changes keep their order.
                    self.engine
                        .run_transactions(std::mem::take(&mut transactions));
                    if let Some(commands) = commands.start(Instant::now()) {
                        commands.run(&mut self.engine, dry_run);
                    }
                }
            }
            changes += 1;
            if changes == CHANGES_PER_ITERATION {
                break;
            }
        }
        self.engine.run_transactions(transactions);
    }

    /// Keeps a query for the next run, up to as many as the queue holds.
    fn collect(&mut self, read: Box<dyn PendingRead>) {
        if self.queries.len() >= self.queue_length {
            let now = Instant::now();
            self.queries.retain_mut(|query| query.drop_unwanted(now));
        }
        if self.queries.len() >= self.queue_length {
            read.reject(queue_full());
        } else {
            self.queries.push(read);
        }
    }

    /// Runs the collected queries, equal ones once: all of them were requested before the read, so
    /// they may share its result. Queries that arrive meanwhile wait for the next call.
    fn run_queries(&mut self) {
        let now = Instant::now();
        let mut queries = std::mem::take(&mut self.queries);
        while let Some(mut query) = queries.pop() {
            queries.retain_mut(|other| !query.absorb(other.as_any()));
            if query.drop_unwanted(now) {
                query.run(self);
            }
        }
    }
}

impl QueryRunner for Worker {
    fn cache(&self) -> &Cache {
        &self.engine.cache
    }

    fn enter(&mut self) -> Result<NamespaceId, Error> {
        self.reads.enter()
    }

    /// Changes that arrive between two datagrams of a dump are executed there.
    fn with_source(&mut self, fetch: &mut dyn FnMut(&mut Source<'_>)) {
        // A change that runs meanwhile must not use the socket of the dump.
        let mut socket = std::mem::replace(&mut self.reads, self.engine.socket.sibling());
        let kernel = self.engine.kernel.clone();
        let budget = self.engine.budget.clone();
        fetch(&mut Source {
            kernel: &*kernel,
            budget: &budget,
            socket: &mut socket,
            interleave: &mut |dump| {
                self.engine.dumping = Some((dump, false));
                self.take_jobs(None);
                let dumping = self.engine.dumping.take();
                dumping.is_some_and(|(_, invalidated)| invalidated)
            },
        });
        self.reads = socket;
    }
}
