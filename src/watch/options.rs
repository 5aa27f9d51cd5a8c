//! Settings of watches.

use std::time::Duration;

/// Settings of watches (`[watch]` in the configuration).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchOptions {
    /// Time for which the cache is kept after a response with a revision, while nobody watches; zero:
    /// not at all. Default 300 s.
    pub retention: Duration,
    /// Watches at once; further ones fail with `RATE_LIMITED`. Default 1024.
    pub max_watchers: usize,
    /// Events that are kept for watchers that are slow or resume. Default 65536, about 16 MB.
    pub max_events: usize,
    /// Shortest time between two dumps that look for changes of other programs. Default 1 s.
    pub dump_interval: Duration,
    /// The part of the time that these dumps take at most, in percent of one processor. Default 5.
    pub max_load_percent: u32,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self {
            retention: Duration::from_secs(300),
            max_watchers: 1024,
            max_events: 65_536,
            dump_interval: Duration::from_secs(1),
            max_load_percent: 5,
        }
    }
}
