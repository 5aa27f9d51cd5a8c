//! Drains and ramps on the kernel, with HTTP servers and clients behind them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    Folder, Random, SOON,
    api::Api,
    daemon::{Daemon, is_acknowledged},
    lists, rules, until,
    web::{self, Http},
    world::World,
};

const RULES: &str = "\
-A -t 10.9.0.100:8080 -s rr
-a -t 10.9.0.100:8080 -r 10.1.0.11:8080 -m -w 3
-a -t 10.9.0.100:8080 -r 10.1.0.12:8080 -m -w 2
";
const SERVICE: &str = "tcp-10.9.0.100-8080";
const ONE: &str = "10.1.0.11-8080";

/// A world with the HTTP servers 10.1.0.11 and 10.1.0.12.
fn world() -> World {
    let world = World::new();
    world.server.ip("addr add 10.1.0.12/24 dev net");
    web::serve(&world.server);
    world
}

/// A connection of the client to the service.
fn connect(world: &World) -> Http {
    let to = "10.9.0.100:8080".parse().unwrap();
    world.client.run(|| Http::connect(to, SOON)).unwrap()
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
        let mut open: Vec<_> = (0..2).map(|_| connect(&world)).collect();
        let first = open
            .iter_mut()
            .position(|http| http.server().unwrap() == "10.1.0.11");
        let mut long = open.remove(first.unwrap());

        let drain = drain(&api);
        assert_eq!(drain["state"], "draining", "{drain}");
        assert_eq!(drain["blockers"], json!([]));
        assert_eq!(kernel_weight(), 0);
        assert_eq!(weights(&api), (json!(3), json!(0)));
        for _ in 0..20 {
            assert_eq!(connect(&world).server().unwrap(), "10.1.0.12");
            assert_eq!(long.server().unwrap(), "10.1.0.11");
        }
        let path = path(&drain);
        let (_, now) = api.fetch(&path);
        assert_eq!(now["state"], "draining");
        assert_eq!(now["members"][0]["active_connections"], 1, "{now}");

        drop(long);
        let drained = wait(&api, &path, "drained");
        assert_eq!(drained["members"][0]["state"], "drained");
        // It is drained until the drain is deleted.
        assert_eq!(kernel_weight(), 0);
        assert_eq!(delete(&api, &path)["state"], "cancelled");
        assert_eq!(kernel_weight(), 3);
        let servers: Vec<_> = (0..2).map(|_| connect(&world).server().unwrap()).collect();
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

/// Applies the table of an owner with these servers and `removal: drain`.
fn declare(api: &Api, servers: &[(&str, u32)]) -> Value {
    let servers = servers
        .iter()
        .map(|(id, weight)| json!({"id": id, "forwarding": "masquerade", "weight": weight}));
    let service = json!({"id": SERVICE, "scheduler": "rr", "servers": servers.collect::<Vec<_>>()});
    let table = json!({"services": [service], "removal": "drain"});
    let headers = [("content-type", "application/json")];
    let path = "/v1/tables/web?max_deletes=100%25";
    let (status, applied) = api.send("PUT", path, &headers, Some(&table));
    assert_eq!(status, 200, "{applied}");
    applied
}

#[test]
fn a_server_that_is_not_declared_any_more_serves_its_connections_to_their_end() {
    const BOTH: [(&str, u32); 2] = [(ONE, 3), ("10.1.0.12-8080", 2)];
    let world = world();
    let folder = Folder::new("removal");
    world.director.run(|| {
        let api = Api::of(daemon(&folder));
        declare(&api, &BOTH);
        let mut open: Vec<_> = (0..2).map(|_| connect(&world)).collect();
        let first = open
            .iter_mut()
            .position(|http| http.server().unwrap() == "10.1.0.11");
        let mut long = open.remove(first.unwrap());

        let applied = declare(&api, &BOTH[1..]);
        assert_eq!(applied["summary"]["draining"], 1, "{applied}");
        let removal = &applied["operations"][0];
        assert_eq!(
            (&removal["op"], &removal["result"]),
            (&json!("delete_server"), &json!("draining"))
        );
        assert_eq!(kernel_weight(), 0);
        drop(api);

        // The daemon was killed.
        let api = Api::of(daemon(&folder));
        let (_, server) = api.fetch(&format!("/v1/services/{SERVICE}/servers/{ONE}"));
        assert_eq!(server["membership"], "removing", "{server}");
        for _ in 0..20 {
            assert_eq!(connect(&world).server().unwrap(), "10.1.0.12");
            assert_eq!(long.server().unwrap(), "10.1.0.11");
        }
        let again = declare(&api, &BOTH[1..]);
        assert_eq!(
            (&again["outcome"], &again["summary"]["draining"]),
            (&json!("unchanged"), &json!(1))
        );

        // Declared again, it gets connections again.
        declare(&api, &BOTH);
        assert_eq!(kernel_weight(), 3);
        let servers: Vec<_> = (0..2).map(|_| connect(&world).server().unwrap()).collect();
        assert!(servers.contains(&"10.1.0.11".to_owned()), "{servers:?}");

        // The whole table: the service is there until its last connection has ended.
        let (status, deleted) = api.send(
            "DELETE",
            "/v1/tables/web?confirm=1",
            &[("x-request-id", "t")],
            None,
        );
        assert_eq!(
            (status, &deleted["summary"]["draining"]),
            (200, &json!(2)),
            "{deleted}"
        );
        assert_eq!(long.server().unwrap(), "10.1.0.11");
        assert_ne!(lists("-S -n"), "");
        drop(long);
        drop(open);
        until("the service is deleted", || match lists("-S -n").as_str() {
            "" => Ok(()),
            other => Err(other.to_owned()),
        });
    });
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
