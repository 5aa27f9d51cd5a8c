//! The state that the handlers share, and the options of the front end.

use std::{sync::Arc, time::Duration};

use utoipa::openapi::OpenApi;

use crate::{app::App, metrics::ScrapeOptions};

/// Limits of the HTTP front end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpOptions {
    /// Time limit for an operation, from the end of the request's body.
    pub request_timeout: Duration,
    /// Largest request body in bytes.
    pub max_body_bytes: usize,
    /// Largest body of `POST /v1/rules` in bytes. The body can be a whole table.
    pub max_rules_bytes: usize,
    /// Settings of `/metrics`.
    pub metrics: MetricsOptions,
}

/// Settings of `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricsOptions {
    /// Age of what was read of the kernel, at most. Default 1 s.
    pub max_age: Duration,
    /// What is shown of the table.
    pub scrape: ScrapeOptions,
}

/// State of every handler.
#[derive(Clone, Debug)]
pub(super) struct Api {
    pub app: Arc<App>,
    pub options: HttpOptions,
    /// Builds the OpenAPI document.
    pub describe: fn() -> OpenApi,
}

// === impl MetricsOptions ===

impl Default for MetricsOptions {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(1),
            scrape: ScrapeOptions::default(),
        }
    }
}
