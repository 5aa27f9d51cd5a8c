//! The plan of an apply: the operations that make the kernel's table what the owner declares.

use std::sync::Arc;

use foldhash::{HashMap, HashSet};

use super::{declared::Services, protection::Claims};
use crate::{
    app::{
        Summary,
        described::in_kernel_order,
        holds::Removing,
        operations::{Current, PlannedStep},
    },
    executor::Table,
    identity::Principal,
    model::{
        Adopt, Change, Deletions, Diff, Director, DirectorState, Error, Kept, Op, Owner, Reason,
        Removal, Server, ServerIndex, ServerKey, ServiceEntry, ServiceKey, StoredTarget,
        TargetServer, TargetService, diff_with_director,
    },
    watch::KeptServices,
};

/// What is to be made of the services of an owner.
pub(super) struct Wanted<'a> {
    pub owner: &'a Owner,
    /// The services that it declares.
    pub services: &'a [&'a TargetService],
    /// The services that it has declared before.
    pub before: &'a Services,
    /// The owner of each declared service.
    pub claims: &'a Claims,
    pub adopt: Adopt,
    /// Whether servers that exist keep their weight.
    pub keep_weights: bool,
    /// What becomes of servers that are not declared any more.
    pub removal: Removal,
    /// The servers that drain already.
    pub removing: &'a Removing,
    /// What is kept about services.
    pub kept: &'a KeptServices,
    /// The timeouts and sync daemons that it has declared before, and those that it declares.
    pub director: (&'a Director, &'a Director),
}

/// The operations of an apply.
#[derive(Debug)]
pub(super) struct ApplyPlan {
    /// In the order of their execution.
    pub steps: Vec<PlannedStep>,
    /// Number of leading steps that create and edit. The others delete.
    pub making: usize,
    pub summary: Summary,
    /// Of the owner's services in the kernel, before.
    present: Numbers,
    /// To be deleted.
    deleted: Numbers,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Numbers {
    services: usize,
    servers: usize,
}

/// Services in the kernel, by their keys.
type Entries<'a> = HashMap<ServiceKey, &'a ServiceEntry>;

/// Conflicts that an error lists.
const MAX_LISTED: usize = 100;

// === impl Wanted ===

impl Wanted<'_> {
    /// Plans. Fails if a service belongs to another.
    pub fn plan(&self, kernel: &Current, principal: &Principal) -> Result<ApplyPlan, Error> {
        let keys: HashSet<_> = self.services.iter().map(|service| service.key).collect();
        let touched = |key: &ServiceKey| keys.contains(key) || self.before.contains_key(key);
        let current: Vec<_> = kernel
            .table
            .iter()
            .filter(|entry| touched(&entry.service.key))
            .collect();
        let present: Entries<'_> = current
            .iter()
            .map(|entry| (entry.service.key, *entry))
            .collect();
        self.check_owners(&present, principal)?;
        let mut plan = self.planned(&current, &present, &kernel.director);
        // Those of services that the table does not declare any more are no part of the difference.
        plan.summary.draining += self.leaving().filter(|key| !touched(key)).count();
        Ok(plan)
    }

    /// The stored fields that a service is to have: without declared ones, those that it has, also if it is to be
    /// created again.
    fn stored(&self, service: &TargetService, exists: bool) -> StoredTarget {
        match exists {
            true => service.stored.clone(),
            false => service.stored.or(Kept::stored(&self.kept.of(service.key))),
        }
    }

    /// What a service is to be in the kernel.
    fn target(&self, service: &TargetService, entry: Option<&ServiceEntry>) -> TargetService {
        let mut target = TargetService {
            servers: in_kernel_order(&service.servers),
            stored: self.stored(service, entry.is_some()),
            ..*service
        };
        if let Some(entry) = entry.filter(|_| self.keep_weights) {
            keep_weights(&entry.servers, &mut target.servers);
        }
        target
    }

    fn planned(
        &self,
        current: &[&ServiceEntry],
        entries: &Entries<'_>,
        director: &DirectorState,
    ) -> ApplyPlan {
        let (before, wanted) = self.director;
        // One at a time, so that the table is not copied as a whole.
        let target = self.services.iter();
        let target = target.map(|it| self.target(it, entries.get(&it.key).copied()));
        let Diff {
            make,
            remove,
            counts,
        } = diff_with_director(current.iter().copied(), target, (director, before, wanted));
        let mut plan = ApplyPlan {
            steps: Vec::with_capacity(make.len() + remove.len()),
            making: make.len(),
            summary: Summary::from(counts),
            present: Numbers {
                services: current.len(),
                servers: current.iter().map(|entry| entry.configured().count()).sum(),
            },
            deleted: Numbers::default(),
        };
        let deleted_servers = deleted_servers(current, &remove);
        let mut drains = Vec::new();
        for change in make.into_iter().chain(remove) {
            let entry = change.op.service().and_then(|key| entries.get(&key));
            let entry = entry.copied();
            let (services, servers) = deleted(&change.op, entry, &deleted_servers);
            let is_new = |server: &&&Server| {
                let member = entry.map(|entry| (entry.service.key, server.key));
                member.is_some_and(|member| !self.removing.contains_key(&member))
            };
            let new = servers.iter().filter(is_new);
            plan.deleted.services += services;
            plan.deleted.servers += new.clone().count();
            match entry {
                Some(entry) if self.removal == Removal::Drain && !servers.is_empty() => {
                    let service = entry.service.key;
                    drains.extend(new.map(|server| PlannedStep::draining(service, server)));
                    plan.summary.delete -= services + servers.len();
                    plan.summary.draining += servers.len();
                }
                _ => plan.steps.push(PlannedStep::new(change, entry)),
            }
        }
        plan.steps.extend(drains);
        plan
    }

    /// Services whose servers drain because the table has declared them once.
    fn leaving(&self) -> impl Iterator<Item = ServiceKey> {
        let own = self.removing.iter();
        let own = own.filter(|(_, owner)| *owner == self.owner);
        own.map(|((service, _), _)| *service)
    }

    /// Refuses services of other owners, and those that exist without one.
    fn check_owners(&self, present: &Entries<'_>, principal: &Principal) -> Result<(), Error> {
        let leaving: HashSet<_> = self.leaving().collect();
        let mut conflicts = Vec::new();
        let mut others = 0_usize;
        for service in self.services {
            let key = service.key;
            let message = match self.claims.get(&key) {
                Some(owner) if owner == self.owner => continue,
                Some(_) if self.adopt == Adopt::Any => continue,
                Some(owner) => format!("{key} belongs to the table of {owner}"),
                None if !present.contains_key(&key) || self.adopt != Adopt::None => continue,
                None if leaving.contains(&key) => continue,
                None => format!("{key} exists and belongs to no table"),
            };
            match principal.sees(key) && conflicts.len() < MAX_LISTED {
                true => conflicts.push((service.origin, message)),
                false => others += 1,
            }
        }
        let Some(first) = conflicts.first() else {
            return match others {
                0 => Ok(()),
                _ => Err(owned(format!("{others} services belong to others"))),
            };
        };
        let count = conflicts.len() + others;
        let detail = match count {
            1 => first.1.clone(),
            _ => format!("{} of the services belong to others: {}, …", count, first.1),
        };
        let error = owned(detail);
        Err(conflicts
            .into_iter()
            .fold(error, |error, (index, message)| {
                error.with_violation(format!("services[{index}]"), message)
            }))
    }
}

/// The services that a table has or had, and whether it takes them over.
pub(super) fn touched_services(
    owner: &Owner,
    services: &[Arc<TargetService>],
    before: &Services,
    claims: &Claims,
    adopt: Adopt,
    table: &Table,
) -> Vec<(ServiceKey, bool)> {
    let present: HashSet<_> = table.iter().map(|entry| entry.service.key).collect();
    let is_of_others = |key: &ServiceKey| match claims.get(key) {
        Some(claimant) => claimant != owner,
        None => present.contains(key),
    };
    // Otherwise the table is refused for another reason.
    let takes = adopt != Adopt::None;
    let declared = services.iter().map(|service| service.key);
    let declared = declared.map(|key| (key, takes && is_of_others(&key)));
    let before = before.keys().map(|key| (*key, false));
    declared.chain(before).collect()
}

fn owned(detail: String) -> Error {
    Error::new(
        Reason::ServiceOwned,
        format!("{detail}; nothing was changed"),
    )
    .with_hint(
        "adopt=unmanaged takes services that belong to no table; adopt=any takes those of other \
         owners too, and requires the role admin",
    )
}

/// Sets the weight of each server that exists to the one that it has.
fn keep_weights(current: &[Server], target: &mut [TargetServer]) {
    let mut current = ServerIndex::new(current);
    for server in target {
        if let Some(found) = current.get(server.key).filter(|found| !found.is_fallback()) {
            server.config.weight = found.config.weight;
        }
    }
}

// === impl ApplyPlan ===

impl ApplyPlan {
    /// Leaves out operations.
    pub fn retain(&mut self, mut keeps: impl FnMut(&Op) -> bool) {
        let making = self.making;
        let mut index = 0;
        self.steps.retain(|step| {
            let is_kept = keeps(&step.op);
            self.making -= usize::from(index < making && !is_kept);
            index += 1;
            is_kept
        });
    }

    /// Refuses a plan that deletes more than is permitted: services and servers are counted apart.
    pub fn check_deletions(&self, max: Deletions) -> Result<(), Error> {
        let (deleted, present) = (self.deleted, self.present);
        if deleted.services <= max.limit(present.services)
            && deleted.servers <= max.limit(present.servers)
        {
            return Ok(());
        }
        let detail = format!(
            "the table deletes {} of {} services and {} of {} servers, more than {max}; nothing was \
             changed",
            deleted.services, present.services, deleted.servers, present.servers
        );
        Err(Error::new(Reason::TooManyDeletes, detail)
            .with_violation("max_deletes", format!("{max} is the limit of each"))
            .with_hint("if this is what you want, send max_deletes=100% or the number"))
    }
}

/// Servers by service and server.
type Servers<'a> = HashMap<(ServiceKey, ServerKey), &'a Server>;

/// The servers of the services of which changes delete servers.
fn deleted_servers<'a>(current: &[&'a ServiceEntry], changes: &[Change]) -> Servers<'a> {
    let service = |change: &Change| match change.op {
        Op::DeleteServer(service, _) => Some(service),
        _ => None,
    };
    let services: HashSet<_> = changes.iter().filter_map(service).collect();
    let entries = current.iter();
    let entries = entries.filter(|entry| services.contains(&entry.service.key));
    let servers = entries.flat_map(|entry| {
        let servers = entry.servers.iter();
        servers.map(|server| ((entry.service.key, server.key), server))
    });
    servers.collect()
}

/// Number of services that an operation deletes, and the servers.
fn deleted<'a>(
    op: &Op,
    entry: Option<&'a ServiceEntry>,
    servers: &Servers<'a>,
) -> (usize, Vec<&'a Server>) {
    match *op {
        Op::DeleteService(_) => {
            let servers = entry.into_iter().flat_map(ServiceEntry::configured);
            (1, servers.collect())
        }
        Op::DeleteServer(service, server) => {
            let server = servers.get(&(service, server)).copied();
            (0, server.into_iter().collect())
        }
        _ => (0, Vec::new()),
    }
}
