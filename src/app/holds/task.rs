//! The task that looks after the servers that are held: it counts their connections, makes the steps of ramps,
//! finds servers that appear and weights that another program changes, and ends what is over.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::{select, time::sleep};

use super::{all::Look, blockers::blockers, enforce::BeginningRamp};
use crate::{
    app::{App, RequestContext, RequestId},
    executor::{ServicesQuery, SettingsQuery, TableQuery},
    model::{Drain, Error, HoldId, Ramp, RampState, Service, ServiceKey},
    watch::Showing,
};

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// Time between two looks, as a multiple of the time that one takes: 5 % of a processor at most.
const LOAD: u32 = 20;
/// Longest time between two looks, also on a machine that is too busy for them.
const MAX_INTERVAL: Duration = Duration::from_secs(10);
/// Time between two searches for servers that have appeared.
const SEARCH_INTERVAL: Duration = Duration::from_secs(2);
/// As [`LOAD`]: a search reads the whole table.
const SEARCH_LOAD: u32 = 50;
/// Time between two looks at what blocks drains.
const BLOCKERS_INTERVAL: Duration = Duration::from_secs(10);
/// Time between two events of the progress of all drains and ramps, for each server of those that are active: what
/// they add to the log of changes is bounded. At least the time between two looks.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(10);
/// Time that each read and change may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

/// When the task did something last.
#[derive(Default)]
struct Looked {
    search: Option<Instant>,
    search_took: Duration,
    blockers: Option<Instant>,
    /// When watchers got to see progress.
    progress: Option<Instant>,
}

// === impl App ===

impl App {
    /// Holds the weights of servers again after a start. Weights that a crash has left unset are set.
    pub fn resume_holds(&self) {
        if self.has_holds() {
            self.start_hold_task();
        }
    }

    /// Starts the task, unless it runs.
    pub(super) fn start_hold_task(&self) {
        let has_task = std::mem::replace(&mut self.hold_registry.all().has_task, true);
        if !has_task {
            tokio::spawn(self.clone().look_after_holds());
        }
        self.hold_registry.woken.notify_one();
    }

    async fn look_after_holds(self) {
        let mut looked = Looked::default();
        loop {
            let context = task_context();
            let start = Instant::now();
            self.look(&context, &mut looked).await;
            let pause = (start.elapsed() * LOAD).clamp(INTERVAL, MAX_INTERVAL);
            let is_idle = !self.has_holds();
            // What could not be stored is not tried again at once.
            let is_failing = self.hold_registry.holds().has_changes();
            select! {
                () = sleep(pause), if !is_idle => {}
                () = self.hold_registry.woken.notified(), if !is_failing => {}
            }
        }
    }

    /// What the task does in each interval.
    #[cfg(test)]
    pub(in crate::app) async fn look_now(&self) {
        self.look(&task_context(), &mut Looked::default()).await;
    }

    fn has_holds(&self) -> bool {
        let all = self.hold_registry.all();
        let drains = all.drains.values().any(Drain::is_active);
        drains
            || all.ramps.values().any(|ramp| ramp.is_active())
            || !self.hold_registry.holds().services().is_empty()
            || self.hold_registry.holds().has_changes()
    }

    async fn look(&self, context: &RequestContext, looked: &mut Looked) {
        let now = Instant::now();
        self.step_ramps();
        let mut services = self.hold_registry.services();
        let pause = looked.search_took * SEARCH_LOAD;
        let pause = pause.clamp(SEARCH_INTERVAL, MAX_INTERVAL);
        if looked
            .search
            .is_none_or(|last| now.duration_since(last) >= pause)
        {
            services.extend(self.services_to_search(context).await);
            looked.search = Some(now);
            looked.search_took = now.elapsed();
        }
        if let Err(error) = self.look_after(context, services, None).await {
            tracing::warn!(%error, "cannot look after servers whose weight is held");
        }
        let is_due = |last: Instant| now.duration_since(last) >= BLOCKERS_INTERVAL;
        if looked.blockers.is_none_or(is_due) {
            self.find_blockers(context).await;
            looked.blockers = Some(now);
        }
        self.end_ramps(context).await;
        self.update_drains(context).await;
        for id in self.hold_registry.expired(Timestamp::now()) {
            let author = context.author();
            let forgotten = self.hold_registry.forget(id, &author);
            if let Err(error) = forgotten.await {
                tracing::warn!(%error, "an ended drain or ramp cannot be deleted");
            }
        }
        self.show_progress(looked, now);
    }

    /// Shows watchers how far drains and ramps are.
    fn show_progress(&self, looked: &mut Looked, now: Instant) {
        let pause = PROGRESS_INTERVAL * self.hold_registry.shown_members();
        let is_due = |last: Instant| now.duration_since(last) >= pause;
        let showing = match looked.progress.is_none_or(is_due) {
            true => Showing::All,
            false => Showing::ButProgress,
        };
        if showing == Showing::All {
            looked.progress = Some(now);
        }
        self.hold_registry.show_active(showing);
    }

    /// Gives the servers of services the weights that health checks and overrides want.
    pub(in crate::app) async fn hold_servers(
        &self,
        context: &RequestContext,
        services: BTreeSet<ServiceKey>,
    ) -> Result<(), Error> {
        let is_idle = !self.has_holds();
        let outcome = self.look_after(context, services, None).await;
        // One that runs looks at all services in its own time.
        if is_idle {
            self.start_hold_task();
        }
        outcome
    }

    /// Applies the holds of the servers of services, and notes how many connections they have. Goes on after an
    /// error, and returns the first.
    pub(super) async fn look_after(
        &self,
        context: &RequestContext,
        services: BTreeSet<ServiceKey>,
        ramp: Option<BeginningRamp>,
    ) -> Result<(), Error> {
        let mut seen = BTreeMap::new();
        let mut outcome = self.enforce_all(context, services, ramp, &mut seen).await;
        // The members first, so that they are seen.
        let mut stored = self.hold_registry.persist().await;
        // Those that have joined a drain get its weight, now that their intended one is stored.
        let mut joined = self.hold_registry.holds().services_to_apply();
        joined.retain(|service| seen.contains_key(service));
        if stored.is_ok() && !joined.is_empty() {
            outcome = outcome.and(self.enforce_all(context, joined, None, &mut seen).await);
            stored = self.hold_registry.persist().await;
        }
        self.hold_registry.all().see(seen);
        outcome.and(stored)
    }

    async fn enforce_all(
        &self,
        context: &RequestContext,
        services: BTreeSet<ServiceKey>,
        ramp: Option<BeginningRamp>,
        seen: &mut BTreeMap<ServiceKey, Look>,
    ) -> Result<(), Error> {
        let mut outcome = Ok(());
        for service in services {
            match self.enforce(context, service, ramp).await {
                Ok(look) => {
                    seen.insert(service, look);
                }
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        outcome
    }

    /// The services that may have servers which a drain covers and does not hold yet.
    async fn services_to_search(&self, context: &RequestContext) -> BTreeSet<ServiceKey> {
        let addresses: BTreeSet<_> = {
            let all = self.hold_registry.all();
            let drains = all.active_drains();
            drains.map(|drain| drain.server.address()).collect()
        };
        if addresses.is_empty() {
            return BTreeSet::new();
        }
        let Ok(table) = self.run_query(context, TableQuery).await else {
            return BTreeSet::new();
        };
        let entries = table.value.iter().filter(|entry| {
            let mut servers = entry.configured();
            servers.any(|server| addresses.contains(&server.key.address))
        });
        entries.map(|entry| entry.service.key).collect()
    }

    /// Makes the steps of ramps that are due. They are applied by the look at their services.
    fn step_ramps(&self) {
        let now = Timestamp::now();
        let holds = self.hold_registry.holds();
        let mut all = self.hold_registry.all();
        for ramp in all.ramps.values_mut().filter(|ramp| ramp.is_active()) {
            let weight = ramp.weight_at(now);
            if weight != ramp.weight && holds.has(ramp.member(), ramp.id) {
                ramp.weight = weight;
                holds.add(ramp.member(), ramp.to, ramp.hold());
            }
        }
    }

    /// Ends the ramps whose time is over, and those whose server does not exist any more.
    async fn end_ramps(&self, context: &RequestContext) {
        let now = Timestamp::now();
        let holds = self.hold_registry.holds();
        let ended: Vec<_> = {
            let all = self.hold_registry.all();
            let ramps = all.active_ramps();
            ramps
                .filter_map(|ramp| {
                    let state = match holds.has(ramp.member(), ramp.id) {
                        false => RampState::Superseded,
                        true if ramp.is_over(now) && ramp.weight == ramp.to => RampState::Done,
                        true => return None,
                    };
                    Some((ramp.id, state))
                })
                .collect()
        };
        for (id, state) in ended {
            let ended = self.end_hold(context, id, |ramp: &mut Ramp| ramp.end(state));
            if let Err(error) = ended.await {
                tracing::warn!(%error, ramp = %id, "a ramp cannot be ended");
            }
        }
    }

    /// Notes how far the drains are, and removes the servers of those that ask for it.
    pub(super) async fn update_drains(&self, context: &RequestContext) {
        let now = Timestamp::now();
        let changed: Vec<_> = {
            let mut all = self.hold_registry.all();
            let active = all.active_drains_mut();
            let changed = active.filter_map(|drain| drain.progress(now).then(|| drain.clone()));
            changed.collect()
        };
        for drain in changed {
            let id = drain.id;
            tracing::info!(drain = %id, server = %drain.server, state = ?drain.state, "drain");
            if drain.removes() {
                continue;
            }
            let author = context.author();
            if let Err(error) = self.hold_registry.store_drain(id, &author).await {
                tracing::warn!(%error, drain = %id, "a drain cannot be stored");
            }
        }
        if let Err(error) = self.remove_drained(context).await {
            tracing::warn!(%error, "drains cannot be ended; it is tried again");
        }
    }

    /// Notes what blocks the drains that wait.
    async fn find_blockers(&self, context: &RequestContext) {
        let waiting: BTreeSet<_> = {
            let all = self.hold_registry.all();
            let drains = all.active_drains();
            drains.flat_map(Drain::member_services).collect()
        };
        if waiting.is_empty() {
            return;
        }
        let services = self.run_query(context, ServicesQuery).await;
        let settings = self.run_query(context, SettingsQuery).await;
        let (Ok(services), Ok(settings)) = (services, settings) else {
            return;
        };
        let found: BTreeMap<_, _> = services
            .value
            .iter()
            .map(|entry| &entry.service)
            .filter(|service| waiting.contains(&service.key))
            .map(|service: &Service| (service.key, blockers(service, &settings.value)))
            .collect();
        let mut all = self.hold_registry.all();
        for drain in all.active_drains_mut() {
            let services: BTreeSet<_> = drain.member_services().collect();
            let blocking = services.iter().filter_map(|service| found.get(service));
            drain.blockers = blocking.flatten().cloned().collect();
        }
    }
}

fn task_context() -> RequestContext {
    RequestContext::new(RequestId::new("holds"), TIMEOUT)
}

pub(super) fn removal_context(drain: HoldId) -> RequestContext {
    RequestContext::new(RequestId::new(format!("drain-{drain}")), TIMEOUT)
}
