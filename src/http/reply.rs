//! What answers have in common: entity tags, age, status.

use std::time::Duration;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use super::{conditional::Reading, etag::Tag};
use crate::model::{Error, Etag, Reason};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// A cache may keep an answer, but asks whether it still holds before it gives it out.
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");

/// What came of a write.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    /// The resource's path, if it was created.
    pub location: Option<String>,
    /// Whether it was created.
    pub created: bool,
    /// Whether the kernel was changed.
    pub changed: bool,
}

/// `value` as JSON.
pub(super) fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::new(Reason::Internal, error.to_string()))
}

/// The answer to a read of a single resource. `etag` is that of its configuration, where it has
/// one.
pub(super) fn resource<T: Serialize>(
    reading: &Reading,
    age: Duration,
    etag: Option<Etag>,
    view: &T,
) -> Result<Response, Error> {
    let body = json(view)?;
    let tag = Tag::of_bytes(etag, &body);
    listing(reading, age, tag, || Body::from(body))
}

/// The answer to a read that is plain text.
pub(super) fn text(reading: &Reading, age: Duration, text: Vec<u8>) -> Result<Response, Error> {
    let tag = Tag::of_bytes(None, &text);
    let mut response = listing(reading, age, tag, || Body::from(text))?;
    if let Some(media_type) = response.headers_mut().get_mut(header::CONTENT_TYPE) {
        *media_type = TEXT;
    }
    Ok(response)
}

/// The answer to a read; the body is made only if the client does not have it.
pub(super) fn listing(
    reading: &Reading,
    age: Duration,
    tag: Tag,
    body: impl FnOnce() -> Body,
) -> Result<Response, Error> {
    let mut response = if reading.has(tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response = Response::new(body());
        response.headers_mut().insert(header::CONTENT_TYPE, JSON);
        response
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, tag.header()?);
    headers.insert(header::AGE, HeaderValue::from(age.as_secs()));
    headers.insert(header::CACHE_CONTROL, NO_CACHE);
    Ok(response)
}

/// The answer to a write of a single resource: its view with `changed`, and the tag that a read of
/// it would carry.
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

/// The answer to a write: the object that `body` holds, with `changed`.
pub(super) fn changed(outcome: &Outcome, mut body: Vec<u8>) -> Result<Response, Error> {
    // The object's brace; a view has at least one field.
    body.pop();
    body.extend_from_slice(b",\"changed\":");
    body.extend_from_slice(if outcome.changed { b"true}" } else { b"false}" });
    let mut response = Response::new(Body::from(body));
    if outcome.created {
        *response.status_mut() = StatusCode::CREATED;
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, JSON);
    headers.insert(header::CACHE_CONTROL, NO_CACHE);
    if let Some(location) = outcome.location.as_ref().filter(|_| outcome.created) {
        let location = HeaderValue::try_from(location)
            .map_err(|error| Error::new(Reason::Internal, error.to_string()))?;
        headers.insert(header::LOCATION, location);
    }
    Ok(response)
}

/// The answer that has no resource to show.
pub(super) fn plain<T: Serialize>(value: &T) -> Result<Response, Error> {
    let mut response = Response::new(Body::from(json(value)?));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, JSON);
    headers.insert(header::CACHE_CONTROL, NO_CACHE);
    Ok(response)
}
