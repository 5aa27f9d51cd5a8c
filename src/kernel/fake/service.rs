//! A virtual service: its state, its attribute policy, and its messages.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use super::{
    abi::{family_number, is_ipv6},
    counters::Counters,
    destination::{Connections, Destination},
    wire::{
        Attributes, Errno,
        Policy::{self, Any, Binary, Nested, Number, Text},
        Writer,
    },
};
use crate::codec::uapi::{SVC_F_HASHED, svc, top};

/// The policy of a service's attributes.
pub(super) const POLICY: [Policy; svc::MAX as usize] = [
    Number(2),
    Number(2),
    Binary(16),
    Number(2),
    Number(4),
    Text(15),
    Binary(8),
    Number(4),
    Number(4),
    Nested,
    Text(16),
    Any,
];

const PROTOCOL_TCP: u16 = 6;

/// Identity of a virtual service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServiceId {
    /// Protocol, address and port.
    Address {
        /// IP protocol number: 6 TCP, 17 UDP, 132 SCTP. The kernel accepts any number.
        protocol: u16,
        /// Address and port.
        address: SocketAddr,
    },
    /// Firewall mark.
    Mark {
        /// The mark, never 0.
        mark: u32,
        /// Whether the service is for IPv6 packets. The same mark identifies one service per family.
        ipv6: bool,
    },
}

impl ServiceId {
    /// A TCP service.
    pub fn tcp(address: SocketAddr) -> Self {
        Self::Address {
            protocol: PROTOCOL_TCP,
            address,
        }
    }

    /// Whether the service is for IPv6.
    pub fn is_ipv6(&self) -> bool {
        match self {
            ServiceId::Address { address, .. } => address.is_ipv6(),
            ServiceId::Mark { ipv6, .. } => *ipv6,
        }
    }

    /// Parses the identity in the nest of a service.
    pub(super) fn parse(nest: &Attributes<'_>, ipv6_enabled: bool) -> Result<Self, Errno> {
        let family = nest.u16(svc::AF).ok_or(libc::EINVAL)?;
        let by_address = nest.has(svc::PROTOCOL) && nest.has(svc::ADDR) && nest.has(svc::PORT);
        let mark = nest.u32(svc::FWMARK);
        if mark.is_none() && !by_address {
            return Err(libc::EINVAL);
        }
        let ipv6 = is_ipv6(family, ipv6_enabled)?;
        let unspecified = if ipv6 {
            Ipv6Addr::UNSPECIFIED.into()
        } else {
            Ipv4Addr::UNSPECIFIED.into()
        };
        Ok(match mark {
            // The kernel treats mark 0 as no mark, but does not parse the address either.
            Some(0) => Self::tcp(SocketAddr::new(unspecified, 0)),
            Some(mark) => Self::Mark { mark, ipv6 },
            None => Self::Address {
                protocol: nest.u16(svc::PROTOCOL).unwrap_or(PROTOCOL_TCP),
                address: SocketAddr::new(
                    nest.address(svc::ADDR, ipv6).unwrap_or(unspecified),
                    nest.port(svc::PORT).unwrap_or(0),
                ),
            },
        })
    }

    /// The hash table (0: addresses, 1: marks) and the bucket. The kernel also mixes the namespace
    /// pointer into the hash, so that its order differs from boot to boot.
    pub(super) fn bucket(&self) -> (u8, u8) {
        match self {
            ServiceId::Mark { mark, .. } => (1, *mark as u8),
            ServiceId::Address { protocol, address } => {
                let folded = match address.ip() {
                    IpAddr::V4(ip) => ip.to_bits(),
                    IpAddr::V6(ip) => {
                        let bits = ip.to_bits();
                        (bits >> 96) as u32
                            ^ (bits >> 64) as u32
                            ^ (bits >> 32) as u32
                            ^ bits as u32
                    }
                };
                let port = u32::from(address.port());
                (
                    0,
                    (u32::from(*protocol) ^ folded ^ (port >> 8) ^ port) as u8,
                )
            }
        }
    }
}

/// A virtual service in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Identity.
    pub id: ServiceId,
    /// Scheduler name, or "none".
    pub scheduler: String,
    /// Name of the persistence engine.
    pub engine: Option<String>,
    /// All flags, including `IP_VS_SVC_F_HASHED`.
    pub flags: u32,
    /// Persistence timeout in jiffies: seconds × HZ, truncated to 32 bits.
    pub timeout: u32,
    /// The netmask attribute: an IPv4 mask in network order, or an IPv6 prefix length in host order.
    pub netmask: [u8; 4],
    /// Counters and rates.
    pub counters: Counters,
    destinations: BTreeMap<Reverse<u64>, Destination>,
    positions: HashMap<SocketAddr, u64>,
    /// Counters of removed real servers, which are restored when the server is added again. The
    /// kernel discards them after about two minutes and with the service; the simulator only with
    /// the service.
    trash: HashMap<SocketAddr, (Counters, Connections)>,
    next: u64,
}

impl Service {
    /// A service with the defaults of `ipvsadm -A`.
    pub fn new(id: ServiceId) -> Self {
        Self {
            id,
            scheduler: "wlc".to_owned(),
            engine: None,
            flags: SVC_F_HASHED,
            timeout: 0,
            netmask: if id.is_ipv6() {
                128u32.to_ne_bytes()
            } else {
                [0xff; 4]
            },
            counters: Counters::default(),
            destinations: BTreeMap::new(),
            positions: HashMap::new(),
            trash: HashMap::new(),
            next: 0,
        }
    }

    /// The real servers in dump order, newest first.
    pub fn destinations(&self) -> impl Iterator<Item = &Destination> {
        self.destinations.values()
    }

    /// Number of real servers.
    pub fn len(&self) -> usize {
        self.destinations.len()
    }

    /// Whether the service has no real server.
    pub fn is_empty(&self) -> bool {
        self.destinations.is_empty()
    }

    /// The real server with this address.
    pub fn destination(&self, address: SocketAddr) -> Option<&Destination> {
        self.destinations
            .get(&Reverse(*self.positions.get(&address)?))
    }

    pub(super) fn destination_mut(&mut self, address: SocketAddr) -> Option<&mut Destination> {
        self.destinations
            .get_mut(&Reverse(*self.positions.get(&address)?))
    }

    /// Adds a real server that does not exist. One that was removed before gets its old counters.
    pub(super) fn insert(&mut self, mut new: Destination) {
        if let Some((counters, connections)) = self.trash.remove(&new.address) {
            new.counters = counters;
            new.connections = connections;
        }
        self.positions.insert(new.address, self.next);
        self.destinations.insert(Reverse(self.next), new);
        self.next += 1;
    }

    pub(super) fn in_trash(&self, address: SocketAddr) -> bool {
        self.trash.contains_key(&address)
    }

    pub(super) fn remove(&mut self, address: SocketAddr) -> Result<Destination, Errno> {
        let position = self.positions.remove(&address).ok_or(libc::ENOENT)?;
        let old = self
            .destinations
            .remove(&Reverse(position))
            .ok_or(libc::ENOENT)?;
        self.trash.insert(address, (old.counters, old.connections));
        Ok(old)
    }

    /// Sets all counters and rates of the service and its real servers to 0.
    pub(super) fn zero(&mut self) {
        self.counters = Counters::default();
        for destination in self.destinations.values_mut() {
            destination.counters = Counters::default();
        }
    }

    /// Writes the nest of the service.
    pub(super) fn write(&self, writer: &mut Writer, hz: u32) {
        let nest = writer.nest(top::SERVICE);
        writer.u16(svc::AF, family_number(self.id.is_ipv6()));
        match self.id {
            ServiceId::Mark { mark, .. } => writer.u32(svc::FWMARK, mark),
            ServiceId::Address { protocol, address } => {
                writer.u16(svc::PROTOCOL, protocol);
                writer.address(svc::ADDR, address.ip());
                writer.u16(svc::PORT, address.port().to_be());
            }
        }
        writer.text(svc::SCHED_NAME, &self.scheduler);
        if let Some(engine) = &self.engine {
            writer.text(svc::PE_NAME, engine);
        }
        let mut flags = [0xff; 8];
        flags[..4].copy_from_slice(&self.flags.to_ne_bytes());
        writer.attribute(svc::FLAGS, &flags);
        writer.u32(svc::TIMEOUT, self.timeout / hz.max(1));
        writer.attribute(svc::NETMASK, &self.netmask);
        self.counters.write(writer, svc::STATS, svc::STATS64);
        writer.close_nest(nest);
    }
}

/// The configuration of a service in a request.
pub(super) struct Parameters {
    pub(super) scheduler: String,
    pub(super) engine: Option<String>,
    flags: u32,
    timeout: u32,
    pub(super) netmask: [u8; 4],
}

impl Parameters {
    pub(super) fn parse(nest: &Attributes<'_>, old_flags: u32) -> Result<Self, Errno> {
        let (Some(scheduler), Some(flags), Some(timeout), Some(netmask)) = (
            nest.text(svc::SCHED_NAME),
            nest.get(svc::FLAGS),
            nest.u32(svc::TIMEOUT),
            nest.u32(svc::NETMASK),
        ) else {
            return Err(libc::EINVAL);
        };
        let word = |offset: usize| {
            let mut bytes = [0; 4];
            for (to, from) in bytes.iter_mut().zip(flags.iter().skip(offset)) {
                *to = *from;
            }
            u32::from_ne_bytes(bytes)
        };
        let (flags, mask) = (word(0), word(4));
        Ok(Self {
            scheduler,
            engine: nest.text(svc::PE_NAME).filter(|name| !name.is_empty()),
            flags: (old_flags & !mask) | (flags & mask),
            timeout,
            netmask: netmask.to_ne_bytes(),
        })
    }

    pub(super) fn apply(self, service: &mut Service, hz: u32) {
        service.scheduler = self.scheduler;
        service.engine = self.engine;
        service.flags = self.flags | SVC_F_HASHED;
        service.timeout = self.timeout.wrapping_mul(hz);
        service.netmask = self.netmask;
    }
}
