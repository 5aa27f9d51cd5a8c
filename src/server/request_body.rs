//! The body of a request, cut when it is too long or too slow.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use thiserror::Error;
use tokio::time::{Sleep, sleep};

/// Why a body ended early. What a handler makes of it does not matter: its answer is replaced.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(super) enum Overrun {
    #[error("the request's body is too long")]
    TooLong,
    #[error("the request's body came too slowly")]
    TooSlow,
}

/// Whether the body of a request was cut, for the one who sends the answer.
#[derive(Clone, Default)]
pub(super) struct OverrunFlag(Arc<AtomicU8>);

impl OverrunFlag {
    pub(super) fn get(&self) -> Option<Overrun> {
        match self.0.load(Ordering::Acquire) {
            1 => Some(Overrun::TooLong),
            2 => Some(Overrun::TooSlow),
            _ => None,
        }
    }

    fn set(&self, overrun: Overrun) -> axum::Error {
        let code = match overrun {
            Overrun::TooLong => 1,
            Overrun::TooSlow => 2,
        };
        self.0.store(code, Ordering::Release);
        axum::Error::new(overrun)
    }
}

/// A body of at most so many bytes, which ends so long after it was first waited for at the latest.
pub(super) struct LimitedBody {
    body: Body,
    bytes_left: usize,
    timeout: Duration,
    /// Only bodies that make somebody wait get a timer.
    timer: Option<Pin<Box<Sleep>>>,
    overrun: OverrunFlag,
}

impl LimitedBody {
    pub(super) fn new(body: Body, max_bytes: usize, timeout: Duration, flag: OverrunFlag) -> Self {
        Self {
            body,
            bytes_left: max_bytes,
            timeout,
            timer: None,
            overrun: flag,
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
                    None => Poll::Ready(Some(Err(self.overrun.set(Overrun::TooLong)))),
                }
            }
            Poll::Pending => {
                let timeout = self.timeout;
                let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(timeout)));
                match timer.as_mut().poll(cx) {
                    Poll::Ready(()) => Poll::Ready(Some(Err(self.overrun.set(Overrun::TooSlow)))),
                    Poll::Pending => Poll::Pending,
                }
            }
            ended => ended,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
