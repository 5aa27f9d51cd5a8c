//! Changes and their outcomes.

use std::{any::Any, fmt, time::Duration};

use super::query::TypedQuery;
use crate::{
    model::{Error, Op, ServerDraft, ServerKey, ServiceDraft, ServiceKey},
    watch::Author,
};

/// Reads a precondition, plans from it, executes the plan, and reads the result back. No other
/// request of this process comes between these.
///
/// A transaction that reads a service, or reads one back, must change that service alone: it counts as
/// short, and a task may run it.
pub struct Transaction<P: TypedQuery, R: TypedQuery> {
    /// What to read first.
    pub precondition: P,
    /// Plans from the precondition. It runs with the lock of the engine and must not block.
    pub plan: Planner<P::Answer>,
    /// What to read after.
    pub read_back: R,
    /// What the transaction is about if it is not about a service, for the log: `timeouts
    /// udp_seconds`.
    pub about: Option<String>,
    /// What is requested, such as `replace_service`, for the audit trail.
    pub name: &'static str,
}

/// See [`Transaction::plan`].
pub enum Planner<A> {
    /// Plans once. `None` once it has.
    Once(Option<Box<PlanOnce<A>>>),
    /// Plans again, from the precondition read again, if another program has created or deleted an
    /// object of the plan before it was executed.
    Repeated(Box<PlanRepeatedly<A>>),
}

type PlanOnce<A> = dyn FnOnce(&A) -> Result<Plan, Error> + Send;
type PlanRepeatedly<A> = dyn FnMut(&A) -> Result<Plan, Error> + Send;

/// Operations in stages. A stage starts when all operations of the one before have succeeded. If an
/// operation fails, those that succeeded are rolled back as far as the kernel allows.
#[derive(Debug, Default)]
pub struct Plan {
    /// The stages.
    pub stages: Vec<Vec<Step>>,
    /// Whether the plan creates the resource that it is about.
    pub creates: bool,
}

/// One operation of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The operation.
    pub op: Op,
    /// The operation that reverts it; `None` if none can.
    pub undo: Option<Op>,
    /// The request field that causes the operation, such as `servers[2]`, for the error.
    pub path: Option<String>,
    /// What to do if another program changes the entry between the precondition and the operation.
    pub check: Option<Box<Check>>,
}

/// What an operation that replaces an entry does if another program has changed the entry since it
/// was planned. [`Step::undo`] has the entry that the plan is made from.
///
/// The kernel replaces an entry as a whole, without a precondition. So the entry is read in the send
/// of the operation, right before it, and what was overwritten is made good.
#[derive(Clone, Debug, PartialEq)]
pub enum Check {
    /// Fails with `REVISION_MISMATCH`, and restores what the other program wrote.
    Unchanged,
    /// Applies the draft again, to what the other program wrote.
    MergeService(ServiceDraft),
    /// As [`MergeService`](Self::MergeService).
    MergeServer(ServerDraft),
}

/// How a change runs.
#[derive(Clone, Debug, Default)]
pub struct WriteMode {
    /// Whether it is only planned.
    pub dry_run: bool,
    /// On whose behalf it runs, for the events.
    pub author: Option<Author>,
}

/// Independent operations, executed in order. A failure reverts nothing.
///
/// A dry run executes none of them and reports success for each.
pub struct CommandList {
    /// The operations.
    pub ops: Vec<Op>,
    /// For each operation, the one that restores what was before, if it is known. Shorter than `ops` if
    /// the others are not.
    pub undo: Vec<Option<Op>>,
    /// What is requested, for the audit trail; `restore_rules` unless named otherwise.
    pub name: &'static str,
    /// Whether to stop after the first failure. The operations are then sent one by one, because
    /// the kernel continues after a failure within a batch.
    pub stop_on_error: bool,
    /// Whether edits of weights change the intended ones beneath the holds, and end none.
    pub(super) keeps_holds: bool,
    /// Decides about edits of servers by what they change, which is read before the first operation.
    pub(super) check: Option<OpCheck>,
}

/// Refuses operations that must not be executed. Each comes with the one that reverts it, if any does.
pub type OpCheck =
    Box<dyn FnMut(&mut dyn Iterator<Item = OpAndUndo<'_>>) -> Result<(), Error> + Send>;

/// An operation, and the one that reverts it.
pub type OpAndUndo<'a> = (&'a Op, Option<&'a Op>);

/// The outcome of a [`CommandList`].
#[derive(Debug)]
pub struct CommandResults {
    /// The operations of the list.
    pub ops: Vec<Op>,
    /// As [`CommandList::undo`].
    pub undo: Vec<Option<Op>>,
    /// Their results, in order. Shorter than `ops` if the list stopped at a failure or was
    /// interrupted: the others were not executed.
    pub results: Vec<CommandResult>,
    /// Why the list ended before its end; `None` if it did not.
    pub interruption: Option<Error>,
    /// Time in which the kernel executed them. Other requests waited meanwhile.
    pub took: Duration,
}

/// The outcome of one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandResult {
    /// It was executed.
    Done,
    /// It was not executed.
    Refused(Error),
    /// It was sent, but its reply is lost, and the state that it changes cannot be read.
    Unknown(Error),
}

/// The outcome of a [`Transaction`].
#[derive(Debug)]
pub struct Executed<A> {
    /// The result of [`Transaction::read_back`].
    pub value: A,
    /// As [`Plan::creates`].
    pub created: bool,
    /// The operations in the order of their execution; empty if there was nothing to do.
    pub steps: Vec<Step>,
}

// === impl CommandList ===

impl CommandList {
    /// Edits of servers in a list that may be decided by what they change. The service of each is read.
    pub const MAX_READ: usize = 64;

    /// A list without a check.
    pub fn new(ops: Vec<Op>, stop_on_error: bool) -> Self {
        Self {
            ops,
            undo: Vec::new(),
            name: "restore_rules",
            stop_on_error,
            keeps_holds: false,
            check: None,
        }
    }

    /// A list without a check, of operations with those that restore what was before.
    pub fn with_undo(changes: Vec<(Op, Option<Op>)>, stop_on_error: bool) -> Self {
        let (ops, undo) = changes.into_iter().unzip();
        Self {
            undo,
            ..Self::new(ops, stop_on_error)
        }
    }

    /// The same list, whose edits of weights change the intended ones beneath the holds.
    #[must_use]
    pub fn keeping_holds(self) -> Self {
        Self {
            keeps_holds: true,
            ..self
        }
    }

    /// The operation of a list that has one.
    pub(super) fn single(&self) -> Option<&Op> {
        match self.ops.as_slice() {
            [op] => Some(op),
            _ => None,
        }
    }

    /// The same list, with a name of what is requested.
    #[must_use]
    pub fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// Whether it may be decided by what the operations change.
    pub(super) fn may_read(&self) -> bool {
        let is_edit = |op: &Op| matches!(op, Op::SetServer(..));
        self.ops.len() <= Self::MAX_READ && self.ops.iter().any(is_edit)
    }
}

impl fmt::Debug for CommandList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandList")
            .field("ops", &self.ops)
            .field("stop_on_error", &self.stop_on_error)
            .finish_non_exhaustive()
    }
}

// === impl Transaction ===

impl<P: TypedQuery, R: TypedQuery> fmt::Debug for Transaction<P, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("precondition", &self.precondition)
            .field("read_back", &self.read_back)
            .finish_non_exhaustive()
    }
}

impl<P: TypedQuery, R: TypedQuery> Transaction<P, R> {
    /// A transaction from its three parts.
    pub fn new(
        precondition: P,
        plan: impl FnOnce(&P::Answer) -> Result<Plan, Error> + Send + 'static,
        read_back: R,
    ) -> Self {
        Self {
            precondition,
            plan: Planner::Once(Some(Box::new(plan))),
            read_back,
            about: None,
            name: "write",
        }
    }

    /// A transaction whose plan depends on what exists: see [`Planner::Repeated`].
    pub fn repeated(
        precondition: P,
        plan: impl FnMut(&P::Answer) -> Result<Plan, Error> + Send + 'static,
        read_back: R,
    ) -> Self {
        Self {
            precondition,
            plan: Planner::Repeated(Box::new(plan)),
            read_back,
            about: None,
            name: "write",
        }
    }

    /// The same transaction, saying what it is about.
    #[must_use]
    pub fn about(self, about: impl Into<String>) -> Self {
        Self {
            about: Some(about.into()),
            ..self
        }
    }

    /// The same transaction, with a name of what is requested.
    #[must_use]
    pub fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// The server that the transaction is about, if it is about one.
    pub(super) fn server(&self) -> Option<ServerKey> {
        let query = self.precondition.query().or(self.read_back.query());
        query.and_then(|query| query.server())
    }

    /// The service that the transaction is about, if it is about one.
    pub(super) fn service(&self) -> Option<ServiceKey> {
        let query = self.precondition.query().or(self.read_back.query());
        query.and_then(|query| query.service())
    }

    /// The result of reading back, if the precondition was the same query.
    pub(super) fn same_answer(&self, answer: &P::Answer) -> Option<R::Answer> {
        let answer = (answer as &dyn Any).downcast_ref::<R::Answer>();
        answer.filter(|_| self.reads_back_the_same()).cloned()
    }

    /// Whether the precondition and the query that reads back are the same.
    pub(super) fn reads_back_the_same(&self) -> bool {
        let precondition = (&self.precondition as &dyn Any).downcast_ref::<R>();
        precondition == Some(&self.read_back)
    }
}

// === impl Planner ===

impl<A> Planner<A> {
    /// Plans; `None` if it must not plan again.
    pub(super) fn plan(&mut self, answer: &A) -> Option<Result<Plan, Error>> {
        match self {
            Self::Once(plan) => plan.take().map(|plan| plan(answer)),
            Self::Repeated(plan) => Some(plan(answer)),
        }
    }

    /// The same plan, which `check` may refuse.
    pub(super) fn checked(
        self,
        mut check: impl FnMut(&Plan) -> Result<(), Error> + Send + 'static,
    ) -> Self
    where
        A: 'static,
    {
        match self {
            Self::Once(plan) => Self::Once(plan.map(|plan| -> Box<PlanOnce<A>> {
                Box::new(move |answer| {
                    let plan = plan(answer)?;
                    check(&plan)?;
                    Ok(plan)
                })
            })),
            Self::Repeated(mut plan) => Self::Repeated(Box::new(move |answer| {
                let plan = plan(answer)?;
                check(&plan)?;
                Ok(plan)
            })),
        }
    }

    pub(super) fn is_repeated(&self) -> bool {
        matches!(self, Self::Repeated(_))
    }
}

// === impl Executed ===

impl<A> Executed<A> {
    /// Whether there was anything to do.
    pub fn changed(&self) -> bool {
        !self.steps.is_empty()
    }
}

// === impl Plan ===

impl Plan {
    /// Nothing to do.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// A plan of one stage.
    pub fn of(steps: impl IntoIterator<Item = Step>) -> Self {
        Self::staged([steps.into_iter().collect()])
    }

    /// A plan of several stages, in this order.
    pub fn staged(stages: impl IntoIterator<Item = Vec<Step>>) -> Self {
        Self {
            stages: stages.into_iter().collect(),
            creates: false,
        }
    }

    /// The same plan, marked as creating its resource.
    #[must_use]
    pub fn creating(self) -> Self {
        Self {
            creates: true,
            ..self
        }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.stages.iter().all(Vec::is_empty)
    }
}

// === impl CommandResult ===

impl From<CommandResult> for Result<(), Error> {
    fn from(result: CommandResult) -> Self {
        match result {
            CommandResult::Done => Ok(()),
            CommandResult::Refused(error) | CommandResult::Unknown(error) => Err(error),
        }
    }
}

// === impl Step ===

impl From<Op> for Step {
    fn from(op: Op) -> Self {
        Self {
            op,
            undo: None,
            path: None,
            check: None,
        }
    }
}

impl Step {
    /// An operation and the one that reverts it.
    pub fn new(op: Op, undo: Op) -> Self {
        Self {
            op,
            undo: Some(undo),
            path: None,
            check: None,
        }
    }

    /// The same step with a check.
    #[must_use]
    pub fn checked(self, check: Check) -> Self {
        Self {
            check: Some(Box::new(check)),
            ..self
        }
    }

    /// The same step, naming the field of the request that asks for it.
    #[must_use]
    pub fn at(self, path: impl Into<String>) -> Self {
        Self {
            path: Some(path.into()),
            ..self
        }
    }
}
