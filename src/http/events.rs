//! Server-sent events.

use std::io::Write;

use axum::{
    body::{Body, Bytes},
    response::{IntoResponse, Response},
};
use futures_util::Stream;
use http::{HeaderName, HeaderValue, header};
use serde::Serialize;

use crate::budget::StreamBytes;

/// For proxies that would collect a response before they send it.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The response with these events.
pub(super) fn response(
    events: impl Stream<Item = serde_json::Result<Bytes>> + Send + 'static,
) -> Response {
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (X_ACCEL_BUFFERING, HeaderValue::from_static("no")),
    ];
    let mut response = (headers, Body::from_stream(events)).into_response();
    response.extensions_mut().insert(StreamBytes::OF_WATCH);
    response
}

/// Appends an event. Its data is JSON, which has no line breaks.
pub(super) fn write(
    text: &mut Vec<u8>,
    kind: &str,
    data: &impl Serialize,
) -> serde_json::Result<()> {
    // Writing into memory does not fail.
    drop(write!(text, "event: {kind}\ndata: "));
    serde_json::to_writer(&mut *text, data)?;
    text.extend_from_slice(b"\n\n");
    Ok(())
}
