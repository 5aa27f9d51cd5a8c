use super::*;

fn wish(json: Value) -> SyncDaemonDraft {
    serde_json::from_value(json).unwrap()
}

async fn start(
    director: &Director,
    json: Value,
    replace: bool,
    guard: Guard,
) -> Result<Written<SyncDaemon>, Error> {
    let state = SyncState::Master;
    director
        .start_sync_daemon(state, wish(json), replace, guard, call())
        .await
}

fn starts(kernel: &FakeKernel) -> (u64, u64) {
    (
        kernel.commands(command::NEW_DAEMON),
        kernel.commands(command::DEL_DAEMON),
    )
}

#[tokio::test]
async fn a_daemon_is_started_restarted_only_when_it_differs_and_stopped() {
    let (kernel, director) = house();
    let eth0 = || json!({"interface": "eth0"});
    let made = start(&director, eth0(), true, NONE).await.unwrap();
    assert!(made.created && made.changed);
    assert_eq!(
        (made.value.max_length, made.value.multicast_port),
        (1472, 8848)
    );
    assert_eq!(
        director.sync_daemons(call()).await.unwrap().value,
        [made.value]
    );
    kernel.reset_counts();
    let same = start(&director, eth0(), true, NONE).await.unwrap();
    assert!(!same.created && !same.changed);
    assert_eq!(starts(&kernel), (0, 0));
    let error = start(&director, eth0(), false, NONE).await.unwrap_err();
    assert_eq!(error.reason, Reason::SyncDaemonRunning);
    assert_eq!(error.errno, Some(Errno::EEXIST));
    let other = json!({"interface": "eth0", "sync_id": 9});
    let other = start(&director, other, true, NONE).await.unwrap();
    assert!(!other.created && other.changed);
    assert_eq!(other.value.sync_id, 9);
    assert_eq!(starts(&kernel), (1, 1));

    let backup = wish(json!({"interface": "eth0", "multicast_group": "ff02::55"}));
    let backup = director.start_sync_daemon(SyncState::Backup, backup, true, NONE, call());
    let backup = backup.await.unwrap().value;
    let both = director.sync_daemons(call()).await.unwrap().value;
    assert_eq!(both, [other.value, backup], "master first");
    let stop =
        |missing, guard| director.stop_sync_daemon(SyncState::Master, missing, guard, call());
    let stale = Guard::Matches(vec![made.value.etag()]);
    assert_eq!(reason(stop(false, stale).await), Reason::RevisionMismatch);
    let current = Guard::Matches(vec![other.value.etag()]);
    assert!(stop(false, current).await.unwrap());
    assert_eq!(
        reason(stop(false, NONE).await),
        Reason::SyncDaemonNotRunning
    );
    assert!(!stop(true, NONE).await.unwrap());
    assert_eq!(director.sync_daemons(call()).await.unwrap().value, [backup]);
}

#[tokio::test]
async fn the_old_daemon_comes_back_when_the_new_one_is_refused() {
    let (kernel, director) = house();
    let old = json!({"interface": "eth0", "sync_id": 3, "multicast_ttl": 5});
    let old = start(&director, old, true, NONE).await.unwrap().value;
    let error = start(&director, json!({"interface": "nosuch0"}), true, NONE)
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::InvalidArgument);
    assert_eq!(error.errno, Some(Errno::ENODEV));
    assert_eq!(fields(&error), ["interface"]);
    assert!(!error.detail.contains("undone"), "{error}");
    assert_eq!(director.sync_daemons(call()).await.unwrap().value, [old]);
    assert_eq!(starts(&kernel), (3, 1));
}

#[tokio::test]
async fn guards_are_held_against_the_daemon() {
    let (_, director) = house();
    let eth0 = || json!({"interface": "eth0"});
    assert_eq!(
        reason(start(&director, eth0(), true, Guard::Exists).await),
        Reason::RevisionMismatch
    );
    start(&director, eth0(), true, Guard::Absent).await.unwrap();
    assert_eq!(
        reason(start(&director, eth0(), true, Guard::Absent).await),
        Reason::RevisionMismatch
    );
    let error = start(&director, json!({}), true, NONE).await.unwrap_err();
    assert_eq!(fields(&error), ["interface"]);
}

#[tokio::test]
async fn a_daemon_and_servers_of_another_family_exclude_each_other_with_a_remedy() {
    let (_, director) = house();
    make(&director, TCP, &[]).await;
    let mixed = server_key("2001:db8::1-80");
    let tunnel = || server_draft(json!({"forwarding": "tunnel"}));
    director
        .put_server(key(TCP), mixed, tunnel(), NONE, call())
        .await
        .unwrap();
    let eth0 = || json!({"interface": "eth0"});
    let error = start(&director, eth0(), true, NONE).await.unwrap_err();
    assert_eq!(error.reason, Reason::SyncDaemonConflict);
    assert!(error.hint.unwrap().contains("delete the servers"));
    director
        .delete_server(key(TCP), mixed, false, NONE, call())
        .await
        .unwrap();
    start(&director, eth0(), true, NONE).await.unwrap();
    let error = director
        .put_server(key(TCP), mixed, tunnel(), NONE, call())
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::SyncDaemonConflict);
    assert!(error.hint.unwrap().contains("stop the sync daemons"));
}
