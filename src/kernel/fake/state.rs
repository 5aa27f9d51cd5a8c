//! Everything that one network namespace of the fake kernel holds.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use super::{
    abi::FAMILY_NAME,
    fault::Rule,
    proc::{ConnectionSource, Sysctls},
    table::{Counters, Table},
};

/// The state, behind the one lock that the kernel has too.
#[derive(Debug)]
pub(super) struct State {
    pub(super) config: Config,
    /// The family's number while the module is loaded.
    pub(super) family: Option<u16>,
    /// The number that the family gets when the module is loaded again.
    pub(super) next_family: u16,
    /// Whether callers have CAP_NET_ADMIN.
    pub(super) permitted: bool,
    pub(super) table: Table,
    pub(super) timeouts: Timeouts,
    pub(super) daemons: Daemons,
    pub(super) totals: Counters,
    /// The schedulers and engines (`pe_sip`) that were asked for, whose modules stay loaded.
    pub(super) modules: BTreeSet<&'static str>,
    pub(super) sysctls: Sysctls,
    pub(super) connections: ConnectionSource,
    /// Files below /proc that tests laid down.
    pub(super) files: BTreeMap<String, String>,
    pub(super) rules: Vec<Rule>,
    pub(super) counts: BTreeMap<CountKey, u64>,
    pub(super) next_port: u32,
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
            daemons: Daemons::default(),
            totals: Counters::default(),
            modules: BTreeSet::new(),
            sysctls: Sysctls::default(),
            connections: ConnectionSource::default(),
            files: BTreeMap::new(),
            rules: Vec::new(),
            counts: BTreeMap::new(),
            next_port: 0,
        }
    }
}

/// The family's number in the recorded messages of the real kernel.
const FIRST_FAMILY: u16 = 28;

impl State {
    /// Takes the module out of the kernel, and all that it kept with it.
    pub(super) fn unload(&mut self) {
        self.family = None;
        self.table = Table::default();
        self.timeouts = Timeouts::default();
        self.daemons = Daemons::default();
        self.totals = Counters::default();
        self.modules.clear();
        self.sysctls = Sysctls::default();
        self.connections = ConnectionSource::default();
    }

    /// Loads the module again, under a new number.
    pub(super) fn load(&mut self) {
        if self.family.is_none() {
            self.family = Some(self.next_family);
            // Numbers start again where the kernel's own range of families does.
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

/// What is counted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum CountKey {
    Command(u8),
    Dump(u8),
    Lookup,
    Send,
    Open(String),
}

/// The kernel's 32 KiB less its own trailer: 90 services or 81 real servers.
pub(super) const LARGEST_DUMP: usize = 32768 - 320;

/// What differs between kernels and machines.
#[derive(Debug, Clone)]
pub(super) struct Config {
    pub(super) hz: u32,
    pub(super) table_size: u32,
    pub(super) ipv6: bool,
    pub(super) padded: bool,
    /// Bytes of answers that a socket holds before it drops some.
    pub(super) receive_buffer: usize,
    /// The most bytes in one datagram of a dump.
    pub(super) dump_size: usize,
    /// Interfaces and their MTUs.
    pub(super) interfaces: BTreeMap<String, u32>,
    pub(super) broadcasts: Vec<Ipv4Addr>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hz: 250,
            table_size: 4096,
            ipv6: true,
            padded: true,
            receive_buffer: 4 << 20,
            dump_size: LARGEST_DUMP,
            interfaces: BTreeMap::from([("lo".to_owned(), 65536), ("eth0".to_owned(), 1500)]),
            broadcasts: Vec::new(),
        }
    }
}

/// The timeouts of connections, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timeouts {
    pub(super) tcp: u32,
    pub(super) tcp_fin: u32,
    pub(super) udp: u32,
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

/// The running sync daemons.
#[derive(Debug, Clone, Default)]
pub(super) struct Daemons {
    pub(super) master: Option<Daemon>,
    pub(super) backup: Option<Daemon>,
}

impl Daemons {
    pub(super) fn any(&self) -> bool {
        self.master.is_some() || self.backup.is_some()
    }
}

/// A sync daemon, with the defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Daemon {
    pub(super) interface: String,
    pub(super) sync_id: u32,
    pub(super) maxlen: u16,
    pub(super) group: IpAddr,
    pub(super) port: u16,
    pub(super) ttl: u8,
}
