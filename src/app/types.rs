//! What goes into the use cases and what comes out, beside the model itself.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::Stream;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::model::{Connection, Error, Etag, Rates, Reason, ServerKey, ServiceKey, Stats};

/// What was read.
#[derive(Clone, Debug)]
pub struct Answer<T> {
    /// It.
    pub value: T,
    /// How long ago (`Age`); zero where it was read for this call.
    pub age: Duration,
}

/// What was written, as the kernel has it after.
#[derive(Clone, Debug)]
pub struct Written<T> {
    /// The kernel's own view.
    pub value: T,
    /// Whether it was not there before.
    pub created: bool,
    /// Whether the kernel was changed at all.
    pub changed: bool,
}

/// What must hold of a resource for a write to be carried out; else `REVISION_MISMATCH`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Guard {
    /// Nothing.
    #[default]
    None,
    /// It exists (`If-Match: *`).
    Exists,
    /// It does not exist (`If-None-Match: *`).
    Absent,
    /// It has one of these etags (`If-Match: "…"`).
    Matches(Vec<Etag>),
}

/// Connections as they are read. Dropping it ends the reading.
#[derive(Debug)]
pub struct ConnectionStream {
    pub(super) chunks: mpsc::Receiver<Result<Vec<Connection>, Error>>,
}

/// How many connections are in a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Count {
    /// What they have in common: a protocol, an address, a state.
    pub group: String,
    /// How many.
    pub count: u64,
}

/// What [`App::stats`](super::App::stats) is to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatsRequest {
    /// How many of the busiest services and servers, 0 to 100.
    pub top: usize,
    /// Busiest by what.
    pub by: super::Order,
}

/// Totals and the busiest, for dashboards.
#[derive(Clone, Debug, Serialize)]
pub struct StatsReport {
    /// Counters of everything since the last zero, deleted services included
    /// (`/proc/net/ip_vs_stats`).
    pub stats: Stats,
    /// Rates of everything.
    pub rates: Rates,
    /// Whether the kernel estimates (setting `run_estimation`); if not, counters and rates stand
    /// still.
    pub estimation: bool,
    /// How many virtual services.
    pub service_count: usize,
    /// How many real servers, each counted once a service.
    pub server_count: usize,
    /// Established connections of all services.
    pub active_connections: u64,
    /// Other connections of all services.
    pub inactive_connections: u64,
    /// The busiest services.
    pub top_services: Vec<TopService>,
    /// The busiest servers.
    pub top_servers: Vec<TopServer>,
}

/// One of the busiest services.
#[derive(Clone, Debug, Serialize)]
pub struct TopService {
    /// Its id.
    pub id: ServiceKey,
    /// Its counters.
    pub stats: Stats,
    /// Its rates.
    pub rates: Rates,
}

/// One of the busiest servers.
#[derive(Clone, Debug, Serialize)]
pub struct TopServer {
    /// Id of its service.
    pub service: ServiceKey,
    /// Its id.
    pub id: ServerKey,
    /// Established connections, now.
    pub active_connections: u32,
    /// Other connections, now.
    pub inactive_connections: u32,
    /// Its counters.
    pub stats: Stats,
    /// Its rates.
    pub rates: Rates,
}

/// What daemon and kernel are and have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InfoReport {
    /// Version of ipvsd.
    pub version: String,
    /// Network namespace that is managed; absent: the daemon's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The kernel.
    pub kernel: KernelReport,
    /// Schedulers that the kernel is known to have at some version, and whether each is loaded
    /// now; one that is not is loaded by the kernel when it is first used, where it has it.
    pub schedulers: Vec<SchedulerReport>,
    /// Persistence engines that are loaded now.
    pub persistence_engines: Vec<String>,
}

/// What the kernel is and has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KernelReport {
    /// `netlink` (a real one) or `fake` (in memory, for client developers).
    pub kind: String,
    /// Its release.
    pub release: String,
    /// Version of its IPVS.
    pub ipvs_version: String,
    /// Buckets of the connection table; 0 where the kernel sizes it by need and has none yet.
    pub connection_table_size: u32,
    /// Whether it estimates rates and refreshes counters (setting `run_estimation`).
    pub estimation: bool,
    /// Optional features that it has: `conntrack`, `debug`, `estimation_threads`,
    /// `resizable_tables`.
    pub features: Vec<String>,
}

/// A scheduler and whether it is loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SchedulerReport {
    /// The kernel's name.
    pub name: String,
    /// What it is.
    pub description: String,
    /// Whether its module is loaded.
    pub loaded: bool,
}

// === impl Answer ===

impl<T> Answer<T> {
    /// The same answer with its value changed.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Answer<U> {
        Answer {
            value: f(self.value),
            age: self.age,
        }
    }
}

// === impl Guard ===

impl Guard {
    /// Holds the guard against a resource: the etags that fit it, or `None` where it is missing.
    pub fn check(&self, etags: Option<&[Etag]>) -> Result<(), Error> {
        let refuse = |detail: &str| {
            Err(Error::new(Reason::RevisionMismatch, detail)
                .with_hint("read it again, decide again, and send what it has now"))
        };
        match (self, etags) {
            (Self::None, _) | (Self::Exists, Some(_)) | (Self::Absent, None) => Ok(()),
            (Self::Exists, None) => refuse("it does not exist"),
            (Self::Absent, Some(_)) => refuse("it exists"),
            (Self::Matches(_), None) => refuse("it does not exist any more"),
            (Self::Matches(wanted), Some(has)) if wanted.iter().any(|e| has.contains(e)) => Ok(()),
            (Self::Matches(_), Some(_)) => refuse("it has changed since the etag was given"),
        }
    }
}

// === impl ConnectionStream ===

/// Yields chunks of connections, so that a long listing costs few wake-ups.
impl Stream for ConnectionStream {
    type Item = Result<Vec<Connection>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.chunks.poll_recv(cx)
    }
}
