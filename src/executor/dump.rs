//! Reads over netlink, and what makes the result of a dump consistent.

use std::{hash::Hash, io};

use foldhash::{HashSet, HashSetExt};

use super::{
    request::{Dump, ReadError},
    service_state::{Extent, Servers, ServiceRead, ServiceState, may_have_duplicates},
    socket::IpvsSocket,
};
use crate::{
    codec::{self, Get},
    model::{Errno, Info, Server, Service, ServiceEntry, ServiceKey, SyncDaemon, Timeouts},
};

/// The changes that this process makes while a dump is in progress.
pub trait Changes {
    /// A dump begins. If it is `exclusive`, no change is executed until its end.
    fn begin(&mut self, dump: Dump, exclusive: bool);

    /// The dump has ended. Returns whether a change has invalidated it (see
    /// [`Dump::is_invalidated_by`]).
    fn end(&mut self) -> bool;
}

/// No change is executed: the engine itself reads.
pub struct NoChanges;

/// Attempts of a dump that is inconsistent. The last drops its duplicates.
const ATTEMPTS: usize = 3;

/// What a dump returned.
struct Dumped<T> {
    items: Vec<T>,
    extent: Extent,
}

/// `IPVS_CMD_GET_INFO`.
pub fn info(socket: &mut IpvsSocket) -> Result<Info, ReadError> {
    get(socket, Get::Info, codec::info)
}

/// `IPVS_CMD_GET_CONFIG`.
pub fn timeouts(socket: &mut IpvsSocket) -> Result<Timeouts, ReadError> {
    get(socket, Get::Timeouts, codec::timeouts)
}

/// The sync daemons, the master first.
pub fn sync_daemons(socket: &mut IpvsSocket) -> Result<Vec<SyncDaemon>, ReadError> {
    let mut daemons = Vec::new();
    let each = |bytes: &[u8]| daemons.extend(codec::sync_daemon(bytes));
    socket.dump(Dump::SyncDaemons, each)?;
    Ok(daemons)
}

/// All services without their servers.
pub fn services_alone(
    socket: &mut IpvsSocket,
    changes: &mut dyn Changes,
) -> Result<Vec<ServiceEntry>, ReadError> {
    let alone = |service| ServiceEntry {
        service,
        servers: Vec::new(),
    };
    let services = dump_services(socket, changes)?;
    Ok(services.into_iter().map(alone).collect())
}

/// All services with their servers. From `max_servers` servers on, the services that follow are read
/// without theirs; the second value is the number of those before.
pub fn table(
    socket: &mut IpvsSocket,
    max_servers: usize,
    changes: &mut dyn Changes,
) -> Result<(Vec<ServiceEntry>, usize), ReadError> {
    let services = dump_services(socket, changes)?;
    let mut table: Vec<ServiceEntry> = Vec::with_capacity(services.len());
    let (mut count, mut read) = (0, 0);
    // Services that another program may have deleted since.
    let mut unconfirmed: HashSet<ServiceKey> = HashSet::new();
    for service in services {
        let mut servers = Vec::new();
        if count < max_servers {
            // Many services have as many servers as the one before.
            let expected = table.last().map_or(0, |entry| entry.servers.len());
            let dumped = dump_servers(socket, service.key, expected, changes)?;
            if !dumped.confirms_its_service() {
                unconfirmed.insert(service.key);
            }
            servers = dumped.items;
            count += servers.len();
            read += 1;
        }
        table.push(ServiceEntry { service, servers });
    }
    if !unconfirmed.is_empty() {
        // One more dump confirms them all.
        let present = dump_services(socket, changes)?;
        let present: HashSet<_> = present.iter().map(|service| service.key).collect();
        table.retain(|ServiceEntry { service, .. }| {
            let is_gone = unconfirmed.contains(&service.key) && !present.contains(&service.key);
            read -= usize::from(is_gone);
            !is_gone
        });
    }
    Ok((table, read))
}

/// The servers of the leading services, until there are `max_servers` of them; `None` for a service
/// that does not exist.
pub fn servers_of(
    socket: &mut IpvsSocket,
    services: &[ServiceKey],
    max_servers: usize,
    changes: &mut dyn Changes,
) -> Result<Vec<Option<Vec<Server>>>, ReadError> {
    let mut read: Vec<Option<Vec<Server>>> = Vec::new();
    let (mut count, mut expected) = (0, 0);
    let mut unconfirmed = Vec::new();
    for (index, key) in services.iter().enumerate() {
        if index > 0 && count >= max_servers {
            break;
        }
        let dumped = dump_servers(socket, *key, expected, changes)?;
        if !dumped.confirms_its_service() {
            unconfirmed.push((index, *key));
        }
        expected = dumped.items.len();
        count += expected;
        read.push(Some(dumped.items));
    }
    let keys: Vec<_> = unconfirmed.iter().map(|(_, key)| *key).collect();
    let found = services_by_key(socket, &keys)?;
    for ((index, _), found) in unconfirmed.into_iter().zip(found) {
        if let Some(servers) = read.get_mut(index).filter(|_| found.is_none()) {
            *servers = None;
        }
    }
    Ok(read)
}

/// Several services without their servers, in one exchange; `None` for each that does not exist.
fn services_by_key(
    socket: &mut IpvsSocket,
    keys: &[ServiceKey],
) -> Result<Vec<Option<Service>>, ReadError> {
    let requests: Vec<_> = keys.iter().map(|key| Get::Service(*key)).collect();
    // `None`: no reply yet. `Some(None)`: the service does not exist.
    let mut found: Vec<Option<Option<Service>>> = vec![None; keys.len()];
    let mut rejected = None;
    socket.get(&requests, |index, reply| {
        let service = match reply {
            Ok(bytes) => codec::service(bytes).map(Some).ok_or(Errno(libc::EPROTO)),
            // A kernel without IPv6 has no IPv6 services.
            Err(Errno::ESRCH | Errno::EAFNOSUPPORT) => Ok(None),
            Err(errno) => Err(errno),
        };
        match (found.get_mut(index), service) {
            (Some(slot), Ok(service)) => *slot = Some(service),
            (_, Err(errno)) => rejected = Some(errno),
            (None, Ok(_)) => {}
        }
    })?;
    if let Some(errno) = rejected {
        return Err(ReadError::Rejected(errno));
    }
    let found: Option<Vec<_>> = found.into_iter().collect();
    found.ok_or_else(|| ReadError::Broken(io::Error::other("a reply is missing")))
}

/// Reads a service. A dump of its servers that a change has made inconsistent is repeated; the last
/// attempt drops duplicates. If the dump does not show that the service existed throughout, one more
/// read does.
pub fn service(
    socket: &mut IpvsSocket,
    read: ServiceRead,
    changes: &mut dyn Changes,
) -> Result<ServiceState, ReadError> {
    let mut state = consistent_state(socket, read, changes)?;
    if state.is_missing()? || state.is_certain() {
        return Ok(state);
    }
    let confirmation = ServiceRead {
        servers: Servers::None,
        service: true,
        ..read
    };
    let confirmation = socket.read_service(confirmation)?;
    if confirmation.is_missing()? {
        return Ok(confirmation);
    }
    state.service = state.service.or(confirmation.service);
    Ok(state)
}

fn consistent_state(
    socket: &mut IpvsSocket,
    read: ServiceRead,
    changes: &mut dyn Changes,
) -> Result<ServiceState, ReadError> {
    for attempt in 1.. {
        let is_last = attempt == ATTEMPTS;
        changes.begin(Dump::Servers(read.key), is_last);
        let read = socket.read_service(read);
        let invalidated = changes.end();
        let mut state = read?;
        if state.status != 0 {
            return Err(ReadError::Rejected(Errno(state.status)));
        }
        if state.is_consistent() && !invalidated {
            return Ok(state);
        }
        if is_last && !state.interrupted {
            drop_duplicates(&mut state.servers, |server| server.key);
            return Ok(state);
        }
        if is_last {
            break;
        }
    }
    Err(ReadError::Interrupted)
}

fn dump_services(
    socket: &mut IpvsSocket,
    changes: &mut dyn Changes,
) -> Result<Vec<Service>, ReadError> {
    let key = |service: &Service| service.key;
    let dumped = consistent_dump(socket, Dump::Services, 0, codec::service, key, changes)?;
    Ok(dumped.items)
}

/// The kernel replies to a dump of a service that does not exist with an empty one, and ends a dump
/// early if the service is deleted between two datagrams.
fn dump_servers(
    socket: &mut IpvsSocket,
    key: ServiceKey,
    expected: usize,
    changes: &mut dyn Changes,
) -> Result<Dumped<Server>, ReadError> {
    let family = key.family();
    consistent_dump(
        socket,
        Dump::Servers(key),
        expected,
        |bytes| codec::server(bytes, family),
        |server| server.key,
        changes,
    )
}

// === impl Changes ===

impl Changes for NoChanges {
    fn begin(&mut self, _dump: Dump, _exclusive: bool) {}

    fn end(&mut self) -> bool {
        false
    }
}

// === impl Dumped ===

impl Dumped<Server> {
    /// Whether the dump shows that the service existed throughout.
    fn confirms_its_service(&self) -> bool {
        !self.items.is_empty() && self.extent.is_snapshot()
    }
}

/// Dumps, and repeats the dump if the table changed meanwhile. The kernel resumes a dump at an
/// index, so an entry that is added or deleted between two datagrams duplicates or hides another.
/// Duplicates reveal changes by other programs; `changes` reports those of this process. The last
/// attempt excludes them.
fn consistent_dump<T, K: Hash + Eq>(
    socket: &mut IpvsSocket,
    dump: Dump,
    expected: usize,
    decode: impl Fn(&[u8]) -> Option<T>,
    key: impl Fn(&T) -> K,
    changes: &mut dyn Changes,
) -> Result<Dumped<T>, ReadError> {
    for attempt in 1.. {
        let is_last = attempt == ATTEMPTS;
        let mut items = Vec::with_capacity(expected);
        changes.begin(dump, is_last);
        let dumped = socket.dump(dump, |bytes| items.extend(decode(bytes)));
        let mut invalidated = changes.end();
        let extent = match dumped {
            Err(ReadError::Interrupted) if !is_last => continue,
            result => result?,
        };
        if extent.datagrams > 1 && may_have_duplicates(&items, &key) {
            invalidated |= drop_duplicates(&mut items, &key);
        }
        if invalidated && !is_last {
            continue;
        }
        items.shrink_to_fit();
        return Ok(Dumped { items, extent });
    }
    Err(ReadError::Interrupted)
}

/// Keeps the first of several items with the same key. Returns whether there were any.
fn drop_duplicates<T, K: Hash + Eq>(items: &mut Vec<T>, key: impl Fn(&T) -> K) -> bool {
    let mut seen = HashSet::with_capacity(items.len());
    let count = items.len();
    items.retain(|item| seen.insert(key(item)));
    items.len() < count
}

fn get<T>(
    socket: &mut IpvsSocket,
    request: Get,
    decode: impl Fn(&[u8]) -> Option<T>,
) -> Result<T, ReadError> {
    let mut result = Err(Errno(libc::EPROTO));
    socket.get(&[request], |_, reply| {
        result = reply.and_then(|bytes| decode(bytes).ok_or(Errno(libc::EPROTO)));
    })?;
    result.map_err(ReadError::Rejected)
}
