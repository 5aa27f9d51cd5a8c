//! The kernel's answers. What it does not tell takes a default; what makes no sense gives `None`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use neli::consts::genl::CtrlAttr;

use super::{
    encode::{daemon, dest, family_of, state_number, svc, top},
    wire::attributes,
};
use crate::model::{
    Family, Forwarding, Info, Name, Netmask, Rates, SchedulerFlags, Server, ServerConfig,
    ServerKey, Service, ServiceConfig, ServiceKey, Stats, SyncDaemon, SyncState, Timeouts, Tunnel,
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
    let told = Values::of(find(message, top::SERVICE)?);
    let family = family_of(u16_host(told.get(svc::AF)?)?)?;
    let mark = told.read(svc::FWMARK, 0, u32_host)?;
    let key = if mark != 0 {
        ServiceKey::Fwmark { family, mark }
    } else {
        ServiceKey::Address {
            protocol: told.read(svc::PROTOCOL, 0, u16_host)?.into(),
            address: ip_address(family, told.get(svc::ADDR)?)?,
            port: told.read(svc::PORT, 0, u16_net)?,
        }
    };
    let netmask = told.get(svc::NETMASK).and_then(|netmask| match family {
        Family::Ipv4 => netmask
            .first_chunk::<4>()
            .map(|mask| Netmask::V4((*mask).into())),
        Family::Ipv6 => u32_host(netmask).map(Netmask::V6),
    });
    let flags = told.read(svc::FLAGS, 0, u32_host)?;
    let timeout = told.read(svc::TIMEOUT, 0, u32_host)?;
    let engine = told.get(svc::PE_NAME).map(Name::from_kernel);
    let (stats, rates) = told.counters(svc::STATS, svc::STATS64);
    Some(Service {
        key,
        config: ServiceConfig {
            scheduler: Name::from_kernel(told.get(svc::SCHED_NAME).unwrap_or(b"none")),
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
    let told = Values::of(find(message, top::DEST)?);
    // Kernels before 3.18 do not tell: there a server has its service's family.
    let family = told.read(dest::ADDR_FAMILY, None, |value| {
        u16_host(value).map(family_of)
    })?;
    let address = ip_address(family.unwrap_or(service), told.get(dest::ADDR)?)?;
    let (stats, rates) = told.counters(dest::STATS, dest::STATS64);
    Some(Server {
        key: ServerKey {
            address,
            port: told.read(dest::PORT, 0, u16_net)?,
        },
        config: ServerConfig {
            forwarding: told.read(dest::FWD_METHOD, Forwarding::Direct, |value| {
                u32_host(value).map(forwarding)
            })?,
            weight: told.read(dest::WEIGHT, 0, u32_host)?,
            upper_threshold: told.read(dest::U_THRESH, 0, u32_host)?,
            lower_threshold: told.read(dest::L_THRESH, 0, u32_host)?,
            tunnel: Tunnel {
                kind: told.read(dest::TUN_TYPE, 0, u8_first)?.into(),
                port: told.read(dest::TUN_PORT, 0, u16_net)?,
                checksum: told.read(dest::TUN_FLAGS, 0, u16_host)?.into(),
            },
        },
        active_connections: told.read(dest::ACTIVE_CONNS, 0, u32_host)?,
        inactive_connections: told.read(dest::INACT_CONNS, 0, u32_host)?,
        persistent_connections: told.read(dest::PERSIST_CONNS, 0, u32_host)?,
        stats,
        rates,
    })
}

/// A sync daemon, from a message of `IPVS_CMD_GET_DAEMON`.
pub fn sync_daemon(message: &[u8]) -> Option<SyncDaemon> {
    let told = Values::of(find(message, top::DAEMON)?);
    let number = u32_host(told.get(daemon::STATE)?)?;
    let mut states = [SyncState::Master, SyncState::Backup].into_iter();
    let multicast_group = match (
        told.get(daemon::MCAST_GROUP),
        told.get(daemon::MCAST_GROUP6),
    ) {
        (_, Some(group)) => ip_address(Family::Ipv6, group)?,
        (Some(group), None) => ip_address(Family::Ipv4, group)?,
        (None, None) => Ipv4Addr::UNSPECIFIED.into(),
    };
    Some(SyncDaemon {
        state: states.find(|state| state_number(*state) == number)?,
        interface: Name::from_kernel(told.get(daemon::MCAST_IFN).unwrap_or_default()),
        sync_id: told.read(daemon::SYNC_ID, 0, u32_host)?,
        max_length: told.read(daemon::SYNC_MAXLEN, 0, u16_host)?,
        multicast_group,
        multicast_port: told.read(daemon::MCAST_PORT, 0, u16_host)?,
        multicast_ttl: told.read(daemon::MCAST_TTL, 0, u8_first)?,
    })
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

/// The values of a nest by their attributes' numbers, of several the last. No nest that is read so
/// has numbers from 16 on.
struct Values<'a>([Option<&'a [u8]>; 16]);

impl<'a> Values<'a> {
    #[inline(always)]
    fn of(nest: &'a [u8]) -> Self {
        let mut values = Self([None; 16]);
        for (number, value) in attributes(nest) {
            if let Some(place) = values.0.get_mut(usize::from(number)) {
                *place = Some(value);
            }
        }
        values
    }

    #[inline(always)]
    fn get(&self, number: u16) -> Option<&'a [u8]> {
        self.0.get(usize::from(number)).copied().flatten()
    }

    /// What `read` makes of a value; `untold` where there is none.
    #[inline(always)]
    fn read<T>(&self, number: u16, untold: T, read: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
        match self.get(number) {
            Some(value) => read(value),
            None => Some(untold),
        }
    }

    /// Counters and rates: those of 64 bits, since Linux 4.1; where there are none, those that are
    /// cut to 32 bits but for the bytes.
    fn counters(&self, narrow: u16, wide: u16) -> (Stats, Rates) {
        let nest = self.get(wide).or(self.get(narrow)).unwrap_or_default();
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

fn u8_first(value: &[u8]) -> Option<u8> {
    value.first().copied()
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
