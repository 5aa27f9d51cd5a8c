//! Tunnels to real servers: what there is, what a client may say of it, and the rules.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize, Serializer};

use super::{Error, Field, Violation, server::in_range};

/// How packets are encapsulated (`IPVS_DEST_ATTR_TUN_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tunnel {
    /// Encapsulation; default ipip.
    pub kind: TunnelType,
    /// UDP port of GUE, 1 to 65535; 0 with the others.
    pub port: u16,
    /// Checksums of GUE and GRE; default none.
    pub checksum: Checksum,
}

/// Encapsulation (ipvsadm: --tun-type).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TunnelType {
    /// IP in IP.
    #[default]
    Ipip,
    /// Generic UDP encapsulation.
    Gue,
    /// Generic routing encapsulation.
    Gre,
    /// What only a faulty program can have put into the kernel.
    Other(u8),
}

/// Checksums of a tunnel (ipvsadm: --tun-nocsum, --tun-csum, --tun-remcsum).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Checksum {
    /// No checksum.
    #[default]
    None,
    /// Checksum.
    Checksum,
    /// Remote checksum offload; GUE only.
    Remote,
    /// What only a faulty program can have put into the kernel.
    Other(u16),
}

/// A tunnel as a client describes it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TunnelInput)]
pub struct TunnelDraft {
    /// Encapsulation. Default `ipip`.
    #[serde(rename = "type")]
    #[schema(value_type = Option<super::schema::TunnelType>)]
    #[serde(default)]
    pub kind: Field<String>,
    /// UDP port, required by `gue` and taken by no other type.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 65535)]
    #[serde(default)]
    pub port: Field<i64>,
    /// Checksums, of `gue` and `gre` (`remote`: `gue` only). Default `none`.
    #[schema(value_type = Option<super::schema::Checksum>)]
    #[serde(default)]
    pub checksum: Field<String>,
}

/// Numbers of the kernel that go by names, and by themselves where they have none.
macro_rules! named_numbers {
    ($type:ident: $repr:ty, $what:literal, $($variant:ident = $number:literal $name:literal),+) => {
        impl $type {
            /// The kernel's number.
            pub fn number(self) -> $repr {
                match self {
                    $(Self::$variant => $number,)+
                    Self::Other(number) => number,
                }
            }

            /// Its name, where it has one.
            #[inline]
            pub(crate) fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$variant => Some($name),)+
                    Self::Other(_) => None,
                }
            }
        }

        impl From<$repr> for $type {
            fn from(number: $repr) -> Self {
                match number {
                    $($number => Self::$variant,)+
                    other => Self::Other(other),
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => f.pad(name),
                    None => write!(f, "{}", self.number()),
                }
            }
        }

        impl FromStr for $type {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                match text {
                    $($name => Ok(Self::$variant),)+
                    _ => text.parse().map(Self::Other).map_err(|_| {
                        Error::invalid("", format!(concat!("{:?} is not ", $what), text))
                    }),
                }
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self.name() {
                    Some(name) => serializer.serialize_str(name),
                    None => serializer.collect_str(self),
                }
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(super) use named_numbers;

named_numbers!(TunnelType: u8, "a tunnel type: ipip, gue or gre",
    Ipip = 0 "ipip", Gue = 1 "gue", Gre = 2 "gre");
named_numbers!(Checksum: u16, "a tunnel checksum: none, checksum or remote",
    None = 0 "none", Checksum = 1 "checksum", Remote = 2 "remote");

// === impl TunnelDraft ===

impl TunnelDraft {
    /// This draft over what the server has.
    pub(super) fn over(&self, base: Tunnel, violations: &mut Vec<Violation>) -> Tunnel {
        let mut tunnel = base;
        let before = violations.len();
        match self.kind.as_ref() {
            Field::Keep => {}
            Field::Clear => tunnel = Tunnel::default(),
            Field::Set(text) => match text.parse() {
                Ok(TunnelType::Other(_)) | Err(_) => violations.push(Violation::new(
                    "tunnel.type",
                    format!("{text:?} is not a tunnel type: ipip, gue or gre"),
                )),
                // Port and checksum belong to the type and fall with it.
                Ok(kind) if kind != tunnel.kind => {
                    tunnel = Tunnel {
                        kind,
                        ..Tunnel::default()
                    }
                }
                Ok(_) => {}
            },
        }
        match self.port {
            Field::Keep => {}
            Field::Clear => tunnel.port = 0,
            Field::Set(port) => match in_range(port, "tunnel.port", 1, u16::MAX.into()) {
                Ok(port) => tunnel.port = port,
                Err(bad) => violations.push(bad),
            },
        }
        match self.checksum.as_ref() {
            Field::Keep => {}
            Field::Clear => tunnel.checksum = Checksum::None,
            Field::Set(text) => match text.parse() {
                Ok(Checksum::Other(_)) | Err(_) => violations.push(Violation::new(
                    "tunnel.checksum",
                    format!("{text:?} is not a tunnel checksum: none, checksum or remote"),
                )),
                Ok(checksum) => tunnel.checksum = checksum,
            },
        }
        if violations.len() == before {
            match (tunnel.kind, tunnel.port, tunnel.checksum) {
                (TunnelType::Gue, 0, _) => violations.push(Violation::new(
                    "tunnel.port",
                    "is required by gue: 1 to 65535",
                )),
                (TunnelType::Ipip | TunnelType::Gre, 1.., _) => violations.push(Violation::new(
                    "tunnel.port",
                    format!("{} has no port: only gue has", tunnel.kind),
                )),
                (TunnelType::Ipip, _, checksum) if checksum != Checksum::None => violations.push(
                    Violation::new("tunnel.checksum", "ipip has none: gue and gre have"),
                ),
                (TunnelType::Gre, _, Checksum::Remote) => violations.push(Violation::new(
                    "tunnel.checksum",
                    "remote is for gue only; gre has none and checksum",
                )),
                _ => {}
            }
        }
        tunnel
    }
}
