//! An apply: from the plan to what is stored.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    declared::{DeclaredTable, services_of},
    options::ApplyOptions,
    pending::{Declaration, Pending},
    plan::{ApplyPlan, Wanted},
    touched::{touched, touched_director},
};
use crate::{
    app::{
        App, ApplyReport, RequestContext,
        holds::TableDrains,
        operations::{Current, Execution, Order, PlannedStep},
    },
    executor::offload,
    identity::Verb,
    model::{
        Adopt, ApplyOutcome, Director, Error, Etag, LastApply, Op, Owner, Reason, ServiceKey,
        TableSettings, TargetService,
    },
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
        current: &Current,
    ) -> Result<ApplyReport, Error> {
        let apply = self.prepare(
            &context.clone().with_dry_run(true),
            Duration::ZERO,
            declared.owner.clone(),
            ApplyOptions::of_declared(),
            Some(declared.clone()),
            Some(declared.clone()),
            &declared.target(),
            current,
        )?;
        Ok(apply.report)
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
        current: &Current,
    ) -> Result<Apply, Error> {
        let etags = old.as_ref().map(|table| vec![table.etag]);
        let is_declared =
            |(old, new): (&Arc<DeclaredTable>, &Arc<DeclaredTable>)| old.etag == new.etag;
        // The apply that is resumed may have been completed at the start.
        if !(context.resumed && old.as_ref().zip(new.as_ref()).is_some_and(is_declared)) {
            options.guard.check(etags.as_deref())?;
        }
        let before = services_of(old.as_deref());
        let settings = settings_of(new.as_ref().or(old.as_ref()));
        let removing = self.hold_registry.removing();
        let wanted = Wanted {
            owner: &owner,
            services,
            before,
            claims: &self.tables.claims(),
            adopt: options.adopt,
            keep_weights: settings.keep_weights,
            removal: options.removal.unwrap_or(settings.removal),
            removing: &removing,
            kept: &self.kept.all(),
            director: (director_of(old.as_ref()), director_of(new.as_ref())),
        };
        self.tables.check_director(&owner, wanted.director.1)?;
        let plan = wanted.plan(current, &context.principal)?;
        plan.check_deletions(options.max_deletes)?;
        let report = ApplyReport {
            owner: Some(owner.clone()),
            generation: new.as_ref().map_or(0, |table| table.state.generation),
            etag: new.as_ref().map(|table| table.etag),
            ..ApplyReport::planned(context, &plan.steps, plan.summary)
        };
        check_plan(options.expect_plan, report.plan)?;
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
            return Ok(apply.report);
        }
        let running = apply.report.running();
        let mut report = self
            .run_until_deadline(context, running, lock, apply.run())
            .await?;
        if report.outcome != ApplyOutcome::Running {
            report.revision = Some(self.last_revision());
        }
        Ok(report)
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

    /// Decides whether the principal may apply a table that declares or has declared these timeouts and sync
    /// daemons, and records a refusal.
    pub(super) fn may_declare<'a>(
        &self,
        context: &RequestContext,
        declared: impl IntoIterator<Item = Option<&'a Director>>,
    ) -> Result<(), Error> {
        let (mut timeouts, mut sync_daemons) = (false, false);
        for director in declared.into_iter().flatten() {
            timeouts |= director.timeouts.is_some();
            sync_daemons |= director.sync_daemons.is_some();
        }
        let parts = [
            (timeouts, "timeouts", Verb::SetTimeouts),
            (sync_daemons, "sync_daemons", Verb::StartSyncDaemon),
        ];
        let mut parts = parts.into_iter().filter(|(is_declared, ..)| *is_declared);
        let decision = parts.try_for_each(|(_, field, verb)| {
            let decision = context.principal.may(verb, None, context.dry_run);
            decision.map_err(|error| {
                let message = "requires the role admin, without a scope";
                error.with_violation(field, message)
            })
        });
        self.recorded(context, Verb::ApplyTable, None, decision)
    }
}

/// The settings of a table; the defaults if there is none.
fn settings_of(table: Option<&Arc<DeclaredTable>>) -> TableSettings {
    table.map_or_else(TableSettings::default, |table| table.state.settings)
}

/// The timeouts and sync daemons of a table; none if there is no table.
fn director_of(table: Option<&Arc<DeclaredTable>>) -> &Director {
    static NONE: Director = Director::NONE;
    table.map_or(&NONE, |table| &table.state.director)
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
    let remedy = error.hint().unwrap_or("repeat the request");
    let hint =
        format!("{remedy}; a start before the store works again completes the apply, or undoes it");
    Error {
        detail,
        ..Error::from(error)
    }
    .with_hint(hint)
}

// === impl Apply ===

impl Apply {
    /// The operations that it is to execute.
    pub(super) fn operations(&self) -> impl Iterator<Item = &Op> {
        self.plan.steps.iter().map(|step| &step.op)
    }

    /// Leaves out operations.
    pub(super) fn retain(&mut self, mut keeps: impl FnMut(&Op) -> bool) {
        self.plan.retain(&mut keeps);
        self.report.plan_again(&self.plan.steps);
    }

    pub(super) async fn run(mut self) -> Result<ApplyReport, Error> {
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
        let drains = steps.iter().filter(|step| step.drains).count();
        if drains > 0 {
            self.app.hold_registry.check_drains(drains, drains)?;
        }
        if !steps.is_empty() {
            let pending = offload(|| self.pending(&steps));
            let author = self.context.author();
            let tables = &self.app.tables;
            tables.begin(&self.owner, &pending, &author).await?;
            // Their results are known at the end.
            self.keep_operations(ApplyOutcome::Running);
        }
        self.report.outcome = match steps.is_empty() {
            true => ApplyOutcome::Unchanged,
            false => self.execute(&steps).await,
        };
        if self.report.outcome == ApplyOutcome::Running {
            // What is stored says so until the next start.
            self.report.failure = Some(stopped());
            self.app
                .record_applied(&self.context, Verb::ApplyTable, &self.report);
            return Ok(self.report);
        }
        let stored = self.store().await;
        self.keep_operations(self.report.outcome);
        self.report.failure = self.report.failed();
        self.app
            .record_applied(&self.context, Verb::ApplyTable, &self.report);
        match stored {
            Ok(()) => {
                self.context.deadline = Instant::now() + self.timeout;
                // The task tries again.
                if let Err(error) = self.app.cancel_redeclared(&self.context).await {
                    tracing::warn!(%error, "drains of servers that are declared again cannot be cancelled yet");
                }
                Ok(self.report)
            }
            Err(error) if steps.is_empty() => Err(error.into()),
            Err(error) => {
                let declared = self.app.tables.table(&self.owner);
                self.report.set_declared(declared.as_deref());
                self.report.failure = Some(not_stored(error));
                Ok(self.report)
            }
        }
    }

    /// Keeps the operations for those who list them.
    fn keep_operations(&self, outcome: ApplyOutcome) {
        let report = ApplyReport {
            outcome,
            operations: self.report.operations.clone(),
            ..self.report.running()
        };
        let mut last = self.app.tables.last_operations();
        match self.app.tables.table(&self.owner) {
            None if outcome != ApplyOutcome::Running => last.forget(&self.owner),
            _ => last.keep(&self.owner, report, self.app.budget()),
        }
    }

    /// What is stored before the first operation.
    fn pending(&self, steps: &[PlannedStep]) -> Pending {
        let old = services_of(self.old.as_deref());
        let declares = self.new.as_ref();
        let declares = declares.map(|table| Declaration::of(table, old));
        Pending {
            apply_id: self.report.apply_id.clone(),
            principal: self.context.principal.to_string(),
            operations: steps.len(),
            declares,
            removal: self.options.removal,
            adopt: self.options.adopt,
            touched: touched(steps),
            director: touched_director(steps),
        }
    }

    /// Executes the operations, and undoes them if that is what a failure asks for.
    async fn execute(&mut self, steps: &[PlannedStep]) -> ApplyOutcome {
        let mut execution = self.execution();
        let order = Order::MakingFirst(self.plan.making);
        let on_failure = self.options.on_failure;
        execution
            .execute(steps, order, on_failure, &mut self.report)
            .await
    }

    fn execution(&self) -> Execution {
        let settings = settings_of(self.new.as_ref().or(self.old.as_ref()));
        let mut execution = Execution::new(&self.app, &self.context, self.timeout);
        execution.drains = Some(TableDrains {
            owner: self.owner.clone(),
            deadline_seconds: settings.drain_deadline_seconds,
        });
        execution
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
        let author = self.context.author();
        self.app.tables.put(changed, &author).await
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
}

// === impl ApplyReport ===

impl ApplyReport {
    fn set_declared(&mut self, table: Option<&DeclaredTable>) {
        self.generation = table.map_or(0, |table| table.state.generation);
        self.etag = table.map(|table| table.etag);
    }
}

#[cfg(test)]
mod tests;
