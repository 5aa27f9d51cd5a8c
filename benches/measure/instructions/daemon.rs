//! The requests whose instructions are counted in the daemon. The client is another process.

use std::net::SocketAddr;

use anyhow::ensure;
use bytes::Bytes;
use http::{Method, StatusCode, header};
use prost::Message;
use tokio::runtime;

use super::super::{
    grpc::{self, Undecoded},
    http::Http,
    table::{Size, server_id, server_json, service_id},
};

/// A request to a daemon with a table of 100x10.
#[derive(Clone, Copy)]
pub enum Request {
    PatchHttp,
    PatchGrpc,
    CreateHttp,
    OneHttp,
    ListHttp,
    ListGrpc,
    Revalidate,
    Restore,
}

/// All requests.
pub const REQUESTS: &[(&str, Request)] = &[
    ("daemon_patch_server_http", Request::PatchHttp),
    ("daemon_patch_server_grpc", Request::PatchGrpc),
    ("daemon_create_server_http", Request::CreateHttp),
    ("daemon_get_service_http", Request::OneHttp),
    ("daemon_list_100x10_http", Request::ListHttp),
    ("daemon_list_100x10_grpc", Request::ListGrpc),
    ("daemon_revalidate_100x10_http", Request::Revalidate),
    ("daemon_restore_1100_rules_http", Request::Restore),
];

const SIZE: Size = Size {
    services: 100,
    servers: 10,
};
const LIST: &str = "/v1/services?include=servers,stats,rates";

// === impl Request ===

impl Request {
    /// Sends the request a number of times on one connection.
    pub fn send(self, address: SocketAddr, times: u32) -> anyhow::Result<()> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            match self {
                Self::PatchGrpc => {
                    let mut client = grpc::connect(address).await?;
                    for number in 0..times {
                        let update = grpc::weight_update(0, 0, number + 2);
                        client.update_server(update).await?;
                    }
                }
                Self::ListGrpc => {
                    let mut client = Undecoded::connect(address).await?;
                    let request = Bytes::from(grpc::list_request(0).encode_to_vec());
                    for _ in 0..times {
                        let answer = client.call(grpc::LIST, request.clone()).await?;
                        ensure!(answer.len() > 100_000, "{} bytes only", answer.len());
                    }
                }
                _ => self.send_over_http(address, times).await?,
            }
            Ok(())
        })
    }

    async fn send_over_http(self, address: SocketAddr, times: u32) -> anyhow::Result<()> {
        let mut client = Http::connect(address).await?;
        let service = format!("/v1/services/{}", service_id(0));
        let server = format!("{service}/servers/{}", server_id(0));
        let rules = Bytes::from(SIZE.rules());
        let mut tag = None;
        for number in 0..times {
            match self {
                Self::PatchHttp => {
                    let body = format!("{{\"weight\":{}}}", number + 2);
                    client.write(Method::PATCH, &server, body).await?;
                }
                Self::CreateHttp => {
                    let of = service_id(number % SIZE.services);
                    let path = format!("/v1/services/{of}/servers");
                    let body = server_json(10_000 + number, 1);
                    client.write(Method::POST, &path, body).await?;
                }
                Self::OneHttp => {
                    client.read(&format!("{service}?include=stats")).await?;
                }
                Self::ListHttp => {
                    client.read(LIST).await?;
                }
                Self::Restore => {
                    let path = "/v1/rules?clear=true";
                    let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
                    let sent = client.call(Method::POST, path, &kind, rules.clone());
                    let status = sent.await?.status;
                    ensure!(status.is_success(), "{path}: {status}");
                }
                Self::Revalidate => {
                    let mut headers = vec![(header::CACHE_CONTROL, "max-age=3600")];
                    headers.extend(tag.as_deref().map(|tag| (header::IF_NONE_MATCH, tag)));
                    let sent = client.call(Method::GET, LIST, &headers, Bytes::new());
                    let reply = sent.await?;
                    let expected = match tag {
                        None => StatusCode::OK,
                        Some(_) => StatusCode::NOT_MODIFIED,
                    };
                    ensure!(reply.status == expected, "{LIST}: {}", reply.status);
                    tag = reply.etag;
                }
                Self::PatchGrpc | Self::ListGrpc => {}
            }
        }
        Ok(())
    }
}
