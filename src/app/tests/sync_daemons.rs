//! Sync daemons.

use super::*;

fn daemon_draft(json: Value) -> SyncDaemonDraft {
    serde_json::from_value(json).unwrap()
}

async fn start(
    app: &App,
    json: Value,
    replace: bool,
    guard: Guard,
) -> Result<Written<SyncDaemon>, Error> {
    let state = SyncState::Master;
    app.start_sync_daemon(context(), state, daemon_draft(json), replace, guard)
        .await
}

/// The numbers of start and stop commands.
fn starts_and_stops(kernel: &FakeKernel) -> (u64, u64) {
    (
        kernel.commands(command::NEW_DAEMON),
        kernel.commands(command::DEL_DAEMON),
    )
}

#[tokio::test]
async fn a_daemon_is_restarted_only_if_its_configuration_differs() {
    let (kernel, app) = setup();
    let eth0 = || json!({"interface": "eth0"});
    let created = start(&app, eth0(), true, NONE).await.unwrap();
    assert!(created.created && created.changed);
    assert_eq!(
        (created.value.max_length, created.value.multicast_port),
        (1472, 8848)
    );
    assert_eq!(
        app.sync_daemons(context()).await.unwrap().value,
        [created.value]
    );
    kernel.reset_counts();
    let same = start(&app, eth0(), true, NONE).await.unwrap();
    assert!(!same.created && !same.changed);
    assert_eq!(starts_and_stops(&kernel), (0, 0));
    let error = start(&app, eth0(), false, NONE).await.unwrap_err();
    assert_eq!(error.reason, Reason::SyncDaemonRunning);
    assert_eq!(error.errno, Some(Errno::EEXIST));
    let other = json!({"interface": "eth0", "sync_id": 9});
    let other = start(&app, other, true, NONE).await.unwrap();
    assert!(!other.created && other.changed);
    assert_eq!(other.value.sync_id, 9);
    assert_eq!(starts_and_stops(&kernel), (1, 1));

    let backup = daemon_draft(json!({"interface": "eth0", "multicast_group": "ff02::55"}));
    let backup = app.start_sync_daemon(context(), SyncState::Backup, backup, true, NONE);
    let backup = backup.await.unwrap().value;
    let both = app.sync_daemons(context()).await.unwrap().value;
    assert_eq!(both, [other.value, backup], "master first");
    let stop = |missing, guard| app.stop_sync_daemon(context(), SyncState::Master, missing, guard);
    let stale = Guard::Matches(vec![created.value.etag()]);
    assert_eq!(reason(stop(false, stale).await), Reason::RevisionMismatch);
    let current = Guard::Matches(vec![other.value.etag()]);
    assert!(stop(false, current).await.unwrap());
    assert_eq!(
        reason(stop(false, NONE).await),
        Reason::SyncDaemonNotRunning
    );
    assert!(!stop(true, NONE).await.unwrap());
    assert_eq!(app.sync_daemons(context()).await.unwrap().value, [backup]);
}

#[tokio::test]
async fn the_old_daemon_is_restored_if_the_new_one_is_rejected() {
    let (kernel, app) = setup();
    let old = json!({"interface": "eth0", "sync_id": 3, "multicast_ttl": 5});
    let old = start(&app, old, true, NONE).await.unwrap().value;
    let error = start(&app, json!({"interface": "nosuch0"}), true, NONE)
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::InvalidArgument);
    assert_eq!(error.errno, Some(Errno::ENODEV));
    assert_eq!(fields(&error), ["interface"]);
    assert!(!error.detail.contains("rolled back"), "{error}");
    assert_eq!(app.sync_daemons(context()).await.unwrap().value, [old]);
    assert_eq!(starts_and_stops(&kernel), (3, 1));
}

#[tokio::test]
async fn guards_are_checked_against_the_daemon() {
    let (_, app) = setup();
    let eth0 = || json!({"interface": "eth0"});
    assert_eq!(
        reason(start(&app, eth0(), true, Guard::Exists).await),
        Reason::RevisionMismatch
    );
    start(&app, eth0(), true, Guard::Absent).await.unwrap();
    assert_eq!(
        reason(start(&app, eth0(), true, Guard::Absent).await),
        Reason::RevisionMismatch
    );
    let error = start(&app, json!({}), true, NONE).await.unwrap_err();
    assert_eq!(fields(&error), ["interface"]);
}

#[tokio::test]
async fn a_daemon_conflicts_with_servers_of_another_family() {
    let (_, app) = setup();
    create_service(&app, TCP, &[]).await;
    let mixed = server_key("2001:db8::1-80");
    let tunnel = || server_draft(json!({"forwarding": "tunnel"}));
    app.replace_server(context(), key(TCP), mixed, tunnel(), NONE)
        .await
        .unwrap();
    let eth0 = || json!({"interface": "eth0"});
    let error = start(&app, eth0(), true, NONE).await.unwrap_err();
    assert_eq!(error.reason, Reason::SyncDaemonConflict);
    assert!(error.hint.unwrap().contains("delete the real servers"));
    app.delete_server(context(), key(TCP), mixed, false, NONE)
        .await
        .unwrap();
    start(&app, eth0(), true, NONE).await.unwrap();
    let error = app
        .replace_server(context(), key(TCP), mixed, tunnel(), NONE)
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::SyncDaemonConflict);
    assert!(error.hint.unwrap().contains("stop the sync daemons"));
}

#[tokio::test]
async fn a_daemon_whose_interface_was_replaced_is_started_again() {
    for (role, group) in [
        (SyncState::Master, "224.0.0.81"),
        (SyncState::Backup, "224.0.0.81"),
        (SyncState::Master, "ff02::81"),
        (SyncState::Backup, "ff02::81"),
    ] {
        let (kernel, app) = setup();
        let put = || {
            let draft = daemon_draft(json!({"interface": "eth0", "multicast_group": group}));
            app.start_sync_daemon(context(), role, draft, true, NONE)
        };
        let state = || async {
            let daemons = app.sync_daemons(context()).await.unwrap().value;
            daemons[0].interface_state
        };
        let started = put().await.unwrap().value;
        assert_eq!(
            started.interface_state,
            InterfaceState::Ok,
            "{role} {group}"
        );
        assert!(!put().await.unwrap().changed);

        kernel.remove_interface("eth0");
        assert_eq!(state().await, InterfaceState::Missing);
        assert_eq!(fields(&put().await.unwrap_err()), ["interface"]);
        assert_eq!(state().await, InterfaceState::Missing, "not stopped");

        kernel.add_interface("eth0", 1500);
        assert_eq!(state().await, InterfaceState::Replaced);
        let again = put().await.unwrap();
        assert!(again.changed && !again.created);
        assert_eq!(again.value.interface_state, InterfaceState::Ok);
        assert_eq!(again.value.etag(), started.etag());
    }
}

#[tokio::test]
async fn the_interface_of_a_master_that_was_not_started_here_is_unknown() {
    let (kernel, app) = setup();
    start(&app, json!({"interface": "eth0"}), true, NONE)
        .await
        .unwrap();
    let other = app_on(&kernel);
    let state = || async {
        let daemons = other.sync_daemons(context()).await.unwrap().value;
        daemons[0].interface_state
    };
    assert_eq!(state().await, InterfaceState::Unknown);
    kernel.remove_interface("eth0");
    kernel.add_interface("eth0", 1500);
    assert_eq!(state().await, InterfaceState::Replaced);
    // Started again by another program.
    let restarted = start(&app, json!({"interface": "eth0"}), true, NONE);
    assert!(restarted.await.unwrap().changed);
    assert_eq!(state().await, InterfaceState::Unknown);
}
