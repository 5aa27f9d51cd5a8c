//! Options of the lower layers, derived from the configuration. The program, the tests and the
//! benchmarks all use these functions, so that [`Limits::default`] is the one source of defaults.

use std::time::Duration;

use futures_util::{FutureExt, future::pending};

use super::config::{AuditConfig, Config, KernelKind, Limits, MetricsConfig};
use crate::{
    app::AppOptions,
    audit::{AuditOptions, FileOptions, JOURNAL_SOCKET, SinkOptions},
    budget::Budget,
    executor::ExecutorLimits,
    grpc::GrpcOptions,
    http::{HttpOptions, MetricsOptions},
    metrics::ScrapeOptions,
};

/// Maximum size of a rules text, as a multiple of `limits.max_body_bytes`. With the default of
/// 1 MiB, a text may have about a million lines, the largest table IPVS is known to be used with.
pub(super) const RULES_BODY_FACTOR: usize = 64;

/// Maximum size of a gRPC response message, in bytes. Clients accept 4 MiB by default; the rest is
/// a margin for the last item of a page.
const GRPC_MAX_RESPONSE_BYTES: usize = 3 << 20;

/// Interval at which a watched gRPC health status is refreshed: short enough for load balancers,
/// and one cheap kernel query.
const GRPC_HEALTH_INTERVAL: Duration = Duration::from_secs(5);

/// Maximum number of concurrent gRPC health watches. Each keeps a stream and a timer.
const GRPC_MAX_HEALTH_WATCHES: usize = 64;

/// Time in which a client must read some of a connection table when others wait for one: several
/// round trips of any network.
const STALLED_READ_TIMEOUT: Duration = Duration::from_secs(1);

impl Limits {
    /// Options of the HTTP front end.
    pub fn http_options(&self) -> HttpOptions {
        HttpOptions {
            request_timeout: self.request_timeout,
            max_body_bytes: self.max_body_bytes,
            max_rules_bytes: self.max_rules_bytes(),
            metrics: MetricsOptions::default(),
        }
    }

    /// Options of the gRPC front end. It never drains; see [`GrpcOptions::until`].
    pub fn grpc_options(&self) -> GrpcOptions {
        GrpcOptions {
            request_timeout: self.request_timeout,
            max_request_bytes: self.max_body_bytes,
            max_rules_bytes: self.max_rules_bytes(),
            max_response_bytes: GRPC_MAX_RESPONSE_BYTES,
            health_interval: GRPC_HEALTH_INTERVAL,
            max_health_watches: GRPC_MAX_HEALTH_WATCHES,
            draining: pending().boxed().shared(),
        }
    }

    /// Maximum size of a rules text, in bytes.
    pub(super) fn max_rules_bytes(&self) -> usize {
        self.max_body_bytes.saturating_mul(RULES_BODY_FACTOR)
    }
}

impl MetricsConfig {
    /// Options of `/metrics`.
    pub fn options(&self) -> MetricsOptions {
        MetricsOptions {
            max_age: self.max_age,
            scrape: ScrapeOptions {
                max_servers: self.max_servers,
                node_exporter_names: self.node_exporter_names,
            },
        }
    }
}

impl AuditConfig {
    /// Options of the audit trail.
    pub fn options(&self) -> AuditOptions {
        let Self {
            file,
            journal,
            max_file_bytes,
            max_file_age,
            max_files,
            fsync,
            max_queue_bytes,
        } = self.clone();
        let sink = match file {
            Some(path) => SinkOptions::File(FileOptions {
                path,
                max_bytes: max_file_bytes,
                max_age: max_file_age,
                max_files,
                fsync,
            }),
            None if journal => SinkOptions::Journal(JOURNAL_SOCKET.into()),
            None => SinkOptions::Memory,
        };
        AuditOptions {
            sink,
            max_queue_bytes,
        }
    }
}

impl Config {
    /// Options of the HTTP front end.
    pub fn http_options(&self) -> HttpOptions {
        HttpOptions {
            metrics: self.metrics.options(),
            ..self.limits.http_options()
        }
    }

    /// Limits of the executor.
    pub fn executor_limits(&self) -> ExecutorLimits {
        ExecutorLimits {
            queue_length: self.limits.queue_length,
            connection_streams: self.limits.max_connection_streams,
            stalled_read_timeout: STALLED_READ_TIMEOUT,
            min_read_interval: self.limits.min_read_interval,
            budget: Budget::new(self.limits.max_memory_bytes),
            watch: self.watch.clone(),
            ..ExecutorLimits::default()
        }
    }

    /// Options of the application layer.
    pub fn app_options(&self) -> AppOptions {
        AppOptions {
            default_page_size: u32::try_from(self.limits.default_page_size).unwrap_or(u32::MAX),
            max_page_size: u32::try_from(self.limits.max_page_size).unwrap_or(u32::MAX),
            namespace: self.netns.clone(),
            max_idempotency_keys: self.idempotency.max_keys,
            sampling: self.stats.clone(),
            kernel: match self.kernel {
                KernelKind::Netlink => "netlink".to_owned(),
                KernelKind::Fake => "fake".to_owned(),
            },
            ..AppOptions::default()
        }
    }
}
