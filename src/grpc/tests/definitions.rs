//! The definitions against the rest: complete, commented, and with the names of the JSON.

use std::{collections::BTreeSet, net::Ipv4Addr};

use prost::Message;
use prost_types::FileDescriptorSet;

use super::{ALL, entry, real, servers, services, timeouts};
use crate::{
    app::{Count, InfoReport, KernelReport, SchedulerReport, StatsReport, TopServer, TopService},
    model::{
        Checksum, Connection, ConnectionProtocol, Endpoint, Family, Forwarding, Name, Netmask,
        Rates, ServerConfig, ServerView, ServiceConfig, ServiceView, Stats, SyncDaemon,
        SyncDaemonView, SyncState, Timeouts, Tunnel, TunnelType,
    },
    proto::{DESCRIPTORS, SERVICE, v1 as pb},
};

#[test]
fn masks_know_the_fields_of_their_messages_and_no_others() {
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
    assert_eq!(
        services::FIELDS[..],
        with("Service", "Persistence", "persistence")[..]
    );
    assert_eq!(servers::FIELDS[..], with("Server", "Tunnel", "tunnel")[..]);
    assert_eq!(timeouts::FIELDS[..], fields("Timeouts")[..]);
}

#[test]
fn everything_in_the_definitions_is_commented() {
    let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let mut count = 0;
    for file in set.file.iter().filter(|file| file.package() == "ipvsd.v1") {
        let info = file.source_code_info.as_ref().unwrap();
        let commented = |path: &[i32]| {
            let location = info.location.iter().find(|l| l.path == path);
            location.is_some_and(|l| !l.leading_comments().trim().is_empty())
        };
        let index = |i: usize| i32::try_from(i).unwrap();
        // Numbers of fields of FileDescriptorProto, DescriptorProto and ServiceDescriptorProto.
        for (m, message) in file.message_type.iter().enumerate() {
            assert!(commented(&[4, index(m)]), "{}", message.name());
            for (f, field) in message.field.iter().enumerate() {
                let path = [4, index(m), 2, index(f)];
                let map_entry = message.options.as_ref().is_some_and(|o| o.map_entry());
                assert!(
                    map_entry || commented(&path),
                    "{}.{}",
                    message.name(),
                    field.name()
                );
                count += 1;
            }
        }
        for (s, service) in file.service.iter().enumerate() {
            assert!(commented(&[6, index(s)]), "{}", service.name());
            for (m, method) in service.method.iter().enumerate() {
                assert!(commented(&[6, index(s), 2, index(m)]), "{}", method.name());
            }
        }
    }
    assert!(count > 100, "{count}");
}

#[test]
fn the_service_has_the_name_that_is_used() {
    use tonic::server::NamedService;
    type Server = pb::ipvs_server::IpvsServer<crate::grpc::service::Api>;
    assert_eq!(Server::NAME, SERVICE);
}

fn json(value: &impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(value).unwrap()
}

/// Checks that the keys of some JSON are the fields of a message, but for those of gRPC alone.
#[track_caller]
fn same_names(message: &str, json: &[serde_json::Value], grpc_alone: &[&str]) {
    let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let all = set.file.iter().flat_map(|file| &file.message_type);
    let found = all.into_iter().find(|m| m.name() == message).unwrap();
    let fields: BTreeSet<_> = found.field.iter().map(|f| f.name()).collect();
    let keys: BTreeSet<_> = json
        .iter()
        .flat_map(|value| value.as_object().unwrap().keys())
        .map(String::as_str)
        .chain(grpc_alone.iter().copied())
        .collect();
    assert_eq!(fields, keys, "{message}");
}

#[test]
fn names_are_those_of_the_json() {
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
    let server = real(key, tunneled);
    let server = json(&ServerView::new(&server, ALL));
    let mut config = ServiceConfig::new(Family::Ipv4);
    config.netmask = Netmask::V4(Ipv4Addr::new(255, 255, 0, 0));
    config.persistence_engine = Some(Name::from_kernel(b"sip"));
    let plain = entry("tcp-192.0.2.1-80".parse().unwrap(), config);
    config.persistence_timeout = Some(300);
    let marked = entry("fwmark-7".parse().unwrap(), config);
    let services = [plain, marked].map(|entry| json(&ServiceView::new(&entry, ALL)));
    same_names("Service", &services, &[]);
    same_names("Persistence", &[services[1]["persistence"].clone()], &[]);
    same_names("Tunnel", &[server["tunnel"].clone()], &[]);
    same_names("Stats", &[server["stats"].clone()], &[]);
    same_names("Rates", &[server["rates"].clone()], &[]);
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
    };
    same_names("SyncDaemon", &[json(&SyncDaemonView::from(daemon))], &[]);
    let endpoint = Endpoint {
        address: "192.0.2.1".parse().unwrap(),
        port: 80,
    };
    let connection = json(&Connection {
        protocol: ConnectionProtocol::Icmp,
        client: endpoint,
        virtual_address: endpoint,
        destination: endpoint,
        state: "NONE".into(),
        template: false,
        expires_in_seconds: 1,
        persistence_engine: Some("sip".into()),
        persistence_data: Some("x".into()),
    });
    same_names("Endpoint", &[connection["client"].clone()], &[]);
    same_names("Connection", &[connection], &[]);
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
