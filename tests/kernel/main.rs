//! The tests on a real kernel. They need root and a kernel with IPVS:
//!
//! ```text
//! make test-kernel TEST=traffic
//! ```
//!
//! One program, since each links the whole library and boots a kernel.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test that panics fails"
)]

mod access;
mod apply;
mod batch;
#[path = "../common/mod.rs"]
mod common;
mod concurrent;
mod controller;
mod convert;
mod drain;
mod edges;
mod examples;
mod fake_differential;
mod health;
mod health_fallback;
mod health_types;
mod labels;
mod measurement;
mod metrics;
mod module;
mod monitoring;
mod namespaces;
mod owners;
mod parity;
mod refusals;
mod scenarios;
mod settings;
mod snapshots;
mod stats_stream;
mod stress;
mod support;
mod sync_daemons;
mod tables;
mod traffic;
mod watch;
