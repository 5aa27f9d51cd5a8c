//! End-to-end tests of the HTTP front end: a client on a socket, and the fake kernel.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod audit;
mod batch;
mod conditional;
mod connections;
mod daemon;
mod documents;
mod dry_run;
mod health;
mod holds;
mod labels;
mod large_lists;
mod metrics;
mod others;
mod owners;
mod refusals;
mod rules;
mod servers;
mod services;
mod violations;
