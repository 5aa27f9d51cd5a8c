//! ListServices. A response can be as long as the longest message, so each service is encoded on its
//! own: no more than one service is held as a message at a time, and the encoded page is shared by
//! all requests for it. The generated server code accepts only whole messages, so the method has a
//! route of its own.

use std::convert::Infallible;

use axum::Router;
use bytes::Bytes;
use prost::Message;
use tonic::{body::Body, server::Grpc};
use tonic_prost::ProstCodec;
use tonic_web::GrpcWebLayer;
use tower::{Layer, service_fn};

use super::{
    api::Api,
    convert::{Fields, ITEM_OVERHEAD, age, include, non_empty, number, order},
    service_message::{self, too_large},
};
use crate::{
    app::{Filter, ListServices, Order, RequestContext, ServicePage},
    model::{Error, Include, Protocol, Reason},
    proto::{SERVICE, v1 as pb},
};

/// A [`pb::ListServicesResponse`] whose services are encoded already. Both have the same encoding.
#[derive(Clone, PartialEq, Message)]
pub(super) struct EncodedList {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    services: Vec<Bytes>,
    #[prost(string, tag = "2")]
    next_page_token: String,
    #[prost(message, optional, tag = "3")]
    age: Option<prost_types::Duration>,
    #[prost(bool, optional, tag = "4")]
    estimation: Option<bool>,
}

/// The route of ListServices.
pub(super) fn route(api: Api) -> Router {
    let method = service_fn(move |request: http::Request<Body>| {
        let api = api.clone();
        async move {
            let codec = ProstCodec::<EncodedList, pb::ListServicesRequest>::default();
            let limit = api.options.max_request_bytes;
            let method = service_fn(|request| api.unary(request, list));
            let mut grpc = Grpc::new(codec).max_decoding_message_size(limit);
            Ok::<_, Infallible>(grpc.unary(method, request).await)
        }
    });
    let path = format!("/{SERVICE}/ListServices");
    Router::new().route_service(&path, GrpcWebLayer::new().layer(method))
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
    } = request;
    let mut fields = Fields::default();
    let protocol = protocol.map(|text| Protocol::named(&text).map_err(|e| e.below("protocol")));
    let address = address.map(|text| {
        text.parse().map_err(|_| {
            let message = format!("{text:?} is not an IPv4 or IPv6 address");
            Error::invalid("address", message)
        })
    });
    let port = port.map(|port| number(port, "port", u16::MAX.into()));
    let filter = Filter {
        protocol: fields.take(protocol.transpose()).flatten(),
        address: fields.take(address.transpose()).flatten(),
        port: fields.take(port.transpose()).flatten(),
        fwmark,
        scheduler,
    };
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
    EncodedList::of_page(&answer.value, age(&answer), api.options.max_response_bytes)
}

// === impl EncodedList ===

impl EncodedList {
    /// The leading services of a page that fit `limit` bytes.
    fn of_page(
        page: &ServicePage,
        age: Option<prost_types::Duration>,
        limit: usize,
    ) -> Result<Self, Error> {
        let list = page.get_or_render(|| Self::encode_page(page, limit))?;
        Ok(Self { age, ..list })
    }

    fn encode_page(page: &ServicePage, limit: usize) -> Result<Self, Error> {
        let mut services = Vec::with_capacity(page.len());
        let mut available = limit;
        for entry in page.iter() {
            let service = service_message::message(entry, page.include);
            match available.checked_sub(service.encoded_len() + ITEM_OVERHEAD) {
                Some(left) => available = left,
                None if services.is_empty() => return Err(too_large(entry, limit)),
                None => break,
            }
            services.push(service.encode_to_vec().into());
        }
        Ok(Self {
            next_page_token: page.token_after(services.len()).unwrap_or_default(),
            services,
            age: None,
            estimation: page.estimation,
        })
    }

    /// The generated message.
    pub(super) fn decode(&self) -> Result<pb::ListServicesResponse, Error> {
        pb::ListServicesResponse::decode(self.encode_to_vec().as_slice())
            .map_err(|error| Error::new(Reason::Internal, error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use super::*;

    #[test]
    fn an_encoded_list_has_the_encoding_of_the_generated_message() {
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
        let encoded = EncodedList {
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
        assert_eq!(encoded.decode().unwrap(), whole);
    }
}
