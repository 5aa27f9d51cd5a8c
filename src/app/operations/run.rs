//! Runs planned operations to their end: executes them, undoes them if that is what a failure asks for, and
//! records the outcome.

use std::time::Instant;

use tokio::time::timeout_at;

use super::{execution::Execution, report::ApplyReport, rollback::roll_back, step::PlannedStep};
use crate::{
    app::{App, RequestContext, attempt::event},
    audit::{Changes, Event, Outcome},
    identity::Verb,
    model::{ApplyOutcome, Error, OnFailure, Reason},
};

/// In which order operations depend on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::app) enum Order {
    /// This many leading ones create and edit; the others delete, and are not executed after a failure.
    MakingFirst(usize),
    /// Each may depend on any before it: after a failure, no other is executed.
    OneByOne,
}

impl Execution {
    /// Executes all steps, whose results the report gets, or undoes them. `Running` if the end of the daemon
    /// has stopped it. Those that drain servers are the last.
    pub async fn execute(
        &mut self,
        steps: &[PlannedStep],
        order: Order,
        on_failure: OnFailure,
        report: &mut ApplyReport,
    ) -> ApplyOutcome {
        let (making, is_sequence) = match order {
            Order::MakingFirst(making) => (making, false),
            Order::OneByOne => (0, true),
        };
        let (stops, goes_on) = match on_failure {
            OnFailure::Rollback => (is_sequence, false),
            OnFailure::Stop => (true, false),
            OnFailure::Continue => (false, true),
        };
        let sent = steps.partition_point(|step| !step.drains);
        let (sent, drained) = steps.split_at(sent);
        let results = self.run(sent, making, stops, goes_on).await;
        let mut results = results.into_iter();
        for operation in &mut report.operations {
            operation.set(results.next());
        }
        let goes_on = goes_on || report.first_failure().is_none();
        if goes_on && !self.is_stopped && !drained.is_empty() {
            let begun = self.begin_drains(drained).await;
            let operations = report.operations.iter_mut().skip(sent.len());
            for (operation, begun) in operations.zip(begun) {
                operation.set_drain(begun);
            }
        }
        if report.first_failure().is_none() {
            return ApplyOutcome::Applied;
        }
        if self.is_stopped {
            return ApplyOutcome::Running;
        }
        if on_failure != OnFailure::Rollback {
            return ApplyOutcome::Partial;
        }
        self.context.deadline = Instant::now() + self.timeout;
        let has_director = steps.iter().any(|step| step.op.is_of_director());
        let current = self.app.current(&self.context, has_director).await;
        let operations = &mut report.operations;
        let complete = match current {
            Ok(current) => roll_back(self, steps, operations, current).await,
            Err(error) => {
                tracing::warn!(%error, "an apply cannot be undone: the table cannot be read");
                false
            }
        };
        match complete {
            _ if self.is_stopped => ApplyOutcome::Running,
            true => ApplyOutcome::RolledBack,
            false => ApplyOutcome::RollbackIncomplete,
        }
    }
}

impl App {
    /// Runs the execution of planned operations in a task of its own, which holds the lock until its end and
    /// does not end with the caller.
    pub(in crate::app) async fn run_to_end<L: Send + 'static>(
        &self,
        lock: L,
        execution: impl Future<Output = Result<ApplyReport, Error>> + Send + 'static,
    ) -> Result<ApplyReport, Error> {
        let work = async move {
            let report = execution.await;
            drop(lock);
            report
        };
        self.background_work().run(work).await
    }

    /// As [`run_to_end`](Self::run_to_end). At the deadline of the request, the result is `running`.
    pub(in crate::app) async fn run_until_deadline<L: Send + 'static>(
        &self,
        context: &RequestContext,
        mut running: ApplyReport,
        lock: L,
        execution: impl Future<Output = Result<ApplyReport, Error>> + Send + 'static,
    ) -> Result<ApplyReport, Error> {
        let run = self.run_to_end(lock, execution);
        if let Ok(report) = timeout_at(context.deadline.into(), run).await {
            return report;
        }
        let (detail, hint) = match running.owner {
            Some(_) => (
                "the table is still being applied at the deadline of the request",
                "GET /v1/tables/{owner} shows last_apply when it has ended",
            ),
            None => (
                "the batch is still being executed at the deadline of the request",
                "the log of the daemon and the audit trail state the outcome under the id of this request",
            ),
        };
        running.failure = Some(Error::new(Reason::DeadlineExceeded, detail).with_hint(hint));
        Ok(running)
    }

    /// Records the end in the audit trail and in the log. The parts have records of their own.
    pub(in crate::app) fn record_applied(
        &self,
        context: &RequestContext,
        verb: Verb,
        report: &ApplyReport,
    ) {
        let count = |result: &str| {
            let operations = report.operations.iter();
            operations.filter(|op| op.result.as_str() == result).count()
        };
        let (done, failed) = (count("done"), count("failed"));
        let first = report.first_failure();
        self.audit_log().record(Event {
            changes: Changes::Restore {
                commands: report.operations.len(),
                done,
                refused: failed,
            },
            outcome: match report.outcome {
                ApplyOutcome::Unchanged | ApplyOutcome::Applied | ApplyOutcome::Planned => {
                    Outcome::Success
                }
                ApplyOutcome::RolledBack => Outcome::Failure,
                _ => Outcome::Partial,
            },
            reason: first.map(|error| error.reason),
            ..event(context, verb.as_str().into())
        });
        let principal = &context.principal;
        let owner = report.owner.as_ref().map(tracing::field::display);
        let generation = owner.as_ref().map(|_| report.generation);
        let outcome = report.outcome.as_str();
        let operations = report.operations.len();
        context.span.in_scope(|| match first {
            None => tracing::info!(
                %principal, owner, generation, outcome, operations, "{verb} executed"
            ),
            Some(error) => tracing::warn!(
                %principal, owner, generation, outcome, operations, done, failed,
                reason = error.reason.as_str(), %error,
                "{verb} failed"
            ),
        });
    }
}
