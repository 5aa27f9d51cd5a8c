//! Roles.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What kinds of operations a principal may request. Each role may do what the ones before it may.
/// [`Verb::role`](super::Verb::role) assigns them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads, except the connection table and the audit. Dry runs.
    Viewer,
    /// Also reads connections, changes weights, and zeroes counters.
    Operator,
    /// Also creates, changes and deletes services and servers.
    Editor,
    /// Everything.
    Admin,
}

/// The text is not the name of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a role: viewer, operator, editor or admin")]
pub struct InvalidRole;

// === impl Role ===

impl Role {
    /// All roles, from the one that may do the least.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Editor, Self::Admin];

    /// The name in the API and in the policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Editor => "editor",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = InvalidRole;

    fn from_str(text: &str) -> Result<Self, InvalidRole> {
        let mut all = Self::ALL.into_iter();
        all.find(|role| role.as_str() == text).ok_or(InvalidRole)
    }
}
