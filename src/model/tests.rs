//! The rules, each with what it allows, what it refuses and what it leaves alone.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails, and says where"
)]

mod etags;
mod keys;
mod others;
mod round_trip;
mod servers;
mod services;
mod settings;
mod sync_daemons;

use std::fmt::Debug;

use serde_json::Value;

use super::*;

/// A service's draft, from JSON as a client sends it.
fn draft(json: Value) -> ServiceDraft {
    serde_json::from_value(json).unwrap()
}

/// A server's draft.
fn server(json: Value) -> ServerDraft {
    serde_json::from_value(json).unwrap()
}

fn key(id: &str) -> ServiceKey {
    id.parse().unwrap()
}

fn server_key(id: &str) -> ServerKey {
    id.parse().unwrap()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// The fields at fault, in the order in which they are told.
fn fields<T: Debug>(result: Result<T, Error>) -> Vec<String> {
    let error = result.unwrap_err();
    assert_eq!(error.reason, Reason::InvalidArgument);
    for violation in &error.violations {
        assert!(
            error.detail.contains(&violation.message),
            "the detail says it all: {error:?}"
        );
    }
    error.violations.into_iter().map(|v| v.field).collect()
}
