//! A list of connections that is encoded while the kernel's table is read.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderValue, header};

use crate::{
    app::ConnectionStream,
    model::{Connection, Error, Reason},
};

pub(super) const NDJSON: &str = "application/x-ndjson";

/// Size in bytes from which a chunk is sent.
const CHUNK: usize = 32 * 1024;

/// Format of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// One JSON object.
    Json,
    /// One connection per line.
    Ndjson,
}

/// A list in progress.
pub(super) struct Listing {
    connections: ConnectionStream,
    format: Format,
    chunk: Vec<u8>,
    /// Number of connections below the limit.
    left: u64,
    first: bool,
    /// Connections that have been read but not encoded.
    read: std::vec::IntoIter<Connection>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Reading,
    /// The last chunk is complete but not sent.
    Ended,
    /// Everything is sent.
    Over,
}

// === impl Listing ===

impl Listing {
    /// A list of at most `limit` connections.
    pub(super) fn new(connections: ConnectionStream, format: Format, limit: u64) -> Self {
        let mut chunk = Vec::with_capacity(CHUNK + CHUNK / 8);
        if format == Format::Json {
            chunk.extend_from_slice(b"{\"connections\":[");
        }
        Self {
            connections,
            format,
            chunk,
            left: limit,
            first: true,
            read: Vec::new().into_iter(),
            phase: Phase::Reading,
        }
    }

    /// The next chunk; `None` at the end.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        while self.phase == Phase::Reading && self.chunk.len() < CHUNK {
            match self.read.next() {
                Some(_) if self.left == 0 => self.end(true),
                Some(connection) => self.push(&connection)?,
                None => match self.connections.next().await.transpose()? {
                    Some(read) => self.read = read.into_iter(),
                    None => self.end(false),
                },
            }
        }
        if self.phase == Phase::Over {
            return Ok(None);
        }
        if self.phase == Phase::Ended {
            self.phase = Phase::Over;
        }
        if self.chunk.is_empty() {
            return Ok(None);
        }
        let next = Vec::with_capacity(self.chunk.capacity());
        Ok(Some(std::mem::replace(&mut self.chunk, next).into()))
    }

    fn push(&mut self, connection: &Connection) -> Result<(), Error> {
        if self.format == Format::Json && !self.first {
            self.chunk.push(b',');
        }
        self.first = false;
        self.left -= 1;
        serde_json::to_writer(&mut self.chunk, connection)
            .map_err(|error| Error::new(Reason::Internal, error.to_string()))?;
        if self.format == Format::Ndjson {
            self.chunk.push(b'\n');
        }
        Ok(())
    }

    fn end(&mut self, truncated: bool) {
        if self.format == Format::Json {
            let tail = format!("],\"truncated\":{truncated}}}");
            self.chunk.extend_from_slice(tail.as_bytes());
        }
        self.phase = Phase::Ended;
    }

    /// The response, which begins with the chunk `first`.
    pub(super) fn respond(self, first: Option<Bytes>) -> Response {
        let media_type = match self.format {
            Format::Json => "application/json",
            Format::Ndjson => NDJSON,
        };
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (header::VARY, HeaderValue::from_static("accept")),
        ];
        let body = if self.phase == Phase::Over {
            Body::from(first.unwrap_or_default())
        } else {
            Body::from_stream(self.stream(first))
        };
        (headers, body).into_response()
    }

    /// The chunks. An error aborts the transfer, so that the response does not look complete.
    fn stream(self, first: Option<Bytes>) -> impl Stream<Item = Result<Bytes, Error>> {
        let rest = stream::try_unfold(self, |mut listing| async move {
            let chunk = listing.chunk().await.inspect_err(|error| {
                tracing::warn!(%error, "list of connections aborted");
            })?;
            Ok(chunk.map(|chunk| (chunk, listing)))
        });
        stream::iter(first.map(Ok)).chain(rest)
    }
}
