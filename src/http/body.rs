//! Long answers, encoded piece by piece while the client reads them: what they hold exists once, in
//! the shared table, and never as one text.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use http_body::Frame;
use serde::Serialize;

use crate::{
    director::{ServerPage, ServicePage},
    model::{ServerView, ServiceView},
};

/// Bytes of a chunk at which it is sent. Large enough that a chunk's cost does not count, small
/// enough that thousands of slow readers do no harm.
const CHUNK: usize = 32 * 1024;

/// Something that is encoded in pieces.
pub(super) trait Pieces: Send + Unpin + 'static {
    /// Appends the next piece, an entry or so; false when there is none after it.
    fn next(&mut self, chunk: &mut Vec<u8>) -> serde_json::Result<bool>;
}

/// `{"services": […], …}`.
#[derive(Debug)]
pub(super) struct Services {
    page: ServicePage,
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

/// What follows the entries of a page.
#[derive(Serialize)]
struct Tail<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    estimation: Option<bool>,
}

struct Stream<P> {
    pieces: P,
    /// The first chunk, which was made before the answer began.
    first: Option<Vec<u8>>,
    done: bool,
}

/// A body of these pieces. What fits one chunk is sent with its length.
pub(super) fn body(mut pieces: impl Pieces) -> Body {
    let mut first = Vec::new();
    match fill(&mut pieces, &mut first) {
        Ok(true) => Body::new(Stream {
            pieces,
            first: Some(first),
            done: false,
        }),
        Ok(false) => Body::from(first),
        Err(error) => Body::from_stream(futures_util::stream::iter([Err::<Bytes, _>(error)])),
    }
}

/// Fills a chunk; false when that was the last.
fn fill(pieces: &mut impl Pieces, chunk: &mut Vec<u8>) -> serde_json::Result<bool> {
    while chunk.len() < CHUNK {
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
            return Poll::Ready(Some(Ok(Frame::data(first.into()))));
        }
        if self.done {
            return Poll::Ready(None);
        }
        let mut chunk = Vec::with_capacity(CHUNK + CHUNK / 8);
        let more = fill(&mut self.pieces, &mut chunk);
        self.done = !matches!(more, Ok(true));
        Poll::Ready(Some(more.map(|_| Frame::data(chunk.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.done
    }
}

// === impl Tail ===

impl Tail<'_> {
    /// Ends the list, and the object that it is in.
    fn write(&self, chunk: &mut Vec<u8>) -> serde_json::Result<()> {
        chunk.push(b']');
        let start = chunk.len();
        serde_json::to_writer(&mut *chunk, self)?;
        // `{}` or `{"…` becomes `}` or `,"…`.
        if chunk.get(start + 1) == Some(&b'}') {
            chunk.remove(start);
        } else if let Some(brace) = chunk.get_mut(start) {
            *brace = b',';
        }
        Ok(())
    }
}

// === impl Services ===

impl From<ServicePage> for Services {
    fn from(page: ServicePage) -> Self {
        Self {
            page,
            at: At::Service(0),
        }
    }
}

impl Pieces for Services {
    fn next(&mut self, chunk: &mut Vec<u8>) -> serde_json::Result<bool> {
        let include = self.page.include;
        match self.at {
            At::Service(place) => {
                chunk.extend_from_slice(if place == 0 { b"{\"services\":[" } else { b"" });
                let Some(entry) = self.page.get(place) else {
                    let tail = Tail {
                        next_page_token: self.page.next_page_token.as_deref(),
                        estimation: self.page.estimation,
                    };
                    tail.write(chunk)?;
                    return Ok(false);
                };
                if place > 0 {
                    chunk.push(b',');
                }
                if !include.servers {
                    let view = ServiceView::bare(&entry.service, include);
                    serde_json::to_writer(&mut *chunk, &view)?;
                    self.at = At::Service(place + 1);
                    return Ok(true);
                }
                // Its servers follow one by one: a service can have very many.
                let mut view = ServiceView::bare(&entry.service, include);
                view.server_count = Some(entry.servers.len());
                view.etag = entry.etag();
                serde_json::to_writer(&mut *chunk, &view)?;
                chunk.pop();
                chunk.extend_from_slice(b",\"servers\":[");
                self.at = At::Server(place, 0);
            }
            At::Server(place, index) => {
                let servers = self.page.get(place).map(|entry| entry.servers.as_slice());
                match servers.and_then(|servers| servers.get(index)) {
                    Some(server) => {
                        if index > 0 {
                            chunk.push(b',');
                        }
                        serde_json::to_writer(&mut *chunk, &ServerView::new(server, include))?;
                        self.at = At::Server(place, index + 1);
                    }
                    None => {
                        chunk.extend_from_slice(b"]}");
                        self.at = At::Service(place + 1);
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
    fn next(&mut self, chunk: &mut Vec<u8>) -> serde_json::Result<bool> {
        chunk.extend_from_slice(if self.at == 0 { b"{\"servers\":[" } else { b"" });
        let Some(server) = self.page.servers.get(self.at) else {
            let tail = Tail {
                next_page_token: self.page.next_page_token.as_deref(),
                estimation: self.page.estimation,
            };
            tail.write(chunk)?;
            return Ok(false);
        };
        if self.at > 0 {
            chunk.push(b',');
        }
        serde_json::to_writer(&mut *chunk, &ServerView::new(server, self.page.include))?;
        self.at += 1;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use serde_json::Value;

    use super::*;
    use crate::model::{Include, Rates, Server, ServerConfig, ServerKey, Stats};

    fn page(len: u16) -> ServerPage {
        let servers = (0..len).map(|port| Server {
            key: ServerKey {
                address: [192, 0, 2, 1].into(),
                port,
            },
            config: ServerConfig::default(),
            active_connections: 0,
            inactive_connections: 0,
            persistent_connections: 0,
            stats: Stats::default(),
            rates: Rates::default(),
        });
        ServerPage {
            servers: servers.collect(),
            include: Include::default(),
            next_page_token: None,
            estimation: None,
        }
    }

    async fn chunks(body: Body) -> Vec<Bytes> {
        let mut body = body;
        let mut chunks = Vec::new();
        while let Some(frame) = body.frame().await {
            chunks.push(frame.unwrap().into_data().unwrap());
        }
        chunks
    }

    #[tokio::test]
    async fn a_long_page_comes_in_bounded_chunks_that_make_one_document() {
        let chunks = chunks(body(Servers::from(page(2000)))).await;
        assert!(chunks.len() > 5);
        assert!(chunks.iter().all(|chunk| chunk.len() < CHUNK + 1024));
        let document: Value = serde_json::from_slice(&chunks.concat()).unwrap();
        assert_eq!(document["servers"].as_array().unwrap().len(), 2000);
        assert_eq!(document.as_object().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_short_page_comes_with_its_length_and_what_is_known_of_it() {
        let page = ServerPage {
            next_page_token: Some("next".to_owned()),
            estimation: Some(true),
            ..page(0)
        };
        let body = body(Servers::from(page));
        assert!(http_body::Body::size_hint(&body).exact().is_some());
        let text = body.collect().await.unwrap().to_bytes();
        assert_eq!(
            text,
            r#"{"servers":[],"next_page_token":"next","estimation":true}"#
        );
    }
}
