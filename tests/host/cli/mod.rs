//! The program ipvsctl, with a daemon on the fake kernel: recorded output of ipvsadm, and what ipvsctl
//! adds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod daemon;
mod memory;
mod names;
mod recorded;
mod subcommands;
mod tls;
