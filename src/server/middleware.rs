//! Middleware of every request: request id, log, panic handler, headers for browsers, and the checks
//! before the routes.

use std::{
    convert::Infallible,
    hash::{BuildHasher, RandomState},
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use axum::{
    Router,
    extract::{ConnectInfo, MatchedPath, Request},
    response::Response,
    routing::Route,
};
use futures_util::FutureExt;
use http::{HeaderName, HeaderValue, Method, header::CONTENT_TYPE};
use tower::{layer::layer_fn, service_fn};
use tracing::Level;

use super::{
    admission::{Admission, is_health_check},
    authentication::{Authenticator, presents_secret},
    config::Config,
    connection::ConnectionRequest,
    gate::{self, AllowedHosts},
    operation, page_headers,
    quota::{ByteMeter, Operation, QuotaKey, Quotas},
    refusal,
    rejection::{Rejection, RejectionResponse},
    traces::request::{self as traces, Called},
};
use crate::{
    app::{App, RequestId},
    audit::{AuditLog, Caller},
    budget::Budget,
    clock, grpc,
    identity::{CredentialKind, Peer, PeerKey, Principal, Protocol, Session},
    metrics::{RequestMetrics, RouteId},
    model::{Error, Reason},
    trace::{RequestSpan, Trace, TraceParent, Tracer},
};

/// Header with the request id, in requests and responses.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Maximum length of a request id from a client, in bytes: three UUIDs; still one line of the log.
const MAX_REQUEST_ID: usize = 128;

/// Maximum length of a path in the log, in bytes; `max_header_bytes` allows far more.
const MAX_LOGGED_PATH: usize = 256;

/// Marks a request without a valid credential, and its response, that the audit trail only counts: the
/// client sends too many.
#[derive(Clone, Copy)]
struct OnlyCounted;

/// What a request passes through before the routes.
struct Checks {
    hosts: AllowedHosts,
    authenticator: Arc<Authenticator>,
    audit: AuditLog,
    admission: Admission,
    quotas: Quotas,
    render: RejectionResponse,
    /// Absent without use cases.
    metrics: Option<Arc<RequestMetrics>>,
    tracer: Tracer,
}

/// Wraps all current routes and the fallback of `router`, from the outside in: headers for browsers;
/// request id and log; panic handler; checks of the head (`allowed_hosts`); authentication;
/// `limits.max_body_bytes`, `limits.body_read_timeout`, `limits.max_concurrent_requests`, and the
/// memory of requests and responses.
///
/// Writes with an idempotency key are executed once if `keys` has the use cases that keep them.
///
/// A request counts against the concurrency limit from the end of its body until its response head
/// is sent. Streamed responses (watches, connection tables) have limits of their own.
pub fn with_middleware(
    router: Router,
    config: &Config,
    authenticator: &Arc<Authenticator>,
    audit: &AuditLog,
    budget: &Budget,
    keys: Option<&App>,
    render: RejectionResponse,
) -> Router {
    let checks = Arc::new(Checks {
        hosts: AllowedHosts::new(&config.allowed_hosts),
        authenticator: authenticator.clone(),
        audit: audit.clone(),
        admission: Admission::new(&config.limits, budget, keys),
        quotas: Quotas::new(&config.quota),
        render,
        metrics: keys.map(|app| app.metrics().requests().clone()),
        tracer: keys.map(|app| app.tracer().clone()).unwrap_or_default(),
    });
    // One layer for all of it: axum clones and boxes all that is below a layer for each request.
    router.layer(layer_fn(move |routes: Route| {
        let checks = checks.clone();
        service_fn(move |request| {
            let (checks, routes) = (checks.clone(), routes.clone());
            async move { Ok::<_, Infallible>(serve(&checks, request, routes).await) }
        })
    }))
}

/// Assigns the request id, serves the request, and logs the response.
async fn serve(checks: &Checks, mut request: Request, routes: Route) -> Response {
    let received = request.extensions().get::<ConnectionRequest>();
    let received = received.map_or_else(Instant::now, |request| request.received);
    let id = assign_id(&mut request);
    let content_type = request.headers().get(CONTENT_TYPE).cloned();
    let is_head = request.method() == Method::HEAD;
    let metrics = checks.metrics.as_deref();
    let is_grpc = grpc::is_grpc(request.headers());
    let counted = metrics.map(|metrics| (metrics, route(metrics, &request, is_grpc)));
    let parent = traces::parent(request.headers());
    let called = Called {
        is_grpc,
        is_known: counted.is_some_and(|(_, route)| RequestMetrics::is_known(route)),
    };
    let trace = traces::begin(&checks.tracer, &request, called, parent, received);
    let span = span(&request, &id, trace.clone(), parent);
    request.extensions_mut().insert(span.clone());

    // Pinned, so that the scope does not copy it.
    let served = pin!(AssertUnwindSafe(checks.pass(request, routes)).catch_unwind());
    let served = span.clone().scope(served).await;
    let served = served.unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<&str>().copied();
        let message = message.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let message = message.unwrap_or("?");
        span.in_scope(|| tracing::error!(message, "the handler panicked"));
        Err(Rejection::Panicked)
    });
    let mut response = served.unwrap_or_else(|rejection| {
        let content_type = content_type.map(|value| (CONTENT_TYPE, value));
        let headers = content_type.into_iter().chain([(REQUEST_ID, id.clone())]);
        (checks.render)(rejection, &headers.collect())
    });
    if is_head {
        gate::remove_body(&mut response);
    }
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    page_headers::add(headers);
    if let Some((metrics, route)) = counted {
        let status = response.status().as_u16();
        metrics.record(route, status, grpc_status(&response), received.elapsed());
    }
    log_response(&response, &span, received);
    traces::end(&trace, called, &response, grpc_status(&response));
    response
}

/// The counters of a request.
fn route(metrics: &RequestMetrics, request: &Request, is_grpc: bool) -> RouteId {
    if is_grpc {
        return metrics.grpc(request.uri().path());
    }
    let route = request.extensions().get::<MatchedPath>();
    metrics.http(request.method().as_str(), route.map(MatchedPath::as_str))
}

/// The status of a gRPC error without a body, which is in the head (a trailers-only response).
fn grpc_status(response: &Response) -> Option<&str> {
    let status = response.headers().get("grpc-status");
    status.and_then(|code| code.to_str().ok())
}

/// Sets the request id, as a header and as an extension.
fn assign_id(request: &mut Request) -> HeaderValue {
    let sent = request.headers().get(REQUEST_ID);
    let is_sent = sent.is_some();
    let id = sent.filter(|id| is_valid_id(id)).cloned();
    let id = id.unwrap_or_else(generate_id);
    let text = id.to_str().unwrap_or_default();
    let extension = match is_sent {
        true => RequestId::new(text),
        false => RequestId::generated(text),
    };
    request.extensions_mut().insert(extension);
    request.headers_mut().insert(REQUEST_ID, id.clone());
    id
}

/// The span of a request. Its fields are formatted if something is logged in it.
fn span(
    request: &Request,
    id: &HeaderValue,
    trace: Trace,
    parent: Option<TraceParent>,
) -> RequestSpan {
    let ids = trace.known_ids(parent.as_ref());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let uri = request.uri().clone();
    let id = id.clone();
    let peer = peer(request);
    RequestSpan::new(trace, move || {
        let span_id = ids.and_then(|ids| ids.span_id);
        let path = uri.path();
        tracing::info_span!(
            "request",
            %method,
            route = route.as_ref().map_or("-", MatchedPath::as_str),
            path = path.get(..MAX_LOGGED_PATH).unwrap_or(path),
            request_id = id.to_str().unwrap_or_default(),
            peer = peer.map(tracing::field::display),
            trace_id = ids.map(|ids| tracing::field::display(format!("{:032x}", ids.trace_id))),
            span_id = span_id.map(|id| tracing::field::display(format!("{id:016x}"))),
        )
    })
}

/// Logs a response: errors at info, others at debug. Writes are logged by the application layer. What the
/// audit trail only counts is logged at debug: nobody may fill the log without a credential.
fn log_response(response: &Response, span: &RequestSpan, received: Instant) {
    let status = response.status();
    let grpc_status = grpc_status(response);
    let failed = status.is_client_error()
        || status.is_server_error()
        || grpc_status.is_some_and(|code| code != "0");
    let is_counted = response.extensions().get::<OnlyCounted>().is_some();
    let is_info = failed && !is_counted;
    if !is_info && !tracing::enabled!(Level::DEBUG) {
        return;
    }
    let status = status.as_u16();
    let latency_us = u64::try_from(received.elapsed().as_micros()).unwrap_or(u64::MAX);
    span.in_scope(|| match (failed, is_info) {
        (true, true) => tracing::info!(status, grpc_status, latency_us, "request failed"),
        (true, false) => tracing::debug!(status, grpc_status, latency_us, "request failed"),
        _ => tracing::debug!(status, grpc_status, latency_us, "request completed"),
    });
}

// === impl Checks ===

impl Checks {
    /// Checks the head, recognises the principal, admits the request, and passes it to the routes.
    async fn pass(&self, mut request: Request, routes: Route) -> Result<Response, Rejection> {
        let meter = match self.check(&mut request).await {
            Ok(meter) => meter,
            Err(error) => {
                let mut response = refusal::response(error, request.headers());
                if let Some(mark) = request.extensions().get::<OnlyCounted>() {
                    response.extensions_mut().insert(*mark);
                }
                return Ok(response);
            }
        };
        let Some(meter) = meter else {
            return self.admission.admit(request, routes).await;
        };
        let request = request.map(|body| meter.count(body));
        let response = self.admission.admit(request, routes).await?;
        Ok(response.map(|body| meter.count(body)))
    }

    /// Checks the head, recognises the principal, and takes the request from its quota. Returns what counts
    /// its bytes, if there is a quota of them.
    async fn check(&self, request: &mut Request) -> Result<Option<ByteMeter>, Error> {
        gate::check(request, &self.hosts)?;
        let refused = self.authenticate(request).await.err();
        let meter = match self.quotas.limit_requests() && !is_health_check(request) {
            true => self.charge(request)?,
            false => None,
        };
        refused.map_or(Ok(meter), Err)
    }

    /// Takes a request from the quota of its principal, or, if it has none, of its peer.
    fn charge(&self, request: &Request) -> Result<Option<ByteMeter>, Error> {
        let session = request.extensions().get::<Session>();
        let principal = session.map(|session| &session.principal);
        let principal = principal.filter(|known| known.kind != CredentialKind::Anonymous);
        let peer = peer(request).map(PeerKey::of).map(QuotaKey::Peer);
        let Some(key) = principal.cloned().map(QuotaKey::Principal).or(peer) else {
            return Ok(None);
        };
        let operation = match operation::is_write(request.method(), request.uri().path()) {
            true => Operation::Write,
            false => Operation::Read,
        };
        self.quotas.admit(&key, operation)
    }

    /// Recognises the principal. Records a request without a valid credential, and counts it if it has a
    /// token or a cookie.
    async fn authenticate(&self, request: &mut Request) -> Result<(), Error> {
        let Err(error) = self.authenticator.admit(request).await else {
            return Ok(());
        };
        if error.reason != Reason::Unauthenticated {
            return Err(error);
        }
        if let Some(metrics) = &self.metrics {
            metrics.unauthenticated(presents_secret(request));
        }
        if !self.record(request) {
            request.extensions_mut().insert(OnlyCounted);
        }
        match peer(request) {
            Some(peer) if presents_secret(request) => {
                self.quotas.login_failed(PeerKey::of(peer))?;
            }
            _ => {}
        }
        Err(error)
    }

    /// Records a request without a valid credential. Returns false if it is only counted.
    fn record(&self, request: &Request) -> bool {
        let extensions = request.extensions();
        let id = extensions.get::<RequestId>();
        let received = extensions.get::<ConnectionRequest>();
        let caller = Caller {
            principal: Principal::anonymous(),
            peer: peer(request),
            request_id: id.map(|id| id.as_str().into()),
            protocol: match grpc::is_grpc(request.headers()) {
                true => Protocol::Grpc,
                false => Protocol::Http,
            },
        };
        let start = received.map_or_else(clock::now, |request| request.received);
        self.audit.unauthenticated(caller, start)
    }
}

/// The other end of the connection of a request.
fn peer(request: &Request) -> Option<Peer> {
    let peer = request.extensions().get::<ConnectInfo<Peer>>();
    peer.map(|ConnectInfo(peer)| *peer)
}

fn is_valid_id(id: &HeaderValue) -> bool {
    let bytes = id.as_bytes();
    (1..=MAX_REQUEST_ID).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
}

/// Generates a request id: a random number per process and a counter, so that ids are unique and
/// sort by time within a process.
fn generate_id() -> HeaderValue {
    static PROCESS: LazyLock<String> =
        LazyLock::new(|| format!("{:016x}-", RandomState::new().hash_one("ipvsd")));
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let mut digits = itoa::Buffer::new();
    let count = digits.format(COUNT.fetch_add(1, Ordering::Relaxed));
    HeaderValue::try_from([&PROCESS, count].concat()).unwrap_or(HeaderValue::from_static("-"))
}
