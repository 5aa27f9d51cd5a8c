//! What is known of a service that is checked, and what is decided about its servers.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::checked_server::CheckedServer;
use crate::{
    executor::{FallbackTarget, Holds},
    health::{Member, Silence, StormGuard, decide},
    model::{HealthCheck, HealthReport, Server, ServerKey, ServiceKey},
};

/// A service that is checked.
#[derive(Debug)]
pub(super) struct CheckedService {
    pub check: Arc<HealthCheck>,
    pub servers: BTreeMap<ServerKey, CheckedServer>,
    is_below_min: bool,
    is_guarded: bool,
    is_limited: bool,
    /// When servers were taken out, of the time in which a failure is noticed.
    losses: VecDeque<Instant>,
    /// Whether a fallback server gets connections.
    pub is_fallback_serving: bool,
    /// Whether it may have fallback servers.
    has_target: bool,
    /// Number of the look by which it was seen last.
    pub look: u64,
}

// === impl CheckedService ===

impl CheckedService {
    /// What is unusual about a service, in metrics.
    pub const CONDITIONS: [&str; 4] = ["below_min", "storm", "limited", "fallback"];

    /// Which of [`CONDITIONS`](Self::CONDITIONS) it has.
    pub fn conditions(&self) -> [bool; 4] {
        [
            self.is_below_min,
            self.is_guarded,
            self.is_limited,
            self.is_fallback_serving,
        ]
    }

    pub fn new(check: Arc<HealthCheck>) -> Self {
        Self {
            check,
            servers: BTreeMap::new(),
            is_below_min: false,
            is_guarded: false,
            is_limited: false,
            losses: VecDeque::new(),
            is_fallback_serving: false,
            has_target: false,
            look: 0,
        }
    }

    /// Since when addresses are silent: of several checks of an address, all must be.
    ///
    /// `late` is how late checks begin.
    pub fn add_silences(&self, silences: &mut HashMap<IpAddr, Silence>, late: Duration) {
        // What others report says nothing about the network of the director.
        if !self.check.kind.is_probed() {
            return;
        }
        let seconds = self.check.interval_seconds + self.check.timeout_seconds;
        let window = Duration::from_secs(seconds.into()) + late;
        let telling = self
            .servers
            .iter()
            .filter(|(_, server)| server.is_telling());
        for (key, server) in telling {
            let since = server.silent_since();
            silences
                .entry(key.address)
                .and_modify(|other| {
                    other.since = other.since.zip(since).map(|(a, b)| a.max(b));
                    other.window = other.window.max(window);
                })
                .or_insert(Silence { since, window });
        }
    }

    /// Decides which servers are held. Returns whether one is held that was not, or the reverse.
    pub fn decide(&mut self, storm: &StormGuard, now: Instant) -> bool {
        let window = self.check.detection_time();
        let is_over = |at: &Instant| now.duration_since(*at) >= window;
        while self.losses.pop_front_if(|at| is_over(at)).is_some() {}
        let members = self.servers.iter().map(|(key, server)| Member {
            is_failing: server.is_failing(),
            is_serving: server.is_serving(),
            is_in_storm: server.is_lost() && storm.contains(key.address),
            was_held: server.is_held(),
            is_recovering: server.is_recovering(),
        });
        let members: Vec<_> = members.collect();
        let decision = decide(&self.check, &members, self.is_below_min, self.losses.len());
        self.is_below_min = decision.is_below_min;
        self.is_guarded = decision.is_guarded;
        self.is_limited = decision.is_limited;
        let mut changed = false;
        for (server, is_held) in self.servers.values_mut().zip(decision.held) {
            let was_held = server.set_held(is_held);
            if is_held && !was_held {
                self.losses.push_back(now);
            }
            changed |= is_held != was_held || server.is_new();
        }
        changed
    }

    /// Memory of its report in bytes, about.
    pub fn bytes(&self) -> usize {
        let servers = self.servers.values().map(CheckedServer::bytes);
        size_of::<HealthReport>() + servers.sum::<usize>()
    }

    /// Notes the fallback servers among its servers as they were read. Returns the others.
    pub fn see<'a>(&mut self, servers: &'a [Server]) -> Vec<&'a Server> {
        let (fallback, own): (Vec<_>, Vec<_>) =
            servers.iter().partition(|server| server.is_fallback());
        self.is_fallback_serving = fallback.iter().any(|server| server.effective_weight > 0);
        own
    }

    /// Sets the fallback servers that it is to have. Returns whether that is a change.
    pub fn set_fallback(&mut self, service: ServiceKey, holds: &Holds) -> bool {
        let servers = self.check.fallback_servers.clone();
        let target = servers.map(|servers| FallbackTarget {
            servers,
            is_wanted: self.is_below_min,
        });
        let had_target = std::mem::replace(&mut self.has_target, target.is_some());
        let may_change = target.is_some() || had_target || holds.may_fall_back(service);
        may_change && holds.set_fallback(service, target)
    }

    pub fn report(&self, service: ServiceKey) -> HealthReport {
        let servers = self.servers.iter();
        let healthy = self.servers.values();
        let healthy = healthy.filter(|one| one.is_serving() && !one.is_failing());
        HealthReport {
            service,
            healthy_count: healthy.count(),
            below_min: self.is_below_min,
            storm: self.is_guarded,
            limited: self.is_limited,
            fallback: self.is_fallback_serving,
            servers: servers.map(|(key, server)| server.report(*key)).collect(),
        }
    }
}
