//! Translates command lines of ipvsadm into requests of the API.

use serde_json::{Map, Value, json};

use super::api::Request;

/// The words of a command line, `--a=b` split like `--a b`.
struct Line<'a>(Vec<&'a str>);

/// The request for a line without the leading `ipvsadm`.
pub fn translate(line: &str) -> Request {
    let line = Line(
        line.split_whitespace()
            .flat_map(|word| match word.split_once('=') {
                Some((name, value)) if name.starts_with("--") => vec![name, value],
                _ => vec![word],
            })
            .collect(),
    );
    if line.has(["-C", "--clear"]) {
        return Request::Clear;
    }
    if let Some(first) = line.place(["--set", "--set"]) {
        return timeouts(&line.0[first + 1..]);
    }
    if let Some(state) = line.value(["--stop-daemon", "--stop-daemon"]) {
        return Request::StopSyncDaemon(state.to_owned());
    }
    if let Some(state) = line.value(["--start-daemon", "--start-daemon"]) {
        return Request::StartSyncDaemon(state.to_owned(), line.daemon());
    }
    let (id, identity) = line.service();
    if line.has(["-A", "--add-service"]) {
        let mut body = line.service_body();
        body.extend(identity);
        Request::CreateService(body.into())
    } else if line.has(["-E", "--edit-service"]) {
        Request::ReplaceService(id, line.service_body().into())
    } else if line.has(["-D", "--delete-service"]) {
        Request::DeleteService(id)
    } else if line.has(["-Z", "--zero"]) {
        Request::Zero(Some(id))
    } else {
        let (address, port) = line.real_server();
        let mut body = line.server_body();
        let named = identity.get("port").and_then(Value::as_u64);
        let masquerades = body["forwarding"] == "masquerade";
        // Without masquerading packets keep their port; ipvsadm then sets the port of the service.
        let port = match (named, port) {
            (Some(_), Some(port)) if masquerades => Some(port),
            (Some(_), _) => None,
            (None, port) => port,
        };
        if line.has(["-a", "--add-server"]) {
            body.insert("address".to_owned(), address.into());
            body.extend(port.map(|port| ("port".to_owned(), port.into())));
            return Request::CreateServer(id, body.into());
        }
        let port = port.unwrap_or(named.unwrap_or(0));
        let server = format!("{address}-{port}");
        if line.has(["-e", "--edit-server"]) {
            Request::ReplaceServer(id, server, body.into())
        } else {
            assert!(line.has(["-d", "--delete-server"]), "{:?}", line.0);
            Request::DeleteServer(id, server)
        }
    }
}

/// 0 keeps the timeout, like an absent field.
fn timeouts(words: &[&str]) -> Request {
    let names = ["tcp_seconds", "tcp_fin_seconds", "udp_seconds"];
    let body: Map<String, Value> = names
        .into_iter()
        .zip(words)
        .filter_map(|(name, word)| {
            let seconds: i64 = word.trim_start_matches('+').parse().unwrap();
            (seconds != 0).then(|| (name.to_owned(), seconds.into()))
        })
        .collect();
    Request::SetTimeouts(body.into())
}

/// Address and port of `10.0.0.1:80`, `[2001:db8::1]:80`, or an address.
fn endpoint(text: &str) -> (String, Option<u64>) {
    if let Some((address, port)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let port = port.strip_prefix(':').map(|port| port.parse().unwrap());
        return (address.to_owned(), port);
    }
    match text.split_once(':') {
        Some((address, port)) if !port.contains(':') => {
            (address.to_owned(), Some(port.parse().unwrap()))
        }
        _ => (text.to_owned(), None),
    }
}

fn number(text: &str) -> Value {
    text.parse::<i64>().unwrap().into()
}

impl<'a> Line<'a> {
    fn place(&self, names: [&str; 2]) -> Option<usize> {
        self.0.iter().position(|word| names.contains(word))
    }

    fn has(&self, names: [&str; 2]) -> bool {
        self.place(names).is_some()
    }

    fn value(&self, names: [&str; 2]) -> Option<&'a str> {
        self.0.get(self.place(names)? + 1).copied()
    }

    /// Id and identity of the service.
    fn service(&self) -> (String, Map<String, Value>) {
        if let Some(mark) = self.value(["-f", "--fwmark-service"]) {
            let (kind, family) = if self.has(["-6", "--ipv6"]) {
                ("fwmark6", "ipv6")
            } else {
                ("fwmark", "ipv4")
            };
            let identity = object(json!({"fwmark": number(mark), "family": family}));
            return (format!("{kind}-{mark}"), identity);
        }
        let named = [
            ("tcp", ["-t", "--tcp-service"]),
            ("udp", ["-u", "--udp-service"]),
            ("sctp", ["--sctp-service", "--sctp-service"]),
        ];
        let mut found = named
            .into_iter()
            .filter_map(|(protocol, names)| Some((protocol, self.value(names)?)));
        let (protocol, text) = found.next().expect("a service");
        let (address, port) = endpoint(text);
        let port = port.unwrap_or(0);
        let id = format!("{protocol}-{address}-{port}");
        let identity = json!({"protocol": protocol, "address": address, "port": port});
        (id, object(identity))
    }

    fn service_body(&self) -> Map<String, Value> {
        let mut body = Map::new();
        let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
        if let Some(scheduler) = self.value(["-s", "--scheduler"]) {
            put("scheduler", scheduler.into());
        }
        if let Some(flags) = self.value(["-b", "--sched-flags"]) {
            let flags: Vec<_> = flags.split(',').filter(|flag| !flag.is_empty()).collect();
            put("scheduler_flags", flags.into());
        }
        if self.has(["-o", "--ops"]) {
            put("one_packet", true.into());
        }
        if let Some(engine) = self.value(["--pe", "--pe"]) {
            put("persistence_engine", engine.into());
        }
        let mask = self.value(["-M", "--netmask"]);
        if let Some(place) = self.place(["-p", "--persistent"]) {
            // Without a value ipvsadm uses 360; its manual says 300.
            let seconds = self.0.get(place + 1).filter(|word| !word.starts_with('-'));
            let mut persistence = Map::new();
            persistence.insert(
                "timeout_seconds".to_owned(),
                number(seconds.unwrap_or(&"360")),
            );
            persistence.extend(mask.map(|mask| ("netmask".to_owned(), mask.into())));
            put("persistence", persistence.into());
        } else if let Some(mask) = mask {
            put("netmask", mask.into());
        }
        body
    }

    fn real_server(&self) -> (String, Option<u64>) {
        endpoint(self.value(["-r", "--real-server"]).expect("a server"))
    }

    fn server_body(&self) -> Map<String, Value> {
        let forwarding = if self.has(["-m", "--masquerading"]) {
            "masquerade"
        } else if self.has(["-i", "--ipip"]) {
            "tunnel"
        } else {
            "direct"
        };
        let mut body = object(json!({"forwarding": forwarding}));
        for (name, names) in [
            ("weight", ["-w", "--weight"]),
            ("upper_threshold", ["-x", "--u-threshold"]),
            ("lower_threshold", ["-y", "--l-threshold"]),
        ] {
            if let Some(value) = self.value(names) {
                body.insert(name.to_owned(), number(value));
            }
        }
        let mut tunnel = Map::new();
        if let Some(kind) = self.value(["--tun-type", "--tun-type"]) {
            tunnel.insert("type".to_owned(), kind.into());
        }
        if let Some(port) = self.value(["--tun-port", "--tun-port"]) {
            tunnel.insert("port".to_owned(), number(port));
        }
        for (option, checksum) in [
            ("nocsum", "none"),
            ("csum", "checksum"),
            ("remcsum", "remote"),
        ] {
            let option = format!("--tun-{option}");
            if self.has([&option, &option]) {
                tunnel.insert("checksum".to_owned(), checksum.into());
            }
        }
        if !tunnel.is_empty() {
            body.insert("tunnel".to_owned(), tunnel.into());
        }
        body
    }

    fn daemon(&self) -> Value {
        let mut body = Map::new();
        for (name, option) in [
            ("interface", "--mcast-interface"),
            ("multicast_group", "--mcast-group"),
        ] {
            if let Some(value) = self.value([option, option]) {
                body.insert(name.to_owned(), value.into());
            }
        }
        for (name, option) in [
            ("sync_id", "--syncid"),
            ("max_length", "--sync-maxlen"),
            ("multicast_port", "--mcast-port"),
            ("multicast_ttl", "--mcast-ttl"),
        ] {
            if let Some(value) = self.value([option, option]) {
                body.insert(name.to_owned(), number(value));
            }
        }
        body.into()
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
