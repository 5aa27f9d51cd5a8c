//! The tests that need neither root nor a kernel with IPVS. One program, since each links the whole
//! library.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test that panics fails"
)]

mod cli;
mod client;
#[path = "../common/mod.rs"]
mod common;
mod deploy;
mod fuzz;
mod grpc;
mod http;
mod ipvsadm;
mod layers;
mod makefile;
mod openapi;
mod scripted;
mod server;
mod table_schema;
mod version;
