//! The span of a request, after the semantic conventions of OpenTelemetry for servers of HTTP and of RPC. What a
//! client chooses freely is bounded; tokens, bodies and queries, which may have labels, are left out.

use std::time::Instant;

use axum::{
    extract::{ConnectInfo, MatchedPath, Request},
    response::Response,
};
use http::{HeaderMap, HeaderName, Method, Uri, Version, header, uri::Authority};
use tonic::Code;

use crate::{
    app::RequestId,
    grpc,
    identity::Peer,
    metrics::GRPC_STATUSES,
    trace::{Trace, TraceParent, Tracer},
};

/// The header with the span of the caller, in HTTP and in the metadata of gRPC.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The header with what tracing systems add to it.
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Length of a text from a client, in bytes.
const MAX_TEXT: usize = 256;

/// Length of `tracestate`, in bytes. A longer one is left out. The recommendation asks for 512 at least.
const MAX_TRACESTATE: usize = 1024;

/// The name of methods that are not known.
const OTHER: &str = "_OTHER";

/// How a request came.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct Called {
    pub(in crate::server) is_grpc: bool,
    /// Whether its route or its method is one of the daemon's.
    pub(in crate::server) is_known: bool,
}

/// What a request is called by.
enum Kind<'a> {
    /// HTTP: the method, and the path of the route with the names of its parameters.
    Http(&'a Method, Option<&'a str>),
    /// gRPC: the method, `SERVICE/METHOD`, if it is known.
    Grpc(Option<&'a str>),
}

/// The span of the caller. Several headers are as none, and as one that is invalid.
pub(in crate::server) fn parent(headers: &HeaderMap) -> Option<TraceParent> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => TraceParent::parse(value.as_bytes()),
        _ => None,
    }
}

/// Begins the trace of a request.
pub(in crate::server) fn begin(
    tracer: &Tracer,
    request: &Request,
    called: Called,
    parent: Option<TraceParent>,
    received: Instant,
) -> Trace {
    let kind = Kind::of(request, called);
    let parent = parent.map(|parent| (parent, || tracestate(request.headers())));
    let trace = tracer.begin(|| kind.name(), parent, received);
    if trace.is_recorded() {
        describe(&trace, request, &kind);
    }
    trace
}

/// Ends the span of a request, with the status of its response.
pub(in crate::server) fn end(
    trace: &Trace,
    called: Called,
    response: &Response,
    grpc_status: Option<&str>,
) {
    if trace.is_recorded() {
        let status = response.status().as_u16();
        match called.is_grpc {
            true if grpc_status.is_none() && is_web(response.headers()) => {}
            true => describe_grpc_status(trace, status, grpc_status),
            false => describe_status(trace, status),
        }
    }
    trace.end();
}

/// Whether a response is one of grpc-web, whose body has the status.
fn is_web(headers: &HeaderMap) -> bool {
    grpc::media_type(headers).is_some_and(grpc::is_web)
}

/// A status of HTTP: what is the client's fault is no error of the server.
fn describe_status(trace: &Trace, status: u16) {
    trace.set("http.response.status_code", i64::from(status));
    if status >= 500 {
        trace.fail(itoa::Buffer::new().format(status));
    }
}

/// A status of gRPC. Without one in the head, a response with the status 200 has begun well.
fn describe_grpc_status(trace: &Trace, status: u16, grpc_status: Option<&str>) {
    let code = match grpc_status {
        Some(code) => Code::from_bytes(code.as_bytes()),
        None if status == 200 => Code::Ok,
        // It was refused before it was taken for a call.
        None => return describe_status(trace, status),
    };
    let name = name_of(code);
    trace.set("rpc.response.status_code", name);
    let is_servers_fault = matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    );
    if is_servers_fault {
        trace.fail(name);
    }
}

/// What a sampled request is, apart from its status.
fn describe(trace: &Trace, request: &Request, kind: &Kind<'_>) {
    let (uri, headers) = (request.uri(), request.headers());
    if let Some(id) = request.extensions().get::<RequestId>() {
        trace.set("ipvsd.request_id", id.as_str().to_owned());
    }
    match kind {
        Kind::Http(method, route) => {
            trace.set("http.request.method", known_method(method).unwrap_or(OTHER));
            if known_method(method).is_none() {
                trace.set("http.request.method_original", bounded(method.as_str()));
            }
            trace.set("url.path", bounded(uri.path()));
            if let Some(route) = route {
                trace.set("http.route", (*route).to_owned());
            }
        }
        Kind::Grpc(method) => {
            trace.set("rpc.system.name", "grpc");
            trace.set("rpc.method", method.unwrap_or(OTHER).to_owned());
            if method.is_none() {
                trace.set("rpc.method_original", bounded(uri.path()));
            }
        }
    }
    trace.set("network.protocol.name", "http");
    trace.set("network.protocol.version", version(request.version()));
    if let Some(host) = authority(uri, headers) {
        trace.set("server.address", bounded(host.host()));
        if let Some(port) = host.port_u16() {
            trace.set("server.port", i64::from(port));
        }
    }
    match request.extensions().get::<ConnectInfo<Peer>>() {
        Some(ConnectInfo(Peer::Tcp(address))) => {
            let ip = address.ip().to_canonical().to_string();
            trace.set("client.address", ip.clone());
            trace.set("network.peer.address", ip);
            trace.set("network.peer.port", i64::from(address.port()));
            trace.set("network.transport", "tcp");
        }
        Some(ConnectInfo(Peer::Unix { .. })) => trace.set("network.transport", "unix"),
        None => {}
    }
    let agent = headers.get(header::USER_AGENT);
    if let Some(agent) = agent.and_then(|agent| agent.to_str().ok()) {
        trace.set("user_agent.original", bounded(agent));
    }
}

/// The host and port by which the client has addressed the daemon.
fn authority(uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    let host = || headers.get(header::HOST)?.to_str().ok()?.parse().ok();
    uri.authority().cloned().or_else(host)
}

/// All values of `tracestate` as one, or nothing if they are too long.
fn tracestate(headers: &HeaderMap) -> String {
    let values = headers.get_all(TRACESTATE).iter();
    let values: Vec<_> = values.filter_map(|value| value.to_str().ok()).collect();
    let length: usize = values.iter().map(|value| value.len() + 1).sum();
    match length <= MAX_TRACESTATE {
        true => values.join(","),
        false => String::new(),
    }
}

/// A text from a client, cut off.
fn bounded(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_TEXT);
    text.get(..end).unwrap_or_default().to_owned()
}

/// The methods that the conventions know.
fn known_method(method: &Method) -> Option<&'static str> {
    Some(match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::CONNECT => "CONNECT",
        Method::OPTIONS => "OPTIONS",
        Method::TRACE => "TRACE",
        Method::PATCH => "PATCH",
        _ => return None,
    })
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}

/// The name of a code in the conventions.
fn name_of(code: Code) -> &'static str {
    let place = usize::try_from(i32::from(code)).ok();
    let name = place.and_then(|place| GRPC_STATUSES.get(place));
    name.copied().unwrap_or(OTHER)
}

// === impl Kind ===

impl<'a> Kind<'a> {
    fn of(request: &'a Request, called: Called) -> Self {
        if called.is_grpc {
            let method = request.uri().path().trim_start_matches('/');
            return Self::Grpc(called.is_known.then_some(method));
        }
        let route = request.extensions().get::<MatchedPath>();
        Self::Http(request.method(), route.map(MatchedPath::as_str))
    }

    /// The name of the span, of a bounded set.
    fn name(&self) -> String {
        match self {
            Self::Http(method, route) => {
                let method = known_method(method).unwrap_or("HTTP");
                match route {
                    Some(route) => format!("{method} {route}"),
                    None => method.to_owned(),
                }
            }
            Self::Grpc(method) => method.unwrap_or(OTHER).to_owned(),
        }
    }
}

#[cfg(all(test, feature = "otel"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use std::sync::{Arc, Mutex};

    use axum::body::Body;
    use opentelemetry::trace::{Status, TracerProvider};
    use opentelemetry_sdk::{
        error::OTelSdkResult,
        trace::{SdkTracerProvider, SpanData, SpanExporter},
    };

    use super::*;

    #[derive(Clone, Debug, Default)]
    struct Kept(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Kept {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().extend(batch);
            Ok(())
        }
    }

    /// The span of a request with this response.
    fn span_of(request: &Request, status: u16, grpc_status: Option<&str>) -> SpanData {
        let kept = Kept::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(kept.clone())
            .build();
        let tracer = Tracer::new(provider.tracer("test"));
        let called = Called {
            is_grpc: grpc::is_grpc(request.headers()),
            is_known: false,
        };
        let trace = begin(&tracer, request, called, None, Instant::now());
        let response = Response::builder().status(status).body(Body::empty());
        end(&trace, called, &response.unwrap(), grpc_status);
        let mut spans = kept.0.lock().unwrap();
        assert_eq!(spans.len(), 1);
        spans.pop().unwrap()
    }

    fn attribute(span: &SpanData, name: &str) -> Option<String> {
        let mut all = span.attributes.iter();
        let found = all.find(|attribute| attribute.key.as_str() == name);
        found.map(|attribute| attribute.value.to_string())
    }

    fn request(method: &str, headers: &[(&str, &str)]) -> Request {
        let builder = Request::builder().method(method).uri("/a?secret=1");
        let builder = headers.iter().fold(builder, |builder, (name, value)| {
            builder.header(*name, *value)
        });
        builder.body(Body::empty()).unwrap()
    }

    #[test]
    fn a_request_fails_if_the_server_is_at_fault() {
        let get = request("GET", &[]);
        for (status, is_error) in [
            (200, false),
            (304, false),
            (404, false),
            (429, false),
            (500, true),
            (507, true),
        ] {
            let span = span_of(&get, status, None);
            assert_eq!(
                matches!(span.status, Status::Error { .. }),
                is_error,
                "{status}"
            );
            let class = is_error.then(|| status.to_string());
            assert_eq!(attribute(&span, "error.type"), class, "{status}");
        }
        let call = request("POST", &[("content-type", "application/grpc")]);
        for (code, name, is_error) in [
            ("0", "OK", false),
            ("3", "INVALID_ARGUMENT", false),
            ("16", "UNAUTHENTICATED", false),
            ("4", "DEADLINE_EXCEEDED", true),
            ("12", "UNIMPLEMENTED", true),
            ("14", "UNAVAILABLE", true),
            ("nonsense", "UNKNOWN", true),
        ] {
            let span = span_of(&call, 200, Some(code));
            assert_eq!(
                matches!(span.status, Status::Error { .. }),
                is_error,
                "{code}"
            );
            assert_eq!(
                attribute(&span, "rpc.response.status_code").as_deref(),
                Some(name)
            );
        }
        assert_eq!(
            attribute(&span_of(&call, 415, None), "http.response.status_code").as_deref(),
            Some("415")
        );
    }

    #[test]
    fn what_clients_choose_is_bounded() {
        let agent = "é".repeat(1000);
        let agent = http::HeaderValue::from_bytes(agent.as_bytes()).unwrap();
        let mut brew = request(
            "BREW",
            &[
                ("host", &"h".repeat(1000)),
                ("user-agent", &"u".repeat(1000)),
            ],
        );
        let span = span_of(&brew, 405, None);
        assert_eq!(span.name, "HTTP");
        assert_eq!(
            attribute(&span, "http.request.method").as_deref(),
            Some("_OTHER")
        );
        assert_eq!(
            attribute(&span, "http.request.method_original").as_deref(),
            Some("BREW")
        );
        assert_eq!(attribute(&span, "url.path").as_deref(), Some("/a"));
        for name in ["server.address", "user_agent.original"] {
            assert_eq!(
                attribute(&span, name).map(|text| text.len()),
                Some(MAX_TEXT),
                "{name}"
            );
        }
        // A header that is no ASCII is left out.
        brew.headers_mut().insert("user-agent", agent);
        assert_eq!(
            attribute(&span_of(&brew, 405, None), "user_agent.original"),
            None
        );
        let call = request("POST", &[("content-type", "application/grpc")]);
        let span = span_of(&call, 200, Some("12"));
        assert_eq!(
            (
                span.name.as_ref(),
                attribute(&span, "rpc.method").as_deref()
            ),
            (OTHER, Some(OTHER))
        );
    }

    #[test]
    fn a_long_tracestate_is_left_out() {
        let state = |parts: &[&str]| {
            let headers = parts.iter().map(|part| ("tracestate", *part));
            tracestate(request("GET", &headers.collect::<Vec<_>>()).headers())
        };
        assert_eq!(state(&["a=1", "b=2"]), "a=1,b=2");
        assert_eq!(state(&[&"a".repeat(MAX_TRACESTATE)]), "");
        assert_eq!(state(&[]), "");
    }
}
