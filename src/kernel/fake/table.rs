//! The virtual server table in memory: services in the kernel's dump order, real servers newest
//! first.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use super::{
    abi::{AF_INET, AF_INET6, FLAG_HASHED, PROTOCOL_TCP},
    wire::Errno,
};

/// What identifies a virtual service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServiceId {
    /// By protocol number, address and port.
    Address {
        /// The IP protocol: 6 TCP, 17 UDP, 132 SCTP; the kernel takes any.
        protocol: u16,
        /// Address and port.
        address: SocketAddr,
    },
    /// By firewall mark.
    Mark {
        /// The mark, never 0.
        mark: u32,
        /// Whether it is for IPv6 packets; the same mark of the other family is another service.
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

    /// Whether the service is one of IPv6.
    pub fn is_ipv6(&self) -> bool {
        match self {
            ServiceId::Address { address, .. } => address.is_ipv6(),
            ServiceId::Mark { ipv6, .. } => *ipv6,
        }
    }

    /// The hash table (0: addresses, 1: marks) and the bucket. As the kernel's, but for the part
    /// of the namespace's pointer, which makes the real order differ from boot to boot.
    fn bucket(&self) -> (u8, u8) {
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

/// Traffic counters and rates, of a service, a real server or the whole table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub in_packets: u64,
    /// Packets to clients.
    pub out_packets: u64,
    /// Bytes from clients.
    pub in_bytes: u64,
    /// Bytes to clients.
    pub out_bytes: u64,
    /// Connections per second.
    pub connection_rate: u64,
    /// Packets per second from clients.
    pub in_packet_rate: u64,
    /// Packets per second to clients.
    pub out_packet_rate: u64,
    /// Bytes per second from clients.
    pub in_byte_rate: u64,
    /// Bytes per second to clients.
    pub out_byte_rate: u64,
}

/// The connections of a real server at this moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Connections {
    /// In state ESTABLISHED.
    pub active: u32,
    /// In any other state.
    pub inactive: u32,
    /// Persistence templates.
    pub persistent: u32,
}

/// A virtual service as the kernel keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// What identifies it.
    pub id: ServiceId,
    /// The scheduler's name, or "none".
    pub scheduler: String,
    /// The persistence engine's name.
    pub engine: Option<String>,
    /// All flags, with the kernel's own 0x2 set.
    pub flags: u32,
    /// The persistence timeout in jiffies: seconds × HZ, cut to 32 bits.
    pub timeout: u32,
    /// The netmask attribute as it came: an IPv4 mask in network order, an IPv6 prefix length in
    /// host order.
    pub netmask: [u8; 4],
    /// Its traffic.
    pub counters: Counters,
    destinations: BTreeMap<Reverse<u64>, Destination>,
    places: HashMap<SocketAddr, u64>,
    /// Traffic of removed real servers, which comes back with them. The kernel forgets them after
    /// some two minutes and when a service is removed; here only the latter.
    trash: HashMap<SocketAddr, (Counters, Connections)>,
    next: u64,
}

impl Service {
    /// A service with the parameters that `ipvsadm -A` alone gives it.
    pub fn new(id: ServiceId) -> Self {
        Self {
            id,
            scheduler: "wlc".to_owned(),
            engine: None,
            flags: FLAG_HASHED,
            timeout: 0,
            netmask: if id.is_ipv6() {
                128u32.to_ne_bytes()
            } else {
                [0xff; 4]
            },
            counters: Counters::default(),
            destinations: BTreeMap::new(),
            places: HashMap::new(),
            trash: HashMap::new(),
            next: 0,
        }
    }

    /// The real servers as the kernel lists them: newest first.
    pub fn destinations(&self) -> impl Iterator<Item = &Destination> {
        self.destinations.values()
    }

    /// How many real servers it has.
    pub fn len(&self) -> usize {
        self.destinations.len()
    }

    /// Whether it has no real server.
    pub fn is_empty(&self) -> bool {
        self.destinations.is_empty()
    }

    /// The real server at an address.
    pub fn destination(&self, address: SocketAddr) -> Option<&Destination> {
        self.destinations.get(&Reverse(*self.places.get(&address)?))
    }

    pub(super) fn destination_mut(&mut self, address: SocketAddr) -> Option<&mut Destination> {
        self.destinations
            .get_mut(&Reverse(*self.places.get(&address)?))
    }

    pub(super) fn destinations_mut(&mut self) -> impl Iterator<Item = &mut Destination> {
        self.destinations.values_mut()
    }

    /// Adds a real server that is not there yet. One that was removed before has its old traffic.
    pub(super) fn insert(&mut self, mut new: Destination) {
        if let Some((counters, connections)) = self.trash.remove(&new.address) {
            new.counters = counters;
            new.connections = connections;
        }
        self.places.insert(new.address, self.next);
        self.destinations.insert(Reverse(self.next), new);
        self.next += 1;
    }

    pub(super) fn in_trash(&self, address: SocketAddr) -> bool {
        self.trash.contains_key(&address)
    }

    pub(super) fn remove(&mut self, address: SocketAddr) -> Result<Destination, Errno> {
        let place = self.places.remove(&address).ok_or(libc::ENOENT)?;
        let old = self
            .destinations
            .remove(&Reverse(place))
            .ok_or(libc::ENOENT)?;
        self.trash.insert(address, (old.counters, old.connections));
        Ok(old)
    }
}

/// A real server as the kernel keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// Its address and port, which identify it within its service.
    pub address: SocketAddr,
    /// 0 masquerading, 1 local, 2 tunnel, 3 direct routing, 4 bypass; 5 to 7 mean nothing.
    pub forward: u32,
    /// The weight.
    pub weight: u32,
    /// No new connections from this many on; 0: no limit.
    pub upper: u32,
    /// New connections again below this many; 0: three quarters of the upper.
    pub lower: u32,
    /// 0 IPIP, 1 GUE, 2 GRE.
    pub tunnel_type: u8,
    /// The UDP port of a GUE tunnel.
    pub tunnel_port: u16,
    /// 0 no checksum, 1 checksum, 2 remote checksum.
    pub tunnel_flags: u16,
    /// Its connections.
    pub connections: Connections,
    /// Its traffic.
    pub counters: Counters,
}

impl Destination {
    /// A masquerading real server of weight 1.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            forward: 0,
            weight: 1,
            upper: 0,
            lower: 0,
            tunnel_type: 0,
            tunnel_port: 0,
            tunnel_flags: 0,
            connections: Connections::default(),
            counters: Counters::default(),
        }
    }
}

/// All services, in the order in which the kernel dumps them: table, bucket, newest first.
#[derive(Debug, Default)]
pub(super) struct Table {
    services: BTreeMap<Place, Service>,
    places: HashMap<ServiceId, Place>,
    next: u64,
    /// How many real servers are of another family than their service.
    mixed: usize,
}

type Place = ((u8, u8), Reverse<u64>);

impl Table {
    pub(super) fn get(&self, id: &ServiceId) -> Option<&Service> {
        self.services.get(self.places.get(id)?)
    }

    pub(super) fn get_mut(&mut self, id: &ServiceId) -> Option<&mut Service> {
        self.services.get_mut(self.places.get(id)?)
    }

    pub(super) fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.values()
    }

    pub(super) fn services_mut(&mut self) -> impl Iterator<Item = &mut Service> {
        self.services.values_mut()
    }

    pub(super) fn insert(&mut self, service: Service) {
        let place = (service.id.bucket(), Reverse(self.next));
        self.next += 1;
        self.mixed += mixed(&service);
        self.places.insert(service.id, place);
        self.services.insert(place, service);
    }

    pub(super) fn remove(&mut self, id: &ServiceId) -> Result<(), Errno> {
        let place = self.places.remove(id).ok_or(libc::ESRCH)?;
        let old = self.services.remove(&place).ok_or(libc::ESRCH)?;
        self.mixed -= mixed(&old);
        Ok(())
    }

    pub(super) fn insert_destination(
        &mut self,
        id: &ServiceId,
        new: Destination,
    ) -> Result<(), Errno> {
        let service = self.get_mut(id).ok_or(libc::ESRCH)?;
        let is_mixed = new.address.is_ipv6() != id.is_ipv6();
        service.insert(new);
        self.mixed += usize::from(is_mixed);
        Ok(())
    }

    pub(super) fn remove_destination(
        &mut self,
        id: &ServiceId,
        address: SocketAddr,
    ) -> Result<(), Errno> {
        let old = self.get_mut(id).ok_or(libc::ESRCH)?.remove(address)?;
        self.mixed -= usize::from(old.address.is_ipv6() != id.is_ipv6());
        Ok(())
    }

    pub(super) fn clear(&mut self) {
        self.services.clear();
        self.places.clear();
        self.mixed = 0;
    }

    /// Whether any real server is of another family than its service, which no sync daemon bears.
    pub(super) fn is_mixed(&self) -> bool {
        self.mixed > 0
    }
}

fn mixed(service: &Service) -> usize {
    let ipv6 = service.id.is_ipv6();
    service
        .destinations()
        .filter(|dest| dest.address.is_ipv6() != ipv6)
        .count()
}

/// The kernel's number of an address family.
pub(super) fn family_number(ipv6: bool) -> u16 {
    if ipv6 { AF_INET6 } else { AF_INET }
}

/// Whether the kernel takes the address for a real server: that of a host, as far as one can tell
/// without routes. `broadcasts` are those of the networks at hand.
pub(super) fn is_host(address: IpAddr, broadcasts: &[Ipv4Addr]) -> bool {
    match address {
        IpAddr::V4(ip) => {
            !(ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_broadcast()
                || broadcasts.contains(&ip))
        }
        IpAddr::V6(ip) => {
            !(ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_unicast_link_local()
                || ip.to_ipv4_mapped().is_some())
        }
    }
}
