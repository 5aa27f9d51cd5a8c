//! The server room on real sockets: what clients that behave see, and clients that do not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod command_line;
mod harness;
mod hyper_alone;
mod limits;
mod listening;
mod patience;
mod protocols;
mod shutdown;
