//! The API's representation of a recorded state of a kernel, built here field by field, independently
//! of the tested code.

use serde_json::{Map, Value, json};

/// The services of a recorded state, by id.
pub fn services(state: &Value) -> Vec<Value> {
    let mut all: Vec<_> = items(state, "services").iter().map(service).collect();
    sort(&mut all);
    all
}

/// The sync daemons of a recorded text of `ipvsadm -L --daemon`.
pub fn sync_daemons(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| {
            let (state, rest) = line.split_once(" sync daemon (").unwrap();
            let rest = rest.trim_end_matches(')');
            let mut daemon = Map::from_iter([("state".to_owned(), state.into())]);
            for pair in rest.split(", ") {
                let (name, value) = pair.split_once('=').unwrap();
                let (name, numeric) = match name {
                    "mcast" => ("interface", false),
                    "syncid" => ("sync_id", true),
                    "maxlen" => ("max_length", true),
                    "group" => ("multicast_group", false),
                    "port" => ("multicast_port", true),
                    _ => ("multicast_ttl", true),
                };
                let value = if numeric {
                    value.parse::<u64>().unwrap().into()
                } else {
                    value.into()
                };
                daemon.insert(name.to_owned(), value);
            }
            daemon.into()
        })
        .collect()
}

/// The timeouts of a recorded text of `ipvsadm -L --timeout`.
pub fn timeouts(text: &str) -> Value {
    let numbers: Vec<u64> = text
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    json!({"tcp_seconds": numbers[0], "tcp_fin_seconds": numbers[1], "udp_seconds": numbers[2]})
}

/// By id, as text.
pub fn sort(services: &mut [Value]) {
    services.sort_by_key(|service| service["id"].as_str().unwrap_or_default().to_owned());
}

fn items<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

fn service(recorded: &Value) -> Value {
    let is_ipv6 = recorded["af"] == "inet6";
    let mut service = Map::new();
    let mut put = |name: &str, value: Value| service.insert(name.to_owned(), value);
    if recorded["fwmark"].is_u64() {
        let (kind, family) = if is_ipv6 {
            ("fwmark6", "ipv6")
        } else {
            ("fwmark", "ipv4")
        };
        put("id", format!("{kind}-{}", recorded["fwmark"]).into());
        put("fwmark", recorded["fwmark"].clone());
        put("family", family.into());
    } else {
        let protocol = match recorded["protocol"].as_u64() {
            Some(6) => "tcp",
            Some(17) => "udp",
            _ => "sctp",
        };
        let address = recorded["addr"].as_str().unwrap();
        put(
            "id",
            format!("{protocol}-{address}-{}", recorded["port"]).into(),
        );
        put("protocol", protocol.into());
        put("address", address.into());
        put("port", recorded["port"].clone());
    }
    put("scheduler", recorded["sched"].clone());
    let flags = recorded["flags"].as_u64().unwrap();
    let prefix = match recorded["sched"].as_str() {
        Some(name @ ("sh" | "mh")) => Some(name),
        _ => None,
    };
    let names = [
        (0x08, "fallback", "flag-1"),
        (0x10, "port", "flag-2"),
        (0x20, "", "flag-3"),
    ];
    let names: Vec<String> = names
        .into_iter()
        .filter(|(bit, ..)| flags & bit != 0)
        .map(|(_, own, common)| match prefix {
            Some(prefix) if !own.is_empty() => format!("{prefix}-{own}"),
            _ => common.to_owned(),
        })
        .collect();
    put("scheduler_flags", names.into());
    put("one_packet", (flags & 4 != 0).into());
    put("owner", "_unmanaged".into());
    let mask = match &recorded["netmask"] {
        Value::String(text) => text.clone(),
        number => number.to_string(),
    };
    if flags & 1 != 0 {
        put(
            "persistence",
            json!({"timeout_seconds": recorded["timeout"], "netmask": mask}),
        );
    } else if mask != "255.255.255.255" && mask != "128" {
        put("netmask", mask.into());
    }
    if let Value::String(engine) = &recorded["pe_name"] {
        put("persistence_engine", engine.clone().into());
    }
    let servers: Vec<_> = items(recorded, "dests").iter().map(server).collect();
    put("servers", servers.into());
    service.into()
}

fn server(recorded: &Value) -> Value {
    let forwarding = match recorded["fwd_method"].as_u64() {
        Some(0) => "masquerade",
        Some(1) => "local",
        Some(2) => "tunnel",
        Some(3) => "direct",
        _ => "bypass",
    };
    let address = recorded["addr"].as_str().unwrap();
    let mut server = json!({
        "id": format!("{address}-{}", recorded["port"]),
        "address": address,
        "port": recorded["port"],
        "forwarding": forwarding,
        "weight": recorded["weight"],
        "effective_weight": recorded["weight"],
        "upper_threshold": recorded["u_thresh"],
        "lower_threshold": recorded["l_thresh"],
    });
    if forwarding == "tunnel" {
        let kinds = ["ipip", "gue", "gre"];
        let checksums = ["none", "checksum", "remote"];
        let place = |name: &str| usize::try_from(recorded[name].as_u64().unwrap()).unwrap();
        let mut tunnel = json!({
            "type": kinds[place("tun_type")],
            "checksum": checksums[place("tun_flags")],
        });
        if recorded["tun_port"] != 0 {
            tunnel["port"] = recorded["tun_port"].clone();
        }
        server["tunnel"] = tunnel;
    }
    server
}
