//! Responses: status, entity tag, age, body.

use std::time::Duration;

use axum::{body::Body, response::Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use super::{conditional::ConditionalRead, etag::Tag};
use crate::model::{Error, Etag, Reason};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// Caches must revalidate a stored response before they reuse it.
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");

/// Headers for which space is made at first: those of a read, and what the server adds.
const USUAL_HEADERS: usize = 12;

/// Result of a write.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// Path of the resource, for `Location` if the write created it.
    pub location: Option<String>,
    /// Whether the write created the resource.
    pub created: bool,
    /// Whether the write changed anything.
    pub changed: bool,
    /// Whether the servers are in another order than the request lists them.
    pub server_order_differs: bool,
}

/// Encodes `value` as JSON.
pub(super) fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::new(Reason::Internal, error.to_string()))
}

/// The response to a read of one resource. `etag` covers its configuration, if it has one.
pub(super) fn resource<T: Serialize>(
    read: &ConditionalRead,
    age: Duration,
    etag: Option<Etag>,
    view: &T,
) -> Result<Response, Error> {
    let body = json(view)?;
    let tag = Tag::of_bytes(etag, &body);
    ready(read, age, tag, || Body::from(body))
}

/// The response to a read of plain text.
pub(super) fn text(
    read: &ConditionalRead,
    age: Duration,
    text: Vec<u8>,
) -> Result<Response, Error> {
    let tag = Tag::of_bytes(None, &text);
    let mut response = ready(read, age, tag, || Body::from(text))?;
    if let Some(media_type) = response.headers_mut().get_mut(header::CONTENT_TYPE) {
        *media_type = TEXT;
    }
    Ok(response)
}

/// The response to a read of a list. `body` is called only if the client does not have the
/// representation. A list that is read while it is sent has no tag.
pub(super) async fn listing(
    read: &ConditionalRead,
    age: Duration,
    tag: Option<Tag>,
    body: impl AsyncFnOnce() -> Result<Body, Error>,
) -> Result<Response, Error> {
    let known = tag.and_then(|tag| read.known(tag));
    let body = match known {
        Some(_) => None,
        None => Some(body().await?),
    };
    respond(age, tag, known.unwrap_or_default(), body)
}

/// The response to a read whose body is there. `body` is called only if the client does not have the
/// representation.
fn ready(
    read: &ConditionalRead,
    age: Duration,
    tag: Tag,
    body: impl FnOnce() -> Body,
) -> Result<Response, Error> {
    let known = read.known(tag);
    let body = known.is_none().then(body);
    respond(age, Some(tag), known.unwrap_or_default(), body)
}

/// The response to a read; without a body, the client has the representation, whose tag has this
/// suffix.
fn respond(
    age: Duration,
    tag: Option<Tag>,
    suffix: &str,
    body: Option<Body>,
) -> Result<Response, Error> {
    let is_known = body.is_none();
    let mut response = Response::new(body.unwrap_or_default());
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.reserve(USUAL_HEADERS);
    if !is_known {
        headers.insert(header::CONTENT_TYPE, JSON);
    }
    if let Some(tag) = tag {
        headers.insert(header::ETAG, tag.header_of(suffix)?);
    }
    headers.insert(header::AGE, HeaderValue::from(age.as_secs()));
    headers.insert(header::CACHE_CONTROL, NO_CACHE);
    Ok(response)
}

/// The response to a write of one resource: its view with `changed`, and the tag of a read.
pub(super) fn written<T: Serialize>(
    outcome: Outcome,
    etag: Option<Etag>,
    view: &T,
) -> Result<Response, Error> {
    let body = json(view)?;
    let tag = Tag::of_bytes(etag, &body);
    let mut response = changed(&outcome, body)?;
    response.headers_mut().insert(header::ETAG, tag.header()?);
    Ok(response)
}

/// The response to a write: the object in `body`, with `changed`.
pub(super) fn changed(outcome: &Outcome, mut body: Vec<u8>) -> Result<Response, Error> {
    // Replaces the closing brace. A view has at least one field.
    body.pop();
    body.extend_from_slice(b",\"changed\":");
    body.extend_from_slice(if outcome.changed { b"true" } else { b"false" });
    if outcome.server_order_differs {
        body.extend_from_slice(b",\"server_order_differs\":true");
    }
    body.push(b'}');
    let mut response = Response::new(Body::from(body));
    if outcome.created {
        *response.status_mut() = StatusCode::CREATED;
    }
    let headers = response.headers_mut();
    headers.reserve(USUAL_HEADERS);
    headers.insert(header::CONTENT_TYPE, JSON);
    headers.insert(header::CACHE_CONTROL, NO_CACHE);
    if let Some(location) = outcome.location.as_ref().filter(|_| outcome.created) {
        let location = HeaderValue::try_from(location)
            .map_err(|error| Error::new(Reason::Internal, error.to_string()))?;
        headers.insert(header::LOCATION, location);
    }
    Ok(response)
}

/// A response without an entity tag.
pub(super) fn plain<T: Serialize>(value: &T) -> Result<Response, Error> {
    let mut response = Response::new(Body::from(json(value)?));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, JSON);
    headers.insert(header::CACHE_CONTROL, NO_CACHE);
    Ok(response)
}
