//! Replay of recorded messages of ipvsadm and a real kernel.

use super::{super::socket::FakeSocket, *};

const RECORDED: &str = include_str!("ipvsadm.wire");

/// Sets the counters at the time of the recorded listing.
fn count_traffic(kernel: &FakeKernel) {
    let tcp = Counters {
        connections: 1,
        in_packets: 11,
        out_packets: 10,
        in_bytes: 0x24f,
        out_bytes: 0x188b0,
        in_packet_rate: 1,
        out_packet_rate: 1,
        in_byte_rate: 0x37,
        out_byte_rate: 0x24d0,
        ..Counters::default()
    };
    let tcp6 = Counters {
        connections: 1,
        in_packets: 4,
        out_packets: 3,
        in_bytes: 0x131,
        out_bytes: 0xc98,
        in_byte_rate: 0x1d,
        out_byte_rate: 0x12e,
        ..Counters::default()
    };
    let service = ServiceId::tcp("10.0.0.1:80".parse().unwrap());
    let server = "10.1.1.2:8080".parse().unwrap();
    let active = Connections {
        active: 1,
        ..Connections::default()
    };
    assert!(kernel.set_counters(service, tcp));
    assert!(kernel.set_traffic(service, server, active, tcp));
    let service = ServiceId::tcp("[2001:db8::1]:80".parse().unwrap());
    let server = "[2001:db8:1::2]:8080".parse().unwrap();
    let persistent = Connections {
        active: 1,
        inactive: 0,
        persistent: 1,
    };
    assert!(kernel.set_counters(service, tcp6));
    assert!(kernel.set_traffic(service, server, persistent, tcp6));
}

#[test]
fn the_recorded_session_replays_byte_by_byte() {
    let kernel = FakeKernel::new();
    kernel.set_hz(100);
    kernel.add_interface("c0", 1500);
    let mut socket = FakeSocket::new(kernel.clone(), 0);
    let (mut requests, mut replies, mut request) = (0, 0, "");
    for line in RECORDED.lines() {
        match line.split_at(2) {
            ("S ", hex) => {
                drain(&mut socket, request);
                request = hex;
                let bytes = unhex(hex);
                // One socket per request: each ipvsadm process had its own netlink port.
                let port = u32::from_ne_bytes(bytes[12..16].try_into().unwrap());
                socket = FakeSocket::new(kernel.clone(), port);
                socket.send(&bytes).unwrap();
                requests += 1;
            }
            ("R ", hex) => {
                let mut got = receive(&mut socket).expect(request);
                let mut expected = unhex(hex);
                if expected[6] & 2 != 0 {
                    // The order of services depends on the namespace pointer in the kernel.
                    got = sorted(&got);
                    expected = sorted(&expected);
                }
                assert_eq!(to_hex(&got), to_hex(&expected), "reply to {request}");
                replies += 1;
            }
            _ if line == "# ipvsadm -L -n" && kernel.services().len() > 1 => count_traffic(&kernel),
            _ => {}
        }
    }
    drain(&mut socket, request);
    assert_eq!((requests, replies), (58, 66));
}

/// Checks that there are no more replies than recorded. The acknowledgement after data is allowed:
/// ipvsadm closes its socket without reading it.
fn drain(socket: &mut FakeSocket, request: &str) {
    if let Some(rest) = receive(socket) {
        assert!(
            matches!(&request[32..34], "04" | "0d" | "0f"),
            "more to {request}: {rest:?}"
        );
        assert_eq!((kind(&rest), acknowledgement(&rest).1), (2, 0), "{request}");
    }
    assert_eq!(receive(socket), None, "still more to {request}");
}

/// A datagram with its messages sorted by their bytes.
fn sorted(datagram: &[u8]) -> Vec<u8> {
    let mut messages = messages(datagram);
    messages.sort();
    messages.concat()
}

#[test]
fn requests_in_one_datagram_have_separate_replies() {
    let kernel = FakeKernel::new();
    let mut socket = kernel.connect().unwrap();
    let mut batch = request(NEW_SERVICE, 0, 1, &svc().bytes());
    batch.extend(request(NEW_SERVICE, 0, 2, &svc().bytes()));
    batch.extend(request(
        NEW_SERVICE,
        ACK,
        3,
        &svc().with(PORT, [0, 81]).bytes(),
    ));
    socket.send(&batch).unwrap();
    assert_eq!(
        acknowledgement(&receive(socket.as_mut()).unwrap()),
        (2, -libc::EEXIST)
    );
    assert_eq!(acknowledgement(&receive(socket.as_mut()).unwrap()), (3, 0));
    assert_eq!(receive(socket.as_mut()), None);
    assert_eq!(kernel.services().len(), 2);
    assert_eq!((kernel.sends(), kernel.commands(NEW_SERVICE)), (1, 3));
}

#[test]
fn a_receive_with_nothing_queued_times_out_at_once() {
    let mut socket = FakeKernel::new().connect().unwrap();
    let start = std::time::Instant::now();
    let error = receive_up_to(socket.as_mut(), 64, Duration::from_secs(60)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_datagram_that_does_not_fit_is_lost() {
    let mut socket = FakeKernel::new().connect().unwrap();
    socket.send(&request(GET_INFO, 0, 1, &[])).unwrap();
    let error = receive_up_to(socket.as_mut(), 8, Duration::ZERO).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert_eq!(receive(socket.as_mut()), None);
}

#[test]
fn malformed_messages_are_handled_as_in_the_kernel() {
    let kernel = FakeKernel::new();
    let mut socket = kernel.connect().unwrap();
    // An empty datagram, a truncated header, a length beyond the datagram, a length below a header.
    assert_eq!(
        socket.send(&[]).unwrap_err().raw_os_error(),
        Some(libc::ENODATA)
    );
    let good = request(FLUSH, ACK, 1, &[]);
    socket.send(&good[..12]).unwrap();
    socket.send(&good[..18]).unwrap();
    let mut short = good.clone();
    short[0] = 15;
    socket.send(&short).unwrap();
    assert_eq!(receive(socket.as_mut()), None);
    assert_eq!(kernel.commands(FLUSH), 0);
    // Without NLM_F_REQUEST, a message is acknowledged but not executed.
    let mut reply = good.clone();
    reply[6] = 4;
    socket.send(&reply).unwrap();
    assert_eq!(acknowledgement(&receive(socket.as_mut()).unwrap()), (1, 0));
    assert_eq!(kernel.commands(FLUSH), 0);
    // A message without a generic netlink header.
    let mut bare = good[..16].to_vec();
    bare[0] = 16;
    socket.send(&bare).unwrap();
    assert_eq!(
        acknowledgement(&receive(socket.as_mut()).unwrap()),
        (1, -libc::EINVAL)
    );
}

#[test]
fn only_known_families_are_found() {
    let mut socket = FakeKernel::new().connect().unwrap();
    for (name, errno) in [
        ("IPVS", 0),
        ("ipvs", libc::ENOENT),
        ("nosuch", libc::ENOENT),
    ] {
        assert_eq!(
            resolve(socket.as_mut(), name).err().unwrap_or(0),
            errno,
            "{name}"
        );
    }
    assert_eq!(resolve(socket.as_mut(), "IPVS"), Ok(28));
}

#[test]
fn counters_without_padding() {
    let kernel = FakeKernel::new();
    kernel.set_padding(false);
    kernel.add_service(Service::new(ServiceId::tcp("10.0.0.1:80".parse().unwrap())));
    let mut socket = kernel.connect().unwrap();
    socket
        .send(&request(GET_SERVICE, 0, 1, &svc().bytes()))
        .unwrap();
    // One padding attribute less in STATS, nine less in STATS64.
    assert_eq!(receive(socket.as_mut()).unwrap().len(), 360 - 4 * 10);
}
