//! Responses to requests that are refused before they reach a front end, in the protocol of the
//! request.

use axum::response::{IntoResponse, Response};
use http::HeaderMap;

use crate::{grpc, http::Problem, model::Error};

/// The response to a request with these headers: problem+json, or a gRPC status.
pub(super) fn response(error: Error, request: &HeaderMap) -> Response {
    if grpc::is_grpc(request) {
        grpc::refusal(&error, request)
    } else {
        problem(error, request)
    }
}

/// As [`response`], with the status 503 in HTTP, whatever the reason.
pub(super) fn unavailable(error: Error, request: &HeaderMap) -> Response {
    if grpc::is_grpc(request) {
        return grpc::refusal(&error, request);
    }
    Problem::from(error)
        .unavailable()
        .of_request(request)
        .into_response()
}

/// The response as problem+json.
pub(super) fn problem(error: Error, request: &HeaderMap) -> Response {
    Problem::from(error).of_request(request).into_response()
}
