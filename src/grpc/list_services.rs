//! ListServices. A response can be as long as the longest message, so each service is encoded on its
//! own: no more than one service is held as a message at a time, and the encoded page is shared by
//! all requests for it. The generated server code accepts only whole messages, so the method has a
//! route of its own.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use axum::Router;
use bytes::Bytes;
use futures_util::future::poll_fn;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Frame, SizeHint};
use prost::Message;
use tokio::task::yield_now;
use tonic::{Response, Status, body::Body, server::Grpc};
use tonic_prost::ProstCodec;
use tonic_web::GrpcWebLayer;
use tower::{Layer, Service, service_fn};

use super::{
    api::Api,
    convert::{Fields, ITEM_OVERHEAD, age, include, non_empty, order, service_filter},
    encode::ServiceEncoder,
    media_type::{is_web, media_type},
    service_message::too_large,
};
use crate::{
    app::{ListServices, Order, PageEntries, RequestContext, ServicePage},
    budget::Charge,
    model::{Error, Include, Reason, Server, Service as VirtualService},
    proto::{SERVICE, v1 as pb},
};

/// A [`pb::ListServicesResponse`] whose services are encoded already. Both have the same encoding.
#[derive(Clone, Debug)]
pub(super) struct EncodedList {
    /// The encoded services, in pieces of about [`PIECE`] bytes.
    pieces: Vec<Bytes>,
    rest: Rest,
}

/// The fields of the list after its services.
#[derive(Clone, PartialEq, Message)]
struct Rest {
    #[prost(string, tag = "2")]
    next_page_token: String,
    #[prost(message, optional, tag = "3")]
    age: Option<prost_types::Duration>,
    #[prost(bool, optional, tag = "4")]
    estimation: Option<bool>,
    #[prost(string, tag = "5")]
    revision: String,
}

/// Encodes the leading services of a page that fit a limit.
struct ListEncoder {
    services: ServiceEncoder,
    pieces: Vec<Bytes>,
    /// The last piece.
    piece: Vec<u8>,
    is_empty: bool,
    /// The position on the page after the last service.
    reached: usize,
    /// Bytes that the services may have.
    available: usize,
    limit: usize,
}

/// The body of a response: one message, and the trailers.
struct ListBody {
    frames: VecDeque<Frame<Bytes>>,
    /// Bytes of data left.
    length: u64,
}

/// Marks a grpc-web request. Its response has the message in one piece, because each piece would be
/// encoded as a text of its own.
#[derive(Clone, Copy, Debug)]
struct Joined;

/// Bytes from which a piece of a message is complete. With its last service, it is usually one frame of
/// a body on HTTP/2.
const PIECE: usize = 64 << 10;
/// Pieces that are encoded before other tasks run: about a millisecond.
const PIECES_AT_ONCE: usize = 16;
/// Length of what precedes a message.
const PREFIX: usize = 5;
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// Space for the service that exceeds this size.
const LAST_SERVICE: usize = 16 << 10;

/// The route of ListServices. The body of the response is made here: a generated message would be
/// copied several times.
pub(super) fn route(api: Api) -> Router {
    let method = service_fn(move |request: http::Request<Body>| {
        let api = api.clone();
        async move {
            let joined = request.extensions().get::<Joined>().is_some();
            let codec = ProstCodec::<(), pb::ListServicesRequest>::default();
            let limit = api.options.max_request_bytes;
            let method = service_fn(|request| async {
                let list = api.unary(request, list).await?;
                let (metadata, list, mut extensions) = list.into_parts();
                extensions.insert(list);
                Ok::<_, Status>(Response::from_parts(metadata, (), extensions))
            });
            let mut grpc = Grpc::new(codec).max_decoding_message_size(limit);
            let mut response = grpc.unary(method, request).await;
            let list = response.extensions_mut().remove::<EncodedList>();
            Ok::<_, Infallible>(match list {
                Some(list) => response.map(|_| Body::new(ListBody::new(list, joined))),
                // An error.
                None => response,
            })
        }
    });
    let mut web = GrpcWebLayer::new().layer(method);
    let method = service_fn(move |mut request: http::Request<axum::body::Body>| {
        if media_type(request.headers()).is_some_and(is_web) {
            request.extensions_mut().insert(Joined);
        }
        web.call(request)
    });
    let path = format!("/{SERVICE}/ListServices");
    Router::new().route_service(&path, method)
}

/// Handles ListServices.
pub(super) async fn list(
    api: Api,
    request: pb::ListServicesRequest,
    context: RequestContext,
) -> Result<EncodedList, Error> {
    let pb::ListServicesRequest {
        page_size,
        page_token,
        include: names,
        sort,
        protocol,
        address,
        port,
        fwmark,
        scheduler,
        max_age: _,
        owner,
        label,
    } = request;
    let mut fields = Fields::default();
    let filter = service_filter(
        &mut fields,
        protocol,
        address,
        port,
        fwmark,
        scheduler,
        (owner, label),
    );
    let include = fields.take(include(&names, Include::default()));
    let order = fields.take(order(&sort, Order::default()));
    fields.finish()?;
    let list = ListServices {
        filter,
        include: include.unwrap_or_default(),
        order: order.unwrap_or_default(),
        page_size,
        page_token: non_empty(page_token),
    };
    let answer = api.app.list_services(&context, list).await?;
    let age = age(&answer);
    let entries = api.app.entries(&context, answer.value);
    let list = EncodedList::of_page(entries, api.options.max_response_bytes).await?;
    Ok(list.with_age(age))
}

// === impl EncodedList ===

impl EncodedList {
    /// The leading services of a page that fit `limit` bytes. A shared page is encoded once.
    async fn of_page(mut entries: PageEntries, limit: usize) -> Result<Self, Error> {
        let page = entries.page().clone();
        let mut encoder = ListEncoder::new(&page, limit);
        if page.is_shared() {
            return page.get_or_render(|| {
                for entry in page.iter() {
                    if !encoder.append(&entry.service, &entry.servers)? {
                        break;
                    }
                }
                Ok(encoder.finish(&page))
            });
        }
        // Of the pieces: other requests are processed meanwhile.
        let mut charge: Option<Charge> = None;
        for position in 0..page.len() {
            let pieces = encoder.pieces.len();
            poll_fn(|cx| entries.poll_load(position, cx)).await?;
            // A service that was deleted since the page was made is left out.
            let entry = entries.get(position);
            if let Some((service, servers)) = entry
                && !encoder.append(service, servers)?
            {
                break;
            }
            encoder.reached = position + 1;
            if let Some(piece) = encoder.pieces.get(pieces) {
                let charge = charge.get_or_insert_with(|| entries.budget().empty());
                charge.grow(piece.len())?;
                if (pieces + 1).is_multiple_of(PIECES_AT_ONCE) {
                    yield_now().await;
                }
            }
        }
        Ok(encoder.finish(&page))
    }

    fn with_age(mut self, age: Option<prost_types::Duration>) -> Self {
        self.rest.age = age;
        self
    }

    /// The generated message.
    pub(super) fn decode(&self) -> Result<pb::ListServicesResponse, Error> {
        let mut encoded = self.pieces.concat();
        encoded.extend(self.rest.encode_to_vec());
        pb::ListServicesResponse::decode(encoded.as_slice())
            .map_err(|error| Error::new(Reason::Internal, error.to_string()))
    }
}

// === impl ListEncoder ===

impl ListEncoder {
    fn new(page: &ServicePage, limit: usize) -> Self {
        Self {
            services: ServiceEncoder::new(page.include),
            pieces: Vec::new(),
            piece: Vec::new(),
            is_empty: true,
            reached: 0,
            available: limit,
            limit,
        }
    }

    /// Appends a service. Returns false if the list ends before it.
    fn append(&mut self, service: &VirtualService, servers: &[Server]) -> Result<bool, Error> {
        if self.piece.capacity() == 0 && !self.pieces.is_empty() {
            self.piece.reserve_exact(PIECE + LAST_SERVICE);
        }
        let start = self.piece.len();
        let length = self.services.append(&mut self.piece, service, servers);
        match self.available.checked_sub(length + ITEM_OVERHEAD) {
            Some(left) => self.available = left,
            None if self.is_empty => {
                return Err(too_large(service.key, servers.len(), self.limit));
            }
            None => {
                self.piece.truncate(start);
                return Ok(false);
            }
        }
        self.is_empty = false;
        self.reached += 1;
        if self.piece.len() >= PIECE {
            self.pieces.push(std::mem::take(&mut self.piece).into());
        }
        Ok(true)
    }

    fn finish(mut self, page: &ServicePage) -> EncodedList {
        if !self.piece.is_empty() {
            self.pieces.push(self.piece.into());
        }
        EncodedList {
            pieces: self.pieces,
            rest: Rest {
                next_page_token: page.token_after(self.reached).unwrap_or_default(),
                age: None,
                estimation: page.estimation,
                revision: page.revision.to_string(),
            },
        }
    }
}

// === impl ListBody ===

impl ListBody {
    fn new(list: EncodedList, joined: bool) -> Self {
        let EncodedList { mut pieces, rest } = list;
        pieces.push(rest.encode_to_vec().into());
        let length: usize = pieces.iter().map(Bytes::len).sum();
        // A message is preceded by a flag, whether it is compressed, and its length.
        let mut prefix = vec![0];
        prefix.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        pieces.insert(0, prefix.into());
        if joined {
            pieces = vec![pieces.concat().into()];
        }
        let frames = pieces.into_iter().filter(|piece| !piece.is_empty());
        let mut frames: VecDeque<_> = frames.map(Frame::data).collect();
        let ok = HeaderValue::from_static("0");
        frames.push_back(Frame::trailers(HeaderMap::from_iter([(STATUS, ok)])));
        Self {
            frames,
            length: (PREFIX + length) as u64,
        }
    }
}

impl http_body::Body for ListBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = self.frames.pop_front();
        let data = frame.as_ref().and_then(Frame::data_ref);
        self.length -= data.map_or(0, Bytes::len) as u64;
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        // Not an exact size: the response would get a content-length, which gRPC does not use.
        let mut hint = SizeHint::new();
        hint.set_lower(self.length);
        hint
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use http_body::Body as _;
    use http_body_util::BodyExt;

    use super::*;

    fn list() -> EncodedList {
        EncodedList {
            pieces: vec!["ab".into(), "c".into()],
            rest: Rest {
                next_page_token: "t".to_owned(),
                age: None,
                estimation: Some(true),
                revision: String::new(),
            },
        }
    }

    #[tokio::test]
    async fn a_body_is_one_message_and_the_status() {
        for joined in [false, true] {
            let mut body = ListBody::new(list(), joined);
            assert_eq!(
                (body.size_hint().lower(), body.size_hint().exact()),
                (13, None)
            );
            let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(first.len(), if joined { 13 } else { 5 });
            let rest = body.collect().await.unwrap();
            assert_eq!(rest.trailers().unwrap()["grpc-status"], "0");
            let message = [first, rest.to_bytes()].concat();
            assert_eq!(message, b"\0\0\0\0\x08abc\x12\x01t\x20\x01");
        }
    }
}
