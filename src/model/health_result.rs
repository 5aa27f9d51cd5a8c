//! Results of health checks that others make, in requests.

use serde::{Deserialize, Serialize};

use super::{Error, Violation, is_hidden};

/// A result in a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthResultDraft {
    /// Whether the server is healthy. Required.
    pub healthy: Option<bool>,
    /// What is shown with it.
    pub reason: Option<String>,
}

/// A valid result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HealthResult {
    /// Whether the server is healthy.
    pub healthy: bool,
    /// What is shown with it, 1 to 256 bytes; `None`: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

// === impl HealthResultDraft ===

impl HealthResultDraft {
    /// Checks all fields.
    pub fn check(self) -> Result<HealthResult, Error> {
        let mut violations = Vec::new();
        if self.healthy.is_none() {
            violations.push(Violation::new("healthy", "is required: true or false"));
        }
        let reason = self.reason.filter(|reason| !reason.is_empty());
        if let Some(text) = &reason {
            violations.extend(check_reason(text).err());
        }
        match self.healthy {
            Some(healthy) if violations.is_empty() => Ok(HealthResult { healthy, reason }),
            _ => Err(Error::from_violations(violations)),
        }
    }
}

// === impl HealthResult ===

impl HealthResult {
    /// Longest `reason` in bytes.
    pub const MAX_REASON: usize = 256;
}

fn check_reason(text: &str) -> Result<(), Violation> {
    let max = HealthResult::MAX_REASON;
    let length = text.len();
    let invalid = |message: String| Err(Violation::new("reason", message));
    if length > max {
        return invalid(format!("has {length} bytes: at most {max} are allowed"));
    }
    if text.contains(is_hidden) {
        return invalid("must be one line without control characters".to_owned());
    }
    Ok(())
}
