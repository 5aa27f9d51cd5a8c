//! Real servers in requests: the draft, and its validation.

use std::{
    borrow::Cow,
    fmt::Display,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use serde::{Deserialize, de::IgnoredAny};
use smol_str::SmolStr;

use super::{
    Error, Family, Field, Forwarding, Membership, ServerConfig, ServerKey, ServiceKey, Tunnel,
    TunnelDraft, Violation, both,
    check::{accept, address, contradiction, number, parse_id, port, same_object},
    integer,
    key::parse_address,
    object,
};

/// A real server in a request. An absent field keeps the current value (PATCH) or takes the default
/// (POST, PUT); `null` sets the default.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerDraft {
    /// Id, instead of address and port. If both are given, they must agree.
    pub id: Option<SmolStr>,
    /// Address of the server.
    pub address: Option<SmolStr>,
    /// Port on the server. Default: the service's port; with a firewall mark 0, which keeps the
    /// packet's destination port. Direct routing and tunneling require the service's port.
    #[serde(default, deserialize_with = "integer::option")]
    pub port: Option<i64>,
    /// Forwarding method. Default `direct`.
    #[serde(default)]
    pub forwarding: Field<SmolStr>,
    /// Capacity relative to the other servers. A server of weight 0 receives no new connections.
    /// Default 1.
    #[serde(default, deserialize_with = "integer::field")]
    pub weight: Field<i64>,
    /// Number of connections above which the server receives no new ones; 0: no limit. Default 0.
    #[serde(default, deserialize_with = "integer::field")]
    pub upper_threshold: Field<i64>,
    /// Number of connections below which the server receives new ones again, up to
    /// `upper_threshold`; 0: three quarters of it. Default 0.
    #[serde(default, deserialize_with = "integer::field")]
    pub lower_threshold: Field<i64>,
    /// Encapsulation. Requires `forwarding` `tunnel`. Default `ipip`.
    #[serde(default, deserialize_with = "object::boxed")]
    pub tunnel: Field<Box<TunnelDraft>>,
    /// Read-only. A server that is `removing` or `fallback` is not taken as one of a set that is written.
    pub membership: Option<SmolStr>,
    effective_weight: Option<IgnoredAny>,
    holds: Option<IgnoredAny>,
    active_connections: Option<IgnoredAny>,
    inactive_connections: Option<IgnoredAny>,
    persistent_connections: Option<IgnoredAny>,
    stats: Option<IgnoredAny>,
    rates: Option<IgnoredAny>,
    etag: Option<IgnoredAny>,
    changed: Option<IgnoredAny>,
}

/// What a field stands for that a draft lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Absent {
    /// The value of a new server, which is the default.
    New,
    /// The default, in the place of the value that the server has.
    Default,
    /// The value that the server has.
    Keep,
}

// === impl ServerDraft ===

impl ServerDraft {
    /// The key that the draft names by `id` or by its fields; `None` if it names none. The default
    /// port is that of the service.
    pub fn key(&self, service: ServiceKey) -> Result<Option<ServerKey>, Error> {
        let port = self.port.map(port).transpose();
        match (self.id(), self.address.as_deref().map(address)) {
            (Some(Ok(id)), _) => accept(
                Some(id),
                self.contradictions(id, &format_args!("the id {id}")),
            ),
            (None, None) if self.port.is_none() => Ok(None),
            (None, Some(Ok(address))) if port.is_ok() => {
                let port = port.ok().flatten().or(service.port());
                Ok(Some(ServerKey {
                    address,
                    port: port.unwrap_or(0),
                }))
            }
            (id, address) => {
                let missing = (id.is_none() && address.is_none())
                    .then(|| Violation::new("address", "is required with a port"));
                let id = id.and_then(Result::err);
                let address = address.and_then(Result::err);
                let violations = id
                    .into_iter()
                    .chain(address)
                    .chain(missing)
                    .chain(port.err());
                Err(Error::from_violations(violations.collect()))
            }
        }
    }

    /// Checks that the draft names no other server than `key`, that of the request path.
    pub fn check_key(&self, key: ServerKey) -> Result<(), Error> {
        same_object(key, self.id(), |key, named| self.contradictions(key, named))
    }

    /// The new server that the draft describes. An invalid key does not hide the other fields.
    pub fn new_server(&self, service: ServiceKey) -> Result<(ServerKey, ServerConfig), Error> {
        let key = self
            .key(service)
            .and_then(|key| key.ok_or_else(|| Error::invalid("address", "is required")));
        let provisional = || ServerKey {
            address: self.address.as_deref().and_then(parse_address).unwrap_or(
                match service.family() {
                    Family::Ipv4 => Ipv4Addr::LOCALHOST.into(),
                    Family::Ipv6 => Ipv6Addr::LOCALHOST.into(),
                },
            ),
            port: service.port().unwrap_or(0),
        };
        let checked = key.as_ref().map_or_else(|_| provisional(), |key| *key);
        both(key, self.create(service, checked))
    }

    /// Whether it is a server that was read while it was removed or stood in, and not one that is declared.
    pub fn is_undeclared(&self) -> bool {
        let mut words = Membership::WORDS.iter();
        words.any(|(word, _)| self.membership.as_deref() == Some(word))
    }

    fn id(&self) -> Option<Result<ServerKey, Violation>> {
        parse_id(self.id.as_deref())
    }

    /// The identifying fields that are not those of `key`, which `named` describes.
    fn contradictions(&self, key: ServerKey, named: &dyn Display) -> Vec<Violation> {
        let mut violations = Vec::new();
        match self.address.as_deref().map(address) {
            Some(Ok(address)) if address != key.address => {
                violations.push(contradiction("address", &address, named));
            }
            Some(Err(violation)) => violations.push(violation),
            _ => {}
        }
        match self.port.map(port) {
            Some(Ok(port)) if port != key.port => {
                violations.push(contradiction("port", &port, named));
            }
            Some(Err(violation)) => violations.push(violation),
            _ => {}
        }
        violations
    }

    /// The configuration of a new server: the draft applied to the defaults.
    pub fn create(&self, service: ServiceKey, key: ServerKey) -> Result<ServerConfig, Error> {
        let mut violations = Vec::new();
        if let Some(message) = check_address(key.address) {
            violations.push(Violation::new("address", message));
        }
        self.apply(
            service,
            key,
            ServerConfig::default(),
            Absent::New,
            violations,
        )
    }

    /// The configuration that replaces that of an existing server: absent fields take the default. As
    /// in [`update`](Self::update), a value that the server has is accepted, so that what was read can
    /// be sent back.
    pub fn replace(
        &self,
        service: ServiceKey,
        key: ServerKey,
        present: ServerConfig,
    ) -> Result<ServerConfig, Error> {
        self.apply(service, key, present, Absent::Default, Vec::new())
    }

    /// The configuration of an existing server: the draft applied to `base`. A value that the server
    /// has is accepted. Rules about several fields are checked only if the draft changes one of them,
    /// so that a configuration that another program set in violation of the rules can still be changed
    /// step by step.
    pub fn update(
        &self,
        service: ServiceKey,
        key: ServerKey,
        base: ServerConfig,
    ) -> Result<ServerConfig, Error> {
        self.apply(service, key, base, Absent::Keep, Vec::new())
    }

    fn apply(
        &self,
        service: ServiceKey,
        key: ServerKey,
        base: ServerConfig,
        absent: Absent,
        mut violations: Vec<Violation>,
    ) -> Result<ServerConfig, Error> {
        let create = absent == Absent::New;
        let forwarding = absent.or_default(self.forwarding.as_ref());
        let mut config = base;
        config.forwarding = apply_forwarding(forwarding, base.forwarding, create, &mut violations);
        let weight = absent.or_default(self.weight);
        config.weight = apply_weight(weight, base.weight, &mut violations);
        let max_threshold = ServerConfig::MAX_THRESHOLD.into();
        for (field, name, value) in [
            (
                self.upper_threshold,
                "upper_threshold",
                &mut config.upper_threshold,
            ),
            (
                self.lower_threshold,
                "lower_threshold",
                &mut config.lower_threshold,
            ),
        ] {
            let field = absent.or_default(field);
            let range = (0, max_threshold);
            *value = number(&field, name, (*value, 0), range, &mut violations);
        }

        let thresholds = |config: &ServerConfig| (config.upper_threshold, config.lower_threshold);
        if thresholds(&config) != thresholds(&base)
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
        let sets_forwarding = create || forwarding.is_present();
        if sets_forwarding && config.forwarding != Forwarding::Tunnel {
            config.tunnel = Tunnel::default();
        }
        self.apply_tunnel(absent, &mut config, sets_forwarding, &mut violations);
        if create || config.forwarding != base.forwarding {
            check_forwarding(service, key, config.forwarding, &mut violations);
        }
        accept(config, violations)
    }

    fn apply_tunnel(
        &self,
        absent: Absent,
        config: &mut ServerConfig,
        sets_forwarding: bool,
        violations: &mut Vec<Violation>,
    ) {
        let draft = match absent.or_default(self.tunnel.as_ref()) {
            Field::Keep if !sets_forwarding => return,
            Field::Keep => Cow::Owned(TunnelDraft::default()),
            Field::Clear => {
                config.tunnel = Tunnel::default();
                return;
            }
            Field::Set(draft) if absent == Absent::Default => {
                Cow::Owned(TunnelDraft::clone(draft).or_clear())
            }
            Field::Set(draft) => Cow::Borrowed(&**draft),
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

// === impl Absent ===

impl Absent {
    /// A field, set to the default if it is absent and that is what it stands for.
    fn or_default<T>(self, field: Field<T>) -> Field<T> {
        match self {
            Self::Default => field.or_clear(),
            Self::New | Self::Keep => field,
        }
    }
}

fn apply_weight(weight: Field<i64>, base: u32, violations: &mut Vec<Violation>) -> u32 {
    let before = violations.len();
    let range = (0, ServerConfig::MAX_WEIGHT.into());
    let weight = number(&weight, "weight", (base, 1), range, violations);
    if let Some(violation) = violations.get_mut(before) {
        violation.message += ", or the weight that the server has";
    }
    weight
}

fn apply_forwarding(
    forwarding: Field<&SmolStr>,
    base: Forwarding,
    create: bool,
    violations: &mut Vec<Violation>,
) -> Forwarding {
    let text = match forwarding {
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
