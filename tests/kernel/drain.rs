//! Drains and ramps on the kernel, with HTTP servers and clients behind them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    Folder, Random, SOON,
    api::Api,
    daemon::{Daemon, is_acknowledged},
    lists, rules, until,
    world::World,
};

const RULES: &str = "\
-A -t 10.9.0.100:8080 -s rr
-a -t 10.9.0.100:8080 -r 10.1.0.11:8080 -m -w 3
-a -t 10.9.0.100:8080 -r 10.1.0.12:8080 -m -w 2
";
const SERVICE: &str = "tcp-10.9.0.100-8080";
const ONE: &str = "10.1.0.11-8080";

/// A connection that is kept for several requests.
struct Http {
    reader: BufReader<TcpStream>,
}

impl Http {
    fn connect(world: &World) -> Self {
        let to: SocketAddr = "10.9.0.100:8080".parse().unwrap();
        let stream = world.client.run(|| TcpStream::connect_timeout(&to, SOON));
        let stream = stream.unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        Self {
            reader: BufReader::new(stream),
        }
    }

    fn send(&mut self) {
        let stream = self.reader.get_mut();
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
            .unwrap();
    }

    /// The address of the server that answers a request.
    fn server(&mut self) -> String {
        self.send();
        let mut lines = (&mut self.reader).lines().map(Result::unwrap);
        assert_eq!(lines.next().as_deref(), Some("HTTP/1.1 200 OK"));
        lines.by_ref().find(String::is_empty).unwrap();
        lines.next().unwrap()
    }

    /// Ends the connection at once: one with unread data is reset, and the kernel forgets it 10 seconds later.
    fn reset(mut self) {
        self.send();
        let mut byte = [0];
        let answered = self.reader.get_ref().peek(&mut byte);
        assert_eq!(answered.unwrap(), 1);
    }
}

/// Answers requests with the address of the server.
fn answer(stream: TcpStream) {
    let address = stream.local_addr().unwrap().ip();
    let mut writer = stream.try_clone().unwrap();
    for line in BufReader::new(stream).lines() {
        // Until the client ends the connection.
        let Ok(line) = line else { return };
        let body = format!("{address}\n");
        let length = body.len();
        let response = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
        if line.is_empty() && writer.write_all(response.as_bytes()).is_err() {
            return;
        }
    }
}

/// A world with the HTTP servers 10.1.0.11 and 10.1.0.12.
fn world() -> World {
    let world = World::new();
    world.server.ip("addr add 10.1.0.12/24 dev net");
    let (ready, listens) = mpsc::channel();
    world.server.spawn(move || {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 8080)).unwrap();
        ready.send(()).unwrap();
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            thread::spawn(|| answer(stream));
        }
    });
    listens.recv().expect("the server does not listen");
    world
}

/// The weight of the first server, as ipvsadm lists it.
fn kernel_weight() -> u32 {
    let listing = lists("-L -n");
    let line = listing.lines().find(|line| line.contains("10.1.0.11:8080"));
    let words: Vec<_> = line.unwrap().split_whitespace().collect();
    words[3].parse().unwrap()
}

fn post(api: &Api, path: &str, body: &Value) -> Value {
    let headers = [("content-type", "application/json")];
    let (status, body) = api.send("POST", path, &headers, Some(body));
    assert_eq!(status, 201, "{body}");
    body
}

fn drain(api: &Api) -> Value {
    post(api, "/v1/drains", &json!({"server": "10.1.0.11"}))
}

fn path(drain: &Value) -> String {
    format!("/v1/drains/{}", drain["id"].as_str().unwrap())
}

fn delete(api: &Api, path: &str) -> Value {
    let (status, body) = api.send("DELETE", path, &[("x-request-id", "t")], None);
    assert_eq!(status, 200, "{body}");
    body
}

/// Waits until a drain or ramp has a state, and returns it.
fn wait(api: &Api, path: &str, state: &str) -> Value {
    until(state, || match api.fetch(path) {
        (200, hold) if hold["state"] == state => Ok(hold),
        other => Err(format!("{other:?}")),
    })
}

/// The intended weight and the effective one of the first server.
fn weights(api: &Api) -> (Value, Value) {
    let (status, server) = api.fetch(&format!("/v1/services/{SERVICE}/servers/{ONE}"));
    assert_eq!(status, 200, "{server}");
    (server["weight"].clone(), server["effective_weight"].clone())
}

#[test]
fn connections_go_on_while_their_server_is_drained_and_new_ones_go_elsewhere() {
    let world = world();
    world.director.run(|| {
        rules(RULES);
        let api = Api::of(Daemon::start(&[]));
        // The scheduler takes turns.
        let mut open: Vec<_> = (0..2).map(|_| Http::connect(&world)).collect();
        let first = open
            .iter_mut()
            .position(|http| http.server() == "10.1.0.11");
        let mut long = open.remove(first.unwrap());

        let drain = drain(&api);
        assert_eq!(drain["state"], "draining", "{drain}");
        assert_eq!(drain["blockers"], json!([]));
        assert_eq!(kernel_weight(), 0);
        assert_eq!(weights(&api), (json!(3), json!(0)));
        for _ in 0..20 {
            assert_eq!(Http::connect(&world).server(), "10.1.0.12");
            assert_eq!(long.server(), "10.1.0.11");
        }
        let path = path(&drain);
        let (_, now) = api.fetch(&path);
        assert_eq!(now["state"], "draining");
        assert_eq!(now["members"][0]["active_connections"], 1, "{now}");

        long.reset();
        let drained = wait(&api, &path, "drained");
        assert_eq!(drained["members"][0]["state"], "drained");
        // It is drained until the drain is deleted.
        assert_eq!(kernel_weight(), 0);
        assert_eq!(delete(&api, &path)["state"], "cancelled");
        assert_eq!(kernel_weight(), 3);
        let servers: Vec<_> = (0..2).map(|_| Http::connect(&world).server()).collect();
        assert!(servers.contains(&"10.1.0.11".to_owned()), "{servers:?}");
    });
}

#[test]
fn a_weight_that_ipvsadm_sets_ends_the_drain_and_one_of_the_same_value_does_not() {
    let world = World::new();
    world.director.run(|| {
        rules(RULES);
        let api = Api::of(Daemon::start(&[]));
        let drain = drain(&api);
        let path = path(&drain);
        rules("-e -t 10.9.0.100:8080 -r 10.1.0.11:8080 -m -w 0\n");
        // At least one look of the daemon comes in between: a server that appears is found by one.
        rules("-a -t 10.9.0.100:8080 -r 10.1.0.11:8081 -m -w 5\n");
        until("the new server is drained", || {
            let (_, now) = api.fetch(&path);
            match now["members"].as_array().unwrap().len() {
                2 => Ok(()),
                _ => Err(now.to_string()),
            }
        });
        assert_eq!(weights(&api), (json!(3), json!(0)));
        rules("-e -t 10.9.0.100:8080 -r 10.1.0.11:8080 -m -w 7\n");
        until("the first member is superseded", || {
            let (_, now) = api.fetch(&path);
            match &now["members"][0]["state"] {
                state if state == "superseded" => Ok(()),
                _ => Err(now.to_string()),
            }
        });
        assert_eq!(weights(&api), (json!(7), json!(7)));
        assert_eq!(kernel_weight(), 7);
        rules("-e -t 10.9.0.100:8080 -r 10.1.0.11:8081 -m -w 6\n");
        let ended = wait(&api, &path, "superseded");
        assert!(ended["end_time"].is_string(), "{ended}");
        assert_eq!(kernel_weight(), 7);
    });
}

fn daemon(folder: &Folder) -> Daemon {
    Daemon::with_state(folder, &[])
}

#[test]
fn a_drain_outlives_the_daemon() {
    let world = World::new();
    let folder = Folder::new("drain");
    world.director.run(|| {
        rules(RULES);
        let drain = drain(&Api::of(daemon(&folder)));
        // The daemon was killed.
        assert_eq!(kernel_weight(), 0);
        let path = path(&drain);
        let api = Api::of(daemon(&folder));
        let (status, again) = api.fetch(&path);
        assert_eq!((status, &again["id"]), (200, &drain["id"]));
        assert_eq!(again["create_time"], drain["create_time"]);
        assert_eq!(weights(&api), (json!(3), json!(0)));
        assert_eq!(kernel_weight(), 0);
        delete(&api, &path);
        assert_eq!(weights(&api), (json!(3), json!(3)));
        assert_eq!(kernel_weight(), 3);
    });
}

#[test]
fn a_drain_is_there_or_not_whenever_the_daemon_is_killed() {
    let world = World::new();
    let folder = Folder::new("drain-killed");
    let mut random = Random(5);
    world.director.run(|| rules(RULES));
    for round in 0..20 {
        let delay = Duration::from_micros(random.below(10_000));
        let running = world.director.run(|| daemon(&folder));
        let (sender, acknowledged) = mpsc::channel();
        world.director.spawn(move || {
            let body = json!({"server": "10.1.0.11"});
            let _ = sender.send(is_acknowledged("POST", "/v1/drains", &body));
        });
        let end = Instant::now() + delay;
        while Instant::now() < end {
            std::hint::spin_loop();
        }
        drop(running);
        let is_acknowledged = acknowledged.recv().unwrap();
        world.director.run(|| {
            let api = Api::of(daemon(&folder));
            let (_, list) = api.fetch("/v1/drains");
            let drains = list["drains"].as_array().unwrap();
            assert!(
                !is_acknowledged || !drains.is_empty(),
                "round {round}: an acknowledged drain is lost"
            );
            for drain in drains {
                until("the server is drained", || match kernel_weight() {
                    0 => Ok(()),
                    other => Err(other.to_string()),
                });
                assert_eq!(weights(&api), (json!(3), json!(0)), "round {round}");
                delete(&api, &path(drain));
                delete(&api, &path(drain));
            }
            assert_eq!(kernel_weight(), 3, "round {round}");
        });
    }
}

#[test]
fn a_ramp_reaches_its_weight_in_steps() {
    let world = World::new();
    world.director.run(|| {
        rules(RULES);
        let api = Api::of(Daemon::start(&[]));
        let body = json!({
            "service": SERVICE, "server": ONE, "to": 13, "over_seconds": 4, "steps": 2
        });
        let ramp = post(&api, "/v1/ramps", &body);
        assert_eq!(ramp["from"], 3);
        assert_eq!(weights(&api), (json!(13), json!(3)));
        let path = format!("/v1/ramps/{}", ramp["id"].as_str().unwrap());
        let mut seen = vec![kernel_weight()];
        until("the weight is that of the end", || {
            let weight = kernel_weight();
            if seen.last() != Some(&weight) {
                seen.push(weight);
            }
            match weight {
                13 => Ok(()),
                other => Err(other.to_string()),
            }
        });
        assert_eq!(seen, [3, 8, 13]);
        wait(&api, &path, "done");
        assert_eq!(weights(&api), (json!(13), json!(13)));
    });
}
