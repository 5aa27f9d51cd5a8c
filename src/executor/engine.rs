//! The state that changes need: the kernel, a socket and the cache.
//!
//! `execute.rs` sends operations and determines their outcomes, `batch.rs` runs transactions.

use std::sync::Arc;

use super::{
    cache::Cache,
    query::{Source, TypedQuery},
    reconnect::ReconnectingSocket,
    socket::Dump,
};
use crate::{
    budget::Budget,
    kernel::{Kernel, NamespaceId},
    model::Error,
};

/// Executes changes.
pub struct Engine {
    pub(super) kernel: Arc<dyn Kernel>,
    pub(super) cache: Arc<Cache>,
    pub(super) budget: Budget,
    pub(super) socket: ReconnectingSocket,
    /// The network namespace from whose state the batch in progress is planned.
    pub(super) planned_in: Option<NamespaceId>,
    /// The dump of a query that is in progress, and whether a change has invalidated it.
    pub(super) dumping: Option<(Dump, bool)>,
}

impl Engine {
    /// An engine that has not connected yet.
    pub(super) fn new(kernel: Arc<dyn Kernel>, cache: Arc<Cache>, budget: Budget) -> Self {
        Self {
            socket: ReconnectingSocket::new(kernel.clone()),
            kernel,
            cache,
            budget,
            planned_in: None,
            dumping: None,
        }
    }

    /// Runs a query of a change, without interruption.
    pub(super) fn fetch<Q: TypedQuery>(&mut self, query: &Q) -> Result<Q::Answer, Error> {
        query.fetch(&mut Source {
            kernel: &*self.kernel,
            budget: &self.budget,
            socket: &mut self.socket,
            interleave: &mut |_| false,
        })
    }
}
