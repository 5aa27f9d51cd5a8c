//! The order of a table in listings.

use std::net::IpAddr;

use crate::model::{Server, ServiceEntry, ServiceKey};

/// In what order a table is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Ascending (`--sort`, the default).
    #[default]
    Sorted,
    /// The kernel's (`--nosort`).
    Kernel,
    /// Services ascending, the servers of each from the kernel's last to its first: it puts a new
    /// one before the others, so that carrying this out line by line gives its order again.
    Restorable,
}

// === impl Order ===

impl Order {
    /// The order of this name, where that is `sorted` or that of `other`.
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

/// Services by mark (0 for an address), family, protocol, address, port. The original subtracts as
/// signed 32-bit numbers, which wraps; this does not.
type ServiceRank = (u32, bool, u16, [u32; 4], u16);
/// Servers by address, port.
type ServerRank = ([u32; 4], bool, u16);

/// The services in this order.
pub(super) fn services(entries: &[ServiceEntry], order: Order) -> Vec<&ServiceEntry> {
    let mut services: Vec<_> = entries.iter().collect();
    if order != Order::Kernel {
        services.sort_by_key(|entry| service_rank(entry.service.key));
    }
    services
}

/// The servers of a service in this order.
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

/// Where the families are mixed, the original compares the first word of the address.
fn server_rank(server: &Server) -> ServerRank {
    let address = server.key.address;
    (words(address), address.is_ipv6(), server.key.port)
}

fn words(address: IpAddr) -> [u32; 4] {
    match address {
        IpAddr::V4(address) => [address.to_bits(), 0, 0, 0],
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            // Each shift leaves the wanted word in the low bits.
            [96, 64, 32, 0].map(|shift| (bits >> shift & 0xffff_ffff) as u32)
        }
    }
}
