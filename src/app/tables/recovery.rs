//! At the start of the daemon: applies that were interrupted, and tables that the kernel does not have.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{
    declared::{DeclaredTable, declare, services_of},
    options::ApplyOptions,
    pending::Pending,
    touched::undo_steps,
};
use crate::{
    app::{
        App, RequestContext, RequestId,
        operations::{Current, Execution, PlannedStep},
    },
    executor::{CommandResult, Nothing, Plan, ServicesQuery, Step, Table, Transaction, offload},
    identity::Verb,
    model::{Adopt, Error, OnFailure, Op, Owner, Reason, StoredFields},
};

/// What becomes of an apply that the end of the daemon has interrupted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Interrupted {
    /// The table is applied.
    #[default]
    Complete,
    /// What was done is undone, where the kernel still has it.
    Undo,
}

/// Whether the declared tables are applied at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestoreOnStart {
    /// They are not.
    #[default]
    Never,
    /// If the kernel has no service at all, as after a boot.
    IfEmpty,
    /// Always. Services of the tables that differ are changed.
    Always,
}

/// What is to be restored at the start.
#[derive(Clone, Copy, Debug, Default)]
struct Restores {
    /// The declared tables.
    tables: bool,
    /// The snapshot: not over services that the kernel has, which are newer.
    snapshot: bool,
}

/// Time between two attempts while the kernel is not available.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

impl App {
    /// Completes or undoes interrupted applies, and restores the declared tables. Drops the stored fields of services
    /// that do not exist then. Waits while the kernel is
    /// not available; ends when the daemon does. Requests are served meanwhile, and what they declare counts.
    pub async fn recover_tables(
        &self,
        interrupted: Interrupted,
        restore: RestoreOnStart,
        timeout: Duration,
    ) {
        let pending = match self.tables.interrupted() {
            Ok(pending) => pending,
            Err(error) => {
                tracing::error!(%error, "cannot read which applies were interrupted");
                return;
            }
        };
        if pending.is_empty() && restore == RestoreOnStart::Never && !self.has_stored() {
            self.tables
                .may_replace_snapshot
                .store(true, Ordering::Release);
            return;
        }
        while let Err(error) = self.ready().await {
            tracing::debug!(%error, "the declared tables wait for the kernel");
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
        // Before an interrupted apply makes the first services.
        let restores = self.restores(restore, timeout).await;
        for (owner, pending) in pending {
            let outcome = self.recover(&owner, &pending, interrupted, timeout).await;
            if let Err(error) = outcome {
                self.note_unrecovered(&owner, &pending, &error);
            }
        }
        match restores {
            Ok(restores) => self.restore(restores, timeout).await,
            Err(error) => tracing::error!(%error, "the declared tables cannot be restored"),
        }
        if self.has_stored()
            && let Err(error) = self.drop_unused(timeout).await
        {
            tracing::error!(%error, "the labels and health checks of services that do not exist cannot be dropped");
        }
    }

    /// Logs why an interrupted apply cannot be recovered. What other tables have declared since stays: the apply is
    /// not tried again.
    fn note_unrecovered(&self, owner: &Owner, pending: &Pending, error: &Error) {
        let apply_id = &pending.apply_id;
        if matches!(error.reason, Reason::ServiceOwned | Reason::ResourceOwned) {
            let author = context(apply_id, Duration::ZERO).author();
            self.tables.leave(owner, &author);
            tracing::error!(%owner, apply_id, %error,
                "an interrupted apply is not completed, because what it declares belongs to another table now");
        } else {
            tracing::error!(%owner, apply_id, %error,
                "an interrupted apply cannot be recovered; it stays recorded until the next start or apply");
        }
    }

    /// Restores the declared tables, and then the snapshot.
    async fn restore(&self, restores: Restores, timeout: Duration) {
        let tables = self.tables.all().into_iter();
        for table in tables.filter(|_| restores.tables) {
            let owner = &table.owner;
            if let Err(error) = self.restore_table(owner, timeout).await {
                tracing::error!(%owner, %error, "the declared table cannot be restored");
            }
        }
        let restored = match restores.snapshot {
            true => self.restore_snapshot(timeout).await,
            false => Ok(()),
        };
        match restored {
            Ok(()) => self
                .tables
                .may_replace_snapshot
                .store(true, Ordering::Release),
            Err(error) => tracing::error!(%error,
                "the snapshot cannot be restored as a whole; no other is taken until the next start"),
        }
    }

    /// Whether a service has stored fields.
    fn has_stored(&self) -> bool {
        !self.kept.all().with_stored().is_empty()
    }

    /// Drops the stored fields of services that do not exist.
    async fn drop_unused(&self, timeout: Duration) -> Result<(), Error> {
        let stored = self.kept.all().with_stored();
        let plan = move |services: &Arc<Table>| {
            let present: HashSet<_> = services.iter().map(|entry| entry.service.key).collect();
            let unused = stored.into_iter().filter(|key| !present.contains(key));
            Ok(Plan::of(unused.map(|key| {
                Step::from(Op::SetStored(key, StoredFields::default()))
            })))
        };
        let context = context("unused-fields", timeout);
        let transaction = Transaction::new(ServicesQuery, plan, Nothing).named("drop_stored");
        self.write(&context, Verb::UpdateService, transaction)
            .await
            .map(drop)
    }

    /// What is to be restored.
    async fn restores(&self, mode: RestoreOnStart, timeout: Duration) -> Result<Restores, Error> {
        if mode == RestoreOnStart::Never {
            return Ok(Restores::default());
        }
        let context = context("restore-on-start", timeout);
        let services = self.run_query(&context, ServicesQuery).await?.value.len();
        let restores = Restores {
            tables: services == 0 || mode == RestoreOnStart::Always,
            snapshot: services == 0,
        };
        if services > 0 {
            tracing::info!(services, ?restores, "the kernel has services");
        }
        Ok(restores)
    }

    /// The operations that undo an apply, but not on services that another table has declared since.
    fn undo_of(&self, owner: &Owner, pending: &Pending, current: &Current) -> Vec<PlannedStep> {
        let claims = self.tables.claims();
        let mut undo = undo_steps(current, pending);
        undo.retain(|step| {
            let claimant = step.op.service().and_then(|key| claims.get(&key));
            pending.adopt == Adopt::Any || claimant.is_none_or(|claimant| claimant == owner)
        });
        undo
    }

    async fn recover(
        &self,
        owner: &Owner,
        pending: &Pending,
        mode: Interrupted,
        timeout: Duration,
    ) -> Result<(), Error> {
        let context = context(&pending.apply_id, timeout);
        let lock = self.lock_table(&context).await?;
        if !self.tables.is_interrupted(owner) {
            // A request has applied the table since.
            return Ok(());
        }
        let current = self.current(&context, true).await?;
        let undo = offload(|| self.undo_of(owner, pending, &current));
        tracing::warn!(
            %owner,
            apply_id = pending.apply_id,
            principal = pending.principal,
            operations = pending.operations,
            executed = undo.len(),
            ?mode,
            "an apply was interrupted by the end of the daemon"
        );
        let old = self.tables.table(owner);
        match mode {
            Interrupted::Complete => {
                let new = pending.declared(owner, old.as_deref()).map(Arc::new);
                let options = ApplyOptions {
                    // It may have created services that belong to no table yet.
                    adopt: match pending.adopt {
                        Adopt::Any => Adopt::Any,
                        Adopt::None | Adopt::Unmanaged => Adopt::Unmanaged,
                    },
                    removal: pending.removal,
                    ..ApplyOptions::of_declared()
                };
                let declared = (old, new);
                self.apply_declared(&context, timeout, options, owner, declared, &current, lock)
                    .await
            }
            Interrupted::Undo => {
                let mut execution = Execution::new(self, &context, timeout);
                let results = execution.run(&undo, undo.len(), false, true).await;
                if execution.is_stopped {
                    return Ok(());
                }
                let failed = results
                    .iter()
                    .filter(|r| **r != CommandResult::Done)
                    .count();
                tracing::info!(%owner, undone = results.len() - failed, failed, "the apply was undone");
                let undone = vec![(owner.clone(), old.as_deref().cloned())];
                self.tables.put(undone, &context.author()).await?;
                drop(lock);
                Ok(())
            }
        }
    }

    /// Makes the kernel have what an owner declares, as far as possible.
    async fn restore_table(&self, owner: &Owner, timeout: Duration) -> Result<(), Error> {
        let context = context(&format!("restore-{owner}"), timeout);
        let lock = self.lock_table(&context).await?;
        // A request may have deleted it since.
        let Some(table) = self.tables.table(owner) else {
            return Ok(());
        };
        let current = self.current_of_tables(&context).await?;
        let options = ApplyOptions {
            // After a boot, one service that fails must not take the others with it.
            on_failure: OnFailure::Continue,
            ..ApplyOptions::of_declared()
        };
        let declared = (Some(table.clone()), Some(table));
        self.apply_declared(&context, timeout, options, owner, declared, &current, lock)
            .await
    }

    /// Applies what an owner declares from now on, after what it has declared, however long it takes.
    #[allow(clippy::too_many_arguments, reason = "what an apply consists of")]
    async fn apply_declared<L: Send + 'static>(
        &self,
        context: &RequestContext,
        timeout: Duration,
        options: ApplyOptions,
        owner: &Owner,
        (old, new): (Option<Arc<DeclaredTable>>, Option<Arc<DeclaredTable>>),
        current: &Current,
        lock: L,
    ) -> Result<(), Error> {
        let declared = new.clone();
        let services = declared.as_ref().map(|table| table.target());
        let services = services.unwrap_or_default();
        let owner = owner.clone();
        let prepare = || {
            self.prepare(
                context, timeout, owner, options, old, new, &services, current,
            )
        };
        let apply = offload(prepare)?;
        let report = self.run_to_end(lock, apply.run()).await?;
        report.failure.map_or(Ok(()), Err)
    }
}

// === impl Pending ===

impl Pending {
    /// The table that it declares, after the old one.
    pub(super) fn declared(
        &self,
        owner: &Owner,
        old: Option<&DeclaredTable>,
    ) -> Option<DeclaredTable> {
        let declares = self.declares.as_ref()?;
        let services = declares.services(services_of(old));
        let director = declares.director.clone();
        Some(declare(owner, old, services, declares.settings, director))
    }
}

/// The context of what the daemon does by itself.
pub(super) fn context(id: &str, timeout: Duration) -> RequestContext {
    RequestContext::new(RequestId::new(id), timeout)
}
