//! Events: changes of the configuration, one object each.

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    record::{Record, RecordKey},
    resource::Resource,
    revision::Revision,
};
use crate::{
    identity::{Principal, Protocol},
    model::{Kept, KeptFields, Name, ServerConfig, ServerKey, ServiceConfig, ServiceKey},
};

/// On whose behalf this process has executed a change.
#[derive(Clone, Debug)]
pub struct Author {
    /// The principal of the request.
    pub principal: Arc<Principal>,
    /// The id of the request.
    pub request_id: Arc<str>,
    /// The protocol by which it came.
    pub protocol: Protocol,
}

/// What has made a change.
#[derive(Clone, Debug)]
pub enum Origin {
    /// A request to this process, or this process itself.
    Api(Option<Author>),
    /// Another program.
    Foreign,
}

/// A change of one object.
#[derive(Clone, Debug)]
pub struct Event {
    /// The revision after it.
    pub revision: Revision,
    /// When it was executed; of a change of another program, when it was found.
    pub time: Timestamp,
    /// What has made it.
    pub origin: Origin,
    /// What has changed.
    pub what: What,
}

/// What has changed. Without `before` the object was added, without `after` deleted.
#[derive(Clone, Debug)]
pub enum What {
    /// A service or a server of the kernel's table.
    Listed {
        /// The service, or the service of the server.
        service: ServiceKey,
        /// The change.
        change: Change,
        /// What was kept about the service before. Another than after only if that is what has changed.
        kept_before: KeptFields,
        /// What was kept about the service after it.
        kept: KeptFields,
    },
    /// What the daemon keeps beside the table.
    Recorded {
        /// The identity of the record.
        key: RecordKey,
        /// As it was.
        before: Option<Record>,
        /// As it is.
        after: Option<Record>,
    },
}

/// A change of the kernel's table. Without `before` the object was added, without `after` deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A service.
    Service {
        /// Configuration before.
        before: Option<ServiceConfig>,
        /// Configuration after.
        after: Option<ServiceConfig>,
        /// Its servers, if its scheduler has changed, or what is kept about it: a filter shows or hides them.
        servers: Arc<[Member]>,
    },
    /// A server.
    Server {
        /// Key.
        key: ServerKey,
        /// Configuration before.
        before: Option<ServerConfig>,
        /// Configuration after.
        after: Option<ServerConfig>,
        /// The scheduler of its service at that time.
        scheduler: Name,
    },
}

/// A server and its configuration.
pub type Member = (ServerKey, ServerConfig);

/// An object of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Present {
    /// A service or a server.
    Listed {
        /// The identity of the object.
        entry: Entry,
        /// The object.
        resource: Resource,
        /// The scheduler of the service.
        scheduler: Name,
        /// What is kept about the service.
        kept: KeptFields,
    },
    /// What the daemon keeps beside the table.
    Recorded(RecordKey, Record),
}

/// A service, or a server of it. A service is less than its servers.
pub type Entry = (ServiceKey, Option<ServerKey>);

/// The identity of an object. The order is that of the state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Object {
    /// Of the kernel's table.
    Listed(Entry),
    /// What the daemon keeps beside it.
    Recorded(RecordKey),
}

// === impl Event ===

impl Event {
    pub(super) fn object(&self) -> Object {
        match &self.what {
            What::Listed {
                service, change, ..
            } => {
                let server = match change {
                    Change::Service { .. } => None,
                    Change::Server { key, .. } => Some(*key),
                };
                Object::Listed((*service, server))
            }
            What::Recorded { key, .. } => Object::Recorded(key.clone()),
        }
    }

    /// Its length as text, as a number of servers.
    pub(super) fn weight(&self) -> usize {
        match &self.what {
            What::Listed { .. } => 1,
            What::Recorded { before, after, .. } => {
                let records = before.iter().chain(after);
                records.map(Record::weight).sum()
            }
        }
    }

    /// Bytes that it occupies.
    pub(super) fn bytes(&self) -> usize {
        let of_change = match &self.what {
            What::Listed {
                change: Change::Service { servers, .. },
                kept_before,
                kept,
                ..
            } => {
                let stored = [kept_before, kept].map(|kept| Kept::stored(kept).bytes());
                size_of_val(&**servers) + stored.iter().sum::<usize>()
            }
            What::Listed {
                change: Change::Server { .. },
                ..
            } => 0,
            // What it was is counted with the event before.
            What::Recorded { before, after, .. } => after
                .as_ref()
                .map_or(0, |after| after.bytes_beside(before.as_ref())),
        };
        size_of::<Self>() + OVERHEAD + of_change
    }
}

/// Of the allocation of an event, and its place in the log.
const OVERHEAD: usize = 32;

// === impl Origin ===

impl Origin {
    /// The name in the API.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Foreign => "foreign",
            Self::Api(Some(author)) if author.protocol != Protocol::Internal => "api",
            Self::Api(_) => "task",
        }
    }
}

// === impl Present ===

impl Present {
    pub(super) fn object(&self) -> Object {
        match self {
            Self::Listed { entry, .. } => Object::Listed(*entry),
            Self::Recorded(key, _) => Object::Recorded(key.clone()),
        }
    }
}
