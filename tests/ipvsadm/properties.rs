//! Properties of the language over random tables, words and texts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipvsd::{
    model::{
        Checksum, Family, Forwarding, Name, Netmask, Op, Protocol, Rates, SchedulerFlags, Server,
        ServerConfig, ServerKey, Service, ServiceConfig, ServiceEntry, ServiceKey, Stats, Tunnel,
        TunnelType,
    },
    rules::{CommandLine, Lines, Numeric, Order, parse, write_op, write_rules},
};
use proptest::{collection, option, prelude::*, sample};

fn address(family: Family) -> BoxedStrategy<IpAddr> {
    match family {
        Family::Ipv4 => any::<u32>()
            .prop_map(|bits| Ipv4Addr::from(bits).into())
            .boxed(),
        Family::Ipv6 => any::<u128>()
            .prop_map(|bits| Ipv6Addr::from(bits).into())
            .boxed(),
    }
}

fn family() -> impl Strategy<Value = Family> {
    sample::select(vec![Family::Ipv4, Family::Ipv6])
}

fn key() -> impl Strategy<Value = ServiceKey> {
    let by_address = family()
        .prop_flat_map(|family| {
            let protocol = sample::select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp]);
            (protocol, address(family), 1..=u16::MAX)
        })
        .prop_map(|(protocol, address, port)| ServiceKey::Address {
            protocol,
            address,
            port,
        });
    let by_mark =
        (family(), 1..=u32::MAX).prop_map(|(family, mark)| ServiceKey::Fwmark { family, mark });
    prop_oneof![by_address, by_mark]
}

fn name() -> impl Strategy<Value = Name> {
    prop_oneof![
        sample::select(vec!["rr", "wlc", "sh", "mh", "ipvsadm", "-A", "=", "#"])
            .prop_map(|name| Name::from_kernel(name.as_bytes())),
        "[!-~]{1,15}".prop_map(|name| Name::from_kernel(name.as_bytes())),
    ]
}

fn config(key: ServiceKey) -> impl Strategy<Value = ServiceConfig> {
    let netmask = match key.family() {
        Family::Ipv4 => any::<u32>()
            .prop_map(|bits| Netmask::V4(Ipv4Addr::from(bits)))
            .boxed(),
        Family::Ipv6 => (1_u32..=128).prop_map(Netmask::V6).boxed(),
    };
    let udp = !matches!(key, ServiceKey::Address { protocol, .. } if protocol != Protocol::Udp);
    (
        name(),
        0_u32..64,
        any::<bool>(),
        option::of(1_u32..=2_678_400),
        prop_oneof![Just(Netmask::full(key.family())), netmask],
        option::of(name()),
    )
        .prop_map(
            move |(scheduler, flags, ops, timeout, netmask, engine)| ServiceConfig {
                scheduler,
                scheduler_flags: SchedulerFlags::from_bits(flags),
                one_packet: ops && udp,
                persistence_timeout: timeout,
                netmask,
                persistence_engine: engine,
            },
        )
}

fn tunnel() -> impl Strategy<Value = Tunnel> {
    let gue = (
        1..=u16::MAX,
        sample::select(vec![Checksum::None, Checksum::Checksum, Checksum::Remote]),
    )
        .prop_map(|(port, checksum)| Tunnel {
            kind: TunnelType::Gue,
            port,
            checksum,
        });
    let gre =
        sample::select(vec![Checksum::None, Checksum::Checksum]).prop_map(|checksum| Tunnel {
            kind: TunnelType::Gre,
            port: 0,
            checksum,
        });
    prop_oneof![Just(Tunnel::default()), gue, gre]
}

fn server(service: ServiceKey) -> impl Strategy<Value = Server> {
    let forwarding = sample::select(vec![
        Forwarding::Masquerade,
        Forwarding::Tunnel,
        Forwarding::Direct,
    ]);
    (
        forwarding,
        family(),
        tunnel(),
        0_u32..=65_535,
        0_u32..=i32::MAX as u32,
        0_u32..=i32::MAX as u32,
        any::<u16>(),
    )
        .prop_flat_map(
            move |(forwarding, family, tunnel, weight, upper, lower, port)| {
                let family = match forwarding {
                    Forwarding::Tunnel => family,
                    _ => service.family(),
                };
                address(family).prop_map(move |address| Server {
                    key: ServerKey {
                        address,
                        port: match forwarding {
                            Forwarding::Masquerade => port,
                            _ => service.port().unwrap_or(port),
                        },
                    },
                    config: ServerConfig {
                        forwarding,
                        weight,
                        upper_threshold: upper,
                        lower_threshold: lower,
                        tunnel: match forwarding {
                            Forwarding::Tunnel => tunnel,
                            _ => Tunnel::default(),
                        },
                    },
                    active_connections: 0,
                    inactive_connections: 0,
                    persistent_connections: 0,
                    stats: Stats::default(),
                    rates: Rates::default(),
                })
            },
        )
}

fn entry() -> impl Strategy<Value = ServiceEntry> {
    key().prop_flat_map(|key| {
        (config(key), collection::vec(server(key), 0..5)).prop_map(move |(config, servers)| {
            ServiceEntry {
                service: Service {
                    key,
                    config,
                    stats: Stats::default(),
                    rates: Rates::default(),
                },
                servers,
            }
        })
    })
}

fn table() -> impl Strategy<Value = Vec<ServiceEntry>> {
    collection::vec(entry(), 0..6).prop_map(|mut entries| {
        entries.sort_by_key(|entry| entry.service.key);
        entries.dedup_by_key(|entry| entry.service.key);
        for entry in &mut entries {
            let mut seen = std::collections::HashSet::new();
            entry.servers.retain(|server| seen.insert(server.key));
        }
        entries
    })
}

fn ops_of(text: &str) -> Vec<Op> {
    Lines::new(text)
        .map(|line| match parse("ipvsadm", &line.words, &Numeric) {
            Ok(CommandLine::Change(op)) => op,
            other => panic!("{line:?}: {other:?}"),
        })
        .collect()
}

/// What the kernel would have after these, which puts a new server before the others.
fn carry_out(ops: Vec<Op>) -> Vec<(ServiceKey, ServiceConfig, Vec<(ServerKey, ServerConfig)>)> {
    let mut table: Vec<(_, _, Vec<_>)> = Vec::new();
    for op in ops {
        match op {
            Op::CreateService(key, config) => table.push((key, config, Vec::new())),
            Op::CreateServer(key, server, config) => {
                let place = table.iter().position(|(k, ..)| *k == key).unwrap();
                table[place].2.insert(0, (server, config));
            }
            other => panic!("{other:?}"),
        }
    }
    table.sort_by_key(|(key, ..)| *key);
    table
}

fn bare(
    entries: &[ServiceEntry],
) -> Vec<(ServiceKey, ServiceConfig, Vec<(ServerKey, ServerConfig)>)> {
    entries
        .iter()
        .map(|entry| {
            let servers = entry.servers.iter().map(|s| (s.key, s.config)).collect();
            (entry.service.key, entry.service.config, servers)
        })
        .collect()
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        "-[A-Za-z0-9=]{0,4}",
        sample::select(vec![
            "--set",
            "--start-daemon",
            "master",
            "--sctp-service",
            "--tun-type",
            "gue",
            "--tun-port",
            "--tun-csum",
            "--pe",
            "--timeout",
            "--daemon",
            "--stats",
            "--",
            "-",
            "--=",
            "--weight=",
            "-b",
            ",",
            "sh-port",
            "-A",
            "-a",
            "-e",
            "-E",
            "-L",
            "-R",
            "-t",
            "-r",
            "-f",
            "-6",
            "-p",
            "1.2.3.4:80",
            "[2001:db8::1]:80",
            "[::1",
            "[",
            "]",
            ":",
            "[]:",
            "0x7f.1",
            "1",
            "é",
            "-é",
            "--é",
            "-té",
            "4294967295",
            "99999999999999999999",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,8}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_saved_table_is_restored_as_it_was(entries in table()) {
        let mut text = Vec::new();
        write_rules(&mut text, &entries, Order::Restorable, &Numeric).unwrap();
        let restored = carry_out(ops_of(std::str::from_utf8(&text).unwrap()));
        prop_assert_eq!(restored, bare(&entries));
        // Sorted, it has the same servers.
        let mut text = Vec::new();
        write_rules(&mut text, &entries, Order::Sorted, &Numeric).unwrap();
        let mut restored = carry_out(ops_of(std::str::from_utf8(&text).unwrap()));
        let mut entries = bare(&entries);
        for (_, _, servers) in restored.iter_mut().chain(&mut entries) {
            servers.sort_by_key(|(key, _)| *key);
        }
        prop_assert_eq!(restored, entries);
    }

    #[test]
    fn every_operation_is_read_as_it_was_written(entry in entry(), flip in any::<bool>()) {
        let key = entry.service.key;
        let mut ops = vec![
            if flip { Op::SetService(key, entry.service.config) } else { Op::DeleteService(key) },
            if flip { Op::ZeroService(key) } else { Op::Clear },
        ];
        for server in &entry.servers {
            ops.push(match flip {
                true => Op::SetServer(key, server.key, server.config),
                false => Op::DeleteServer(key, server.key),
            });
        }
        let mut text = Vec::new();
        for op in &ops {
            write_op(&mut text, op).unwrap();
        }
        prop_assert_eq!(ops_of(std::str::from_utf8(&text).unwrap()), ops);
    }

    #[test]
    fn no_words_make_it_panic(words in collection::vec(word(), 0..10)) {
        let _ = parse("ipvsadm", &words, &Numeric);
    }

    #[test]
    fn no_text_makes_it_panic(text in "(\\PC|[ \\t\\r\\n#-]|-A -t 1.2.3.4:80){0,60}") {
        for line in Lines::new(&text) {
            let _ = parse("ipvsadm", &line.words, &Numeric);
        }
    }
}
