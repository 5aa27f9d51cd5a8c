//! The program ipvsctl, with a daemon on the fake kernel: recorded output of ipvsadm, and what ipvsctl
//! adds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod batch;
mod configuration;
mod convert;
mod credentials;
pub mod daemon;
mod drains;
mod health_results;
mod lost;
mod memory;
mod names;
mod network;
mod recorded;
mod repeat;
mod restore;
mod subcommands;
mod tables;
mod tls;
mod tls_server;
mod tmux;
mod top;
mod watch;
