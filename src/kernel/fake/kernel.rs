//! The simulated kernel: its configuration, and direct access to its state.

use std::{
    fmt::{self, Debug},
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    connections::{ConnectionSource, LineIter},
    counters::Counters,
    destination::{Connections, Destination},
    fault::Faults,
    service::{Service, ServiceId},
    state::{Config, CountKey, State},
};

/// An in-memory kernel. Clones share one state and can be used by any number of threads.
///
/// A new kernel has no services, the interfaces `lo` and `eth0`, HZ 250 and the default timeouts.
#[derive(Clone, Default)]
pub struct FakeKernel {
    state: Arc<Mutex<State>>,
}

impl FakeKernel {
    /// A kernel with an empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// The faults to inject.
    pub fn faults(&self) -> Faults<'_> {
        Faults::new(self)
    }

    /// Locks the state. A poisoned lock is usable, because no change holds the lock while it is
    /// incomplete.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Debug for FakeKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakeKernel")
    }
}

/// Properties that differ between kernels and hosts. Set before the first client connects.
impl FakeKernel {
    /// Timer ticks per second, which limit timeouts. Default 250; real kernels have 100 to 1000.
    pub fn set_hz(&self, hz: u32) {
        self.configure(|config| config.hz = hz.max(1));
    }

    /// Buckets of the connection table in replies to GET_INFO. Default 4096; Linux 7 has 0 or 256.
    pub fn set_table_size(&self, buckets: u32) {
        self.configure(|config| config.table_size = buckets);
    }

    /// Whether the kernel supports IPv6. Default true. Otherwise, AF_INET6 fails with EAFNOSUPPORT.
    pub fn set_ipv6(&self, enabled: bool) {
        self.configure(|config| config.ipv6 = enabled);
    }

    /// The kernel was built without UDP for IPVS: its timeout is 0, and stays 0.
    pub fn remove_udp(&self) {
        self.state().timeouts.udp = 0;
    }

    /// Whether padding attributes align 64-bit numbers, as on machines without unaligned access.
    /// Default true.
    pub fn set_padding(&self, padded: bool) {
        self.configure(|config| config.padded = padded);
    }

    /// The receive buffer of each socket in bytes. If it is full, replies are dropped and `receive`
    /// fails with ENOBUFS. Default 4 MiB; that of the kernel is 212,992. An acknowledgement uses
    /// 768.
    pub fn set_receive_buffer(&self, bytes: usize) {
        self.configure(|config| config.receive_buffer = bytes);
    }

    /// The maximum size of a dump datagram in bytes. Default 32,448, as in the kernel. An entry has
    /// 336 to 400 bytes, and a datagram at least one entry, so a smaller size splits the dumps of
    /// small tables.
    pub fn set_dump_size(&self, bytes: usize) {
        self.configure(|config| config.dump_size = bytes);
    }

    /// Adds an interface for sync daemons, with its MTU.
    pub fn add_interface(&self, name: &str, mtu: u32) {
        self.configure(|config| config.add_interface(name, mtu));
    }

    /// Removes an interface. Daemons that use it run on without it.
    pub fn remove_interface(&self, name: &str) {
        self.configure(|config| {
            config.interfaces.remove(name);
        });
    }

    /// Adds the broadcast address of a connected network. No real server can have it.
    pub fn add_broadcast(&self, address: Ipv4Addr) {
        self.configure(|config| config.broadcasts.push(address));
    }

    fn configure(&self, change: impl FnOnce(&mut Config)) {
        change(&mut self.state().config);
    }
}

/// Direct access to the table without checks, as by another program.
impl FakeKernel {
    /// All services with their real servers, in dump order.
    pub fn services(&self) -> Vec<Service> {
        self.state().table.services().cloned().collect()
    }

    /// One service.
    pub fn service(&self, id: ServiceId) -> Option<Service> {
        self.state().table.get(&id).cloned()
    }

    /// Adds a service. Returns false if it already exists.
    pub fn add_service(&self, service: Service) -> bool {
        let table = &mut self.state().table;
        let is_new = table.get(&service.id).is_none();
        if is_new {
            table.insert(service);
        }
        is_new
    }

    /// Removes a service. Returns false if it does not exist.
    pub fn remove_service(&self, id: ServiceId) -> bool {
        self.state().table.remove(&id).is_ok()
    }

    /// Adds a real server. Returns false if it already exists or the service does not.
    pub fn add_destination(&self, id: ServiceId, new: Destination) -> bool {
        let table = &mut self.state().table;
        let exists = table
            .get(&id)
            .is_some_and(|old| old.destination(new.address).is_some());
        !exists && table.insert_destination(&id, new).is_ok()
    }

    /// Removes a real server. Returns false if it does not exist.
    pub fn remove_destination(&self, id: ServiceId, address: SocketAddr) -> bool {
        self.state().table.remove_destination(&id, address).is_ok()
    }

    /// Removes all services.
    pub fn flush(&self) {
        self.state().table.clear();
    }

    /// Sets the counters of a service. Returns false if it does not exist.
    pub fn set_counters(&self, id: ServiceId, counters: Counters) -> bool {
        self.state()
            .table
            .get_mut(&id)
            .map(|service| service.counters = counters)
            .is_some()
    }

    /// Sets connections and counters of a real server. Returns false if it does not exist.
    pub fn set_traffic(
        &self,
        id: ServiceId,
        address: SocketAddr,
        connections: Connections,
        counters: Counters,
    ) -> bool {
        let mut state = self.state();
        let destination = state
            .table
            .get_mut(&id)
            .and_then(|service| service.destination_mut(address));
        destination
            .map(|it| (it.connections, it.counters) = (connections, counters))
            .is_some()
    }

    /// Sets the totals in `/proc/net/ip_vs_stats`.
    pub fn set_totals(&self, counters: Counters) {
        self.state().totals = counters;
    }

    /// Sets the lines of `/proc/net/ip_vs_conn` below the header.
    pub fn set_connections(&self, lines: Vec<String>) {
        let lines = Arc::new(lines);
        self.set_connection_source(move || {
            let lines = Arc::clone(&lines);
            Box::new((0..lines.len()).filter_map(move |index| lines.get(index).cloned()))
        });
    }

    /// Sets a function that returns the lines of `/proc/net/ip_vs_conn` whenever the file is opened.
    pub fn set_connection_source(&self, lines: impl Fn() -> LineIter + Send + Sync + 'static) {
        self.state().connections = ConnectionSource::new(lines);
    }

    /// Sets the content of a file below `/proc`, such as `net/ip_vs_app`. It has precedence over a
    /// built-in file with the same path.
    pub fn set_file(&self, path: &str, text: &str) {
        self.state().files.insert(path.to_owned(), text.to_owned());
    }
}

/// Request counters, for tests.
impl FakeKernel {
    /// Number of requests with a [`command`](super::command), including failed ones and dumps.
    pub fn commands(&self, command: u8) -> u64 {
        self.counted(&CountKey::Command(command))
    }

    /// Number of dumps started with a [`command`](super::command).
    pub fn dumps(&self, command: u8) -> u64 {
        self.counted(&CountKey::Dump(command))
    }

    /// Number of family lookups.
    pub fn lookups(&self) -> u64 {
        self.counted(&CountKey::Lookup)
    }

    /// Number of datagrams sent to the kernel.
    pub fn sends(&self) -> u64 {
        self.counted(&CountKey::Send)
    }

    /// How often a file below `/proc` was opened for reading.
    pub fn opens(&self, path: &str) -> u64 {
        self.counted(&CountKey::Open(path.to_owned()))
    }

    /// Resets all request counters.
    pub fn reset_counts(&self) {
        self.state().counts.clear();
    }

    fn counted(&self, key: &CountKey) -> u64 {
        self.state().counts.get(key).copied().unwrap_or(0)
    }
}
