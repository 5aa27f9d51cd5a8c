//! The kernel's answers. What it does not tell takes a default; what makes no sense gives `None`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use neli::consts::genl::CtrlAttr;

use super::{
    encode::{daemon, dest, family_of, state_number, svc, top},
    wire::attributes,
};
use crate::model::{
    Checksum, Family, Forwarding, Info, Name, Netmask, Rates, SchedulerFlags, Server, ServerConfig,
    ServerKey, Service, ServiceConfig, ServiceKey, Stats, SyncDaemon, SyncState, Timeouts, Tunnel,
    TunnelType,
};

/// The family's number, from the controller's answer.
pub fn family_id(message: &[u8]) -> Option<u16> {
    let wanted = u16::from(CtrlAttr::FamilyId);
    attributes(message)
        .find(|(number, _)| *number == wanted)
        .and_then(|(_, value)| u16_host(value))
}

/// A service, from a message of `IPVS_CMD_GET_SERVICE`.
pub fn service(message: &[u8]) -> Option<Service> {
    let nest = find(message, top::SERVICE)?;
    let mut family = None;
    let (mut protocol, mut address, mut port, mut mark) = (0, &[][..], 0, 0);
    let mut scheduler = Name::from_kernel(b"none");
    let (mut flags, mut timeout, mut netmask, mut engine) = (0, 0, &[][..], None);
    let mut counters = Counters::default();
    for (number, value) in attributes(nest) {
        match number {
            svc::AF => family = family_of(u16_host(value)?),
            svc::PROTOCOL => protocol = u16_host(value)?,
            svc::ADDR => address = value,
            svc::PORT => port = u16_net(value)?,
            svc::FWMARK => mark = u32_host(value)?,
            svc::SCHED_NAME => scheduler = Name::from_kernel(value),
            svc::FLAGS => flags = u32_host(value)?,
            svc::TIMEOUT => timeout = u32_host(value)?,
            svc::NETMASK => netmask = value,
            svc::PE_NAME => engine = Some(Name::from_kernel(value)),
            svc::STATS => counters.narrow = value,
            svc::STATS64 => counters.wide = Some(value),
            _ => {}
        }
    }
    let family = family?;
    let key = if mark != 0 {
        ServiceKey::Fwmark { family, mark }
    } else {
        ServiceKey::Address {
            protocol: protocol.into(),
            address: ip_address(family, address)?,
            port,
        }
    };
    let netmask = match family {
        Family::Ipv4 => netmask
            .first_chunk::<4>()
            .map(|mask| Netmask::V4((*mask).into())),
        Family::Ipv6 => u32_host(netmask).map(Netmask::V6),
    };
    let (stats, rates) = counters.read();
    Some(Service {
        key,
        config: ServiceConfig {
            scheduler,
            scheduler_flags: SchedulerFlags::from_bits(flags),
            one_packet: flags & svc::FLAG_ONE_PACKET != 0,
            persistence_timeout: (flags & svc::FLAG_PERSISTENT != 0).then_some(timeout),
            netmask: netmask.unwrap_or(Netmask::full(family)),
            persistence_engine: engine.filter(|engine| !engine.as_str().is_empty()),
        },
        stats,
        rates,
    })
}

/// A server of a service of this family, from a message of `IPVS_CMD_GET_DEST`.
pub fn server(message: &[u8], service: Family) -> Option<Server> {
    let nest = find(message, top::DEST)?;
    // Kernels before 3.18 do not tell: there a server has its service's family.
    let mut family = service;
    let (mut address, mut port) = (&[][..], 0);
    let mut config = ServerConfig {
        weight: 0,
        ..ServerConfig::default()
    };
    let mut tunnel = Tunnel::default();
    let (mut active, mut inactive, mut persistent) = (0, 0, 0);
    let mut counters = Counters::default();
    for (number, value) in attributes(nest) {
        match number {
            dest::ADDR_FAMILY => family = family_of(u16_host(value)?).unwrap_or(service),
            dest::ADDR => address = value,
            dest::PORT => port = u16_net(value)?,
            dest::FWD_METHOD => config.forwarding = forwarding(u32_host(value)?),
            dest::WEIGHT => config.weight = u32_host(value)?,
            dest::U_THRESH => config.upper_threshold = u32_host(value)?,
            dest::L_THRESH => config.lower_threshold = u32_host(value)?,
            dest::TUN_TYPE => tunnel.kind = TunnelType::from(*value.first()?),
            dest::TUN_PORT => tunnel.port = u16_net(value)?,
            dest::TUN_FLAGS => tunnel.checksum = Checksum::from(u16_host(value)?),
            dest::ACTIVE_CONNS => active = u32_host(value)?,
            dest::INACT_CONNS => inactive = u32_host(value)?,
            dest::PERSIST_CONNS => persistent = u32_host(value)?,
            dest::STATS => counters.narrow = value,
            dest::STATS64 => counters.wide = Some(value),
            _ => {}
        }
    }
    config.tunnel = tunnel;
    let (stats, rates) = counters.read();
    Some(Server {
        key: ServerKey {
            address: ip_address(family, address)?,
            port,
        },
        config,
        active_connections: active,
        inactive_connections: inactive,
        persistent_connections: persistent,
        stats,
        rates,
    })
}

/// A sync daemon, from a message of `IPVS_CMD_GET_DAEMON`.
pub fn sync_daemon(message: &[u8]) -> Option<SyncDaemon> {
    let nest = find(message, top::DAEMON)?;
    let mut state = None;
    let mut running = SyncDaemon {
        state: SyncState::Master,
        interface: Name::from_kernel(b""),
        sync_id: 0,
        max_length: 0,
        multicast_group: Ipv4Addr::UNSPECIFIED.into(),
        multicast_port: 0,
        multicast_ttl: 0,
    };
    for (number, value) in attributes(nest) {
        match number {
            daemon::STATE => {
                let told = u32_host(value)?;
                let known = [SyncState::Master, SyncState::Backup];
                state = known.into_iter().find(|state| state_number(*state) == told);
            }
            daemon::MCAST_IFN => running.interface = Name::from_kernel(value),
            daemon::SYNC_ID => running.sync_id = u32_host(value)?,
            daemon::SYNC_MAXLEN => running.max_length = u16_host(value)?,
            daemon::MCAST_GROUP => {
                running.multicast_group = ip_address(Family::Ipv4, value)?;
            }
            daemon::MCAST_GROUP6 => {
                running.multicast_group = ip_address(Family::Ipv6, value)?;
            }
            daemon::MCAST_PORT => running.multicast_port = u16_host(value)?,
            daemon::MCAST_TTL => running.multicast_ttl = *value.first()?,
            _ => {}
        }
    }
    running.state = state?;
    Some(running)
}

/// The timeouts, from the answer to `IPVS_CMD_GET_CONFIG`.
pub fn timeouts(message: &[u8]) -> Option<Timeouts> {
    Some(Timeouts {
        tcp_seconds: u32_host(find(message, top::TIMEOUT_TCP)?)?,
        tcp_fin_seconds: u32_host(find(message, top::TIMEOUT_TCP_FIN)?)?,
        udp_seconds: u32_host(find(message, top::TIMEOUT_UDP)?)?,
    })
}

/// Version and table size, from the answer to `IPVS_CMD_GET_INFO`, which numbers its attributes
/// anew (`IPVS_INFO_ATTR_*`).
pub fn info(message: &[u8]) -> Option<Info> {
    let [_, major, minor, patch] = u32_host(find(message, 1)?)?.to_be_bytes();
    Some(Info {
        version: (major, minor, patch),
        connection_table_size: u32_host(find(message, 2)?)?,
    })
}

/// Counters and rates of a service or a server.
#[derive(Default)]
struct Counters<'a> {
    /// `IPVS_*_ATTR_STATS`: cut to 32 bits but for the bytes; used where there is nothing better.
    narrow: &'a [u8],
    /// `IPVS_*_ATTR_STATS64`, since Linux 4.1.
    wide: Option<&'a [u8]>,
}

impl Counters<'_> {
    fn read(&self) -> (Stats, Rates) {
        let nest = self.wide.unwrap_or(self.narrow);
        let counts = in_order(nest).unwrap_or_else(|| in_any_order(nest));
        let [c, pi, po, bi, bo, rc, rpi, rpo, rbi, rbo] = counts;
        let stats = Stats {
            connections: c,
            packets_in: pi,
            packets_out: po,
            bytes_in: bi,
            bytes_out: bo,
        };
        let rates = Rates {
            connections: rc,
            packets_in: rpi,
            packets_out: rpo,
            bytes_in: rbi,
            bytes_out: rbo,
        };
        (stats, rates)
    }
}

/// The ten numbers of a nest as kernels fill it: of 64 bits, by their attributes' numbers. A kernel
/// for a machine that wants them aligned puts an empty attribute before each that is not. They are
/// most of what a listing decodes.
fn in_order(nest: &[u8]) -> Option<[u64; 10]> {
    fn spaced<const LENGTH: usize, const STRIDE: usize>(nest: &[u8]) -> Option<[u64; 10]> {
        let nest: &[u8; LENGTH] = nest.try_into().ok()?;
        let (mut counts, mut in_order) = ([0; 10], true);
        for (place, (count, number)) in counts.iter_mut().zip(1_u16..).enumerate() {
            let [a, b, c, d, value @ ..] = nest.get(place * STRIDE..)?.first_chunk::<12>()?;
            in_order &= [*a, *b] == 12_u16.to_ne_bytes() && [*c, *d] == number.to_ne_bytes();
            *count = u64::from_ne_bytes(*value);
        }
        in_order.then_some(counts)
    }
    spaced::<120, 12>(nest).or_else(|| match nest.split_first_chunk() {
        Some(([a, b, _, _], after)) if [*a, *b] == 4_u16.to_ne_bytes() => spaced::<156, 16>(after),
        _ => spaced::<156, 16>(nest),
    })
}

/// The ten numbers of any other nest, 0 for those that it has not.
fn in_any_order(nest: &[u8]) -> [u64; 10] {
    let mut counts = [0; 10];
    for (number, value) in attributes(nest) {
        let place = counts.get_mut(usize::from(number).wrapping_sub(1));
        if let (Some(place), Some(count)) = (place, count(value)) {
            *place = count;
        }
    }
    counts
}

fn count(value: &[u8]) -> Option<u64> {
    match value.len() {
        8 => Some(u64::from_ne_bytes(*value.first_chunk()?)),
        4 => u32_host(value).map(u64::from),
        _ => None,
    }
}

fn find(message: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(message)
        .find(|(number, _)| *number == wanted)
        .map(|(_, value)| value)
}

fn forwarding(number: u32) -> Forwarding {
    // The kernel keeps three bits.
    Forwarding::from(number.to_le_bytes()[0] & 7)
}

fn ip_address(family: Family, bytes: &[u8]) -> Option<IpAddr> {
    match family {
        Family::Ipv4 => bytes
            .first_chunk::<4>()
            .map(|v4| Ipv4Addr::from(*v4).into()),
        Family::Ipv6 => bytes
            .first_chunk::<16>()
            .map(|v6| Ipv6Addr::from(*v6).into()),
    }
}

fn u16_host(value: &[u8]) -> Option<u16> {
    Some(u16::from_ne_bytes(*value.first_chunk()?))
}

fn u16_net(value: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(*value.first_chunk()?))
}

fn u32_host(value: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(*value.first_chunk()?))
}
