//! A PUT of the JSON of a GET changes nothing.

use proptest::{collection::vec, option, prelude::*};

use super::*;

fn family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::Ipv4), Just(Family::Ipv6)]
}

fn service_key() -> impl Strategy<Value = ServiceKey> {
    let protocol = prop_oneof![
        Just(Protocol::Tcp),
        Just(Protocol::Udp),
        Just(Protocol::Sctp)
    ];
    let address = prop_oneof![
        any::<u32>().prop_map(|v4| std::net::IpAddr::V4(v4.into())),
        any::<u128>().prop_map(|v6| std::net::IpAddr::V6(v6.into())),
    ];
    prop_oneof![
        (protocol, address, any::<u16>()).prop_map(|(protocol, address, port)| {
            ServiceKey::Address {
                protocol,
                address,
                port,
            }
        }),
        (family(), 1..=u32::MAX).prop_map(|(family, mark)| ServiceKey::Fwmark { family, mark }),
    ]
}

/// A service that ipvsd could have created.
fn service() -> impl Strategy<Value = Service> {
    let flags = prop_oneof![Just(0_u32), any::<u32>()];
    (
        service_key(),
        "[a-z]{1,15}|sh|mh|wlc",
        flags,
        any::<bool>(),
        option::of(1..=ServiceConfig::MAX_TIMEOUT),
        any::<u32>(),
        option::of("[!-~]{1,16}"),
    )
        .prop_map(|(key, scheduler, flags, one_packet, timeout, mask, engine)| {
            let tcp = matches!(key, ServiceKey::Address { protocol, .. } if protocol != Protocol::Udp);
            let any_port = key.port() == Some(0);
            Service {
                key,
                config: ServiceConfig {
                    scheduler: name(&scheduler),
                    scheduler_flags: SchedulerFlags::from_bits(flags),
                    one_packet: one_packet && !tcp,
                    persistence_timeout: timeout.or(any_port.then_some(300)),
                    netmask: match key.family() {
                        Family::Ipv4 => Netmask::V4(mask.into()),
                        Family::Ipv6 => Netmask::V6(mask % 128 + 1),
                    },
                    persistence_engine: engine.map(|engine| name(&engine)),
                },
                stats: Stats {
                    connections: mask.into(),
                    ..Stats::default()
                },
                rates: Rates::default(),
                kept: None,
            }
        })
}

fn tunnel() -> impl Strategy<Value = Tunnel> {
    let of = |kind, checksum: &'static [Checksum]| (Just(kind), proptest::sample::select(checksum));
    prop_oneof![
        of(TunnelType::Ipip, &[Checksum::None]),
        of(TunnelType::Gre, &[Checksum::None, Checksum::Checksum]),
        of(
            TunnelType::Gue,
            &[Checksum::None, Checksum::Checksum, Checksum::Remote]
        ),
    ]
    .prop_flat_map(|(kind, checksum)| {
        let port = if kind == TunnelType::Gue {
            1..=u16::MAX
        } else {
            0..=0
        };
        port.prop_map(move |port| Tunnel {
            kind,
            port,
            checksum,
        })
    })
}

/// A server of `service` that ipvsd could have created.
fn server_of(service: ServiceKey) -> impl Strategy<Value = Server> {
    (
        1..0xe000_0000_u32,
        any::<u16>(),
        0..3_usize,
        0..=65_535_u32,
        0..=ServerConfig::MAX_THRESHOLD,
        tunnel(),
        any::<u32>(),
    )
        .prop_map(
            move |(address, port, method, weight, threshold, tunnel, busy)| {
                let forwarding = [
                    Forwarding::Masquerade,
                    Forwarding::Direct,
                    Forwarding::Tunnel,
                ][method];
                let ipv6 = (0x2001_0db8_u128 << 96) + u128::from(address);
                Server {
                    key: ServerKey {
                        address: match service.family() {
                            Family::Ipv4 => std::net::IpAddr::V4(address.into()),
                            Family::Ipv6 => std::net::IpAddr::V6(ipv6.into()),
                        },
                        port: match (forwarding, service.port()) {
                            (Forwarding::Masquerade, _) | (_, None) => port,
                            (_, Some(port)) => port,
                        },
                    },
                    config: ServerConfig {
                        forwarding,
                        weight,
                        upper_threshold: threshold,
                        lower_threshold: threshold / 2,
                        tunnel: if forwarding == Forwarding::Tunnel {
                            tunnel
                        } else {
                            Tunnel::default()
                        },
                    },
                    effective_weight: weight,
                    holds: None,
                    membership: None,
                    active_connections: busy,
                    inactive_connections: busy,
                    persistent_connections: busy,
                    stats: Stats::default(),
                    rates: Rates {
                        bytes_out: busy.into(),
                        ..Rates::default()
                    },
                }
            },
        )
}

fn entry() -> impl Strategy<Value = ServiceEntry> {
    service().prop_flat_map(|service| {
        vec(server_of(service.key), 0..4).prop_map(move |servers| ServiceEntry {
            service: service.clone(),
            servers,
        })
    })
}

proptest! {
    #[test]
    fn the_answer_about_a_service_is_a_draft_of_the_same_service(
        entry in entry(), servers in any::<bool>(), stats in any::<bool>(), rates in any::<bool>(),
    ) {
        let include = Include { servers, stats, rates };
        let json = serde_json::to_value(ServiceView::new(&entry, include)).unwrap();
        let draft: ServiceDraft = serde_json::from_value(json.clone()).unwrap();
        let key = entry.service.key;
        prop_assert_eq!(draft.key().unwrap(), Some(key), "{}", json);
        draft.check_key(key).unwrap();
        prop_assert_eq!(draft.create(key).unwrap(), entry.service.config, "{}", json);
        prop_assert_eq!(draft.servers.is_some(), servers);
        for (draft, server) in draft.servers.iter().flatten().zip(&entry.servers) {
            prop_assert_eq!(draft.key(key).unwrap(), Some(server.key));
            draft.check_key(server.key).unwrap();
            prop_assert_eq!(draft.create(key, server.key).unwrap(), server.config, "{}", json);
        }
        // The same holds for an update.
        let bare = serde_json::to_value(ServiceView::bare(&entry.service, include)).unwrap();
        let bare: ServiceDraft = serde_json::from_value(bare).unwrap();
        prop_assert_eq!(bare.update(key, entry.service.config).unwrap(), entry.service.config);
    }

    #[test]
    fn an_update_with_an_empty_draft_changes_nothing_whatever_is_there(
        entry in entry(), bits in any::<u32>(), kind in any::<u8>(), sum in any::<u16>(),
        method in 0..8_u8,
    ) {
        let key = entry.service.key;
        let empty = ServiceDraft::default();
        prop_assert_eq!(empty.update(key, entry.service.config).unwrap(), entry.service.config);
        for server in &entry.servers {
            let foreign = ServerConfig {
                forwarding: Forwarding::from(method),
                weight: bits,
                upper_threshold: bits / 3,
                lower_threshold: bits,
                tunnel: Tunnel { kind: kind.into(), port: sum, checksum: sum.into() },
            };
            let empty = ServerDraft::default();
            prop_assert_eq!(empty.update(key, server.key, foreign).unwrap(), foreign);

            // What is shown can be sent back.
            let shown = Server { config: foreign, ..server.clone() };
            let json = serde_json::to_value(ServerView::new(&shown, Include::default())).unwrap();
            let draft: ServerDraft = serde_json::from_value(json).unwrap();
            let tunnel = match foreign.forwarding {
                Forwarding::Tunnel => foreign.tunnel,
                _ => Tunnel::default(),
            };
            let replaced = draft.replace(key, server.key, foreign).unwrap();
            prop_assert_eq!(replaced, ServerConfig { tunnel, ..foreign });
            prop_assert_eq!(draft.update(key, server.key, foreign).unwrap(), replaced);
        }
    }

    #[test]
    fn what_is_shown_of_a_service_can_be_sent_back_whatever_is_there(
        service in service(), timeout in option::of(any::<u32>()), one_packet in any::<bool>(),
        netmask in any::<u32>(),
    ) {
        let netmask = match service.key.family() {
            Family::Ipv4 => Netmask::V4(netmask.into()),
            Family::Ipv6 => Netmask::V6(netmask),
        };
        let config = ServiceConfig {
            persistence_timeout: timeout,
            one_packet,
            netmask,
            ..service.config
        };
        let shown = Service { config, ..service };
        let json = serde_json::to_value(ServiceView::bare(&shown, Include::default())).unwrap();
        let draft: ServiceDraft = serde_json::from_value(json).unwrap();
        prop_assert_eq!(draft.replace(shown.key, config).unwrap(), config);
        prop_assert_eq!(draft.update(shown.key, config).unwrap(), config);
    }
}
