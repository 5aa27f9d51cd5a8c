//! Debian's Prometheus scrapes the daemon under traffic, with the configuration, the rules and the board of
//! `deploy/`: each query returns data, and alerts follow what happens to the director.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use form_urlencoded::Serializer;
use ipvsd::proto::{v1 as pb, v1::ipvs_service_client::IpvsServiceClient};
use serde_json::{Value, json};

use crate::{
    common::monitoring::{self, BoardQuery, list, text},
    support::{
        Folder,
        daemon::{ADDRESS, Daemon},
        rules, run, until,
        world::World,
    },
};

/// From `lab/install tests`.
const PROMETHEUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.cache/prometheus/prometheus");

/// Every namespace has ports of its own.
const PROMETHEUS_ADDRESS: &str = "127.0.0.1:9090";
const TARGET: &str = "127.0.0.1:4788";

/// Tokens of a viewer, and of an administrator.
const TOKEN: &str = "ipvsd_the-token-of-prometheus";
const ADMIN: &str = "ipvsd_the-token-of-the-admin";

const SERVICE: &str = "tcp-10.9.0.100-80";

const RULES: &str = "\
-A -t 10.9.0.100:80 -s rr
-a -t 10.9.0.100:80 -r 10.1.0.11:80 -m -w 3
-A -u 10.9.0.100:80 -s rr -p 60
-a -u 10.9.0.100:80 -r 10.1.0.11:80 -m
-A -t 10.9.0.100:81 -s rr
-a -t 10.9.0.100:81 -r 10.1.0.11:81 -m -w 0
";

/// The time between scrapes and evaluations.
const INTERVAL: &str = "1s";

/// What Grafana sets, for this interval. The kernel sums its counters every 2 s.
const RATE_INTERVAL: &str = "10s";

/// Alerts that a machine without time for the test may cause.
const DEPEND_ON_LOAD: [&str; 2] = ["IpvsdRequestsSlow", "IpvsdRequestErrors"];

/// Prometheus, which ends with this.
struct Prometheus(Child);

// === impl Prometheus ===

impl Prometheus {
    /// Starts it in this thread's namespace, with the example configuration as the test needs it.
    fn start(folder: &Path) -> Self {
        let mut config = monitoring::parse("deploy/prometheus/prometheus.yml");
        config["global"] = json!({"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL});
        let files = monitoring::rule_files();
        let files = files
            .iter()
            .map(|file| format!("{}/{file}", env!("CARGO_MANIFEST_DIR")));
        config["rule_files"] = files.collect();
        let job = &mut config["scrape_configs"][0];
        job["tls_config"]["ca_file"] = json!(folder.join("cert.pem"));
        job["authorization"]["credentials_file"] = json!(folder.join("token"));
        job["static_configs"] = json!([{"targets": [TARGET]}]);
        // JSON is YAML.
        fs::write(folder.join("prometheus.yml"), config.to_string()).unwrap();
        fs::write(folder.join("token"), TOKEN).unwrap();
        let mut command = Command::new(PROMETHEUS);
        let child = command
            .arg(format!("--web.listen-address={PROMETHEUS_ADDRESS}"))
            .arg(format!(
                "--config.file={}",
                folder.join("prometheus.yml").display()
            ))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.join("data").display()
            ))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::from(fs::File::create(folder.join("log")).unwrap()))
            .spawn();
        let child = child.unwrap_or_else(|error| panic!("lab/install tests: {command:?}: {error}"));
        let started = Self(child);
        until("Prometheus is ready", || {
            match started.get("/-/ready", &[]) {
                Ok((200, _)) => Ok(()),
                other => Err(format!(
                    "{other:?} {:?}",
                    fs::read_to_string(folder.join("log"))
                )),
            }
        });
        started
    }

    /// The status and the body of a response.
    fn get(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> Result<(u16, String), std::io::Error> {
        let query = Serializer::new(String::new())
            .extend_pairs(parameters)
            .finish();
        let mut stream = TcpStream::connect(PROMETHEUS_ADDRESS)?;
        // Of HTTP/1.0: the body ends with the connection.
        write!(
            stream,
            "GET {path}?{query} HTTP/1.0\r\nhost: localhost\r\n\r\n"
        )?;
        let mut response = String::new();
        stream.read_to_string(&mut response)?;
        let (head, body) = response.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).expect("a status").parse();
        Ok((status.expect("a number"), body.to_owned()))
    }

    /// The data of a response of the API.
    #[track_caller]
    fn data(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let (status, body) = self.get(path, parameters).unwrap();
        assert_eq!(status, 200, "{path} {parameters:?}: {body}");
        serde_json::from_str::<Value>(&body).unwrap()["data"].take()
    }

    /// The series of an expression.
    fn query(&self, expression: &str, is_instant: bool) -> Vec<Value> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let (start, end) = (now - Duration::from_secs(5), now);
        let seconds = |time: Duration| time.as_secs_f64().to_string();
        let data = match is_instant {
            true => self.data("/api/v1/query", &[("query", expression)]),
            false => self.data(
                "/api/v1/query_range",
                &[
                    ("query", expression),
                    ("start", &seconds(start)),
                    ("end", &seconds(end)),
                    ("step", INTERVAL),
                ],
            ),
        };
        list(&data["result"]).to_vec()
    }

    /// The values of a variable of the board.
    fn values(&self, query: &str) -> Vec<String> {
        let arguments = query
            .strip_prefix("label_values(")
            .and_then(|rest| rest.strip_suffix(')'));
        let (selector, label) = arguments
            .and_then(|rest| rest.rsplit_once(", "))
            .expect(query);
        let path = format!("/api/v1/label/{label}/values");
        let values = self.data(&path, &[("match[]", selector)]);
        list(&values)
            .iter()
            .map(|value| text(value).to_owned())
            .collect()
    }

    /// The alerts by name: whether each is active, that is pending or firing. No rule has failed.
    fn alerts(&self) -> BTreeMap<String, bool> {
        let data = self.data("/api/v1/rules", &[]);
        let rules = list(&data["groups"])
            .iter()
            .flat_map(|group| list(&group["rules"]));
        let alerts = rules.filter_map(|rule| {
            assert_ne!(rule["health"], "err", "{rule}");
            let is_alert = rule["type"] == "alerting";
            is_alert.then(|| (text(&rule["name"]).to_owned(), rule["state"] != "inactive"))
        });
        alerts.collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A daemon that Prometheus can scrape over TLS with a token.
fn start(folder: &Path) -> Daemon {
    let file = |name: &str| folder.join(name).display().to_string();
    let (certificate, key, policy) = (file("cert.pem"), file("key.pem"), file("policy.toml"));
    let options = [
        "cert",
        "--self-signed",
        "--certificate",
        &certificate,
        "--key",
        &key,
    ];
    run(env!("CARGO_BIN_EXE_ipvsd"), options);
    let tokens = [("viewer", TOKEN), ("admin", ADMIN)].map(|(role, token)| {
        let hash = ipvsd::model::Sha256::of(token.as_bytes());
        format!("[[token]]\nname = '{role}'\nsha256 = '{hash}'\nrole = '{role}'\n")
    });
    fs::write(&policy, tokens.concat()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ipvsd"));
    command.args(["--listen", &format!("tls:{TARGET}"), "--policy", &policy]);
    command.env("IPVSD_STATE_DIR", file("state"));
    command
        .env("IPVSD_TLS_CERTIFICATE", &certificate)
        .env("IPVSD_TLS_KEY", &key);
    // Each scrape reads the kernel.
    command.env("IPVSD_METRICS_MAX_AGE", "0s");
    Daemon::listening(command)
}

/// The connections, changes and calls of clients, until they end.
fn clients(world: &World, are_done: &AtomicBool) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut api = runtime
        .block_on(IpvsServiceClient::connect(format!("http://{ADDRESS}")))
        .unwrap();
    let server = format!("/v1/services/{SERVICE}/servers/10.1.0.11-80");
    let mut open = Vec::new();
    for weight in (1..=100).cycle() {
        if are_done.load(Ordering::Relaxed) {
            return;
        }
        open.truncate(5);
        open.insert(0, world.connect("10.9.0.100:80"));
        drop(world.ask("10.9.0.100:80"));
        set_weight(&server, weight);
        let mut call = tonic::Request::new(pb::GetInfoRequest::default());
        let credential = format!("Bearer {ADMIN}").parse().unwrap();
        call.metadata_mut().insert("authorization", credential);
        runtime.block_on(api.get_info(call)).unwrap();
    }
}

/// Changes the weight of a server.
fn set_weight(path: &str, weight: u32) {
    let body = json!({"weight": weight}).to_string();
    let mut stream = TcpStream::connect(ADDRESS).unwrap();
    write!(
        stream,
        "PATCH {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         authorization: Bearer {ADMIN}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
}

/// A query with the values of its variables.
fn resolved(expression: &str, variables: &BTreeMap<&str, String>) -> String {
    let mut resolved = expression.to_owned();
    for (name, value) in variables {
        resolved = resolved.replace(&format!("${name}"), value);
    }
    assert!(!resolved.contains('$'), "an unknown variable: {resolved}");
    resolved
}

/// The variables of the board, chosen as by its user: all directors, and this service.
fn variables(prometheus: &Prometheus, board: &Value) -> BTreeMap<&'static str, String> {
    let mut chosen = BTreeMap::from([
        ("__rate_interval", RATE_INTERVAL.to_owned()),
        ("__range", RATE_INTERVAL.to_owned()),
    ]);
    let all = list(&board["templating"]["list"]).iter();
    let query = |name: &str| {
        let mut all = all.clone();
        let variable = all.find(|variable| variable["name"] == name).expect(name);
        text(&variable["query"]["query"]).to_owned()
    };
    for name in ["job", "instance", "service"] {
        let query = resolved(&query(name), &chosen);
        let values = until("a variable has values", || {
            match prometheus.values(&query) {
                values if values.is_empty() => Err(query.clone()),
                values => Ok(values),
            }
        });
        let value = match name {
            "service" => {
                assert!(values.iter().any(|value| value == SERVICE), "{values:?}");
                SERVICE.to_owned()
            }
            // As Grafana joins them.
            _ => values.join("|"),
        };
        chosen.insert(name, value);
    }
    chosen
}

/// Whether a series has a number at any time.
fn has_number(series: &Value) -> bool {
    let values = list(&series["values"]).iter().chain([&series["value"]]);
    let mut numbers = values.filter_map(|value| value[1].as_str()?.parse::<f64>().ok());
    numbers.any(f64::is_finite)
}

/// Waits until exactly these alerts are active, beside those that depend on the load.
#[track_caller]
fn active(prometheus: &Prometheus, expected: &BTreeSet<&str>) {
    until("the alerts are those expected", || {
        let alerts = prometheus.alerts();
        let is_certain = |name: &&str| !DEPEND_ON_LOAD.contains(name);
        let active = alerts.iter().filter(|(_, is_active)| **is_active);
        let active: BTreeSet<_> = active
            .map(|(name, _)| name.as_str())
            .filter(is_certain)
            .collect();
        match active == *expected {
            true => Ok(()),
            false => Err(format!("{active:?}, expected {expected:?}")),
        }
    });
}

#[test]
fn each_query_of_board_and_rules_returns_data_and_alerts_follow_the_director() {
    let world = World::new();
    world.director.run(|| {
        rules(RULES);
        run("ip", "link add sync0 type dummy".split(' '));
        run("ip", "addr add 10.5.0.1/24 dev sync0".split(' '));
        run("ip", "link set sync0 up".split(' '));
        let sync = "--start-daemon master --mcast-interface sync0 --syncid 7";
        run("ipvsadm", sync.split(' '));
        let folder = Folder::new("monitoring");
        let daemon = start(&folder.0);
        let prometheus = Prometheus::start(&folder.0);
        let are_done = AtomicBool::new(false);
        thread::scope(|scope| {
            // In this namespace, as the thread that starts it.
            scope.spawn(|| clients(&world, &are_done));
            let end = End(&are_done);
            data(&prometheus);
            drop(end);
        });

        let mut expected = BTreeSet::from(["IpvsServiceWithoutServers", "IpvsServerDrainedLong"]);
        active(&prometheus, &expected);
        run("ip", "link del sync0".split(' '));
        expected.extend(["IpvsSyncDaemonDown", "IpvsSyncDaemonInterfaceLost"]);
        active(&prometheus, &expected);
        fs::write("/proc/sys/net/ipv4/vs/run_estimation", "0").unwrap();
        expected.insert("IpvsEstimationOff");
        active(&prometheus, &expected);
        run("ipvsadm", ["-C"]);
        expected.remove("IpvsServiceWithoutServers");
        expected.insert("IpvsTableEmpty");
        active(&prometheus, &expected);
        // Nothing is known of the director any more, except what is of the last minutes.
        drop(daemon);
        let expected = BTreeSet::from(["IpvsServerDrainedLong", "IpvsdNotReady"]);
        active(&prometheus, &expected);
    });
}

/// Ends the clients, also if the test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits until each query of the board and each recording rule has data, and each alert was evaluated.
fn data(prometheus: &Prometheus) {
    let board = monitoring::board();
    let variables = variables(prometheus, &board);
    let queries = monitoring::queries(&board)
        .into_iter()
        .map(|query| BoardQuery {
            expression: resolved(&query.expression, &variables),
            ..query
        });
    let rules = monitoring::rules();
    let recorded = rules.iter().filter(|rule| !rule.is_alert);
    let recorded = recorded.map(|rule| BoardQuery {
        panel: "a recording rule".to_owned(),
        expression: rule.name.clone(),
        is_instant: true,
    });
    // What the traffic has changed, and not only what is there.
    let counted = [
        "instance:ipvs_connections:rate5m > 0",
        "instance_service:ipvs_service_connections:rate5m > 0",
        "instance_service:ipvs_service_outgoing_bytes:rate5m > 0",
        "instance_service:ipvs_service_active_connections:sum > 0",
        "instance:ipvsd_requests:rate5m > 0",
        "instance:ipvsd_request_duration_seconds:p99_rate5m > 0",
        r#"ALERTS{alertname="IpvsServiceWithoutServers", service="tcp-10.9.0.100-81", alertstate="pending"}"#,
    ];
    let counted = counted.map(|expression| BoardQuery {
        panel: "the traffic".to_owned(),
        expression: expression.to_owned(),
        is_instant: true,
    });
    let mut missing: Vec<_> = queries.chain(recorded).chain(counted).collect();
    assert!(missing.len() > 100, "{}", missing.len());
    until("each query has data", || {
        missing.retain(|query| {
            let series = prometheus.query(&query.expression, query.is_instant);
            !series.iter().any(has_number)
        });
        match missing.is_empty() {
            true => Ok(()),
            false => Err(format!("{missing:#?}")),
        }
    });
    until("each alert was evaluated", || {
        let known: BTreeSet<_> = prometheus.alerts().into_keys().collect();
        let alerts = rules.iter().filter(|rule| rule.is_alert);
        let alerts: BTreeSet<_> = alerts.map(|rule| rule.name.clone()).collect();
        match known == alerts {
            true => Ok(()),
            false => Err(format!("{known:?}")),
        }
    });
}
