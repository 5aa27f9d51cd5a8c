//! Health of servers, as it is shown, and overrides in requests.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Error, Hold, ServerKey, ServiceKey, Violation,
    check::in_range,
    word::{word_enum, words},
};

/// The health of the servers of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthReport {
    /// Id of the service.
    pub service: ServiceKey,
    /// Servers that are healthy and get connections.
    pub healthy_count: usize,
    /// Whether fewer servers are healthy than are to be.
    pub below_min: bool,
    /// Whether servers that fail get connections, because so many became silent at once that the director or its
    /// network is rather at fault.
    pub storm: bool,
    /// Whether servers that fail get connections, because `max_losses` were taken out lately.
    pub limited: bool,
    /// Whether a fallback server gets connections.
    pub fallback: bool,
    /// The servers, by id.
    pub servers: Vec<ServerHealthReport>,
}

/// The health of a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerHealthReport {
    /// Id of the server.
    pub server: ServerKey,
    /// State of the server.
    pub state: HealthState,
    /// When the state began.
    pub since_time: Timestamp,
    /// When the last check ended, or the last result was reported. Absent before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_check_time: Option<Timestamp>,
    /// Seconds that it took. Absent for results that were reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_seconds: Option<f64>,
    /// Why it failed, or why nothing is known. Absent after a success, unless it was reported with a reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When the override ends. Absent without one, and if it has no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub override_expire_time: Option<Timestamp>,
    /// The last changes of the state since the start of the daemon, newest first, at most
    /// [`MAX_TRANSITIONS`](Self::MAX_TRANSITIONS). Events of a watch lack them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transitions: Vec<HealthTransition>,
}

/// A change of the state of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthTransition {
    /// When.
    pub time: Timestamp,
    /// The state since then.
    pub state: HealthState,
    /// Why its checks had failed. Absent if they had not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

word_enum! {
    /// The state of a server.
    HealthState {
        /// Its checks succeed.
        Up = "up",
        /// Its checks have failed.
        Down = "down",
        /// Not enough is known of it: it is treated as healthy.
        Unknown = "unknown",
        /// Its checks are disabled: it is treated as healthy.
        Disabled = "disabled",
        /// An operator has forced it up: its checks have no effect.
        ForcedUp = "forced_up",
        /// An operator has forced it down: it gets no new connections.
        ForcedDown = "forced_down",
    }
}

word_enum! {
    /// What an operator has forced.
    Forced {
        /// Up.
        Up = "up",
        /// Down.
        Down = "down",
    }
}

/// No latency is NaN.
impl Eq for ServerHealthReport {}

/// An override in a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverrideDraft {
    /// `up` or `down`. Required.
    pub state: Option<String>,
    /// Seconds until it ends; absent: it has no end.
    pub expires_seconds: Option<i64>,
}

/// A valid request for an override.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct OverrideRequest {
    /// What is forced.
    pub state: Forced,
    /// Seconds until it ends, 1 to 2,678,400; `None`: it has no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_seconds: Option<u32>,
}

// === impl OverrideDraft ===

impl OverrideDraft {
    /// Checks all fields.
    pub fn check(self) -> Result<OverrideRequest, Error> {
        let mut violations = Vec::new();
        let state = match self.state.as_deref() {
            Some("up") => Some(Forced::Up),
            Some("down") => Some(Forced::Down),
            Some(other) => {
                let message = format!("{other:?} must be up or down");
                violations.push(Violation::new("state", message));
                None
            }
            None => {
                violations.push(Violation::new("state", "is required: up or down"));
                None
            }
        };
        let seconds = self.expires_seconds.map(|seconds| {
            let max = OverrideRequest::MAX_SECONDS;
            in_range(seconds, "expires_seconds", 1, max.into())
        });
        let expires_seconds = seconds
            .and_then(|seconds| seconds.map_err(|violation| violations.push(violation)).ok());
        match state {
            Some(state) if violations.is_empty() => Ok(OverrideRequest {
                state,
                expires_seconds,
            }),
            _ => Err(Error::from_violations(violations)),
        }
    }
}

// === impl OverrideRequest ===

impl OverrideRequest {
    /// Longest `expires_seconds`: 31 days.
    pub const MAX_SECONDS: u32 = 31 * 24 * 3600;
}

// === impl ServerHealthReport ===

impl ServerHealthReport {
    /// Changes of the state of a server that are kept.
    pub const MAX_TRANSITIONS: usize = 8;
    /// Longest `reason` in bytes; a longer one is cut off.
    pub const MAX_REASON: usize = 256;
}

// === impl HealthState ===

impl HealthState {
    /// The hold of a server in this state, whose checks have failed if `is_held`.
    pub fn holds(self, is_held: bool) -> Vec<Hold> {
        match self {
            Self::ForcedDown => vec![Hold::MANUAL],
            _ if is_held => vec![Hold::HEALTH],
            _ => Vec::new(),
        }
    }
}
