//! `/ui/`: the dashboard, a page for browsers. It is built from `web/`, and embedded compressed.

use std::io::Read;

use axum::{
    Router,
    body::Body,
    extract::{Path, Request},
    response::{IntoResponse, Response},
    routing::get,
};
use flate2::read::GzDecoder;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{
    compression, conditional,
    etag::{COMPRESSED, Tag},
    problem::{self, Problem},
};
use crate::model::{Error, Reason};

/// Name and compressed bytes of each file.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/dashboard.rs"));

/// The page itself; it loads the others.
const PAGE: &str = "index.html";

/// What the page may load: its script, its style sheet and its icon. Its requests go to this daemon only.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// For the page, which is another one after an update of the daemon.
const REVALIDATED: HeaderValue = HeaderValue::from_static("no-cache");
/// For files whose names have a hash of their content.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// The page and its files.
pub(super) fn router() -> Router {
    // Relative, for proxies that add a prefix.
    let slash = || async { (StatusCode::SEE_OTHER, [(header::LOCATION, "ui/")]) };
    Router::new()
        .route("/ui", get(slash))
        .route("/ui/", get(page))
        .route("/ui/{file}", get(file))
}

async fn page(headers: HeaderMap) -> Response {
    respond(PAGE, &headers).unwrap_or_else(|| StatusCode::NOT_FOUND.into_response())
}

async fn file(Path(name): Path<String>, request: Request) -> Response {
    match respond(&name, request.headers()) {
        Some(response) => response,
        None => problem::not_found(request).await,
    }
}

/// The response with a file; `None` if there is none with this name.
fn respond(name: &str, headers: &HeaderMap) -> Option<Response> {
    let (name, compressed) = FILES.iter().find(|(known, _)| *known == name)?;
    let response = represent(name, compressed, headers);
    Some(response.unwrap_or_else(|error| Problem::from(error).into_response()))
}

fn represent(
    name: &str,
    compressed: &'static [u8],
    headers: &HeaderMap,
) -> Result<Response, Error> {
    let is_gzip = compression::is_accepted(headers);
    let suffix = if is_gzip { COMPRESSED } else { "" };
    let tag = Tag::of_bytes(None, compressed);
    let is_known = conditional::is_known(headers, &format!("{}{suffix}", tag.text()));
    let mut response = match (is_known, is_gzip) {
        (true, _) => StatusCode::NOT_MODIFIED.into_response(),
        (false, true) => Response::new(Body::from(compressed)),
        (false, false) => Response::new(Body::from(decompressed(compressed)?)),
    };
    let fields = response.headers_mut();
    if !is_known {
        fields.insert(header::CONTENT_TYPE, media_type(name));
    }
    // Also of 304: a browser takes the headers of the response that it has from the newer one.
    fields.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    if is_gzip && !is_known {
        let gzip = HeaderValue::from_static("gzip");
        fields.insert(header::CONTENT_ENCODING, gzip);
    }
    let caching = if name.contains('-') {
        IMMUTABLE
    } else {
        REVALIDATED
    };
    fields.insert(header::CACHE_CONTROL, caching);
    fields.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    fields.insert(header::ETAG, tag.header_of(suffix)?);
    Ok(response)
}

/// For the few clients that do not accept gzip.
fn decompressed(compressed: &[u8]) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = GzDecoder::new(compressed).read_to_end(&mut bytes);
    read.map_err(|error| Error::new(Reason::Internal, error.to_string()))?;
    Ok(bytes)
}

fn media_type(name: &str) -> HeaderValue {
    HeaderValue::from_static(match name.rsplit_once('.') {
        Some((_, "html")) => "text/html; charset=utf-8",
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    })
}
