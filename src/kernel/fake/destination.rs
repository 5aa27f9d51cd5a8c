//! A real server: its state, its attribute policy, and its messages.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{
    abi::{family_number, is_ipv6},
    counters::Counters,
    wire::{
        Attributes, Errno,
        Policy::{self, Any, Binary, Nested, Number},
        Writer,
    },
};
use crate::codec::uapi::{CONN_F_FWD_MASK, dest, top};

/// The policy of a real server's attributes.
pub(super) const POLICY: [Policy; dest::MAX as usize] = [
    Binary(16),
    Number(2),
    Number(4),
    Number(4),
    Number(4),
    Number(4),
    Number(4),
    Number(4),
    Number(4),
    Nested,
    Number(2),
    Any,
    Number(1),
    Number(2),
    Number(2),
];

/// The forwarding method tunneling.
const FORWARD_TUNNEL: u32 = 2;
const TUNNEL_GUE: u8 = 1;

/// The current connections of a real server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Connections {
    /// In state ESTABLISHED.
    pub active: u32,
    /// In any other state.
    pub inactive: u32,
    /// Persistence templates.
    pub persistent: u32,
}

/// A real server in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// Address and port, its identity within the service.
    pub address: SocketAddr,
    /// 0 masquerading, 1 local, 2 tunneling, 3 direct routing, 4 bypass; 5 to 7 have no meaning.
    pub forward: u32,
    /// Weight.
    pub weight: u32,
    /// Number of connections above which there are no new ones; 0: no limit.
    pub upper: u32,
    /// Number of connections below which there are new ones again; 0: three quarters of `upper`.
    pub lower: u32,
    /// 0 IPIP, 1 GUE, 2 GRE.
    pub tunnel_type: u8,
    /// UDP port of GUE.
    pub tunnel_port: u16,
    /// 0 no checksum, 1 checksum, 2 remote checksum offload.
    pub tunnel_flags: u16,
    /// Current connections.
    pub connections: Connections,
    /// Counters and rates.
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

    /// Parses the nest of a real server of a service: its identity and, if `full`, its
    /// configuration.
    pub(super) fn parse(
        nest: &Attributes<'_>,
        service_ipv6: bool,
        full: bool,
        ipv6_enabled: bool,
    ) -> Result<Self, Errno> {
        if !(nest.has(dest::ADDR) && nest.has(dest::PORT)) {
            return Err(libc::EINVAL);
        }
        let required = [
            dest::FWD_METHOD,
            dest::WEIGHT,
            dest::U_THRESH,
            dest::L_THRESH,
        ];
        if full && !required.iter().all(|number| nest.has(*number)) {
            return Err(libc::EINVAL);
        }
        let ipv6 = match nest.u16(dest::ADDR_FAMILY).unwrap_or(0) {
            0 => service_ipv6,
            family => is_ipv6(family, ipv6_enabled)?,
        };
        let (Some(ip), Some(port)) = (nest.address(dest::ADDR, ipv6), nest.port(dest::PORT)) else {
            return Err(libc::EINVAL);
        };
        let number = |attribute: u16| nest.u32(attribute).unwrap_or(0);
        Ok(Self {
            address: SocketAddr::new(ip, port),
            forward: number(dest::FWD_METHOD) & CONN_F_FWD_MASK,
            weight: number(dest::WEIGHT),
            upper: number(dest::U_THRESH),
            lower: number(dest::L_THRESH),
            tunnel_type: nest.u8(dest::TUN_TYPE).unwrap_or(0),
            tunnel_port: nest.port(dest::TUN_PORT).unwrap_or(0),
            tunnel_flags: nest.u16(dest::TUN_FLAGS).unwrap_or(0),
            connections: Connections::default(),
            counters: Counters::default(),
        })
    }

    /// Checks the configuration. The kernel does so before the lookup of the real server.
    pub(super) fn check(&self) -> Result<(), Errno> {
        if i32::try_from(self.weight).is_err() || self.lower > self.upper {
            return Err(libc::ERANGE);
        }
        if self.tunnel_type == TUNNEL_GUE && self.tunnel_port == 0 {
            return Err(libc::EINVAL);
        }
        Ok(())
    }

    /// Whether the address family differs from that of the service. Only tunnels allow this, and
    /// only while no sync daemon is running.
    pub(super) fn is_mixed(&self, service_ipv6: bool) -> bool {
        self.address.is_ipv6() != service_ipv6
    }

    pub(super) fn is_tunnel(&self) -> bool {
        self.forward == FORWARD_TUNNEL
    }

    /// Replaces the configuration. Connections and counters are kept.
    pub(super) fn update(&mut self, new: Self) {
        *self = Self {
            connections: self.connections,
            counters: self.counters,
            ..new
        };
    }

    /// Writes the nest of the real server.
    pub(super) fn write(&self, writer: &mut Writer) {
        let Self {
            address,
            forward,
            weight,
            upper,
            lower,
            tunnel_type,
            tunnel_port,
            tunnel_flags,
            connections:
                Connections {
                    active,
                    inactive,
                    persistent,
                },
            counters,
        } = *self;
        let nest = writer.nest(top::DEST);
        writer.address(dest::ADDR, address.ip());
        writer.u16(dest::PORT, address.port().to_be());
        writer.u32(dest::FWD_METHOD, forward);
        writer.u32(dest::WEIGHT, weight);
        writer.attribute(dest::TUN_TYPE, &[tunnel_type]);
        writer.u16(dest::TUN_PORT, tunnel_port.to_be());
        writer.u16(dest::TUN_FLAGS, tunnel_flags);
        writer.u32(dest::U_THRESH, upper);
        writer.u32(dest::L_THRESH, lower);
        writer.u32(dest::ACTIVE_CONNS, active);
        writer.u32(dest::INACT_CONNS, inactive);
        writer.u32(dest::PERSIST_CONNS, persistent);
        writer.u16(dest::ADDR_FAMILY, family_number(address.is_ipv6()));
        counters.write(writer, dest::STATS, dest::STATS64);
        writer.close_nest(nest);
    }
}

/// Whether the kernel accepts the address for a new real server: a unicast address, as far as this
/// can be determined without routes. `broadcasts` are those of the connected networks.
pub(super) fn is_unicast(address: IpAddr, broadcasts: &[Ipv4Addr]) -> bool {
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
