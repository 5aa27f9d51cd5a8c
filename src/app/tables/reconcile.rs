//! The task that compares declared tables with the kernel's, and reports or repairs what differs.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::time::sleep;

use super::{
    declared::DeclaredTable,
    options::ApplyOptions,
    recovery::context,
    repairs::{Conflict, Object, Repairs},
    run::Apply,
};
use crate::{
    app::{App, ApplyReport, RequestContext, operations::Current},
    executor::offload,
    model::{Error, OnFailure, Op, Owner, Reconcile},
};

/// What the task has said last.
#[derive(Default)]
struct Said {
    /// Operations that each table under `report` needs.
    drift: BTreeMap<Owner, usize>,
    /// Whether a comparison has failed since the last that succeeded.
    has_failed: bool,
}

/// Time between two comparisons.
const INTERVAL: Duration = Duration::from_secs(2);
/// Time between two comparisons, as a multiple of the time that one takes: 5 % of a processor at most.
const LOAD: u32 = 20;
/// Longest time between two comparisons, also on a machine that is too busy for them.
const MAX_INTERVAL: Duration = Duration::from_secs(10);
/// Operations of one repair of a table. The others follow with the next comparison.
const MAX_OPERATIONS: usize = 1000;

// === impl App ===

impl App {
    /// Compares the tables under `report` and `repair` with the kernel's from time to time, until the daemon
    /// ends. Requests and the end of an interrupted apply come first. Also deletes the records of applies that the
    /// store did not delete when these ended.
    pub async fn reconcile_tables(&self, timeout: Duration) {
        let mut said = Said::default();
        loop {
            let tables = self.tables.reconciled();
            if tables.is_empty() && !self.tables.has_ended() {
                said.drift.clear();
                self.tables.woken.notified().await;
                continue;
            }
            let start = Instant::now();
            let outcome = self.reconcile(tables, timeout, &mut said).await;
            if let Some(error) = outcome.as_ref().err().filter(|_| !said.has_failed) {
                tracing::warn!(%error, "the declared tables cannot be compared with the kernel's");
            }
            said.has_failed = outcome.is_err();
            sleep((start.elapsed() * LOAD).clamp(INTERVAL, MAX_INTERVAL)).await;
        }
    }

    /// One comparison of all tables.
    #[cfg(test)]
    pub(in crate::app) async fn reconcile_now(&self) -> Result<(), Error> {
        let tables = self.tables.reconciled();
        self.reconcile(tables, Duration::from_secs(30), &mut Said::default())
            .await
    }

    /// The objects of a table under repair that other programs keep changing.
    pub(super) fn conflicts_of(&self, owner: &Owner) -> Vec<Conflict> {
        let all = self.tables.repairs();
        let conflicts = |repairs: &Repairs| repairs.conflicts(Instant::now(), Timestamp::now());
        all.get(owner).map(conflicts).unwrap_or_default()
    }

    async fn reconcile(
        &self,
        tables: Vec<Arc<DeclaredTable>>,
        timeout: Duration,
        said: &mut Said,
    ) -> Result<(), Error> {
        let context = context("reconcile", timeout);
        if self.tables.has_ended() {
            let _lock = self.lock_table(&context).await?;
            // The store logs why it fails. The next turn tries again.
            let _ = self.tables.clear_ended().await;
        }
        if tables.is_empty() {
            return Ok(());
        }
        let current = self.current_of_tables(&context).await?;
        said.drift.retain(|owner, _| {
            let reports =
                |table: &&Arc<DeclaredTable>| table.state.settings.reconcile == Reconcile::Report;
            tables
                .iter()
                .filter(reports)
                .any(|table| table.owner == *owner)
        });
        let mut outcome = Ok(());
        for table in tables {
            if self.tables.is_applying(&table.owner) {
                continue;
            }
            let drift = offload(|| self.drift_of(&context, &table, &current));
            if let Ok(drift) = &drift {
                self.tables.compared(&table, !drift.operations.is_empty());
            }
            let compared = match (drift, table.state.settings.reconcile) {
                (Err(error), _) => Err(error),
                (Ok(drift), Reconcile::Repair) => self.repair(&table.owner, &drift, timeout).await,
                (Ok(drift), _) => {
                    said.note(&table.owner, &drift);
                    Ok(())
                }
            };
            outcome = outcome.and(compared);
        }
        outcome
    }

    /// Repairs what is due of a table that drifts.
    async fn repair(
        &self,
        owner: &Owner,
        drift: &ApplyReport,
        timeout: Duration,
    ) -> Result<(), Error> {
        let now = Instant::now();
        let drifted: HashSet<_> = drift
            .operations
            .iter()
            .filter_map(|it| Object::of(&it.op))
            .collect();
        let is_due = self.with_repairs(owner, |repairs| {
            repairs.forget(&drifted, now);
            drifted.iter().any(|object| repairs.is_due(*object, now))
        });
        if !is_due {
            return Ok(());
        }
        let context = context(&format!("repair-{owner}"), timeout);
        let lock = self.lock_table(&context).await?;
        // A request may have changed or deleted it since.
        let table = self.tables.table(owner);
        let repairs =
            |table: &Arc<DeclaredTable>| table.is_repaired() && !self.tables.is_applying(owner);
        let Some(table) = table.filter(repairs) else {
            return Ok(());
        };
        let current = self.current_of_tables(&context).await?;
        let apply = offload(|| self.due_repair(&context, &table, &current, timeout))?;
        drop(current);
        let objects: Vec<_> = apply.operations().filter_map(Object::of).collect();
        if objects.is_empty() {
            return Ok(());
        }
        let conflicts = self.with_repairs(owner, |repairs| repairs.note(objects, now));
        for object in conflicts {
            tracing::warn!(%owner, %object,
                "another program keeps changing what the table declares; it is repaired more and more rarely");
        }
        let report = self.run_to_end(lock, apply.run()).await?;
        if let Some(error) = &report.failure {
            tracing::warn!(%owner, %error, "a table cannot be repaired as a whole");
        }
        Ok(())
    }

    /// The operations that repair what is due, at most [`MAX_OPERATIONS`].
    fn due_repair(
        &self,
        context: &RequestContext,
        table: &Arc<DeclaredTable>,
        current: &Current,
        timeout: Duration,
    ) -> Result<Apply, Error> {
        let options = ApplyOptions {
            // What fails must not take the others with it.
            on_failure: OnFailure::Continue,
            ..ApplyOptions::of_declared()
        };
        let mut apply = self.prepare(
            context,
            timeout,
            table.owner.clone(),
            options,
            Some(table.clone()),
            Some(table.clone()),
            &table.target(),
            current,
        )?;
        let now = Instant::now();
        let mut left_out = HashSet::new();
        let mut count = 0;
        self.with_repairs(&table.owner, |repairs| {
            apply.retain(|op| {
                let is_due = Object::of(op).is_none_or(|object| repairs.is_due(object, now));
                // The servers of a service that is not created now cannot be either.
                let has_service = !op.service().is_some_and(|key| left_out.contains(&key));
                // A sync daemon is stopped and started.
                let fits = count < MAX_OPERATIONS || op.is_of_director();
                let is_kept = is_due && has_service && fits;
                count += usize::from(is_kept);
                if let (false, Op::CreateService(key, ..)) = (is_kept, op) {
                    left_out.insert(*key);
                }
                is_kept
            });
        });
        Ok(apply)
    }

    fn with_repairs<T>(&self, owner: &Owner, of: impl FnOnce(&mut Repairs) -> T) -> T {
        of(self.tables.repairs().entry(owner.clone()).or_default())
    }
}

// === impl Said ===

impl Said {
    /// Logs that a table drifts, or does not any more, if that is news.
    fn note(&mut self, owner: &Owner, drift: &ApplyReport) {
        let operations = drift.operations.len();
        let before = match operations {
            0 => self.drift.remove(owner),
            _ => self.drift.insert(owner.clone(), operations),
        };
        match (before, drift.operations.first()) {
            (Some(before), Some(_)) if before == operations => {}
            (_, Some(first)) => {
                let service = first.op.service().map(tracing::field::display);
                let server = first.op.server().map(tracing::field::display);
                tracing::warn!(%owner, operations, first = first.op.name(), service, server,
                    "the kernel does not have what the table declares");
            }
            (Some(_), None) => {
                tracing::info!(%owner, "the kernel has what the table declares again")
            }
            (None, None) => {}
        }
    }
}
