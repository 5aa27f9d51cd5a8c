//! Compression of responses, if the client accepts it (`Accept-Encoding`) and the body is long enough.
//!
//! Why not a layer of tower-http: it compresses every response anew. Clients that poll share a page,
//! and its compressed form is kept with it.

use std::{
    io::{self, Write},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{body::Body, extract::Request, middleware::Next, response::Response};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body::{Body as HttpBody, Frame};

use super::{accept::Accepted, etag::COMPRESSED};
use crate::app::ServicePage;

/// Length in bytes from which a body is compressed. Measured with release code (zlib-rs, level 1) on
/// listings: 24 us for 8 KiB, which saves 58 us of a link of 1 Gbit/s; 2.3 ms for 1 MB, a twelfth of
/// which is left, which saves 7.3 ms. Debug code takes 90 times as long.
const MIN_BYTES: u64 = 8 * 1024;

/// Higher levels take 1.3 to 5 times as long, and save less of the link than that.
const LEVEL: Compression = Compression::fast();

/// Bytes that are compressed at once, so that a long text does not occupy the thread: 0.6 ms.
const SLICE: usize = 256 * 1024;

/// The body of a page that several requests share, as an extension of the response: its compressed
/// form is made once.
#[derive(Clone, Debug)]
pub(super) struct SharedBody {
    page: Arc<ServicePage>,
    bytes: Bytes,
}

/// A compressed page; `None` if it could not be compressed.
#[derive(Clone)]
struct CompressedPage(Option<Bytes>);

/// A body that is compressed while it is sent.
struct GzipBody {
    body: Body,
    /// Of the body, not compressed yet.
    rest: Bytes,
    /// `None` after the end.
    encoder: Option<GzEncoder<Vec<u8>>>,
}

/// Middleware of the documents, which all are long texts.
pub(super) async fn of_documents(request: Request, next: Next) -> Response {
    let is_accepted = is_accepted(request.headers());
    let mut response = next.run(request).await;
    compress(&mut response, is_accepted);
    response
}

/// Compresses a response, if the client accepts it and it pays.
pub(super) fn compress(response: &mut Response, is_accepted: bool) {
    let shared = response.extensions_mut().remove::<SharedBody>();
    let is_compressible = is_compressible(response);
    if is_compressible || response.status() == StatusCode::NOT_MODIFIED {
        let vary = HeaderValue::from_static("accept-encoding");
        response.headers_mut().append(header::VARY, vary);
    }
    if !is_compressible || !is_accepted {
        return;
    }
    let body = std::mem::take(response.body_mut());
    let compressed = shared.and_then(|shared| shared.compressed());
    *response.body_mut() = match compressed {
        Some(bytes) => Body::from(bytes),
        None => Body::new(GzipBody::new(body)),
    };
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    let gzip = HeaderValue::from_static("gzip");
    headers.insert(header::CONTENT_ENCODING, gzip);
    if let Some(tag) = headers.get(header::ETAG).and_then(compressed_tag) {
        headers.insert(header::ETAG, tag);
    }
}

/// Whether the client accepts gzip and does not prefer the body as it is (RFC 9110, section 12.5.3).
pub(super) fn is_accepted(headers: &HeaderMap) -> bool {
    let (mut gzip, mut identity, mut any) = (None, None, None);
    for item in Accepted::all(headers, header::ACCEPT_ENCODING) {
        match item.name.as_str() {
            "gzip" | "x-gzip" => gzip = Some(item.weight()),
            "identity" => identity = Some(item.weight()),
            "*" => any = Some(item.weight()),
            _ => {}
        }
    }
    let gzip = gzip.or(any).unwrap_or(0.0);
    gzip > 0.0 && gzip >= identity.unwrap_or(0.0)
}

/// Whether compression of the response pays.
fn is_compressible(response: &Response) -> bool {
    let headers = response.headers();
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default();
    // Not application/x-ndjson: its events are sent when they happen.
    let is_text = kind.starts_with("text/") && kind != "text/event-stream"
        || kind.ends_with("json") && kind != "application/x-ndjson"
        || [
            "application/openmetrics-text",
            "application/yaml",
            "application/javascript",
            "image/svg+xml",
        ]
        .contains(&kind);
    let length = response.body().size_hint().exact();
    is_text
        && length.is_none_or(|length| length >= MIN_BYTES)
        && !headers.contains_key(header::CONTENT_ENCODING)
}

/// The entity tag of the compressed representation.
fn compressed_tag(tag: &HeaderValue) -> Option<HeaderValue> {
    let text = tag.to_str().ok()?.strip_suffix('"')?;
    HeaderValue::try_from(format!("{text}{COMPRESSED}\"")).ok()
}

fn encoder() -> GzEncoder<Vec<u8>> {
    GzEncoder::new(Vec::new(), LEVEL)
}

// === impl SharedBody ===

impl SharedBody {
    /// The body of a page.
    pub(super) fn new(page: Arc<ServicePage>, bytes: Bytes) -> Self {
        Self { page, bytes }
    }

    fn compressed(&self) -> Option<Bytes> {
        let compress = || {
            let mut encoder = encoder();
            encoder.write_all(&self.bytes)?;
            Ok::<_, io::Error>(encoder.finish()?.into())
        };
        let page = self.page.get_or_render(|| CompressedPage(compress().ok()));
        page.0
    }
}

// === impl GzipBody ===

impl GzipBody {
    fn new(body: Body) -> Self {
        Self {
            body,
            rest: Bytes::new(),
            encoder: Some(encoder()),
        }
    }

    /// Compresses some of the rest. Returns what is complete, which may be nothing.
    fn advance(&mut self) -> io::Result<Vec<u8>> {
        let slice = self.rest.split_to(self.rest.len().min(SLICE));
        let Some(encoder) = &mut self.encoder else {
            return Ok(Vec::new());
        };
        encoder.write_all(&slice)?;
        Ok(std::mem::take(encoder.get_mut()))
    }
}

impl HttpBody for GzipBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        loop {
            let output = if !self.rest.is_empty() {
                self.advance()
            } else if self.encoder.is_none() {
                return Poll::Ready(None);
            } else {
                match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                    Some(Ok(frame)) => {
                        // The front end sends no trailers.
                        self.rest = frame.into_data().unwrap_or_default();
                        continue;
                    }
                    Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                    None => self
                        .encoder
                        .take()
                        .map_or(Ok(Vec::new()), GzEncoder::finish),
                }
            };
            match output {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => return Poll::Ready(Some(Ok(Frame::data(bytes.into())))),
                Err(error) => return Poll::Ready(Some(Err(axum::Error::new(error)))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.encoder.is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use http_body_util::BodyExt;

    use super::*;

    #[test]
    fn gzip_is_accepted_unless_it_is_excluded_or_identity_is_preferred() {
        let accepts = |text: &'static str| {
            let value = HeaderValue::from_static(text);
            is_accepted(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, value)]))
        };
        for text in [
            "gzip",
            "GZIP",
            "br, gzip;q=0.1",
            "*",
            "x-gzip",
            "gzip, identity",
        ] {
            assert!(accepts(text), "{text}");
        }
        for text in [
            "",
            "br",
            "gzip;q=0",
            "gzip; q=0.000, *",
            "*;q=0",
            "gzip;q=0.5, identity;q=0.6",
            "gzip;q=x",
            "gzipped",
        ] {
            assert!(!accepts(text), "{text}");
        }
        assert!(!is_accepted(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn a_long_body_is_compressed_in_pieces() {
        let text: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut body = GzipBody::new(Body::from(text.clone()));
        let mut zipped = Vec::new();
        while let Some(frame) = body.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            // What cannot be compressed, and what the encoder held back.
            assert!(data.len() <= 2 * SLICE, "{}", data.len());
            zipped.extend(data);
        }
        let mut back = Vec::new();
        GzDecoder::new(&zipped[..]).read_to_end(&mut back).unwrap();
        assert!(back == text);
    }
}
