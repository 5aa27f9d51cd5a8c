//! What surrounds every request: its id, its line in the log, and the refusals that need no
//! handler. The faces say what a refusal looks like, this room says when there is one.

use std::hash::{BuildHasher, RandomState};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, DefaultBodyLimit, MatchedPath, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use futures_util::FutureExt;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::Instrument;

use super::config::Limits;
use super::request_body::{LimitedBody, Overrun, OverrunFlag};
use crate::app::RequestId;
use crate::identity::Peer;

/// Carries a request's id, both ways.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id accepted from a client, in bytes: a UUID three times over, still one log line.
const LONGEST_REQUEST_ID: usize = 128;

/// The most of a path that is logged, in bytes; a head may hold far more.
const LONGEST_LOGGED_PATH: usize = 256;

/// Routes that are answered however busy the daemon is: to be busy is not to be ill, and a
/// supervisor that restarts it would make it worse.
const NEVER_REFUSED: [&str; 3] = ["/healthz", "/readyz", "/grpc.health.v1.Health/{*rest}"];

/// Paths whose bodies are whole tables rather than single resources.
const OF_RULES: [&str; 2] = ["/v1/rules", "/ipvsd.v1.Ipvs/RestoreRules"];

/// gRPC methods that begin like this change nothing; all gRPC is POST, so the name has to tell.
const READING_METHODS: [&str; 7] = [
    "Get",
    "List",
    "Count",
    "Watch",
    "Save",
    "Check",
    "ServerReflection",
];

/// A request that is refused (or whose answer is lost) before or after its handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitReason {
    /// The body is longer than `limits.max_body_bytes`. `TOO_LARGE`, 413.
    BodyTooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The body was not complete within `limits.body_read_timeout`. 408.
    BodyTooSlow {
        /// The limit.
        limit: Duration,
    },
    /// `limits.max_concurrent_requests` are being worked on. Nothing was done; the same request
    /// may succeed in a moment. `RATE_LIMITED`, 429.
    TooManyRequests {
        /// The limit.
        limit: usize,
    },
    /// The handler panicked: a bug in ipvsd. What it did until then is done. 500.
    Panicked,
}

/// Gives a refusal its shape: problem+json, or gRPC trailers when the request's `content-type` is
/// `application/grpc*`. The headers are those of the request; `x-request-id` is always there.
pub type LimitAnswer = fn(LimitReason, &HeaderMap) -> Response;

/// Puts around every route and fallback that `router` has by now, from the outside in: the request
/// id, a span and a log line, the catching of panics, `limits.max_concurrent_requests`,
/// `limits.max_body_bytes` and `limits.body_read_timeout`.
///
/// A request counts against the concurrency limit until the head of its answer: long answers
/// (watches, connection tables) have limits of their own.
pub fn with_limits(router: Router, limits: &Limits, answer: LimitAnswer) -> Router {
    let gate = Arc::new(Gate {
        slots: Semaphore::new(limits.max_concurrent_requests),
        max_concurrent_requests: limits.max_concurrent_requests,
        max_body_bytes: limits.max_body_bytes,
        max_rules_bytes: limits.max_rules_bytes(),
        body_read_timeout: limits.body_read_timeout,
        answer,
    });
    router
        // axum's own 2 MB would contradict a larger limits.max_body_bytes.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(gate, admit))
        .layer(from_fn_with_state(answer, catch_panics))
        .layer(from_fn(identify))
}

struct Gate {
    slots: Semaphore,
    max_concurrent_requests: usize,
    max_body_bytes: usize,
    max_rules_bytes: usize,
    body_read_timeout: Duration,
    answer: LimitAnswer,
}

async fn identify(mut request: Request, next: Next) -> Response {
    let id = request
        .headers()
        .get(REQUEST_ID)
        .filter(|id| is_sane(id))
        .cloned();
    let id = id.unwrap_or_else(fresh_id);
    request.headers_mut().insert(REQUEST_ID, id.clone());
    request
        .extensions_mut()
        .insert(RequestId::new(id.to_str().unwrap_or_default()));

    let path = request.uri().path();
    let span = tracing::info_span!(
        "request",
        method = %request.method(),
        route = matched_path(&request),
        path = path.get(..LONGEST_LOGGED_PATH).unwrap_or(path),
        request_id = id.to_str().unwrap_or_default(),
        peer = tracing::field::Empty,
    );
    if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<Peer>>() {
        span.record("peer", tracing::field::display(peer));
    }
    let reads = only_reads(request.method(), path);
    let began = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    response.headers_mut().insert(REQUEST_ID, id);

    let status = response.status();
    // Without a body, as gRPC errors come, its status is in the head.
    let grpc_status = response
        .headers()
        .get("grpc-status")
        .and_then(|code| code.to_str().ok());
    let failed = status.is_client_error()
        || status.is_server_error()
        || grpc_status.is_some_and(|c| c != "0");
    let latency_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    let _inside = span.enter();
    if reads && !failed {
        tracing::debug!(
            status = status.as_u16(),
            grpc_status,
            latency_us,
            "answered"
        );
    } else {
        tracing::info!(
            status = status.as_u16(),
            grpc_status,
            latency_us,
            "answered"
        );
    }
    drop(_inside);
    response
}

async fn catch_panics(State(answer): State<LimitAnswer>, request: Request, next: Next) -> Response {
    let headers = request.headers().clone();
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => {
            let message = panic.downcast_ref::<&str>().copied();
            let message = message.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            tracing::error!(message = message.unwrap_or("?"), "the handler panicked");
            answer(LimitReason::Panicked, &headers)
        }
    }
}

async fn admit(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let Gate {
        mut max_body_bytes,
        body_read_timeout,
        answer,
        ..
    } = *gate;
    if OF_RULES.contains(&request.uri().path()) {
        max_body_bytes = gate.max_rules_bytes;
    }
    let slot = match gate.slots.try_acquire() {
        Ok(slot) => Some(slot),
        Err(_) if NEVER_REFUSED.contains(&matched_path(&request)) => None,
        Err(_) => {
            let limit = gate.max_concurrent_requests;
            return answer(LimitReason::TooManyRequests { limit }, request.headers());
        }
    };
    let too_large = LimitReason::BodyTooLarge {
        limit: max_body_bytes,
    };
    let announced = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok());
    // hyper has refused lengths that are not numbers.
    if announced
        .and_then(|length| length.parse().ok())
        .is_some_and(|n: u64| n > max_body_bytes as u64)
    {
        return answer(too_large, request.headers());
    }
    let headers = request.headers().clone();
    let overrun = OverrunFlag::default();
    let request = request.map(|body| {
        Body::new(LimitedBody::new(
            body,
            max_body_bytes,
            body_read_timeout,
            overrun.clone(),
        ))
    });
    let response = next.run(request).await;
    drop(slot);
    match overrun.get() {
        None => response,
        // Handlers see a broken body and answer each in their way; the client gets the reason.
        Some(Overrun::TooLong) => answer(too_large, &headers),
        Some(Overrun::TooSlow) => answer(
            LimitReason::BodyTooSlow {
                limit: body_read_timeout,
            },
            &headers,
        ),
    }
}

fn matched_path(request: &Request) -> &str {
    request
        .extensions()
        .get::<MatchedPath>()
        .map_or("-", MatchedPath::as_str)
}

fn only_reads(method: &Method, path: &str) -> bool {
    let grpc_method = path.rsplit('/').next().unwrap_or_default();
    method.is_safe()
        || READING_METHODS
            .iter()
            .any(|verb| grpc_method.starts_with(verb))
}

fn is_sane(id: &HeaderValue) -> bool {
    let bytes = id.as_bytes();
    (1..=LONGEST_REQUEST_ID).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
}

/// Random for each process, counted within it: unique, and in order for whoever reads the log.
fn fresh_id() -> HeaderValue {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one("ipvsd"));
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    HeaderValue::try_from(format!("{:016x}-{count}", *PROCESS))
        .unwrap_or(HeaderValue::from_static("-"))
}
