//! Encapsulation of packets to a real server.

use serde::{Deserialize, Serialize};

use super::{Field, Violation, check::in_range, integer, named_number::named_numbers};

/// Encapsulation of packets to a real server (`IPVS_DEST_ATTR_TUN_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tunnel {
    /// Encapsulation. Default ipip.
    pub kind: TunnelType,
    /// UDP port of GUE, 1 to 65535; 0 with the other types.
    pub port: u16,
    /// Checksums of GUE and GRE. Default none.
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
    /// A number without a meaning, set by another program.
    Other(u8),
}

/// Checksums of a tunnel (ipvsadm: --tun-nocsum, --tun-csum, --tun-remcsum).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Checksum {
    /// No checksum.
    #[default]
    None,
    /// Checksum of the encapsulated packet.
    Checksum,
    /// Remote checksum offload; GUE only.
    Remote,
    /// A number without a meaning, set by another program.
    Other(u16),
}

/// Encapsulation in a request.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TunnelDraft {
    /// Encapsulation. Default `ipip`.
    #[serde(rename = "type")]
    #[serde(default)]
    pub kind: Field<String>,
    /// UDP port. Required with `gue`, not allowed with other types.
    #[serde(default, deserialize_with = "integer::field")]
    pub port: Field<i64>,
    /// Checksums of `gue` and `gre` (`remote`: `gue` only). Default `none`.
    #[serde(default)]
    pub checksum: Field<String>,
}

named_numbers!(TunnelType: u8, "a tunnel type: ipip, gue or gre",
    Ipip = 0 "ipip", Gue = 1 "gue", Gre = 2 "gre");
named_numbers!(Checksum: u16, "a tunnel checksum: none, checksum or remote",
    None = 0 "none", Checksum = 1 "checksum", Remote = 2 "remote");

// === impl TunnelDraft ===

impl TunnelDraft {
    /// The same draft with absent fields set to their defaults.
    pub(super) fn or_clear(self) -> Self {
        Self {
            kind: self.kind.or_clear(),
            port: self.port.or_clear(),
            checksum: self.checksum.or_clear(),
        }
    }

    /// The draft applied to `base`.
    pub(super) fn apply(&self, base: Tunnel, violations: &mut Vec<Violation>) -> Tunnel {
        let mut tunnel = base;
        let before = violations.len();
        match self.kind.as_ref() {
            Field::Keep => {}
            Field::Clear => tunnel = Tunnel::default(),
            Field::Set(text) => match text.parse() {
                Ok(kind) if kind == base.kind => {}
                Ok(TunnelType::Other(_)) | Err(_) => violations.push(Violation::new(
                    "tunnel.type",
                    format!("{text:?} is not a tunnel type: ipip, gue or gre"),
                )),
                // Port and checksum depend on the type and are reset with it.
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
            Field::Set(port) if port == i64::from(base.port) => tunnel.port = base.port,
            Field::Set(port) => match in_range(port, "tunnel.port", 1, u16::MAX.into()) {
                Ok(port) => tunnel.port = port,
                Err(violation) => violations.push(violation),
            },
        }
        match self.checksum.as_ref() {
            Field::Keep => {}
            Field::Clear => tunnel.checksum = Checksum::None,
            Field::Set(text) => match text.parse() {
                Ok(checksum) if checksum == base.checksum => tunnel.checksum = checksum,
                Ok(Checksum::Other(_)) | Err(_) => violations.push(Violation::new(
                    "tunnel.checksum",
                    format!("{text:?} is not a tunnel checksum: none, checksum or remote"),
                )),
                Ok(checksum) => tunnel.checksum = checksum,
            },
        }
        if violations.len() == before && tunnel != base {
            violations.extend(tunnel.check());
        }
        tunnel
    }
}

// === impl Tunnel ===

impl Tunnel {
    /// Checks that port and checksum are valid for the type.
    fn check(self) -> Option<Violation> {
        Some(match (self.kind, self.port, self.checksum) {
            (TunnelType::Gue, 0, _) => {
                Violation::new("tunnel.port", "is required with type=gue: 1 to 65535")
            }
            (TunnelType::Ipip | TunnelType::Gre, 1.., _) => Violation::new(
                "tunnel.port",
                format!("requires type=gue, not {}", self.kind),
            ),
            (TunnelType::Ipip, _, checksum) if checksum != Checksum::None => {
                Violation::new("tunnel.checksum", "requires type=gue or type=gre, not ipip")
            }
            (TunnelType::Gre, _, Checksum::Remote) => Violation::new(
                "tunnel.checksum",
                "remote requires type=gue; gre supports none and checksum",
            ),
            _ => return None,
        })
    }
}
