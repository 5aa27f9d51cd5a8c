//! The HTTP face end to end: a real client over a real socket, down to the bytes that the fake
//! kernel is sent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod conditional;
mod connections;
mod daemon;
mod documents;
mod others;
mod refusals;
mod rules;
mod servers;
mod services;
