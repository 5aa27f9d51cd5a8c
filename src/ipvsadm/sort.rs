//! Order of services and servers in listings.

use std::net::IpAddr;

use crate::model::{Server, ServiceEntry, ServiceKey};

/// Order of services and servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Ascending (`--sort`).
    #[default]
    Sorted,
    /// The kernel's order (`--nosort`).
    Kernel,
    /// Services ascending, servers in the reverse of the kernel's order. The kernel inserts a new
    /// server before the others, so that executing the lines reproduces its order.
    Restorable,
}

// === impl Order ===

impl Order {
    /// Looks up `sorted` or the name of `other`. The error lists the two.
    pub fn named(name: &str, other: Self) -> Result<Self, String> {
        [Self::Sorted, other]
            .into_iter()
            .find(|order| order.name() == name)
            .ok_or_else(|| format!("{name:?}: sorted or {}", other.name()))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Sorted => "sorted",
            Self::Kernel => "kernel",
            Self::Restorable => "restorable",
        }
    }
}

/// Sort key of a service: mark (0 for an address), family, protocol, address, port. ipvsadm compares
/// by a signed 32-bit subtraction, which wraps.
type ServiceRank = (u32, bool, u16, [u32; 4], u16);
/// Sort key of a server: address, family, port.
type ServerRank = ([u32; 4], bool, u16);

/// The services in `order`.
pub(super) fn services(entries: &[ServiceEntry], order: Order) -> Vec<&ServiceEntry> {
    let mut services: Vec<_> = entries.iter().collect();
    if order != Order::Kernel {
        services.sort_by_key(|entry| service_rank(entry.service.key));
    }
    services
}

/// The servers of a service in `order`.
pub(super) fn servers(entry: &ServiceEntry, order: Order) -> Vec<&Server> {
    let mut servers: Vec<_> = entry.servers.iter().collect();
    match order {
        Order::Sorted => servers.sort_by_key(|server| server_rank(server)),
        Order::Kernel => {}
        Order::Restorable => servers.reverse(),
    }
    servers
}

fn service_rank(key: ServiceKey) -> ServiceRank {
    match key {
        ServiceKey::Fwmark { family, mark } => {
            (mark, family == crate::model::Family::Ipv6, 0, [0; 4], 0)
        }
        ServiceKey::Address {
            protocol,
            address,
            port,
        } => (
            0,
            address.is_ipv6(),
            protocol.number(),
            words(address),
            port,
        ),
    }
}

/// Like ipvsadm, compares addresses of different families by their first 32 bits.
fn server_rank(server: &Server) -> ServerRank {
    let address = server.key.address;
    (words(address), address.is_ipv6(), server.key.port)
}

fn words(address: IpAddr) -> [u32; 4] {
    match address {
        IpAddr::V4(address) => [address.to_bits(), 0, 0, 0],
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            [96, 64, 32, 0].map(|shift| (bits >> shift & 0xffff_ffff) as u32)
        }
    }
}
