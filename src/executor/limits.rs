//! Limits of an executor.

use std::{sync::Arc, time::Duration};

use crate::{budget::Budget, metrics::KernelMetrics, watch::WatchOptions};

/// Limits of an executor.
#[derive(Clone, Debug)]
pub struct ExecutorLimits {
    /// Requests that may wait for the kernel; default 1024. A further one fails with
    /// `RATE_LIMITED`.
    pub queue_length: usize,
    /// Concurrent reads of the connection table, each on a thread of its own; default 4. A further
    /// one waits for twice the `stalled_read_timeout`, then fails with `RATE_LIMITED`.
    pub connection_streams: usize,
    /// Time in which a client must take some of a connection table when others wait for one; default
    /// 1 s. Then its read ends.
    pub stalled_read_timeout: Duration,
    /// Shortest time between two dumps that return the same: a fresh read within it is answered from
    /// the last dump, unless this process has made a change since; default 0.
    pub min_read_interval: Duration,
    /// Memory of the tables that are read, and of everything else that requests occupy.
    pub budget: Budget,
    /// Settings of watches.
    pub watch: WatchOptions,
    /// What the executor counts.
    pub metrics: Arc<KernelMetrics>,
}

// === impl ExecutorLimits ===

impl Default for ExecutorLimits {
    fn default() -> Self {
        Self {
            queue_length: 1024,
            connection_streams: 4,
            stalled_read_timeout: Duration::from_secs(1),
            min_read_interval: Duration::ZERO,
            budget: Budget::default(),
            watch: WatchOptions::default(),
            metrics: Arc::default(),
        }
    }
}
