//! The use cases: what both faces, HTTP and gRPC, can ask for. A face turns its request into a call
//! of [`App`] and the answer into its own form; it decides nothing.
//!
//! A write is a [`Change`](crate::executor::Change): what it decides, it decides inside the
//! executor's turn, from what the kernel has at that moment, so that nothing of this process comes
//! between a guard and what it guards.

mod connections;
mod context;
mod list;
mod pages;
mod report;
mod rules;
mod servers;
mod services;
mod settings;
mod sync_daemons;
mod timeouts;
mod types;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

pub use context::{RequestContext, RequestId};
pub use list::{Filter, ListServers, ListServices, Order, OrderBy, ServerPage};
pub use pages::ServicePage;
pub use rules::{RestoreEvent, RestoreOptions, RestoreStream, RestoreSummary};
pub use types::{
    Answer, ConnectionStream, Count, Guard, InfoReport, KernelReport, SchedulerReport, StatsReport,
    StatsRequest, TopServer, TopService, Written,
};

use crate::{
    executor::{Executor, Seen, Told},
    model::{Error, Query, Reason, Server, ServiceEntry, ServiceKey},
};

/// The use cases over one network namespace. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App {
    executor: Executor,
    options: Arc<AppOptions>,
}

/// What the use cases are told of their surroundings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppOptions {
    /// Size of a page where the client does not say; default 1000.
    pub default_page_size: u32,
    /// Largest size of a page; default 100000. A page is streamed, so this bounds patience rather
    /// than memory.
    pub max_page_size: u32,
    /// Name of the managed network namespace, `None` for the daemon's own.
    pub namespace: Option<String>,
    /// `netlink` or `fake`.
    pub kernel: String,
}

/// How old the answer behind `/readyz` may be.
const READY_MAX_AGE: Duration = Duration::from_secs(1);
/// How long `/readyz` waits for the kernel.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

// === impl App ===

impl App {
    /// The use cases over this executor.
    pub fn new(executor: Executor, options: AppOptions) -> Self {
        Self {
            executor,
            options: Arc::new(options),
        }
    }

    /// Whether the kernel answers: `Ok`, or why it does not.
    pub async fn ready(&self) -> Result<(), Error> {
        let context = RequestContext::new(RequestId::new("readyz"), READY_TIMEOUT)
            .with_max_age(READY_MAX_AGE);
        self.executor
            .ask(Query::Info, context.max_age, context.deadline)
            .await
            .map(|_| ())
    }

    async fn ask<T>(
        &self,
        context: &RequestContext,
        query: Query,
        take: impl FnOnce(Seen) -> Option<T>,
    ) -> Result<Answer<T>, Error> {
        let Told { value, age, .. } = self
            .executor
            .ask(query, context.max_age, context.deadline)
            .await?;
        let value = take(value).ok_or_else(mismatch)?;
        Ok(Answer { value, age })
    }

    /// Reads the whole table.
    async fn table(
        &self,
        context: &RequestContext,
    ) -> Result<Answer<Arc<Vec<ServiceEntry>>>, Error> {
        let take = |seen| match seen {
            Seen::Table(table) => Some(table),
            _ => None,
        };
        self.ask(context, Query::Table, take).await
    }
}

// === impl AppOptions ===

impl Default for AppOptions {
    fn default() -> Self {
        Self {
            default_page_size: 1000,
            max_page_size: 100_000,
            namespace: None,
            kernel: "netlink".to_owned(),
        }
    }
}

/// The executor answered another question than was asked: a bug, said instead of a panic.
fn mismatch() -> Error {
    Error::new(
        Reason::Internal,
        "the executor gave an answer to another question",
    )
}

fn service_not_found(key: ServiceKey) -> Error {
    Error::new(
        Reason::ServiceNotFound,
        format!("there is no virtual service {key}"),
    )
}

/// The service that a look found, if any.
fn looked_up(seen: Option<&Seen>) -> Result<Option<&ServiceEntry>, Error> {
    match seen {
        Some(Seen::Service(entry)) => Ok(entry.as_deref()),
        _ => Err(mismatch()),
    }
}

/// The service that a look must have found.
fn found(seen: Option<&Seen>, key: ServiceKey) -> Result<&ServiceEntry, Error> {
    looked_up(seen)?.ok_or_else(|| service_not_found(key))
}

/// The error of what is missing when it is read back.
fn right_after(mut error: Error) -> Error {
    error.detail += ": another program deleted it right after the change";
    error
}

/// The servers that were looked at, of a service that must be there.
fn servers_of(seen: Option<&Seen>, key: ServiceKey) -> Result<&[Server], Error> {
    match seen {
        Some(Seen::Servers(Some(servers))) => Ok(servers),
        Some(Seen::Servers(None)) => Err(service_not_found(key)),
        _ => Err(mismatch()),
    }
}

/// The service that was read back.
fn read_back(seen: Option<Seen>, key: ServiceKey) -> Result<Arc<ServiceEntry>, Error> {
    match seen {
        Some(Seen::Service(Some(entry))) => Ok(entry),
        Some(Seen::Service(None)) => Err(right_after(service_not_found(key))),
        _ => Err(mismatch()),
    }
}
