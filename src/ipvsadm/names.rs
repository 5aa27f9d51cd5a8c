//! Names for addresses and ports, both ways. The language asks; who runs it answers.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
};

use crate::model::Protocol;

/// What names on a command line mean.
pub trait Resolver {
    /// The first IPv4 address of a host; ipvsadm asks for no other.
    fn host(&self, name: &str) -> Option<Ipv4Addr>;
    /// The port of a service of this protocol (`/etc/services`).
    fn port(&self, name: &str, protocol: Protocol) -> Option<u16>;
}

/// What addresses and ports are called in a listing; `None` prints them as they are.
pub trait Names {
    /// The host at an address.
    fn host_of(&self, address: IpAddr) -> Option<&str>;
    /// The service at a port.
    fn port_of(&self, port: u16, protocol: Protocol) -> Option<&str>;
}

/// No names at all (`-n`), neither way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Numeric;

/// The names of ports, as `/etc/services` lists them.
#[derive(Clone, Debug, Default)]
pub struct WellKnownPorts {
    ports: HashMap<(Box<str>, Protocol), u16>,
    names: HashMap<(u16, Protocol), Box<str>>,
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
    /// Reads the text of `/etc/services`; lines that are not understood are left out.
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
            // The first line wins, both ways.
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
