//! What the options' values make of a service, a server, a daemon, in the order of the words.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    address,
    compat::Given,
    error::{Checked, Usage},
    names::Resolver,
    number,
    option::{Command, Opt, Which},
};
use crate::model::{
    Checksum, Family, Forwarding, Name, Netmask, Protocol, SchedulerFlags, ServerConfig, ServerKey,
    ServiceConfig, ServiceKey, SyncDaemonConfig, SyncState, Timeouts, Tunnel, TunnelType,
};

/// Values so far, beginning with the defaults.
pub(super) struct Values<'a> {
    resolver: &'a dyn Resolver,
    pub given: Given,
    /// `--nosort`, unless a later `--sort` takes it back.
    pub unsorted: bool,
    protocol: Option<Protocol>,
    address: IpAddr,
    port: u16,
    mark: u32,
    family: Family,
    config: ServiceConfig,
    flags: Option<String>,
    /// The real server, with the port that it has unless forwarding forces another.
    pub server: ServerKey,
    server_config: ServerConfig,
    tunnel: Tunnel,
    daemon: SyncDaemonConfig,
}

/// Bytes that the original keeps of `-b`.
const FLAGS_MAX: usize = 127;

// === impl Values ===

impl<'a> Values<'a> {
    pub(super) fn new(resolver: &'a dyn Resolver) -> Self {
        let anywhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Self {
            resolver,
            given: Given::default(),
            unsorted: false,
            protocol: None,
            address: anywhere,
            port: 0,
            mark: 0,
            family: Family::Ipv4,
            config: ServiceConfig::new(Family::Ipv4),
            flags: None,
            server: ServerKey {
                address: anywhere,
                port: 0,
            },
            server_config: ServerConfig::default(),
            tunnel: Tunnel::default(),
            daemon: SyncDaemonConfig {
                state: SyncState::Master,
                interface: Name::from_kernel(b"eth0"),
                sync_id: 0,
                max_length: None,
                multicast_group: SyncDaemonConfig::GROUP,
                multicast_port: SyncDaemonConfig::PORT,
                multicast_ttl: SyncDaemonConfig::TTL,
            },
        }
    }

    /// The value of the command itself: master or backup.
    pub(super) fn state(&mut self, command: Command, text: &str) -> Checked<()> {
        let fault = match command {
            Command::StartDaemon => Usage::StartDaemon,
            Command::StopDaemon => Usage::StopDaemon,
            _ => return Ok(()),
        };
        self.daemon.state = text.parse().map_err(|_| fault)?;
        Ok(())
    }

    /// `-6`.
    pub(super) fn ipv6(&mut self) -> Checked<()> {
        if self.mark == 0 {
            return Err(Usage::FamilyBeforeMark);
        }
        self.turn_ipv6();
        Ok(())
    }

    /// Any netmask from before is lost with the old family.
    fn turn_ipv6(&mut self) {
        self.family = Family::Ipv6;
        self.config.netmask = Netmask::full(Family::Ipv6);
    }

    /// An option with its value.
    pub(super) fn take(&mut self, opt: Opt, which: Which, value: Option<&str>) -> Checked<()> {
        self.given.add(opt)?;
        let text = value.unwrap_or_default();
        match opt {
            Opt::Service if which == Which::Fwmark => {
                self.protocol = Some(protocol_of(which));
                self.mark = number::in_range(text, 1, u32::MAX.into())
                    .ok_or_else(|| Usage::Fwmark(text.to_owned()))?;
            }
            Opt::Service => {
                self.protocol = Some(protocol_of(which));
                let read = address::parse(text, self.protocol, self.resolver)
                    .ok_or(Usage::ServiceAddress)?;
                self.address = read.address;
                self.port = read.port.unwrap_or(0);
                if read.address.is_ipv6() {
                    self.turn_ipv6();
                }
            }
            Opt::Scheduler => self.config.scheduler = scheduler(text),
            Opt::Persistent => {
                self.config.persistence_timeout = Some(match value {
                    Some(text) => timeout(text, 1)?,
                    // The manual's; the original uses 360.
                    None => ServiceConfig::DEFAULT_TIMEOUT,
                });
            }
            Opt::Netmask => self.config.netmask = self.netmask(text)?,
            Opt::Engine => {
                let name = Name::from_kernel(text.as_bytes());
                self.config.persistence_engine = (!name.as_str().is_empty()).then_some(name);
            }
            Opt::SchedFlags => {
                let mut flags = text.to_owned();
                address::cut(&mut flags, FLAGS_MAX);
                self.flags = Some(flags);
            }
            Opt::Ops => self.config.one_packet = true,
            Opt::Server => {
                let read = address::parse(text, self.protocol, self.resolver)
                    .ok_or(Usage::ServerAddress)?;
                self.server = ServerKey {
                    address: read.address,
                    port: read.port.unwrap_or(self.port),
                };
            }
            Opt::Forwarding => {
                self.server_config.forwarding = match which {
                    Which::Tunnel => Forwarding::Tunnel,
                    Which::Masquerade => Forwarding::Masquerade,
                    _ => Forwarding::Direct,
                };
            }
            Opt::Weight => {
                self.server_config.weight = ranged(text, ServerConfig::MAX_WEIGHT, "weight")?;
            }
            Opt::UpperThreshold => {
                self.server_config.upper_threshold =
                    ranged(text, ServerConfig::MAX_THRESHOLD, "u_threshold")?;
            }
            Opt::LowerThreshold => {
                self.server_config.lower_threshold =
                    ranged(text, ServerConfig::MAX_THRESHOLD, "l_threshold")?;
            }
            Opt::TunType => {
                self.tunnel.kind = match text {
                    "ipip" => TunnelType::Ipip,
                    "gue" => TunnelType::Gue,
                    "gre" => TunnelType::Gre,
                    _ => return Err(Usage::TunnelType),
                };
            }
            Opt::TunPort => {
                self.tunnel.port = number::in_range(text, 1, u16::MAX.into())
                    .ok_or(Usage::Number("tunnel port"))?;
            }
            Opt::TunNoCsum => self.tunnel.checksum = Checksum::None,
            Opt::TunCsum => self.tunnel.checksum = Checksum::Checksum,
            Opt::TunRemCsum => self.tunnel.checksum = Checksum::Remote,
            Opt::NoSort => self.unsorted = true,
            _ => self.take_for_daemon(opt, text)?,
        }
        Ok(())
    }

    fn take_for_daemon(&mut self, opt: Opt, text: &str) -> Checked<()> {
        match opt {
            // 15: IFNAMSIZ with its NUL. An empty one is the default.
            Opt::McastInterface => {
                let end = text.len().min(15);
                if !text.is_empty() {
                    self.daemon.interface = Name::from_kernel(&text.as_bytes()[..end]);
                }
            }
            Opt::SyncId => {
                self.daemon.sync_id =
                    number::in_range(text, 0, 255).ok_or(Usage::Number("syncid"))?;
            }
            Opt::SyncMaxlen => {
                let length = number::in_range(text, 1, 65_507);
                self.daemon.max_length = Some(length.ok_or(Usage::Number("sync-maxlen"))?);
            }
            Opt::McastGroup => self.daemon.multicast_group = group(text)?,
            Opt::McastPort => {
                self.daemon.multicast_port = number::in_range(text, 1, u16::MAX.into())
                    .ok_or(Usage::Number("mcast-port"))?;
            }
            Opt::McastTtl => {
                self.daemon.multicast_ttl =
                    number::in_range(text, 1, 255).ok_or(Usage::Number("mcast-ttl"))?;
            }
            // Flags of a listing, which are noted and no more.
            _ => {}
        }
        Ok(())
    }

    fn netmask(&self, text: &str) -> Checked<Netmask> {
        match self.family {
            Family::Ipv4 => address::ipv4(text, self.resolver)
                .map(Netmask::V4)
                .ok_or(Usage::Netmask),
            Family::Ipv6 => u32::try_from(number::leading(text))
                .ok()
                .filter(|length| (1..=128).contains(length))
                .map(Netmask::V6)
                .ok_or(Usage::Prefix),
        }
    }

    /// `-b`, whose flags depend on the scheduler wherever that was named.
    pub(super) fn scheduler_flags(&mut self) -> Checked<()> {
        let Some(flags) = self.flags.take() else {
            return Ok(());
        };
        let scheduler = self.config.scheduler;
        let mut names = Vec::new();
        for name in flags.split(',').filter(|name| !name.is_empty()) {
            let owned = [name.to_owned()];
            if SchedulerFlags::parse(&owned, scheduler.as_str()).is_err() {
                let other = ["sh", "mh"].map(|other| SchedulerFlags::parse(&owned, other));
                let known = other.iter().any(Result::is_ok);
                return Err(match known {
                    true => Usage::ForeignFlag(name.to_owned()),
                    false => Usage::SchedFlag(name.to_owned()),
                });
            }
            names.extend(owned);
        }
        if names.is_empty() && !flags.is_empty() {
            // Commas and nothing else: the original crashes.
            return Err(Usage::SchedFlag(flags));
        }
        self.config.scheduler_flags =
            SchedulerFlags::parse(&names, scheduler.as_str()).unwrap_or_default();
        Ok(())
    }

    /// The rules about services that are not in the table of options.
    pub(super) fn check_service(&self) -> Checked<()> {
        if self.mark != 0 {
            return Ok(());
        }
        if self.port == 0 && self.config.persistence_timeout.is_none() {
            return Err(Usage::ZeroPort);
        }
        if self.config.one_packet && self.protocol != Some(Protocol::Udp) {
            return Err(Usage::OnePacket);
        }
        Ok(())
    }

    /// Whether there is a service at all; the original takes 0.0.0.0:0 for none.
    pub(super) fn names_a_service(&self) -> bool {
        self.given.has(Opt::Service)
            && (self.mark != 0 || self.port != 0 || !self.address.is_unspecified())
    }

    /// The service.
    pub(super) fn key(&self) -> ServiceKey {
        match self.mark {
            0 => ServiceKey::Address {
                protocol: self.protocol.unwrap_or(Protocol::Tcp),
                address: self.address,
                port: self.port,
            },
            mark => ServiceKey::Fwmark {
                family: self.family,
                mark,
            },
        }
    }

    pub(super) fn service_config(&self) -> ServiceConfig {
        self.config
    }

    pub(super) fn server_config(&self) -> ServerConfig {
        let forwarding = self.server_config.forwarding;
        ServerConfig {
            tunnel: match forwarding {
                Forwarding::Tunnel => self.tunnel,
                _ => Tunnel::default(),
            },
            ..self.server_config
        }
    }

    pub(super) fn daemon(&self) -> SyncDaemonConfig {
        self.daemon
    }
}

/// A timeout of so many seconds or more.
pub(super) fn timeout(text: &str, min: i64) -> Checked<u32> {
    number::in_range(text, min, Timeouts::MAX.into()).ok_or_else(|| Usage::Timeout(text.to_owned()))
}

fn ranged(text: &str, max: u32, what: &'static str) -> Checked<u32> {
    number::in_range(text, 0, max.into()).ok_or(Usage::Number(what))
}

/// The first 15 bytes (`IP_VS_SCHEDNAME_MAXLEN` with its NUL); nothing is the default.
fn scheduler(text: &str) -> Name {
    let end = text.len().min(15);
    match &text.as_bytes()[..end] {
        [] => Name::from_kernel(ServiceConfig::DEFAULT_SCHEDULER.as_bytes()),
        bytes => Name::from_kernel(bytes),
    }
}

fn group(text: &str) -> Checked<IpAddr> {
    let (family, address) = match text.contains(':') {
        true => ("IPv6", text.parse::<Ipv6Addr>().ok().map(IpAddr::V6)),
        false => ("IPv4", text.parse::<Ipv4Addr>().ok().map(IpAddr::V4)),
    };
    address
        .filter(IpAddr::is_multicast)
        .ok_or_else(|| Usage::Group {
            family,
            group: text.to_owned(),
        })
}

/// What protocol a port's name is looked up in.
fn protocol_of(which: Which) -> Protocol {
    match which {
        Which::Udp => Protocol::Udp,
        Which::Sctp => Protocol::Sctp,
        // The original says TCP for a firewall mark, without a meaning but for names of ports.
        _ => Protocol::Tcp,
    }
}
