//! The memory of responses: what waits for a client that does not read is charged until it is sent.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::future::poll_fn;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::{budget::Charge, model::Error};

/// The charge of a response, as an extension of the response.
#[derive(Clone, Debug)]
pub(super) struct ResponseCharge(pub(super) Arc<Charge>);

/// A body whose first frames have been taken already.
struct Peeked {
    first: VecDeque<Result<Frame<Bytes>, axum::Error>>,
    body: Body,
}

/// Bytes and the charges that are released when they have been sent.
struct Held {
    bytes: Bytes,
    _charges: Arc<dyn Send + Sync>,
}

/// Charge for a body that is produced while it is sent: the chunk in transfer, and the one before,
/// of which the connection may still hold a part. Both have at most 256 KiB.
const STREAM_BYTES: usize = 512 << 10;

/// Charges a response: its length, or [`STREAM_BYTES`] if it is produced while it is sent.
pub(super) async fn charge(
    response: Response,
    charge: impl FnOnce(usize) -> Result<Charge, Error>,
) -> Result<Response, Error> {
    let (mut parts, body) = response.into_parts();
    let (body, bytes) = match body.size_hint().exact() {
        Some(length) => (body, usize::try_from(length).unwrap_or(usize::MAX)),
        None => peek(body).await,
    };
    if bytes > 0 {
        let charge = Arc::new(charge(bytes)?);
        parts.extensions.insert(ResponseCharge(charge));
    }
    Ok(Response::from_parts(parts, body))
}

/// Takes the frames that are ready, up to the second one with data, and returns what the body
/// occupies. A gRPC response is one frame and the trailers, and has no length; the lower bound of a
/// longer one is the length of what it holds.
async fn peek(mut body: Body) -> (Body, usize) {
    let lower = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut first = VecDeque::new();
    let (mut bytes, mut chunks) = (0, 0);
    let complete = loop {
        let frame = poll_fn(|cx| Poll::Ready(Pin::new(&mut body).poll_frame(cx))).await;
        let Poll::Ready(frame) = frame else {
            break false;
        };
        let Some(frame) = frame else {
            break true;
        };
        let data = frame.as_ref().ok().and_then(Frame::data_ref);
        let is_data = data.is_some();
        bytes += data.map_or(0, Bytes::len);
        first.push_back(frame);
        chunks += usize::from(is_data);
        if chunks == 2 {
            break false;
        }
        if !is_data {
            break true;
        }
    };
    let bytes = if complete {
        bytes
    } else {
        STREAM_BYTES.max(bytes).max(lower)
    };
    (Body::new(Peeked { first, body }), bytes)
}

/// The same bytes, which keep `charges` until they have been sent.
pub(super) fn hold(bytes: Bytes, charges: Arc<dyn Send + Sync>) -> Bytes {
    Bytes::from_owner(Held {
        bytes,
        _charges: charges,
    })
}

impl HttpBody for Peeked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match self.first.pop_front() {
            Some(frame) => Poll::Ready(Some(frame)),
            None => Pin::new(&mut self.body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use super::*;
    use crate::budget::Budget;

    /// Three frames of 1 MiB, of which all are known to exist.
    struct Known(usize);

    impl HttpBody for Known {
        type Data = Bytes;
        type Error = axum::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
            let Some(left) = self.0.checked_sub(1) else {
                return Poll::Ready(None);
            };
            self.0 = left;
            Poll::Ready(Some(Ok(Frame::data(vec![0; 1 << 20].into()))))
        }

        fn size_hint(&self) -> SizeHint {
            let mut hint = SizeHint::new();
            hint.set_lower((self.0 as u64) << 20);
            hint
        }
    }

    #[tokio::test]
    async fn a_response_of_several_frames_is_charged_as_a_whole() {
        let budget = Budget::new(64 << 20);
        let response = Response::new(Body::new(Known(3)));
        let response = charge(response, |bytes| budget.charge(bytes))
            .await
            .unwrap();
        assert_eq!(budget.used(), 3 << 20);
        let length = http_body_util::BodyExt::collect(response.into_body()).await;
        assert_eq!(length.unwrap().to_bytes().len(), 3 << 20);
    }
}
