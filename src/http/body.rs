//! Bodies of lists, encoded piece by piece while the client reads them. The items exist once, in the
//! shared table, and the text never as a whole.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use futures_util::future::poll_fn;
use http_body::Frame;
use serde::Serialize;
use tokio::task::yield_now;

use super::encode::{self, Chunk};
use crate::{
    app::{PageEntries, ServerPage},
    budget::Budget,
    model::{Error, Etag, Reason, ServiceView},
};

/// Size in bytes from which the first chunk is sent. A shorter body is sent with its length.
const FIRST_CHUNK: usize = 32 * 1024;
/// Size in bytes from which later chunks are sent. Each chunk costs a write, and often a context switch
/// to the reader and back. Including its last item, a chunk takes 256 KiB of memory per connection.
const LARGEST_CHUNK: usize = 255 * 1024;

/// A text that is encoded in pieces.
pub(super) trait Pieces: Send + Unpin + 'static {
    /// Waits until the next piece can be encoded.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    /// Is called when the response has begun: what follows is read as the client takes it.
    fn begin(&mut self) {}

    /// Appends the next piece, about one item; false if it was the last.
    fn next(&mut self, chunk: &mut Chunk) -> serde_json::Result<bool>;
}

/// `{"services": […], …}`.
#[derive(Debug)]
pub(super) struct Services {
    entries: PageEntries,
    /// The etag of each service of the page, if they are known.
    etags: Option<Arc<[Etag]>>,
    at: At,
    /// Whether the list has a service already.
    follows: bool,
    /// Time that the read of each part may take once the response has begun.
    part_timeout: Duration,
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
    revision: String,
}

/// Pieces that are encoded while they are sent.
pub(super) struct Stream<P> {
    pieces: P,
    /// The chunk in progress.
    chunk: Option<Chunk>,
    /// Bytes from which it is complete.
    size: usize,
    done: bool,
}

/// Why a body ends before its end. The connection or the stream is reset, so that the client does not
/// take what it has received for the whole.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("the list cannot be encoded: {0}")]
    Encoding(#[from] serde_json::Error),
    #[error("{0}")]
    Reading(#[from] Error),
}

/// A body of pieces. If it fits into one chunk, it is sent with its length. An error that occurs
/// before the first chunk is complete is returned.
pub(super) async fn body(pieces: impl Pieces) -> Result<Body, Error> {
    let mut stream = Stream::new(pieces);
    let first = poll_fn(|cx| stream.poll_chunk(cx)).await?;
    if stream.done {
        return Ok(Body::from(first));
    }
    stream.pieces.begin();
    Ok(Body::new(First {
        first: Some(first),
        stream,
        has_yielded: false,
    }))
}

/// A body of pieces that are encoded before it is sent, with its length.
pub(super) async fn whole(pieces: impl Pieces, budget: &Budget) -> Result<Body, Error> {
    let mut stream = Stream::new(pieces);
    let mut charge = budget.empty();
    let mut text = Vec::new();
    while !stream.done {
        let chunk = poll_fn(|cx| stream.poll_chunk(cx)).await?;
        if text.capacity() - text.len() < chunk.len() {
            let more = chunk.len().max(text.capacity());
            charge.grow(more)?;
            text.reserve_exact(more);
        }
        text.extend_from_slice(&chunk);
        yield_now().await;
    }
    text.shrink_to_fit();
    Ok(Body::from(text))
}

/// Encodes all pieces, for a body that is sent several times.
pub(super) fn encode(mut pieces: impl Pieces) -> serde_json::Result<Bytes> {
    let mut all = Chunk::default();
    while pieces.next(&mut all)? {}
    // Without spare capacity, because the text is kept.
    Ok(Bytes::copy_from_slice(&Bytes::from(all)))
}

/// A stream whose first chunk is complete already.
struct First<P> {
    first: Option<Bytes>,
    stream: Stream<P>,
    /// Whether other tasks have run since the last chunk.
    has_yielded: bool,
}

// === impl Stream ===

impl<P: Pieces> Stream<P> {
    fn new(pieces: P) -> Self {
        Self {
            pieces,
            chunk: Some(Chunk::default()),
            size: FIRST_CHUNK,
            done: false,
        }
    }

    /// Fills the next chunk.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Broken>> {
        let new = || Chunk::with_capacity(LARGEST_CHUNK + encode::MAX_SERVER_BYTES);
        let chunk = self.chunk.get_or_insert_with(new);
        while chunk.len() < self.size {
            ready!(self.pieces.poll_ready(cx))?;
            if !self.pieces.next(chunk)? {
                self.done = true;
                break;
            }
        }
        self.size = LARGEST_CHUNK;
        Poll::Ready(Ok(self.chunk.take().unwrap_or_default().into()))
    }
}

impl<P: Pieces> http_body::Body for First<P> {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        if self.stream.done {
            return Poll::Ready(None);
        }
        // A socket takes many chunks before it is full, and a processor may have one thread.
        if !std::mem::replace(&mut self.has_yielded, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let chunk = ready!(self.stream.poll_chunk(cx));
        self.has_yielded = false;
        self.stream.done |= chunk.is_err();
        Poll::Ready(Some(chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.stream.done
    }
}

// === impl Error ===

impl From<Broken> for Error {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Reading(error) => error,
            Broken::Encoding(error) => Self::new(Reason::Internal, error.to_string()),
        }
    }
}

// === impl Tail ===

impl Tail {
    /// Ends the list and the object around it.
    fn write(&self, chunk: &mut Chunk) -> serde_json::Result<()> {
        let rest = serde_json::to_vec(self)?;
        // `{"…` becomes `],"…`.
        chunk.extend(b"],");
        chunk.extend(rest.get(1..).unwrap_or_default());
        Ok(())
    }
}

// === impl Services ===

impl Services {
    pub(super) fn new(
        entries: PageEntries,
        etags: Option<Arc<[Etag]>>,
        part_timeout: Duration,
    ) -> Self {
        Self {
            entries,
            etags,
            at: At::Service(0),
            follows: false,
            part_timeout,
        }
    }

    fn start(&mut self, chunk: &mut Chunk, index: usize) -> serde_json::Result<bool> {
        let page = self.entries.page();
        let include = page.include;
        if index == 0 {
            chunk.extend(b"{\"services\":[");
        }
        if index == page.len() {
            let tail = Tail {
                next_page_token: page.next_page_token(),
                estimation: page.estimation,
                revision: page.revision.to_string(),
            };
            tail.write(chunk)?;
            return Ok(false);
        }
        self.at = At::Service(index + 1);
        let Some((service, servers)) = self.entries.get(index) else {
            // It was deleted since the page was made.
            return Ok(true);
        };
        if std::mem::replace(&mut self.follows, true) {
            chunk.extend(b",");
        }
        let mut view = ServiceView::bare(service, include);
        let known = self.etags.as_ref().and_then(|etags| etags.get(index));
        view.etag = match known {
            Some(etag) => *etag,
            None if include.servers => service.etag_with(servers),
            None => view.etag,
        };
        if !include.servers {
            serde_json::to_writer(&mut *chunk, &view)?;
            return Ok(true);
        }
        // The servers follow one by one: a service can have very many.
        view.server_count = Some(servers.len());
        serde_json::to_writer(&mut *chunk, &view)?;
        chunk.pop();
        chunk.extend(b",\"servers\":[");
        self.at = At::Server(index, 0);
        Ok(true)
    }
}

impl Pieces for Services {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self.at {
            At::Service(index) => self.entries.poll_load(index, cx),
            At::Server(..) => Poll::Ready(Ok(())),
        }
    }

    fn begin(&mut self) {
        self.entries.limit_each_part(self.part_timeout);
    }

    fn next(&mut self, chunk: &mut Chunk) -> serde_json::Result<bool> {
        let (service, index) = match self.at {
            At::Service(index) => return self.start(chunk, index),
            At::Server(service, index) => (service, index),
        };
        let servers = self.entries.get(service).map(|(_, servers)| servers);
        match servers.and_then(|servers| servers.get(index)) {
            Some(server) => {
                if index > 0 {
                    chunk.extend(b",");
                }
                encode::server(chunk, server, self.entries.page().include)?;
                self.at = At::Server(service, index + 1);
            }
            None => {
                chunk.extend(b"]}");
                self.at = At::Service(service + 1);
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
                revision: self.page.revision.to_string(),
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
        let numbers = Numbers {
            at: 0,
            len: 200_000,
        };
        let mut body = body(numbers).await.unwrap();
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
        let body = body(Numbers { at: 0, len: 3 }).await.unwrap();
        assert_eq!(http_body::Body::size_hint(&body).exact(), Some(7));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "[0,1,2]");
    }

    #[tokio::test]
    async fn a_body_is_encoded_before_it_is_sent_if_there_is_memory() {
        let numbers = || Numbers {
            at: 0,
            len: 200_000,
        };
        let budget = Budget::new(8 << 20);
        let body = whole(numbers(), &budget).await.unwrap();
        assert_eq!(budget.used(), 0);
        let length = http_body::Body::size_hint(&body).exact().unwrap();
        let text = body.collect().await.unwrap().to_bytes();
        assert_eq!(text.len() as u64, length);
        let numbers_read: Vec<usize> = serde_json::from_slice(&text).unwrap();
        assert!(numbers_read.into_iter().eq(0..200_000));
        let error = whole(numbers(), &Budget::new(1 << 20)).await.unwrap_err();
        assert_eq!(error.reason, Reason::TooLarge);
    }

    #[test]
    fn a_list_ends_with_the_properties_of_the_page() {
        let end = |next_page_token: Option<&str>, estimation| {
            let tail = Tail {
                next_page_token: next_page_token.map(str::to_owned),
                estimation,
                revision: "r".to_owned(),
            };
            let mut chunk = Chunk::default();
            chunk.extend(b"{\"x\":[");
            tail.write(&mut chunk).unwrap();
            String::from_utf8(Bytes::from(chunk).to_vec()).unwrap()
        };
        assert_eq!(end(None, None), r#"{"x":[],"revision":"r"}"#);
        assert_eq!(
            end(Some("t"), Some(true)),
            r#"{"x":[],"next_page_token":"t","estimation":true,"revision":"r"}"#
        );
    }
}
