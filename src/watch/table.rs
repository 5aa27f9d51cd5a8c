//! The table as last seen, and how reads and operations change it.

use std::{collections::BTreeMap, mem, sync::Arc};

use foldhash::{HashMap, HashSet, HashSetExt};

use super::{
    event::{self, Change, Member, Present},
    kept::KeptServices,
    resource::Resource,
    touched::Touched,
};
use crate::model::{Op, Server, ServerConfig, ServerKey, ServiceConfig, ServiceEntry, ServiceKey};

/// The configuration of the table as last seen. Its servers are in the kernel's order, so that a dump
/// that shows no change is compared in one pass.
#[derive(Debug, Default)]
pub(super) struct LastSeen {
    services: BTreeMap<ServiceKey, Entry>,
    /// The number of servers.
    servers: usize,
    /// Services that the last dump of all services did not show, if it may have left them out.
    doubtful: HashSet<ServiceKey>,
}

/// A service as last seen.
#[derive(Debug)]
struct Entry {
    config: ServiceConfig,
    servers: Vec<Member>,
    /// Servers that the last dump did not show, if it may have left them out.
    doubtful: Vec<ServerKey>,
}

/// A change of the table.
#[derive(Debug)]
pub(super) struct Difference {
    pub(super) service: ServiceKey,
    pub(super) change: Change,
    /// Whether an operation of this process has made it.
    pub(super) is_own: bool,
}

/// The comparison of a read with the table.
#[derive(Debug)]
pub(super) struct Comparison<'a> {
    /// What has changed since the read began.
    touched: &'a Touched,
    /// Changes of other programs.
    pub(super) found: Vec<Difference>,
    /// Whether an object is missing that the read may have left out.
    pub(super) again: bool,
    /// Whether the read shows an object that differs from the table, and the events since it began do not
    /// report what becomes of it.
    pub(super) differs: bool,
}

/// A dump with fewer entries fills one datagram of the kernel, so that it is a snapshot. (Of one with
/// several, an entry is left out if another one before it is deleted meanwhile.)
const SNAPSHOT: usize = 64;

// === impl LastSeen ===

impl LastSeen {
    /// A table as a dump shows it.
    pub(super) fn of(entries: &[ServiceEntry]) -> Self {
        let services = entries.iter().map(|entry| {
            let servers = entry.servers.iter().map(member).collect();
            (entry.service.key, Entry::new(entry.service.config, servers))
        });
        Self {
            services: services.collect(),
            servers: entries.iter().map(|entry| entry.servers.len()).sum(),
            doubtful: HashSet::new(),
        }
    }

    /// Bytes that it occupies, about.
    pub(super) fn bytes(&self) -> usize {
        self.services.len() * (size_of::<(ServiceKey, Entry)>() * 3 / 2)
            + self.servers * size_of::<Member>()
    }

    // === reads ===

    /// Looks for services that a dump of all services does not show.
    pub(super) fn see_absent(&mut self, entries: &[ServiceEntry], comparison: &mut Comparison<'_>) {
        let doubtful = mem::take(&mut self.doubtful);
        let keys = || entries.iter().map(|entry| entry.service.key);
        let known = keys().filter(|key| self.services.contains_key(key));
        if known.count() == self.services.len() {
            return;
        }
        let present: HashSet<_> = keys().collect();
        let gone = self.services.keys().copied();
        let gone: Vec<_> = gone.filter(|key| !present.contains(key)).collect();
        let existing = comparison.touched.services_of_servers();
        for key in gone {
            let touched = comparison.touched.service(key);
            if comparison.leaves_out(touched.or(existing.contains(&key).then_some(false))) {
                continue;
            }
            if entries.len() >= SNAPSHOT && !doubtful.contains(&key) {
                self.doubtful.insert(key);
                comparison.again = true;
            } else {
                self.remove(key, false, &mut comparison.found);
            }
        }
    }

    /// Compares with a read that has not found the service.
    pub(super) fn see_missing(&mut self, key: ServiceKey, comparison: &mut Comparison<'_>) {
        let is_known = self.services.contains_key(&key);
        let existing = || comparison.touched.services_of_servers().contains(&key);
        let touched = comparison.touched.service(key);
        let touched = touched.or_else(|| existing().then_some(false));
        if is_known && !comparison.leaves_out(touched) {
            self.remove(key, false, &mut comparison.found);
        }
    }

    /// Compares with a read of a service without its servers.
    pub(super) fn see_service(
        &mut self,
        key: ServiceKey,
        config: &ServiceConfig,
        comparison: &mut Comparison<'_>,
    ) {
        let known = self.services.get(&key).map(|entry| &entry.config);
        if known != Some(config) && !comparison.leaves_out(comparison.touched.service(key)) {
            self.set_service(key, *config, false, &mut comparison.found);
        }
    }

    /// Compares with a read of all servers of a service.
    pub(super) fn see_servers(
        &mut self,
        key: ServiceKey,
        servers: &[Server],
        comparison: &mut Comparison<'_>,
    ) {
        let Some(entry) = self.services.get_mut(&key) else {
            comparison.differs |= !servers.is_empty();
            return;
        };
        let is_same = entry.servers.len() == servers.len()
            && (entry.servers.iter().zip(servers))
                .all(|((key, config), seen)| *key == seen.key && *config == seen.config);
        if is_same {
            entry.doubtful.clear();
            return;
        }
        let (kept, mut changes) = entry.gone(key, servers, comparison);
        let mut known: HashMap<_, _> = entry.servers.iter().copied().collect();
        let mut now = Vec::with_capacity(kept.len() + servers.len());
        now.extend(kept);
        for seen in servers {
            let before = known.remove(&seen.key);
            let is_equal = before == Some(seen.config);
            let after =
                match is_equal || comparison.leaves_out(comparison.touched.server(key, seen.key)) {
                    true => before,
                    false => Some(seen.config),
                };
            now.extend(after.map(|config| (seen.key, config)));
            if before != after {
                changes.push(entry.change(seen.key, before, after));
            }
        }
        self.servers = self.servers - entry.servers.len() + now.len();
        entry.servers = now;
        comparison
            .found
            .extend(changes.into_iter().map(|change| Difference {
                service: key,
                change,
                is_own: false,
            }));
    }

    /// Compares with a read of one server.
    pub(super) fn see_server(
        &mut self,
        key: ServiceKey,
        server: ServerKey,
        config: Option<&ServerConfig>,
        comparison: &mut Comparison<'_>,
    ) {
        let entry = self.services.get(&key);
        let known = entry.and_then(|entry| entry.servers.iter().find(|(key, _)| *key == server));
        if known.map(|(_, config)| config) != config
            && !comparison.leaves_out(comparison.touched.server(key, server))
        {
            self.set_server(key, server, config.copied(), false, &mut comparison.found);
        }
    }

    // === operations of this process ===

    /// The kernel has executed an operation. What it shows beside its effect is a change of another
    /// program: what was created did not exist before.
    pub(super) fn execute(&mut self, op: &Op, found: &mut Vec<Difference>) {
        match op {
            Op::CreateService(key, config, _) => {
                self.remove(*key, false, found);
                self.set_service(*key, *config, true, found);
            }
            Op::SetService(key, config) => self.set_service(*key, *config, true, found),
            Op::DeleteService(key) => self.remove(*key, true, found),
            Op::CreateServer(key, server, config) => {
                self.set_server(*key, *server, None, false, found);
                self.set_server(*key, *server, Some(*config), true, found);
            }
            Op::SetServer(key, server, config) => {
                self.set_server(*key, *server, Some(*config), true, found);
            }
            Op::DeleteServer(key, server) => self.set_server(*key, *server, None, true, found),
            Op::Clear => {
                let all: Vec<_> = self.services.keys().copied().collect();
                for key in all {
                    self.remove(key, true, found);
                }
            }
            Op::ZeroAll
            | Op::ZeroService(_)
            | Op::SetTimeouts(_)
            | Op::StartSyncDaemon(_)
            | Op::StopSyncDaemon(_)
            | Op::SetStored(..)
            | Op::SetSetting { .. } => {}
        }
    }

    /// The kernel has executed an operation after a dump began that the table is from, or before: the
    /// dump may show what it has created.
    pub(super) fn execute_again(&mut self, op: &Op, found: &mut Vec<Difference>) {
        match op {
            Op::CreateService(key, config, _) => self.set_service(*key, *config, true, found),
            Op::CreateServer(key, server, config) => {
                self.set_server(*key, *server, Some(*config), true, found);
            }
            op => self.execute(op, found),
        }
    }

    /// An object was as this operation restores it.
    pub(super) fn restore(&mut self, op: &Op, found: &mut Vec<Difference>) {
        match op {
            Op::SetService(key, config) => self.set_service(*key, *config, false, found),
            Op::SetServer(key, server, config) => {
                self.set_server(*key, *server, Some(*config), false, found);
            }
            _ => {}
        }
    }

    /// The change of a service of which something else is kept; `None` if it does not exist.
    pub(super) fn kept_anew(&self, key: ServiceKey) -> Option<Change> {
        let entry = self.services.get(&key)?;
        Some(Change::Service {
            before: Some(entry.config),
            after: Some(entry.config),
            servers: entry.servers.as_slice().into(),
        })
    }

    fn set_service(
        &mut self,
        key: ServiceKey,
        config: ServiceConfig,
        is_own: bool,
        found: &mut Vec<Difference>,
    ) {
        let entry = self.services.get_mut(&key);
        let before = entry.as_ref().map(|entry| entry.config);
        if before == Some(config) {
            return;
        }
        let mut servers = Arc::default();
        match entry {
            Some(entry) => {
                if entry.config.scheduler != config.scheduler {
                    servers = entry.servers.as_slice().into();
                }
                entry.config = config;
            }
            None => {
                self.services.insert(key, Entry::new(config, Vec::new()));
            }
        }
        let after = Some(config);
        found.push(Difference {
            service: key,
            change: Change::Service {
                before,
                after,
                servers,
            },
            is_own,
        });
    }

    /// Removes a service: first its servers.
    fn remove(&mut self, key: ServiceKey, is_own: bool, found: &mut Vec<Difference>) {
        let Some(entry) = self.services.remove(&key) else {
            return;
        };
        self.servers -= entry.servers.len();
        let servers = entry.servers.iter();
        let changes = servers.map(|(server, config)| entry.change(*server, Some(*config), None));
        let service = Change::Service {
            before: Some(entry.config),
            after: None,
            servers: Arc::default(),
        };
        found.extend(changes.chain([service]).map(|change| Difference {
            service: key,
            change,
            is_own,
        }));
    }

    /// Adds, changes or removes a server. Without its service nothing is known of it; the next dump shows
    /// both.
    fn set_server(
        &mut self,
        key: ServiceKey,
        server: ServerKey,
        after: Option<ServerConfig>,
        is_own: bool,
        found: &mut Vec<Difference>,
    ) {
        let Some(entry) = self.services.get_mut(&key) else {
            return;
        };
        let place = entry.servers.iter().position(|(key, _)| *key == server);
        let before = place.map(|place| entry.servers[place].1);
        if before == after {
            return;
        }
        match (place, after) {
            (Some(place), Some(config)) => entry.servers[place].1 = config,
            (Some(place), None) => {
                self.servers -= 1;
                entry.servers.remove(place);
            }
            // The kernel inserts a new server before the others.
            (None, Some(config)) => {
                self.servers += 1;
                entry.servers.insert(0, (server, config));
            }
            (None, None) => {}
        }
        found.push(Difference {
            service: key,
            change: entry.change(server, before, after),
            is_own,
        });
    }

    // === walks ===

    /// The objects after this one, in their order, at most `limit`, with what is kept about their services.
    pub(super) fn after(
        &self,
        last: Option<event::Entry>,
        limit: usize,
        kept: &KeptServices,
    ) -> Vec<Present> {
        let mut objects = Vec::new();
        let from = match last {
            Some((service, _)) => self.services.range(service..),
            None => self.services.range(..),
        };
        for (key, entry) in from {
            let kept = kept.of(*key);
            let present = |server, resource| Present::Listed {
                entry: (*key, server),
                resource,
                scheduler: entry.config.scheduler,
                kept: kept.clone(),
            };
            let after = last.filter(|(service, _)| service == key);
            if after.is_none() {
                objects.push(present(
                    None,
                    Resource::Service(*key, entry.config, kept.clone()),
                ));
            }
            let after = after.and_then(|(_, server)| server);
            let servers = entry.servers_after(after, limit.saturating_sub(objects.len()));
            objects.extend(servers.into_iter().map(|(server, config)| {
                present(Some(server), Resource::Server(*key, server, config))
            }));
            if objects.len() >= limit {
                break;
            }
        }
        objects
    }
}

// === impl Comparison ===

impl<'a> Comparison<'a> {
    pub(super) fn new(touched: &'a Touched) -> Self {
        Self {
            touched,
            found: Vec::new(),
            again: false,
            differs: false,
        }
    }

    /// Whether an object that differs is left out of the comparison, because it has changed since the
    /// read began, or is about to.
    fn leaves_out(&mut self, touched: Option<bool>) -> bool {
        self.differs |= touched == Some(false);
        touched.is_some()
    }
}

// === impl Entry ===

impl Entry {
    fn new(config: ServiceConfig, servers: Vec<Member>) -> Self {
        Self {
            config,
            servers,
            doubtful: Vec::new(),
        }
    }

    fn change(
        &self,
        key: ServerKey,
        before: Option<ServerConfig>,
        after: Option<ServerConfig>,
    ) -> Change {
        Change::Server {
            key,
            before,
            after,
            scheduler: self.config.scheduler,
        }
    }

    /// The servers that a dump does not show: those that are kept all the same, and the deletions of the
    /// others.
    fn gone(
        &mut self,
        service: ServiceKey,
        servers: &[Server],
        comparison: &mut Comparison<'_>,
    ) -> (Vec<Member>, Vec<Change>) {
        let seen: HashSet<_> = servers.iter().map(|server| server.key).collect();
        let doubtful = mem::take(&mut self.doubtful);
        let (mut kept, mut deleted) = (Vec::new(), Vec::new());
        for (key, config) in &self.servers {
            if seen.contains(key) {
                continue;
            }
            if comparison.leaves_out(comparison.touched.server(service, *key)) {
                kept.push((*key, *config));
            } else if servers.len() >= SNAPSHOT && !doubtful.contains(key) {
                kept.push((*key, *config));
                self.doubtful.push(*key);
                comparison.again = true;
            } else {
                deleted.push(self.change(*key, Some(*config), None));
            }
        }
        (kept, deleted)
    }

    /// The servers with the least keys after this one.
    fn servers_after(&self, last: Option<ServerKey>, limit: usize) -> Vec<Member> {
        let servers = self.servers.iter().copied();
        let mut after: Vec<_> = servers
            .filter(|(key, _)| last.is_none_or(|last| *key > last))
            .collect();
        if limit == 0 {
            return Vec::new();
        }
        if after.len() > limit {
            after.select_nth_unstable_by_key(limit, |(key, _)| *key);
            after.truncate(limit);
        }
        after.sort_unstable_by_key(|(key, _)| *key);
        after
    }
}

fn member(server: &Server) -> Member {
    (server.key, server.config)
}
