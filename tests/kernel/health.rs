//! Health checks of HTTP servers behind a service of the kernel.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    Folder,
    api::Api,
    daemon::Daemon,
    failing::{Mode, NAME, Request, Server, Tls, ask, meanwhile, reset_at_end},
    ipvsadm, run, until,
    world::World,
};

pub const SERVICE: &str = "tcp-10.9.0.100-8080";
pub const SERVERS: [&str; 3] = ["10.1.0.11", "10.1.0.12", "10.1.0.13"];
/// Interval × fall + timeout of the checks.
const DETECTION: Duration = Duration::from_secs(3);
/// What the lab may need beyond that: the machine has other work.
const SLACK: Duration = Duration::from_secs(3);

const BAD: [Mode; 6] = [
    Mode::Killed,
    Mode::Hang,
    Mode::Slow,
    Mode::Error,
    Mode::WrongBody,
    Mode::Reset,
];

/// A world with three servers, over TLS if there are certificates.
pub fn world(tls: Option<&std::sync::Arc<Tls>>) -> (World, Vec<Server>) {
    let world = World::new();
    for address in &SERVERS[1..] {
        world.server.ip(&format!("addr add {address}/24 dev net"));
    }
    let servers = SERVERS.map(|address| {
        let address = format!("{address}:8080").parse().unwrap();
        Server::start(&world, address, tls.cloned())
    });
    (world, servers.into())
}

/// The address of the service.
pub fn service() -> SocketAddr {
    "10.9.0.100:8080".parse().unwrap()
}

/// Creates the service, with a check that has these fields too.
pub fn create(api: &Api, more: Value) {
    let servers = SERVERS.map(|address| {
        json!({"address": address, "port": 8080, "forwarding": "masquerade", "weight": 3})
    });
    let mut check = json!({"type": "http", "interval_seconds": 1, "fall": 2});
    let fields = check.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    let body = json!({"id": SERVICE, "scheduler": "rr", "servers": servers, "health_check": check});
    let headers = [("content-type", "application/json")];
    let (status, body) = api.send("POST", "/v1/services", &headers, Some(&body));
    assert_eq!(status, 201, "{body}");
    wait_for(api, ["up", "up", "up"]);
}

/// The fields of a check of the whole answer.
fn whole() -> Value {
    json!({"expect_body": "10.1.0."})
}

/// Waits until the servers have these states.
pub fn wait_for(api: &Api, expected: [&str; 3]) -> Value {
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

/// The requests of clients that were lost, and none that began at this time or later.
fn lost(requests: &[Request], noticed: Instant) -> usize {
    let lost = requests.iter().filter(|request| request.result.is_err());
    let lost: Vec<_> = lost.collect();
    let late: Vec<_> = lost.iter().filter(|one| one.begin >= noticed).collect();
    assert!(late.is_empty(), "{late:?} of {} requests", requests.len());
    lost.len()
}

#[test]
fn a_server_that_fails_in_any_way_gets_no_requests_until_it_is_back() {
    let (world, servers) = world(None);
    world.director.run(|| {
        let api = Api::of(Daemon::start(&[]));
        create(&api, whole());
        for (index, mode) in BAD.into_iter().enumerate() {
            // Another server each time: one that fails again and again has to prove more.
            let at = index % 3;
            let mut expected = [3; 3];
            expected[at] = 0;
            let ((noticed, healed), requests) = meanwhile(&world, service(), None, || {
                servers[at].set(&world, mode);
                let failed = Instant::now();
                wait_for_weights(&api, expected);
                let took = failed.elapsed();
                assert!(took < DETECTION + SLACK, "{mode:?}: {took:?}");
                println!("{mode:?}: taken out after {:.1} s", took.as_secs_f64());
                let noticed = Instant::now();
                servers[at].set(&world, Mode::Good);
                let healed = Instant::now();
                wait_for_weights(&api, [3; 3]);
                (noticed, healed)
            });
            // Also none when it is back.
            let count = lost(&requests, noticed);
            println!("{mode:?}: {count} of {} requests lost", requests.len());
            assert!(count > 0, "{mode:?}: it did not fail");
            let out = requests.iter();
            let mut out = out.filter(|one| one.begin >= noticed && one.end < healed);
            let name = || Ok(SERVERS[at].to_owned());
            assert!(
                out.all(|one| one.result != name()),
                "{mode:?}: it got requests"
            );
        }
    });
}

#[test]
fn an_expired_certificate_is_a_failure() {
    let tls = Tls::new();
    let (world, servers) = world(Some(&tls));
    let folder = Folder::new("health-tls");
    let authority = folder.0.join("authority.pem");
    std::fs::write(&authority, &tls.authority).unwrap();
    world.director.run(|| {
        let variables = [("SSL_CERT_FILE", authority.to_str().unwrap())];
        let api = Api::of(Daemon::with_state(&folder, &variables));
        create(&api, json!({"type": "https", "host": NAME}));
        let (noticed, requests) = meanwhile(&world, service(), Some(&tls), || {
            servers[0].set(&world, Mode::Expired);
            let failed = Instant::now();
            wait_for_weights(&api, [0, 3, 3]);
            assert!(
                failed.elapsed() < DETECTION + SLACK,
                "{:?}",
                failed.elapsed()
            );
            let noticed = Instant::now();
            let health = wait_for(&api, ["down", "up", "up"]);
            let reason = health["servers"][0]["reason"].as_str().unwrap();
            assert!(reason.contains("certificate expired"), "{reason}");
            servers[0].set(&world, Mode::Good);
            wait_for_weights(&api, [3; 3]);
            noticed
        });
        assert!(lost(&requests, noticed) > 0);
    });
}

#[test]
fn requests_are_lost_only_until_a_dead_host_is_noticed() {
    let (world, _servers) = world(None);
    world.director.run(|| {
        let api = Api::of(Daemon::start(&[]));
        create(&api, whole());
        let (noticed, requests) = meanwhile(&world, service(), None, || {
            world.server.ip("addr del 10.1.0.12/24 dev net");
            wait_for_weights(&api, [3, 0, 3]);
            let noticed = Instant::now();
            world.client.run(|| {
                for _ in 0..12 {
                    assert_ne!(ask(service(), None).result.unwrap(), SERVERS[1]);
                }
            });
            noticed
        });
        assert!(lost(&requests, noticed) > 0);
    });
}

/// A failure of the network of the director: how it begins and ends, and what the checks make of it.
struct Break {
    begin: &'static str,
    end: &'static str,
    expected: &'static str,
}

const fn breaking(begin: &'static str, end: &'static str, expected: &'static str) -> Break {
    Break {
        begin,
        end,
        expected,
    }
}

const BREAKS: [Break; 5] = [
    breaking("ip link set inside down", "ip link set inside up", "down"),
    breaking(
        "ip route del 10.1.0.0/24",
        "ip route add 10.1.0.0/24 dev inside src 10.1.0.1",
        "down",
    ),
    breaking(
        "ip rule add pref 10 to 10.1.0.0/24 blackhole",
        "ip rule del pref 10",
        "up",
    ),
    breaking(
        "iptables-legacy -A OUTPUT -d 10.1.0.0/24 -j DROP",
        "iptables-legacy -F OUTPUT",
        "down",
    ),
    breaking(
        "iptables-legacy -A OUTPUT -d 10.1.0.0/24 -p tcp -j REJECT",
        "iptables-legacy -F OUTPUT",
        "down",
    ),
];

fn shell(line: &str) {
    let mut words = line.split_whitespace();
    run(words.next().unwrap(), words);
}

#[test]
fn no_pool_is_emptied_when_the_director_loses_its_network() {
    let (world, servers) = world(None);
    world.director.run(|| {
        let api = Api::of(Daemon::start(&[]));
        for one in BREAKS {
            create(&api, whole());
            shell(one.begin);
            until(one.begin, || {
                // Until it is known that all fail, some may be taken out.
                assert!(weights(&api).0.contains(&3), "{}", one.begin);
                let (_, health) = api.fetch(&format!("/v1/health/{SERVICE}"));
                let servers = health["servers"].as_array().unwrap().iter();
                let mut states =
                    servers.map(|one| (one["state"].clone(), one["reason"].is_string()));
                match states.all(|state| state == (one.expected.into(), true)) {
                    true if one.expected == "up" => Ok(()),
                    true if health["storm"] == true => Ok(()),
                    _ => Err(health.to_string()),
                }
            });
            wait_for_weights(&api, [3; 3]);
            shell(one.end);
            wait_for(&api, ["up"; 3]);
            wait_for_weights(&api, [3; 3]);
            // Afterwards, one alone is taken out as before.
            servers[0].set(&world, Mode::Error);
            wait_for_weights(&api, [0, 3, 3]);
            servers[0].set(&world, Mode::Good);
            // Created again, it has no past: the list looks which servers there are.
            let (status, _) = api.send("DELETE", &format!("/v1/services/{SERVICE}"), &[], None);
            assert_eq!(status, 204);
            assert_eq!(api.fetch("/v1/health").1["services"], json!([]));
        }
    });
}

#[test]
fn a_director_without_a_port_takes_no_server_out() {
    let (world, _servers) = world(None);
    world.director.run(|| {
        let api = Api::of(Daemon::start(&[]));
        create(&api, whole());
        let reason = || {
            let (_, health) = api.fetch(&format!("/v1/health/{SERVICE}"));
            health["servers"][0]["reason"].clone()
        };
        // One port, which is used for the first server.
        world
            .director
            .sysctl("net/ipv4/ip_local_port_range", "61000 61000");
        let occupant = until("the port", || {
            TcpStream::connect("10.1.0.11:8080").map_err(|error| error.to_string())
        });
        // Its end frees the port at once.
        reset_at_end(&occupant).unwrap();
        until("a check that cannot be made", || {
            let reason = reason();
            let is_noticed = reason
                .as_str()
                .is_some_and(|one| one.contains("director cannot check"));
            is_noticed.then_some(()).ok_or(reason.to_string())
        });
        wait_for(&api, ["up"; 3]);
        drop(occupant);
        until("a check that is made", || match reason() {
            Value::Null => Ok(()),
            other => Err(other.to_string()),
        });
        let (_, metrics) = api.fetch("/metrics");
        let metrics = metrics.as_str().unwrap();
        let count = |outcome: &str| {
            let name = format!("ipvsd_health_checks_total{{outcome=\"{outcome}\"}} ");
            let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
            line.unwrap().parse::<f64>().unwrap()
        };
        assert!(count("unchecked") > 0.0);
        assert_eq!((count("wrong"), count("silent")), (0.0, 0.0), "{metrics}");
    });
}

#[test]
fn a_weight_a_table_a_drain_and_a_failing_check_at_once() {
    let (world, servers) = world(None);
    world.director.run(|| {
        let api = Api::of(Daemon::start(&[]));
        create(&api, whole());
        servers[0].set(&world, Mode::Error);
        wait_for_weights(&api, [0, 3, 3]);
        let first = |expected: (u64, u64)| {
            until("the weights of the first server", || {
                let (effective, intended) = weights(&api);
                let found = (effective[0], intended[0]);
                match found == expected {
                    true => Ok(()),
                    false => Err(format!("{found:?}, not {expected:?}")),
                }
            });
        };
        // Typed by hand: the new intended weight, and the check holds it at 0 again.
        let typed = ipvsadm("-e -t 10.9.0.100:8080 -r 10.1.0.11:8080 -m -w 7", "");
        assert!(typed.status.success());
        first((0, 7));
        let path = format!("/v1/services/{SERVICE}/servers/{}-8080", SERVERS[0]);
        let patch = [("content-type", "application/merge-patch+json")];
        let (status, _) = api.send("PATCH", &path, &patch, Some(&json!({"weight": 5})));
        assert_eq!(status, 200);
        first((0, 5));
        let drain = api.send_json("POST", "/v1/drains", &json!({"server": SERVERS[0]}));
        let servers_of = SERVERS.map(|address| {
            json!({"address": address, "port": 8080, "forwarding": "masquerade", "weight": 4})
        });
        let table =
            json!({"services": [{"id": SERVICE, "scheduler": "rr", "servers": servers_of}]});
        api.send_json("PUT", "/v1/tables/lab?adopt=unmanaged", &table);
        first((0, 4));
        // The drain is stronger than the check, and stays when the server is back.
        servers[0].set(&world, Mode::Good);
        wait_for(&api, ["up"; 3]);
        first((0, 4));
        let path = format!("/v1/drains/{}", drain["id"].as_str().unwrap());
        let (status, _) = api.send("DELETE", &path, &[("x-request-id", "t")], None);
        assert_eq!(status, 200);
        first((4, 4));
    });
}

#[test]
fn the_state_survives_a_restart_of_the_daemon() {
    let (world, servers) = world(None);
    let folder = Folder::new("health");
    world.director.run(|| {
        let api = Api::of(Daemon::with_state(&folder, &[]));
        create(&api, whole());
        servers[2].set(&world, Mode::Reset);
        wait_for_weights(&api, [3, 3, 0]);
        api.stop();
        let api = Api::of(Daemon::with_state(&folder, &[]));
        assert_eq!(weights(&api), (vec![3, 3, 0], vec![3; 3]));
        servers[2].set(&world, Mode::Good);
        wait_for_weights(&api, [3; 3]);
    });
}
