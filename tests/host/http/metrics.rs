//! `/metrics`: both formats, what is shown of the table, and what a scrape costs the kernel.

use std::time::Duration;

use futures_util::future::join_all;
use http::Method;
use ipvsd::{
    http::{HttpOptions, MetricsOptions},
    kernel::{
        FakeKernel,
        fake::{Connections, Counters, Destination, Fault, On, Service, ServiceId, command},
    },
    metrics::ScrapeOptions,
    server::Limits,
};

use super::daemon::Daemon;
use crate::common::exposition::{Exposition, Format};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0";
const WEB: &str = "tcp-192.0.2.1-80";

impl Daemon {
    /// A front end with these settings of metrics.
    async fn with_metrics(max_age: Duration, scrape: ScrapeOptions) -> Self {
        Self::with(HttpOptions {
            metrics: MetricsOptions { max_age, scrape },
            ..Limits::default().http_options()
        })
        .await
    }

    /// A front end whose scrapes read the kernel each.
    async fn without_age() -> Self {
        Self::with_metrics(Duration::ZERO, ScrapeOptions::default()).await
    }

    async fn open_metrics(&self) -> Exposition {
        let response = self
            .get_with_headers("/metrics", &[("accept", OPEN_METRICS)])
            .await
            .expect(200);
        let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        assert_eq!(response.header("content-type"), media_type);
        assert_eq!(response.header("vary"), "accept");
        let text = String::from_utf8(response.body.to_vec()).unwrap();
        Exposition::parse(&text, Format::OpenMetrics)
    }

    async fn prometheus(&self) -> Exposition {
        let response = self.get("/metrics").await.expect(200);
        let media_type = "text/plain; version=0.0.4; charset=utf-8";
        assert_eq!(response.header("content-type"), media_type);
        let text = String::from_utf8(response.body.to_vec()).unwrap();
        Exposition::parse(&text, Format::Prometheus)
    }
}

fn web() -> ServiceId {
    ServiceId::tcp(([192, 0, 2, 1], 80).into())
}

fn counters(connections: u64) -> Counters {
    Counters {
        connections,
        in_packets: 2 * connections,
        out_packets: 3 * connections,
        in_bytes: 4 * connections,
        out_bytes: u64::MAX - connections,
        ..Counters::default()
    }
}

/// Adds services on ports from 1 on, each with this many servers.
fn fill(kernel: &FakeKernel, sizes: &[u8]) {
    for (port, size) in (1..).zip(sizes) {
        let id = ServiceId::tcp(([192, 0, 2, 2], port).into());
        assert!(kernel.add_service(Service::new(id)));
        for server in 0..*size {
            let address = ([10, 0, 0, server], port).into();
            assert!(kernel.add_destination(id, Destination::new(address)));
        }
    }
}

const LEVELS: [&str; 5] = [
    "connections_total",
    "incoming_packets_total",
    "outgoing_packets_total",
    "incoming_bytes_total",
    "outgoing_bytes_total",
];

#[tokio::test]
async fn the_three_levels_have_their_counters_in_both_formats() {
    let daemon = Daemon::with_service().await;
    let server = ([10, 0, 0, 1], 80).into();
    let connections = Connections {
        active: 7,
        inactive: 8,
        persistent: 9,
    };
    daemon.kernel.set_totals(counters(1_000));
    assert!(daemon.kernel.set_counters(web(), counters(100)));
    let kernel = &daemon.kernel;
    assert!(kernel.set_traffic(web(), server, connections, counters(10)));
    for metrics in [daemon.open_metrics().await, daemon.prometheus().await] {
        let ids = [("service", WEB), ("server", "10.0.0.1-80")];
        for (level, labels, connections) in [
            ("ipvs_", &ids[..0], 1_000),
            ("ipvs_service_", &ids[..1], 100),
            ("ipvs_server_", &ids[..], 10),
        ] {
            let Counters {
                connections,
                in_packets,
                out_packets,
                in_bytes,
                out_bytes,
                ..
            } = counters(connections);
            let values = [connections, in_packets, out_packets, in_bytes, out_bytes];
            for (name, value) in LEVELS.iter().zip(values) {
                let name = format!("{level}{name}");
                let value = value as f64;
                assert_eq!(metrics.get(&name, labels), value, "{name}");
                let own: Vec<_> = labels.iter().map(|(label, _)| *label).collect();
                let sample = metrics.named(&name)[0];
                let mut labels: Vec<_> = sample.labels.keys().collect();
                labels.sort_by_key(|label| *label != "service");
                assert_eq!(labels, own, "{name}");
            }
        }
        let gauges = [
            ("active_connections", 7.0),
            ("inactive_connections", 8.0),
            ("persistent_connections", 9.0),
            ("weight", 1.0),
            ("effective_weight", 1.0),
        ];
        for (name, value) in gauges {
            let name = format!("ipvs_server_{name}");
            assert_eq!(metrics.get(&name, &ids), value, "{name}");
        }
        assert_eq!(metrics.get("ipvs_up", &[]), 1.0);
        assert_eq!(metrics.get("ipvs_services", &[]), 1.0);
        assert_eq!(metrics.get("ipvs_servers", &[]), 2.0);
        let service = &ids[..1];
        assert_eq!(metrics.get("ipvs_service_servers", service), 2.0);
        assert_eq!(metrics.get("ipvs_service_available_servers", service), 1.0);
    }
}

#[tokio::test]
async fn counters_of_64_bits_are_written_in_full() {
    let daemon = Daemon::with_service().await;
    daemon.kernel.set_totals(counters(1));
    let metrics = daemon.open_metrics().await;
    let sample = metrics.named("ipvs_outgoing_bytes_total")[0].clone();
    assert_eq!(sample.text, (u64::MAX - 1).to_string());
}

#[tokio::test]
async fn properties_are_labels_of_information_alone() {
    let daemon = Daemon::with_service().await;
    daemon
        .post("/v1/services", r#"{"id":"fwmark6-26","scheduler":"wlc"}"#)
        .await
        .expect(201);
    let metrics = daemon.open_metrics().await;
    let info = [
        ("service", WEB),
        ("protocol", "tcp"),
        ("local_address", "192.0.2.1"),
        ("local_port", "80"),
        ("local_mark", ""),
        ("scheduler", "rr"),
        ("owner", "_unmanaged"),
    ];
    assert_eq!(metrics.get("ipvs_service_info", &info), 1.0);
    let names: Vec<_> = info.iter().map(|(name, _)| *name).collect();
    let sample = metrics.named("ipvs_service_info")[0];
    assert_eq!(sample.labels.len(), names.len());
    assert!(names.iter().all(|name| sample.labels.contains_key(*name)));
    // In decimal.
    let info = [
        ("service", "fwmark6-26"),
        ("local_mark", "26"),
        ("protocol", ""),
    ];
    assert_eq!(metrics.get("ipvs_service_info", &info), 1.0);
    let info = [
        ("service", WEB),
        ("server", "10.0.0.2-80"),
        ("remote_address", "10.0.0.2"),
        ("remote_port", "80"),
        ("forwarding", "masquerade"),
    ];
    assert_eq!(metrics.get("ipvs_server_info", &info), 1.0);
    assert_eq!(
        metrics.named("ipvs_server_info")[0].labels.len(),
        info.len()
    );
}

#[tokio::test]
async fn timeouts_settings_and_sync_daemons_are_shown() {
    let daemon = Daemon::without_age().await;
    let metrics = daemon.open_metrics().await;
    assert_eq!(
        metrics.get("ipvs_timeout_seconds", &[("timeout", "tcp_fin")]),
        120.0
    );
    assert_eq!(metrics.get("ipvs_estimation_enabled", &[]), 1.0);
    assert_eq!(
        metrics.get("ipvs_setting", &[("setting", "run_estimation")]),
        1.0
    );
    assert_eq!(
        metrics.get("ipvs_sync_daemon_up", &[("state", "master")]),
        0.0
    );
    assert_eq!(metrics.find("ipvs_sync_daemon_info", &[]), None);
    daemon
        .put(
            "/v1/sync-daemons/master",
            r#"{"interface":"eth0","sync_id":5}"#,
        )
        .await
        .expect(201);
    daemon
        .patch("/v1/settings", r#"{"run_estimation":false}"#)
        .await
        .expect(200);
    let metrics = daemon.open_metrics().await;
    assert_eq!(metrics.get("ipvs_estimation_enabled", &[]), 0.0);
    assert_eq!(
        metrics.get("ipvs_sync_daemon_up", &[("state", "master")]),
        1.0
    );
    assert_eq!(
        metrics.get("ipvs_sync_daemon_up", &[("state", "backup")]),
        0.0
    );
    let info = [("state", "master"), ("interface", "eth0"), ("sync_id", "5")];
    assert_eq!(metrics.get("ipvs_sync_daemon_info", &info), 1.0);
    // Its interface is gone: it sends nothing.
    daemon.kernel.remove_interface("eth0");
    let metrics = daemon.open_metrics().await;
    assert_eq!(
        metrics.get("ipvs_sync_daemon_up", &[("state", "master")]),
        0.0
    );
}

#[tokio::test]
async fn above_the_limit_whole_services_lose_their_servers_and_nothing_else() {
    let options = |max_servers| ScrapeOptions {
        max_servers,
        node_exporter_names: true,
    };
    // In the order of ids: ports 1, 2, 3, 4.
    let sizes = [2, 3, 1, 0];
    for (limit, shown, truncated) in [
        (6, vec!["1", "1", "2", "2", "2", "3"], 0.0),
        (5, vec!["1", "1", "2", "2", "2"], 1.0),
        (4, vec!["1", "1", "3"], 1.0),
        (0, vec![], 3.0),
    ] {
        let daemon = Daemon::with_metrics(Duration::ZERO, options(limit)).await;
        fill(&daemon.kernel, &sizes);
        let metrics = daemon.open_metrics().await;
        assert_eq!(
            metrics.get("ipvsd_metrics_truncated_services", &[]),
            truncated
        );
        let of_servers = metrics
            .families
            .iter()
            .filter(|(name, _)| name.starts_with("ipvs_server_"));
        for (name, family) in of_servers {
            let mut ports: Vec<_> = family
                .samples
                .iter()
                .map(|sample| sample.label("service").rsplit('-').next().unwrap())
                .collect();
            ports.sort_unstable();
            assert_eq!(ports, shown, "{name} {limit}");
        }
        let backends = metrics.named("node_ipvs_backend_weight");
        assert_eq!(backends.len(), shown.len());
        for name in ["ipvs_service_connections_total", "ipvs_service_info"] {
            assert_eq!(metrics.named(name).len(), sizes.len(), "{name}");
        }
        let last = [("service", "tcp-192.0.2.2-3")];
        assert_eq!(metrics.get("ipvs_service_servers", &last), 1.0);
        assert_eq!(metrics.get("ipvs_servers", &[]), 6.0);
    }
}

#[tokio::test]
async fn one_dump_serves_all_scrapes_within_the_age() {
    let hour = Duration::from_secs(3600);
    let daemon = Daemon::with_metrics(hour, ScrapeOptions::default()).await;
    fill(&daemon.kernel, &[2, 2, 2]);
    daemon.kernel.reset_counts();
    let scrapes = join_all((0..50).map(|_| daemon.open_metrics())).await;
    assert!(
        scrapes
            .iter()
            .all(|scrape| scrape.get("ipvs_servers", &[]) == 6.0)
    );
    assert_eq!(daemon.kernel.dumps(command::GET_SERVICE), 1);
    assert_eq!(daemon.kernel.dumps(command::GET_DEST), 3);
    // Not even a change makes it dump again.
    daemon
        .post("/v1/services", r#"{"id":"tcp-192.0.2.9-80"}"#)
        .await
        .expect(201);
    daemon.open_metrics().await;
    assert_eq!(daemon.kernel.dumps(command::GET_SERVICE), 1);
}

#[tokio::test]
async fn scrapes_that_come_during_a_dump_share_the_next_one() {
    let daemon = Daemon::without_age().await;
    fill(&daemon.kernel, &[1]);
    let slow = Fault::SlowCommand(Duration::from_millis(300));
    daemon
        .kernel
        .faults()
        .always(On::Command(command::GET_SERVICE), slow);
    daemon.kernel.reset_counts();
    join_all((0..40).map(|_| daemon.open_metrics())).await;
    let dumps = daemon.kernel.dumps(command::GET_SERVICE);
    assert!((1..=5).contains(&dumps), "{dumps}");
}

#[tokio::test]
async fn without_an_age_each_scrape_shows_what_happened_before_it() {
    let daemon = Daemon::without_age().await;
    for services in 1..=3 {
        let id = ServiceId::tcp(([192, 0, 2, 1], services).into());
        assert!(daemon.kernel.add_service(Service::new(id)));
        let metrics = daemon.open_metrics().await;
        assert_eq!(metrics.get("ipvs_services", &[]), f64::from(services));
    }
}

#[tokio::test]
async fn what_the_daemon_created_or_zeroed_has_the_time_of_it() {
    let daemon = Daemon::without_age().await;
    let own = Daemon::with_service().await;
    // Of another program.
    fill(&daemon.kernel, &[1]);
    let metrics = daemon.open_metrics().await;
    assert!(
        metrics
            .samples()
            .all(|sample| !sample.name.ends_with("_created"))
    );

    let before = now();
    let metrics = own.open_metrics().await;
    assert_eq!(metrics.named("ipvs_server_connections_created").len(), 2);
    for level in ["ipvs_service_", "ipvs_server_"] {
        for counter in LEVELS {
            let name = format!("{level}{}", counter.replace("_total", "_created"));
            let samples = metrics.named(&name);
            assert!(!samples.is_empty(), "{name}");
            assert!(
                samples
                    .iter()
                    .all(|sample| (sample.value - before).abs() < 60.0)
            );
        }
    }
    assert_eq!(metrics.find("ipvs_connections_created", &[]), None);
    let prometheus = own.prometheus().await;
    assert!(
        prometheus
            .samples()
            .all(|sample| !sample.name.ends_with("_created"))
    );

    // A counter that goes back has a later time.
    let id = ServiceId::tcp(([192, 0, 2, 2], 1).into());
    let service = [("service", "tcp-192.0.2.2-1")];
    assert!(daemon.kernel.set_counters(id, counters(50)));
    let zero = daemon.post("/v1/services/tcp-192.0.2.2-1/zero", "").await;
    zero.expect(204);
    let metrics = daemon.open_metrics().await;
    let zeroed = metrics.get("ipvs_service_connections_created", &service);
    assert_eq!(metrics.get("ipvs_service_connections_total", &service), 0.0);
    daemon.post("/v1/zero", "").await.expect(204);
    let metrics = daemon.open_metrics().await;
    let all = metrics.get("ipvs_connections_created", &[]);
    assert!(all >= zeroed);
    assert_eq!(
        metrics.get("ipvs_service_connections_created", &service),
        all
    );
    assert_eq!(
        metrics.get("ipvs_server_connections_created", &service),
        all
    );

    // It is another service now.
    assert!(daemon.kernel.remove_service(id));
    let metrics = daemon.open_metrics().await;
    assert_eq!(
        metrics.find("ipvs_service_connections_created", &service),
        None
    );
}

#[tokio::test]
async fn a_server_that_returns_with_its_counters_has_no_time() {
    let daemon = Daemon::with_service().await;
    let address = ([10, 0, 0, 1], 80).into();
    let kernel = &daemon.kernel;
    let connections = Connections::default();
    assert!(kernel.set_traffic(web(), address, connections, counters(77)));
    let path = format!("/v1/services/{WEB}/servers");
    daemon
        .delete(&format!("{path}/10.0.0.1-80"))
        .await
        .expect(204);
    let again = r#"{"address":"10.0.0.1","forwarding":"masquerade"}"#;
    daemon.post(&path, again).await.expect(201);
    let server = [("service", WEB), ("server", "10.0.0.1-80")];
    let other = [("service", WEB), ("server", "10.0.0.2-80")];
    let metrics = daemon.open_metrics().await;
    assert!(metrics.get("ipvs_server_connections_created", &other) > 0.0);
    assert_eq!(metrics.get("ipvs_server_connections_total", &server), 77.0);
    assert_eq!(
        metrics.find("ipvs_server_connections_created", &server),
        None
    );
}

#[tokio::test]
async fn without_the_kernel_the_metrics_of_the_daemon_are_left() {
    let daemon = Daemon::without_age().await;
    fill(&daemon.kernel, &[1]);
    assert_eq!(daemon.open_metrics().await.get("ipvs_up", &[]), 1.0);
    daemon.kernel.faults().unload();
    for metrics in [daemon.open_metrics().await, daemon.prometheus().await] {
        assert_eq!(metrics.get("ipvs_up", &[]), 0.0);
        let others = metrics
            .families
            .keys()
            .filter(|name| name.starts_with("ipvs_"));
        assert_eq!(others.collect::<Vec<_>>(), ["ipvs_up"]);
        assert_eq!(metrics.named("ipvsd_build_info").len(), 1);
        assert!(metrics.get("process_resident_memory_bytes", &[]) > 1e6);
    }
    daemon.kernel.faults().load();
    let metrics = until(&daemon, |metrics| metrics.get("ipvs_up", &[]) == 1.0).await;
    assert_eq!(metrics.get("ipvs_services", &[]), 0.0);
    assert!(metrics.get("ipvsd_kernel_socket_rebuilds_total", &[]) >= 1.0);
}

#[tokio::test]
async fn the_executor_counts_what_it_sends_and_what_becomes_of_it() {
    let daemon = Daemon::with_service().await;
    let missing = daemon.delete("/v1/services/tcp-192.0.2.7-80").await;
    missing.problem(404, "SERVICE_NOT_FOUND");
    let refused = Fault::Errno(libc::ENOMEM);
    let faults = daemon.kernel.faults();
    faults.once(On::Command(command::SET_DEST), refused);
    let server = format!("/v1/services/{WEB}/servers/10.0.0.1-80");
    daemon.patch(&server, r#"{"weight":9}"#).await;
    let metrics = daemon.open_metrics().await;
    let commands = |command, result| {
        let labels = [("command", command), ("result", result)];
        metrics.find("ipvsd_kernel_commands_total", &labels)
    };
    assert_eq!(commands("create_service", "ok"), Some(1.0));
    assert_eq!(commands("create_server", "ok"), Some(2.0));
    assert_eq!(commands("update_server", "ENOMEM"), Some(1.0));
    assert!(metrics.get("ipvsd_kernel_batch_operations_count", &[]) >= 2.0);
    let table = [("query", "table")];
    let dumps = metrics.get("ipvsd_kernel_read_duration_seconds_count", &table);
    assert_eq!(dumps, 1.0);
    assert_eq!(
        metrics.get("ipvsd_executor_queue_length", &[("queue", "reads")]),
        0.0
    );
    assert!(metrics.get("ipvsd_kernel_queries_total", &[("cache", "miss")]) >= 1.0);
    assert_eq!(metrics.get("ipvsd_audit_records_lost_total", &[]), 0.0);
    assert_eq!(
        metrics.get("ipvsd_subscribers", &[("stream", "watch")]),
        0.0
    );
}

#[tokio::test]
async fn the_names_of_node_exporter_are_shown_on_request() {
    let daemon = Daemon::with_service().await;
    let metrics = daemon.prometheus().await;
    let is_node = |name: &String| name.starts_with("node_");
    assert_eq!(
        metrics.families.keys().filter(|name| is_node(name)).count(),
        0
    );

    let options = ScrapeOptions {
        node_exporter_names: true,
        ..ScrapeOptions::default()
    };
    let daemon = Daemon::with_metrics(Duration::ZERO, options).await;
    let body = r#"{"id":"ID","servers":[{"address":"ADDRESS","port":53,"forwarding":"tunnel","weight":5}]}"#;
    for (id, address) in [
        ("udp-2001:db8::1-53", "2001:db8::9"),
        ("sctp-192.0.2.1-53", "10.0.0.9"),
        ("fwmark-26", "10.0.0.9"),
        // The same labels as those of the service before: their values are added up.
        ("fwmark6-26", "10.0.0.9"),
    ] {
        let body = body.replace("ID", id).replace("ADDRESS", address);
        daemon.post("/v1/services", &body).await.expect(201);
    }
    daemon.kernel.set_totals(counters(5));
    let metrics = daemon.prometheus().await;
    for (name, value) in LEVELS.iter().zip([5.0, 10.0, 15.0, 20.0]) {
        assert_eq!(metrics.get(&format!("node_ipvs_{name}"), &[]), value);
    }
    let mut shown: Vec<_> = metrics
        .named("node_ipvs_backend_weight")
        .iter()
        .map(|sample| {
            let labels = ["proto", "local_address", "local_port", "local_mark"];
            let labels = labels.map(|label| sample.label(label).to_owned());
            let remote = sample.label("remote_address").to_owned();
            assert_eq!(sample.label("remote_port"), "53");
            assert_eq!(sample.labels.len(), 6);
            (labels.join("|"), remote, sample.value)
        })
        .collect();
    shown.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = [
        ("FWM||0|0000001A", "10.0.0.9", 10.0),
        ("SCTP|192.0.2.1|53|", "10.0.0.9", 5.0),
        ("UDP|2001:db8::1|53|", "2001:db8::9", 5.0),
    ];
    let expected = expected.map(|(id, remote, value)| (id.to_owned(), remote.to_owned(), value));
    assert_eq!(shown, expected);
    for name in ["active", "inactive"] {
        let name = format!("node_ipvs_backend_connections_{name}");
        assert_eq!(metrics.named(&name).len(), 3);
    }
}

#[tokio::test]
async fn a_long_text_is_complete_and_compressed_on_request() {
    let daemon = Daemon::without_age().await;
    fill(&daemon.kernel, &[100; 30]);
    let metrics = daemon.open_metrics().await;
    for name in [
        "ipvs_server_connections_total",
        "ipvs_server_weight",
        "ipvs_server_info",
    ] {
        assert_eq!(metrics.named(name).len(), 3000, "{name}");
    }
    let headers = [("accept", OPEN_METRICS), ("accept-encoding", "gzip")];
    let zipped = daemon
        .get_with_headers("/metrics", &headers)
        .await
        .expect(200);
    assert_eq!(zipped.header("content-encoding"), "gzip");
    let head = daemon.request(Method::HEAD, "/metrics", &[], "").await;
    assert!(head.expect(200).body.is_empty());
    daemon.get("/metrics?x=1").await.invalid_field("x");
    daemon
        .post("/metrics", "")
        .await
        .problem(405, "METHOD_NOT_ALLOWED");
}

/// Scrapes until the text is as expected.
async fn until(daemon: &Daemon, is_as_expected: impl Fn(&Exposition) -> bool) -> Exposition {
    let scrape = async {
        loop {
            let metrics = daemon.open_metrics().await;
            if is_as_expected(&metrics) {
                return metrics;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), scrape)
        .await
        .expect("the metrics never were as expected")
}

/// Seconds since 1970.
fn now() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs_f64()
}
