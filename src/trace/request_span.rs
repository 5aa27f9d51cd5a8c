//! The span of a request in the log, and its trace.

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use super::{Trace, TraceIds, TraceParent};

/// The span of a request in the log, with its trace. The span is made when something is logged in it: most reads
/// log nothing. Without one, what is logged is in the current span.
#[derive(Clone, Default)]
pub struct RequestSpan {
    log: Option<Arc<LazySpan>>,
    trace: Trace,
}

type LazySpan = LazyLock<tracing::Span, Box<dyn FnOnce() -> tracing::Span + Send + Sync>>;

tokio::task_local! {
    /// The span of the request on whose behalf a task runs.
    static CURRENT: RequestSpan;
}

// === impl RequestSpan ===

impl RequestSpan {
    /// A span that is yet to be made, of a request with this trace.
    pub fn new(trace: Trace, make: impl FnOnce() -> tracing::Span + Send + Sync + 'static) -> Self {
        // A panic meanwhile must not ask for this span.
        let make = || CURRENT.sync_scope(Self::default(), make);
        Self {
            log: Some(Arc::new(LazyLock::new(Box::new(make)))),
            trace,
        }
    }

    /// The span of the request on whose behalf this thread runs a future; otherwise the current span.
    pub fn current() -> Self {
        CURRENT.try_with(Self::clone).unwrap_or_default()
    }

    /// Runs a future on behalf of the request: the log of a panic in it names the request. The span is
    /// not entered, which would make it.
    pub fn scope<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, future)
    }

    /// Runs `log` in the span.
    pub fn in_scope<T>(&self, log: impl FnOnce() -> T) -> T {
        match &self.log {
            Some(span) => span.in_scope(log),
            None => log(),
        }
    }
}

impl fmt::Debug for RequestSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestSpan")
    }
}

// === impl Trace ===

impl Trace {
    /// The trace of the request on whose behalf this thread runs a future; otherwise none.
    pub fn current() -> Self {
        CURRENT
            .try_with(|span| span.trace.clone())
            .unwrap_or_default()
    }

    /// The ids that are known of the request: those of its trace, or what its caller sent.
    pub fn known_ids(&self, parent: Option<&TraceParent>) -> Option<TraceIds> {
        self.ids().or(parent.map(|parent| TraceIds {
            trace_id: parent.trace_id,
            span_id: None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_span_is_made_when_something_is_logged_in_it() {
        let made = Arc::new(AtomicBool::new(false));
        let span = RequestSpan::new(Trace::default(), {
            let made = made.clone();
            move || {
                assert!(!made.swap(true, Ordering::Relaxed), "made twice");
                tracing::Span::none()
            }
        });
        let clone = span.clone();
        assert!(!made.load(Ordering::Relaxed));
        assert_eq!(clone.in_scope(|| 1), 1);
        assert!(made.load(Ordering::Relaxed));
        span.in_scope(|| ());
    }
}
