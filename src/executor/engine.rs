//! The state that changes need: the kernel, a socket and the cache.
//!
//! `execute.rs` sends operations and determines their outcomes, `typed_transaction.rs` runs transactions.

use std::sync::Arc;

use super::{
    cache::Cache,
    dump::{Changes, NoChanges},
    hold_state::Held,
    holds::Holds,
    large::LargeServices,
    member::Member,
    modules::LoadedModules,
    overlap::Overlap,
    query::{Source, TypedQuery},
    reconnect::ReconnectingSocket,
    socket::Outcome,
    stored::StoredServices,
};
use crate::{
    budget::Budget,
    kernel::{Kernel, NamespaceId},
    metrics::KernelMetrics,
    model::{Error, Op},
    trace::Span,
    watch::{Author, WatchCache},
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
    pub(super) modules: LoadedModules,
    /// The operations in progress, for the dumps of the thread for long reads.
    pub(super) overlap: Arc<Overlap>,
    /// What was last seen of the table.
    pub(super) watch: Arc<WatchCache>,
    /// On whose behalf the change in progress is executed.
    pub(super) author: Option<Author>,
    /// The holds on the weights of servers.
    pub(super) holds: Arc<Holds>,
    /// What is stored of services.
    pub(super) stored: Arc<StoredServices>,
    /// Whether the operations in progress change weights beneath the holds, and end none.
    pub(super) keeps_holds: bool,
    /// The holds that the transaction in progress has ended.
    pub(super) ended_holds: Vec<(Member, Held)>,
    pub(super) metrics: Arc<KernelMetrics>,
    /// The operations of the change in progress, by their outcomes.
    sent: Sent,
}

/// Operations that were sent to the kernel.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    done: i64,
    rejected: i64,
    lost: i64,
}

impl Engine {
    /// An engine that has not connected yet.
    pub(super) fn new(
        kernel: Arc<dyn Kernel>,
        cache: Arc<Cache>,
        large: Arc<LargeServices>,
        budget: Budget,
        watch: Arc<WatchCache>,
        metrics: Arc<KernelMetrics>,
    ) -> Self {
        Self {
            socket: ReconnectingSocket::new(kernel.clone(), watch.clone(), metrics.clone()),
            kernel,
            cache,
            large,
            budget,
            planned_in: None,
            modules: LoadedModules::new(),
            overlap: Arc::default(),
            watch,
            author: None,
            holds: Arc::default(),
            stored: Arc::default(),
            keeps_holds: false,
            ended_holds: Vec::new(),
            metrics,
            sent: Sent::default(),
        }
    }

    /// Runs a query of a change.
    pub(super) fn fetch<Q: TypedQuery>(&mut self, query: &Q) -> Result<Q::Answer, Error> {
        let read = self.watch.begin_read();
        let answer = query.fetch(&mut self.source(&mut NoChanges))?;
        if let Some(read) = read {
            read.finish(|see| query.show(&answer, see));
        }
        Ok(answer)
    }

    /// What queries read from.
    pub(super) fn source<'a>(&'a mut self, changes: &'a mut dyn Changes) -> Source<'a> {
        Source {
            kernel: &*self.kernel,
            budget: &self.budget,
            large: &self.large,
            holds: &self.holds,
            watch: &self.watch,
            socket: &mut self.socket,
            changes,
            is_exclusive: true,
        }
    }

    /// Discards what a panic may have left half done.
    pub(super) fn reset(&mut self) {
        self.socket.close();
        self.cache.clear();
        self.planned_in = None;
        self.author = None;
        self.keeps_holds = false;
        self.ended_holds = Vec::new();
        self.sent = Sent::default();
    }

    /// Counts an operation and its outcome. Stored fields are not sent to the kernel.
    pub(super) fn count(&mut self, op: &Op, outcome: Outcome) {
        self.metrics.command(op, outcome.into());
        match outcome {
            _ if matches!(op, Op::SetStored(..)) => {}
            Outcome::Done => self.sent.done += 1,
            Outcome::Rejected(_) => self.sent.rejected += 1,
            Outcome::Unknown => self.sent.lost += 1,
            Outcome::NotSent => {}
        }
    }

    /// Describes the change that has ended in its span.
    pub(super) fn describe(&mut self, span: &Span, dry_run: bool, error: Option<&Error>) {
        let Sent {
            done,
            rejected,
            lost,
        } = std::mem::take(&mut self.sent);
        span.set("ipvsd.commands.done", done);
        span.set("ipvsd.commands.rejected", rejected);
        span.set("ipvsd.commands.lost", lost);
        span.set("ipvsd.dry_run", dry_run);
        if let Some(error) = error {
            span.fail(error.reason.as_str());
        }
    }

    /// Notes the effect of an executed operation on the holds, and on what counters count from.
    pub(super) fn note_executed(&mut self, op: &Op) {
        self.metrics.creations().executed(op);
        let ended = self.holds.executed(op, self.keeps_holds);
        self.ended_holds.extend(ended);
    }
}
