//! The types of `recorded.rs` without the Cargo feature `otel`: nothing is recorded.

use std::time::Instant;

use super::{TraceIds, TraceParent};

/// Begins traces: none.
#[derive(Clone, Debug, Default)]
pub struct Tracer(());

/// The trace of a request: none.
#[derive(Clone, Debug, Default)]
pub struct Trace(());

/// A span of a trace: none.
#[derive(Debug, Default)]
pub struct Span(());

/// The begin of what may become a span: none.
#[derive(Debug, Default)]
pub struct Begun(());

impl Tracer {
    /// Begins the trace of a request.
    pub fn begin(
        &self,
        _name: impl FnOnce() -> String,
        _parent: Option<(TraceParent, impl FnOnce() -> String)>,
        _since: Instant,
    ) -> Trace {
        Trace(())
    }
}

impl Trace {
    /// Whether spans are recorded.
    pub fn is_recorded(&self) -> bool {
        false
    }

    /// The ids for the log.
    pub fn ids(&self) -> Option<TraceIds> {
        None
    }

    /// Sets an attribute of the request's span.
    pub fn set<T>(&self, _key: &'static str, _value: T) {}

    /// Marks the request's span as failed, for this reason.
    pub fn fail(&self, _reason: &str) {}

    /// Ends the request's span.
    pub fn end(&self) {}

    /// A span that begins now.
    pub fn span(&self, _name: &'static str) -> Span {
        Span(())
    }
}

impl Span {
    /// Sets an attribute.
    pub fn set<T>(&self, _key: &'static str, _value: T) {}

    /// Marks the span as failed, for this reason.
    pub fn fail(&self, _reason: &str) {}

    /// Ends the span.
    pub fn end(self) {}
}

impl Begun {
    /// Something begins on behalf of the current request.
    pub fn now() -> Self {
        Self(())
    }

    /// The trace of the request.
    pub fn trace(&self) -> Trace {
        Trace(())
    }

    /// The span since the begin.
    pub fn span(&self, _name: &'static str) -> Span {
        Span(())
    }
}
