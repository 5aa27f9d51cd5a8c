//! Typed queries: the type of a query determines the type of its result.

use std::{
    any::TypeId,
    fmt::Debug,
    hash::Hash,
    io::{self, Read},
    net::IpAddr,
    sync::Arc,
};

use super::{
    dump::{self, Interleave},
    interfaces,
    reconnect::ReconnectingSocket,
    table::Table,
    unavailable,
};
use crate::{
    budget::{Budget, Charged},
    codec,
    kernel::Kernel,
    model::{
        Errno, Error, Info, InterfaceState, Op, Query, Rates, Server, Service, ServiceEntry,
        ServiceKey, Stats, SyncDaemon, SyncState, Timeouts,
    },
};

/// A query of the executor's thread.
pub trait TypedQuery: Clone + Debug + Eq + Hash + Send + 'static {
    /// The result.
    type Answer: Clone + Debug + Send + Sync + 'static;

    /// Whether results may be kept for requests that accept some age. Results of queries with
    /// parameters are not kept: there may be many, and each is cheap to read again.
    const CACHED: bool = false;

    /// The query under which results are kept. Those with the same one replace each other.
    fn kept_as() -> TypeId {
        TypeId::of::<Self>()
    }

    /// Whether a kept result answers this query.
    fn is_answered_by(_answer: &Self::Answer) -> bool {
        true
    }

    /// The query as a value of the closed set.
    fn query(&self) -> Option<Query>;

    /// Reads the result from the kernel.
    fn fetch(&self, source: &mut Source<'_>) -> Result<Self::Answer, Error>;

    /// Whether a result has the object that `op` made or edited. If it has not, another program has
    /// deleted it since.
    fn shows(_answer: &Self::Answer, _op: &Op) -> bool {
        true
    }

    /// Changes a result as executing `op` would, for a dry run. Fails as the kernel would.
    fn project(_answer: &mut Self::Answer, _op: &Op) -> Result<(), Error> {
        Ok(())
    }
}

/// What a query reads from.
pub struct Source<'a> {
    pub(super) kernel: &'a dyn Kernel,
    pub(super) budget: &'a Budget,
    pub(super) socket: &'a mut ReconnectingSocket,
    pub(super) interleave: &'a mut Interleave<'a>,
}

/// Reads nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Nothing;

/// [`Query::Info`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InfoQuery;

/// [`Query::Timeouts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeoutsQuery;

/// [`Query::SyncDaemons`], the master first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SyncDaemonsQuery;

/// [`Query::Services`]: entries without servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServicesQuery;

/// [`Query::Table`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TableQuery;

/// A part of [`Query::Table`]: all services, but only the leading ones with their servers, until there
/// are this many servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListQuery(pub usize);

/// A part of [`Query::Table`]: the servers of the leading services of a list, up to
/// [`MAX_SERVERS_AT_ONCE`], but of at least one; `None` for a service that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServersOfQuery(pub Arc<[ServiceKey]>);

/// [`Query::Service`]; `None` if it does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServiceQuery(pub ServiceKey);

/// [`Query::ServiceWithServers`]; `None` if it does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServiceWithServersQuery(pub ServiceKey);

/// [`Query::Servers`]; `None` if the service does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServersQuery(pub ServiceKey);

/// The most that is read of a small file. The longest setting is a list of CPUs.
const MAX_SMALL_FILE: u64 = 64 << 10;

/// Servers from which a [`ServersOfQuery`] reads no further service: about 700 KB, and a few
/// milliseconds on a real machine.
pub const MAX_SERVERS_AT_ONCE: usize = 4096;

// === impl Source ===

impl Source<'_> {
    /// The text of a small file below `/proc`; `None` if the kernel does not have the file.
    pub(super) fn file(&self, path: &str) -> Result<Option<String>, Error> {
        let mut text = String::new();
        let opened = self.kernel.open(path);
        match opened.and_then(|file| file.take(MAX_SMALL_FILE).read_to_string(&mut text)) {
            Ok(_) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unavailable::file(path, error)),
        }
    }
}

// === impl TypedQuery ===

impl TypedQuery for Nothing {
    type Answer = ();

    fn query(&self) -> Option<Query> {
        None
    }

    fn fetch(&self, _source: &mut Source<'_>) -> Result<(), Error> {
        Ok(())
    }
}

impl TypedQuery for InfoQuery {
    type Answer = Info;

    const CACHED: bool = true;

    fn query(&self) -> Option<Query> {
        Some(Query::Info)
    }

    fn fetch(&self, source: &mut Source<'_>) -> Result<Info, Error> {
        source.socket.read(dump::info)
    }
}

impl TypedQuery for TimeoutsQuery {
    type Answer = Timeouts;

    const CACHED: bool = true;

    fn query(&self) -> Option<Query> {
        Some(Query::Timeouts)
    }

    fn fetch(&self, source: &mut Source<'_>) -> Result<Timeouts, Error> {
        source.socket.read(dump::timeouts)
    }

    fn project(timeouts: &mut Timeouts, op: &Op) -> Result<(), Error> {
        if let Op::SetTimeouts(new) = op {
            *timeouts = *new;
        }
        Ok(())
    }
}

impl TypedQuery for SyncDaemonsQuery {
    type Answer = Vec<SyncDaemon>;

    const CACHED: bool = true;

    fn query(&self) -> Option<Query> {
        Some(Query::SyncDaemons)
    }

    fn fetch(&self, source: &mut Source<'_>) -> Result<Vec<SyncDaemon>, Error> {
        let mut daemons = source.socket.read(dump::sync_daemons)?;
        let mut master = source.socket.master();
        interfaces::find(source.kernel, &mut daemons, &mut master);
        source.socket.remember_master(master);
        Ok(daemons)
    }

    fn project(daemons: &mut Vec<SyncDaemon>, op: &Op) -> Result<(), Error> {
        match op {
            Op::StopSyncDaemon(state) => daemons.retain(|daemon| daemon.state != *state),
            Op::StartSyncDaemon(config) => {
                // The header of a message leaves this much of an Ethernet frame.
                let longest = match config.multicast_group {
                    IpAddr::V4(_) => 1472,
                    IpAddr::V6(_) => 1452,
                };
                daemons.push(SyncDaemon {
                    state: config.state,
                    interface: config.interface,
                    sync_id: config.sync_id,
                    max_length: config.max_length.unwrap_or(longest),
                    multicast_group: config.multicast_group,
                    multicast_port: config.multicast_port,
                    multicast_ttl: config.multicast_ttl,
                    interface_state: InterfaceState::Ok,
                });
                daemons.sort_unstable_by_key(|daemon| daemon.state == SyncState::Backup);
            }
            _ => {}
        }
        Ok(())
    }
}

impl TypedQuery for ServicesQuery {
    type Answer = Arc<Table>;

    const CACHED: bool = true;

    fn query(&self) -> Option<Query> {
        Some(Query::Services)
    }

    fn fetch(&self, source: &mut Source<'_>) -> Result<Self::Answer, Error> {
        let interleave = &mut *source.interleave;
        let table = source
            .socket
            .read(|socket| dump::services_alone(socket, interleave))?;
        Ok(Arc::new(Table::new(table, 0, source.budget)?))
    }
}

impl TypedQuery for TableQuery {
    type Answer = Arc<Table>;

    const CACHED: bool = true;

    fn query(&self) -> Option<Query> {
        Some(Query::Table)
    }

    fn fetch(&self, source: &mut Source<'_>) -> Result<Self::Answer, Error> {
        read_table(source, usize::MAX)
    }

    fn is_answered_by(table: &Self::Answer) -> bool {
        table.is_complete()
    }
}

impl TypedQuery for ListQuery {
    type Answer = Arc<Table>;

    const CACHED: bool = true;

    fn kept_as() -> TypeId {
        TypeId::of::<TableQuery>()
    }

    fn query(&self) -> Option<Query> {
        Some(Query::Table)
    }

    fn fetch(&self, source: &mut Source<'_>) -> Result<Self::Answer, Error> {
        read_table(source, self.0)
    }
}

impl TypedQuery for ServersOfQuery {
    type Answer = Arc<Charged<Vec<Option<Vec<Server>>>>>;

    fn query(&self) -> Option<Query> {
        Some(Query::Table)
    }

    fn fetch(&self, source: &mut Source<'_>) -> Result<Self::Answer, Error> {
        let interleave = &mut *source.interleave;
        let servers = source
            .socket
            .read(|socket| dump::servers_of(socket, &self.0, MAX_SERVERS_AT_ONCE, interleave))?;
        let count: usize = servers.iter().flatten().map(Vec::capacity).sum();
        let charge = source.budget.charge(count * size_of::<Server>())?;
        Ok(Arc::new(Charged::new(servers, charge)))
    }
}

fn read_table(source: &mut Source<'_>, max_servers: usize) -> Result<Arc<Table>, Error> {
    let interleave = &mut *source.interleave;
    let (table, read) = source
        .socket
        .read(|socket| dump::table(socket, max_servers, interleave))?;
    Ok(Arc::new(Table::new(table, read, source.budget)?))
}

impl TypedQuery for ServiceQuery {
    type Answer = Option<Arc<ServiceEntry>>;

    fn query(&self) -> Option<Query> {
        Some(Query::Service(self.0))
    }

    fn fetch(&self, source: &mut Source<'_>) -> Result<Self::Answer, Error> {
        let mut found = source
            .socket
            .read(|socket| dump::services_by_key(socket, &[self.0]))?;
        Ok(found.pop().flatten().map(Self::entry))
    }

    fn project(entry: &mut Self::Answer, op: &Op) -> Result<(), Error> {
        match entry {
            Some(_) => Ok(()),
            None => Err(codec::rejected(op, Errno::ESRCH, true)),
        }
    }
}

impl ServiceQuery {
    /// The result for a service that exists.
    pub(super) fn entry(service: Service) -> Arc<ServiceEntry> {
        Arc::new(ServiceEntry {
            service,
            servers: Vec::new(),
        })
    }
}

impl TypedQuery for ServiceWithServersQuery {
    type Answer = Option<Arc<ServiceEntry>>;

    fn query(&self) -> Option<Query> {
        Some(Query::ServiceWithServers(self.0))
    }

    fn fetch(&self, source: &mut Source<'_>) -> Result<Self::Answer, Error> {
        let interleave = &mut *source.interleave;
        source
            .socket
            .read(|socket| dump::service_with_servers(socket, self.0, interleave))
            .map(|entry| entry.map(Arc::new))
    }

    fn shows(entry: &Self::Answer, _op: &Op) -> bool {
        entry.is_some()
    }

    fn project(entry: &mut Self::Answer, op: &Op) -> Result<(), Error> {
        let result = match (op, entry.as_mut().map(Arc::make_mut)) {
            (Op::CreateService(key, config), None) => {
                *entry = Some(ServiceQuery::entry(Service {
                    key: *key,
                    config: *config,
                    stats: Stats::default(),
                    rates: Rates::default(),
                }));
                Ok(())
            }
            (Op::CreateService(..), Some(_)) => Err(Errno::EEXIST),
            (Op::DeleteService(_), Some(_)) => {
                *entry = None;
                Ok(())
            }
            (Op::SetService(_, config), Some(entry)) => {
                entry.service.config = *config;
                Ok(())
            }
            (op, Some(entry)) => project_servers(&mut entry.servers, op),
            (_, None) => Err(Errno::ESRCH),
        };
        result.map_err(|errno| codec::rejected(op, errno, true))
    }
}

impl TypedQuery for ServersQuery {
    type Answer = Option<Arc<Vec<Server>>>;

    fn query(&self) -> Option<Query> {
        Some(Query::Servers(self.0))
    }

    fn fetch(&self, source: &mut Source<'_>) -> Result<Self::Answer, Error> {
        let interleave = &mut *source.interleave;
        source
            .socket
            .read(|socket| dump::servers(socket, self.0, interleave))
            .map(|servers| servers.map(Arc::new))
    }

    fn shows(servers: &Self::Answer, op: &Op) -> bool {
        match (op, servers) {
            (Op::CreateServer(_, key, _) | Op::SetServer(_, key, _), Some(servers)) => {
                servers.iter().any(|server| server.key == *key)
            }
            (_, servers) => servers.is_some(),
        }
    }

    fn project(servers: &mut Self::Answer, op: &Op) -> Result<(), Error> {
        let result = match servers {
            Some(servers) => project_servers(Arc::make_mut(servers), op),
            None => Err(Errno::ESRCH),
        };
        result.map_err(|errno| codec::rejected(op, errno, true))
    }
}

/// Changes the servers of a service as executing `op` would, or fails as the kernel would.
fn project_servers(servers: &mut Vec<Server>, op: &Op) -> Result<(), Errno> {
    let position = |key| servers.iter().position(|server: &Server| server.key == key);
    match op {
        Op::CreateServer(_, key, config) => {
            if position(*key).is_some() {
                return Err(Errno::EEXIST);
            }
            let server = Server {
                key: *key,
                config: *config,
                active_connections: 0,
                inactive_connections: 0,
                persistent_connections: 0,
                stats: Stats::default(),
                rates: Rates::default(),
            };
            // The kernel inserts a new server before the others.
            servers.insert(0, server);
        }
        Op::SetServer(_, key, config) => {
            let position = position(*key).ok_or(Errno::ENOENT)?;
            servers[position].config = *config;
        }
        Op::DeleteServer(_, key) => {
            let position = position(*key).ok_or(Errno::ENOENT)?;
            servers.remove(position);
        }
        _ => {}
    }
    Ok(())
}
