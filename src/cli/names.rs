//! Name resolution on this machine, not on the director.

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

/// Resolves the names of command lines with the system's resolver, each name once.
#[derive(Debug, Default)]
pub(super) struct SystemResolver {
    hosts: RefCell<HashMap<String, Option<Ipv4Addr>>>,
    ports: OnceCell<WellKnownPorts>,
}

/// Names of addresses, resolved in parallel.
#[derive(Debug)]
pub(super) struct ResolvedNames {
    names: HashMap<IpAddr, Option<String>>,
    ports: WellKnownPorts,
    /// When resolution ends.
    deadline: Instant,
}

const SERVICES: &str = "/etc/services";
/// Time limit for all names of a listing. Addresses without a name by then are printed as numbers.
const LISTING_TIMEOUT: Duration = Duration::from_secs(5);
/// Time limit for the address of a host on a command line.
const HOST_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum number of getent processes at a time.
const MAX_PROCESSES: usize = 64;

// === impl SystemResolver ===

impl Resolver for SystemResolver {
    fn host(&self, name: &str) -> Option<Ipv4Addr> {
        if let Some(known) = self.hosts.borrow().get(name) {
            return *known;
        }
        // Like ipvsadm: the first IPv4 address.
        let printed = getent("ahostsv4", [name], Instant::now() + HOST_TIMEOUT);
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

// === impl ResolvedNames ===

impl ResolvedNames {
    /// Reads the port names; no address is resolved yet.
    pub(super) fn new() -> Self {
        Self {
            names: HashMap::new(),
            ports: well_known(),
            deadline: Instant::now() + LISTING_TIMEOUT,
        }
    }

    /// Resolves the addresses that are new, until the time limit.
    pub(super) fn resolve(&mut self, addresses: impl IntoIterator<Item = IpAddr>) {
        let mut pending = Vec::new();
        for address in addresses {
            self.names.entry(address).or_insert_with(|| {
                pending.push(address.to_string());
                None
            });
        }
        // A process resolves its addresses one after the other.
        let chunk = pending.len().div_ceil(MAX_PROCESSES).max(1);
        let deadline = self.deadline;
        let printed: Vec<String> = thread::scope(|scope| {
            let threads = pending.chunks(chunk).map(|keys| {
                let work = move || getent("hosts", keys, deadline).unwrap_or_default();
                // Without a thread, the addresses stay numbers.
                thread::Builder::new().spawn_scoped(scope, work)
            });
            let threads: Vec<_> = threads.flatten().collect();
            threads
                .into_iter()
                .flat_map(|thread| thread.join())
                .collect()
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

impl Names for ResolvedNames {
    fn host_of(&self, address: IpAddr) -> Option<&str> {
        self.names.get(&address)?.as_deref()
    }

    fn port_of(&self, port: u16, protocol: Protocol) -> Option<&str> {
        self.ports.name(port, protocol)
    }
}
