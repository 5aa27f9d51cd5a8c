//! What waits for the executor: queries and changes of any type.

use std::{
    any::Any,
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    cache::{Cache, Cached},
    engine::Engine,
    pending::{KERNEL_WRITE, Pending, Reply},
    query::{Source, TypedQuery},
    queue::Waits,
    transaction::{
        CommandList, CommandResult, CommandResults, Executed, OpCheck, Transaction, WriteMode,
    },
    typed_transaction::{PendingTransaction, TypedTransaction},
};
use crate::{
    clock,
    kernel::NamespaceId,
    metrics::KernelMetrics,
    model::{Error, Op, Reason, ServerKey, ServiceKey},
    trace::Span,
    watch::{Finished, WatchCache},
};

/// A request that waits.
pub enum Job {
    /// A query.
    Read(Box<dyn PendingRead>),
    /// A transaction.
    Transaction(Box<dyn PendingTransaction>),
    /// Independent operations, `None` when nobody waits, and how they run.
    Commands(Option<Pending<CommandList, CommandResults>>, WriteMode),
}

/// A change that the [`Writer`](super::Writer) executes.
pub trait Write: Send + 'static {
    /// The outcome.
    type Outcome: Send + 'static;

    /// The service that the change is about, if it is about one.
    fn service(&self) -> Option<ServiceKey>;

    /// The server that the change is about, if it is about one.
    fn server(&self) -> Option<ServerKey>;

    /// What the change is about if it is not about a service, for the log.
    fn about(&self) -> Option<String>;

    /// What is requested, for the audit trail.
    fn name(&self) -> &'static str;

    /// The operations that were executed or, for a dry run, planned, each with the one that restores
    /// what was before.
    fn changes(outcome: &Self::Outcome) -> impl Iterator<Item = (&Op, Option<&Op>)>;

    /// The operations that were executed or, for a dry run, planned.
    fn ops(outcome: &Self::Outcome) -> impl Iterator<Item = &Op> {
        Self::changes(outcome).map(|(op, _)| op)
    }

    /// The number of operations that the kernel rejected, for a change that tolerates that.
    fn rejected(_outcome: &Self::Outcome) -> usize {
        0
    }

    /// Why some operations were not executed, or why it is unknown whether they were, for a change that
    /// tolerates that.
    fn failure(_outcome: &Self::Outcome) -> Option<Failure<'_>> {
        None
    }

    /// The same change, with a check of its operations before the first is executed: of each plan, or of
    /// all operations, at once if that permits them.
    fn checked(self, check: OpCheck) -> Result<Self, Error>
    where
        Self: Sized;

    /// The change as a job of the executor's thread.
    fn into_job(self, deadline: Instant, mode: WriteMode, reply: Reply<Self::Outcome>) -> Job;
}

/// Why operations of a change were not executed.
#[derive(Clone, Copy, Debug)]
pub struct Failure<'a> {
    /// The error of the first one.
    pub error: &'a Error,
    /// Whether some may have been executed.
    pub is_unknown: bool,
}

/// Queries of any type that wait together.
pub trait PendingRead: Waits + Send {
    /// Takes over the waiting requests of `other` if it is the same query. Returns whether it is.
    fn absorb(&mut self, other: &mut dyn Any) -> bool;

    /// For [`absorb`](Self::absorb).
    fn as_any(&mut self) -> &mut dyn Any;

    /// Fails all waiting requests.
    fn reject(self: Box<Self>, error: Error);

    /// Runs the query once for all waiting requests.
    fn run(self: Box<Self>, runner: &mut dyn QueryRunner);
}

/// Runs queries for [`PendingRead::run`].
pub trait QueryRunner {
    /// The cache of results.
    fn cache(&self) -> Arc<Cache>;

    /// What was last seen of the table.
    fn watch(&self) -> Arc<WatchCache>;

    /// What the executor counts.
    fn metrics(&self) -> Arc<KernelMetrics>;

    /// Enters the managed network namespace.
    fn enter(&mut self) -> Result<NamespaceId, Error>;

    /// Calls `fetch` with the source of a query.
    fn with_source(&mut self, fetch: &mut dyn FnMut(&mut Source<'_>));

    /// Brings the state in order after a panic.
    fn reset(&mut self);
}

/// Equal queries that wait together.
struct CoalescedRead<Q: TypedQuery> {
    query: Q,
    /// The accepted age and the request.
    waiting: Vec<Pending<Duration, Cached<Q::Answer>>>,
}

// === impl Job ===

impl Job {
    /// Whether the job may take longer than a task may occupy a worker of the runtime. Reads are
    /// short: the others have a thread of their own.
    pub(super) fn is_long(&self) -> bool {
        match self {
            Self::Read(_) => false,
            Self::Transaction(transaction) => !transaction.is_short(),
            Self::Commands(..) => true,
        }
    }
}

impl Waits for Job {
    fn drop_unwanted(&mut self, now: Instant) -> bool {
        match self {
            Self::Read(read) => read.drop_unwanted(now),
            Self::Transaction(transaction) => transaction.drop_unwanted(now),
            Self::Commands(commands, _) => {
                *commands = commands.take().and_then(|commands| commands.wanted(now));
                commands.is_some()
            }
        }
    }
}

impl Waits for Box<dyn PendingRead> {
    fn drop_unwanted(&mut self, now: Instant) -> bool {
        (**self).drop_unwanted(now)
    }
}

/// A query that waits.
pub(super) fn pending_read<Q: TypedQuery>(
    query: Q,
    max_age: Duration,
    deadline: Instant,
    reply: Reply<Cached<Q::Answer>>,
) -> Box<dyn PendingRead> {
    let pending = Pending {
        request: max_age,
        deadline,
        reply,
    };
    Box::new(CoalescedRead {
        query,
        waiting: vec![pending],
    })
}

/// Runs queries that wait together, equal ones once: all of them were requested before the read, so
/// they may share its result. A panic fails the requests of its query.
pub(super) fn run_reads(reads: Vec<Box<dyn PendingRead>>, runner: &mut dyn QueryRunner) {
    let mut reads = VecDeque::from(reads);
    while let Some(mut read) = reads.pop_front() {
        reads.retain_mut(|other| !read.absorb(other.as_any()));
        if read.drop_unwanted(clock::now())
            && catch_unwind(AssertUnwindSafe(|| read.run(runner))).is_err()
        {
            tracing::error!("a read panicked; its requests fail with INTERNAL");
            runner.reset();
        }
    }
}

// === impl Write ===

impl<P: TypedQuery, R: TypedQuery> Write for Transaction<P, R> {
    type Outcome = Executed<R::Answer>;

    fn service(&self) -> Option<ServiceKey> {
        Self::service(self)
    }

    fn server(&self) -> Option<ServerKey> {
        Self::server(self)
    }

    fn about(&self) -> Option<String> {
        self.about.clone()
    }

    fn name(&self) -> &'static str {
        self.name
    }

    fn changes(outcome: &Self::Outcome) -> impl Iterator<Item = (&Op, Option<&Op>)> {
        let steps = outcome.steps.iter();
        steps.map(|step| (&step.op, step.undo.as_ref()))
    }

    fn checked(mut self, mut check: OpCheck) -> Result<Self, Error> {
        self.plan = self.plan.checked(move |plan| {
            let mut steps = plan.stages.iter().flatten();
            check(&mut steps.by_ref().map(|step| (&step.op, step.undo.as_ref())))
        });
        Ok(self)
    }

    fn into_job(self, deadline: Instant, mode: WriteMode, reply: Reply<Self::Outcome>) -> Job {
        let pending = Pending {
            request: (),
            deadline,
            reply,
        };
        Job::Transaction(Box::new(TypedTransaction::new(self, mode, pending)))
    }
}

impl Write for CommandList {
    type Outcome = CommandResults;

    fn service(&self) -> Option<ServiceKey> {
        self.single()?.service()
    }

    fn server(&self) -> Option<ServerKey> {
        self.single()?.server()
    }

    fn about(&self) -> Option<String> {
        match self.single()? {
            Op::StartSyncDaemon(config) => Some(format!("sync_daemon {}", config.state)),
            Op::StopSyncDaemon(state) => Some(format!("sync_daemon {state}")),
            Op::SetTimeouts(_) => Some("timeouts".to_owned()),
            _ => None,
        }
    }

    /// A command line of ipvsctl is a list of one command.
    fn name(&self) -> &'static str {
        self.single().map_or(self.name, Op::name)
    }

    fn changes(outcome: &Self::Outcome) -> impl Iterator<Item = (&Op, Option<&Op>)> {
        let undo = outcome.undo.iter().map(Option::as_ref);
        let ops = outcome.ops.iter().zip(undo.chain(std::iter::repeat(None)));
        let results = ops.zip(&outcome.results);
        results.filter_map(|(change, result)| (*result == CommandResult::Done).then_some(change))
    }

    fn checked(mut self, mut check: OpCheck) -> Result<Self, Error> {
        match check(&mut self.ops.iter().map(|op| (op, None))) {
            Ok(()) => {}
            Err(_) if self.may_read() => self.check = Some(check),
            Err(refusal) => return Err(refusal),
        }
        Ok(self)
    }

    fn rejected(outcome: &Self::Outcome) -> usize {
        let results = outcome.results.iter();
        results
            .filter(|result| matches!(result, CommandResult::Refused(_)))
            .count()
    }

    fn failure(outcome: &Self::Outcome) -> Option<Failure<'_>> {
        let mut unknown = None;
        let mut refused = None;
        for result in &outcome.results {
            match result {
                CommandResult::Done => {}
                CommandResult::Refused(error) => {
                    refused.get_or_insert(error);
                }
                CommandResult::Unknown(error) => {
                    unknown.get_or_insert(error);
                }
            }
        }
        let is_unknown = unknown.is_some();
        let error = unknown.or(outcome.interruption.as_ref()).or(refused)?;
        Some(Failure { error, is_unknown })
    }

    fn into_job(self, deadline: Instant, mode: WriteMode, reply: Reply<Self::Outcome>) -> Job {
        let pending = Pending {
            request: self,
            deadline,
            reply,
        };
        Job::Commands(Some(pending), mode)
    }
}

impl Pending<CommandList, CommandResults> {
    /// Executes the operations and replies.
    pub(super) fn run(mut self, engine: &mut Engine, mode: WriteMode) {
        let start = Instant::now();
        let span = self.span(KERNEL_WRITE);
        span.set("ipvsd.operation", self.request.name());
        if let Err(refusal) = engine.check_commands(&mut self.request) {
            engine.describe(&span, mode.dry_run, Some(&refusal));
            span.end();
            return self.reply(Err(refusal));
        }
        engine.author = mode.author;
        engine.keeps_holds = self.request.keeps_holds;
        let (results, interruption) = match mode.dry_run {
            true => (vec![CommandResult::Done; self.request.ops.len()], None),
            false => engine.run_commands(&self.request),
        };
        engine.author = None;
        engine.keeps_holds = false;
        engine.ended_holds.clear();
        let ops = std::mem::take(&mut self.request.ops);
        let undo = std::mem::take(&mut self.request.undo);
        let results = CommandResults {
            ops,
            undo,
            results,
            interruption,
            took: start.elapsed(),
        };
        let failure = CommandList::failure(&results);
        engine.describe(&span, mode.dry_run, failure.map(|failure| failure.error));
        // Before the request goes on.
        span.end();
        self.reply(Ok(results));
    }
}

// === impl CoalescedRead ===

impl<Q: TypedQuery> Waits for CoalescedRead<Q> {
    fn drop_unwanted(&mut self, now: Instant) -> bool {
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        self.waiting = waiting.filter_map(|pending| pending.wanted(now)).collect();
        !self.waiting.is_empty()
    }
}

impl<Q: TypedQuery> PendingRead for CoalescedRead<Q> {
    fn absorb(&mut self, other: &mut dyn Any) -> bool {
        match other.downcast_mut::<Self>() {
            Some(other) if other.query == self.query => {
                self.waiting.append(&mut other.waiting);
                true
            }
            _ => false,
        }
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn reject(self: Box<Self>, error: Error) {
        for pending in self.waiting {
            pending.reply(Err(error.clone()));
        }
    }

    fn run(self: Box<Self>, runner: &mut dyn QueryRunner) {
        let cache = runner.cache();
        let here = match runner.enter() {
            Ok(here) => here,
            Err(error) => return self.reject(error),
        };
        let Self { query, waiting } = *self;
        // Requests that missed the cache together may run one after the other. The first has left a
        // result that is young enough for them.
        let mut missing = Vec::with_capacity(waiting.len());
        for pending in waiting {
            match cache.get::<Q>(here, pending.request) {
                Some(cached) => {
                    runner.metrics().cache_hit();
                    pending.reply(Ok(cached));
                }
                None => missing.push(pending),
            }
        }
        let Some(max_age) = missing.iter().map(|pending| pending.request).max() else {
            return;
        };
        runner.metrics().cache_miss(missing.len());
        let spans: Vec<_> = missing
            .iter()
            .map(|pending| pending.span("kernel read"))
            .collect();
        let max_age = max_age.max(cache.take_max_age::<Q>());
        let generation = cache.generation();
        let (mut result, seen) = fetch(&query, runner);
        let mut revision = seen.revision;
        if seen.again {
            // Before the next one, so that two tables never exist at once.
            drop(result);
            let (second, seen) = fetch(&query, runner);
            (result, revision) = (second, seen.revision);
        }
        let kept = match &result {
            // A change during the read may be missing in the result. Requests that came before the
            // change receive it, but it is not kept.
            Ok(value) => cache.keep::<Q>(here, value, max_age, generation, revision),
            Err(_) => false,
        };
        for span in spans {
            describe_read(&span, &query, result.as_ref().err(), missing.len());
        }
        for pending in missing {
            pending.reply(result.clone().map(|value| Cached {
                value,
                age: Duration::ZERO,
                kept,
                revision,
            }));
        }
    }
}

/// Describes a read that has ended in its span.
fn describe_read<Q: TypedQuery>(span: &Span, query: &Q, error: Option<&Error>, requests: usize) {
    if let Some(name) = query.query().as_ref().and_then(KernelMetrics::name_of) {
        span.set("ipvsd.query", name);
    }
    span.set(
        "ipvsd.requests",
        i64::try_from(requests).unwrap_or(i64::MAX),
    );
    if let Some(error) = error {
        span.fail(error.reason.as_str());
    }
}

/// Runs a query, and compares its result with what was last seen.
fn fetch<Q: TypedQuery>(
    query: &Q,
    runner: &mut dyn QueryRunner,
) -> (Result<Q::Answer, Error>, Finished) {
    let read = runner.watch().begin_read();
    let mut result = Err(Error::new(Reason::Internal, "the query was not run"));
    let start = Instant::now();
    runner.with_source(&mut |source| result = query.fetch(source));
    if let Some(query) = query.query() {
        let metrics = runner.metrics();
        metrics.read(&query, start.elapsed(), result.is_ok());
    }
    let seen = match (&result, read) {
        (Ok(answer), Some(read)) => read.finish(|see| query.show(answer, see)),
        _ => Finished::default(),
    };
    (result, seen)
}
