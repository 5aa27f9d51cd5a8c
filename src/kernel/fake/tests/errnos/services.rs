//! Services.

use super::*;

/// Each row starts with an empty table.
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
fn existing_and_missing_services() {
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
