//! A sample: the counters at one time.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use crate::{
    budget::{Budget, Charge},
    model::{Error, Server, ServerKey, ServiceEntry, ServiceKey, Stats},
};

/// The shortest time over which a rate is computed: two refreshes of the kernel's counters. Over a single one,
/// a sample that comes shortly before or after the refresh would show none or two of them.
pub const MIN_WINDOW: Duration = Duration::from_secs(4);

/// What was read for a sample.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// When the table was read.
    pub at: Instant,
    /// The same by the clock of the system.
    pub time: Timestamp,
    /// Whether the kernel refreshes counters.
    pub estimation: bool,
    /// The totals since the last zero (`/proc/net/ip_vs_stats`), which the kernel refreshes like the others.
    pub totals: Stats,
    /// The totals that the kernel counts with each packet, which are never zeroed (the lines of processors in
    /// `/proc/net/ip_vs_stats_percpu`).
    pub counted: Option<Stats>,
    /// Services with their servers.
    pub table: &'a [ServiceEntry],
}

/// The counters at one time. Services are in the order of the table.
#[derive(Debug)]
pub struct Sample {
    pub(super) at: Instant,
    pub(super) time: Timestamp,
    pub(super) estimation: bool,
    /// Whether the kernel has refreshed the counters for some time, so that a difference of counters is what
    /// happened between the two samples. After a pause, it counts what it missed at once.
    pub(super) is_steady: bool,
    pub(super) totals: Stats,
    pub(super) counted: Option<Stats>,
    pub(super) services: Vec<ServiceSample>,
    /// The servers of the services whose servers somebody watches.
    pub(super) servers: HashMap<ServiceKey, Vec<ServerSample>>,
    bytes: usize,
    _charge: Charge,
}

/// A service in a sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServiceSample {
    pub(super) key: ServiceKey,
    /// When it was first seen since its counters went back or it was made.
    pub(super) since: Instant,
    pub(super) stats: Stats,
    pub(super) server_count: u32,
    pub(super) available_server_count: u32,
    pub(super) active_connections: u64,
    pub(super) inactive_connections: u64,
}

/// A server in a sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerSample {
    pub(super) key: ServerKey,
    /// As of a service.
    pub(super) since: Instant,
    pub(super) weight: u32,
    pub(super) active_connections: u32,
    pub(super) inactive_connections: u32,
    pub(super) persistent_connections: u32,
    pub(super) stats: Stats,
}

// === impl Sample ===

impl Sample {
    /// A sample with the servers of the services for which `is_detailed` is true.
    pub(super) fn new(
        reading: &Reading<'_>,
        is_steady: bool,
        is_detailed: impl Fn(ServiceKey) -> bool,
        budget: &Budget,
    ) -> Result<Self, Error> {
        let Reading {
            at,
            time,
            estimation,
            totals,
            counted,
            table,
        } = *reading;
        let detailed = || table.iter().filter(|entry| is_detailed(entry.service.key));
        let servers: usize = detailed().map(|entry| entry.servers.len()).sum();
        let bytes = size_of::<Self>()
            + table.len() * size_of::<ServiceSample>()
            + servers * size_of::<ServerSample>();
        let charge = budget.charge(bytes)?;
        Ok(Self {
            at,
            time,
            estimation,
            is_steady,
            totals,
            counted,
            services: table
                .iter()
                .map(|entry| ServiceSample::of(entry, at))
                .collect(),
            servers: detailed()
                .map(|entry| {
                    let servers = entry
                        .servers
                        .iter()
                        .map(|server| ServerSample::of(server, at));
                    (entry.service.key, servers.collect())
                })
                .collect(),
            bytes,
            _charge: charge,
        })
    }

    /// Notes which counters have not gone back since the sample before.
    pub(super) fn follow(&mut self, previous: &Self) {
        let known: HashMap<_, _> = previous.services.iter().map(|one| (one.key, one)).collect();
        for service in &mut self.services {
            if let Some(before) = known.get(&service.key)
                && has_gone_on(&before.stats, &service.stats)
            {
                service.since = before.since;
            }
        }
        for (key, servers) in &mut self.servers {
            let before = previous.servers.get(key).into_iter().flatten();
            let known: HashMap<_, _> = before.map(|one| (one.key, one)).collect();
            for server in servers {
                if let Some(before) = known.get(&server.key)
                    && has_gone_on(&before.stats, &server.stats)
                {
                    server.since = before.since;
                }
            }
        }
    }

    /// Memory in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Time from an older sample to this one.
    pub(super) fn since(&self, older: &Self) -> Duration {
        self.at.saturating_duration_since(older.at)
    }
}

// === impl ServiceSample ===

impl ServiceSample {
    fn of(entry: &ServiceEntry, since: Instant) -> Self {
        let servers = &entry.servers;
        let sum = |of: fn(&Server) -> u32| servers.iter().map(|server| u64::from(of(server))).sum();
        let available = servers.iter().filter(|server| server.effective_weight > 0);
        Self {
            key: entry.service.key,
            since,
            stats: entry.service.stats,
            server_count: count(servers.len()),
            available_server_count: count(available.count()),
            active_connections: sum(|server| server.active_connections),
            inactive_connections: sum(|server| server.inactive_connections),
        }
    }
}

/// Whether no counter went back.
fn has_gone_on(before: &Stats, now: &Stats) -> bool {
    let mut values = before.values().into_iter().zip(now.values());
    values.all(|(before, now)| before <= now)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

// === impl ServerSample ===

impl ServerSample {
    fn of(server: &Server, since: Instant) -> Self {
        Self {
            key: server.key,
            since,
            weight: server.effective_weight,
            active_connections: server.active_connections,
            inactive_connections: server.inactive_connections,
            persistent_connections: server.persistent_connections,
            stats: server.stats,
        }
    }
}
