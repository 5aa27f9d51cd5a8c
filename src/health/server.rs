//! The health of one server, from the outcomes of its checks.

use std::time::{Duration, Instant};

use super::{Failure, Outcome};
use crate::model::HealthCheck;

/// What is known of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Too little: it is treated as healthy.
    Unknown,
    /// It is healthy.
    Up,
    /// It has failed.
    Down,
}

/// The health of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerHealth {
    verdict: Verdict,
    /// Outcomes in a row that contradict the verdict.
    contrary: u32,
    /// When the last outcomes in a row without any answer began.
    silent: Option<Instant>,
    /// Whether it has failed without an answer, and has given none since.
    is_lost: bool,
    /// How often it failed soon after it had returned.
    flaps: u32,
    /// When it returned.
    returned: Option<Instant>,
}

/// Flaps that count: `rise` doubles with each.
const MAX_FLAPS: u32 = 5;
/// A server flaps if it fails within this multiple of the time that its return has taken.
const FLAP_TIME: u32 = 10;

// === impl ServerHealth ===

impl ServerHealth {
    /// A server of which nothing is known, or of which it is known that it has failed.
    pub fn new(is_down: bool) -> Self {
        Self {
            verdict: match is_down {
                true => Verdict::Down,
                false => Verdict::Unknown,
            },
            contrary: 0,
            silent: None,
            is_lost: false,
            flaps: 0,
            returned: None,
        }
    }

    /// What is known.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Since when no check has got any answer; `None` if the last has.
    pub fn silent_since(&self) -> Option<Instant> {
        self.silent
    }

    /// Whether it has failed because nothing answered, and has not answered since. One that failed by its answers,
    /// and is silent now, is not.
    pub fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Whether it has failed, and its last check has succeeded.
    pub fn is_recovering(&self) -> bool {
        self.verdict == Verdict::Down && self.contrary > 0
    }

    /// Successes in a row that bring it back: `rise`, and twice as many with each flap.
    pub fn rise(&self, check: &HealthCheck) -> u32 {
        check.rise << self.flaps
    }

    /// Counts an outcome. Returns whether it changes the verdict.
    pub fn note(&mut self, check: &HealthCheck, outcome: &Outcome, now: Instant) -> bool {
        let before = self.verdict;
        match &outcome.result {
            Ok(()) => self.succeed(check, now),
            Err(Failure::Wrong(_)) => self.fail(check, now, false),
            Err(Failure::Silent(_)) => self.fail(check, now, true),
            Err(Failure::Unchecked(_)) => {}
        }
        self.verdict != before
    }

    fn succeed(&mut self, check: &HealthCheck, now: Instant) {
        (self.silent, self.is_lost) = (None, false);
        match self.verdict {
            Verdict::Up => self.contrary = 0,
            Verdict::Unknown => self.turn(Verdict::Up),
            Verdict::Down => {
                self.contrary += 1;
                if self.contrary >= self.rise(check) {
                    self.turn(Verdict::Up);
                    self.returned = Some(now);
                }
            }
        }
    }

    fn fail(&mut self, check: &HealthCheck, now: Instant, is_silent: bool) {
        // A check may be connected when the network fails: that it gets no answer then does not count as one.
        self.silent = is_silent.then(|| self.silent.unwrap_or(now));
        self.is_lost &= is_silent;
        if self.verdict == Verdict::Down {
            self.contrary = 0;
            return;
        }
        self.contrary += 1;
        if self.contrary < check.fall {
            return;
        }
        let return_time = Duration::from_secs(check.interval_seconds.into()) * self.rise(check);
        let is_flap = |returned: Instant| now.duration_since(returned) < return_time * FLAP_TIME;
        self.flaps = match self.returned.is_some_and(is_flap) {
            true => (self.flaps + 1).min(MAX_FLAPS),
            false => 0,
        };
        self.is_lost = is_silent;
        self.turn(Verdict::Down);
    }

    fn turn(&mut self, verdict: Verdict) {
        self.verdict = verdict;
        self.contrary = 0;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn check(json: serde_json::Value) -> HealthCheck {
        let draft: crate::model::HealthCheckDraft = serde_json::from_value(json).unwrap();
        draft
            .apply(None, "tcp-192.0.2.1-80".parse().unwrap())
            .unwrap()
    }

    fn outcome(word: char) -> Outcome {
        let failed = "it failed".to_owned();
        Outcome {
            result: match word {
                '+' => Ok(()),
                '-' => Err(Failure::Wrong(failed)),
                's' => Err(Failure::Silent(failed)),
                _ => Err(Failure::Unchecked(failed)),
            },
            latency: Duration::ZERO,
        }
    }

    /// The verdicts after each outcome, one every two seconds.
    fn verdicts(health: &mut ServerHealth, from: Instant, outcomes: &str) -> String {
        let check = check(serde_json::json!({"type": "tcp"}));
        let outcomes = outcomes.chars().zip(0u32..);
        let verdicts = outcomes.map(|(word, index)| {
            health.note(
                &check,
                &outcome(word),
                from + Duration::from_secs(2) * index,
            );
            match health.verdict() {
                Verdict::Unknown => '?',
                Verdict::Up => 'u',
                Verdict::Down => 'd',
            }
        });
        verdicts.collect()
    }

    #[test]
    fn it_falls_after_three_failures_and_rises_after_two_successes() {
        let now = Instant::now();
        for (outcomes, expected) in [
            ("---", "??d"),
            ("+--+---+-++", "uuuuuuddddu"),
            ("--x-", "???d"),
            ("xxxx", "????"),
        ] {
            let mut health = ServerHealth::new(false);
            assert_eq!(verdicts(&mut health, now, outcomes), expected, "{outcomes}");
        }
        // One that was down when the daemon ended.
        let mut health = ServerHealth::new(true);
        assert_eq!(verdicts(&mut health, now, "-++"), "ddu");
    }

    #[test]
    fn one_that_flaps_needs_more_successes_each_time() {
        let now = Instant::now();
        let mut health = ServerHealth::new(false);
        assert_eq!(verdicts(&mut health, now, "+---++---"), "uuudduuud");
        let later = now + Duration::from_secs(20);
        assert_eq!(verdicts(&mut health, later, "++++---"), "ddduuud");
        let later = later + Duration::from_secs(14);
        assert_eq!(verdicts(&mut health, later, "++++++++"), "dddddddu");
        // It stays up long enough.
        let later = later + Duration::from_secs(1000);
        assert_eq!(verdicts(&mut health, later, "---++"), "uuddu");
    }

    #[test]
    fn it_is_silent_while_nothing_has_answered() {
        let now = Instant::now();
        let mut health = ServerHealth::new(false);
        verdicts(&mut health, now, "+s");
        assert_eq!(health.silent_since(), Some(now + Duration::from_secs(2)));
        verdicts(&mut health, now + Duration::from_secs(4), "s");
        assert_eq!(health.silent_since(), Some(now + Duration::from_secs(2)));
        verdicts(&mut health, now + Duration::from_secs(6), "-");
        assert_eq!(health.silent_since(), None);
        let later = now + Duration::from_secs(8);
        verdicts(&mut health, later, "s");
        assert_eq!(health.silent_since(), Some(later));
    }

    #[test]
    fn it_is_lost_if_nothing_answered_when_it_failed_and_since() {
        let now = Instant::now();
        for (outcomes, expected) in [
            ("ss", false),
            ("sss", true),
            ("-ss", true),
            ("ss-", false),
            ("ssss-", false),
            ("---ss", false),
            ("sss-sss", false),
            ("sss+", false),
        ] {
            let mut health = ServerHealth::new(false);
            verdicts(&mut health, now, outcomes);
            assert_eq!(health.is_lost(), expected, "{outcomes}");
        }
    }
}
