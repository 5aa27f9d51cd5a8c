//! gRPC clients: the generated one, and one that discards what it receives, like the HTTP client, so
//! that a load measures the server and not the client.

use std::net::SocketAddr;

use bytes::{Buf, BufMut, Bytes};
use ipvsd::proto::v1::{self as pb, ipvs_service_client::IpvsServiceClient};
use prost::{
    Message,
    encoding::{DecodeContext, decode_key, skip_field, string},
};
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::{Channel, Endpoint},
};

use super::table::{PORT, Size, server_address, server_id, service_id};

pub type Client = IpvsServiceClient<Channel>;

/// The method that lists everything.
pub const LIST: &str = "/ipvsd.v1.IpvsService/ListServices";
/// The method that changes a server.
pub const UPDATE: &str = "/ipvsd.v1.IpvsService/UpdateServer";

/// A codec that does not decode messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Opaque;

/// A client that does not decode responses.
pub struct Undecoded(tonic::client::Grpc<Channel>);

pub async fn channel(address: SocketAddr) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    Ok(endpoint.connect().await?)
}

pub async fn connect(address: SocketAddr) -> anyhow::Result<Client> {
    Ok(IpvsServiceClient::new(channel(address).await?))
}

pub fn server(number: u32, weight: u32) -> pb::Server {
    pb::Server {
        address: Some(server_address(number).to_string()),
        port: Some(PORT.into()),
        forwarding: Some("masquerade".to_owned()),
        weight: Some(weight),
        ..pb::Server::default()
    }
}

/// A service of the table with all its servers.
pub fn replacement(size: Size, number: u32, weight: u32) -> pb::ReplaceServiceRequest {
    pb::ReplaceServiceRequest {
        service: Some(pb::Service {
            id: service_id(number),
            scheduler: Some("rr".to_owned()),
            servers: (0..size.servers).map(|n| server(n, weight)).collect(),
            ..pb::Service::default()
        }),
        replace_servers: true,
        ..pb::ReplaceServiceRequest::default()
    }
}

/// A change of one weight.
pub fn weight_update(of: u32, number: u32, weight: u32) -> pb::UpdateServerRequest {
    pb::UpdateServerRequest {
        service: service_id(of),
        server: Some(pb::Server {
            id: server_id(number),
            weight: Some(weight),
            ..pb::Server::default()
        }),
        ..pb::UpdateServerRequest::default()
    }
}

/// Seconds within which a client reads all pages of a list. The daemon keeps what it has read this long.
const PAGING: i64 = 30;

/// A request for everything with counters and rates, optionally with a maximum age.
pub fn list_request(max_age_seconds: i64) -> pb::ListServicesRequest {
    pb::ListServicesRequest {
        include: ["servers", "stats", "rates"].map(str::to_owned).to_vec(),
        max_age: Some(prost_types::Duration {
            seconds: max_age_seconds,
            nanos: 0,
        }),
        ..pb::ListServicesRequest::default()
    }
}

/// A request for the first page of everything from a new dump, which is kept for the next pages.
fn first_page() -> pb::ListServicesRequest {
    pb::ListServicesRequest {
        max_age: Some(prost_types::Duration {
            seconds: 0,
            nanos: 1,
        }),
        ..list_request(0)
    }
}

/// Lists everything, page by page, from one dump. Returns the numbers of services and servers.
pub async fn list(client: &mut Client) -> anyhow::Result<(usize, usize)> {
    let (mut services, mut servers) = (0, 0);
    let mut request = first_page();
    loop {
        let page = client.list_services(request).await?.into_inner();
        services += page.services.len();
        servers += page.services.iter().map(|s| s.servers.len()).sum::<usize>();
        if page.next_page_token.is_empty() {
            return Ok((services, servers));
        }
        request = next_page(page.next_page_token);
    }
}

fn next_page(page_token: String) -> pb::ListServicesRequest {
    pb::ListServicesRequest {
        page_token,
        ..list_request(PAGING)
    }
}

/// The field `next_page_token` of a page, without decoding its services.
fn token_of(mut page: Bytes) -> anyhow::Result<String> {
    const TOKEN: u32 = 2;
    let context = DecodeContext::default();
    while page.has_remaining() {
        let (field, kind) = decode_key(&mut page)?;
        if field == TOKEN {
            let mut token = String::new();
            string::merge(kind, &mut token, &mut page, context)?;
            return Ok(token);
        }
        skip_field(kind, field, &mut page, context.clone())?;
    }
    Ok(String::new())
}

// === impl Undecoded ===

impl Undecoded {
    pub async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self(tonic::client::Grpc::new(channel(address).await?)))
    }

    pub async fn call(&mut self, method: &'static str, request: Bytes) -> anyhow::Result<Bytes> {
        self.0.ready().await?;
        let path = http::uri::PathAndQuery::from_static(method);
        let answer = self.0.unary(tonic::Request::new(request), path, Opaque);
        Ok(answer.await?.into_inner())
    }

    /// Lists everything, page by page, from one dump. Returns the length of the messages.
    pub async fn list_all(&mut self) -> anyhow::Result<usize> {
        let (mut request, mut length) = (first_page(), 0);
        loop {
            let page = self.call(LIST, request.encode_to_vec().into()).await?;
            length += page.len();
            let token = token_of(page)?;
            if token.is_empty() {
                return Ok(length);
            }
            request = next_page(token);
        }
    }
}

// === impl Opaque ===

impl Codec for Opaque {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Opaque {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for Opaque {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
