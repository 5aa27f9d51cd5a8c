//! A histogram of atomic counters.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use prometheus_client::encoding::{MetricEncoder, NoLabelSet};

/// The most buckets of a histogram, the one without an upper bound included.
const MAX_BUCKETS: usize = 16;

/// A histogram. To observe a value takes two atomic additions; the histograms of prometheus-client have a
/// lock.
///
/// Values are integers: nanoseconds, or numbers. What is read while values are observed may lack the last
/// ones in the sum, but the count is always that of the buckets.
#[derive(Debug)]
pub struct Histogram {
    scale: Scale,
    buckets: [AtomicU64; MAX_BUCKETS],
    sum: AtomicU64,
}

/// The unit and the upper bounds of a histogram, in ascending order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    /// How many observed units are one unit of the metric.
    unit: f64,
    bounds: &'static [u64],
}

// === impl Scale ===

impl Scale {
    /// Latencies of requests, in seconds: 100 us to 10 s, which is `limits.request_timeout`.
    pub(super) const LATENCY: Self = Self {
        unit: 1e9,
        bounds: &[
            100_000,
            250_000,
            500_000,
            1_000_000,
            2_500_000,
            5_000_000,
            10_000_000,
            25_000_000,
            100_000_000,
            500_000_000,
            1_000_000_000,
            2_500_000_000,
            10_000_000_000,
        ],
    };

    /// Numbers of operations that are sent together, up to the size of a send.
    pub(super) const BATCH: Self = Self {
        unit: 1.0,
        bounds: &[1, 2, 4, 8, 16, 32, 64, 128, 1024, 16_384],
    };
}

// === impl Histogram ===

impl Histogram {
    /// One of durations in seconds.
    pub fn of_durations() -> Self {
        Self::new(Scale::LATENCY)
    }

    pub(super) fn new(scale: Scale) -> Self {
        Self {
            scale,
            buckets: Default::default(),
            sum: AtomicU64::new(0),
        }
    }

    /// Observes a duration.
    pub fn observe(&self, duration: Duration) {
        self.add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Observes a number.
    pub fn add(&self, value: u64) {
        let bucket = self.scale.bounds.iter().take_while(|bound| **bound < value);
        if let Some(bucket) = self.buckets.get(bucket.count()) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// The number of observed values.
    pub fn count(&self) -> u64 {
        let buckets = self.buckets.iter();
        buckets.map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    /// Writes the samples.
    pub(super) fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let Scale { unit, bounds } = self.scale;
        let bounds = bounds.iter().map(|bound| *bound as f64 / unit);
        let bounds = bounds.chain([f64::INFINITY]);
        let counts = self
            .buckets
            .iter()
            .map(|bucket| bucket.load(Ordering::Relaxed));
        let buckets: Vec<_> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = self.sum.load(Ordering::Relaxed) as f64 / unit;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}
