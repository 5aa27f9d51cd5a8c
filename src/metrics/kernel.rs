//! What the executor counts.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::{Creations, Histogram, histogram::Scale};
use crate::model::{Errno, Op, Query};

/// The counters of an executor.
#[derive(Debug)]
pub struct KernelMetrics {
    commands: [CommandCounters; COMMANDS.len()],
    reads: [ReadCounters; QUERIES.len()],
    batches: Histogram,
    dump_retries: AtomicU64,
    socket_rebuilds: AtomicU64,
    hits: AtomicU64,
    shared: AtomicU64,
    misses: AtomicU64,
    creations: Creations,
}

/// What became of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandResult {
    /// The kernel executed it.
    Done,
    /// The kernel rejected it.
    Rejected(Errno),
    /// It was sent, and its reply is lost.
    Lost,
    /// It was not sent, because the socket failed before.
    NotSent,
}

#[derive(Debug)]
struct CommandCounters {
    done: AtomicU64,
    lost: AtomicU64,
    not_sent: AtomicU64,
    /// By errno; the last one for numbers that Linux does not have.
    rejected: [AtomicU64; MAX_ERRNO + 2],
}

#[derive(Debug)]
struct ReadCounters {
    duration: Histogram,
    errors: AtomicU64,
}

/// The largest errno (`EHWPOISON`).
const MAX_ERRNO: usize = 133;

/// The operations that are sent to the kernel, by the names that the audit trail has.
const COMMANDS: [&str; 13] = [
    "create_service",
    "update_service",
    "delete_service",
    "create_server",
    "update_server",
    "delete_server",
    "clear",
    "zero",
    "zero_service",
    "set_timeouts",
    "start_sync_daemon",
    "stop_sync_daemon",
    "set_setting",
];

const QUERIES: [&str; 13] = [
    "info",
    "timeouts",
    "sync_daemons",
    "services",
    "table",
    "service",
    "service_with_servers",
    "servers",
    "server",
    "settings",
    "estimation",
    "totals",
    "system",
];

// === impl KernelMetrics ===

impl KernelMetrics {
    /// Counts an operation. Labels are not sent to the kernel.
    pub fn command(&self, op: &Op, result: CommandResult) {
        let Some(counters) = command_index(op).and_then(|index| self.commands.get(index)) else {
            return;
        };
        let counter = match result {
            CommandResult::Done => &counters.done,
            CommandResult::Lost => &counters.lost,
            CommandResult::NotSent => &counters.not_sent,
            CommandResult::Rejected(Errno(errno)) => {
                let index = usize::try_from(errno).unwrap_or(usize::MAX);
                let [.., other] = &counters.rejected;
                counters.rejected.get(index).unwrap_or(other)
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Observes the number of operations that are sent together.
    pub fn batch(&self, operations: usize) {
        self.batches
            .add(u64::try_from(operations).unwrap_or(u64::MAX));
    }

    /// Counts a query that was read from the kernel, its repetitions included.
    pub fn read(&self, query: &Query, took: Duration, is_ok: bool) {
        let Some(counters) = query_index(query).and_then(|index| self.reads.get(index)) else {
            return;
        };
        counters.duration.observe(took);
        if !is_ok {
            counters.errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The name of a query in the metrics.
    pub fn name_of(query: &Query) -> Option<&'static str> {
        QUERIES.get(query_index(query)?).copied()
    }

    /// Counts a dump that is repeated, because the table changed during it.
    pub fn dump_repeated(&self) {
        self.dump_retries.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a socket that is closed, to be replaced by a new one.
    pub fn socket_closed(&self) {
        self.socket_rebuilds.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a query that was answered from a kept result.
    pub fn cache_hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts queries that were answered by one read of the kernel.
    pub fn cache_miss(&self, queries: usize) {
        let shared = u64::try_from(queries.saturating_sub(1)).unwrap_or_default();
        self.misses.fetch_add(1, Ordering::Relaxed);
        self.shared.fetch_add(shared, Ordering::Relaxed);
    }

    /// When the daemon created or zeroed what.
    pub fn creations(&self) -> &Creations {
        &self.creations
    }

    /// The operations and their results.
    pub(super) fn commands(&self) -> Vec<(&'static str, String, u64)> {
        let mut all = Vec::new();
        for (name, counters) in COMMANDS.iter().zip(&self.commands) {
            let rejected = counters.rejected.iter().enumerate();
            let rejected = rejected.map(|(errno, count)| {
                let known = i32::try_from(errno).ok().filter(|_| errno <= MAX_ERRNO);
                let result = known.map(|errno| Errno(errno).to_string());
                (result.unwrap_or_else(|| "other".to_owned()), count)
            });
            let others = [
                ("ok", &counters.done),
                ("lost", &counters.lost),
                ("not_sent", &counters.not_sent),
            ];
            let others = others
                .into_iter()
                .map(|(result, count)| (result.to_owned(), count));
            for (result, count) in others.chain(rejected) {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    all.push((*name, result, count));
                }
            }
        }
        all
    }

    /// The queries, the durations of their reads, and how many failed.
    pub(super) fn reads(&self) -> impl Iterator<Item = (&'static str, &Histogram, u64)> {
        let reads = QUERIES.iter().zip(&self.reads);
        reads.map(|(name, counters)| {
            let errors = counters.errors.load(Ordering::Relaxed);
            (*name, &counters.duration, errors)
        })
    }

    pub(super) fn batches(&self) -> &Histogram {
        &self.batches
    }

    pub(super) fn dump_retries(&self) -> u64 {
        self.dump_retries.load(Ordering::Relaxed)
    }

    pub(super) fn socket_rebuilds(&self) -> u64 {
        self.socket_rebuilds.load(Ordering::Relaxed)
    }

    /// The queries by where their results came from.
    pub(super) fn cache(&self) -> [(&'static str, u64); 3] {
        [
            ("hit", self.hits.load(Ordering::Relaxed)),
            ("shared", self.shared.load(Ordering::Relaxed)),
            ("miss", self.misses.load(Ordering::Relaxed)),
        ]
    }
}

impl Default for KernelMetrics {
    fn default() -> Self {
        Self {
            commands: std::array::from_fn(|_| CommandCounters::default()),
            reads: std::array::from_fn(|_| ReadCounters {
                duration: Histogram::new(Scale::LATENCY),
                errors: AtomicU64::new(0),
            }),
            batches: Histogram::new(Scale::BATCH),
            dump_retries: AtomicU64::new(0),
            socket_rebuilds: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            shared: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            creations: Creations::default(),
        }
    }
}

// === impl CommandCounters ===

impl Default for CommandCounters {
    fn default() -> Self {
        Self {
            done: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            not_sent: AtomicU64::new(0),
            rejected: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

/// The place of an operation in [`COMMANDS`].
fn command_index(op: &Op) -> Option<usize> {
    Some(match op {
        Op::CreateService(..) => 0,
        Op::SetService(..) => 1,
        Op::DeleteService(_) => 2,
        Op::CreateServer(..) => 3,
        Op::SetServer(..) => 4,
        Op::DeleteServer(..) => 5,
        Op::Clear => 6,
        Op::ZeroAll => 7,
        Op::ZeroService(_) => 8,
        Op::SetTimeouts(_) => 9,
        Op::StartSyncDaemon(_) => 10,
        Op::StopSyncDaemon(_) => 11,
        Op::SetSetting { .. } => 12,
        Op::SetStored(..) => return None,
    })
}

/// The place of a query in [`QUERIES`]. Connection tables are streamed, and are not among them.
fn query_index(query: &Query) -> Option<usize> {
    Some(match query {
        Query::Info => 0,
        Query::Timeouts => 1,
        Query::SyncDaemons => 2,
        Query::Services => 3,
        Query::Table => 4,
        Query::Service(_) => 5,
        Query::ServiceWithServers(_) => 6,
        Query::Servers(_) => 7,
        Query::Server(..) => 8,
        Query::Settings => 9,
        Query::Estimation => 10,
        Query::Totals => 11,
        Query::System => 12,
        Query::Connections | Query::ConnectionCounts => return None,
    })
}
