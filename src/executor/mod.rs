//! Schedules and executes every request to the kernel.
//!
//! The kernel executes a generic-netlink request inside `send` and fills a dump inside `recv`, in
//! the calling thread and under one global mutex. So there is one socket for changes and short reads
//! (`worker.rs`) and one for long reads (`read_thread.rs`), each with a bounded queue. The async code
//! ends at the two handles: [`Reader`] runs queries, [`Writer`] executes changes. `docs/executor.md`
//! explains the scheduling.

mod cache;
mod checked;
mod connections;
mod deletions;
mod dump;
mod engine;
mod execute;
mod fallback;
mod fallback_holds;
mod handle;
mod hold_state;
mod holds;
mod in_flight;
mod interfaces;
mod job;
mod kept;
mod large;
mod limits;
mod member;
mod modules;
mod offload;
mod overlap;
mod pending;
mod proc_query;
mod progress;
mod query;
mod queue;
mod read_thread;
mod reconnect;
mod request;
mod service_query;
mod service_state;
mod socket;
mod stored;
mod table;
mod table_reads;
mod transaction;
mod typed_transaction;
mod unavailable;
mod worker;

#[cfg(test)]
mod tests;

use std::{io, sync::Arc, thread};

use cache::Cache;
use engine::Engine;
use handle::Queues;
use large::LargeServices;
use queue::Queue;
use read_thread::ReadThread;
pub use stored::FieldStore;
use table_reads::TableReads;
use worker::Dispatcher;

pub use cache::Cached;
pub use connections::ConnectionChunks;
pub use fallback::{FallbackOps, FallbackTarget};
pub use handle::{Reader, Writer};
pub use hold_state::Held;
pub use holds::{HoldChanges, HoldStore, Holds};
pub use job::{Failure, Write};
pub use kept::KeptStore;
pub use limits::ExecutorLimits;
pub use member::{MAX_HELD, Member};
pub use offload::offload;
pub use proc_query::{
    ConnectionCountsQuery, ConnectionsQuery, CountedTotalsQuery, EstimationQuery, SettingsQuery,
    System, SystemQuery, TotalsQuery,
};
pub use query::{
    InfoQuery, ListQuery, MAX_SERVERS_AT_ONCE, Nothing, ServersOf, ServersOfQuery, ServicesQuery,
    SyncDaemonsQuery, TableQuery, TimeoutsQuery, TypedQuery,
};
pub use service_query::{
    FoundServer, ServerQuery, ServersQuery, ServiceQuery, ServiceWithServersQuery,
};
pub use table::Table;
pub use transaction::{
    Check, CommandList, CommandResult, CommandResults, Executed, OpAndUndo, OpCheck, Plan, Step,
    Transaction, WriteMode,
};

use crate::{budget::Budget, kernel::Kernel, metrics::KernelMetrics, watch::WatchCache};

/// The handles of one executor. Its threads end when the last clone of either is dropped.
#[derive(Clone, Debug)]
pub struct Executor {
    /// Runs queries.
    pub reader: Reader,
    /// Executes changes.
    pub writer: Writer,
    /// See [`ExecutorLimits::budget`].
    pub budget: Budget,
    /// The table as last seen, and its changes.
    pub watch: Arc<WatchCache>,
    /// The holds on the weights of servers.
    pub holds: Arc<Holds>,
    /// What is kept about services.
    pub kept: KeptStore,
    /// See [`ExecutorLimits::metrics`].
    pub metrics: Arc<KernelMetrics>,
}

// === impl Executor ===

impl Executor {
    /// Starts the threads, which enter the kernel's network namespace. A namespace that does not
    /// exist and a kernel without IPVS are no errors here: each request fails until they appear.
    pub fn start(kernel: Arc<dyn Kernel>, limits: ExecutorLimits) -> io::Result<Self> {
        let cache = Arc::new(Cache::default());
        let large = Arc::new(LargeServices::new());
        let (budget, metrics) = (limits.budget, limits.metrics);
        let watch = Arc::new(WatchCache::new(limits.watch, &budget));
        let engine = Engine::new(
            kernel.clone(),
            cache.clone(),
            large.clone(),
            budget.clone(),
            watch.clone(),
            metrics.clone(),
        );
        let holds = engine.holds.clone();
        let kept = KeptStore::new(watch.clone(), cache.clone(), engine.stored.clone());
        let (socket, overlap) = (engine.socket.sibling(), engine.overlap.clone());
        let dispatcher = Arc::new(Dispatcher::new(engine, limits.queue_length));
        let reads = Arc::new(Queue::new(limits.queue_length));
        let queues = Arc::new(Queues {
            dispatcher: dispatcher.clone(),
            reads: reads.clone(),
            large: large.clone(),
        });
        let read_thread = ReadThread {
            queue: reads,
            kernel: kernel.clone(),
            budget: budget.clone(),
            cache: cache.clone(),
            large,
            socket,
            overlap,
            watch: watch.clone(),
            holds: holds.clone(),
            dispatcher: dispatcher.clone(),
            metrics: metrics.clone(),
        };
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            thread::Builder::new().name(name.to_owned()).spawn(run)
        };
        spawn("ipvs-changes", Box::new(move || dispatcher.run()))?;
        spawn("ipvs-reads", Box::new(move || read_thread.run()))?;
        let table_reads = TableReads::new(limits.connection_streams, limits.stalled_read_timeout);
        let reader = Reader::new(
            queues.clone(),
            cache,
            limits.min_read_interval,
            kernel,
            table_reads,
            metrics.clone(),
        );
        Ok(Self {
            reader,
            writer: Writer::new(queues),
            budget,
            watch,
            holds,
            kept,
            metrics,
        })
    }
}
