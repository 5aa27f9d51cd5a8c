//! Reads over netlink, and what makes the result of a dump consistent.

use std::{hash::Hash, io};

use foldhash::{HashSet, HashSetExt};

use super::{
    request::{Dump, ReadError},
    service_state::{Extent, Servers, ServiceRead, ServiceState, is_missing},
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
    let exist = existing(socket, &keys)?;
    for ((index, _), exists) in unconfirmed.into_iter().zip(exist) {
        if let Some(servers) = read.get_mut(index).filter(|_| !exists) {
            *servers = None;
        }
    }
    Ok(read)
}

/// Which of these services exist, in one exchange.
fn existing(socket: &mut IpvsSocket, keys: &[ServiceKey]) -> Result<Vec<bool>, ReadError> {
    let requests: Vec<_> = keys.iter().map(|key| Get::Service(*key)).collect();
    // `None`: no reply yet.
    let mut found = vec![None; keys.len()];
    let mut rejected = None;
    socket.get(&requests, |index, reply| {
        let reply = reply.and_then(|bytes| codec::service(bytes).ok_or(Errno(libc::EPROTO)));
        match (found.get_mut(index), is_missing(&reply)) {
            (Some(slot), Ok(is_missing)) => *slot = Some(!is_missing),
            (_, Err(error)) => rejected = Some(error),
            (None, Ok(_)) => {}
        }
    })?;
    if let Some(error) = rejected {
        return Err(error);
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
    let attempt = |socket: &mut IpvsSocket| {
        let state = socket.read_service(read)?;
        ReadError::of_dump(state.status, state.interrupted)?;
        Ok(state)
    };
    let key = |server: &Server| server.key;
    let drop_duplicates =
        |state: &mut ServiceState| drop_duplicates(&mut state.servers, state.extent, key);
    until_consistent(
        socket,
        Dump::Servers(read.key),
        changes,
        attempt,
        drop_duplicates,
    )
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

/// All entries of a dump.
fn consistent_dump<T, K: Hash + Eq>(
    socket: &mut IpvsSocket,
    dump: Dump,
    expected: usize,
    decode: impl Fn(&[u8]) -> Option<T>,
    key: impl Fn(&T) -> K,
    changes: &mut dyn Changes,
) -> Result<Dumped<T>, ReadError> {
    let attempt = |socket: &mut IpvsSocket| {
        let mut items = Vec::with_capacity(expected);
        let extent = socket.dump(dump, |bytes| items.extend(decode(bytes)))?;
        Ok(Dumped { items, extent })
    };
    let drop_duplicates =
        |dumped: &mut Dumped<T>| drop_duplicates(&mut dumped.items, dumped.extent, &key);
    let mut dumped = until_consistent(socket, dump, changes, attempt, drop_duplicates)?;
    dumped.items.shrink_to_fit();
    Ok(dumped)
}

/// Dumps, and repeats the dump if the table changed meanwhile. The kernel resumes a dump at an
/// index, so an entry that is added or deleted between two datagrams duplicates or hides another.
/// Duplicates reveal changes by other programs; `changes` reports those of this process. The last
/// attempt excludes them.
fn until_consistent<T>(
    socket: &mut IpvsSocket,
    dump: Dump,
    changes: &mut dyn Changes,
    attempt: impl Fn(&mut IpvsSocket) -> Result<T, ReadError>,
    drop_duplicates: impl Fn(&mut T) -> bool,
) -> Result<T, ReadError> {
    for number in 1.. {
        let is_last = number == ATTEMPTS;
        if number > 1 {
            socket.metrics().dump_repeated();
        }
        changes.begin(dump, is_last);
        let dumped = attempt(socket);
        let invalidated = changes.end();
        let mut dumped = match dumped {
            Err(ReadError::Interrupted) if !is_last => continue,
            result => result?,
        };
        let had_duplicates = drop_duplicates(&mut dumped);
        if is_last || !(invalidated || had_duplicates) {
            return Ok(dumped);
        }
    }
    Err(ReadError::Interrupted)
}

/// Keeps the first of several items of a dump with the same key. Returns whether there were any.
fn drop_duplicates<T, K: Hash + Eq>(
    items: &mut Vec<T>,
    extent: Extent,
    key: impl Fn(&T) -> K,
) -> bool {
    if !extent.may_have_duplicates(items, &key) {
        return false;
    }
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
