//! What is read of one service, and how sure it is.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;

use super::request::{Dump, MAX_DATAGRAM, ReadError, Request};
use crate::{
    codec::{
        self, Get,
        wire::{self, Kind, Message},
    },
    model::{Errno, Server, ServerKey, Service, ServiceKey},
};

/// What to read of one service.
#[derive(Clone, Copy, Debug)]
pub struct ServiceRead {
    /// The service.
    pub key: ServiceKey,
    /// Whether to read the service itself (`IPVS_CMD_GET_SERVICE`).
    pub service: bool,
    /// Which of its servers to read (`IPVS_CMD_GET_DEST`).
    pub servers: Servers,
}

/// Which servers to read. IPVS has no request for one: to find it, all are dumped.
#[derive(Clone, Copy, Debug, Default)]
pub enum Servers {
    /// None.
    #[default]
    None,
    /// All.
    All,
    /// The one with this key.
    One(ServerKey),
}

/// What was read of one service.
#[derive(Debug, Default)]
pub struct ServiceState {
    /// The service: the errno if the kernel rejected the request, `None` if it was not requested.
    pub service: Option<Result<Service, Errno>>,
    /// Which of its servers were requested.
    pub wanted: Servers,
    /// Those servers. A service that does not exist has none.
    pub servers: Vec<Server>,
    /// The number of all its servers.
    pub count: usize,
    /// The size of the dump of its servers.
    pub extent: Extent,
    /// The errno with which the kernel ended that dump; 0 for success.
    pub status: i32,
    /// Whether the table changed during that dump (`NLM_F_DUMP_INTR`).
    pub interrupted: bool,
    /// Whether all replies have been received.
    pub is_complete: bool,
}

/// The size of a dump.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extent {
    /// Datagrams with entries. The kernel fills one at one moment.
    pub datagrams: usize,
    /// Bytes of the entries.
    bytes: usize,
    /// Bytes of the longest entry.
    longest: usize,
    /// The number of the last datagram.
    last: Option<usize>,
}

/// The kernel fills a datagram of a dump at least this far while it has entries. It takes
/// `sizeof(struct skb_shared_info)` from the 32 KiB: 320 bytes, or 768 with the largest
/// `CONFIG_MAX_SKB_FRAGS`.
const MIN_FILL: usize = MAX_DATAGRAM - 1024;

// === impl Extent ===

impl Extent {
    /// Adds an entry with these attributes, of the datagram with this number. The kernel ends a dump
    /// with a datagram of its own, which does not count.
    pub fn add(&mut self, datagram: usize, attributes: &[u8]) {
        let len = wire::message_len(attributes.len());
        self.datagrams += usize::from(self.last.replace(datagram) != Some(datagram));
        self.bytes += len;
        self.longest = self.longest.max(len);
    }

    /// Whether the dump is a snapshot: it filled one datagram and had space for another entry, so
    /// the kernel had no more at that moment. (A kernel that is short of memory fills smaller
    /// datagrams; their end is not detected.)
    pub fn is_snapshot(&self) -> bool {
        self.datagrams == 1 && self.bytes + self.longest <= MIN_FILL
    }

    /// Whether two items of the dump have keys with the same hash. Sorting hashes is faster than
    /// filling a set.
    pub fn may_have_duplicates<T, K: Hash>(&self, items: &[T], key: impl Fn(&T) -> K) -> bool {
        if self.datagrams < 2 {
            return false;
        }
        let state = RandomState::default();
        let mut hashes: Vec<_> = items.iter().map(|item| state.hash_one(key(item))).collect();
        hashes.sort_unstable();
        !hashes.is_sorted_by(|before, after| before < after)
    }
}

// === impl ServiceRead ===

impl ServiceRead {
    pub fn requests<'a>(self) -> impl Iterator<Item = Request<'a>> {
        let get = self.service.then_some(Request::Get(Get::Service(self.key)));
        let dump = match self.servers {
            Servers::None => None,
            Servers::All | Servers::One(_) => Some(Request::Dump(Dump::Servers(self.key))),
        };
        get.into_iter().chain(dump)
    }
}

// === impl ServiceState ===

impl ServiceState {
    pub fn new(read: ServiceRead) -> Self {
        Self {
            wanted: read.servers,
            ..Self::default()
        }
    }

    /// Takes a reply to a request of a [`ServiceRead`].
    pub fn take(&mut self, request: Request<'_>, datagram: usize, message: Message<'_>) {
        match (request, message.kind) {
            (Request::Get(_), Kind::Attributes(bytes)) => {
                let service = codec::service(bytes).ok_or(Errno(libc::EPROTO));
                self.service = Some(service);
            }
            (Request::Get(_), Kind::Outcome(errno) | Kind::Done(errno)) => {
                self.service = Some(Err(Errno(errno)));
            }
            (Request::Dump(Dump::Servers(key)), Kind::Attributes(bytes)) => {
                self.interrupted |= message.interrupted;
                self.extent.add(datagram, bytes);
                self.count += 1;
                let server = codec::server(bytes, key.family());
                self.servers
                    .extend(server.filter(|server| match self.wanted {
                        Servers::One(key) => server.key == key,
                        _ => true,
                    }));
            }
            (Request::Dump(_), Kind::Outcome(errno) | Kind::Done(errno)) => {
                self.interrupted |= message.interrupted;
                self.status = errno;
            }
            _ => {}
        }
    }

    /// Whether the kernel has reported that the service does not exist.
    pub fn is_missing(&self) -> Result<bool, ReadError> {
        self.service.as_ref().map_or(Ok(false), is_missing)
    }

    /// Whether the servers that were read show that their service existed throughout. The kernel
    /// replies to a dump of a service that does not exist with an empty one, and ends a dump early if
    /// the service is deleted between two datagrams.
    pub fn is_certain(&self) -> bool {
        match self.wanted {
            Servers::None => true,
            Servers::One(_) if !self.servers.is_empty() => true,
            Servers::One(_) | Servers::All => self.count > 0 && self.extent.is_snapshot(),
        }
    }

    /// Whether the servers were dumped without a change meanwhile, as far as that shows.
    pub fn is_consistent(&self) -> bool {
        let key = |server: &Server| server.key;
        !self.interrupted && !self.extent.may_have_duplicates(&self.servers, key)
    }
}

/// Whether a reply reports that the service does not exist.
pub fn is_missing(reply: &Result<Service, Errno>) -> Result<bool, ReadError> {
    match *reply {
        Ok(_) => Ok(false),
        // A kernel without IPv6 has no IPv6 services.
        Err(Errno::ESRCH | Errno::EAFNOSUPPORT) => Ok(true),
        Err(errno) => Err(ReadError::Rejected(errno)),
    }
}
