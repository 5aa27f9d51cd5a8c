//! The header `Idempotency-Key` of writes, in gRPC the metadata `idempotency-key`: the only place of both
//! protocols where it is read, and where responses are kept and repeated.

use axum::{body::Body, extract::Request, response::Response, routing::Route};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde::{Deserialize, Serialize};
use tower::Service;

use super::{operation, refusal};
use crate::{
    app::{App, Ended, KeyedRequest, Once, Resumed},
    grpc,
    identity::Session,
    model::{Error, Reason},
};

/// The header with the key.
const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Marks a response that is a repetition.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Marks a repeated response of gRPC whose message was too long to be kept.
const TRUNCATED: HeaderName = HeaderName::from_static("idempotency-truncated");
const TRUE: HeaderValue = HeaderValue::from_static("true");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Longest key in bytes.
const MAX_KEY: usize = 255;
/// Longest body that is kept, in bytes.
const MAX_KEPT: usize = 4 << 10;
/// Longest response in bytes; a longer one is sent as it would be repeated. Those of all writes but long
/// restores are shorter.
const MAX_RESPONSE: usize = 16 << 20;

/// Headers of a response that are repeated.
const HEADERS: [HeaderName; 8] = [
    header::CONTENT_TYPE,
    header::ETAG,
    header::LOCATION,
    header::CACHE_CONTROL,
    header::ALLOW,
    STATUS,
    HeaderName::from_static("grpc-message"),
    HeaderName::from_static("grpc-status-details-bin"),
];
/// Statuses of HTTP that say that nothing was changed: a repetition is executed.
const NOT_KEPT: [u16; 6] = [400, 401, 403, 413, 429, 503];
/// The same of gRPC: INVALID_ARGUMENT, PERMISSION_DENIED, RESOURCE_EXHAUSTED, UNAVAILABLE, UNAUTHENTICATED.
const NOT_KEPT_BY_GRPC: [&str; 5] = ["3", "7", "8", "14", "16"];
/// Statuses of HTTP that do not always say what was changed: a repetition is resumed.
const UNKNOWN: [u16; 2] = [500, 504];
/// The same of gRPC: DEADLINE_EXCEEDED, INTERNAL.
const UNKNOWN_BY_GRPC: [&str; 2] = ["4", "13"];

/// Paths whose responses have a secret, which is not stored.
const SESSION: &str = "/v1/session";

/// A complete response.
#[derive(Debug)]
struct Complete {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
    is_truncated: bool,
}

/// What is kept of a response.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    status: u16,
    headers: Vec<(String, String)>,
    body: KeptBody,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    trailers: Vec<(String, String)>,
    #[serde(default)]
    truncated: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum KeptBody {
    Text(String),
    Bytes(Vec<u8>),
}

/// Whether a request has a key.
pub(super) fn has_key(request: &Request) -> bool {
    request.headers().contains_key(KEY)
}

/// Serves a request that has the header. `body` is that of the request.
pub(super) async fn serve(
    app: &App,
    mut request: Request,
    body: Bytes,
    mut route: Route,
) -> Response {
    let head = head(request.headers());
    let keyed = match keyed(app, &request, &body) {
        Ok(Some(keyed)) => keyed,
        Ok(None) => {
            let Ok(response) = route.call(request).await;
            return response;
        }
        Err(response) => return *response,
    };
    // A repetition may accept other encodings.
    request.headers_mut().remove(header::ACCEPT_ENCODING);
    let outcome = app.once(keyed, move |is_resumed| async move {
        if is_resumed {
            request.extensions_mut().insert(Resumed);
        }
        let Ok(response) = route.call(request).await;
        let complete = Complete::of(response).await;
        let ended = complete.ended();
        (complete.into_response(), ended)
    });
    match outcome.await {
        Ok(Once::Executed(response)) => response,
        Ok(Once::Repeated(kept)) => match serde_json::from_value::<Kept>(kept) {
            Ok(kept) => kept.into_response(),
            Err(error) => {
                let detail = format!("the response that was kept is not readable: {error}");
                refusal::response(Error::new(Reason::Internal, detail), &head)
            }
        },
        Err(error) => refusal::response(error, &head),
    }
}

/// The headers of a request that a refusal depends on.
fn head(headers: &HeaderMap) -> HeaderMap {
    let names = [
        header::CONTENT_TYPE,
        HeaderName::from_static("x-request-id"),
    ];
    let present = names.into_iter();
    let present = present.filter_map(|name| Some((name.clone(), headers.get(&name)?.clone())));
    present.collect()
}

/// The request and its key; `None` if it is no write, or one that nobody may send. An error is the response.
fn keyed(
    app: &App,
    request: &Request,
    body: &Bytes,
) -> Result<Option<KeyedRequest>, Box<Response>> {
    let (method, uri, headers) = (request.method(), request.uri(), request.headers());
    let session = request.extensions().get::<Session>();
    let principal = session.map(|session| &session.principal);
    let Some(principal) = principal.filter(|principal| principal.grant.is_some()) else {
        return Ok(None);
    };
    if !operation::is_write(method, uri.path()) {
        return Ok(None);
    }
    let refused = |error| Box::new(refusal::response(error, headers));
    let key = key(headers, uri.path()).map_err(refused)?;
    if let Some(error) = app.refuses_idempotency_keys() {
        return Err(Box::new(refusal::unavailable(error, headers)));
    }
    let header = |name: &HeaderName| headers.get(name).map_or(&[][..], HeaderValue::as_bytes);
    let content = [
        method.as_str().as_bytes(),
        uri.path().as_bytes(),
        uri.query().unwrap_or_default().as_bytes(),
        header(&header::IF_MATCH),
        header(&header::IF_NONE_MATCH),
        body,
    ];
    Ok(Some(KeyedRequest::new(principal, key, &content)))
}

fn key<'a>(headers: &'a HeaderMap, path: &str) -> Result<&'a str, Error> {
    let invalid = |message| Err(Error::invalid("Idempotency-Key", message));
    if path.trim_end_matches('/') == SESSION {
        return invalid("is not accepted for sessions, whose cookie is a secret");
    }
    let mut keys = headers.get_all(KEY).iter();
    match (keys.next().and_then(|key| key.to_str().ok()), keys.next()) {
        (_, Some(_)) => invalid("must not be repeated"),
        (Some(key), None)
            if (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|c| c.is_ascii_graphic()) =>
        {
            Ok(key)
        }
        _ => invalid("must be 1 to 255 visible ASCII characters"),
    }
}

// === impl Complete ===

impl Complete {
    /// Waits for the end of a response.
    async fn of(response: Response) -> Self {
        let (head, mut body) = response.into_parts();
        let mut complete = Self {
            status: head.status,
            headers: head.headers,
            body: Vec::new(),
            trailers: None,
            is_truncated: false,
        };
        while let Some(frame) = body.frame().await {
            match frame.map(Frame::into_data) {
                Ok(Ok(data)) if complete.body.len() + data.len() <= MAX_RESPONSE => {
                    complete.body.extend_from_slice(&data);
                }
                Ok(Ok(_)) => complete.is_truncated = true,
                Ok(Err(frame)) => complete.trailers = frame.into_trailers().ok(),
                Err(error) => {
                    tracing::warn!(%error, "the response of a request with an idempotency key is incomplete");
                    complete.is_truncated = true;
                    break;
                }
            }
        }
        complete
    }

    fn is_grpc(&self) -> bool {
        is_grpc(&self.headers)
    }

    /// The status of gRPC: in the head, in the trailers, or in the last frame of grpc-web.
    fn grpc_status(&self) -> String {
        let in_trailers = self
            .trailers
            .as_ref()
            .and_then(|trailers| trailers.get(STATUS));
        let status = self.headers.get(STATUS).or(in_trailers);
        if let Some(status) = status.and_then(|status| status.to_str().ok()) {
            return status.to_owned();
        }
        let text = String::from_utf8_lossy(&self.body);
        let in_body = text
            .rsplit("grpc-status:")
            .next()
            .filter(|rest| rest.len() < text.len());
        let status = in_body.and_then(|rest| rest.split("\r\n").next());
        status.unwrap_or("0").trim().to_owned()
    }

    /// What becomes of the key.
    fn ended(&self) -> Ended {
        let (is_refused, is_unknown) = if self.is_grpc() {
            let status = self.grpc_status();
            let status = status.as_str();
            (
                NOT_KEPT_BY_GRPC.contains(&status),
                UNKNOWN_BY_GRPC.contains(&status),
            )
        } else {
            let status = self.status.as_u16();
            (NOT_KEPT.contains(&status), UNKNOWN.contains(&status))
        };
        match (is_refused, is_unknown) {
            (true, _) => Ended::Refused,
            (_, true) => Ended::Unknown,
            _ => serde_json::to_value(self.kept()).map_or(Ended::Unknown, Ended::Kept),
        }
    }

    /// What is kept.
    fn kept(&self) -> Kept {
        let is_truncated = self.is_truncated || self.body.len() > MAX_KEPT;
        let body = match is_truncated {
            true => truncated(&self.headers),
            false => self.body.clone(),
        };
        Kept {
            status: self.status.as_u16(),
            headers: pairs(&self.headers, |name| HEADERS.contains(name)),
            body: match String::from_utf8(body) {
                Ok(text) => KeptBody::Text(text),
                Err(error) => KeptBody::Bytes(error.into_bytes()),
            },
            trailers: self
                .trailers
                .as_ref()
                .map_or_else(Vec::new, |it| pairs(it, |_| true)),
            truncated: is_truncated,
        }
    }

    fn into_response(mut self) -> Response {
        if self.is_truncated {
            self.body = truncated(&self.headers);
            self.headers.remove(header::CONTENT_LENGTH);
        }
        let mut response = Response::new(body(self.body, self.trailers));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

// === impl Kept ===

impl Kept {
    fn into_response(self) -> Response {
        let trailers = (!self.trailers.is_empty()).then(|| map(self.trailers));
        let mut headers = map(self.headers);
        headers.insert(REPLAYED, TRUE);
        if self.truncated && is_grpc(&headers) {
            headers.insert(TRUNCATED, TRUE);
        }
        let bytes = match self.body {
            KeptBody::Text(text) => text.into_bytes(),
            KeptBody::Bytes(bytes) => bytes,
        };
        let mut response = Response::new(body(bytes, trailers));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or_default();
        *response.headers_mut() = headers;
        response
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    grpc::is_grpc(headers)
}

/// The body in the place of one that is too long: an object that says so, or a message without fields.
fn truncated(headers: &HeaderMap) -> Vec<u8> {
    let body: &[u8] = match grpc::media_type(headers) {
        None => b"{\"truncated\":true}",
        Some(media_type) if media_type.starts_with("application/grpc-web-text") => {
            // As below, in Base64.
            b"AAAAAACAAAAAD2dycGMtc3RhdHVzOjANCg=="
        }
        // A message, and the frame of the trailers.
        Some(media_type) if grpc::is_web(media_type) => {
            b"\0\0\0\0\0\x80\0\0\0\x0fgrpc-status:0\r\n"
        }
        Some(_) => b"\0\0\0\0\0",
    };
    body.to_vec()
}

fn body(bytes: Vec<u8>, trailers: Option<HeaderMap>) -> Body {
    let Some(trailers) = trailers else {
        return Body::from(bytes);
    };
    let data = (!bytes.is_empty()).then(|| Frame::data(Bytes::from(bytes)));
    let frames = data.into_iter().chain([Frame::trailers(trailers)]);
    let frames = frames.map(Ok::<_, std::convert::Infallible>);
    Body::new(StreamBody::new(futures_util::stream::iter(frames)))
}

fn pairs(headers: &HeaderMap, is_kept: impl Fn(&HeaderName) -> bool) -> Vec<(String, String)> {
    let kept = headers.iter().filter(|(name, _)| is_kept(name));
    let pair = |(name, value): (&HeaderName, &HeaderValue)| {
        Some((name.to_string(), value.to_str().ok()?.to_owned()))
    };
    kept.filter_map(pair).collect()
}

fn map(pairs: Vec<(String, String)>) -> HeaderMap {
    let pair = |(name, value): (String, String)| {
        Some((
            name.parse::<HeaderName>().ok()?,
            value.parse::<HeaderValue>().ok()?,
        ))
    };
    pairs.into_iter().filter_map(pair).collect()
}
