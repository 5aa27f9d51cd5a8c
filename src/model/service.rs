//! Virtual services: their configuration, what a client may say of it, and the rules.

use std::{fmt, hash::Hash as _, net::Ipv4Addr};

use serde::{Deserialize, Serialize, Serializer, de::IgnoredAny};

use super::{
    Error, Etag, EtagScope, Family, Field, Name, Protocol, Rates, SchedulerFlags, Server,
    ServerDraft, ServiceKey, Stats, Violation,
    key::parse_address,
    object,
    server::{in_range, named},
};

/// A virtual service as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Service {
    /// What names it.
    pub key: ServiceKey,
    /// How it is configured.
    pub config: ServiceConfig,
    /// Its counters.
    pub stats: Stats,
    /// Its rates.
    pub rates: Rates,
}

/// A virtual service with its real servers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceEntry {
    /// The service.
    pub service: Service,
    /// Its real servers, in the kernel's order (newest first), which schedulers use.
    pub servers: Vec<Server>,
}

/// All that can be configured of a virtual service (`IPVS_CMD_SET_SERVICE` replaces all of it).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServiceConfig {
    /// Scheduler, by the kernel's name; default `wlc`.
    pub scheduler: Name,
    /// Flags of the scheduler; default none.
    pub scheduler_flags: SchedulerFlags,
    /// One-packet scheduling (manual: -o); default off.
    pub one_packet: bool,
    /// Persistence timeout in seconds (manual: -p); default none: not persistent.
    pub persistence_timeout: Option<u32>,
    /// How much of a client's address counts for persistence (manual: -M); default all of it. The
    /// kernel keeps one without persistence too, where it has no effect.
    pub netmask: Netmask,
    /// Persistence engine (ipvsadm: --pe); default none. The kernel keeps one without persistence.
    pub persistence_engine: Option<Name>,
}

/// How much of a client's address counts for persistence (`IPVS_SVC_ATTR_NETMASK`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Netmask {
    /// IPv4: a dotted quad, not necessarily contiguous.
    V4(Ipv4Addr),
    /// IPv6: a prefix length, 1 to 128.
    V6(u32),
}

/// A virtual service as a client describes it. What is absent keeps what is there (PATCH) or takes
/// the default (POST, PUT); `null` goes back to the default.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ServiceInput)]
pub struct ServiceDraft {
    /// Id, instead of the identity spelt out; where both are given they must agree.
    #[schema(example = "tcp-192.0.2.1-80")]
    pub id: Option<String>,
    /// Transport protocol.
    #[schema(value_type = Option<super::schema::Protocol>)]
    pub protocol: Option<String>,
    /// Virtual address, IPv4 or IPv6.
    #[schema(example = "192.0.2.1")]
    pub address: Option<String>,
    /// Port. 0 means any port and needs `persistence`. Default 0.
    #[schema(minimum = 0, maximum = 65535, example = 80)]
    pub port: Option<i64>,
    /// Firewall mark, instead of protocol, address and port.
    #[schema(minimum = 1, maximum = 4_294_967_295_i64, nullable)]
    pub fwmark: Option<i64>,
    /// Family of the packets with this `fwmark`. Default `ipv4`.
    #[schema(value_type = Option<Family>)]
    pub family: Option<String>,
    /// Scheduler by the kernel's name, up to 15 characters. Default `wlc`.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 15, example = "rr")]
    #[serde(default)]
    pub scheduler: Field<String>,
    /// Flags of the scheduler: `sh-fallback`, `sh-port` (sh), `mh-fallback`, `mh-port` (mh),
    /// `flag-1`, `flag-2`, `flag-3` (any). Default none; they fall when the scheduler changes.
    #[schema(value_type = Option<Vec<super::schema::SchedulerFlag>>)]
    #[serde(default)]
    pub scheduler_flags: Field<Vec<String>>,
    /// One-packet scheduling: every packet is scheduled by itself. UDP and firewall marks only.
    /// Default false.
    #[schema(value_type = Option<bool>)]
    #[serde(default)]
    pub one_packet: Field<bool>,
    /// Persistence: connections of one client go to one server. `{}` for the defaults, `null` for
    /// none. Default none.
    #[schema(value_type = Option<PersistenceDraft>)]
    #[serde(default, deserialize_with = "object::field")]
    pub persistence: Field<PersistenceDraft>,
    /// Netmask that the kernel keeps for a service that is not persistent; without effect there.
    /// A persistent one has `persistence.netmask` instead.
    #[schema(value_type = Option<MaskText>)]
    #[serde(default)]
    pub netmask: Field<MaskText>,
    /// Persistence engine, such as `sip`, up to 16 characters. Default none.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 16, example = "sip")]
    #[serde(default)]
    pub persistence_engine: Field<String>,
    /// Real servers. On POST they are created with the service; on PUT they become the whole set.
    /// Not taken by PATCH. Absent leaves the servers alone.
    #[serde(default, deserialize_with = "object::list")]
    pub servers: Option<Vec<ServerDraft>>,
    #[schema(ignore)]
    server_count: Option<IgnoredAny>,
    #[schema(ignore)]
    stats: Option<IgnoredAny>,
    #[schema(ignore)]
    rates: Option<IgnoredAny>,
    #[schema(ignore)]
    etag: Option<IgnoredAny>,
    #[schema(ignore)]
    changed: Option<IgnoredAny>,
}

/// Persistence as a client describes it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PersistenceInput)]
pub struct PersistenceDraft {
    /// Seconds that a client is remembered after its last connection. Default 300.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 2_678_400)]
    #[serde(default)]
    pub timeout_seconds: Field<i64>,
    /// Dotted quad for IPv4, prefix length 1 to 128 for IPv6. Default: the whole address.
    #[schema(value_type = Option<MaskText>)]
    #[serde(default)]
    pub netmask: Field<MaskText>,
}

/// A netmask as a client writes it: text, or a number for a prefix length.
#[derive(Clone, Debug, PartialEq, Deserialize, utoipa::ToSchema)]
#[schema(as = Netmask)]
#[serde(
    untagged,
    expecting = "expected an IPv4 netmask, such as \"255.255.255.0\", or an IPv6 prefix length"
)]
pub enum MaskText {
    /// `"255.255.255.0"` or `"64"`.
    #[schema(example = "255.255.255.0")]
    Text(String),
    /// `64`.
    Number(i64),
}

const NO_MARK: &str = "0 is no mark (unmarked packets have it): 1 to 4294967295 are allowed";

// === impl ServiceConfig ===

impl ServiceConfig {
    /// The manual's default scheduler.
    pub const DEFAULT_SCHEDULER: &str = "wlc";
    /// The manual's default persistence timeout in seconds.
    pub const DEFAULT_TIMEOUT: u32 = 300;
    /// The longest persistence timeout in seconds: ipvsadm's 31 days. The kernel multiplies the
    /// value by its clock rate in 32 bits without a check; this is safe with any clock up to 1 kHz.
    pub const MAX_TIMEOUT: u32 = 86_400 * 31;

    /// The defaults of a service of this family.
    pub fn new(family: Family) -> Self {
        Self {
            scheduler: Name::from_kernel(Self::DEFAULT_SCHEDULER.as_bytes()),
            scheduler_flags: SchedulerFlags::default(),
            one_packet: false,
            persistence_timeout: None,
            netmask: Netmask::full(family),
            persistence_engine: None,
        }
    }
}

// === impl Service ===

impl Service {
    /// Fingerprint of the configuration without the servers.
    pub fn etag(&self) -> Etag {
        Etag::of(EtagScope::Service, &(self.key, self.config))
    }
}

// === impl ServiceEntry ===

impl ServiceEntry {
    /// Fingerprint of the configuration with the servers.
    pub fn etag(&self) -> Etag {
        Etag::made(EtagScope::ServiceWithServers, |hasher| {
            (self.service.key, self.service.config).hash(hasher);
            for server in &self.servers {
                (server.key, server.config).hash(hasher);
            }
        })
    }
}

// === impl Netmask ===

impl Netmask {
    /// The whole address.
    pub fn full(family: Family) -> Self {
        match family {
            Family::Ipv4 => Self::V4(Ipv4Addr::BROADCAST),
            Family::Ipv6 => Self::V6(128),
        }
    }

    /// Whether the whole address counts.
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

impl fmt::Display for MaskText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Number(number) => number.fmt(f),
        }
    }
}

// === impl ServiceDraft ===

impl ServiceDraft {
    /// The identity, where the body says it; `None` where it says nothing of it.
    pub fn key(&self) -> Result<Option<ServiceKey>, Error> {
        let id = self.id.as_deref().map(str::parse::<ServiceKey>).transpose();
        let id = id.map_err(|error| Error::invalid("id", error.detail))?;
        let spelt = if self.fwmark.is_some() {
            Some(self.fwmark_key()?)
        } else if self.protocol.is_some() || self.address.is_some() || self.port.is_some() {
            Some(self.address_key()?)
        } else if self.family.is_some() {
            return Err(Error::invalid(
                "family",
                "goes with fwmark, which is missing",
            ));
        } else {
            None
        };
        match (id, spelt) {
            (Some(id), Some(spelt)) if id != spelt => Err(Error::invalid(
                "id",
                format!("{id} is not {spelt}, which the fields spell out"),
            )),
            (id, spelt) => Ok(spelt.or(id)),
        }
    }

    /// The identity given outside the body (in the path), which the body may repeat.
    pub fn check_key(&self, key: ServiceKey) -> Result<(), Error> {
        match self.key()? {
            Some(other) if other != key => Err(Error::invalid(
                "id",
                format!("the body describes {other}, but the request is for {key}"),
            )),
            _ => Ok(()),
        }
    }

    fn fwmark_key(&self) -> Result<ServiceKey, Error> {
        let mut violations = Vec::new();
        for (field, present) in [
            ("protocol", self.protocol.is_some()),
            ("address", self.address.is_some()),
            ("port", self.port.is_some()),
        ] {
            if present {
                violations.push(Violation::new(
                    field,
                    "does not go with fwmark: a service is named by one or the other",
                ));
            }
        }
        let mark = match self.fwmark {
            Some(0) | None => Err(Violation::new("fwmark", NO_MARK)),
            Some(mark) => in_range(mark, "fwmark", 1, u32::MAX.into()),
        };
        let family = self.family.as_deref().map_or(Ok(Family::Ipv4), str::parse);
        let family = family.map_err(|error: Error| error.below("family").violations);
        match (mark, family) {
            (Ok(mark), Ok(family)) if violations.is_empty() => {
                Ok(ServiceKey::Fwmark { family, mark })
            }
            (mark, family) => {
                violations.extend(mark.err());
                violations.extend(family.err().unwrap_or_default());
                Err(Error::from_violations(violations))
            }
        }
    }

    fn address_key(&self) -> Result<ServiceKey, Error> {
        let mut violations = Vec::new();
        let protocol = match self.protocol.as_deref() {
            None => Err(Violation::new("protocol", "is required: tcp, udp or sctp")),
            Some(text) => text
                .parse::<Protocol>()
                .map_err(|e| Violation::new("protocol", e.detail)),
        };
        let address = match self.address.as_deref() {
            None => Err(Violation::new(
                "address",
                "is required: an IPv4 or IPv6 address",
            )),
            Some(text) => parse_address(text).ok_or_else(|| {
                Violation::new(
                    "address",
                    format!("{text:?} is not an IPv4 or IPv6 address"),
                )
            }),
        };
        let port = in_range(self.port.unwrap_or(0), "port", 0, u16::MAX.into());
        if let (Ok(_), Some(family)) = (&address, self.family.as_deref()) {
            // An answer carries no family beside an address, so this is the client's own.
            violations.push(Violation::new(
                "family",
                format!("{family:?}: goes with fwmark; an address tells its family itself"),
            ));
        }
        match (protocol, address, port) {
            (Ok(protocol), Ok(address), Ok(port)) if violations.is_empty() => {
                Ok(ServiceKey::Address {
                    protocol,
                    address,
                    port,
                })
            }
            (protocol, address, port) => {
                violations.extend(protocol.err());
                violations.extend(address.err());
                violations.extend(port.err());
                Err(Error::from_violations(violations))
            }
        }
    }

    /// The configuration of a new service: this draft over the defaults.
    pub fn create(&self, key: ServiceKey) -> Result<ServiceConfig, Error> {
        let mut violations = Vec::new();
        match key {
            ServiceKey::Address {
                protocol: Protocol::Other(number),
                ..
            } => violations.push(Violation::new(
                "protocol",
                format!("{number}: IPVS has tcp, udp and sctp only"),
            )),
            ServiceKey::Fwmark { mark: 0, .. } => {
                violations.push(Violation::new("fwmark", NO_MARK));
            }
            _ => {}
        }
        let config = self.over(key, ServiceConfig::new(key.family()), true, &mut violations);
        if violations.is_empty() {
            Ok(config)
        } else {
            Err(Error::from_violations(violations))
        }
    }

    /// The configuration of a service after this draft is laid over what it has. Rules about
    /// several fields are held only where the draft touches one of them, so that what another
    /// program has set up oddly can still be drained or mended step by step.
    pub fn update(&self, key: ServiceKey, base: ServiceConfig) -> Result<ServiceConfig, Error> {
        let mut violations = Vec::new();
        if self.servers.is_some() {
            violations.push(Violation::new(
                "servers",
                "are not taken by an update: replace the service with its set, or change \
                 its servers one by one",
            ));
        }
        let config = self.over(key, base, false, &mut violations);
        if violations.is_empty() {
            Ok(config)
        } else {
            Err(Error::from_violations(violations))
        }
    }

    fn over(
        &self,
        key: ServiceKey,
        base: ServiceConfig,
        create: bool,
        violations: &mut Vec<Violation>,
    ) -> ServiceConfig {
        let mut config = base;
        let default = ServiceConfig::new(key.family());

        config.scheduler = match &self.scheduler {
            Field::Keep => base.scheduler,
            Field::Clear => default.scheduler,
            // 15: IP_VS_SCHEDNAME_MAXLEN with its NUL.
            Field::Set(name) => named(name, "scheduler", 15, violations).unwrap_or(base.scheduler),
        };
        config.scheduler_flags = match &self.scheduler_flags {
            Field::Keep if config.scheduler == base.scheduler => base.scheduler_flags,
            Field::Keep | Field::Clear => SchedulerFlags::default(),
            Field::Set(names) => SchedulerFlags::parse(names, config.scheduler.as_str())
                .unwrap_or_else(|bad| {
                    violations.extend(bad);
                    base.scheduler_flags
                }),
        };
        config.one_packet = self.one_packet.over(base.one_packet, false);
        config.persistence_engine = match &self.persistence_engine {
            Field::Keep => base.persistence_engine,
            Field::Clear => None,
            Field::Set(name) => named(name, "persistence_engine", Name::MAX, violations),
        };
        self.persistence_over(key.family(), &mut config, violations);

        if config.one_packet
            && (create || self.one_packet.is_mentioned())
            && matches!(key, ServiceKey::Address { protocol, .. } if protocol != Protocol::Udp)
        {
            violations.push(Violation::new(
                "one_packet",
                "is for udp services, and for firewall marks of udp packets, only",
            ));
        }
        if key.port() == Some(0)
            && config.persistence_timeout.is_none()
            && (create || self.persistence.is_mentioned())
        {
            violations.push(Violation::new(
                if create { "port" } else { "persistence" },
                "port 0 (any port) is for persistent services only: give the service a port, or \
                 persistence",
            ));
        }
        config
    }

    fn persistence_over(
        &self,
        family: Family,
        config: &mut ServiceConfig,
        violations: &mut Vec<Violation>,
    ) {
        match &self.persistence {
            Field::Keep => {}
            Field::Clear => {
                config.persistence_timeout = None;
                config.netmask = Netmask::full(family);
            }
            Field::Set(draft) => {
                config.netmask = mask(
                    &draft.netmask,
                    family,
                    config.netmask,
                    "persistence.netmask",
                    violations,
                );
                let base = config
                    .persistence_timeout
                    .unwrap_or(ServiceConfig::DEFAULT_TIMEOUT);
                config.persistence_timeout = Some(match draft.timeout_seconds {
                    Field::Keep => base,
                    Field::Clear => ServiceConfig::DEFAULT_TIMEOUT,
                    Field::Set(seconds) => {
                        let path = "persistence.timeout_seconds";
                        in_range(seconds, path, 1, ServiceConfig::MAX_TIMEOUT.into())
                            .unwrap_or_else(|bad| {
                                violations.push(bad);
                                base
                            })
                    }
                });
            }
        }
        if self.netmask.is_mentioned() {
            if config.persistence_timeout.is_some() {
                violations.push(Violation::new(
                    "netmask",
                    "the service is persistent: its netmask is persistence.netmask",
                ));
            } else {
                config.netmask = mask(&self.netmask, family, config.netmask, "netmask", violations);
            }
        }
    }
}

/// A netmask over what is there.
fn mask(
    field: &Field<MaskText>,
    family: Family,
    base: Netmask,
    path: &str,
    violations: &mut Vec<Violation>,
) -> Netmask {
    match field {
        Field::Keep => base,
        Field::Clear => Netmask::full(family),
        Field::Set(text) => Netmask::parse(text, family).unwrap_or_else(|message| {
            violations.push(Violation::new(path, message));
            base
        }),
    }
}
