//! The life signs of one connection, and when to give it up.
//!
//! hyper has a timer for HTTP/1 heads alone: it also cuts idle keep-alive connections, does not
//! run before the protocol is known, and has no counterpart for HTTP/2 nor for clients that do not
//! read. So the connection's socket, requests and answers report here instead, and the task of the
//! connection asks here when to look again.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::{fmt, io};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::config::Limits;

/// The first bytes of HTTP/2 with prior knowledge; no HTTP/1 method begins like this.
const HTTP2_BEGINS: [u8; 3] = *b"PRI";

/// What to do with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing before this moment; then ask again.
    Wait(Instant),
    /// Close it politely: it has been without a request for too long.
    Idle,
    /// Drop it.
    Cut(Fault),
}

/// What a client did to be cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It did not finish the head of a request in time.
    SlowHead,
    /// It took nothing of what waits for it.
    NotReading,
}

/// The life signs of one connection; clones share them.
#[derive(Clone)]
pub(super) struct Pulse(Arc<Mutex<Signs>>);

struct Signs {
    /// Requests whose answer is not yet given to the connection in full.
    requests: usize,
    /// When `requests` became 0 last.
    idle_since: Instant,
    /// When the head of an HTTP/1 request began to arrive.
    head_since: Option<Instant>,
    /// The first bytes of the connection, until the protocol is known.
    beginning: Vec<u8>,
    http2: bool,
    /// When the socket refused to take more, if it has not taken anything since.
    blocked_since: Option<Instant>,
    /// Answers of which the connection took a part and did not ask for the next, since when. On
    /// HTTP/2 this is how a client shows that leaves its window closed: the socket never blocks.
    stalled: BTreeMap<u64, Instant>,
    next_ticket: u64,
}

impl Pulse {
    /// Of a connection accepted now.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self(Arc::new(Mutex::new(Signs {
            requests: 0,
            idle_since: now,
            // A client that says nothing is as slow as one that says little.
            head_since: Some(now),
            beginning: Vec::with_capacity(HTTP2_BEGINS.len()),
            http2: false,
            blocked_since: None,
            stalled: BTreeMap::new(),
            next_ticket: 0,
        })))
    }

    /// A request's head has been read; the ticket lasts until its answer is given.
    pub(super) fn request(&self) -> Ticket {
        let mut signs = self.signs();
        signs.requests += 1;
        signs.head_since = None;
        signs.next_ticket += 1;
        Ticket {
            pulse: self.clone(),
            number: signs.next_ticket,
        }
    }

    /// What to do with the connection now.
    pub(super) fn verdict(&self, limits: &Limits) -> Verdict {
        let now = Instant::now();
        let signs = self.signs();
        let unread = signs.stalled.values().chain(&signs.blocked_since).min();
        let unread = unread.map(|since| *since + limits.write_timeout);
        let head = signs.head_since.filter(|_| signs.requests == 0);
        let head = head.map(|since| since + limits.header_read_timeout);
        let idle = (signs.requests == 0).then(|| signs.idle_since + limits.idle_timeout);
        let over = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if over(unread) {
            Verdict::Cut(Fault::NotReading)
        } else if over(head) {
            Verdict::Cut(Fault::SlowHead)
        } else if over(idle) && head.is_none() {
            Verdict::Idle
        } else {
            // Whatever begins after now cannot be over before the shortest of the limits is.
            let shortest = limits
                .write_timeout
                .min(limits.header_read_timeout)
                .min(limits.idle_timeout);
            let known = unread.into_iter().chain(head.or(idle)).min();
            Verdict::Wait(known.unwrap_or(now + shortest).min(now + shortest))
        }
    }

    fn signs(&self) -> MutexGuard<'_, Signs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bytes_arrived(&self, bytes: &[u8]) {
        let mut signs = self.signs();
        let missing = HTTP2_BEGINS.len().saturating_sub(signs.beginning.len());
        if missing > 0 {
            signs.beginning.extend(bytes.iter().take(missing));
            signs.http2 = signs.beginning == HTTP2_BEGINS;
            if signs.http2 {
                // An HTTP/2 client may connect ahead of its first request.
                signs.head_since = None;
            }
        }
        // On HTTP/2, what arrives between requests are pings and settings.
        if signs.requests == 0 && !signs.http2 && signs.head_since.is_none() {
            signs.head_since = Some(Instant::now());
        }
    }

    fn write_tried<T>(&self, outcome: &Poll<T>) {
        let mut signs = self.signs();
        match outcome {
            Poll::Ready(_) => signs.blocked_since = None,
            Poll::Pending => drop(signs.blocked_since.get_or_insert_with(Instant::now)),
        }
    }
}

/// One request of a connection, from the end of its head to the end of its answer.
pub(super) struct Ticket {
    pulse: Pulse,
    number: u64,
}

impl Ticket {
    /// Takes note of whether the client is to move next. On HTTP/1 the socket tells.
    fn stalled(&self, stalled: bool) {
        let mut signs = self.pulse.signs();
        if stalled && signs.http2 {
            signs.stalled.insert(self.number, Instant::now());
        } else {
            signs.stalled.remove(&self.number);
        }
    }

    fn is_http2(&self) -> bool {
        self.pulse.signs().http2
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut signs = self.pulse.signs();
        signs.stalled.remove(&self.number);
        signs.requests -= 1;
        if signs.requests == 0 {
            signs.idle_since = Instant::now();
        }
    }
}

/// The body of an answer, reporting whether the client takes it.
///
/// To HTTP/2 it is handed over in pieces of at most [`PIECE`]: hyper buffers a piece however long it
/// is, and the rest of a long one would be out of sight here, whether taken or not.
pub(super) struct PacedBody {
    body: axum::body::Body,
    rest: Bytes,
    ticket: Ticket,
}

/// In bytes: some TLS records or HTTP/2 frames, and little enough for each stream to buffer.
const PIECE: usize = 64 * 1024;

impl PacedBody {
    pub(super) fn new(body: axum::body::Body, ticket: Ticket) -> Self {
        Self {
            body,
            rest: Bytes::new(),
            ticket,
        }
    }
}

impl HttpBody for PacedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut outcome = Poll::Pending;
        if self.rest.is_empty() {
            outcome = Pin::new(&mut self.body).poll_frame(cx);
            if let Poll::Ready(Some(Ok(frame))) = &outcome
                && let Some(data) = frame.data_ref().filter(|data| data.len() > PIECE)
                && self.ticket.is_http2()
            {
                self.rest = data.clone();
            }
        }
        if !self.rest.is_empty() {
            let length = self.rest.len().min(PIECE);
            outcome = Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))));
        }
        // Given a part, the client is to move next; given none, we are; given the last, it is over.
        let given = matches!(outcome, Poll::Ready(Some(Ok(_))));
        self.ticket.stalled(given && !self.is_end_stream());
        outcome
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let mut hint = self.body.size_hint();
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

/// The socket, reporting what arrives and whether it takes what is written.
pub(super) struct PacedIo<S> {
    socket: S,
    pulse: Pulse,
}

impl<S> PacedIo<S> {
    pub(super) fn new(socket: S, pulse: Pulse) -> Self {
        Self { socket, pulse }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PacedIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
        if let Some(bytes) = buf.filled().get(before..).filter(|bytes| !bytes.is_empty()) {
            self.pulse.bytes_arrived(bytes);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PacedIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.pulse.write_tried(&outcome);
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.pulse.write_tried(&outcome);
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::SlowHead => "the head of a request took longer than header_read_timeout",
            Fault::NotReading => "nothing was read for write_timeout",
        })
    }
}
