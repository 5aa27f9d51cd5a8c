//! What reads show of the table.

use super::revision::Revision;
use crate::model::{Server, ServerConfig, ServerKey, ServiceConfig, ServiceEntry, ServiceKey};

/// What a read has shown.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// All services, and the servers of the leading ones, whose number is the second value.
    Table(&'a [ServiceEntry], usize),
    /// A service does not exist.
    Missing(ServiceKey),
    /// The configuration of a service.
    Service(ServiceKey, &'a ServiceConfig),
    /// All servers of a service.
    Servers(ServiceKey, &'a [Server]),
    /// One server of a service; `None` if the service does not have it.
    Server(ServiceKey, ServerKey, Option<&'a ServerConfig>),
}

/// What has become of a read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Finished {
    /// A revision such that the result has every change up to it.
    pub revision: Option<Revision>,
    /// Whether an object is missing that the kernel may have left out of a long dump, because another
    /// program has deleted another one meanwhile. A second read shows it.
    pub again: bool,
}
