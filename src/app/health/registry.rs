//! The health of all servers that are checked.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::sync::Notify;

use super::{
    checked_server::{Begin, CheckedServer},
    checked_service::CheckedService,
    stored::{self, Override, StoredHealth},
};
use crate::{
    executor::{Holds, Member},
    health::{StormGuard, Verdict},
    metrics::Histogram,
    model::{HealthCheck, HealthReport, HealthState, Server, ServerHealthReport, ServiceKey},
    store::{Store, StoreError},
    watch::{RecordKey, Resource, Showing, WatchCache},
};

/// What is known of the servers that are checked.
#[derive(Debug)]
pub(in crate::app) struct HealthRegistry {
    pub(super) holds: Arc<Holds>,
    pub(super) store: Store,
    /// Gets each change of a state while `state` is locked.
    watch: Arc<WatchCache>,
    state: Mutex<State>,
    /// Whether the tasks run.
    pub(super) has_tasks: AtomicBool,
    /// Held while decisions are carried out.
    pub(super) applying: tokio::sync::Mutex<()>,
    /// How long checks take, apart from those that the director could not make.
    pub(super) durations: Arc<Histogram>,
    /// Wakes the task that checks: there are servers to be checked, or an override has changed.
    pub(super) woken: Notify,
    /// Wakes the task that changes the kernel.
    pub(super) decided: Notify,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) services: BTreeMap<ServiceKey, CheckedService>,
    /// Stored records of servers that have not appeared since the start.
    pub(super) stored: HashMap<Member, StoredHealth>,
    /// Servers that the task does not check yet, with their interval.
    pub(super) fresh: Vec<(Place, Duration)>,
    /// Number of looks at which servers there are.
    looks: u64,
    /// How late checks begin, and when that was noted.
    late: (Duration, Option<Instant>),
    /// Whether there are more servers than can be checked.
    pub(super) is_full: bool,
    /// Number of places in the schedule that were given.
    pub(super) tickets: u64,
    /// Number of servers.
    pub(super) count: usize,
    /// Whether something has changed on which decisions depend.
    pub(super) is_changed: bool,
    /// Whether outcomes have no effect any more, because the daemon ends.
    pub(super) is_released: bool,
    pub(super) storm: StormGuard,
    /// What is to be stored.
    pub(super) records: HashMap<Member, Option<StoredHealth>>,
    /// Services whose servers are to be held or released.
    pub(super) to_apply: BTreeSet<ServiceKey>,
    /// Checks by their outcome, in the order of [`OUTCOMES`].
    pub(super) outcomes: [u64; OUTCOMES.len()],
}

/// A service that is checked, and its servers; `None`: it does not exist.
pub(super) type SeenService = (ServiceKey, Arc<HealthCheck>, Option<Vec<Server>>);

/// A server in the schedule, and the number of its place.
pub(super) type Place = (Member, u64);

/// The state of a server has changed.
#[derive(Clone, Debug)]
pub(super) struct Transition {
    pub member: Member,
    pub verdict: Verdict,
    /// Whether it is the first success since the server was added: no news.
    pub is_first: bool,
    pub report: ServerHealthReport,
}

/// Names of outcomes in metrics.
pub(super) const OUTCOMES: [&str; 4] = ["success", "wrong", "silent", "unchecked"];
/// Time for which the longest lateness of checks counts.
const LATE_TIME: Duration = Duration::from_secs(60);

// === impl HealthRegistry ===

impl HealthRegistry {
    /// No servers, and a store in memory.
    pub(in crate::app) fn empty(holds: Arc<Holds>, watch: Arc<WatchCache>) -> Self {
        Self {
            holds,
            store: Store::in_memory(),
            watch,
            state: Mutex::default(),
            has_tasks: AtomicBool::new(false),
            applying: tokio::sync::Mutex::default(),
            durations: Arc::new(Histogram::of_durations()),
            woken: Notify::new(),
            decided: Notify::new(),
        }
    }

    /// Reads what is stored, and holds the servers that have failed or were forced down. Blocks.
    pub(in crate::app) fn load(
        holds: Arc<Holds>,
        watch: Arc<WatchCache>,
        store: Store,
    ) -> Result<Self, StoreError> {
        let registry = Self {
            store,
            ..Self::empty(holds, watch)
        };
        let stored = stored::load(&registry.store)?;
        let now = Timestamp::now();
        for (member, record) in &stored {
            let server = CheckedServer::new(Some(record.clone()), now);
            registry.holds.want(*member, server.holds());
        }
        // They may have fallback servers, which is known when their services are seen.
        registry
            .holds
            .await_fallback(stored.keys().map(|(service, _)| *service));
        registry.state().stored = stored;
        Ok(registry)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the servers of services that are checked, as they were read. With `is_all`, there are no others.
    /// `look` is the number of the look: what a later one has seen stays.
    pub(in crate::app) fn see(&self, seen: &[SeenService], is_all: bool, look: u64) {
        let mut state = self.state();
        state.see_deletions(self);
        if is_all {
            let present: HashSet<_> = seen.iter().map(|(key, ..)| *key).collect();
            let gone = state.services.keys().filter(|key| !present.contains(key));
            let gone = gone.copied();
            let fallbacks = self.holds.fallback_services().into_iter();
            let gone = gone.chain(fallbacks.filter(|key| !present.contains(key)));
            for service in gone.collect::<Vec<_>>() {
                let known = state.services.get(&service);
                if known.is_none_or(|known| known.look < look) {
                    state.remove_service(service, self);
                }
            }
            state.drop_stored(|(key, _)| !present.contains(key), self);
        }
        for (service, check, servers) in seen {
            let known = state.services.get(service);
            if known.is_none_or(|known| known.look <= look) {
                let servers = servers.as_deref().unwrap_or_default();
                state.see_service(*service, (check, look), servers, self);
            }
        }
        state.is_changed = true;
        self.holds.need_deletions(!state.services.is_empty());
        let has_fresh = !state.fresh.is_empty();
        drop(state);
        if has_fresh {
            self.woken.notify_one();
        }
    }

    /// Begins a look at which servers there are.
    pub(in crate::app) fn begin_look(&self) -> u64 {
        let mut state = self.state();
        state.looks += 1;
        state.looks
    }

    /// Notes how late checks begin: the longest of the last minute counts.
    pub(super) fn note_lateness(&self, late: Duration) {
        let (mut state, now) = (self.state(), Instant::now());
        let is_over = |at| now.duration_since(at) >= LATE_TIME;
        if late >= state.late.0 || state.late.1.is_none_or(is_over) {
            state.late = (late, Some(now));
        }
    }

    /// What was deleted is forgotten.
    pub(super) fn forget_deleted(&self) {
        self.state().see_deletions(self);
    }

    /// A service has no health check any more.
    pub(super) fn ignore(&self, service: ServiceKey) {
        let mut state = self.state();
        state.remove_service(service, self);
        state.is_changed = true;
        drop(state);
        self.decide();
    }

    /// Servers that are not checked yet, with their interval.
    pub(super) fn take_fresh(&self) -> Vec<(Place, Duration)> {
        std::mem::take(&mut self.state().fresh)
    }

    /// The number of servers.
    pub(super) fn count(&self) -> usize {
        self.state().count
    }

    /// Whether a place is that of a server which is checked.
    pub(super) fn is_valid(&self, (member, ticket): Place) -> bool {
        let state = self.state();
        let service = state.services.get(&member.0);
        let server = service.and_then(|service| service.servers.get(&member.1));
        server.is_some_and(|server| server.ticket == ticket)
    }

    /// Begins a check. `None` if the place is not valid any more.
    pub(super) fn begin(&self, (member, ticket): Place) -> Option<(Arc<HealthCheck>, Begin)> {
        let mut state = self.state();
        let service = state.services.get_mut(&member.0)?;
        let check = service.check.clone();
        let server = service.servers.get_mut(&member.1)?;
        if server.ticket != ticket {
            return None;
        }
        let check = server.own.clone().unwrap_or(check);
        let begin = server.begin(&check, Instant::now());
        Some((check, begin))
    }

    /// The health of a server as it would be with an override, or without.
    pub(super) fn would_force(
        &self,
        member: Member,
        forced: Option<Override>,
    ) -> Option<ServerHealthReport> {
        let state = self.state();
        let mut server = state
            .services
            .get(&member.0)?
            .servers
            .get(&member.1)?
            .clone();
        server.force(forced, Timestamp::now());
        Some(server.report(member.1))
    }

    /// Sets or ends an override. Returns the health of the server; `None` if it is not checked.
    pub(super) fn force(
        &self,
        member: Member,
        forced: Option<Override>,
    ) -> Option<ServerHealthReport> {
        let mut state = self.state();
        let service = state.services.get_mut(&member.0)?;
        let server = service.servers.get_mut(&member.1)?;
        server.force(forced, Timestamp::now());
        let (report, record) = (server.report(member.1), server.record());
        self.show(member, Some(report.clone()));
        state.records.insert(member, record);
        state.is_changed = true;
        drop(state);
        self.decide();
        Some(report)
    }

    /// Ends the overrides whose time is over, and what results have said that are too old.
    /// Returns the latter.
    pub(super) fn expire(&self) -> Vec<Transition> {
        let at = (Instant::now(), Timestamp::now());
        self.state().expire(at, self)
    }

    /// Decides which servers are held, if something has changed.
    pub(super) fn decide(&self) {
        let mut state = self.state();
        if !std::mem::take(&mut state.is_changed) || state.is_released {
            return;
        }
        let mut silences = HashMap::new();
        for service in state.services.values() {
            service.add_silences(&mut silences, state.late.0);
        }
        let was_stormy = !state.storm.is_empty();
        let found = StormGuard::find(&silences);
        state.storm.update(found, &silences, Instant::now());
        match (was_stormy, state.storm.is_empty()) {
            (true, true) => tracing::warn!("the storm of failures has ended"),
            (false, false) => tracing::warn!(
                addresses = state.storm.len(),
                "many servers have become silent at once: the director or its network may be at fault; no service \
                 loses more than half of its servers by it"
            ),
            _ => {}
        }
        let State {
            services,
            storm,
            to_apply,
            records,
            ..
        } = &mut *state;
        for (key, service) in services {
            if service.decide(storm, Instant::now()) {
                to_apply.insert(*key);
                for (server, checked) in &mut service.servers {
                    let member = (*key, *server);
                    self.holds.want(member, checked.holds());
                    records.extend(checked.new_record().map(|record| (member, record)));
                }
            }
            if service.set_fallback(*key, &self.holds) {
                to_apply.insert(*key);
            }
        }
        let is_work = !state.to_apply.is_empty() || !state.records.is_empty();
        drop(state);
        if is_work {
            self.decided.notify_one();
        }
    }

    /// Releases the servers whose checks have failed, without fallback servers, and decides nothing any more.
    pub(super) fn release(&self) {
        let mut state = self.state();
        state.is_released = true;
        let State {
            services,
            records,
            to_apply,
            ..
        } = &mut *state;
        for (key, service) in services {
            if self.holds.set_fallback(*key, None) {
                to_apply.insert(*key);
            }
            for (server, checked) in &mut service.servers {
                if checked.release() {
                    let member = (*key, *server);
                    self.holds.want(member, checked.holds());
                    records.insert(member, checked.record());
                    to_apply.insert(*key);
                }
            }
        }
    }

    /// The health of the servers of a service; `None` if it is not checked.
    pub(super) fn report(&self, service: ServiceKey) -> Option<HealthReport> {
        let state = self.state();
        Some(state.services.get(&service)?.report(service))
    }

    /// Shows watchers the health of a server as it is now. The caller has locked the state.
    pub(super) fn show(&self, (service, server): Member, report: Option<ServerHealthReport>) {
        let shown = report.map(|report| (Resource::of_health(service, report), vec![service]));
        let key = RecordKey::Health(service, server);
        self.watch.show(key, shown, Showing::First, None);
    }

    /// Whether any server is checked, or was.
    pub(super) fn is_used(&self) -> bool {
        let state = self.state();
        !state.services.is_empty()
            || !state.stored.is_empty()
            || !state.records.is_empty()
            || !self.holds.fallback_services().is_empty()
    }

    /// Checks by their outcome.
    pub(in crate::app) fn outcomes(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        OUTCOMES.into_iter().zip(self.state().outcomes)
    }

    /// The number of services in each condition, of which one can have several.
    pub(in crate::app) fn conditions(&self) -> Vec<(&'static str, u64)> {
        let mut counts = CheckedService::CONDITIONS.map(|condition| (condition, 0));
        for service in self.state().services.values() {
            for ((_, count), has) in counts.iter_mut().zip(service.conditions()) {
                *count += u64::from(has);
            }
        }
        counts.into()
    }

    /// The number of servers in each state.
    pub(in crate::app) fn states(&self) -> Vec<(&'static str, u64)> {
        let mut counts = HealthState::WORDS.map(|(word, state)| (word, state, 0));
        let state = self.state();
        let servers = state.services.values().flat_map(|one| one.servers.values());
        for server in servers {
            let now = server.state();
            let mut counts = counts.iter_mut();
            if let Some((.., count)) = counts.find(|(_, state, _)| *state == now) {
                *count += 1;
            }
        }
        counts.map(|(word, _, count)| (word, count)).into()
    }
}
