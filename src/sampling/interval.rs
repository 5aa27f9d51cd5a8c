//! The times at which frames are due.

use std::time::{Duration, Instant};

/// Time between two frames: a multiple of 2 seconds, at most 60.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval(u32);

/// The kernel's interval between two refreshes of the counters.
pub(super) const PERIOD: Duration = Duration::from_secs(2);

// === impl Interval ===

impl Interval {
    /// Default: 2 s.
    pub const DEFAULT: Self = Self(1);
    /// Shortest and longest, in seconds.
    pub const SECONDS: std::ops::RangeInclusive<u64> = 2..=60;

    /// The interval of this many seconds, rounded up to a multiple of 2.
    pub fn from_seconds(seconds: u64) -> Option<Self> {
        let periods = seconds.div_ceil(PERIOD.as_secs());
        let is_valid = Self::SECONDS.contains(&seconds);
        is_valid.then(|| u32::try_from(periods).ok().map(Self))?
    }

    pub(super) fn time(self) -> Duration {
        PERIOD * self.0
    }
}

/// The next multiple of an interval after the epoch.
pub(super) fn next_multiple(epoch: Instant, now: Instant, interval: Duration) -> Instant {
    let passed = now.saturating_duration_since(epoch).as_millis() / interval.as_millis().max(1);
    let passed = u32::try_from(passed).unwrap_or(u32::MAX);
    epoch + interval * passed.saturating_add(1)
}
