//! All drains and ramps: in memory, and in the store.

use std::{
    collections::{BTreeSet, HashMap},
    hash::{BuildHasher, Hasher, RandomState},
    slice::from_ref,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use jiff::Timestamp;
use tokio::sync::Notify;

use super::{
    all::{All, Record},
    stored::{FALLBACK, HELD, InStore, StoredFallback, executed, parse_member, release_ended},
};
use crate::{
    executor::{HoldChanges, Holds, MAX_HELD, Member},
    model::{
        Drain, DrainState, Error, Hold, HoldId, MemberState, Owner, Ramp, RampState, Reason,
        ServiceKey,
    },
    store::{Commit, Store, StoreError, WriteBatch},
    watch::{Author, MAX_LISTED, Showing, WatchCache},
};

/// The drains and ramps, and what they hold.
#[derive(Debug)]
pub(in crate::app) struct HoldRegistry {
    holds: Arc<Holds>,
    store: Store,
    /// Gets each change while `all` is locked.
    watch: Arc<WatchCache>,
    all: Mutex<All>,
    looks: Arc<AtomicU64>,
    /// Held while a change of what is there already is being stored, so that memory and store have the same order.
    storing: tokio::sync::Mutex<()>,
    /// Wakes the task.
    pub(super) woken: Notify,
}

/// Servers that drain because a table does not declare them any more, with its owner.
pub(in crate::app) type Removing = HashMap<Member, Owner>;

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
    pub(in crate::app) fn empty(holds: Arc<Holds>, watch: Arc<WatchCache>) -> Self {
        Self {
            holds,
            store: Store::in_memory(),
            watch,
            all: Mutex::default(),
            looks: Arc::default(),
            storing: tokio::sync::Mutex::default(),
            woken: Notify::new(),
        }
    }

    /// Reads what is stored, and holds the weights of the servers again. Blocks.
    pub(in crate::app) fn load(
        holds: Arc<Holds>,
        watch: Arc<WatchCache>,
        store: Store,
    ) -> Result<Self, StoreError> {
        let mut all = All::default();
        Drain::load(&store, &mut all)?;
        Ramp::load(&store, &mut all)?;
        let held = store.load_if_available(&HELD)?.into_iter();
        let held = held.filter_map(|(key, held)| Some((parse_member(&key)?, held)));
        let held: Vec<_> = held.collect();
        holds.load(Box::new(InStore(store.clone())), held.iter().cloned());
        let fallbacks = store.load_if_available(&FALLBACK)?.into_iter();
        holds.load_fallbacks(fallbacks.filter_map(|(key, _)| parse_member(&key)));
        release_ended(&holds, &held, &all);
        for drain in all.active_drains() {
            let superseded = drain.members.iter();
            let superseded = superseded.filter(|one| one.state == MemberState::Superseded);
            let except = superseded.map(|one| (one.service, one.server)).collect();
            open(&holds, drain, except);
        }
        let registry = Self {
            store,
            all: Mutex::new(all),
            ..Self::empty(holds, watch)
        };
        registry.show_stored();
        Ok(registry)
    }

    pub(in crate::app) fn holds(&self) -> &Arc<Holds> {
        &self.holds
    }

    pub(super) fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get<T: Record>(&self, id: HoldId) -> Option<T> {
        T::of(&mut self.all()).get(&id).cloned()
    }

    /// An id that neither a drain nor a ramp has.
    pub(super) fn new_id(&self) -> HoldId {
        loop {
            // The standard library seeds it from the system's random numbers.
            let id = HoldId(RandomState::new().build_hasher().finish());
            let all = self.all();
            let is_taken = [Hold::HEALTH.id, Hold::MANUAL.id].contains(&id);
            if !is_taken && !all.drains.contains_key(&id) && !all.ramps.contains_key(&id) {
                return id;
            }
        }
    }

    /// Whether there may be further drains with this number of members.
    pub(in crate::app) fn check_drains(&self, drains: usize, members: usize) -> Result<(), Error> {
        let (count, total) = {
            let all = self.all();
            let active = || all.active_drains();
            let members = active().map(|drain| drain.members.len());
            (active().count(), members.sum::<usize>())
        };
        self.store.available()?;
        within(count + drains, MAX_DRAINS, "active drains", "drains")?;
        within(total + members, MAX_HELD, "members of drains", "drains")
    }

    /// Whether there may be another ramp.
    pub(super) fn check_ramp(&self) -> Result<(), Error> {
        let ramps = {
            let all = self.all();
            all.active_ramps().count()
        };
        self.store.available()?;
        within(ramps + 1, MAX_RAMPS, "active ramps", "ramps")?;
        let held = self.holds.held_count();
        within(held + 1, MAX_HELD, "servers whose weight is held", "drains")
    }

    /// Stores drains, and holds their servers from now on. Watchers see them when they are
    /// [shown](Self::show_new).
    pub(super) async fn begin_drains(&self, drains: Vec<Drain>) -> Result<(), Error> {
        self.store.write(stored(&drains)?).await?;
        let mut all = self.all();
        for drain in drains {
            open(&self.holds, &drain, BTreeSet::new());
            all.drains.insert(drain.id, drain);
        }
        Ok(())
    }

    /// Ends drains, and stores that. Their servers are still held.
    pub(super) async fn end_drains(
        &self,
        ended: &[(HoldId, DrainState)],
        author: &Author,
    ) -> Result<(), Error> {
        let _storing = self.storing.lock().await;
        let ended: Vec<_> = {
            let all = self.all();
            let ended = ended.iter().filter_map(|(id, state)| {
                let mut drain = all.drains.get(id)?.clone();
                drain.end(*state);
                Some(drain)
            });
            ended.collect()
        };
        self.store.write(stored(&ended)?).await?;
        let mut all = self.all();
        for drain in ended {
            self.show(drain.id, Some(&drain), Showing::All, Some(author));
            all.drains.insert(drain.id, drain);
        }
        Ok(())
    }

    /// The servers that drain because a table does not declare them any more, with its owner.
    pub(in crate::app) fn removing(&self) -> Removing {
        let all = self.all();
        let active = all.active_drains();
        let of_tables = active.filter_map(|drain| Some((drain, drain.table.as_ref()?)));
        let members = of_tables
            .flat_map(|(drain, owner)| drain.held_members().map(move |it| (it, owner.clone())));
        members.collect()
    }

    /// Stores a ramp that is about to begin.
    pub(super) async fn store_ramp(&self, ramp: &Ramp) -> Result<(), Error> {
        Ok(self.store.write(stored(from_ref(ramp))?).await?)
    }

    /// Stores a drain or ramp that is new.
    pub(super) async fn put<T: Record>(&self, record: T, author: &Author) -> Result<(), Error> {
        self.store.write(stored(from_ref(&record))?).await?;
        let mut all = self.all();
        self.show(record.key(), Some(&record), Showing::First, Some(author));
        T::of(&mut all).insert(record.key(), record);
        Ok(())
    }

    /// Stores a drain as it is now.
    pub(super) async fn store_drain(&self, id: HoldId, author: &Author) -> Result<(), Error> {
        let _storing = self.storing.lock().await;
        let batch = {
            let all = self.all();
            let drain = all.drains.get(&id);
            let batch = stored(drain.map_or(&[][..], from_ref))?;
            self.show(id, drain, Showing::All, Some(author));
            batch
        };
        Ok(self.store.write(batch).await?)
    }

    /// Ends a drain or ramp, and stores that; `None` if there is none with this id. It is as before if it cannot be
    /// stored.
    pub(super) async fn end<T: Record>(
        &self,
        id: HoldId,
        end: impl FnOnce(&mut T),
        author: &Author,
    ) -> Result<Option<T>, Error> {
        let _storing = self.storing.lock().await;
        let Some(mut record) = self.get::<T>(id) else {
            return Ok(None);
        };
        end(&mut record);
        self.store.write(stored(from_ref(&record))?).await?;
        let mut all = self.all();
        self.show(id, Some(&record), Showing::All, Some(author));
        T::of(&mut all).insert(id, record.clone());
        Ok(Some(record))
    }

    /// The services that have servers which are held or are to be held.
    pub(super) fn services(&self) -> BTreeSet<ServiceKey> {
        let mut services = self.holds.services();
        let all = self.all();
        let active = all.active_drains();
        services.extend(
            active
                .flat_map(Drain::held_members)
                .map(|(service, _)| service),
        );
        services
    }

    /// The number of the last look at the servers of a service.
    pub(super) fn looks(&self) -> &Arc<AtomicU64> {
        &self.looks
    }

    /// Stores what the kernel has executed of changes of the holds, as far as it is not stored yet. Returns when it
    /// is durable. After an error, it is tried again by the task.
    pub(in crate::app) async fn persist(&self) -> Result<(), Error> {
        // What another call has taken is not durable before that one ends.
        let _storing = self.storing.lock().await;
        if !self.holds.has_changes() {
            return Ok(());
        }
        let (changes, commit) = {
            let mut all = self.all();
            let changes = self.holds.take_changes();
            let commit = self.submit(&mut all, &changes);
            (changes, commit)
        };
        let stored = match commit {
            Ok(commit) => commit.await,
            Err(error) => Err(error),
        };
        match stored {
            Ok(()) => {
                self.holds.stored();
                Ok(())
            }
            Err(error) => {
                let failure = Error::from(error.clone());
                self.holds.report_again(changes, failure.clone());
                self.woken.notify_one();
                Err(executed(&error, failure))
            }
        }
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
                    drain.join(member.0, member.1, held.weight, held.effective_weight());
                    drains.insert(hold.id);
                }
            }
        }
        for ((service, server), is_there) in &changes.fallbacks {
            let key = format!("{service}/{server}");
            let since = Timestamp::now();
            match is_there {
                true => batch.put(&FALLBACK, key, &StoredFallback { since })?,
                false => batch.delete(&FALLBACK, key)?,
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
        for drain in drains.iter().filter_map(|id| all.drains.get(id)) {
            self.show(drain.id, Some(drain), Showing::All, None);
            put_record(&mut batch, drain)?;
        }
        for ramp in ramps.iter().filter_map(|id| all.ramps.get(id)) {
            self.show(ramp.id, Some(ramp), Showing::All, None);
            put_record(&mut batch, ramp)?;
        }
        self.store.submit(batch)
    }

    /// Deletes a drain or ramp that has ended.
    pub(super) async fn forget(&self, id: HoldId, author: &Author) -> Result<(), Error> {
        let mut batch = WriteBatch::new();
        batch.delete(&Drain::COLLECTION, id.to_string())?;
        batch.delete(&Ramp::COLLECTION, id.to_string())?;
        let _storing = self.storing.lock().await;
        self.store.write(batch).await?;
        let mut all = self.all();
        all.drains.remove(&id);
        all.ramps.remove(&id);
        self.show::<Drain>(id, None, Showing::All, Some(author));
        self.show::<Ramp>(id, None, Showing::All, Some(author));
        Ok(())
    }

    /// Shows watchers a drain or ramp as it is now. The caller has locked all of them.
    fn show<T: Record>(
        &self,
        id: HoldId,
        record: Option<&T>,
        showing: Showing,
        author: Option<&Author>,
    ) {
        let shown = record.map(|record| {
            let mut services: Vec<_> = record.services().collect();
            // They are in order.
            services.dedup();
            (record.resource(), services)
        });
        self.watch.show(T::record_key(id), shown, showing, author);
    }

    /// Shows watchers drains that have begun.
    pub(super) fn show_new(&self, ids: &[HoldId], author: &Author) {
        let all = self.all();
        for drain in ids.iter().filter_map(|id| all.drains.get(id)) {
            self.show(drain.id, Some(drain), Showing::First, Some(author));
        }
    }

    /// The servers of active drains and ramps that events show.
    pub(super) fn shown_members(&self) -> u32 {
        let all = self.all();
        let of_drains = all
            .active_drains()
            .map(|drain| drain.members.len().min(MAX_LISTED));
        let count = of_drains.sum::<usize>() + all.active_ramps().count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Shows watchers what has changed of the drains and ramps that are active.
    pub(super) fn show_active(&self, showing: Showing) {
        let all = self.all();
        self.show_each(all.active_drains(), all.active_ramps(), showing);
    }

    fn show_stored(&self) {
        let all = self.all();
        self.show_each(all.drains.values(), all.ramps.values(), Showing::First);
    }

    fn show_each<'a>(
        &self,
        drains: impl Iterator<Item = &'a Drain>,
        ramps: impl Iterator<Item = &'a Ramp>,
        showing: Showing,
    ) {
        for drain in drains {
            self.show(drain.id, Some(drain), showing, None);
        }
        for ramp in ramps {
            self.show(ramp.id, Some(ramp), showing, None);
        }
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

/// Lets servers join a drain, except those whose weight was changed.
fn open(holds: &Holds, drain: &Drain, except: BTreeSet<Member>) {
    if drain.table.is_some() {
        holds.show_as_removing(drain.id);
    }
    holds.open(drain.id, drain.server, drain.services.clone(), except);
}

/// A change that stores drains or ramps.
fn stored<T: Record>(records: &[T]) -> Result<WriteBatch, StoreError> {
    let mut batch = WriteBatch::new();
    for record in records {
        put_record(&mut batch, record)?;
    }
    Ok(batch)
}

fn put_record<T: Record>(batch: &mut WriteBatch, record: &T) -> Result<(), StoreError> {
    batch.put(&T::COLLECTION, record.key().to_string(), record)
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

/// Whether something ended at least this long ago.
fn ended_before(end: Option<Timestamp>, now: Timestamp, age: Duration) -> bool {
    let since = |end: Timestamp| now.duration_since(end).unsigned_abs();
    end.is_some_and(|end| end <= now && since(end) >= age)
}
