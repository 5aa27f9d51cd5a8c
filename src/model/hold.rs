//! Holds: why the weight of a server in the kernel differs from the intended one.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Error, ServerKey, key::serde_as_text};

/// A hold on the weight of a server. Several add up: see [`effective_weight`](Self::effective_weight).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hold {
    /// What holds it.
    pub kind: HoldKind,
    /// Id of the drain or ramp. Holds of health checks and of overrides have the same id each: see [`HoldId`].
    pub id: HoldId,
    /// The weight that it asks for.
    pub weight: u32,
}

/// What holds the weight of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldKind {
    /// A drain: weight 0.
    Drain,
    /// A ramp: the weight of its current step.
    Ramp,
    /// A health check that has failed: weight 0.
    Health,
    /// An operator who has forced the server down: weight 0.
    Manual,
}

/// Id of a drain or ramp: 16 hexadecimal digits. 0 stands for health checks, 1 for overrides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HoldId(pub u64);

/// What a drain covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DrainTarget {
    /// All ports of an address.
    Address(IpAddr),
    /// One server.
    Server(ServerKey),
}

/// The text is neither an address nor the id of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is neither an address (192.0.2.1) nor the id of a server (192.0.2.1-80)")]
pub struct InvalidDrainTarget;

/// The text is not the id of a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not an id of 16 hexadecimal digits")]
pub struct InvalidHoldId;

// === impl Hold ===

impl Hold {
    /// The hold of a drain.
    pub fn drain(id: HoldId) -> Self {
        Self {
            kind: HoldKind::Drain,
            id,
            weight: 0,
        }
    }

    /// The hold of a health check that has failed.
    pub const HEALTH: Self = Self {
        kind: HoldKind::Health,
        id: HoldId(0),
        weight: 0,
    };
    /// The hold of a server that was forced down.
    pub const MANUAL: Self = Self {
        kind: HoldKind::Manual,
        id: HoldId(1),
        weight: 0,
    };

    /// The weight that a server with these holds has in the kernel: 0 under a drain, a failing check or an
    /// override, else the step of its ramp, else the intended weight. (A server that was forced up has no hold of
    /// a failing check.)
    pub fn effective_weight(holds: &[Self], intended: u32) -> u32 {
        if holds.iter().any(|hold| hold.kind != HoldKind::Ramp) {
            return 0;
        }
        holds.first().map_or(intended, |hold| hold.weight)
    }

    /// Whether it outlasts a change of the intended weight.
    pub fn is_lasting(&self) -> bool {
        matches!(self.kind, HoldKind::Health | HoldKind::Manual)
    }
}

// === impl HoldKind ===

impl HoldKind {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Ramp => "ramp",
            Self::Health => "health",
            Self::Manual => "manual",
        }
    }
}

// === impl HoldId ===

impl fmt::Display for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for HoldId {
    type Err = InvalidHoldId;

    fn from_str(text: &str) -> Result<Self, InvalidHoldId> {
        let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 16 || !text.bytes().all(is_digit) {
            return Err(InvalidHoldId);
        }
        let number = u64::from_str_radix(text, 16);
        number.map(Self).map_err(|_| InvalidHoldId)
    }
}

/// In requests, the field is `id`.
impl From<InvalidHoldId> for Error {
    fn from(error: InvalidHoldId) -> Self {
        Self::invalid("id", error.to_string())
    }
}

// === impl DrainTarget ===

impl DrainTarget {
    /// The address.
    pub fn address(&self) -> IpAddr {
        match *self {
            Self::Address(address) => address,
            Self::Server(key) => key.address,
        }
    }

    /// Whether it covers a server.
    pub fn covers(&self, server: ServerKey) -> bool {
        match *self {
            Self::Address(address) => server.address == address,
            Self::Server(key) => server == key,
        }
    }
}

impl fmt::Display for DrainTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Server(key) => key.fmt(f),
        }
    }
}

impl FromStr for DrainTarget {
    type Err = InvalidDrainTarget;

    fn from_str(text: &str) -> Result<Self, InvalidDrainTarget> {
        let server = || text.parse().map(Self::Server);
        let target = text.parse().map(Self::Address).or_else(|_| server());
        target.map_err(|_| InvalidDrainTarget)
    }
}

serde_as_text!(HoldId, DrainTarget);
