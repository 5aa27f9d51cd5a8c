//! Request bodies: read as a whole into one charged buffer, with limits on size and time; and the
//! bodies of gRPC streams that a handler reads while it answers.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::{Instant, Sleep, sleep, timeout_at};

use super::activity::SCARCE_TIMEOUT;
use crate::{
    budget::{Budget, Charged},
    model::{Error, Reason},
};

/// Why a body ended early.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum BodyError {
    #[error("the request body is too large")]
    TooLarge,
    #[error("the request body was not received in time")]
    Timeout,
    /// The client broke it off, or it is malformed.
    #[error("the request body is incomplete: {0}")]
    Incomplete(String),
    /// It does not fit into the memory that requests may use.
    #[error(transparent)]
    Memory(Error),
}

/// The error of a [`LimitedBody`], shared with the middleware that sends the response.
#[derive(Clone, Default)]
pub(super) struct BodyStatus(Arc<AtomicU8>);

/// A body of limited size and time that a handler reads. The timeout starts when the body is first
/// waited for.
pub(super) struct LimitedBody {
    body: Body,
    bytes_left: usize,
    timeout: Duration,
    /// Created when the body is first pending: most bodies arrive with the request head.
    timer: Option<Pin<Box<Sleep>>>,
    status: BodyStatus,
}

/// The time limit of a body that is read as a whole. It counts from when the body is first waited
/// for: most bodies arrive with the request head, and need no timer.
pub(super) struct Wait {
    limit: Duration,
    deadline: Option<Instant>,
}

/// A complete body that is passed on in pieces: a decoder that collects a message copies no more
/// than that ahead.
pub(super) struct PieceByPiece(Bytes);

/// Capacity with which a buffer begins. It doubles whenever the body exceeds it: what a client
/// announces costs nothing until it arrives.
const FIRST_CAPACITY: usize = 4 << 10;

/// Length of a piece of [`PieceByPiece`].
const PIECE: usize = 64 << 10;

/// Reads a body of at most `max_bytes`. Its memory is charged until the last clone of the bytes is
/// dropped.
pub(super) async fn read(
    mut body: Body,
    max_bytes: usize,
    wait: &mut Wait,
    budget: &Budget,
) -> Result<Bytes, BodyError> {
    let expected = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    // Frames are copied into one buffer: each keeps a whole buffer of the connection, however short
    // it is itself.
    let mut buffer: Vec<u8> = Vec::new();
    let mut charge = budget.empty();
    while let Some(frame) = wait.next_frame(&mut body, budget).await? {
        let frame = frame.map_err(|error| BodyError::Incomplete(error.to_string()))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let length = buffer.len() + data.len();
        if length > max_bytes {
            return Err(BodyError::TooLarge);
        }
        if length > buffer.capacity() {
            let doubled = (2 * buffer.capacity()).max(FIRST_CAPACITY);
            let most = expected.max(length).min(max_bytes);
            let capacity = doubled.max(length).min(most);
            // Both buffers exist while the bytes are copied.
            charge.grow(capacity).map_err(BodyError::Memory)?;
            buffer.reserve_exact(capacity - buffer.len());
            charge.shrink_to(capacity);
        }
        buffer.extend_from_slice(&data);
    }
    if buffer.is_empty() {
        return Ok(Bytes::new());
    }
    Ok(Bytes::from_owner(Charged::new(buffer, charge)))
}

impl Wait {
    /// A wait for a whole body.
    pub(super) fn up_to(limit: Duration) -> Self {
        Self {
            limit,
            deadline: None,
        }
    }

    /// Whether the body was not there yet.
    pub(super) fn has_begun(&self) -> bool {
        self.deadline.is_some()
    }

    /// The next frame. When memory is scarce, a client that sends nothing must not keep what it has
    /// sent.
    async fn next_frame(
        &mut self,
        body: &mut Body,
        budget: &Budget,
    ) -> Result<Option<Result<Frame<Bytes>, axum::Error>>, BodyError> {
        if let Some(frame) = arrived(body).await {
            return Ok(frame);
        }
        loop {
            let now = Instant::now();
            let deadline = *self.deadline.get_or_insert(now + self.limit);
            let check = deadline.min(now + SCARCE_TIMEOUT);
            match timeout_at(check, body.frame()).await {
                Ok(frame) => return Ok(frame),
                Err(_) if check == deadline => return Err(BodyError::Timeout),
                Err(_) if budget.is_scarce() => {
                    let detail =
                        format!("memory is scarce, and no data came for {SCARCE_TIMEOUT:?}");
                    let error = Error::new(Reason::RateLimited, detail);
                    return Err(BodyError::Memory(error.with_hint(
                        "retry later, or raise limits.max_memory_bytes of the daemon",
                    )));
                }
                Err(_) => {}
            }
        }
    }
}

/// The next frame, if it has arrived. hyper passes the data of an HTTP/1 request on after it has been
/// asked for, so that a body that came with the head is there at the second attempt.
async fn arrived(body: &mut Body) -> Option<Option<Result<Frame<Bytes>, axum::Error>>> {
    let mut attempts = 0;
    poll_fn(|context| match Pin::new(&mut *body).poll_frame(context) {
        Poll::Ready(frame) => Poll::Ready(Some(frame)),
        Poll::Pending if attempts == 0 => {
            attempts += 1;
            context.waker().wake_by_ref();
            Poll::Pending
        }
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

impl BodyStatus {
    pub(super) fn error(&self) -> Option<BodyError> {
        match self.0.load(Ordering::Acquire) {
            1 => Some(BodyError::TooLarge),
            2 => Some(BodyError::Timeout),
            _ => None,
        }
    }

    fn too_large(&self) -> axum::Error {
        self.0.store(1, Ordering::Release);
        axum::Error::new(BodyError::TooLarge)
    }

    fn timeout(&self) -> axum::Error {
        self.0.store(2, Ordering::Release);
        axum::Error::new(BodyError::Timeout)
    }
}

impl LimitedBody {
    pub(super) fn new(body: Body, max_bytes: usize, timeout: Duration, status: BodyStatus) -> Self {
        Self {
            body,
            bytes_left: max_bytes,
            timeout,
            timer: None,
            status,
        }
    }
}

impl HttpBody for LimitedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                match self.bytes_left.checked_sub(length) {
                    Some(left) => {
                        self.bytes_left = left;
                        Poll::Ready(Some(Ok(frame)))
                    }
                    None => Poll::Ready(Some(Err(self.status.too_large()))),
                }
            }
            Poll::Pending => {
                let timeout = self.timeout;
                let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(timeout)));
                match timer.as_mut().poll(cx) {
                    Poll::Ready(()) => Poll::Ready(Some(Err(self.status.timeout()))),
                    Poll::Pending => Poll::Pending,
                }
            }
            end @ Poll::Ready(_) => end,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl PieceByPiece {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl HttpBody for PieceByPiece {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.0.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.0.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.0.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::panic,
        reason = "a test that panics fails"
    )]

    use std::convert::Infallible;

    use futures_util::stream;

    use super::*;

    const MIB: usize = 1 << 20;

    /// A body of `count` frames of one byte.
    fn single_bytes(count: usize) -> Body {
        let frames = (0..count).map(|_| Ok::<_, Infallible>(Bytes::from_static(b"x")));
        Body::from_stream(stream::iter(frames))
    }

    #[tokio::test]
    async fn a_body_in_frames_of_one_byte_occupies_one_buffer() {
        let budget = Budget::new(16 * MIB);
        let mut wait = Wait::up_to(Duration::from_secs(60));
        let body = read(single_bytes(100_000), MIB, &mut wait, &budget)
            .await
            .unwrap();
        assert_eq!(body.len(), 100_000);
        assert!(budget.used() < 2 * 100_000, "{budget:?}");
        let clone = body.clone();
        drop(body);
        assert!(budget.used() > 0);
        drop(clone);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn a_body_that_exceeds_a_limit_is_not_kept() {
        let budget = Budget::new(16 * MIB);
        let share = budget.share(256 << 10);
        let mut wait = Wait::up_to(Duration::from_secs(60));
        let error = read(single_bytes(1001), 1000, &mut wait, &share).await;
        assert_eq!(error.unwrap_err(), BodyError::TooLarge);
        let error = read(single_bytes(MIB), 2 * MIB, &mut wait, &share).await;
        let Err(BodyError::Memory(error)) = error else {
            panic!("{error:?}");
        };
        assert_eq!(error.reason, Reason::TooLarge);
        assert_eq!(budget.used(), 0);
    }
}
