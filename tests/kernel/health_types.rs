//! Health checks of the types grpc, dns and external behind services of the kernel.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
        mpsc,
    },
    thread,
};

use serde_json::{Value, json};
use tokio_stream::wrappers::TcpListenerStream;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::support::{SOON, api::Api, daemon::Daemon, until, world::World};

const GRPC: &str = "tcp-10.9.0.100-9090";
const DNS: &str = "udp-10.9.0.100-53";
const SERVERS: [&str; 2] = ["10.1.0.11", "10.1.0.12"];
const NOERROR: u8 = 0;
const SERVFAIL: u8 = 2;

/// A world with two servers.
fn world() -> World {
    let world = World::new();
    world.server.ip("addr add 10.1.0.12/24 dev net");
    world
}

/// A server of grpc.health.v1. What is sent to it is its status.
fn serve_grpc(world: &World, address: &str) -> mpsc::Sender<ServingStatus> {
    let (sender, statuses) = mpsc::channel();
    let (ready, listens) = mpsc::channel();
    let address: SocketAddr = format!("{address}:9090").parse().unwrap();
    world.server.spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (reporter, service) = tonic_health::server::health_reporter();
        thread::spawn(move || follow(&reporter, statuses));
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind(address).await.unwrap();
            ready.send(()).unwrap();
            let server = tonic::transport::Server::builder().add_service(service);
            let incoming = TcpListenerStream::new(listener);
            server.serve_with_incoming(incoming).await.unwrap();
        });
    });
    listens.recv().expect("the server does not listen");
    sender
}

fn follow(reporter: &HealthReporter, statuses: mpsc::Receiver<ServingStatus>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.unwrap();
    for status in statuses {
        runtime.block_on(reporter.set_service_status("", status));
    }
}

/// A server of DNS, with its response code.
fn serve_dns(world: &World, address: &str) -> Arc<AtomicU8> {
    let code = Arc::new(AtomicU8::new(NOERROR));
    let (shared, address) = (code.clone(), format!("{address}:53"));
    let (ready, listens) = mpsc::channel();
    world.server.spawn(move || {
        let socket = UdpSocket::bind(address).unwrap();
        ready.send(()).unwrap();
        let mut message = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut message) {
            // QR, and the code: the rest is that of the query.
            message[2] |= 0x80;
            message[3] = shared.load(Ordering::Relaxed);
            let _ = socket.send_to(&message[..length], from);
        }
    });
    listens.recv().expect("the server does not listen");
    code
}

fn create(api: &Api, service: &str, port: u16, check: Value) {
    let servers = SERVERS.map(|address| {
        json!({"address": address, "port": port, "forwarding": "masquerade", "weight": 3})
    });
    let body = json!({"id": service, "scheduler": "rr", "servers": servers, "health_check": check});
    let headers = [("content-type", "application/json")];
    let (status, body) = api.send("POST", "/v1/services", &headers, Some(&body));
    assert_eq!(status, 201, "{body}");
}

/// Waits until the servers have these states; returns the health of the service.
fn wait_for(api: &Api, service: &str, expected: [&str; 2]) -> Value {
    until("the states of the servers", || {
        let (_, health) = api.fetch(&format!("/v1/health/{service}"));
        let servers = health["servers"].as_array().cloned().unwrap_or_default();
        let states: Vec<_> = servers.iter().map(|one| one["state"].clone()).collect();
        match states == expected {
            true => Ok(health),
            false => Err(health.to_string()),
        }
    })
}

/// The effective weights.
fn weights(api: &Api, service: &str) -> Vec<u64> {
    let (_, service) = api.fetch(&format!("/v1/services/{service}"));
    let mut servers = service["servers"].as_array().unwrap().clone();
    servers.sort_by_key(|server| server["id"].to_string());
    let weights = servers.iter().map(|one| one["effective_weight"].as_u64());
    weights.map(Option::unwrap).collect()
}

fn wait_for_weights(api: &Api, service: &str, expected: [u64; 2]) {
    until("the effective weights", || match weights(api, service) {
        weights if weights == expected => Ok(()),
        weights => Err(format!("{weights:?}")),
    });
}

/// The response code of the virtual server.
fn query(world: &World) -> u8 {
    world.client.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        let query = [1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 1];
        socket.send_to(&query, "10.9.0.100:53").unwrap();
        let mut answer = [0; 512];
        socket.recv(&mut answer).unwrap();
        answer[3]
    })
}

#[test]
fn servers_of_each_type_are_taken_out_and_brought_back() {
    let world = world();
    let grpc = SERVERS.map(|address| serve_grpc(&world, address));
    let dns = SERVERS.map(|address| serve_dns(&world, address));
    world.director.run(|| {
        let api = Api::of(Daemon::start(&[]));
        let quick = |mut check: Value| {
            check["interval_seconds"] = json!(1);
            check["fall"] = json!(2);
            check["source_address"] = json!("10.1.0.1");
            check["fwmark"] = json!(7);
            check
        };
        create(&api, GRPC, 9090, quick(json!({"type": "grpc"})));
        create(&api, DNS, 53, quick(json!({"type": "dns"})));
        for service in [GRPC, DNS] {
            wait_for(&api, service, ["up", "up"]);
        }
        grpc[1].send(ServingStatus::NotServing).unwrap();
        dns[0].store(SERVFAIL, Ordering::Relaxed);
        wait_for_weights(&api, GRPC, [3, 0]);
        wait_for_weights(&api, DNS, [0, 3]);
        let health = wait_for(&api, GRPC, ["up", "down"]);
        assert_eq!(health["servers"][1]["reason"], "NOT_SERVING, not SERVING");
        let health = wait_for(&api, DNS, ["down", "up"]);
        assert_eq!(health["servers"][0]["reason"], "SERVFAIL, not NOERROR");
        for _ in 0..6 {
            assert_eq!(query(&world), NOERROR);
        }
        grpc[1].send(ServingStatus::Serving).unwrap();
        dns[0].store(NOERROR, Ordering::Relaxed);
        for service in [GRPC, DNS] {
            wait_for_weights(&api, service, [3, 3]);
        }
        // The mark of the packets selects a route.
        world.director.ip("route add unreachable default table 100");
        world.director.ip("rule add fwmark 7 table 100");
        for service in [GRPC, DNS] {
            wait_for(&api, service, ["down", "down"]);
            until("the storm", || {
                let (_, health) = api.fetch(&format!("/v1/health/{service}"));
                match health["storm"] == true {
                    true => Ok(()),
                    false => Err(health.to_string()),
                }
            });
            wait_for_weights(&api, service, [3, 3]);
        }
        world.director.ip("rule del fwmark 7 table 100");
        for service in [GRPC, DNS] {
            wait_for(&api, service, ["up", "up"]);
        }
    });
}

#[test]
fn results_of_others_take_servers_out_and_bring_them_back() {
    let world = world();
    let codes = SERVERS.map(|address| serve_dns(&world, address));
    world.director.run(|| {
        let api = Api::of(Daemon::start(&[]));
        let check = json!({"type": "external", "expire_seconds": 6});
        create(&api, DNS, 53, check);
        let report = |server: &str, healthy: bool| {
            let path = format!("/v1/health/{DNS}/{server}-53");
            let body = json!({"healthy": healthy, "reason": "as the test says"});
            let headers = [("content-type", "application/json")];
            let (status, health) = api.send("PUT", &path, &headers, Some(&body));
            assert_eq!(status, 200, "{health}");
        };
        codes[0].store(SERVFAIL, Ordering::Relaxed);
        report(SERVERS[0], false);
        // The kernel has the weight before the response.
        assert_eq!(weights(&api, DNS), [0, 3]);
        for _ in 0..6 {
            assert_eq!(query(&world), NOERROR);
        }
        report(SERVERS[0], true);
        assert_eq!(weights(&api, DNS), [3, 3]);
        report(SERVERS[1], false);
        assert_eq!(weights(&api, DNS), [3, 0]);
        // The reporter is gone.
        wait_for_weights(&api, DNS, [3, 3]);
        let health = wait_for(&api, DNS, ["unknown", "unknown"]);
        let reason = health["servers"][1]["reason"].as_str().unwrap();
        assert_eq!(
            reason,
            "no result for 6 s; the last was unhealthy: as the test says"
        );
    });
}
