//! The thread that owns the sockets. Each iteration takes the waiting jobs, executes the changes in
//! order, then runs the queries.
//!
//! `impl Worker` is split by job: this file has the loop and the queries, `batch.rs` schedules
//! transactions, `execute.rs` sends operations and determines their outcomes.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{
    mpsc::{self, error::TryRecvError},
    oneshot,
};

use super::{
    batch::{PendingTransaction, TypedTransaction},
    cache::{Cache, Cached},
    query::{Source, TypedQuery},
    reconnect::ReconnectingSocket,
    socket::Dump,
    transaction::{CommandList, Executed, Transaction},
};
use crate::{
    kernel::Kernel,
    model::{Error, Reason},
};

/// A request that waits for the thread.
pub enum Job {
    /// A query.
    Read(Box<dyn PendingRead>),
    /// A transaction.
    Transaction(Box<dyn PendingTransaction>),
    /// Independent operations.
    Commands(Pending<CommandList, Vec<Result<(), Error>>>),
}

/// A request and the channel for its result.
pub struct Pending<Q, A> {
    /// The request.
    pub request: Q,
    /// When nobody waits for the result any more.
    pub deadline: Instant,
    /// Receives the result.
    pub reply: oneshot::Sender<Result<A, Error>>,
}

/// Queries of any type that wait together.
pub trait PendingRead: Send {
    /// Takes over the waiting requests of `other` if it is the same query. Returns whether it is.
    fn absorb(&mut self, other: &mut dyn Any) -> bool;

    /// For [`absorb`](Self::absorb).
    fn as_any(&mut self) -> &mut dyn Any;

    /// Drops requests that nobody waits for any more.
    fn drop_unwanted(&mut self, now: Instant);

    /// Runs the query once for all waiting requests.
    fn run(self: Box<Self>, worker: &mut Worker);
}

/// Equal queries that wait together.
struct CoalescedRead<Q: TypedQuery> {
    query: Q,
    /// The accepted age and the request.
    waiting: Vec<Pending<Duration, Cached<Q::Answer>>>,
}

/// The state of the thread.
pub struct Worker {
    pub(super) kernel: Arc<dyn Kernel>,
    jobs: mpsc::Receiver<Job>,
    pub(super) cache: Arc<Cache>,
    /// For changes and what they read.
    pub(super) writes: ReconnectingSocket,
    /// For queries. The kernel runs one dump per socket at a time, and a change may need a dump
    /// while that of a query is in progress.
    reads: ReconnectingSocket,
    /// The dump in progress, and whether a change has invalidated it.
    pub(super) dumping: Option<(Dump, bool)>,
    /// The queries to run next.
    queries: Vec<Box<dyn PendingRead>>,
}

/// Jobs per iteration: enough to coalesce queries and to fill batches.
const JOBS_PER_ITERATION: usize = 256;

// === impl Job ===

impl Job {
    pub(super) fn read<Q: TypedQuery>(
        query: Q,
        max_age: Duration,
        deadline: Instant,
        reply: oneshot::Sender<Result<Cached<Q::Answer>, Error>>,
    ) -> Self {
        let pending = Pending {
            request: max_age,
            deadline,
            reply,
        };
        Self::Read(Box::new(CoalescedRead {
            query,
            waiting: vec![pending],
        }))
    }

    pub(super) fn transaction<P: TypedQuery, R: TypedQuery>(
        transaction: Transaction<P, R>,
        deadline: Instant,
        dry_run: bool,
        reply: oneshot::Sender<Result<Executed<R::Answer>, Error>>,
    ) -> Self {
        Self::Transaction(Box::new(TypedTransaction::new(
            transaction,
            deadline,
            dry_run,
            reply,
        )))
    }
}

// === impl Worker ===

impl Worker {
    /// A worker that has not connected yet.
    pub(super) fn new(
        kernel: Arc<dyn Kernel>,
        jobs: mpsc::Receiver<Job>,
        cache: Arc<Cache>,
    ) -> Self {
        let writes = ReconnectingSocket::new(kernel.clone());
        Self {
            reads: writes.sibling(),
            writes,
            kernel,
            jobs,
            cache,
            dumping: None,
            queries: Vec::new(),
        }
    }

    /// Runs until all handles are dropped. A handle unparks this thread after it has queued a job.
    pub(super) fn run(mut self) {
        loop {
            let first = match self.jobs.try_recv() {
                Ok(job) => job,
                Err(TryRecvError::Empty) => {
                    thread::park();
                    continue;
                }
                Err(TryRecvError::Disconnected) => return,
            };
            // A panic fails the requests of this iteration (their reply channels are dropped), not
            // the daemon.
            if catch_unwind(AssertUnwindSafe(|| self.iterate(first))).is_err() {
                tracing::error!("executor batch panicked; its requests fail with INTERNAL");
                self.writes.close();
                self.reads.close();
                self.dumping = None;
                self.queries.clear();
            }
        }
    }

    /// Executes the waiting changes, then runs the waiting queries, which see the changes.
    fn iterate(&mut self, first: Job) {
        self.take_jobs(Some(first));
        while !self.queries.is_empty() {
            self.run_queries();
        }
    }

    /// Takes the waiting jobs, executes the changes in order, and collects the queries.
    fn take_jobs(&mut self, first: Option<Job>) {
        let mut jobs: Vec<_> = first.into_iter().collect();
        while jobs.len() + self.queries.len() < JOBS_PER_ITERATION
            && let Ok(job) = self.jobs.try_recv()
        {
            jobs.push(job);
        }
        if jobs.is_empty() {
            return;
        }
        let mut transactions = Vec::new();
        for job in jobs {
            match job {
                Job::Read(read) => self.queries.push(read),
                Job::Transaction(transaction) => transactions.push(transaction),
                Job::Commands(commands) => {
                    // Changes keep their order.
                    self.run_transactions(std::mem::take(&mut transactions));
                    if let Some(commands) = commands.wanted(Instant::now()) {
                        let results = self.run_commands(&commands.request);
                        commands.reply(results);
                    }
                }
            }
        }
        self.run_transactions(transactions);
    }

    /// Runs the collected queries, equal ones once: all of them were requested before the read, so
    /// they may share its result. Queries that arrive meanwhile wait for the next call.
    fn run_queries(&mut self) {
        let now = Instant::now();
        let mut queries = std::mem::take(&mut self.queries);
        while let Some(mut query) = queries.pop() {
            queries.retain_mut(|other| !query.absorb(other.as_any()));
            query.drop_unwanted(now);
            query.run(self);
        }
    }

    /// Runs a query. Changes that arrive between two datagrams of a dump are executed there.
    fn fetch_interleaved<Q: TypedQuery>(&mut self, query: &Q) -> Result<Q::Answer, Error> {
        // A change that runs meanwhile must not use the socket of the dump.
        let mut socket = std::mem::replace(&mut self.reads, self.writes.sibling());
        let kernel = self.kernel.clone();
        let result = query.fetch(&mut Source {
            kernel: &*kernel,
            socket: &mut socket,
            interleave: &mut |dump| {
                self.dumping = Some((dump, false));
                self.take_jobs(None);
                self.dumping
                    .take()
                    .is_some_and(|(_, invalidated)| invalidated)
            },
        });
        self.reads = socket;
        result
    }

    /// Runs a query of a change, without interruption.
    pub(super) fn fetch<Q: TypedQuery>(&mut self, query: &Q) -> Result<Q::Answer, Error> {
        query.fetch(&mut Source {
            kernel: &*self.kernel,
            socket: &mut self.writes,
            interleave: &mut |_| false,
        })
    }
}

// === impl CoalescedRead ===

impl<Q: TypedQuery> PendingRead for CoalescedRead<Q> {
    fn absorb(&mut self, other: &mut dyn Any) -> bool {
        match other.downcast_mut::<Self>() {
            Some(other) if other.query == self.query => {
                self.waiting.append(&mut other.waiting);
                true
            }
            _ => false,
        }
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn drop_unwanted(&mut self, now: Instant) {
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        self.waiting = waiting.filter_map(|pending| pending.wanted(now)).collect();
    }

    fn run(self: Box<Self>, worker: &mut Worker) {
        let Self { query, waiting } = *self;
        // More requests may have missed the cache together than fit one iteration. The iteration
        // before has left a result that is young enough for them.
        let mut missing = Vec::with_capacity(waiting.len());
        for pending in waiting {
            match worker.cache.get(&query, pending.request) {
                Some(cached) => pending.reply(Ok(cached)),
                None => missing.push(pending),
            }
        }
        let Some(max_age) = missing.iter().map(|pending| pending.request).max() else {
            return;
        };
        let max_age = max_age.max(worker.cache.take_max_age(&query));
        let generation = worker.cache.generation();
        let result = worker.fetch_interleaved(&query);
        let kept = match &result {
            // A change during the read may be missing in the result. Requests that came before the
            // change receive it, but it is not kept.
            Ok(value) if generation == worker.cache.generation() => {
                worker.cache.keep(&query, value, max_age)
            }
            _ => false,
        };
        for pending in missing {
            pending.reply(result.clone().map(|value| Cached {
                value,
                age: Duration::ZERO,
                kept,
            }));
        }
    }
}

// === impl Pending ===

impl<Q, A> Pending<Q, A> {
    /// The request, if somebody waits and its deadline is after `now`; otherwise it ends here.
    pub(super) fn wanted(self, now: Instant) -> Option<Self> {
        if self.reply.is_closed() {
            return None;
        }
        if self.deadline <= now {
            self.reply(Err(Error::new(
                Reason::DeadlineExceeded,
                "the deadline passed before the kernel was asked; nothing was done",
            )));
            return None;
        }
        Some(self)
    }

    /// Sends the result. The receiver may be gone; a change stays executed.
    pub(super) fn reply(self, result: Result<A, Error>) {
        drop(self.reply.send(result));
    }
}
