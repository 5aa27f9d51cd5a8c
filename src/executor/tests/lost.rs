//! Writes whose answers are lost: the outcome is read back, never guessed.

use super::*;

#[tokio::test]
async fn a_write_whose_answer_is_dropped_is_read_back_whether_carried_out_or_not() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    once(&kernel, command::NEW_SERVICE, Fault::Overrun);
    run(&executor, create(1)).await.unwrap();
    assert_eq!(services(&kernel), 1);

    once(&kernel, command::NEW_SERVICE, Fault::Errno(libc::ENOMEM));
    once(&kernel, command::NEW_SERVICE, Fault::Overrun);
    let error = run(&executor, create(2)).await.unwrap_err();
    assert_eq!(error.reason, Reason::DeadlineExceeded);
    assert!(error.detail.contains("was not executed"), "{error}");
    assert_eq!(services(&kernel), 1);

    once(
        &kernel,
        command::NEW_SERVICE,
        Fault::SendError(libc::ENOBUFS),
    );
    let error = run(&executor, create(2)).await.unwrap_err();
    assert!(error.detail.contains("was not executed"), "{error}");
    assert_eq!(services(&kernel), 1);
    run(&executor, create(2)).await.unwrap();
}

#[tokio::test]
async fn every_kind_of_write_is_read_back_when_its_answer_is_lost() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let other = ServerConfig {
        weight: 7,
        ..ServerConfig::default()
    };
    let daemon = SyncDaemonConfig {
        state: SyncState::Master,
        interface: "eth0".parse().unwrap(),
        sync_id: 1,
        max_length: None,
        multicast_group: "224.0.0.81".parse().unwrap(),
        multicast_port: 8848,
        multicast_ttl: 1,
    };
    let timeouts = Timeouts {
        tcp_seconds: 7,
        ..Timeouts::DEFAULT
    };
    for (command, op) in [
        (command::NEW_SERVICE, create(1)),
        (command::SET_SERVICE, Op::SetService(key(1), config("wrr"))),
        (command::NEW_DEST, add(1, 1)),
        (
            command::SET_DEST,
            Op::SetServer(key(1), server_key(1), other),
        ),
        (command::DEL_DEST, Op::DeleteServer(key(1), server_key(1))),
        (command::DEL_SERVICE, Op::DeleteService(key(1))),
        (command::FLUSH, Op::Clear),
        (command::SET_CONFIG, Op::SetTimeouts(timeouts)),
        (command::NEW_DAEMON, Op::StartSyncDaemon(daemon)),
        (command::DEL_DAEMON, Op::StopSyncDaemon(SyncState::Master)),
    ] {
        // Not carried out, then carried out, both without a word.
        once(&kernel, command, Fault::Errno(libc::ENOMEM));
        once(&kernel, command, Fault::Overrun);
        let result = run(&executor, op.clone()).await;
        if op == Op::Clear {
            result.unwrap();
            continue;
        }
        let error = result.unwrap_err();
        assert_eq!(error.reason, Reason::DeadlineExceeded, "{op:?}");
        once(&kernel, command, Fault::Overrun);
        run(&executor, op).await.unwrap();
    }
    assert_eq!(kernel.faults().pending(), 0);
}

#[tokio::test]
async fn the_stop_of_a_sync_daemon_that_the_kernel_never_acknowledges_is_found_out() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let daemon = SyncDaemonConfig {
        state: SyncState::Backup,
        interface: "eth0".parse().unwrap(),
        sync_id: 0,
        max_length: None,
        multicast_group: "224.0.0.81".parse().unwrap(),
        multicast_port: 8848,
        multicast_ttl: 1,
    };
    run(&executor, Op::StartSyncDaemon(daemon)).await.unwrap();
    once(&kernel, command::DEL_DAEMON, Fault::LostReply);
    run(&executor, Op::StopSyncDaemon(SyncState::Backup))
        .await
        .unwrap();
    let error = run(&executor, Op::StopSyncDaemon(SyncState::Backup))
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::SyncDaemonNotRunning);
}

#[tokio::test]
async fn a_zero_that_shows_nothing_is_repeated() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    once(&kernel, command::ZERO, Fault::LostReply);
    run(&executor, Op::ZeroAll).await.unwrap();
    assert_eq!(kernel.commands(command::ZERO), 2);
    once(&kernel, command::ZERO, Fault::LostReply);
    let error = run(&executor, Op::ZeroService(key(1))).await.unwrap_err();
    assert_eq!(error.reason, Reason::ServiceNotFound);
}

#[tokio::test]
async fn a_lost_answer_that_cannot_be_found_out_is_said_to_be_unknown() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    once(&kernel, command::NEW_SERVICE, Fault::LostReply);
    let on = On::Command(command::GET_SERVICE);
    kernel.faults().always(on, Fault::LostReply);
    let error = run(&executor, create(1)).await.unwrap_err();
    assert_eq!(error.reason, Reason::DeadlineExceeded);
    assert!(error.detail.contains("outcome is unknown"), "{error}");
    assert_eq!(services(&kernel), 1, "in truth it was");
}

#[tokio::test]
async fn errors_of_a_pack_that_overflow_the_socket_are_each_found_out() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    ask(&executor, InfoQuery).await.unwrap();
    let small = Fault::before(|kernel| kernel.set_receive_buffer(4096));
    once(&kernel, command::NEW_SERVICE, small);
    for n in 0..40 {
        put(&kernel, n, 0);
    }
    let requests = (0..80).map(|n| change(&executor, reading(n, create(n))));
    let results = together(&kernel, &executor, requests).await;
    let mut exact = 0;
    for (n, result) in (0..80).zip(results) {
        if n < 40 {
            // It exists with another scheduler: either the answer came through, or the look tells.
            let error = result.unwrap_err();
            match error.reason {
                Reason::ServiceExists => exact += 1,
                reason => assert_eq!(reason, Reason::DeadlineExceeded),
            }
        } else if let Err(error) = result {
            assert!(error.detail.contains("was not executed"), "{n}: {error}");
            assert!(kernel.service(id(n)).is_none(), "{n}");
        } else {
            assert!(kernel.service(id(n)).is_some(), "{n}");
        }
    }
    assert!(exact < 40, "the buffer was too small for all");
}
