//! Admission of requests: the limits on bodies, concurrency and memory.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{DefaultBodyLimit, MatchedPath, Request},
    response::Response,
    routing::Route,
};
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http_body::Body as _;
use tokio::sync::{Semaphore, SemaphorePermit};
use tower::Service;

use super::{
    config::Limits,
    connection::ConnectionRequest,
    idempotency,
    parsed_size::{Encoding, Upload},
    rejection::Rejection,
    request_body::{self, BodyError, BodyStatus, LimitedBody, PieceByPiece, Wait},
    response_body,
};
use crate::{
    app::{App, CompleteRequest},
    budget::Budget,
    clock,
    identity::Session,
    model::{Error, Reason},
};

/// Routes that are exempt from the concurrency limit: a supervisor must not restart a daemon that
/// is only busy.
const HEALTH_ROUTES: [&str; 3] = ["/healthz", "/readyz", "/grpc.health.v1.Health/{*rest}"];

/// Routes whose handlers answer while the client still sends: their bodies are not read as a whole.
const INTERACTIVE_ROUTES: &str = "/grpc.reflection.";

/// Maximum length of the body of a request without a valid credential, in bytes. The public routes need no
/// more, and anybody can send such requests.
const MAX_ANONYMOUS_BODY: usize = 64 << 10;

/// The part of the memory that the bodies of all requests without a valid credential may use: one in eight.
const ANONYMOUS_PART: usize = 8;

/// State of the concurrency and body limits.
pub(super) struct Admission {
    budget: Budget,
    /// For the bodies of requests without a valid credential.
    anonymous_bodies: Budget,
    slots: Semaphore,
    max_concurrent_requests: usize,
    max_body_bytes: usize,
    max_rules_bytes: usize,
    body_read_timeout: Duration,
    /// Whose idempotency keys requests have.
    keys: Option<App>,
}

// === impl Admission ===

impl Admission {
    /// The limits of a configuration, over this memory.
    pub(super) fn new(limits: &Limits, budget: &Budget, keys: Option<&App>) -> Self {
        Self {
            budget: budget.clone(),
            anonymous_bodies: budget.share(budget.limit() / ANONYMOUS_PART),
            slots: Semaphore::new(limits.max_concurrent_requests),
            max_concurrent_requests: limits.max_concurrent_requests,
            max_body_bytes: limits.max_body_bytes,
            max_rules_bytes: limits.max_rules_bytes(),
            body_read_timeout: limits.body_read_timeout,
            keys: keys.cloned(),
        }
    }

    /// Enforces the limits on bodies, concurrency and memory, and serves the request.
    pub(super) async fn admit(
        &self,
        request: Request,
        routes: Route,
    ) -> Result<Response, Rejection> {
        let path = request.uri().path();
        let upload = Upload::of(path);
        let max_bytes = match upload {
            Upload::Rules | Upload::Table => self.max_rules_bytes,
            Upload::Other => self.max_body_bytes,
        };
        let max_bytes = match has_grant(&request) {
            true => max_bytes,
            false => max_bytes.min(MAX_ANONYMOUS_BODY),
        };
        if content_length(&request).is_some_and(|length| length > max_bytes as u64) {
            Err(Rejection::BodyTooLarge { limit: max_bytes })
        } else if path.starts_with(INTERACTIVE_ROUTES) {
            self.serve_stream(request, routes, max_bytes).await
        } else {
            let encoding = Encoding::of(request.headers(), upload);
            self.serve(request, routes, max_bytes, encoding).await
        }
    }

    /// Reads the body, and serves the request while it holds a slot.
    async fn serve(
        &self,
        mut request: Request,
        mut routes: Route,
        max_bytes: usize,
        encoding: Encoding,
    ) -> Result<Response, Rejection> {
        let connection = request.extensions().get::<ConnectionRequest>().cloned();
        let budget = connection.as_ref().map_or(&self.budget, |c| &c.budget);
        let is_read = request.method().is_safe();
        let mut wait = Wait::up_to(self.body_read_timeout);
        let is_anonymous = !has_grant(&request);
        let bodies = match is_anonymous {
            true => &self.anonymous_bodies,
            false => budget,
        };
        let mut keyed = idempotency::has_key(&request).then(Bytes::new);
        let mut parsed = bodies.empty();
        if !request.body().is_end_stream() {
            let body = std::mem::take(request.body_mut());
            let body = request_body::read(body, max_bytes, &mut wait, bodies).await;
            let body = body.map_err(|error| match error {
                BodyError::Memory(_) if is_anonymous => Rejection::Memory(anonymous_memory()),
                error => self.body_rejection(error, max_bytes),
            })?;
            let size = encoding.parsed_size(&body);
            parsed.grow(size).map_err(Rejection::Memory)?;
            keyed = keyed.map(|_| body.clone());
            *request.body_mut() = match encoding {
                Encoding::Grpc | Encoding::GrpcText => Body::new(PieceByPiece::new(body)),
                _ => Body::from(body),
            };
            // axum's default of 2 MB would override a larger limits.max_body_bytes.
            DefaultBodyLimit::disable().apply(&mut request);
        }
        let start = match &connection {
            Some(connection) if !wait.has_begun() => connection.received,
            _ => clock::now(),
        };
        let complete = CompleteRequest {
            at: start,
            budget: budget.clone(),
        };
        request.extensions_mut().insert(complete);
        let slot = self.slot(&request)?;
        let response = match (keyed, &self.keys) {
            (Some(body), Some(app)) => idempotency::serve(app, request, body, routes).await,
            _ => served(routes.call(request).await),
        };
        drop(parsed);
        let charged = response_body::charge(response, |bytes| match is_read {
            true => budget.charge(bytes),
            // The change has been made: its outcome must be reported.
            false => budget.charge_reserved(bytes),
        });
        let response = charged.await.map_err(Rejection::Memory);
        drop(slot);
        response
    }

    /// Serves a request whose handler reads the body while it answers.
    async fn serve_stream(
        &self,
        mut request: Request,
        mut routes: Route,
        max_bytes: usize,
    ) -> Result<Response, Rejection> {
        let connection = request.extensions().get::<ConnectionRequest>().cloned();
        let budget = connection.as_ref().map_or(&self.budget, |c| &c.budget);
        let slot = self.slot(&request)?;
        let status = BodyStatus::default();
        DefaultBodyLimit::disable().apply(&mut request);
        let request = request.map(|body| {
            let time = self.body_read_timeout;
            Body::new(LimitedBody::new(body, max_bytes, time, status.clone()))
        });
        let response = served(routes.call(request).await);
        drop(slot);
        // The response of a handler to a broken body varies and lacks the reason.
        if let Some(error) = status.error() {
            return Err(self.body_rejection(error, max_bytes));
        }
        let charged = response_body::charge(response, |bytes| budget.charge(bytes));
        charged.await.map_err(Rejection::Memory)
    }

    /// A slot of the concurrency limit; `None` for a request that is exempt.
    fn slot(&self, request: &Request) -> Result<Option<SemaphorePermit<'_>>, Rejection> {
        match self.slots.try_acquire() {
            Ok(slot) => Ok(Some(slot)),
            Err(_) if is_health_check(request) => Ok(None),
            Err(_) => Err(Rejection::TooManyRequests {
                limit: self.max_concurrent_requests,
            }),
        }
    }

    fn body_rejection(&self, error: BodyError, max_bytes: usize) -> Rejection {
        match error {
            BodyError::TooLarge => Rejection::BodyTooLarge { limit: max_bytes },
            BodyError::Timeout => Rejection::BodyTimeout {
                limit: self.body_read_timeout,
            },
            BodyError::Incomplete(message) => Rejection::BodyIncomplete { message },
            BodyError::Memory(error) => Rejection::Memory(error),
        }
    }
}

/// The response of the routes, which never fail.
fn served(outcome: Result<Response, std::convert::Infallible>) -> Response {
    outcome.unwrap_or_else(|never| match never {})
}

/// Whether the principal of a request may do anything.
fn has_grant(request: &Request) -> bool {
    let session = request.extensions().get::<Session>();
    session.is_some_and(|session| session.principal.grant.is_some())
}

/// The error if the bodies of requests without a valid credential use all that they may use.
fn anonymous_memory() -> Error {
    let detail = "the requests without a valid credential use the memory that their bodies may use";
    Error::new(Reason::RateLimited, detail).with_hint("retry later, or with a valid credential")
}

/// The `content-length` of a request. hyper has rejected invalid ones.
fn content_length(request: &Request) -> Option<u64> {
    let value = request.headers().get(CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}

/// Whether this is a health check, which no limit applies to.
pub(super) fn is_health_check(request: &Request) -> bool {
    let route = request.extensions().get::<MatchedPath>();
    route.is_some_and(|route| HEALTH_ROUTES.contains(&route.as_str()))
}
