//! Replies of a real kernel.

use super::*;

fn listed() -> (Vec<Service>, Vec<Vec<Server>>) {
    let mut services = Vec::new();
    let mut servers = Vec::new();
    for payload in payloads(&recorded("ipvsadm -L -n", "R")) {
        match service(&payload) {
            Some(service) => services.push(service),
            None => servers.push(server(&payload, Family::Ipv4).unwrap()),
        }
    }
    (services, vec![servers])
}

fn find<'a>(services: &'a [Service], id: &str) -> &'a Service {
    let found = services.iter().find(|service| service.key == key(id));
    found.unwrap_or_else(|| panic!("{id} among {services:?}"))
}

#[test]
fn a_dump_of_services_decodes() {
    let (services, _) = listed();
    let mut ids: Vec<_> = services.iter().map(|s| s.key.to_string()).collect();
    ids.sort();
    assert_eq!(
        ids,
        [
            "fwmark-7",
            "fwmark6-7",
            "sctp-10.0.0.1-2905",
            "tcp-10.0.0.1-80",
            "tcp-2001:db8::1-80",
            "udp-10.0.0.1-5060"
        ]
    );
    let plain = |scheduler| ServiceConfig {
        scheduler: name(scheduler),
        ..ServiceConfig::new(Family::Ipv4)
    };
    let tcp = find(&services, "tcp-10.0.0.1-80");
    assert_eq!(
        tcp.config,
        plain("wrr"),
        "the kernel's flag is not part of the configuration"
    );
    assert_eq!(
        tcp.stats,
        Stats {
            connections: 1,
            packets_in: 11,
            packets_out: 10,
            bytes_in: 0x24f,
            bytes_out: 0x188b0,
        }
    );
    assert_eq!(
        tcp.rates,
        Rates {
            connections: 0,
            packets_in: 1,
            packets_out: 1,
            bytes_in: 0x37,
            bytes_out: 0x24d0,
        }
    );
    assert_eq!(
        find(&services, "udp-10.0.0.1-5060").config,
        ServiceConfig {
            scheduler_flags: SchedulerFlags::from_bits(0x18),
            one_packet: true,
            persistence_timeout: Some(60),
            persistence_engine: Some(name("sip")),
            ..plain("sh")
        }
    );
    assert_eq!(
        find(&services, "sctp-10.0.0.1-2905").config,
        ServiceConfig {
            scheduler_flags: SchedulerFlags::from_bits(0x10),
            ..plain("mh")
        }
    );
    assert_eq!(
        find(&services, "tcp-2001:db8::1-80").config,
        ServiceConfig {
            persistence_timeout: Some(100),
            netmask: Netmask::V6(64),
            ..plain("rr")
        }
    );
    assert_eq!(find(&services, "fwmark-7").config, plain("rr"));
    assert_eq!(
        find(&services, "fwmark6-7").config,
        ServiceConfig {
            netmask: Netmask::V6(128),
            ..plain("rr")
        }
    );
}

#[test]
fn a_dump_of_servers_decodes_in_the_kernels_order() {
    let payloads = payloads(&recorded("ipvsadm -L -n -t 10.0.0.1:80", "R"));
    let servers: Vec<_> = payloads
        .iter()
        .filter_map(|payload| server(payload, Family::Ipv4))
        .collect();
    let ids: Vec<_> = servers.iter().map(|s| s.key.to_string()).collect();
    assert_eq!(
        ids,
        [
            "2001:db8:1::9-80",
            "10.1.1.4-80",
            "10.1.1.3-80",
            "10.1.1.2-8080"
        ],
        "newest first, each with its family"
    );
    let ipip = Tunnel::default();
    assert_eq!(
        servers[0].config,
        ServerConfig {
            forwarding: Forwarding::Tunnel,
            tunnel: ipip,
            ..ServerConfig::default()
        }
    );
    assert_eq!(
        servers[1].config.tunnel,
        Tunnel {
            kind: TunnelType::Gue,
            port: 6080,
            checksum: Checksum::Remote,
        }
    );
    assert_eq!(servers[2].config, ServerConfig::default());
    let masquerade = ServerConfig {
        forwarding: Forwarding::Masquerade,
        weight: 9,
        ..ServerConfig::default()
    };
    assert_eq!(servers[3].config, masquerade);
    assert_eq!(servers[3].active_connections, 1);
    assert_eq!(servers[3].stats.bytes_out, 0x188b0);
    assert_eq!(servers[3].rates.bytes_out, 0x24d0);

    let (_, all) = listed();
    let persistent = all[0]
        .iter()
        .find(|s| s.key == server_key("2001:db8:1::2-8080"));
    assert_eq!(persistent.unwrap().persistent_connections, 1);
}

#[test]
fn single_replies_decode() {
    let one = |command: &str, place: usize| payloads(&recorded(command, "R")).remove(place);
    let reply = one("ipvsadm -L --timeout", 0);
    assert_eq!(
        timeouts(&reply),
        Some(Timeouts {
            tcp_seconds: 100,
            tcp_fin_seconds: 120,
            udp_seconds: 300,
        })
    );
    let lookup = "ipvsadm -A -t 10.0.0.1:80 -s rr";
    assert_eq!(family_id(&one(lookup, 0)), Some(28));
    assert_eq!(
        info(&one(lookup, 1)),
        Some(Info {
            version: (1, 2, 1),
            connection_table_size: 4096,
        })
    );
    let daemons: Vec<_> = payloads(&recorded("ipvsadm -L --daemon", "R"))
        .iter()
        .filter_map(|payload| sync_daemon(payload))
        .collect();
    let master = SyncDaemon {
        state: SyncState::Master,
        interface: name("c0"),
        sync_id: 3,
        max_length: 1400,
        multicast_group: "224.0.1.5".parse().unwrap(),
        multicast_port: 9000,
        multicast_ttl: 7,
        interface_state: InterfaceState::Unknown,
    };
    let backup = SyncDaemon {
        state: SyncState::Backup,
        sync_id: 4,
        max_length: daemons[1].max_length,
        multicast_group: "ff02::55".parse().unwrap(),
        multicast_port: 8848,
        multicast_ttl: 1,
        interface_state: InterfaceState::Unknown,
        ..master
    };
    assert_eq!(daemons, [master, backup]);
}

#[test]
fn outcomes_have_the_sequence_number_of_their_request() {
    for (command, errno) in [
        ("ipvsadm -A -f 7 -s rr", 0),
        ("ipvsadm -A -t 10.0.0.1:81 -s nosuch", 2),
        ("ipvsadm -a -t 10.0.0.1:80 -r 10.1.1.2:8080 -m", 17),
        ("ipvsadm -a -t 10.0.0.1:99 -r 10.1.1.2:8080 -m", 3),
        ("ipvsadm -L -n -t 10.0.0.1:99", 3),
    ] {
        let request = recorded(command, "S").remove(0);
        let reply = recorded(command, "R").remove(0);
        let messages: Vec<_> = wire::messages(&reply).collect();
        assert!(
            matches!(messages[..], [wire::Message { kind: wire::Kind::Outcome(code), interrupted: false, .. }]
                if code == errno),
            "{command}: {messages:?}"
        );
        assert_eq!(messages[0].seq.to_ne_bytes(), request[8..12]);
    }
    let ends = recorded("ipvsadm -L -n -f 7 -6", "R").remove(1);
    let ends: Vec<_> = wire::messages(&ends).collect();
    assert!(matches!(
        ends[..],
        [wire::Message {
            kind: wire::Kind::Done(0),
            ..
        }]
    ));
}

/// An attribute.
fn attribute(number: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    wire::attribute(&mut bytes, number, value);
    bytes
}

/// A nest.
fn nest(number: u16, inner: &[Vec<u8>]) -> Vec<u8> {
    attribute(number, &inner.concat())
}

#[test]
fn messages_without_64_bit_counters_and_server_families_decode() {
    let short = nest(
        10,
        &[
            attribute(1, &u32::MAX.to_ne_bytes()),
            attribute(4, &u64::MAX.to_ne_bytes()),
            attribute(6, &5_u32.to_ne_bytes()),
        ],
    );
    let old = nest(
        2,
        &[
            attribute(1, &[10, 1, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            attribute(2, &80_u16.to_be_bytes()),
            attribute(4, &u32::MAX.to_ne_bytes()),
            short.clone(),
        ],
    );
    let old = server(&old, Family::Ipv4).unwrap();
    assert_eq!(old.key, server_key("10.1.1.2-80"));
    assert_eq!(
        old.config.weight,
        u32::MAX,
        "values above the limit are kept"
    );
    assert_eq!(old.stats.connections, u64::from(u32::MAX));
    assert_eq!(old.stats.bytes_in, u64::MAX);
    assert_eq!(old.rates.connections, 5);

    // STATS64 has precedence in either order.
    let whole = nest(12, &[attribute(1, &(1_u64 << 40).to_ne_bytes())]);
    for counters in [[short.clone(), whole.clone()], [whole, short]] {
        let id = [
            attribute(1, &2_u16.to_ne_bytes()),
            attribute(5, &7_u32.to_ne_bytes()),
        ];
        let bytes = nest(1, &[id.concat(), counters.concat()]);
        let service = service(&bytes).unwrap();
        assert_eq!(service.key, key("fwmark-7"));
        assert_eq!(service.stats.connections, 1 << 40);
    }
}

#[test]
fn counters_decode_in_any_order_and_with_any_padding() {
    let pad = attribute(11, &[]);
    let numbers: Vec<_> = (1..=10_u16)
        .map(|number| attribute(number, &(u64::from(number) << 40).to_ne_bytes()))
        .collect();
    let aligned = |first: bool| {
        let mut all = Vec::new();
        for (place, number) in numbers.iter().enumerate() {
            if first || place > 0 {
                all.push(pad.clone());
            }
            all.push(number.clone());
        }
        all
    };
    let reversed: Vec<_> = numbers.iter().rev().cloned().collect();
    let mut longer = numbers.clone();
    longer.push(attribute(12, &[0xff; 8]));
    let (spaced, other) = ([aligned(true), aligned(false)], [reversed, longer]);
    for counters in spaced.into_iter().chain(other).chain([numbers]) {
        let bytes = nest(
            2,
            &[
                attribute(1, &[10; 16]),
                attribute(2, &[0, 80]),
                nest(12, &counters),
            ],
        );
        let Server { stats, rates, .. } = server(&bytes, Family::Ipv4).unwrap();
        let decoded = [stats.values(), rates.values()].concat();
        let sent: Vec<u64> = (1..=10).map(|number| number << 40).collect();
        assert_eq!(decoded, sent);
    }
}

#[test]
fn invalid_values_of_other_programs_decode() {
    let invalid = nest(
        2,
        &[
            attribute(1, &[0xfd; 16]),
            attribute(2, &[0, 0]),
            attribute(3, &0xffff_ffff_u32.to_ne_bytes()),
            attribute(11, &10_u16.to_ne_bytes()),
            attribute(13, &[255]),
            attribute(15, &0xffff_u16.to_ne_bytes()),
        ],
    );
    let invalid = server(&invalid, Family::Ipv4).unwrap();
    assert_eq!(invalid.config.forwarding, Forwarding::Other(7));
    assert_eq!(invalid.config.tunnel.kind, TunnelType::Other(255));
    assert_eq!(invalid.config.tunnel.checksum, Checksum::Other(0xffff));
    let invalid = nest(
        1,
        &[
            attribute(1, &2_u16.to_ne_bytes()),
            attribute(2, &65_535_u16.to_ne_bytes()),
            attribute(3, &[0; 16]),
            attribute(4, &[0, 0]),
            attribute(6, b"\xff\xfe\0"),
            attribute(7, &[0xff; 8]),
            attribute(11, b"\0"),
        ],
    );
    let invalid = service(&invalid).unwrap();
    assert_eq!(invalid.key, key("65535-0.0.0.0-0"));
    assert_eq!(invalid.config.scheduler.as_str(), "??");
    assert_eq!(invalid.config.persistence_engine, None);
    assert_eq!(invalid.config.persistence_timeout, Some(0));
}

/// A message of a server with all known attributes, each with the value 7, and the attributes that
/// `more` adds.
fn server_with(more: &[Vec<u8>]) -> Server {
    let mut attributes: Vec<_> = (1..=uapi::dest::MAX)
        .map(|number| match number {
            uapi::dest::ADDR => attribute(number, &[10, 1, 1, 2]),
            uapi::dest::ADDR_FAMILY => attribute(number, &2_u16.to_ne_bytes()),
            uapi::dest::PORT | uapi::dest::TUN_PORT => attribute(number, &7_u16.to_be_bytes()),
            _ => attribute(number, &7_u32.to_ne_bytes()),
        })
        .collect();
    attributes.extend_from_slice(more);
    server(&nest(2, &attributes), Family::Ipv4).unwrap()
}

#[test]
fn unknown_higher_attributes_are_ignored() {
    let newer: Vec<_> = [uapi::dest::MAX + 1, uapi::dest::MAX + 2, 40, 0x3fff]
        .into_iter()
        .map(|number| attribute(number, &[0xff; 8]))
        .collect();
    let known = server_with(&[]);
    assert_eq!(known.persistent_connections, 7);
    assert_eq!(server_with(&newer), known);

    for datagram in recorded("ipvsadm -L -n", "R") {
        for payload in payloads(&[datagram]) {
            let (outer, value) = wire::attributes(&payload).next().unwrap();
            let longer = nest(outer, &[vec![value.to_vec()], newer.clone()].concat());
            assert_eq!(service(&longer), service(&payload));
            assert_eq!(
                server(&longer, Family::Ipv4),
                server(&payload, Family::Ipv4)
            );
        }
    }
    for payload in payloads(&recorded("ipvsadm -L --daemon", "R")) {
        let (outer, value) = wire::attributes(&payload).next().unwrap();
        let longer = nest(outer, &[vec![value.to_vec()], newer.clone()].concat());
        assert_eq!(sync_daemon(&longer), sync_daemon(&payload));
    }
}

#[test]
fn the_highest_known_attributes_decode() {
    use uapi::{daemon, dest, svc};

    assert_eq!(dest::MAX, dest::TUN_FLAGS);
    assert_eq!(server_with(&[]).config.tunnel.checksum, Checksum::Other(7));

    assert_eq!(svc::MAX, svc::STATS64);
    let stats64 = nest(
        svc::STATS64,
        &[attribute(uapi::stats::OUTBPS, &9_u64.to_ne_bytes())],
    );
    let fields = [
        attribute(svc::AF, &2_u16.to_ne_bytes()),
        attribute(svc::FWMARK, &7_u32.to_ne_bytes()),
        stats64,
    ];
    assert_eq!(service(&nest(1, &fields)).unwrap().rates.bytes_out, 9);

    assert_eq!(daemon::MAX, daemon::MCAST_TTL);
    let fields = [
        attribute(daemon::STATE, &1_u32.to_ne_bytes()),
        attribute(daemon::MCAST_TTL, &[9]),
    ];
    assert_eq!(sync_daemon(&nest(3, &fields)).unwrap().multicast_ttl, 9);
}
