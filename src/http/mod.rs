//! The HTTP face: parses requests into the model's drafts, calls the app, and renders the
//! model's views. It decides nothing. One file a resource.

mod body;
mod conditional;
mod connections;
mod context;
mod docs;
mod encode;
mod errors;
mod etag;
mod extract;
mod health;
mod info;
mod listing;
mod problem;
mod query;
mod reply;
mod rules;
mod schema;
mod servers;
mod services;
mod settings;
mod stats;
mod sync_daemons;
mod timeouts;
mod zero;

use std::time::Duration;

use axum::{Router, middleware};
use utoipa_axum::{router::OpenApiRouter, routes};

pub use docs::openapi;
pub use problem::{MEDIA_TYPE, Problem, REQUEST_ID, not_found, status};

use crate::app::App;

/// What can be set of the HTTP face.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpOptions {
    /// How long a request may take, from its body's first byte to the kernel's answer.
    pub request_timeout: Duration,
    /// The longest body in bytes.
    pub max_body_bytes: usize,
    /// The longest text of rules in bytes: a whole table.
    pub max_rules_bytes: usize,
}

/// What the operations share.
#[derive(Clone, Debug)]
struct Api {
    app: App,
    options: HttpOptions,
}

/// The HTTP face of `app`.
///
/// Paths that there are not are left to the caller, who may have more to merge; [`not_found`] is
/// the answer to them.
pub fn router(app: App, options: HttpOptions) -> Router {
    let (api, _) = operations().split_for_parts();
    api.with_state(Api { app, options })
        .merge(docs::router())
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(middleware::from_fn(problem::with_request_id))
}

fn operations() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(docs::base())
        .routes(routes!(services::list, services::create, services::clear))
        .routes(routes!(
            services::get,
            services::put,
            services::update,
            services::delete
        ))
        .routes(routes!(servers::list, servers::create))
        .routes(routes!(
            servers::get,
            servers::put,
            servers::update,
            servers::delete
        ))
        .routes(routes!(listing::get))
        .routes(routes!(rules::save, rules::restore))
        .routes(routes!(zero::all))
        .routes(routes!(zero::service))
        .routes(routes!(timeouts::get, timeouts::update))
        .routes(routes!(sync_daemons::list))
        .routes(routes!(
            sync_daemons::get,
            sync_daemons::put,
            sync_daemons::delete
        ))
        .routes(routes!(connections::list))
        .routes(routes!(stats::get))
        .routes(routes!(info::get))
        .routes(routes!(settings::get, settings::update))
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(errors::list))
        .routes(routes!(errors::get))
}
