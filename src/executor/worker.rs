//! Executes changes and short reads: on a thread of its own, or in the task that submits one, if it is
//! short and nothing else is in progress.
//!
//! A wake-up of another thread and back costs more than a change does. Jobs run with the lock of the
//! [`Worker`], so there is one order of all changes.

use std::{
    ops::{Deref, DerefMut},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
    thread,
    time::{Duration, Instant},
};

use super::{
    cache::Cache,
    dump::NoChanges,
    engine::Engine,
    job::{Job, PendingRead, QueryRunner, run_reads},
    offload::is_in_a_task,
    query::Source,
    queue::Queue,
};
use crate::{
    clock,
    kernel::{Kernel, NamespaceId},
    metrics::KernelMetrics,
    model::Error,
    watch::WatchCache,
};

/// The queue of changes and short reads, and what runs them.
pub(super) struct Dispatcher {
    queue: Queue<Job>,
    worker: Mutex<Worker>,
    kernel: Arc<dyn Kernel>,
}

/// Runs jobs.
pub(super) struct Worker {
    pub(super) engine: Engine,
}

/// The lock of a worker. Jobs that were submitted meanwhile are left to the thread at its end.
pub(super) struct WorkerGuard<'a> {
    // Before the other field, so that the lock is released first.
    worker: MutexGuard<'a, Worker>,
    _then: WakeForJobs<'a>,
}

/// Wakes the thread when dropped, if jobs wait.
struct WakeForJobs<'a>(&'a Queue<Job>);

/// Jobs that the thread takes at once. The reads among them run after the changes, equal ones once.
const JOBS_PER_ITERATION: usize = 256;
/// Jobs that a task runs at most, those of other tasks included.
const JOBS_OF_A_TASK: usize = 16;
/// Time between two checks, while no requests arrive, whether the managed network namespace has been
/// deleted: sockets in it would keep it, with its interfaces and addresses.
pub(super) const NAMESPACE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

// === impl Dispatcher ===

impl Dispatcher {
    pub(super) fn new(engine: Engine, queue_length: usize) -> Self {
        Self {
            queue: Queue::new(queue_length),
            kernel: engine.kernel.clone(),
            worker: Mutex::new(Worker { engine }),
        }
    }

    /// Puts a job into the queue, and runs it at once if the engine is idle and the job is short.
    pub(super) fn submit(&self, job: Job) -> Result<(), Error> {
        self.queue.push(job)?;
        self.begin();
        Ok(())
    }

    /// As [`submit`](Self::submit), before all jobs that wait, even if the queue is full.
    pub(super) fn submit_first(&self, job: Job) {
        self.queue.push_first(job);
        self.begin();
    }

    fn begin(&self) {
        // The task or thread that has the lock looks at the queue after releasing it.
        if let Some(mut worker) = self.try_lock() {
            self.run_short_jobs(&mut worker);
        }
    }

    /// Runs the short jobs that wait, if the current task may.
    pub(super) fn run_short_jobs(&self, worker: &mut Worker) {
        if worker.may_run_in_a_task() {
            worker.iterate(self.queue.take(JOBS_OF_A_TASK, Job::is_long));
        }
    }

    /// The jobs that wait.
    pub(super) fn queue(&self) -> &Queue<Job> {
        &self.queue
    }

    /// Accepts no further jobs.
    pub(super) fn close(&self) {
        self.queue.close();
    }

    /// Runs jobs until the dispatcher is closed.
    pub(super) fn run(&self) {
        self.queue.attach();
        while !self.queue.has_ended() {
            // With the lock, so that no task runs a later job first.
            let mut worker = self.lock();
            let jobs = self.queue.take(JOBS_PER_ITERATION, |_| false);
            if !jobs.is_empty() {
                worker.iterate(jobs);
                continue;
            }
            drop(worker);
            if self.kernel.namespace().is_none() {
                thread::park();
                continue;
            }
            thread::park_timeout(NAMESPACE_CHECK_INTERVAL);
            // A failure is logged, and the next request reports it.
            drop(self.lock().engine.socket.refresh());
        }
    }

    /// Waits until nothing runs.
    pub(super) fn lock(&self) -> WorkerGuard<'_> {
        // A job that panics is caught; the engine is usable after any other panic, too.
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        self.guard(worker)
    }

    pub(super) fn try_lock(&self) -> Option<WorkerGuard<'_>> {
        match self.worker.try_lock() {
            Ok(worker) => Some(self.guard(worker)),
            Err(TryLockError::Poisoned(poisoned)) => Some(self.guard(poisoned.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn guard<'a>(&'a self, worker: MutexGuard<'a, Worker>) -> WorkerGuard<'a> {
        WorkerGuard {
            worker,
            _then: WakeForJobs(&self.queue),
        }
    }
}

// === impl Worker ===

impl Worker {
    /// Whether the current task may run jobs: it is in a runtime with other threads, the socket is
    /// connected (connecting may run modprobe), and no thread has to be in a network namespace.
    fn may_run_in_a_task(&self) -> bool {
        is_in_a_task()
            && self.engine.kernel.namespace().is_none()
            && self.engine.socket.is_connected()
    }

    /// Executes changes in order, then runs the reads, which see the changes. A panic fails the jobs
    /// (their reply channels are dropped), not the daemon.
    fn iterate(&mut self, jobs: Vec<Job>) {
        if catch_unwind(AssertUnwindSafe(|| self.run(jobs))).is_err() {
            tracing::error!("executor iteration panicked; its requests fail with INTERNAL");
            self.engine.reset();
        }
    }

    fn run(&mut self, jobs: Vec<Job>) {
        let mut reads: Vec<Box<dyn PendingRead>> = Vec::new();
        for job in jobs {
            match job {
                Job::Read(read) => reads.push(read),
                Job::Transaction(mut transaction) => transaction.run(&mut self.engine),
                Job::Commands(commands, mode) => {
                    let commands = commands.and_then(|commands| commands.start(Instant::now()));
                    if let Some(commands) = commands {
                        commands.run(&mut self.engine, mode);
                    }
                }
            }
            // The deadline of the next job may have passed meanwhile.
            clock::has_blocked();
        }
        run_reads(reads, self);
    }
}

impl QueryRunner for Worker {
    fn cache(&self) -> Arc<Cache> {
        self.engine.cache.clone()
    }

    fn watch(&self) -> Arc<WatchCache> {
        self.engine.watch.clone()
    }

    fn metrics(&self) -> Arc<KernelMetrics> {
        self.engine.metrics.clone()
    }

    fn enter(&mut self) -> Result<NamespaceId, Error> {
        self.engine.socket.enter()
    }

    fn with_source(&mut self, fetch: &mut dyn FnMut(&mut Source<'_>)) {
        fetch(&mut self.engine.source(&mut NoChanges));
    }

    fn reset(&mut self) {
        self.engine.reset();
    }
}

// === impl WorkerGuard ===

impl Deref for WorkerGuard<'_> {
    type Target = Worker;

    fn deref(&self) -> &Worker {
        &self.worker
    }
}

impl DerefMut for WorkerGuard<'_> {
    fn deref_mut(&mut self) -> &mut Worker {
        &mut self.worker
    }
}

impl Drop for WakeForJobs<'_> {
    fn drop(&mut self) {
        if !self.0.is_empty() {
            self.0.wake();
        }
    }
}
