//! The difference between the kernel's table and the one that is wanted, as operations.

use std::{borrow::Borrow, ops::AddAssign};

use foldhash::{HashMap, HashSet};

use super::{
    Director, DirectorState, Op, Server, ServerIndex, Service, ServiceConfig, ServiceEntry,
    ServiceKey, StoredFields, StoredTarget, SyncDaemon, SyncDaemonConfig, SyncState, TargetServer,
    TargetService,
};

/// The operations that turn one table into another. What is equal stays untouched and keeps its
/// counters and connections, and what can be edited is never deleted and created again. The order of
/// the servers of a service is not part of the difference.
///
/// Traffic loses no server on the way: everything in [`make`](Self::make) precedes everything in
/// [`remove`](Self::remove).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Sets stored fields, creates services and servers, and starts sync daemons, then edits those that exist.
    pub make: Vec<Change>,
    /// Deletes servers, then services, and stops sync daemons.
    pub remove: Vec<Change>,
    /// Services, servers, sync daemons and the timeouts, counted by what happens to them.
    pub counts: DiffCounts,
}

/// An operation of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The operation.
    pub op: Op,
    /// The operation that reverts it; `None` for the deletion of a service with its servers, and for the start of a
    /// sync daemon beside one that runs.
    pub undo: Option<Op>,
    /// The [`origin`](TargetServer::origin) of what is made; `None` for a deletion.
    pub origin: Option<usize>,
}

/// Numbers of services and servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiffCounts {
    /// Created.
    pub created: usize,
    /// Edited in place.
    pub updated: usize,
    /// Deleted, the servers of deleted services included.
    pub deleted: usize,
    /// Left as they are.
    pub unchanged: usize,
}

/// The operations in the order of their kinds.
#[derive(Debug, Default)]
struct Builder {
    /// The first, because these may fail without a change of the kernel's table.
    store: Vec<Change>,
    create: Vec<Change>,
    edit: Vec<Change>,
    delete_servers: Vec<Change>,
    /// Deletes services and stops sync daemons.
    delete_others: Vec<Change>,
    counts: DiffCounts,
}

/// The difference between two tables. Neither has an object twice.
pub fn diff<'a>(
    current: impl IntoIterator<Item = &'a ServiceEntry>,
    target: impl IntoIterator<Item = impl Borrow<TargetService>>,
) -> Diff {
    tables(current, target).finish()
}

/// The difference between two tables with the timeouts and the sync daemons: what the kernel has, what was
/// declared before, and what is wanted.
pub fn diff_with_director<'a>(
    current: impl IntoIterator<Item = &'a ServiceEntry>,
    target: impl IntoIterator<Item = impl Borrow<TargetService>>,
    director: (&DirectorState, &Director, &Director),
) -> Diff {
    let mut builder = tables(current, target);
    let (current, before, wanted) = director;
    builder.timeouts(current, wanted);
    for state in [SyncState::Master, SyncState::Backup] {
        builder.sync_daemon(state, current, before, wanted);
    }
    builder.finish()
}

fn tables<'a>(
    current: impl IntoIterator<Item = &'a ServiceEntry>,
    target: impl IntoIterator<Item = impl Borrow<TargetService>>,
) -> Builder {
    let mut builder = Builder::default();
    let current: Vec<_> = current.into_iter().collect();
    let present: HashMap<_, _> = current
        .iter()
        .map(|entry| (entry.service.key, *entry))
        .collect();
    let mut kept = HashSet::default();
    for wanted in target {
        let wanted: &TargetService = wanted.borrow();
        kept.insert(wanted.key);
        let found = present.get(&wanted.key);
        let current = found.map(|entry| &entry.service);
        let stored = &wanted.stored;
        builder.service(wanted.key, current, wanted.config, stored, wanted.origin);
        let servers = found.map_or(&[][..], |entry| &entry.servers);
        builder.servers(wanted.key, servers, &wanted.servers);
    }
    for entry in current {
        if !kept.contains(&entry.service.key) {
            builder.delete_service(entry);
        }
    }
    builder
}

/// The difference of one service; without `servers`, those that it has are kept.
pub fn diff_service(
    current: &ServiceEntry,
    config: ServiceConfig,
    stored: &StoredTarget,
    servers: Option<&[TargetServer]>,
) -> Diff {
    let service = &current.service;
    let key = service.key;
    let mut builder = Builder::default();
    builder.service(key, Some(service), config, stored, 0);
    if let Some(servers) = servers {
        builder.servers(key, &current.servers, servers);
    }
    builder.finish()
}

/// The difference of some servers of a service; the others are kept.
pub fn diff_servers(service: ServiceKey, current: &[Server], target: &[TargetServer]) -> Diff {
    let mut builder = Builder::default();
    builder.servers(service, current, target);
    builder.finish()
}

// === impl Builder ===

impl Builder {
    fn service(
        &mut self,
        key: ServiceKey,
        current: Option<&Service>,
        wanted: ServiceConfig,
        stored: &StoredTarget,
        origin: usize,
    ) {
        let create = || {
            let stored = stored.over(StoredFields::NONE);
            (
                Op::CreateService(key, wanted, stored),
                Op::DeleteService(key),
            )
        };
        let edit = |old| (Op::SetService(key, wanted), Op::SetService(key, old));
        let config = current.map(|service| service.config);
        self.object(config, wanted, origin, create, edit);
        if let Some(present) = current.map(Service::stored) {
            let stored = stored.over(present);
            if stored == *present {
                return;
            }
            // The service counts once.
            if config == Some(wanted) {
                self.counts.unchanged -= 1;
                self.counts.updated += 1;
            }
            self.store.push(Change {
                op: Op::SetStored(key, stored),
                undo: Some(Op::SetStored(key, present.clone())),
                origin: Some(origin),
            });
        }
    }

    fn servers(&mut self, service: ServiceKey, current: &[Server], target: &[TargetServer]) {
        let mut present = ServerIndex::new(current);
        let mut is_kept = vec![false; current.len()];
        for wanted in target {
            let TargetServer {
                key,
                config,
                origin,
            } = *wanted;
            let create = || {
                (
                    Op::CreateServer(service, key, config),
                    Op::DeleteServer(service, key),
                )
            };
            let edit = |old| {
                (
                    Op::SetServer(service, key, config),
                    Op::SetServer(service, key, old),
                )
            };
            let place = present.place(key);
            if let Some(is_kept) = place.and_then(|place| is_kept.get_mut(place)) {
                *is_kept = true;
            }
            let found = place.and_then(|place| current.get(place));
            // One that is wanted and a fallback server is created: it becomes the one that is wanted.
            let found = found.filter(|server| !server.is_fallback());
            let found = found.map(|server| server.config);
            self.object(found, config, origin, create, edit);
        }
        let gone = current.iter().zip(is_kept).filter(|(_, is_kept)| !is_kept);
        for (server, _) in gone.filter(|(server, _)| !server.is_fallback()) {
            self.counts.deleted += 1;
            self.delete_servers.push(Change {
                op: Op::DeleteServer(service, server.key),
                undo: Some(Op::CreateServer(service, server.key, server.config)),
                origin: None,
            });
        }
    }

    /// Compares an object; `create` and `edit` are the operations and their opposites.
    fn object<C: PartialEq>(
        &mut self,
        current: Option<C>,
        wanted: C,
        origin: usize,
        create: impl FnOnce() -> (Op, Op),
        edit: impl FnOnce(C) -> (Op, Op),
    ) {
        let change = |(op, undo)| Change {
            op,
            undo: Some(undo),
            origin: Some(origin),
        };
        match current {
            None => {
                self.counts.created += 1;
                self.create.push(change(create()));
            }
            Some(current) if current == wanted => self.counts.unchanged += 1,
            Some(current) => {
                self.counts.updated += 1;
                self.edit.push(change(edit(current)));
            }
        }
    }

    fn delete_service(&mut self, entry: &ServiceEntry) {
        let service = &entry.service;
        let servers = entry.configured().count();
        self.counts.deleted += 1 + servers;
        let stored = service.stored().clone();
        let create = Op::CreateService(service.key, service.config, stored);
        self.delete_others.push(Change {
            op: Op::DeleteService(service.key),
            undo: (servers == 0).then_some(create),
            origin: None,
        });
    }

    /// Timeouts that are not declared any more stay.
    fn timeouts(&mut self, current: &DirectorState, wanted: &Director) {
        if let (Some(current), Some(wanted)) = (current.timeouts, wanted.timeouts) {
            let wanted = wanted.on_kernel(current);
            let edit = |old| (Op::SetTimeouts(wanted), Op::SetTimeouts(old));
            self.object(Some(current), wanted, 0, || edit(wanted), edit);
        }
    }

    /// The kernel cannot reconfigure a daemon that runs: it is stopped and started. One that lacks its interface runs
    /// on: there is a start alone, which the kernel refuses with the reason. A daemon that was declared and is not any
    /// more is stopped.
    fn sync_daemon(
        &mut self,
        state: SyncState,
        current: &DirectorState,
        before: &Director,
        wanted: &Director,
    ) {
        let change = |op, undo, origin| Change {
            op,
            undo: Some(undo),
            origin,
        };
        let start = |config: &SyncDaemonConfig| {
            let (start, stop) = (Op::StartSyncDaemon(*config), Op::StopSyncDaemon(state));
            change(start, stop, Some(0))
        };
        let stop = |running: &SyncDaemon, origin| {
            let start = Op::StartSyncDaemon((*running).into());
            change(Op::StopSyncDaemon(state), start, origin)
        };
        let may_stop = wanted.sync_daemons.is_some() || before.daemon(state).is_some();
        match (current.daemon(state), wanted.daemon(state)) {
            (Some(running), Some(config)) if config.runs_as(running) => self.counts.unchanged += 1,
            (Some(running), Some(config)) if config.lacks_interface(running) => {
                self.counts.updated += 1;
                self.edit.push(Change {
                    undo: None,
                    ..start(config)
                });
            }
            (Some(running), Some(config)) => {
                self.counts.updated += 1;
                self.edit.extend([stop(running, Some(0)), start(config)]);
            }
            (None, Some(config)) => {
                self.counts.created += 1;
                self.create.push(start(config));
            }
            (Some(running), None) if may_stop => {
                self.counts.deleted += 1;
                self.delete_others.push(stop(running, None));
            }
            (_, None) => {}
        }
    }

    fn finish(self) -> Diff {
        let Self {
            store: mut make,
            create,
            edit,
            delete_servers: mut remove,
            delete_others,
            counts,
        } = self;
        make.extend(create.into_iter().chain(edit));
        remove.extend(delete_others);
        Diff {
            make,
            remove,
            counts,
        }
    }
}

// === impl DiffCounts ===

impl DiffCounts {
    /// Whether anything is created, edited or deleted.
    pub fn changed(&self) -> bool {
        self.created + self.updated + self.deleted > 0
    }
}

impl AddAssign for DiffCounts {
    fn add_assign(&mut self, other: Self) {
        let Self {
            created,
            updated,
            deleted,
            unchanged,
        } = other;
        self.created += created;
        self.updated += updated;
        self.deleted += deleted;
        self.unchanged += unchanged;
    }
}
