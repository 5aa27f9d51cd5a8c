//! The fallback servers of services: rows of the kernel's table that are the daemon's, and nobody's configuration.
//!
//! Each is stored before it is created, so that one that is left by a crash is known. What the executor reads marks
//! them ([`Membership::Fallback`](crate::model::Membership::Fallback)).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use super::member::{MAX_HELD, Member};
use crate::model::{
    Error, FallbackServer, Op, Reason, Server, ServerConfig, ServerKey, ServiceKey,
};

/// The fallback servers of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FallbackTarget {
    /// The servers.
    pub servers: Arc<[FallbackServer]>,
    /// Whether they are to get connections in any case. They get some too while no other server does.
    pub is_wanted: bool,
}

/// The operations on the fallback servers of a service. None is reverted: the next look plans from what there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FallbackOps {
    /// Let servers get connections. They come before all that takes connections from a server.
    pub raise: Vec<Op>,
    /// Let servers get no new connections.
    pub lower: Vec<Op>,
    /// Delete servers that have no connections any more.
    pub delete: Vec<Op>,
    /// Whether some have to be stored before they are created. Until then, no server may be taken out.
    pub is_waiting: bool,
    /// Whether a fallback server gets connections after these operations.
    pub serves: bool,
    /// Whether the service is to have a server that gets connections at any time.
    pub is_required: bool,
    /// Number of the plan: later ones have larger numbers.
    pub number: u64,
}

/// The fallback servers of all services.
#[derive(Debug, Default)]
pub(super) struct Fallbacks {
    rows: BTreeMap<Member, Row>,
    pub(super) targets: HashMap<ServiceKey, FallbackTarget>,
    /// Services about which it is not known since the start whether they have fallback servers: their rows stay, and
    /// nothing takes the last server out.
    pub(super) undecided: HashSet<ServiceKey>,
    /// Members whose row has appeared or gone since it was stored.
    pub(super) changed: BTreeSet<Member>,
    pub(super) storing: BTreeSet<Member>,
    /// Number of plans that were made.
    plans: u64,
}

/// A row that the daemon adds or has added.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    is_stored: bool,
    /// Whether the kernel has it.
    is_added: bool,
    /// The plan whose operations on it are in progress.
    open: Option<u64>,
    /// Since when it gets no new connections.
    lowered: Option<Instant>,
    /// When the kernel has refused it: a server that cannot be added must not keep the others from it.
    refused: Option<Instant>,
}

/// Time that a fallback server keeps its connections when it is not needed any more. Then it is deleted with them:
/// it lets no client that is persistent return to the other servers.
const LINGER: Duration = Duration::from_secs(60);
/// Time after which one that the kernel has refused is tried again.
const RETRY: Duration = Duration::from_secs(10);

// === impl Fallbacks ===

impl Fallbacks {
    pub(super) fn is_unused(&self) -> bool {
        self.rows.is_empty()
            && self.targets.is_empty()
            && self.undecided.is_empty()
            && self.changed.is_empty()
            && self.storing.is_empty()
    }

    /// Rows that are stored.
    pub(super) fn load(&mut self, members: impl IntoIterator<Item = Member>) {
        let row = Row {
            is_stored: true,
            is_added: true,
            ..Row::default()
        };
        for member in members {
            self.undecided.insert(member.0);
            self.rows.insert(member, row);
        }
    }

    /// Whether a server that was read is a row of the daemon.
    pub(super) fn is_shown(&self, member: &Member) -> bool {
        let row = self.rows.get(member);
        row.is_some_and(|row| row.is_added || row.open.is_some())
    }

    /// Whether the daemon is about to add a member.
    pub(super) fn is_adding(&self, member: &Member) -> bool {
        let row = self.rows.get(member);
        row.is_some_and(|row| row.open.is_some() && !row.is_added)
    }

    /// Whether the kernel has a member that somebody else is about to create.
    pub(super) fn is_added(&self, member: &Member) -> bool {
        self.rows.get(member).is_some_and(|row| row.is_added)
    }

    /// Whether an operation creates a server in the place of a fallback server.
    pub(super) fn replaces(&self, op: &Op) -> bool {
        match *op {
            Op::CreateServer(service, server, _) => {
                let row = self.rows.get(&(service, server));
                row.is_some_and(|row| row.open.is_none())
            }
            _ => false,
        }
    }

    /// Whether something is to be stored of the members that an operation changes.
    pub(super) fn is_unstored(&self, op: &Op) -> bool {
        let mut unstored = self.changed.iter().chain(&self.storing);
        match *op {
            Op::CreateServer(service, server, _) => unstored.any(|it| *it == (service, server)),
            Op::DeleteService(service) => unstored.any(|(of, _)| *of == service),
            Op::Clear => unstored.next().is_some(),
            _ => false,
        }
    }

    /// Refuses an operation that is not the daemon's on a row that is.
    pub(super) fn check(&self, op: &Op) -> Result<(), Error> {
        let (Op::SetServer(service, server, _) | Op::DeleteServer(service, server)) = *op else {
            return Ok(());
        };
        match self.rows.get(&(service, server)) {
            Some(row) if row.is_added && row.open.is_none() => {
                Err(Error::of_fallback(service, server))
            }
            _ => Ok(()),
        }
    }

    /// Notes an operation that the kernel has executed. Returns whether a row is gone, or is not the daemon's any more.
    pub(super) fn executed(&mut self, op: &Op) -> bool {
        match *op {
            Op::CreateServer(service, server, _) => {
                let member = (service, server);
                match self.rows.get_mut(&member) {
                    Some(row) if row.open.is_some() && !row.is_added => row.is_added = true,
                    Some(_) => return self.remove(member),
                    None => {}
                }
                false
            }
            Op::DeleteServer(service, server) => self.remove((service, server)),
            Op::DeleteService(service) => self.forget(|(of, _)| of == service),
            Op::Clear => self.forget(|_| true),
            _ => false,
        }
    }

    fn remove(&mut self, member: Member) -> bool {
        let is_gone = self.rows.remove(&member).is_some();
        if is_gone {
            self.changed.insert(member);
        }
        is_gone
    }

    pub(super) fn forget(&mut self, is_gone: impl Fn(Member) -> bool) -> bool {
        let members = self.rows.keys().copied();
        let gone: Vec<_> = members.filter(|member| is_gone(*member)).collect();
        for member in &gone {
            self.remove(*member);
        }
        !gone.is_empty()
    }

    pub(super) fn members(&self, service: ServiceKey) -> Vec<Member> {
        let first = ServerKey {
            address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            port: 0,
        };
        let rows = self.rows.range((service, first)..);
        rows.map(|(member, _)| *member)
            .take_while(|(of, _)| *of == service)
            .collect()
    }

    /// Compares the rows of a service with its servers.
    fn see(&mut self, service: ServiceKey, servers: &[Server]) {
        let target = self.targets.get(&service);
        let target: HashMap<_, _> = target
            .iter()
            .flat_map(|target| target.servers.iter())
            .map(|one| (one.key, one.config))
            .collect();
        let seen: HashMap<_, _> = servers.iter().map(|server| (server.key, server)).collect();
        for member in self.members(service) {
            let Some(row) = self.rows.get_mut(&member) else {
                continue;
            };
            match seen.get(&member.1) {
                None => {
                    row.is_added = false;
                    row.lowered = None;
                }
                Some(_) if row.is_added => {}
                // The outcome of its creation is not known.
                Some(server) if target.get(&member.1) == Some(&server.config) => {
                    row.is_added = true;
                }
                // Somebody else has created it.
                Some(_) => {
                    self.remove(member);
                }
            }
        }
    }

    /// What is to be done with the fallback servers of a service with these servers. `is_served`: whether another
    /// server gets connections when all is done.
    pub(super) fn plan(
        &mut self,
        service: ServiceKey,
        servers: &[Server],
        is_served: bool,
        now: Instant,
    ) -> FallbackOps {
        self.see(service, servers);
        let seen: HashMap<_, _> = servers.iter().map(|server| (server.key, server)).collect();
        self.plans += 1;
        let mut ops = FallbackOps {
            number: self.plans,
            ..FallbackOps::default()
        };
        let target = self.targets.get(&service).cloned();
        let needed = target.filter(|target| target.is_wanted || !is_served);
        let is_undecided = self.undecided.contains(&service);
        ops.is_required = is_undecided || self.targets.contains_key(&service);
        let mut kept = HashSet::new();
        for one in needed.iter().flat_map(|target| target.servers.iter()) {
            kept.insert(one.key);
            let found = seen.get(&one.key).copied();
            let member = (service, one.key);
            self.need(member, one.config, (found, now), &mut ops);
        }
        for member in self.members(service) {
            let Some(row) = self.rows.get_mut(&member) else {
                continue;
            };
            let (found, key) = (seen.get(&member.1).copied(), member.1);
            match found {
                _ if kept.contains(&key) => {}
                Some(server) if is_undecided => ops.serves |= server.effective_weight > 0,
                None if is_undecided => {}
                Some(server) => row.release(service, server, now, &mut ops),
                None => {
                    self.remove(member);
                }
            }
        }
        ops
    }

    /// A fallback server is to get connections.
    fn need(
        &mut self,
        member: Member,
        config: ServerConfig,
        (found, now): (Option<&Server>, Instant),
        ops: &mut FallbackOps,
    ) {
        let (service, server) = member;
        let is_full = self.rows.len() >= MAX_HELD;
        let Some(row) = self.rows.get_mut(&member) else {
            // One that exists is somebody's server.
            if found.is_none() && !is_full {
                self.rows.insert(member, Row::default());
                self.changed.insert(member);
                ops.is_waiting = true;
            }
            return;
        };
        if !row.is_stored {
            ops.is_waiting = true;
            return;
        }
        let is_refused = |at| now.duration_since(at) < RETRY;
        if row.refused.is_some_and(is_refused) {
            return;
        }
        row.lowered = None;
        ops.serves = true;
        match found {
            Some(found) if found.config == config => {}
            Some(_) => {
                row.open = Some(ops.number);
                ops.raise.push(Op::SetServer(service, server, config));
            }
            None => {
                row.open = Some(ops.number);
                ops.raise.push(Op::CreateServer(service, server, config));
            }
        }
    }

    /// Ends the operations of plans up to this one on the servers of a service. Those of a later plan may be in
    /// progress: two tasks look at a service at once.
    pub(super) fn close(&mut self, service: ServiceKey, number: u64, now: Instant) {
        for member in self.members(service) {
            if let Some(row) = self.rows.get_mut(&member)
                && row.open.take_if(|open| *open <= number).is_some()
            {
                row.refused = (!row.is_added).then_some(now);
            }
        }
    }

    /// The services whose rows can be created now.
    pub(super) fn services_to_apply(&self) -> impl Iterator<Item = ServiceKey> {
        let rows = self.rows.iter();
        let rows = rows.filter(|(_, row)| row.is_stored && !row.is_added);
        rows.map(|((service, _), _)| *service)
    }

    pub(super) fn services(&self) -> impl Iterator<Item = ServiceKey> {
        self.rows.keys().map(|(service, _)| *service)
    }

    /// What is to be stored: the members, and whether each has a row.
    pub(super) fn take_changes(&mut self) -> Vec<(Member, bool)> {
        self.storing = std::mem::take(&mut self.changed);
        let members = self.storing.iter();
        let has_row = |member: &Member| self.rows.contains_key(member);
        members.map(|member| (*member, has_row(member))).collect()
    }

    /// Notes that the store has what was taken.
    pub(super) fn stored(&mut self) {
        for member in std::mem::take(&mut self.storing) {
            if !self.changed.contains(&member)
                && let Some(row) = self.rows.get_mut(&member)
            {
                row.is_stored = true;
            }
        }
    }
}

// === impl Row ===

impl Row {
    /// It is not needed any more.
    fn release(
        &mut self,
        service: ServiceKey,
        server: &Server,
        now: Instant,
        ops: &mut FallbackOps,
    ) {
        self.open = Some(ops.number);
        let key = server.key;
        if server.effective_weight > 0 {
            self.lowered = None;
            let config = ServerConfig {
                weight: 0,
                ..server.config
            };
            ops.lower.push(Op::SetServer(service, key, config));
            return;
        }
        let since = *self.lowered.get_or_insert(now);
        let connections = [
            server.active_connections,
            server.inactive_connections,
            server.persistent_connections,
        ];
        if connections == [0; 3] || now.duration_since(since) >= LINGER {
            ops.delete.push(Op::DeleteServer(service, key));
        }
    }
}

// === impl Error ===

impl Error {
    /// The error for a change of a server that the daemon has added as a fallback server.
    pub fn of_fallback(service: ServiceKey, server: ServerKey) -> Self {
        let detail = format!(
            "{server} is a fallback server, which the health check of {service} has added; nothing was changed"
        );
        Self::new(Reason::ServiceOwned, detail).with_hint(
            "change health_check.fallback_servers of the service, or create the server: it is one of the service then",
        )
    }
}
