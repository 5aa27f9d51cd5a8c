//! The HTTP front end. It parses requests into the model's drafts, calls the use cases of `app`, and
//! encodes the model's views. One file per resource.

mod accept;
mod access;
mod applied;
mod audit;
mod batch;
mod body;
mod complete;
mod compression;
mod conditional;
mod connection_stream;
mod connections;
mod context;
#[cfg(feature = "dashboard")]
mod dashboard;
mod docs;
mod drains;
mod encode;
mod errors;
mod etag;
mod events;
mod extract;
mod health;
mod index;
mod info;
mod listing;
mod metrics;
mod no_body;
mod openapi;
mod parameters;
mod path;
mod problem;
mod query;
mod ramps;
#[cfg(feature = "docs-ui")]
mod reference;
mod reply;
mod rules;
mod schema;
mod sender;
mod servers;
mod service_page;
mod services;
mod session;
mod settings;
mod shape;
mod state;
mod stats;
mod stats_stream;
mod sync_daemons;
mod tables;
mod timeouts;
mod values;
mod watch;
mod zero;

use std::sync::Arc;

use axum::{Router, middleware::from_fn, routing::Route};
use tower::{layer::layer_fn, service_fn};
use utoipa::openapi::OpenApi;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt},
    routes,
};

pub use problem::{MEDIA_TYPE, Problem, REQUEST_ID, not_found, status};
pub use state::{HttpOptions, MetricsOptions};

use crate::app::App;
use state::Api;

/// The router of the HTTP front end.
///
/// It has no fallback, so that the caller can merge other routers; [`not_found`] is the response for
/// unknown paths.
pub fn router(app: App, options: HttpOptions) -> Router {
    let (api, openapi) = operations().split_for_parts();
    app.metrics()
        .requests()
        .set_http_routes(index::routes(&openapi));
    let state = Api {
        app: Arc::new(app),
        options,
        describe: self::openapi,
    };
    let router = api
        .with_state(state)
        .merge(docs::router(self::openapi).layer(from_fn(compression::of_documents)));
    #[cfg(feature = "dashboard")]
    let router = router.merge(dashboard::router());
    router.method_not_allowed_fallback(problem::method_not_allowed)
}

/// The OpenAPI document.
pub fn openapi() -> OpenApi {
    let (_, openapi) = operations().split_for_parts();
    openapi::complete(openapi)
}

fn operations() -> OpenApiRouter<Api> {
    let all = [
        routes!(services::list, services::create, services::clear),
        routes!(
            services::get,
            services::put,
            services::update,
            services::delete
        ),
        routes!(servers::list, servers::create),
        routes!(servers::get, servers::put, servers::update, servers::delete),
        routes!(listing::get),
        routes!(tables::list),
        routes!(tables::get, tables::apply, tables::update, tables::delete),
        routes!(tables::drift),
        routes!(tables::operations),
        routes!(drains::list, drains::create),
        routes!(drains::get, drains::delete),
        routes!(ramps::list, ramps::create),
        routes!(ramps::get, ramps::delete),
        routes!(batch::apply),
        routes!(rules::save, rules::restore, rules::replace),
        routes!(zero::all),
        routes!(zero::service),
        routes!(timeouts::get, timeouts::update),
        routes!(sync_daemons::list),
        routes!(sync_daemons::get, sync_daemons::put, sync_daemons::delete),
        routes!(connections::list),
        routes!(stats::get),
        routes!(stats_stream::stream_stats),
        routes!(stats_stream::history),
        routes!(metrics::get),
        routes!(info::get),
        routes!(audit::list),
        routes!(watch::watch),
        routes!(settings::get, settings::update),
        routes!(access::whoami),
        routes!(access::can_i),
        routes!(session::open, session::end),
        routes!(index::root),
        routes!(index::v1),
        routes!(health::alive),
        routes!(health::ready),
        routes!(errors::list),
        routes!(errors::get),
    ];
    let empty = OpenApiRouter::with_openapi(openapi::base());
    all.into_iter().fold(empty, |router, routes| {
        // A layer of the routes: a method that the path does not support is 405 all the same.
        let layer = layer_fn(|route: Route| {
            service_fn(move |request| complete::serve(request, route.clone()))
        });
        router.routes(routes.map(|methods| methods.route_layer(layer)))
    })
}
