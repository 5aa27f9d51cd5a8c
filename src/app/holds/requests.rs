//! Requests about drains and ramps.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;

use super::{all::Record, enforce::BeginningRamp};
use crate::{
    app::{App, RequestContext, attempt::event_of},
    audit::Event,
    executor::{Held, ServersOfQuery, TableQuery},
    identity::Verb,
    model::{
        Drain, DrainRequest, DrainTarget, Error, Hold, HoldId, Ramp, RampRequest, Reason, Server,
        ServerKey, ServiceKey, Then,
    },
};

/// The servers that a drain begins with.
type Found = Vec<(ServiceKey, Vec<Server>)>;

// === impl App ===

impl App {
    /// Drains servers: they get no new connections, and keep their intended weight. Returns the drain,
    /// and whether it was created: the same one that is requested again is returned as it is. Once it has begun, it
    /// runs to its end.
    pub async fn create_drain(
        &self,
        context: &RequestContext,
        request: DrainRequest,
    ) -> Result<(Drain, bool), Error> {
        let about = about(request.services.as_deref(), request.target);
        let created = self.created_drain(context, request).await;
        self.record_hold_request(context, "create_drain", about, &created);
        created
    }

    async fn created_drain(
        &self,
        context: &RequestContext,
        request: DrainRequest,
    ) -> Result<(Drain, bool), Error> {
        let (principal, dry_run) = (&context.principal, context.dry_run);
        for service in request.services.iter().flatten() {
            principal.may(Verb::Drain, Some(*service), dry_run)?;
        }
        let found = self.servers_to_drain(context, &request).await?;
        let services = permitted_services(context, &request, &found)?;
        if request.then == Then::Remove {
            self.refuse_declared(&found)?;
        }
        let request = DrainRequest {
            services,
            ..request
        };
        let drain = Drain::new(self.hold_registry.new_id(), request);
        if let Some(same) = self.same_drain(&drain) {
            return Ok((same, false));
        }
        if dry_run {
            return Ok((planned(drain, &found), true));
        }
        let members = found.iter().map(|(_, servers)| servers.len());
        self.hold_registry.check_drains(1, members.sum())?;
        let (app, context) = (self.clone(), context.clone());
        let services = found.into_iter().map(|(service, _)| service).collect();
        let work = async move { app.begin_drain(&context, drain, services).await };
        Ok((self.background_work().run(work).await?, true))
    }

    /// The servers that a drain would hold now. An error if a service that is named lacks the server.
    async fn servers_to_drain(
        &self,
        context: &RequestContext,
        request: &DrainRequest,
    ) -> Result<Found, Error> {
        let covered = |servers: &[Server]| -> Vec<Server> {
            let servers = servers.iter();
            servers
                .filter(|server| request.target.covers(server.key) && !server.is_fallback())
                .cloned()
                .collect()
        };
        let mut found = Vec::new();
        match &request.services {
            None => {
                self.may_list(context)?;
                let table = self.run_query(context, TableQuery).await?.value;
                for entry in table.iter() {
                    found.push((entry.service.key, covered(&entry.servers)));
                }
                found.retain(|(_, servers)| !servers.is_empty());
            }
            Some(services) => {
                let mut rest: &[ServiceKey] = services;
                while !rest.is_empty() {
                    let query = ServersOfQuery(Arc::from(rest));
                    let read = self.run_query(context, query).await?.value;
                    for (service, servers) in rest.iter().zip(read.iter()) {
                        let servers = servers.as_ref();
                        let servers = servers.ok_or_else(|| Error::service_not_found(*service))?;
                        let servers = covered(servers);
                        if servers.is_empty() {
                            return Err(lacks(*service, request.target));
                        }
                        found.push((*service, servers));
                    }
                    rest = rest.get(read.len().max(1)..).unwrap_or_default();
                }
            }
        }
        Ok(found)
    }

    /// Refuses the removal of servers that a table declares.
    fn refuse_declared(&self, found: &Found) -> Result<(), Error> {
        for (service, servers) in found {
            let owner = |server: &Server| self.tables.declarer(*service, server.key);
            let declared = servers
                .iter()
                .find_map(|server| Some((server, owner(server)?)));
            if let Some((server, owner)) = declared {
                let detail = format!(
                    "the table of {owner} declares the server {} of {service}; nothing was changed",
                    server.key
                );
                return Err(Error::new(Reason::ServiceOwned, detail)
                    .with_hint("drain it with then=keep, or remove it from the table"));
            }
        }
        Ok(())
    }

    fn same_drain(&self, drain: &Drain) -> Option<Drain> {
        let all = self.hold_registry.all();
        let same = all.drains.values().find(|other| {
            other.is_active()
                && other.server == drain.server
                && other.services == drain.services
                && other.then == drain.then
                && other.table == drain.table
                && other.deadline_seconds == drain.deadline_seconds
        });
        same.cloned()
    }

    async fn begin_drain(
        &self,
        context: &RequestContext,
        drain: Drain,
        services: BTreeSet<ServiceKey>,
    ) -> Result<Drain, Error> {
        let id = drain.id;
        self.hold_registry.begin_drains(vec![drain.clone()]).await?;
        self.start_hold_task();
        let (principal, server) = (&context.principal, drain.server);
        tracing::info!(%principal, drain = %id, %server, "drain created");
        // The task tries again.
        if let Err(error) = self.look_after(context, services, None).await {
            tracing::warn!(%error, drain = %id, "the servers of a drain do not have the weight 0 yet");
        }
        self.update_drains(context).await;
        self.hold_registry.show_new(&[id], &context.author());
        Ok(self.hold_registry.get(id).unwrap_or(drain))
    }

    /// A drain.
    pub fn drain(&self, context: &RequestContext, id: HoldId) -> Result<Drain, Error> {
        self.visible(context, id)
    }

    /// A ramp.
    pub fn ramp(&self, context: &RequestContext, id: HoldId) -> Result<Ramp, Error> {
        self.visible(context, id)
    }

    /// A drain or ramp that the principal may read.
    fn visible<T: Record>(&self, context: &RequestContext, id: HoldId) -> Result<T, Error> {
        self.may_list(context)?;
        let record = self.hold_registry.get(id);
        let sees = |record: &T| record.is_seen_by(&context.principal);
        record.filter(sees).ok_or_else(|| T::not_found(id))
    }

    /// Ends a drain: its servers get their intended weights, unless something else holds them. One that has ended
    /// is forgotten.
    pub async fn delete_drain(&self, context: &RequestContext, id: HoldId) -> Result<Drain, Error> {
        let drain: Option<Drain> = self.hold_registry.get(id);
        let about = drain.map_or((None, None), |drain| {
            about(drain.services.as_deref(), drain.server)
        });
        let deleted = self.deleted_drain(context, id).await;
        self.record_hold_request(context, "delete_drain", about, &deleted);
        deleted
    }

    async fn deleted_drain(&self, context: &RequestContext, id: HoldId) -> Result<Drain, Error> {
        let drain = self.drain(context, id)?;
        let (principal, dry_run) = (&context.principal, context.dry_run);
        if drain.services.is_none() {
            principal.may(Verb::Drain, None, dry_run)?;
        }
        for service in drain.member_services() {
            principal.may(Verb::Drain, Some(service), dry_run)?;
        }
        self.delete_hold(context, drain).await
    }

    /// Ends a drain or ramp, or forgets one that has ended.
    async fn delete_hold<T: Record>(
        &self,
        context: &RequestContext,
        mut record: T,
    ) -> Result<T, Error> {
        let id = record.key();
        let was_active = record.is_active();
        if was_active {
            record.cancel();
        }
        if context.dry_run {
            return Ok(record);
        }
        if !was_active {
            self.hold_registry.forget(id, &context.author()).await?;
            return Ok(record);
        }
        let (app, context) = (self.clone(), context.clone());
        let work = async move { app.end_hold(&context, id, T::cancel).await };
        let ended = self.background_work().run(work).await?;
        ended.ok_or_else(|| T::not_found(id))
    }

    /// Ends a drain or ramp, and releases its servers; `None` if there is none with this id.
    pub(super) async fn end_hold<T: Record>(
        &self,
        context: &RequestContext,
        id: HoldId,
        end: impl FnOnce(&mut T),
    ) -> Result<Option<T>, Error> {
        let ended = self.hold_registry.end(id, end, &context.author()).await?;
        self.release(context, &[id]).await;
        Ok(ended)
    }

    /// Ends the holds of drains or ramps that have ended, which is stored. What fails here is tried again by the task,
    /// and at the next start.
    pub(super) async fn release(&self, context: &RequestContext, ids: &[HoldId]) {
        let holds = self.hold_registry.holds();
        let mut services = BTreeSet::new();
        for id in ids {
            holds.close(*id);
            for member in holds.members(*id) {
                holds.remove(member, *id);
                services.insert(member.0);
            }
        }
        if let Err(error) = self.look_after(context, services, None).await {
            tracing::warn!(%error, holds = ids.len(), "servers do not have their intended weight yet");
        }
        if let Err(error) = self.hold_registry.persist().await {
            tracing::warn!(%error, holds = ids.len(), "it is not stored yet that servers are released");
            self.start_hold_task();
        }
    }

    /// Changes the weight of a server in steps. It replaces another ramp of the server.
    pub async fn create_ramp(
        &self,
        context: &RequestContext,
        request: RampRequest,
    ) -> Result<Ramp, Error> {
        let created = self.created_ramp(context, request).await;
        let about = (Some(request.service), Some(request.server));
        self.record_hold_request(context, "create_ramp", about, &created);
        created
    }

    async fn created_ramp(
        &self,
        context: &RequestContext,
        request: RampRequest,
    ) -> Result<Ramp, Error> {
        let RampRequest {
            service, server, ..
        } = request;
        let principal = &context.principal;
        principal.may(Verb::Ramp, Some(service), context.dry_run)?;
        let found = self.server(context, service, server).await?.value;
        let id = self.hold_registry.new_id();
        let ramp = Ramp::begin(id, request, found.effective_weight);
        if context.dry_run {
            return Ok(ramp);
        }
        self.hold_registry.check_ramp()?;
        let (app, context) = (self.clone(), context.clone());
        let work = async move {
            app.hold_registry.store_ramp(&ramp).await?;
            let begin = BeginningRamp {
                id,
                server,
                to: request.to,
            };
            let services = BTreeSet::from([service]);
            let begun = app.look_after(&context, services, Some(begin)).await;
            let holds = app.hold_registry.holds();
            if begun.is_err() || !holds.has(ramp.member(), id) {
                holds.remove(ramp.member(), id);
                if let Err(error) = app.hold_registry.forget(id, &context.author()).await {
                    tracing::warn!(%error, ramp = %id, "a ramp that has not begun cannot be deleted");
                }
                app.start_hold_task();
                let missing = || Error::server_not_found(service, server);
                return Err(begun.err().unwrap_or_else(missing));
            }
            let author = context.author();
            app.hold_registry.put(ramp.clone(), &author).await?;
            app.start_hold_task();
            Ok(ramp)
        };
        self.background_work().run(work).await
    }

    /// Ends a ramp: its server gets the weight of its end at once. One that has ended is forgotten.
    pub async fn delete_ramp(&self, context: &RequestContext, id: HoldId) -> Result<Ramp, Error> {
        let ramp: Option<Ramp> = self.hold_registry.get(id);
        let about = (
            ramp.as_ref().map(|ramp| ramp.service),
            ramp.as_ref().map(|ramp| ramp.server),
        );
        let deleted = self.deleted_ramp(context, id).await;
        self.record_hold_request(context, "delete_ramp", about, &deleted);
        deleted
    }

    async fn deleted_ramp(&self, context: &RequestContext, id: HoldId) -> Result<Ramp, Error> {
        let ramp = self.ramp(context, id)?;
        let principal = &context.principal;
        principal.may(Verb::Ramp, Some(ramp.service), context.dry_run)?;
        self.delete_hold(context, ramp).await
    }

    /// Records a request in the audit trail. A dry run is recorded only if it is refused.
    fn record_hold_request<T>(
        &self,
        context: &RequestContext,
        operation: &'static str,
        about: (Option<ServiceKey>, Option<ServerKey>),
        outcome: &Result<T, Error>,
    ) {
        let (service, server) = about;
        let event = Event {
            service,
            server,
            ..event_of(context, operation, outcome)
        };
        if !context.dry_run || event.outcome.is_refusal() {
            self.audit_log().record(event);
        }
    }
}

/// The service and the server of a drain for its record, if it is about one. Port 0 stands for all ports.
fn about(
    services: Option<&[ServiceKey]>,
    target: DrainTarget,
) -> (Option<ServiceKey>, Option<ServerKey>) {
    let service = match services {
        Some([service]) => Some(*service),
        _ => None,
    };
    let server = match target {
        DrainTarget::Server(key) => key,
        DrainTarget::Address(address) => ServerKey { address, port: 0 },
    };
    (service, Some(server))
}

/// The services of a drain, if the principal may drain the servers that were found, and remove them if that is
/// asked for. `None`: all services, also those that get such a server later, which are not within a scope.
fn permitted_services(
    context: &RequestContext,
    request: &DrainRequest,
    found: &Found,
) -> Result<Option<Vec<ServiceKey>>, Error> {
    let verbs = match request.then {
        Then::Keep => &[Verb::Drain][..],
        Then::Remove => &[Verb::Drain, Verb::DeleteServer],
    };
    let may = |service| -> Result<(), Error> {
        let mut decisions = verbs.iter();
        decisions.try_for_each(|verb| context.principal.may(*verb, service, context.dry_run))
    };
    for (service, _) in found {
        may(Some(*service))?;
    }
    match may(None) {
        Ok(()) if request.services.is_none() => Ok(None),
        Err(refusal) if found.is_empty() => Err(refusal),
        _ => Ok(Some(found.iter().map(|(service, _)| *service).collect())),
    }
}

/// The drain that a dry run shows.
fn planned(mut drain: Drain, found: &Found) -> Drain {
    for (service, servers) in found {
        for server in servers {
            let held = Held {
                weight: server.config.weight,
                holds: vec![Hold::drain(drain.id)],
                is_applied: false,
                is_stored: false,
            };
            drain.join(*service, server.key, held.weight, held.effective_weight());
        }
    }
    let seen: BTreeMap<_, _> = found.iter().map(|(key, servers)| (*key, servers)).collect();
    drain.see(&|service| seen.get(&service).map(|servers| Some(servers.as_slice())));
    drain.progress(Timestamp::now());
    drain
}

/// The error for a service that is named and does not have the server.
fn lacks(service: ServiceKey, target: DrainTarget) -> Error {
    match target {
        DrainTarget::Server(server) => Error::server_not_found(service, server),
        DrainTarget::Address(address) => Error::new(
            Reason::ServerNotFound,
            format!("{service} has no server with the address {address}"),
        ),
    }
}
