use serde::{Deserialize, Serialize, de::IgnoredAny};

use super::{Error, Etag, EtagScope, Field, Violation};

/// How long IPVS keeps idle connections (manual: --set, -L --timeout; `IPVS_CMD_GET_CONFIG`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Timeouts {
    /// Seconds for an established TCP session; the kernel's default is 900.
    #[schema(example = 900)]
    pub tcp_seconds: u32,
    /// Seconds for a TCP session after a FIN; the kernel's default is 120.
    #[schema(example = 120)]
    pub tcp_fin_seconds: u32,
    /// Seconds for a UDP exchange; the kernel's default is 300.
    #[schema(example = 300)]
    pub udp_seconds: u32,
}

/// Timeouts as a client wants them. Absent keeps.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TimeoutsInput)]
pub struct TimeoutsDraft {
    /// Seconds for an established TCP session.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 2_678_400)]
    #[serde(default)]
    pub tcp_seconds: Field<i64>,
    /// Seconds for a TCP session after a FIN.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 2_678_400)]
    #[serde(default)]
    pub tcp_fin_seconds: Field<i64>,
    /// Seconds for a UDP exchange.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 2_678_400)]
    #[serde(default)]
    pub udp_seconds: Field<i64>,
    #[schema(ignore)]
    etag: Option<IgnoredAny>,
    #[schema(ignore)]
    changed: Option<IgnoredAny>,
}

// === impl Timeouts ===

impl Timeouts {
    /// The kernel's own defaults.
    pub const DEFAULT: Self = Self {
        tcp_seconds: 900,
        tcp_fin_seconds: 120,
        udp_seconds: 300,
    };
    /// The longest timeout in seconds: ipvsadm's 31 days. A kernel whose clock runs at 1 kHz takes
    /// no more than 2147483.
    pub const MAX: u32 = 86_400 * 31;

    /// Fingerprint.
    pub fn etag(&self) -> Etag {
        Etag::of(EtagScope::Resource, self)
    }
}

// === impl TimeoutsDraft ===

impl TimeoutsDraft {
    /// This draft over what the kernel has.
    pub fn over(&self, base: Timeouts) -> Result<Timeouts, Error> {
        let mut violations = Vec::new();
        let mut seconds = |field: &Field<i64>, name: &str, base: u32, default: u32| match *field {
            Field::Keep => base,
            Field::Clear => default,
            Field::Set(0) => {
                violations.push(Violation::new(
                    name,
                    "0 is no timeout; leave the field out to keep what is set",
                ));
                base
            }
            Field::Set(value) => super::server::in_range(value, name, 1, Timeouts::MAX.into())
                .unwrap_or_else(|bad| {
                    violations.push(bad);
                    base
                }),
        };
        let default = Timeouts::DEFAULT;
        let timeouts = Timeouts {
            tcp_seconds: seconds(
                &self.tcp_seconds,
                "tcp_seconds",
                base.tcp_seconds,
                default.tcp_seconds,
            ),
            tcp_fin_seconds: seconds(
                &self.tcp_fin_seconds,
                "tcp_fin_seconds",
                base.tcp_fin_seconds,
                default.tcp_fin_seconds,
            ),
            udp_seconds: seconds(
                &self.udp_seconds,
                "udp_seconds",
                base.udp_seconds,
                default.udp_seconds,
            ),
        };
        if violations.is_empty() {
            Ok(timeouts)
        } else {
            Err(Error::from_violations(violations))
        }
    }
}
