//! Writes of an HTTP/2 connection, collected while the connection is polled.
//!
//! h2 writes each DATA frame by a system call of its own, and clients accept frames of 16 KiB unless they
//! are configured otherwise.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::{ConnectionActivity, MonitoredIo};
use crate::budget::{Budget, Charge};

/// A socket that collects long writes for HTTP/2, and what follows them, until its
/// [poll](Self::poll) ends. Clones share one socket.
pub(super) struct BatchedIo<S>(Arc<Mutex<State<S>>>);

struct State<S> {
    socket: MonitoredIo<S>,
    activity: ConnectionActivity,
    budget: Budget,
    /// What is collected in this poll, or could not be written at the end of the last one.
    batch: Option<Batch>,
}

struct Batch {
    bytes: Vec<u8>,
    /// The leading bytes that have been written.
    written: usize,
    _charge: Charge,
}

/// Bytes that are collected at most: about as many as an HTTP/2 stream buffers. They are charged, and freed
/// at the end of the poll unless the client does not read.
const MAX_BATCH: usize = 192 << 10;
/// A write of this length begins a batch. h2 itself collects shorter frames.
const BATCHED_FROM: usize = 8 << 10;

// === impl BatchedIo ===

impl<S> Clone for BatchedIo<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> BatchedIo<S> {
    /// A batch is charged to the budget. If that is used up, nothing is collected.
    pub(super) fn new(socket: S, activity: ConnectionActivity, budget: Budget) -> Self {
        Self(Arc::new(Mutex::new(State {
            socket: MonitoredIo::new(socket, activity.clone()),
            activity,
            budget,
            batch: None,
        })))
    }

    /// Polls the connection that uses this socket, then writes what has been collected.
    pub(super) fn poll<T, E: From<io::Error>>(
        &self,
        connection: Pin<&mut impl Future<Output = Result<T, E>>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, E>> {
        let outcome = connection.poll(cx);
        let mut state = self.state();
        match (state.poll_batch(cx), outcome) {
            (Poll::Ready(Err(error)), Poll::Pending) => Poll::Ready(Err(error.into())),
            (_, outcome) => outcome,
        }
    }

    /// Only one task uses it, and only within the poll of its connection.
    fn state(&self) -> MutexGuard<'_, State<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for BatchedIo<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.state().socket).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for BatchedIo<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.state().poll_write(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.state().socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        match state.batch {
            // The poll of the connection has not ended.
            Some(_) => Poll::Ready(Ok(())),
            None => Pin::new(&mut state.socket).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        ready!(state.poll_batch(cx))?;
        Pin::new(&mut state.socket).poll_shutdown(cx)
    }
}

// === impl State ===

impl<S: AsyncRead + AsyncWrite + Unpin> State<S> {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.batch.as_ref().is_some_and(Batch::is_full) {
            ready!(self.poll_batch(cx))?;
        }
        let length: usize = bufs.iter().map(|buf| buf.len()).sum();
        if self.batch.is_none() && length >= BATCHED_FROM && self.activity.is_http2() {
            self.batch = self.budget.charge(MAX_BATCH).ok().map(Batch::new);
        }
        match &mut self.batch {
            Some(batch) => Poll::Ready(Ok(batch.collect(bufs))),
            None => Pin::new(&mut self.socket).poll_write_vectored(cx, bufs),
        }
    }

    /// Writes and frees the batch. What TLS holds of it is written too: to those who collected it,
    /// it counts as flushed.
    fn poll_batch(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(batch) = &mut self.batch else {
            return Poll::Ready(Ok(()));
        };
        while let Some(rest) = batch.bytes.get(batch.written..).filter(|b| !b.is_empty()) {
            match ready!(Pin::new(&mut self.socket).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => batch.written += written,
            }
        }
        ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
        self.batch = None;
        Poll::Ready(Ok(()))
    }
}

// === impl Batch ===

impl Batch {
    fn new(charge: Charge) -> Self {
        Self {
            bytes: Vec::with_capacity(MAX_BATCH),
            written: 0,
            _charge: charge,
        }
    }

    fn is_full(&self) -> bool {
        self.bytes.len() == MAX_BATCH
    }

    /// Collects as much as there is space for. Returns the number of bytes.
    fn collect(&mut self, bufs: &[IoSlice<'_>]) -> usize {
        let before = self.bytes.len();
        for buf in bufs {
            let space = MAX_BATCH - self.bytes.len();
            self.bytes.extend_from_slice(&buf[..buf.len().min(space)]);
        }
        self.bytes.len() - before
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use std::{future::poll_fn, task::Waker, time::Duration};

    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::server::{
        activity::{AbortReason, TimeoutAction},
        config::Limits,
    };

    /// A socket that takes `space` bytes, and sends the HTTP/2 preface or a part of HTTP/1.
    struct Peer {
        preface: &'static [u8],
        space: usize,
        /// The bytes of each write.
        writes: Vec<Vec<u8>>,
        /// Whether it holds what it has taken, as TLS does while its own socket is full.
        holds: bool,
        is_shut_down: bool,
    }

    type Io = BatchedIo<Peer>;

    impl AsyncRead for Peer {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            buf.put_slice(std::mem::take(&mut self.preface));
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Peer {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            let length = buf.len().min(self.space);
            if length == 0 {
                return Poll::Pending;
            }
            self.space -= length;
            self.writes.push(buf[..length].to_vec());
            Poll::Ready(Ok(length))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            match self.holds {
                true => Poll::Pending,
                false => Poll::Ready(Ok(())),
            }
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.is_shut_down = true;
            Poll::Ready(Ok(()))
        }
    }

    async fn io(preface: &'static [u8], space: usize, budget: &Budget) -> Io {
        let peer = Peer {
            preface,
            space,
            writes: Vec::new(),
            holds: false,
            is_shut_down: false,
        };
        let mut io = BatchedIo::new(peer, ConnectionActivity::new(), budget.clone());
        io.read_buf(&mut Vec::with_capacity(16)).await.unwrap();
        io
    }

    /// The lengths of the writes that reached the socket.
    fn lengths(io: &Io) -> Vec<usize> {
        let state = io.state();
        let writes = &state.socket.socket.writes;
        writes.iter().map(Vec::len).collect()
    }

    /// Polls a connection that writes frames of these lengths, as h2 does, and then waits. Returns what
    /// was accepted.
    fn poll_writing(io: &Io, frames: &[usize], next: &mut u8) -> Vec<u8> {
        let mut accepted = Vec::new();
        let mut connection = Box::pin(poll_fn(|cx| {
            let mut io = io.clone();
            for length in frames {
                let frame: Vec<u8> = (0..*length).map(|i| next.wrapping_add(i as u8)).collect();
                let mut rest = frame.as_slice();
                while !rest.is_empty() {
                    match Pin::new(&mut io).poll_write(cx, rest) {
                        Poll::Ready(written) => {
                            let written = written?;
                            accepted.extend_from_slice(&rest[..written]);
                            rest = &rest[written..];
                        }
                        Poll::Pending => return Poll::Pending,
                    }
                }
                *next = next.wrapping_add(1);
                let _ = Pin::new(&mut io).poll_flush(cx)?;
            }
            Poll::<io::Result<()>>::Pending
        }));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(io.poll(connection.as_mut(), &mut cx).is_pending());
        drop(connection);
        accepted
    }

    #[tokio::test]
    async fn the_frames_of_a_poll_are_one_write_on_http2() {
        let budget = Budget::new(64 << 20);
        let io = io(b"PRI", usize::MAX, &budget).await;
        let accepted = poll_writing(&io, &[9, 9 + 16_384, 9 + 16_384, 20], &mut 0);
        assert_eq!(lengths(&io), [9, 2 * 16_393 + 20]);
        assert_eq!(io.state().socket.socket.writes.concat(), accepted);
        assert_eq!(budget.used(), 0, "nothing is kept");
        poll_writing(&io, &[100, 200], &mut 0);
        assert_eq!(
            lengths(&io)[2..],
            [100, 200],
            "short writes are not collected"
        );
    }

    #[tokio::test]
    async fn what_the_socket_holds_of_a_batch_is_flushed() {
        let budget = Budget::new(64 << 20);
        let io = io(b"PRI", usize::MAX, &budget).await;
        io.state().socket.socket.holds = true;
        let limits = Limits {
            write_timeout: Duration::ZERO,
            ..Limits::default()
        };
        let is_blocked = || {
            let action = io.state().activity.check(&limits, false);
            action == TimeoutAction::Abort(AbortReason::WriteTimeout)
        };
        poll_writing(&io, &[16_384, 16_384], &mut 0);
        assert_eq!(budget.used(), MAX_BATCH, "the batch is kept");
        assert!(is_blocked(), "the client does not read");
        io.state().socket.socket.holds = false;
        // A poll of the connection that has nothing to write.
        poll_writing(&io, &[], &mut 0);
        assert_eq!(budget.used(), 0, "flushed");
        assert!(!is_blocked());
        assert_eq!(lengths(&io), [2 * 16_384]);
    }

    #[tokio::test]
    async fn nothing_is_collected_on_http1_or_without_memory() {
        for (preface, limit) in [(b"GET", 64 << 20), (b"PRI", 1024)] {
            let io = io(preface, usize::MAX, &Budget::new(limit)).await;
            poll_writing(&io, &[16_384, 16_384], &mut 0);
            assert_eq!(lengths(&io), [16_384, 16_384]);
        }
    }

    #[tokio::test]
    async fn a_batch_is_bounded_and_written_before_the_shutdown() {
        let budget = Budget::new(64 << 20);
        let mut io = io(b"PRI", 100_000, &budget).await;
        let (mut next, mut accepted) = (0, Vec::new());
        for _ in 0..3 {
            accepted.extend(poll_writing(&io, &[16_393; 40], &mut next));
            assert_eq!(budget.used(), MAX_BATCH);
            assert!(accepted.len() <= 100_000 + MAX_BATCH);
        }
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut io).poll_shutdown(&mut cx).is_pending());
        assert!(!io.state().socket.socket.is_shut_down);
        io.state().socket.socket.space = usize::MAX;
        assert!(Pin::new(&mut io).poll_shutdown(&mut cx).is_ready());
        assert!(io.state().socket.socket.is_shut_down);
        assert_eq!(io.state().socket.socket.writes.concat(), accepted);
        assert_eq!(budget.used(), 0);
    }
}
