//! The use cases. HTTP and gRPC parse a request, call [`App`], and render the result; they contain
//! no logic of their own.
//!
//! Every write goes through `App::write` in `write.rs`, every read through `read.rs`. A write plans
//! inside the executor's transaction, from the kernel's state at that moment, so that no request of
//! this process comes between a precondition and the change that depends on it.

mod access;
mod attempt;
mod audit;
mod batch;
mod connections;
mod context;
mod described;
mod health;
mod holds;
mod idempotency;
mod idempotency_entries;
mod idempotency_keys;
mod info;
mod last_scrape;
mod list;
mod list_request;
mod metrics;
mod operations;
mod page_entries;
mod pages;
mod paging;
mod read;
mod restore;
mod rules;
mod rules_text;
mod scrape;
mod servers;
mod services;
mod settings;
mod stats;
mod stats_stream;
mod stored;
mod sync_daemons;
mod tables;
mod timeouts;
mod types;
mod watch;
mod watch_filter;
mod write;

#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use health::HealthRegistry;
use holds::HoldRegistry;
use idempotency_keys::IdempotencyKeys;
use last_scrape::LastScrape;
use pages::PageCache;
use tables::Registry;
use tokio::sync::Semaphore;
use write::{TableLock, WritePath};

pub use access::Permission;
pub use audit::{AuditPage, ListAuditRecords};
pub use connections::{ConnectionStream, Count};
pub use context::{CompleteRequest, RequestContext, RequestId, Resumed};
pub use described::service_key;
pub use health::{ListHealth, MAX_RUNNING_CHECKS};
pub use holds::ListHolds;
pub use idempotency::Once;
pub use idempotency_keys::{Ended, KeyedRequest};
pub use info::{InfoReport, KernelReport, SchedulerReport};
pub use last_scrape::Scrape;
pub use list::ServerPage;
pub use list_request::{Filter, ListServers, ListServices};
pub use operations::{ApplyReport, Lost, OperationReport, OperationResult, Summary};
pub use page_entries::PageEntries;
pub use pages::ServicePage;
pub use paging::{KeyPage, Keyed, Order, OrderBy};
pub use restore::{RestoreEvent, RestoreStream, RestoreSummary, executed};
pub use rules::{RestoreMode, RestoreOptions};
pub use rules_text::RulesText;
pub use services::Cleared;
pub use stats::{StatsReport, StatsRequest, TopServer, TopService};
pub use stats_stream::{
    ShownFrame, ShownService, StatsHistory, StatsHistoryRequest, StatsInclude, StatsMessage,
    StatsStream, StatsStreamRequest, StatsView,
};
pub use tables::{
    ApplyOptions, Conflict, ConflictObject, DeclaredTable, DeleteTableOptions, Interrupted,
    ListOperations, ListTables, ListedOperation, OperationPage, RestoreOnStart, TableReport,
    TableState,
};
pub use types::{Answer, Guard, Written};
pub use watch::{WatchMessage, WatchRequest, WatchStream};
pub use watch_filter::{ChangeKind, WatchChange, WatchResources};
pub use write::BackgroundWork;

pub use crate::executor::offload;

use crate::{
    audit::AuditLog,
    budget::Budget,
    executor::{CommandList, CommandResults, Executor, InfoQuery, KeptStore, Reader, Write},
    identity::Verb,
    metrics::Metrics,
    model::Error,
    sampling::{Sampler, SamplingOptions},
    store::{Store, StoreError},
    trace::Tracer,
    watch::WatchCache,
};

/// The use cases over one network namespace. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App {
    reader: Reader,
    write_path: WritePath,
    pages: Arc<PageCache>,
    audit_queries: Arc<Semaphore>,
    budget: Budget,
    tables: Arc<Registry>,
    hold_registry: Arc<HoldRegistry>,
    health: Arc<HealthRegistry>,
    kept: KeptStore,
    idempotency: Arc<IdempotencyKeys>,
    watch: Arc<WatchCache>,
    sampler: Arc<Sampler>,
    metrics: Arc<Metrics>,
    last_scrape: Arc<LastScrape>,
    tracer: Tracer,
    options: Arc<AppOptions>,
}

/// Settings of the use cases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppOptions {
    /// Page size of a list if the request does not say; default 1000.
    pub default_page_size: u32,
    /// Largest page size; default 100000. A page is streamed, so this bounds the duration of a
    /// request rather than memory.
    pub max_page_size: u32,
    /// Servers that are read before a list is sent, about; default 131072, 22 MB. The others are read
    /// in parts while it is sent, so that a list of any size occupies a bounded memory.
    pub listed_servers: usize,
    /// Name of the managed network namespace; `None` for the daemon's own.
    pub namespace: Option<String>,
    /// `netlink` or `fake`.
    pub kernel: String,
    /// Idempotency keys that are kept; default 100000, 25 MB of memory.
    pub max_idempotency_keys: usize,
    /// Streams of statistics, and their history.
    pub sampling: SamplingOptions,
}

/// Maximum age of the result that a readiness check uses.
const READY_MAX_AGE: Duration = Duration::from_secs(1);
/// How long a readiness check waits for the kernel.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

/// Queries of the audit trail that are executed at once. Each occupies a thread and a disk.
const MAX_AUDIT_QUERIES: usize = 2;

// === impl App ===

impl App {
    /// The use cases over an executor, with an audit trail and a store in memory.
    pub fn new(executor: Executor, options: AppOptions) -> Self {
        Self::with_audit(executor, options, AuditLog::in_memory())
    }

    /// The use cases over an executor, with this audit trail and a store in memory.
    pub fn with_audit(executor: Executor, options: AppOptions, audit: AuditLog) -> Self {
        let sampler = Sampler::new(options.sampling.clone(), &executor.budget, Instant::now());
        let sampler = Arc::new(sampler);
        let metrics = metrics::sources(&executor, &audit, &sampler);
        let health = Arc::new(HealthRegistry::empty(
            executor.holds.clone(),
            executor.watch.clone(),
        ));
        let hold_registry = Arc::new(HoldRegistry::empty(executor.holds, executor.watch.clone()));
        let tables = Arc::new(Registry::empty(
            executor.kept.clone(),
            executor.watch.clone(),
        ));
        Self {
            reader: executor.reader,
            write_path: WritePath::new(
                executor.writer,
                audit,
                hold_registry.clone(),
                tables.clone(),
            ),
            pages: Arc::default(),
            audit_queries: Arc::new(Semaphore::new(MAX_AUDIT_QUERIES)),
            budget: executor.budget,
            tables,
            hold_registry,
            health,
            kept: executor.kept,
            idempotency: Arc::default(),
            watch: executor.watch,
            sampler,
            metrics: Arc::new(metrics),
            last_scrape: Arc::default(),
            tracer: Tracer::default(),
            options: Arc::new(options),
        }
    }

    /// The same with this store instead of one in memory, and with what it has. Blocks.
    pub fn with_store(self, store: Store) -> Result<Self, StoreError> {
        let holds = self.hold_registry.holds().clone();
        stored::load(&store, &self.kept)?;
        let max_keys = self.options.max_idempotency_keys;
        let watch = &self.watch;
        let tables = Registry::load(store.clone(), self.kept.clone(), watch.clone())?;
        let tables = Arc::new(tables);
        // After what is kept about services, so that watchers see which they are about.
        let health = HealthRegistry::load(holds.clone(), watch.clone(), store.clone())?;
        let hold_registry = HoldRegistry::load(holds, watch.clone(), store.clone())?;
        let hold_registry = Arc::new(hold_registry);
        Ok(Self {
            idempotency: Arc::new(IdempotencyKeys::load(store, max_keys)?),
            write_path: self
                .write_path
                .with_stored(hold_registry.clone(), tables.clone()),
            tables,
            hold_registry,
            health: Arc::new(health),
            ..self
        })
    }

    /// The same with this tracer, by which requests begin their traces.
    #[must_use]
    pub fn with_tracer(self, tracer: Tracer) -> Self {
        Self { tracer, ..self }
    }

    /// What begins the traces of requests.
    pub fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// What is kept beside the kernel's table.
    pub fn store(&self) -> &Store {
        self.tables.store()
    }

    /// What the daemon counts.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The memory that requests may use.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The memory that a request may use: that of its connection.
    pub fn budget_of(&self, context: &RequestContext) -> Budget {
        let of_connection = context.budget.clone();
        of_connection.unwrap_or_else(|| self.budget.of_connection())
    }

    /// Executes a change. Every write of every use case is a call of this, or of one of the two
    /// below. `verb` is the one that requires the least of those that the change may have: without it,
    /// nothing is read or planned.
    async fn write<W: Write>(
        &self,
        context: &RequestContext,
        verb: Verb,
        write: W,
    ) -> Result<W::Outcome, Error> {
        self.write_path.execute(context, verb, write).await
    }

    /// Executes a change with the table locked: see [`App::lock_table`].
    async fn write_locked<W: Write>(
        &self,
        context: &RequestContext,
        verb: Verb,
        write: W,
    ) -> Result<W::Outcome, Error> {
        self.write_path.execute_locked(context, verb, write).await
    }

    /// Executes operations of a change that was decided about as a whole, with all of its operations.
    async fn run_decided(
        &self,
        context: &RequestContext,
        list: CommandList,
    ) -> Result<CommandResults, Error> {
        self.write_path.run_decided(context, list).await
    }

    /// Executes a change in the task of a restore, which was decided about as a whole.
    async fn run_write<W: Write>(
        &self,
        context: &RequestContext,
        write: W,
    ) -> Result<W::Outcome, Error> {
        self.write_path.run(context, None, write).await
    }

    /// Waits until no other write makes or clears the whole table, until the request's deadline.
    async fn lock_table(&self, context: &RequestContext) -> Result<Option<TableLock>, Error> {
        self.write_path.lock_table(context).await
    }

    /// The writes in progress, for the end of the daemon.
    pub fn background_work(&self) -> &BackgroundWork {
        self.write_path.work()
    }

    /// Returns when the executor has made progress, with or without the kernel's replies; never while it is
    /// blocked. For a watchdog.
    pub async fn progress(&self) {
        self.reader.progress().await;
    }

    /// Whether the kernel replies. The error says why it does not.
    pub async fn ready(&self) -> Result<(), Error> {
        let context = RequestContext::new(RequestId::new("readiness"), READY_TIMEOUT)
            .with_max_age(READY_MAX_AGE);
        self.read(&context, InfoQuery).await.map(drop)
    }
}

// === impl AppOptions ===

impl Default for AppOptions {
    fn default() -> Self {
        Self {
            default_page_size: 1000,
            max_page_size: 100_000,
            listed_servers: 1 << 17,
            namespace: None,
            kernel: "netlink".to_owned(),
            max_idempotency_keys: 100_000,
            sampling: SamplingOptions::default(),
        }
    }
}

/// The error for a resource that is missing when it is read back.
fn deleted_since(mut error: Error) -> Error {
    error.detail += ": another program deleted it right after the change";
    error
}
