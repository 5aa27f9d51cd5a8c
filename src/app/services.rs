//! Virtual services.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use super::{Answer, App, Guard, RequestContext, Written, deleted_since};
use crate::{
    executor::{
        Nothing, Plan, ServiceQuery, ServiceWithServersQuery, ServicesQuery, Step, Table,
        Transaction,
    },
    model::{
        Error, Etag, Include, Op, Reason, ServerConfig, ServerDraft, ServerKey, ServiceConfig,
        ServiceDraft, ServiceEntry, ServiceKey, Violation, both,
    },
};

/// A service as it is read: `None` if it does not exist.
type Found = Option<Arc<ServiceEntry>>;

/// A server to create.
type NewServer = (ServerKey, ServerConfig);

impl App {
    /// One service; its servers are read only if `include` asks for them (ipvsadm -L -t).
    pub async fn service(
        &self,
        context: &RequestContext,
        key: ServiceKey,
        include: Include,
    ) -> Result<Answer<Arc<ServiceEntry>>, Error> {
        let cached = match include.servers {
            true => self.read(context, ServiceWithServersQuery(key)).await?,
            false => self.read(context, ServiceQuery(key)).await?,
        };
        let Answer { value, age } = cached.into();
        let value = value.ok_or_else(|| Error::service_not_found(key))?;
        Ok(Answer { value, age })
    }

    /// Creates a service, with the servers of the draft (ipvsadm -A). Fails with `SERVICE_EXISTS`
    /// if it exists.
    pub async fn create_service(
        &self,
        context: &RequestContext,
        draft: ServiceDraft,
    ) -> Result<Written<Arc<ServiceEntry>>, Error> {
        let missing = Error::invalid(
            "protocol",
            "is required with address and port, unless fwmark or id is given",
        );
        let (key, config, servers) = new_service(&draft, missing)?;
        let plan = create(key, config, &servers);
        self.write_service(context, key, Guard::None, move |_| Ok(plan))
            .await
    }

    /// Creates or replaces a service (ipvsadm -A or -E). With `servers`, also replaces the server
    /// set; new servers are created before old ones are deleted.
    pub async fn replace_service(
        &self,
        context: &RequestContext,
        key: ServiceKey,
        draft: ServiceDraft,
        guard: Guard,
    ) -> Result<Written<Arc<ServiceEntry>>, Error> {
        let servers = draft.servers.as_deref();
        let servers = servers.map(|drafts| new_servers(drafts, key)).transpose();
        let described = both(draft.create(key), servers);
        let ((), (config, servers)) = both(draft.check_key(key), described)?;
        self.write_service(context, key, guard, move |entry| {
            Ok(match entry {
                None => create(key, config, &servers.unwrap_or_default()),
                Some(entry) => replace(entry, config, servers.as_deref()),
            })
        })
        .await
    }

    /// Changes the fields that the draft names and keeps the others (ipvsadm -E). With
    /// `create_missing`, creates a service that does not exist.
    pub async fn update_service(
        &self,
        context: &RequestContext,
        key: ServiceKey,
        draft: ServiceDraft,
        guard: Guard,
        create_missing: bool,
    ) -> Result<Written<Arc<ServiceEntry>>, Error> {
        let named = draft.check_key(key);
        self.write_service(context, key, guard, move |entry| match entry {
            Some(entry) => {
                let ((), config) = both(named, draft.update(key, entry.service.config))?;
                Ok(replace(entry, config, None))
            }
            None if create_missing => {
                let servers = new_servers(draft.servers.as_deref().unwrap_or_default(), key);
                let described = both(draft.create(key), servers);
                let ((), (config, servers)) = both(named, described)?;
                Ok(create(key, config, &servers))
            }
            None => Err(named.err().unwrap_or_else(|| Error::service_not_found(key))),
        })
        .await
    }

    /// Deletes a service with its servers (ipvsadm -D). If it does not exist, returns `false` with
    /// `allow_missing` and fails otherwise.
    pub async fn delete_service(
        &self,
        context: &RequestContext,
        key: ServiceKey,
        allow_missing: bool,
        guard: Guard,
    ) -> Result<bool, Error> {
        // Only an ETag covers the servers.
        let with_servers = matches!(guard, Guard::Matches(_));
        let plan = move |found: &Found| {
            if found.is_none() && allow_missing {
                return Ok(Plan::nothing());
            }
            guard.check(etags(found.as_deref()).as_deref())?;
            match found {
                Some(_) => Ok(Plan::of([Op::DeleteService(key).into()])),
                None => Err(Error::service_not_found(key)),
            }
        };
        let executed = if with_servers {
            let precondition = ServiceWithServersQuery(key);
            self.write(context, Transaction::new(precondition, plan, Nothing))
                .await?
        } else {
            let precondition = ServiceQuery(key);
            self.write(context, Transaction::new(precondition, plan, Nothing))
                .await?
        };
        Ok(executed.changed())
    }

    /// Deletes all services (ipvsadm -C) and returns their number, which must equal `confirm`. Waits
    /// for a restore of the whole table to end.
    pub async fn clear_services(
        &self,
        context: &RequestContext,
        confirm: Option<u64>,
    ) -> Result<u64, Error> {
        let confirm = confirm.ok_or_else(|| {
            Error::invalid(
                "confirm",
                "is required: the number of services that this deletes",
            )
        })?;
        let plan = move |services: &Arc<Table>| {
            let count = services.len() as u64;
            if count != confirm {
                return Err(Error::new(
                    Reason::ConfirmMismatch,
                    format!("there are {count} services, not {confirm}; nothing was deleted"),
                )
                .with_violation("confirm", format!("{confirm} is not {count}")));
            }
            Ok(Plan::of((count > 0).then(|| Op::Clear.into())))
        };
        let transaction = Transaction::new(ServicesQuery, plan, Nothing);
        self.write_in_turn(context, transaction).await?;
        Ok(confirm)
    }

    /// Resets the counters of one service and its servers, or of all services and the totals
    /// (ipvsadm -Z).
    pub async fn zero(
        &self,
        context: &RequestContext,
        service: Option<ServiceKey>,
    ) -> Result<(), Error> {
        let plan = |op: Op| move |(): &()| Ok(Plan::of([op.into()]));
        match service {
            None => {
                let transaction = Transaction::new(Nothing, plan(Op::ZeroAll), Nothing);
                self.write(context, transaction).await.map(drop)
            }
            Some(key) => {
                let plan = plan(Op::ZeroService(key));
                let transaction = Transaction::new(Nothing, plan, ServiceQuery(key));
                self.write(context, transaction).await.map(drop)
            }
        }
    }

    /// Writes one service, planned from its current state, and reads it back.
    async fn write_service(
        &self,
        context: &RequestContext,
        key: ServiceKey,
        guard: Guard,
        plan: impl FnOnce(Option<&ServiceEntry>) -> Result<Plan, Error> + Send + 'static,
    ) -> Result<Written<Arc<ServiceEntry>>, Error> {
        let query = ServiceWithServersQuery(key);
        let plan = move |found: &Found| {
            let entry = found.as_deref();
            guard.check(etags(entry).as_deref())?;
            plan(entry)
        };
        let transaction = Transaction::new(query, plan, query);
        let written = Written::from(self.write(context, transaction).await?);
        written.try_map(|found| found.ok_or_else(|| deleted_since(Error::service_not_found(key))))
    }
}

/// The ETags of a service: with its servers and without.
pub(super) fn etags(entry: Option<&ServiceEntry>) -> Option<Vec<Etag>> {
    entry.map(|entry| vec![entry.etag(), entry.service.etag()])
}

/// The key of a draft that must name one. An error contains the other fields at fault too.
pub fn service_key(draft: &ServiceDraft, missing: Error) -> Result<ServiceKey, Error> {
    match draft.key() {
        Ok(Some(key)) => Ok(key),
        _ => new_service(draft, missing).map(|(key, ..)| key),
    }
}

/// The new service that a draft describes. An invalid key does not hide the other fields.
fn new_service(
    draft: &ServiceDraft,
    missing: Error,
) -> Result<(ServiceKey, ServiceConfig, Vec<NewServer>), Error> {
    let key = draft.key().and_then(|key| key.ok_or(missing));
    let checked = key.as_ref().copied();
    let checked = checked.unwrap_or_else(|_| draft.provisional_key());
    let servers = new_servers(draft.servers.as_deref().unwrap_or_default(), checked);
    let described = both(draft.create(checked), servers);
    let (key, (config, servers)) = both(key, described)?;
    Ok((key, config, servers))
}

/// The servers that a list of drafts describes, in its order. Reports all invalid drafts at once.
pub(super) fn new_servers(
    drafts: &[ServerDraft],
    service: ServiceKey,
) -> Result<Vec<NewServer>, Error> {
    let mut servers: Vec<NewServer> = Vec::with_capacity(drafts.len());
    let mut first_index = HashMap::with_capacity(drafts.len());
    let mut violations = Vec::new();
    for (i, draft) in drafts.iter().enumerate() {
        match draft.new_server(service) {
            Ok((key, config)) => match first_index.entry(key) {
                Entry::Vacant(entry) => {
                    entry.insert(i);
                    servers.push((key, config));
                }
                Entry::Occupied(first) => violations.push(Violation::new(
                    format!("servers[{i}]"),
                    format!("duplicates servers[{}]: {key}", first.get()),
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

/// Steps that create servers, each given with its index in the request. The kernel inserts each new
/// server before the others, so the last is created first: a list then has the requested order.
fn add<'a>(
    service: ServiceKey,
    servers: impl DoubleEndedIterator<Item = (usize, &'a NewServer)>,
) -> impl Iterator<Item = Step> {
    servers
        .rev()
        .map(move |(i, server)| create_server_step(service, i, server))
}

/// A step that creates a server, given with its index in the request.
pub(super) fn create_server_step(
    service: ServiceKey,
    index: usize,
    (key, config): &NewServer,
) -> Step {
    Step::new(
        Op::CreateServer(service, *key, *config),
        Op::DeleteServer(service, *key),
    )
    .at(format!("servers[{index}]"))
}

fn create(key: ServiceKey, config: ServiceConfig, servers: &[NewServer]) -> Plan {
    let first = Step::new(Op::CreateService(key, config), Op::DeleteService(key));
    // In a second stage, so that the servers of a rejected service are not created.
    let servers = add(key, servers.iter().enumerate());
    Plan::staged([vec![first], servers.collect()]).creating()
}

/// The smallest plan that turns `entry` into what is wanted. What is equal stays untouched and keeps
/// its counters and connections; new servers are created before old ones are deleted.
fn replace(entry: &ServiceEntry, config: ServiceConfig, wanted: Option<&[NewServer]>) -> Plan {
    let key = entry.service.key;
    let old = entry.service.config;
    let set =
        (config != old).then(|| Step::new(Op::SetService(key, config), Op::SetService(key, old)));
    let Some(wanted) = wanted else {
        return Plan::of(set);
    };
    let mut present: HashMap<_, _> = entry
        .servers
        .iter()
        .map(|server| (server.key, server.config))
        .collect();
    let mut new = Vec::new();
    let mut changed = Vec::new();
    for (i, wanted) in wanted.iter().enumerate() {
        let (server, config) = wanted;
        match present.remove(server) {
            None => new.push((i, wanted)),
            Some(equal) if equal == *config => {}
            Some(old) => changed.push(
                Step::new(
                    Op::SetServer(key, *server, *config),
                    Op::SetServer(key, *server, old),
                )
                .at(format!("servers[{i}]")),
            ),
        }
    }
    let deleted = entry
        .servers
        .iter()
        .filter(|server| present.contains_key(&server.key))
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
    Plan::staged([first.collect(), deleted])
}
