//! What follows from the outcomes of checks and from results, apart from decisions.

use std::time::Instant;

use jiff::Timestamp;

use super::{
    checked_server::CheckedServer,
    registry::{HealthRegistry, OUTCOMES, State, Transition},
};
use crate::{
    executor::Member,
    health::{Failure, Outcome, Verdict},
    model::{HealthCheck, HealthResult, ServerHealthReport},
};

/// The health of a server, and how its state has changed, if it has.
pub(super) type Settled = (ServerHealthReport, Option<Transition>);

// === impl HealthRegistry ===

impl HealthRegistry {
    /// Counts the outcome of a check.
    pub(super) fn note(&self, member: Member, outcome: &Outcome) -> Option<Transition> {
        let at = (Instant::now(), Timestamp::now());
        if !matches!(outcome.result, Err(Failure::Unchecked(_))) {
            self.durations.observe(outcome.latency);
        }
        let mut state = self.state();
        state.count(match &outcome.result {
            Ok(()) => OUTCOMES[0],
            Err(failure) => failure.kind(),
        });
        if state.is_released {
            return None;
        }
        let service = state.services.get_mut(&member.0)?;
        if !service.check.kind.is_probed() {
            // It began before the type was changed.
            service.servers.get_mut(&member.1)?.end();
            return None;
        }
        let note = |check: &_, server: &mut CheckedServer| server.note(check, outcome, at);
        self.settle(&mut state, member, note)
    }

    /// Notes what is known of a server now, and what follows from it but decisions.
    fn settle(
        &self,
        state: &mut State,
        member: Member,
        note: impl FnOnce(&HealthCheck, &mut CheckedServer) -> Option<Verdict>,
    ) -> Option<Transition> {
        let is_stormy = !state.storm.is_empty();
        let service = state.services.get_mut(&member.0)?;
        let check = service.check.clone();
        let server = service.servers.get_mut(&member.1)?;
        let (was_silent, before) = (server.is_silent(), server.verdict());
        let verdict = note(&check, server);
        let answers_again = is_stormy && was_silent && !server.is_silent();
        let report = verdict.map(|_| server.report(member.1));
        state.is_changed |= verdict.is_some() || answers_again;
        let (verdict, report) = verdict.zip(report)?;
        self.show(member, Some(report.clone()));
        Some(Transition {
            member,
            verdict,
            is_first: before == Verdict::Unknown && verdict == Verdict::Up,
            report,
        })
    }

    /// Counts a result. Returns the health of the server; `None` if the server is not known, or not with this check.
    pub(super) fn note_result(
        &self,
        member: Member,
        check: &HealthCheck,
        result: &HealthResult,
    ) -> Option<Settled> {
        let at = (Instant::now(), Timestamp::now());
        let mut state = self.state();
        let is_released = state.is_released;
        let service = state.services.get_mut(&member.0)?;
        let is_same = *service.check == *check;
        let server = service.servers.get_mut(&member.1).filter(|_| is_same)?;
        if is_released {
            return Some((server.report(member.1), None));
        }
        state.count(if result.healthy {
            OUTCOMES[0]
        } else {
            OUTCOMES[1]
        });
        let note = |check: &_, server: &mut CheckedServer| server.note_result(check, result, at);
        let transition = self.settle(&mut state, member, note);
        let server = state.services.get(&member.0)?.servers.get(&member.1)?;
        Some((server.report(member.1), transition))
    }

    /// The health of a server, if it is known with this check.
    pub(super) fn report_of(
        &self,
        member: Member,
        check: &HealthCheck,
    ) -> Option<ServerHealthReport> {
        let state = self.state();
        let service = state.services.get(&member.0)?;
        let is_same = *service.check == *check;
        let server = service.servers.get(&member.1).filter(|_| is_same)?;
        Some(server.report(member.1))
    }
}

// === impl State ===

impl State {
    fn count(&mut self, outcome: &str) {
        let mut counts = OUTCOMES.iter().zip(&mut self.outcomes);
        if let Some((_, count)) = counts.find(|(name, _)| **name == outcome) {
            *count += 1;
        }
    }
}
