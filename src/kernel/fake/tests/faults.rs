//! Fault injection.

use std::time::Instant;

use super::*;

const NEW: On = On::Command(NEW_SERVICE);

fn add(socket: &mut dyn Transport) -> Result<(), i32> {
    execute(socket, NEW_SERVICE, 0, &svc().bytes()).map(drop)
}

#[test]
fn errno_applies_to_the_next_matching_commands() {
    let kernel = FakeKernel::new();
    let mut socket = kernel.connect().unwrap();
    kernel.faults().times(2, NEW, Fault::Errno(libc::ENOMEM));
    assert!(execute(socket.as_mut(), GET_INFO, 0, &[]).is_ok());
    assert_eq!(add(socket.as_mut()), Err(libc::ENOMEM));
    assert_eq!(add(socket.as_mut()), Err(libc::ENOMEM));
    assert_eq!(kernel.services().len(), 0);
    assert_eq!(kernel.faults().pending(), 0);
    assert_eq!(add(socket.as_mut()), Ok(()));

    kernel.faults().always(On::Any, Fault::Errno(libc::ENOMEM));
    for _ in 0..5 {
        assert_eq!(execute(socket.as_mut(), FLUSH, 0, &[]), Err(libc::ENOMEM));
    }
    assert_eq!(
        execute(socket.as_mut(), GET_SERVICE, DUMP, &[]),
        Err(libc::ENOMEM)
    );
    assert!(
        resolve(socket.as_mut(), "IPVS").is_ok(),
        "a lookup is none of the family's commands"
    );
    kernel.faults().clear();
    assert_eq!(execute(socket.as_mut(), FLUSH, 0, &[]), Ok(vec![]));
    kernel.faults().once(On::Lookup, Fault::Errno(libc::EAGAIN));
    assert_eq!(resolve(socket.as_mut(), "IPVS"), Err(libc::EAGAIN));
}

#[test]
fn a_send_error_executes_nothing() {
    let kernel = FakeKernel::new();
    let mut socket = kernel.connect().unwrap();
    kernel
        .faults()
        .once(On::Any, Fault::SendError(libc::ENOBUFS));
    let bytes = request(NEW_SERVICE, ACK, 1, &svc().bytes());
    assert_eq!(
        socket.send(&bytes).unwrap_err().raw_os_error(),
        Some(libc::ENOBUFS)
    );
    assert_eq!(
        (kernel.services().len(), kernel.commands(NEW_SERVICE)),
        (0, 0)
    );
    assert_eq!(add(socket.as_mut()), Ok(()));
}

fn overrun(socket: &mut dyn Transport) -> bool {
    let result = receive_up_to(socket, 64, Duration::ZERO);
    result.is_err_and(|error| error.raw_os_error() == Some(libc::ENOBUFS))
}

#[test]
fn overrun_drops_replies() {
    let kernel = FakeKernel::new();
    let mut socket = kernel.connect().unwrap();
    kernel.faults().once(NEW, Fault::Overrun);
    socket
        .send(&request(NEW_SERVICE, ACK, 1, &svc().bytes()))
        .unwrap();
    assert!(overrun(socket.as_mut()));
    assert_eq!(receive(socket.as_mut()), None);
    assert_eq!(kernel.services().len(), 1);
    kernel.faults().once(On::Any, Fault::Overrun);
    socket.send(&request(GET_SERVICE, DUMP, 2, &[])).unwrap();
    assert!(overrun(socket.as_mut()));
    assert_eq!(receive(socket.as_mut()), None);
    assert_eq!(dump(socket.as_mut(), GET_SERVICE, &[]).len(), 1);
}

#[test]
fn a_full_receive_buffer_drops_replies_until_it_is_empty() {
    let kernel = FakeKernel::new();
    kernel.set_receive_buffer(212_992);
    let mut socket = kernel.connect().unwrap();
    let batch: Vec<_> = (0..1000)
        .flat_map(|number| request(ZERO, ACK, number, &[]))
        .collect();
    socket.send(&batch).unwrap();
    assert_eq!(kernel.commands(ZERO), 1000);
    assert!(overrun(socket.as_mut()));
    for number in 0..278 {
        assert_eq!(
            acknowledgement(&receive(socket.as_mut()).unwrap()),
            (number, 0)
        );
    }
    assert_eq!(receive(socket.as_mut()), None);
    assert_eq!(execute(socket.as_mut(), ZERO, 0, &[]), Ok(vec![]));
}

#[test]
fn a_lost_reply_never_arrives() {
    let kernel = FakeKernel::new();
    let mut socket = kernel.connect().unwrap();
    kernel.faults().once(NEW, Fault::LostReply);
    socket
        .send(&request(NEW_SERVICE, ACK, 1, &svc().bytes()))
        .unwrap();
    assert_eq!(receive(socket.as_mut()), None);
    assert_eq!(add(socket.as_mut()), Err(libc::EEXIST));
    kernel.faults().once(On::Any, Fault::LostReply);
    socket.send(&request(GET_SERVICE, DUMP, 2, &[])).unwrap();
    assert_eq!(receive(socket.as_mut()), None);
    assert_eq!(dump(socket.as_mut(), GET_SERVICE, &[]).len(), 1);
}

#[test]
fn delays_of_commands_and_replies() {
    let kernel = FakeKernel::new();
    let mut socket = kernel.connect().unwrap();
    let time = Duration::from_millis(60);
    kernel.faults().once(NEW, Fault::SlowCommand(time));
    let start = Instant::now();
    assert_eq!(add(socket.as_mut()), Ok(()));
    assert!(start.elapsed() >= time);

    kernel.faults().once(On::Any, Fault::SlowReply(time));
    let start = Instant::now();
    socket.send(&request(FLUSH, ACK, 1, &[])).unwrap();
    assert_eq!(kernel.services().len(), 0, "executed at once");
    let early = receive_up_to(socket.as_mut(), 64, Duration::from_millis(1)).unwrap_err();
    assert_eq!(early.kind(), io::ErrorKind::TimedOut);
    let late = receive_up_to(socket.as_mut(), 64, Duration::from_secs(60)).unwrap();
    assert_eq!(late.len(), 36);
    assert!(start.elapsed() >= time && start.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_foreign_change_before_a_command() {
    let kernel = FakeKernel::new();
    let mut socket = kernel.connect().unwrap();
    kernel.faults().once(
        NEW,
        Fault::before(|kernel| {
            fill(kernel, 0);
        }),
    );
    assert_eq!(add(socket.as_mut()), Err(libc::EEXIST));
}

#[test]
fn replies_are_rewritten() {
    let kernel = FakeKernel::new();
    let mut socket = kernel.connect().unwrap();
    kernel.faults().once(On::Any, Fault::garbage(*b"nonsense"));
    socket.send(&request(GET_INFO, 0, 1, &[])).unwrap();
    assert_eq!(receive(socket.as_mut()).unwrap(), b"nonsense");
    kernel.faults().once(On::Any, Fault::trailing([1, 2, 3]));
    socket.send(&request(GET_INFO, 0, 1, &[])).unwrap();
    assert_eq!(receive(socket.as_mut()).unwrap()[36..], [1, 2, 3]);
    kernel
        .faults()
        .once(On::Any, Fault::rewrite(|datagram| datagram.truncate(17)));
    socket.send(&request(GET_DAEMON, DUMP, 1, &[])).unwrap();
    assert_eq!(receive(socket.as_mut()).unwrap().len(), 17);
}

#[test]
fn dumps_with_faults() {
    let kernel = FakeKernel::new();
    let id = fill(&kernel, 10);
    let mut socket = kernel.connect().unwrap();
    let mut list = || servers(&dump(socket.as_mut(), GET_DEST, &svc().bytes()));
    kernel
        .faults()
        .once(On::Command(GET_DEST), Fault::DumpEnds(3));
    assert_eq!(list(), [9, 8, 7]);
    kernel.faults().once(On::Any, Fault::DumpDoubles);
    assert_eq!(
        list(),
        (0..10)
            .rev()
            .flat_map(|number| [number; 2])
            .collect::<Vec<_>>()
    );

    // Two entries per datagram. Removing the two newest makes the dump skip two entries.
    kernel.set_dump_size(2 * 400);
    kernel.faults().once(
        On::Command(GET_DEST),
        Fault::dump_interrupted(move |kernel| {
            kernel.remove_destination(id, server(9));
            kernel.remove_destination(id, server(8));
        }),
    );
    assert_eq!(list(), [9, 8, 5, 4, 3, 2, 1, 0]);
    assert_eq!(list(), [7, 6, 5, 4, 3, 2, 1, 0]);
    assert_eq!(kernel.faults().pending(), 0);
}

#[test]
fn faults_of_dumps_apply_only_to_dumps() {
    let kernel = FakeKernel::new();
    let mut socket = kernel.connect().unwrap();
    kernel
        .faults()
        .once(On::Command(GET_SERVICE), Fault::DumpEnds(0));
    assert_eq!(add(socket.as_mut()), Ok(()));
    assert_eq!(
        execute(socket.as_mut(), GET_SERVICE, 0, &svc().bytes())
            .unwrap()
            .len(),
        1
    );
    assert_eq!(dump(socket.as_mut(), GET_SERVICE, &[]).len(), 0);
    assert_eq!(dump(socket.as_mut(), GET_SERVICE, &[]).len(), 1);
}

#[test]
fn a_reloaded_module_has_a_new_family_number() {
    let kernel = FakeKernel::new();
    let mut socket = kernel.connect().unwrap();
    assert_eq!(add(socket.as_mut()), Ok(()));
    kernel.faults().unload();
    assert_eq!(add(socket.as_mut()), Err(libc::ENOENT));
    assert_eq!(resolve(socket.as_mut(), "IPVS"), Err(libc::ENOENT));
    assert!(kernel.open("net/ip_vs_conn").is_err());
    assert!(kernel.open("sys/net/ipv4/vs/conntrack").is_err());
    assert_eq!(
        execute(socket.as_mut(), GET_SERVICE, DUMP, &[]),
        Err(libc::ENOENT)
    );

    kernel.faults().load();
    assert_eq!(
        add(socket.as_mut()),
        Err(libc::ENOENT),
        "the old number stays unknown"
    );
    assert_eq!(resolve(socket.as_mut(), "IPVS"), Ok(FAMILY + 1));
    socket
        .send(&message(FAMILY + 1, GET_SERVICE, REQUEST | DUMP, 1, &[]))
        .unwrap();
    assert_eq!(
        replies(socket.as_mut()),
        Ok(vec![]),
        "and the table is empty"
    );
    assert_eq!(kernel.lookups(), 2);
}

#[test]
fn without_permission_only_the_lookup_succeeds() {
    let kernel = FakeKernel::new();
    let mut socket = kernel.connect().unwrap();
    kernel.faults().set_permitted(false);
    for command in (1..=FLUSH).filter(|command| *command != SET_INFO) {
        let flags = if matches!(command, GET_DEST | GET_DAEMON) {
            DUMP
        } else {
            0
        };
        assert_eq!(
            execute(socket.as_mut(), command, flags, &svc().bytes()),
            Err(libc::EPERM)
        );
    }
    assert_eq!(
        execute(socket.as_mut(), SET_INFO, 0, &[]),
        Err(libc::EOPNOTSUPP)
    );
    assert_eq!(resolve(socket.as_mut(), "IPVS"), Ok(FAMILY));
    kernel.faults().set_permitted(true);
    assert_eq!(add(socket.as_mut()), Ok(()));
}
