//! Activity and timeouts of one connection.
//!
//! hyper has a timer for HTTP/1 request heads only. It also closes idle keep-alive connections,
//! does not run before the protocol is detected, and has no counterpart for HTTP/2 or for clients
//! that do not read. Therefore the socket, the requests and the response bodies of a connection
//! report to [`ConnectionActivity`], and the connection's task checks it for timeouts.

use std::{
    collections::BTreeMap,
    fmt,
    future::poll_fn,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
    time::{Duration, Instant},
};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{config::Limits, response_body};
use crate::clock;

/// The first bytes of the HTTP/2 client preface (RFC 9113, section 3.4); no HTTP/1 method starts
/// with them.
const HTTP2_PREFACE_START: [u8; 3] = *b"PRI";

/// The first bytes of a TLS handshake: record type and major version (RFC 8446, section 5.1).
const TLS_START: [u8; 2] = [22, 3];

/// Maximum size of a body frame passed to HTTP/2, in bytes: a few TLS records or HTTP/2 frames, and
/// small enough for each stream to buffer.
const MAX_FRAME: usize = 80 << 10;

/// Time in which a client must read or send when memory is scarce: several round trips of any network.
pub(super) const SCARCE_TIMEOUT: Duration = Duration::from_secs(2);

/// Time that a shutdown gives a client which has just connected, and is about to send its first request.
pub(super) const HEAD_GRACE: Duration = Duration::from_secs(1);

/// Result of a timeout check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeoutAction {
    /// No timeout expired; check again at this time.
    CheckAt(Instant),
    /// Close the connection gracefully: it was idle for too long.
    Close,
    /// Drop the connection.
    Abort(AbortReason),
}

/// Why a connection is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AbortReason {
    /// The client did not complete a request head in time.
    HeaderTimeout,
    /// The client did not read a pending response in time.
    WriteTimeout,
}

/// Activity of one connection. Clones share one state.
#[derive(Clone)]
pub(super) struct ConnectionActivity(Arc<Mutex<ActivityState>>);

struct ActivityState {
    /// Requests whose response is not yet passed to the connection completely.
    requests: usize,
    /// When `requests` last became 0. `None`: since the last poll of the connection.
    idle_since: Option<Instant>,
    /// When the head of an HTTP/1 request began to arrive.
    head_since: Option<Instant>,
    /// The first bytes of the connection, up to the length of [`HTTP2_PREFACE_START`].
    first_bytes: Vec<u8>,
    http2: bool,
    /// When the socket became unwritable, unless it accepted data since.
    blocked_since: Option<Instant>,
    /// Streams whose last frame was taken, but the next was not requested, and since when. This
    /// detects an HTTP/2 client that keeps its flow-control window closed: its socket stays
    /// writable. `None`: since the last poll of the connection.
    stalled: BTreeMap<u64, Option<Instant>>,
    /// Whether `idle_since` or some of `stalled` are not dated.
    has_undated: bool,
    /// Number of the last request.
    last_request: u64,
    /// The task that waits until a head was read.
    waits_for_head: Option<Waker>,
}

/// One request of a connection, from the end of its head to the end of its response.
pub(super) struct RequestGuard {
    activity: ConnectionActivity,
    number: u64,
    /// When the head was read.
    pub(super) received: Instant,
}

/// A response body that records whether the client reads it.
///
/// Frames for HTTP/2 are split to [`MAX_FRAME`] bytes: hyper buffers a frame of any size, and
/// whether the client reads the buffered rest is not visible here.
pub(super) struct MonitoredBody {
    body: Body,
    rest: Bytes,
    guard: RequestGuard,
    /// Released when the last of its bytes has been sent.
    charges: Arc<dyn Send + Sync>,
}

/// A socket that records reads and writes.
pub(super) struct MonitoredIo<S> {
    pub(super) socket: S,
    activity: ConnectionActivity,
}

impl ConnectionActivity {
    /// The activity of a connection accepted now.
    pub(super) fn new() -> Self {
        let now = clock::now();
        Self(Arc::new(Mutex::new(ActivityState {
            requests: 0,
            idle_since: Some(now),
            // The timeout of the first head also covers a client that sends nothing.
            head_since: Some(now),
            first_bytes: Vec::with_capacity(HTTP2_PREFACE_START.len()),
            http2: false,
            blocked_since: None,
            stalled: BTreeMap::new(),
            has_undated: false,
            last_request: 0,
            waits_for_head: None,
        })))
    }

    /// Polls the connection. What happens meanwhile happens at one time.
    pub(super) fn poll<T>(&self, connection: impl FnOnce() -> Poll<T>) -> Poll<T> {
        clock::within_poll(|| {
            self.state().date();
            connection()
        })
    }

    /// Whether the client has sent the HTTP/2 preface.
    pub(super) fn is_http2(&self) -> bool {
        self.state().http2
    }

    /// Whether the client began with a TLS handshake instead of a request.
    pub(super) fn speaks_tls(&self) -> bool {
        self.state().first_bytes.starts_with(&TLS_START)
    }

    /// Records that a request head was read. The guard must live as long as the response body.
    pub(super) fn begin_request(&self) -> RequestGuard {
        let mut state = self.state();
        state.requests += 1;
        state.head_since = None;
        state.last_request += 1;
        if let Some(waker) = state.waits_for_head.take() {
            waker.wake();
        }
        RequestGuard {
            activity: self.clone(),
            number: state.last_request,
            received: clock::now(),
        }
    }

    /// Until when a shutdown waits for the head of a request: [`HEAD_GRACE`] from the accept, or from its first byte.
    /// `None` if no head is expected.
    pub(super) fn head_expected_until(&self) -> Option<Instant> {
        let state = self.state();
        let since = state.head_since.filter(|_| state.requests == 0);
        since.map(|since| since + HEAD_GRACE)
    }

    /// Waits until no head of a request is expected.
    pub(super) async fn head_read(&self) {
        poll_fn(|cx| {
            let mut state = self.state();
            if state.head_since.is_none() {
                return Poll::Ready(());
            }
            state.waits_for_head = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Checks the timeouts. When memory is scarce, a client that does not read is disconnected
    /// after [`SCARCE_TIMEOUT`].
    pub(super) fn check(&self, limits: &Limits, is_scarce: bool) -> TimeoutAction {
        let now = clock::now();
        let mut state = self.state();
        state.date();
        let stalled = state.stalled.values().flatten();
        let unread = stalled.chain(&state.blocked_since).min();
        let hurried = limits.write_timeout.min(SCARCE_TIMEOUT);
        let write_timeout = match is_scarce {
            true => hurried,
            false => limits.write_timeout,
        };
        let unread = unread.map(|since| *since + write_timeout);
        let head = state.head_since.filter(|_| state.requests == 0);
        let head = head.map(|since| since + limits.header_read_timeout);
        let idle = state.idle_since.filter(|_| state.requests == 0);
        let idle = idle.map(|since| since + limits.idle_timeout);
        let expired = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if expired(unread) {
            TimeoutAction::Abort(AbortReason::WriteTimeout)
        } else if expired(head) {
            TimeoutAction::Abort(AbortReason::HeaderTimeout)
        } else if expired(idle) && head.is_none() {
            TimeoutAction::Close
        } else {
            // A timer that starts after this check cannot expire before the shortest limit.
            let shortest = limits
                .write_timeout
                .min(limits.header_read_timeout)
                .min(limits.idle_timeout);
            // Memory may become scarce meanwhile.
            let unread = unread.map(|at| at.min(now + hurried));
            let next = unread.into_iter().chain(head.or(idle)).min();
            TimeoutAction::CheckAt(next.unwrap_or(now + shortest).min(now + shortest))
        }
    }

    /// The lock is held for a few instructions that cannot panic, so it is never poisoned.
    fn state(&self) -> MutexGuard<'_, ActivityState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record_read(&self, bytes: &[u8]) {
        let mut state = self.state();
        let missing = HTTP2_PREFACE_START
            .len()
            .saturating_sub(state.first_bytes.len());
        if missing > 0 {
            state.first_bytes.extend(bytes.iter().take(missing));
            state.http2 = state.first_bytes == HTTP2_PREFACE_START;
            if state.http2 {
                // An HTTP/2 client may connect before it has a request.
                state.head_since = None;
            }
        }
        // On HTTP/2, pings and settings arrive between requests.
        if state.requests == 0 && !state.http2 && state.head_since.is_none() {
            state.head_since = Some(clock::now());
        }
    }

    fn record_write<T>(&self, outcome: &Poll<T>) {
        let mut state = self.state();
        match outcome {
            Poll::Ready(_) => state.blocked_since = None,
            Poll::Pending => {
                let now = clock::now();
                state.blocked_since.get_or_insert(now);
            }
        }
    }
}

impl ActivityState {
    /// Dates what is not dated yet.
    ///
    /// Streams end and stall between the polls of the connection. A clock reading for each frame of a
    /// long response would take as long as writing it on machines where it is a system call.
    fn date(&mut self) {
        if std::mem::take(&mut self.has_undated) {
            let now = clock::now();
            self.idle_since.get_or_insert(now);
            for since in self.stalled.values_mut() {
                since.get_or_insert(now);
            }
        }
    }
}

impl RequestGuard {
    /// Records whether the response waits for the client. HTTP/1 does not need it: its socket
    /// becomes unwritable.
    ///
    /// The next poll of the connection, which follows each frame that is passed to it, dates it, or the
    /// next [check](ConnectionActivity::check).
    fn set_stalled(&self, stalled: bool) {
        let mut state = self.activity.state();
        if stalled && state.http2 {
            let now = clock::known();
            state.stalled.insert(self.number, now);
            state.has_undated |= now.is_none();
        } else {
            state.stalled.remove(&self.number);
        }
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let mut state = self.activity.state();
        state.stalled.remove(&self.number);
        state.requests -= 1;
        if state.requests == 0 {
            state.idle_since = clock::known();
            state.has_undated |= state.idle_since.is_none();
        }
    }
}

impl MonitoredBody {
    pub(super) fn new(body: Body, guard: RequestGuard, charges: Arc<dyn Send + Sync>) -> Self {
        // HTTP/2 takes the first frame only when the client's window is open.
        guard.set_stalled(!body.is_end_stream());
        Self {
            body,
            rest: Bytes::new(),
            guard,
            charges,
        }
    }
}

impl HttpBody for MonitoredBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut outcome = Poll::Pending;
        if self.rest.is_empty() {
            outcome = Pin::new(&mut self.body).poll_frame(cx).map_ok(|frame| {
                frame.map_data(|data| response_body::hold(data, self.charges.clone()))
            });
            if let Poll::Ready(Some(Ok(frame))) = &outcome
                && let Some(data) = frame.data_ref().filter(|data| data.len() > MAX_FRAME)
                && self.guard.activity.is_http2()
            {
                self.rest = data.clone();
            }
        }
        if !self.rest.is_empty() {
            let length = self.rest.len().min(MAX_FRAME);
            outcome = Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))));
        }
        // After a frame that is not the last, the response waits for the client.
        let has_frame = matches!(outcome, Poll::Ready(Some(Ok(_))));
        self.guard.set_stalled(has_frame && !self.is_end_stream());
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

impl<S> MonitoredIo<S> {
    pub(super) fn new(socket: S, activity: ConnectionActivity) -> Self {
        Self { socket, activity }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for MonitoredIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
        if let Some(bytes) = buf.filled().get(before..).filter(|bytes| !bytes.is_empty()) {
            self.activity.record_read(bytes);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for MonitoredIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.activity.record_write(&outcome);
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.activity.record_write(&outcome);
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    // TLS accepts writes that the client does not read, and holds them until they are flushed.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.socket).poll_flush(cx);
        self.activity.record_write(&outcome);
        outcome
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.socket).poll_shutdown(cx);
        self.activity.record_write(&outcome);
        outcome
    }
}

impl fmt::Display for AbortReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AbortReason::HeaderTimeout => "header_read_timeout expired",
            AbortReason::WriteTimeout => "write_timeout expired: the client does not read",
        })
    }
}
