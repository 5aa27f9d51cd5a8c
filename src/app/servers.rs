//! Real servers.

use std::{collections::HashMap, sync::Arc};

use super::{
    Answer, App, Guard, RequestContext, Written, deleted_since, described::new_servers,
    services::create_server_step,
};
use crate::{
    executor::{
        Check, FoundServer, Nothing, Plan, ServerQuery, ServersQuery, ServiceQuery,
        ServiceWithServersQuery, Step, Transaction, TypedQuery,
    },
    identity::Verb,
    model::{
        Error, Op, Reason, Server, ServerConfig, ServerDraft, ServerKey, ServiceEntry, ServiceKey,
        both,
    },
};

/// A server as it is read: `None` if its service does not exist.
type Found = Option<FoundServer>;

/// Servers of a service up to which a change of one is checked: they fit the first datagram of the
/// dump that the check reads, which the kernel fills right before the change.
const MAX_CHECKED: usize = 64;

impl App {
    /// One server.
    pub async fn server(
        &self,
        context: &RequestContext,
        service: ServiceKey,
        server: ServerKey,
    ) -> Result<Answer<Server>, Error> {
        let query = ServerQuery(service, server);
        let Answer { value, age } = self.read(context, query).await?.into();
        let found = value.ok_or_else(|| Error::service_not_found(service))?;
        let value = found
            .server
            .ok_or_else(|| Error::server_not_found(service, server))?;
        Ok(Answer { value, age })
    }

    /// Creates a server (ipvsadm -a). Fails with `SERVER_EXISTS` if it exists.
    pub async fn create_server(
        &self,
        context: &RequestContext,
        service: ServiceKey,
        draft: ServerDraft,
    ) -> Result<Written<Server>, Error> {
        let (server, config) = draft.new_server(service)?;
        // No precondition: the kernel reports a missing service and an existing server.
        let plan = Plan::of([Op::CreateServer(service, server, config).into()]).creating();
        let read_back = ServerQuery(service, server);
        let transaction =
            Transaction::new(Nothing, |()| Ok(plan), read_back).named("create_server");
        let created = self
            .write_server(context, Verb::CreateServer, service, server, transaction)
            .await;
        match created {
            Err(error) if context.resumed && error.reason == Reason::ServerExists => {
                let found = self.server(context, service, server).await?.value;
                match found.config == config {
                    true => Ok(Written {
                        value: found,
                        created: true,
                        changed: false,
                        server_order_differs: false,
                    }),
                    false => Err(error),
                }
            }
            created => created,
        }
    }

    /// Creates servers, all or none (ipvsadm -a), and returns them in the order of the drafts. Fails
    /// with `SERVER_EXISTS` if one exists.
    pub async fn create_servers(
        &self,
        context: &RequestContext,
        service: ServiceKey,
        drafts: Vec<ServerDraft>,
    ) -> Result<Written<Vec<Server>>, Error> {
        let servers = new_servers(&drafts, service, &[])?;
        let keys: Vec<_> = servers.iter().map(|server| server.key).collect();
        let is_resumed = context.resumed;
        // In the order of the list, like a sequence of ipvsadm -a.
        let plan = move |found: &Option<Arc<ServiceEntry>>| {
            let entry = found
                .as_ref()
                .ok_or_else(|| Error::service_not_found(service))?;
            let done = entry.configured().filter(|_| is_resumed);
            let done: HashMap<_, _> = done.map(|server| (server.key, server.config)).collect();
            let steps = servers.iter();
            let steps = steps.filter(|server| done.get(&server.key) != Some(&server.config));
            let steps = steps.map(|server| create_server_step(service, server));
            Ok(Plan::of(steps).creating())
        };
        let (read_back, name) = (ServersQuery(service), "create_servers");
        let executed = match is_resumed {
            true => {
                let precondition = ServiceWithServersQuery(service);
                let transaction = Transaction::new(precondition, plan, read_back).named(name);
                self.write(context, Verb::CreateServer, transaction).await?
            }
            false => {
                let precondition = ServiceQuery(service);
                let transaction = Transaction::new(precondition, plan, read_back).named(name);
                self.write(context, Verb::CreateServer, transaction).await?
            }
        };
        let written = Written::from(executed);
        written.try_map(|found| {
            let found = found.ok_or_else(|| deleted_since(Error::service_not_found(service)))?;
            let found: HashMap<_, _> = found.iter().map(|server| (server.key, server)).collect();
            let created = keys.into_iter().map(|key| {
                let server = found.get(&key).map(|server| Server::clone(server));
                server.ok_or_else(|| deleted_since(Error::server_not_found(service, key)))
            });
            created.collect()
        })
    }

    /// Creates or replaces a server (ipvsadm -a or -e).
    pub async fn replace_server(
        &self,
        context: &RequestContext,
        service: ServiceKey,
        server: ServerKey,
        draft: ServerDraft,
        guard: Guard,
    ) -> Result<Written<Server>, Error> {
        let named = draft.check_key(server);
        let config = match draft.create(service, server) {
            // What the server has may be sent back, even if it could not be created.
            Err(error) if named.is_ok() => {
                let query = ServerQuery(service, server);
                let found = self.read(context, query).await?.value;
                let present = found.and_then(|found| found.server);
                let present = present.map(|present| present.config);
                present.map_or(Err(error), |present| {
                    draft.replace(service, server, present)
                })
            }
            config => config,
        };
        let ((), config) = both(named, config)?;
        let conditional = matches!(guard, Guard::Matches(_));
        let plan = move |old: Option<&Server>| {
            let create = || Some(Op::CreateServer(service, server, config).into());
            Ok(match old {
                // A fallback server becomes one that is configured.
                Some(old) if old.is_fallback() => create(),
                None => create(),
                Some(old) if old.config == config => None,
                Some(old) => {
                    let step = set(service, old, config);
                    Some(match conditional {
                        true => step.checked(Check::Unchanged),
                        false => step,
                    })
                }
            })
        };
        let transaction =
            transaction(service, server, guard, context.resumed, plan).named("replace_server");
        self.write_server(context, Verb::UpdateWeight, service, server, transaction)
            .await
    }

    /// Changes the fields that the draft names and keeps the others (ipvsadm -e). With
    /// `create_missing`, creates a server that does not exist.
    pub async fn update_server(
        &self,
        context: &RequestContext,
        service: ServiceKey,
        server: ServerKey,
        draft: ServerDraft,
        guard: Guard,
        create_missing: bool,
    ) -> Result<Written<Server>, Error> {
        let named = draft.check_key(server);
        let conditional = matches!(guard, Guard::Matches(_));
        // Who may change weights only must not change more by the repetition of a merge.
        let may_change_all = context
            .principal
            .may(Verb::UpdateServer, Some(service), false);
        let merged = match may_change_all {
            Ok(()) => draft.clone(),
            Err(_) => {
                let mut weight = ServerDraft::default();
                weight.weight = draft.weight;
                weight
            }
        };
        let plan = move |old: Option<&Server>| match old {
            None if create_missing => {
                let ((), config) = both(named.clone(), draft.create(service, server))?;
                Ok(Some(Op::CreateServer(service, server, config).into()))
            }
            None => {
                let missing = || Error::server_not_found(service, server);
                Err(named.clone().err().unwrap_or_else(missing))
            }
            Some(old) if old.is_fallback() => Err(Error::of_fallback(service, server)),
            Some(old) => {
                let config = draft.update(service, server, old.config);
                let ((), config) = both(named.clone(), config)?;
                let check = || match conditional {
                    true => Check::Unchanged,
                    false => Check::MergeServer(merged.clone()),
                };
                let step = || set(service, old, config).checked(check());
                Ok((config != old.config).then(step))
            }
        };
        let transaction =
            transaction(service, server, guard, context.resumed, plan).named("update_server");
        self.write_server(context, Verb::UpdateWeight, service, server, transaction)
            .await
    }

    /// Deletes a server (ipvsadm -d). If it or its service does not exist, returns `false` with
    /// `allow_missing` and fails otherwise.
    pub async fn delete_server(
        &self,
        context: &RequestContext,
        service: ServiceKey,
        server: ServerKey,
        allow_missing: bool,
        guard: Guard,
    ) -> Result<bool, Error> {
        let allow_missing = allow_missing || context.resumed;
        let plan = move |found: &Found| {
            let old = found.as_ref().and_then(|found| found.server.as_ref());
            if old.is_none() && allow_missing {
                return Ok(Plan::nothing());
            }
            if found.is_none() {
                return Err(Error::service_not_found(service));
            }
            guard.check(old.map(|server| vec![server.etag()]).as_deref())?;
            let old = old.ok_or_else(|| Error::server_not_found(service, server))?;
            if old.is_fallback() {
                return Err(Error::of_fallback(service, server));
            }
            let create = Op::CreateServer(service, server, old.config);
            let delete = Step::new(Op::DeleteServer(service, server), create);
            Ok(Plan::of([delete]))
        };
        let query = ServerQuery(service, server);
        let transaction = Transaction::repeated(query, plan, Nothing).named("delete_server");
        Ok(self
            .write(context, Verb::DeleteServer, transaction)
            .await?
            .changed())
    }

    /// Executes a transaction that reads back a server.
    async fn write_server<P: TypedQuery>(
        &self,
        context: &RequestContext,
        verb: Verb,
        service: ServiceKey,
        server: ServerKey,
        transaction: Transaction<P, ServerQuery>,
    ) -> Result<Written<Server>, Error> {
        let written = Written::from(self.write(context, verb, transaction).await?);
        written.try_map(|found| {
            let found = found.ok_or_else(|| deleted_since(Error::service_not_found(service)))?;
            let server_not_found = || deleted_since(Error::server_not_found(service, server));
            found.server.ok_or_else(server_not_found)
        })
    }
}

/// A transaction that writes one server, planned from its current state.
fn transaction(
    service: ServiceKey,
    server: ServerKey,
    guard: Guard,
    is_resumed: bool,
    mut plan: impl FnMut(Option<&Server>) -> Result<Option<Step>, Error> + Send + 'static,
) -> Transaction<ServerQuery, ServerQuery> {
    let query = ServerQuery(service, server);
    let plan = move |found: &Found| {
        let found = found
            .as_ref()
            .ok_or_else(|| Error::service_not_found(service))?;
        let old = found.server.as_ref();
        let etags = old.map(|server| vec![server.etag()]);
        guard.plan(etags.as_deref(), is_resumed, || {
            let mut step = plan(old)?;
            if found.servers > MAX_CHECKED {
                step = step.map(|step| Step {
                    check: None,
                    ..step
                });
            }
            let plan = Plan::of(step);
            let creates = old.is_none_or(Server::is_fallback);
            Ok(match creates {
                true => plan.creating(),
                false => plan,
            })
        })
    };
    Transaction::repeated(query, plan, query)
}

/// A step that replaces the configuration of a server.
fn set(service: ServiceKey, old: &Server, config: ServerConfig) -> Step {
    Step::new(
        Op::SetServer(service, old.key, config),
        Op::SetServer(service, old.key, old.config),
    )
}
