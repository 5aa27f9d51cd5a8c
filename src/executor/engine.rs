//! The state that changes need: the kernel, a socket and the cache.
//!
//! `execute.rs` sends operations and determines their outcomes, `typed_transaction.rs` runs transactions.

use std::sync::Arc;

use super::{
    cache::Cache,
    dump::{Changes, NoChanges},
    large::LargeServices,
    query::{Source, TypedQuery},
    reconnect::ReconnectingSocket,
    request::Dump,
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
    pub(super) large: Arc<LargeServices>,
    pub(super) budget: Budget,
    pub(super) socket: ReconnectingSocket,
    /// The network namespace from whose state the change in progress is planned.
    pub(super) planned_in: Option<NamespaceId>,
    /// The dump of a query that is in progress, and whether a change has invalidated it.
    pub(super) dumping: Option<(Dump, bool)>,
}

impl Engine {
    /// An engine that has not connected yet.
    pub(super) fn new(
        kernel: Arc<dyn Kernel>,
        cache: Arc<Cache>,
        large: Arc<LargeServices>,
        budget: Budget,
    ) -> Self {
        Self {
            socket: ReconnectingSocket::new(kernel.clone()),
            kernel,
            cache,
            large,
            budget,
            planned_in: None,
            dumping: None,
        }
    }

    /// Runs a query of a change.
    pub(super) fn fetch<Q: TypedQuery>(&mut self, query: &Q) -> Result<Q::Answer, Error> {
        query.fetch(&mut self.source(&mut NoChanges))
    }

    /// What queries read from.
    pub(super) fn source<'a>(&'a mut self, changes: &'a mut dyn Changes) -> Source<'a> {
        Source {
            kernel: &*self.kernel,
            budget: &self.budget,
            large: &self.large,
            socket: &mut self.socket,
            changes,
        }
    }

    /// Discards what a panic may have left half done.
    pub(super) fn reset(&mut self) {
        self.socket.close();
        self.cache.clear();
        self.planned_in = None;
    }
}
