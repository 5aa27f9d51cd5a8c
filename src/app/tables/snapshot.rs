//! Snapshots of what no table declares, to be restored after a boot.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::sleep;

use super::{list::declared, registry::Registry};
use crate::{
    app::{
        App, RequestContext, RequestId,
        described::in_kernel_order,
        operations::{Current, Execution, PlannedStep},
    },
    executor::{CommandResult, offload},
    model::{Director, Error, ServiceKey, TargetService, diff_with_director},
    store::{Collection, StoreError, WriteBatch},
};

/// What was in the kernel and in no table.
#[derive(Debug, Default, PartialEq, Eq)]
struct Snapshot {
    services: BTreeMap<ServiceKey, Arc<TargetService>>,
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
    /// they cannot be read, and until it is restored, or not to be restored.
    pub async fn take_snapshot(&self, timeout: Duration) -> Result<(), Error> {
        let Some(unrestored) = self.tables.unrestored().clone() else {
            return Ok(());
        };
        let context = context("snapshot", timeout);
        self.tables.available()?;
        let current = self.current(&context, true).await?;
        let batch = offload(|| {
            let mut now = Snapshot::of(&current, &self.tables);
            let stored = Snapshot::load(&self.tables)?;
            // What could not be restored is no loss that anybody wants.
            for key in &unrestored {
                if let Some(service) = stored.services.get(key) {
                    now.services.entry(*key).or_insert_with(|| service.clone());
                }
            }
            now.write(&stored)
        })?;
        match batch.is_empty() {
            true => Ok(()),
            false => Ok(self.store().write(batch).await?),
        }
    }

    /// Creates and edits what the snapshot has and no table declares. Deletes nothing. Returns the services that could
    /// not be restored.
    pub(super) async fn restore_snapshot(
        &self,
        timeout: Duration,
    ) -> Result<BTreeSet<ServiceKey>, Error> {
        let context = context("restore-snapshot", timeout);
        let _lock = self.lock_table(&context).await?;
        let current = self.current(&context, true).await?;
        let steps = offload(|| {
            let snapshot = Snapshot::load(&self.tables)?;
            Ok::<_, StoreError>(snapshot.steps(&current, &self.tables))
        })?;
        if steps.is_empty() {
            return Ok(BTreeSet::new());
        }
        tracing::info!(
            operations = steps.len(),
            "restoring the snapshot of what no table declares"
        );
        let mut execution = Execution::new(self, &context, timeout);
        let results = execution.run(&steps, steps.len(), false, true).await;
        let failed = steps.iter().zip(&results);
        let failed = failed.filter(|(_, result)| **result != CommandResult::Done);
        let mut unrestored = BTreeSet::new();
        for (step, result) in failed {
            unrestored.extend(step.op.service());
            let service = step.op.service().map(tracing::field::display);
            let server = step.op.server().map(tracing::field::display);
            tracing::warn!(
                operation = step.op.name(),
                service,
                server,
                ?result,
                "a part of the snapshot cannot be restored; the snapshot keeps it"
            );
        }
        tracing::info!(
            done = results
                .iter()
                .filter(|result| **result == CommandResult::Done)
                .count(),
            services_failed = unrestored.len(),
            "the snapshot was restored"
        );
        Ok(unrestored)
    }
}

// === impl Registry ===

impl Registry {
    /// Permits snapshots, which keep these services.
    pub(super) fn permit_snapshots(&self, unrestored: BTreeSet<ServiceKey>) {
        *self.unrestored() = Some(unrestored);
    }

    fn unrestored(&self) -> MutexGuard<'_, Option<BTreeSet<ServiceKey>>> {
        let unrestored = self.unrestored.lock();
        unrestored.unwrap_or_else(PoisonError::into_inner)
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
        for key in stored.services.keys() {
            if !self.services.contains_key(key) {
                batch.delete(&SERVICES, key.to_string())?;
            }
        }
        for (key, service) in &self.services {
            if stored.services.get(key) != Some(service) {
                batch.put(&SERVICES, key.to_string(), service)?;
            }
        }
        if self.director != stored.director {
            batch.put(&DIRECTOR, DIRECTOR_KEY, &self.director)?;
        }
        Ok(batch)
    }

    /// The operations that create and edit what it has.
    fn steps(self, current: &Current, tables: &Registry) -> Vec<PlannedStep> {
        let claims = tables.claims();
        let services = self.services.values();
        let services = services.filter(|service| !claims.contains_key(&service.key));
        let target: Vec<_> = services
            .map(|service| TargetService {
                servers: in_kernel_order(&service.servers),
                ..TargetService::clone(service)
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

/// The context of what the daemon does by itself.
fn context(id: &str, timeout: Duration) -> RequestContext {
    RequestContext::new(RequestId::new(id), timeout)
}
