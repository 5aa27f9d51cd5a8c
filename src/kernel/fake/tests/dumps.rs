//! A dump is a walk by index over a table that may change under it.

use super::*;

/// A dump of 300 real servers, begun on a socket that fills ten a datagram; `change` happens after
/// the first datagram was received. (As it was measured on the real kernel.)
fn interrupted(change: impl Fn(&FakeKernel, ServiceId)) -> Vec<u32> {
    let kernel = FakeKernel::new();
    let id = fill(&kernel, 300);
    let mut socket = kernel.connect().unwrap();
    socket
        .send(&request(GET_DEST, DUMP, 1, &svc().bytes()))
        .unwrap();
    let mut next = || messages(&receive_up_to(socket.as_mut(), 4096, Duration::ZERO).unwrap());
    let mut seen = next();
    assert_eq!(seen.len(), 9); // the first is no larger than a page less its overhead
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
fn undisturbed_it_lists_all_newest_first() {
    assert_eq!(interrupted(|_, _| {}), (0..300).rev().collect::<Vec<_>>());
}

#[test]
fn deleting_skips_as_many_that_are_still_there() {
    let seen = interrupted(|kernel, id| {
        for number in 295..300 {
            assert!(kernel.remove_destination(id, server(number)));
        }
    });
    // Two datagrams were filled by then: nine and ten entries.
    let expected: Vec<_> = (281..300).rev().chain((0..276).rev()).collect();
    assert_eq!(seen, expected);
}

#[test]
fn adding_doubles_as_many_and_hides_the_new_ones() {
    let seen = interrupted(|kernel, id| {
        for number in 300..305 {
            assert!(kernel.add_destination(id, Destination::new(server(number))));
        }
    });
    let expected: Vec<_> = (281..300).rev().chain((0..286).rev()).collect();
    assert_eq!(seen, expected);
}

#[test]
fn deleting_the_service_ends_it_successfully() {
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
        // The first is filled before the socket knows of any buffer.
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
    // An old entry's place is kept when it is edited, and marks come last.
    let order = || {
        kernel
            .services()
            .iter()
            .map(|service| service.id)
            .collect::<Vec<_>>()
    };
    let before = order();
    ask(socket.as_mut(), SET_SERVICE, 0, &svc().bytes()).unwrap();
    assert_eq!(order(), before);
    ask(socket.as_mut(), NEW_SERVICE, 0, &mark(1).bytes()).unwrap();
    assert_eq!(
        order()[2],
        ServiceId::Mark {
            mark: 1,
            ipv6: false
        }
    );
}

#[test]
fn a_second_dump_on_the_socket_is_refused_while_one_runs() {
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
    assert!(answers(socket.as_mut()).unwrap().len() > 200);
    assert_eq!(dump(socket.as_mut(), GET_SERVICE, &[]).len(), 1);
    // Another socket never minds. Requests of other kinds go on meanwhile.
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
