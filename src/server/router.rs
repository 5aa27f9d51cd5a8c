//! The router of the daemon: HTTP and gRPC on one port, distinguished by content type.

use std::sync::Arc;

use axum::{Router, extract::Request, response::Response, routing::Route};
use http::HeaderMap;
use tower::{layer::layer_fn, service_fn};

use super::{
    authentication::Authenticator,
    config::Config,
    grpc_gate,
    middleware::with_middleware,
    refusal,
    rejection::Rejection,
    shutdown::{Phase, Shutdown},
};
use crate::{
    app::App,
    grpc, http as http_api,
    model::{Error, Reason},
};

/// Builds the router of the daemon: both front ends, one fallback, and the middleware.
pub fn build_router(
    app: App,
    config: &Config,
    authenticator: &Arc<Authenticator>,
    shutdown: &Shutdown,
) -> Router {
    let limits = &config.limits;
    let draining = shutdown.clone();
    let grpc_options = limits
        .grpc_options()
        .until(async move { draining.reached(Phase::Draining).await });
    let ending = shutdown.clone();
    app.end_streams_after(async move { ending.reached(Phase::Draining).await });
    app.start_history();
    let (budget, audit) = (app.budget().clone(), app.audit_log().clone());
    let gate = layer_fn(|mut route: Route| {
        service_fn(move |request| grpc_gate::check(request, &mut route))
    });
    let router = http_api::router(app.clone(), config.http_options())
        .merge(grpc::router(app.clone(), grpc_options).layer(gate))
        .fallback(fallback);
    with_middleware(
        router,
        config,
        authenticator,
        &audit,
        &budget,
        Some(&app),
        rejection_response,
    )
}

/// Response to an unknown path, in the protocol of the request.
async fn fallback(request: Request) -> Response {
    if grpc::is_grpc(request.headers()) {
        grpc::unimplemented_fallback(request).await
    } else {
        http_api::not_found(request).await
    }
}

/// Response to a request that the middleware rejected, in the protocol of the request.
fn rejection_response(rejection: Rejection, request: &HeaderMap) -> Response {
    let error = match rejection {
        Rejection::BodyTooLarge { limit } => Error::new(
            Reason::TooLarge,
            format!("the body is longer than {limit} bytes"),
        )
        .with_hint(
            "split the request, or raise limits.max_body_bytes of the daemon, which applies to requests \
             with a valid credential",
        ),
        Rejection::BodyTimeout { limit } => Error::new(
            Reason::DeadlineExceeded,
            format!("the body was not received within {limit:?}; nothing was changed"),
        )
        .with_hint("send the body faster, or raise limits.body_read_timeout of the daemon"),
        Rejection::BodyIncomplete { message } => {
            Error::invalid("", format!("the body is incomplete: {message}"))
        }
        Rejection::Memory(error) => error,
        Rejection::TooManyRequests { limit } => Error::new(
            Reason::RateLimited,
            format!("{limit} requests are in progress"),
        )
        .with_hint("retry later, or raise limits.max_concurrent_requests of the daemon"),
        Rejection::Panicked => Error::new(
            Reason::Internal,
            "internal error; the log of the daemon has the details",
        ),
    };
    refusal::response(error, request)
}
