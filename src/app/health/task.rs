//! The task that checks servers.

use std::{
    future::pending,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::{
    select,
    task::JoinSet,
    time::{sleep, sleep_until},
};

use super::{
    checked_server::{Begin, address},
    registry::{Place, SeenService, Transition},
};
use crate::{
    app::{App, RequestContext, RequestId, attempt::event},
    audit::Event,
    executor::{Member, ServersOfQuery},
    health::{Outcome, Schedule, Verdict},
    identity::Principal,
    metrics::{Kind, Labels, Sampled, Value},
    model::{Error, ServiceKey},
    probe::Prober,
};

/// Time between two looks at which servers there are.
const SEARCH_INTERVAL: Duration = Duration::from_secs(1);
/// The same as a multiple of the time that a look takes: 2 % of a processor at most.
const SEARCH_LOAD: u32 = 50;
/// Longest time between two looks.
const MAX_SEARCH_INTERVAL: Duration = Duration::from_secs(10);
/// Checks in progress at most. Each occupies a descriptor and about 40 KB.
pub const MAX_RUNNING_CHECKS: usize = 1024;
/// What ends or is due within this time is looked at together: thousands of checks a second do not wake the task as
/// often.
const TICK: Duration = Duration::from_millis(5);
/// Time after which a check is tried again whose server is being checked.
const AGAIN: Duration = Duration::from_millis(50);
/// Time that each read and change may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The end of a check.
type Ended = (Member, Outcome);

/// What the task knows beside the registry.
struct Checker {
    app: App,
    prober: Prober,
    schedule: Schedule<Place>,
    running: JoinSet<Ended>,
}

pub(super) fn health_context() -> RequestContext {
    let context = RequestContext::new(RequestId::new("health"), TIMEOUT);
    RequestContext {
        principal: Principal::health(),
        ..context
    }
}

// === impl App ===

impl App {
    /// Checks servers from now on, until the daemon ends.
    pub fn check_servers(&self) {
        if !self.health.has_tasks.swap(true, Ordering::Relaxed) {
            let checker = Checker {
                app: self.clone(),
                prober: Prober::default(),
                schedule: Schedule::new(),
                running: JoinSet::new(),
            };
            self.add_health_metrics();
            tokio::spawn(self.clone().search_servers());
            tokio::spawn(checker.run());
            tokio::spawn(self.clone().apply_decisions());
        }
    }

    /// The task that looks which servers there are. The checks do not wait for it.
    async fn search_servers(self) {
        loop {
            let start = Instant::now();
            self.look_at_servers(&health_context().with_max_age(SEARCH_INTERVAL))
                .await;
            let pause = start.elapsed() * SEARCH_LOAD;
            sleep(pause.clamp(SEARCH_INTERVAL, MAX_SEARCH_INTERVAL)).await;
        }
    }

    /// Looks which servers there are and what has expired, and decides.
    async fn look_at_servers(&self, context: &RequestContext) {
        if let Err(error) = self.find_checked(context, None).await {
            tracing::debug!(%error, "it cannot be seen which servers are to be checked");
        }
        for transition in self.health.expire() {
            self.report_transition(&transition);
        }
        self.health.decide();
    }

    fn add_health_metrics(&self) {
        let health = self.health.clone();
        self.metrics.add(Sampled {
            name: "ipvsd_health_checks",
            help: "Health checks, and results that were reported, by their outcome: success, wrong (an answer that was \
                not expected), silent (none), unchecked (the director could not check).",
            kind: Kind::Counter,
            unit: None,
            read: Box::new(move || samples("outcome", health.outcomes())),
        });
        let help = "Time from the begin of a health check to its end, if the director could check.";
        let durations = self.health.durations.clone();
        self.metrics
            .add_durations("ipvsd_health_check_duration", help, durations);
        let health = self.health.clone();
        self.metrics.add(Sampled {
            name: "ipvsd_health_services",
            help: "Services that have a health check and are below min_healthy, in a storm, limited by max_losses, or \
                served by fallback servers.",
            kind: Kind::Gauge,
            unit: None,
            read: Box::new(move || samples("condition", health.conditions())),
        });
        let health = self.health.clone();
        self.metrics.add(Sampled {
            name: "ipvsd_health_servers",
            help: "Servers of services that have a health check, by their state.",
            kind: Kind::Gauge,
            unit: None,
            read: Box::new(move || samples("state", health.states())),
        });
    }

    /// Reads the servers of the services that have a health check; of one service, if that is named.
    pub(super) async fn find_checked(
        &self,
        context: &RequestContext,
        only: Option<ServiceKey>,
    ) -> Result<(), Error> {
        let look = self.health.begin_look();
        let kept = self.kept.all();
        let checked = kept.checked();
        let checked: Vec<_> = checked
            .filter(|(key, _)| only.is_none_or(|only| only == *key))
            .map(|(key, check)| (key, check.clone()))
            .collect();
        match only {
            _ if !checked.is_empty() => {}
            Some(service) => {
                self.health.ignore(service);
                return Ok(());
            }
            None if self.health.is_used() => {}
            None => return Ok(()),
        }
        let mut seen: Vec<SeenService> = Vec::new();
        while let Some(rest) = checked.get(seen.len()..).filter(|rest| !rest.is_empty()) {
            let keys: Arc<[ServiceKey]> = rest.iter().map(|(key, _)| *key).collect();
            let read = self.run_query(context, ServersOfQuery(keys)).await?.value;
            let read = rest.iter().zip(read.iter());
            let before = seen.len();
            seen.extend(read.map(|((key, check), servers)| (*key, check.clone(), servers.clone())));
            if seen.len() == before {
                break;
            }
        }
        let is_all = only.is_none() && seen.len() == checked.len();
        self.health.see(&seen, is_all, look);
        Ok(())
    }

    /// What the task does when it looks which servers there are.
    #[cfg(test)]
    pub(in crate::app) async fn find_now(&self) {
        let context = health_context();
        self.look_at_servers(&context).await;
        self.apply_health(&context, None).await.ok();
    }

    /// What the task does after a check with this outcome.
    #[cfg(test)]
    pub(in crate::app) async fn note_now(
        &self,
        service: ServiceKey,
        server: crate::model::ServerKey,
        outcome: &Outcome,
    ) {
        if let Some(transition) = self.health.note((service, server), outcome) {
            self.report_transition(&transition);
        }
        self.find_now().await;
    }

    /// Logs and records that the state of a server has changed.
    pub(super) fn report_transition(&self, transition: &Transition) {
        let ((service, server), reason) = (transition.member, transition.report.reason.as_deref());
        if transition.is_first {
            tracing::debug!(%service, %server, "a server is healthy");
            return;
        }
        let operation = match transition.verdict {
            Verdict::Down => {
                let reason = reason.unwrap_or_default();
                tracing::warn!(%service, %server, reason, "a server has failed");
                "health_down"
            }
            Verdict::Up => {
                tracing::info!(%service, %server, "a server is healthy");
                "health_up"
            }
            Verdict::Unknown => {
                let reason = reason.unwrap_or_default();
                tracing::warn!(%service, %server, reason, "it is not known whether a server is healthy");
                "health_unknown"
            }
        };
        self.audit_log().record(Event {
            service: Some(service),
            server: Some(server),
            start: None,
            ..event(&health_context(), operation.into())
        });
    }
}

/// Samples with one label.
fn samples(
    label: &'static str,
    values: impl IntoIterator<Item = (&'static str, u64)>,
) -> Vec<(Labels, Value)> {
    let sample =
        |(value, count): (&str, u64)| (vec![(label, value.to_owned())], Value::Integer(count));
    values.into_iter().map(sample).collect()
}

// === impl Checker ===

impl Checker {
    async fn run(mut self) {
        loop {
            for (place, interval) in self.app.health.take_fresh() {
                self.schedule.add(place, interval, Instant::now());
            }
            let health = &self.app.health;
            self.schedule
                .prune(health.count(), |place| health.is_valid(*place));
            self.begin_due();
            self.app.health.decide();
            let next = self.schedule.next().filter(|_| self.may_begin());
            let is_due = async {
                match next {
                    Some(next) => sleep_until(next.into()).await,
                    None => pending().await,
                }
            };
            select! {
                Some(ended) = self.running.join_next() => self.note(ended),
                () = is_due => {}
                () = self.app.health.woken.notified() => {}
            }
            sleep(TICK).await;
            while let Some(ended) = self.running.try_join_next() {
                self.note(ended);
            }
        }
    }

    fn may_begin(&self) -> bool {
        self.running.len() < MAX_RUNNING_CHECKS
    }

    /// Begins the checks that are due. One that is late is not made up for.
    fn begin_due(&mut self) {
        let (now, mut late) = (Instant::now(), Duration::ZERO);
        while self.may_begin()
            && let Some((due, place)) = self.schedule.take(now)
        {
            let Some((check, begin)) = self.app.health.begin(place) else {
                continue;
            };
            let interval = Duration::from_secs(check.interval_seconds.into());
            match begin {
                Begin::Now => self.schedule.repeat(place, due, interval, now),
                Begin::Later => {
                    self.schedule.put(place, now + AGAIN);
                    continue;
                }
                Begin::Never => {
                    self.schedule.repeat(place, due, interval, now);
                    continue;
                }
            }
            late = late.max(now.saturating_duration_since(due));
            let (member, _) = place;
            let address = address(member.1);
            let prober = self.prober.clone();
            self.running
                .spawn(async move { (member, prober.probe(&check, member.0, address).await) });
        }
        if let Some(next) = self.schedule.next() {
            late = late.max(now.saturating_duration_since(next));
        }
        self.app.health.note_lateness(late);
    }

    fn note(&self, ended: Result<Ended, tokio::task::JoinError>) {
        match ended {
            Ok((member, outcome)) => {
                if let Some(transition) = self.app.health.note(member, &outcome) {
                    self.app.report_transition(&transition);
                }
            }
            Err(error) => tracing::error!(%error, "a health check was not made"),
        }
    }
}
