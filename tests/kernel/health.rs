//! Health checks of HTTP servers behind a service of the kernel.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    libc::linger,
    sys::socket::{setsockopt, sockopt::Linger},
};
use serde_json::{Value, json};

use crate::support::{Folder, SOON, api::Api, daemon::Daemon, until, web::Http, world::World};

const SERVICE: &str = "tcp-10.9.0.100-8080";
const SERVERS: [&str; 3] = ["10.1.0.11", "10.1.0.12", "10.1.0.13"];
/// Interval × fall + timeout of the checks.
const DETECTION: Duration = Duration::from_secs(3);
/// What the lab may need beyond that: the machine has other work.
const SLACK: Duration = Duration::from_secs(3);

/// How a server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Mode {
    Good,
    Hang,
    Error,
    WrongBody,
    Reset,
}

const BAD: [Mode; 4] = [Mode::Hang, Mode::Error, Mode::WrongBody, Mode::Reset];

/// A server that can be made to fail.
struct Server(Arc<AtomicU8>);

impl Server {
    fn set(&self, mode: Mode) {
        self.0.store(mode as u8, Ordering::Relaxed);
    }
}

fn serve(world: &World, address: &str) -> Server {
    let mode = Arc::new(AtomicU8::new(Mode::Good as u8));
    let (ready, listens) = mpsc::channel();
    let (shared, address) = (mode.clone(), format!("{address}:8080"));
    world.server.spawn(move || {
        let listener = TcpListener::bind(address).unwrap();
        ready.send(()).unwrap();
        for stream in listener.incoming().flatten() {
            let mode = shared.clone();
            thread::spawn(move || answer(stream, &mode));
        }
    });
    listens.recv().expect("the server does not listen");
    Server(mode)
}

/// Answers until the client ends the connection.
fn answer(stream: TcpStream, mode: &AtomicU8) -> Option<()> {
    let name = stream.local_addr().ok()?.ip().to_string();
    let mut writer = stream.try_clone().ok()?;
    for line in BufReader::new(stream).lines() {
        if !line.ok()?.is_empty() {
            continue;
        }
        let is = |one: Mode| mode.load(Ordering::Relaxed) == one as u8;
        if is(Mode::Hang) {
            continue;
        }
        if is(Mode::Reset) {
            let at_once = linger {
                l_onoff: 1,
                l_linger: 0,
            };
            setsockopt(&writer, Linger, &at_once).ok()?;
            return None;
        }
        let status = if is(Mode::Error) { "500 Oh" } else { "200 OK" };
        let body = match is(Mode::WrongBody) {
            true => "maintenance\n".to_owned(),
            false => format!("{name}\n"),
        };
        let length = body.len();
        let response = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
        writer.write_all(response.as_bytes()).ok()?;
    }
    None
}

/// A world with three servers.
fn world() -> (World, Vec<Server>) {
    let world = World::new();
    for address in &SERVERS[1..] {
        world.server.ip(&format!("addr add {address}/24 dev net"));
    }
    let servers = SERVERS.iter().map(|address| serve(&world, address));
    let servers = servers.collect();
    (world, servers)
}

fn create(api: &Api) {
    let servers = SERVERS.map(|address| {
        json!({"address": address, "port": 8080, "forwarding": "masquerade", "weight": 3})
    });
    let check = json!({"type": "http", "interval_seconds": 1, "fall": 2, "expect_body": "10.1.0."});
    let body = json!({"id": SERVICE, "scheduler": "rr", "servers": servers, "health_check": check});
    let headers = [("content-type", "application/json")];
    let (status, body) = api.send("POST", "/v1/services", &headers, Some(&body));
    assert_eq!(status, 201, "{body}");
    wait_for(api, ["up", "up", "up"]);
}

/// Waits until the servers have these states.
fn wait_for(api: &Api, expected: [&str; 3]) -> Value {
    until("the states of the servers", || {
        let (_, health) = api.fetch(&format!("/v1/health/{SERVICE}"));
        let servers = health["servers"].as_array().cloned().unwrap_or_default();
        let states: Vec<_> = servers.iter().map(|one| one["state"].clone()).collect();
        match states == expected {
            true => Ok(health),
            false => Err(health.to_string()),
        }
    })
}

/// The effective weights, and the intended ones.
fn weights(api: &Api) -> (Vec<u64>, Vec<u64>) {
    let (_, service) = api.fetch(&format!("/v1/services/{SERVICE}"));
    let mut servers = service["servers"].as_array().unwrap().clone();
    servers.sort_by_key(|server| server["id"].to_string());
    let numbers = |name: &str| {
        let numbers = servers.iter().map(|server| server[name].as_u64().unwrap());
        numbers.collect()
    };
    (numbers("effective_weight"), numbers("weight"))
}

/// Waits until the kernel has these weights.
fn wait_for_weights(api: &Api, expected: [u64; 3]) {
    until("the effective weights", || match weights(api) {
        (effective, intended) if effective == expected && intended == [3; 3] => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

fn ask(world: &World) -> std::io::Result<String> {
    let to: SocketAddr = "10.9.0.100:8080".parse().unwrap();
    world.client.run(|| Http::connect(to, SOON)?.server())
}

#[test]
fn a_server_that_fails_in_any_way_gets_no_requests_until_it_is_back() {
    let (world, servers) = world();
    world.director.run(|| {
        let api = Api::of(Daemon::start(&[]));
        create(&api);
        for (index, mode) in BAD.into_iter().enumerate() {
            // Another server each time: one that fails again and again has to prove more.
            let at = index % 3;
            let mut expected = [3; 3];
            expected[at] = 0;
            servers[at].set(mode);
            let failed = Instant::now();
            wait_for_weights(&api, expected);
            let took = failed.elapsed();
            assert!(took < DETECTION + SLACK, "{mode:?}: {took:?}");
            println!("{mode:?}: taken out after {:.1} s", took.as_secs_f64());
            for _ in 0..12 {
                let server = ask(&world).unwrap();
                assert_ne!(server, SERVERS[at], "{mode:?}");
            }
            servers[at].set(Mode::Good);
            wait_for_weights(&api, [3; 3]);
        }
    });
}

#[test]
fn requests_are_lost_only_until_a_dead_server_is_noticed() {
    let (world, _servers) = world();
    world.director.run(|| {
        let api = Api::of(Daemon::start(&[]));
        create(&api);
        let ends = AtomicBool::new(false);
        let lost = thread::scope(|scope| {
            let requests = scope.spawn(|| {
                let mut lost = Vec::new();
                while !ends.load(Ordering::Relaxed) {
                    let begin = Instant::now();
                    let to: SocketAddr = "10.9.0.100:8080".parse().unwrap();
                    let patience = Duration::from_secs(1);
                    let asked = world.client.run(|| Http::connect(to, patience)?.server());
                    lost.extend(asked.err().map(|_| begin));
                }
                lost
            });
            world.server.ip("addr del 10.1.0.12/24 dev net");
            wait_for_weights(&api, [3, 0, 3]);
            let noticed = Instant::now();
            // All of these begin afterwards.
            for _ in 0..12 {
                assert_ne!(ask(&world).unwrap(), SERVERS[1]);
            }
            ends.store(true, Ordering::Relaxed);
            let lost = requests.join().unwrap();
            (lost, noticed)
        });
        let (lost, noticed) = lost;
        let late: Vec<_> = lost.iter().filter(|begin| **begin > noticed).collect();
        assert!(late.is_empty(), "{} of {} requests", late.len(), lost.len());
    });
}

#[test]
fn no_pool_is_emptied_when_the_director_loses_its_network() {
    let (world, servers) = world();
    world.director.run(|| {
        let api = Api::of(Daemon::start(&[]));
        create(&api);
        world.director.ip("link set inside down");
        let health = wait_for(&api, ["down", "down", "down"]);
        assert_eq!(health["storm"], true, "{health}");
        assert_eq!(weights(&api).0, [3; 3]);
        world.director.ip("link set inside up");
        wait_for(&api, ["up", "up", "up"]);
        assert_eq!(weights(&api).0, [3; 3]);
        // Afterwards, one alone is taken out as before.
        servers[0].set(Mode::Error);
        wait_for_weights(&api, [0, 3, 3]);
    });
}

#[test]
fn the_state_survives_a_restart_of_the_daemon() {
    let (world, servers) = world();
    let folder = Folder::new("health");
    world.director.run(|| {
        let api = Api::of(Daemon::with_state(&folder, &[]));
        create(&api);
        servers[2].set(Mode::Reset);
        wait_for_weights(&api, [3, 3, 0]);
        api.stop();
        let api = Api::of(Daemon::with_state(&folder, &[]));
        assert_eq!(weights(&api), (vec![3, 3, 0], vec![3; 3]));
        servers[2].set(Mode::Good);
        wait_for_weights(&api, [3; 3]);
    });
}
