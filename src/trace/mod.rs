//! The trace of a request: the ids by which its lines in the log are found, and, with the Cargo feature
//! `otel`, its spans for OpenTelemetry ([docs/tracing.md](../../docs/tracing.md)). No I/O: the spans are
//! exported by `server/traces`.
//!
//! The two files `recorded.rs` and `unrecorded.rs` have the same types. Those without the feature are empty, so
//! that the rest of the daemon does not know the feature.

mod parent;
#[cfg(feature = "otel")]
mod recorded;
mod request_span;
#[cfg(not(feature = "otel"))]
mod unrecorded;

pub use parent::{TraceIds, TraceParent};
#[cfg(feature = "otel")]
pub use recorded::{Begun, Span, Trace, Tracer};
pub use request_span::RequestSpan;
#[cfg(not(feature = "otel"))]
pub use unrecorded::{Begun, Span, Trace, Tracer};
