//! Counters, creation times, and the text of samples.
#![allow(clippy::unwrap_used, reason = "a test that panics fails")]

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use proptest::prelude::*;

use super::{
    families::{DIRECTOR, SERVICE_INFO},
    histogram::Scale,
    text::{Created, Texts, labels},
    *,
};
use crate::model::{
    Errno, Family, Op, Protocol, Query, Server, ServerConfig, ServerKey, Service, ServiceConfig,
    ServiceEntry, ServiceKey, StoredFields,
};

fn service(port: u16) -> ServiceKey {
    ServiceKey::Address {
        protocol: Protocol::Tcp,
        address: [192, 0, 2, 1].into(),
        port,
    }
}

fn server(number: u8) -> ServerKey {
    ServerKey {
        address: [10, 0, 0, number].into(),
        port: 80,
    }
}

fn create_service(port: u16) -> Op {
    let config = ServiceConfig::new(Family::Ipv4);
    Op::CreateService(service(port), config, StoredFields::default())
}

fn create_server(port: u16, number: u8) -> Op {
    Op::CreateServer(service(port), server(number), ServerConfig::default())
}

fn entry(port: u16, servers: impl Iterator<Item = u8>) -> ServiceEntry {
    let config = ServiceConfig::new(Family::Ipv4);
    let servers = servers.map(|number| Server::idle(server(number), ServerConfig::default()));
    ServiceEntry {
        service: Service::idle(service(port), config),
        servers: servers.collect(),
    }
}

/// The whole text of a table.
fn text(table: &[ServiceEntry], options: ScrapeOptions, format: Format) -> String {
    let creations = Creations::default();
    let prepared = Prepared::new(table, options, &creations, SystemTime::now());
    let mut exposition = Exposition::new(format);
    let mut out = Vec::new();
    while exposition.next(table, &prepared, &mut out) {}
    String::from_utf8(out).unwrap()
}

#[test]
fn a_value_at_a_bound_belongs_to_its_bucket() {
    let metrics = Metrics::default();
    let kernel = metrics.kernel();
    for (operations, times) in [(1, 2), (2, 1), (3, 1), (20_000, 1)] {
        (0..times).for_each(|_| kernel.batch(operations));
    }
    let text = metrics.encode(Format::OpenMetrics).unwrap();
    for line in [
        "ipvsd_kernel_batch_operations_bucket{le=\"1.0\"} 2",
        "ipvsd_kernel_batch_operations_bucket{le=\"2.0\"} 3",
        "ipvsd_kernel_batch_operations_bucket{le=\"4.0\"} 4",
        "ipvsd_kernel_batch_operations_bucket{le=\"16384.0\"} 4",
        "ipvsd_kernel_batch_operations_bucket{le=\"+Inf\"} 5",
        "ipvsd_kernel_batch_operations_count 5",
        "ipvsd_kernel_batch_operations_sum 20007.0",
    ] {
        assert!(text.lines().any(|own| own == line), "{line}\n{text}");
    }
    let histogram = Histogram::new(Scale::LATENCY);
    histogram.observe(Duration::from_micros(100));
    histogram.observe(Duration::MAX);
    assert_eq!(histogram.count(), 2);
}

#[test]
fn requests_find_the_counters_of_their_route() {
    let metrics = Metrics::default();
    let requests = metrics.requests();
    // Before there are routes, nothing is counted.
    requests.record(requests.http("GET", None), 200, None, Duration::ZERO);
    requests.set_http_routes([("GET", "/a".to_owned()), ("PUT", "/a".to_owned())]);
    requests.set_http_routes([("GET", "/other".to_owned())]);
    requests.set_grpc_routes(["/p.S/M".to_owned()]);
    let http = |method, path, status| {
        let route = requests.http(method, path);
        requests.record(route, status, None, Duration::from_millis(1));
    };
    http("GET", Some("/a"), 200);
    http("GET", Some("/a"), 200);
    http("PUT", Some("/a"), 507);
    http("PATCH", Some("/a"), 405);
    http("GET", Some("/other"), 404);
    http("GET", None, 999);
    for (path, status) in [
        ("/p.S/M", None),
        ("/p.S/M", Some("16")),
        ("/p.S/M", Some("x")),
        ("/p.S/N", Some("12")),
    ] {
        requests.record(requests.grpc(path), 200, status, Duration::ZERO);
    }
    requests.record(requests.grpc("/p.S/M"), 415, None, Duration::ZERO);
    let text = metrics.encode(Format::Prometheus).unwrap();
    let counted = text
        .lines()
        .filter(|line| line.contains("_requests_total{"));
    let mut counted: Vec<_> = counted.collect();
    counted.sort_unstable();
    assert_eq!(
        counted,
        [
            "ipvsd_grpc_requests_total{method=\"other\",status=\"UNIMPLEMENTED\"} 1",
            "ipvsd_grpc_requests_total{method=\"p.S/M\",status=\"OK\"} 1",
            "ipvsd_grpc_requests_total{method=\"p.S/M\",status=\"UNAUTHENTICATED\"} 1",
            "ipvsd_grpc_requests_total{method=\"p.S/M\",status=\"UNKNOWN\"} 2",
            "ipvsd_http_requests_total{method=\"GET\",route=\"/a\",status=\"200\"} 2",
            "ipvsd_http_requests_total{method=\"PUT\",route=\"/a\",status=\"507\"} 1",
            "ipvsd_http_requests_total{method=\"other\",route=\"/a\",status=\"405\"} 1",
            "ipvsd_http_requests_total{method=\"other\",route=\"other\",status=\"404\"} 1",
            "ipvsd_http_requests_total{method=\"other\",route=\"other\",status=\"other\"} 1",
        ]
    );
}

#[test]
fn operations_are_counted_by_result_and_labels_are_none() {
    let metrics = Metrics::default();
    let kernel = metrics.kernel();
    for (op, result) in [
        (create_service(80), CommandResult::Done),
        (create_service(80), CommandResult::Rejected(Errno(17))),
        (create_service(80), CommandResult::Rejected(Errno(-1))),
        (Op::ZeroAll, CommandResult::Lost),
        (Op::Clear, CommandResult::NotSent),
        (
            Op::SetStored(service(80), StoredFields::default()),
            CommandResult::Done,
        ),
    ] {
        kernel.command(&op, result);
    }
    kernel.read(&Query::Table, Duration::from_millis(3), false);
    kernel.read(&Query::Connections, Duration::ZERO, true);
    kernel.cache_hit();
    kernel.cache_miss(3);
    let text = metrics.encode(Format::OpenMetrics).unwrap();
    let lines: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("ipvsd_kernel_commands_total"))
        .collect();
    assert_eq!(lines.len(), 5, "{lines:?}");
    for line in [
        "ipvsd_kernel_commands_total{command=\"create_service\",result=\"ok\"} 1",
        "ipvsd_kernel_commands_total{command=\"create_service\",result=\"EEXIST\"} 1",
        "ipvsd_kernel_commands_total{command=\"create_service\",result=\"other\"} 1",
        "ipvsd_kernel_commands_total{command=\"zero\",result=\"lost\"} 1",
        "ipvsd_kernel_commands_total{command=\"clear\",result=\"not_sent\"} 1",
        "ipvsd_kernel_read_errors_total{query=\"table\"} 1",
        "ipvsd_kernel_read_duration_seconds_count{query=\"table\"} 1",
        "ipvsd_kernel_queries_total{cache=\"hit\"} 1",
        "ipvsd_kernel_queries_total{cache=\"shared\"} 2",
        "ipvsd_kernel_queries_total{cache=\"miss\"} 1",
    ] {
        assert!(text.lines().any(|own| own == line), "{line}\n{text}");
    }
}

/// The creation times of a service and its first two servers.
fn times(creations: &Creations, until: SystemTime) -> [bool; 3] {
    let mut servers = Vec::new();
    let keys = [server(1), server(2)].into_iter();
    let own = creations.of_service(service(80), keys, until, |time| servers.push(time));
    [own.is_some(), servers[0].is_some(), servers[1].is_some()]
}

#[test]
fn times_are_known_of_what_was_zero_when_this_daemon_made_it() {
    let creations = Arc::new(Creations::default());
    let expect = |op: Op, expected: [bool; 3]| {
        creations.executed(&op);
        assert_eq!(times(&creations, SystemTime::now()), expected, "{op:?}");
    };
    assert_eq!(times(&creations, SystemTime::now()), [false; 3]);
    // In a service of another program.
    expect(create_server(80, 1), [false, true, false]);
    expect(Op::ZeroService(service(80)), [true, true, true]);
    expect(
        Op::DeleteServer(service(80), server(1)),
        [true, false, true],
    );
    // It may have its counters again.
    expect(create_server(80, 1), [true, false, true]);
    expect(Op::ZeroService(service(80)), [true, true, true]);
    expect(Op::DeleteService(service(80)), [false, false, false]);
    expect(create_service(80), [true, true, true]);
    expect(Op::Clear, [false, false, false]);
    expect(Op::ZeroAll, [true, true, true]);
    assert!(creations.of_director(SystemTime::now()).is_some());
}

#[test]
fn what_happened_after_the_read_is_not_shown_with_it() {
    let creations = Creations::default();
    let before = SystemTime::now() - Duration::from_secs(1);
    creations.executed(&create_service(80));
    creations.executed(&create_server(80, 1));
    creations.executed(&Op::ZeroAll);
    assert_eq!(times(&creations, before), [false; 3]);
    assert_eq!(creations.of_director(before), None);
}

#[test]
fn services_that_are_gone_are_forgotten_unless_they_are_newer_than_the_read() {
    let creations = Creations::default();
    creations.executed(&create_service(80));
    creations.retain(SystemTime::now() - Duration::from_secs(1), &[]);
    assert!(times(&creations, SystemTime::now())[0]);
    let read = SystemTime::now() + Duration::from_secs(1);
    creations.retain(read, &[entry(80, 0..0)]);
    assert!(times(&creations, SystemTime::now())[0]);
    creations.retain(read, &[]);
    assert_eq!(times(&creations, SystemTime::now()), [false; 3]);
}

#[test]
fn labels_are_escaped() {
    let mut out = Vec::new();
    labels(&mut out, &[("a", "x\"y\\z\n"), ("b", "ü")]);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "a=\"x\\\"y\\\\z\\n\",b=\"ü\""
    );
}

#[test]
fn samples_have_the_time_of_creation_in_openmetrics_only() {
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_007);
    let created = Created::from(Some(time));
    let [counter, ..] = DIRECTOR;
    let write = |format| {
        let mut out = Vec::new();
        counter.header(format, &mut out);
        counter.sample(format, &mut out, b"a=\"b\"", u64::MAX, created);
        SERVICE_INFO.header(format, &mut out);
        String::from_utf8(out).unwrap()
    };
    let help = SERVICE_INFO.help;
    assert_eq!(
        write(Format::OpenMetrics),
        format!(
            "# HELP ipvs_connections Connections that were scheduled.\n\
             # TYPE ipvs_connections counter\n\
             ipvs_connections_total{{a=\"b\"}} 18446744073709551615\n\
             ipvs_connections_created{{a=\"b\"}} 1700000000.007\n\
             # HELP ipvs_service {help}\n\
             # TYPE ipvs_service info\n"
        )
    );
    assert_eq!(
        write(Format::Prometheus),
        format!(
            "# HELP ipvs_connections_total Connections that were scheduled.\n\
             # TYPE ipvs_connections_total counter\n\
             ipvs_connections_total{{a=\"b\"}} 18446744073709551615\n\
             # HELP ipvs_service_info {help}\n\
             # TYPE ipvs_service_info gauge\n"
        )
    );
}

#[test]
fn texts_are_found_by_their_number() {
    let mut texts = Texts::default();
    for text in ["a", "", "bc"] {
        texts.push(|out| out.extend_from_slice(text.as_bytes()));
    }
    let all: Vec<_> = (0..texts.len() + 1).map(|index| texts.get(index)).collect();
    assert_eq!(all, [&b"a"[..], b"", b"bc", b""]);
}

proptest! {
    /// Of each family, the samples are those of the shown servers or of all services, once each.
    #[test]
    fn every_service_and_every_shown_server_has_one_sample_per_family(
        sizes in prop::collection::vec(0_u8..5, 0..6),
        max_servers in 0_usize..20,
    ) {
        let table: Vec<_> = (1..).zip(&sizes).map(|(port, size)| entry(port, 0..*size)).collect();
        let options = ScrapeOptions { max_servers, node_exporter_names: true };
        let text = text(&table, options, Format::Prometheus);
        let samples = |name: &str| {
            let name = format!("{name}{{");
            text.lines().filter(|line| line.starts_with(&name)).count()
        };
        let mut left = max_servers;
        for size in &sizes {
            if usize::from(*size) <= left {
                left -= usize::from(*size);
            }
        }
        for name in ["ipvs_service_info", "ipvs_service_outgoing_bytes_total", "ipvs_service_servers"] {
            prop_assert_eq!(samples(name), sizes.len());
        }
        for name in [
            "ipvs_server_info",
            "ipvs_server_connections_total",
            "ipvs_server_effective_weight",
            "node_ipvs_backend_weight",
        ] {
            prop_assert_eq!(samples(name), max_servers - left);
        }
        let mut lines: Vec<_> = text.lines().collect();
        let count = lines.len();
        lines.sort_unstable();
        lines.dedup();
        prop_assert_eq!(lines.len(), count);
    }
}
