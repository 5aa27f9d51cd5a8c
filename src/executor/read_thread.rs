//! The thread for reads that take long: of all services, of large services, of files. Changes are
//! executed meanwhile.

use std::{sync::Arc, thread};

use super::{
    cache::Cache,
    dump::Changes,
    holds::Holds,
    job::{PendingRead, QueryRunner, run_reads},
    large::LargeServices,
    overlap::Overlap,
    query::Source,
    queue::Queue,
    reconnect::ReconnectingSocket,
    request::Dump,
    worker::{Dispatcher, NAMESPACE_CHECK_INTERVAL, WorkerGuard},
};
use crate::{
    budget::Budget,
    kernel::{Kernel, NamespaceId},
    metrics::KernelMetrics,
    model::Error,
    watch::WatchCache,
};

/// Niceness (nice(2)) of the thread. On a director with few processors, a list would otherwise use its
/// whole time slice, some milliseconds, before a change runs.
const NICENESS: i32 = 10;

/// The state of the thread.
pub(super) struct ReadThread {
    pub(super) queue: Arc<Queue<Box<dyn PendingRead>>>,
    pub(super) kernel: Arc<dyn Kernel>,
    pub(super) budget: Budget,
    pub(super) cache: Arc<Cache>,
    pub(super) large: Arc<LargeServices>,
    /// Of its own: the kernel runs one dump per socket at a time.
    pub(super) socket: ReconnectingSocket,
    pub(super) overlap: Arc<Overlap>,
    pub(super) watch: Arc<WatchCache>,
    pub(super) holds: Arc<Holds>,
    /// What executes changes meanwhile.
    pub(super) dispatcher: Arc<Dispatcher>,
    pub(super) metrics: Arc<KernelMetrics>,
}

/// The changes that the dispatcher executes during a dump.
struct ConcurrentChanges<'a> {
    overlap: &'a Overlap,
    dispatcher: &'a Dispatcher,
    /// Held during a dump that excludes changes.
    exclusive: Option<WorkerGuard<'a>>,
}

// === impl ReadThread ===

impl ReadThread {
    /// Runs reads until the queue is closed. Those that wait together run together: equal ones once.
    pub(super) fn run(mut self) {
        self.queue.attach();
        self.cache.attach();
        // On Linux, of this thread alone.
        if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
            tracing::debug!(%error, "cannot lower the priority of the thread for reads");
        }
        let namespace_check = self.kernel.namespace().map(|_| NAMESPACE_CHECK_INTERVAL);
        while !self.queue.has_ended() {
            let next_to_free = self.cache.free_unusable();
            let reads = self.queue.take(usize::MAX, |_| false);
            if !reads.is_empty() {
                run_reads(reads, &mut self);
                continue;
            }
            match namespace_check.into_iter().chain(next_to_free).min() {
                Some(time) => thread::park_timeout(time),
                None => thread::park(),
            }
            if namespace_check.is_some() {
                // A failure is logged, and the next request reports it.
                drop(self.socket.refresh());
            }
        }
    }
}

impl QueryRunner for ReadThread {
    fn cache(&self) -> Arc<Cache> {
        self.cache.clone()
    }

    fn watch(&self) -> Arc<WatchCache> {
        self.watch.clone()
    }

    fn metrics(&self) -> Arc<KernelMetrics> {
        self.metrics.clone()
    }

    fn enter(&mut self) -> Result<NamespaceId, Error> {
        self.socket.enter()
    }

    fn with_source(&mut self, fetch: &mut dyn FnMut(&mut Source<'_>)) {
        let (overlap, dispatcher) = (self.overlap.clone(), self.dispatcher.clone());
        fetch(&mut Source {
            kernel: &*self.kernel,
            budget: &self.budget,
            large: &self.large,
            holds: &self.holds,
            watch: &self.watch,
            socket: &mut self.socket,
            changes: &mut ConcurrentChanges {
                overlap: &overlap,
                dispatcher: &dispatcher,
                exclusive: None,
            },
            is_exclusive: false,
        });
    }

    fn reset(&mut self) {
        self.socket.close();
    }
}

impl Changes for ConcurrentChanges<'_> {
    fn begin(&mut self, dump: Dump, exclusive: bool) {
        if exclusive {
            self.exclusive = Some(self.dispatcher.lock());
        }
        self.overlap.begin_dump(dump);
    }

    fn end(&mut self) -> bool {
        self.exclusive = None;
        self.overlap.end_dump()
    }
}
