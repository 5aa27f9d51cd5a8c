//! The gRPC api: messages into the model's drafts, a call of the app, the model's views into
//! messages. It decides nothing. One file a resource, with the same names as in the HTTP api; the
//! reference of the API is the comments of the definitions in `proto/ipvsd/v1`.

mod connections;
mod convert;
mod health;
mod info;
mod listing;
mod mask;
mod metadata;
mod rules;
mod servers;
mod service;
mod services;
mod settings;
mod stats;
mod status;
mod sync_daemons;
#[cfg(test)]
mod tests;
mod timeouts;
mod zero;

use std::{sync::Arc, time::Duration};

use axum::{Router, middleware::map_response};
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use service::Api;
pub use status::{ERROR_DOMAIN, code, is_grpc, refusal, status, unimplemented_fallback};
use tonic::service::Routes;
use tonic_health::pb::health_server::HealthServer;
use tonic_reflection::server::Builder;
use tonic_web::GrpcWebLayer;
use tower::Layer;

use crate::{
    app::App,
    proto::{DESCRIPTORS, v1::ipvs_server::IpvsServer},
};

/// Comes to its end when the daemon begins to end.
pub type Draining = Shared<BoxFuture<'static, ()>>;

/// How the api is to behave.
#[derive(Clone, Debug)]
pub struct GrpcOptions {
    /// How long a request may take, whatever the client says.
    pub request_timeout: Duration,
    /// The longest message taken, in bytes.
    pub max_request_bytes: usize,
    /// The longest text of rules in bytes, all its messages together: a whole table.
    pub max_rules_bytes: usize,
    /// The longest message sent, in bytes; pages end before they exceed it.
    pub max_response_bytes: usize,
    /// How often the health is looked at while a client watches it.
    pub health_interval: Duration,
    /// How many clients may watch the health at a time.
    pub max_health_watches: usize,
    /// When the daemon begins to end: then it is not serving any more, and watches of the health
    /// end. See [`GrpcOptions::until`].
    pub draining: Draining,
}

// === impl GrpcOptions ===

impl GrpcOptions {
    /// The same with the daemon beginning to end when `draining` does.
    #[must_use]
    pub fn until(self, draining: impl Future<Output = ()> + Send + 'static) -> Self {
        Self {
            draining: draining.boxed().shared(),
            ..self
        }
    }
}

/// The methods of [`SERVICE`](crate::proto::SERVICE), `grpc.health.v1.Health` and reflection (v1
/// and v1alpha), over gRPC and grpc-web. It has no fallback: whoever merges it with other routes
/// answers unknown ones, [those of gRPC](is_grpc) with [`unimplemented_fallback`].
pub fn router(app: App, options: GrpcOptions) -> Router {
    let max_request_bytes = options.max_request_bytes;
    let api = Api {
        app,
        options: Arc::new(options),
    };
    let web = GrpcWebLayer::new();
    let health = HealthServer::new(health::HealthService::new(api.clone()));
    let list = listing::route(api.clone());
    let ipvs = IpvsServer::new(api).max_decoding_message_size(max_request_bytes);
    let mut routes = Routes::new(web.layer(ipvs)).add_service(web.layer(health));
    let reflection = || {
        Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    // The descriptors are made by the build, and a test reads them: these errors do not happen.
    match reflection().build_v1() {
        Ok(reflection) => routes = routes.add_service(web.layer(reflection)),
        Err(error) => tracing::error!(%error, "no gRPC reflection"),
    }
    match reflection().build_v1alpha() {
        Ok(reflection) => routes = routes.add_service(web.layer(reflection)),
        Err(error) => tracing::error!(%error, "no gRPC reflection (v1alpha)"),
    }
    routes
        .prepare()
        .into_axum_router()
        .reset_fallback()
        .merge(list)
        .layer(map_response(status::too_large))
}
