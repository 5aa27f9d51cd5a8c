//! What an apply did.

use serde::{Deserialize, Serialize};

use crate::model::{DiffCounts, Error, Etag, Op, Owner, Reason};

/// The outcome of an apply, with that of each operation.
#[derive(Clone, Debug)]
pub struct ApplyReport {
    /// Whose table it is.
    pub owner: Owner,
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
    /// Why it failed: `APPLY_FAILED` or `DEADLINE_EXCEEDED`.
    pub failure: Option<Error>,
}

/// How an apply ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApplyOutcome {
    /// There was nothing to do.
    Unchanged,
    /// All operations were executed.
    Applied,
    /// A dry run: these operations would be executed.
    Planned,
    /// An operation failed, and the others were undone.
    RolledBack,
    /// An operation failed, and not all of the others could be undone, or not everything restored.
    RollbackIncomplete,
    /// Some operations failed, and the others were executed.
    Partial,
    /// It has not ended yet.
    Running,
}

/// An operation of an apply.
#[derive(Clone, Debug)]
pub struct OperationReport {
    /// The operation.
    pub op: Op,
    /// The operation that would restore the object as it was; `None` for an object that did not exist.
    pub before: Option<Op>,
    /// What became of it.
    pub result: OperationResult,
    /// Whether an operation that failed may have been executed: the kernel's reply is lost.
    pub maybe_executed: bool,
    /// What an undo could not restore.
    pub lost: Vec<Lost>,
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
}

/// What a resource that is created again does not have any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lost {
    /// Its counters.
    Counters,
    /// Its connections.
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
}

// === impl ApplyReport ===

impl ApplyReport {
    /// Why the first operation that failed did.
    pub fn first_failure(&self) -> Option<&Error> {
        self.operations.iter().find_map(|operation| {
            let OperationResult::Failed(error) = &operation.result else {
                return None;
            };
            Some(error)
        })
    }

    /// The error of an apply that did not do what was declared.
    pub(super) fn failed(&self) -> Option<Error> {
        let what = match self.outcome {
            ApplyOutcome::Unchanged | ApplyOutcome::Applied | ApplyOutcome::Planned => return None,
            ApplyOutcome::RolledBack => "all other operations were undone",
            ApplyOutcome::RollbackIncomplete => "not everything could be undone: see operations",
            ApplyOutcome::Partial => "other operations were executed: see operations",
            ApplyOutcome::Running => "it has not ended",
        };
        let first = self.first_failure();
        let cause = first.map_or_else(String::new, |error| format!(": {error}"));
        let mut error = Error::new(
            Reason::ApplyFailed,
            format!("the table of {} was not applied{cause}; {what}", self.owner),
        )
        .with_hint("read the table again, correct the declaration, and apply it again");
        error.errno = first.and_then(|error| error.errno);
        Some(error)
    }
}

// === impl ApplyOutcome ===

impl ApplyOutcome {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Applied => "applied",
            Self::Planned => "planned",
            Self::RolledBack => "rolled_back",
            Self::RollbackIncomplete => "rollback_incomplete",
            Self::Partial => "partial",
            Self::Running => "running",
        }
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
        }
    }
}
