//! The plan of a batch, from one read of the table.

use std::{
    collections::{HashMap, HashSet},
    slice,
    time::Instant,
};

use super::request::{Action, Requested, all_or_errors};
use crate::{
    app::{
        Guard,
        described::{Whole, in_kernel_order, whole},
        operations::{PlannedStep, known},
        services::etags,
    },
    executor::Table,
    model::{
        Change, Diff, DiffCounts, Error, Op, Reason, Server, ServerConfig, ServerKey,
        ServiceConfig, ServiceDraft, ServiceEntry, ServiceKey, StoredTarget,
        Table as Configurations, TargetServer, TargetService, both, diff, diff_servers,
        diff_service,
    },
};

/// The difference that an operation makes, and the service before it, if the difference deletes it.
type Planned = (Diff, Option<ServiceEntry>);

/// The operations of the kernel, each planned with the effect of those before it. Reports all invalid ones at
/// once. Fails at the deadline.
pub(super) fn plan(
    requested: &[Requested],
    table: &Table,
    deadline: Instant,
) -> Result<(Vec<PlannedStep>, DiffCounts), Error> {
    let keys = requested.iter().map(|one| one.service).collect();
    let mut state = known(table, &keys);
    let mut steps = Vec::new();
    let mut counts = DiffCounts::default();
    let mut plan_one = |(index, one): (usize, &Requested)| {
        if Instant::now() >= deadline {
            let detail = "the batch could not be planned in time; nothing was changed";
            return Err(Error::new(Reason::DeadlineExceeded, detail).with_hint("split the batch"));
        }
        let (diff, entry) = one.plan(&state)?;
        counts += diff.counts;
        for change in diff.make.into_iter().chain(diff.remove) {
            state.apply(&change.op, 0)?;
            steps.push(PlannedStep {
                index: Some(index),
                ..PlannedStep::new(change, entry.as_ref())
            });
        }
        Ok(())
    };
    all_or_errors(requested.iter().enumerate().map(&mut plan_one))?;
    Ok((steps, counts))
}

/// What is left to do of a batch that was cut, if the kernel has what an operation has written: the difference
/// to what the table is after the last operation.
pub(super) fn rest(
    requested: &[Requested],
    table: &Table,
) -> Result<(Vec<PlannedStep>, DiffCounts), Error> {
    let keys = requested.iter().map(|one| one.service).collect();
    let before = known(table, &keys);
    let mut after = known(table, &keys);
    let mut written = HashSet::new();
    for one in requested {
        // Fails if it does not exist.
        drop(one.created(&after).map(|op| after.apply(&op, 0)));
        let diff = match one.unconditional().plan(&after) {
            Ok((diff, _)) => diff,
            // A later operation deletes the object.
            Err(error) if error.reason != Reason::InvalidArgument => continue,
            Err(error) => return Err(error),
        };
        for change in diff.make.into_iter().chain(diff.remove) {
            after.apply(&change.op, 0)?;
            written.insert(change.op);
        }
    }
    for one in requested {
        one.check_created(&before, &written)?;
    }
    let current: Vec<_> = table
        .iter()
        .filter(|entry| keys.contains(&entry.service.key))
        .collect();
    let entries: HashMap<_, _> = current
        .iter()
        .map(|entry| (entry.service.key, *entry))
        .collect();
    let diff = diff(current, after.into_services());
    let changes = diff.make.into_iter().chain(diff.remove);
    let step = |change: Change| {
        let entry = change.op.service().and_then(|key| entries.get(&key));
        PlannedStep::new(change, entry.copied())
    };
    Ok((changes.map(step).collect(), diff.counts))
}

// === impl Requested ===

impl Requested {
    /// The same operation without a precondition.
    fn unconditional(&self) -> Self {
        Self {
            guard: Guard::None,
            allow_missing: matches!(self.action, Action::DeleteService | Action::DeleteServer(_)),
            ..self.clone()
        }
    }

    /// The operation that deletes what this creates, if it exists.
    fn created(&self, state: &Configurations) -> Option<Op> {
        let service = self.service;
        match &self.action {
            Action::CreateService(_) => state.service(service).map(|_| Op::DeleteService(service)),
            Action::CreateServer(draft) => {
                let key = draft.key(service).ok().flatten()?;
                state
                    .server(service, key)
                    .map(|_| Op::DeleteServer(service, key))
            }
            _ => None,
        }
    }

    /// Refuses an object that exists although this is to create it, unless the batch has written it so.
    fn check_created(&self, before: &Configurations, written: &HashSet<Op>) -> Result<(), Error> {
        let service = self.service;
        let (is_written, error) = match self.created(before) {
            None => return Ok(()),
            Some(Op::DeleteServer(_, key)) => {
                let config = before.server(service, key).unwrap_or_default();
                let ops = [
                    Op::CreateServer(service, key, config),
                    Op::SetServer(service, key, config),
                ];
                (
                    ops.iter().any(|op| written.contains(op)),
                    Error::server_exists(service, key),
                )
            }
            Some(_) => {
                let config = before.service(service);
                let config = config.unwrap_or_else(|| ServiceConfig::new(service.family()));
                let stored = before.stored(service);
                let ops = [
                    Op::CreateService(service, config, stored),
                    Op::SetService(service, config),
                ];
                (
                    ops.iter().any(|op| written.contains(op)),
                    Error::service_exists(service),
                )
            }
        };
        match is_written {
            true => Ok(()),
            false => Err(error),
        }
    }

    fn plan(&self, state: &Configurations) -> Result<Planned, Error> {
        let service = self.service;
        let in_value = |error: Error| error.below("value.server");
        let (key, config) = match &self.action {
            Action::CreateService(draft) => return self.create_service(draft, state),
            Action::UpdateService(draft) => return self.update_service(draft, state),
            Action::ReplaceService(draft) => return self.replace_service(draft, state),
            Action::DeleteService => return self.delete_service(state),
            Action::CreateServer(draft) => {
                let (key, config) = draft.new_server(service).map_err(in_value)?;
                if self.server(key, state)?.is_some() {
                    return Err(Error::server_exists(service, key));
                }
                (key, Some(config))
            }
            Action::UpdateServer(key, draft) => {
                let config = match self.server(*key, state)? {
                    Some(old) => draft.update(service, *key, old),
                    None if self.allow_missing => draft.create(service, *key),
                    None => return Err(Error::server_not_found(service, *key)),
                };
                (*key, Some(config.map_err(in_value)?))
            }
            Action::ReplaceServer(key, draft) => {
                let config = match self.server(*key, state)? {
                    Some(old) => draft.replace(service, *key, old),
                    None => draft.create(service, *key),
                };
                (*key, Some(config.map_err(in_value)?))
            }
            Action::DeleteServer(key) => {
                if self.allow_missing && state.server(service, *key).is_none() {
                    return Ok(Planned::default());
                }
                if self.server(*key, state)?.is_none() {
                    return Err(Error::server_not_found(service, *key));
                }
                (*key, None)
            }
        };
        let old = state.server(service, key);
        Ok((diff_server(service, key, old, config), None))
    }

    fn create_service(
        &self,
        draft: &ServiceDraft,
        state: &Configurations,
    ) -> Result<Planned, Error> {
        match state.service(self.service) {
            Some(_) => Err(Error::service_exists(self.service)),
            None => created(draft, self.service),
        }
    }

    /// A server whose precondition holds; `None` if it does not exist.
    fn server(
        &self,
        key: ServerKey,
        state: &Configurations,
    ) -> Result<Option<ServerConfig>, Error> {
        if state.service(self.service).is_none() {
            return Err(Error::service_not_found(self.service));
        }
        let found = state.server(self.service, key);
        let etags = found.map(|config| vec![Server::etag_of(key, &config)]);
        self.guard.check(etags.as_deref())?;
        Ok(found)
    }

    fn check_service(&self, state: &Configurations) -> Result<(), Error> {
        match self.guard {
            Guard::None => Ok(()),
            _ => {
                let entry = state.entry(self.service);
                self.guard.check(etags(entry.as_ref()).as_deref())
            }
        }
    }

    fn update_service(
        &self,
        draft: &ServiceDraft,
        state: &Configurations,
    ) -> Result<Planned, Error> {
        let key = self.service;
        self.check_service(state)?;
        match bare(key, state) {
            Some(old) => {
                let config = draft.update(key, old.service.config);
                let updated = both(config, draft.updated_stored(key, old.service.stored()));
                let (config, stored) = updated.map_err(|error| error.below("value.service"))?;
                let stored = StoredTarget::exactly(stored);
                Ok((diff_service(&old, config, &stored, None), None))
            }
            None if self.allow_missing => created(draft, key),
            None => Err(Error::service_not_found(key)),
        }
    }

    fn replace_service(
        &self,
        draft: &ServiceDraft,
        state: &Configurations,
    ) -> Result<Planned, Error> {
        let key = self.service;
        self.check_service(state)?;
        let entry = match &draft.servers {
            Some(_) => state.entry(key),
            None => bare(key, state),
        };
        let Some(entry) = entry else {
            return created(draft, key);
        };
        let wanted = whole(draft, key, Some(&entry));
        let Whole {
            config,
            stored,
            servers,
        } = wanted.map_err(|error| error.below("value.service"))?;
        let servers = servers.as_deref().map(in_kernel_order);
        let diff = diff_service(&entry, config, &stored, servers.as_deref());
        Ok((diff, None))
    }

    fn delete_service(&self, state: &Configurations) -> Result<Planned, Error> {
        let entry = state.entry(self.service);
        if entry.is_none() && self.allow_missing {
            return Ok(Planned::default());
        }
        self.guard.check(etags(entry.as_ref()).as_deref())?;
        match entry {
            Some(entry) => Ok((diff([&entry], None::<TargetService>), Some(entry))),
            None => Err(Error::service_not_found(self.service)),
        }
    }
}

/// A new service with its servers.
fn created(draft: &ServiceDraft, key: ServiceKey) -> Result<Planned, Error> {
    let wanted = whole(draft, key, None);
    let wanted = wanted.map_err(|error| error.below("value.service"))?;
    let mut target = wanted.into_target(key, 0);
    target.servers = in_kernel_order(&target.servers);
    Ok((diff([], &[target]), None))
}

/// A service without its servers, which are kept; `None` if it does not exist.
fn bare(key: ServiceKey, state: &Configurations) -> Option<ServiceEntry> {
    Some(ServiceEntry {
        service: state.bare(key)?,
        servers: Vec::new(),
    })
}

fn diff_server(
    service: ServiceKey,
    key: ServerKey,
    old: Option<ServerConfig>,
    new: Option<ServerConfig>,
) -> Diff {
    let old = old.map(|config| Server::idle(key, config));
    let new = new.map(|config| TargetServer {
        key,
        config,
        origin: 0,
    });
    let (old, new) = (old.as_ref(), new.as_ref());
    diff_servers(
        service,
        old.map_or(&[], slice::from_ref),
        new.map_or(&[], slice::from_ref),
    )
}
