//! Soak test: the calls of an hour in a minute, and the daemon's memory before and after.

use std::path::PathBuf;

use anyhow::ensure;
use bytes::Bytes;
use clap::Args;
use http::{Method, header};
use tokio::{runtime::Runtime, task::JoinSet};

use super::{
    daemon::{Daemon, free_port},
    grpc,
    http::Http,
    sample::{remark, sample},
    table::{Size, server_id, server_json, service_id},
};

#[derive(Args, Debug)]
pub struct Options {
    /// The daemon.
    #[arg(long)]
    ipvsd: PathBuf,
    /// Calls of the whole soak; 200,000 are 55 a second for an hour.
    #[arg(long, default_value_t = 200_000)]
    calls: u32,
}

const SIZE: Size = Size {
    services: 100,
    servers: 10,
};
/// Concurrent clients, every fourth over gRPC.
const CLIENTS: u32 = 16;
/// Calls per connection.
const KEPT: u32 = 100;
/// Samples of the memory after the warm-up.
const LOOKS: u32 = 10;

pub fn soak(options: &Options) -> anyhow::Result<()> {
    println!("fact\tkernel\t{}", super::lab::release()?);
    let runtime = Runtime::new()?;
    let daemon = Daemon::start(&options.ipvsd, "fake", free_port()?)?;
    runtime.block_on(async {
        Http::connect(daemon.address).await?.read("/readyz").await?;
        let resident = |at: &str| {
            let memory = daemon.memory()?;
            sample("soak", options.calls, at, 1, memory.resident);
            anyhow::Ok(memory)
        };
        resident("idle")?;
        let mut client = Http::connect(daemon.address).await?;
        for number in 0..SIZE.services {
            let path = format!("/v1/services/{}", service_id(number));
            client.write(Method::PUT, &path, SIZE.service_json(1)).await?;
        }
        resident("0")?;
        for look in 1..=LOOKS {
            let calls = options.calls / LOOKS;
            let mut clients = JoinSet::new();
            for number in 0..CLIENTS {
                let (address, calls) = (daemon.address, calls / CLIENTS);
                clients.spawn(async move {
                    let first = look * calls;
                    let mut done = 0;
                    while done < calls {
                        let next = (done + KEPT).min(calls);
                        let range = first + done..first + next;
                        if number % 4 == 0 {
                            over_grpc(address, number, range).await?;
                        } else {
                            over_http(address, number, range).await?;
                        }
                        done = next;
                    }
                    anyhow::Ok(())
                });
            }
            while let Some(client) = clients.join_next().await {
                client??;
            }
            resident(&(look * calls).to_string())?;
        }
        sample("soak", options.calls, "peak", 1, daemon.memory()?.peak);
        remark(format!(
            "{CLIENTS} clients at a time, a new connection every {KEPT} calls, a quarter by gRPC; a \
             table of {SIZE}; of 20 calls 8 list everything (at most 1 s old), 4 one service, 2 \
             totals, 2 change a weight, 2 add and remove a server, 2 are rejected"
        ));
        Ok(())
    })
}

async fn over_http(
    address: std::net::SocketAddr,
    client: u32,
    calls: std::ops::Range<u32>,
) -> anyhow::Result<()> {
    let mut connection = Http::connect(address).await?;
    for call in calls {
        let service = format!(
            "/v1/services/{}",
            service_id((call + client) % SIZE.services)
        );
        let patch = format!("{service}/servers/{}", server_id(call % SIZE.servers));
        // Only this client adds or removes this server.
        let own = format!("{service}/servers/{}", server_id(1000 + client));
        let (method, path, body, fails) = match call % 20 {
            0..8 => (
                Method::GET,
                "/v1/services?include=servers,stats",
                String::new(),
                false,
            ),
            8..12 => (Method::GET, service.as_str(), String::new(), false),
            12 | 13 => (Method::GET, "/v1/stats", String::new(), false),
            14 | 15 => {
                let body = format!("{{\"weight\":{}}}", call % 1000);
                (Method::PATCH, patch.as_str(), body, false)
            }
            16 => (
                Method::PUT,
                own.as_str(),
                server_json(1000 + client, 1),
                false,
            ),
            17 => {
                let own = format!(
                    "/v1/services/{}/servers/{}?allow_missing=true",
                    service_id((call - 1 + client) % SIZE.services),
                    server_id(1000 + client)
                );
                let headers = [(header::CONTENT_TYPE, "application/json")];
                connection
                    .call(Method::DELETE, &own, &headers, Bytes::new())
                    .await?;
                continue;
            }
            18 => (
                Method::GET,
                "/v1/services/tcp-192.0.2.99-1",
                String::new(),
                true,
            ),
            _ => (
                Method::PATCH,
                patch.as_str(),
                r#"{"weight":-1}"#.to_owned(),
                true,
            ),
        };
        let headers = [
            (header::CACHE_CONTROL, "max-age=1"),
            (header::CONTENT_TYPE, "application/json"),
        ];
        let headers = if method == Method::GET {
            &headers[..1]
        } else {
            &headers[1..]
        };
        let response = connection.call(method, path, headers, body.into()).await?;
        ensure!(
            response.status.is_client_error() == fails,
            "{path}: {}",
            response.status
        );
    }
    Ok(())
}

async fn over_grpc(
    address: std::net::SocketAddr,
    client: u32,
    calls: std::ops::Range<u32>,
) -> anyhow::Result<()> {
    use ipvsd::proto::v1 as pb;
    let mut connection = grpc::connect(address).await?;
    for call in calls {
        let service = (call + client) % SIZE.services;
        let id = service_id(service);
        let own = || Some(grpc::server(1000 + client, 1));
        match call % 20 {
            0..8 => drop(connection.list_services(grpc::list_request(1)).await?),
            8..12 => {
                let request = pb::GetServiceRequest {
                    id,
                    ..Default::default()
                };
                connection.get_service(request).await?;
            }
            12 | 13 => drop(connection.get_stats(pb::GetStatsRequest::default()).await?),
            14 | 15 => {
                let update = grpc::weight_update(service, call % SIZE.servers, call % 1000);
                connection.update_server(update).await?;
            }
            16 => {
                let request = pb::ReplaceServerRequest {
                    service: id,
                    server: own(),
                    ..Default::default()
                };
                connection.replace_server(request).await?;
            }
            17 => {
                let request = pb::DeleteServerRequest {
                    service: service_id((call - 1 + client) % SIZE.services),
                    id: server_id(1000 + client),
                    allow_missing: true,
                    ..Default::default()
                };
                connection.delete_server(request).await?;
            }
            _ => {
                let request = pb::GetServiceRequest {
                    id: "tcp-192.0.2.99-1".to_owned(),
                    ..Default::default()
                };
                let refused = connection.get_service(request).await.is_err();
                ensure!(refused, "a service that is not there was found");
            }
        }
    }
    Ok(())
}
