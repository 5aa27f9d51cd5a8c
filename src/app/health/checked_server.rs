//! What is known of a server that is checked.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::stored::{Override, StoredHealth};
use crate::{
    health::{Failure, Outcome, ServerHealth, Verdict},
    model::{
        Forced, HealthCheck, HealthResult, HealthState, HealthTransition, Hold, HoldKind, Server,
        ServerHealthReport, ServerKey,
    },
};

/// A server that is checked.
#[derive(Clone, Debug)]
pub(super) struct CheckedServer {
    health: ServerHealth,
    /// When the verdict began.
    since: Timestamp,
    /// When the last check ended, and how long it took; a result that was reported has no duration.
    last: Option<(Timestamp, Option<Duration>)>,
    /// When the last result was reported; before it, when the server appeared.
    heard: Instant,
    /// The last states, newest first.
    transitions: VecDeque<HealthTransition>,
    reason: Option<String>,
    forced: Option<Override>,
    /// Whether it would get connections: it has a weight and is not drained.
    has_weight: bool,
    /// Whether its check has failed and takes effect.
    is_held: bool,
    /// Whether it is stored as one that has failed.
    is_recorded: bool,
    /// Number of its place in the schedule: another one is not valid any more.
    pub ticket: u64,
    /// When the check in progress began.
    running: Option<Instant>,
    /// Its check, if it has settings of its own.
    pub own: Option<Arc<HealthCheck>>,
    is_disabled: bool,
    /// Whether the director could not make the last check.
    is_unchecked: bool,
    /// The holds that it was seen with. If they are not those that it is to have, its service is looked at.
    shown: Vec<Hold>,
}

/// Whether a check begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// It does.
    Now,
    /// The one before is in progress: it is to begin when that has ended.
    Later,
    /// The server is not checked.
    Never,
}

/// Time after its timeout at which a check that has not ended is not waited for any more.
const LOST: Duration = Duration::from_secs(60);

// === impl CheckedServer ===

impl CheckedServer {
    /// A server that appears, with what is stored of it.
    pub fn new(stored: Option<StoredHealth>, now: Timestamp) -> Self {
        let is_down = stored.as_ref().is_some_and(|stored| stored.is_down);
        let forced = stored.as_ref().and_then(|stored| stored.forced);
        Self {
            health: ServerHealth::new(is_down),
            since: stored.as_ref().map_or(now, |stored| stored.since),
            last: None,
            transitions: VecDeque::new(),
            heard: Instant::now(),
            reason: stored.and_then(|stored| stored.reason),
            forced,
            has_weight: true,
            is_held: is_down && !forced.is_some_and(|forced| forced.state == Forced::Up),
            is_recorded: is_down,
            ticket: 0,
            running: None,
            own: None,
            is_disabled: false,
            is_unchecked: false,
            shown: Vec::new(),
        }
    }

    /// Sets how it is checked. What is known of one whose checks are disabled is forgotten: it is treated as healthy.
    /// Returns whether that changes its state.
    pub fn set_check(&mut self, key: ServerKey, check: &HealthCheck, now: Timestamp) -> bool {
        let settings = check.settings_of(key);
        self.own = settings.map(|settings| Arc::new(check.with(settings)));
        let is_disabled = settings.is_some_and(|settings| settings.disabled);
        let before = self.state();
        let is_changed = std::mem::replace(&mut self.is_disabled, is_disabled) != is_disabled;
        if is_changed {
            self.health = ServerHealth::new(false);
            self.since = now;
            self.last = None;
            self.reason = None;
            self.remember(before, now);
        }
        is_changed
    }

    /// Begins a check, unless one is in progress or they are disabled.
    pub fn begin(&mut self, check: &HealthCheck, now: Instant) -> Begin {
        if self.is_disabled {
            return Begin::Never;
        }
        let limit = Duration::from_secs(check.timeout_seconds.into()) + LOST;
        let is_running = |since: Instant| now.duration_since(since) < limit;
        if self.running.is_some_and(is_running) {
            return Begin::Later;
        }
        self.running = Some(now);
        Begin::Now
    }

    /// Notes the server as it was read.
    pub fn see(&mut self, server: &Server) {
        let holds = server.holds.as_deref().unwrap_or_default();
        let is_drained = holds.iter().any(|hold| hold.kind == HoldKind::Drain);
        self.has_weight = server.config.weight > 0 && !is_drained;
        let lasting = holds.iter().filter(|hold| hold.is_lasting());
        self.shown = lasting.copied().collect();
        // The weight of another program, over a hold.
        if !self.shown.is_empty() && server.effective_weight > 0 {
            self.shown.clear();
        }
    }

    /// Counts the outcome of a check. Returns the new verdict, if it is another.
    pub fn note(
        &mut self,
        check: &HealthCheck,
        outcome: &Outcome,
        at: (Instant, Timestamp),
    ) -> Option<Verdict> {
        self.running = None;
        // The end of a check that began before.
        if self.is_disabled {
            return None;
        }
        self.last = Some((at.1, Some(outcome.latency)));
        let failure = outcome.result.as_ref().err();
        self.is_unchecked = matches!(failure, Some(Failure::Unchecked(_)));
        self.reason = failure.map(|failure| shortened(failure.reason()));
        self.count(check, outcome, at)
    }

    /// Counts a result that was reported. Returns the new verdict, if it is another.
    pub fn note_result(
        &mut self,
        check: &HealthCheck,
        result: &HealthResult,
        at: (Instant, Timestamp),
    ) -> Option<Verdict> {
        if self.is_disabled {
            return None;
        }
        self.heard = at.0;
        self.last = Some((at.1, None));
        let unhealthy = || (!result.healthy).then(|| "reported as unhealthy".to_owned());
        self.reason = result.reason.clone().or_else(unhealthy);
        let outcome = Outcome {
            result: match result.healthy {
                true => Ok(()),
                false => Err(Failure::Wrong(String::new())),
            },
            latency: Duration::ZERO,
        };
        self.count(check, &outcome, at)
    }

    fn count(
        &mut self,
        check: &HealthCheck,
        outcome: &Outcome,
        (now, time): (Instant, Timestamp),
    ) -> Option<Verdict> {
        let before = self.state();
        let turned = self.health.note(check, outcome, now);
        if turned {
            self.since = time;
        }
        self.remember(before, time);
        turned.then(|| self.health.verdict())
    }

    /// Ends the check in progress without an outcome.
    pub fn end(&mut self) {
        self.running = None;
    }

    /// Forgets what checks or results of another origin have said.
    pub fn begin_anew(&mut self, time: Timestamp) {
        let before = self.state();
        *self = Self {
            transitions: std::mem::take(&mut self.transitions),
            forced: self.forced,
            has_weight: self.has_weight,
            is_held: self.is_held,
            ticket: self.ticket,
            running: self.running,
            own: self.own.take(),
            is_disabled: self.is_disabled,
            shown: std::mem::take(&mut self.shown),
            ..Self::new(None, time)
        };
        self.remember(before, time);
    }

    /// Ends what the last result has said, if it is too old. Returns whether that is so.
    pub fn expire_result(&mut self, check: &HealthCheck, at: (Instant, Timestamp)) -> bool {
        let Some(seconds) = check.expire_seconds else {
            return false;
        };
        let age = at.0.duration_since(self.heard);
        let said = match self.health.verdict() {
            Verdict::Unknown => return false,
            Verdict::Up => "healthy",
            Verdict::Down => "unhealthy",
        };
        if age < Duration::from_secs(seconds.into()) {
            return false;
        }
        let before = self.state();
        let reason = self.reason.take().map(|reason| format!(": {reason}"));
        let reason = reason.unwrap_or_default();
        let reason = format!("no result for {seconds} s; the last was {said}{reason}");
        self.reason = Some(shortened(&reason));
        self.health = ServerHealth::new(false);
        self.since = at.1;
        self.remember(before, at.1);
        true
    }

    /// Ends an override whose time is over. Returns whether there was one.
    pub fn expire(&mut self, now: Timestamp) -> bool {
        let is_over = |one: Override| one.expires.is_some_and(|at| at <= now);
        let has_ended = self.forced.is_some_and(is_over);
        if has_ended {
            self.force(None, now);
        }
        has_ended
    }

    /// Sets or ends an override.
    pub fn force(&mut self, forced: Option<Override>, now: Timestamp) {
        let before = self.state();
        self.forced = forced;
        self.remember(before, now);
    }

    /// Forgets that its checks have failed. Returns whether they had.
    pub fn release(&mut self) -> bool {
        let is_down = self.health.verdict() == Verdict::Down;
        if is_down {
            self.health = ServerHealth::new(false);
            self.is_held = false;
        }
        is_down
    }

    /// Remembers a change of the state.
    fn remember(&mut self, before: HealthState, time: Timestamp) {
        let state = self.state();
        if state == before {
            return;
        }
        self.transitions
            .truncate(ServerHealthReport::MAX_TRANSITIONS - 1);
        let reason = match self.health.verdict() {
            Verdict::Down | Verdict::Unknown => self.reason.clone(),
            Verdict::Up => None,
        };
        let transition = HealthTransition {
            time,
            state,
            reason,
        };
        self.transitions.push_front(transition);
    }

    /// What is to hold it.
    pub fn holds(&self) -> Vec<Hold> {
        self.state().holds(self.is_held)
    }

    pub fn verdict(&self) -> Verdict {
        self.health.verdict()
    }

    pub fn is_silent(&self) -> bool {
        self.silent_since().is_some()
    }

    pub fn state(&self) -> HealthState {
        match (
            self.forced.map(|forced| forced.state),
            self.health.verdict(),
        ) {
            (Some(Forced::Up), _) => HealthState::ForcedUp,
            (Some(Forced::Down), _) => HealthState::ForcedDown,
            (None, _) if self.is_disabled => HealthState::Disabled,
            (None, Verdict::Up) => HealthState::Up,
            (None, Verdict::Down) => HealthState::Down,
            (None, Verdict::Unknown) => HealthState::Unknown,
        }
    }

    /// What is to be stored of it from now on. One that has failed and is not held, for example in a storm, begins anew
    /// after a restart: until it has failed again, it is not held then either.
    pub fn record(&mut self) -> Option<StoredHealth> {
        self.is_recorded = self.lasts();
        (self.is_recorded || self.forced.is_some()).then(|| StoredHealth {
            is_down: self.is_recorded,
            since: self.since,
            reason: self.reason.clone(),
            forced: self.forced,
        })
    }

    /// What is to be stored of it, if that has changed by a decision.
    pub fn new_record(&mut self) -> Option<Option<StoredHealth>> {
        (self.is_recorded != self.lasts()).then(|| self.record())
    }

    /// Whether a restart knows that it has failed: it is held, or would be without an override.
    fn lasts(&self) -> bool {
        let is_down = self.health.verdict() == Verdict::Down;
        self.is_held || (is_down && self.state() == HealthState::ForcedUp)
    }

    /// Whether it is held, or something of it is stored or was.
    pub fn leaves_traces(&self) -> bool {
        self.is_held || self.is_recorded || self.forced.is_some() || !self.shown.is_empty()
    }

    /// Whether its checks show if the director reaches it.
    pub fn is_telling(&self) -> bool {
        !self.is_disabled && !self.is_unchecked && self.last.is_some()
    }

    pub fn is_recovering(&self) -> bool {
        self.health.is_recovering()
    }

    /// Since when no check has got any answer.
    pub fn silent_since(&self) -> Option<Instant> {
        self.health.silent_since()
    }

    /// Whether it has failed because nothing answered, and has not answered since.
    pub fn is_lost(&self) -> bool {
        self.health.is_lost()
    }

    /// Whether its check has failed and takes effect.
    pub fn is_held(&self) -> bool {
        self.is_held
    }

    /// Sets whether its check takes effect. Returns whether it did.
    pub fn set_held(&mut self, is_held: bool) -> bool {
        std::mem::replace(&mut self.is_held, is_held)
    }

    /// Whether the kernel or the store lacks something of it.
    pub fn is_new(&self) -> bool {
        self.holds() != self.shown || self.lasts() != self.is_recorded
    }

    pub fn is_failing(&self) -> bool {
        self.health.verdict() == Verdict::Down && self.state() != HealthState::ForcedUp
    }

    pub fn is_serving(&self) -> bool {
        self.has_weight && self.state() != HealthState::ForcedDown
    }

    /// Memory of its report in bytes, about.
    pub fn bytes(&self) -> usize {
        let reasons = self.transitions.iter().map(|one| &one.reason);
        let reasons = reasons.chain([&self.reason]).flatten().map(String::len);
        size_of::<ServerHealthReport>()
            + self.transitions.len() * size_of::<HealthTransition>()
            + reasons.sum::<usize>()
    }

    pub fn report(&self, server: ServerKey) -> ServerHealthReport {
        ServerHealthReport {
            server,
            state: self.state(),
            since_time: self.forced.map_or(self.since, |forced| forced.since),
            last_check_time: self.last.map(|(time, _)| time),
            latency_seconds: self
                .last
                .and_then(|(_, latency)| Some(latency?.as_secs_f64())),
            reason: self.reason.clone(),
            override_expire_time: self.forced.and_then(|forced| forced.expires),
            transitions: self.transitions.iter().cloned().collect(),
        }
    }
}

/// A reason that is not too long to be kept.
fn shortened(reason: &str) -> String {
    let end = reason.floor_char_boundary(ServerHealthReport::MAX_REASON);
    reason.get(..end).unwrap_or(reason).to_owned()
}

/// Where a server is checked.
pub(super) fn address(server: ServerKey) -> SocketAddr {
    SocketAddr::new(server.address, server.port)
}
