//! An IPVS that lives in memory and speaks netlink bytes as the real kernel does, so that
//! everything above the [`Kernel`] trait is the same code in every test, in benchmarks and for
//! people who build clients without root (`--kernel fake`).
//!
//! It keeps the kernel's checks, their order and their errnos, and swallows whatever the kernel
//! swallows. It differs where no client can rely on the real one:
//!
//! * One fake kernel is one network namespace. Capabilities are one switch.
//! * There is no traffic: counters and connections are what a test sets
//!   ([`FakeKernel::set_counters`] and so on).
//! * There are no routes: of an IPv4 real server only 0.0.0.0, multicast, 255.255.255.255 and
//!   [configured](FakeKernel::add_broadcast) broadcast addresses are refused; no link-local IPv6
//!   address is ever one of the machine's own.
//! * A removed real server that comes back has its old counters, for as long as its service lives
//!   (the kernel forgets after some two minutes).
//! * A sync daemon is a record of its parameters: its sockets never fail.
//! * Services are dumped in the order of the kernel's hash without its share of the namespace's
//!   address, so it is the same at every start.
//! * No extended acknowledgements: IPVS hardly sends any.

mod abi;
mod dump;
mod fault;
mod proc;
mod replies;
mod requests;
mod socket;
mod state;
mod table;
#[cfg(test)]
mod tests;
mod wire;

use std::{
    fmt::{self, Debug},
    io::{self, Read},
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub use abi::command;
pub use fault::{Fault, Faults, Hook, Mangler, On};
pub use proc::Lines;
pub use table::{Connections, Counters, Destination, Service, ServiceId};

use super::{Kernel, Transport};
use proc::ConnectionSource;
use socket::FakeSocket;
use state::{Config, CountKey, State};

/// A kernel in memory. Clones are handles to the same one, for any number of threads.
///
/// A new one has no services, the interfaces `lo` and `eth0`, HZ 250, default timeouts.
#[derive(Clone, Default)]
pub struct FakeKernel {
    state: Arc<Mutex<State>>,
}

impl FakeKernel {
    /// A kernel with an empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// How it misbehaves.
    pub fn faults(&self) -> Faults<'_> {
        Faults::new(self)
    }

    /// The state. A panic elsewhere while it was locked leaves it usable: no lock is ever held
    /// over a half-done change.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kernel for FakeKernel {
    fn enter(&self) -> io::Result<()> {
        Ok(())
    }

    fn connect(&self) -> io::Result<Box<dyn Transport>> {
        let port = {
            let mut state = self.state();
            state.next_port = state.next_port.wrapping_add(1).max(1);
            state.next_port
        };
        Ok(Box::new(FakeSocket::new(self.clone(), port)))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn Read + Send>> {
        let mut state = self.state();
        state.count(CountKey::Open(path.to_owned()));
        state.open(path)
    }

    fn write(&self, path: &str, text: &str) -> io::Result<()> {
        self.state().write(path, text)
    }
}

impl Debug for FakeKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakeKernel")
    }
}

/// The machine: what differs between kernels. To be set before clients use it.
impl FakeKernel {
    /// Ticks per second, by which timeouts overflow: 100 to 1000 in real kernels, 250 here.
    pub fn set_hz(&self, hz: u32) {
        self.configure(|config| config.hz = hz.max(1));
    }

    /// Buckets of the connection table as GET_INFO tells them: 4096; kernels 7.x say 0 or 256.
    pub fn set_table_size(&self, buckets: u32) {
        self.configure(|config| config.table_size = buckets);
    }

    /// Whether the kernel has IPv6: true. Without, AF_INET6 fails with EAFNOSUPPORT.
    pub fn set_ipv6(&self, enabled: bool) {
        self.configure(|config| config.ipv6 = enabled);
    }

    /// Whether 64-bit numbers are aligned by filler attributes, as on machines that need it: true.
    pub fn set_padding(&self, padded: bool) {
        self.configure(|config| config.padded = padded);
    }

    /// The receive buffer of each socket in bytes, beyond which answers are dropped and `receive`
    /// fails with ENOBUFS: 4 MiB. An acknowledgement costs 768; the kernel's default is 212,992.
    pub fn set_receive_buffer(&self, bytes: usize) {
        self.configure(|config| config.receive_buffer = bytes);
    }

    /// The most bytes in a datagram of a dump: 32,448 as in the kernel. Less (an entry is 336 to
    /// 400 bytes; there is always one in a datagram) makes small tables come in many datagrams.
    pub fn set_dump_size(&self, bytes: usize) {
        self.configure(|config| config.dump_size = bytes);
    }

    /// Adds an interface for sync daemons, with its MTU.
    pub fn add_interface(&self, name: &str, mtu: u32) {
        self.configure(|config| {
            config.interfaces.insert(name.to_owned(), mtu);
        });
    }

    /// Removes an interface; daemons on it go on.
    pub fn remove_interface(&self, name: &str) {
        self.configure(|config| {
            config.interfaces.remove(name);
        });
    }

    /// Makes an address the broadcast address of a connected network: no real server may have it.
    pub fn add_broadcast(&self, address: Ipv4Addr) {
        self.configure(|config| config.broadcasts.push(address));
    }

    fn configure(&self, change: impl FnOnce(&mut Config)) {
        change(&mut self.state().config);
    }
}

/// The table: looked at and changed past all checks, as by someone else.
impl FakeKernel {
    /// All services with their real servers, in the order of dumps.
    pub fn services(&self) -> Vec<Service> {
        self.state().table.services().cloned().collect()
    }

    /// One service.
    pub fn service(&self, id: ServiceId) -> Option<Service> {
        self.state().table.get(&id).cloned()
    }

    /// Adds a service. False if it is there already.
    pub fn add_service(&self, service: Service) -> bool {
        let table = &mut self.state().table;
        let is_new = table.get(&service.id).is_none();
        if is_new {
            table.insert(service);
        }
        is_new
    }

    /// Removes a service. False if there is none.
    pub fn remove_service(&self, id: ServiceId) -> bool {
        self.state().table.remove(&id).is_ok()
    }

    /// Adds a real server. False if it is there already or its service is not.
    pub fn add_destination(&self, id: ServiceId, new: Destination) -> bool {
        let table = &mut self.state().table;
        let is_known = table
            .get(&id)
            .is_some_and(|old| old.destination(new.address).is_some());
        !is_known && table.insert_destination(&id, new).is_ok()
    }

    /// Removes a real server. False if there is none.
    pub fn remove_destination(&self, id: ServiceId, address: SocketAddr) -> bool {
        self.state().table.remove_destination(&id, address).is_ok()
    }

    /// Removes all services.
    pub fn flush(&self) {
        self.state().table.clear();
    }

    /// Sets the counters of a service. False if there is none.
    pub fn set_counters(&self, id: ServiceId, counters: Counters) -> bool {
        self.state()
            .table
            .get_mut(&id)
            .map(|service| service.counters = counters)
            .is_some()
    }

    /// Sets the traffic of a real server. False if there is none.
    pub fn set_traffic(
        &self,
        id: ServiceId,
        address: SocketAddr,
        connections: Connections,
        counters: Counters,
    ) -> bool {
        let mut state = self.state();
        let dest = state
            .table
            .get_mut(&id)
            .and_then(|service| service.destination_mut(address));
        dest.map(|dest| (dest.connections, dest.counters) = (connections, counters))
            .is_some()
    }

    /// Sets the counters of the whole table, which `/proc/net/ip_vs_stats` shows.
    pub fn set_totals(&self, counters: Counters) {
        self.state().totals = counters;
    }

    /// Sets the lines of `/proc/net/ip_vs_conn` below its header.
    pub fn set_connections(&self, lines: Vec<String>) {
        let lines = Arc::new(lines);
        self.set_connection_source(move || {
            let lines = Arc::clone(&lines);
            Box::new((0..lines.len()).filter_map(move |index| lines.get(index).cloned()))
        });
    }

    /// Sets a source of lines for `/proc/net/ip_vs_conn`, asked anew each time the file is opened.
    pub fn set_connection_source(&self, lines: impl Fn() -> Lines + Send + Sync + 'static) {
        self.state().connections = ConnectionSource::new(lines);
    }

    /// Lays down a file below `/proc`, such as `net/ip_vs_app`; it hides one of the same path.
    pub fn set_file(&self, path: &str, text: &str) {
        self.state().files.insert(path.to_owned(), text.to_owned());
    }
}

/// What was asked of it, for tests that count.
impl FakeKernel {
    /// How many requests of a [`command`] it has had, failed ones and dumps included.
    pub fn commands(&self, command: u8) -> u64 {
        self.counted(&CountKey::Command(command))
    }

    /// How many dumps of a [`command`] it has begun. `dumps(command::GET_SERVICE)` are sweeps.
    pub fn dumps(&self, command: u8) -> u64 {
        self.counted(&CountKey::Dump(command))
    }

    /// How many lookups of families it has had.
    pub fn lookups(&self) -> u64 {
        self.counted(&CountKey::Lookup)
    }

    /// How many datagrams were sent to it.
    pub fn sends(&self) -> u64 {
        self.counted(&CountKey::Send)
    }

    /// How often a file below `/proc` was opened for reading.
    pub fn opens(&self, path: &str) -> u64 {
        self.counted(&CountKey::Open(path.to_owned()))
    }

    /// Starts all counts anew.
    pub fn reset_counts(&self) {
        self.state().counts.clear();
    }

    fn counted(&self, key: &CountKey) -> u64 {
        self.state().counts.get(key).copied().unwrap_or(0)
    }
}
