//! Strategies of the differential test: valid and invalid operations and queries on few objects, so
//! that operations affect the same objects.

use std::net::IpAddr;

use ipvsd::model::{
    Checksum, Family, Forwarding, Name, Netmask, Op, Protocol, Query, SchedulerFlags, ServerConfig,
    ServerKey, ServiceConfig, ServiceKey, StoredFields, SyncDaemonConfig, SyncState, Timeouts,
    Tunnel, TunnelType,
};
use proptest::{collection::vec, option, prelude::*, sample::select};

/// A step of a sequence.
#[derive(Clone, Debug)]
pub enum Step {
    /// A batch of operations. The kernel continues after a rejected one.
    Do(Vec<Op>),
    /// A query.
    Query(Query),
}

/// A sequence of steps that starts with a few services.
pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let services = (service(), usual_config()).prop_map(|(key, config)| {
        Step::Do(vec![Op::CreateService(
            key,
            fitting(config, key.family()),
            StoredFields::default(),
        )])
    });
    let step = prop_oneof![
        20 => op().prop_map(|op| Step::Do(vec![op])),
        3 => vec(op(), 2..6).prop_map(Step::Do),
        3 => query().prop_map(Step::Query),
    ];
    (vec(services, 0..6), vec(step, 10..50)).prop_map(|(mut first, then)| {
        first.extend(then);
        first
    })
}

fn name(text: &str) -> Name {
    Name::from_kernel(text.as_bytes())
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn service() -> impl Strategy<Value = ServiceKey> {
    let protocol = prop_oneof![
        16 => Just(Protocol::Tcp),
        4 => Just(Protocol::Udp),
        1 => Just(Protocol::Sctp),
        1 => select(vec![0, 1, 47, 65535]).prop_map(Protocol::from),
    ];
    let virtual_address = prop_oneof![
        12 => Just("10.0.0.1"),
        6 => Just("2001:db8::1"),
        1 => select(vec!["0.0.0.0", "::"]),
    ];
    let port = prop_oneof![16 => Just(80), 1 => select(vec![0, 65535])];
    let spelt =
        (protocol, virtual_address, port).prop_map(|(protocol, text, port)| ServiceKey::Address {
            protocol,
            address: address(text),
            port,
        });
    let family = select(vec![Family::Ipv4, Family::Ipv6]);
    let mark = prop_oneof![10 => Just(7), 2 => Just(u32::MAX), 1 => Just(0)];
    let marked = (family, mark).prop_map(|(family, mark)| ServiceKey::Fwmark { family, mark });
    prop_oneof![4 => spelt, 1 => marked]
}

fn server(family: Family) -> impl Strategy<Value = ServerKey> {
    let ipv4 = ["10.1.1.2", "10.1.1.3"];
    let ipv6 = ["2001:db8:1::2", "2001:db8:1::3"];
    let (own, other) = match family {
        Family::Ipv4 => (ipv4, ipv6),
        Family::Ipv6 => (ipv6, ipv4),
    };
    let usual = prop_oneof![5 => select(own.to_vec()), 1 => select(other.to_vec())];
    let unusual = select(vec![
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "10.1.1.1",
        "10.1.1.255",
        "203.0.113.9",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fd00::1",
        "fe80::1",
        "ff02::1",
        "::ffff:10.1.1.2",
    ]);
    let port = prop_oneof![16 => Just(80), 1 => Just(0), 1 => Just(8080)];
    (prop_oneof![9 => usual, 1 => unusual], port).prop_map(|(text, port)| ServerKey {
        address: address(text),
        port,
    })
}

fn usual_config() -> impl Strategy<Value = ServiceConfig> {
    let scheduler = select(vec!["rr", "wrr", "lc", "wlc", "sh", "mh", "none"]);
    scheduler.prop_map(|scheduler| ServiceConfig {
        scheduler: name(scheduler),
        ..ServiceConfig::new(Family::Ipv4)
    })
}

/// A netmask of the service's address family.
fn fitting(config: ServiceConfig, family: Family) -> ServiceConfig {
    ServiceConfig {
        netmask: Netmask::full(family),
        ..config
    }
}

fn config(family: Family) -> impl Strategy<Value = ServiceConfig> {
    // A missing module makes the kernel run modprobe each time, which is slow.
    let scheduler = prop_oneof![
        60 => select(vec!["rr", "wrr", "lc", "wlc", "sh", "mh", "none"]),
        30 => select(vec!["dh", "sed", "nq", "lblc", "lblcr", "fo", "ovf"]),
        2 => Just("abcdefghijklmnop"),
        1 => select(vec!["nosuch", "abcdefghijklmno"]),
    ];
    let engine = prop_oneof![60 => Just(None), 20 => Just(Some("sip")), 1 => Just(Some("nosuch"))];
    let timeout = select(vec![0, 1, 300, 2_678_400, 42_949_673, u32::MAX]);
    let netmask = match family {
        Family::Ipv4 => select(vec![u32::MAX, 0xffff_ff00, 0, 0xff00_ff00])
            .prop_map(|mask| Netmask::V4(mask.into()))
            .boxed(),
        Family::Ipv6 => prop_oneof![5 => 1..=128u32, 1 => select(vec![0, 129, u32::MAX])]
            .prop_map(Netmask::V6)
            .boxed(),
    };
    let flags = (0..64u32).prop_map(SchedulerFlags::from_bits);
    let timeout = option::weighted(0.4, timeout);
    (scheduler, flags, any::<bool>(), timeout, netmask, engine).prop_map(
        |(scheduler, scheduler_flags, one_packet, persistence_timeout, netmask, engine)| {
            ServiceConfig {
                scheduler: name(scheduler),
                scheduler_flags,
                one_packet,
                persistence_timeout,
                netmask,
                persistence_engine: engine.map(name),
            }
        },
    )
}

fn forwarding() -> impl Strategy<Value = Forwarding> {
    prop_oneof![
        4 => Just(Forwarding::Masquerade),
        4 => Just(Forwarding::Tunnel),
        4 => Just(Forwarding::Direct),
        1 => Just(Forwarding::Local),
        1 => (0..=7u8).prop_map(Forwarding::from),
    ]
}

fn server_config() -> impl Strategy<Value = ServerConfig> {
    let number = || {
        prop_oneof![
            6 => 0..4u32,
            1 => select(vec![65535, 65536, 0x7fff_ffff]),
        ]
    };
    // Older kernels accept thresholds that newer ones reject: not above 2147483647.
    let weight = prop_oneof![24 => number(), 1 => select(vec![0x8000_0000, u32::MAX])];
    let kind = prop_oneof![
        6 => (0..=2u8).prop_map(TunnelType::from),
        1 => select(vec![3, 255]).prop_map(TunnelType::Other),
    ];
    let port = prop_oneof![1 => Just(0), 4 => select(vec![6080, 65535])];
    let checksum = prop_oneof![
        6 => (0..=2u16).prop_map(Checksum::from),
        1 => select(vec![3, 65535]).prop_map(Checksum::Other),
    ];
    let tunnel = (kind, port, checksum).prop_map(|(kind, port, checksum)| Tunnel {
        kind,
        port,
        checksum,
    });
    let tunnel = prop_oneof![3 => Just(Tunnel::default()), 2 => tunnel];
    let thresholds = prop_oneof![
        8 => (number(), number()).prop_map(|(a, b)| (a.max(b), a.min(b))),
        1 => (number(), number()),
    ];
    (forwarding(), weight, thresholds, tunnel).prop_map(
        |(forwarding, weight, (upper_threshold, lower_threshold), tunnel)| ServerConfig {
            forwarding,
            weight,
            upper_threshold,
            lower_threshold,
            tunnel,
        },
    )
}

fn timeouts() -> impl Strategy<Value = Timeouts> {
    let seconds = || {
        select(vec![
            0,
            1,
            30,
            900,
            2_678_400,
            21_474_836,
            21_474_837,
            u32::MAX,
        ])
    };
    (seconds(), seconds(), seconds()).prop_map(|(tcp_seconds, tcp_fin_seconds, udp_seconds)| {
        Timeouts {
            tcp_seconds,
            tcp_fin_seconds,
            udp_seconds,
        }
    })
}

fn state() -> impl Strategy<Value = SyncState> {
    select(vec![SyncState::Master, SyncState::Backup])
}

fn sync_daemon() -> impl Strategy<Value = SyncDaemonConfig> {
    let interface = select(vec!["lo", "d0", "d0", "nosuch0", ""]);
    let sync_id = select(vec![0, 7, 255, 999]);
    let length = option::of(select(vec![1, 1023, 1024, 1400, 65507, 65535]));
    let group = prop_oneof![
        5 => Just("224.0.0.81"),
        2 => Just("239.1.2.3"),
        1 => Just("ff02::81"),
        1 => select(vec!["10.1.1.1", "2001:db8::1"]),
    ];
    let port = select(vec![8848, 1, 65535]);
    let ttl = select(vec![1, 255]);
    (state(), interface, sync_id, length, group, port, ttl).prop_map(
        |(state, interface, sync_id, max_length, group, multicast_port, multicast_ttl)| {
            // lo cannot join the group, but sockets of the fake kernel never fail.
            let interface = match group {
                "ff02::81" if interface == "lo" => "d0",
                _ => interface,
            };
            SyncDaemonConfig {
                state,
                interface: name(interface),
                sync_id,
                max_length,
                multicast_group: address(group),
                multicast_port,
                multicast_ttl,
            }
        },
    )
}

fn op() -> impl Strategy<Value = Op> {
    let configured = || service().prop_flat_map(|key| (Just(key), config(key.family())));
    let named = || service().prop_flat_map(|key| (Just(key), server(key.family())));
    let served = || (named(), server_config());
    prop_oneof![
        9 => configured().prop_map(|(key, config)| Op::CreateService(key, config, StoredFields::default())),
        6 => configured().prop_map(|(key, config)| Op::SetService(key, config)),
        2 => service().prop_map(Op::DeleteService),
        16 => served().prop_map(|((key, server), config)| Op::CreateServer(key, server, config)),
        10 => served().prop_map(|((key, server), config)| Op::SetServer(key, server, config)),
        7 => named().prop_map(|(key, server)| Op::DeleteServer(key, server)),
        1 => Just(Op::Clear),
        1 => Just(Op::ZeroAll),
        1 => service().prop_map(Op::ZeroService),
        2 => timeouts().prop_map(Op::SetTimeouts),
        2 => sync_daemon().prop_map(Op::StartSyncDaemon),
        1 => state().prop_map(Op::StopSyncDaemon),
    ]
}

fn query() -> impl Strategy<Value = Query> {
    prop_oneof![
        1 => Just(Query::Info),
        1 => Just(Query::Services),
        3 => service().prop_map(Query::Service),
        3 => service().prop_map(Query::ServiceWithServers),
        2 => service().prop_map(Query::Servers),
    ]
}
