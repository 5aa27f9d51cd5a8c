//! The thread for reads that take long: of all services, of large services, of files. Changes are
//! executed meanwhile.

use std::{sync::Arc, thread};

use super::{
    cache::Cache,
    dump::Changes,
    job::{PendingRead, QueryRunner, run_reads},
    large::LargeServices,
    query::Source,
    queue::Queue,
    reconnect::ReconnectingSocket,
    request::Dump,
    worker::{Dispatcher, NAMESPACE_CHECK_INTERVAL, WorkerGuard},
};
use crate::{
    budget::Budget,
    kernel::{Kernel, NamespaceId},
    model::Error,
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
    /// What executes changes meanwhile.
    pub(super) dispatcher: Arc<Dispatcher>,
}

/// The changes that the dispatcher executes during a dump.
struct ConcurrentChanges<'a> {
    dispatcher: &'a Dispatcher,
    /// Held during a dump that excludes changes.
    exclusive: Option<WorkerGuard<'a>>,
}

// === impl ReadThread ===

impl ReadThread {
    /// Runs reads until the queue is closed. Those that wait together run together: equal ones once.
    pub(super) fn run(mut self) {
        self.queue.attach();
        // On Linux, of this thread alone.
        if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
            tracing::debug!(%error, "cannot lower the priority of the thread for reads");
        }
        while !self.queue.has_ended() {
            let reads = self.queue.take(usize::MAX, |_| false);
            if !reads.is_empty() {
                run_reads(reads, &mut self);
                continue;
            }
            if self.kernel.namespace().is_none() {
                thread::park();
                continue;
            }
            thread::park_timeout(NAMESPACE_CHECK_INTERVAL);
            // A failure is logged, and the next request reports it.
            drop(self.socket.refresh());
        }
    }
}

impl QueryRunner for ReadThread {
    fn cache(&self) -> Arc<Cache> {
        self.cache.clone()
    }

    fn enter(&mut self) -> Result<NamespaceId, Error> {
        self.socket.enter()
    }

    fn with_source(&mut self, fetch: &mut dyn FnMut(&mut Source<'_>)) {
        let dispatcher = self.dispatcher.clone();
        fetch(&mut Source {
            kernel: &*self.kernel,
            budget: &self.budget,
            large: &self.large,
            socket: &mut self.socket,
            changes: &mut ConcurrentChanges {
                dispatcher: &dispatcher,
                exclusive: None,
            },
        });
    }

    fn reset(&mut self) {
        self.socket.close();
    }
}

impl Changes for ConcurrentChanges<'_> {
    fn begin(&mut self, dump: Dump, exclusive: bool) {
        // Waits for the end of a change in progress, as `end` does: a change is either before, within
        // or after the dump.
        let mut worker = self.dispatcher.lock();
        worker.engine.dumping = Some((dump, false));
        if exclusive {
            self.exclusive = Some(worker);
        }
    }

    fn end(&mut self) -> bool {
        let exclusive = self.exclusive.take();
        let mut worker = exclusive.unwrap_or_else(|| self.dispatcher.lock());
        let dumping = worker.engine.dumping.take();
        dumping.is_some_and(|(_, invalidated)| invalidated)
    }
}
