//! Validation of drafts: accepted, rejected and unchanged values.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod diff;
mod etags;
mod health_checks;
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

/// The draft of a service, from JSON.
fn draft(json: Value) -> ServiceDraft {
    serde_json::from_value(json).unwrap()
}

/// The draft of a server, from JSON.
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

/// The fields at fault, in the order of the violations.
fn fields<T: Debug>(result: Result<T, Error>) -> Vec<String> {
    let error = result.unwrap_err();
    assert_eq!(error.reason, Reason::InvalidArgument);
    for violation in &error.violations {
        assert!(
            error.detail.contains(&violation.message),
            "the detail contains all messages: {error:?}"
        );
    }
    error.violations.into_iter().map(|v| v.field).collect()
}
