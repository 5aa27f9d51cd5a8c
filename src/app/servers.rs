//! Real servers.

use std::sync::Arc;

use super::{
    Answer, App, Guard, ListServers, RequestContext, ServerPage, Written, found, right_after,
    servers_of, service_not_found, services::created_servers,
};
use crate::{
    executor::{Change, Plan, Seen, Step},
    model::{Error, Op, Query, Reason, Server, ServerDraft, ServerKey, ServiceKey},
};

impl App {
    /// Lists the servers of a service, a page at a time.
    pub async fn list_servers(
        &self,
        context: &RequestContext,
        service: ServiceKey,
        list: ListServers,
    ) -> Result<Answer<ServerPage>, Error> {
        let estimation = self.estimation(context, list.include).await?;
        let answer = self.servers(context, service).await?;
        let page = ServerPage::of(&answer.value, &list, &self.options, estimation)?;
        Ok(answer.map(|_| page))
    }

    /// One server.
    pub async fn server(
        &self,
        context: &RequestContext,
        service: ServiceKey,
        server: ServerKey,
    ) -> Result<Answer<Server>, Error> {
        let answer = self.servers(context, service).await?;
        let found = server_of(&answer.value, server)
            .copied()
            .ok_or_else(|| server_not_found(service, server))?;
        Ok(answer.map(|_| found))
    }

    /// Creates a server; refused where it exists (ipvsadm -a).
    pub async fn create_server(
        &self,
        context: &RequestContext,
        service: ServiceKey,
        draft: ServerDraft,
    ) -> Result<Written<Server>, Error> {
        let server = draft
            .key(service)?
            .ok_or_else(|| Error::invalid("address", "is required"))?;
        let config = draft.create(service, server)?;
        // Whether the service is there and the server is not, the kernel says: no look is needed.
        let plan = Plan::of([Op::CreateServer(service, server, config).into()]).creating();
        let change = Change {
            look: None,
            decide: Box::new(|_| Ok(plan)),
            read_back: Some(Query::Servers(service)),
        };
        self.written(context, service, server, change).await
    }

    /// Creates servers, all or none; refused where one exists (ipvsadm -a). Returns them in the
    /// order of the drafts.
    pub async fn create_servers(
        &self,
        context: &RequestContext,
        service: ServiceKey,
        drafts: Vec<ServerDraft>,
    ) -> Result<Written<Vec<Server>>, Error> {
        let servers = created_servers(&drafts, service)?;
        let keys: Vec<_> = servers.iter().map(|(key, _)| *key).collect();
        // In the order of the list, as so many calls of ipvsadm -a would.
        let steps = servers.into_iter().enumerate().map(|(i, (key, config))| {
            Step::new(
                Op::CreateServer(service, key, config),
                Op::DeleteServer(service, key),
            )
            .at(format!("servers[{i}]"))
        });
        let plan = Plan::of(steps);
        let decide = move |seen: Option<&Seen>| found(seen, service).map(|_| plan);
        let change = Change {
            look: Some(Query::Service(service)),
            decide: Box::new(decide),
            read_back: Some(Query::Servers(service)),
        };
        let changed = self.executor.change(change, context.deadline).await?;
        let servers = servers_of(changed.seen.as_ref(), service).map_err(right_after)?;
        let there: std::collections::HashMap<_, _> =
            servers.iter().map(|server| (server.key, server)).collect();
        let value = keys
            .into_iter()
            .map(|key| {
                there
                    .get(&key)
                    .map(|s| **s)
                    .ok_or_else(|| vanished(service, key))
            })
            .collect::<Result<_, _>>()?;
        Ok(Written {
            value,
            created: true,
            changed: changed.changed,
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
        draft.check_key(service, server)?;
        let config = draft.create(service, server)?;
        self.write_server(context, service, server, guard, move |old| {
            Ok(match old {
                None => Some(Op::CreateServer(service, server, config)),
                Some(old) if old.config == config => None,
                Some(_) => Some(Op::SetServer(service, server, config)),
            })
        })
        .await
    }

    /// Changes what the draft names, keeps the rest. With `create_missing`, a server that is
    /// missing is created.
    pub async fn update_server(
        &self,
        context: &RequestContext,
        service: ServiceKey,
        server: ServerKey,
        draft: ServerDraft,
        guard: Guard,
        create_missing: bool,
    ) -> Result<Written<Server>, Error> {
        draft.check_key(service, server)?;
        self.write_server(context, service, server, guard, move |old| match old {
            None if create_missing => {
                let config = draft.create(service, server)?;
                Ok(Some(Op::CreateServer(service, server, config)))
            }
            None => Err(server_not_found(service, server)),
            Some(old) => {
                let config = draft.update(service, server, old.config)?;
                let op = Op::SetServer(service, server, config);
                Ok((config != old.config).then_some(op))
            }
        })
        .await
    }

    /// Deletes a server (ipvsadm -d). `false` where it was missing, which `allow_missing` must
    /// allow.
    pub async fn delete_server(
        &self,
        context: &RequestContext,
        service: ServiceKey,
        server: ServerKey,
        allow_missing: bool,
        guard: Guard,
    ) -> Result<bool, Error> {
        let decide = move |seen: Option<&Seen>| {
            let servers = servers_of(seen, service);
            let there = servers.as_ref().ok().and_then(|all| server_of(all, server));
            if there.is_none() && allow_missing {
                return Ok(Plan::nothing());
            }
            servers?;
            guard.check(there.map(|server| vec![server.etag()]).as_deref())?;
            there.ok_or_else(|| server_not_found(service, server))?;
            Ok(Plan::of([Op::DeleteServer(service, server).into()]))
        };
        let change = Change {
            look: Some(Query::Servers(service)),
            decide: Box::new(decide),
            read_back: None,
        };
        Ok(self
            .executor
            .change(change, context.deadline)
            .await?
            .changed)
    }

    /// A write to one server, which `plan` decides from what is there.
    async fn write_server(
        &self,
        context: &RequestContext,
        service: ServiceKey,
        server: ServerKey,
        guard: Guard,
        plan: impl FnOnce(Option<&Server>) -> Result<Option<Op>, Error> + Send + 'static,
    ) -> Result<Written<Server>, Error> {
        let query = Query::Servers(service);
        let decide = move |seen: Option<&Seen>| {
            let there = server_of(servers_of(seen, service)?, server);
            guard.check(there.map(|server| vec![server.etag()]).as_deref())?;
            let plan = Plan::of(plan(there)?.map(Step::from));
            Ok(if there.is_none() {
                plan.creating()
            } else {
                plan
            })
        };
        let change = Change {
            look: Some(query),
            decide: Box::new(decide),
            read_back: Some(query),
        };
        self.written(context, service, server, change).await
    }

    /// Makes a change that reads back a service's servers, and tells the one that was written.
    async fn written(
        &self,
        context: &RequestContext,
        service: ServiceKey,
        server: ServerKey,
        change: Change,
    ) -> Result<Written<Server>, Error> {
        let changed = self.executor.change(change, context.deadline).await?;
        let servers = servers_of(changed.seen.as_ref(), service).map_err(right_after)?;
        let value = server_of(servers, server).ok_or_else(|| vanished(service, server))?;
        Ok(Written {
            value: *value,
            created: changed.created,
            changed: changed.changed,
        })
    }

    /// The servers of a service.
    async fn servers(
        &self,
        context: &RequestContext,
        service: ServiceKey,
    ) -> Result<Answer<Arc<Vec<Server>>>, Error> {
        let query = Query::Servers(service);
        let answer = self
            .ask(context, query, |seen| match seen {
                Seen::Servers(servers) => Some(servers),
                _ => None,
            })
            .await?;
        let value = answer.value.ok_or_else(|| service_not_found(service))?;
        let age = answer.age;
        Ok(Answer { value, age })
    }
}

fn server_of(servers: &[Server], key: ServerKey) -> Option<&Server> {
    servers.iter().find(|server| server.key == key)
}

fn server_not_found(service: ServiceKey, server: ServerKey) -> Error {
    Error::new(
        Reason::ServerNotFound,
        format!("{service} has no real server {server}"),
    )
}

fn vanished(service: ServiceKey, server: ServerKey) -> Error {
    right_after(server_not_found(service, server))
}
