//! Real servers.

use super::*;

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

/// Adds each real server to a new service of a new kernel.
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
fn existing_and_missing_real_servers() {
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
