//! Names on this machine: what a command line means is looked up here, not at the director.

use std::{
    cell::{OnceCell, RefCell},
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use dns_lookup::{AddrInfoHints, getaddrinfo, lookup_addr};

use crate::{
    model::Protocol,
    rules::{Names, Resolver, WellKnownPorts},
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
/// Lookups at a time.
const SIDE_BY_SIDE: usize = 64;

// === impl System ===

impl Resolver for System {
    fn host(&self, name: &str) -> Option<Ipv4Addr> {
        if let Some(known) = self.hosts.borrow().get(name) {
            return *known;
        }
        let hints = AddrInfoHints {
            // One answer an address instead of three.
            socktype: libc::SOCK_STREAM,
            // The original asks for nothing else.
            address: libc::AF_INET,
            ..AddrInfoHints::default()
        };
        let found = getaddrinfo(Some(name), None, Some(hints)).ok();
        let found = found.and_then(|found| {
            found.flatten().find_map(|one| match one.sockaddr.ip() {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            })
        });
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
        let mut wanted = VecDeque::new();
        for address in addresses {
            self.names.entry(address).or_insert_with(|| {
                wanted.push_back(address);
                None
            });
        }
        let mut missing = wanted.len();
        let workers = missing.min(SIDE_BY_SIDE);
        let wanted = Arc::new(Mutex::new(wanted));
        let (sender, found) = mpsc::channel();
        for _ in 0..workers {
            let (wanted, sender) = (wanted.clone(), sender.clone());
            // Where no thread can be had, names are what is done without.
            drop(thread::Builder::new().spawn(move || {
                loop {
                    let next = wanted
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .pop_front();
                    let Some(address) = next else { return };
                    let name = lookup_addr(&address).ok();
                    if sender.send((address, name)).is_err() {
                        return;
                    }
                }
            }));
        }
        drop(sender);
        while missing > 0 {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let Ok((address, name)) = found.recv_timeout(left) else {
                return;
            };
            self.names.insert(address, name);
            missing -= 1;
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
