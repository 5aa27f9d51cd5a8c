//! Keys of virtual services and real servers, and their ids in the API.

use std::{
    fmt,
    hash::{Hash, Hasher},
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Error;

/// Address family (`IPVS_SVC_ATTR_AF`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// Transport protocol of a virtual service (`IPVS_SVC_ATTR_PROTOCOL`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP, 6.
    Tcp,
    /// UDP, 17.
    Udp,
    /// SCTP, 132.
    Sctp,
    /// Another protocol number, set by another program. Such a service can be read and deleted, but
    /// not created.
    Other(u16),
}

/// Identity of a virtual service: an address or a firewall mark (manual: -t, -u, --sctp-service,
/// -f).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServiceKey {
    /// Protocol, address and port. A service on port 0 (any port) and one on port 80 can coexist.
    Address {
        /// Transport protocol.
        protocol: Protocol,
        /// Virtual address.
        address: IpAddr,
        /// Port; 0 for any, which requires persistence.
        port: u16,
    },
    /// A firewall mark. The same mark identifies one service per address family.
    Fwmark {
        /// Address family of the marked packets.
        family: Family,
        /// The mark, 1 to 4294967295.
        mark: u32,
    },
}

/// Identity of a real server within its virtual service (manual: -r).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerKey {
    /// Address of the server.
    pub address: IpAddr,
    /// Port on the server.
    pub port: u16,
}

// === impl ServerKey ===

// A listing hashes every server. As integers this is faster than `IpAddr`'s `Hash`.
impl Hash for ServerKey {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.address {
            IpAddr::V4(v4) => state.write_u64(u64::from(v4.to_bits()) << 16 | u64::from(self.port)),
            IpAddr::V6(v6) => {
                state.write_u128(v6.to_bits());
                state.write_u16(self.port);
            }
        }
    }
}

// === impl Family ===

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }

    /// `ipv4` or `ipv6`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Family {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "ipv4" => Ok(Self::Ipv4),
            "ipv6" => Ok(Self::Ipv6),
            _ => Err(Error::invalid(
                "",
                format!("{text:?} is not a family: ipv4 or ipv6"),
            )),
        }
    }
}

// === impl Protocol ===

impl Protocol {
    /// The protocol of this name.
    pub fn named(name: &str) -> Result<Self, Error> {
        match name {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "sctp" => Ok(Self::Sctp),
            _ => Err(Error::invalid(
                "",
                format!("{name:?} is not a protocol: tcp, udp or sctp"),
            )),
        }
    }

    /// The IP protocol number.
    pub fn number(self) -> u16 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
            Self::Other(number) => number,
        }
    }
}

impl From<u16> for Protocol {
    fn from(number: u16) -> Self {
        match number {
            6 => Self::Tcp,
            17 => Self::Udp,
            132 => Self::Sctp,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp => f.write_str("tcp"),
            Self::Udp => f.write_str("udp"),
            Self::Sctp => f.write_str("sctp"),
            Self::Other(number) => write!(f, "{number}"),
        }
    }
}

impl FromStr for Protocol {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::named(text).or_else(|error| {
            decimal(text)
                .and_then(|number| u16::try_from(number).ok())
                .map(Self::from)
                .ok_or(error)
        })
    }
}

// === impl ServiceKey ===

impl ServiceKey {
    /// Address family of the service and its clients.
    pub fn family(&self) -> Family {
        match self {
            Self::Address { address, .. } => Family::of(*address),
            Self::Fwmark { family, .. } => *family,
        }
    }

    /// Port of the service; `None` for a firewall mark.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Address { port, .. } => Some(*port),
            Self::Fwmark { .. } => None,
        }
    }
}

/// The id, a URL path segment without escapes: `tcp-192.0.2.1-80`, `udp-2001:db8::1-53`,
/// `fwmark-7`, `fwmark6-7`.
impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address {
                protocol,
                address,
                port,
            } => write!(f, "{protocol}-{address}-{port}"),
            Self::Fwmark {
                family: Family::Ipv4,
                mark,
            } => write!(f, "fwmark-{mark}"),
            Self::Fwmark {
                family: Family::Ipv6,
                mark,
            } => write!(f, "fwmark6-{mark}"),
        }
    }
}

impl FromStr for ServiceKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || {
            Error::invalid(
                "service",
                format!(
                    "{text:?} is not the id of a virtual service, such as tcp-192.0.2.1-80, \
                     udp-2001:db8::1-53, fwmark-7 or fwmark6-7"
                ),
            )
        };
        let (kind, rest) = text.split_once('-').ok_or_else(bad)?;
        let family = match kind {
            "fwmark" => Some(Family::Ipv4),
            "fwmark6" => Some(Family::Ipv6),
            _ => None,
        };
        if let Some(family) = family {
            // The kernel takes mark 0 for the service tcp-0.0.0.0-0.
            let mark = decimal(rest).filter(|mark| *mark != 0).ok_or_else(bad)?;
            return Ok(Self::Fwmark { family, mark });
        }
        let (address, port) = rest.rsplit_once('-').ok_or_else(bad)?;
        Ok(Self::Address {
            protocol: kind.parse().map_err(|_| bad())?,
            address: parse_address(address).ok_or_else(bad)?,
            port: decimal(port)
                .and_then(|port| port.try_into().ok())
                .ok_or_else(bad)?,
        })
    }
}

// === impl ServerKey ===

/// The id within the service, a URL path segment: `192.168.10.1-8080`, `2001:db8::a-80`.
impl fmt::Display for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.address, self.port)
    }
}

impl FromStr for ServerKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text.rsplit_once('-')
            .and_then(|(address, port)| {
                let port = decimal(port)?.try_into().ok()?;
                Some(Self {
                    address: parse_address(address)?,
                    port,
                })
            })
            .ok_or_else(|| {
                Error::invalid(
                    "server",
                    format!(
                        "{text:?} is not the id of a real server, such as 192.168.10.1-8080 or \
                         2001:db8::a-80"
                    ),
                )
            })
    }
}

/// An address in any valid spelling; IPv6 also in brackets.
pub(super) fn parse_address(text: &str) -> Option<IpAddr> {
    match text.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')?
            .parse::<Ipv6Addr>()
            .ok()
            .map(IpAddr::V6),
        None => text.parse().ok(),
    }
}

/// Decimal digits only; `u32::from_str` also accepts a sign.
fn decimal(text: &str) -> Option<u32> {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}

/// Serialises types as their text.
macro_rules! serde_as_text {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
pub(super) use serde_as_text;

serde_as_text!(Protocol, ServiceKey, ServerKey);
