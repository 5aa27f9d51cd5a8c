//! Middleware of every request: request id, log, panic handler, concurrency limit and body limits.

use std::{
    hash::{BuildHasher, RandomState},
    panic::AssertUnwindSafe,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, DefaultBodyLimit, MatchedPath, Request, State},
    middleware::{Next, from_fn, from_fn_with_state, map_response},
    response::Response,
};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_LENGTH};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};
use tracing::Instrument;

use super::{
    config::Config,
    gate::{self, AllowedHosts},
    page_headers,
    parsed_size::Encoding,
    request_body::{self, BodyError, BodyStatus, LimitedBody, PieceByPiece},
    response_body,
};
use crate::{app::RequestId, budget::Budget, identity::Peer, model::Error, proto};

/// Header with the request id, in requests and responses.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Maximum length of a request id from a client, in bytes: three UUIDs; still one line of the log.
const MAX_REQUEST_ID: usize = 128;

/// Maximum length of a path in the log, in bytes; `max_header_bytes` allows far more.
const MAX_LOGGED_PATH: usize = 256;

/// Routes that are exempt from the concurrency limit: a supervisor must not restart a daemon that
/// is only busy.
const HEALTH_ROUTES: [&str; 3] = ["/healthz", "/readyz", "/grpc.health.v1.Health/{*rest}"];

/// Routes whose handlers answer while the client still sends: their bodies are not read as a whole.
const INTERACTIVE_ROUTES: &str = "/grpc.reflection.";

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
/// `application/grpc*`. The headers are those of the request and always have an `x-request-id`.
pub type RejectionResponse = fn(Rejection, &HeaderMap) -> Response;

/// The memory that the requests of a connection may use, as an extension of its requests.
#[derive(Clone, Debug)]
pub(super) struct ConnectionBudget(pub(super) Budget);

/// State of the concurrency and body limits.
struct Admission {
    budget: Budget,
    slots: Semaphore,
    max_concurrent_requests: usize,
    max_body_bytes: usize,
    max_rules_bytes: usize,
    body_read_timeout: Duration,
    render: RejectionResponse,
}

/// Wraps all current routes and the fallback of `router`, from the outside in: headers for browsers;
/// request id, span and log; panic handler; checks of the head (`allowed_hosts`);
/// `limits.max_body_bytes`, `limits.body_read_timeout`, `limits.max_concurrent_requests`, and the
/// memory of requests and responses.
///
/// A request counts against the concurrency limit from the end of its body until its response head
/// is sent. Streamed responses (watches, connection tables) have limits of their own.
pub fn with_middleware(
    router: Router,
    config: &Config,
    budget: &Budget,
    render: RejectionResponse,
) -> Router {
    let limits = &config.limits;
    let hosts = Arc::new(AllowedHosts::new(&config.allowed_hosts));
    let admission = Arc::new(Admission {
        budget: budget.clone(),
        slots: Semaphore::new(limits.max_concurrent_requests),
        max_concurrent_requests: limits.max_concurrent_requests,
        max_body_bytes: limits.max_body_bytes,
        max_rules_bytes: limits.max_rules_bytes(),
        body_read_timeout: limits.body_read_timeout,
        render,
    });
    router
        // axum's default of 2 MB would override a larger limits.max_body_bytes.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(admission, admit))
        .layer(from_fn_with_state(hosts, gate::check))
        .layer(from_fn_with_state(render, catch_panics))
        .layer(from_fn(trace))
        .layer(map_response(page_headers::add))
}

/// Assigns the request id, opens the span and logs the response.
async fn trace(mut request: Request, next: Next) -> Response {
    let sent = request.headers().get(REQUEST_ID);
    let id = sent.filter(|id| is_valid_id(id)).cloned();
    let id = id.unwrap_or_else(generate_id);
    let text = id.to_str().unwrap_or_default();
    let extension = match sent {
        Some(_) => RequestId::new(text),
        None => RequestId::generated(text),
    };
    request.extensions_mut().insert(extension);
    request.headers_mut().insert(REQUEST_ID, id.clone());

    let path = request.uri().path();
    let span = tracing::info_span!(
        "request",
        method = %request.method(),
        route = matched_path(&request),
        path = path.get(..MAX_LOGGED_PATH).unwrap_or(path),
        request_id = id.to_str().unwrap_or_default(),
        peer = tracing::field::Empty,
    );
    if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<Peer>>() {
        span.record("peer", tracing::field::display(peer));
    }
    let start = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    response.headers_mut().insert(REQUEST_ID, id);
    span.in_scope(|| log_response(&response, start));
    response
}

/// Logs a response: errors at info, others at debug. Writes are logged by the application layer.
fn log_response(response: &Response, start: Instant) {
    let status = response.status();
    // A gRPC error without a body has its status in the head (a trailers-only response).
    let grpc_status = response
        .headers()
        .get("grpc-status")
        .and_then(|code| code.to_str().ok());
    let failed = status.is_client_error()
        || status.is_server_error()
        || grpc_status.is_some_and(|code| code != "0");
    let status = status.as_u16();
    let latency_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    if failed {
        tracing::info!(status, grpc_status, latency_us, "request failed");
    } else {
        tracing::debug!(status, grpc_status, latency_us, "request completed");
    }
}

async fn catch_panics(
    State(render): State<RejectionResponse>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers().clone();
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => {
            let message = panic.downcast_ref::<&str>().copied();
            let message = message.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            tracing::error!(message = message.unwrap_or("?"), "the handler panicked");
            render(Rejection::Panicked, &headers)
        }
    }
}

/// Enforces the limits on bodies, concurrency and memory.
async fn admit(State(admission): State<Arc<Admission>>, request: Request, next: Next) -> Response {
    let headers = request.headers().clone();
    let path = request.uri().path();
    let is_rules = is_rules_upload(path);
    let max_bytes = match is_rules {
        true => admission.max_rules_bytes,
        false => admission.max_body_bytes,
    };
    let outcome = if content_length(&request).is_some_and(|length| length > max_bytes as u64) {
        Err(Rejection::BodyTooLarge { limit: max_bytes })
    } else if path.starts_with(INTERACTIVE_ROUTES) {
        admission.serve_stream(request, next, max_bytes).await
    } else {
        let encoding = Encoding::of(&headers, is_rules);
        admission.serve(request, next, max_bytes, encoding).await
    };
    outcome.unwrap_or_else(|rejection| (admission.render)(rejection, &headers))
}

// === impl Admission ===

impl Admission {
    /// Reads the body, and serves the request while it holds a slot.
    async fn serve(
        &self,
        request: Request,
        next: Next,
        max_bytes: usize,
        encoding: Encoding,
    ) -> Result<Response, Rejection> {
        let budget = self.budget_of(&request);
        let (parts, body) = request.into_parts();
        let body = request_body::read(body, max_bytes, self.body_read_timeout, &budget).await;
        let body = body.map_err(|error| self.body_rejection(error, max_bytes))?;
        let is_read = parts.method.is_safe();
        let parsed = budget.charge(encoding.parsed_size(&body));
        let parsed = parsed.map_err(Rejection::Memory)?;
        let body = match encoding {
            Encoding::Grpc | Encoding::GrpcText => Body::new(PieceByPiece::new(body)),
            _ => Body::from(body),
        };
        let request = Request::from_parts(parts, body);
        let slot = self.slot(&request)?;
        let response = next.run(request).await;
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
        request: Request,
        next: Next,
        max_bytes: usize,
    ) -> Result<Response, Rejection> {
        let budget = self.budget_of(&request);
        let slot = self.slot(&request)?;
        let status = BodyStatus::default();
        let request = request.map(|body| {
            let time = self.body_read_timeout;
            Body::new(LimitedBody::new(body, max_bytes, time, status.clone()))
        });
        let response = next.run(request).await;
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
            Err(_) if HEALTH_ROUTES.contains(&matched_path(request)) => Ok(None),
            Err(_) => Err(Rejection::TooManyRequests {
                limit: self.max_concurrent_requests,
            }),
        }
    }

    fn budget_of(&self, request: &Request) -> Budget {
        match request.extensions().get::<ConnectionBudget>() {
            Some(ConnectionBudget(budget)) => budget.clone(),
            None => self.budget.clone(),
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

/// Whether the body of a request to this path is a whole table rather than a single resource.
fn is_rules_upload(path: &str) -> bool {
    let grpc_method = path
        .strip_prefix('/')
        .and_then(|path| path.strip_prefix(proto::SERVICE));
    path == "/v1/rules" || grpc_method == Some("/RestoreRules")
}

/// The `content-length` of a request. hyper has rejected invalid ones.
fn content_length(request: &Request) -> Option<u64> {
    let value = request.headers().get(CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}

fn matched_path(request: &Request) -> &str {
    request
        .extensions()
        .get::<MatchedPath>()
        .map_or("-", MatchedPath::as_str)
}

fn is_valid_id(id: &HeaderValue) -> bool {
    let bytes = id.as_bytes();
    (1..=MAX_REQUEST_ID).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
}

/// Generates a request id: a random number per process and a counter, so that ids are unique and
/// sort by time within a process.
fn generate_id() -> HeaderValue {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one("ipvsd"));
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    HeaderValue::try_from(format!("{:016x}-{count}", *PROCESS))
        .unwrap_or(HeaderValue::from_static("-"))
}
