//! A request body with limits on its size and on the time it takes to arrive.

use std::{
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
use thiserror::Error;
use tokio::time::{Sleep, sleep};

/// Why a body ended early. The handler sees a broken body; the middleware replaces its response.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(super) enum BodyLimitError {
    #[error("the request body is too large")]
    TooLarge,
    #[error("the request body was not received in time")]
    Timeout,
}

/// The error of a [`LimitedBody`], shared with the middleware that sends the response.
#[derive(Clone, Default)]
pub(super) struct BodyStatus(Arc<AtomicU8>);

/// A body of limited size. The timeout starts when the body is first waited for.
pub(super) struct LimitedBody {
    body: Body,
    bytes_left: usize,
    timeout: Duration,
    /// Created when the body is first pending: most bodies arrive with the request head.
    timer: Option<Pin<Box<Sleep>>>,
    status: BodyStatus,
}

impl BodyStatus {
    pub(super) fn error(&self) -> Option<BodyLimitError> {
        match self.0.load(Ordering::Acquire) {
            1 => Some(BodyLimitError::TooLarge),
            2 => Some(BodyLimitError::Timeout),
            _ => None,
        }
    }

    fn set(&self, error: BodyLimitError) -> axum::Error {
        let code = match error {
            BodyLimitError::TooLarge => 1,
            BodyLimitError::Timeout => 2,
        };
        self.0.store(code, Ordering::Release);
        axum::Error::new(error)
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
                    None => Poll::Ready(Some(Err(self.status.set(BodyLimitError::TooLarge)))),
                }
            }
            Poll::Pending => {
                let timeout = self.timeout;
                let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(timeout)));
                match timer.as_mut().poll(cx) {
                    Poll::Ready(()) => {
                        Poll::Ready(Some(Err(self.status.set(BodyLimitError::Timeout))))
                    }
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
