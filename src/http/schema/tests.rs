//! Compares the schemas with the JSON that the model reads and writes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that panics fails"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::Arc,
};

use serde_json::{Map, Value, json};

use super::all;
use crate::model::{
    Checksum, Connection, ConnectionProtocol, ConnectionService, Drain, DrainDraft, DrainMember,
    DrainState, DrainTarget, Endpoint, Error, Forwarding, HealthCheck, HealthCheckDraft, HoldId,
    Include, InterfaceState, Kept, MemberState, Name, Netmask, Progress, Protocol, Ramp, RampDraft,
    RampState, Rates, Server, ServerConfig, ServerDraft, ServerKey, ServerView, Service,
    ServiceConfig, ServiceDraft, ServiceEntry, ServiceKey, ServiceView, Stats, StoredFields,
    SyncDaemon, SyncDaemonDraft, SyncDaemonView, SyncState, Then, Timeouts, TimeoutsDraft, Tunnel,
    TunnelType,
};

/// The properties of a component schema, as JSON.
fn properties(name: &str) -> Map<String, Value> {
    let (_, schema) = all().into_iter().find(|(known, _)| *known == name).unwrap();
    let schema = serde_json::to_value(schema).unwrap();
    schema["properties"].as_object().unwrap().clone()
}

fn names(object: &Value) -> BTreeSet<String> {
    object.as_object().unwrap().keys().cloned().collect()
}

/// Checks that the schema has exactly the properties of the objects.
#[track_caller]
fn assert_same(name: &str, objects: &[Value], others: &[&str]) {
    let documented: BTreeSet<_> = properties(name).keys().cloned().collect();
    let mut written: BTreeSet<_> = objects.iter().flat_map(names).collect();
    written.extend(others.iter().map(|&other| other.to_owned()));
    assert_eq!(documented, written, "{name}");
}

/// Names of the properties that are not read-only.
fn writable(name: &str) -> Vec<String> {
    properties(name)
        .into_iter()
        .filter(|(_, schema)| schema["readOnly"] != true)
        .map(|(name, _)| name)
        .collect()
}

fn server() -> Server {
    Server {
        key: ServerKey {
            address: "192.0.2.7".parse().unwrap(),
            port: 80,
        },
        config: ServerConfig {
            forwarding: Forwarding::Tunnel,
            tunnel: Tunnel {
                kind: TunnelType::Gue,
                port: 6080,
                checksum: Checksum::Remote,
            },
            ..ServerConfig::default()
        },
        effective_weight: 1,
        holds: Some([crate::model::Hold::drain(crate::model::HoldId(1))].into()),
        membership: Some(crate::model::Membership::Removing),
        active_connections: 0,
        inactive_connections: 0,
        persistent_connections: 0,
        stats: Stats::default(),
        rates: Rates::default(),
    }
}

/// A check with all fields.
fn health_check() -> HealthCheck {
    let draft: HealthCheckDraft = serde_json::from_value(json!({
        "type": "https", "port": 8443, "host": "a", "expect_body": "ok", "sni": "a",
        "source_address": "192.0.2.10", "fwmark": 7, "min_healthy": "1", "max_losses": "50%",
        "fallback_servers": [{"address": "10.0.9.1", "forwarding": "tunnel"}],
        "servers": [{"server": "10.0.0.1-80", "port": 81, "path": "/", "host": "a", "sni": "a",
            "expect_status": "200", "disabled": true}]
    }))
    .unwrap();
    draft
        .apply(None, "tcp-192.0.2.1-80".parse().unwrap())
        .unwrap()
}

/// Checks of other types, with the fields that only these have.
fn other_checks() -> [Value; 3] {
    let checks = [
        json!({"type": "grpc"}),
        json!({"type": "dns", "transport": "udp"}),
        json!({"type": "external", "expire_seconds": 60}),
    ];
    checks.map(|check| {
        let draft: HealthCheckDraft = serde_json::from_value(check).unwrap();
        json!(
            draft
                .apply(None, "tcp-192.0.2.1-80".parse().unwrap())
                .unwrap()
        )
    })
}

fn service(key: ServiceKey, persistent: bool) -> Value {
    let mut config = ServiceConfig::new(key.family());
    config.persistence_timeout = persistent.then_some(300);
    config.persistence_engine = Some(Name::from_kernel(b"sip"));
    config.netmask = Netmask::V4(Ipv4Addr::new(255, 255, 255, 0));
    let labels = ("team".to_owned(), "web".to_owned());
    let stored = StoredFields {
        labels: BTreeMap::from([labels]).into(),
        health_check: Some(Arc::new(health_check())),
    };
    let service = Service {
        key,
        config,
        stats: Stats::default(),
        rates: Rates::default(),
        kept: Kept::storing(&None, stored),
    };
    let entry = ServiceEntry {
        service,
        servers: vec![server()],
    };
    serde_json::to_value(ServiceView::new(&entry, ALL)).unwrap()
}

const ALL: Include = Include {
    servers: true,
    stats: true,
    rates: true,
};

#[test]
fn the_schema_of_a_service_has_the_fields_of_its_json() {
    let address = ServiceKey::Address {
        protocol: Protocol::Tcp,
        address: "192.0.2.1".parse().unwrap(),
        port: 80,
    };
    let fwmark = "fwmark-7".parse().unwrap();
    let written = [service(address, true), service(fwmark, false)];
    assert_same("Service", &written, &["changed", "server_order_differs"]);
    let mut checks = vec![written[0]["health_check"].clone()];
    checks.extend(other_checks());
    assert_same("HealthCheck", &checks, &[]);
    assert_same("Persistence", &[written[0]["persistence"].clone()], &[]);
    assert_same("Stats", &[written[0]["stats"].clone()], &[]);
    assert_same("Rates", &[written[0]["rates"].clone()], &[]);
}

#[test]
fn the_schema_of_a_server_has_the_fields_of_its_json() {
    let server = serde_json::to_value(ServerView::new(&server(), ALL)).unwrap();
    assert_same("Tunnel", &[server["tunnel"].clone()], &[]);
    assert_same("Hold", &[server["holds"][0].clone()], &[]);
    assert_same("Server", &[server], &["changed"]);
}

#[test]
fn the_schemas_of_drains_and_ramps_have_the_fields_of_their_json() {
    let time = jiff::Timestamp::UNIX_EPOCH;
    let service = "tcp-192.0.2.1-80".parse().unwrap();
    let server = server().key;
    let member = DrainMember {
        service,
        server,
        weight: 1,
        effective_weight: 0,
        active_connections: 0,
        inactive_connections: 0,
        persistent_connections: 0,
        state: MemberState::Drained,
    };
    let drain = Drain {
        id: HoldId(1),
        server: DrainTarget::Server(server),
        services: Some(vec![service]),
        deadline_seconds: Some(1),
        then: Then::Keep,
        table: Some("web".parse().unwrap()),
        state: DrainState::Cancelled,
        members: vec![member],
        blockers: vec![],
        create_time: time,
        end_time: Some(time),
    };
    let drain = serde_json::to_value(drain).unwrap();
    assert_same("DrainMember", &[drain["members"][0].clone()], &[]);
    assert_same("Drain", &[drain], &["changed"]);
    let ramp = Ramp {
        id: HoldId(1),
        service,
        server,
        from: 1,
        to: 2,
        over_seconds: 1,
        steps: 1,
        weight: 1,
        state: RampState::Done,
        create_time: time,
        end_time: Some(time),
    };
    assert_same("Ramp", &[serde_json::to_value(ramp).unwrap()], &["changed"]);
}

#[test]
fn the_words_of_drains_and_ramps_are_those_of_their_json() {
    fn check<T: serde::Serialize, const N: usize>(words: [(&str, T); N]) {
        for (word, value) in words {
            assert_eq!(serde_json::to_value(value).unwrap(), word);
        }
    }
    check(DrainState::WORDS);
    check(MemberState::WORDS);
    check(RampState::WORDS);
    check(Then::WORDS);
}

#[test]
fn the_other_schemas_have_the_fields_of_their_json() {
    let timeouts = serde_json::to_value(Timeouts::DEFAULT).unwrap();
    assert_same("Timeouts", &[timeouts], &["changed"]);
    let daemon = SyncDaemonView::from(SyncDaemon {
        state: SyncState::Master,
        interface: Name::from_kernel(b"eth0"),
        sync_id: 0,
        max_length: 1472,
        multicast_group: "224.0.0.81".parse().unwrap(),
        multicast_port: 8848,
        multicast_ttl: 1,
        interface_state: InterfaceState::Unknown,
    });
    let daemon = serde_json::to_value(daemon).unwrap();
    assert_same("SyncDaemon", &[daemon], &["changed"]);
    let endpoint = Endpoint {
        address: "192.0.2.1".parse().unwrap(),
        port: 80,
    };
    let connection = Connection {
        protocol: ConnectionProtocol::Ip,
        client: endpoint,
        service: ConnectionService::Address(endpoint),
        destination: endpoint,
        state: "NONE".into(),
        template: true,
        invalidated: true,
        expires_in_seconds: 1,
        persistence_engine: Some("sip".into()),
        persistence_data: Some("x".into()),
    };
    let marked = Connection {
        service: ConnectionService::Fwmark(7),
        ..connection.clone()
    };
    let both = [connection, marked].map(|it| serde_json::to_value(it).unwrap());
    assert_same("Connection", &both, &[]);
    assert_same("Endpoint", &[serde_json::to_value(endpoint).unwrap()], &[]);
    let error = Error::invalid("a", "b")
        .with_hint("c")
        .with_errno(crate::model::Errno::EEXIST)
        .with_progress(Progress::default());
    let problem = crate::http::Problem::from(error);
    let problem = serde_json::to_value(problem).unwrap();
    assert_same("Violation", &[problem["errors"][0].clone()], &[]);
    assert_same("Problem", &[problem], &["request_id"]);
}

/// The fields that a request may contain, by the error for an unknown one.
fn accepted<T: serde::de::DeserializeOwned>() -> BTreeSet<String> {
    let error = serde_json::from_value::<T>(json!({"": 1})).err().unwrap();
    let text = error.to_string();
    let list = text.split_once("expected one of ").unwrap().1;
    list.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

#[test]
fn requests_accept_exactly_the_documented_fields() {
    let documented = |name| properties(name).keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(accepted::<ServiceDraft>(), documented("Service"));
    assert_eq!(accepted::<ServerDraft>(), documented("Server"));
    assert_eq!(accepted::<SyncDaemonDraft>(), documented("SyncDaemon"));
    assert_eq!(accepted::<DrainDraft>(), documented("DrainRequest"));
    assert_eq!(accepted::<RampDraft>(), documented("RampRequest"));
    let mut timeouts = documented("Timeouts");
    timeouts.insert("etag".to_owned());
    assert_eq!(accepted::<TimeoutsDraft>(), timeouts);
}

#[test]
fn null_is_accepted_for_every_writable_field_and_anything_for_a_read_only_one() {
    let body = |name: &str| {
        let mut body = Map::new();
        for property in properties(name).into_iter().map(|(name, _)| name) {
            body.insert(property, json!("anything"));
        }
        for property in writable(name) {
            body.insert(property, Value::Null);
        }
        Value::Object(body)
    };
    serde_json::from_value::<ServiceDraft>(body("Service")).unwrap();
    serde_json::from_value::<ServerDraft>(body("Server")).unwrap();
    serde_json::from_value::<TimeoutsDraft>(body("Timeouts")).unwrap();
    serde_json::from_value::<SyncDaemonDraft>(body("SyncDaemon")).unwrap();
    serde_json::from_value::<DrainDraft>(body("DrainRequest")).unwrap();
    serde_json::from_value::<RampDraft>(body("RampRequest")).unwrap();
}
