//! All drains and ramps: in memory, and in the store.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher, Hasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::sync::Notify;

use super::{
    ramp::{Ramp, RampState},
    records::{Drain, MemberState, ended_before},
};
use crate::{
    executor::{Held, HoldChanges, Holds, MAX_HELD, Member},
    model::{Error, HoldId, Reason, Server, ServiceKey},
    store::{Collection, Commit, Store, StoreError, WriteBatch},
};

/// The drains and ramps, and what they hold.
#[derive(Debug)]
pub(in crate::app) struct HoldRegistry {
    holds: Arc<Holds>,
    store: Store,
    all: Mutex<All>,
    /// Wakes the task.
    pub(super) woken: Notify,
}

#[derive(Debug, Default)]
pub(super) struct All {
    pub drains: BTreeMap<HoldId, Drain>,
    pub ramps: BTreeMap<HoldId, Ramp>,
    /// Whether the task runs.
    pub has_task: bool,
}

/// Drains, by id.
const DRAINS: Collection<Drain> = Collection::new("drains");
/// Ramps, by id.
const RAMPS: Collection<Ramp> = Collection::new("ramps");
/// What holds a server, by `SERVICE/SERVER`.
const HELD: Collection<Held> = Collection::new("held-weights");

/// Drains that are active at most.
const MAX_DRAINS: usize = 1000;
/// Ramps that are active at most.
const MAX_RAMPS: usize = 10_000;
/// Drains, and ramps, that have ended and are kept.
const MAX_ENDED: usize = 1000;
/// How long those are kept.
const KEPT: Duration = Duration::from_secs(24 * 3600);

// === impl HoldRegistry ===

impl HoldRegistry {
    /// No drains and ramps, and a store in memory.
    pub(in crate::app) fn empty(holds: Arc<Holds>) -> Self {
        Self {
            holds,
            store: Store::in_memory(),
            all: Mutex::default(),
            woken: Notify::new(),
        }
    }

    /// Reads what is stored, and holds the weights of the servers again. Blocks.
    pub(in crate::app) fn load(holds: Arc<Holds>, store: Store) -> Result<Self, StoreError> {
        let mut all = All::default();
        if store.unavailable_because().is_none() {
            let drains = store.load(&DRAINS)?.into_iter();
            all.drains = drains.map(|(_, drain)| (drain.id, drain)).collect();
            let ramps = store.load(&RAMPS)?.into_iter();
            all.ramps = ramps.map(|(_, ramp)| (ramp.id, ramp)).collect();
            let held = store.load(&HELD)?.into_iter();
            holds.load(held.filter_map(|(key, held)| Some((parse_member(&key)?, held))));
        }
        for drain in all.drains.values().filter(|drain| drain.is_active()) {
            let superseded = drain.members.iter();
            let superseded = superseded.filter(|one| one.state == MemberState::Superseded);
            let except = superseded.map(|one| (one.service, one.server)).collect();
            holds.open(drain.id, drain.server, drain.services.clone(), except);
        }
        Ok(Self {
            holds,
            store,
            all: Mutex::new(all),
            woken: Notify::new(),
        })
    }

    pub(in crate::app) fn holds(&self) -> &Arc<Holds> {
        &self.holds
    }

    pub(super) fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn drain(&self, id: HoldId) -> Option<Drain> {
        self.all().drains.get(&id).cloned()
    }

    pub(super) fn ramp(&self, id: HoldId) -> Option<Ramp> {
        self.all().ramps.get(&id).cloned()
    }

    /// An id that neither a drain nor a ramp has.
    pub(super) fn new_id(&self) -> HoldId {
        loop {
            // The standard library seeds it from the system's random numbers.
            let id = HoldId(RandomState::new().build_hasher().finish());
            let all = self.all();
            if !all.drains.contains_key(&id) && !all.ramps.contains_key(&id) {
                return id;
            }
        }
    }

    /// Whether there may be another drain with this number of members.
    pub(super) fn check_drain(&self, members: usize) -> Result<(), Error> {
        let (count, total) = {
            let all = self.all();
            let active = || all.drains.values().filter(|drain| drain.is_active());
            let members = active().map(|drain| drain.members.len());
            (active().count(), members.sum::<usize>())
        };
        self.available()?;
        within(count + 1, MAX_DRAINS, "active drains", "drains")?;
        within(total + members, MAX_HELD, "members of drains", "drains")
    }

    /// Whether there may be another ramp.
    pub(super) fn check_ramp(&self) -> Result<(), Error> {
        let ramps = {
            let all = self.all();
            all.ramps.values().filter(|ramp| ramp.is_active()).count()
        };
        self.available()?;
        within(ramps + 1, MAX_RAMPS, "active ramps", "ramps")?;
        let held = self.holds.held_count();
        within(held + 1, MAX_HELD, "servers whose weight is held", "drains")
    }

    /// Whether something can be stored.
    fn available(&self) -> Result<(), Error> {
        let error = self.store.unavailable_because();
        error.map_or(Ok(()), |error| Err(error.clone().into()))
    }

    /// Stores a drain, and holds its servers from now on.
    pub(super) async fn begin_drain(&self, drain: Drain) -> Result<(), Error> {
        self.put_drain(drain.clone()).await?;
        self.holds
            .open(drain.id, drain.server, drain.services, BTreeSet::new());
        Ok(())
    }

    /// Stores a drain.
    pub(super) async fn put_drain(&self, drain: Drain) -> Result<(), Error> {
        let mut batch = WriteBatch::new();
        batch.put(&DRAINS, drain.id.to_string(), &drain)?;
        let commit = {
            let mut all = self.all();
            let commit = self.store.submit(batch)?;
            all.drains.insert(drain.id, drain);
            commit
        };
        Ok(commit.await?)
    }

    /// Stores a ramp that is about to begin.
    pub(super) async fn store_ramp(&self, ramp: &Ramp) -> Result<(), Error> {
        let mut batch = WriteBatch::new();
        batch.put(&RAMPS, ramp.id.to_string(), ramp)?;
        Ok(self.store.write(batch).await?)
    }

    /// Stores a ramp.
    pub(super) async fn put_ramp(&self, ramp: Ramp) -> Result<(), Error> {
        let mut batch = WriteBatch::new();
        batch.put(&RAMPS, ramp.id.to_string(), &ramp)?;
        let commit = {
            let mut all = self.all();
            let commit = self.store.submit(batch)?;
            all.ramps.insert(ramp.id, ramp);
            commit
        };
        Ok(commit.await?)
    }

    /// Notes the servers of a service as they were read. `None`: it does not exist.
    pub(super) fn see(&self, service: ServiceKey, servers: Option<&[Server]>) {
        let mut all = self.all();
        for drain in all.drains.values_mut().filter(|drain| drain.is_active()) {
            drain.see(service, servers);
        }
    }

    /// Stores what has changed of the holds, as far as it is not stored yet. Returns when it is durable.
    pub(in crate::app) async fn persist(&self) -> Result<(), Error> {
        if !self.holds.has_changes() {
            return Ok(());
        }
        let (members, commit) = {
            // The order in which changes are taken is the one in which they are stored.
            let mut all = self.all();
            let changes = self.holds.take_changes();
            let members: Vec<_> = changes.members.iter().map(|(member, _)| *member).collect();
            (members, self.submit(&mut all, &changes))
        };
        let stored = match commit {
            Ok(commit) => commit.await,
            Err(error) => Err(error),
        };
        stored.map_err(|error| {
            self.holds.report_again(members.into_iter());
            self.woken.notify_one();
            Error::from(error)
        })
    }

    fn submit(&self, all: &mut All, changes: &HoldChanges) -> Result<Commit, StoreError> {
        let mut batch = WriteBatch::new();
        let (mut drains, mut ramps) = (BTreeSet::new(), BTreeSet::new());
        for (member, held) in &changes.members {
            let key = format!("{}/{}", member.0, member.1);
            let Some(held) = held else {
                batch.delete(&HELD, key)?;
                continue;
            };
            batch.put(&HELD, key, held)?;
            for hold in &held.holds {
                if let Some(drain) = all.drains.get_mut(&hold.id) {
                    drain.join(member.0, member.1, held);
                    drains.insert(hold.id);
                }
            }
        }
        for (member, held) in &changes.superseded {
            for hold in &held.holds {
                if let Some(drain) = all.drains.get_mut(&hold.id) {
                    if drain.supersede(member.0, member.1) {
                        self.holds.close(hold.id);
                    }
                    drains.insert(hold.id);
                }
                if let Some(ramp) = all.ramps.get_mut(&hold.id) {
                    if ramp.is_active() {
                        ramp.end(RampState::Superseded);
                    }
                    ramps.insert(hold.id);
                }
            }
        }
        for id in drains {
            if let Some(drain) = all.drains.get(&id) {
                batch.put(&DRAINS, id.to_string(), drain)?;
            }
        }
        for id in ramps {
            if let Some(ramp) = all.ramps.get(&id) {
                batch.put(&RAMPS, id.to_string(), ramp)?;
            }
        }
        self.store.submit(batch)
    }

    /// Deletes a drain or ramp that has ended.
    pub(super) async fn forget(&self, id: HoldId) -> Result<(), Error> {
        let mut batch = WriteBatch::new();
        batch.delete(&DRAINS, id.to_string())?;
        batch.delete(&RAMPS, id.to_string())?;
        let commit = {
            let mut all = self.all();
            let commit = self.store.submit(batch)?;
            all.drains.remove(&id);
            all.ramps.remove(&id);
            commit
        };
        Ok(commit.await?)
    }

    /// The drains and ramps that have ended and need not be kept any longer.
    pub(super) fn expired(&self, now: Timestamp) -> Vec<HoldId> {
        let all = self.all();
        let drains = all.drains.values();
        let drains = drains.map(|one| (one.end_time, one.id, one.members.len()));
        let ramps = all.ramps.values().map(|one| (one.end_time, one.id, 1));
        let mut expired = expired(drains, now);
        expired.extend(self::expired(ramps, now));
        expired
    }
}

/// Those that ended too long ago, and the oldest of too many. The last value of each is the number of its members.
fn expired(
    all: impl Iterator<Item = (Option<Timestamp>, HoldId, usize)>,
    now: Timestamp,
) -> Vec<HoldId> {
    let mut ended: Vec<_> = all.filter(|(end, ..)| end.is_some()).collect();
    ended.sort_unstable_by(|a, b| b.cmp(a));
    let mut total = 0;
    let ended = ended.into_iter().enumerate();
    ended
        .filter(|(index, (end, _, members))| {
            total += members;
            *index >= MAX_ENDED || total > MAX_HELD || ended_before(*end, now, KEPT)
        })
        .map(|(_, (_, id, _))| id)
        .collect()
}

/// Fails if there would be too many.
fn within(count: usize, limit: usize, what: &str, path: &str) -> Result<(), Error> {
    if count <= limit {
        return Ok(());
    }
    let detail =
        format!("there would be {count} {what}; the limit is {limit}; nothing was changed");
    let hint = format!("end those that are not needed: DELETE /v1/{path}/{{id}}");
    Err(Error::new(Reason::RateLimited, detail).with_hint(hint))
}

fn parse_member(key: &str) -> Option<Member> {
    let (service, server) = key.split_once('/')?;
    Some((service.parse().ok()?, server.parse().ok()?))
}
