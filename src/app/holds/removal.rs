//! The removal of servers that are drained: those of requests, and those that tables do not declare any more.

use std::sync::Arc;

use super::task::removal_context;
use crate::{
    app::{App, Guard, RequestContext},
    executor::{Held, Nothing, Plan, ServiceWithServersQuery, Step, Transaction},
    identity::Verb,
    model::{
        Drain, DrainRequest, DrainState, DrainTarget, Error, Hold, HoldId, Op, Owner, ServerKey,
        ServiceEntry, ServiceKey, Then,
    },
};

/// How the servers that a table does not declare any more are removed.
#[derive(Clone, Debug)]
pub(in crate::app) struct TableDrains {
    /// The owner of the table.
    pub owner: Owner,
    /// Seconds until they are deleted with the connections that they have; `None`: no limit.
    pub deadline_seconds: Option<u32>,
}

// === impl App ===

impl App {
    /// Drains servers that a table does not declare any more, each with its intended weight, and returns the ids of
    /// the drains in their order. Each server is deleted when it has no connections, or at the deadline. The drains
    /// are stored before the kernel is changed. An error says that there are none.
    ///
    /// The caller holds the lock of the whole table.
    pub(in crate::app) async fn begin_table_drains(
        &self,
        context: &RequestContext,
        of: &TableDrains,
        servers: &[(ServiceKey, ServerKey, u32)],
    ) -> Result<Vec<HoldId>, Error> {
        let TableDrains {
            owner,
            deadline_seconds,
        } = of;
        let drains = servers.iter().map(|(service, server, weight)| {
            let id = self.hold_registry.new_id();
            let request = DrainRequest {
                target: DrainTarget::Server(*server),
                services: Some(vec![*service]),
                deadline_seconds: *deadline_seconds,
                then: Then::Remove,
            };
            let mut drain = Drain::new(id, request);
            drain.table = Some(owner.clone());
            // Without a member, it would be over at the first look that fails.
            let held = Held {
                weight: *weight,
                holds: vec![Hold::drain(id)],
                is_applied: false,
                is_stored: false,
            };
            drain.join(*service, *server, held.weight, held.effective_weight());
            drain
        });
        let drains: Vec<_> = drains.collect();
        let ids: Vec<_> = drains.iter().map(|drain| drain.id).collect();
        self.hold_registry.begin_drains(drains).await?;
        self.start_hold_task();
        let (principal, drains) = (&context.principal, servers.len());
        tracing::info!(%principal, %owner, drains, "servers drain that the table does not declare any more");
        let services = servers.iter().map(|(service, ..)| *service).collect();
        // The task tries again.
        if let Err(error) = self.look_after(context, services, None).await {
            tracing::warn!(%error, %owner, "servers that drain do not have the weight 0 yet");
        }
        self.hold_registry.show_new(&ids, &context.author());
        Ok(ids)
    }

    /// Cancels the drains of tables whose servers are declared again. The caller holds the lock of the whole table.
    pub(in crate::app) async fn cancel_redeclared(
        &self,
        context: &RequestContext,
    ) -> Result<(), Error> {
        let is_declared = |(service, server)| {
            let owner = self.tables.declarer(service, server);
            // Before the end of an apply, that is what was declared before it.
            owner.is_some_and(|owner| !self.tables.is_applying(&owner))
        };
        let cancelled: Vec<_> = {
            let all = self.hold_registry.all();
            let active = all.active_drains();
            let of_tables = active.filter(|drain| drain.table.is_some());
            let declared = of_tables.filter(|drain| drain.held_members().any(is_declared));
            declared
                .map(|drain| (drain.id, DrainState::Cancelled))
                .collect()
        };
        self.end_drains(context, &cancelled).await
    }

    /// Deletes the servers of drains that are over. Puts it off to the next look while the table is made, because
    /// what is declared then may not be what was declared before.
    pub(super) async fn remove_drained(&self, context: &RequestContext) -> Result<(), Error> {
        let is_due = |drain: &&Drain| drain.removes() || drain.table.is_some();
        let is_nothing_due = {
            let all = self.hold_registry.all();
            let mut active = all.active_drains();
            !active.any(|drain| is_due(&drain))
        };
        if is_nothing_due {
            return Ok(());
        }
        let Some(lock) = self.write_path.try_lock_table() else {
            return Ok(());
        };
        self.cancel_redeclared(context).await?;
        let due: Vec<_> = {
            let all = self.hold_registry.all();
            let due = all.drains.values().filter(|drain| drain.removes());
            due.cloned().collect()
        };
        let mut ended = Vec::new();
        for drain in due {
            match self.remove_servers(&drain).await {
                Ok(true) => ended.push((drain.id, drain.state)),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%error, drain = %drain.id, "a drain cannot go on; it is tried again");
                }
            }
        }
        let outcome = self.end_drains(context, &ended).await;
        drop(lock);
        outcome
    }

    async fn end_drains(
        &self,
        context: &RequestContext,
        ended: &[(HoldId, DrainState)],
    ) -> Result<(), Error> {
        if ended.is_empty() {
            return Ok(());
        }
        for (id, state) in ended {
            tracing::info!(drain = %id, ?state, "drain ended");
        }
        let author = context.author();
        self.hold_registry.end_drains(ended, &author).await?;
        let ids: Vec<_> = ended.iter().map(|(id, _)| *id).collect();
        self.release(context, &ids).await;
        Ok(())
    }

    /// Deletes the servers of a drain. Returns whether that ends it.
    async fn remove_servers(&self, drain: &Drain) -> Result<bool, Error> {
        let context = removal_context(drain.id);
        for (service, server) in drain.held_members() {
            if let Some(owner) = self.tables.declarer(service, server) {
                if drain.table.is_some() {
                    // Until it is known how an apply that was interrupted ends.
                    return Ok(false);
                }
                tracing::info!(%service, %server, %owner, "not removed: a table declares it now");
                continue;
            }
            self.delete_server(&context, service, server, true, Guard::None)
                .await?;
            if drain.table.is_some() && !self.tables.claims().contains_key(&service) {
                self.delete_empty_service(&context, service).await?;
            }
        }
        Ok(true)
    }

    /// Deletes a service that no table declares any more, if it has no servers.
    async fn delete_empty_service(
        &self,
        context: &RequestContext,
        service: ServiceKey,
    ) -> Result<(), Error> {
        let plan = move |found: &Option<Arc<ServiceEntry>>| {
            let empty = found.as_deref().filter(|entry| entry.servers.is_empty());
            let delete = empty.map(|entry| {
                let create = Op::CreateService(
                    service,
                    entry.service.config,
                    entry.service.stored().clone(),
                );
                Step::new(Op::DeleteService(service), create)
            });
            Ok(Plan::of(delete))
        };
        let query = ServiceWithServersQuery(service);
        let transaction = Transaction::repeated(query, plan, Nothing).named("delete_service");
        let deleted = self.write(context, Verb::DeleteService, transaction);
        deleted.await.map(drop)
    }
}
