//! Requests compared with those of the real ipvsadm for the same command.

use super::*;

const FAMILY: u16 = 28;
const SEQ: u32 = 7;
const HEAD: wire::Head = wire::Head {
    family: FAMILY,
    seq: SEQ,
    ack: true,
};
const REQUEST_ACK: u16 = 0x5;
const REQUEST_DUMP: u16 = 0x301;

/// Family, flags, command and attributes of the only message in a datagram. Checks its length and
/// sequence number.
fn request(datagram: &[u8], seq: Option<u32>) -> (u16, u16, u8, Tree) {
    let word = |at: usize| u32::from_ne_bytes(datagram[at..at + 4].try_into().unwrap());
    let half = |at: usize| u16::from_ne_bytes(datagram[at..at + 2].try_into().unwrap());
    assert_eq!(word(0) as usize, datagram.len());
    if let Some(seq) = seq {
        assert_eq!(word(8), seq);
    }
    (half(4), half(6), datagram[16], tree(&datagram[20..]))
}

fn sent(op: &Op) -> (u16, u16, u8, Tree) {
    let mut bytes = Vec::new();
    super::op(&mut bytes, HEAD, op);
    request(&bytes, Some(SEQ))
}

/// Whether the kernel needs the attribute. ipvsadm sends the configuration even if the command needs
/// the key only.
fn needed(command: u8, path: (u16, u16)) -> bool {
    match (command, path) {
        (1 | 2, _) | (5 | 6, (2, _)) | (9 | 12, _) => true,
        (_, (1, attribute)) => attribute <= 5,
        (7, (2, attribute)) => matches!(attribute, 1 | 2 | 11),
        (10, (3, attribute)) => attribute == 1,
        other => panic!("{other:?}"),
    }
}

fn service(scheduler: &str) -> ServiceConfig {
    ServiceConfig {
        scheduler: name(scheduler),
        ..ServiceConfig::new(Family::Ipv4)
    }
}

fn masquerade(weight: u32) -> ServerConfig {
    ServerConfig {
        forwarding: Forwarding::Masquerade,
        weight,
        ..ServerConfig::default()
    }
}

fn tunnel(kind: TunnelType, port: u16, checksum: Checksum) -> ServerConfig {
    ServerConfig {
        forwarding: Forwarding::Tunnel,
        tunnel: Tunnel {
            kind,
            port,
            checksum,
        },
        ..ServerConfig::default()
    }
}

fn timeouts(tcp_seconds: u32, tcp_fin_seconds: u32, udp_seconds: u32) -> Timeouts {
    Timeouts {
        tcp_seconds,
        tcp_fin_seconds,
        udp_seconds,
    }
}

fn sync_daemon(state: SyncState) -> SyncDaemonConfig {
    SyncDaemonConfig {
        state,
        interface: name("c0"),
        sync_id: 0,
        max_length: None,
        multicast_group: "224.0.0.81".parse().unwrap(),
        multicast_port: 8848,
        multicast_ttl: 1,
    }
}

fn services() -> Vec<(&'static str, Op)> {
    let ipv6 = ServiceConfig {
        scheduler: name("rr"),
        ..ServiceConfig::new(Family::Ipv6)
    };
    let create = |id, config| Op::CreateService(key(id), config, StoredFields::default());
    vec![
        (
            "-A -t 10.0.0.1:80 -s rr",
            create("tcp-10.0.0.1-80", service("rr")),
        ),
        (
            "-A -t 10.0.0.1:443 -s wlc -p 300 -M 255.255.255.0",
            create(
                "tcp-10.0.0.1-443",
                ServiceConfig {
                    persistence_timeout: Some(300),
                    netmask: Netmask::V4([255, 255, 255, 0].into()),
                    ..service("wlc")
                },
            ),
        ),
        (
            "-A -u 10.0.0.1:5060 -s sh -b sh-fallback,sh-port -p 60 --pe sip -o",
            create(
                "udp-10.0.0.1-5060",
                ServiceConfig {
                    scheduler_flags: SchedulerFlags::from_bits(0x18),
                    persistence_timeout: Some(60),
                    persistence_engine: Some(name("sip")),
                    one_packet: true,
                    ..service("sh")
                },
            ),
        ),
        (
            "-A --sctp-service 10.0.0.1:2905 -s mh -b mh-port",
            create(
                "sctp-10.0.0.1-2905",
                ServiceConfig {
                    scheduler_flags: SchedulerFlags::from_bits(0x10),
                    ..service("mh")
                },
            ),
        ),
        (
            "-A -t [2001:db8::1]:80 -s rr -p 100 -M 64",
            create(
                "tcp-2001:db8::1-80",
                ServiceConfig {
                    persistence_timeout: Some(100),
                    netmask: Netmask::V6(64),
                    ..ipv6
                },
            ),
        ),
        ("-A -f 7 -s rr", create("fwmark-7", service("rr"))),
        ("-A -f 7 -6 -s rr", create("fwmark6-7", ipv6)),
        (
            "-A -t 10.0.0.1:81 -s nosuch",
            create("tcp-10.0.0.1-81", service("nosuch")),
        ),
        (
            "-E -t 10.0.0.1:80 -s wrr",
            Op::SetService(key("tcp-10.0.0.1-80"), service("wrr")),
        ),
        (
            "-D -t 10.0.0.1:443",
            Op::DeleteService(key("tcp-10.0.0.1-443")),
        ),
        ("-Z -t 10.0.0.1:80", Op::ZeroService(key("tcp-10.0.0.1-80"))),
        ("-Z", Op::ZeroAll),
        ("-C", Op::Clear),
    ]
}

fn servers() -> Vec<(&'static str, Op)> {
    let create =
        |service, server, config| Op::CreateServer(key(service), server_key(server), config);
    let tcp = "tcp-10.0.0.1-80";
    let limited = ServerConfig {
        upper_threshold: 100,
        lower_threshold: 50,
        ..masquerade(3)
    };
    let gue = tunnel(TunnelType::Gue, 6080, Checksum::Remote);
    let gre = tunnel(TunnelType::Gre, 0, Checksum::Checksum);
    let ipip = tunnel(TunnelType::Ipip, 0, Checksum::None);
    let direct = ServerConfig::default();
    vec![
        (
            "-a -t 10.0.0.1:80 -r 10.1.1.2:8080 -m -w 3 -x 100 -y 50",
            create(tcp, "10.1.1.2-8080", limited),
        ),
        (
            "-a -t 10.0.0.1:80 -r 10.1.1.3 -g",
            create(tcp, "10.1.1.3-80", direct),
        ),
        (
            "-a -t 10.0.0.1:80 -r 10.1.1.4 -i --tun-type gue --tun-port 6080 --tun-remcsum",
            create(tcp, "10.1.1.4-80", gue),
        ),
        (
            "-a -t 10.0.0.1:80 -r 10.1.1.5 -i --tun-type gre --tun-csum",
            create(tcp, "10.1.1.5-80", gre),
        ),
        (
            "-a -t [2001:db8::1]:80 -r [2001:db8:1::2]:8080 -m",
            create("tcp-2001:db8::1-80", "2001:db8:1::2-8080", masquerade(1)),
        ),
        (
            "-a -f 7 -r 10.1.1.2:0 -m",
            create("fwmark-7", "10.1.1.2-0", masquerade(1)),
        ),
        (
            "-a -u 10.0.0.1:5060 -r 10.1.1.2:5060 -m",
            create("udp-10.0.0.1-5060", "10.1.1.2-5060", masquerade(1)),
        ),
        (
            "-a -t 10.0.0.1:80 -r [2001:db8:1::9]:80 -i",
            create(tcp, "2001:db8:1::9-80", ipip),
        ),
        (
            "-e -t 10.0.0.1:80 -r 10.1.1.2:8080 -m -w 9",
            Op::SetServer(key(tcp), server_key("10.1.1.2-8080"), masquerade(9)),
        ),
        (
            "-d -t 10.0.0.1:80 -r 10.1.1.5:80",
            Op::DeleteServer(key(tcp), server_key("10.1.1.5-80")),
        ),
    ]
}

fn others() -> Vec<(&'static str, Op)> {
    vec![
        ("--set 100 0 300", Op::SetTimeouts(timeouts(100, 0, 300))),
        (
            "--set 900 120 300",
            Op::SetTimeouts(timeouts(900, 120, 300)),
        ),
        (
            "--start-daemon master --mcast-interface c0 --syncid 3 --sync-maxlen 1400 \
             --mcast-group 224.0.1.5 --mcast-port 9000 --mcast-ttl 7",
            Op::StartSyncDaemon(SyncDaemonConfig {
                sync_id: 3,
                max_length: Some(1400),
                multicast_group: "224.0.1.5".parse().unwrap(),
                multicast_port: 9000,
                multicast_ttl: 7,
                ..sync_daemon(SyncState::Master)
            }),
        ),
        (
            "--start-daemon backup --mcast-interface c0 --syncid 4 --mcast-group ff02::55",
            Op::StartSyncDaemon(SyncDaemonConfig {
                sync_id: 4,
                multicast_group: "ff02::55".parse().unwrap(),
                ..sync_daemon(SyncState::Backup)
            }),
        ),
        (
            "--start-daemon master --mcast-interface c0",
            Op::StartSyncDaemon(sync_daemon(SyncState::Master)),
        ),
        (
            "--stop-daemon master",
            Op::StopSyncDaemon(SyncState::Master),
        ),
        (
            "--stop-daemon backup",
            Op::StopSyncDaemon(SyncState::Backup),
        ),
    ]
}

#[test]
fn operations_match_those_of_ipvsadm() {
    // The flags that ipvsd sets. The mask of ipvsadm is all ones.
    let mask = 0x3d_u32;
    for (command, op) in services().into_iter().chain(servers()).chain(others()) {
        let theirs = recorded(&format!("ipvsadm {command}"), "S");
        let (_, flags, number, mut theirs) = request(theirs.last().unwrap(), None);
        let (family, own_flags, own_number, mut own) = sent(&op);
        assert_eq!(
            (family, own_flags, own_number),
            (FAMILY, flags, number),
            "{command}"
        );
        assert_eq!(flags, REQUEST_ACK);
        theirs.retain(|path, _| needed(number, *path));
        if let Some(flags) = own.get_mut(&(1, 7)) {
            assert_eq!(flags[4..], mask.to_ne_bytes(), "{command}");
            flags[4..].fill(0xff);
        }
        if number == 9 {
            // ipvsadm omits the defaults.
            let default: [(_, &[u8]); 3] = [
                (5, &[224, 0, 0, 81]),
                (7, &8848_u16.to_ne_bytes()),
                (8, &[1]),
            ];
            for (attribute, value) in default {
                let path = (3, attribute);
                if !theirs.contains_key(&path) && own.get(&path).is_some_and(|own| own == value) {
                    own.remove(&path);
                }
            }
        }
        assert_eq!(own, theirs, "{command}");
    }
}

#[test]
fn queries_match_those_of_ipvsadm() {
    let head = wire::Head { ack: false, ..HEAD };
    let query_sent = |query| {
        let mut bytes = Vec::new();
        get(&mut bytes, head, query);
        let (family, flags, command, tree) = request(&bytes, Some(SEQ));
        assert_eq!((family, flags), (FAMILY, 0x1));
        (command, tree)
    };
    let theirs = |command: &str, place: usize| {
        let (_, _, number, mut tree) = request(&recorded(command, "S")[place], None);
        tree.retain(|path, _| path.0 != 1 || path.1 <= 5);
        (number, tree)
    };
    assert_eq!(query_sent(Get::Timeouts), theirs("ipvsadm -L --timeout", 0));
    assert_eq!(
        query_sent(Get::Info),
        theirs("ipvsadm -A -t 10.0.0.1:80 -s rr", 1)
    );
    assert_eq!(
        query_sent(Get::Service(key("tcp-10.0.0.1-80"))),
        theirs("ipvsadm -L -n -t 10.0.0.1:80", 0)
    );
    assert_eq!(
        query_sent(Get::Service(key("fwmark6-7"))),
        theirs("ipvsadm -L -n -f 7 -6", 0)
    );

    let dump = |fill: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        fill(&mut bytes);
        let (family, flags, command, tree) = request(&bytes, Some(SEQ));
        assert_eq!((family, flags), (FAMILY, REQUEST_DUMP));
        (command, tree)
    };
    assert_eq!(
        dump(&|out| dump_services(out, head)),
        theirs("ipvsadm -L -n", 0)
    );
    assert_eq!(
        dump(&|out| dump_servers(out, head, key("tcp-10.0.0.1-80"))),
        theirs("ipvsadm -L -n -t 10.0.0.1:80", 1)
    );
    assert_eq!(
        dump(&|out| dump_servers(out, head, key("fwmark6-7"))),
        theirs("ipvsadm -L -n -f 7 -6", 1)
    );
    assert_eq!(
        dump(&|out| dump_sync_daemons(out, head)),
        theirs("ipvsadm -L --daemon", 0)
    );
}

#[test]
fn the_family_is_resolved_by_name() {
    let mut bytes = Vec::new();
    resolve_family(&mut bytes, SEQ);
    let (family, flags, command, _) = request(&bytes, Some(SEQ));
    assert_eq!((family, flags, command), (0x10, 0x1, 3));
    assert_eq!(bytes[20..], *b"\x09\0\x02\0IPVS\0\0\0\0");
}

#[test]
fn only_an_absent_engine_is_omitted() {
    let (_, _, _, tree) = sent(&Op::SetService(key("tcp-10.0.0.1-80"), service("rr")));
    let attributes: Vec<_> = tree.keys().map(|(_, attribute)| *attribute).collect();
    assert_eq!(attributes, [1, 2, 3, 4, 6, 7, 8, 9]);
    let engine = ServiceConfig {
        persistence_engine: Some(name("sixteen-letters!")),
        ..service("rr")
    };
    let (_, _, _, tree) = sent(&Op::SetService(key("tcp-10.0.0.1-80"), engine));
    assert_eq!(tree[&(1, 11)], b"sixteen-letters!\0", "16 characters");
    let (_, _, _, tree) = sent(&Op::SetServer(
        key("fwmark-7"),
        server_key("10.1.1.2-0"),
        masquerade(0),
    ));
    let attributes: Vec<_> = tree
        .keys()
        .filter(|path| path.0 == 2)
        .map(|path| path.1)
        .collect();
    assert_eq!(
        attributes,
        [1, 2, 3, 4, 5, 6, 11, 13, 14, 15],
        "the kernel resets absent attributes"
    );
    assert_eq!(tree[&(2, 4)], 0_u32.to_ne_bytes());
}

#[test]
fn requests_in_one_datagram_are_aligned() {
    let ops: Vec<Op> = services().into_iter().map(|(_, op)| op).collect();
    let mut bytes = Vec::new();
    for (seq, op) in (1..).zip(&ops) {
        super::op(&mut bytes, wire::Head { seq, ..HEAD }, op);
        assert_eq!(bytes.len() % 4, 0);
    }
    let seqs: Vec<_> = wire::messages(&bytes).map(|message| message.seq).collect();
    assert_eq!(seqs.len(), ops.len());
    assert!(seqs.iter().zip(1..).all(|(seq, place)| *seq == place));
}
