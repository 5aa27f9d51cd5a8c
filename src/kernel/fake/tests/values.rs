//! Stored values and their representation in replies.

use super::*;

fn get(kernel: &FakeKernel, nest: &Nest) -> Vec<u8> {
    let mut socket = kernel.connect().unwrap();
    execute(socket.as_mut(), GET_SERVICE, 0, &nest.bytes())
        .unwrap()
        .remove(0)
}

fn set(kernel: &FakeKernel, command: u8, attributes: &[u8]) {
    execute(kernel.connect().unwrap().as_mut(), command, 0, attributes).unwrap();
}

fn flags(kernel: &FakeKernel) -> u32 {
    let message = get(kernel, &svc());
    let payload = inner(&message, 7).unwrap();
    assert_eq!(payload[4..], [0xff; 4]);
    u32::from_ne_bytes(payload[..4].try_into().unwrap())
}

#[test]
fn flags_are_merged_by_their_mask() {
    let kernel = FakeKernel::new();
    let with = |flags: u32, mask: u32| {
        svc()
            .with(7, [flags.to_ne_bytes(), mask.to_ne_bytes()].concat())
            .bytes()
    };
    set(&kernel, NEW_SERVICE, &with(0x19, 0x11));
    assert_eq!(flags(&kernel), 0x13);
    set(&kernel, SET_SERVICE, &with(0xff, 0));
    assert_eq!(flags(&kernel), 0x13);
    set(&kernel, SET_SERVICE, &with(4, 5));
    assert_eq!(flags(&kernel), 0x16);
    set(&kernel, SET_SERVICE, &svc().with(7, [1, 0, 0, 0]).bytes());
    assert_eq!(flags(&kernel), 0x16);
    set(&kernel, SET_SERVICE, &with(u32::MAX, u32::MAX));
    assert_eq!(flags(&kernel), u32::MAX);
    set(&kernel, SET_SERVICE, &with(0, u32::MAX));
    assert_eq!(flags(&kernel), 2);
}

#[test]
fn timeouts_overflow_by_hz() {
    for (hz, given, shown) in [
        (100, 42_949_673, 0),
        (100, u32::MAX, 42_949_671),
        (250, 300, 300),
        (250, 17_179_869, 17_179_869),
        (250, 17_179_870, 0),
    ] {
        let kernel = FakeKernel::new();
        kernel.set_hz(hz);
        set(&kernel, NEW_SERVICE, &svc().u32(8, given).bytes());
        assert_eq!(
            inner_u32(&get(&kernel, &svc()), 8),
            shown,
            "{given} at HZ {hz}"
        );
    }
}

#[test]
fn an_edit_without_an_engine_removes_it() {
    let kernel = FakeKernel::new();
    set(&kernel, NEW_SERVICE, &svc().with(11, b"sip\0").bytes());
    assert_eq!(inner(&get(&kernel, &svc()), 11), Some(&b"sip\0"[..]));
    set(&kernel, SET_SERVICE, &svc().with(6, b"none\0").bytes());
    let message = get(&kernel, &svc());
    assert_eq!(
        (inner(&message, 11), inner(&message, 6)),
        (None, Some(&b"none\0"[..]))
    );
}

#[test]
fn mark_0_creates_a_service_without_an_address() {
    let kernel = FakeKernel::new();
    set(&kernel, NEW_SERVICE, &mark(0).bytes());
    assert_eq!(
        kernel.services()[0].id,
        ServiceId::tcp("0.0.0.0:0".parse().unwrap())
    );
    let message = get(&kernel, &mark(0));
    assert_eq!(
        (inner(&message, 5), inner(&message, 4)),
        (None, Some(&[0, 0][..]))
    );
}

#[test]
fn counters_are_truncated_to_32_bits_except_in_stats64() {
    let kernel = FakeKernel::new();
    set(&kernel, NEW_SERVICE, &svc().bytes());
    let id = kernel.services()[0].id;
    let counters = Counters {
        connections: (7 << 32) + 5,
        in_bytes: u64::MAX,
        ..Counters::default()
    };
    kernel.set_counters(id, counters);
    let message = get(&kernel, &svc());
    let (short, long) = (inner(&message, 10).unwrap(), inner(&message, 12).unwrap());
    assert_eq!(find(short, 1), Some(&5u32.to_ne_bytes()[..]));
    assert_eq!(find(short, 4), Some(&u64::MAX.to_ne_bytes()[..]));
    assert_eq!(find(long, 1), Some(&((7u64 << 32) + 5).to_ne_bytes()[..]));
}

#[test]
fn zero_keeps_connections_and_other_services() {
    let kernel = FakeKernel::new();
    let (id, server) = (fill(&kernel, 1), server(0));
    set(&kernel, NEW_SERVICE, &mark(1).bytes());
    let mark_id = ServiceId::Mark {
        mark: 1,
        ipv6: false,
    };
    let some = Counters {
        connections: 3,
        in_byte_rate: 9,
        ..Counters::default()
    };
    let live = Connections {
        active: 1,
        inactive: 2,
        persistent: 3,
    };
    let fill = || {
        assert!(kernel.set_counters(id, some) && kernel.set_counters(mark_id, some));
        assert!(kernel.set_traffic(id, server, live, some));
        kernel.set_totals(some);
    };
    let counters = |id: ServiceId| kernel.service(id).unwrap().counters;

    fill();
    set(&kernel, ZERO, &svc().bytes());
    assert_eq!(
        (counters(id), counters(mark_id)),
        (Counters::default(), some)
    );
    let dest = *kernel.service(id).unwrap().destination(server).unwrap();
    assert_eq!(
        (dest.counters, dest.connections),
        (Counters::default(), live)
    );

    fill();
    set(&kernel, ZERO, &[]);
    assert_eq!(counters(mark_id), Counters::default());
    let mut text = String::new();
    kernel
        .open("net/ip_vs_stats")
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert!(!text.contains('3'), "{text}");
}

#[test]
fn a_real_server_that_is_added_again_has_its_old_counters() {
    let kernel = FakeKernel::new();
    let (id, server) = (fill(&kernel, 1), server(0));
    let some = Counters {
        connections: 3,
        ..Counters::default()
    };
    kernel.set_traffic(id, server, Connections::default(), some);
    let nest = dest().with(1, [10, 1, 0, 0]).u32(4, 9);
    set(&kernel, DEL_DEST, &svc().and(&nest));
    set(&kernel, NEW_DEST, &svc().and(&nest));
    let dest = *kernel.service(id).unwrap().destination(server).unwrap();
    assert_eq!((dest.counters, dest.weight), (some, 9));
    set(&kernel, DEL_SERVICE, &svc().bytes());
    set(&kernel, NEW_SERVICE, &svc().bytes());
    set(&kernel, NEW_DEST, &svc().and(&nest));
    let dest = *kernel.service(id).unwrap().destination(server).unwrap();
    assert_eq!(dest.counters, Counters::default());
}

#[test]
fn sync_daemons_have_defaults() {
    let kernel = FakeKernel::new();
    kernel.add_interface("jumbo", 9000);
    let daemon = |state: u32, name: &[u8]| empty(3).u32(1, state).with(2, name).u32(3, 999);
    set(&kernel, NEW_DAEMON, &daemon(2, b"lo\0").bytes());
    set(
        &kernel,
        NEW_DAEMON,
        &daemon(1, b"lo\0")
            .u16(4, 65535)
            .u16(7, 9)
            .with(8, [4])
            .bytes(),
    );
    let list = || dump(kernel.connect().unwrap().as_mut(), GET_DAEMON, &[]);
    let shown = |message: &[u8]| {
        let u16 = |number| u16::from_ne_bytes(inner(message, number).unwrap().try_into().unwrap());
        let group = inner(message, 5).or(inner(message, 6)).unwrap().to_vec();
        (
            inner_u32(message, 1),
            inner_u32(message, 3),
            u16(4),
            u16(7),
            inner(message, 8).unwrap()[0],
            group,
        )
    };
    let group = vec![224, 0, 0, 81];
    let both = list();
    assert_eq!(shown(&both[0]), (1, 999, 65507, 9, 4, group.clone()));
    assert_eq!(shown(&both[1]), (2, 999, 65507, 8848, 1, group));

    set(&kernel, DEL_DAEMON, &empty(3).u32(1, 2).bytes());
    let group6 = [&[0xff, 2][..], &[0; 14]].concat();
    for (length, shown_length) in [(0, 9000 - 48), (1, 1024), (65535, 65535 - 48)] {
        let nest = daemon(2, b"jumbo\0").with(6, &group6).u16(4, length);
        set(&kernel, NEW_DAEMON, &nest.bytes());
        assert_eq!(
            shown(&list()[1]),
            (2, 999, shown_length, 8848, 1, group6.clone())
        );
        set(&kernel, DEL_DAEMON, &empty(3).u32(1, 2).bytes());
    }
}

#[test]
fn timeouts_of_zero_are_kept() {
    let kernel = FakeKernel::new();
    let get = || {
        let message = execute(kernel.connect().unwrap().as_mut(), GET_CONFIG, 0, &[])
            .unwrap()
            .remove(0);
        assert_eq!(message[16], SET_CONFIG);
        let value = |number| find(&message[20..], number).unwrap().try_into().unwrap();
        [4, 5, 6].map(|number| u32::from_ne_bytes(value(number)))
    };
    assert_eq!(get(), [900, 120, 300]);
    set(
        &kernel,
        SET_CONFIG,
        &[attribute(4, &[0; 4]), attribute(6, &7u32.to_ne_bytes())].concat(),
    );
    assert_eq!(get(), [900, 120, 7]);
    set(&kernel, FLUSH, &[]);
    assert_eq!(get(), [900, 120, 7]);
}

#[test]
fn a_kernel_without_ipv6_rejects_it() {
    let kernel = FakeKernel::new();
    kernel.set_ipv6(false);
    let mut socket = kernel.connect().unwrap();
    assert_eq!(
        execute(socket.as_mut(), NEW_SERVICE, 0, &svc6().bytes()),
        Err(libc::EAFNOSUPPORT)
    );
}

#[test]
fn all_handles_and_threads_share_one_table() {
    let kernel = FakeKernel::new();
    std::thread::scope(|scope| {
        for thread in 0..8u8 {
            let kernel = kernel.clone();
            scope.spawn(move || {
                kernel.enter().unwrap();
                for port in 0..100 {
                    set(
                        &kernel,
                        NEW_SERVICE,
                        &svc().with(PORT, [thread, port]).bytes(),
                    );
                }
            });
        }
    });
    assert_eq!(kernel.services().len(), 800);
    assert_eq!(
        dump(kernel.connect().unwrap().as_mut(), GET_SERVICE, &[]).len(),
        800
    );
}

#[test]
#[ignore = "a measurement: cargo test --release -- --ignored --nocapture"]
fn cost_of_a_large_table() {
    let kernel = FakeKernel::new();
    let mut socket = kernel.connect().unwrap();
    let start = std::time::Instant::now();
    for number in 0..1000u16 {
        let service = svc().with(PORT, number.to_be_bytes());
        let mut batch = request(NEW_SERVICE, 0, 1, &service.bytes());
        for last in 0..100 {
            batch.extend(request(
                NEW_DEST,
                0,
                2,
                &service.and(&dest().with(1, [10, 1, 1, last])),
            ));
        }
        socket.send(&batch).unwrap();
        assert_eq!(receive(socket.as_mut()), None);
    }
    let filled = start.elapsed();
    for number in 0..1000u16 {
        let service = svc().with(PORT, number.to_be_bytes()).bytes();
        assert_eq!(dump(socket.as_mut(), GET_DEST, &service).len(), 100);
    }
    eprintln!(
        "1000x100: filled in {filled:?}, listed in {:?}",
        start.elapsed() - filled
    );
}
