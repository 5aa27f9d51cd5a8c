//! Where the HTTP and the gRPC face come together on one port, told apart by content type.

use axum::{
    Router,
    extract::Request,
    response::{IntoResponse, Response},
};
use http::HeaderMap;

use super::{
    Config, KernelKind, LimitReason, Limits, Phase, Shutdown, limits::RULES_FACTOR, with_limits,
};
use crate::{
    app::{App, AppOptions},
    executor::ExecutorLimits,
    grpc::{self, GrpcOptions},
    http::{self as http_api, HttpOptions, Problem},
    model::{Error, Reason},
};

/// Everything that the daemon serves: both faces, one fallback, the limits around them.
pub fn build_router(app: App, limits: &Limits, shutdown: &Shutdown) -> Router {
    let http = HttpOptions {
        request_timeout: limits.request_timeout,
        max_body_bytes: limits.max_body_bytes,
        max_rules_bytes: limits.max_body_bytes.saturating_mul(RULES_FACTOR),
    };
    let draining = shutdown.clone();
    let grpc = GrpcOptions {
        request_timeout: limits.request_timeout,
        max_request_bytes: limits.max_body_bytes,
        max_rules_bytes: limits.max_body_bytes.saturating_mul(RULES_FACTOR),
        ..GrpcOptions::default()
    }
    .until(async move { draining.reached(Phase::Draining).await });
    let router = http_api::router(app.clone(), http)
        .merge(grpc::router(app, grpc))
        .fallback(fallback);
    with_limits(router, limits, answer)
}

impl Config {
    /// What the executor is told of these settings.
    pub fn executor_limits(&self) -> ExecutorLimits {
        ExecutorLimits {
            queue_length: self.limits.queue_length,
            connection_streams: self.limits.max_connection_streams,
        }
    }

    /// What the app is told of these settings.
    pub fn app_options(&self) -> AppOptions {
        AppOptions {
            default_page_size: u32::try_from(self.limits.default_page_size).unwrap_or(u32::MAX),
            max_page_size: u32::try_from(self.limits.max_page_size).unwrap_or(u32::MAX),
            namespace: self.netns.clone(),
            kernel: match self.kernel {
                KernelKind::Netlink => "netlink".to_owned(),
                KernelKind::Fake => "fake".to_owned(),
            },
        }
    }
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
