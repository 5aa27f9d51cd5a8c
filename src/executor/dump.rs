//! Reads over netlink, and what makes the result of a dump consistent.

use std::{
    hash::{BuildHasher, Hash},
    io,
};

use foldhash::{HashSet, HashSetExt, fast::RandomState};

use super::socket::{Dump, Extent, IpvsSocket, ReadError};
use crate::{
    codec::{self, Get},
    model::{Errno, Info, Server, Service, ServiceEntry, ServiceKey, SyncDaemon, Timeouts},
};

/// Runs between the datagrams of a dump and between dumps, so that changes do not wait for the end
/// of a long read. Returns whether it invalidated this dump (see [`Dump::is_invalidated_by`]).
pub type Interleave<'a> = dyn FnMut(Dump) -> bool + 'a;

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
    socket.dump(Dump::SyncDaemons, each, || ())?;
    Ok(daemons)
}

/// All services without their servers.
pub fn services_alone(
    socket: &mut IpvsSocket,
    interleave: &mut Interleave<'_>,
) -> Result<Vec<ServiceEntry>, ReadError> {
    let alone = |service| ServiceEntry {
        service,
        servers: Vec::new(),
    };
    let services = dump_services(socket, interleave)?;
    Ok(services.into_iter().map(alone).collect())
}

/// All services with their servers. From `max_servers` servers on, the services that follow are read
/// without theirs; the second value is the number of those before.
pub fn table(
    socket: &mut IpvsSocket,
    max_servers: usize,
    interleave: &mut Interleave<'_>,
) -> Result<(Vec<ServiceEntry>, usize), ReadError> {
    let services = dump_services(socket, interleave)?;
    let mut table: Vec<ServiceEntry> = Vec::with_capacity(services.len());
    let (mut count, mut read) = (0, 0);
    // Services that another program may have deleted since.
    let mut unconfirmed: HashSet<ServiceKey> = HashSet::new();
    for service in services {
        let mut servers = Vec::new();
        if count < max_servers {
            // Many services have as many servers as the one before.
            let expected = table.last().map_or(0, |entry| entry.servers.len());
            let dumped = dump_servers(socket, service.key, expected, interleave)?;
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
        let present = dump_services(socket, interleave)?;
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
    interleave: &mut Interleave<'_>,
) -> Result<Vec<Option<Vec<Server>>>, ReadError> {
    let mut read: Vec<Option<Vec<Server>>> = Vec::new();
    let (mut count, mut expected) = (0, 0);
    let mut unconfirmed = Vec::new();
    for (index, key) in services.iter().enumerate() {
        if index > 0 && count >= max_servers {
            break;
        }
        let dumped = dump_servers(socket, *key, expected, interleave)?;
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
pub fn services_by_key(
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

/// A service with its servers; `None` if it does not exist.
pub fn service_with_servers(
    socket: &mut IpvsSocket,
    key: ServiceKey,
    interleave: &mut Interleave<'_>,
) -> Result<Option<ServiceEntry>, ReadError> {
    let Some(service) = service(socket, key)? else {
        return Ok(None);
    };
    let servers = servers(socket, key, interleave)?;
    Ok(servers.map(|servers| ServiceEntry { service, servers }))
}

/// The servers of a service; `None` if it does not exist.
pub fn servers(
    socket: &mut IpvsSocket,
    key: ServiceKey,
    interleave: &mut Interleave<'_>,
) -> Result<Option<Vec<Server>>, ReadError> {
    let dumped = dump_servers(socket, key, 0, interleave)?;
    let exists = dumped.confirms_its_service() || service(socket, key)?.is_some();
    Ok(exists.then_some(dumped.items))
}

fn service(socket: &mut IpvsSocket, key: ServiceKey) -> Result<Option<Service>, ReadError> {
    Ok(services_by_key(socket, &[key])?.pop().flatten())
}

fn dump_services(
    socket: &mut IpvsSocket,
    interleave: &mut Interleave<'_>,
) -> Result<Vec<Service>, ReadError> {
    let key = |service: &Service| service.key;
    let dumped = consistent_dump(socket, Dump::Services, 0, codec::service, key, interleave)?;
    Ok(dumped.items)
}

/// The kernel replies to a dump of a service that does not exist with an empty one, and ends a dump
/// early if the service is deleted between two datagrams.
fn dump_servers(
    socket: &mut IpvsSocket,
    key: ServiceKey,
    expected: usize,
    interleave: &mut Interleave<'_>,
) -> Result<Dumped<Server>, ReadError> {
    let family = key.family();
    consistent_dump(
        socket,
        Dump::Servers(key),
        expected,
        |bytes| codec::server(bytes, family),
        |server| server.key,
        interleave,
    )
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
/// Duplicates reveal changes by other programs; `interleave` reports those of this process. It does
/// not run during the last attempt.
fn consistent_dump<T, K: Hash + Eq>(
    socket: &mut IpvsSocket,
    dump: Dump,
    expected: usize,
    decode: impl Fn(&[u8]) -> Option<T>,
    key: impl Fn(&T) -> K,
    interleave: &mut Interleave<'_>,
) -> Result<Dumped<T>, ReadError> {
    interleave(dump);
    for attempt in 1.. {
        let is_last = attempt == ATTEMPTS;
        let (mut items, mut invalidated) = (Vec::with_capacity(expected), false);
        let each = |bytes: &[u8]| items.extend(decode(bytes));
        let between = || invalidated |= !is_last && interleave(dump);
        let extent = match socket.dump(dump, each, between) {
            Err(ReadError::Interrupted) if !is_last => continue,
            result => result?,
        };
        if extent.datagrams > 1 && may_have_duplicates(&items, &key) {
            let mut seen = HashSet::with_capacity(items.len());
            let count = items.len();
            items.retain(|item| seen.insert(key(item)));
            invalidated |= items.len() < count;
        }
        if invalidated && !is_last {
            continue;
        }
        items.shrink_to_fit();
        return Ok(Dumped { items, extent });
    }
    Err(ReadError::Interrupted)
}

/// Whether two items have keys with the same hash. Sorting hashes is faster than filling a set.
fn may_have_duplicates<T, K: Hash>(items: &[T], key: impl Fn(&T) -> K) -> bool {
    let state = RandomState::default();
    let mut hashes: Vec<_> = items.iter().map(|item| state.hash_one(key(item))).collect();
    hashes.sort_unstable();
    !hashes.is_sorted_by(|before, after| before < after)
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
