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
    dump::{self, Changes},
    holds::Holds,
    interfaces,
    large::LargeServices,
    reconnect::ReconnectingSocket,
    service_state::{Servers, ServiceRead, ServiceState},
    socket::DATAGRAMS,
    table::Table,
    unavailable,
};
use crate::{
    budget::{Budget, Charged},
    kernel::Kernel,
    model::{
        Error, Info, InterfaceState, Op, Query, Reason, Server, ServiceEntry, ServiceKey,
        SyncDaemon, SyncState, Timeouts,
    },
    watch::{Seen, WatchCache},
};

/// A query of the executor's thread.
pub trait TypedQuery: Clone + Debug + Eq + Hash + Send + 'static {
    /// The result.
    type Answer: Clone + Debug + Send + Sync + 'static;

    /// Whether results may be kept for requests that accept some age. Results about one service are not
    /// kept: there may be many, and each is cheap to read again.
    const CACHED: bool = false;

    /// The query under which results are kept. Those with the same one replace each other.
    fn kept_as() -> TypeId {
        TypeId::of::<Self>()
    }

    /// Whether a kept result answers this query.
    fn is_answered_by(_answer: &Self::Answer) -> bool {
        true
    }

    /// Whether the kernel replies with one message.
    const SHORT: bool = false;

    /// The query as a value of the closed set.
    fn query(&self) -> Option<Query>;

    /// What to read of one service, if that is all. Such a query can be read in the send of the
    /// operations before it.
    fn service_read(&self) -> Option<ServiceRead> {
        None
    }

    /// The result that a [`service_read`](Self::service_read) has; `None` for other queries.
    fn from_state(_state: ServiceState) -> Option<Self::Answer> {
        None
    }

    /// Reads the result from the kernel.
    fn fetch(&self, source: &mut Source<'_>) -> Result<Self::Answer, Error> {
        let state = self.service_read().map(|read| source.service(read));
        let answer = state.transpose()?.and_then(Self::from_state);
        answer.ok_or_else(|| Error::new(Reason::Internal, "the query reads nothing"))
    }

    /// Reports what a result shows of services and servers.
    fn show(&self, _answer: &Self::Answer, _see: &mut dyn FnMut(Seen<'_>)) {}

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
    pub(super) large: &'a LargeServices,
    pub(super) holds: &'a Holds,
    pub(super) watch: &'a WatchCache,
    pub(super) socket: &'a mut ReconnectingSocket,
    pub(super) changes: &'a mut dyn Changes,
    /// Whether no change of this process comes between what is read and its use.
    pub(super) is_exclusive: bool,
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
/// are this many servers. A process uses one number, because a kept result answers any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListQuery(pub usize);

/// A part of [`Query::Table`]: the servers of the leading services of a list, up to
/// [`MAX_SERVERS_AT_ONCE`], but of at least one; `None` for a service that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServersOfQuery(pub Arc<[ServiceKey]>);

/// The result of a [`ServersOfQuery`]: `None` for a service that does not exist.
pub type ServersOf = Charged<Vec<Option<Vec<Server>>>>;

/// The most that is read of a small file. The longest setting is a list of CPUs.
const MAX_SMALL_FILE: u64 = 64 << 10;

/// Attempts of a read during which holds end.
const ATTEMPTS: usize = 3;

/// Servers from which a [`ServersOfQuery`] reads no further service: about 700 KB, and a few
/// milliseconds on a real machine.
pub const MAX_SERVERS_AT_ONCE: usize = 4096;

// === impl Source ===

impl Source<'_> {
    /// Reads a service.
    fn service(&mut self, read: ServiceRead) -> Result<ServiceState, Error> {
        let changes = &mut *self.changes;
        let (socket, holds) = (&mut *self.socket, self.holds);
        let is_exclusive = self.is_exclusive;
        let mut state = with_holds(holds, || {
            let mut state = socket.read(|socket| dump::service(socket, read, changes))?;
            if is_exclusive {
                holds.notice(read.key, &state.servers);
            }
            holds.show(read.key, &mut state.servers);
            Ok(state)
        })?;
        self.watch.show_kept(state.service.iter_mut().flatten());
        if !matches!(read.servers, Servers::None) {
            let is_large = state.extent.datagrams > DATAGRAMS;
            self.large.note(read.key, is_large);
        }
        Ok(state)
    }

    /// A table of services that were read, with what is kept about them.
    fn table(&self, mut entries: Vec<ServiceEntry>, read: usize) -> Result<Arc<Table>, Error> {
        let services = entries.iter_mut().map(|entry| &mut entry.service);
        self.watch.show_kept(services);
        Ok(Arc::new(Table::new(entries, read, self.budget)?))
    }

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
    const SHORT: bool = true;

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
    const SHORT: bool = true;

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
        let before = source.socket.master();
        let mut master = before;
        interfaces::find(source.kernel, &mut daemons, &mut master);
        source.socket.update_master(before, master);
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
        let changes = &mut *source.changes;
        let table = source
            .socket
            .read(|socket| dump::services_alone(socket, changes))?;
        source.table(table, 0)
    }

    fn show(&self, table: &Self::Answer, see: &mut dyn FnMut(Seen<'_>)) {
        see(table.seen());
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

    fn show(&self, table: &Self::Answer, see: &mut dyn FnMut(Seen<'_>)) {
        see(table.seen());
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

    fn show(&self, table: &Self::Answer, see: &mut dyn FnMut(Seen<'_>)) {
        see(table.seen());
    }
}

impl TypedQuery for ServersOfQuery {
    type Answer = Arc<ServersOf>;

    fn query(&self) -> Option<Query> {
        Some(Query::Table)
    }

    fn fetch(&self, source: &mut Source<'_>) -> Result<Self::Answer, Error> {
        let changes = &mut *source.changes;
        let (socket, holds) = (&mut *source.socket, source.holds);
        let servers = with_holds(holds, || {
            let mut servers = socket
                .read(|socket| dump::servers_of(socket, &self.0, MAX_SERVERS_AT_ONCE, changes))?;
            for (key, servers) in self.0.iter().zip(&mut servers) {
                holds.show(*key, servers.as_deref_mut().unwrap_or_default());
            }
            Ok(servers)
        })?;
        let count: usize = servers.iter().flatten().map(Vec::capacity).sum();
        let charge = source.budget.charge(count * size_of::<Server>())?;
        Ok(Arc::new(Charged::new(servers, charge)))
    }

    fn show(&self, all: &Self::Answer, see: &mut dyn FnMut(Seen<'_>)) {
        for (key, servers) in self.0.iter().zip(all.iter()) {
            see(match servers {
                Some(servers) => Seen::Servers(*key, servers),
                None => Seen::Missing(*key),
            });
        }
    }
}

/// Reads servers, and shows their holds. Repeats that if a hold ends meanwhile: the weight may be from before.
fn with_holds<T>(holds: &Holds, mut read: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    let mut removals = holds.removals();
    let mut result = read()?;
    for _ in 1..ATTEMPTS {
        let before = std::mem::replace(&mut removals, holds.removals());
        if before == removals {
            break;
        }
        result = read()?;
    }
    Ok(result)
}

fn read_table(source: &mut Source<'_>, max_servers: usize) -> Result<Arc<Table>, Error> {
    let changes = &mut *source.changes;
    let (socket, holds) = (&mut *source.socket, source.holds);
    let (table, read) = with_holds(holds, || {
        let (mut table, read) = socket.read(|socket| dump::table(socket, max_servers, changes))?;
        for entry in &mut table {
            holds.show(entry.service.key, &mut entry.servers);
        }
        Ok((table, read))
    })?;
    source.table(table, read)
}
