//! Real servers: their configuration, what a client may say of it, and the rules.

use std::{
    fmt,
    hash::{Hash, Hasher},
    net::IpAddr,
    str::FromStr,
};

use serde::{Deserialize, Serialize, Serializer, de::IgnoredAny};

use super::{
    Error, Etag, EtagScope, Family, Field, Name, Rates, ServerKey, ServiceKey, Stats, Violation,
    key::parse_address,
    object,
    tunnel::{Tunnel, TunnelDraft, named_numbers},
};

/// A real server of a virtual service, as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    /// What names it within its service.
    pub key: ServerKey,
    /// How it is configured.
    pub config: ServerConfig,
    /// Connections that are established, now.
    pub active_connections: u32,
    /// Connections in any other state, now.
    pub inactive_connections: u32,
    /// Persistence templates that lead to it, now.
    pub persistent_connections: u32,
    /// Its counters.
    pub stats: Stats,
    /// Its rates.
    pub rates: Rates,
}

/// All that can be configured of a real server (`IPVS_CMD_SET_DEST` replaces all of it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// How packets reach it; default direct routing.
    pub forwarding: Forwarding,
    /// Capacity relative to the others, 0 to 65535; default 1; 0 takes no new connections. The
    /// kernel takes up to 2147483647, which is shown as it is.
    pub weight: u32,
    /// Connections above which it gets no new ones; default 0: no limit. Up to 2147483647.
    pub upper_threshold: u32,
    /// Connections below which it gets new ones again; default 0: three quarters of the upper one.
    pub lower_threshold: u32,
    /// The tunnel; only with [`Forwarding::Tunnel`].
    pub tunnel: Tunnel,
}

/// How packets reach a real server (manual: -m, -i, -g; `IPVS_DEST_ATTR_FWD_METHOD`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forwarding {
    /// Network address translation.
    Masquerade,
    /// To this host itself; set by the kernel or another program, not by a client.
    Local,
    /// Encapsulated.
    Tunnel,
    /// Direct routing ("gatewaying").
    Direct,
    /// Past IPVS; internal to the kernel.
    Bypass,
    /// What only a faulty program can have put into the kernel.
    Other(u8),
}

/// A real server as a client describes it. What is absent keeps what is there (PATCH) or takes the
/// default (POST, PUT); `null` goes back to the default.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ServerInput)]
pub struct ServerDraft {
    /// Id, instead of address and port; where both are given they must agree.
    #[schema(example = "192.168.10.1-80")]
    pub id: Option<String>,
    /// Address of the server.
    #[schema(example = "192.168.10.1")]
    pub address: Option<String>,
    /// Port on the server. Default: the service's port (0 for a firewall mark: the port that the
    /// client asked for). Must be the service's port with direct routing and tunneling.
    #[schema(minimum = 0, maximum = 65535, example = 80)]
    pub port: Option<i64>,
    /// How packets reach it. Default `direct`.
    #[schema(value_type = Option<super::schema::Forwarding>)]
    #[serde(default)]
    pub forwarding: Field<String>,
    /// Capacity relative to the others; 0 takes no new connections. Default 1.
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 65535)]
    #[serde(default)]
    pub weight: Field<i64>,
    /// Connections above which it gets no new ones; 0: no limit. Default 0.
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 2_147_483_647)]
    #[serde(default)]
    pub upper_threshold: Field<i64>,
    /// Connections below which it gets new ones again; not above `upper_threshold`; 0: three
    /// quarters of it. Default 0.
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 2_147_483_647)]
    #[serde(default)]
    pub lower_threshold: Field<i64>,
    /// How packets are encapsulated; only with `forwarding` `tunnel`. Default `ipip`.
    #[schema(value_type = Option<TunnelDraft>)]
    #[serde(default, deserialize_with = "object::field")]
    pub tunnel: Field<TunnelDraft>,
    #[schema(ignore)]
    active_connections: Option<IgnoredAny>,
    #[schema(ignore)]
    inactive_connections: Option<IgnoredAny>,
    #[schema(ignore)]
    persistent_connections: Option<IgnoredAny>,
    #[schema(ignore)]
    stats: Option<IgnoredAny>,
    #[schema(ignore)]
    rates: Option<IgnoredAny>,
    #[schema(ignore)]
    etag: Option<IgnoredAny>,
    #[schema(ignore)]
    changed: Option<IgnoredAny>,
}

// === impl Server ===

impl Server {
    /// Fingerprint of the configuration.
    pub fn etag(&self) -> Etag {
        Etag::of(EtagScope::Resource, &(self.key, self.config))
    }
}

// === impl ServerConfig ===

// In few numbers: that of every server of a listing is hashed, several times.
impl Hash for ServerConfig {
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
        let small = [forwarding.number(), kind.number()];
        state.write_u64(u64::from(weight) << 32 | u64::from(upper_threshold));
        state.write_u64(
            u64::from(lower_threshold) << 32 | u64::from(checksum.number()) << 16 | u64::from(port),
        );
        state.write_u16(u16::from_ne_bytes(small));
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
    /// The largest weight that may be set (manual: -w).
    pub const MAX_WEIGHT: u32 = 65_535;
    /// The largest threshold that may be set. The manual says 65535, which a busy server exceeds;
    /// the kernel and ipvsadm take all of a signed 32-bit number.
    pub const MAX_THRESHOLD: u32 = i32::MAX as u32;
}

named_numbers!(Forwarding: u8, "a forwarding method: masquerade, tunnel or direct",
    Masquerade = 0 "masquerade", Local = 1 "local", Tunnel = 2 "tunnel", Direct = 3 "direct",
    Bypass = 4 "bypass");
// === impl ServerDraft ===

impl ServerDraft {
    /// The identity, where the body says it; the port defaults to that of the service.
    pub fn key(&self, service: ServiceKey) -> Result<Option<ServerKey>, Error> {
        let id = self.id.as_deref().map(str::parse::<ServerKey>).transpose();
        let id = id.map_err(|error| Error::invalid("id", error.detail))?;
        let Some(text) = self.address.as_deref() else {
            return match (id, self.port) {
                (Some(id), Some(port)) if i64::from(id.port) != port => Err(Error::invalid(
                    "port",
                    format!("{port} is not that of the id, {id}"),
                )),
                (None, Some(_)) => Err(Error::invalid("address", "is required with a port")),
                _ => Ok(id),
            };
        };
        let address = parse_address(text).ok_or_else(|| {
            Error::invalid(
                "address",
                format!("{text:?} is not an IPv4 or IPv6 address"),
            )
        })?;
        let port = match (self.port, id) {
            (Some(port), _) => in_range(port, "port", 0, u16::MAX.into())
                .map_err(|bad| Error::from_violations(vec![bad]))?,
            (None, Some(id)) => id.port,
            (None, None) => service.port().unwrap_or(0),
        };
        let key = ServerKey { address, port };
        match id {
            Some(id) if id != key => Err(Error::invalid(
                "id",
                format!("{id} is not {key}, which the fields spell out"),
            )),
            _ => Ok(Some(key)),
        }
    }

    /// The identity given outside the body (in the path), which the body may repeat.
    pub fn check_key(&self, service: ServiceKey, key: ServerKey) -> Result<(), Error> {
        // An address without a port means the path's port here, not the service's.
        let port = self.port.or(Some(key.port.into()));
        let body = Self {
            port,
            address: self.address.clone(),
            id: self.id.clone(),
            ..Self::default()
        };
        match if body.address.is_some() || body.id.is_some() {
            body.key(service)?
        } else {
            None
        } {
            Some(other) if other != key => Err(Error::invalid(
                "id",
                format!("the body describes {other}, but the request is for {key}"),
            )),
            _ if self.port.is_some_and(|port| port != i64::from(key.port)) => Err(Error::invalid(
                "port",
                format!("the request is for {key}: a server cannot change its port"),
            )),
            _ => Ok(()),
        }
    }

    /// The configuration of a new server: this draft over the defaults.
    pub fn create(&self, service: ServiceKey, key: ServerKey) -> Result<ServerConfig, Error> {
        let mut violations = Vec::new();
        violations.extend(refused_address(key.address).map(|why| Violation::new("address", why)));
        self.over(service, key, ServerConfig::default(), true, violations)
    }

    /// The configuration of a server after this draft is laid over what it has. Rules about several
    /// fields are held only where the draft touches one of them, so that what another program has
    /// set up oddly can still be drained or mended step by step.
    pub fn update(
        &self,
        service: ServiceKey,
        key: ServerKey,
        base: ServerConfig,
    ) -> Result<ServerConfig, Error> {
        self.over(service, key, base, false, Vec::new())
    }

    fn over(
        &self,
        service: ServiceKey,
        key: ServerKey,
        base: ServerConfig,
        create: bool,
        mut violations: Vec<Violation>,
    ) -> Result<ServerConfig, Error> {
        let mut config = base;
        config.forwarding = match &self.forwarding {
            Field::Keep => base.forwarding,
            Field::Clear => Forwarding::Direct,
            Field::Set(text) => match text.parse() {
                // What the kernel set by itself may be sent back to it.
                Ok(method) if settable(method) || (!create && method == base.forwarding) => method,
                Ok(method) => {
                    violations.push(Violation::new(
                        "forwarding",
                        format!("{method} cannot be set: masquerade, tunnel or direct"),
                    ));
                    base.forwarding
                }
                Err(error) => {
                    violations.push(Violation::new("forwarding", error.detail));
                    base.forwarding
                }
            },
        };
        let mut number = |field: &Field<i64>, name: &str, base, default, max: u32| match *field {
            Field::Keep => base,
            Field::Clear => default,
            Field::Set(value) => in_range(value, name, 0, max.into()).unwrap_or_else(|bad| {
                violations.push(bad);
                base
            }),
        };
        let max = ServerConfig::MAX_THRESHOLD;
        config.weight = number(
            &self.weight,
            "weight",
            base.weight,
            1,
            ServerConfig::MAX_WEIGHT,
        );
        config.upper_threshold = number(
            &self.upper_threshold,
            "upper_threshold",
            base.upper_threshold,
            0,
            max,
        );
        config.lower_threshold = number(
            &self.lower_threshold,
            "lower_threshold",
            base.lower_threshold,
            0,
            max,
        );

        if (self.upper_threshold.is_mentioned() || self.lower_threshold.is_mentioned())
            && config.lower_threshold > config.upper_threshold
        {
            violations.push(Violation::new(
                "lower_threshold",
                format!(
                    "{} is above upper_threshold, {}",
                    config.lower_threshold, config.upper_threshold
                ),
            ));
        }
        let forwarding_decided = create || self.forwarding.is_mentioned();
        if forwarding_decided && config.forwarding != Forwarding::Tunnel {
            config.tunnel = Tunnel::default();
        }
        self.tunnel_over(&mut config, forwarding_decided, &mut violations);
        if forwarding_decided {
            forwarding_rules(service, key, config.forwarding, &mut violations);
        }
        if violations.is_empty() {
            Ok(config)
        } else {
            Err(Error::from_violations(violations))
        }
    }

    fn tunnel_over(
        &self,
        config: &mut ServerConfig,
        forwarding_decided: bool,
        violations: &mut Vec<Violation>,
    ) {
        let draft = match &self.tunnel {
            Field::Keep if !forwarding_decided => return,
            Field::Keep => &TunnelDraft::default(),
            Field::Clear => {
                config.tunnel = Tunnel::default();
                return;
            }
            Field::Set(draft) => draft,
        };
        if config.forwarding != Forwarding::Tunnel {
            if self.tunnel.is_mentioned() {
                violations.push(Violation::new(
                    "tunnel",
                    format!(
                        "goes with forwarding tunnel only, not with {}",
                        config.forwarding
                    ),
                ));
            }
            return;
        }
        config.tunnel = draft.over(config.tunnel, violations);
    }
}

/// The methods that a client may set.
fn settable(method: Forwarding) -> bool {
    matches!(
        method,
        Forwarding::Masquerade | Forwarding::Tunnel | Forwarding::Direct
    )
}

/// Why the kernel would refuse a server's address whatever its routes are. It also refuses what its
/// routes say is no unicast address (a subnet's broadcast), which only it can know.
fn refused_address(address: IpAddr) -> Option<String> {
    let class = match address {
        IpAddr::V4(v4) if v4.is_unspecified() => "the unspecified address",
        IpAddr::V4(v4) if v4.is_multicast() => "a multicast address",
        IpAddr::V4(v4) if v4.is_broadcast() => "the broadcast address",
        IpAddr::V6(v6) if v6.is_unspecified() => "the unspecified address",
        IpAddr::V6(v6) if v6.is_multicast() => "a multicast address",
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => "an IPv4-mapped address",
        _ => return None,
    };
    Some(format!(
        "{address} is {class}: a real server needs a unicast address"
    ))
}

fn forwarding_rules(
    service: ServiceKey,
    key: ServerKey,
    forwarding: Forwarding,
    violations: &mut Vec<Violation>,
) {
    if forwarding != Forwarding::Tunnel && Family::of(key.address) != service.family() {
        violations.push(Violation::new(
            "forwarding",
            format!(
                "{} server of an {} service: only tunnel crosses the families",
                Family::of(key.address),
                service.family()
            ),
        ));
    }
    // Neither method rewrites ports: packets arrive at the service's, whatever the server's says.
    if let Some(port) = service.port()
        && matches!(forwarding, Forwarding::Direct | Forwarding::Tunnel)
        && port != key.port
    {
        violations.push(Violation::new(
            "port",
            format!(
                "{} is not the service's port, {port}: with forwarding {forwarding} packets keep \
                 their port, only masquerade can change it",
                key.port
            ),
        ));
    }
}

/// `value` as a number from `min` to `max`.
pub(super) fn in_range<T: TryFrom<i64>>(
    value: i64,
    field: &str,
    min: i64,
    max: i64,
) -> Result<T, Violation> {
    (min..=max)
        .contains(&value)
        .then(|| T::try_from(value).ok())
        .flatten()
        .ok_or_else(|| Violation::new(field, format!("{value} is out of range: {min} to {max}")))
}

/// `text` as one of the kernel's names.
pub(super) fn named(
    text: &str,
    field: &str,
    max: usize,
    violations: &mut Vec<Violation>,
) -> Option<Name> {
    let name = Name::new(text, max);
    if name.is_none() {
        violations.push(Violation::new(
            field,
            format!("{text:?} is not a name of 1 to {max} visible ASCII characters"),
        ));
    }
    name
}
