//! Many clients write to a few services at the same time. At the end the kernel has what the responses
//! imply: no acknowledged write is lost, and none was executed twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use http::Method;
use ipvsd::proto::v1::{self as pb, ipvs_service_client::IpvsServiceClient};
use serde_json::{Value, json};
use tokio::{runtime, task::JoinSet};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;

use crate::support::{
    Namespace,
    daemon::{ADDRESS, Daemon},
    http::Http,
    rules,
};

const CLIENTS: u32 = 64;
const SERVICES: u32 = 4;
/// Times that a client repeats its writes.
const TURNS: u32 = 2;

/// A client with a connection of its own.
enum Client {
    Http(Box<Http>),
    Grpc(IpvsServiceClient<Channel>),
}

/// The reason of a refusal.
type Written = Result<(), String>;

/// What the responses that one client received imply.
#[derive(Default)]
struct Acknowledged {
    /// The server that only this client writes, and its weight, if it is there.
    own: BTreeMap<String, u32>,
    /// Increments of the weight of each shared server.
    increments: BTreeMap<String, u32>,
    /// Servers that several clients create, with the weight that each gives.
    created: BTreeMap<String, u32>,
    /// Servers that several clients delete.
    deleted: Vec<String>,
    /// Writes that were refused because of their precondition.
    mismatches: u32,
}

fn service(number: u32) -> String {
    format!("tcp-10.0.0.{}-80", number % SERVICES + 1)
}

/// A server as in the listing: service and server.
fn name(service: u32, server: &str) -> String {
    format!("10.0.0.{}:80 {server}:80", service % SERVICES + 1)
}

/// All clients increase the weight of this server of each service.
const SHARED: &str = "10.1.0.1";

fn own(client: u32) -> String {
    format!("10.1.1.{client}")
}

/// The clients of a service create this server in each turn.
fn contested(turn: u32) -> String {
    format!("10.1.2.{turn}")
}

/// They delete this one.
fn doomed(turn: u32) -> String {
    format!("10.1.3.{turn}")
}

impl Client {
    async fn connect(number: u32) -> Self {
        // The clients of each service use both.
        if (number / SERVICES).is_multiple_of(2) {
            return Self::Http(Box::new(Http::to(None)));
        }
        let endpoint = Endpoint::from_shared(format!("http://{ADDRESS}")).unwrap();
        Self::Grpc(IpvsServiceClient::new(endpoint.connect().await.unwrap()))
    }

    /// Weight and ETag.
    async fn read(&self, service: &str, server: &str) -> (u32, String) {
        match self {
            Self::Http(http) => {
                let path = format!("/v1/services/{service}/servers/{server}-80");
                let body = http.get(&path).await.unwrap();
                let weight = body["weight"].as_u64().unwrap();
                let etag = body["etag"].as_str().unwrap();
                (weight.try_into().unwrap(), etag.to_owned())
            }
            Self::Grpc(client) => {
                let request = pb::GetServerRequest {
                    service: service.to_owned(),
                    id: format!("{server}-80"),
                    ..Default::default()
                };
                let response = client.clone().get_server(request).await.unwrap();
                let server = response.into_inner().server.unwrap();
                (server.weight.unwrap(), server.etag)
            }
        }
    }

    async fn create(&self, service: &str, server: &str, weight: u32) -> Written {
        match self {
            Self::Http(http) => {
                let path = format!("/v1/services/{service}/servers");
                let body = json!({"address": server, "port": 80, "weight": weight});
                sent(http, Method::POST, &path, None, Some(&body)).await
            }
            Self::Grpc(client) => {
                let server = pb::Server {
                    address: Some(server.to_owned()),
                    port: Some(80),
                    weight: Some(weight),
                    ..Default::default()
                };
                let request = pb::CreateServerRequest {
                    service: service.to_owned(),
                    server: Some(server),
                    ..Default::default()
                };
                let response = client.clone().create_server(request).await;
                response.map(drop).map_err(reason)
            }
        }
    }

    async fn update(
        &self,
        service: &str,
        server: &str,
        weight: u32,
        etag: Option<&str>,
    ) -> Written {
        match self {
            Self::Http(http) => {
                let path = format!("/v1/services/{service}/servers/{server}-80");
                let body = json!({"weight": weight});
                sent(http, Method::PATCH, &path, etag, Some(&body)).await
            }
            Self::Grpc(client) => {
                let server = pb::Server {
                    id: format!("{server}-80"),
                    weight: Some(weight),
                    ..Default::default()
                };
                let request = pb::UpdateServerRequest {
                    service: service.to_owned(),
                    server: Some(server),
                    etag: etag.unwrap_or_default().to_owned(),
                    ..Default::default()
                };
                let response = client.clone().update_server(request).await;
                let server = response.map_err(reason)?.into_inner().server;
                assert_eq!(server.unwrap().weight, Some(weight));
                Ok(())
            }
        }
    }

    async fn delete(&self, service: &str, server: &str) -> Written {
        match self {
            Self::Http(http) => {
                let path = format!("/v1/services/{service}/servers/{server}-80");
                sent(http, Method::DELETE, &path, None, None).await
            }
            Self::Grpc(client) => {
                let request = pb::DeleteServerRequest {
                    service: service.to_owned(),
                    id: format!("{server}-80"),
                    ..Default::default()
                };
                let response = client.clone().delete_server(request).await;
                response.map(drop).map_err(reason)
            }
        }
    }
}

async fn sent(
    http: &Http,
    method: Method,
    path: &str,
    etag: Option<&str>,
    body: Option<&Value>,
) -> Written {
    let quoted = etag.map(|etag| format!("\"{}\"", etag.trim_matches('"')));
    let headers: Vec<_> = quoted
        .iter()
        .map(|etag| ("if-match", etag.as_str()))
        .collect();
    let (status, answer) = http.send(method, path, &headers, body).await;
    if !status.is_success() {
        return Err(answer["reason"].as_str().unwrap().to_owned());
    }
    if let Some(body) = body {
        assert_eq!(answer["weight"], body["weight"], "{answer}");
    }
    Ok(())
}

fn reason(status: Status) -> String {
    let details = status.get_error_details();
    let info = details.error_info();
    info.unwrap_or_else(|| panic!("{status:?}")).reason.clone()
}

/// Whether a write succeeded; if not, it was refused for this reason.
fn succeeded(written: Written, refused: &str) -> bool {
    match written {
        Ok(()) => true,
        Err(reason) => {
            assert_eq!(reason, refused);
            false
        }
    }
}

/// The writes of one client to its service.
async fn work(number: u32) -> Acknowledged {
    let client = Client::connect(number).await;
    let (id, own) = (service(number), own(number));
    let mut done = Acknowledged::default();
    for turn in 0..TURNS {
        // Writes without a precondition, in an order that the kernel must see.
        let first = 100 * (number + 1);
        for weight in [1, first, first + turn] {
            let written = match weight {
                1 => client.create(&id, &own, weight).await,
                _ => client.update(&id, &own, weight, None).await,
            };
            written.unwrap();
            done.own.insert(name(number, &own), weight);
        }
        let (weight, etag) = client.read(&id, SHARED).await;
        let written = client.update(&id, SHARED, weight + 1, Some(&etag)).await;
        match succeeded(written, "REVISION_MISMATCH") {
            true => *done.increments.entry(name(number, SHARED)).or_default() += 1,
            false => done.mismatches += 1,
        }
        let new = contested(turn);
        let weight = 1000 + number;
        if succeeded(client.create(&id, &new, weight).await, "SERVER_EXISTS") {
            done.created.insert(name(number, &new), weight);
        }
        let old = doomed(turn);
        if succeeded(client.delete(&id, &old).await, "SERVER_NOT_FOUND") {
            done.deleted.push(name(number, &old));
        }
        // Odd clients leave their server there.
        if turn + 1 < TURNS || number.is_multiple_of(2) {
            client.delete(&id, &own).await.unwrap();
            done.own.clear();
        }
    }
    done
}

/// The servers in the kernel with their weights.
fn saved(text: &str) -> BTreeMap<String, u32> {
    let server = |line: &str| {
        // -a -t SERVICE -r SERVER -m -w WEIGHT
        let words: Vec<_> = line.split(' ').collect();
        let name = format!("{} {}", words[2], words[4]);
        (name, words.last().unwrap().parse().unwrap())
    };
    let servers = text.lines().filter(|line| line.starts_with("-a"));
    servers.map(server).collect()
}

#[test]
fn writes_of_many_clients_are_neither_lost_nor_doubled() {
    let namespace = Namespace::new();
    namespace.run(|| {
        let mut text = String::new();
        for number in 0..SERVICES {
            let service = format!("-t 10.0.0.{}:80", number + 1);
            text += &format!("-A {service} -s rr\n-a {service} -r {SHARED}:80 -g -w 1\n");
            for turn in 0..TURNS {
                text += &format!("-a {service} -r {}:80 -g -w 1\n", doomed(turn));
            }
        }
        rules(&text);
        let _daemon = Daemon::start(&[]);
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let all = runtime.unwrap().block_on(async {
            let clients: JoinSet<_> = (0..CLIENTS).map(work).collect();
            clients.join_all().await
        });

        let mut expected = BTreeMap::new();
        for number in 0..SERVICES {
            expected.insert(name(number, SHARED), 1);
        }
        let mut deleted = Vec::new();
        let mut mismatches = 0;
        for done in all {
            for (name, count) in done.increments {
                *expected.get_mut(&name).unwrap() += count;
            }
            for (name, weight) in done.own.into_iter().chain(done.created) {
                let twice = expected.insert(name.clone(), weight);
                assert_eq!(twice, None, "{name} was created twice");
            }
            deleted.extend(done.deleted);
            mismatches += done.mismatches;
        }
        assert_eq!(saved(&namespace.save()), expected);
        let of_each = (SERVICES * TURNS) as usize;
        assert_eq!(expected.len(), of_each + (SERVICES + CLIENTS / 2) as usize);
        assert_eq!(deleted.len(), of_each, "{deleted:?}");
        deleted.sort();
        deleted.dedup();
        assert_eq!(deleted.len(), of_each, "a server was deleted twice");
        assert!(mismatches > 0, "no two clients have met");
    });
}
