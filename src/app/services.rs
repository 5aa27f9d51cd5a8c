//! Virtual services.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use super::{
    Answer, App, Guard, RequestContext, Written, deleted_since,
    described::{Whole, in_kernel_order, new_service, whole},
};
use crate::{
    executor::{
        Check, Nothing, Plan, ServiceQuery, ServiceWithServersQuery, ServicesQuery, Step, Table,
        Transaction,
    },
    identity::Verb,
    model::{
        Change, Diff, Errno, Error, Etag, Include, Kept, Op, Owner, Reason, ServiceDraft,
        ServiceEntry, ServiceKey, StoredFields, TargetServer, both, diff_service,
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
        let (key, new) = new_service(&draft, missing)?;
        let name = ("create_service", Verb::CreateService);
        let is_resumed = context.resumed;
        self.write_service(context, name, key, Guard::None, move |entry| match entry {
            Some(entry) if is_resumed && is_part(entry, &new) => {
                Ok(replace(entry, &new).creating())
            }
            Some(_) => Err(Error::service_exists(key).with_errno(Errno::EEXIST)),
            None => Ok(create(key, &new)),
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
        let ((), wanted) = both(named, wanted)?;
        let order = wanted.servers.as_ref().map(|servers| {
            let keys = servers.iter().map(|server| server.key);
            keys.collect::<Vec<_>>()
        });
        // It may change nothing but weights.
        let name = ("replace_service", Verb::UpdateWeight);
        let write = self.write_service(context, name, key, guard, move |entry| {
            Ok(match entry {
                None => create(key, &wanted),
                Some(entry) => replace(entry, &wanted),
            })
        });
        let mut written = write.await?;
        written.server_order_differs = order.is_some_and(|order| {
            let servers = written.value.configured();
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
                let present = entry.service.stored();
                let updated = both(draft.update(key, old), draft.updated_stored(key, present));
                let ((), (config, stored)) = both(named.clone(), updated)?;
                let store = (stored != *present).then(|| {
                    let undo = Op::SetStored(key, present.clone());
                    Step::new(Op::SetStored(key, stored), undo)
                });
                let set = (config != old).then(|| {
                    Step::new(Op::SetService(key, config), Op::SetService(key, old)).checked(
                        match conditional {
                            true => Check::Unchanged,
                            false => Check::MergeService(draft.clone()),
                        },
                    )
                });
                Ok(Plan::staged(
                    [store, set].map(|step| step.into_iter().collect()),
                ))
            }
            None if create_missing => {
                let ((), new) = both(named.clone(), whole(&draft, key, None))?;
                Ok(create(key, &new))
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
                    Op::CreateService(key, entry.service.config, entry.service.stored().clone()),
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
            let service = &mut Arc::make_mut(entry).service;
            let stored = service.stored().clone();
            service.kept = Kept::storing(&self.kept.all().of(key), stored);
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
fn is_part(entry: &ServiceEntry, new: &Whole) -> bool {
    let servers = new.servers.iter().flatten();
    let wanted: HashMap<_, _> = servers.map(|s| (s.key, s.config)).collect();
    let mut present = entry.configured();
    entry.service.config == new.config && present.all(|s| wanted.get(&s.key) == Some(&s.config))
}

fn create(key: ServiceKey, new: &Whole) -> Plan {
    let stored = new.stored.over(StoredFields::NONE);
    let first = Op::CreateService(key, new.config, stored);
    let first = Step::new(first, Op::DeleteService(key));
    let servers = in_kernel_order(new.servers.as_deref().unwrap_or_default());
    let servers = servers.iter().map(|server| create_server_step(key, server));
    // In a second stage, so that the servers of a rejected service are not created.
    Plan::staged([vec![first], servers.collect()]).creating()
}

/// The smallest plan that turns `entry` into what is wanted. New servers are created before old ones
/// are deleted.
fn replace(entry: &ServiceEntry, wanted: &Whole) -> Plan {
    let servers = wanted.servers.as_deref().map(in_kernel_order);
    let Diff {
        make, mut remove, ..
    } = diff_service(entry, wanted.config, &wanted.stored, servers.as_deref());
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
    let (store, make) = make
        .into_iter()
        .partition(|change| matches!(change.op, Op::SetStored(..)));
    let stages: [Vec<Change>; 3] = [store, make, remove];
    Plan::staged(stages.map(|changes| changes.into_iter().map(step).collect()))
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
