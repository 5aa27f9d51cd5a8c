//! Virtual servers with their real servers.

use std::{collections::HashMap, net::IpAddr};

use super::{
    addresses::{Entry, Group, family, invalid, parsed, port},
    statements::{Statement, Word},
};
use crate::{
    cli::{
        conversion::{Conversion, Place},
        error::CliError,
    },
    model::{
        Checksum, Family, Forwarding, Name, Netmask, Op, Protocol, SchedulerFlags, ServerConfig,
        ServerKey, ServiceConfig, ServiceKey, StoredFields, Tunnel, TunnelType,
    },
};

/// What is set for all services of a virtual server.
#[derive(Debug, Default)]
struct VirtualServer {
    scheduler: Option<Name>,
    /// Names of scheduler flags.
    flags: Vec<Word>,
    /// The statement `ops`.
    one_packet: Option<Place>,
    method: Option<Method>,
    timeout: Option<u32>,
    granularity: Option<Word>,
    engine: Option<Name>,
    protocol: Option<Protocol>,
    family: Option<Family>,
    servers: Vec<RealServer>,
}

#[derive(Debug)]
struct RealServer {
    address: IpAddr,
    port: Option<u16>,
    method: Option<Method>,
    weight: u32,
    upper_threshold: u32,
    lower_threshold: u32,
    place: Place,
}

/// How packets are forwarded.
#[derive(Clone, Copy, Debug)]
struct Method(Forwarding, Tunnel);

/// Persistence in seconds if the configuration has none. Not that of ipvsadm.
const DEFAULT_TIMEOUT: u32 = 360;
const NAT: Method = Method(
    Forwarding::Masquerade,
    Tunnel {
        kind: TunnelType::Ipip,
        port: 0,
        checksum: Checksum::None,
    },
);

/// Adds the services of a virtual server.
pub(super) fn read(
    statement: &Statement,
    groups: &HashMap<String, Group>,
    conversion: &mut Conversion,
) -> Result<(), CliError> {
    let first = statement.argument(0, "address, fwmark or group", conversion)?;
    let (own, is_group);
    let entries: &[Entry] = match first.text.as_str() {
        "group" => {
            is_group = true;
            let name = statement.argument(1, "name of a group", conversion)?;
            let group = groups.get(&name.text);
            let group = group.ok_or_else(|| invalid(name, "a virtual_server_group", conversion))?;
            &group.0
        }
        _ => {
            is_group = false;
            own = Entry::read(first, &statement.arguments[1..], conversion)?;
            std::slice::from_ref(&own)
        }
    };
    let server = VirtualServer::read(statement, conversion)?;
    let place = statement.place();
    if server.servers.is_empty() {
        let text = "virtual_server without real servers, which keepalived ignores: left out";
        conversion.note(place, text);
        return Ok(());
    }
    let is_by_address = |entry: &Entry| matches!(entry, Entry::Addresses { .. });
    if server.protocol.is_none() && entries.iter().any(is_by_address) {
        let text = "virtual_server without protocol: udp, as keepalived takes it";
        conversion.note(place, text);
    }
    let config = server.config(entries, conversion)?;
    let protocol = server.protocol.unwrap_or(Protocol::Udp);
    for entry in entries {
        let objects = entry.count().saturating_mul(1 + server.servers.len());
        conversion.check_size(objects, entry.place())?;
        // Those of a group have a line of their own.
        let place = if is_group { entry.place() } else { place };
        for key in entry.keys(protocol, server.family()) {
            server.add(key, config, is_group, place, conversion)?;
        }
    }
    Ok(())
}

// === impl VirtualServer ===

impl VirtualServer {
    fn read(statement: &Statement, conversion: &mut Conversion) -> Result<Self, CliError> {
        let mut server = Self::default();
        for setting in &statement.block {
            let value = |what| setting.argument(0, what, conversion);
            match setting.keyword() {
                "lb_algo" | "lvs_sched" => {
                    server.scheduler = Some(name(value("scheduler")?, 15, conversion)?);
                }
                "lb_kind" | "lvs_method" => server.method = Some(method(setting, conversion)?),
                "flag-1" | "flag-2" | "flag-3" | "sh-port" | "sh-fallback" | "mh-port"
                | "mh-fallback" => server.flags.push(setting.first().clone()),
                "ops" => server.one_packet = Some(setting.place()),
                "persistence_timeout" => {
                    server.timeout = Some(match setting.arguments.first() {
                        Some(word) => number(word, 1, ServiceConfig::MAX_TIMEOUT, conversion)?,
                        None => DEFAULT_TIMEOUT,
                    });
                }
                "persistence_granularity" => {
                    server.granularity = Some(value("netmask")?.clone());
                }
                "persistence_engine" => {
                    server.engine = Some(name(value("engine")?, Name::MAX, conversion)?);
                }
                "protocol" => {
                    let word = value("protocol")?;
                    let protocol = match word.text.to_ascii_lowercase().as_str() {
                        "tcp" => Protocol::Tcp,
                        "udp" => Protocol::Udp,
                        "sctp" => Protocol::Sctp,
                        _ => return Err(invalid(word, "tcp, udp or sctp", conversion)),
                    };
                    server.protocol = Some(protocol);
                }
                "ip_family" => server.family = Some(family(value("family")?, conversion)?),
                "real_server" => server.servers.push(RealServer::read(setting, conversion)?),
                // Set by the kernel for every service.
                "hashed" => {}
                _ => setting.leave_out(conversion),
            }
        }
        Ok(server)
    }

    /// The family of services by firewall mark, by the first of what decides it.
    fn family(&self) -> Family {
        let by_mask = self
            .granularity
            .as_ref()
            .map(|word| match word.text.contains('.') {
                true => Family::Ipv4,
                false => Family::Ipv6,
            });
        let families = |is_wanted: fn(&Method) -> bool| {
            let servers = self.servers.iter();
            let servers = servers.filter(move |server| is_wanted(&self.method_of(server)));
            servers.map(|server| Family::of(server.address))
        };
        let by_server = || families(|method| method.0 != Forwarding::Tunnel).next();
        let by_all = || {
            let mut all = families(|_| true);
            let first = all.next()?;
            all.all(|family| family == first).then_some(first)
        };
        let family = self.family.or(by_mask).or_else(by_server);
        family.or_else(by_all).unwrap_or(Family::Ipv4)
    }

    fn method_of(&self, server: &RealServer) -> Method {
        server.method.or(self.method).unwrap_or(NAT)
    }

    /// The configuration of the services. The netmask is that of `persistence_granularity`, or that of the
    /// whole address in IPv4.
    fn config(
        &self,
        entries: &[Entry],
        conversion: &mut Conversion,
    ) -> Result<ServiceConfig, CliError> {
        let mut config = ServiceConfig::new(Family::Ipv4);
        config.scheduler = self.scheduler.unwrap_or(config.scheduler);
        for flag in &self.flags {
            let scheduler = config.scheduler;
            match SchedulerFlags::parse(std::slice::from_ref(&flag.text), scheduler.as_str()) {
                Ok(flags) => {
                    let bits = config.scheduler_flags.bits() | flags.bits();
                    config.scheduler_flags = SchedulerFlags::from_bits(bits);
                }
                Err(_) => {
                    let text = format!("{} is no flag of {scheduler}: left out", flag.text);
                    conversion.note(flag.place, &text);
                }
            }
        }
        let default = self.granularity.is_some() || entries.iter().any(Entry::has_any_port);
        config.persistence_timeout = self.timeout.or(default.then_some(DEFAULT_TIMEOUT));
        config.persistence_engine = self.engine;
        if let Some(word) = &self.granularity {
            let mask = word.text.parse().map(Netmask::V4).ok();
            let length = || word.text.parse().ok().map(Netmask::V6);
            let is_mask = |mask: &Netmask| !matches!(mask, Netmask::V6(0 | 129..));
            let mask = mask.or_else(length).filter(is_mask);
            config.netmask = mask.ok_or_else(|| {
                let what = "a netmask, such as 255.255.255.0, or a prefix length, 1 to 128";
                invalid(word, what, conversion)
            })?;
        }
        Ok(config)
    }

    /// Adds a service with its servers.
    fn add(
        &self,
        key: ServiceKey,
        mut config: ServiceConfig,
        is_group: bool,
        place: Place,
        conversion: &mut Conversion,
    ) -> Result<(), CliError> {
        match (&self.granularity, key.family(), config.netmask) {
            (None, family, _) => config.netmask = Netmask::full(family),
            (Some(_), Family::Ipv4, Netmask::V4(_)) | (Some(_), Family::Ipv6, Netmask::V6(_)) => {}
            (Some(word), family, _) => {
                let what = format!("a netmask of {family}, the family of {key}");
                return Err(invalid(word, &what, conversion));
            }
        }
        let is_stream = matches!(
            key,
            ServiceKey::Address {
                protocol: Protocol::Tcp | Protocol::Sctp,
                ..
            }
        );
        match self.one_packet {
            Some(place) if is_stream => conversion.note(place, "ops without udp: left out"),
            Some(_) => config.one_packet = true,
            None => {}
        }
        if conversion
            .apply(
                &Op::CreateService(key, config, StoredFields::default()),
                place,
            )
            .is_err()
        {
            conversion.note(place, &format!("{key} is declared twice: left out"));
            return Ok(());
        }
        for server in &self.servers {
            self.add_server(key, server, is_group, conversion);
        }
        Ok(())
    }

    fn add_server(
        &self,
        service: ServiceKey,
        server: &RealServer,
        is_group: bool,
        conversion: &mut Conversion,
    ) {
        let Method(forwarding, tunnel) = self.method_of(server);
        let address = server.address;
        if forwarding != Forwarding::Tunnel && Family::of(address) != service.family() {
            let family = service.family();
            let text = format!("real_server {address} of {family} services: left out");
            conversion.note(server.place, &text);
            return;
        }
        let own = service.port().unwrap_or(0);
        let port = match forwarding {
            // Without a port, that of the packet. It is also that of the service, if there is only one.
            Forwarding::Masquerade => server.port.unwrap_or(if is_group { 0 } else { own }),
            _ => own,
        };
        let key = ServerKey { address, port };
        let config = ServerConfig {
            forwarding,
            weight: server.weight,
            upper_threshold: server.upper_threshold,
            lower_threshold: server.lower_threshold,
            tunnel,
        };
        let op = Op::CreateServer(service, key, config);
        if conversion.apply(&op, server.place).is_err() {
            let text = format!("real_server {address} is declared twice: left out");
            conversion.note(server.place, &text);
        }
    }
}

// === impl RealServer ===

impl RealServer {
    fn read(statement: &Statement, conversion: &mut Conversion) -> Result<Self, CliError> {
        let address = statement.argument(0, "address", conversion)?;
        let mut server = Self {
            address: parsed(address, "an address", conversion)?,
            port: port(statement.arguments.get(1), conversion)?,
            method: None,
            weight: 1,
            upper_threshold: 0,
            lower_threshold: 0,
            place: statement.place(),
        };
        for setting in &statement.block {
            let value = || {
                let word = setting.argument(0, "number", conversion)?;
                number(word, 0, ServerConfig::MAX_THRESHOLD, conversion)
            };
            match setting.keyword() {
                "weight" => server.weight = value()?,
                "uthreshold" => server.upper_threshold = value()?,
                "lthreshold" => server.lower_threshold = value()?,
                "lb_kind" | "lvs_method" => server.method = Some(method(setting, conversion)?),
                _ => setting.leave_out(conversion),
            }
        }
        Ok(server)
    }
}

/// `NAT`, `DR`, or `TUN [type {ipip|gue port NUMBER|gre} [nocsum|csum|remcsum]]`.
fn method(statement: &Statement, conversion: &Conversion) -> Result<Method, CliError> {
    let method = statement.argument(0, "NAT, DR or TUN", conversion)?;
    let mut tunnel = Tunnel::default();
    let forwarding = match method.text.as_str() {
        "NAT" => Forwarding::Masquerade,
        "DR" => Forwarding::Direct,
        "TUN" => Forwarding::Tunnel,
        _ => return Err(invalid(method, "NAT, DR or TUN", conversion)),
    };
    let mut words = statement.arguments[1..].iter();
    while let Some(word) = words.next() {
        match word.text.as_str() {
            "type" => {
                let kind = words.next().unwrap_or(word);
                tunnel.kind = match kind.text.as_str() {
                    "ipip" => TunnelType::Ipip,
                    "gue" => TunnelType::Gue,
                    "gre" => TunnelType::Gre,
                    _ => return Err(invalid(kind, "ipip, gue or gre", conversion)),
                };
            }
            "port" => {
                let number = words.next().unwrap_or(word);
                tunnel.port = parsed(number, "a port, 1 to 65535", conversion)?;
            }
            "nocsum" => tunnel.checksum = Checksum::None,
            "csum" => tunnel.checksum = Checksum::Checksum,
            "remcsum" => tunnel.checksum = Checksum::Remote,
            _ => return Err(invalid(word, "an option of a tunnel", conversion)),
        }
    }
    Ok(Method(forwarding, tunnel))
}

fn name(word: &Word, max: usize, conversion: &Conversion) -> Result<Name, CliError> {
    let what = format!("a name of 1 to {max} visible characters");
    Name::new(&word.text, max).ok_or_else(|| invalid(word, &what, conversion))
}

fn number(word: &Word, min: u32, max: u32, conversion: &Conversion) -> Result<u32, CliError> {
    let what = format!("a number from {min} to {max}");
    let number = parsed(word, &what, conversion)?;
    match (min..=max).contains(&number) {
        true => Ok(number),
        false => Err(invalid(word, &what, conversion)),
    }
}
