//! Virtual services.

use std::sync::Arc;

use super::{
    Answer, App, Guard, RequestContext, Written, found, looked_up, mismatch, read_back,
    service_not_found,
};
use crate::{
    executor::{Change, Plan, Seen, Step},
    model::{
        Error, Etag, Include, Op, Query, Reason, ServerConfig, ServerDraft, ServerKey,
        ServiceConfig, ServiceDraft, ServiceEntry, ServiceKey,
    },
};

impl App {
    /// One service; its servers are read only if `include` wants them (ipvsadm -L -t).
    pub async fn service(
        &self,
        context: &RequestContext,
        key: ServiceKey,
        include: Include,
    ) -> Result<Answer<Arc<ServiceEntry>>, Error> {
        let query = match include.servers {
            true => Query::ServiceWithServers(key),
            false => Query::Service(key),
        };
        let answer = self
            .ask(context, query, |seen| match seen {
                Seen::Service(entry) => Some(entry),
                _ => None,
            })
            .await?;
        let entry = answer.value.ok_or_else(|| service_not_found(key))?;
        Ok(Answer {
            value: entry,
            age: answer.age,
        })
    }

    /// Creates a service, with the draft's servers if it has any; refused where it exists
    /// (ipvsadm -A).
    pub async fn create_service(
        &self,
        context: &RequestContext,
        draft: ServiceDraft,
    ) -> Result<Written<Arc<ServiceEntry>>, Error> {
        let key = draft.key()?.ok_or_else(|| {
            Error::invalid(
                "protocol",
                "is required with address and port; or fwmark, or id",
            )
        })?;
        let config = draft.create(key)?;
        let servers = created_servers(draft.servers.as_deref().unwrap_or_default(), key)?;
        let plan = create(key, config, &servers);
        self.write_service(context, key, Guard::None, move |_| Ok(plan))
            .await
    }

    /// Creates or replaces a service; with `servers`, replaces the set too, adding before removing
    /// (ipvsadm -A or -E).
    pub async fn replace_service(
        &self,
        context: &RequestContext,
        key: ServiceKey,
        draft: ServiceDraft,
        guard: Guard,
    ) -> Result<Written<Arc<ServiceEntry>>, Error> {
        draft.check_key(key)?;
        let config = draft.create(key)?;
        let servers = draft
            .servers
            .as_deref()
            .map(|drafts| created_servers(drafts, key));
        let servers = servers.transpose()?;
        self.write_service(context, key, guard, move |entry| {
            Ok(match entry {
                None => create(key, config, &servers.unwrap_or_default()),
                Some(entry) => replace(entry, config, servers.as_deref()),
            })
        })
        .await
    }

    /// Changes what the draft names, keeps the rest. With `create`, a service that is missing is
    /// created.
    pub async fn update_service(
        &self,
        context: &RequestContext,
        key: ServiceKey,
        draft: ServiceDraft,
        guard: Guard,
        create_missing: bool,
    ) -> Result<Written<Arc<ServiceEntry>>, Error> {
        draft.check_key(key)?;
        self.write_service(context, key, guard, move |entry| match entry {
            Some(entry) => {
                let config = draft.update(key, entry.service.config)?;
                Ok(replace(entry, config, None))
            }
            None if create_missing => {
                let servers = created_servers(draft.servers.as_deref().unwrap_or_default(), key)?;
                Ok(create(key, draft.create(key)?, &servers))
            }
            None => Err(service_not_found(key)),
        })
        .await
    }

    /// Deletes a service with its servers (ipvsadm -D). `false` where it was missing, which
    /// `allow_missing` must allow.
    pub async fn delete_service(
        &self,
        context: &RequestContext,
        key: ServiceKey,
        allow_missing: bool,
        guard: Guard,
    ) -> Result<bool, Error> {
        let look = match &guard {
            Guard::Matches(_) => Query::ServiceWithServers(key),
            _ => Query::Service(key),
        };
        let decide = move |seen: Option<&Seen>| {
            let entry = looked_up(seen)?;
            if entry.is_none() && allow_missing {
                return Ok(Plan::nothing());
            }
            guard.check(etags(entry).as_deref())?;
            found(seen, key)?;
            Ok(Plan::of([Op::DeleteService(key).into()]))
        };
        let change = Change {
            look: Some(look),
            decide: Box::new(decide),
            read_back: None,
        };
        Ok(self
            .executor
            .change(change, context.deadline)
            .await?
            .changed)
    }

    /// Deletes all services (ipvsadm -C). `confirm` must be their number. Returns it.
    pub async fn clear_services(
        &self,
        context: &RequestContext,
        confirm: Option<u64>,
    ) -> Result<u64, Error> {
        let confirm = confirm.ok_or_else(|| {
            Error::invalid(
                "confirm",
                "is required: the number of services that this will delete",
            )
        })?;
        let decide = move |seen: Option<&Seen>| {
            let Some(Seen::Table(table)) = seen else {
                return Err(mismatch());
            };
            let count = table.len() as u64;
            if count != confirm {
                return Err(Error::new(
                    Reason::RevisionMismatch,
                    format!("there are {count} services, not {confirm}; nothing was deleted"),
                )
                .with_violation("confirm", format!("{confirm} is not {count}")));
            }
            let clear = Op::Clear.into();
            Ok(if count == 0 {
                Plan::nothing()
            } else {
                Plan::of([clear])
            })
        };
        let change = Change {
            look: Some(Query::Services),
            decide: Box::new(decide),
            read_back: None,
        };
        self.executor.change(change, context.deadline).await?;
        Ok(confirm)
    }

    /// Zeroes the counters of one service and its servers, or of all and the totals (ipvsadm -Z).
    pub async fn zero(
        &self,
        context: &RequestContext,
        service: Option<ServiceKey>,
    ) -> Result<(), Error> {
        let op = service.map_or(Op::ZeroAll, Op::ZeroService);
        self.executor
            .change(Change::blind([op], None), context.deadline)
            .await?;
        Ok(())
    }

    /// A write to one service, with what was there before and what is there after.
    async fn write_service(
        &self,
        context: &RequestContext,
        key: ServiceKey,
        guard: Guard,
        plan: impl FnOnce(Option<&ServiceEntry>) -> Result<Plan, Error> + Send + 'static,
    ) -> Result<Written<Arc<ServiceEntry>>, Error> {
        let query = Query::ServiceWithServers(key);
        let decide = move |seen: Option<&Seen>| {
            let entry = looked_up(seen)?;
            guard.check(etags(entry).as_deref())?;
            plan(entry)
        };
        let change = Change {
            look: Some(query),
            decide: Box::new(decide),
            read_back: Some(query),
        };
        let changed = self.executor.change(change, context.deadline).await?;
        Ok(Written {
            value: read_back(changed.seen, key)?,
            created: changed.created,
            changed: changed.changed,
        })
    }
}

/// The etags that fit a service: with its servers and without.
pub(super) fn etags(entry: Option<&ServiceEntry>) -> Option<Vec<Etag>> {
    entry.map(|entry| vec![entry.etag(), entry.service.etag()])
}

type NewServer = (ServerKey, ServerConfig);

/// The servers that a list of drafts describes, in its order.
pub(super) fn created_servers(
    drafts: &[ServerDraft],
    service: ServiceKey,
) -> Result<Vec<NewServer>, Error> {
    let mut servers: Vec<NewServer> = Vec::with_capacity(drafts.len());
    let mut seen = std::collections::HashMap::with_capacity(drafts.len());
    let mut violations = Vec::new();
    for (i, draft) in drafts.iter().enumerate() {
        let server = draft
            .key(service)
            .and_then(|key| key.ok_or_else(|| Error::invalid("address", "is required")))
            .and_then(|key| Ok((key, draft.create(service, key)?)));
        match server {
            Ok((key, config)) => match seen.insert(key, i) {
                None => servers.push((key, config)),
                Some(first) => violations.push(crate::model::Violation::new(
                    format!("servers[{i}]"),
                    format!("{key} is servers[{first}] already"),
                )),
            },
            Err(error) => violations.extend(error.below(&format!("servers[{i}]")).violations),
        }
    }
    if violations.is_empty() {
        Ok(servers)
    } else {
        Err(Error::from_violations(violations))
    }
}

/// The kernel puts each new server before the others, so they go in from the last to the first:
/// a listing then has them in the order in which they were given.
/// Each comes with its place in the request.
fn add<'a>(
    service: ServiceKey,
    servers: impl DoubleEndedIterator<Item = (usize, &'a NewServer)>,
) -> impl Iterator<Item = Step> {
    servers.rev().map(move |(i, (key, config))| {
        Step::new(
            Op::CreateServer(service, *key, *config),
            Op::DeleteServer(service, *key),
        )
        .at(format!("servers[{i}]"))
    })
}

fn create(key: ServiceKey, config: ServiceConfig, servers: &[NewServer]) -> Plan {
    let first = Step::new(Op::CreateService(key, config), Op::DeleteService(key));
    // Stages: servers of a service that was refused are not even tried.
    let servers = add(key, servers.iter().enumerate());
    Plan::staged([vec![first], servers.collect()]).creating()
}

/// The smallest change that makes `entry` what is wanted: what is equal is left alone, so that it
/// keeps its counters and connections; new servers come before the old ones go.
fn replace(entry: &ServiceEntry, config: ServiceConfig, wanted: Option<&[NewServer]>) -> Plan {
    let key = entry.service.key;
    let old = entry.service.config;
    let set =
        (config != old).then(|| Step::new(Op::SetService(key, config), Op::SetService(key, old)));
    let Some(wanted) = wanted else {
        return Plan::of(set);
    };
    let mut there: std::collections::HashMap<_, _> = entry
        .servers
        .iter()
        .map(|server| (server.key, server.config))
        .collect();
    let mut new = Vec::new();
    let mut changed = Vec::new();
    for (i, wanted) in wanted.iter().enumerate() {
        let (server, config) = wanted;
        match there.remove(server) {
            None => new.push((i, wanted)),
            Some(same) if same == *config => {}
            Some(old) => changed.push(
                Step::new(
                    Op::SetServer(key, *server, *config),
                    Op::SetServer(key, *server, old),
                )
                .at(format!("servers[{i}]")),
            ),
        }
    }
    let gone = entry
        .servers
        .iter()
        .filter(|server| there.contains_key(&server.key))
        .map(|server| {
            Step::new(
                Op::DeleteServer(key, server.key),
                Op::CreateServer(key, server.key, server.config),
            )
        })
        .collect();
    let first = set
        .into_iter()
        .chain(add(key, new.into_iter()))
        .chain(changed);
    Plan::staged([first.collect(), gone])
}
