//! `ListServices` on the wire. Its answer is a table, up to the longest message there may be: each
//! service is encoded by itself, so that the tree of messages is never held for more than one, and
//! once for all who are told the same page. Generated code answers with the whole tree only, so
//! this stands before it.

use std::convert::Infallible;

use axum::Router;
use bytes::Bytes;
use prost::Message;
use tonic::{body::Body, server::Grpc};
use tonic_prost::ProstCodec;
use tonic_web::GrpcWebLayer;
use tower::{Layer, service_fn};

use super::{Api, services};
use crate::{
    app::ServicePage,
    model::{Error, Reason, ServiceEntry},
    proto::v1 as pb,
};

/// Path of the method.
const PATH: &str = "/ipvsd.v1.Ipvs/ListServices";

/// A [`pb::ListServicesResponse`] with its services encoded already: the same bytes on the wire.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Listed {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    services: Vec<Bytes>,
    #[prost(string, tag = "2")]
    next_page_token: String,
    #[prost(message, optional, tag = "3")]
    age: Option<prost_types::Duration>,
    #[prost(bool, optional, tag = "4")]
    estimation: Option<bool>,
}

/// The route of the method.
pub(super) fn route(api: Api) -> Router {
    let method = service_fn(move |request: http::Request<Body>| {
        let api = api.clone();
        async move {
            let codec = ProstCodec::<Listed, pb::ListServicesRequest>::default();
            let largest = api.options.max_request_bytes;
            let list = service_fn(|request| api.answer(request, services::list));
            let mut grpc = Grpc::new(codec).max_decoding_message_size(largest);
            Ok::<_, Infallible>(grpc.unary(list, request).await)
        }
    });
    Router::new().route_service(PATH, GrpcWebLayer::new().layer(method))
}

// === impl Listed ===

impl Listed {
    /// As much of a page as fits `room` bytes.
    pub(super) fn of(
        page: &ServicePage,
        age: Option<prost_types::Duration>,
        room: usize,
    ) -> Result<Self, Error> {
        let listed = page.get_or_render(|| Self::encoded(page, room))?;
        Ok(Self { age, ..listed })
    }

    fn encoded(page: &ServicePage, mut room: usize) -> Result<Self, Error> {
        let mut all = Vec::with_capacity(page.len());
        for entry in page.iter() {
            let service = services::message(entry, page.include);
            // A tag and a length of at most 5 bytes go before it.
            match room.checked_sub(service.encoded_len() + 6) {
                Some(left) => room = left,
                None if all.is_empty() => return Err(too_large(entry, room)),
                None => break,
            }
            all.push(service.encode_to_vec().into());
        }
        Ok(Self {
            next_page_token: page.token_after(all.len()).unwrap_or_default(),
            services: all,
            age: None,
            estimation: page.estimation,
        })
    }

    /// The same as generated code has it.
    pub(super) fn message(&self) -> Result<pb::ListServicesResponse, Error> {
        pb::ListServicesResponse::decode(self.encode_to_vec().as_slice())
            .map_err(|error| Error::new(Reason::Internal, error.to_string()))
    }
}

/// A service that does not fit an answer of so many bytes.
pub(super) fn too_large(entry: &ServiceEntry, room: usize) -> Error {
    Error::new(
        Reason::TooLarge,
        format!(
            "{} with its {} servers does not fit an answer of {room} bytes",
            entry.service.key,
            entry.servers.len(),
        ),
    )
    .with_hint("include none, and list its servers with ListServers, a page at a time")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use super::*;

    #[test]
    fn what_is_encoded_already_is_the_same_on_the_wire() {
        let service = |id: &str| pb::Service {
            id: id.to_owned(),
            servers: vec![pb::Server::default(); 3],
            ..pb::Service::default()
        };
        let whole = pb::ListServicesResponse {
            services: vec![service("a"), service("b")],
            next_page_token: "c".to_owned(),
            age: Some(prost_types::Duration {
                seconds: 1,
                nanos: 2,
            }),
            estimation: Some(false),
        };
        let encoded = Listed {
            services: whole
                .services
                .iter()
                .map(|s| s.encode_to_vec().into())
                .collect(),
            next_page_token: whole.next_page_token.clone(),
            age: whole.age,
            estimation: whole.estimation,
        };
        assert_eq!(encoded.encode_to_vec(), whole.encode_to_vec());
        assert_eq!(encoded.message().unwrap(), whole);
    }
}
