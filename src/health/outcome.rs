//! How a check ended.

use std::time::Duration;

/// How a check ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Why it failed.
    pub result: Result<(), Failure>,
    /// Time from its begin to its end.
    pub latency: Duration,
}

/// Why a check failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The server has answered, but not as it should: it is at fault.
    Wrong(String),
    /// Nothing has answered: the server, the network or the director may be at fault.
    Silent(String),
    /// The director could not check: nothing is known of the server.
    Unchecked(String),
}

// === impl Failure ===

impl Failure {
    /// The reason as text.
    pub fn reason(&self) -> &str {
        match self {
            Self::Wrong(reason) | Self::Silent(reason) | Self::Unchecked(reason) => reason,
        }
    }

    /// The name of its kind in metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Wrong(_) => "wrong",
            Self::Silent(_) => "silent",
            Self::Unchecked(_) => "unchecked",
        }
    }
}
