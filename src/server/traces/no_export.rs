//! The types of `export.rs` without the Cargo feature `otel`.

use std::convert::Infallible;

use super::TracingConfig;
use crate::{metrics::Metrics, trace::Tracer};

/// The export of spans: none. The configuration cannot ask for it.
#[derive(Clone, Debug, Default)]
pub struct Traces;

/// Why the export cannot be started: it never fails.
pub type TracesError = Infallible;

impl TracingConfig {
    /// Checks the files that the configuration names: none are used.
    pub fn check_files(&self) -> Result<(), TracesError> {
        Ok(())
    }
}

impl Traces {
    /// Starts the export.
    pub fn start(_: &TracingConfig) -> Result<Self, TracesError> {
        Ok(Self)
    }

    /// What begins the traces of requests.
    pub fn tracer(&self) -> Tracer {
        Tracer::default()
    }

    /// Adds the metrics of the export.
    pub fn add_metrics(&self, _: &Metrics) {}

    /// Exports what waits.
    pub fn finish(&self) {}
}
