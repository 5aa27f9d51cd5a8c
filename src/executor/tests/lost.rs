//! Lost replies of writes: the outcome is determined by reading back.

use super::*;

#[tokio::test]
async fn reading_back_shows_whether_a_write_was_executed() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    fault_once(&kernel, command::NEW_SERVICE, Fault::Overrun);
    execute(&executor, create_service(1)).await.unwrap();
    assert_eq!(service_count(&kernel), 1);

    fault_once(&kernel, command::NEW_SERVICE, Fault::Errno(libc::ENOMEM));
    fault_once(&kernel, command::NEW_SERVICE, Fault::Overrun);
    let error = execute(&executor, create_service(2)).await.unwrap_err();
    assert_eq!(error.reason, Reason::DeadlineExceeded);
    assert!(error.detail.contains("was not executed"), "{error}");
    assert_eq!(service_count(&kernel), 1);

    fault_once(
        &kernel,
        command::NEW_SERVICE,
        Fault::SendError(libc::ENOBUFS),
    );
    let error = execute(&executor, create_service(2)).await.unwrap_err();
    assert!(error.detail.contains("was not executed"), "{error}");
    assert_eq!(service_count(&kernel), 1);
    execute(&executor, create_service(2)).await.unwrap();
}

#[tokio::test]
async fn every_netlink_operation_is_read_back_after_a_lost_reply() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let other = ServerConfig {
        weight: 7,
        ..ServerConfig::default()
    };
    let daemon = daemon_config(SyncState::Master);
    let timeouts = Timeouts {
        tcp_seconds: 7,
        ..Timeouts::DEFAULT
    };
    for (command, op) in [
        (command::NEW_SERVICE, create_service(1)),
        (command::SET_SERVICE, Op::SetService(key(1), config("wrr"))),
        (command::NEW_DEST, create_server(1, 1)),
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
        // Both replies are lost. The kernel does not execute the first, and executes the second.
        fault_once(&kernel, command, Fault::Errno(libc::ENOMEM));
        fault_once(&kernel, command, Fault::Overrun);
        let result = execute(&executor, op.clone()).await;
        if op == Op::Clear {
            result.unwrap();
            continue;
        }
        let error = result.unwrap_err();
        assert_eq!(error.reason, Reason::DeadlineExceeded, "{op:?}");
        fault_once(&kernel, command, Fault::Overrun);
        execute(&executor, op).await.unwrap();
    }
    assert_eq!(kernel.faults().pending(), 0);
}

#[tokio::test]
async fn stopping_a_sync_daemon_succeeds_without_an_acknowledgement() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let daemon = daemon_config(SyncState::Backup);
    execute(&executor, Op::StartSyncDaemon(daemon))
        .await
        .unwrap();
    fault_once(&kernel, command::DEL_DAEMON, Fault::LostReply);
    execute(&executor, Op::StopSyncDaemon(SyncState::Backup))
        .await
        .unwrap();
    let error = execute(&executor, Op::StopSyncDaemon(SyncState::Backup))
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::SyncDaemonNotRunning);
}

#[tokio::test]
async fn a_zero_is_repeated_after_a_lost_reply() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    fault_once(&kernel, command::ZERO, Fault::LostReply);
    execute(&executor, Op::ZeroAll).await.unwrap();
    assert_eq!(kernel.commands(command::ZERO), 2);
    fault_once(&kernel, command::ZERO, Fault::LostReply);
    let error = execute(&executor, Op::ZeroService(key(1)))
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::ServiceNotFound);
}

#[tokio::test]
async fn the_outcome_is_unknown_if_reading_back_fails_too() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    fault_once(&kernel, command::NEW_SERVICE, Fault::LostReply);
    let on = On::Command(command::GET_SERVICE);
    kernel.faults().always(on, Fault::LostReply);
    let error = execute(&executor, create_service(1)).await.unwrap_err();
    assert_eq!(error.reason, Reason::DeadlineExceeded);
    assert!(error.detail.contains("outcome is unknown"), "{error}");
    assert_eq!(service_count(&kernel), 1, "it was executed");
}

#[tokio::test]
async fn every_outcome_is_determined_when_error_replies_overflow_the_socket() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    read_fresh(&executor, InfoQuery).await.unwrap();
    let small_buffer = Fault::before(|kernel| kernel.set_receive_buffer(4096));
    fault_once(&kernel, command::NEW_SERVICE, small_buffer);
    for n in 0..40 {
        seed_service(&kernel, n, 0);
    }
    let commands = CommandList::new((0..80).map(create_service).collect(), false);
    let outcome = write(&executor, commands).await.unwrap();
    assert!(outcome.interruption.is_none());
    let mut replies = 0;
    for (n, result) in (0..80).zip(outcome.results) {
        if n < 40 {
            // It exists with another scheduler: the reply arrived, or reading back showed it.
            let error = Result::from(result).unwrap_err();
            match error.reason {
                Reason::ServiceExists => replies += 1,
                reason => assert_eq!(reason, Reason::DeadlineExceeded),
            }
        } else if let Err(error) = Result::from(result) {
            assert!(error.detail.contains("was not executed"), "{n}: {error}");
            assert!(kernel.service(id(n)).is_none(), "{n}");
        } else {
            assert!(kernel.service(id(n)).is_some(), "{n}");
        }
    }
    assert!(replies < 40, "the buffer is too small for all replies");
}

#[tokio::test]
async fn a_lost_reply_stops_a_list_of_several_kinds_of_operations_until_its_outcome_is_known() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    // One more than fits a send: the last one is not sent when the reply of the first send is lost.
    let mut ops: Vec<_> = (0..129).map(create_service).collect();
    let labels: Labels = serde_json::from_value(serde_json::json!({"a": "1"})).unwrap();
    ops.push(Op::SetStored(key(0), labels.into()));
    ops.push(create_service(200));
    fault_once(&kernel, command::NEW_SERVICE, Fault::Overrun);
    let commands = CommandList::new(ops, false);
    let outcome = write(&executor, commands).await.unwrap();
    assert!(outcome.interruption.is_none());
    for (n, result) in outcome.results.into_iter().enumerate() {
        assert_eq!(result, CommandResult::Done, "{n}");
    }
    assert_eq!(kernel.commands(command::NEW_SERVICE), 130);
    assert_eq!(service_count(&kernel), 130);
}
