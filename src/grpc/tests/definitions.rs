//! Consistency of the definitions in `proto/` with the code and with the JSON of the HTTP API.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::Arc,
};

use prost::Message;
use prost_types::FileDescriptorSet;

use super::{ALL, entry, real, timeouts};
use crate::{
    app::{Count, InfoReport, KernelReport, SchedulerReport, StatsReport, TopServer, TopService},
    model::{
        Checksum, Connection, ConnectionProtocol, ConnectionService, Drain, DrainMember,
        DrainState, DrainTarget, Endpoint, Family, Forwarding, HealthCheckDraft, Hold, HoldId,
        InterfaceState, Kept, MemberState, Membership, Name, Netmask, Ramp, RampState, Rates,
        ServerConfig, ServerDraft, ServerView, ServiceConfig, ServiceDraft, ServiceView, Stats,
        StoredFields, SyncDaemon, SyncDaemonView, SyncState, Then, Timeouts, Tunnel, TunnelType,
    },
    proto::{DESCRIPTORS, METHODS, SERVICE, v1 as pb},
};

#[test]
fn masks_accept_exactly_the_fields_of_their_messages() {
    let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let messages: Vec<_> = set
        .file
        .iter()
        .flat_map(|file| &file.message_type)
        .collect();
    let fields = |name: &str| -> Vec<String> {
        let message = messages.iter().find(|m| m.name() == name).unwrap();
        message.field.iter().map(|f| f.name().to_owned()).collect()
    };
    let with = |name: &str, nested: &str, field: &str| {
        let mut all = fields(name);
        let at = all.iter().position(|f| f == field).unwrap() + 1;
        let below = fields(nested).into_iter().map(|f| format!("{field}.{f}"));
        all.splice(at..at, below);
        all
    };
    let mut of_service = with("Service", "Persistence", "persistence");
    let check = fields("HealthCheck").into_iter();
    of_service.extend(check.map(|field| format!("health_check.{field}")));
    assert_eq!(ServiceDraft::FIELDS[..], of_service[..]);
    assert_eq!(
        ServerDraft::FIELDS[..],
        with("Server", "Tunnel", "tunnel")[..]
    );
    assert_eq!(timeouts::FIELDS[..], fields("Timeouts")[..]);
}

#[test]
fn writes_and_only_writes_have_dry_run() {
    const READS: [&str; 29] = [
        "CheckPermission",
        "CountConnections",
        "GetDrain",
        "GetDrift",
        "GetHealth",
        "GetInfo",
        "GetListing",
        "GetPrincipal",
        "GetRamp",
        "GetServer",
        "GetService",
        "GetSettings",
        "GetStats",
        "GetStatsHistory",
        "GetTable",
        "GetTimeouts",
        "ListAuditRecords",
        "ListConnections",
        "ListDrains",
        "ListHealth",
        "ListRamps",
        "ListServers",
        "ListServices",
        "ListSyncDaemons",
        "ListTableOperations",
        "ListTables",
        "SaveRules",
        "StreamStats",
        "Watch",
    ];
    let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let service = set.file.iter().flat_map(|file| &file.service).next();
    let messages: Vec<_> = set
        .file
        .iter()
        .flat_map(|file| &file.message_type)
        .collect();
    let mut reads = Vec::new();
    for method in &service.unwrap().method {
        let request = method.input_type().rsplit('.').next().unwrap();
        let message = |name: &str| messages.iter().find(|m| m.name() == name).unwrap();
        let has = |name: &str, field: &str| message(name).field.iter().any(|f| f.name() == field);
        // Of a stream, the options are a message of their own.
        let is_write = match has(request, "options") {
            true => has("ApplyTableOptions", "dry_run"),
            false => has(request, "dry_run"),
        };
        if !is_write {
            reads.push(method.name());
        }
    }
    reads.sort_unstable();
    assert_eq!(reads, READS);
}

#[test]
fn only_counters_rates_and_sequence_numbers_have_64_bits() {
    use prost_types::field_descriptor_proto::Type;
    let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let files = set.file.iter().filter(|file| file.package() == "ipvsd.v1");
    let mut wide = Vec::new();
    for message in files.flat_map(|file| &file.message_type) {
        if ["Stats", "Rates"].contains(&message.name()) {
            continue;
        }
        for field in &message.field {
            if matches!(field.r#type(), Type::Int64 | Type::Uint64) {
                wide.push(format!("{}.{}", message.name(), field.name()));
            }
        }
    }
    wide.sort_unstable();
    let expected = [
        "ApplyReport.generation",
        "AuditRecord.seq",
        "SettingValue.integer",
        "Table.generation",
    ];
    assert_eq!(wide, expected);
}

#[test]
fn the_service_name_matches_the_generated_code() {
    use tonic::server::NamedService;
    type Server = pb::ipvs_service_server::IpvsServiceServer<crate::grpc::api::Api>;
    assert_eq!(Server::NAME, SERVICE);
}

fn json(value: &impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(value).unwrap()
}

/// Asserts that the keys of some JSON values are the fields of a message, except `grpc_only`.
#[track_caller]
fn same_names(message: &str, json: &[serde_json::Value], grpc_only: &[&str]) {
    let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let all = set.file.iter().flat_map(|file| &file.message_type);
    let found = all.into_iter().find(|m| m.name() == message).unwrap();
    let fields: BTreeSet<_> = found.field.iter().map(|f| f.name()).collect();
    let keys: BTreeSet<_> = json
        .iter()
        .flat_map(|value| value.as_object().unwrap().keys())
        .map(String::as_str)
        .chain(grpc_only.iter().copied())
        .collect();
    assert_eq!(fields, keys, "{message}");
}

/// Checks of other types, with the fields that only these have.
fn other_checks() -> Vec<serde_json::Value> {
    let checks = [
        serde_json::json!({"type": "grpc"}),
        serde_json::json!({"type": "dns", "transport": "udp"}),
        serde_json::json!({"type": "external", "expire_seconds": 60}),
    ];
    let made = checks.map(|check| {
        let draft: HealthCheckDraft = serde_json::from_value(check).unwrap();
        json(
            &draft
                .apply(None, "tcp-192.0.2.1-80".parse().unwrap())
                .unwrap(),
        )
    });
    made.into()
}

#[test]
fn fields_have_the_names_of_the_json() {
    let key = "192.168.10.1-80".parse().unwrap();
    let tunnel = Tunnel {
        kind: TunnelType::Gue,
        port: 6080,
        checksum: Checksum::None,
    };
    let tunneled = ServerConfig {
        forwarding: Forwarding::Tunnel,
        tunnel,
        ..ServerConfig::default()
    };
    let mut server = real(key, tunneled);
    server.holds = Some([Hold::drain(HoldId(1))].into());
    server.membership = Some(Membership::Removing);
    let server = json(&ServerView::new(&server, ALL));
    let mut config = ServiceConfig::new(Family::Ipv4);
    config.netmask = Netmask::V4(Ipv4Addr::new(255, 255, 0, 0));
    config.persistence_engine = Some(Name::from_kernel(b"sip"));
    let plain = entry("tcp-192.0.2.1-80".parse().unwrap(), config);
    config.persistence_timeout = Some(300);
    let mut marked = entry("fwmark-7".parse().unwrap(), config);
    let labels = BTreeMap::from([("team".to_owned(), "web".to_owned())]);
    let check: HealthCheckDraft = serde_json::from_value(serde_json::json!({
        "type": "https", "port": 8443, "host": "a", "expect_body": "ok", "sni": "a",
        "source_address": "192.0.2.10", "fwmark": 7, "min_healthy": "1", "max_losses": "50%",
        "fallback_servers": [{"address": "10.0.9.1", "forwarding": "tunnel"}],
        "servers": [{"server": "10.0.0.1-80", "port": 81, "path": "/", "host": "a", "sni": "a",
            "expect_status": "200", "disabled": true}]
    }))
    .unwrap();
    let stored = StoredFields {
        labels: labels.into(),
        health_check: Some(Arc::new(
            check
                .apply(None, "tcp-192.0.2.1-80".parse().unwrap())
                .unwrap(),
        )),
    };
    marked.service.kept = Kept::storing(&None, stored);
    let services = [plain, marked].map(|entry| json(&ServiceView::new(&entry, ALL)));
    same_names("Service", &services, &[]);
    let mut checks = vec![services[1]["health_check"].clone()];
    checks.extend(other_checks());
    same_names("HealthCheck", &checks, &[]);
    let settings = services[1]["health_check"]["servers"][0].clone();
    same_names("ServerCheck", &[settings], &[]);
    same_names("Persistence", &[services[1]["persistence"].clone()], &[]);
    same_names("Tunnel", &[server["tunnel"].clone()], &[]);
    same_names("Stats", &[server["stats"].clone()], &[]);
    same_names("Rates", &[server["rates"].clone()], &[]);
    same_names("Hold", &[server["holds"][0].clone()], &[]);
    same_names("Server", &[server], &[]);
    same_names("Timeouts", &[json(&Timeouts::DEFAULT)], &["etag"]);
    let daemon = SyncDaemon {
        state: SyncState::Master,
        interface: Name::from_kernel(b"eth0"),
        sync_id: 0,
        max_length: 1472,
        multicast_group: "224.0.0.81".parse().unwrap(),
        multicast_port: 8848,
        multicast_ttl: 1,
        interface_state: InterfaceState::Unknown,
    };
    same_names("SyncDaemon", &[json(&SyncDaemonView::from(daemon))], &[]);
    let endpoint = Endpoint {
        address: "192.0.2.1".parse().unwrap(),
        port: 80,
    };
    let connection = Connection {
        protocol: ConnectionProtocol::Icmp,
        client: endpoint,
        service: ConnectionService::Address(endpoint),
        destination: endpoint,
        state: "NONE".into(),
        template: false,
        invalidated: true,
        expires_in_seconds: 1,
        persistence_engine: Some("sip".into()),
        persistence_data: Some("x".into()),
    };
    let marked = Connection {
        service: ConnectionService::Fwmark(7),
        ..connection.clone()
    };
    let both = [json(&connection), json(&marked)];
    same_names("Endpoint", &[both[0]["client"].clone()], &[]);
    same_names("Connection", &both, &[]);
    let count = Count {
        group: String::new(),
        count: 0,
    };
    same_names("ConnectionCount", &[json(&count)], &[]);
    let (stats, rates) = (Stats::default(), Rates::default());
    let report = json(&StatsReport {
        stats,
        rates,
        estimation: true,
        service_count: 1,
        server_count: 1,
        active_connections: 0,
        inactive_connections: 0,
        top_services: vec![TopService {
            id: "fwmark-7".parse().unwrap(),
            stats,
            rates,
        }],
        top_servers: vec![TopServer {
            service: "fwmark-7".parse().unwrap(),
            id: key,
            active_connections: 0,
            inactive_connections: 0,
            stats,
            rates,
        }],
    });
    same_names("TopService", &[report["top_services"][0].clone()], &[]);
    same_names("TopServer", &[report["top_servers"][0].clone()], &[]);
    same_names("GetStatsResponse", &[report], &["age"]);
    let info = json(&InfoReport {
        version: String::new(),
        commit: String::new(),
        build_date: String::new(),
        namespace: Some(String::new()),
        kernel: KernelReport {
            kind: String::new(),
            release: String::new(),
            ipvs_version: String::new(),
            connection_table_size: 0,
            estimation: true,
            features: Vec::new(),
        },
        schedulers: vec![SchedulerReport {
            name: String::new(),
            description: String::new(),
            loaded: true,
        }],
        persistence_engines: Vec::new(),
    });
    same_names("Kernel", &[info["kernel"].clone()], &[]);
    same_names("Scheduler", &[info["schedulers"][0].clone()], &[]);
    same_names("GetInfoResponse", &[info], &["age"]);
}

#[test]
fn drains_and_ramps_have_the_names_of_the_json() {
    let time = jiff::Timestamp::UNIX_EPOCH;
    let service = "tcp-192.0.2.1-80".parse().unwrap();
    let server = "192.0.2.7-80".parse().unwrap();
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
    let drain = json(&Drain {
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
    });
    same_names("DrainMember", &[drain["members"][0].clone()], &[]);
    same_names("Drain", &[drain], &["members_total"]);
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
    same_names("Ramp", &[json(&ramp)], &[]);
}

#[test]
fn the_names_of_methods_are_those_of_the_service() {
    let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let services: Vec<_> = set.file.iter().flat_map(|file| &file.service).collect();
    assert_eq!(services.len(), 1);
    let names: Vec<_> = services[0]
        .method
        .iter()
        .map(|method| method.name())
        .collect();
    assert_eq!(METHODS.lines().collect::<Vec<_>>(), names);
}
