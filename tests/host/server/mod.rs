//! The server on real sockets, with well-behaved and misbehaving clients.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod access_random;
mod anonymous;
mod audit;
mod authority;
mod cert;
mod command_line;
mod dashboard;
mod disconnects;
mod gate;
mod harness;
mod hyper_baseline;
mod idempotency;
mod jwt;
mod kills;
mod listeners;
mod log_sink;
mod memory;
mod metrics;
mod middleware;
mod pages;
mod process;
mod protocols;
mod quota;
mod run_host;
mod service_manager;
mod session;
mod shutdown;
mod signals;
mod state;
mod stats_stream;
mod timeouts;
mod tls;
mod tls_clients;
mod tls_reload;
mod tracing;
#[cfg(feature = "otel")]
mod tracing_receiver;
mod watch;
