//! Schedules and executes every request to the kernel.
//!
//! The kernel executes a generic-netlink request inside `send` and fills a dump inside `recv`, in
//! the calling thread and under one global mutex. So one plain thread owns the sockets
//! (`worker.rs`), and a bounded channel leads to it. The async code ends at the two handles:
//! [`Reader`] runs queries, [`Writer`] executes changes. `docs/executor.md` explains the
//! scheduling.

mod batch;
mod cache;
mod connections;
mod dump;
mod engine;
mod execute;
mod handle;
mod interfaces;
mod job;
mod pending;
mod proc_query;
mod query;
mod reconnect;
mod socket;
mod transaction;
mod unavailable;
mod worker;

#[cfg(test)]
mod tests;

use std::{io, sync::Arc, thread};

use cache::Cache;
use handle::Submitter;
use tokio::sync::{Semaphore, mpsc};
use worker::Worker;

pub use cache::Cached;
pub use connections::ConnectionChunks;
pub use handle::{Reader, Writer};
pub use job::Write;
pub use proc_query::{
    ConnectionCountsQuery, ConnectionsQuery, EstimationQuery, SettingsQuery, System, SystemQuery,
    TotalsQuery,
};
pub use query::{
    InfoQuery, Nothing, ServersQuery, ServiceQuery, ServiceWithServersQuery, ServicesQuery,
    SyncDaemonsQuery, Table, TableQuery, TimeoutsQuery, TypedQuery,
};
pub use transaction::{
    CommandList, CommandResult, CommandResults, Executed, Plan, Step, Transaction,
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

/// Limits of an executor.
#[derive(Clone, Debug)]
pub struct ExecutorLimits {
    /// Requests that may wait for the kernel; default 1024. A further one fails with
    /// `RATE_LIMITED`.
    pub queue_length: usize,
    /// Concurrent reads of the connection table, each on a thread of its own; default 4. A further
    /// one fails with `RATE_LIMITED`.
    pub connection_streams: usize,
    /// Memory of the tables that are read, and of everything else that requests occupy.
    pub budget: Budget,
}

// === impl Executor ===

impl Executor {
    /// Starts the thread, which enters the kernel's network namespace. A namespace that does not
    /// exist and a kernel without IPVS are no errors here: each request fails until they appear.
    pub fn start(kernel: Arc<dyn Kernel>, limits: ExecutorLimits) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel(limits.queue_length.max(1));
        let cache = Arc::new(Cache::default());
        let worker = Worker::new(kernel.clone(), queue, cache.clone(), limits.budget.clone());
        let thread = thread::Builder::new()
            .name("ipvs-netlink".to_owned())
            .spawn(move || worker.run())?;
        let submitter = Submitter::new(jobs, thread.thread().clone());
        let streams = Arc::new(Semaphore::new(limits.connection_streams.max(1)));
        Ok(Self {
            reader: Reader::new(submitter.clone(), cache, kernel, streams),
            writer: Writer::new(submitter),
            budget: limits.budget,
        })
    }
}

// === impl ExecutorLimits ===

impl Default for ExecutorLimits {
    fn default() -> Self {
        Self {
            queue_length: 1024,
            connection_streams: 4,
            budget: Budget::default(),
        }
    }
}
