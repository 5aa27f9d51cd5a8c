//! Reads recorded transcripts and the tables with which they were recorded.

use std::net::{IpAddr, Ipv4Addr};

use ipvsd::{
    ipvsadm::{Names, Resolver, WellKnownPorts},
    model::{
        Family, Forwarding, Name, Netmask, Protocol, Rates, SchedulerFlags, Server, ServerConfig,
        ServerKey, Service, ServiceConfig, ServiceEntry, ServiceKey, Stats, Tunnel,
    },
};
use serde_json::Value;

/// One step of a scenario.
#[derive(Clone, Debug)]
pub struct Step {
    pub name: String,
    pub cmd: String,
    pub out: String,
    pub err: String,
    pub rc: i64,
    pub env: String,
    /// The table, if the step is not a command.
    pub state: Option<Value>,
}

/// The steps of a scenario.
pub fn scenario(name: &str) -> Vec<Step> {
    let path = format!(
        "{}/tests/fixtures/cli/{name}.jsonl",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| {
            let step: Value = serde_json::from_str(line).unwrap();
            let text = |key: &str| step[key].as_str().unwrap_or_default().to_owned();
            Step {
                name: text("name"),
                cmd: text("cmd"),
                out: text("out"),
                err: text("err"),
                rc: step["rc"].as_i64().unwrap_or(0),
                env: text("env"),
                state: step.get("state").cloned(),
            }
        })
        .collect()
}

/// Splits a command line into words like a shell.
pub fn words(cmd: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for c in cmd.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn small(value: &Value) -> u32 {
    u32::try_from(number(value)).unwrap()
}

fn counters(value: &Value) -> (Stats, Rates) {
    let get = |key: &str| number(&value["stats"][key]);
    (
        Stats {
            connections: get("conns"),
            packets_in: get("inpkts"),
            packets_out: get("outpkts"),
            bytes_in: get("inbytes"),
            bytes_out: get("outbytes"),
        },
        Rates {
            connections: get("cps"),
            packets_in: get("inpps"),
            packets_out: get("outpps"),
            bytes_in: get("inbps"),
            bytes_out: get("outbps"),
        },
    )
}

/// The table of a state, in the kernel's order.
pub fn table(state: &Value) -> Vec<ServiceEntry> {
    let services = state["services"].as_array().unwrap();
    services.iter().map(entry).collect()
}

fn entry(service: &Value) -> ServiceEntry {
    let family = match service["af"].as_str() {
        Some("inet6") => Family::Ipv6,
        _ => Family::Ipv4,
    };
    let key = match service["fwmark"].as_u64() {
        Some(mark) => ServiceKey::Fwmark {
            family,
            mark: u32::try_from(mark).unwrap(),
        },
        None => ServiceKey::Address {
            protocol: Protocol::from(u16::try_from(number(&service["protocol"])).unwrap()),
            address: service["addr"].as_str().unwrap().parse().unwrap(),
            port: u16::try_from(number(&service["port"])).unwrap(),
        },
    };
    let flags = small(&service["flags"]);
    let netmask = match (&service["netmask"], family) {
        (Value::String(mask), _) => match mask.parse::<Ipv4Addr>() {
            Ok(mask) => Netmask::V4(mask),
            Err(_) => Netmask::V6(mask.parse().unwrap()),
        },
        (mask, _) => Netmask::V6(small(mask)),
    };
    let (stats, rates) = counters(service);
    let name = |key: &str| service[key].as_str().map(|name| name.parse().unwrap());
    ServiceEntry {
        service: Service {
            key,
            config: ServiceConfig {
                scheduler: name("sched").unwrap_or_else(|| Name::from_kernel(b"none")),
                scheduler_flags: SchedulerFlags::from_bits(flags),
                one_packet: flags & 4 != 0,
                persistence_timeout: (flags & 1 != 0).then(|| small(&service["timeout"])),
                netmask,
                persistence_engine: name("pe_name").or_else(|| name("pe")),
            },
            stats,
            rates,
            kept: None,
        },
        servers: service["dests"]
            .as_array()
            .unwrap()
            .iter()
            .map(server)
            .collect(),
    }
}

fn server(dest: &Value) -> Server {
    let (stats, rates) = counters(dest);
    let byte = |key: &str| u8::try_from(number(&dest[key])).unwrap();
    let port = |key: &str| u16::try_from(number(&dest[key])).unwrap();
    Server {
        key: ServerKey {
            address: dest["addr"].as_str().unwrap().parse().unwrap(),
            port: port("port"),
        },
        config: ServerConfig {
            forwarding: Forwarding::from(byte("fwd_method")),
            weight: small(&dest["weight"]),
            upper_threshold: small(&dest["u_thresh"]),
            lower_threshold: small(&dest["l_thresh"]),
            tunnel: Tunnel {
                kind: byte("tun_type").into(),
                port: port("tun_port"),
                checksum: port("tun_flags").into(),
            },
        },
        effective_weight: small(&dest["weight"]),
        holds: None,
        membership: None,
        active_connections: small(&dest["active_conns"]),
        inactive_connections: small(&dest["inact_conns"]),
        persistent_connections: small(&dest["persist_conns"]),
        stats,
        rates,
    }
}

/// The host and port names of the recording machine.
#[derive(Debug)]
pub struct RecordedNames {
    hosts: Vec<(IpAddr, Vec<String>)>,
    ports: WellKnownPorts,
}

impl RecordedNames {
    pub fn new() -> Self {
        let read = |name: &str| {
            let path = format!("{}/tests/fixtures/cli/{name}", env!("CARGO_MANIFEST_DIR"));
            std::fs::read_to_string(path).unwrap()
        };
        let hosts = read("hosts");
        let hosts = hosts.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            let address = words.next()?.parse().ok()?;
            Some((address, words.map(str::to_owned).collect()))
        });
        Self {
            hosts: hosts.collect(),
            ports: WellKnownPorts::parse(&read("services")),
        }
    }
}

impl Resolver for RecordedNames {
    fn host(&self, name: &str) -> Option<Ipv4Addr> {
        self.hosts
            .iter()
            .find_map(|(address, names)| match address {
                IpAddr::V4(address) if names.iter().any(|n| n == name) => Some(*address),
                _ => None,
            })
    }

    fn port(&self, name: &str, protocol: Protocol) -> Option<u16> {
        self.ports.port(name, protocol)
    }
}

impl Names for RecordedNames {
    fn host_of(&self, wanted: IpAddr) -> Option<&str> {
        let (_, names) = self.hosts.iter().find(|(address, _)| *address == wanted)?;
        names.first().map(String::as_str)
    }

    fn port_of(&self, port: u16, protocol: Protocol) -> Option<&str> {
        self.ports.name(port, protocol)
    }
}
