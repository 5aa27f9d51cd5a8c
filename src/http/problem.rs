//! Error responses: `application/problem+json` (RFC 9457).

use axum::{
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::Value;

use crate::model::{Error, Progress, Reason, Violation};

/// Media type of error responses.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// Header with the id of a request, in requests and responses.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// `WWW-Authenticate` of a response with status 401 (RFC 6750, section 3).
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"ipvsd\"");

/// The body of an error response (RFC 9457).
#[derive(Clone, Debug, Serialize)]
pub struct Problem {
    /// Path of a description of the reason.
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: String,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Violation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(flatten)]
    progress: Option<Box<Progress>>,
    /// Members of the response that the request would have had as a success.
    #[serde(flatten)]
    members: Option<Box<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(skip)]
    headers: HeaderMap,
}

/// The HTTP status of a reason.
pub fn status(reason: Reason) -> StatusCode {
    match reason {
        Reason::InvalidArgument => StatusCode::BAD_REQUEST,
        Reason::Unauthenticated => StatusCode::UNAUTHORIZED,
        Reason::PermissionDenied | Reason::CrossSite => StatusCode::FORBIDDEN,
        Reason::NotFound
        | Reason::ServiceNotFound
        | Reason::ServerNotFound
        | Reason::SyncDaemonNotRunning
        | Reason::TableNotFound
        | Reason::DrainNotFound
        | Reason::RampNotFound
        | Reason::HealthCheckNotFound => StatusCode::NOT_FOUND,
        Reason::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Reason::ServiceExists
        | Reason::ServerExists
        | Reason::SyncDaemonRunning
        | Reason::ServiceOwned
        | Reason::ResourceOwned
        | Reason::TooManyDeletes
        | Reason::HealthCheckNotExternal
        | Reason::IdempotencyInProgress
        | Reason::ApplyFailed => StatusCode::CONFLICT,
        Reason::RevisionMismatch | Reason::ConfirmMismatch | Reason::PlanChanged => {
            StatusCode::PRECONDITION_FAILED
        }
        Reason::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Reason::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Reason::SchedulerUnavailable
        | Reason::PersistenceEngineUnavailable
        | Reason::UnsupportedByKernel
        | Reason::IdempotencyKeyReused
        | Reason::SyncDaemonConflict => StatusCode::UNPROCESSABLE_ENTITY,
        Reason::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Reason::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        Reason::KernelUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        Reason::StoreUnavailable => StatusCode::INSUFFICIENT_STORAGE,
        Reason::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
    }
}

// === impl Problem ===

impl Problem {
    /// Adds a header to the response.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sets the status, whatever the reason.
    pub(super) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status.as_u16();
        self
    }

    /// Adds members of the response that the request would have had as a success.
    pub(super) fn with_members(mut self, members: Value) -> Self {
        self.members = Some(Box::new(members));
        self
    }

    /// Sets the status to 503, whatever the reason: the daemon is not ready, or never will be.
    pub fn unavailable(mut self) -> Self {
        self.status = StatusCode::SERVICE_UNAVAILABLE.as_u16();
        self
    }

    /// Adds the id of the request, if the request has one.
    #[must_use]
    pub fn of_request(mut self, headers: &HeaderMap) -> Self {
        let id = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
        self.request_id = id.map(str::to_owned);
        self
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let retry_seconds = error.retry_seconds();
        let Error {
            reason,
            detail,
            errno,
            violations,
            hint,
            progress,
            retry_after: _,
            cause: _,
        } = error;
        let mut headers = HeaderMap::new();
        if let Some(seconds) = retry_seconds {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if reason == Reason::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, CHALLENGE);
        }
        Self {
            kind: format!("/errors/{reason}"),
            title: reason.title(),
            status: status(reason).as_u16(),
            detail,
            reason: reason.as_str(),
            errno: errno.map(|errno| errno.to_string()),
            errors: violations,
            hint,
            progress,
            members: None,
            request_id: None,
            headers,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = Response::new(body(&self));
        *response.status_mut() = status;
        response.headers_mut().extend(self.headers.clone());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // For `add_request_id`.
        response.extensions_mut().insert(self);
        response
    }
}

fn body(problem: &Problem) -> Body {
    serde_json::to_vec(problem).map_or_else(|_| Body::empty(), Body::from)
}

/// Adds the id of the request to an error response.
pub(super) fn add_request_id(response: &mut Response, id: Option<HeaderValue>) {
    if let Some(problem) = response.extensions_mut().remove::<Problem>()
        && let Some(id) = id
    {
        let headers = HeaderMap::from_iter([(REQUEST_ID, id)]);
        *response.body_mut() = body(&problem.of_request(&headers));
        // The length without the id.
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
}

/// The response for an unknown path.
pub async fn not_found(request: Request) -> Response {
    let detail = format!("path {} does not exist", request.uri().path());
    Problem::from(Error::new(Reason::NotFound, detail).with_hint("see /openapi.json or /docs"))
        .of_request(request.headers())
        .into_response()
}

/// The response for a method that the path does not support. The router adds `Allow`.
pub(super) async fn method_not_allowed(request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let detail = format!("{path} does not support {method}");
    Problem::from(
        Error::new(Reason::MethodNotAllowed, detail)
            .with_hint("the header Allow lists the supported methods"),
    )
    .of_request(request.headers())
    .into_response()
}
