//! Resolution of host and port names, in both directions.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
};

use crate::model::{Protocol, ServiceKey};

/// Resolves the names of a command line.
pub trait Resolver {
    /// The first IPv4 address of a host. ipvsadm does not resolve names to IPv6 addresses.
    fn host(&self, name: &str) -> Option<Ipv4Addr>;
    /// The port with this name (`/etc/services`).
    fn port(&self, name: &str, protocol: Protocol) -> Option<u16>;
}

/// Provides names for a listing. `None` prints the address or port as a number.
pub trait Names {
    /// The host name of an address.
    fn host_of(&self, address: IpAddr) -> Option<&str>;
    /// The name of a port.
    fn port_of(&self, port: u16, protocol: Protocol) -> Option<&str>;
}

/// Resolves no names in either direction (`-n`).
#[derive(Clone, Copy, Debug, Default)]
pub struct Numeric;

/// Port names from services(5).
#[derive(Clone, Debug, Default)]
pub struct WellKnownPorts {
    ports: HashMap<(Box<str>, Protocol), u16>,
    names: HashMap<(u16, Protocol), Box<str>>,
}

/// The protocol with which ports of the service and its servers are named; none for a firewall mark.
pub(super) fn protocol_of(key: ServiceKey) -> Option<Protocol> {
    match key {
        ServiceKey::Address { protocol, .. } => Some(protocol),
        ServiceKey::Fwmark { .. } => None,
    }
}

// === impl Numeric ===

impl Resolver for Numeric {
    fn host(&self, _: &str) -> Option<Ipv4Addr> {
        None
    }

    fn port(&self, _: &str, _: Protocol) -> Option<u16> {
        None
    }
}

impl Names for Numeric {
    fn host_of(&self, _: IpAddr) -> Option<&str> {
        None
    }

    fn port_of(&self, _: u16, _: Protocol) -> Option<&str> {
        None
    }
}

// === impl WellKnownPorts ===

impl WellKnownPorts {
    /// Parses services(5). Invalid lines are skipped.
    pub fn parse(text: &str) -> Self {
        let mut known = Self::default();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            let (Some(name), Some(spec)) = (words.next(), words.next()) else {
                continue;
            };
            let Some((port, protocol)) = spec.split_once('/') else {
                continue;
            };
            let (Ok(port), Ok(protocol @ (Protocol::Tcp | Protocol::Udp | Protocol::Sctp))) =
                (port.parse::<u16>(), protocol.parse::<Protocol>())
            else {
                continue;
            };
            // The first line wins in both directions.
            known
                .names
                .entry((port, protocol))
                .or_insert_with(|| name.into());
            for name in std::iter::once(name).chain(words) {
                known.ports.entry((name.into(), protocol)).or_insert(port);
            }
        }
        known
    }

    /// The port of a name.
    pub fn port(&self, name: &str, protocol: Protocol) -> Option<u16> {
        self.ports.get(&(name.into(), protocol)).copied()
    }

    /// The name of a port.
    pub fn name(&self, port: u16, protocol: Protocol) -> Option<&str> {
        self.names.get(&(port, protocol)).map(|name| &**name)
    }
}
