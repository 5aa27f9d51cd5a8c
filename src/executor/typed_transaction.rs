//! Runs one transaction: reads, plans, executes, reads back.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

use super::{
    engine::Engine,
    in_flight::InFlight,
    pending::{KERNEL_WRITE, Pending},
    query::TypedQuery,
    queue::Waits,
    service_state::ServiceRead,
    transaction::{Executed, Plan, Transaction, WriteMode},
};
use crate::{
    clock,
    model::{Error, Reason},
};

/// A transaction of any type that waits for the engine.
pub trait PendingTransaction: Waits + Send {
    /// Whether it is about one service only, so that it takes a few requests to the kernel.
    fn is_short(&self) -> bool;

    /// Runs it and replies, unless nobody waits for it or its deadline has passed.
    fn run(&mut self, engine: &mut Engine);
}

/// A transaction with the types of its queries.
pub(super) struct TypedTransaction<P: TypedQuery, R: TypedQuery> {
    transaction: Transaction<P, R>,
    mode: WriteMode,
    /// `None` once it runs, or when nobody waits for it.
    pending: Option<Pending<(), Executed<R::Answer>>>,
}

/// Times that a transaction is planned, if other programs keep creating and deleting its objects.
const ATTEMPTS: usize = 3;

// === impl TypedTransaction ===

impl<P: TypedQuery, R: TypedQuery> TypedTransaction<P, R> {
    pub(super) fn new(
        transaction: Transaction<P, R>,
        mode: WriteMode,
        pending: Pending<(), Executed<R::Answer>>,
    ) -> Self {
        Self {
            transaction,
            mode,
            pending: Some(pending),
        }
    }

    fn outcome(&mut self, engine: &mut Engine) -> Result<Executed<R::Answer>, Error> {
        let before = engine.fetch(&self.transaction.precondition)?;
        let plan = self.plan(&before)?;
        if self.mode.dry_run {
            return self.project(plan, engine);
        }
        if plan.is_empty()
            && let Some(value) = self.transaction.same_answer(&before)
        {
            return Ok(Executed {
                value,
                created: plan.creates,
                steps: Vec::new(),
            });
        }
        let mut outcome = self.execute(plan, before, engine);
        for _ in 1..ATTEMPTS {
            let Some((plan, before)) = self.plan_to_create_again(&outcome) else {
                break;
            };
            outcome = self.execute(plan, before, engine);
        }
        outcome
    }

    fn plan(&mut self, answer: &P::Answer) -> Result<Plan, Error> {
        let plan = &mut self.transaction.plan;
        // A panic in a plan must not fail the other jobs of the iteration.
        let plan = catch_unwind(AssertUnwindSafe(|| plan.plan(answer)));
        plan.ok().flatten().unwrap_or_else(|| {
            Err(Error::new(
                Reason::Internal,
                "the executor failed on this request",
            ))
        })
    }

    /// Executes a plan and reads back. Plans again, or rolls back, what fails.
    fn execute(
        &mut self,
        plan: Plan,
        mut before: P::Answer,
        engine: &mut Engine,
    ) -> Result<Executed<R::Answer>, Error> {
        let read_after = self.read_after(&plan, engine);
        let mut in_flight = InFlight::new(plan);
        let mut state = engine.execute_plan(&mut in_flight, read_after);
        for _ in 1..ATTEMPTS {
            if !(self.transaction.plan.is_repeated() && in_flight.is_outdated()) {
                break;
            }
            let again = engine
                .fetch(&self.transaction.precondition)
                .and_then(|answer| Ok((self.plan(&answer)?, answer)));
            match again {
                Ok((plan, answer)) => {
                    before = answer;
                    let read_after = self.read_after(&plan, engine);
                    in_flight.resume(plan);
                    state = engine.execute_plan(&mut in_flight, read_after);
                }
                Err(error) => {
                    in_flight.fail(error);
                    break;
                }
            }
        }
        engine.roll_back(&mut in_flight);
        let (created, steps) = in_flight.finish()?;
        let mut known = None;
        if steps.iter().all(|step| step.op.is_edit()) && engine.holds.is_empty() {
            known = self.transaction.same_answer(&before);
        }
        let value = match (state.and_then(R::from_state), known) {
            (Some(value), _) => value,
            // The kernel has acknowledged the configuration, and what else the entry has is as it was
            // read before.
            (None, Some(mut value)) => {
                for step in &steps {
                    R::project(&mut value, &step.op)?;
                }
                value
            }
            (None, None) => engine
                .fetch(&self.transaction.read_back)
                .map_err(|mut error| {
                    error.detail = format!("executed, but reading back failed: {}", error.detail);
                    error
                })?,
        };
        Ok(Executed {
            value,
            created,
            steps,
        })
    }

    /// What to read in the send of the last operations. Nothing after edits, unless the kernel has other weights
    /// than the operations: see [`execute`](Self::execute).
    fn read_after(&self, plan: &Plan, engine: &Engine) -> Option<ServiceRead> {
        let mut steps = plan.stages.iter().flatten();
        let is_known = self.transaction.reads_back_the_same() && engine.holds.is_empty();
        match is_known && steps.all(|step| step.op.is_edit()) {
            true => None,
            false => self.transaction.read_back.service_read(),
        }
    }

    /// A plan to create the object that another program has deleted since it was written; `None` if
    /// it was not deleted or is not to be created.
    fn plan_to_create_again(
        &mut self,
        outcome: &Result<Executed<R::Answer>, Error>,
    ) -> Option<(Plan, P::Answer)> {
        let Executed { value, steps, .. } = outcome.as_ref().ok()?;
        let is_gone = steps.first().is_some_and(|step| !R::shows(value, &step.op));
        if !is_gone || !self.transaction.plan.is_repeated() {
            return None;
        }
        let answer = (value as &dyn Any).downcast_ref::<P::Answer>()?;
        let plan = self.plan(answer).ok()?;
        plan.creates.then(|| (plan, answer.clone()))
    }

    /// The outcome that executing the plan would have.
    fn project(&self, plan: Plan, engine: &mut Engine) -> Result<Executed<R::Answer>, Error> {
        let mut value = engine.fetch(&self.transaction.read_back)?;
        let steps: Vec<_> = plan.stages.into_iter().flatten().collect();
        for step in &steps {
            R::project(&mut value, &step.op).map_err(|error| step.locate(error))?;
        }
        Ok(Executed {
            value,
            created: plan.creates,
            steps,
        })
    }
}

impl<P: TypedQuery, R: TypedQuery> Waits for TypedTransaction<P, R> {
    fn drop_unwanted(&mut self, now: Instant) -> bool {
        let pending = self.pending.take();
        self.pending = pending.and_then(|pending| pending.wanted(now));
        self.pending.is_some()
    }
}

impl<P: TypedQuery, R: TypedQuery> PendingTransaction for TypedTransaction<P, R> {
    fn is_short(&self) -> bool {
        self.transaction.service().is_some()
    }

    fn run(&mut self, engine: &mut Engine) {
        let pending = self.pending.take();
        let Some(pending) = pending.and_then(|pending| pending.start(clock::now())) else {
            return;
        };
        let span = pending.span(KERNEL_WRITE);
        let outcome = match engine.socket.enter() {
            Ok(here) => {
                engine.planned_in = Some(here);
                engine.author = self.mode.author.take();
                let outcome = self.outcome(engine);
                engine.planned_in = None;
                engine.author = None;
                engine.ended_holds.clear();
                outcome
            }
            Err(error) => Err(error),
        };
        span.set("ipvsd.operation", self.transaction.name);
        engine.describe(&span, self.mode.dry_run, outcome.as_ref().err());
        // Before the request goes on.
        span.end();
        pending.reply(outcome);
    }
}
