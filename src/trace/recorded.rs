//! The spans of a request for OpenTelemetry.

use std::{
    fmt,
    time::{Instant, SystemTime},
};

use opentelemetry::{
    Context, KeyValue, Value,
    trace::{
        SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId,
        TraceState, Tracer as _,
    },
};
use opentelemetry_sdk::trace::SdkTracer;

use super::{TraceIds, TraceParent};

/// Begins traces. By default none.
#[derive(Clone, Default)]
pub struct Tracer(Option<SdkTracer>);

/// The trace of a request, with the request's span. Clones share it. By default none.
#[derive(Clone, Default)]
pub struct Trace(Option<(SdkTracer, Context)>);

/// A span within the request. It ends when it is dropped. Nothing if the request is not sampled.
#[derive(Default)]
pub struct Span(Option<Context>);

/// The begin of what becomes a span if it ends: a wait, or a write that is awaited later.
#[derive(Default)]
pub struct Begun(Option<(Trace, Instant)>);

/// The attribute with the class of an error.
const ERROR_TYPE: &str = "error.type";

// === impl Tracer ===

impl Tracer {
    /// A tracer of the SDK.
    pub fn new(tracer: SdkTracer) -> Self {
        Self(Some(tracer))
    }

    /// Begins the trace of a request, in that of its caller if there is one: with what its `traceparent` and its
    /// `tracestate` say.
    pub fn begin(
        &self,
        name: impl FnOnce() -> String,
        parent: Option<(TraceParent, impl FnOnce() -> String)>,
        since: Instant,
    ) -> Trace {
        let Some(tracer) = &self.0 else {
            return Trace(None);
        };
        let context = parent.map_or_else(Context::new, |(parent, state)| remote(parent, &state()));
        let builder = SpanBuilder::from_name(name())
            .with_kind(SpanKind::Server)
            .with_start_time(time_of(since));
        let span = tracer.build_with_context(builder, &context);
        Trace(Some((tracer.clone(), Context::new().with_span(span))))
    }
}

/// The context of a caller. A `tracestate` that is invalid is left out.
fn remote(parent: TraceParent, state: &str) -> Context {
    let flags = match parent.is_sampled {
        true => TraceFlags::SAMPLED,
        false => TraceFlags::default(),
    };
    let state = state.parse::<TraceState>().unwrap_or_default();
    Context::new().with_remote_span_context(SpanContext::new(
        TraceId::from(parent.trace_id),
        SpanId::from(parent.span_id),
        flags,
        true,
        state,
    ))
}

/// The time of day of an instant in the past.
fn time_of(instant: Instant) -> SystemTime {
    let now = SystemTime::now();
    now.checked_sub(instant.elapsed()).unwrap_or(now)
}

// === impl Trace ===

impl Trace {
    /// Whether spans are recorded: whether the request is sampled. Also after the end of the request's span: a
    /// write runs to its end whatever becomes of its client.
    pub fn is_recorded(&self) -> bool {
        let context = self.0.as_ref().map(|(_, context)| context);
        context.is_some_and(|context| context.span().span_context().is_sampled())
    }

    /// The ids for the log.
    pub fn ids(&self) -> Option<TraceIds> {
        let (_, context) = self.0.as_ref()?;
        let span = context.span();
        let context = span.span_context();
        Some(TraceIds {
            trace_id: u128::from_be_bytes(context.trace_id().to_bytes()),
            span_id: Some(u64::from_be_bytes(context.span_id().to_bytes())),
        })
    }

    /// Sets an attribute of the request's span.
    pub fn set(&self, key: &'static str, value: impl Into<Value>) {
        if let Some((_, context)) = &self.0 {
            context.span().set_attribute(KeyValue::new(key, value));
        }
    }

    /// Marks the request's span as failed, for this reason.
    pub fn fail(&self, reason: &str) {
        if let Some((_, context)) = &self.0 {
            fail(context, reason);
        }
    }

    /// Ends the request's span.
    pub fn end(&self) {
        if let Some((_, context)) = &self.0 {
            context.span().end();
        }
    }

    /// A span that begins now.
    pub fn span(&self, name: &'static str) -> Span {
        self.span_since(name, None)
    }

    fn span_since(&self, name: &'static str, since: Option<Instant>) -> Span {
        let Some((tracer, context)) = self.0.as_ref().filter(|_| self.is_recorded()) else {
            return Span(None);
        };
        let mut builder = SpanBuilder::from_name(name).with_kind(SpanKind::Internal);
        builder.start_time = since.map(time_of);
        let span = tracer.build_with_context(builder, context);
        Span(Some(Context::new().with_span(span)))
    }
}

/// Marks a span as failed. The reason is one of a closed set: the message of an error may have what a client sent.
fn fail(context: &Context, reason: &str) {
    let span = context.span();
    span.set_attribute(KeyValue::new(ERROR_TYPE, reason.to_owned()));
    span.set_status(Status::error(""));
}

// === impl Span ===

impl Span {
    /// Sets an attribute.
    pub fn set(&self, key: &'static str, value: impl Into<Value>) {
        if let Some(context) = &self.0 {
            context.span().set_attribute(KeyValue::new(key, value));
        }
    }

    /// Marks the span as failed, for this reason.
    pub fn fail(&self, reason: &str) {
        if let Some(context) = &self.0 {
            fail(context, reason);
        }
    }

    /// Ends the span.
    pub fn end(self) {}
}

// === impl Begun ===

impl Begun {
    /// Something begins on behalf of the current request.
    pub fn now() -> Self {
        let trace = Trace::current();
        Self(trace.is_recorded().then(|| (trace, Instant::now())))
    }

    /// The trace of the request.
    pub fn trace(&self) -> Trace {
        let trace = self.0.as_ref().map(|(trace, _)| trace.clone());
        trace.unwrap_or_default()
    }

    /// The span since the begin.
    pub fn span(&self, name: &'static str) -> Span {
        match &self.0 {
            Some((trace, since)) => trace.span_since(name, Some(*since)),
            None => Span(None),
        }
    }
}

// === Debug ===

macro_rules! opaque {
    ($($name:ident)*) => {
        $(impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        })*
    };
}

opaque!(Tracer Trace Span Begun);
