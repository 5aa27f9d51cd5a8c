//! Names on this machine: what a command line means is looked up here, not at the director.

use std::{
    cell::{OnceCell, RefCell},
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    thread,
    time::{Duration, Instant},
};

use crate::{
    client::getent,
    ipvsadm::{Names, Resolver, WellKnownPorts},
    model::Protocol,
};

/// The machine's own resolver, asked once for each name.
#[derive(Debug, Default)]
pub(super) struct System {
    hosts: RefCell<HashMap<String, Option<Ipv4Addr>>>,
    ports: OnceCell<WellKnownPorts>,
}

/// The names of addresses, looked up side by side.
#[derive(Debug)]
pub(super) struct Looked {
    names: HashMap<IpAddr, Option<String>>,
    ports: WellKnownPorts,
    /// Until when looking up may go on.
    deadline: Instant,
}

const SERVICES: &str = "/etc/services";
/// How long a listing waits for names, all together. What has none by then is printed as it is.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a command waits for the address of a host that it names.
const HOST_PATIENCE: Duration = Duration::from_secs(30);
/// Lookups at a time.
const SIDE_BY_SIDE: usize = 64;

// === impl System ===

impl Resolver for System {
    fn host(&self, name: &str) -> Option<Ipv4Addr> {
        if let Some(known) = self.hosts.borrow().get(name) {
            return *known;
        }
        // The original asks for IPv4 only, and takes the first.
        let printed = getent("ahostsv4", [name], Instant::now() + HOST_PATIENCE);
        let found = printed
            .ok()
            .and_then(|printed| printed.split_whitespace().next()?.parse().ok());
        self.hosts.borrow_mut().insert(name.to_owned(), found);
        found
    }

    fn port(&self, name: &str, protocol: Protocol) -> Option<u16> {
        self.ports.get_or_init(well_known).port(name, protocol)
    }
}

fn well_known() -> WellKnownPorts {
    let text = std::fs::read(SERVICES).unwrap_or_default();
    WellKnownPorts::parse(&String::from_utf8_lossy(&text))
}

// === impl Looked ===

impl Looked {
    /// Knows ports, and no address yet.
    pub(super) fn new() -> Self {
        Self {
            names: HashMap::new(),
            ports: well_known(),
            deadline: Instant::now() + PATIENCE,
        }
    }

    /// Looks up what is not known yet, as long as there is time.
    pub(super) fn look_up(&mut self, addresses: impl IntoIterator<Item = IpAddr>) {
        let mut wanted = Vec::new();
        for address in addresses {
            self.names.entry(address).or_insert_with(|| {
                wanted.push(address.to_string());
                None
            });
        }
        // Each process looks up one after the other.
        let each = wanted.len().div_ceil(SIDE_BY_SIDE).max(1);
        let deadline = self.deadline;
        let printed: Vec<String> = thread::scope(|scope| {
            let begun = wanted.chunks(each).map(|keys| {
                let work = move || getent("hosts", keys, deadline).unwrap_or_default();
                // Where no thread can be had, names are what is done without.
                thread::Builder::new().spawn_scoped(scope, work)
            });
            let begun: Vec<_> = begun.flatten().collect();
            begun.into_iter().flat_map(|thread| thread.join()).collect()
        });
        // ADDRESS NAME [ALIAS]...
        for line in printed.iter().flat_map(|printed| printed.lines()) {
            let mut words = line.split_whitespace();
            let address = words.next().and_then(|word| word.parse().ok());
            if let (Some(address), Some(name)) = (address, words.next()) {
                self.names.insert(address, Some(name.to_owned()));
            }
        }
    }
}

impl Names for Looked {
    fn host_of(&self, address: IpAddr) -> Option<&str> {
        self.names.get(&address)?.as_deref()
    }

    fn port_of(&self, port: u16, protocol: Protocol) -> Option<&str> {
        self.ports.name(port, protocol)
    }
}
