//! The errnos of valid and invalid commands, as recorded with a real kernel.

mod servers;
mod services;

use libc::{EAFNOSUPPORT, EEXIST, EINVAL, ENODEV, ENOENT, EOPNOTSUPP as ENOTSUP, ERANGE, ESRCH};

use super::*;

/// Description, command, flags, attributes, errno (0: success).
type Row = (&'static str, u8, u16, Vec<u8>, i32);

/// A kernel with the configuration of the recording.
fn kernel() -> FakeKernel {
    let kernel = FakeKernel::new();
    kernel.set_hz(100);
    kernel.add_broadcast([10, 1, 1, 255].into());
    kernel
}

/// Runs the rows in order on one kernel.
fn check(kernel: &FakeKernel, rows: Vec<Row>) {
    let mut socket = kernel.connect().unwrap();
    for (name, command, flags, attributes, errno) in rows {
        let got = execute(socket.as_mut(), command, flags, &attributes)
            .err()
            .unwrap_or(0);
        assert_eq!(got, errno, "{name} (command {command})");
    }
}

fn ipv6(address: &str) -> Nest {
    let address: std::net::Ipv6Addr = address.parse().unwrap();
    dest().with(1, address.octets()).u16(11, 10)
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
    // The version and the reserved field of the header are ignored; an ACK is optional.
    let mut socket = kernel().connect().unwrap();
    for version in [0, 99] {
        let mut bytes = request(GET_INFO, ACK, 1, &[]);
        bytes[17] = version;
        bytes[18] = 1;
        socket.send(&bytes).unwrap();
        assert_eq!(replies(socket.as_mut()).map(|data| data.len()), Ok(1));
    }
    socket
        .send(&request(GET_SERVICE, 0, 1, &svc().bytes()))
        .unwrap();
    assert_eq!(replies(socket.as_mut()), Err(ESRCH));
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
