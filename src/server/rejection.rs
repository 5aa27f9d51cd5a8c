//! Requests that the middleware rejects.

use std::time::Duration;

use axum::response::Response;
use http::HeaderMap;

use crate::model::Error;

/// Why the middleware rejects a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The body is longer than `limits.max_body_bytes`. `TOO_LARGE`, 413.
    BodyTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The body was not complete within `limits.body_read_timeout`. `DEADLINE_EXCEEDED`.
    BodyTimeout {
        /// The limit.
        limit: Duration,
    },
    /// The client broke the body off, or it is malformed. `INVALID_ARGUMENT`, 400.
    BodyIncomplete {
        /// What is wrong.
        message: String,
    },
    /// The request does not fit into the memory that requests may use. `TOO_LARGE` if it never does,
    /// `RATE_LIMITED` if a retry may succeed.
    Memory(Error),
    /// `limits.max_concurrent_requests` requests are in progress. Nothing was done, and a retry may
    /// succeed. `RATE_LIMITED`, 429.
    TooManyRequests {
        /// The limit.
        limit: usize,
    },
    /// The handler panicked, which is a bug in ipvsd. Changes made before are kept. `INTERNAL`, 500.
    Panicked,
}

/// Renders a rejection: problem+json, or gRPC trailers if the `content-type` of the request is
/// `application/grpc*`. The headers are those two of the request: `content-type`, if it has one, and
/// `x-request-id`.
pub type RejectionResponse = fn(Rejection, &HeaderMap) -> Response;
