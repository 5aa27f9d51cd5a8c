//! Property test: reading back returns every configuration as it was written.

use proptest::prelude::*;

use super::*;

fn any_service() -> impl Strategy<Value = (ServiceKey, ServiceConfig)> {
    let address = prop_oneof![
        any::<u32>().prop_map(|v4| std::net::IpAddr::V4(v4.into())),
        any::<u128>().prop_map(|v6| std::net::IpAddr::V6(v6.into())),
    ];
    let key = prop_oneof![
        (any::<u16>(), address, any::<u16>()).prop_map(|(protocol, address, port)| {
            ServiceKey::Address {
                protocol: protocol.into(),
                address,
                port,
            }
        }),
        (any::<bool>(), 1..=u32::MAX).prop_map(|(v6, mark)| ServiceKey::Fwmark {
            family: if v6 { Family::Ipv6 } else { Family::Ipv4 },
            mark,
        }),
    ];
    let scheduler = prop_oneof![Just("rr"), Just("wlc"), Just("mh"), Just("none")];
    (
        key,
        scheduler,
        any::<u32>(),
        any::<bool>(),
        proptest::option::of(1..=ServiceConfig::MAX_TIMEOUT),
        any::<u32>(),
        any::<bool>(),
    )
        .prop_map(|(key, scheduler, bits, one_packet, timeout, mask, sip)| {
            let config = ServiceConfig {
                scheduler: scheduler.parse().unwrap(),
                scheduler_flags: SchedulerFlags::from_bits(bits),
                one_packet,
                persistence_timeout: timeout,
                netmask: match key.family() {
                    Family::Ipv4 => Netmask::V4(mask.into()),
                    Family::Ipv6 => Netmask::V6(mask % 128 + 1),
                },
                persistence_engine: sip.then(|| "sip".parse().unwrap()),
            };
            (key, config)
        })
}

fn any_server() -> impl Strategy<Value = (ServerKey, ServerConfig)> {
    let address = prop_oneof![
        (1..0xe000_0000_u32).prop_map(|v4| std::net::IpAddr::V4(v4.into())),
        (0..=u128::MAX >> 8).prop_map(|v6| std::net::IpAddr::V6((v6 | 0x20 << 120).into())),
    ];
    (
        address,
        any::<u16>(),
        0..=i32::MAX.cast_unsigned(),
        any::<u32>(),
        any::<u8>(),
        1..=u16::MAX,
        any::<u16>(),
    )
        .prop_map(
            |(address, port, weight, upper, kind, tunnel_port, checksum)| {
                let config = ServerConfig {
                    // Other methods require the family of the service.
                    forwarding: Forwarding::Tunnel,
                    weight,
                    upper_threshold: upper,
                    lower_threshold: upper / 2,
                    tunnel: Tunnel {
                        kind: kind.into(),
                        port: tunnel_port,
                        checksum: checksum.into(),
                    },
                };
                (ServerKey { address, port }, config)
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn reading_back_returns_what_was_written(
        (service, created) in any_service(), (_, set) in any_service(),
        (server, added) in any_server(), (_, updated) in any_server(),
    ) {
        let netmask = if service.family() == Family::Ipv4 {
            Netmask::V4([255, 255, 0, 0].into())
        } else {
            Netmask::V6(64)
        };
        let set = ServiceConfig { netmask, ..set };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let kernel = FakeKernel::new();
            let executor = start(&kernel);
            let query = ServiceWithServersQuery(service);
            for (op, config, servers) in [
                (Op::CreateService(service, created, StoredFields::default()), created, vec![]),
                (Op::CreateServer(service, server, added), created, vec![(server, added)]),
                (Op::SetService(service, set), set, vec![(server, added)]),
                (Op::SetServer(service, server, updated), set, vec![(server, updated)]),
                (Op::DeleteServer(service, server), set, vec![]),
            ] {
                let entry = write(&executor, without_precondition([op], query)).await.unwrap().value.unwrap();
                assert_eq!((entry.service.key, entry.service.config), (service, config));
                let found: Vec<_> = entry.servers.iter().map(|s| (s.key, s.config)).collect();
                assert_eq!(found, servers);
            }
            execute(&executor, Op::DeleteService(service)).await.unwrap();
            assert_eq!(service_count(&kernel), 0);
        });
    }
}
