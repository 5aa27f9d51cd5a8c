//! The netmask of a virtual service.

use std::{fmt, net::Ipv4Addr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Family, Field, Violation, integer};

/// The part of a client's address that identifies it for persistence (`IPVS_SVC_ATTR_NETMASK`;
/// manual: -M).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Netmask {
    /// IPv4: a dotted quad, not necessarily contiguous.
    V4(Ipv4Addr),
    /// IPv6: a prefix length, 1 to 128.
    V6(u32),
}

/// A netmask in a request: text, or a number for a prefix length.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(
    untagged,
    expecting = "expected an IPv4 netmask, such as \"255.255.255.0\", or an IPv6 prefix length"
)]
pub enum MaskText {
    /// `"255.255.255.0"` or `"64"`.
    Text(String),
    /// `64`.
    Number(#[serde(deserialize_with = "integer::one")] i64),
}

// === impl MaskText ===

impl MaskText {
    /// Whether this is how a netmask is shown.
    fn shows(&self, netmask: Netmask) -> bool {
        match self {
            Self::Text(text) => *text == netmask.to_string(),
            Self::Number(number) => number.to_string() == netmask.to_string(),
        }
    }
}

// === impl Netmask ===

impl Netmask {
    /// The mask of the whole address.
    pub fn full(family: Family) -> Self {
        match family {
            Family::Ipv4 => Self::V4(Ipv4Addr::BROADCAST),
            Family::Ipv6 => Self::V6(128),
        }
    }

    /// Whether this is the mask of the whole address.
    pub fn is_full(self) -> bool {
        matches!(self, Self::V4(Ipv4Addr::BROADCAST) | Self::V6(128))
    }

    fn parse(text: &MaskText, family: Family) -> Result<Self, String> {
        let parsed = match (family, text) {
            (Family::Ipv4, MaskText::Text(text)) => text.parse().ok().map(Self::V4),
            (Family::Ipv4, MaskText::Number(_)) => None,
            (Family::Ipv6, MaskText::Text(text)) => text.parse().ok().map(Self::V6),
            (Family::Ipv6, MaskText::Number(number)) => u32::try_from(*number).ok().map(Self::V6),
        };
        match (family, parsed) {
            (Family::Ipv4, Some(mask)) => Ok(mask),
            (Family::Ipv6, Some(Self::V6(1..=128))) => parsed.ok_or_else(String::new),
            (Family::Ipv4, _) => Err(format!(
                "{text} is not an IPv4 netmask, such as 255.255.255.0"
            )),
            (Family::Ipv6, _) => Err(format!("{text} is not an IPv6 prefix length, 1 to 128")),
        }
    }

    /// `field` applied to `self`. The default is the full mask.
    pub(super) fn updated(
        self,
        field: &Field<MaskText>,
        family: Family,
        path: &str,
        violations: &mut Vec<Violation>,
    ) -> Self {
        match field {
            Field::Keep => self,
            Field::Clear => Self::full(family),
            // What another program has set may be sent back.
            Field::Set(text) if text.shows(self) => self,
            Field::Set(text) => Self::parse(text, family).unwrap_or_else(|message| {
                violations.push(Violation::new(path, message));
                self
            }),
        }
    }
}

impl fmt::Display for Netmask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(mask) => mask.fmt(f),
            Self::V6(length) => length.fmt(f),
        }
    }
}

impl Serialize for Netmask {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// As it is serialized: a dotted quad or a prefix length. Other values of either family are not checked.
impl<'de> Deserialize<'de> for Netmask {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mask = text.parse().map(Self::V4);
        mask.or_else(|_| text.parse().map(Self::V6))
            .map_err(serde::de::Error::custom)
    }
}

// === impl MaskText ===

impl fmt::Display for MaskText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Number(number) => number.fmt(f),
        }
    }
}
