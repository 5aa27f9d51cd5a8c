//! Events: changes of the configuration, one object each.

use std::sync::Arc;

use jiff::Timestamp;

use super::revision::Revision;
use crate::{
    identity::Principal,
    model::{Kept, KeptFields, Name, ServerConfig, ServerKey, ServiceConfig, ServiceKey},
};

/// On whose behalf this process has executed a change.
#[derive(Clone, Debug)]
pub struct Author {
    /// The principal of the request.
    pub principal: Arc<Principal>,
    /// The id of the request.
    pub request_id: Arc<str>,
}

/// What has made a change.
#[derive(Clone, Debug)]
pub enum Origin {
    /// A request to this process.
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
    /// The service, or the service of the server.
    pub service: ServiceKey,
    /// The change.
    pub change: Change,
    /// What was kept about the service before. Another than after only if that is what has changed.
    pub kept_before: KeptFields,
    /// What was kept about the service after it.
    pub kept: KeptFields,
}

/// What has changed. Without `before` the object was added, without `after` deleted.
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

/// The configuration of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A service, without its servers, and what is kept about it.
    Service(ServiceKey, ServiceConfig, KeptFields),
    /// A server of a service.
    Server(ServiceKey, ServerKey, ServerConfig),
}

/// An object of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// The object.
    pub resource: Resource,
    /// The scheduler of the service.
    pub scheduler: Name,
    /// What is kept about the service.
    pub kept: KeptFields,
}

/// The identity of an object. A service is less than its servers.
pub(super) type Object = (ServiceKey, Option<ServerKey>);

// === impl Event ===

impl Event {
    pub(super) fn object(&self) -> Object {
        let server = match &self.change {
            Change::Service { .. } => None,
            Change::Server { key, .. } => Some(*key),
        };
        (self.service, server)
    }

    /// Bytes that it occupies.
    pub(super) fn bytes(&self) -> usize {
        let of_change = match &self.change {
            Change::Service { servers, .. } => {
                let labels = [&self.kept_before, &self.kept].map(|kept| Kept::labels(kept).bytes());
                size_of_val(&**servers) + labels.iter().sum::<usize>()
            }
            Change::Server { .. } => 0,
        };
        size_of::<Self>() + OVERHEAD + of_change
    }
}

/// Of the allocation of an event, and its place in the log.
const OVERHEAD: usize = 32;

// === impl Resource ===

impl Resource {
    /// The service, or the service of the server.
    pub fn service(&self) -> ServiceKey {
        match self {
            Self::Service(key, ..) | Self::Server(key, ..) => *key,
        }
    }

    /// The server, if it is one.
    pub fn server(&self) -> Option<ServerKey> {
        match self {
            Self::Service(..) => None,
            Self::Server(_, key, _) => Some(*key),
        }
    }

    /// The name of its kind in the API.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Service(..) => "service",
            Self::Server(..) => "server",
        }
    }

    pub(super) fn object(&self) -> Object {
        (self.service(), self.server())
    }
}
