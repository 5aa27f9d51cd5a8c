//! The state of the holds, behind its lock.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::IpAddr,
};

use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};

use super::{
    fallback::Fallbacks,
    member::{MAX_HELD, Member},
};
use crate::model::{DrainTarget, Error, Hold, HoldId, HoldKind, Op, ServerConfig, ServiceKey};

/// A server whose weight is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The intended weight.
    pub weight: u32,
    /// The holds; at least one.
    pub holds: Vec<Hold>,
    /// Whether the kernel has had the effective weight. Another one in the kernel is then the change of
    /// another program.
    pub is_applied: bool,
    /// Whether the intended weight is stored. The kernel has it until then.
    #[serde(skip, default = "is_stored")]
    pub is_stored: bool,
}

/// Of what is read from the store.
fn is_stored() -> bool {
    true
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) held: HashMap<Member, Held, RandomState>,
    /// Drains by the address that they cover. Servers that appear later join them.
    pub(super) drains: HashMap<IpAddr, Vec<OpenDrain>, RandomState>,
    /// What health checks and overrides hold, or are to hold.
    pub(super) wanted: HashMap<Member, Vec<Hold>, RandomState>,
    /// Drains of servers that tables do not declare any more.
    pub(super) removing: HashSet<HoldId, RandomState>,
    /// Grows when a member is removed: what was read before has its effective weight.
    pub(super) removals: u64,
    /// Members whose intended weight or holds have changed since [`Holds::take_changes`](super::holds::Holds::take_changes).
    pub(super) changed: BTreeSet<Member>,
    /// Those of which it is being stored.
    pub(super) storing: BTreeSet<Member>,
    /// Why it could not be stored the last time.
    pub(super) failure: Option<Error>,
    /// Members whose holds have ended because their weight was changed, with those holds.
    pub(super) superseded: Vec<(Member, Held)>,
    /// The fallback servers, whose weights nothing holds.
    pub(super) fallbacks: Fallbacks,
}

#[derive(Debug)]
pub(super) struct OpenDrain {
    pub(super) id: HoldId,
    pub(super) target: DrainTarget,
    /// `None`: all services.
    pub(super) services: Option<Vec<ServiceKey>>,
    /// Members whose weight was changed, which has ended the drain for them.
    pub(super) except: BTreeSet<Member>,
}

// === impl Held ===

impl Held {
    /// The weight that the kernel has to have.
    pub fn effective_weight(&self) -> u32 {
        Hold::effective_weight(&self.holds, self.weight)
    }

    /// The holds that outlast a change of the intended weight.
    pub(super) fn lasting(&self) -> Vec<Hold> {
        let lasting = self.holds.iter().filter(|hold| hold.is_lasting());
        lasting.copied().collect()
    }

    /// Changes the holds. The kernel lacks an effective weight that is another then.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Vec<Hold>)) {
        let before = self.effective_weight();
        change(&mut self.holds);
        self.is_applied &= self.effective_weight() == before;
    }
}

// === impl OpenDrain ===

impl OpenDrain {
    pub(super) fn covers(&self, (service, server): Member) -> bool {
        let is_named = |services: &Vec<ServiceKey>| services.contains(&service);
        self.target.covers(server) && self.services.as_ref().is_none_or(is_named)
    }
}

// === impl State ===

impl State {
    pub(super) fn is_unused(&self) -> bool {
        self.held.is_empty()
            && self.drains.is_empty()
            && self.changed.is_empty()
            && self.storing.is_empty()
            && self.fallbacks.is_unused()
    }

    pub(super) fn drains_of(&self, member: Member) -> impl Iterator<Item = HoldId> {
        let drains = self.drains.get(&member.1.address).into_iter().flatten();
        drains
            .filter(move |drain| drain.covers(member) && !drain.except.contains(&member))
            .map(|drain| drain.id)
    }

    /// Excludes a member from the drains that cover it, or includes it again.
    pub(super) fn except(&mut self, member: Member, is_excluded: bool) {
        let drains = self.drains.get_mut(&member.1.address).into_iter().flatten();
        for drain in drains.filter(|drain| drain.covers(member)) {
            match is_excluded {
                true => drain.except.insert(member),
                false => drain.except.remove(&member),
            };
        }
    }

    /// The operation with the effective weight, if that differs.
    pub(super) fn sent(&self, op: &Op, keeps: bool) -> Option<Op> {
        let (Op::CreateServer(service, server, config) | Op::SetServer(service, server, config)) =
            *op
        else {
            return None;
        };
        let is_new = matches!(op, Op::CreateServer(..));
        let member = (service, server);
        if self.fallbacks.is_adding(&member) {
            return None;
        }
        let weight = match self.held.get(&(service, server)) {
            // A change of the intended weight ends drains and ramps.
            Some(held) if config.weight != held.weight && !keeps && !is_new => {
                Hold::effective_weight(&held.lasting(), config.weight)
            }
            Some(held) => Hold::effective_weight(&held.holds, config.weight),
            None if is_new && self.is_drained_when_created((service, server)) => 0,
            None => config.weight,
        };
        let config = ServerConfig { weight, ..config };
        // One that is created in the place of a fallback server exists.
        let sent = match is_new && !self.fallbacks.is_added(&member) {
            true => Op::CreateServer(service, server, config),
            false => Op::SetServer(service, server, config),
        };
        (sent != *op).then_some(sent)
    }

    /// Whether an operation needs the store: what it changes of the holds has to be stored, or what was changed
    /// before of the same servers.
    pub(super) fn needs_store(&self, op: &Op) -> bool {
        let has_ramp = |held: &Held| held.holds.iter().any(|hold| hold.kind == HoldKind::Ramp);
        let changes = match *op {
            Op::CreateServer(service, server, _) => {
                let member = (service, server);
                self.held.contains_key(&member) || self.is_drained_when_created(member)
            }
            Op::SetServer(service, server, config) => match self.held.get(&(service, server)) {
                // Also when a hold has ended and cannot be deleted from the store.
                Some(held) if held.weight == config.weight => return false,
                held => held.is_some(),
            },
            Op::DeleteServer(service, server) => {
                self.held.get(&(service, server)).is_some_and(has_ramp)
            }
            Op::DeleteService(service) => {
                let mut held = self.held.iter();
                held.any(|((of, _), held)| *of == service && has_ramp(held))
            }
            Op::Clear => self.held.values().any(has_ramp),
            _ => false,
        };
        changes || self.fallbacks.replaces(op) || self.is_unstored(op)
    }

    /// Whether a change of the holds of the servers of an operation is not stored yet.
    pub(super) fn is_unstored(&self, op: &Op) -> bool {
        if self.fallbacks.is_unstored(op) {
            return true;
        }
        let mut unstored = self.changed.iter().chain(&self.storing);
        match *op {
            Op::CreateServer(service, server, _)
            | Op::SetServer(service, server, _)
            | Op::DeleteServer(service, server) => {
                let member = (service, server);
                self.changed.contains(&member) || self.storing.contains(&member)
            }
            Op::DeleteService(service) => unstored.any(|(of, _)| *of == service),
            Op::Clear => unstored.next().is_some(),
            _ => false,
        }
    }

    pub(super) fn executed(&mut self, op: &Op, keeps: bool) -> Option<(Member, Held)> {
        let is_of_fallback = match *op {
            Op::CreateServer(service, server, _) => self.fallbacks.is_adding(&(service, server)),
            _ => false,
        };
        if self.fallbacks.executed(op) {
            self.removals += 1;
        }
        match *op {
            _ if is_of_fallback => None,
            Op::CreateServer(service, server, config) => {
                self.created((service, server), config.weight);
                None
            }
            Op::SetServer(service, server, config) => {
                let member = (service, server);
                let held = self.held.get_mut(&member)?;
                if held.weight != config.weight {
                    if !keeps {
                        let before = held.clone();
                        self.supersede(member, config.weight);
                        self.applied(member);
                        return Some((member, before));
                    }
                    held.weight = config.weight;
                    self.changed.insert(member);
                }
                self.applied(member);
                None
            }
            // A drain covers a server that comes back; all else ends.
            Op::DeleteServer(service, server) => {
                self.end_of((service, server));
                None
            }
            Op::DeleteService(service) => {
                let of_service = self.held.keys().filter(|(of, _)| *of == service);
                for member in of_service.copied().collect::<Vec<_>>() {
                    self.end_of(member);
                }
                None
            }
            Op::Clear => {
                for member in self.held.keys().copied().collect::<Vec<_>>() {
                    self.end_of(member);
                }
                None
            }
            _ => None,
        }
    }

    /// Whether a server that is created joins a drain. One that was excluded was another server.
    pub(super) fn is_drained_when_created(&self, member: Member) -> bool {
        let mut drains = self.drains.get(&member.1.address).into_iter().flatten();
        self.held.len() < MAX_HELD && drains.any(|drain| drain.covers(member))
    }

    pub(super) fn created(&mut self, member: Member, weight: u32) {
        self.except(member, false);
        if let Some(held) = self.held.get_mut(&member) {
            held.weight = weight;
            held.is_applied = true;
            self.changed.insert(member);
            return;
        }
        let drains: Vec<_> = self.drains_of(member).collect();
        if drains.is_empty() || self.held.len() >= MAX_HELD {
            return;
        }
        let held = Held {
            weight,
            holds: drains.into_iter().map(Hold::drain).collect(),
            is_applied: true,
            is_stored: false,
        };
        self.held.insert(member, held);
        self.changed.insert(member);
    }

    pub(super) fn remove(&mut self, member: &Member) -> Option<Held> {
        self.removals += 1;
        self.held.remove(member)
    }

    pub(super) fn applied(&mut self, member: Member) {
        let Some(held) = self.held.get_mut(&member) else {
            return;
        };
        if held.holds.is_empty() {
            self.remove(&member);
            self.changed.insert(member);
        } else if !held.is_applied {
            held.is_applied = true;
            self.changed.insert(member);
        }
    }

    /// Ends the drains and ramps of a member, because its weight was changed. What else holds it stays, over the
    /// new weight.
    pub(super) fn supersede(&mut self, member: Member, weight: u32) {
        let Some(held) = self.held.get_mut(&member) else {
            return;
        };
        let lasting = held.lasting();
        let ended: Vec<_> = held
            .holds
            .extract_if(.., |hold| !hold.is_lasting())
            .collect();
        let ended = Held {
            holds: ended,
            ..*held
        };
        if lasting.is_empty() {
            self.remove(&member);
        } else {
            held.weight = weight;
            held.is_applied = false;
        }
        self.except(member, true);
        self.superseded.push((member, ended));
        self.changed.insert(member);
    }

    pub(super) fn add(&mut self, member: Member, weight: u32, hold: Hold) {
        if !self.held.contains_key(&member) && self.held.len() >= MAX_HELD {
            return;
        }
        let held = self.held.entry(member).or_insert_with(|| Held {
            weight,
            holds: Vec::new(),
            is_applied: false,
            is_stored: false,
        });
        held.change(|holds| {
            holds.retain(|other| other.id != hold.id);
            holds.push(hold);
        });
        self.changed.insert(member);
    }

    /// Ends the ramps of a member, but not this one.
    pub(super) fn end_ramps(&mut self, member: Member, keeps: HoldId) {
        self.end_holds(member, |hold| {
            hold.kind == HoldKind::Ramp && hold.id != keeps
        });
    }

    /// Ends what holds a member that is deleted, but not its drains.
    fn end_of(&mut self, member: Member) {
        self.wanted.remove(&member);
        self.end_holds(member, |hold| hold.kind != HoldKind::Drain);
    }

    fn end_holds(&mut self, member: Member, ends: impl Fn(&mut Hold) -> bool) {
        let Some(held) = self.held.get_mut(&member) else {
            return;
        };
        let ended: Vec<_> = held.holds.extract_if(.., ends).collect();
        if ended.is_empty() {
            return;
        }
        let ended = Held {
            holds: ended,
            ..*held
        };
        if held.holds.is_empty() {
            self.remove(&member);
        }
        self.superseded.push((member, ended));
        self.changed.insert(member);
    }
}
