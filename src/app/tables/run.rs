//! An apply: from the plan to what is stored.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::timeout_at;

use super::{
    execution::Execution,
    options::ApplyOptions,
    pending::{Declaration, Pending},
    plan::{ApplyPlan, PlannedStep, Wanted},
    registry::{DeclaredTable, LastApply, services_of},
    report::{ApplyOutcome, ApplyReport, OperationReport, OperationResult, Summary},
    rollback::roll_back,
    touched::touched,
};
use crate::{
    app::{App, RequestContext, attempt::event},
    audit::{Changes, Event, Outcome},
    executor::{CommandResult, Table, TableQuery, offload},
    identity::Verb,
    model::{Adopt, Error, Etag, OnFailure, Op, Owner, Reason, ServiceKey, TargetService},
    store::StoreError,
};

/// An apply in progress.
pub(super) struct Apply {
    app: App,
    context: RequestContext,
    /// How long each part may take.
    timeout: Duration,
    owner: Owner,
    options: ApplyOptions,
    old: Option<Arc<DeclaredTable>>,
    /// What is declared from now on; `None` to delete the table.
    new: Option<Arc<DeclaredTable>>,
    plan: ApplyPlan,
    report: ApplyReport,
}

impl App {
    /// The operations that would make of a table what is declared.
    pub(super) fn drift_of(
        &self,
        context: &RequestContext,
        declared: &Arc<DeclaredTable>,
        table: &Table,
    ) -> Result<ApplyReport, Error> {
        let apply = self.prepare(
            &context.clone().with_dry_run(true),
            Duration::ZERO,
            declared.owner.clone(),
            ApplyOptions::of_declared(),
            Some(declared.clone()),
            Some(declared.clone()),
            &declared.target(),
            table,
        )?;
        Ok(apply.dry_run())
    }

    /// Plans an apply, and checks everything that can refuse it but the principal.
    #[allow(clippy::too_many_arguments, reason = "what an apply consists of")]
    pub(super) fn prepare(
        &self,
        context: &RequestContext,
        timeout: Duration,
        owner: Owner,
        options: ApplyOptions,
        old: Option<Arc<DeclaredTable>>,
        new: Option<Arc<DeclaredTable>>,
        services: &[&TargetService],
        table: &Table,
    ) -> Result<Apply, Error> {
        let etags = old.as_ref().map(|table| vec![table.etag]);
        options.guard.check(etags.as_deref())?;
        let before = services_of(old.as_deref());
        let keep_weights = new.as_ref().is_some_and(|table| table.state.keep_weights);
        let wanted = Wanted {
            owner: &owner,
            services,
            before,
            claims: &self.tables.claims(),
            adopt: options.adopt,
            keep_weights,
        };
        let plan = wanted.plan(table, &context.principal)?;
        plan.check_deletions(options.max_deletes)?;
        let digest = plan.digest();
        check_plan(options.expect_plan, digest)?;
        let report = ApplyReport {
            apply_id: context.request_id.to_string(),
            generation: new.as_ref().map_or(0, |table| table.state.generation),
            outcome: ApplyOutcome::Unchanged,
            plan: digest,
            operations: plan.steps.iter().map(OperationReport::planned).collect(),
            summary: Summary::from(plan.counts),
            etag: new.as_ref().map(|table| table.etag),
            failure: None,
            owner: owner.clone(),
        };
        Ok(Apply {
            app: self.clone(),
            context: context.clone(),
            timeout,
            owner,
            options,
            old,
            new,
            plan,
            report,
        })
    }

    /// Runs an apply in a task of its own, which holds the lock until its end.
    pub(super) async fn start<L: Send + 'static>(
        &self,
        context: &RequestContext,
        apply: Apply,
        lock: L,
    ) -> Result<ApplyReport, Error> {
        if context.dry_run {
            return Ok(apply.dry_run());
        }
        // Without the operations, whose results are unknown.
        let planned = &apply.report;
        let mut running = ApplyReport {
            apply_id: planned.apply_id.clone(),
            operations: Vec::new(),
            owner: planned.owner.clone(),
            failure: None,
            ..*planned
        };
        let run = self.run_to_end(apply, lock);
        match timeout_at(context.deadline.into(), run).await {
            Ok(report) => report,
            Err(_) => {
                running.outcome = ApplyOutcome::Running;
                running.failure = Some(
                    Error::new(
                        Reason::DeadlineExceeded,
                        "the table is still being applied at the deadline of the request",
                    )
                    .with_hint("GET /v1/tables/{owner} shows last_apply when it has ended"),
                );
                Ok(running)
            }
        }
    }

    /// Runs an apply in a task of its own, which holds the lock until its end and does not end with the caller.
    pub(super) async fn run_to_end<L: Send + 'static>(
        &self,
        apply: Apply,
        lock: L,
    ) -> Result<ApplyReport, Error> {
        let task = self.background_work().spawn(async move {
            let report = apply.run().await;
            drop(lock);
            report
        });
        task.await.unwrap_or_else(|_| {
            let detail = "the apply failed unexpectedly; its outcome is unknown";
            Err(Error::new(Reason::Internal, detail))
        })
    }

    /// Decides whether the principal may apply the table of an owner that has these services, and records
    /// a refusal.
    pub(super) fn may_apply(
        &self,
        context: &RequestContext,
        owner: &Owner,
        adopt: Adopt,
        services: impl Iterator<Item = (ServiceKey, bool)>,
    ) -> Result<(), Error> {
        let principal = &context.principal;
        let decision = principal
            .may_apply(owner.as_str(), services, context.dry_run)
            .and_then(|()| match adopt {
                Adopt::Any => principal
                    .may(Verb::RestoreRules, None, context.dry_run)
                    .map_err(|error| {
                        error
                            .with_violation("adopt", "any requires the role admin, without a scope")
                    }),
                Adopt::None | Adopt::Unmanaged => Ok(()),
            });
        self.recorded(context, Verb::ApplyTable, None, decision)
    }
}

/// Refuses another plan than the one that is expected.
fn check_plan(expected: Option<Etag>, plan: Etag) -> Result<(), Error> {
    if expected.is_none_or(|expected| expected == plan) {
        return Ok(());
    }
    let detail = "the operations are others than those that were expected; nothing was changed";
    Err(Error::new(Reason::PlanChanged, detail)
        .with_violation("expect_plan", format!("the plan is {plan} now"))
        .with_hint("look at the plan again with dry_run"))
}

/// The error of an apply that the end of the daemon has stopped.
fn stopped() -> Error {
    let detail = "the daemon ends before the apply has ended";
    Error::new(Reason::Internal, detail)
        .with_hint("the next start completes it, or undoes it (tables.interrupted)")
}

/// The error of an apply whose end could not be stored.
fn not_stored(error: StoreError) -> Error {
    let detail =
        format!("{error}; the operations ended as listed, and the declaration is the old one");
    Error {
        detail,
        ..Error::from(error)
    }
    .with_hint("apply the table again; otherwise the next start completes it, or undoes it")
}

// === impl Apply ===

impl Apply {
    /// The report of what it would do.
    fn dry_run(self) -> ApplyReport {
        let outcome = match self.plan.steps.is_empty() {
            true => ApplyOutcome::Unchanged,
            false => ApplyOutcome::Planned,
        };
        ApplyReport {
            outcome,
            ..self.report
        }
    }

    async fn run(mut self) -> Result<ApplyReport, Error> {
        let is_known = match (&self.new, &self.old) {
            // An owner that does not declare what it has lost accepts the loss.
            (Some(new), Some(old)) => new.etag == old.etag && old.state.lost.is_empty(),
            _ => false,
        };
        let is_pending = self.app.tables.is_applying(&self.owner);
        if self.plan.steps.is_empty() && is_known && !is_pending {
            return Ok(self.report);
        }
        let steps = std::mem::take(&mut self.plan.steps);
        if !steps.is_empty() {
            let pending = offload(|| self.pending(&steps));
            self.app.tables.begin(&self.owner, &pending).await?;
        }
        self.report.outcome = match steps.is_empty() {
            true => ApplyOutcome::Unchanged,
            false => self.execute(&steps).await,
        };
        if self.report.outcome == ApplyOutcome::Running {
            // What is stored says so until the next start.
            self.report.failure = Some(stopped());
            self.log();
            return Ok(self.report);
        }
        let stored = self.store().await;
        self.report.failure = self.report.failed();
        self.log();
        match stored {
            Ok(()) => Ok(self.report),
            Err(error) if steps.is_empty() => Err(error.into()),
            Err(error) => {
                let declared = self.app.tables.table(&self.owner);
                self.report.set_declared(declared.as_deref());
                self.report.failure = Some(not_stored(error));
                Ok(self.report)
            }
        }
    }

    /// What is stored before the first operation.
    fn pending(&self, steps: &[PlannedStep]) -> Pending {
        let old = services_of(self.old.as_deref());
        let declares = self.new.as_ref().map(|table| Declaration {
            keep_weights: table.state.keep_weights,
            set: table
                .services
                .iter()
                .filter(|(key, service)| old.get(key) != Some(service))
                .map(|(_, service)| TargetService::clone(service))
                .collect(),
            unset: old
                .keys()
                .filter(|key| !table.services.contains_key(key))
                .copied()
                .collect(),
        });
        Pending {
            apply_id: self.report.apply_id.clone(),
            principal: self.context.principal.to_string(),
            operations: steps.len(),
            declares,
            touched: touched(steps),
        }
    }

    /// Executes the operations, and undoes them if that is what a failure asks for.
    async fn execute(&mut self, steps: &[PlannedStep]) -> ApplyOutcome {
        let app = self.app.clone();
        let mut execution = Execution::new(&app, &self.context, self.timeout);
        let (stops, goes_on) = match self.options.on_failure {
            OnFailure::Rollback => (false, false),
            OnFailure::Stop => (true, false),
            OnFailure::Continue => (false, true),
        };
        let results = execution.run(steps, self.plan.making, stops, goes_on).await;
        let mut results = results.into_iter();
        for operation in &mut self.report.operations {
            operation.set(results.next());
        }
        if self.report.first_failure().is_none() {
            return ApplyOutcome::Applied;
        }
        if execution.is_stopped {
            return ApplyOutcome::Running;
        }
        if self.options.on_failure != OnFailure::Rollback {
            return ApplyOutcome::Partial;
        }
        execution.context.deadline = Instant::now() + self.timeout;
        let table = app.run_query(&execution.context, TableQuery).await;
        let operations = &mut self.report.operations;
        let complete = match table {
            Ok(table) => roll_back(&mut execution, steps, operations, &table.value).await,
            Err(error) => {
                tracing::warn!(%error, "an apply cannot be undone: the table cannot be read");
                false
            }
        };
        match complete {
            _ if execution.is_stopped => ApplyOutcome::Running,
            true => ApplyOutcome::RolledBack,
            false => ApplyOutcome::RollbackIncomplete,
        }
    }

    /// Stores what is declared now, and how the apply ended.
    async fn store(&mut self) -> Result<(), StoreError> {
        let last_apply = Some(LastApply {
            apply_id: self.report.apply_id.clone(),
            end_time: jiff::Timestamp::now().to_string(),
            outcome: self.report.outcome,
        });
        let is_declared = matches!(
            self.report.outcome,
            ApplyOutcome::Unchanged | ApplyOutcome::Applied | ApplyOutcome::Partial
        );
        let mut changed = Vec::new();
        let table = match is_declared {
            true => {
                changed = self.losers();
                self.new.take()
            }
            false => self.old.take(),
        };
        let mut table = table.map(Arc::unwrap_or_clone);
        if let Some(table) = &mut table {
            table.state.last_apply = last_apply;
        }
        self.report.set_declared(table.as_ref());
        changed.push((self.owner.clone(), table));
        self.app.tables.put(changed).await
    }

    /// The tables of other owners without the services that this one takes over.
    fn losers(&self) -> Vec<(Owner, Option<DeclaredTable>)> {
        let claims = self.app.tables.claims();
        let mut taken: HashMap<Owner, Vec<ServiceKey>> = HashMap::new();
        let services = self.new.iter().flat_map(|table| table.services.keys());
        for key in services {
            if let Some(owner) = claims.get(key).filter(|owner| **owner != self.owner) {
                taken.entry(owner.clone()).or_default().push(*key);
            }
        }
        let lose = |(owner, keys): (Owner, Vec<ServiceKey>)| {
            let table = self.app.tables.table(&owner)?;
            let mut services = table.services.clone();
            for key in &keys {
                services.remove(key);
            }
            let mut state = table.state.clone();
            state.lost.extend(keys);
            state.generation += 1;
            Some((
                owner.clone(),
                Some(DeclaredTable::new(owner, services, state)),
            ))
        };
        taken.into_iter().filter_map(lose).collect()
    }

    /// Records the end in the audit trail and in the log. The parts have records of their own.
    fn log(&self) {
        let report = &self.report;
        let count = |result: &str| {
            let operations = report.operations.iter();
            operations.filter(|op| op.result.as_str() == result).count()
        };
        let (done, failed) = (count("done"), count("failed"));
        let first = report.first_failure();
        self.app.audit_log().record(Event {
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
            ..event(&self.context, Verb::ApplyTable.as_str().into())
        });
        let principal = &self.context.principal;
        let (owner, generation) = (&report.owner, report.generation);
        let outcome = report.outcome.as_str();
        let operations = report.operations.len();
        self.context.span.in_scope(|| match first {
            None => tracing::info!(
                %principal, %owner, generation, outcome, operations, "table applied"
            ),
            Some(error) => tracing::warn!(
                %principal, %owner, generation, outcome, operations, done, failed,
                reason = error.reason.as_str(), %error,
                "table not applied"
            ),
        });
    }
}

// === impl ApplyReport ===

impl ApplyReport {
    fn set_declared(&mut self, table: Option<&DeclaredTable>) {
        self.generation = table.map_or(0, |table| table.state.generation);
        self.etag = table.map(|table| table.etag);
    }
}

// === impl OperationReport ===

impl OperationReport {
    fn planned(step: &PlannedStep) -> Self {
        Self {
            op: step.op.clone(),
            before: step.before.clone(),
            result: OperationResult::Planned,
            maybe_executed: false,
            was_gone: false,
            lost: Vec::new(),
        }
    }

    /// The result of the executor; `None` if the operation was not sent.
    fn set(&mut self, result: Option<CommandResult>) {
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
}

#[cfg(test)]
mod tests;
