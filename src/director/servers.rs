//! Real servers.

use super::{
    Answer, Call, Director, Guard, ListServers, ServerPage, Written, found, looked_up, read_back,
    services::created_servers,
};
use crate::{
    executor::{Change, Plan, Seen, Step},
    model::{
        Error, Include, Op, Query, Reason, Server, ServerDraft, ServerKey, ServiceEntry, ServiceKey,
    },
};

const WITH_SERVERS: Include = Include {
    servers: true,
    stats: false,
    rates: false,
};

impl Director {
    /// Lists the servers of a service, a page at a time.
    pub async fn list_servers(
        &self,
        service: ServiceKey,
        list: ListServers,
        call: Call,
    ) -> Result<Answer<ServerPage>, Error> {
        let estimation = self.estimation(list.include, call).await?;
        let answer = self.service(service, WITH_SERVERS, call).await?;
        let page = ServerPage::of(&answer.value.servers, &list, &self.options, estimation)?;
        Ok(answer.map(|_| page))
    }

    /// One server.
    pub async fn server(
        &self,
        service: ServiceKey,
        server: ServerKey,
        call: Call,
    ) -> Result<Answer<Server>, Error> {
        let answer = self.service(service, WITH_SERVERS, call).await?;
        let found = server_of(&answer.value, server)
            .copied()
            .ok_or_else(|| server_not_found(service, server))?;
        Ok(answer.map(|_| found))
    }

    /// Creates a server; refused where it exists (ipvsadm -a).
    pub async fn create_server(
        &self,
        service: ServiceKey,
        draft: ServerDraft,
        call: Call,
    ) -> Result<Written<Server>, Error> {
        let server = draft
            .key(service)?
            .ok_or_else(|| Error::invalid("address", "is required"))?;
        let config = draft.create(service, server)?;
        // Where it exists the kernel says so.
        let create = Op::CreateServer(service, server, config);
        self.write_server(service, server, Guard::None, call, |_| Ok(Some(create)))
            .await
    }

    /// Creates servers, all or none; refused where one exists (ipvsadm -a). Returns them in the
    /// order of the drafts.
    pub async fn create_servers(
        &self,
        service: ServiceKey,
        drafts: Vec<ServerDraft>,
        call: Call,
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
            read_back: Some(Query::ServiceWithServers(service)),
        };
        let changed = self.executor.change(change, call.deadline).await?;
        let entry = read_back(changed.seen, service)?;
        let there: std::collections::HashMap<_, _> = entry
            .servers
            .iter()
            .map(|server| (server.key, server))
            .collect();
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
    pub async fn put_server(
        &self,
        service: ServiceKey,
        server: ServerKey,
        draft: ServerDraft,
        guard: Guard,
        call: Call,
    ) -> Result<Written<Server>, Error> {
        draft.check_key(service, server)?;
        let config = draft.create(service, server)?;
        self.write_server(service, server, guard, call, move |old| {
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
        service: ServiceKey,
        server: ServerKey,
        draft: ServerDraft,
        guard: Guard,
        create_missing: bool,
        call: Call,
    ) -> Result<Written<Server>, Error> {
        draft.check_key(service, server)?;
        self.write_server(service, server, guard, call, move |old| match old {
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
        service: ServiceKey,
        server: ServerKey,
        allow_missing: bool,
        guard: Guard,
        call: Call,
    ) -> Result<bool, Error> {
        let decide = move |seen: Option<&Seen>| {
            let there = looked_up(seen)?.and_then(|entry| server_of(entry, server));
            if there.is_none() && allow_missing {
                return Ok(Plan::nothing());
            }
            found(seen, service)?;
            guard.check(there.map(|server| vec![server.etag()]).as_deref())?;
            there.ok_or_else(|| server_not_found(service, server))?;
            Ok(Plan::of([Op::DeleteServer(service, server).into()]))
        };
        let look = Some(Query::ServiceWithServers(service));
        let change = Change {
            look,
            decide: Box::new(decide),
            read_back: None,
        };
        Ok(self.executor.change(change, call.deadline).await?.changed)
    }

    /// A write to one server, which `plan` decides from what is there.
    async fn write_server(
        &self,
        service: ServiceKey,
        server: ServerKey,
        guard: Guard,
        call: Call,
        plan: impl FnOnce(Option<&Server>) -> Result<Option<Op>, Error> + Send + 'static,
    ) -> Result<Written<Server>, Error> {
        let query = Query::ServiceWithServers(service);
        let decide = move |seen: Option<&Seen>| {
            let there = server_of(found(seen, service)?, server);
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
        let changed = self.executor.change(change, call.deadline).await?;
        let entry = read_back(changed.seen, service)?;
        let value = server_of(&entry, server).ok_or_else(|| vanished(service, server))?;
        Ok(Written {
            value: *value,
            created: changed.created,
            changed: changed.changed,
        })
    }
}

fn server_of(entry: &ServiceEntry, key: ServerKey) -> Option<&Server> {
    entry.servers.iter().find(|server| server.key == key)
}

fn server_not_found(service: ServiceKey, server: ServerKey) -> Error {
    Error::new(
        Reason::ServerNotFound,
        format!("{service} has no real server {server}"),
    )
}

fn vanished(service: ServiceKey, server: ServerKey) -> Error {
    let mut error = server_not_found(service, server);
    error.detail += ": another program deleted it right after the change";
    error
}
