//! The history: samples of the last quarter of an hour, in a bounded memory.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::sample::Sample;

/// Samples, oldest first.
#[derive(Debug)]
pub(super) struct History {
    window: Duration,
    max_bytes: usize,
    samples: VecDeque<Arc<Sample>>,
    bytes: usize,
}

// === impl History ===

impl History {
    pub(super) fn new(window: Duration, max_bytes: usize) -> Self {
        Self {
            window,
            max_bytes,
            samples: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Whether there is one at all.
    pub(super) fn is_kept(&self) -> bool {
        !self.window.is_zero()
    }

    /// Adds a sample, and forgets those that are too old or for which there is no memory.
    pub(super) fn push(&mut self, sample: Arc<Sample>) {
        self.bytes += sample.bytes();
        let newest = self.samples.len();
        self.samples.push_back(sample.clone());
        for _ in 0..=newest {
            let Some(oldest) = self.samples.front() else {
                return;
            };
            let is_old = sample.since(oldest) > self.window;
            if !is_old && self.bytes <= self.max_bytes {
                return;
            }
            self.bytes -= oldest.bytes();
            self.samples.pop_front();
        }
    }

    /// The samples of this time before the last one, each with the one before it.
    pub(super) fn of(&self, window: Duration) -> Vec<[Arc<Sample>; 2]> {
        let last = self.samples.back();
        let pairs = self.samples.iter().zip(self.samples.iter().skip(1));
        let recent =
            pairs.filter(|(_, sample)| last.is_some_and(|last| last.since(sample) <= window));
        recent
            .map(|(older, sample)| [older.clone(), sample.clone()])
            .collect()
    }
}
