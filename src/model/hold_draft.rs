//! Drains and ramps in requests.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{
    DrainTarget, Error, InvalidDrainTarget, ServerConfig, ServerKey, ServiceKey, Violation,
    check::in_range, word::words,
};

/// A drain as it is requested.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrainDraft {
    /// The server (`192.0.2.1-80`), or an address for all of its ports. Required.
    pub server: Option<String>,
    /// Ids of services; absent: all that have the server.
    pub services: Option<Vec<String>>,
    /// Seconds until the drain stops waiting.
    pub deadline_seconds: Option<i64>,
    /// `keep` or `remove`.
    pub then: Option<String>,
}

/// A valid request for a drain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DrainRequest {
    /// What it covers.
    #[serde(rename = "server")]
    pub target: DrainTarget,
    /// In these services; `None`: in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services: Option<Vec<ServiceKey>>,
    /// Seconds until it stops waiting, 1 to 2,678,400; `None`: it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_seconds: Option<u32>,
    /// What follows.
    pub then: Then,
}

words! {
    /// What happens to the servers of a drain in the end.
    #[derive(Default, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    Then {
        /// They stay, with the effective weight 0, until the drain is deleted.
        #[default]
        Keep = "keep",
        /// They are removed.
        Remove = "remove",
    }
}

/// A ramp as it is requested.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RampDraft {
    /// Id of the service. Required.
    pub service: Option<String>,
    /// Id of the server. Required.
    pub server: Option<String>,
    /// The weight in the end. Required.
    pub to: Option<i64>,
    /// Seconds until then. Required.
    pub over_seconds: Option<i64>,
    /// Number of steps.
    pub steps: Option<i64>,
}

/// A valid request for a ramp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RampRequest {
    /// The service.
    pub service: ServiceKey,
    /// The server.
    pub server: ServerKey,
    /// The weight in the end, which is the intended one from the begin.
    pub to: u32,
    /// Seconds until then, 1 to 2,678,400.
    pub over_seconds: u32,
    /// Number of steps, 1 to 1000. Default [`RampRequest::STEPS`].
    pub steps: u32,
}

/// Longest time of a drain or ramp: 31 days.
const MAX_SECONDS: u32 = 31 * 24 * 3600;

// === impl DrainRequest ===

impl DrainRequest {
    /// Services that a drain names at most.
    pub const MAX_SERVICES: usize = 10_000;
    /// Longest `deadline_seconds`: 31 days.
    pub const MAX_DEADLINE_SECONDS: u32 = MAX_SECONDS;
}

// === impl RampRequest ===

impl RampRequest {
    /// Longest `over_seconds`: 31 days.
    pub const MAX_SECONDS: u32 = MAX_SECONDS;
    /// Most steps.
    pub const MAX_STEPS: u32 = 1000;
    /// Steps by default.
    pub const STEPS: u32 = 20;
}

// === impl DrainDraft ===

impl DrainDraft {
    /// Checks all fields.
    pub fn check(self) -> Result<DrainRequest, Error> {
        let mut violations = Vec::new();
        let target = required(self.server, "server", &mut violations)
            .and_then(|text| target(&text, &mut violations));
        let services = self.services.map(|ids| {
            let limit = DrainRequest::MAX_SERVICES;
            if ids.is_empty() || ids.len() > limit {
                let message =
                    format!("must have 1 to {limit} ids; omit it for all services of the server");
                violations.push(Violation::new("services", message));
                return Vec::new();
            }
            let ids = ids.iter().enumerate();
            let mut services: Vec<ServiceKey> = ids
                .filter_map(|(index, id)| key(id, &format!("services[{index}]"), &mut violations))
                .collect();
            services.sort_unstable();
            services.dedup();
            services
        });
        let deadline_seconds = self.deadline_seconds.and_then(|value| {
            within(
                value,
                1,
                DrainRequest::MAX_DEADLINE_SECONDS,
                "deadline_seconds",
                &mut violations,
            )
        });
        let then = match self.then.as_deref() {
            None | Some("keep") => Then::Keep,
            Some("remove") => Then::Remove,
            Some(_) => {
                violations.push(Violation::new("then", "must be keep or remove"));
                Then::Keep
            }
        };
        match target {
            Some(target) if violations.is_empty() => Ok(DrainRequest {
                target,
                services,
                deadline_seconds,
                then,
            }),
            _ => Err(Error::from_violations(violations)),
        }
    }
}

// === impl RampDraft ===

impl RampDraft {
    /// Checks all fields.
    pub fn check(self) -> Result<RampRequest, Error> {
        let mut violations = Vec::new();
        let service = required(self.service, "service", &mut violations)
            .and_then(|text| key(&text, "service", &mut violations));
        let server = required(self.server, "server", &mut violations)
            .and_then(|text| key(&text, "server", &mut violations));
        let to = required(self.to, "to", &mut violations)
            .and_then(|to| within(to, 0, ServerConfig::MAX_WEIGHT, "to", &mut violations));
        let over_seconds =
            required(self.over_seconds, "over_seconds", &mut violations).and_then(|value| {
                within(
                    value,
                    1,
                    RampRequest::MAX_SECONDS,
                    "over_seconds",
                    &mut violations,
                )
            });
        let steps = self.steps.unwrap_or(RampRequest::STEPS.into());
        let steps = within(steps, 1, RampRequest::MAX_STEPS, "steps", &mut violations);
        match (service, server, to, over_seconds, steps) {
            (Some(service), Some(server), Some(to), Some(over_seconds), Some(steps)) => {
                Ok(RampRequest {
                    service,
                    server,
                    to,
                    over_seconds,
                    steps,
                })
            }
            _ => Err(Error::from_violations(violations)),
        }
    }
}

fn required<T>(value: Option<T>, field: &str, violations: &mut Vec<Violation>) -> Option<T> {
    if value.is_none() {
        violations.push(Violation::new(field, "is required"));
    }
    value
}

fn target(text: &str, violations: &mut Vec<Violation>) -> Option<DrainTarget> {
    let invalid = |error: InvalidDrainTarget| {
        violations.push(Violation::new("server", format!("{text:?} {error}")));
    };
    text.parse().map_err(invalid).ok()
}

/// The id of a service or of a server.
fn key<T: FromStr<Err = Error>>(
    text: &str,
    field: &str,
    violations: &mut Vec<Violation>,
) -> Option<T> {
    let invalid = |error: Error| {
        let messages = error.violations.into_iter();
        violations.extend(messages.map(|violation| Violation::new(field, violation.message)));
    };
    text.parse().map_err(invalid).ok()
}

/// A number in its range.
fn within(
    value: i64,
    least: u32,
    most: u32,
    field: &str,
    violations: &mut Vec<Violation>,
) -> Option<u32> {
    let number = in_range(value, field, least.into(), most.into());
    number.map_err(|violation| violations.push(violation)).ok()
}
