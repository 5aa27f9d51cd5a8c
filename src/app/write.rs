//! The path of every write.

use std::{
    error::Error as _, fmt, future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration,
};

use futures_util::FutureExt;
use tokio::{
    sync::{Mutex, OwnedMutexGuard, watch},
    time::timeout_at,
};
use tracing::Instrument;

use super::{
    RequestContext,
    attempt::{Attempt, common, event_of},
    holds::HoldRegistry,
    tables::{Protected, Registry, refuse_protected},
};
use crate::{
    audit::AuditLog,
    executor::{CommandList, CommandResults, Write, WriteMode, Writer},
    identity::Verb,
    model::{Error, Op, Reason},
    trace::RequestSpan,
};

/// The only holder of the executor's [`Writer`]. Its field is private to this file, so no other
/// code can execute a change.
#[derive(Clone, Debug)]
pub(super) struct WritePath {
    writer: Writer,
    audit: AuditLog,
    work: BackgroundWork,
    holds: Arc<HoldRegistry>,
    tables: Arc<Registry>,
    /// See [`WritePath::lock_table`].
    table: Arc<Mutex<()>>,
}

/// The writes in progress. They do not end with the requests that asked for them.
///
/// The channel says whether restores are to stop. Each task holds a receiver.
#[derive(Clone, Debug, Default)]
pub struct BackgroundWork(Arc<watch::Sender<bool>>);

/// What a write changes beside the kernel.
#[derive(Clone, Copy, Debug, Default)]
struct Effects {
    /// Holds of its servers that are not stored: it is not durable before. Those of others are not waited for.
    on_holds: bool,
    /// It clears the whole table.
    clears: bool,
}

/// Held by a write that makes or clears the whole table.
pub(super) type TableLock = OwnedMutexGuard<()>;

/// Logs and records a write whose outcome the daemon does not live to see.
struct Unfinished<'a> {
    context: &'a RequestContext,
    audit: &'a AuditLog,
    attempt: Attempt,
    about: Option<String>,
    finished: bool,
}

/// Names of operations, for the log: `create_service create_server*3`.
struct Summary(Vec<&'static str>);

/// A request waits for its write for this long after its deadline. A write that has not started by
/// then says so.
const MARGIN: Duration = Duration::from_millis(100);

// === impl WritePath ===

impl WritePath {
    pub(super) fn new(
        writer: Writer,
        audit: AuditLog,
        holds: Arc<HoldRegistry>,
        tables: Arc<Registry>,
    ) -> Self {
        Self {
            writer,
            audit,
            work: BackgroundWork::default(),
            holds,
            tables,
            table: Arc::default(),
        }
    }

    /// The same with these holds and tables.
    pub(super) fn with_stored(self, holds: Arc<HoldRegistry>, tables: Arc<Registry>) -> Self {
        Self {
            holds,
            tables,
            ..self
        }
    }

    pub(super) fn audit(&self) -> &AuditLog {
        &self.audit
    }

    pub(super) fn work(&self) -> &BackgroundWork {
        &self.work
    }

    /// Executes a change in a task of its own. The change runs to its end and is logged even if the
    /// request is dropped, which is what a client does that disconnects.
    pub(super) async fn execute<W: Write>(
        &self,
        context: &RequestContext,
        verb: Verb,
        write: W,
    ) -> Result<W::Outcome, Error> {
        self.detach(context, verb, write, None).await
    }

    /// Executes a change like [`execute`](Self::execute), with the table locked.
    pub(super) async fn execute_locked<W: Write>(
        &self,
        context: &RequestContext,
        verb: Verb,
        write: W,
    ) -> Result<W::Outcome, Error> {
        // Nobody waits for the lock in vain.
        let decision = context.principal.may(verb, None, context.dry_run);
        decision.inspect_err(|refusal| self.record_refusal(context, write.name(), refusal))?;
        let lock = self.lock_table(context).await?;
        self.detach(context, verb, write, lock).await
    }

    /// Waits until no other write makes or clears the whole table: two that are interleaved would
    /// leave a mixture. A dry run needs no lock.
    pub(super) async fn lock_table(
        &self,
        context: &RequestContext,
    ) -> Result<Option<TableLock>, Error> {
        if context.dry_run {
            return Ok(None);
        }
        let lock = Arc::clone(&self.table).lock_owned();
        let lock = timeout_at(context.deadline.into(), lock).await;
        lock.map(Some).map_err(|_| {
            Error::new(
                Reason::RateLimited,
                "another request is restoring or clearing the table; nothing was changed",
            )
            .with_hint("retry when it has ended")
        })
    }

    /// The lock of [`lock_table`](Self::lock_table), unless another write has it.
    pub(super) fn try_lock_table(&self) -> Option<TableLock> {
        Arc::clone(&self.table).try_lock_owned().ok()
    }

    /// Records that a write was refused.
    fn record_refusal(&self, context: &RequestContext, name: &'static str, refusal: &Error) {
        let event = event_of::<()>(context, name, &Err(refusal.clone()));
        self.audit.record(event);
    }

    /// Executes a change with the span of the request. One that does not end at once continues in a
    /// task, which holds `lock` until its end; the request waits for it while it may.
    async fn detach<W: Write>(
        &self,
        context: &RequestContext,
        verb: Verb,
        write: W,
        lock: Option<TableLock>,
    ) -> Result<W::Outcome, Error> {
        let mut work = Box::pin({
            let (path, context) = (self.clone(), context.clone());
            async move {
                let outcome = path.run(&context, Some(verb), write).await;
                drop(lock);
                outcome
            }
        });
        // The task polls it again, with a waker. A panic in either is the same to the client.
        let first = AssertUnwindSafe(work.as_mut()).catch_unwind();
        if let Some(outcome) = first.now_or_never() {
            return outcome.unwrap_or_else(|_| Err(panicked()));
        }
        let task = self.work.spawn(work);
        match timeout_at((context.deadline + MARGIN).into(), task).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(panicked()),
            Err(_) => Err(Error::new(
                Reason::DeadlineExceeded,
                "the change was started, but the kernel has not replied before the deadline; it may \
                 still be executed",
            )
            .with_hint(
                "read the current state before retrying; the log of the daemon will state the \
                 outcome under the id of this request",
            )),
        }
    }

    /// Executes a change on behalf of the request's principal, or plans it if the request is a dry
    /// run, logs the outcome, and records it in the audit trail. The span of the request adds its peer
    /// and its id.
    ///
    /// For tasks of [`BackgroundWork`]: dropping the future loses the outcome.
    pub(super) async fn run<W: Write>(
        &self,
        context: &RequestContext,
        verb: Option<Verb>,
        write: W,
    ) -> Result<W::Outcome, Error> {
        let protected = self.tables.protected();
        self.run_if(context, write, |write| {
            authorise(context, verb, protected, write)
        })
        .await
    }

    /// Executes operations of a change that was decided about as a whole. As [`run`](Self::run).
    pub(super) async fn run_decided(
        &self,
        context: &RequestContext,
        list: CommandList,
    ) -> Result<CommandResults, Error> {
        self.run_if(context, list, Ok).await
    }

    /// Executes a change that a request has caused which was decided about and is recorded as a whole.
    pub(super) async fn run_unrecorded<W: Write>(
        &self,
        context: &RequestContext,
        write: W,
    ) -> Result<W::Outcome, Error> {
        let mode = mode_of(context);
        self.writer.write_as(write, context.deadline, mode).await
    }

    async fn run_if<W: Write>(
        &self,
        context: &RequestContext,
        write: W,
        decide: impl FnOnce(W) -> Result<W, Error>,
    ) -> Result<W::Outcome, Error> {
        let mut unfinished = Unfinished {
            context,
            audit: &self.audit,
            attempt: Attempt::of(&write),
            about: write.about(),
            finished: false,
        };
        let (outcome, stored) = match decide(write) {
            Ok(write) => {
                let mode = mode_of(context);
                let outcome = self.writer.write_as(write, context.deadline, mode).await;
                let effects = self.effects::<W>(context, &outcome);
                let stored = self.store_effects(context, effects).await;
                (outcome, stored)
            }
            Err(refusal) => (Err(refusal), Ok(())),
        };
        unfinished.finished = true;
        let attempt = &unfinished.attempt;
        attempt.record::<W>(&self.audit, context, &outcome, stored.as_ref().err());
        log_outcome::<W>(context, attempt, unfinished.about.as_deref(), &outcome);
        if let Err(error) = &stored {
            let log = || tracing::warn!(%error, "not all that a write has changed is stored");
            context.span.in_scope(log);
        }
        outcome.and_then(|outcome| stored.map(|()| outcome))
    }

    /// Stores what a write has changed beside the kernel. The errors say that the kernel was changed.
    async fn store_effects(&self, context: &RequestContext, effects: Effects) -> Result<(), Error> {
        let stored = match effects.on_holds {
            true => self.holds.persist().await,
            false => Ok(()),
        };
        let suspended = match effects.clears {
            true => self.tables.suspend_repairs(&context.author()).await,
            false => Ok(()),
        };
        stored.and(suspended)
    }

    fn effects<W: Write>(
        &self,
        context: &RequestContext,
        outcome: &Result<W::Outcome, Error>,
    ) -> Effects {
        let holds = self.holds.holds();
        match outcome {
            Ok(outcome) if !context.dry_run => Effects {
                on_holds: holds.are_unstored(W::ops(outcome)),
                clears: W::ops(outcome).any(|op| *op == Op::Clear),
            },
            Ok(_) => Effects::default(),
            // A part may have been executed.
            Err(_) => Effects {
                on_holds: holds.has_changes(),
                clears: false,
            },
        }
    }
}

// === impl BackgroundWork ===

impl BackgroundWork {
    /// Runs a task to its end, with the current span, and on behalf of the current request.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        let running = self.0.subscribe();
        let work = RequestSpan::current().scope(work.in_current_span());
        tokio::spawn(async move {
            let outcome = work.await;
            drop(running);
            outcome
        })
    }

    /// Runs a write in a task of its own, so that it does not end with the request.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        write: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let outcome = self.spawn(write).await;
        outcome.unwrap_or_else(|_| Err(panicked()))
    }

    /// Waits until no write is in progress. The caller has made sure that no further one begins.
    pub async fn finished(&self) {
        self.0.closed().await;
    }

    /// Whether a write is in progress.
    pub fn is_running(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// Requests restores to stop after the commands that are in progress.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// Whether restores are to stop.
    pub(super) fn is_stopping(&self) -> bool {
        *self.0.borrow()
    }
}

// === impl Unfinished ===

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.attempt.record_unfinished(self.audit, self.context);
            self.context.span.in_scope(|| {
                tracing::warn!(
                    principal = %self.context.principal,
                    dry_run = self.context.dry_run,
                    service = self.attempt.service().map(tracing::field::display),
                    about = self.about,
                    "write interrupted by the end of the daemon; its outcome is unknown"
                );
            });
        }
    }
}

/// Logs how a write has ended.
fn log_outcome<W: Write>(
    context: &RequestContext,
    attempt: &Attempt,
    about: Option<&str>,
    outcome: &Result<W::Outcome, Error>,
) {
    let service = attempt.service();
    let principal = &context.principal;
    let dry_run = context.dry_run;
    context.span.in_scope(|| match outcome {
        Ok(outcome) => tracing::info!(
            %principal,
            dry_run,
            service = service
                .or_else(|| common(W::ops(outcome), Op::service))
                .map(tracing::field::display),
            about,
            rejected = Some(W::rejected(outcome)).filter(|count| *count > 0),
            operations = %Summary(W::ops(outcome).map(Op::name).collect()),
            "write"
        ),
        Err(error) => tracing::info!(
            %principal,
            dry_run,
            service = service.map(tracing::field::display),
            about,
            reason = error.reason.as_str(),
            %error,
            cause = error.source().map(tracing::field::display),
            "write failed"
        ),
    });
}

fn mode_of(context: &RequestContext) -> WriteMode {
    WriteMode {
        dry_run: context.dry_run,
        author: Some(context.author()),
    }
}

/// The error of a write that panicked.
fn panicked() -> Error {
    Error::new(
        Reason::Internal,
        "the write failed unexpectedly; its outcome is unknown",
    )
}

/// The one decision about writes: whether the principal may request the change, and then, from inside
/// the executor, whether it may execute what the change was planned to be.
fn authorise<W: Write>(
    context: &RequestContext,
    verb: Option<Verb>,
    protected: Arc<Protected>,
    write: W,
) -> Result<W, Error> {
    let RequestContext {
        principal, dry_run, ..
    } = context;
    let dry_run = *dry_run;
    let is_unprotected = protected.is_empty() || principal.is_system();
    if is_unprotected && principal.may_everything() {
        return Ok(write);
    }
    if let Some(verb) = verb {
        principal.may(verb, write.service(), dry_run)?;
    }
    let principal = principal.clone();
    write.checked(Box::new(move |operations| {
        if is_unprotected {
            return principal.may_execute(operations, dry_run);
        }
        let operations: Vec<_> = operations.collect();
        principal.may_execute(operations.iter().copied(), dry_run)?;
        refuse_protected(&protected, operations.iter().map(|(op, _)| *op))
    }))
}

// === impl Summary ===

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, run) in self.0.chunk_by(|a, b| a == b).enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            if let Some(name) = run.first() {
                f.write_str(name)?;
            }
            if run.len() > 1 {
                write!(f, "*{}", run.len())?;
            }
        }
        Ok(())
    }
}
