//! Reasons of failures as text.

use std::error::Error;

use crate::{health::Failure, model::is_hidden};

/// The most characters that are shown of what a server has sent.
const MAX_SHOWN: usize = 200;

/// The failure of a connection that ends without a complete response.
pub(super) fn no_response(error: impl Error) -> Failure {
    Failure::Wrong(format!("no complete response: {}", chain(&error)))
}

/// An error with its causes.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// A text that a server has sent.
pub(super) fn shown(text: &str) -> String {
    let shown = text.chars().filter(|c| !is_hidden(*c));
    shown.take(MAX_SHOWN).collect()
}
