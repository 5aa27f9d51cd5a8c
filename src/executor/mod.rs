//! Schedules and executes every request to the kernel.
//!
//! The kernel executes a generic-netlink request inside `send` and fills a dump inside `recv`, in
//! the calling thread and under one global mutex. So one plain thread owns the sockets
//! (`worker.rs`), and a bounded channel leads to it. The async code ends at the two handles:
//! [`Reader`] runs queries, [`Writer`] executes changes. `docs/executor.md` explains the
//! scheduling.

mod batch;
mod cache;
mod checked;
mod connections;
mod dump;
mod engine;
mod execute;
mod handle;
mod interfaces;
mod job;
mod limits;
mod pending;
mod proc_query;
mod query;
mod reconnect;
mod socket;
mod table;
mod table_reads;
mod transaction;
mod unavailable;
mod worker;

#[cfg(test)]
mod tests;

use std::{io, sync::Arc, thread};

use cache::Cache;
use handle::Submitter;
use table_reads::TableReads;
use tokio::sync::mpsc;
use worker::Worker;

pub use cache::Cached;
pub use connections::ConnectionChunks;
pub use handle::{Reader, Writer};
pub use job::Write;
pub use limits::ExecutorLimits;
pub use proc_query::{
    ConnectionCountsQuery, ConnectionsQuery, EstimationQuery, SettingsQuery, System, SystemQuery,
    TotalsQuery,
};
pub use query::{
    InfoQuery, ListQuery, MAX_SERVERS_AT_ONCE, Nothing, ServersOfQuery, ServersQuery, ServiceQuery,
    ServiceWithServersQuery, ServicesQuery, SyncDaemonsQuery, TableQuery, TimeoutsQuery,
    TypedQuery,
};
pub use table::Table;
pub use transaction::{
    Check, CommandList, CommandResult, CommandResults, Executed, Plan, Step, Transaction,
};

use crate::{budget::Budget, kernel::Kernel};

/// The handles of one executor. Its thread ends when the last clone of either is dropped.
#[derive(Clone, Debug)]
pub struct Executor {
    /// Runs queries.
    pub reader: Reader,
    /// Executes changes.
    pub writer: Writer,
    /// See [`ExecutorLimits::budget`].
    pub budget: Budget,
}

// === impl Executor ===

impl Executor {
    /// Starts the thread, which enters the kernel's network namespace. A namespace that does not
    /// exist and a kernel without IPVS are no errors here: each request fails until they appear.
    pub fn start(kernel: Arc<dyn Kernel>, limits: ExecutorLimits) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel(limits.queue_length.max(1));
        let cache = Arc::new(Cache::default());
        let worker = Worker::new(kernel.clone(), queue, cache.clone(), &limits);
        let thread = thread::Builder::new()
            .name("ipvs-netlink".to_owned())
            .spawn(move || worker.run())?;
        let submitter = Submitter::new(jobs, thread.thread().clone());
        let reads = TableReads::new(limits.connection_streams, limits.stalled_read_timeout);
        Ok(Self {
            reader: Reader::new(
                submitter.clone(),
                cache,
                limits.min_read_interval,
                kernel,
                reads,
            ),
            writer: Writer::new(submitter),
            budget: limits.budget,
        })
    }
}
