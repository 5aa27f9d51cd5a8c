//! What an apply or a batch did.

use serde::Serialize;
use serde_json::Value;

use super::step::{PlannedStep, digest};
use crate::{
    app::RequestContext,
    executor::CommandResult,
    model::{ApplyOutcome, DiffCounts, Error, Etag, HoldId, Op, Owner, Reason, changed},
    watch::Revision,
};

/// The outcome of an apply of a table, or of a batch, with that of each operation.
#[derive(Clone, Debug)]
pub struct ApplyReport {
    /// Whose table it is; `None` of a batch.
    pub owner: Option<Owner>,
    /// Identifies the apply in the log and the audit trail.
    pub apply_id: String,
    /// The generation of the declared table, from 1; 0 if there is none.
    pub generation: u64,
    /// How it ended.
    pub outcome: ApplyOutcome,
    /// Digest of the operations and of what they replace.
    pub plan: Etag,
    /// The operations in the order of their execution.
    pub operations: Vec<OperationReport>,
    /// Services and servers, counted by what happens to them according to the plan.
    pub summary: Summary,
    /// The ETag of the declared table; `None` if there is none.
    pub etag: Option<Etag>,
    /// The revision after its last event; `None` of a batch, a dry run, and one that has not ended.
    pub revision: Option<Revision>,
    /// Why it failed: `APPLY_FAILED` or `DEADLINE_EXCEEDED`.
    pub failure: Option<Error>,
}

/// An operation of an apply.
#[derive(Clone, Debug)]
pub struct OperationReport {
    /// The operation.
    pub op: Op,
    /// Which operation of the batch asks for it, from 0; `None` of a table.
    pub index: Option<usize>,
    /// The operation that would restore the object as it was; `None` for an object that did not exist.
    pub before: Option<Op>,
    /// What became of it.
    pub result: OperationResult,
    /// Whether an operation that failed may have been executed: the kernel's reply is lost.
    pub maybe_executed: bool,
    /// Whether the object that it deletes was gone: another program had deleted it.
    pub was_gone: bool,
    /// What an undo could not restore.
    pub lost: Vec<Lost>,
    /// The drain that it has begun.
    pub drain: Option<HoldId>,
}

/// What became of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperationResult {
    /// A dry run would execute it.
    Planned,
    /// It was executed.
    Done,
    /// It was executed and then undone.
    Undone,
    /// It was not executed, or not undone because another program has changed the object since.
    Skipped {
        /// Whether it was executed.
        executed: bool,
    },
    /// It failed.
    Failed(Error),
    /// It has begun a drain, at whose end the server is deleted.
    Draining,
}

/// What a resource that is created again does not have any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lost {
    /// The counters.
    Counters,
    /// The connections.
    Connections,
    /// The place of servers in the kernel's order.
    ServerOrder,
}

/// Numbers of services and servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// To be created.
    pub create: usize,
    /// To be changed in place.
    pub update: usize,
    /// To be deleted, with the servers of deleted services.
    pub delete: usize,
    /// Left as they are.
    pub unchanged: usize,
    /// Servers that are deleted when they are drained: those that begin to drain, and those that already do.
    pub draining: usize,
}

/// Operations in a response at most.
const MAX_SHOWN: usize = 1000;

// === impl ApplyReport ===

impl ApplyReport {
    /// The report of a plan; its outcome is that of a dry run.
    pub(in crate::app) fn planned(
        context: &RequestContext,
        steps: &[PlannedStep],
        summary: Summary,
    ) -> Self {
        Self {
            owner: None,
            apply_id: context.request_id.to_string(),
            generation: 0,
            outcome: match steps.is_empty() {
                true => ApplyOutcome::Unchanged,
                false => ApplyOutcome::Planned,
            },
            plan: digest(steps),
            operations: steps.iter().map(OperationReport::planned).collect(),
            summary,
            etag: None,
            revision: None,
            failure: None,
        }
    }

    /// Sets the operations.
    pub(in crate::app) fn plan_again(&mut self, steps: &[PlannedStep]) {
        self.plan = digest(steps);
        self.operations = steps.iter().map(OperationReport::planned).collect();
    }

    /// The same report while it runs: without the operations, whose results are unknown.
    pub(in crate::app) fn running(&self) -> Self {
        Self {
            owner: self.owner.clone(),
            apply_id: self.apply_id.clone(),
            outcome: ApplyOutcome::Running,
            operations: Vec::new(),
            failure: None,
            ..*self
        }
    }

    /// The operations of a response: the first 1000, those that failed before the others.
    pub fn shown(&self) -> impl Iterator<Item = &OperationReport> {
        let failed = |operation: &&OperationReport| operation.failure().is_some();
        let others = self.operations.iter().filter(move |it| !failed(it));
        let first = self.operations.iter().filter(failed);
        first.chain(others).take(MAX_SHOWN)
    }

    /// The reason that determines the status of the error: of an apply that failed, that of the first
    /// operation that did.
    pub fn status_reason(&self, error: &Error) -> Reason {
        match (error.reason, self.first_failure()) {
            (Reason::ApplyFailed, Some(first)) => first.reason,
            (reason, _) => reason,
        }
    }

    /// Why the first operation that failed did.
    pub fn first_failure(&self) -> Option<&Error> {
        self.operations.iter().find_map(OperationReport::failure)
    }

    /// The error of an apply that did not do what was declared.
    pub(in crate::app) fn failed(&self) -> Option<Error> {
        let what = match self.outcome {
            ApplyOutcome::Unchanged | ApplyOutcome::Applied | ApplyOutcome::Planned => return None,
            ApplyOutcome::RolledBack => "all other operations were undone",
            ApplyOutcome::RollbackIncomplete => "not everything could be undone: see operations",
            ApplyOutcome::Partial => "other operations were executed: see operations",
            ApplyOutcome::Running => "it has not ended",
        };
        let first = self.first_failure();
        let cause = first.map_or_else(String::new, |error| format!(": {error}"));
        let (subject, hint) = match &self.owner {
            Some(owner) => (
                format!("the table of {owner} was not applied"),
                "read the table again, correct the declaration, and apply it again",
            ),
            None => (
                "the batch was not executed as a whole".to_owned(),
                "read the services again, correct the operations, and send a batch again",
            ),
        };
        let detail = format!("{subject}{cause}; {what}");
        // What is declared is not at fault if the store fails.
        let of_store = first.filter(|error| error.reason == Reason::StoreUnavailable);
        let hint = of_store
            .and_then(|error| error.hint.as_deref())
            .unwrap_or(hint);
        let mut error = Error::new(Reason::ApplyFailed, detail).with_hint(hint);
        error.errno = first.and_then(|error| error.errno);
        Some(error)
    }
}

// === impl OperationReport ===

impl OperationReport {
    fn planned(step: &PlannedStep) -> Self {
        Self {
            op: step.op.clone(),
            index: step.index,
            before: step.before.clone(),
            result: OperationResult::Planned,
            maybe_executed: false,
            was_gone: false,
            lost: Vec::new(),
            drain: None,
        }
    }

    /// Sets the result of the executor; `None` if the operation was not sent.
    pub(super) fn set(&mut self, result: Option<CommandResult>) {
        self.maybe_executed = matches!(result, Some(CommandResult::Unknown(_)));
        let deletes = matches!(self.op, Op::DeleteService(_) | Op::DeleteServer(..));
        self.was_gone = deletes
            && matches!(&result, Some(CommandResult::Refused(error)) if error.contradicts_read());
        self.result = match result {
            None => OperationResult::Skipped { executed: false },
            Some(CommandResult::Done) => OperationResult::Done,
            Some(_) if self.was_gone => OperationResult::Done,
            Some(CommandResult::Refused(error) | CommandResult::Unknown(error)) => {
                OperationResult::Failed(error)
            }
        };
    }

    /// Sets the outcome of the begin of its drain.
    pub(super) fn set_drain(&mut self, begun: Result<HoldId, Error>) {
        match begun {
            Ok(drain) => {
                self.result = OperationResult::Draining;
                self.drain = Some(drain);
            }
            Err(error) => self.result = OperationResult::Failed(error),
        }
    }

    /// Why it failed, if it did.
    pub fn failure(&self) -> Option<&Error> {
        match &self.result {
            OperationResult::Failed(error) => Some(error),
            _ => None,
        }
    }

    /// The id of its service or, of a server, of both: `tcp-192.0.2.1-80/192.168.10.1-80`.
    pub fn object(&self) -> String {
        let service = self.op.service().map(|key| key.to_string());
        let server = self.op.server().map(|key| key.to_string());
        let ids: Vec<_> = service.into_iter().chain(server).collect();
        ids.join("/")
    }

    /// Whether it was executed and not undone because another program has changed the object since.
    pub fn is_not_undone(&self) -> bool {
        matches!(self.result, OperationResult::Skipped { executed: true })
    }

    /// The fields that it changes, as they were and as they are to be, each under one member that names the
    /// resource.
    pub fn changes(&self) -> (Option<Value>, Option<Value>) {
        changed(self.before.as_ref(), &self.op)
    }
}

// === impl OperationResult ===

impl OperationResult {
    /// The name in the API.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Done => "done",
            Self::Undone => "undone",
            Self::Skipped { .. } => "skipped",
            Self::Failed(_) => "failed",
            Self::Draining => "draining",
        }
    }
}

// === impl Lost ===

impl Lost {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counters => "counters",
            Self::Connections => "connections",
            Self::ServerOrder => "server_order",
        }
    }
}

// === impl Summary ===

impl From<DiffCounts> for Summary {
    fn from(counts: DiffCounts) -> Self {
        let DiffCounts {
            created,
            updated,
            deleted,
            unchanged,
        } = counts;
        Self {
            create: created,
            update: updated,
            delete: deleted,
            unchanged,
            draining: 0,
        }
    }
}
