//! Timeouts of idle connections.

use serde::{Deserialize, Serialize, de::IgnoredAny};

use super::{
    Error, Etag, EtagScope, Field, Violation,
    check::{accept, number},
    integer,
};

/// Timeouts of idle connections (manual: --set, -L --timeout; `IPVS_CMD_GET_CONFIG`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Timeouts {
    /// Seconds for an established TCP session. Kernel default 900.
    pub tcp_seconds: u32,
    /// Seconds for a TCP session after a FIN. Kernel default 120.
    pub tcp_fin_seconds: u32,
    /// Seconds for a UDP exchange. Kernel default 300.
    pub udp_seconds: u32,
}

/// Timeouts in a request. An absent field keeps the current value.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeoutsDraft {
    /// Seconds for an established TCP session.
    #[serde(default, deserialize_with = "integer::field")]
    pub tcp_seconds: Field<i64>,
    /// Seconds for a TCP session after a FIN.
    #[serde(default, deserialize_with = "integer::field")]
    pub tcp_fin_seconds: Field<i64>,
    /// Seconds for a UDP exchange.
    #[serde(default, deserialize_with = "integer::field")]
    pub udp_seconds: Field<i64>,
    etag: Option<IgnoredAny>,
    changed: Option<IgnoredAny>,
}

// === impl Timeouts ===

impl Timeouts {
    /// The kernel's defaults.
    pub const DEFAULT: Self = Self {
        tcp_seconds: 900,
        tcp_fin_seconds: 120,
        udp_seconds: 300,
    };
    /// The longest timeout in seconds: ipvsadm's limit of 31 days. A kernel with HZ 1000 accepts at
    /// most 2147483.
    pub const MAX: u32 = 86_400 * 31;

    /// The timeouts by the names of their fields.
    pub fn by_name(&self) -> [(&'static str, u32); 3] {
        [
            ("tcp_seconds", self.tcp_seconds),
            ("tcp_fin_seconds", self.tcp_fin_seconds),
            ("udp_seconds", self.udp_seconds),
        ]
    }

    /// What a kernel that has `current` is to have for these. It reports 0 for the timeouts of a protocol that it was
    /// built without, and ignores others for them.
    #[must_use]
    pub fn on_kernel(self, current: Self) -> Self {
        let seconds = |wanted, current| if current == 0 { 0 } else { wanted };
        Self {
            tcp_seconds: seconds(self.tcp_seconds, current.tcp_seconds),
            tcp_fin_seconds: seconds(self.tcp_fin_seconds, current.tcp_fin_seconds),
            udp_seconds: seconds(self.udp_seconds, current.udp_seconds),
        }
    }

    /// The ETag.
    pub fn etag(&self) -> Etag {
        Etag::of(EtagScope::Resource, self)
    }
}

// === impl TimeoutsDraft ===

impl TimeoutsDraft {
    /// The names of the fields that the draft sets.
    pub fn fields(&self) -> Vec<&'static str> {
        let fields = [
            ("tcp_seconds", &self.tcp_seconds),
            ("tcp_fin_seconds", &self.tcp_fin_seconds),
            ("udp_seconds", &self.udp_seconds),
        ];
        let present = fields.into_iter().filter(|(_, field)| field.is_present());
        present.map(|(name, _)| name).collect()
    }

    /// The draft applied to the current timeouts.
    pub fn update(&self, base: Timeouts) -> Result<Timeouts, Error> {
        let mut violations = Vec::new();
        let mut seconds = |field: &Field<i64>, name: &str, base: u32, default: u32| {
            if *field == Field::Set(0) && base != 0 {
                violations.push(Violation::new(
                    name,
                    "must be at least 1; omit the field to keep the current timeout",
                ));
                return base;
            }
            let range = (1, Timeouts::MAX.into());
            number(field, name, (base, default), range, &mut violations)
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
        accept(timeouts, violations)
    }
}
