//! Which requests reach the gRPC methods: POST with a media type of gRPC. The generated code checks
//! neither. Refusals are problem+json, because no gRPC client sends such requests.

use std::{
    convert::Infallible,
    future::{Ready, ready},
};

use axum::{
    extract::Request,
    response::Response,
    routing::{Route, future::RouteFuture},
};
use futures_util::future::Either;
use http::{HeaderValue, Method, Version, header};
use tower::Service;

use super::refusal;
use crate::{
    grpc,
    model::{Error, Reason},
};

/// Passes such a request to its route, and refuses others.
pub(super) fn check(
    request: Request,
    route: &mut Route,
) -> Either<Ready<Result<Response, Infallible>>, RouteFuture<Infallible>> {
    match refusal_of(&request) {
        Some(refusal) => Either::Left(ready(Ok(refusal))),
        None => Either::Right(route.call(request)),
    }
}

/// The response to a request that is refused.
fn refusal_of(request: &Request) -> Option<Response> {
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
            return Some(response);
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
            .with_hint(
                "use HTTP/2 (with TLS: ALPN h2; without: prior knowledge), or application/grpc-web",
            )
        }
        Some(_) => return None,
    };
    Some(refusal::problem(error, request.headers()))
}
