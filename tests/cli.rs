//! ipvsctl as a program, against a daemon with the kernel that is imitated in memory: what the real
//! ipvsadm was recorded to say, and what it has no words for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "cli/daemon.rs"]
mod daemon;
#[path = "cli/memory.rs"]
mod memory;
#[path = "cli/names.rs"]
mod names;
mod parity;
#[path = "cli/recorded.rs"]
mod recorded;
#[path = "cli/tls.rs"]
mod tls;
#[path = "cli/words.rs"]
mod words;
