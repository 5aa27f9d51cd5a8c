//! The holds on the weights of servers.
//!
//! What the executor reads has the intended weight of a server that is held, and what it writes is sent
//! with the effective one, so that everything above it plans, compares and shows intended weights. The kernel
//! knows the effective weight only: the intended one is here, and in the store.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    fmt::Debug,
    sync::{
        OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use super::{
    deletions::Deletions,
    hold_state::{Held, OpenDrain, State},
    member::Member,
    offload::offload,
};
use crate::model::{DrainTarget, Error, Hold, HoldId, Membership, Op, Server, ServiceKey};

/// Where the holds are stored.
pub trait HoldStore: Debug + Send + Sync {
    /// Fails if nothing can be stored durably. Blocks.
    fn prove(&self) -> Result<(), Error>;
}

/// The holds of all servers. Without any, reads and writes only look whether there are some.
#[derive(Debug, Default)]
pub struct Holds {
    is_used: AtomicBool,
    /// As that of the state.
    removals: AtomicU64,
    deletions: Deletions,
    /// `None`: they are in memory alone.
    store: OnceLock<Box<dyn HoldStore>>,
    state: RwLock<State>,
}

/// What has changed since the last time.
#[derive(Debug, Default)]
pub struct HoldChanges {
    /// The members, and what holds them now.
    pub members: Vec<(Member, Option<Held>)>,
    /// Members whose drains and ramps have ended because their weight was changed.
    pub superseded: Vec<(Member, Held)>,
    /// The fallback servers that have appeared, and those that are gone (`false`).
    pub fallbacks: Vec<(Member, bool)>,
}

// === impl Holds ===

impl Holds {
    pub(super) fn is_unused(&self) -> bool {
        !self.is_used.load(Ordering::Acquire)
    }

    /// Whether no weight is held, and none is to be.
    pub(super) fn is_empty(&self) -> bool {
        let is_empty = |state: &State| {
            state.held.is_empty() && state.drains.is_empty() && state.fallbacks.is_unused()
        };
        self.is_unused() || self.read(is_empty)
    }

    /// The number of removals of members. A read during which it grows may have taken an effective weight for an
    /// intended one, and is repeated.
    pub(super) fn removals(&self) -> u64 {
        self.removals.load(Ordering::Acquire)
    }

    /// Looks at the weights of servers that were read while no operation was in progress. One that is not what was
    /// applied is the change of another program: it becomes the intended weight, and ends drains and ramps.
    pub(super) fn notice(&self, service: ServiceKey, servers: &[Server]) {
        if self.is_unused() {
            return;
        }
        let is_changed = |state: &State, server: &Server| {
            let held = state.held.get(&(service, server.key));
            held.is_some_and(|held| {
                held.is_applied && held.effective_weight() != server.effective_weight
            })
        };
        let changed: Vec<_> = self.read(|state| {
            let changed = servers.iter().filter(|server| is_changed(state, server));
            changed
                .map(|server| (server.key, server.effective_weight))
                .collect()
        });
        for (server, weight) in changed {
            tracing::info!(
                %service, %server, weight,
                "another program has changed a weight that was held; a drain or ramp of the server ends"
            );
            self.change(|state| state.supersede((service, server), weight));
        }
    }

    /// Gives servers that were read their intended weights and their holds.
    pub(super) fn show(&self, service: ServiceKey, servers: &mut [Server]) {
        if self.is_unused() {
            return;
        }
        self.read(|state| {
            for server in servers {
                if state.fallbacks.is_shown(&(service, server.key)) {
                    server.membership = Some(Membership::Fallback);
                    continue;
                }
                if let Some(held) = state.held.get(&(service, server.key)) {
                    server.config.weight = held.weight;
                    server.holds = (!held.holds.is_empty()).then(|| held.holds.as_slice().into());
                    let mut holds = held.holds.iter();
                    let is_removing = holds.any(|hold| state.removing.contains(&hold.id));
                    server.membership = is_removing.then_some(Membership::Removing);
                }
            }
        });
    }

    /// The operations with effective weights, as they are sent.
    pub(super) fn sent<'a>(&self, ops: &'a [Op], keeps: bool) -> Cow<'a, [Op]> {
        if self.is_unused() {
            return Cow::Borrowed(ops);
        }
        let mut sent = Cow::Borrowed(ops);
        self.read(|state| {
            for (index, op) in ops.iter().enumerate() {
                if let Some(op) = state.sent(op, keeps)
                    && let Some(place) = sent.to_mut().get_mut(index)
                {
                    *place = op;
                }
            }
        });
        sent
    }

    /// The operation with its effective weight, as it is sent.
    pub(super) fn sent_one(&self, op: &Op, keeps: bool) -> Op {
        let changed = match self.is_unused() {
            true => None,
            false => self.read(|state| state.sent(op, keeps)),
        };
        changed.unwrap_or_else(|| op.clone())
    }

    /// Before the kernel executes operations: fails if they need the store and it does not work. What they change is
    /// stored when the kernel has executed them: if the daemon is killed between, what is stored still shows what
    /// was changed.
    pub(super) fn prepare(&self, ops: &[Op]) -> Result<(), Error> {
        if self.is_unused() {
            return Ok(());
        }
        let failure = self.read(|state| {
            let mut ops = ops.iter();
            if let Some(error) = ops.clone().find_map(|op| state.fallbacks.check(op).err()) {
                return Some(Some(error));
            }
            let needs_store = ops.any(|op| state.needs_store(op));
            needs_store.then(|| state.failure.clone())
        });
        match failure {
            None => Ok(()),
            Some(Some(error)) => Err(error),
            Some(None) => {
                let store = self.store.get();
                store.map_or(Ok(()), |store| offload(|| store.prove()))
            }
        }
    }

    /// Notes that the kernel has executed an operation. With `keeps`, another weight becomes the intended one
    /// and the holds stay; else it ends them. Returns the holds that have ended.
    pub(super) fn executed(&self, op: &Op, keeps: bool) -> Option<(Member, Held)> {
        self.deletions.note(op);
        if self.is_unused() {
            return None;
        }
        self.change(|state| state.executed(op, keeps))
    }

    /// Puts back the holds of a change that is rolled back.
    pub(super) fn put_back(&self, ended: Vec<(Member, Held)>) {
        self.change(|state| {
            for (member, held) in ended {
                state.superseded.retain(|(ended, _)| *ended != member);
                state.except(member, false);
                state.held.insert(member, held);
                state.changed.insert(member);
            }
        });
    }

    // === for the use cases ===

    /// What holds a server.
    pub fn held(&self, member: Member) -> Option<Held> {
        if self.is_unused() {
            return None;
        }
        self.read(|state| state.held.get(&member).cloned())
    }

    /// The number of servers whose weight is held.
    pub fn held_count(&self) -> usize {
        self.read(|state| state.held.len())
    }

    /// Whether a hold has a member.
    pub fn has(&self, member: Member, id: HoldId) -> bool {
        let held = self.held(member);
        held.is_some_and(|held| held.holds.iter().any(|hold| hold.id == id))
    }

    /// Adds a hold, or replaces the one with its id. `weight` is the intended one, unless another hold knows it
    /// already. Without effect if there are too many members.
    pub fn add(&self, member: Member, weight: u32, hold: Hold) {
        self.change(|state| state.add(member, weight, hold));
    }

    /// Adds a ramp, which replaces another one, and sets the intended weight. Without effect if there are too many
    /// members.
    pub fn begin_ramp(&self, member: Member, ramp: Hold, to: u32) {
        self.change(|state| {
            state.end_ramps(member, ramp.id);
            state.add(member, to, ramp);
            if let Some(held) = state.held.get_mut(&member) {
                held.weight = to;
            }
        });
    }

    /// Removes a hold of a member. If it was the last, and the kernel has another weight than the intended one,
    /// the member stays without holds until an operation has set it.
    pub fn remove(&self, member: Member, id: HoldId) {
        self.change(|state| {
            if let Some(held) = state.held.get_mut(&member) {
                held.change(|holds| holds.retain(|hold| hold.id != id));
                if held.holds.is_empty() && held.is_applied {
                    state.remove(&member);
                }
                state.changed.insert(member);
            }
        });
    }

    /// Sets whether [`take_deletions`](Self::take_deletions) will be called.
    pub fn need_deletions(&self, is_needed: bool) {
        self.deletions.need(is_needed);
    }

    /// The deletions of servers and services that the kernel has executed since the last call, in their order.
    pub fn take_deletions(&self) -> Vec<Op> {
        self.deletions.take()
    }

    /// Sets what health checks and overrides are to hold of a member. It is held by the next look at its service.
    pub fn want(&self, member: Member, holds: Vec<Hold>) {
        self.change(|state| match holds.is_empty() {
            true => drop(state.wanted.remove(&member)),
            false => drop(state.wanted.insert(member, holds)),
        });
    }

    /// What health checks and overrides are to hold of a member.
    pub fn wanted(&self, member: Member) -> Vec<Hold> {
        self.read(|state| state.wanted.get(&member).cloned().unwrap_or_default())
    }

    /// Notes that the kernel has the effective weight of a member.
    pub fn applied(&self, member: Member) {
        self.change(|state| state.applied(member));
    }

    /// Forgets the members of a service that are not among its servers: they do not exist. A server that appears
    /// again joins as a new one.
    pub fn retain(&self, service: ServiceKey, servers: &[Server]) {
        if self.is_unused() {
            return;
        }
        let present: BTreeSet<_> = servers.iter().map(|server| server.key).collect();
        let is_gone = |(of, server): Member| of == service && !present.contains(&server);
        self.change(|state| {
            let gone: Vec<_> = state
                .held
                .keys()
                .copied()
                .filter(|member| is_gone(*member))
                .collect();
            for member in gone {
                state.remove(&member);
                state.changed.insert(member);
            }
            for drain in state.drains.values_mut().flatten() {
                drain.except.retain(|member| !is_gone(*member));
            }
        });
    }

    /// Lets servers that are there, and those that appear later, join a drain: those of these services, or of
    /// all.
    pub fn open(
        &self,
        id: HoldId,
        target: DrainTarget,
        services: Option<Vec<ServiceKey>>,
        except: BTreeSet<Member>,
    ) {
        let drain = OpenDrain {
            id,
            target,
            services,
            except,
        };
        self.change(|state| {
            state
                .drains
                .entry(target.address())
                .or_default()
                .push(drain)
        });
    }

    /// Shows the servers of an open drain as those that are removed.
    pub fn show_as_removing(&self, id: HoldId) {
        self.change(|state| state.removing.insert(id));
    }

    /// Lets no further server join a drain.
    pub fn close(&self, id: HoldId) {
        self.change(|state| {
            state.removing.remove(&id);
            state.drains.retain(|_, drains| {
                drains.retain(|drain| drain.id != id);
                !drains.is_empty()
            });
        });
    }

    /// The drains that cover a server.
    pub fn drains_of(&self, member: Member) -> Vec<HoldId> {
        self.read(|state| state.drains_of(member).collect())
    }

    /// Members of a hold.
    pub fn members(&self, id: HoldId) -> Vec<Member> {
        let has = |held: &Held| held.holds.iter().any(|hold| hold.id == id);
        self.read(|state| {
            let held = state.held.iter();
            let mut members: Vec<_> = held
                .filter(|(_, held)| has(held))
                .map(|(member, _)| *member)
                .collect();
            members.sort_unstable();
            members
        })
    }

    /// The services of all members and of fallback servers.
    pub fn services(&self) -> BTreeSet<ServiceKey> {
        self.read(|state| {
            let held = state.held.keys().map(|(service, _)| *service);
            held.chain(state.fallbacks.services()).collect()
        })
    }

    /// The services with a member whose effective weight the kernel lacks.
    pub fn services_to_apply(&self) -> BTreeSet<ServiceKey> {
        self.read(|state| {
            let held = state.held.iter();
            let held = held.filter(|(_, held)| !held.is_applied);
            let held = held.map(|((service, _), _)| *service);
            held.chain(state.fallbacks.services_to_apply()).collect()
        })
    }

    /// Whether a change of the holds of the servers of operations is not stored yet.
    pub fn are_unstored<'a>(&self, mut ops: impl Iterator<Item = &'a Op>) -> bool {
        !self.is_unused() && self.read(|state| ops.any(|op| state.is_unstored(op)))
    }

    /// Notes that the store has what was taken, unless it has changed since.
    pub fn stored(&self) {
        self.change(|state| {
            state.failure = None;
            state.fallbacks.stored();
            for member in std::mem::take(&mut state.storing) {
                if !state.changed.contains(&member)
                    && let Some(held) = state.held.get_mut(&member)
                {
                    held.is_stored = true;
                }
            }
        });
    }

    /// Reports what was taken again, because it could not be stored. Until it is, operations that need the store
    /// fail with this error.
    pub fn report_again(&self, changes: HoldChanges, failure: Error) {
        self.change(|state| {
            state.failure = Some(failure);
            state.changed.append(&mut state.storing);
            let fallbacks = &mut state.fallbacks;
            fallbacks.changed.append(&mut fallbacks.storing);
            let since = std::mem::replace(&mut state.superseded, changes.superseded);
            state.superseded.extend(since);
        });
    }

    /// Sets where the holds are stored, and which are. Once, before the first request.
    pub fn load(
        &self,
        store: Box<dyn HoldStore>,
        members: impl IntoIterator<Item = (Member, Held)>,
    ) {
        if self.store.set(store).is_ok() {
            self.change(|state| state.held.extend(members));
        }
    }

    /// Whether something has changed since the last call of [`take_changes`](Self::take_changes).
    pub fn has_changes(&self) -> bool {
        !self.is_unused()
            && self.read(|state| !state.changed.is_empty() || !state.fallbacks.changed.is_empty())
    }

    /// What has changed since the last call, to be stored: [`stored`](Self::stored) or
    /// [`report_again`](Self::report_again) follows.
    pub fn take_changes(&self) -> HoldChanges {
        self.change(|state| {
            state.storing = std::mem::take(&mut state.changed);
            let members = state.storing.iter();
            HoldChanges {
                members: members
                    .map(|member| (*member, state.held.get(member).cloned()))
                    .collect(),
                superseded: std::mem::take(&mut state.superseded),
                fallbacks: state.fallbacks.take_changes(),
            }
        })
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut state);
        self.removals.store(state.removals, Ordering::Release);
        self.is_used.store(!state.is_unused(), Ordering::Release);
        result
    }

    pub(super) fn read<T>(&self, get: impl FnOnce(&State) -> T) -> T {
        get(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }
}
