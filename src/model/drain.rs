//! Drains, as they are shown and stored.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    DrainRequest, DrainTarget, HoldId, Owner, Server, ServerKey, ServiceKey, Then, word::words,
};

/// A drain: its servers receive no new connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Id, a URL path segment.
    pub id: HoldId,
    /// The server, or an address for all of its ports.
    pub server: DrainTarget,
    /// The services; absent: all that have the server, also those that get it later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<Vec<ServiceKey>>,
    /// Seconds from `create_time` until it stops waiting. Absent: it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_seconds: Option<u32>,
    /// What happens to the servers in the end.
    pub then: Then,
    /// The owner of the table that does not declare the servers any more; absent: a request has asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<Owner>,
    /// How far it is.
    pub state: DrainState,
    /// The servers.
    pub members: Vec<DrainMember>,
    /// Why connections may continue to come, and what would change that.
    #[serde(default)]
    pub blockers: Vec<String>,
    /// When it was created.
    pub create_time: Timestamp,
    /// When it ended. Absent while it holds its servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Timestamp>,
}

words! {
    /// How far a drain is.
    #[derive(Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    DrainState {
        /// There are connections.
        Draining = "draining",
        /// There are no connections.
        Drained = "drained",
        /// There were connections at its deadline.
        DeadlineReached = "deadline_reached",
        /// It was deleted before.
        Cancelled = "cancelled",
        /// The weights of all its servers were changed.
        Superseded = "superseded",
    }
}

/// A server of a drain. The numbers are those of the last look, usually at most a second old.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainMember {
    /// Id of the service.
    pub service: ServiceKey,
    /// Id of the server.
    pub server: ServerKey,
    /// The intended weight.
    pub weight: u32,
    /// The weight in the kernel.
    pub effective_weight: u32,
    /// Current connections in state ESTABLISHED.
    pub active_connections: u32,
    /// Current connections in other states.
    pub inactive_connections: u32,
    /// Current persistence templates.
    pub persistent_connections: u32,
    /// How far it is.
    pub state: MemberState,
}

words! {
    /// How far a server of a drain is.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    MemberState {
        /// It has connections or persistence templates.
        Draining = "draining",
        /// It has none, or does not exist.
        Drained = "drained",
        /// Its weight was changed, which has ended the drain for it.
        Superseded = "superseded",
    }
}

// === impl Drain ===

impl Drain {
    /// Whether it holds servers.
    pub fn is_active(&self) -> bool {
        self.end_time.is_none()
    }

    /// A drain that begins now, and has no members yet.
    pub(crate) fn new(id: HoldId, request: DrainRequest) -> Self {
        let DrainRequest {
            target,
            services,
            deadline_seconds,
            then,
        } = request;
        Self {
            id,
            server: target,
            services,
            deadline_seconds,
            then,
            table: None,
            state: DrainState::Draining,
            members: Vec::new(),
            blockers: Vec::new(),
            create_time: Timestamp::now(),
            end_time: None,
        }
    }

    /// The same without what has no bound: the services, the members and the blockers.
    pub(crate) fn header(&self) -> Self {
        Self {
            services: None,
            members: Vec::new(),
            blockers: Vec::new(),
            table: self.table.clone(),
            ..*self
        }
    }

    /// The members that it holds, or would hold if they existed.
    pub(crate) fn held_members(&self) -> impl Iterator<Item = (ServiceKey, ServerKey)> {
        let members = self.members.iter();
        let held = members.filter(|member| member.state != MemberState::Superseded);
        held.map(|member| (member.service, member.server))
    }

    /// The services of its members, each as often as it has members.
    pub(crate) fn member_services(&self) -> impl Iterator<Item = ServiceKey> {
        self.members.iter().map(|member| member.service)
    }

    /// Notes that it holds a server with this intended weight, and the weight that the server has in the kernel.
    pub(crate) fn join(
        &mut self,
        service: ServiceKey,
        server: ServerKey,
        weight: u32,
        effective_weight: u32,
    ) {
        let is_it =
            |member: &&mut DrainMember| (member.service, member.server) == (service, server);
        match self.members.iter_mut().find(is_it) {
            Some(member) => {
                member.weight = weight;
                // One that was created again.
                if member.state == MemberState::Superseded {
                    member.state = MemberState::Draining;
                }
            }
            None => self.insert(DrainMember {
                service,
                server,
                weight,
                effective_weight,
                active_connections: 0,
                inactive_connections: 0,
                persistent_connections: 0,
                state: MemberState::Draining,
            }),
        }
    }

    /// Members are in the order of their ids.
    fn insert(&mut self, member: DrainMember) {
        let key = |member: &DrainMember| (member.service, member.server);
        let place = self
            .members
            .partition_point(|other| key(other) < key(&member));
        self.members.insert(place, member);
    }

    /// Notes that the weight of a server was changed. Returns whether that has ended the drain.
    pub(crate) fn supersede(&mut self, service: ServiceKey, server: ServerKey) -> bool {
        for member in &mut self.members {
            if (member.service, member.server) == (service, server) {
                member.state = MemberState::Superseded;
            }
        }
        let mut members = self.members.iter();
        let ends = members.all(|member| member.state == MemberState::Superseded);
        if ends && self.is_active() {
            self.end(DrainState::Superseded);
        }
        ends
    }

    /// Notes the servers of those services that were read. `Some(None)`: the service does not exist.
    pub(crate) fn see<'s>(&mut self, seen: &dyn Fn(ServiceKey) -> Option<Option<&'s [Server]>>) {
        for member in &mut self.members {
            if let Some(servers) = seen(member.service)
                && member.state != MemberState::Superseded
            {
                let mut servers = servers.into_iter().flatten();
                member.see(servers.find(|server| server.key == member.server));
            }
        }
    }

    /// Notes how far it is. Returns whether that is news.
    pub(crate) fn progress(&mut self, now: Timestamp) -> bool {
        let is_drained = |member: &DrainMember| member.state != MemberState::Draining;
        let state = match self.members.iter().all(is_drained) {
            true => DrainState::Drained,
            false if self.is_late(now) => DrainState::DeadlineReached,
            false => DrainState::Draining,
        };
        std::mem::replace(&mut self.state, state) != state
    }

    /// Whether its servers are to be removed now.
    pub(crate) fn removes(&self) -> bool {
        self.is_active() && self.then == Then::Remove && self.state != DrainState::Draining
    }

    pub(crate) fn end(&mut self, state: DrainState) {
        self.state = state;
        self.end_time = Some(Timestamp::now());
    }

    fn is_late(&self, now: Timestamp) -> bool {
        let waited = now.duration_since(self.create_time).as_secs();
        self.deadline_seconds
            .is_some_and(|seconds| waited >= i64::from(seconds))
    }
}

// === impl DrainMember ===

impl DrainMember {
    fn see(&mut self, server: Option<&Server>) {
        let (active, inactive, persistent) = server.map_or((0, 0, 0), |server| {
            (
                server.active_connections,
                server.inactive_connections,
                server.persistent_connections,
            )
        });
        self.active_connections = active;
        self.inactive_connections = inactive;
        self.persistent_connections = persistent;
        if let Some(server) = server {
            self.weight = server.config.weight;
            self.effective_weight = server.effective_weight;
        }
        self.state = match (active, inactive, persistent) {
            (0, 0, 0) => MemberState::Drained,
            _ => MemberState::Draining,
        };
    }
}
