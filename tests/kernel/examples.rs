//! The examples of ipvsadm(8), over both protocols, with real servers and real requests.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics fails"
)]

use std::{collections::BTreeMap, path::Path};

use serde_json::{Value, json};

use crate::support::{
    Namespace,
    api::{Api, Interface, Request},
    daemon::{ADDRESS, Daemon},
    lists, rules, run, until,
};

/// EXAMPLE 1, EXAMPLE 2 and the IPv6 example of the manual.
const MANUAL: &str = "\
-A -t 207.175.44.110:80 -s rr
-a -t 207.175.44.110:80 -r 192.168.10.1:80 -m
-a -t 207.175.44.110:80 -r 192.168.10.2:80 -m
-a -t 207.175.44.110:80 -r 192.168.10.3:80 -m
-a -t 207.175.44.110:80 -r 192.168.10.4:80 -m
-a -t 207.175.44.110:80 -r 192.168.10.5:80 -m
-A -f 1 -s rr
-a -f 1 -r 192.168.10.1:0 -m
-a -f 1 -r 192.168.10.2:0 -m
-a -f 1 -r 192.168.10.3:0 -m
-a -f 1 -r 192.168.10.4:0 -m
-a -f 1 -r 192.168.10.5:0 -m
-A -t [2001:db8::80]:80 -s rr
-a -t [2001:db8::80]:80 -r [2001:db8::a0a0]:80 -m
";

fn servers(port: Option<u16>) -> Vec<Value> {
    (1..=5)
        .map(|n| json!({"address": format!("192.168.10.{n}"), "port": port, "forwarding": "masquerade"}))
        .collect()
}

fn example_1() -> Value {
    json!({"protocol": "tcp", "address": "207.175.44.110", "port": 80, "scheduler": "rr",
           "servers": servers(Some(80))})
}

#[test]
fn the_manuals_examples_give_the_same_table_with_ipvsadm_http_and_a_stock_grpc_client() {
    let (real, http, grpc) = (Namespace::new(), Namespace::new(), Namespace::new());
    real.run(|| rules(MANUAL));
    let wanted = real.save();

    http.run(|| {
        let api = Api::start(Interface::Http);
        for body in [
            example_1(),
            json!({"fwmark": 1, "scheduler": "rr", "servers": servers(None)}),
            json!({"protocol": "tcp", "address": "2001:db8::80", "port": 80, "scheduler": "rr",
                   "servers": [{"address": "2001:db8::a0a0", "forwarding": "masquerade"}]}),
        ] {
            api.write(&Request::CreateService(body)).unwrap();
        }
    });
    assert_eq!(http.save(), wanted);

    let read_back = grpc.run(|| {
        let _daemon = Daemon::start(&[]);
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = root.join(".cache/venv/bin/python");
        assert!(python.exists(), "no stock gRPC client: lab/install tests");
        let client = root.join("tests/grpc_stock_client.py");
        let endpoint = ADDRESS.to_string();
        run(
            python.to_str().unwrap(),
            [client.to_str().unwrap(), endpoint.as_str()],
        )
    });
    assert_eq!(grpc.save(), wanted);
    // The client prints the kernel's order; ipvsadm sorts.
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&read_back), sorted(&wanted));
}

#[test]
fn example_1_spreads_100_requests_evenly_and_counters_equal_ipvsadms() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/lab/topology.sh");
    let director = Namespace::new();
    // The names of network namespaces are global to the kernel.
    let topology = |line: &str| {
        let line = format!("LAB_PREFIX=examples- exec {script} {line}");
        director.run(|| run("bash", ["-c", line.as_str()]))
    };
    topology("example1 up");
    let (counted, real) = director.run(|| {
        let api = Api::start(Interface::Http);
        api.write(&Request::CreateService(example_1())).unwrap();
        let answers = topology(
            "on client bash -c 'for ((i = 0; i < 100; i++)); do curl -sf http://207.175.44.110/; echo; done'",
        );
        let mut spread: BTreeMap<&str, u32> = BTreeMap::new();
        for name in answers.split_whitespace() {
            *spread.entry(name).or_default() += 1;
        }
        let twenty: BTreeMap<_, _> = (1..=5).map(|n| (format!("rs{n}"), 20)).collect();
        let spread: BTreeMap<_, _> = spread
            .into_iter()
            .map(|(name, count)| (name.trim_start_matches("examples-").to_owned(), count))
            .collect();
        assert_eq!(spread, twenty);

        // The kernel sums its counters every 2 s.
        until("counters include all packets and equal ipvsadm's", || {
            let ours = counters(&api.services());
            let theirs = real_counters();
            let all = ours.values().all(|counters| counters[0] == 20);
            if all && ours == theirs {
                Ok((ours, theirs))
            } else {
                Err(format!("{ours:?} {theirs:?}"))
            }
        })
    });
    assert_eq!(counted.len(), 5, "{real:?}");
    topology("example1 down");
}

/// Connections, packets and bytes, in and out, for each server.
fn counters(services: &[Value]) -> BTreeMap<String, [u64; 5]> {
    let servers = services[0]["servers"].as_array().unwrap();
    servers
        .iter()
        .map(|server| {
            let stats = &server["stats"];
            let field = |name: &str| stats[name].as_u64().unwrap();
            let five = [
                "connections",
                "packets_in",
                "packets_out",
                "bytes_in",
                "bytes_out",
            ];
            let address = server["address"].as_str().unwrap();
            (format!("{address}:80"), five.map(field))
        })
        .collect()
}

/// The same from the real ipvsadm.
fn real_counters() -> BTreeMap<String, [u64; 5]> {
    lists("-L -n --stats --exact")
        .lines()
        .filter_map(|line| {
            let mut words = line.strip_prefix("  -> ")?.split_whitespace();
            let name = words.next()?.to_owned();
            let numbers: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
            Some((name, numbers.try_into().ok()?))
        })
        .collect()
}
