//! The state of the simulated network namespace.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use super::{
    connections::ConnectionSource,
    counters::Counters,
    fault::Rule,
    sync_daemon::{Interface, SyncDaemons},
    sysctl::Sysctls,
    table::Table,
};
use crate::codec::uapi::FAMILY_NAME;

/// The number of the family in the recorded messages of the real kernel.
const FIRST_FAMILY: u16 = 28;

/// The state, protected by one lock as in the kernel.
#[derive(Debug)]
pub(super) struct State {
    pub(super) config: Config,
    /// The number of the family; `None` while the module is not loaded.
    pub(super) family: Option<u16>,
    /// The number of the family when the module is loaded again.
    next_family: u16,
    /// Whether callers have CAP_NET_ADMIN.
    pub(super) permitted: bool,
    pub(super) table: Table,
    pub(super) timeouts: Timeouts,
    pub(super) daemons: SyncDaemons,
    pub(super) totals: Counters,
    /// Loaded modules of schedulers (`rr`) and engines (`pe_sip`).
    pub(super) modules: BTreeSet<&'static str>,
    pub(super) sysctls: Sysctls,
    pub(super) connections: ConnectionSource,
    /// The inode of the last socket of a sync daemon.
    pub(super) last_inode: u64,
    /// Contents of files below /proc that tests set.
    pub(super) files: BTreeMap<String, String>,
    pub(super) rules: Vec<Rule>,
    pub(super) counts: BTreeMap<CountKey, u64>,
    pub(super) next_port: u32,
}

/// Key of a request counter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum CountKey {
    Command(u8),
    Dump(u8),
    Lookup,
    Send,
    Open(String),
}

/// Properties that differ between kernels and hosts.
#[derive(Debug, Clone)]
pub(super) struct Config {
    pub(super) hz: u32,
    pub(super) table_size: u32,
    pub(super) ipv6: bool,
    pub(super) padded: bool,
    /// Size of a socket's receive buffer in bytes.
    pub(super) receive_buffer: usize,
    /// Maximum size of a dump datagram in bytes.
    pub(super) dump_size: usize,
    pub(super) interfaces: BTreeMap<String, Interface>,
    pub(super) last_index: u32,
    pub(super) broadcasts: Vec<Ipv4Addr>,
}

/// The timeouts of connections in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timeouts {
    pub(super) tcp: u32,
    pub(super) tcp_fin: u32,
    pub(super) udp: u32,
}

impl Default for State {
    fn default() -> Self {
        Self {
            config: Config::default(),
            family: Some(FIRST_FAMILY),
            next_family: FIRST_FAMILY + 1,
            permitted: true,
            table: Table::default(),
            timeouts: Timeouts::default(),
            daemons: SyncDaemons::default(),
            totals: Counters::default(),
            modules: BTreeSet::new(),
            sysctls: Sysctls::default(),
            connections: ConnectionSource::default(),
            last_inode: 0,
            files: BTreeMap::new(),
            rules: Vec::new(),
            counts: BTreeMap::new(),
            next_port: 0,
        }
    }
}

impl State {
    /// Unloads the module. All state of IPVS is lost.
    pub(super) fn unload(&mut self) {
        self.family = None;
        self.table = Table::default();
        self.timeouts = Timeouts::default();
        self.daemons = SyncDaemons::default();
        self.totals = Counters::default();
        self.modules.clear();
        self.sysctls = Sysctls::default();
        self.connections = ConnectionSource::default();
    }

    /// Loads the module again. The family gets a new number.
    pub(super) fn load(&mut self) {
        if self.family.is_none() {
            self.family = Some(self.next_family);
            self.next_family = self.next_family.checked_add(1).unwrap_or(FIRST_FAMILY);
        }
    }

    pub(super) fn family_named(&self, name: &str) -> Option<u16> {
        self.family.filter(|_| name == FAMILY_NAME)
    }

    pub(super) fn count(&mut self, key: CountKey) {
        *self.counts.entry(key).or_default() += 1;
    }
}

impl Config {
    /// The kernel's limit: 32 KiB less the overhead of the buffer. It fits 90 services or 81 real
    /// servers.
    const DUMP_SIZE: usize = 32768 - 320;

    /// Adds an interface, which gets an index that no other has had.
    pub(super) fn add_interface(&mut self, name: &str, mtu: u32) {
        self.last_index += 1;
        let index = self.last_index;
        let interface = Interface { index, mtu };
        self.interfaces.insert(name.to_owned(), interface);
    }
}

impl Default for Config {
    fn default() -> Self {
        let mut config = Self {
            hz: 250,
            table_size: 4096,
            ipv6: true,
            padded: true,
            receive_buffer: 4 << 20,
            dump_size: Self::DUMP_SIZE,
            interfaces: BTreeMap::new(),
            last_index: 0,
            broadcasts: Vec::new(),
        };
        config.add_interface("lo", 65536);
        config.add_interface("eth0", 1500);
        config
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            tcp: 900,
            tcp_fin: 120,
            udp: 300,
        }
    }
}
