//! Questions that take more than one exchange, and what makes their answers whole.

use std::{
    hash::{BuildHasher, Hash},
    io,
    sync::Arc,
};

use foldhash::{HashSet, HashSetExt, fast::RandomState};

use super::{
    Seen,
    link::{AskError, Dump, Link},
};
use crate::{
    codec,
    model::{Errno, Query, Server, Service, ServiceEntry, ServiceKey},
};

/// What is done between the datagrams of a dump, and between dumps. It tells whether it moved what
/// this dump is of (see [`Dump::is_moved_by`]).
pub type Between<'a> = dyn FnMut(Dump) -> bool + 'a;

/// How often a dump that disagrees with itself is done again, before its duplicates are dropped.
const ATTEMPTS: usize = 3;
/// Fewer servers than this came in one datagram, which the kernel fills at one moment: it holds
/// about 80.
const SNAPSHOT: usize = 64;

/// Answers a question.
pub fn read(link: &mut Link, query: Query, between: &mut Between<'_>) -> Result<Seen, AskError> {
    Ok(match query {
        Query::Info => Seen::Info(one(link, query, codec::info)?),
        Query::Timeouts => Seen::Timeouts(one(link, query, codec::timeouts)?),
        Query::SyncDaemons => {
            let mut daemons = Vec::new();
            let each = |bytes: &[u8]| daemons.extend(codec::sync_daemon(bytes));
            link.dump(Dump::SyncDaemons, each, || ())?;
            Seen::SyncDaemons(daemons)
        }
        Query::Services => {
            let bare = |service| ServiceEntry {
                service,
                servers: Vec::new(),
            };
            Seen::Table(Arc::new(
                services(link, between)?.into_iter().map(bare).collect(),
            ))
        }
        Query::Table => {
            let services = services(link, between)?;
            let mut table: Vec<ServiceEntry> = Vec::with_capacity(services.len());
            for service in services {
                let servers = told_servers(link, service.key, table.last(), between)?;
                table.push(ServiceEntry { service, servers });
            }
            // What must be looked at once more: one dump for all that.
            if !table.iter().all(|entry| is_certain(&entry.servers)) {
                let still = self::services(link, between)?;
                let still: HashSet<_> = still.iter().map(|still| still.key).collect();
                table.retain(|entry| {
                    is_certain(&entry.servers) || still.contains(&entry.service.key)
                });
            }
            Seen::Table(Arc::new(table))
        }
        Query::Service(key) => Seen::Service(service(link, key)?.map(|service| {
            Arc::new(ServiceEntry {
                service,
                servers: Vec::new(),
            })
        })),
        Query::Servers(key) => Seen::Servers(servers(link, key, between)?.map(Arc::new)),
        Query::ServiceWithServers(key) => Seen::Service(match service(link, key)? {
            None => None,
            Some(service) => servers(link, key, between)?
                .map(|servers| Arc::new(ServiceEntry { service, servers })),
        }),
    })
}

/// Answers for several services without their servers, in one exchange.
pub fn read_services(
    link: &mut Link,
    keys: &[ServiceKey],
) -> Result<Vec<Option<Service>>, AskError> {
    let queries: Vec<_> = keys.iter().map(|key| Query::Service(*key)).collect();
    // Unanswered, missing, or there.
    let mut found: Vec<Option<Option<Service>>> = vec![None; keys.len()];
    let mut refused = None;
    link.ask(&queries, |place, answer| {
        let told = match answer {
            Ok(bytes) => codec::service(bytes).map(Some).ok_or(Errno(libc::EPROTO)),
            // A kernel without IPv6 has no IPv6 services.
            Err(Errno::ESRCH | Errno::EAFNOSUPPORT) => Ok(None),
            Err(errno) => Err(errno),
        };
        match (found.get_mut(place), told) {
            (Some(slot), Ok(told)) => *slot = Some(told),
            (_, Err(errno)) => refused = Some(errno),
            (None, Ok(_)) => {}
        }
    })?;
    if let Some(errno) = refused {
        return Err(AskError::Refused(errno));
    }
    let found: Option<Vec<_>> = found.into_iter().collect();
    found.ok_or_else(|| AskError::Broken(io::Error::other("an answer is missing")))
}

fn service(link: &mut Link, key: ServiceKey) -> Result<Option<Service>, AskError> {
    Ok(read_services(link, &[key])?.pop().flatten())
}

// === reading ===

fn services(link: &mut Link, between: &mut Between<'_>) -> Result<Vec<Service>, AskError> {
    let key = |service: &Service| service.key;
    whole(link, Dump::Services, 0, codec::service, key, between)
}

/// The servers of a service; `None` where there is none.
fn servers(
    link: &mut Link,
    key: ServiceKey,
    between: &mut Between<'_>,
) -> Result<Option<Vec<Server>>, AskError> {
    let servers = told_servers(link, key, None, between)?;
    let is_there = is_certain(&servers) || service(link, key)?.is_some();
    Ok(is_there.then_some(servers))
}

/// What a dump tells of the servers of a service: none, or some of them, where another program
/// deletes it meanwhile. `before` is the entry that was read before; a service has often as many
/// servers as the last.
fn told_servers(
    link: &mut Link,
    key: ServiceKey,
    before: Option<&ServiceEntry>,
    between: &mut Between<'_>,
) -> Result<Vec<Server>, AskError> {
    let family = key.family();
    whole(
        link,
        Dump::Servers(key),
        before.map_or(0, |entry| entry.servers.len()),
        |bytes| codec::server(bytes, family),
        |server| server.key,
        between,
    )
}

/// Whether these are the servers of a service that was there: an empty dump does not tell that it
/// has gone, nor does one that ends after its first datagram because of it.
fn is_certain(servers: &[Server]) -> bool {
    (1..SNAPSHOT).contains(&servers.len())
}

/// A dump, done again when the table changed under it. The kernel resumes a dump at an index, so what
/// is added or deleted between two datagrams doubles or hides an entry: what other programs do shows
/// by the doubled ones, what this one does by what `between` tells. It is not run in the last attempt.
fn whole<T, K: Hash + Eq>(
    link: &mut Link,
    dump: Dump,
    expected: usize,
    decode: impl Fn(&[u8]) -> Option<T>,
    key: impl Fn(&T) -> K,
    between: &mut Between<'_>,
) -> Result<Vec<T>, AskError> {
    between(dump);
    for attempt in 1.. {
        let is_last = attempt == ATTEMPTS;
        let (mut all, mut moved) = (Vec::with_capacity(expected), false);
        let each = |bytes: &[u8]| all.extend(decode(bytes));
        let datagrams = match link.dump(dump, each, || moved |= !is_last && between(dump)) {
            Err(AskError::Interrupted) if !is_last => continue,
            result => result?,
        };
        if datagrams > 1 && seem_doubled(&all, &key) {
            let mut seen = HashSet::with_capacity(all.len());
            let count = all.len();
            all.retain(|item| seen.insert(key(item)));
            moved |= all.len() < count;
        }
        if moved && !is_last {
            continue;
        }
        all.shrink_to_fit();
        return Ok(all);
    }
    Err(AskError::Interrupted)
}

/// Whether two have the same key, by their hashes, which are sooner sorted than put into a set.
fn seem_doubled<T, K: Hash>(all: &[T], key: impl Fn(&T) -> K) -> bool {
    let state = RandomState::default();
    let mut hashes: Vec<_> = all.iter().map(|item| state.hash_one(key(item))).collect();
    hashes.sort_unstable();
    !hashes.is_sorted_by(|before, after| before < after)
}

fn one<T>(
    link: &mut Link,
    query: Query,
    decode: impl Fn(&[u8]) -> Option<T>,
) -> Result<T, AskError> {
    let mut found = Err(Errno(libc::EPROTO));
    link.ask(&[query], |_, answer| {
        found = answer.and_then(|bytes| decode(bytes).ok_or(Errno(libc::EPROTO)));
    })?;
    found.map_err(AskError::Refused)
}
