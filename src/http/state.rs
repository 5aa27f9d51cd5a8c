//! The state that the handlers share, and the options of the front end.

use std::{sync::Arc, time::Duration};

use utoipa::openapi::OpenApi;

use crate::app::App;

/// Limits of the HTTP front end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpOptions {
    /// Time limit for an operation, from the end of the request's body.
    pub request_timeout: Duration,
    /// Largest request body in bytes.
    pub max_body_bytes: usize,
    /// Largest body of `POST /v1/rules` in bytes. The body can be a whole table.
    pub max_rules_bytes: usize,
}

/// State of every handler.
#[derive(Clone, Debug)]
pub(super) struct Api {
    pub app: Arc<App>,
    pub options: HttpOptions,
    /// Builds the OpenAPI document.
    pub describe: fn() -> OpenApi,
}
