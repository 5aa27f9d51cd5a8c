//! Limits of the environment: a large table, concurrent changes by ipvsadm, missing capabilities,
//! another network namespace.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::Command,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use crate::support::{
    Namespace,
    api::{Api, Interface, Request, without_etags},
    daemon::{ADDRESS, Daemon},
    lists, rules, run,
};

#[test]
fn a_table_of_1000_services_with_100_servers_each_is_listed_completely() {
    Namespace::new().run(|| {
        let direct = Api::start(Interface::App);
        let mut wanted = HashMap::new();
        for i in 0..1000 {
            let servers: Vec<_> = (0..100)
                .map(|j| {
                    json!({
                        "address": format!("10.{}.{}.{j}", 1 + i / 250, i % 250),
                        "port": 1000 + j, "forwarding": "masquerade", "weight": (i + j) % 7,
                    })
                })
                .collect();
            let id = format!("tcp-192.0.{}.{}-{}", i / 250, i % 250, 8000 + i % 3);
            let service = json!({"id": id, "scheduler": "wrr", "servers": servers});
            direct.write(&Request::CreateService(service)).unwrap();
            wanted.insert(id, servers);
        }
        for interface in [Interface::App, Interface::Http, Interface::Grpc] {
            let listed = Api::start(interface).services();
            assert_eq!(listed.len(), 1000, "{interface:?}");
            for service in listed.into_iter().map(without_etags) {
                let wanted = &wanted[service["id"].as_str().unwrap()];
                let servers = service["servers"].as_array().unwrap();
                assert_eq!(servers.len(), 100, "{interface:?} {}", service["id"]);
                for (server, wanted) in servers.iter().zip(wanted) {
                    for name in ["address", "port", "forwarding", "weight"] {
                        assert_eq!(server[name], wanted[name], "{interface:?} {server}");
                    }
                }
            }
        }
        let saved = lists("-S -n");
        assert_eq!(saved.lines().count(), 101_000);
        let line = "-a -t 192.0.3.249:8000 -r 10.4.249.99:1099 -m -w 6";
        assert!(saved.lines().any(|saved| saved == line));
    });
}

#[test]
fn changes_by_ipvsadm_are_in_the_next_response() {
    for interface in [Interface::App, Interface::Http, Interface::Grpc] {
        Namespace::new().run(|| {
            let api = Api::start(interface);
            // The command, then the number of services, the weight of the server, and the persistence.
            for (line, count, weight, timeout) in [
                ("-A -t 10.0.0.1:80 -s rr", 1, None, None),
                ("-a -t 10.0.0.1:80 -r 10.1.1.2:80 -g", 1, Some(1), None),
                ("-e -t 10.0.0.1:80 -r 10.1.1.2:80 -g -w 9", 1, Some(9), None),
                ("-A -f 3 -s rr", 2, Some(9), None),
                ("-E -t 10.0.0.1:80 -s wlc -p 120", 2, Some(9), Some(120)),
                ("-D -f 3", 1, Some(9), Some(120)),
                ("-d -t 10.0.0.1:80 -r 10.1.1.2:80", 1, None, Some(120)),
            ] {
                rules(line);
                let services = api.services();
                assert_eq!(services.len(), count, "{interface:?} {line}");
                let first = &services[0];
                let number = |path: &str| first.pointer(path).and_then(Value::as_u64);
                assert_eq!(number("/servers/0/weight"), weight, "{interface:?} {line}");
                let persistence = number("/persistence/timeout_seconds");
                assert_eq!(persistence, timeout, "{interface:?} {line}");
            }
        });
    }
}

/// The daemon as an unprivileged user with these capabilities.
fn start_unprivileged(capabilities: &str) -> Daemon {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    command.args(["--inh-caps", capabilities, "--ambient-caps", capabilities]);
    command.arg(env!("CARGO_BIN_EXE_ipvsd"));
    Daemon::of(command)
}

fn service() -> Request {
    Request::CreateService(json!({"id": "tcp-10.0.0.1-80", "scheduler": "rr"}))
}

#[test]
fn without_the_capability_errors_name_it() {
    let in_user_namespace = || {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", env!("CARGO_BIN_EXE_ipvsd")]);
        Daemon::of(command)
    };
    for start in [
        (|| start_unprivileged("-all")) as fn() -> Daemon,
        in_user_namespace,
    ] {
        Namespace::new().run(|| {
            rules("-A -t 10.0.0.9:80 -s rr");
            let api = Api::of(start());
            let refusals = [
                api.try_services().map(drop),
                api.write(&service()).map(drop),
            ];
            for refusal in refusals {
                let refusal = refusal.unwrap_err();
                assert_eq!(refusal.reason, "KERNEL_UNAVAILABLE", "{refusal:?}");
                assert_eq!(refusal.errno.as_deref(), Some("EPERM"));
                assert!(refusal.detail.contains("CAP_NET_ADMIN"), "{refusal:?}");
                let hint = refusal.hint.unwrap();
                assert!(hint.contains("AmbientCapabilities=CAP_NET_ADMIN"), "{hint}");
            }
            assert_eq!(api.fetch("/healthz").0, 200);
            assert_eq!(api.fetch("/readyz").0, 503);
            assert_eq!(lists("-S -n"), "-A -t 10.0.0.9:80 -s rr\n");
        });
    }
}

#[test]
fn cap_net_admin_is_sufficient() {
    Namespace::new().run(|| {
        let api = Api::of(start_unprivileged("-all,+net_admin"));
        api.write(&service()).unwrap();
        assert_eq!(lists("-S -n"), "-A -t 10.0.0.1:80 -s rr\n");
        assert_eq!(api.fetch("/readyz").0, 200);
    });
}

#[test]
fn netns_manages_another_namespace_only() {
    let (here, there) = (Namespace::new(), Namespace::named("kernel-edges"));
    there.ip("link add only-there type dummy");
    there.ip("link set only-there up");
    here.run(|| {
        rules("-A -u 10.0.0.9:53 -s rr");
        let api = Api::of(Daemon::start(&["--netns", "kernel-edges"]));
        assert_eq!(api.services(), [] as [Value; 0]);
        api.write(&service()).unwrap();
        let daemon = json!({"interface": "only-there"});
        api.write(&Request::StartSyncDaemon("backup".to_owned(), daemon))
            .unwrap();
        let settings = json!({"sync_threshold": [1, 7], "expire_nodest_conn": true});
        api.write(&Request::UpdateSettings(settings)).unwrap();
        api.write(&Request::SetTimeouts(json!({"udp_seconds": 77})))
            .unwrap();
        let (_, info) = api.fetch("/v1/info");
        assert_eq!(info["namespace"], "kernel-edges", "{info}");
        let (status, connections) = api.fetch("/v1/connections");
        assert_eq!((status, &connections["connections"]), (200, &json!([])));

        assert_eq!(lists("-S -n"), "-A -u 10.0.0.9:53 -s rr\n");
        assert_eq!(lists("-L --daemon"), "");
        assert_eq!(
            lists("-L --timeout"),
            "Timeout (tcp tcpfin udp): 900 120 300\n"
        );
        let setting = |name: &str| {
            let text = std::fs::read_to_string(format!("/proc/sys/net/ipv4/vs/{name}"));
            text.unwrap()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(setting("sync_threshold"), "3 50");
        there.run(|| {
            assert_eq!(setting("sync_threshold"), "1 7");
            assert_eq!(setting("expire_nodest_conn"), "1");
        });
        assert_eq!(there.save(), "-A -t 10.0.0.1:80 -s rr\n");
        assert!(there.lists("-L --daemon").contains("mcast=only-there"));
        assert!(there.lists("-L --timeout").ends_with("900 120 77\n"));
    });
    run("ip", ["netns", "del", "kernel-edges"]);
}

#[test]
fn date_follows_a_wall_clock_that_steps_back() {
    const HOUR: u64 = 3600;
    // Longer than the daemon needs.
    const PATIENCE: Duration = Duration::from_secs(20);
    let wall_clock = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs()
    };
    let set = |second: u64| run("date", ["-s", &format!("@{second}")]);
    Namespace::new().run(|| {
        let _daemon = Daemon::start(&[]);
        let date = || {
            let mut stream = TcpStream::connect(ADDRESS).unwrap();
            let head = "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
            stream.write_all(head.as_bytes()).unwrap();
            let mut response = String::new();
            stream.read_to_string(&mut response).unwrap();
            let date = response
                .lines()
                .find_map(|line| line.strip_prefix("date: "));
            let date = httpdate::parse_http_date(date.unwrap()).unwrap();
            date.duration_since(UNIX_EPOCH).unwrap().as_secs()
        };
        assert!(date().abs_diff(wall_clock()) < 60);
        set(wall_clock() - HOUR);
        // A value is sent again for 0.1 s.
        let start = Instant::now();
        let (mut sent, mut now) = (date(), wall_clock());
        while sent.abs_diff(now) >= 60 && start.elapsed() < PATIENCE {
            (sent, now) = (date(), wall_clock());
        }
        set(now + HOUR);
        assert!(sent.abs_diff(now) < 60, "{sent} at {now}");
    });
}

/// Sends a request on an open connection, and returns the whole response.
fn get(stream: &mut TcpStream, path: &str) -> String {
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut reader = BufReader::new(stream);
    let mut response = String::new();
    while !response.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut response).unwrap(), 0, "{response}");
    }
    let mut lines = response.lines();
    let length = lines.find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    response + std::str::from_utf8(&body).unwrap()
}

#[test]
fn settings_and_facts_are_complete_while_connections_use_the_descriptors() {
    Namespace::new().run(|| {
        let mut command = Command::new("sh");
        let limited = "ulimit -n 100 && exec \"$0\" \"$@\"";
        command.args(["-c", limited, env!("CARGO_BIN_EXE_ipvsd")]);
        let _daemon = Daemon::of(command);
        let mut first = TcpStream::connect(ADDRESS).unwrap();
        get(&mut first, "/healthz");
        let connect = |_| TcpStream::connect(ADDRESS).unwrap();
        let _others: Vec<_> = (0..200).map(connect).collect();
        for _ in 0..50 {
            let info = get(&mut first, "/v1/info");
            assert!(info.starts_with("HTTP/1.1 200 "), "{info}");
            assert!(!info.contains("\"release\":\"\""), "{info}");
            let settings = get(&mut first, "/v1/settings");
            assert!(settings.starts_with("HTTP/1.1 200 "), "{settings}");
        }
    });
}
