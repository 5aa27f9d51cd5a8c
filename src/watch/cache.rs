//! The handle of the cache: who needs it, and for how long.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Notify, watch};

use super::{
    cursor::{Cursor, Step},
    event::Author,
    kept::KeptServices,
    options::WatchOptions,
    record::{RecordKey, Showing},
    resource::Resource,
    revision::Revision,
    seen::{Finished, Seen},
    state::State,
    table::LastSeen,
};
use crate::{
    budget::Budget,
    model::{Error, Op, Owner, Reason, Service, ServiceEntry, ServiceKey, StoredFields},
};

/// The watch cache of one executor. Without need for it, it is empty, and reads and changes only look
/// whether it is.
#[derive(Debug)]
pub struct WatchCache {
    options: WatchOptions,
    /// Whether somebody needs it.
    is_active: AtomicBool,
    state: Mutex<State>,
    need: Mutex<Need>,
    /// Reports each change, and the end.
    changed: watch::Sender<()>,
    /// Wakes the task that dumps.
    task: Notify,
}

/// Who needs the cache.
#[derive(Debug, Default)]
struct Need {
    watchers: usize,
    /// Until when a response with a revision needs it.
    retained_until: Option<Instant>,
    /// Whether a task dumps, and frees the cache in the end.
    has_task: bool,
    /// The last dump of that task.
    asked: Option<Instant>,
    is_closed: bool,
    /// Whether a task waits for the end of the daemon.
    awaits_end: bool,
}

/// A read in progress. Dropping it leaves its result out.
#[derive(Debug)]
pub struct Read {
    cache: Arc<WatchCache>,
    id: u64,
}

/// Operations in progress, until it is dropped.
#[derive(Debug)]
pub struct OpsInProgress<'a>(&'a WatchCache);

/// A watcher.
#[derive(Debug)]
pub struct Subscription {
    cache: Arc<WatchCache>,
    changed: watch::Receiver<()>,
}

/// What the task that looks for changes of other programs does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextDump {
    /// Reads the whole table.
    Now,
    /// Waits for this time, or until it is woken.
    In(Duration),
    /// Ends: nobody needs the cache, and it was freed.
    End,
}

/// Longest time between two dumps, however long one takes.
const MAX_INTERVAL: Duration = Duration::from_secs(60);

// === impl WatchCache ===

impl WatchCache {
    /// An empty cache that charges this budget.
    pub fn new(options: WatchOptions, budget: &Budget) -> Self {
        Self {
            state: Mutex::new(State::new(&options, budget)),
            options,
            is_active: AtomicBool::new(false),
            need: Mutex::default(),
            changed: watch::Sender::new(()),
            task: Notify::new(),
        }
    }

    /// The settings.
    pub fn options(&self) -> &WatchOptions {
        &self.options
    }

    // === need ===

    /// A response is about to have a revision, so that the cache is needed for a time. Returns whether
    /// the caller must start the task that dumps.
    pub fn retain(&self, now: Instant) -> bool {
        if self.options.retention.is_zero() {
            return false;
        }
        let mut need = self.need();
        need.retained_until = Some(now + self.options.retention);
        self.activate(&mut need)
    }

    /// A new watcher, and whether the caller must start the task that dumps.
    pub fn subscribe(self: &Arc<Self>) -> Result<(Subscription, bool), Error> {
        let mut need = self.need();
        let limit = self.options.max_watchers;
        if need.watchers >= limit {
            let detail = format!("the limit of {limit} concurrent watches is reached");
            let error = Error::new(Reason::RateLimited, detail);
            return Err(error.with_hint("retry later, or raise watch.max_watchers of the daemon"));
        }
        need.watchers += 1;
        let starts_task = self.activate(&mut need);
        drop(need);
        self.task.notify_one();
        let subscription = Subscription {
            cache: self.clone(),
            changed: self.changed.subscribe(),
        };
        Ok((subscription, starts_task))
    }

    /// The number of watchers.
    pub fn watchers(&self) -> usize {
        self.need().watchers
    }

    fn activate(&self, need: &mut Need) -> bool {
        self.is_active.store(true, Ordering::Release);
        !std::mem::replace(&mut need.has_task, true)
    }

    /// What the task does next.
    pub fn next_dump(&self, now: Instant) -> NextDump {
        let (dumped, took) = self.state().last_dump();
        let mut need = self.need();
        let retained = need.retained_until.filter(|until| *until > now);
        match (need.watchers, retained) {
            (0, None) => {
                need.has_task = false;
                self.is_active.store(false, Ordering::Release);
                drop(need);
                self.state().forget();
                return NextDump::End;
            }
            // The next watcher finds out what has changed.
            (0, Some(until)) => return NextDump::In(until.duration_since(now)),
            _ => {}
        }
        let load = took * 100 / self.options.max_load_percent.max(1);
        let interval = load.clamp(
            self.options.dump_interval,
            MAX_INTERVAL.max(self.options.dump_interval),
        );
        let last = need.asked.max(dumped);
        let due = last.map_or(now, |last| last + interval);
        if due > now {
            return NextDump::In(due.duration_since(now));
        }
        need.asked = Some(now);
        NextDump::Now
    }

    /// Waits until the task is woken.
    pub async fn woken(&self) {
        self.task.notified().await;
    }

    /// Whether the caller is the first that will [`close`](Self::close) it when the daemon ends.
    pub fn awaits_end(&self) -> bool {
        !std::mem::replace(&mut self.need().awaits_end, true)
    }

    /// Ends all watches: the daemon ends.
    pub fn close(&self) {
        self.need().is_closed = true;
        self.changed.send_replace(());
    }

    /// Whether the table is known, so that a watcher gets something.
    pub fn is_known(&self) -> bool {
        self.state().table().is_some()
    }

    /// The current revision.
    pub fn revision(&self) -> Revision {
        self.state().revision()
    }

    /// A revision for a response whose state the cache does not have. Nobody can resume from it, and no
    /// other response has the same.
    pub fn unknown_revision(&self) -> Revision {
        self.state().next_unknown()
    }

    // === reads and operations ===

    /// A socket was connected to this world: a network namespace, and the netlink family of IPVS in it.
    pub fn connected(&self, world: u64) {
        self.change(|state| state.connected(world));
    }

    /// A read begins. `None`: nobody needs its result.
    pub fn begin_read(self: &Arc<Self>) -> Option<Read> {
        if !self.is_active.load(Ordering::Acquire) {
            return None;
        }
        Some(Read {
            id: self.state().begin_read(),
            cache: self.clone(),
        })
    }

    /// Operations are about to be sent. One thread at a time sends operations.
    pub fn begin_ops(&self, ops: &[Op]) -> OpsInProgress<'_> {
        self.state().begin_ops(ops);
        OpsInProgress(self)
    }

    /// An operation in progress has overwritten this, which the other operation restores.
    pub fn overwritten(&self, restores: &Op) {
        if self.is_active.load(Ordering::Acquire) {
            self.change(|state| state.overwritten(restores));
        }
    }

    /// The kernel has executed operations in progress.
    pub fn executed<'a>(&self, ops: impl Iterator<Item = &'a Op> + Clone, author: Option<&Author>) {
        if self.is_active.load(Ordering::Acquire) || ops.clone().any(Op::sets_stored) {
            self.change(|state| state.executed(ops, author));
        }
    }

    // === what is kept ===

    /// What is kept about services.
    pub fn kept(&self) -> Arc<KeptServices> {
        self.state().kept().clone()
    }

    /// Gives services that were read what is kept about them.
    pub fn show_kept<'a>(&self, services: impl Iterator<Item = &'a mut Service>) {
        let kept = self.kept();
        if kept.is_empty() {
            return;
        }
        for service in services {
            service.kept = kept.of(service.key);
        }
    }

    /// Tables claim services, or none does any more, on behalf of this request.
    pub fn claim(
        &self,
        claims: impl Iterator<Item = (ServiceKey, Option<Owner>)>,
        author: Option<&Author>,
    ) {
        self.change(|state| state.claim(claims, author));
    }

    /// These fields are stored.
    pub fn load_stored(&self, stored: Vec<(ServiceKey, StoredFields)>) {
        self.change(|state| state.load_stored(stored));
    }

    /// It is not known what is kept, because the daemon serves without its store.
    pub fn keep_nothing(&self) {
        self.change(State::keep_nothing);
    }

    /// Shows watchers a drain, a ramp or a table as it is now, with the services that it is about, after a change on
    /// behalf of this request. `None`: it does not exist any more. Calls about one record have the order of its changes.
    pub fn show(
        &self,
        key: RecordKey,
        resource: Option<(Resource, Vec<ServiceKey>)>,
        showing: Showing,
        author: Option<&Author>,
    ) {
        self.change(|state| state.show(key, resource, showing, author));
    }

    /// Changes the state, and reports that to the watchers if it has.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let before = (state.revision(), state.table().is_some());
        let result = change(&mut state);
        let has_changed = before != (state.revision(), state.table().is_some());
        drop(state);
        if has_changed {
            self.changed.send_replace(());
        }
        result
    }

    /// No code panics while it holds the lock.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn need(&self) -> MutexGuard<'_, Need> {
        self.need.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Read ===

impl Read {
    /// The read has ended. `show` reports what its result shows.
    pub fn finish(self, show: impl FnOnce(&mut dyn FnMut(Seen<'_>))) -> Finished {
        let is_known = self.cache.is_known();
        let (mut again, mut is_whole, mut first) = (false, false, None);
        show(&mut |seen| match seen {
            Seen::Table(entries, read) => {
                is_whole |= entries.len() == read;
                match is_known {
                    true => again |= self.see_table(entries, read),
                    false if is_whole => first = Some(LastSeen::of(entries)),
                    false => {}
                }
            }
            seen if is_known => again |= self.see(seen),
            _ => {}
        });
        let revision = self.cache.change(|state| match first {
            Some(table) => state.fill(self.id, table),
            None => state.end_read(self.id, is_whole),
        });
        Finished { revision, again }
    }

    /// Compares a dump, a service at a time: changes wait for the lock of the state.
    fn see_table(&self, entries: &[ServiceEntry], read: usize) -> bool {
        let mut again = false;
        for (index, entry) in entries.iter().enumerate() {
            let key = entry.service.key;
            let service = Seen::Service(key, &entry.service.config);
            let servers = Seen::Servers(key, &entry.servers);
            again |= self.cache.change(|state| {
                let again = state.see(self.id, service);
                again | (index < read && state.see(self.id, servers))
            });
        }
        again | self.see(Seen::Table(entries, read))
    }

    fn see(&self, seen: Seen<'_>) -> bool {
        self.cache.change(|state| state.see(self.id, seen))
    }
}

impl Drop for Read {
    fn drop(&mut self) {
        self.cache.state().abandon_read(self.id);
    }
}

// === impl OpsInProgress ===

impl Drop for OpsInProgress<'_> {
    fn drop(&mut self) {
        self.0.state().end_ops();
    }
}

// === impl Subscription ===

impl Subscription {
    /// Takes what follows for a watcher.
    pub fn advance(&mut self, cursor: &mut Cursor) -> Step {
        // What changes from now on is reported.
        self.changed.mark_unchanged();
        cursor.advance(&self.cache.state())
    }

    /// Waits until there may be something to take.
    pub async fn changed(&mut self) {
        // Never an error: the sender exists as long as this.
        let _ = self.changed.changed().await;
    }

    /// Whether all watches have ended.
    pub fn is_closed(&self) -> bool {
        self.cache.need().is_closed
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut need = self.cache.need();
        need.watchers -= 1;
        if need.watchers == 0 {
            let until = Instant::now() + self.cache.options.retention;
            need.retained_until = need.retained_until.max(Some(until));
            self.cache.task.notify_one();
        }
    }
}
