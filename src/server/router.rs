//! Where the HTTP and the gRPC face come together on one port, told apart by content type.

use axum::{
    Router,
    extract::Request,
    response::{IntoResponse, Response},
};
use http::HeaderMap;

use super::{LimitReason, Limits, Phase, Shutdown, with_limits};
use crate::{
    app::App,
    grpc,
    http::{self as http_api, Problem},
    model::{Error, Reason},
};

/// Everything that the daemon serves: both faces, one fallback, the limits around them.
pub fn build_router(app: App, limits: &Limits, shutdown: &Shutdown) -> Router {
    let draining = shutdown.clone();
    let grpc_options = limits
        .grpc_options()
        .until(async move { draining.reached(Phase::Draining).await });
    let router = http_api::router(app.clone(), limits.http_options())
        .merge(grpc::router(app, grpc_options))
        .fallback(fallback);
    with_limits(router, limits, answer)
}

async fn fallback(request: Request) -> Response {
    if grpc::is_grpc(request.headers()) {
        grpc::unimplemented_fallback(request).await
    } else {
        http_api::not_found(request).await
    }
}

/// A refusal of the limits, in the form of the protocol that it meets.
fn answer(reason: LimitReason, request: &HeaderMap) -> Response {
    let error = match reason {
        LimitReason::BodyTooLarge { limit } => Error::new(
            Reason::TooLarge,
            format!("the body is longer than {limit} bytes"),
        )
        .with_hint("send less at a time; limits.max_body_bytes bounds it"),
        LimitReason::BodyTooSlow { limit } => Error::new(
            Reason::DeadlineExceeded,
            format!("the body was not complete within {limit:?}; nothing was done"),
        )
        .with_hint("limits.body_read_timeout bounds it"),
        LimitReason::TooManyRequests { limit } => Error::new(
            Reason::RateLimited,
            format!("{limit} requests are being worked on"),
        )
        .with_hint("try again a little later; limits.max_concurrent_requests bounds them"),
        LimitReason::Panicked => Error::new(
            Reason::Internal,
            "ipvsd failed on this request; the log has more",
        ),
    };
    if grpc::is_grpc(request) {
        grpc::refusal(&error, request)
    } else {
        Problem::from(error).of_request(request).into_response()
    }
}
