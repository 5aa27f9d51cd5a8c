//! Dumps iterate by index over a table that may change.

use super::*;

/// Dumps 300 real servers in datagrams of ten entries. `change` runs after the first datagram was
/// received. The expected results were measured with the real kernel.
fn interrupted(change: impl Fn(&FakeKernel, ServiceId)) -> Vec<u32> {
    let kernel = FakeKernel::new();
    let id = fill(&kernel, 300);
    let mut socket = kernel.connect().unwrap();
    socket
        .send(&request(GET_DEST, DUMP, 1, &svc().bytes()))
        .unwrap();
    let mut next = || messages(&receive_up_to(socket.as_mut(), 4096, Duration::ZERO).unwrap());
    let mut seen = next();
    assert_eq!(seen.len(), 9); // the first datagram fits into a page
    change(&kernel, id);
    loop {
        let mut more = next();
        if kind(&more[0]) == 3 {
            assert_eq!((more.len(), acknowledgement(&more[0])), (1, (1, 0)));
            return servers(&seen);
        }
        assert!(more.len() <= 10);
        assert!(
            more.iter().all(|message| message[6] == 2),
            "NLM_F_MULTI alone"
        );
        seen.append(&mut more);
    }
}

#[test]
fn a_dump_lists_all_servers_newest_first() {
    assert_eq!(interrupted(|_, _| {}), (0..300).rev().collect::<Vec<_>>());
}

#[test]
fn a_delete_during_a_dump_skips_as_many_entries() {
    let seen = interrupted(|kernel, id| {
        for number in 295..300 {
            assert!(kernel.remove_destination(id, server(number)));
        }
    });
    // Two datagrams were filled before the change: nine and ten entries.
    let expected: Vec<_> = (281..300).rev().chain((0..276).rev()).collect();
    assert_eq!(seen, expected);
}

#[test]
fn an_add_during_a_dump_repeats_as_many_entries() {
    let seen = interrupted(|kernel, id| {
        for number in 300..305 {
            assert!(kernel.add_destination(id, Destination::new(server(number))));
        }
    });
    let expected: Vec<_> = (281..300).rev().chain((0..286).rev()).collect();
    assert_eq!(seen, expected);
}

#[test]
fn deleting_the_service_ends_the_dump() {
    let seen = interrupted(|kernel, id| assert!(kernel.remove_service(id)));
    assert_eq!(seen, (281..300).rev().collect::<Vec<_>>());
}

#[test]
fn datagrams_are_as_large_as_the_largest_buffer() {
    let kernel = FakeKernel::new();
    for port in 0..300 {
        kernel.add_service(Service::new(ServiceId::tcp(([10, 0, 0, 1], port).into())));
    }
    for (size, per_datagram) in [
        (4096, 11),
        (8192, 22),
        (16384, 45),
        (32768, 90),
        (65536, 90),
    ] {
        let mut socket = kernel.connect().unwrap();
        socket.send(&request(GET_SERVICE, DUMP, 1, &[])).unwrap();
        let mut counts = Vec::new();
        loop {
            let datagram = receive_up_to(socket.as_mut(), size, Duration::ZERO).unwrap();
            let messages = messages(&datagram);
            if kind(&messages[0]) == 3 {
                break;
            }
            counts.push(messages.len());
        }
        // The first datagram is filled before the size of any buffer is known.
        assert_eq!(counts[..2], [10, per_datagram], "{size}");
        assert_eq!(counts.iter().sum::<usize>(), 300);
    }
}

#[test]
fn a_filter_in_a_dump_of_services_is_ignored() {
    let kernel = FakeKernel::new();
    for port in [80, 81] {
        kernel.add_service(Service::new(ServiceId::tcp(([10, 0, 0, 1], port).into())));
    }
    let mut socket = kernel.connect().unwrap();
    assert_eq!(dump(socket.as_mut(), GET_SERVICE, &svc().bytes()).len(), 2);
    // An edited entry keeps its position; marks are last.
    let order = || {
        kernel
            .services()
            .iter()
            .map(|service| service.id)
            .collect::<Vec<_>>()
    };
    let before = order();
    execute(socket.as_mut(), SET_SERVICE, 0, &svc().bytes()).unwrap();
    assert_eq!(order(), before);
    execute(socket.as_mut(), NEW_SERVICE, 0, &mark(1).bytes()).unwrap();
    assert_eq!(
        order()[2],
        ServiceId::Mark {
            mark: 1,
            ipv6: false
        }
    );
}

#[test]
fn a_second_dump_on_the_same_socket_fails_with_ebusy() {
    let kernel = FakeKernel::new();
    fill(&kernel, 300);
    let mut socket = kernel.connect().unwrap();
    socket
        .send(&request(GET_DEST, DUMP, 1, &svc().bytes()))
        .unwrap();
    socket.send(&request(GET_SERVICE, DUMP, 2, &[])).unwrap();
    let first = receive(socket.as_mut()).unwrap();
    assert_eq!(servers(&messages(&first)).len(), 9);
    assert_eq!(
        acknowledgement(&receive(socket.as_mut()).unwrap()),
        (2, -libc::EBUSY)
    );
    assert!(replies(socket.as_mut()).unwrap().len() > 200);
    assert_eq!(dump(socket.as_mut(), GET_SERVICE, &[]).len(), 1);
    // Other sockets and other requests are not affected.
    socket
        .send(&request(GET_DEST, DUMP, 3, &svc().bytes()))
        .unwrap();
    assert_eq!(
        dump(kernel.connect().unwrap().as_mut(), GET_SERVICE, &[]).len(),
        1
    );
    socket.send(&request(FLUSH, ACK, 4, &[])).unwrap();
    assert_eq!(
        servers(&messages(&receive(socket.as_mut()).unwrap())).len(),
        81
    );
    assert_eq!(acknowledgement(&receive(socket.as_mut()).unwrap()), (4, 0));
    assert_eq!(acknowledgement(&receive(socket.as_mut()).unwrap()), (3, 0));
    assert_eq!((kernel.dumps(GET_DEST), kernel.dumps(GET_SERVICE)), (2, 2));
    assert_eq!(kernel.commands(GET_SERVICE), 3);
}
