//! Snapshots of what no table declares, to be restored after a boot.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::sleep;

use super::{
    declared::{Services, changed, gone},
    list::declared,
    recovery::context,
    registry::Registry,
};
use crate::{
    app::{
        App,
        described::in_kernel_order,
        operations::{Current, Execution, PlannedStep},
    },
    executor::{CommandResult, offload},
    model::{Director, Error, Kept, Reason, StoredTarget, TargetService, diff_with_director},
    store::{Collection, StoreError, WriteBatch},
};

/// What was in the kernel and in no table.
#[derive(Debug, Default, PartialEq, Eq)]
struct Snapshot {
    services: Services,
    director: Director,
}

/// Services of the snapshot, by their ids.
const SERVICES: Collection<TargetService> = Collection::new("snapshot-services");
/// The timeouts and sync daemons of the snapshot, by [`DIRECTOR_KEY`].
const DIRECTOR: Collection<Director> = Collection::new("snapshot-director");
const DIRECTOR_KEY: &str = "director";

// === impl App ===

impl App {
    /// Takes a snapshot at each interval, until the daemon ends.
    pub async fn keep_snapshots(&self, interval: Duration, timeout: Duration) {
        let mut has_failed = false;
        loop {
            sleep(interval).await;
            let taken = self.take_snapshot(timeout).await;
            if let Some(error) = taken.as_ref().err().filter(|_| !has_failed) {
                tracing::warn!(%error, "a snapshot cannot be taken; the last one is kept");
            }
            has_failed = taken.is_err();
        }
    }

    /// Stores the services, timeouts and sync daemons of the kernel that no table declares. The last snapshot stays if
    /// they cannot be read, while a table is applied, and as long as it may still be needed.
    pub async fn take_snapshot(&self, timeout: Duration) -> Result<(), Error> {
        if !self.tables.may_replace_snapshot.load(Ordering::Acquire) {
            return Ok(());
        }
        let context = context("snapshot", timeout);
        self.tables.available()?;
        let _lock = self.lock_table(&context).await?;
        if !self.tables.applying().is_empty() {
            return Ok(());
        }
        let current = self.current(&context, true).await?;
        let batch = offload(|| {
            let now = Snapshot::of(&current, &self.tables);
            now.write(&Snapshot::load(&self.tables)?)
        })?;
        match batch.is_empty() {
            true => Ok(()),
            false => Ok(self.store().write(batch).await?),
        }
    }

    /// Creates what the snapshot has and no table declares. Fails if some of it cannot be created: the snapshot is to
    /// stay then.
    pub(super) async fn restore_snapshot(&self, timeout: Duration) -> Result<(), Error> {
        let context = context("restore-snapshot", timeout);
        let _lock = self.lock_table(&context).await?;
        let current = self.current(&context, true).await?;
        let steps = offload(|| {
            let snapshot = Snapshot::load(&self.tables)?;
            Ok::<_, StoreError>(snapshot.steps(&current, self))
        })?;
        if steps.is_empty() {
            return Ok(());
        }
        tracing::info!(
            operations = steps.len(),
            "restoring the snapshot of what no table declares"
        );
        let mut execution = Execution::new(self, &context, timeout);
        let results = execution.run(&steps, steps.len(), false, true).await;
        let is_done = |result: &CommandResult| *result == CommandResult::Done;
        let done = results.iter().filter(|result| is_done(result)).count();
        // The last result of one that stops is its error.
        let mut executed = steps.iter().zip(&results);
        let Some((step, result)) = executed.find(|(_, result)| !is_done(result)) else {
            tracing::info!(done, "the snapshot was restored");
            return Ok(());
        };
        let service = step.op.service().map(|key| format!(" of {key}"));
        let detail = format!(
            "{} of {} operations failed, first {}{}: {result:?}",
            steps.len() - done,
            steps.len(),
            step.op.name(),
            service.unwrap_or_default(),
        );
        Err(Error::new(Reason::ApplyFailed, detail))
    }
}

// === impl Snapshot ===

impl Snapshot {
    /// Of what the kernel has.
    fn of(current: &Current, tables: &Registry) -> Self {
        let claims = tables.claims();
        let services = current.table.iter();
        let services = services.filter(|entry| !claims.contains_key(&entry.service.key));
        let director = tables.undeclared(Director {
            timeouts: current.director.timeouts,
            sync_daemons: current.director.sync_daemons.as_ref().map(|daemons| {
                let daemons = daemons.iter().copied();
                daemons.map(Into::into).collect()
            }),
        });
        Self {
            services: services
                .map(|entry| (entry.service.key, Arc::new(declared(entry))))
                .collect(),
            director,
        }
    }

    /// The stored one. Blocks.
    fn load(tables: &Registry) -> Result<Self, StoreError> {
        let store = tables.store();
        let services = store.load_if_available(&SERVICES)?.into_iter();
        let director = store.load_if_available(&DIRECTOR)?.into_iter();
        Ok(Self {
            services: services
                .map(|(_, service)| (service.key, Arc::new(service)))
                .collect(),
            director: director
                .map(|(_, director)| director)
                .next()
                .unwrap_or_default(),
        })
    }

    /// What differs from the stored one.
    fn write(&self, stored: &Self) -> Result<WriteBatch, StoreError> {
        let mut batch = WriteBatch::new();
        let (before, after) = (&stored.services, &self.services);
        for key in gone(before, after) {
            batch.delete(&SERVICES, key.to_string())?;
        }
        for (key, service) in changed(before, after) {
            batch.put(&SERVICES, key.to_string(), service)?;
        }
        if self.director != stored.director {
            batch.put(&DIRECTOR, DIRECTOR_KEY, &self.director)?;
        }
        Ok(batch)
    }

    /// The operations that make what it has.
    fn steps(self, current: &Current, app: &App) -> Vec<PlannedStep> {
        let (tables, kept) = (&app.tables, app.kept.all());
        let claims = tables.claims();
        let services = self.services.values();
        let services = services.filter(|service| !claims.contains_key(&service.key));
        let target: Vec<_> = services
            .map(|service| TargetService {
                servers: in_kernel_order(&service.servers),
                // They are stored apart, with each change.
                stored: StoredTarget::exactly(Kept::stored(&kept.of(service.key)).clone()),
                ..**service
            })
            .collect();
        let keys: BTreeSet<_> = target.iter().map(|service| service.key).collect();
        let entries = current.table.iter();
        let entries = entries.filter(|entry| keys.contains(&entry.service.key));
        let director = tables.undeclared(self.director);
        let director = (&current.director, &Director::NONE, &director);
        let make = diff_with_director(entries, &target, director).make;
        make.into_iter()
            .map(|change| PlannedStep::new(change, None))
            .collect()
    }
}
