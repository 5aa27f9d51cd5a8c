//! The configuration: settings, ranges and defaults. `deploy/ipvsd.toml` gives the reasons.

use std::{path::PathBuf, time::Duration};

use super::{
    address::ListenAddress,
    tls::{self, TlsConfig, TlsErrors},
    traces::TracingConfig,
};
use crate::{
    app::{AppOptions, Interrupted, RestoreOnStart},
    audit::{AuditOptions, FileOptions},
    budget,
    executor::ExecutorLimits,
    http::MetricsOptions,
    metrics::ScrapeOptions,
    sampling::SamplingOptions,
    watch::WatchOptions,
};

/// Directory of the stored state: `StateDirectory=ipvsd` of the systemd unit.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/ipvsd";

/// All settings of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Addresses to listen on; every listener serves the whole API. Default:
    /// `unix:/run/ipvsd/ipvsd.sock` and `127.0.0.1:4787`; with `dev`, the latter alone.
    pub listen: Vec<ListenAddress>,
    /// Permission bits of unix sockets, 0 to 0o777. Default: 0o660, owner and group.
    pub socket_mode: u32,
    /// Group of unix sockets: a name. Default: none, which is `ipvsd` if there is such a group.
    pub socket_group: Option<String>,
    /// The policy: which credentials are valid, and what they permit. Default: none, which permits
    /// everything to root, to the daemon's user and to the group `ipvsd`, on unix sockets.
    pub policy: Option<PathBuf>,
    /// For development: without a credential, everything is permitted. Only local listeners. Default:
    /// false.
    pub dev: bool,
    /// Allows TCP listeners without encryption on non-loopback addresses, and, unless there is a policy,
    /// everything without a credential. Default: false.
    pub insecure: bool,
    /// Host names by which clients may address the TCP listeners, beside IP addresses, `localhost`
    /// and the name of the machine; `*` for any. Lower case. Default: none.
    pub allowed_hosts: Vec<String>,
    /// Network namespace to manage: a name known to `ip netns`, or the absolute path of a
    /// namespace file. Default: none, the namespace in which the daemon was started.
    pub netns: Option<String>,
    /// Kernel to manage. Default: [`KernelKind::Netlink`].
    pub kernel: KernelKind,
    /// Directory of the stored state; `None` for state in memory, which ends with the daemon. Default:
    /// `/var/lib/ipvsd`; with `dev` or [`KernelKind::Fake`], none.
    pub state_dir: Option<PathBuf>,
    /// Format and filter of the log.
    pub log: LogConfig,
    /// The stored state.
    pub store: StoreConfig,
    /// The declared tables at the start.
    pub tables: TablesConfig,
    /// Health checks of servers.
    pub health: HealthConfig,
    /// Keys of writes that clients may repeat.
    pub idempotency: IdempotencyConfig,
    /// The audit trail.
    pub audit: AuditConfig,
    /// Certificates of the TLS listeners and of their clients.
    pub tls: TlsConfig,
    /// Resource limits and timeouts.
    pub limits: Limits,
    /// Quotas of single clients.
    pub quota: QuotaLimits,
    /// Watches.
    pub watch: WatchOptions,
    /// Streams of statistics, and their history.
    pub stats: SamplingOptions,
    /// Metrics for Prometheus.
    pub metrics: MetricsConfig,
    /// Traces for OpenTelemetry.
    pub tracing: TracingConfig,
}

/// The kernel that the executor manages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelKind {
    /// The running kernel, through generic netlink. Requires CAP_NET_ADMIN.
    Netlink,
    /// An in-memory simulator. Requires no privileges and the Cargo feature `fake-kernel`.
    Fake,
}

/// Format and filter of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Format of the log. Default: journal if standard error is a stream to the journal (`JOURNAL_STREAM`), else
    /// text.
    pub format: LogFormat,
    /// Events to log, as `target=level` directives. `RUST_LOG` takes precedence. Default: `info`.
    pub filter: String,
}

/// Format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Readable lines.
    Text,
    /// One JSON object per line.
    Json,
    /// Entries of the journal of systemd, with a field for each field of an event.
    Journal,
}

/// What becomes of the declared tables at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TablesConfig {
    /// Applies that the end of the daemon has interrupted. Default: they are completed.
    pub interrupted: Interrupted,
    /// Whether declared tables, and the snapshot, are applied. Default: never.
    pub restore_on_start: RestoreOnStart,
    /// Time between two snapshots of what no table declares; zero: none are taken. Default: zero.
    pub snapshot_interval: Duration,
}

/// Health checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HealthConfig {
    /// Whether servers whose checks have failed get their intended weight when the daemon ends. Default false.
    pub restore_weights_at_stop: bool,
}

/// Idempotency keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyConfig {
    /// Keys that are kept, with their responses. Default 100,000: 25 MB of memory.
    pub max_keys: usize,
}

/// The stored state: what the kernel cannot hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Whether the daemon does not start if the stored state cannot be used. Default true.
    pub required: bool,
}

/// Metrics for Prometheus (`GET /metrics`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricsConfig {
    /// Age of what was read of the kernel, at most. Default 1 s.
    pub max_age: Duration,
    /// The most servers with metrics of their own; services whose servers do not fit have none. Default 10000.
    pub max_servers: usize,
    /// Whether the metrics of node_exporter are shown, too. Default false.
    pub node_exporter_names: bool,
}

/// The audit trail: who changed what, and who was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditConfig {
    /// File to write records to. Default: none.
    pub file: Option<PathBuf>,
    /// Whether records are written to the journal. Not together with a file. Default: false.
    pub journal: bool,
    /// Size of the file in bytes above which a new one is begun. Default 64 MiB.
    pub max_file_bytes: u64,
    /// Age of the first record of the file above which a new one is begun; zero for any. Default
    /// zero.
    pub max_file_age: Duration,
    /// Older files that are kept. Default 10.
    pub max_files: usize,
    /// Whether records are on the disk before further ones are written. Default false.
    pub fsync: bool,
    /// Memory of the records that wait to be written, in bytes. Default 4 MiB.
    pub max_queue_bytes: usize,
}

/// Resource limits and timeouts. `deploy/ipvsd.toml` has the ranges and the reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections of all listeners; further ones wait in the kernel's backlog. Default
    /// 10000.
    pub max_connections: usize,
    /// Requests in progress, from the end of the request body to the response head; further ones
    /// are rejected. Default 1024.
    pub max_concurrent_requests: usize,
    /// Concurrent streams of an HTTP/2 connection. Default 200.
    pub max_concurrent_streams: u32,
    /// Size of a request head in bytes. Default 32768.
    pub max_header_bytes: usize,
    /// Size of a request body in bytes. Default 1 MiB.
    pub max_body_bytes: usize,
    /// Memory of requests and responses in progress, in bytes. Default 512 MiB.
    pub max_memory_bytes: usize,
    /// Time from the first byte of an HTTP/1 request head (of the first request: from the accept)
    /// to its end, and time of a TLS handshake before it. Default 10 s.
    pub header_read_timeout: Duration,
    /// Time from the end of a request head to the end of the body. Default 30 s.
    pub body_read_timeout: Duration,
    /// Time that a connection may be open without a request. Default 60 s.
    pub idle_timeout: Duration,
    /// Time in which a client must read some of a pending response. Default 30 s.
    pub write_timeout: Duration,
    /// Idle time before a TCP keep-alive probe or an HTTP/2 ping is sent. Default 30 s.
    pub keep_alive_interval: Duration,
    /// Time that an operation may wait and run. Default 10 s.
    pub request_timeout: Duration,
    /// Time that requests in progress may take to complete at shutdown. Default 10 s.
    pub shutdown_grace: Duration,
    /// Operations waiting for the kernel; further ones are rejected. Default 1024.
    pub queue_length: usize,
    /// Items of a page if the client does not specify a size. Default 1000.
    pub default_page_size: usize,
    /// Maximum number of items of a page. Default 100000.
    pub max_page_size: usize,
    /// Shortest time between two dumps of the same table. Default 0.
    pub min_read_interval: Duration,
    /// Connection tables that are streamed concurrently. Default 4.
    pub max_connection_streams: usize,
}

/// Quotas of each principal, or of each peer that has presented no credential. 0: no quota.
/// `deploy/ipvsd.toml` has the ranges and the reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaLimits {
    /// Reads per second, over a longer time. Default 0.
    pub reads_per_second: u32,
    /// Reads at once, after a time without any. Default 0: those of ten seconds.
    pub reads_burst: u32,
    /// Writes per second, over a longer time. Default 0.
    pub writes_per_second: u32,
    /// Writes at once. Default 0: those of ten seconds.
    pub writes_burst: u32,
    /// Bytes per second of request and response bodies, over a longer time. Default 0.
    pub bytes_per_second: u64,
    /// Bytes at once. Default 0: those of ten seconds.
    pub bytes_burst: u64,
    /// Invalid tokens per minute of each peer that are answered with `UNAUTHENTICATED`. Default 60.
    pub failed_logins_per_minute: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![ListenAddress::default_socket(), ListenAddress::default()],
            socket_mode: 0o660,
            socket_group: None,
            policy: None,
            dev: false,
            insecure: false,
            allowed_hosts: Vec::new(),
            netns: None,
            kernel: KernelKind::Netlink,
            state_dir: Some(PathBuf::from(DEFAULT_STATE_DIR)),
            log: LogConfig::default(),
            store: StoreConfig::default(),
            tables: TablesConfig::default(),
            health: HealthConfig::default(),
            idempotency: IdempotencyConfig::default(),
            audit: AuditConfig::default(),
            tls: TlsConfig::default(),
            limits: Limits::default(),
            quota: QuotaLimits::default(),
            watch: WatchOptions::default(),
            stats: SamplingOptions::default(),
            metrics: MetricsConfig::default(),
            tracing: TracingConfig::default(),
        }
    }
}

impl Default for QuotaLimits {
    fn default() -> Self {
        Self {
            reads_per_second: 0,
            reads_burst: 0,
            writes_per_second: 0,
            writes_burst: 0,
            bytes_per_second: 0,
            bytes_burst: 0,
            failed_logins_per_minute: 60,
        }
    }
}

impl Config {
    /// Whether everything is permitted to a client without a credential.
    pub fn anonymous_is_admin(&self) -> bool {
        self.dev || (self.insecure && self.policy.is_none())
    }

    /// Reads the files of TLS that the daemon would read at its start, or returns all their faults. Returns
    /// what should be changed although it is no fault. Blocks.
    pub fn check_files(&self) -> Result<Vec<String>, TlsErrors> {
        match self.listen.iter().any(ListenAddress::is_tls) {
            true => tls::check_files(&self.tls),
            false => Ok(Vec::new()),
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info".to_owned(),
        }
    }
}

impl Default for MetricsConfig {
    fn default() -> Self {
        let MetricsOptions {
            max_age,
            scrape:
                ScrapeOptions {
                    max_servers,
                    node_exporter_names,
                },
        } = MetricsOptions::default();
        Self {
            max_age,
            max_servers,
            node_exporter_names,
        }
    }
}

impl Default for IdempotencyConfig {
    fn default() -> Self {
        Self { max_keys: 100_000 }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { required: true }
    }
}

impl Default for AuditConfig {
    fn default() -> Self {
        let FileOptions {
            path: _,
            max_bytes,
            max_age,
            max_files,
            fsync,
        } = FileOptions::new("");
        Self {
            file: None,
            journal: false,
            max_file_bytes: max_bytes,
            max_file_age: max_age,
            max_files,
            fsync,
            max_queue_bytes: AuditOptions::default().max_queue_bytes,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let executor = ExecutorLimits::default();
        let app = AppOptions::default();
        Self {
            max_connections: 10_000,
            max_concurrent_requests: 1024,
            max_concurrent_streams: 200,
            max_header_bytes: 32 * 1024,
            max_body_bytes: 1024 * 1024,
            max_memory_bytes: budget::DEFAULT_BYTES,
            header_read_timeout: Duration::from_secs(10),
            body_read_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            keep_alive_interval: Duration::from_secs(30),
            request_timeout: Duration::from_secs(10),
            shutdown_grace: Duration::from_secs(10),
            queue_length: executor.queue_length,
            default_page_size: app.default_page_size as usize,
            max_page_size: app.max_page_size as usize,
            min_read_interval: executor.min_read_interval,
            max_connection_streams: executor.connection_streams,
        }
    }
}
