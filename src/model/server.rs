//! Real servers and their configuration.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{
    Etag, EtagScope, Hold, Rates, ServerKey, Stats, Tunnel, named_number::named_numbers,
    word::words,
};

/// A real server of a virtual service as read from the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    /// Address and port.
    pub key: ServerKey,
    /// Configuration. The weight is the intended one, which a hold may keep out of the kernel.
    pub config: ServerConfig,
    /// The weight in the kernel.
    pub effective_weight: u32,
    /// The holds on its weight; `None` without any.
    pub holds: Option<Arc<[Hold]>>,
    /// Why it is a server of its service, where that is not only because somebody has added it.
    pub membership: Option<Membership>,
    /// Current connections in state ESTABLISHED.
    pub active_connections: u32,
    /// Current connections in any other state.
    pub inactive_connections: u32,
    /// Current persistence templates.
    pub persistent_connections: u32,
    /// Counters since the last zero.
    pub stats: Stats,
    /// Rates per second.
    pub rates: Rates,
}

words! {
    /// Why a server is one of its service.
    #[derive(Hash, Serialize)]
    #[serde(rename_all = "snake_case")]
    Membership {
        /// The table that claims the service does not declare the server any more: it is deleted when it is drained.
        Removing = "removing",
        /// The daemon has added the server, because too few of the others are healthy. It is nobody's configuration.
        Fallback = "fallback",
    }
}

/// The configuration of a real server. `IPVS_CMD_SET_DEST` replaces all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerConfig {
    /// Forwarding method (manual: -g, -i, -m). Default direct routing.
    pub forwarding: Forwarding,
    /// Capacity relative to the other servers (manual: -w). Default 1. A server of weight 0 receives
    /// no new connections. Requests set 0 to 65535, as the manual says; command lines, as in
    /// `ipvsadm -R`, all that the kernel accepts, up to 2147483647.
    #[serde(skip_serializing_if = "is_one")]
    pub weight: u32,
    /// Number of connections above which the server receives no new ones, up to 2147483647
    /// (manual: -x). Default 0: no limit.
    #[serde(skip_serializing_if = "is_zero")]
    pub upper_threshold: u32,
    /// Number of connections below which the server receives new ones again, up to
    /// `upper_threshold` (manual: -y). Default 0: three quarters of `upper_threshold`.
    #[serde(skip_serializing_if = "is_zero")]
    pub lower_threshold: u32,
    /// Encapsulation, only with [`Forwarding::Tunnel`]. Default ipip.
    #[serde(skip_serializing_if = "is_default")]
    pub tunnel: Tunnel,
}

/// Forwarding method of a real server (`IPVS_DEST_ATTR_FWD_METHOD`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forwarding {
    /// Network address translation (manual: -m).
    Masquerade,
    /// Delivery to the director itself. Set by the kernel or another program, not by a request.
    Local,
    /// Encapsulation (manual: -i).
    Tunnel,
    /// Direct routing (manual: -g).
    Direct,
    /// Forwarding to the original destination. Internal to the kernel.
    Bypass,
    /// A number without a meaning, set by another program.
    Other(u8),
}

// === impl Server ===

impl Server {
    /// A server without connections and traffic.
    pub fn idle(key: ServerKey, config: ServerConfig) -> Self {
        Self {
            key,
            effective_weight: config.weight,
            config,
            holds: None,
            membership: None,
            active_connections: 0,
            inactive_connections: 0,
            persistent_connections: 0,
            stats: Stats::default(),
            rates: Rates::default(),
        }
    }

    /// Whether the daemon has added it as a fallback server: it is no part of what anybody configures.
    pub fn is_fallback(&self) -> bool {
        self.membership == Some(Membership::Fallback)
    }

    /// The ETag of the configuration.
    #[inline]
    pub fn etag(&self) -> Etag {
        Self::etag_of(self.key, &self.config)
    }

    /// The ETag of this configuration.
    #[inline]
    pub fn etag_of(key: ServerKey, config: &ServerConfig) -> Etag {
        Etag::of(EtagScope::Resource, &(key, config))
    }
}

// === impl ServerConfig ===

// A listing hashes every server several times, so the fields are packed into few words.
impl Hash for ServerConfig {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self {
            forwarding,
            weight,
            upper_threshold,
            lower_threshold,
            tunnel:
                Tunnel {
                    kind,
                    port,
                    checksum,
                },
        } = *self;
        let bytes = [forwarding.number(), kind.number()];
        state.write_u64(u64::from(weight) << 32 | u64::from(upper_threshold));
        state.write_u64(
            u64::from(lower_threshold) << 32 | u64::from(checksum.number()) << 16 | u64::from(port),
        );
        state.write_u16(u16::from_ne_bytes(bytes));
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            forwarding: Forwarding::Direct,
            weight: 1,
            upper_threshold: 0,
            lower_threshold: 0,
            tunnel: Tunnel::default(),
        }
    }
}

impl ServerConfig {
    /// The largest weight that a request may set (manual: -w). A larger one that the server has
    /// already is accepted.
    pub const MAX_WEIGHT: u32 = 65_535;
    /// The largest weight that the kernel accepts.
    pub const MAX_KERNEL_WEIGHT: u32 = i32::MAX as u32;
    /// The largest threshold that a request may set. The manual says 65535, which a busy server
    /// exceeds; the kernel and ipvsadm accept any positive signed 32-bit number.
    pub const MAX_THRESHOLD: u32 = i32::MAX as u32;
}

// === impl Forwarding ===

named_numbers!(Forwarding: u8, "a forwarding method: masquerade, tunnel or direct",
    Masquerade = 0 "masquerade", Local = 1 "local", Tunnel = 2 "tunnel", Direct = 3 "direct",
    Bypass = 4 "bypass");

impl Forwarding {
    /// Whether a request may set this method.
    pub fn is_settable(self) -> bool {
        matches!(self, Self::Masquerade | Self::Tunnel | Self::Direct)
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_one(number: &u32) -> bool {
    *number == 1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn is_default(tunnel: &Tunnel) -> bool {
    *tunnel == Tunnel::default()
}
