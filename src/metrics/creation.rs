//! When this daemon has created or zeroed services and servers, for the `_created` samples of their counters.
//!
//! A time is kept only if the counters were zero at it. A server that is added again soon after it was deleted
//! may return with its counters: the kernel keeps deleted servers while connections refer to them, and finds
//! them for the same service. Such a server has no time until it is zeroed.

use std::{
    collections::hash_map::Entry,
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use foldhash::{HashMap, HashMapExt, HashSet};

use crate::model::{Op, ServerKey, ServiceEntry, ServiceKey};

/// The times at which this daemon has created or zeroed what the kernel counts.
#[derive(Debug, Default)]
pub struct Creations(Mutex<Times>);

#[derive(Debug, Default)]
struct Times {
    /// When everything was zeroed last.
    all: Option<SystemTime>,
    services: HashMap<ServiceKey, ServiceTimes>,
    /// Servers of all services.
    servers: usize,
}

#[derive(Debug, Default)]
struct ServiceTimes {
    /// When it was created or zeroed last.
    zero: Option<SystemTime>,
    /// When it changed last.
    changed: Option<SystemTime>,
    servers: HashMap<ServerKey, ServerTimes>,
    /// Whether the times of its servers are not known, because there were too many.
    is_unknown: bool,
}

#[derive(Clone, Copy, Debug)]
enum ServerTimes {
    /// It was created, and never deleted before while its service existed.
    Created(SystemTime),
    /// It was deleted. The kernel may still have its counters.
    Deleted,
    /// It was created after it had been deleted.
    Again(SystemTime),
}

/// The most services, and the most servers, whose times are kept: 15 MB of memory. Others have none.
const MAX_ENTRIES: usize = 200_000;

// === impl Creations ===

impl Creations {
    /// Notes an operation that the kernel has executed.
    pub fn executed(&self, op: &Op) {
        let is_counted = matches!(
            op,
            Op::CreateService(..)
                | Op::DeleteService(_)
                | Op::CreateServer(..)
                | Op::DeleteServer(..)
                | Op::Clear
                | Op::ZeroAll
                | Op::ZeroService(_)
        );
        if is_counted {
            self.times().executed(op, SystemTime::now());
        }
    }

    /// The counters of the director are counted since this time, if it is known and not after `until`.
    pub fn of_director(&self, until: SystemTime) -> Option<SystemTime> {
        self.times().all.filter(|time| *time <= until)
    }

    /// Since when the counters of a service are counted, and those of its servers, as far as it is known and
    /// not after `until`. Calls `server` with the time of each.
    pub fn of_service(
        &self,
        key: ServiceKey,
        servers: impl Iterator<Item = ServerKey>,
        until: SystemTime,
        mut server: impl FnMut(Option<SystemTime>),
    ) -> Option<SystemTime> {
        let times = self.times();
        let before = |time: &SystemTime| *time <= until;
        let all = times.all.filter(before);
        let Some(known) = times.services.get(&key) else {
            servers.for_each(|_| server(all));
            return all;
        };
        let zero = all.max(known.zero.filter(before));
        for key in servers {
            let time = match known.servers.get(&key) {
                None if known.is_unknown => None,
                None => zero,
                Some(ServerTimes::Created(at)) if *at > until => None,
                Some(ServerTimes::Created(at)) => zero.max(Some(*at)),
                Some(ServerTimes::Deleted) => None,
                Some(ServerTimes::Again(at)) => zero.filter(|zero| zero > at),
            };
            server(time);
        }
        zero
    }

    /// Forgets the services that a whole table, which was read from `since` on, does not have.
    pub fn retain(&self, since: SystemTime, table: &[ServiceEntry]) {
        let mut times = self.times();
        if times.services.is_empty() {
            return;
        }
        let present: HashSet<_> = table.iter().map(|entry| entry.service.key).collect();
        let mut servers = times.servers;
        times.services.retain(|key, known| {
            let is_newer = known.changed.is_none_or(|changed| changed >= since);
            let keeps = is_newer || present.contains(key);
            if !keeps {
                servers -= known.servers.len();
            }
            keeps
        });
        times.servers = servers;
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Times ===

impl Times {
    fn executed(&mut self, op: &Op, now: SystemTime) {
        match *op {
            Op::Clear => {
                self.services = HashMap::new();
                self.servers = 0;
            }
            Op::ZeroAll => self.all = Some(now),
            Op::DeleteService(key) => self.forget(key),
            Op::CreateService(key, ..) => {
                self.forget(key);
                self.zeroed(key, now);
            }
            Op::ZeroService(key) => self.zeroed(key, now),
            Op::CreateServer(key, server, _) => {
                self.set(key, server, now, |before| match before {
                    None => ServerTimes::Created(now),
                    Some(_) => ServerTimes::Again(now),
                });
            }
            Op::DeleteServer(key, server) => {
                self.set(key, server, now, |_| ServerTimes::Deleted);
            }
            _ => {}
        }
    }

    fn zeroed(&mut self, key: ServiceKey, now: SystemTime) {
        if let Some(service) = self.service(key, now) {
            service.zero = Some(now);
        }
    }

    /// The times of a service; `None` if there are too many already.
    fn service(&mut self, key: ServiceKey, now: SystemTime) -> Option<&mut ServiceTimes> {
        let has_space = self.services.len() < MAX_ENTRIES;
        let service = match self.services.entry(key) {
            Entry::Vacant(entry) if has_space => entry.insert(ServiceTimes::default()),
            Entry::Vacant(_) => return None,
            Entry::Occupied(entry) => entry.into_mut(),
        };
        service.changed = Some(now);
        Some(service)
    }

    fn set(
        &mut self,
        key: ServiceKey,
        server: ServerKey,
        now: SystemTime,
        next: impl FnOnce(Option<ServerTimes>) -> ServerTimes,
    ) {
        let has_space = self.servers < MAX_ENTRIES;
        let Some(service) = self.service(key, now) else {
            return;
        };
        let (mut added, mut removed) = (0, 0);
        let before = service.servers.get(&server).copied();
        if service.is_unknown || (before.is_none() && !has_space) {
            // Whether a server is a new one could not be said any more.
            service.is_unknown = true;
            removed = std::mem::take(&mut service.servers).len();
        } else {
            service.servers.insert(server, next(before));
            added = usize::from(before.is_none());
        }
        self.servers = self.servers + added - removed;
    }

    fn forget(&mut self, key: ServiceKey) {
        if let Some(forgotten) = self.services.remove(&key) {
            self.servers -= forgotten.servers.len();
        }
    }
}
