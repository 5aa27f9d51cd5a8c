use super::*;

fn endpoint(text: &str) -> Endpoint {
    let socket: std::net::SocketAddr = text.parse().unwrap();
    Endpoint {
        address: socket.ip(),
        port: socket.port(),
    }
}

fn line(
    protocol: &str,
    [client, virtual_address, destination]: [&str; 3],
    state: &str,
    expires_in_seconds: u32,
) -> Connection {
    Connection {
        protocol: protocol.parse().unwrap(),
        client: endpoint(client),
        service: ConnectionService::Address(endpoint(virtual_address)),
        destination: endpoint(destination),
        state: state.into(),
        template: false,
        invalidated: false,
        expires_in_seconds,
        persistence_engine: None,
        persistence_data: None,
    }
}

/// Lines of Linux 6.1.
#[test]
fn lines_of_a_real_kernel_decode() {
    let real = |text: &str| connection(text.as_bytes()).unwrap();
    assert_eq!(
        real("TCP C000020A 9C42 0A000001 0050 0A010102 1F90 ESTABLISHED     895"),
        line(
            "tcp",
            ["192.0.2.10:40002", "10.0.0.1:80", "10.1.1.2:8080"],
            "ESTABLISHED",
            895
        )
    );
    assert_eq!(
        real(
            "UDP 2001:0db8:000c:0000:0000:0000:0000:0010 13CE \
             2001:0db8:0000:0000:0000:0000:0000:0001 13C4 \
             2001:0db8:0001:0000:0000:0000:0000:0002 13C4 UDP             295"
        ),
        line(
            "udp",
            [
                "[2001:db8:c::10]:5070",
                "[2001:db8::1]:5060",
                "[2001:db8:1::2]:5060"
            ],
            "UDP",
            295
        )
    );
    assert_eq!(
        real("IP  C000020A 0000 00000007 0000 0A010102 0000 ASSURED         595"),
        Connection {
            template: true,
            service: ConnectionService::Fwmark(7),
            ..line(
                "ip",
                ["192.0.2.10:0", "0.0.0.7:0", "10.1.1.2:0"],
                "ASSURED",
                595
            )
        },
        "the template of a firewall mark, the mark in the place of an address"
    );
    assert_eq!(
        real("UDP 0A090002 0000 0A090064 FFFF 0A01000B FFFF ASSURED          29"),
        Connection {
            template: true,
            invalidated: true,
            ..line(
                "udp",
                ["10.9.0.2:0", "10.9.0.100:65535", "10.1.0.11:65535"],
                "ASSURED",
                29
            )
        },
    );
    let call = real(
        "UDP C000020A 0000 0A000001 13C4 0A010102 13C4 ASSURED          55 sip \
         call-id-0001@192.0.2.10",
    );
    assert_eq!(
        call,
        Connection {
            template: true,
            persistence_engine: Some("sip".into()),
            persistence_data: Some("call-id-0001@192.0.2.10".into()),
            ..line(
                "udp",
                ["192.0.2.10:0", "10.0.0.1:5060", "10.1.1.2:5060"],
                "ASSURED",
                55
            )
        }
    );
    let sctp = real("SCTP C000020A 9C7D 0A000001 0B59 0A010202 0B59 ESTABLISHED     895");
    assert_eq!(sctp.protocol, ConnectionProtocol::Service(Protocol::Sctp));
    assert_eq!(
        real("TCP C000020A 9C69 0A000008 0050 0A01014D 0050 SYN_RECV         58").state,
        "SYN_RECV".into()
    );
}

/// Lines in the format of the kernel's source.
#[test]
fn all_protocols_and_address_families_decode() {
    let protocol = |text: &str| {
        let line = format!("{text} C000020A 9C42 0A000001 0050 0A010102 1F90 NONE              5");
        connection(line.as_bytes()).map(|connection| connection.protocol.to_string())
    };
    for (text, name) in [
        ("TCP", "tcp"),
        ("UDP", "udp"),
        ("SCTP", "sctp"),
        ("ICMP", "icmp"),
        ("ICMPv6", "icmpv6"),
        ("IP ", "ip"),
        ("IP_47", "47"),
        ("IP_6", "tcp"),
    ] {
        assert_eq!(protocol(text).as_deref(), Some(name));
    }
    for text in ["tcp", "GRE", "IP_", "IP_x", "IP_65536", ""] {
        assert_eq!(protocol(text), None, "{text}");
    }
    let tunnel = "SCTP C000020A 9C42 0A000001 0B59 2001:0db8:0001:0000:0000:0000:0000:0002 0B59 \
                  C-ECHOED         12";
    assert_eq!(
        connection(tunnel.as_bytes()),
        Some(line(
            "sctp",
            ["192.0.2.10:40002", "10.0.0.1:2905", "[2001:db8:1::2]:2905"],
            "C-ECHOED",
            12
        ))
    );
    let mark6 = "IP  2001:0db8:000c:0000:0000:0000:0000:0000 0000 \
                 0000:0007:0000:0000:0000:0000:0000:0000 0000 \
                 2001:0db8:0001:0000:0000:0000:0000:0002 0000 NONE            300";
    let mark6 = connection(mark6.as_bytes()).unwrap();
    assert!(mark6.template);
    assert_eq!(mark6.service, ConnectionService::Fwmark(7));
    let listed = mark6.service.endpoint(Family::Ipv6, false);
    assert_eq!(listed, endpoint("[0:7::]:0"));
}

#[test]
fn a_template_has_client_port_0_and_a_template_state() {
    let template = |port: &str, state: &str| {
        let line = format!("TCP C000020A {port} 0A000001 0050 0A010102 1F90 {state}   5");
        connection(line.as_bytes()).unwrap().template
    };
    assert!(template("0000", "NONE"));
    assert!(template("0000", "ASSURED"));
    assert!(!template("9C42", "NONE"));
    assert!(!template("0000", "ESTABLISHED"));
}

#[test]
fn engine_data_may_contain_blanks() {
    let start = "UDP C000020A 13CE 0A000001 13C4 0A010102 13C4 UDP             295";
    let data = |rest: &[u8]| {
        let decoded = connection(&[start.as_bytes(), rest].concat()).unwrap();
        (
            decoded.persistence_engine.map(String::from),
            decoded.persistence_data.map(String::from),
        )
    };
    let some = |engine: &str, data: &str| (Some(engine.to_owned()), Some(data.to_owned()));
    assert_eq!(data(b""), (None, None));
    assert_eq!(data(b"   "), (None, None));
    assert_eq!(data(b" sip 1-2@10.0.0.1"), some("sip", "1-2@10.0.0.1"));
    assert_eq!(data(b" sip a b  c "), some("sip", "a b  c "));
    assert_eq!(data(b" sip  a"), some("sip", " a"));
    assert_eq!(data(b" sip"), some("sip", ""));
    assert_eq!(data(b" sip TCP C000020A"), some("sip", "TCP C000020A"));
    assert_eq!(data(b" sip \xff\x01"), some("sip", "\u{fffd}\u{1}"));
}

#[test]
fn invalid_lines_are_none() {
    let good = "TCP C000020A 9C42 0A000001 0050 0A010102 1F90 ESTABLISHED     895";
    assert!(connection(good.as_bytes()).is_some());
    for bad in [
        "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData",
        "",
        "    ",
        "TCP",
        "TCP C000020A 9C42 0A000001 0050 0A010102 1F90 ESTABLISHED",
        "TCP C000020A 9C42 0A000001 0050 0A010102 1F90 ESTABLISHED     ",
        "TCP C000020A 9C42 0A000001 0050 0A010102 1F90 ESTABLISHED     -1",
        "TCP C000020A 9C42 0A000001 0050 0A010102 1F90 ESTABLISHED     4294967296",
        "TCP C000020A 9C420 0A000001 0050 0A010102 1F90 ESTABLISHED     895",
        "TCP 0C000020A 9C42 0A000001 0050 0A010102 1F90 ESTABLISHED     895",
        "TCP +000020A 9C42 0A000001 0050 0A010102 1F90 ESTABLISHED     895",
        "TCP 192.0.2.1 9C42 0A000001 0050 0A010102 1F90 ESTABLISHED     895",
        "TCP 2001:0db8 9C42 0A000001 0050 0A010102 1F90 ESTABLISHED     895",
    ] {
        assert_eq!(connection(bad.as_bytes()), None, "{bad}");
    }
    for end in 0..good.len() - 3 {
        assert_eq!(connection(&good.as_bytes()[..end]), None);
    }
}

/// `/proc/net/ip_vs_stats` of Linux 6.1.
const TOTALS: &str = concat!(
    "   Total Incoming Outgoing         Incoming         Outgoing\n",
    "   Conns  Packets  Packets            Bytes            Bytes\n",
    "      1B       5E       3B             DD4D            1D640\n",
    "\n",
    " Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n",
    "       3        9        6             14C3             2C16\n",
);

#[test]
fn totals_decode() {
    let stats = Stats {
        connections: 0x1b,
        packets_in: 0x5e,
        packets_out: 0x3b,
        bytes_in: 0xdd4d,
        bytes_out: 0x1d640,
    };
    let rates = Rates {
        connections: 3,
        packets_in: 9,
        packets_out: 6,
        bytes_in: 0x14c3,
        bytes_out: 0x2c16,
    };
    assert_eq!(totals(TOTALS), Some((stats, rates)));
    let wide = TOTALS.replace("      1B", "FFFFFFFFFFFFFFFF");
    assert_eq!(
        totals(&wide).map(|(stats, _)| stats.connections),
        Some(u64::MAX)
    );
    for bad in ["", "\n\n", &TOTALS[..180], &TOTALS.replace("14C3", "14G3")] {
        assert_eq!(totals(bad), None, "{bad:?}");
    }
}

/// Files of Linux 6.1.
#[test]
fn memberships_decode() {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let igmp = lines(concat!(
        "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n",
        "1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n",
        "4\td0        :     2      V3\n\t\t\t\t510000E0     1 0:00000000\t\t0\n",
        "\t\t\t\t010000E0     1 0:00000000\t\t0\n",
    ));
    let igmp6 = lines(concat!(
        "1    lo              ff020000000000000000000000000001     1 0000000C 0\n",
        "4    d0              ff020000000000000000000000000081     1 00000004 0\n",
    ));
    for (file, group, index, is) in [
        (&igmp, "224.0.0.81", 4, true),
        (&igmp, "224.0.0.1", 4, true),
        (&igmp, "224.0.0.81", 1, false),
        (&igmp, "224.0.0.81", 2, false),
        (&igmp6, "ff02::81", 4, true),
        (&igmp6, "ff02::81", 1, false),
        (&igmp6, "ff02::82", 4, false),
    ] {
        let group = group.parse().unwrap();
        assert_eq!(
            is_member(file.iter().cloned(), group, index),
            is,
            "{group} {index}"
        );
    }
}

/// Files of Linux 6.1.
#[test]
fn sockets_decode() {
    let udp = [
        "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout \
         inode ref pointer drops            ",
        "  612: 510000E0:2290 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 \
         98 2 000000008e15eb49 0            ",
        "  810: 0100050A:A756 510000E0:2290 01 00000000:00000000 00:00000000 00000000     0        0 \
         102 2 0000000089fa5d3a 0           ",
        "short",
    ];
    let udp6 = [
        "  sl  local_address                         remote_address                        st tx_queue",
        "  56: 000005FD000000000000000001000000:9C7A 000002FF000000000000000081000000:2290 01 \
         00000000:00000000 00:00000000 00000000     0        0 187 2 00000000f7699fbe 0",
    ];
    let inodes = |lines: &[&str], group: &str, port| {
        let lines = lines.iter().map(|line| (*line).to_owned());
        sockets_to(lines, group.parse().unwrap(), port)
    };
    assert_eq!(inodes(&udp, "224.0.0.81", 8848), [102]);
    assert_eq!(inodes(&udp, "224.0.0.81", 8849), [0; 0]);
    assert_eq!(inodes(&udp6, "ff02::81", 8848), [187]);
    assert_eq!(inodes(&udp6, "ff02::82", 8848), [0; 0]);
}
