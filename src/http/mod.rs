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
mod server_health;
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

use axum::{
    Router,
    handler::Handler,
    middleware::from_fn,
    routing::{MethodFilter, MethodRouter, Route, on},
};
use tower::{layer::layer_fn, service_fn};
use utoipa::{
    OpenApi as _,
    openapi::{OpenApi, path::HttpMethod},
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
    let operations = operations();
    let routes = operations.iter().flat_map(Operation::routes);
    app.metrics()
        .requests()
        .set_http_routes(index::routes(routes));
    let documents = docs::router(self::openapi, app.budget());
    let state = Api {
        app: Arc::new(app),
        options,
        describe: self::openapi,
    };
    let router = operations
        .into_iter()
        .fold(Router::new(), |router, operation| {
            // A layer of the routes: a method that the path does not support is 405 all the same.
            let layer = layer_fn(|route: Route| {
                service_fn(move |request| complete::serve(request, route.clone()))
            });
            router.route(&operation.path, operation.handler.route_layer(layer))
        })
        .with_state(state)
        .merge(documents.layer(from_fn(compression::of_documents)));
    #[cfg(feature = "dashboard")]
    let router = router.merge(dashboard::router());
    router.method_not_allowed_fallback(problem::method_not_allowed)
}

/// The OpenAPI document.
pub fn openapi() -> OpenApi {
    let mut openapi = openapi::base();
    openapi.merge(Operations::openapi());
    openapi::complete(openapi)
}

/// An operation: a path, and who serves it by which methods.
struct Operation {
    path: String,
    methods: Vec<(&'static str, MethodFilter)>,
    handler: MethodRouter<Api>,
}

/// Makes of the names of all handlers their routes, `operations()`, and their part of the document, `Operations`.
///
/// They are two, unlike what `utoipa_axum` makes, because each start and reload needs the routes, and the document takes
/// twice the instructions of all that a start does.
macro_rules! operations {
    ($($module:ident { $($handler:ident),+ })+) => {
        fn operations() -> Vec<Operation> {
            pastey::paste! {
                // What `utoipa::path` generates for a handler is called so.
                vec![$($(Operation::new::<$module::[<__path_ $handler>], _>($module::$handler)),+),+]
            }
        }

        #[derive(utoipa::OpenApi)]
        #[openapi(paths($($($module::$handler),+),+))]
        struct Operations;
    };
}

operations! {
    services { list, create, clear, get, put, update, delete }
    servers { list, create, get, put, update, delete }
    listing { get }
    tables { list, get, apply, update, delete, drift, operations }
    drains { list, create, get, delete }
    ramps { list, create, get, delete }
    server_health { list, get, report, put_override, delete_override }
    batch { apply }
    rules { save, restore, replace }
    zero { all, service }
    timeouts { get, update }
    sync_daemons { list, get, put, delete }
    connections { list }
    stats { get }
    stats_stream { stream_stats, history }
    metrics { get }
    info { get }
    audit { list }
    watch { watch }
    settings { get, update }
    access { whoami, can_i }
    session { open, end }
    index { root, v1 }
    health { alive, ready }
    errors { list, get }
}

// === impl Operation ===

impl Operation {
    /// The operation that `D` describes.
    fn new<D: utoipa::Path, T: 'static>(handler: impl Handler<T, Api>) -> Self {
        let methods: Vec<_> = D::methods().into_iter().map(method).collect();
        let routers = methods
            .iter()
            .map(|(_, method)| on(*method, handler.clone()));
        Self {
            path: D::path(),
            handler: routers.fold(MethodRouter::new(), MethodRouter::merge),
            methods,
        }
    }

    fn routes(&self) -> impl Iterator<Item = (&'static str, String)> {
        let names = self.methods.iter().map(|(name, _)| *name);
        names.map(|name| (name, self.path.clone()))
    }
}

/// The name of a method, and the method as axum knows it.
fn method(method: HttpMethod) -> (&'static str, MethodFilter) {
    match method {
        HttpMethod::Get => ("GET", MethodFilter::GET),
        HttpMethod::Post => ("POST", MethodFilter::POST),
        HttpMethod::Put => ("PUT", MethodFilter::PUT),
        HttpMethod::Patch => ("PATCH", MethodFilter::PATCH),
        HttpMethod::Delete => ("DELETE", MethodFilter::DELETE),
        HttpMethod::Head => ("HEAD", MethodFilter::HEAD),
        HttpMethod::Options => ("OPTIONS", MethodFilter::OPTIONS),
        HttpMethod::Trace => ("TRACE", MethodFilter::TRACE),
    }
}
