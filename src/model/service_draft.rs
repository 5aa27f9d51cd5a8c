//! Virtual services in requests: the draft, and its validation.

use std::fmt::Display;

use serde::{Deserialize, de::IgnoredAny};

use super::{
    Error, Family, Field, HealthCheckDraft, Labels, LabelsDraft, MaskText, Name, Netmask, Protocol,
    SchedulerFlags, ServerDraft, ServiceConfig, ServiceKey, StoredFields, StoredTarget, Violation,
    both,
    check::{
        accept, address, contradiction, in_range, kernel_name, number, parse_id, port, same_object,
    },
    integer,
    key::parse_address,
    object,
};

/// A virtual service in a request. An absent field keeps the current value (PATCH) or takes the
/// default (POST, PUT); `null` sets the default.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceDraft {
    /// Id, instead of the fields that identify the service. If both are given, they must agree.
    pub id: Option<String>,
    /// Transport protocol.
    pub protocol: Option<String>,
    /// Virtual address, IPv4 or IPv6.
    pub address: Option<String>,
    /// Port. 0 means any port and requires `persistence`. Default 0.
    #[serde(default, deserialize_with = "integer::option")]
    pub port: Option<i64>,
    /// Firewall mark, instead of protocol, address and port.
    #[serde(default, deserialize_with = "integer::option")]
    pub fwmark: Option<i64>,
    /// Address family of the packets with this `fwmark`. Default `ipv4`.
    pub family: Option<String>,
    /// Scheduler by the kernel's name, up to 15 characters. Default `wlc`.
    #[serde(default)]
    pub scheduler: Field<String>,
    /// Flags of the scheduler: `sh-fallback`, `sh-port` (sh), `mh-fallback`, `mh-port` (mh),
    /// `flag-1`, `flag-2`, `flag-3` (any). Default none; reset when the scheduler changes.
    #[serde(default)]
    pub scheduler_flags: Field<Vec<String>>,
    /// One-packet scheduling: each packet is scheduled separately. UDP and fwmark services only.
    /// Default false.
    #[serde(default)]
    pub one_packet: Field<bool>,
    /// Persistence: connections of one client go to the same server. `{}` sets the defaults, `null`
    /// disables it. Default none.
    #[serde(default, deserialize_with = "object::field")]
    pub persistence: Field<PersistenceDraft>,
    /// Netmask that the kernel stores for a service without persistence, where it has no effect.
    /// A persistent service has `persistence.netmask` instead.
    #[serde(default)]
    pub netmask: Field<MaskText>,
    /// Persistence engine, such as `sip`, up to 16 characters. Default none.
    #[serde(default)]
    pub persistence_engine: Field<String>,
    /// Labels: values by keys. PATCH merges them into those that there are, and `null` removes one. `{}` in a PUT,
    /// and `null`, remove all. If absent, those that there are stay.
    #[serde(default)]
    pub labels: Field<LabelsDraft>,
    /// Health check. PATCH merges its fields into those that there are. `{}` in a PUT, and `null`, remove it. If
    /// absent, the one that there is stays.
    #[serde(default, deserialize_with = "object::boxed")]
    pub health_check: Field<Box<HealthCheckDraft>>,
    /// Real servers. POST creates them with the service; PUT replaces the whole set. PATCH does not
    /// accept the field. If absent, the servers are unchanged.
    #[serde(default, deserialize_with = "object::list")]
    pub servers: Option<Vec<ServerDraft>>,
    server_count: Option<IgnoredAny>,
    stats: Option<IgnoredAny>,
    rates: Option<IgnoredAny>,
    etag: Option<IgnoredAny>,
    owner: Option<IgnoredAny>,
    changed: Option<IgnoredAny>,
    server_order_differs: Option<IgnoredAny>,
}

/// Persistence in a request.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersistenceDraft {
    /// Seconds for which a client is bound to its server after its last connection. Default 300.
    #[serde(default, deserialize_with = "integer::field")]
    pub timeout_seconds: Field<i64>,
    /// Dotted quad for IPv4, prefix length 1 to 128 for IPv6. Default: the whole address.
    #[serde(default)]
    pub netmask: Field<MaskText>,
}

const INVALID_MARK: &str = "must be 1 to 4294967295 (0 is the mark of unmarked packets)";
/// `IP_VS_SCHEDNAME_MAXLEN` without the NUL.
const MAX_SCHEDULER_NAME: usize = 15;

// === impl ServiceDraft ===

impl ServiceDraft {
    /// The key that the draft names by `id` or by its fields; `None` if it names none.
    pub fn key(&self) -> Result<Option<ServiceKey>, Error> {
        match self.id() {
            Some(Ok(id)) => accept(
                Some(id),
                self.contradictions(id, &format_args!("the id {id}")),
            ),
            Some(Err(violation)) => {
                let invalid = self.identifying().into_iter().filter_map(Result::err);
                Err(Error::from_violations(
                    [violation].into_iter().chain(invalid).collect(),
                ))
            }
            None if self.fwmark.is_some() => self.fwmark_key().map(Some),
            None if self.protocol.is_some() || self.address.is_some() || self.port.is_some() => {
                self.address_key().map(Some)
            }
            None if self.family.is_some() => Err(Error::invalid("family", "requires fwmark")),
            None => Ok(None),
        }
    }

    /// Checks that the draft names no other service than `key`, that of the request path.
    pub fn check_key(&self, key: ServiceKey) -> Result<(), Error> {
        same_object(key, self.id(), |key, named| self.contradictions(key, named))
    }

    /// A key with which the other fields can be checked while that of the draft is invalid: it
    /// restricts them as little as possible.
    pub fn provisional_key(&self) -> ServiceKey {
        let servers = self.servers.iter().flatten();
        let addresses = servers.filter_map(|server| server.address.as_deref());
        let mut addresses = self.address.as_deref().into_iter().chain(addresses);
        let family = addresses.find_map(parse_address).map(Family::of);
        ServiceKey::Fwmark {
            family: family.unwrap_or(Family::Ipv4),
            mark: 1,
        }
    }

    fn id(&self) -> Option<Result<ServiceKey, Violation>> {
        parse_id(self.id.as_deref())
    }

    /// The identifying fields that are present, besides `id`: name and canonical value.
    fn identifying(&self) -> Vec<Result<(&'static str, String), Violation>> {
        let protocol = self.protocol.as_deref().map(protocol);
        let address = self.address.as_deref().map(address);
        let family = self.family.as_deref().map(family);
        [
            protocol.map(|value| Ok(("protocol", value?.to_string()))),
            address.map(|value| Ok(("address", value?.to_string()))),
            self.port
                .map(|value| Ok(("port", port(value)?.to_string()))),
            self.fwmark
                .map(|value| Ok(("fwmark", mark(value)?.to_string()))),
            family.map(|value| Ok(("family", value?.to_string()))),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The identifying fields that are not those of `key`, which `named` describes.
    fn contradictions(&self, key: ServiceKey, named: &dyn Display) -> Vec<Violation> {
        let expected = match key {
            ServiceKey::Address {
                protocol,
                address,
                port,
            } => vec![
                ("protocol", protocol.to_string()),
                ("address", address.to_string()),
                ("port", port.to_string()),
            ],
            ServiceKey::Fwmark { family, mark } => {
                vec![("fwmark", mark.to_string()), ("family", family.to_string())]
            }
        };
        let fields = self.identifying().into_iter();
        fields
            .filter_map(|field| match field {
                Ok(field) if expected.contains(&field) => None,
                Ok((name, value)) => Some(contradiction(name, &value, named)),
                Err(violation) => Some(violation),
            })
            .collect()
    }

    fn fwmark_key(&self) -> Result<ServiceKey, Error> {
        let mut violations = Vec::new();
        for (field, present) in [
            ("protocol", self.protocol.is_some()),
            ("address", self.address.is_some()),
            ("port", self.port.is_some()),
        ] {
            if present {
                violations.push(Violation::new(field, "cannot be combined with fwmark"));
            }
        }
        let mark = mark(self.fwmark.unwrap_or(0));
        let family = self.family.as_deref().map_or(Ok(Family::Ipv4), family);
        match (mark, family) {
            (Ok(mark), Ok(family)) if violations.is_empty() => {
                Ok(ServiceKey::Fwmark { family, mark })
            }
            (mark, family) => {
                violations.extend(mark.err());
                violations.extend(family.err());
                Err(Error::from_violations(violations))
            }
        }
    }

    fn address_key(&self) -> Result<ServiceKey, Error> {
        let mut violations = Vec::new();
        let protocol = match self.protocol.as_deref() {
            None => Err(Violation::new("protocol", "is required: tcp, udp or sctp")),
            Some(text) => protocol(text),
        };
        let address = match self.address.as_deref() {
            None => Err(Violation::new(
                "address",
                "is required: an IPv4 or IPv6 address",
            )),
            Some(text) => address(text),
        };
        let port = port(self.port.unwrap_or(0));
        if let (Ok(_), Some(family)) = (&address, self.family.as_deref()) {
            // Responses have no family beside an address, so the client added it.
            violations.push(Violation::new(
                "family",
                format!("{family:?}: only valid with fwmark; an address implies its family"),
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

    /// The configuration of a new service: the draft applied to the defaults.
    pub fn create(&self, key: ServiceKey) -> Result<ServiceConfig, Error> {
        let mut violations = Vec::new();
        match key {
            ServiceKey::Address {
                protocol: Protocol::Other(number),
                ..
            } => violations.push(Violation::new(
                "protocol",
                format!("{number} is not supported by IPVS: tcp, udp or sctp"),
            )),
            ServiceKey::Fwmark { mark: 0, .. } => {
                violations.push(Violation::new("fwmark", INVALID_MARK));
            }
            _ => {}
        }
        let config = self.apply(key, ServiceConfig::new(key.family()), true, &mut violations);
        accept(config, violations)
    }

    /// The configuration that replaces that of an existing service: absent fields take the default.
    /// As in [`update`](Self::update), a value that the service has is accepted, so that what was
    /// read can be sent back.
    pub fn replace(&self, key: ServiceKey, present: ServiceConfig) -> Result<ServiceConfig, Error> {
        let whole = Self {
            scheduler: self.scheduler.clone().or_clear(),
            scheduler_flags: self.scheduler_flags.clone().or_clear(),
            one_packet: self.one_packet.or_clear(),
            persistence: match self.persistence.clone() {
                Field::Set(draft) => Field::Set(PersistenceDraft {
                    timeout_seconds: draft.timeout_seconds.or_clear(),
                    netmask: draft.netmask.or_clear(),
                }),
                persistence => persistence.or_clear(),
            },
            // Cleared with the persistence.
            netmask: self.netmask.clone(),
            persistence_engine: self.persistence_engine.clone().or_clear(),
            ..Self::default()
        };
        whole.update(key, present)
    }

    /// The configuration of an existing service: the draft applied to `base`. A value that the service
    /// has is accepted. Rules about several fields are checked only if the draft changes one of them,
    /// so that a configuration that another program set in violation of the rules can still be changed
    /// step by step.
    pub fn update(&self, key: ServiceKey, base: ServiceConfig) -> Result<ServiceConfig, Error> {
        let mut violations = Vec::new();
        if self.servers.is_some() {
            violations.push(Violation::new(
                "servers",
                "not accepted by an update: replace the service with its servers, or change \
                 each server",
            ));
        }
        let config = self.apply(key, base, false, &mut violations);
        accept(config, violations)
    }

    /// The stored fields that a draft of a whole service names.
    pub fn whole_stored(&self, key: ServiceKey) -> Result<StoredTarget, Error> {
        let check = match &self.health_check {
            Field::Keep => Ok(None),
            Field::Clear => Ok(Some(None)),
            Field::Set(draft) if draft.is_empty() => Ok(Some(None)),
            Field::Set(draft) => {
                let check = draft.apply(None, key);
                check.map(|check| Some(Some(check.into())))
            }
        };
        let (labels, health_check) = both(self.whole_labels(), check)?;
        Ok(StoredTarget {
            labels,
            health_check,
        })
    }

    /// The stored fields of a service that has `base`, after an update: what the draft names is merged into them.
    pub fn updated_stored(
        &self,
        key: ServiceKey,
        base: &StoredFields,
    ) -> Result<StoredFields, Error> {
        let check = match &self.health_check {
            Field::Keep => Ok(base.health_check.clone()),
            Field::Clear => Ok(None),
            Field::Set(draft) if draft.is_empty() => Ok(base.health_check.clone()),
            Field::Set(draft) => {
                let check = draft.apply(base.health_check.as_deref(), key);
                check.map(|check| Some(check.into()))
            }
        };
        let (labels, health_check) = both(self.updated_labels(&base.labels), check)?;
        Ok(StoredFields {
            labels,
            health_check,
        })
    }

    /// The labels that a draft of a whole service names; `None`: it names none, so that those that there are stay.
    pub fn whole_labels(&self) -> Result<Option<Labels>, Error> {
        match &self.labels {
            Field::Keep => Ok(None),
            Field::Clear => Ok(Some(Labels::default())),
            Field::Set(draft) => draft.apply(&Labels::default()).map(Some),
        }
    }

    /// The labels of a service that has `base`, after an update: what the draft names is merged into them.
    pub fn updated_labels(&self, base: &Labels) -> Result<Labels, Error> {
        match &self.labels {
            Field::Keep => Ok(base.clone()),
            Field::Clear => Ok(Labels::default()),
            Field::Set(draft) => draft.apply(base),
        }
    }

    fn apply(
        &self,
        key: ServiceKey,
        base: ServiceConfig,
        create: bool,
        violations: &mut Vec<Violation>,
    ) -> ServiceConfig {
        let mut config = base;
        config.scheduler = match &self.scheduler {
            Field::Keep => base.scheduler,
            Field::Clear => ServiceConfig::new(key.family()).scheduler,
            Field::Set(name) => kernel_name(name, "scheduler", MAX_SCHEDULER_NAME, violations)
                .unwrap_or(base.scheduler),
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
        config.one_packet = self.one_packet.resolve(base.one_packet, false);
        config.persistence_engine = match &self.persistence_engine {
            Field::Keep => base.persistence_engine,
            Field::Clear => None,
            Field::Set(name) => kernel_name(name, "persistence_engine", Name::MAX, violations),
        };
        self.apply_persistence(key.family(), &mut config, violations);
        Self::check_combinations(key, &config, (!create).then_some(&base), violations);
        config
    }

    fn apply_persistence(
        &self,
        family: Family,
        config: &mut ServiceConfig,
        violations: &mut Vec<Violation>,
    ) {
        let present = config.netmask;
        match &self.persistence {
            Field::Keep => {}
            Field::Clear => {
                config.persistence_timeout = None;
                config.netmask = Netmask::full(family);
            }
            Field::Set(draft) => {
                config.netmask = config.netmask.updated(
                    &draft.netmask,
                    family,
                    "persistence.netmask",
                    violations,
                );
                let default = ServiceConfig::DEFAULT_TIMEOUT;
                config.persistence_timeout = Some(number(
                    &draft.timeout_seconds,
                    "persistence.timeout_seconds",
                    (config.persistence_timeout.unwrap_or(default), default),
                    (1, ServiceConfig::MAX_TIMEOUT.into()),
                    violations,
                ));
            }
        }
        if self.netmask.is_present() {
            if config.persistence_timeout.is_some() {
                violations.push(Violation::new(
                    "netmask",
                    "only valid without persistence: set persistence.netmask",
                ));
            } else {
                config.netmask = present.updated(&self.netmask, family, "netmask", violations);
            }
        }
    }

    /// `present` is the configuration of a service that exists.
    fn check_combinations(
        key: ServiceKey,
        config: &ServiceConfig,
        present: Option<&ServiceConfig>,
        violations: &mut Vec<Violation>,
    ) {
        if config.one_packet
            && present.is_none_or(|present| !present.one_packet)
            && matches!(key, ServiceKey::Address { protocol, .. } if protocol != Protocol::Udp)
        {
            violations.push(Violation::new(
                "one_packet",
                "only valid for UDP and fwmark services",
            ));
        }
        if key.port() == Some(0)
            && config.persistence_timeout.is_none()
            && present.is_none_or(|present| present.persistence_timeout.is_some())
        {
            violations.push(Violation::new(
                if present.is_none() {
                    "port"
                } else {
                    "persistence"
                },
                "port 0 (any port) requires persistence: set a port or persistence",
            ));
        }
    }
}

fn protocol(text: &str) -> Result<Protocol, Violation> {
    text.parse()
        .map_err(|error: Error| Violation::new("protocol", error.detail))
}

fn mark(number: i64) -> Result<u32, Violation> {
    match number {
        0 => Err(Violation::new("fwmark", INVALID_MARK)),
        number => in_range(number, "fwmark", 1, u32::MAX.into()),
    }
}

fn family(text: &str) -> Result<Family, Violation> {
    text.parse()
        .map_err(|error: Error| Violation::new("family", error.detail))
}
