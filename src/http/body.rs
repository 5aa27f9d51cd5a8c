//! Bodies of lists, encoded piece by piece while the client reads them. The items exist once, in the
//! shared table, and the text never as a whole.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use http_body::Frame;
use serde::Serialize;

use super::encode::{self, Chunk};
use crate::{
    app::{ServerPage, ServicePage},
    model::{Etag, ServiceView},
};

/// Size in bytes from which the first chunk is sent. A shorter body is sent with its length.
const FIRST_CHUNK: usize = 32 * 1024;
/// Size in bytes from which later chunks are sent. Each chunk costs a write, and often a context switch
/// to the reader and back. Including its last item, a chunk takes 256 KiB of memory per connection.
const LARGEST_CHUNK: usize = 255 * 1024;

/// A text that is encoded in pieces.
pub(super) trait Pieces: Send + Unpin + 'static {
    /// Appends the next piece, about one item; false if it was the last.
    fn next(&mut self, chunk: &mut Chunk) -> serde_json::Result<bool>;
}

/// `{"services": […], …}`.
#[derive(Debug)]
pub(super) struct Services {
    page: Arc<ServicePage>,
    /// The etag of each service of the page.
    etags: Arc<[Etag]>,
    at: At,
}

/// `{"servers": […], …}`.
#[derive(Debug)]
pub(super) struct Servers {
    page: ServerPage,
    at: usize,
}

#[derive(Clone, Copy, Debug)]
enum At {
    Service(usize),
    Server(usize, usize),
}

/// The properties after the items of a page.
#[derive(Serialize)]
struct Tail {
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    estimation: Option<bool>,
}

struct Stream<P> {
    pieces: P,
    /// The first chunk, which is encoded before the response begins.
    first: Option<Bytes>,
    done: bool,
}

/// A body of pieces. If it fits into one chunk, it is sent with its length.
pub(super) fn body(mut pieces: impl Pieces) -> Body {
    let mut first = Chunk::default();
    match fill(&mut pieces, &mut first, FIRST_CHUNK) {
        Ok(true) => Body::new(Stream {
            pieces,
            first: Some(first.into()),
            done: false,
        }),
        Ok(false) => Body::from(Bytes::from(first)),
        Err(error) => Body::from_stream(futures_util::stream::iter([Err::<Bytes, _>(error)])),
    }
}

/// Encodes all pieces, for a body that is sent several times.
pub(super) fn encode(mut pieces: impl Pieces) -> serde_json::Result<Bytes> {
    let mut all = Chunk::default();
    while pieces.next(&mut all)? {}
    // Without spare capacity, because the text is kept.
    Ok(Bytes::copy_from_slice(&Bytes::from(all)))
}

/// Fills a chunk; false if it was the last.
fn fill(pieces: &mut impl Pieces, chunk: &mut Chunk, size: usize) -> serde_json::Result<bool> {
    while chunk.len() < size {
        if !pieces.next(chunk)? {
            return Ok(false);
        }
    }
    Ok(true)
}

// === impl Stream ===

impl<P: Pieces> http_body::Body for Stream<P> {
    type Data = Bytes;
    type Error = serde_json::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        if self.done {
            return Poll::Ready(None);
        }
        let mut chunk = Chunk::with_capacity(LARGEST_CHUNK + encode::MAX_SERVER_BYTES);
        let more = fill(&mut self.pieces, &mut chunk, LARGEST_CHUNK);
        self.done = !matches!(more, Ok(true));
        Poll::Ready(Some(more.map(|_| Frame::data(chunk.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.done
    }
}

// === impl Tail ===

impl Tail {
    /// Ends the list and the object around it.
    fn write(&self, chunk: &mut Chunk) -> serde_json::Result<()> {
        let rest = serde_json::to_vec(self)?;
        // `{}` or `{"…` becomes `}` or `,"…`.
        chunk.extend(if rest == b"{}" { b"]" } else { b"]," });
        chunk.extend(rest.get(1..).unwrap_or_default());
        Ok(())
    }
}

// === impl Services ===

impl Services {
    pub(super) fn new(page: Arc<ServicePage>, etags: Arc<[Etag]>) -> Self {
        Self {
            page,
            etags,
            at: At::Service(0),
        }
    }
}

impl Pieces for Services {
    fn next(&mut self, chunk: &mut Chunk) -> serde_json::Result<bool> {
        let include = self.page.include;
        match self.at {
            At::Service(index) => {
                if index == 0 {
                    chunk.extend(b"{\"services\":[");
                }
                let Some(entry) = self.page.get(index) else {
                    let tail = Tail {
                        next_page_token: self.page.next_page_token(),
                        estimation: self.page.estimation,
                    };
                    tail.write(chunk)?;
                    return Ok(false);
                };
                if index > 0 {
                    chunk.extend(b",");
                }
                let mut view = ServiceView::bare(&entry.service, include);
                view.etag = self.etags.get(index).copied().unwrap_or(view.etag);
                if !include.servers {
                    serde_json::to_writer(&mut *chunk, &view)?;
                    self.at = At::Service(index + 1);
                    return Ok(true);
                }
                // The servers follow one by one: a service can have very many.
                view.server_count = Some(entry.servers.len());
                serde_json::to_writer(&mut *chunk, &view)?;
                chunk.pop();
                chunk.extend(b",\"servers\":[");
                self.at = At::Server(index, 0);
            }
            At::Server(service, index) => {
                let servers = self.page.get(service).map(|entry| entry.servers.as_slice());
                match servers.and_then(|servers| servers.get(index)) {
                    Some(server) => {
                        if index > 0 {
                            chunk.extend(b",");
                        }
                        encode::server(chunk, server, include)?;
                        self.at = At::Server(service, index + 1);
                    }
                    None => {
                        chunk.extend(b"]}");
                        self.at = At::Service(service + 1);
                    }
                }
            }
        }
        Ok(true)
    }
}

// === impl Servers ===

impl From<ServerPage> for Servers {
    fn from(page: ServerPage) -> Self {
        Self { page, at: 0 }
    }
}

impl Pieces for Servers {
    fn next(&mut self, chunk: &mut Chunk) -> serde_json::Result<bool> {
        if self.at == 0 {
            chunk.extend(b"{\"servers\":[");
        }
        let Some(server) = self.page.servers.get(self.at) else {
            let tail = Tail {
                next_page_token: self.page.next_page_token(),
                estimation: self.page.estimation,
            };
            tail.write(chunk)?;
            return Ok(false);
        };
        if self.at > 0 {
            chunk.extend(b",");
        }
        encode::server(chunk, server, self.page.include)?;
        self.at += 1;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    /// A list of numbers, `[0,1,…]`.
    struct Numbers {
        at: usize,
        len: usize,
    }

    impl Pieces for Numbers {
        fn next(&mut self, chunk: &mut Chunk) -> serde_json::Result<bool> {
            chunk.extend(if self.at == 0 { b"[" } else { b"," });
            serde_json::to_writer(&mut *chunk, &self.at)?;
            self.at += 1;
            if self.at == self.len {
                chunk.extend(b"]");
            }
            Ok(self.at < self.len)
        }
    }

    #[tokio::test]
    async fn a_long_body_is_sent_in_bounded_chunks() {
        let mut body = body(Numbers {
            at: 0,
            len: 200_000,
        });
        let mut chunks = Vec::new();
        while let Some(frame) = body.frame().await {
            chunks.push(frame.unwrap().into_data().unwrap());
        }
        assert!(chunks.len() > 2);
        assert!(chunks[0].len() < FIRST_CHUNK + 16);
        assert!(chunks.iter().all(|chunk| chunk.len() < LARGEST_CHUNK + 16));
        let numbers: Vec<usize> = serde_json::from_slice(&chunks.concat()).unwrap();
        assert!(numbers.into_iter().eq(0..200_000));
    }

    #[tokio::test]
    async fn a_short_body_is_sent_with_its_length() {
        let body = body(Numbers { at: 0, len: 3 });
        assert_eq!(http_body::Body::size_hint(&body).exact(), Some(7));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "[0,1,2]");
    }

    #[test]
    fn a_list_ends_with_the_properties_of_the_page() {
        let end = |next_page_token: Option<&str>, estimation| {
            let tail = Tail {
                next_page_token: next_page_token.map(str::to_owned),
                estimation,
            };
            let mut chunk = Chunk::default();
            chunk.extend(b"{\"x\":[");
            tail.write(&mut chunk).unwrap();
            String::from_utf8(Bytes::from(chunk).to_vec()).unwrap()
        };
        assert_eq!(end(None, None), r#"{"x":[]}"#);
        assert_eq!(
            end(Some("t"), Some(true)),
            r#"{"x":[],"next_page_token":"t","estimation":true}"#
        );
    }
}
