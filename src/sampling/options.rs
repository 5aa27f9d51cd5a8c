//! Settings of statistics streams.

use std::time::Duration;

/// Settings of statistics streams (`[stats]` in the configuration).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SamplingOptions {
    /// Streams at once; further ones fail with `RATE_LIMITED`. Default 1024.
    pub max_streams: usize,
    /// Time of which the history is kept; zero: none, and samples are taken only while there is a stream.
    /// Default 15 min.
    pub history: Duration,
    /// Memory of the history in bytes. If it is full, the history is shorter. Default 16 MiB.
    pub max_history_bytes: usize,
    /// The part of the time that reading samples takes at most, in percent of one processor. Default 5.
    pub max_load_percent: u32,
}

impl Default for SamplingOptions {
    fn default() -> Self {
        Self {
            max_streams: 1024,
            history: Duration::from_secs(15 * 60),
            max_history_bytes: 16 << 20,
            max_load_percent: 5,
        }
    }
}
