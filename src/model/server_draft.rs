//! Real servers in requests: the draft, and its validation.

use std::net::IpAddr;

use serde::{Deserialize, de::IgnoredAny};

use super::{
    Error, Family, Field, Forwarding, ServerConfig, ServerKey, ServiceKey, Tunnel, TunnelDraft,
    Violation,
    check::{accept, in_range, number},
    key::parse_address,
    object,
};

/// A real server in a request. An absent field keeps the current value (PATCH) or takes the default
/// (POST, PUT); `null` sets the default.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerDraft {
    /// Id, instead of address and port. If both are given, they must agree.
    pub id: Option<String>,
    /// Address of the server.
    pub address: Option<String>,
    /// Port on the server. Default: the service's port; with a firewall mark 0, which keeps the
    /// packet's destination port. Direct routing and tunneling require the service's port.
    pub port: Option<i64>,
    /// Forwarding method. Default `direct`.
    #[serde(default)]
    pub forwarding: Field<String>,
    /// Capacity relative to the other servers. A server of weight 0 receives no new connections.
    /// Default 1.
    #[serde(default)]
    pub weight: Field<i64>,
    /// Number of connections above which the server receives no new ones; 0: no limit. Default 0.
    #[serde(default)]
    pub upper_threshold: Field<i64>,
    /// Number of connections below which the server receives new ones again, up to
    /// `upper_threshold`; 0: three quarters of it. Default 0.
    #[serde(default)]
    pub lower_threshold: Field<i64>,
    /// Encapsulation. Requires `forwarding` `tunnel`. Default `ipip`.
    #[serde(default, deserialize_with = "object::field")]
    pub tunnel: Field<TunnelDraft>,
    active_connections: Option<IgnoredAny>,
    inactive_connections: Option<IgnoredAny>,
    persistent_connections: Option<IgnoredAny>,
    stats: Option<IgnoredAny>,
    rates: Option<IgnoredAny>,
    etag: Option<IgnoredAny>,
    changed: Option<IgnoredAny>,
}

// === impl ServerDraft ===

impl ServerDraft {
    /// The key that the draft names by `id` or by its fields; `None` if it names none. The default
    /// port is that of the service.
    pub fn key(&self, service: ServiceKey) -> Result<Option<ServerKey>, Error> {
        let id = self.id.as_deref().map(str::parse::<ServerKey>).transpose();
        let id = id.map_err(|error| Error::invalid("id", error.detail))?;
        let Some(text) = self.address.as_deref() else {
            return match (id, self.port) {
                (Some(id), Some(port)) if i64::from(id.port) != port => Err(Error::invalid(
                    "port",
                    format!("{port} does not match the id {id}"),
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
                .map_err(|violation| Error::from_violations(vec![violation]))?,
            (None, Some(id)) => id.port,
            (None, None) => service.port().unwrap_or(0),
        };
        let key = ServerKey { address, port };
        match id {
            Some(id) if id != key => Err(Error::invalid(
                "id",
                format!("{id} does not match the other fields, which identify {key}"),
            )),
            _ => Ok(Some(key)),
        }
    }

    /// Checks that the draft names no other server than `key`, that of the request path.
    pub fn check_key(&self, service: ServiceKey, key: ServerKey) -> Result<(), Error> {
        // The default port is that of the path here, not that of the service.
        let port = self.port.or(Some(key.port.into()));
        let body = Self {
            port,
            address: self.address.clone(),
            id: self.id.clone(),
            ..Self::default()
        };
        let named = if body.address.is_some() || body.id.is_some() {
            body.key(service)?
        } else {
            None
        };
        match named {
            Some(other) if other != key => Err(Error::invalid(
                "id",
                format!("the body names {other}, but the request is for {key}"),
            )),
            _ if self.port.is_some_and(|port| port != i64::from(key.port)) => Err(Error::invalid(
                "port",
                format!("the request is for {key}: the port of a server cannot be changed"),
            )),
            _ => Ok(()),
        }
    }

    /// The configuration of a new server: the draft applied to the defaults.
    pub fn create(&self, service: ServiceKey, key: ServerKey) -> Result<ServerConfig, Error> {
        let mut violations = Vec::new();
        if let Some(message) = check_address(key.address) {
            violations.push(Violation::new("address", message));
        }
        self.apply(service, key, ServerConfig::default(), true, violations)
    }

    /// The configuration of an existing server: the draft applied to `base`. Rules about several
    /// fields are checked only if the draft sets one of them, so that a configuration that another
    /// program set in violation of the rules can still be changed step by step.
    pub fn update(
        &self,
        service: ServiceKey,
        key: ServerKey,
        base: ServerConfig,
    ) -> Result<ServerConfig, Error> {
        self.apply(service, key, base, false, Vec::new())
    }

    fn apply(
        &self,
        service: ServiceKey,
        key: ServerKey,
        base: ServerConfig,
        create: bool,
        mut violations: Vec<Violation>,
    ) -> Result<ServerConfig, Error> {
        let mut config = base;
        config.forwarding = self.apply_forwarding(base.forwarding, create, &mut violations);
        let max_weight = ServerConfig::MAX_WEIGHT.into();
        let max_threshold = ServerConfig::MAX_THRESHOLD.into();
        for (field, name, value, default, max) in [
            (&self.weight, "weight", &mut config.weight, 1, max_weight),
            (
                &self.upper_threshold,
                "upper_threshold",
                &mut config.upper_threshold,
                0,
                max_threshold,
            ),
            (
                &self.lower_threshold,
                "lower_threshold",
                &mut config.lower_threshold,
                0,
                max_threshold,
            ),
        ] {
            *value = number(field, name, (*value, default), (0, max), &mut violations);
        }

        if (self.upper_threshold.is_present() || self.lower_threshold.is_present())
            && config.lower_threshold > config.upper_threshold
        {
            violations.push(Violation::new(
                "lower_threshold",
                format!(
                    "{} is greater than upper_threshold, {}",
                    config.lower_threshold, config.upper_threshold
                ),
            ));
        }
        let sets_forwarding = create || self.forwarding.is_present();
        if sets_forwarding && config.forwarding != Forwarding::Tunnel {
            config.tunnel = Tunnel::default();
        }
        self.apply_tunnel(&mut config, sets_forwarding, &mut violations);
        if sets_forwarding {
            check_forwarding(service, key, config.forwarding, &mut violations);
        }
        accept(config, violations)
    }

    fn apply_forwarding(
        &self,
        base: Forwarding,
        create: bool,
        violations: &mut Vec<Violation>,
    ) -> Forwarding {
        let text = match &self.forwarding {
            Field::Keep => return base,
            Field::Clear => return Forwarding::Direct,
            Field::Set(text) => text,
        };
        let message = match text.parse::<Forwarding>() {
            // A client may send back a method that the kernel set by itself.
            Ok(method) if method.is_settable() || (!create && method == base) => return method,
            Ok(method) => format!("{method} cannot be set: masquerade, tunnel or direct"),
            Err(error) => error.detail,
        };
        violations.push(Violation::new("forwarding", message));
        base
    }

    fn apply_tunnel(
        &self,
        config: &mut ServerConfig,
        sets_forwarding: bool,
        violations: &mut Vec<Violation>,
    ) {
        let draft = match &self.tunnel {
            Field::Keep if !sets_forwarding => return,
            Field::Keep => &TunnelDraft::default(),
            Field::Clear => {
                config.tunnel = Tunnel::default();
                return;
            }
            Field::Set(draft) => draft,
        };
        if config.forwarding == Forwarding::Tunnel {
            config.tunnel = draft.apply(config.tunnel, violations);
        } else if self.tunnel.is_present() {
            let forwarding = config.forwarding;
            violations.push(Violation::new(
                "tunnel",
                format!("requires forwarding=tunnel, not {forwarding}"),
            ));
        }
    }
}

/// Why the kernel rejects a server address regardless of its routes. The kernel also rejects an
/// address that its routes do not classify as unicast, such as the broadcast address of a subnet.
fn check_address(address: IpAddr) -> Option<String> {
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

fn check_forwarding(
    service: ServiceKey,
    key: ServerKey,
    forwarding: Forwarding,
    violations: &mut Vec<Violation>,
) {
    let family = Family::of(key.address);
    if forwarding != Forwarding::Tunnel && family != service.family() {
        violations.push(Violation::new(
            "forwarding",
            format!(
                "an {family} server of an {} service requires forwarding=tunnel",
                service.family()
            ),
        ));
    }
    // Direct routing and tunneling do not rewrite ports: packets arrive at the service's port.
    if let Some(port) = service.port()
        && matches!(forwarding, Forwarding::Direct | Forwarding::Tunnel)
        && port != key.port
    {
        violations.push(Violation::new(
            "port",
            format!(
                "{} is not the service's port, {port}: forwarding={forwarding} does not rewrite \
                 ports; use the service's port or forwarding=masquerade",
                key.port
            ),
        ));
    }
}
