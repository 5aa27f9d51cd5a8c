//! The difference between the kernel's table and the one that is wanted, as operations.

use std::{
    collections::{HashMap, HashSet},
    ops::AddAssign,
};

use super::{
    Op, Server, ServerConfig, ServerKey, ServiceConfig, ServiceEntry, ServiceKey, TargetServer,
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
    /// Creates services and servers, then edits those that exist.
    pub make: Vec<Change>,
    /// Deletes servers, then services.
    pub remove: Vec<Change>,
    /// Services and servers, counted by what happens to them.
    pub counts: DiffCounts,
}

/// An operation of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The operation.
    pub op: Op,
    /// The operation that reverts it; `None` for the deletion of a service with its servers.
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
    create: Vec<Change>,
    edit: Vec<Change>,
    delete_servers: Vec<Change>,
    delete_services: Vec<Change>,
    counts: DiffCounts,
}

/// The difference between two tables. Neither has an object twice.
pub fn diff<'a>(
    current: impl IntoIterator<Item = &'a ServiceEntry>,
    target: &[TargetService],
) -> Diff {
    let mut builder = Builder::default();
    let current: Vec<_> = current.into_iter().collect();
    let present: HashMap<_, _> = current
        .iter()
        .map(|entry| (entry.service.key, *entry))
        .collect();
    for wanted in target {
        let found = present.get(&wanted.key);
        let config = found.map(|entry| entry.service.config);
        builder.service(wanted.key, config, wanted.config, wanted.origin);
        let servers = found.map_or(&[][..], |entry| &entry.servers);
        builder.servers(wanted.key, servers, &wanted.servers);
    }
    let kept: HashSet<_> = target.iter().map(|wanted| wanted.key).collect();
    for entry in current {
        if !kept.contains(&entry.service.key) {
            builder.delete_service(entry);
        }
    }
    builder.finish()
}

/// The difference of one service; without `servers`, its servers are kept.
pub fn diff_service(
    current: &ServiceEntry,
    config: ServiceConfig,
    servers: Option<&[TargetServer]>,
) -> Diff {
    let key = current.service.key;
    let mut builder = Builder::default();
    builder.service(key, Some(current.service.config), config, 0);
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
        current: Option<ServiceConfig>,
        wanted: ServiceConfig,
        origin: usize,
    ) {
        let create = || (Op::CreateService(key, wanted), Op::DeleteService(key));
        let edit = |old| (Op::SetService(key, wanted), Op::SetService(key, old));
        self.object(current, wanted, origin, create, edit);
    }

    fn servers(&mut self, service: ServiceKey, current: &[Server], target: &[TargetServer]) {
        let mut present: HashMap<ServerKey, ServerConfig> = current
            .iter()
            .map(|server| (server.key, server.config))
            .collect();
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
            self.object(present.remove(&key), config, origin, create, edit);
        }
        let gone = current
            .iter()
            .filter(|server| present.contains_key(&server.key));
        for server in gone {
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
        let ServiceEntry { service, servers } = entry;
        self.counts.deleted += 1 + servers.len();
        let create = Op::CreateService(service.key, service.config);
        self.delete_services.push(Change {
            op: Op::DeleteService(service.key),
            undo: servers.is_empty().then_some(create),
            origin: None,
        });
    }

    fn finish(self) -> Diff {
        let Self {
            create: mut make,
            edit,
            delete_servers: mut remove,
            delete_services,
            counts,
        } = self;
        make.extend(edit);
        remove.extend(delete_services);
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
