//! The bounded queue of spans, and what became of them.
//!
//! The SDK's processor makes batches and exports them, in a thread of its own. It does not report how many spans it has
//! dropped: so it gets only what is within the bound that is counted here, and drops none.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use opentelemetry::Context;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor},
};

/// Time between two lines of the log about lost spans.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// What became of spans.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Spans that were handed over and are not exported yet.
    waiting: AtomicUsize,
    exported: AtomicU64,
    /// Spans that found no space.
    dropped: AtomicU64,
    /// Spans that the collector did not take.
    failed: AtomicU64,
    logged: Mutex<Logged>,
}

/// What was logged last.
#[derive(Debug, Default)]
struct Logged {
    at: Option<Instant>,
    dropped: u64,
    failed: u64,
}

/// Passes on at most as many spans as may wait.
#[derive(Debug)]
pub(super) struct BoundedProcessor {
    inner: BatchSpanProcessor,
    max: usize,
    counters: Arc<Counters>,
}

/// Counts what is exported.
#[derive(Debug)]
pub(super) struct CountedExporter<E> {
    inner: E,
    counters: Arc<Counters>,
}

// === impl Counters ===

impl Counters {
    /// The spans by their results.
    pub(super) fn results(&self) -> [(&'static str, u64); 3] {
        [
            ("exported", self.exported.load(Ordering::Relaxed)),
            ("dropped", self.dropped.load(Ordering::Relaxed)),
            ("failed", self.failed.load(Ordering::Relaxed)),
        ]
    }

    /// The spans that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Takes a place in the queue; false if there is none.
    fn enter(&self, max: usize) -> bool {
        let enter = |waiting: usize| (waiting < max).then_some(waiting + 1);
        let entered = self
            .waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, enter);
        entered.is_ok()
    }

    /// Logs what was lost since the last line, unless that is less than `interval` ago.
    fn log(&self, interval: Duration, error: Option<&str>) {
        // Who cannot log now leaves it to the next.
        let Ok(mut logged) = self.logged.try_lock() else {
            return;
        };
        if logged.at.is_some_and(|at| at.elapsed() < interval) {
            return;
        }
        let dropped = self.dropped.load(Ordering::Relaxed);
        let failed = self.failed.load(Ordering::Relaxed);
        let (new_dropped, new_failed) = (dropped - logged.dropped, failed - logged.failed);
        if new_dropped == 0 && new_failed == 0 {
            return;
        }
        *logged = Logged {
            at: Some(Instant::now()),
            dropped,
            failed,
        };
        tracing::warn!(
            dropped = new_dropped,
            failed = new_failed,
            error,
            "spans of traces were lost: dropped ones found the queue full, failed ones were not taken by the collector"
        );
    }

    /// Logs what no line has had, and what still waits.
    pub(super) fn log_rest(&self) {
        self.log(Duration::ZERO, None);
        let waiting = self.waiting();
        if waiting > 0 {
            tracing::warn!(waiting, "spans of traces were not exported before the end");
        }
    }
}

// === impl BoundedProcessor ===

impl BoundedProcessor {
    /// `inner` has a queue of at least `max` spans, and a [`CountedExporter`] with the same counters.
    pub(super) fn new(inner: BatchSpanProcessor, max: usize, counters: Arc<Counters>) -> Self {
        Self {
            inner,
            max,
            counters,
        }
    }
}

impl SpanProcessor for BoundedProcessor {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.counters.enter(self.max) {
            self.inner.on_end(span);
            return;
        }
        self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        self.counters.log(LOG_INTERVAL, None);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

// === impl CountedExporter ===

impl<E> CountedExporter<E> {
    pub(super) fn new(inner: E, counters: Arc<Counters>) -> Self {
        Self { inner, counters }
    }
}

impl<E: SpanExporter> SpanExporter for CountedExporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        let result = self.inner.export(batch).await;
        self.counters.waiting.fetch_sub(count, Ordering::Relaxed);
        let counter = match &result {
            Ok(()) => &self.counters.exported,
            Err(_) => &self.counters.failed,
        };
        counter.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
        let error = result.as_ref().err().map(ToString::to_string);
        self.counters.log(LOG_INTERVAL, error.as_deref());
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
