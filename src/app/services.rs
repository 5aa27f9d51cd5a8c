//! Virtual services.

use std::{
    collections::{BTreeSet, HashMap, HashSet, hash_map::Entry},
    sync::Arc,
};

use super::{Answer, App, Guard, RequestContext, Written, deleted_since};
use crate::{
    executor::{
        Check, Nothing, Plan, ServiceQuery, ServiceWithServersQuery, ServicesQuery, Step, Table,
        Transaction,
    },
    identity::Verb,
    model::{
        Change, Diff, Errno, Error, Etag, Include, Op, Owner, Reason, Server, ServerDraft,
        ServiceConfig, ServiceDraft, ServiceEntry, ServiceKey, TargetServer, TargetService,
        Violation, both, diff_service,
    },
};

/// What a clear of the kernel's table did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cleared {
    /// Number of services that were deleted.
    pub deleted: u64,
    /// The owners of tables under repair that are only reported from now on.
    pub reconcile_suspended: BTreeSet<Owner>,
}

/// A service as it is read: `None` if it does not exist.
type Found = Option<Arc<ServiceEntry>>;

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
        let name = ("create_service", Verb::CreateService);
        let is_resumed = context.resumed;
        self.write_service(context, name, key, Guard::None, move |entry| match entry {
            Some(entry) if is_resumed && is_part(entry, config, &servers) => {
                Ok(replace(entry, config, Some(&servers)).creating())
            }
            Some(_) => Err(Error::service_exists(key).with_errno(Errno::EEXIST)),
            None => Ok(create(key, config, &servers)),
        })
        .await
    }

    /// Creates or replaces a service (ipvsadm -A or -E). With `servers`, also replaces the server
    /// set; new servers are created before old ones are deleted. Servers that exist keep their place in
    /// the kernel's order.
    pub async fn replace_service(
        &self,
        context: &RequestContext,
        key: ServiceKey,
        draft: ServiceDraft,
        guard: Guard,
    ) -> Result<Written<Arc<ServiceEntry>>, Error> {
        let named = draft.check_key(key);
        let wanted = match whole(&draft, key, None) {
            // What the service has may be sent back, even if it could not be created.
            Err(error) if named.is_ok() => {
                let found = self.read(context, ServiceWithServersQuery(key)).await?;
                let wanted = found.value.map(|entry| whole(&draft, key, Some(&entry)));
                wanted.unwrap_or(Err(error))
            }
            wanted => wanted,
        };
        let ((), (config, servers)) = both(named, wanted)?;
        let order = servers.as_ref().map(|servers| {
            let keys = servers.iter().map(|server| server.key);
            keys.collect::<Vec<_>>()
        });
        // It may change nothing but weights.
        let name = ("replace_service", Verb::UpdateWeight);
        let write = self.write_service(context, name, key, guard, move |entry| {
            Ok(match entry {
                None => create(key, config, servers.as_deref().unwrap_or_default()),
                Some(entry) => replace(entry, config, servers.as_deref()),
            })
        });
        let mut written = write.await?;
        written.server_order_differs = order.is_some_and(|order| {
            let servers = written.value.servers.iter();
            !servers.map(|server| server.key).eq(order)
        });
        Ok(written)
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
        let conditional = matches!(guard, Guard::Matches(_));
        let name = ("update_service", Verb::UpdateService);
        self.write_service(context, name, key, guard, move |entry| match entry {
            Some(entry) => {
                let old = entry.service.config;
                let ((), config) = both(named.clone(), draft.update(key, old))?;
                let set = (config != old).then(|| {
                    Step::new(Op::SetService(key, config), Op::SetService(key, old)).checked(
                        match conditional {
                            true => Check::Unchanged,
                            false => Check::MergeService(draft.clone()),
                        },
                    )
                });
                Ok(Plan::of(set))
            }
            None if create_missing => {
                let ((), (config, servers)) = both(named.clone(), whole(&draft, key, None))?;
                Ok(create(key, config, servers.as_deref().unwrap_or_default()))
            }
            None => {
                let missing = || Error::service_not_found(key);
                Err(named.clone().err().unwrap_or_else(missing))
            }
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
        let allow_missing = allow_missing || context.resumed;
        // Only an ETag covers the servers.
        let with_servers = matches!(guard, Guard::Matches(_));
        let name = "delete_service";
        let plan = move |found: &Found| {
            if found.is_none() && allow_missing {
                return Ok(Plan::nothing());
            }
            guard.check(etags(found.as_deref()).as_deref())?;
            match found {
                // Alone in its plan, so that it is never reverted, which would bring back no servers.
                Some(entry) => Ok(Plan::of([Step::new(
                    Op::DeleteService(key),
                    Op::CreateService(key, entry.service.config),
                )])),
                None => Err(Error::service_not_found(key)),
            }
        };
        let executed = if with_servers {
            let precondition = ServiceWithServersQuery(key);
            let transaction = Transaction::repeated(precondition, plan, Nothing);
            self.write(context, Verb::DeleteService, transaction.named(name))
                .await?
        } else {
            let precondition = ServiceQuery(key);
            let transaction = Transaction::repeated(precondition, plan, Nothing);
            self.write(context, Verb::DeleteService, transaction.named(name))
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
    ) -> Result<Cleared, Error> {
        let confirm = confirm.ok_or_else(|| {
            Error::invalid(
                "confirm",
                "is required: the number of services that this deletes",
            )
        })?;
        let is_resumed = context.resumed;
        let plan = move |services: &Arc<Table>| {
            let count = services.len() as u64;
            let is_done = is_resumed && count == 0;
            if count != confirm && !is_done {
                return Err(confirm_mismatch("there are", count, confirm));
            }
            Ok(Plan::of((count > 0).then(|| Op::Clear.into())))
        };
        let transaction = Transaction::new(ServicesQuery, plan, Nothing).named("clear");
        let repaired = self.tables.repairing_owners();
        self.write_locked(context, Verb::Clear, transaction).await?;
        Ok(Cleared {
            deleted: confirm,
            reconcile_suspended: &repaired - &self.tables.repairing_owners(),
        })
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
                self.write(context, Verb::ZeroAll, transaction.named("zero"))
                    .await
                    .map(drop)
            }
            Some(key) => {
                let plan = plan(Op::ZeroService(key));
                let transaction = Transaction::new(Nothing, plan, ServiceQuery(key));
                self.write(context, Verb::ZeroService, transaction.named("zero"))
                    .await
                    .map(drop)
            }
        }
    }

    /// Writes one service, planned from its current state, and reads it back.
    async fn write_service(
        &self,
        context: &RequestContext,
        (name, verb): (&'static str, Verb),
        key: ServiceKey,
        guard: Guard,
        mut plan: impl FnMut(Option<&ServiceEntry>) -> Result<Plan, Error> + Send + 'static,
    ) -> Result<Written<Arc<ServiceEntry>>, Error> {
        let query = ServiceWithServersQuery(key);
        let is_resumed = context.resumed;
        let plan = move |found: &Found| {
            let entry = found.as_deref();
            guard.plan(etags(entry).as_deref(), is_resumed, || plan(entry))
        };
        let transaction = Transaction::repeated(query, plan, query).named(name);
        let mut written = Written::from(self.write(context, verb, transaction).await?);
        if let Some(entry) = written.value.as_mut().filter(|_| context.dry_run) {
            // Of a service that does not exist, no read shows what is kept about it.
            Arc::make_mut(entry).service.kept = self.kept.all().of(key);
        }
        written.try_map(|found| found.ok_or_else(|| deleted_since(Error::service_not_found(key))))
    }
}

/// The error of a deletion that was confirmed with another number of services than those that there are.
pub(super) fn confirm_mismatch(there_are: &str, count: u64, confirm: u64) -> Error {
    let detail = format!("{there_are} {count} services, not {confirm}; nothing was deleted");
    Error::new(Reason::ConfirmMismatch, detail)
        .with_violation("confirm", format!("{confirm} is not {count}"))
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
pub(super) fn new_service(
    draft: &ServiceDraft,
    missing: Error,
) -> Result<(ServiceKey, ServiceConfig, Vec<TargetServer>), Error> {
    let key = draft.key().and_then(|key| key.ok_or(missing));
    let checked = key.as_ref().copied();
    let checked = checked.unwrap_or_else(|_| draft.provisional_key());
    let (key, (config, servers)) = both(key, whole(draft, checked, None))?;
    Ok((key, config, servers.unwrap_or_default()))
}

/// The service that a draft describes as a whole, and its servers, if the draft has any. A value that
/// `present` has is accepted.
pub(super) fn whole(
    draft: &ServiceDraft,
    key: ServiceKey,
    present: Option<&ServiceEntry>,
) -> Result<(ServiceConfig, Option<Vec<TargetServer>>), Error> {
    let config = match present {
        Some(entry) => draft.replace(key, entry.service.config),
        None => draft.create(key),
    };
    let present = present.map_or(&[][..], |entry| &entry.servers);
    let servers = draft.servers.as_deref();
    let servers = servers.map(|drafts| new_servers(drafts, key, present));
    both(config, servers.transpose())
}

/// The servers that a list of drafts describes, in its order. Reports all invalid drafts at once. A
/// value that a server in `present` has is accepted.
pub(super) fn new_servers(
    drafts: &[ServerDraft],
    service: ServiceKey,
    present: &[Server],
) -> Result<Vec<TargetServer>, Error> {
    let present: HashMap<_, _> = present.iter().map(|s| (s.key, s.config)).collect();
    let mut servers: Vec<TargetServer> = Vec::with_capacity(drafts.len());
    let mut first_index = HashMap::with_capacity(drafts.len());
    let mut violations = Vec::new();
    let declared = drafts.iter().enumerate();
    for (origin, draft) in declared.filter(|(_, draft)| !draft.is_removing()) {
        let found = draft.key(service).ok().flatten();
        let found = found.and_then(|key| Some((key, *present.get(&key)?)));
        let server = match found {
            Some((key, present)) => draft.replace(service, key, present).map(|new| (key, new)),
            None => draft.new_server(service),
        };
        match server {
            Ok((key, config)) => match first_index.entry(key) {
                Entry::Vacant(entry) => {
                    entry.insert(origin);
                    servers.push(TargetServer {
                        key,
                        config,
                        origin,
                    });
                }
                Entry::Occupied(first) => violations.push(Violation::new(
                    format!("servers[{origin}]"),
                    format!("duplicates servers[{}]: {key}", first.get()),
                )),
            },
            Err(error) => violations.extend(error.below(&format!("servers[{origin}]")).violations),
        }
    }
    if violations.is_empty() {
        Ok(servers)
    } else {
        Err(Error::from_violations(violations))
    }
}

/// The services that the drafts of a table describe, each with its servers. Reports all invalid drafts at
/// once. A value that the kernel has is accepted.
pub(super) fn declared_services(
    drafts: &[ServiceDraft],
    table: &Table,
) -> Result<Vec<TargetService>, Error> {
    let present: HashMap<_, _> = table
        .iter()
        .map(|entry| (entry.service.key, entry))
        .collect();
    let mut services: Vec<TargetService> = Vec::with_capacity(drafts.len());
    let mut first_index = HashMap::with_capacity(drafts.len());
    let mut violations = Vec::new();
    for (origin, draft) in drafts.iter().enumerate() {
        let missing = || {
            Error::invalid(
                "id",
                "is required, or protocol, address and port, or fwmark",
            )
        };
        let named = draft.key().and_then(|key| key.ok_or_else(missing));
        let complete = match draft.servers {
            Some(_) => Ok(()),
            None => Err(Error::invalid("servers", "is required; [] for none")),
        };
        let service = both(named, complete).and_then(|(key, ())| {
            let (config, servers) = whole(draft, key, present.get(&key).copied())?;
            Ok((key, config, servers.unwrap_or_default()))
        });
        match service {
            Ok((key, config, servers)) => match first_index.entry(key) {
                Entry::Vacant(entry) => {
                    entry.insert(origin);
                    services.push(TargetService {
                        key,
                        config,
                        servers,
                        origin,
                    });
                }
                Entry::Occupied(first) => violations.push(Violation::new(
                    format!("services[{origin}]"),
                    format!("duplicates services[{}]: {key}", first.get()),
                )),
            },
            Err(error) => violations.extend(error.below(&format!("services[{origin}]")).violations),
        }
    }
    match violations.is_empty() {
        true => Ok(services),
        false => Err(Error::from_violations(violations)),
    }
}

/// A step that creates a server of a list.
pub(super) fn create_server_step(service: ServiceKey, server: &TargetServer) -> Step {
    let TargetServer {
        key,
        config,
        origin,
    } = *server;
    Step::new(
        Op::CreateServer(service, key, config),
        Op::DeleteServer(service, key),
    )
    .at(format!("servers[{origin}]"))
}

/// Whether a service may be what the creation of another has left that was cut: it has this configuration, and
/// no other servers.
fn is_part(entry: &ServiceEntry, config: ServiceConfig, servers: &[TargetServer]) -> bool {
    let wanted: HashMap<_, _> = servers.iter().map(|s| (s.key, s.config)).collect();
    let mut present = entry.servers.iter();
    entry.service.config == config && present.all(|s| wanted.get(&s.key) == Some(&s.config))
}

fn create(key: ServiceKey, config: ServiceConfig, servers: &[TargetServer]) -> Plan {
    let first = Step::new(Op::CreateService(key, config), Op::DeleteService(key));
    let servers = in_kernel_order(servers);
    let servers = servers.iter().map(|server| create_server_step(key, server));
    // In a second stage, so that the servers of a rejected service are not created.
    Plan::staged([vec![first], servers.collect()]).creating()
}

/// The smallest plan that turns `entry` into what is wanted. New servers are created before old ones
/// are deleted.
fn replace(entry: &ServiceEntry, config: ServiceConfig, wanted: Option<&[TargetServer]>) -> Plan {
    let wanted = wanted.map(in_kernel_order);
    let Diff {
        make, mut remove, ..
    } = diff_service(entry, config, wanted.as_deref());
    // Their drains delete them.
    let removing = entry
        .servers
        .iter()
        .filter(|server| server.membership.is_some());
    let removing: HashSet<_> = removing.map(|server| server.key).collect();
    remove.retain(|change| {
        !change
            .op
            .server()
            .is_some_and(|key| removing.contains(&key))
    });
    Plan::staged([make, remove].map(|changes| changes.into_iter().map(step).collect()))
}

/// The order in which to create servers so that the kernel lists them in the order given: it inserts
/// each before the others.
pub(super) fn in_kernel_order(servers: &[TargetServer]) -> Vec<TargetServer> {
    servers.iter().rev().copied().collect()
}

/// The step of a change of a service or of its servers, whose origin is their index in the request.
fn step(change: Change) -> Step {
    let Change { op, undo, origin } = change;
    let path = match op {
        Op::CreateServer(..) | Op::SetServer(..) => origin.map(|index| format!("servers[{index}]")),
        _ => None,
    };
    Step {
        undo,
        path,
        ..Step::from(op)
    }
}
