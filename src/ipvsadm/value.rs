//! Values of options. Accumulates the configuration of a service, a server or a sync daemon in the
//! order of the words.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    address,
    compat::OptionSet,
    error::{ParseError, ParseResult},
    names::Resolver,
    number,
    option::{Command, Opt, Variant},
};
use crate::model::{
    Checksum, Family, Forwarding, Name, Netmask, Protocol, SchedulerFlags, ServerConfig, ServerKey,
    ServiceConfig, ServiceKey, SyncDaemonConfig, SyncState, Timeouts, Tunnel, TunnelType,
};

/// The values that have been read, or their defaults.
pub(super) struct Values<'a> {
    resolver: &'a dyn Resolver,
    /// The options that have been read.
    pub options: OptionSet,
    /// `--nosort` without a later `--sort`.
    pub unsorted: bool,
    protocol: Option<Protocol>,
    address: IpAddr,
    port: u16,
    mark: u32,
    family: Family,
    config: ServiceConfig,
    /// The value of `-b`, which is parsed once the scheduler is known.
    flags: Option<String>,
    /// The real server. Its port is replaced if the forwarding method cannot change ports.
    pub server: ServerKey,
    server_config: ServerConfig,
    tunnel: Tunnel,
    daemon: SyncDaemonConfig,
}

/// ipvsadm truncates the value of `-b` to this many bytes.
const FLAGS_MAX: usize = 127;

// === impl Values ===

impl<'a> Values<'a> {
    pub(super) fn new(resolver: &'a dyn Resolver) -> Self {
        let unspecified = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Self {
            resolver,
            options: OptionSet::default(),
            unsorted: false,
            protocol: None,
            address: unspecified,
            port: 0,
            mark: 0,
            family: Family::Ipv4,
            config: ServiceConfig::new(Family::Ipv4),
            flags: None,
            server: ServerKey {
                address: unspecified,
                port: 0,
            },
            server_config: ServerConfig::default(),
            tunnel: Tunnel::default(),
            daemon: SyncDaemonConfig {
                state: SyncState::Master,
                interface: const { Name::from_kernel(b"eth0") },
                sync_id: 0,
                max_length: None,
                multicast_group: SyncDaemonConfig::GROUP,
                multicast_port: SyncDaemonConfig::PORT,
                multicast_ttl: SyncDaemonConfig::TTL,
            },
        }
    }

    /// Sets the argument of `--start-daemon` or `--stop-daemon`.
    pub(super) fn set_daemon_state(&mut self, command: Command, text: &str) -> ParseResult<()> {
        let error = match command {
            Command::StartDaemon => ParseError::StartDaemon,
            Command::StopDaemon => ParseError::StopDaemon,
            _ => return Ok(()),
        };
        self.daemon.state = text.parse().map_err(|_| error)?;
        Ok(())
    }

    /// Handles `-6`.
    pub(super) fn set_mark_ipv6(&mut self) -> ParseResult<()> {
        if self.mark == 0 {
            return Err(ParseError::FamilyBeforeMark);
        }
        self.set_ipv6();
        Ok(())
    }

    /// Resets the netmask, as ipvsadm does.
    fn set_ipv6(&mut self) {
        self.family = Family::Ipv6;
        self.config.netmask = Netmask::full(Family::Ipv6);
    }

    /// Handles an option. Options of listings are only recorded in [`Self::options`].
    pub(super) fn set(
        &mut self,
        opt: Opt,
        variant: Variant,
        value: Option<&str>,
    ) -> ParseResult<()> {
        self.options.insert(opt)?;
        let text = value.unwrap_or_default();
        match opt {
            Opt::Service => self.set_service(variant, text)?,
            Opt::Scheduler => self.config.scheduler = scheduler(text),
            Opt::Persistent => {
                self.config.persistence_timeout = Some(match value {
                    Some(text) => timeout(text, 1)?,
                    // The manual says 300; ipvsadm uses 360.
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
                address::truncate(&mut flags, FLAGS_MAX);
                self.flags = Some(flags);
            }
            Opt::Ops => self.config.one_packet = true,
            Opt::NoSort => self.unsorted = true,
            _ => self.set_server_option(opt, variant, text)?,
        }
        Ok(())
    }

    fn set_service(&mut self, variant: Variant, text: &str) -> ParseResult<()> {
        self.protocol = Some(protocol_of(variant));
        if variant == Variant::Fwmark {
            self.mark = number::in_range(text, 1, u32::MAX.into())
                .ok_or_else(|| ParseError::Fwmark(text.to_owned()))?;
            return Ok(());
        }
        let service =
            address::parse(text, self.protocol, self.resolver).ok_or(ParseError::ServiceAddress)?;
        self.address = service.address;
        self.port = service.port.unwrap_or(0);
        if self.address.is_ipv6() {
            self.set_ipv6();
        }
        Ok(())
    }

    fn set_server_option(&mut self, opt: Opt, variant: Variant, text: &str) -> ParseResult<()> {
        let config = &mut self.server_config;
        match opt {
            Opt::Server => {
                let server = address::parse(text, self.protocol, self.resolver)
                    .ok_or(ParseError::ServerAddress)?;
                self.server = ServerKey {
                    address: server.address,
                    port: server.port.unwrap_or(self.port),
                };
            }
            Opt::Forwarding => {
                config.forwarding = match variant {
                    Variant::Tunnel => Forwarding::Tunnel,
                    Variant::Masquerade => Forwarding::Masquerade,
                    _ => Forwarding::Direct,
                };
            }
            Opt::Weight => config.weight = ranged(text, ServerConfig::MAX_KERNEL_WEIGHT, "weight")?,
            Opt::UpperThreshold => {
                config.upper_threshold = ranged(text, ServerConfig::MAX_THRESHOLD, "u_threshold")?;
            }
            Opt::LowerThreshold => {
                config.lower_threshold = ranged(text, ServerConfig::MAX_THRESHOLD, "l_threshold")?;
            }
            _ => self.set_tunnel_option(opt, text)?,
        }
        Ok(())
    }

    fn set_tunnel_option(&mut self, opt: Opt, text: &str) -> ParseResult<()> {
        match opt {
            Opt::TunType => {
                self.tunnel.kind = match text {
                    "ipip" => TunnelType::Ipip,
                    "gue" => TunnelType::Gue,
                    "gre" => TunnelType::Gre,
                    _ => return Err(ParseError::TunnelType),
                };
            }
            Opt::TunPort => {
                self.tunnel.port = number::in_range(text, 1, u16::MAX.into())
                    .ok_or(ParseError::Number("tunnel port"))?;
            }
            Opt::TunNoCsum => self.tunnel.checksum = Checksum::None,
            Opt::TunCsum => self.tunnel.checksum = Checksum::Checksum,
            Opt::TunRemCsum => self.tunnel.checksum = Checksum::Remote,
            _ => self.set_daemon_option(opt, text)?,
        }
        Ok(())
    }

    fn set_daemon_option(&mut self, opt: Opt, text: &str) -> ParseResult<()> {
        match opt {
            // 15 is IFNAMSIZ without the NUL. An empty name selects the default.
            Opt::McastInterface => {
                let end = text.len().min(15);
                if !text.is_empty() {
                    self.daemon.interface = Name::from_kernel(&text.as_bytes()[..end]);
                }
            }
            Opt::SyncId => {
                self.daemon.sync_id =
                    number::in_range(text, 0, 255).ok_or(ParseError::Number("syncid"))?;
            }
            Opt::SyncMaxlen => {
                let length = number::in_range(text, 1, 65_507);
                self.daemon.max_length = Some(length.ok_or(ParseError::Number("sync-maxlen"))?);
            }
            Opt::McastGroup => self.daemon.multicast_group = group(text)?,
            Opt::McastPort => {
                self.daemon.multicast_port = number::in_range(text, 1, u16::MAX.into())
                    .ok_or(ParseError::Number("mcast-port"))?;
            }
            Opt::McastTtl => {
                self.daemon.multicast_ttl =
                    number::in_range(text, 1, 255).ok_or(ParseError::Number("mcast-ttl"))?;
            }
            _ => {}
        }
        Ok(())
    }

    fn netmask(&self, text: &str) -> ParseResult<Netmask> {
        match self.family {
            Family::Ipv4 => address::ipv4(text, self.resolver)
                .map(Netmask::V4)
                .ok_or(ParseError::Netmask),
            Family::Ipv6 => u32::try_from(number::leading(text))
                .ok()
                .filter(|length| (1..=128).contains(length))
                .map(Netmask::V6)
                .ok_or(ParseError::Prefix),
        }
    }

    /// Parses `-b`. Runs last because the flags depend on the scheduler.
    pub(super) fn parse_scheduler_flags(&mut self) -> ParseResult<()> {
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
                    true => ParseError::IncompatibleFlag(name.to_owned()),
                    false => ParseError::SchedFlag(name.to_owned()),
                });
            }
            names.extend(owned);
        }
        if names.is_empty() && !flags.is_empty() {
            // ipvsadm crashes here.
            return Err(ParseError::SchedFlag(flags));
        }
        self.config.scheduler_flags =
            SchedulerFlags::parse(&names, scheduler.as_str()).unwrap_or_default();
        Ok(())
    }

    /// Checks the constraints on services that the compatibility table cannot express.
    pub(super) fn check_service(&self) -> ParseResult<()> {
        if self.mark != 0 {
            return Ok(());
        }
        if self.port == 0 && self.config.persistence_timeout.is_none() {
            return Err(ParseError::ZeroPort);
        }
        if self.config.one_packet && self.protocol != Some(Protocol::Udp) {
            return Err(ParseError::OnePacket);
        }
        Ok(())
    }

    /// Whether a service is given. To ipvsadm, 0.0.0.0:0 is none.
    pub(super) fn has_service(&self) -> bool {
        self.options.contains(Opt::Service)
            && (self.mark != 0 || self.port != 0 || !self.address.is_unspecified())
    }

    /// The key of the service.
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

/// A timeout of at least `min` seconds.
pub(super) fn timeout(text: &str, min: i64) -> ParseResult<u32> {
    number::in_range(text, min, Timeouts::MAX.into())
        .ok_or_else(|| ParseError::Timeout(text.to_owned()))
}

fn ranged(text: &str, max: u32, what: &'static str) -> ParseResult<u32> {
    number::in_range(text, 0, max.into()).ok_or(ParseError::Number(what))
}

/// Truncates to 15 bytes (`IP_VS_SCHEDNAME_MAXLEN` without the NUL). An empty name selects the
/// default.
fn scheduler(text: &str) -> Name {
    let end = text.len().min(15);
    match &text.as_bytes()[..end] {
        [] => Name::from_kernel(ServiceConfig::DEFAULT_SCHEDULER.as_bytes()),
        bytes => Name::from_kernel(bytes),
    }
}

fn group(text: &str) -> ParseResult<IpAddr> {
    let (family, address) = match text.contains(':') {
        true => ("IPv6", text.parse::<Ipv6Addr>().ok().map(IpAddr::V6)),
        false => ("IPv4", text.parse::<Ipv4Addr>().ok().map(IpAddr::V4)),
    };
    address
        .filter(IpAddr::is_multicast)
        .ok_or_else(|| ParseError::McastGroup {
            family,
            group: text.to_owned(),
        })
}

/// The protocol with which port names are resolved.
fn protocol_of(variant: Variant) -> Protocol {
    match variant {
        Variant::Udp => Protocol::Udp,
        Variant::Sctp => Protocol::Sctp,
        // ipvsadm uses TCP for a firewall mark.
        _ => Protocol::Tcp,
    }
}
