//! ipvsctl as a program, against a daemon with the kernel that is imitated in memory: what the real
//! ipvsadm was recorded to say, and what it has no words for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod daemon;
mod memory;
mod names;
mod recorded;
mod tls;
mod words;
