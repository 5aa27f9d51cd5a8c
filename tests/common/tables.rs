//! Random tables, for property tests.
#![allow(dead_code, reason = "each suite uses a part of this")]

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipvsd::model::{
    Checksum, Family, Forwarding, Name, Netmask, Protocol, Rates, SchedulerFlags, Server,
    ServerConfig, ServerKey, Service, ServiceConfig, ServiceEntry, ServiceKey, Stats, Tunnel,
    TunnelType,
};
use proptest::{collection, option, prelude::*, sample};

/// Which tables are generated.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Schedulers.
    scheduler: fn() -> BoxedStrategy<Name>,
    /// Persistence engines.
    engine: fn() -> BoxedStrategy<Name>,
    /// Addresses of real servers.
    server: fn(Family) -> BoxedStrategy<IpAddr>,
    /// Whether the lower threshold may be above the upper one.
    crossed_thresholds: bool,
}

/// Everything that ipvsadm's language can express.
pub const ANY: Kind = Kind {
    scheduler: any_name,
    engine: any_name,
    server: any_address,
    crossed_thresholds: true,
};

/// Everything that a kernel accepts.
pub const OF_A_KERNEL: Kind = Kind {
    scheduler: || {
        let names = [
            "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "mh",
        ];
        sample::select(names.to_vec())
            .prop_map(|name| Name::from_kernel(name.as_bytes()))
            .boxed()
    },
    engine: || Just(Name::from_kernel(b"sip")).boxed(),
    server: unicast,
    crossed_thresholds: false,
};

/// Tables of up to `services` services with up to `servers` servers each.
pub fn table(
    kind: Kind,
    services: usize,
    servers: usize,
) -> impl Strategy<Value = Vec<ServiceEntry>> {
    collection::vec(entry(kind, servers), 0..=services).prop_map(|mut entries| {
        let mut seen = HashSet::new();
        entries.retain(|entry| seen.insert(entry.service.key));
        entries
    })
}

/// A service with up to `servers` servers.
pub fn entry(kind: Kind, servers: usize) -> impl Strategy<Value = ServiceEntry> {
    key()
        .prop_flat_map(move |key| (Just(key), config(kind, key), any::<bool>()))
        .prop_flat_map(move |(key, config, any_port)| {
            let key = match key {
                // Port 0 requires persistence.
                ServiceKey::Address {
                    protocol, address, ..
                } if any_port && config.persistence_timeout.is_some() => ServiceKey::Address {
                    protocol,
                    address,
                    port: 0,
                },
                key => key,
            };
            collection::vec(server(kind, key), 0..=servers).prop_map(move |mut servers| {
                let mut seen = HashSet::new();
                servers.retain(|server| seen.insert(server.key));
                ServiceEntry {
                    service: Service {
                        key,
                        config,
                        stats: Stats::default(),
                        rates: Rates::default(),
                        kept: None,
                    },
                    servers,
                }
            })
        })
}

fn any_name() -> BoxedStrategy<Name> {
    prop_oneof![
        sample::select(vec!["rr", "wlc", "sh", "mh", "ipvsadm", "-A", "=", "#"])
            .prop_map(|name| Name::from_kernel(name.as_bytes())),
        "[!-~]{1,15}".prop_map(|name| Name::from_kernel(name.as_bytes())),
    ]
    .boxed()
}

fn unicast(family: Family) -> BoxedStrategy<IpAddr> {
    any::<u16>()
        .prop_map(move |low| match family {
            Family::Ipv4 => Ipv4Addr::from_bits(0x0a01_0000 | u32::from(low)).into(),
            Family::Ipv6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, low).into(),
        })
        .boxed()
}

fn any_address(family: Family) -> BoxedStrategy<IpAddr> {
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
            (protocol, any_address(family), 1..=u16::MAX)
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

fn config(kind: Kind, key: ServiceKey) -> impl Strategy<Value = ServiceConfig> {
    let netmask = match key.family() {
        Family::Ipv4 => any::<u32>()
            .prop_map(|bits| Netmask::V4(Ipv4Addr::from(bits)))
            .boxed(),
        Family::Ipv6 => (1_u32..=128).prop_map(Netmask::V6).boxed(),
    };
    let udp = !matches!(key, ServiceKey::Address { protocol, .. } if protocol != Protocol::Udp);
    (
        (kind.scheduler)(),
        0_u32..64,
        any::<bool>(),
        option::of(1_u32..=2_678_400),
        prop_oneof![Just(Netmask::full(key.family())), netmask],
        option::of((kind.engine)()),
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

fn server(kind: Kind, service: ServiceKey) -> impl Strategy<Value = Server> {
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
        threshold(),
        threshold(),
        any::<u16>(),
    )
        .prop_flat_map(
            move |(forwarding, family, tunnel, weight, upper, lower, port)| {
                let family = match forwarding {
                    Forwarding::Tunnel => family,
                    _ => service.family(),
                };
                let (upper, lower) = match kind.crossed_thresholds {
                    true => (upper, lower),
                    false => (upper.max(lower), upper.min(lower)),
                };
                (kind.server)(family).prop_map(move |address| Server {
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
                    effective_weight: weight,
                    holds: None,
                    membership: None,
                    active_connections: 0,
                    inactive_connections: 0,
                    persistent_connections: 0,
                    stats: Stats::default(),
                    rates: Rates::default(),
                })
            },
        )
}

fn threshold() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), 0_u32..=i32::MAX as u32]
}
