//! `/metrics` of a real kernel, beside what ipvsadm and Debian's node_exporter show of the same one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use crate::{
    common::exposition::{Exposition, Format, Sample},
    support::{
        Folder, Namespace,
        daemon::{ADDRESS, Daemon},
        lists, rules, until,
        world::World,
    },
};

/// From `lab/install tests`.
const NODE_EXPORTER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/.cache/prometheus/prometheus-node-exporter"
);

const EXPORTER_ADDRESS: &str = "127.0.0.1:9100";

const RULES: &str = "\
-A -t 10.9.0.100:80 -s rr
-a -t 10.9.0.100:80 -r 10.1.0.11:80 -m -w 3
-A -u 10.9.0.100:80 -s rr
-a -u 10.9.0.100:80 -r 10.1.0.11:80 -m
-a -u 10.9.0.100:80 -r 10.1.0.12:80 -m -w 0
-A -t [fd09::100]:80 -s rr -p 60
-a -t [fd09::100]:80 -r [fd01::11]:80 -m -w 65535
-A -f 26 -s wlc
-a -f 26 -r 10.1.0.11:80 -g
";

/// Of this, node_exporter makes something else than it is: see the tests.
const SCTP: &str = "\
-A --sctp-service 10.9.0.100:90 -s rr
-a --sctp-service 10.9.0.100:90 -r 10.1.0.13:90 -m -w 7
";

/// node_exporter, which ends with this.
struct NodeExporter(Child);

// === impl NodeExporter ===

impl NodeExporter {
    /// Starts it in this thread's namespace.
    fn start() -> Self {
        let mut command = Command::new(NODE_EXPORTER);
        let child = command
            .args(["--collector.disable-defaults", "--collector.ipvs"])
            .arg(format!("--web.listen-address={EXPORTER_ADDRESS}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = child.unwrap_or_else(|error| panic!("lab/install tests: {command:?}: {error}"));
        until("node_exporter listens", || {
            let connected = TcpStream::connect(EXPORTER_ADDRESS);
            connected.map(drop).map_err(|error| error.to_string())
        });
        Self(child)
    }

    /// Its samples of IPVS.
    fn samples(&self) -> BTreeMap<String, String> {
        let (_, text) = get(EXPORTER_ADDRESS, "");
        let is_ours = |line: &&str| line.contains("node_ipvs_");
        let lines = text.lines().filter(is_ours).map(|line| format!("{line}\n"));
        let text: String = lines.collect();
        // Its help texts end with a dot, too.
        of_node(&Exposition::parse(&text, Format::Prometheus))
    }
}

impl Drop for NodeExporter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The samples with the names of node_exporter, with their labels.
fn of_node(metrics: &Exposition) -> BTreeMap<String, String> {
    let samples = metrics.samples();
    let samples = samples.filter(|sample| sample.name.starts_with("node_ipvs_"));
    let value = |sample: &Sample| (id(sample), sample.value.to_string());
    samples.map(value).collect()
}

fn id(sample: &Sample) -> String {
    format!("{}{:?}", sample.name, sample.labels)
}

/// `GET /metrics`: the media type and the text.
fn get(address: &str, accept: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!(
        "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\naccept: {accept}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let mut head = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            match line.trim_end().is_empty() {
                true => break,
                false => {
                    assert!(line.contains(" 200 "), "{line}");
                    continue;
                }
            }
        };
        head.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut body = Vec::new();
    match head.contains_key("transfer-encoding") {
        false => drop(reader.read_to_end(&mut body).unwrap()),
        true => loop {
            let mut size = String::new();
            reader.read_line(&mut size).unwrap();
            let size = usize::from_str_radix(size.trim(), 16).unwrap();
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).unwrap();
            body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                break;
            }
        },
    }
    (
        head["content-type"].clone(),
        String::from_utf8(body).unwrap(),
    )
}

/// A daemon whose scrapes read the kernel each, with the names of node_exporter.
fn start(folder: &Folder) -> Daemon {
    let variables = [
        ("IPVSD_METRICS_MAX_AGE", "0s"),
        ("IPVSD_METRICS_NODE_EXPORTER_NAMES", "true"),
    ];
    Daemon::with_state(folder, &variables)
}

fn scrape() -> Exposition {
    let (_, text) = get(&ADDRESS.to_string(), "application/openmetrics-text");
    Exposition::parse(&text, Format::OpenMetrics)
}

/// The name of a service in ipvsadm's listings.
fn listed(id: &str) -> String {
    match id.split_once('-') {
        Some(("fwmark", mark)) => format!("FWM {mark}"),
        Some((protocol, rest)) => {
            format!("{} {}", protocol.to_ascii_uppercase(), endpoint(rest))
        }
        None => panic!("{id}"),
    }
}

fn endpoint(id: &str) -> String {
    let (address, port) = id.rsplit_once('-').unwrap();
    match address.contains(':') {
        true => format!("[{address}]:{port}"),
        false => format!("{address}:{port}"),
    }
}

/// Each service and server with values of these metrics, which follow a prefix for the level.
fn values(metrics: &Exposition, of_services: &[&str], of_servers: &[&str]) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    let line = |what: String, level: &str, names: &[&str], labels: &[(&str, &str)]| {
        let values = names.iter().map(|name| {
            let name = format!("{level}{name}");
            format!(" {}", metrics.get(&name, labels))
        });
        what + &values.collect::<String>()
    };
    for info in metrics.named("ipvs_service_info") {
        let id = info.label("service");
        let labels = [("service", id)];
        lines.insert(line(listed(id), "ipvs_service_", of_services, &labels));
    }
    for info in metrics.named("ipvs_server_info") {
        let (service, server) = (info.label("service"), info.label("server"));
        let labels = [("service", service), ("server", server)];
        let what = format!("{} -> {}", listed(service), endpoint(server));
        lines.insert(line(what, "ipvs_server_", of_servers, &labels));
    }
    lines
}

/// The same from the real ipvsadm: the words of each line, without those at `skipped` of servers.
fn real(arguments: &str, skipped: usize, are_services_counted: bool) -> BTreeSet<String> {
    let mut service = String::new();
    lists(arguments)
        .lines()
        .skip(3)
        .map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            if words[0] == "->" {
                let rest = [&words[..2], &words[2 + skipped..]].concat();
                return format!("{service} {}", rest.join(" "));
            }
            service = words[..2].join(" ");
            match are_services_counted {
                true => words.join(" "),
                false => service.clone(),
            }
        })
        .collect()
}

const COUNTERS: [&str; 5] = [
    "connections_total",
    "incoming_packets_total",
    "outgoing_packets_total",
    "incoming_bytes_total",
    "outgoing_bytes_total",
];

#[test]
fn a_scrape_shows_what_ipvsadm_prints_under_traffic() {
    let world = World::new();
    world.director.run(|| {
        rules(RULES);
        rules(SCTP);
        let folder = Folder::new("metrics");
        let _daemon = start(&folder);
        let open: Vec<_> = (0..3).map(|_| world.connect("10.9.0.100:80")).collect();
        let ipv6 = world.connect("[fd09::100]:80");
        let asked = world.ask("10.9.0.100:80");
        // The kernel sums its counters every 2 s.
        let metrics = until("the counters are those of ipvsadm", || {
            let metrics = scrape();
            let ours = values(&metrics, &COUNTERS, &COUNTERS);
            let theirs = real("-L -n --stats --exact", 0, true);
            let connections = metrics.get("ipvs_connections_total", &[]);
            match ours == theirs && connections == 5.0 {
                true => Ok(metrics),
                false => Err(format!("{connections} {ours:#?} {theirs:#?}")),
            }
        });
        // In ipvsadm's order, after the forwarding method.
        let gauges = ["weight", "active_connections", "inactive_connections"];
        assert_eq!(values(&metrics, &[], &gauges), real("-L -n", 1, false));
        let tcp = [("service", "tcp-10.9.0.100-80")];
        assert_eq!(metrics.get("ipvs_server_active_connections", &tcp), 3.0);
        let persistent = [("service", "tcp-fd09::100-80")];
        let templates = metrics.get("ipvs_server_persistent_connections", &persistent);
        assert_eq!(templates, 1.0);
        assert_eq!(
            metrics.get("ipvs_setting", &[("setting", "conn_reuse_mode")]),
            1.0
        );
        assert_eq!(metrics.get("ipvs_up", &[]), 1.0);
        let drained = [("service", "udp-10.9.0.100-80")];
        assert_eq!(metrics.get("ipvs_service_available_servers", &drained), 1.0);

        // By ipvsadm, and not by this daemon: the counters go back, and no time is known.
        lists("-Z");
        let metrics = scrape();
        assert_eq!(metrics.get("ipvs_service_connections_total", &tcp), 0.0);
        assert_eq!(metrics.find("ipvs_service_connections_created", &tcp), None);
        drop((open, ipv6, asked));
    });
}

#[test]
fn node_exporter_has_the_same_series() {
    let world = World::new();
    world.director.run(|| {
        rules(RULES);
        let folder = Folder::new("metrics-node");
        let _daemon = start(&folder);
        let exporter = NodeExporter::start();
        let open: Vec<_> = (0..2).map(|_| world.connect("10.9.0.100:80")).collect();
        let ipv6 = world.connect("[fd09::100]:80");
        let ours = until("the series are the same", || {
            let (ours, theirs) = (of_node(&scrape()), exporter.samples());
            let total = ours.get("node_ipvs_connections_total{}");
            match ours == theirs && total.is_some_and(|total| total == "3") {
                true => Ok(ours),
                false => Err(format!("{ours:#?} {theirs:#?}")),
            }
        });
        // Five totals, and three series of each server.
        assert_eq!(ours.len(), 5 + 3 * 5, "{ours:#?}");
        let has = |part: &str| ours.keys().any(|id| id.contains(part));
        assert!(
            has("\"local_mark\": \"0000001A\"") && has("\"fd01::11\""),
            "{ours:#?}"
        );
        drop((open, ipv6));
    });
}

/// node_exporter 1.5 does not know SCTP: it takes the servers of such a service for those of the one that
/// precedes it in `/proc/net/ip_vs`, or for ones without a service.
#[test]
fn of_sctp_node_exporter_shows_another_service() {
    Namespace::new().run(|| {
        rules(SCTP);
        let folder = Folder::new("metrics-sctp");
        let _daemon = start(&folder);
        let exporter = NodeExporter::start();
        let backend = |samples: &BTreeMap<String, String>| {
            let mut weights = samples
                .iter()
                .filter(|(id, _)| id.starts_with("node_ipvs_backend_weight"));
            let (id, weight) = weights.next().expect("a server");
            assert!(weights.next().is_none());
            assert!(id.contains("\"remote_address\": \"10.1.0.13\""), "{id}");
            assert_eq!(weight, "7");
            id.clone()
        };
        let (ours, theirs) = (backend(&of_node(&scrape())), backend(&exporter.samples()));
        assert!(ours.contains("\"proto\": \"SCTP\"") && ours.contains("\"10.9.0.100\""));
        assert!(
            !theirs.contains("SCTP") && !theirs.contains("\"10.9.0.100\""),
            "{theirs}"
        );
    });
}

/// The kernel keeps the counters of a deleted server while a connection refers to it.
#[test]
fn a_server_that_the_kernel_brings_back_has_no_time_of_creation() {
    let world = World::new();
    world.director.run(|| {
        let folder = Folder::new("metrics-created");
        let _daemon = start(&folder);
        let real = r#"{"address": "10.1.0.11", "forwarding": "masquerade"}"#;
        let service =
            format!(r#"{{"id": "tcp-10.9.0.100-80", "scheduler": "rr", "servers": [{real}]}}"#);
        let server = "/v1/services/tcp-10.9.0.100-80/servers/10.1.0.11-80";
        write("POST", "/v1/services", &service);
        let labels = [("service", "tcp-10.9.0.100-80")];
        let metrics = scrape();
        assert!(metrics.get("ipvs_server_connections_created", &labels) > 1e9);
        let open = world.connect("10.9.0.100:80");
        until("the connection is counted", || {
            match scrape().get("ipvs_server_connections_total", &labels) {
                1.0 => Ok(()),
                other => Err(other.to_string()),
            }
        });
        write("DELETE", server, "");
        write("PUT", server, real);
        let metrics = scrape();
        assert_eq!(metrics.get("ipvs_server_connections_total", &labels), 1.0);
        assert_eq!(
            metrics.find("ipvs_server_connections_created", &labels),
            None
        );
        write("POST", "/v1/zero", "");
        let metrics = scrape();
        assert_eq!(metrics.get("ipvs_server_connections_total", &labels), 0.0);
        assert!(
            metrics
                .find("ipvs_server_connections_created", &labels)
                .is_some()
        );
        assert!(metrics.find("ipvs_connections_created", &[]).is_some());
        drop(open);
    });
}

/// Sends a write, which must succeed.
#[track_caller]
fn write(method: &str, path: &str, body: &str) {
    let mut stream = TcpStream::connect(ADDRESS).unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    assert!(
        response.starts_with("HTTP/1.1 20"),
        "{method} {path}: {response}"
    );
}
