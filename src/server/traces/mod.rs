//! Traces for OpenTelemetry ([docs/tracing.md](../../../docs/tracing.md)): the span of a request, and, with the Cargo
//! feature `otel`, the export of spans by OTLP.

#[cfg(feature = "otel")]
mod client;
pub(super) mod config;
#[cfg(feature = "otel")]
mod endpoint;
#[cfg(feature = "otel")]
mod export;
#[cfg(not(feature = "otel"))]
mod no_export;
#[cfg(feature = "otel")]
mod queue;
pub(super) mod request;

pub use config::{SampleRatio, TraceProtocol, TracingConfig};
#[cfg(feature = "otel")]
pub use export::{Traces, TracesError};
#[cfg(not(feature = "otel"))]
pub use no_export::{Traces, TracesError};
