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

use crate::{
    budget::{Charge, StreamBytes},
    model::Error,
};

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

/// Charges a response: its length, or [`StreamBytes`] if it is produced while it is sent.
pub(super) async fn charge(
    response: Response,
    charge: impl FnOnce(usize) -> Result<Charge, Error>,
) -> Result<Response, Error> {
    let (mut parts, body) = response.into_parts();
    let (body, bytes) = match body.size_hint().exact() {
        Some(length) => (body, usize::try_from(length).unwrap_or(usize::MAX)),
        None => {
            let stream = parts.extensions.get().copied();
            peek(body, stream.unwrap_or(StreamBytes::OF_LIST)).await
        }
    };
    if bytes > 0 {
        let charge = Arc::new(charge(bytes)?);
        parts.extensions.insert(ResponseCharge(charge));
    }
    Ok(Response::from_parts(parts, body))
}

/// Takes the frames that are ready, up to the second one with data, and returns what the body
/// occupies. A gRPC response has no length: it is one frame and the trailers, which are a second frame
/// over grpc-web; or it exists as a whole, and its lower bound is the length of all frames.
async fn peek(mut body: Body, stream: StreamBytes) -> (Body, usize) {
    let left = |body: &Body| usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let exists = left(&body) > 0;
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
            break exists || body.is_end_stream();
        }
        if !is_data {
            break true;
        }
    };
    let known = left(&body).saturating_add(bytes);
    let bytes = match complete {
        true => known,
        false => known.max(stream.0),
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

    /// Frames of this size, of which all are known to exist.
    struct Known {
        frames: usize,
        size: usize,
    }

    /// Two frames, of which the second is the last, as of a grpc-web response.
    struct Unknown(usize);

    impl HttpBody for Known {
        type Data = Bytes;
        type Error = axum::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
            let Some(left) = self.frames.checked_sub(1) else {
                return Poll::Ready(None);
            };
            self.frames = left;
            Poll::Ready(Some(Ok(Frame::data(vec![0; self.size].into()))))
        }

        fn size_hint(&self) -> SizeHint {
            let mut hint = SizeHint::new();
            hint.set_lower((self.frames * self.size) as u64);
            hint
        }
    }

    impl HttpBody for Unknown {
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
            Poll::Ready(Some(Ok(Frame::data(vec![0; 10].into()))))
        }

        fn is_end_stream(&self) -> bool {
            self.0 == 0
        }
    }

    async fn expect_charged(body: Body, charged: usize, length: usize) {
        let budget = Budget::new(64 << 20);
        let response = Response::new(body);
        let response = charge(response, |bytes| budget.charge(bytes))
            .await
            .unwrap();
        assert_eq!(budget.used(), charged);
        let body = http_body_util::BodyExt::collect(response.into_body()).await;
        assert_eq!(body.unwrap().to_bytes().len(), length);
    }

    #[tokio::test]
    async fn a_response_of_several_frames_is_charged_as_a_whole() {
        for size in [1 << 20, 10] {
            let body = Body::new(Known { frames: 3, size });
            expect_charged(body, 3 * size, 3 * size).await;
        }
    }

    #[tokio::test]
    async fn a_response_that_ends_with_its_second_frame_is_charged_its_length() {
        expect_charged(Body::new(Unknown(2)), 20, 20).await;
        expect_charged(Body::new(Unknown(3)), StreamBytes::OF_LIST.0, 30).await;
    }
}
