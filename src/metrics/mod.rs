//! Metrics: what the daemon counts about itself, and the text formats of `GET /metrics`
//! ([docs/metrics.md](../../docs/metrics.md)).
//!
//! Counting is one or a few atomic additions: a request finds its counters by its route
//! ([`RequestMetrics`]), the executor has its own ([`KernelMetrics`]). Everything else is read from where
//! it is kept, when somebody scrapes ([`Metrics::add`]).

mod creation;
mod director;
mod exposition;
mod families;
mod format;
mod histogram;
mod kernel;
mod node_exporter;
mod prepared;
mod process;
mod registry;
mod requests;
mod sampled;
mod text;

#[cfg(test)]
mod tests;

pub use creation::Creations;
pub use director::{Director, director_text};
pub use exposition::Exposition;
pub use format::Format;
pub use histogram::Histogram;
pub use kernel::{CommandResult, KernelMetrics};
pub use prepared::{Prepared, ScrapeOptions};
pub use registry::Metrics;
pub use requests::{GRPC_STATUSES, RequestMetrics, RouteId};
pub use sampled::{Kind, Labels, Sampled, Value};
