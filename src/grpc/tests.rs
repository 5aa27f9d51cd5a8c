//! Conversion between messages and the model, in both directions and with masks.

mod definitions;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use prost::Message;
use prost_types::FieldMask;

use super::{convert, server_message, service_message, sync_daemons, timeouts};
use crate::{
    model::{
        Checksum, Family, Field, Forwarding, Include, InterfaceState, Mask, MaskText, Name,
        Netmask, Protocol, Rates, SchedulerFlags, Server, ServerConfig, ServerKey, ServerView,
        Service, ServiceConfig, ServiceDraft, ServiceEntry, ServiceKey, Stats, SyncDaemon,
        SyncDaemonView, SyncState, Timeouts, Tunnel, TunnelType,
    },
    proto::v1 as pb,
};

const ALL: Include = Include {
    servers: true,
    stats: true,
    rates: true,
};

fn address(family: Family) -> BoxedStrategy<IpAddr> {
    match family {
        Family::Ipv4 => (1u8..=223, any::<[u8; 3]>())
            .prop_map(|(a, [b, c, d])| IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
            .boxed(),
        Family::Ipv6 => any::<u64>()
            .prop_map(|low| IpAddr::V6(Ipv6Addr::from(0x2001_0db8_u128 << 96 | u128::from(low))))
            .boxed(),
    }
}

fn family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::Ipv4), Just(Family::Ipv6)]
}

fn key() -> impl Strategy<Value = ServiceKey> {
    let protocol = prop_oneof![
        Just(Protocol::Tcp),
        Just(Protocol::Udp),
        Just(Protocol::Sctp)
    ];
    let spelt = (protocol, family().prop_flat_map(address), any::<u16>());
    prop_oneof![
        spelt.prop_map(|(protocol, address, port)| ServiceKey::Address {
            protocol,
            address,
            port
        }),
        (family(), 1u32..).prop_map(|(family, mark)| ServiceKey::Fwmark { family, mark }),
    ]
}

fn config(key: ServiceKey) -> impl Strategy<Value = ServiceConfig> {
    let scheduler = prop_oneof![Just("wlc"), Just("sh"), Just("mh"), Just("dreams")];
    let netmask = match key.family() {
        Family::Ipv4 => any::<[u8; 4]>()
            .prop_map(|mask| Netmask::V4(mask.into()))
            .boxed(),
        Family::Ipv6 => (1u32..=128).prop_map(Netmask::V6).boxed(),
    };
    let timeout = proptest::option::of(1..=ServiceConfig::MAX_TIMEOUT);
    let engine = proptest::option::of(Just(Name::from_kernel(b"sip")));
    (
        scheduler,
        any::<u32>(),
        any::<bool>(),
        timeout,
        netmask,
        engine,
    )
        .prop_map(
            move |(scheduler, flags, one_packet, timeout, netmask, persistence_engine)| {
                let udp = !matches!(key, ServiceKey::Address { protocol, .. }
                if protocol != Protocol::Udp);
                ServiceConfig {
                    scheduler: Name::from_kernel(scheduler.as_bytes()),
                    scheduler_flags: SchedulerFlags::from_bits(flags),
                    one_packet: one_packet && udp,
                    persistence_timeout: if key.port() == Some(0) {
                        timeout.or(Some(300))
                    } else {
                        timeout
                    },
                    netmask,
                    persistence_engine,
                }
            },
        )
}

fn server(service: ServiceKey) -> impl Strategy<Value = (ServerKey, ServerConfig)> {
    let numbers = (0..=ServerConfig::MAX_WEIGHT, any::<u16>(), any::<u16>());
    let tunnel = prop_oneof![
        Just((TunnelType::Ipip, 0, Checksum::None)),
        (1u16..).prop_map(|port| (TunnelType::Gue, port, Checksum::Remote)),
        Just((TunnelType::Gre, 0, Checksum::Checksum)),
    ];
    let port = (any::<u16>(), 0..3);
    (address(service.family()), port, numbers, tunnel).prop_map(
        move |(address, (port, method), (weight, one, other), (kind, tunnel_port, checksum))| {
            let (forwarding, port) = match method {
                0 => (Forwarding::Masquerade, port),
                1 => (Forwarding::Tunnel, service.port().unwrap_or(port)),
                _ => (Forwarding::Direct, service.port().unwrap_or(port)),
            };
            let tunnel = Tunnel {
                kind,
                port: tunnel_port,
                checksum,
            };
            let config = ServerConfig {
                forwarding,
                weight,
                upper_threshold: one.max(other).into(),
                lower_threshold: one.min(other).into(),
                tunnel: if forwarding == Forwarding::Tunnel {
                    tunnel
                } else {
                    Tunnel::default()
                },
            };
            (ServerKey { address, port }, config)
        },
    )
}

fn entry(key: ServiceKey, config: ServiceConfig) -> ServiceEntry {
    ServiceEntry {
        service: Service {
            key,
            config,
            stats: Stats::default(),
            rates: Rates::default(),
            kept: None,
        },
        servers: Vec::new(),
    }
}

fn real(key: ServerKey, config: ServerConfig) -> Server {
    Server {
        key,
        config,
        effective_weight: config.weight,
        holds: None,
        membership: None,
        active_connections: u32::MAX,
        inactive_connections: 2,
        persistent_connections: 3,
        stats: Stats::default(),
        rates: Rates::default(),
    }
}

proptest! {
    #[test]
    fn a_service_message_converts_back_to_the_same_service(
        (key, config) in key().prop_flat_map(|key| (Just(key), config(key))),
    ) {
        let message = service_message::message(&entry(key, config), ALL);
        let message = pb::Service::decode(message.encode_to_vec().as_slice()).unwrap();
        // The message has all fields, so both masks have the same effect.
        for mask in [Mask::Present, Mask::All] {
            let draft = service_message::draft(message.clone(), &mask);
            prop_assert_eq!(draft.key().unwrap(), Some(key));
            prop_assert_eq!(draft.create(key).unwrap(), config);
            prop_assert_eq!(draft.update(key, ServiceConfig::new(key.family())).unwrap(), config);
        }
    }

    #[test]
    fn a_server_message_converts_back_to_the_same_server(
        (service, (key, config)) in key().prop_flat_map(|key| (Just(key), server(key))),
    ) {
        let server = real(key, config);
        let message = server_message::message(ServerView::new(&server, ALL));
        let message = pb::Server::decode(message.encode_to_vec().as_slice()).unwrap();
        for mask in [Mask::Present, Mask::All] {
            let draft = server_message::draft(message.clone(), &mask);
            prop_assert_eq!(draft.key(service).unwrap(), Some(key));
            prop_assert_eq!(draft.create(service, key).unwrap(), config);
        }
    }

    #[test]
    fn numbers_of_any_size_reach_the_model(number: u32) {
        let message = pb::Server { weight: Some(number), ..pb::Server::default() };
        prop_assert_eq!(server_message::draft(message, &Mask::Present).weight, Field::Set(number.into()));
    }
}

fn masked(service: pb::Service, paths: &[&str]) -> crate::model::ServiceDraft {
    let paths = paths.iter().map(|&path| path.to_owned()).collect();
    let mask = convert::mask(Some(FieldMask { paths }), &ServiceDraft::FIELDS).unwrap();
    service_message::draft(service, &mask)
}

#[test]
fn fields_outside_the_mask_are_kept() {
    let service = pb::Service {
        id: "tcp-192.0.2.1-80".to_owned(),
        scheduler: Some("rr".to_owned()),
        one_packet: Some(true),
        servers: vec![pb::Server::default()],
        ..pb::Service::default()
    };
    let draft = masked(
        service.clone(),
        &["scheduler", "persistence_engine", "etag"],
    );
    assert_eq!(draft.scheduler, Field::Set("rr".to_owned()));
    assert_eq!(draft.persistence_engine, Field::Clear);
    assert_eq!(draft.one_packet, Field::Keep);
    assert!(draft.servers.is_none(), "not in the mask");
    // Servers in the mask reach the model, which rejects them.
    assert!(masked(service, &["servers"]).servers.is_some());
}

#[test]
fn a_mask_can_name_one_field_of_persistence() {
    let service = pb::Service {
        persistence: Some(pb::Persistence {
            timeout_seconds: Some(60),
            netmask: Some("255.255.255.0".to_owned()),
        }),
        ..pb::Service::default()
    };
    let Field::Set(one) = masked(service.clone(), &["persistence.timeout_seconds"]).persistence
    else {
        unreachable!()
    };
    assert_eq!(
        (one.timeout_seconds, one.netmask),
        (Field::Set(60), Field::Keep)
    );
    let Field::Set(all) = masked(service, &["persistence"]).persistence else {
        unreachable!()
    };
    assert_eq!(
        all.netmask,
        Field::Set(MaskText::Text("255.255.255.0".to_owned()))
    );
    let none = masked(pb::Service::default(), &["persistence"]);
    assert_eq!(none.persistence, Field::Clear);
}

#[test]
fn an_empty_list_is_absent_unless_the_mask_names_it() {
    let draft = service_message::draft(pb::Service::default(), &Mask::Present);
    assert_eq!(draft.scheduler_flags, Field::Keep);
    assert!(draft.servers.is_none());
    let draft = masked(pb::Service::default(), &["scheduler_flags"]);
    assert_eq!(draft.scheduler_flags, Field::Clear);
}

#[test]
fn values_that_only_other_programs_can_set_are_shown_unchanged() {
    let key: ServerKey = "192.0.2.9-80".parse().unwrap();
    let config = ServerConfig {
        forwarding: Forwarding::Other(5),
        weight: 2_000_000_000,
        ..ServerConfig::default()
    };
    let server = real(key, config);
    let message = server_message::message(ServerView::new(&server, ALL));
    assert_eq!(message.forwarding.as_deref(), Some("5"));
    assert_eq!(message.weight, Some(2_000_000_000));
    let key: ServiceKey = "47-192.0.2.1-80".parse().unwrap();
    let config = ServiceConfig::new(Family::Ipv4);
    let message = service_message::message(&entry(key, config), Include::default());
    assert_eq!(message.protocol.as_deref(), Some("47"));
    assert_eq!(message.id, "47-192.0.2.1-80");
}

#[test]
fn a_sync_daemon_message_converts_back_to_the_same_daemon() {
    let daemon = SyncDaemon {
        state: SyncState::Backup,
        interface: Name::from_kernel(b"eth0"),
        sync_id: 7,
        max_length: 1400,
        multicast_group: "ff02::81".parse().unwrap(),
        multicast_port: 8849,
        multicast_ttl: 3,
        interface_state: InterfaceState::Unknown,
    };
    let message = pb::SyncDaemon::from(SyncDaemonView::from(daemon));
    assert_eq!(message.state, "backup");
    let wanted = sync_daemons::draft(message)
        .config(SyncState::Backup)
        .unwrap();
    assert!(wanted.matches(&daemon));
}

#[test]
fn timeouts_are_converted_both_ways() {
    let some = Timeouts {
        tcp_seconds: 1,
        tcp_fin_seconds: 2,
        udp_seconds: 3,
    };
    let message = pb::Timeouts::from(some);
    assert_eq!(
        timeouts::draft(message, &Mask::All)
            .update(Timeouts::DEFAULT)
            .unwrap(),
        some
    );
    let nothing = timeouts::draft(pb::Timeouts::default(), &Mask::Present);
    assert_eq!(nothing.update(some).unwrap(), some);
    let cleared = timeouts::draft(pb::Timeouts::default(), &Mask::All);
    assert_eq!(cleared.update(some).unwrap(), Timeouts::DEFAULT);
}

#[test]
fn the_tags_of_servers_bound_their_number() {
    let servers = vec![pb::Server::default(); 1000];
    let service = pb::Service {
        servers: servers.clone(),
        ..pb::Service::default()
    };
    let create = pb::CreateServiceRequest {
        service: Some(service.clone()),
        ..pb::CreateServiceRequest::default()
    };
    let replace = pb::ReplaceServiceRequest {
        service: Some(service),
        ..pb::ReplaceServiceRequest::default()
    };
    let add = pb::CreateServersRequest {
        servers,
        ..pb::CreateServersRequest::default()
    };
    for message in [
        create.encode_to_vec(),
        replace.encode_to_vec(),
        add.encode_to_vec(),
    ] {
        let tags = message
            .iter()
            .filter(|byte| server_message::SERVER_TAGS.contains(byte));
        assert!(tags.count() >= 1000, "{} bytes", message.len());
    }
}
