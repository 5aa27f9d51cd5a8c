//! Which requests reach the gRPC methods: POST with a media type of gRPC. The generated code checks
//! neither. Refusals are problem+json, because no gRPC client sends such requests.

use axum::{extract::Request, middleware::Next, response::Response};
use http::{HeaderValue, Method, Version, header};

use super::refusal;
use crate::{
    grpc,
    model::{Error, Reason},
};

/// Refuses other requests.
pub(super) async fn check(request: Request, next: Next) -> Response {
    let media_type = grpc::media_type(request.headers());
    let error = match media_type {
        _ if request.method() != Method::POST => {
            let detail = format!(
                "a gRPC method is called by POST, not by {}",
                request.method()
            );
            let error = Error::new(Reason::MethodNotAllowed, detail);
            let mut response = refusal::problem(error, request.headers());
            let allow = HeaderValue::from_static("POST");
            response.headers_mut().insert(header::ALLOW, allow);
            return response;
        }
        None => Error::new(
            Reason::UnsupportedMediaType,
            "a gRPC method requires Content-Type: application/grpc or application/grpc-web, with \
             the suffix +proto or none",
        )
        .with_hint("for JSON, use the HTTP API: see /openapi.json or /docs"),
        Some(media_type) if request.version() < Version::HTTP_2 && !grpc::is_web(media_type) => {
            Error::new(
                Reason::UnsupportedMediaType,
                "application/grpc requires HTTP/2; the request came over HTTP/1.1",
            )
            .with_hint("use HTTP/2 without TLS (prior knowledge), or application/grpc-web")
        }
        Some(_) => return next.run(request).await,
    };
    refusal::problem(error, request.headers())
}
