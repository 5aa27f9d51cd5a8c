//! Bodies whose bytes are counted as they pass.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::body::Body;
use bytes::Bytes;
use governor::clock::Clock;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::account::Account;

/// A body of an account.
pub(super) struct Metered<C: Clock> {
    body: Body,
    account: Arc<Account<C>>,
}

impl<C: Clock> Metered<C> {
    pub(super) fn new(body: Body, account: Arc<Account<C>>) -> Self {
        Self { body, account }
    }
}

impl<C: Clock> HttpBody for Metered<C> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(data) = frame
            .as_ref()
            .and_then(|frame| frame.as_ref().ok()?.data_ref())
        {
            self.account.take_bytes(data.len());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
