//! What a real kernel answered to commands, right and wrong: the rows of its recorded errno table.

use libc::{EAFNOSUPPORT, EEXIST, EINVAL, ENODEV, ENOENT, EOPNOTSUPP as ENOTSUP, ERANGE, ESRCH};

use super::*;

/// Description, command, flags, attributes, errno (0: success).
type Row = (&'static str, u8, u16, Vec<u8>, i32);

/// A kernel like the one of the recording.
fn kernel() -> FakeKernel {
    let kernel = FakeKernel::new();
    kernel.set_hz(100);
    kernel.add_broadcast([10, 1, 1, 255].into());
    kernel
}

/// Runs the rows on one kernel in their order.
fn check(kernel: &FakeKernel, rows: Vec<Row>) {
    let mut socket = kernel.connect().unwrap();
    for (name, command, flags, attributes, errno) in rows {
        let got = ask(socket.as_mut(), command, flags, &attributes)
            .err()
            .unwrap_or(0);
        assert_eq!(got, errno, "{name} (command {command})");
    }
}

#[test]
fn forms_of_commands() {
    let none = Vec::new;
    check(
        &kernel(),
        vec![
            ("GET_INFO", GET_INFO, 0, none(), 0),
            ("GET_INFO with dump flag", GET_INFO, DUMP, none(), ENOTSUP),
            ("GET_CONFIG dump", GET_CONFIG, DUMP, none(), ENOTSUP),
            ("SET_INFO (14) as request", SET_INFO, 0, none(), ENOTSUP),
            ("cmd 0", 0, 0, none(), ENOTSUP),
            ("cmd 18", 18, 0, none(), ENOTSUP),
            ("cmd 255", 255, 0, none(), ENOTSUP),
            ("GET_DEST without NLM_F_DUMP", GET_DEST, 0, none(), ENOTSUP),
            (
                "GET_DAEMON without NLM_F_DUMP",
                GET_DAEMON,
                0,
                none(),
                ENOTSUP,
            ),
            (
                "GET_SERVICE dump, no attrs, empty table",
                GET_SERVICE,
                DUMP,
                none(),
                0,
            ),
            ("GET_SERVICE do, no attrs", GET_SERVICE, 0, none(), EINVAL),
            ("GET_DEST dump no attrs", GET_DEST, DUMP, none(), 0),
            (
                "GET_DEST dump unknown service",
                GET_DEST,
                DUMP,
                svc().bytes(),
                0,
            ),
            (
                "NEW_SERVICE with NLM_F_DUMP",
                NEW_SERVICE,
                DUMP,
                svc().bytes(),
                ENOTSUP,
            ),
        ],
    );
    // Neither the version nor the reserved field of the header counts, nor is an ACK needed.
    let mut socket = kernel().connect().unwrap();
    for version in [0, 99] {
        let mut bytes = request(GET_INFO, ACK, 1, &[]);
        bytes[17] = version;
        bytes[18] = 1;
        socket.send(&bytes).unwrap();
        assert_eq!(answers(socket.as_mut()).map(|data| data.len()), Ok(1));
    }
    socket
        .send(&request(GET_SERVICE, 0, 1, &svc().bytes()))
        .unwrap();
    assert_eq!(answers(socket.as_mut()), Err(ESRCH));
}

/// Each on an empty table.
#[test]
fn new_services() {
    let rows = [
        ("minimal valid", svc(), 0),
        ("empty nested", empty(1), EINVAL),
        ("missing af", svc().without(1), EINVAL),
        ("missing proto", svc().without(2), EINVAL),
        ("missing addr", svc().without(3), EINVAL),
        ("missing port", svc().without(4), EINVAL),
        ("missing sched", svc().without(6), EINVAL),
        ("missing flags", svc().without(7), EINVAL),
        ("missing timeout", svc().without(8), EINVAL),
        ("missing netmask", svc().without(9), EINVAL),
        ("af=0", svc().u16(1, 0), EAFNOSUPPORT),
        ("af=1", svc().u16(1, 1), EAFNOSUPPORT),
        (
            "af=10 with netmask 0xffffffff",
            svc6().with(9, [0xff; 4]),
            EINVAL,
        ),
        ("af=10 netmask 0", svc6().u32(9, 0), EINVAL),
        ("af=10 netmask 129", svc6().u32(9, 129), EINVAL),
        ("af=10 netmask 64 (host order u32)", svc6().u32(9, 64), 0),
        (
            "af=10 netmask 64 in big endian",
            svc6().u32(9, 64u32.swap_bytes()),
            EINVAL,
        ),
        ("proto 0", svc().u16(2, 0), 0),
        ("proto 47", svc().u16(2, 47), 0),
        ("proto 65535", svc().u16(2, 65535), 0),
        ("proto 1 icmp", svc().u16(2, 1), 0),
        ("port 0 non-persistent", svc().with(4, [0, 0]), 0),
        ("addr 4 bytes only", svc().with(3, [10, 0, 0, 9]), 0),
        ("addr 2 bytes", svc().with(3, [10, 0]), 0),
        ("addr 17 bytes", svc().with(3, [1; 17]), EINVAL),
        (
            "addr v4 with junk in bytes 4..15",
            svc().with(3, [10; 16]),
            0,
        ),
        ("sched empty", svc().with(6, b"\0"), ENOENT),
        ("sched none", svc().with(6, b"none\0"), 0),
        (
            "sched 15 chars",
            svc().with(6, b"abcdefghijklmno\0"),
            ENOENT,
        ),
        (
            "sched 16 chars",
            svc().with(6, b"abcdefghijklmnop\0"),
            EINVAL,
        ),
        ("sched without NUL", svc().with(6, b"rr"), EINVAL),
        ("sched nosuch", svc().with(6, b"nosuch\0"), ENOENT),
        ("sched with slash", svc().with(6, b"../rr\0"), ENOENT),
        ("pe sip", svc().with(11, b"sip\0"), 0),
        ("pe nosuch", svc().with(11, b"nosuch\0"), ENOENT),
        ("pe empty", svc().with(11, b"\0"), 0),
        ("pe 16 chars", svc().with(11, b"abcdefghijklmnop\0"), ENOENT),
        (
            "pe 17 chars",
            svc().with(11, b"abcdefghijklmnopq\0"),
            EINVAL,
        ),
        ("flags attr 4 bytes only", svc().with(7, [1, 0, 0, 0]), 0),
        ("flags attr 12 bytes", svc().with(7, [0; 12]), EINVAL),
        ("flags 0xffffffff mask ~0", svc().with(7, [0xff; 8]), 0),
        (
            "flags ONEPACKET on TCP",
            svc().with(7, [4, 0, 0, 0, 255, 255, 255, 255]),
            0,
        ),
        ("timeout 0xffffffff", svc().u32(8, u32::MAX), 0),
        (
            "timeout 42949673 (overflow at HZ=100)",
            svc().u32(8, 42_949_673),
            0,
        ),
        (
            "timeout 0 persistent",
            svc().with(7, [1, 0, 0, 0, 255, 255, 255, 255]),
            0,
        ),
        ("netmask 0 v4", svc().u32(9, 0), 0),
        ("addr any", svc().with(3, [0; 4]), 0),
        ("addr mcast", svc().with(3, [224, 0, 0, 1]), 0),
        ("addr bcast", svc().with(3, [255; 4]), 0),
        ("fwmark 0 + no addr", mark(0), 0),
        ("fwmark 5", mark(5), 0),
        (
            "fwmark 5 af 10 (netmask 128)",
            mark(5).u16(1, 10).u32(9, 128),
            0,
        ),
        ("fwmark 0xffffffff", mark(u32::MAX), 0),
        (
            "unknown extra attr 200 in svc",
            svc().with(200, [1, 2, 3]),
            0,
        ),
        ("attr AF as u32", svc().u32(1, 2), 0),
        (
            "attr PORT as u32 (4 bytes)",
            svc().with(4, [0, 80, 0, 0]),
            0,
        ),
        ("attr PORT 1 byte", svc().with(4, [80]), EINVAL),
        ("netmask attr 1 byte", svc().with(9, [255]), EINVAL),
        (
            "nested flag NLA_F_NESTED set",
            Nest {
                number: 1 | 0x8000,
                ..svc()
            },
            0,
        ),
    ];
    for (name, nest, errno) in rows {
        check(&kernel(), vec![(name, NEW_SERVICE, 0, nest.bytes(), errno)]);
    }
    check(
        &kernel(),
        vec![("no service attr", NEW_SERVICE, 0, vec![], EINVAL)],
    );
}

#[test]
fn services_that_are_there_or_not() {
    let unknown = |nest: Nest| nest.with(6, b"nosuch\0");
    check(
        &kernel(),
        vec![
            ("new", NEW_SERVICE, 0, svc().bytes(), 0),
            ("duplicate", NEW_SERVICE, 0, svc().bytes(), EEXIST),
            (
                "duplicate + unknown sched",
                NEW_SERVICE,
                0,
                unknown(svc()).bytes(),
                EEXIST,
            ),
            ("junk", NEW_SERVICE, 0, svc().with(3, [10; 16]).bytes(), 0),
            (
                "  dup without junk",
                NEW_SERVICE,
                0,
                svc().with(3, [10; 4]).bytes(),
                EEXIST,
            ),
            ("fwmark 5", NEW_SERVICE, 0, mark(5).bytes(), 0),
            (
                "fwmark 5 again + proto/addr/port attrs",
                NEW_SERVICE,
                0,
                svc().u32(5, 5).bytes(),
                EEXIST,
            ),
            (
                "FLUSH with service attr flushes all",
                FLUSH,
                0,
                svc().bytes(),
                0,
            ),
            ("missing", SET_SERVICE, 0, svc().bytes(), ESRCH),
            ("new", NEW_SERVICE, 0, svc().bytes(), 0),
            (
                "set mask=4",
                SET_SERVICE,
                0,
                svc().with(7, [4, 0, 0, 0, 4, 0, 0, 0]).bytes(),
                0,
            ),
            (
                "set unknown sched",
                SET_SERVICE,
                0,
                unknown(svc()).bytes(),
                ENOENT,
            ),
            (
                "set unknown pe",
                SET_SERVICE,
                0,
                svc().with(11, b"nosuch\0").bytes(),
                ENOENT,
            ),
            (
                "set sched none",
                SET_SERVICE,
                0,
                svc().with(6, b"none\0").bytes(),
                0,
            ),
            (
                "set missing netmask attr",
                SET_SERVICE,
                0,
                svc().without(9).bytes(),
                EINVAL,
            ),
            (
                "set af10 netmask 0 (ESRCH first)",
                SET_SERVICE,
                0,
                svc6().u32(9, 0).bytes(),
                ESRCH,
            ),
            ("new v6", NEW_SERVICE, 0, svc6().bytes(), 0),
            (
                "set v6 netmask 0",
                SET_SERVICE,
                0,
                svc6().u32(9, 0).bytes(),
                EINVAL,
            ),
            (
                "set v6 netmask 200",
                SET_SERVICE,
                0,
                svc6().u32(9, 200).bytes(),
                EINVAL,
            ),
            ("FLUSH", FLUSH, 0, vec![], 0),
            ("DEL missing", DEL_SERVICE, 0, svc().bytes(), ESRCH),
            ("DEL no attr", DEL_SERVICE, 0, vec![], EINVAL),
            ("ZERO missing", ZERO, 0, svc().bytes(), ESRCH),
            ("ZERO all", ZERO, 0, vec![], 0),
            ("ZERO with empty nested", ZERO, 0, empty(1).bytes(), EINVAL),
            ("FLUSH empty", FLUSH, 0, vec![], 0),
            (
                "FLUSH with service attr (ignored?)",
                FLUSH,
                0,
                svc().bytes(),
                0,
            ),
            ("GET missing", GET_SERVICE, 0, svc().bytes(), ESRCH),
            (
                "GET bad af",
                GET_SERVICE,
                0,
                svc().u16(1, 1).bytes(),
                EAFNOSUPPORT,
            ),
            ("NEW", NEW_SERVICE, 0, svc().bytes(), 0),
            ("NEW81", NEW_SERVICE, 0, svc().with(4, [0, 81]).bytes(), 0),
            ("GET", GET_SERVICE, 0, svc().bytes(), 0),
            (
                "DEL wrong proto",
                DEL_SERVICE,
                0,
                svc().u16(2, 17).bytes(),
                ESRCH,
            ),
            (
                "DEL wrong port",
                DEL_SERVICE,
                0,
                svc().with(4, [0, 82]).bytes(),
                ESRCH,
            ),
        ],
    );
}

#[test]
fn new_real_servers() {
    let address = |bytes: [u8; 4]| dest().with(1, bytes);
    let forward = |number: u32| dest().u32(3, number);
    let gue = dest().u32(3, 2).with(13, [1]).with(14, [0x17, 0xc0]);
    let rows = [
        ("ok", dest(), 0),
        ("missing addr", dest().without(1), EINVAL),
        ("missing port", dest().without(2), EINVAL),
        ("missing fwd", dest().without(3), EINVAL),
        ("missing weight", dest().without(4), EINVAL),
        ("missing ut", dest().without(5), EINVAL),
        ("missing lt", dest().without(6), EINVAL),
        ("missing af", dest().without(11), 0),
        ("weight -1", dest().u32(4, u32::MAX), ERANGE),
        ("weight 0x7fffffff", dest().u32(4, 0x7fff_ffff), 0),
        ("weight 0x80000000", dest().u32(4, 0x8000_0000), ERANGE),
        ("lt>ut", dest().u32(5, 1).u32(6, 2), ERANGE),
        ("lt=ut", dest().u32(5, 2).u32(6, 2), 0),
        ("ut>INT_MAX", dest().u32(5, 0x8000_0000), 0),
        (
            "ut=UINT_MAX lt=UINT_MAX",
            dest().u32(5, u32::MAX).u32(6, u32::MAX),
            0,
        ),
        ("port 0", dest().with(2, [0, 0]), 0),
        ("DR with other port", forward(3).with(2, [31, 144]), 0),
        ("TUN with other port", forward(2).with(2, [31, 144]), 0),
        ("fwd 1 LOCAL", forward(1), 0),
        ("fwd 4 BYPASS", forward(4), 0),
        ("fwd 5", forward(5), 0),
        ("fwd 7", forward(7), 0),
        ("fwd 0xffffffff (masked to 7)", forward(u32::MAX), 0),
        ("fwd 8 (masked to 0)", forward(8), 0),
        ("GUE port 0", gue.clone().with(14, [0, 0]), EINVAL),
        (
            "GUE port 0 with fwd masq",
            gue.clone().with(14, [0, 0]).u32(3, 0),
            EINVAL,
        ),
        ("GUE ok", gue, 0),
        ("tun_type 3", forward(2).with(13, [3]), 0),
        ("tun_type 255", forward(2).with(13, [255]), 0),
        ("tun_flags 3", forward(2).u16(15, 3), 0),
        (
            "tun_flags 0xffff gre",
            forward(2).with(13, [2]).u16(15, 0xffff),
            0,
        ),
        (
            "ipip with port and flags",
            forward(2).with(14, [1, 1]).u16(15, 1),
            0,
        ),
        (
            "masq with tun attrs",
            dest().with(13, [2]).with(14, [1, 1]).u16(15, 1),
            0,
        ),
        ("dest addr 0.0.0.0", address([0; 4]), EINVAL),
        ("dest addr 0.1.2.3", address([0, 1, 2, 3]), 0),
        ("dest addr 127.0.0.1", address([127, 0, 0, 1]), 0),
        ("dest addr 127.5.5.5", address([127, 5, 5, 5]), 0),
        ("dest addr 10.0.0.1", address([10, 0, 0, 1]), 0),
        ("dest addr 10.1.1.255", address([10, 1, 1, 255]), EINVAL),
        ("dest addr 224.0.0.1", address([224, 0, 0, 1]), EINVAL),
        ("dest addr 239.1.1.1", address([239, 1, 1, 1]), EINVAL),
        ("dest addr 240.0.0.1", address([240, 0, 0, 1]), 0),
        ("dest addr 255.255.255.255", address([255; 4]), EINVAL),
        ("dest addr 203.0.113.1", address([203, 0, 113, 1]), 0),
        ("dest af 10 masq on v4 svc", ipv6("2001:db8::2"), EINVAL),
        (
            "dest af 10 DR on v4 svc",
            ipv6("2001:db8::2").u32(3, 3),
            EINVAL,
        ),
        ("dest af 10 tun", ipv6("2001:db8::2").u32(3, 2), 0),
        ("dest af 10 LOCAL", ipv6("2001:db8::2").u32(3, 1), EINVAL),
        ("dest af 1", dest().u16(11, 1), EAFNOSUPPORT),
        ("dest af 0 => svc af", dest().u16(11, 0), 0),
    ];
    on_new_service(svc(), rows.into());
    on_new_service(
        svc6(),
        vec![
            ("v6 dest ::", ipv6("::"), EINVAL),
            ("v6 dest ::1", ipv6("::1"), 0),
            ("v6 dest fe80::1", ipv6("fe80::1"), EINVAL),
            ("v6 dest ff02::1", ipv6("ff02::1"), EINVAL),
            ("v6 dest 2001:db8:1::1", ipv6("2001:db8:1::1"), 0),
            ("v6 dest 2001:db8:1::77", ipv6("2001:db8:1::77"), 0),
            ("v6 dest ::ffff:10.1.1.2", ipv6("::ffff:10.1.1.2"), EINVAL),
            ("v6 dest fd00::1", ipv6("fd00::1"), 0),
            ("v6 svc + v4 tun dest", dest().u32(3, 2), 0),
            ("v6 svc + v4 masq dest", dest(), EINVAL),
        ],
    );
}

fn ipv6(address: &str) -> Nest {
    let address: std::net::Ipv6Addr = address.parse().unwrap();
    dest().with(1, address.octets()).u16(11, 10)
}

/// Adds each real server to a new service on a new kernel.
fn on_new_service(service: Nest, rows: Vec<(&'static str, Nest, i32)>) {
    for (name, nest, errno) in rows {
        let new = ("service", NEW_SERVICE, 0, service.bytes(), 0);
        check(
            &kernel(),
            vec![new, (name, NEW_DEST, 0, service.and(&nest), errno)],
        );
    }
}

#[test]
fn real_servers_that_are_there_or_not() {
    let with = |nest: Nest| svc().and(&nest);
    let mixed = || ipv6("2001:db8::2").u32(3, 2);
    check(
        &kernel(),
        vec![
            ("svc missing", NEW_DEST, 0, with(dest()), ESRCH),
            ("SET_DEST svc missing", SET_DEST, 0, with(dest()), ESRCH),
            ("DEL_DEST svc missing", DEL_DEST, 0, with(dest()), ESRCH),
            ("NEW svc", NEW_SERVICE, 0, svc().bytes(), 0),
            ("no dest attr", NEW_DEST, 0, svc().bytes(), EINVAL),
            ("ok", NEW_DEST, 0, with(dest()), 0),
            ("dup", NEW_DEST, 0, with(dest()), EEXIST),
            ("dup other fwd", NEW_DEST, 0, with(dest().u32(3, 3)), EEXIST),
            (
                "same addr other port",
                NEW_DEST,
                0,
                with(dest().with(2, [0, 81])),
                0,
            ),
            ("tun v6", NEW_DEST, 0, with(mixed()), 0),
            (
                "SET_DEST change af10 tun->masq",
                SET_DEST,
                0,
                with(mixed().u32(3, 0)),
                EINVAL,
            ),
            ("DEL_DEST af10", DEL_DEST, 0, with(mixed()), 0),
            (
                "DEL_DEST af wrong",
                DEL_DEST,
                0,
                with(dest().u16(11, 10)),
                ENOENT,
            ),
            ("DEL_DEST no af", DEL_DEST, 0, with(dest().without(11)), 0),
            ("DEL_DEST again", DEL_DEST, 0, with(dest()), ENOENT),
            ("SET_DEST missing", SET_DEST, 0, with(dest()), ENOENT),
            ("ok", NEW_DEST, 0, with(dest()), 0),
            (
                "SET_DEST weight -1",
                SET_DEST,
                0,
                with(dest().u32(4, u32::MAX)),
                ERANGE,
            ),
            (
                "SET_DEST lt>ut",
                SET_DEST,
                0,
                with(dest().u32(6, 1)),
                ERANGE,
            ),
        ],
    );
}

#[test]
fn timeouts() {
    let set = |values: &[(u16, u32)]| {
        values
            .iter()
            .flat_map(|(number, value)| attribute(*number, &value.to_ne_bytes()))
            .collect()
    };
    let most = i32::MAX as u32 / 100;
    check(
        &kernel(),
        vec![
            ("SET_CONFIG no attrs", SET_CONFIG, 0, vec![], 0),
            ("tcp only", SET_CONFIG, 0, set(&[(4, 100)]), 0),
            ("tcp 0 (keep)", SET_CONFIG, 0, set(&[(4, 0)]), 0),
            ("negative", SET_CONFIG, 0, set(&[(4, u32::MAX)]), EINVAL),
            ("INT_MAX/HZ", SET_CONFIG, 0, set(&[(4, most)]), 0),
            ("INT_MAX/HZ+1", SET_CONFIG, 0, set(&[(4, most + 1)]), EINVAL),
            (
                "partly bad: tcp=5,udp=-1",
                SET_CONFIG,
                0,
                set(&[(4, 5), (6, u32::MAX)]),
                EINVAL,
            ),
            (
                "back",
                SET_CONFIG,
                0,
                set(&[(4, 900), (5, 120), (6, 300)]),
                0,
            ),
        ],
    );
}

#[test]
fn sync_daemons() {
    let master = || empty(3).u32(1, 1).with(2, b"eth0\0").u32(3, 7);
    let state = |number: u32| empty(3).u32(1, number).bytes();
    let group6 = |first: u8| [&[first][..], &[0; 15]].concat();
    check(
        &kernel(),
        vec![
            ("no attr", NEW_DAEMON, 0, vec![], EINVAL),
            (
                "missing state",
                NEW_DAEMON,
                0,
                master().without(1).bytes(),
                EINVAL,
            ),
            (
                "missing ifn",
                NEW_DAEMON,
                0,
                master().without(2).bytes(),
                EINVAL,
            ),
            (
                "missing syncid",
                NEW_DAEMON,
                0,
                master().without(3).bytes(),
                EINVAL,
            ),
            ("state 0", NEW_DAEMON, 0, master().u32(1, 0).bytes(), EINVAL),
            ("state 3", NEW_DAEMON, 0, master().u32(1, 3).bytes(), EINVAL),
            (
                "bad ifn",
                NEW_DAEMON,
                0,
                master().with(2, b"nosuch\0").bytes(),
                ENODEV,
            ),
            (
                "ifn 16 chars",
                NEW_DAEMON,
                0,
                master().with(2, b"abcdefghijklmnop\0").bytes(),
                EINVAL,
            ),
            (
                "ifn empty",
                NEW_DAEMON,
                0,
                master().with(2, b"\0").bytes(),
                ENODEV,
            ),
            (
                "group unicast",
                NEW_DAEMON,
                0,
                master().with(5, [10, 0, 0, 1]).bytes(),
                EINVAL,
            ),
            (
                "group6 unicast",
                NEW_DAEMON,
                0,
                master().with(6, group6(0x20)).bytes(),
                EINVAL,
            ),
            ("syncid 999", NEW_DAEMON, 0, master().u32(3, 999).bytes(), 0),
            ("again", NEW_DAEMON, 0, master().bytes(), EEXIST),
            ("DEL no attrs", DEL_DAEMON, 0, empty(3).bytes(), EINVAL),
            ("DEL state 2", DEL_DAEMON, 0, state(2), ESRCH),
            ("DEL state 3", DEL_DAEMON, 0, state(3), EINVAL),
            ("DEL state 1 only state attr", DEL_DAEMON, 0, state(1), 0),
            (
                "both group and group6",
                NEW_DAEMON,
                0,
                master()
                    .with(5, [224, 1, 1, 1])
                    .with(6, group6(0xff))
                    .bytes(),
                0,
            ),
            ("service", NEW_SERVICE, 0, svc().bytes(), 0),
            (
                "no mixed family while a daemon runs",
                NEW_DEST,
                0,
                svc().and(&ipv6("2001:db8::2").u32(3, 2)),
                EINVAL,
            ),
            ("DEL", DEL_DAEMON, 0, state(1), 0),
            (
                "mixed",
                NEW_DEST,
                0,
                svc().and(&ipv6("2001:db8::2").u32(3, 2)),
                0,
            ),
            (
                "no daemon while there is a mixed family",
                NEW_DAEMON,
                0,
                master().bytes(),
                EINVAL,
            ),
            ("FLUSH", FLUSH, 0, vec![], 0),
            ("start", NEW_DAEMON, 0, master().bytes(), 0),
            ("DEL", DEL_DAEMON, 0, state(1), 0),
        ],
    );
}
