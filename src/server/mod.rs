//! The process around the API: configuration, listeners, TLS, connections, limits, log and shutdown.
//!
//! Nothing here knows IPVS. [`build_router`] merges the HTTP and the gRPC front end into one
//! [`axum::Router`] and wraps it in [`with_middleware`]; [`Server`] serves it on every listener
//! until [`Shutdown`] is requested.

mod activity;
mod address;
mod admission;
pub mod args;
mod authentication;
mod batched_io;
mod browser_sessions;
mod completion;
mod config;
mod config_error;
mod connection;
mod date;
mod gate;
mod grpc_gate;
mod idempotency;
mod inherited;
pub mod input_file;
mod jwks;
mod keys;
mod listener;
mod load;
mod log;
mod log_journal;
mod log_sink;
mod manual;
mod memory;
mod metrics;
mod middleware;
mod name_service;
mod nearest;
mod operation;
mod options;
mod page_headers;
mod parsed_size;
mod path;
mod peer_groups;
mod policy_file;
mod quota;
mod read_requests;
mod reference;
mod refusal;
mod rejection;
mod reload;
mod request_body;
mod response_body;
mod router;
mod runtime;
mod serve;
mod service_manager;
mod shutdown;
mod signals;
mod socket_file;
mod state;
mod tls;
mod traces;
mod value;

pub use address::{AddressError, DEFAULT_PORT, DEFAULT_SOCKET, ListenAddress};
pub use authentication::Authenticator;
pub use completion::write_completion;
pub use config::{
    AuditConfig, Config, DEFAULT_STATE_DIR, IdempotencyConfig, KernelKind, Limits, LogConfig,
    LogFormat, MetricsConfig, QuotaLimits, StoreConfig, TablesConfig,
};
pub use config_error::{ConfigError, ConfigErrors, ConfigProblem, LoadError, Origin};
pub use inherited::{InheritedSocketError, InheritedSockets};
pub use input_file::UnsafeFile;
pub use listener::BindError;
pub use load::Sources;
pub use log::{Log, LogError};
pub use manual::write_manual;
pub use memory::{configure_allocator, return_freed_memory};
pub use metrics::add_metrics;
pub use middleware::with_middleware;
pub use name_service::use_built_in_name_service;
pub use policy_file::PolicyFileError;
pub use rejection::{Rejection, RejectionResponse};
pub use reload::Reloader;
pub use router::build_router;
pub use serve::{DrainOutcome, Server, ServiceHandle};
pub use service_manager::ServiceManager;
pub use shutdown::{Phase, Shutdown};
pub use signals::{ReloadRequests, handle_signals};
pub use state::{StateError, run_state};
pub use tls::{
    CertOptions, ClientCertificates, IssueError, Tls, TlsConfig, TlsError, TlsErrors, TlsProblem,
    issue,
};
pub use traces::{SampleRatio, TraceProtocol, Traces, TracesError, TracingConfig};
