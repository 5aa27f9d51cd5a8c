//! Sync daemons, timeouts and settings.

use std::collections::HashMap;

use ipvsd::proto::v1::{self as pb, setting_value::Kind};
use tonic::Code;

use super::harness::{assert_rejected, mask, some, start_daemon};

fn master() -> pb::SyncDaemon {
    pb::SyncDaemon {
        state: "master".to_owned(),
        interface: some("eth0"),
        ..pb::SyncDaemon::default()
    }
}

#[tokio::test]
async fn a_sync_daemon_is_started_replaced_and_stopped() {
    let mut daemon = start_daemon().await;
    let mut start = pb::StartSyncDaemonRequest {
        sync_daemon: Some(master()),
        ..pb::StartSyncDaemonRequest::default()
    };
    let response = daemon
        .client
        .start_sync_daemon(start.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(response.created && response.changed);
    let result = response.sync_daemon.unwrap();
    assert_eq!(result.multicast_group.as_deref(), Some("224.0.0.81"));
    assert_eq!(
        (result.multicast_port, result.sync_id),
        (Some(8848), Some(0))
    );
    let outcome = daemon.client.start_sync_daemon(start.clone()).await;
    assert_rejected(outcome, Code::AlreadyExists, "SYNC_DAEMON_RUNNING", &[]);
    start.replace = true;
    let response = daemon
        .client
        .start_sync_daemon(start.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(!response.created && !response.changed);
    start.sync_daemon.as_mut().unwrap().sync_id = Some(7);
    let response = daemon
        .client
        .start_sync_daemon(start.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(!response.created && response.changed);
    start.etag = result.etag;
    let outcome = daemon.client.start_sync_daemon(start).await;
    assert_rejected(outcome, Code::Aborted, "REVISION_MISMATCH", &[]);
    let list = pb::ListSyncDaemonsRequest::default();
    let all = daemon
        .client
        .list_sync_daemons(list)
        .await
        .unwrap()
        .into_inner();
    let ids: Vec<_> = all.sync_daemons.iter().map(|d| d.sync_id).collect();
    assert_eq!(ids, [Some(7)]);
    let mut stop = pb::StopSyncDaemonRequest {
        state: "master".to_owned(),
        ..pb::StopSyncDaemonRequest::default()
    };
    assert!(
        daemon
            .client
            .stop_sync_daemon(stop.clone())
            .await
            .unwrap()
            .into_inner()
            .changed
    );
    let outcome = daemon.client.stop_sync_daemon(stop.clone()).await;
    assert_rejected(outcome, Code::NotFound, "SYNC_DAEMON_NOT_RUNNING", &[]);
    stop.allow_missing = true;
    assert!(
        !daemon
            .client
            .stop_sync_daemon(stop.clone())
            .await
            .unwrap()
            .into_inner()
            .changed
    );
    stop.state = "slave".to_owned();
    let outcome = daemon.client.stop_sync_daemon(stop).await;
    assert_rejected(
        outcome,
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
        &["state"],
    );
}

#[tokio::test]
async fn an_invalid_sync_daemon_is_rejected_and_the_field_named() {
    type Change = fn(&mut pb::SyncDaemon);
    let wrong: [(&str, Change); 7] = [
        ("state", |d| d.state.clear()),
        ("interface", |d| d.interface = None),
        ("sync_id", |d| d.sync_id = Some(256)),
        ("max_length", |d| d.max_length = Some(0)),
        ("multicast_group", |d| d.multicast_group = some("192.0.2.1")),
        ("multicast_port", |d| d.multicast_port = Some(0)),
        ("multicast_ttl", |d| d.multicast_ttl = Some(256)),
    ];
    let mut daemon = start_daemon().await;
    for (field, change) in wrong {
        let mut invalid = master();
        change(&mut invalid);
        let start = pb::StartSyncDaemonRequest {
            sync_daemon: Some(invalid),
            ..pb::StartSyncDaemonRequest::default()
        };
        let outcome = daemon.client.start_sync_daemon(start).await;
        assert_rejected(outcome, Code::InvalidArgument, "INVALID_ARGUMENT", &[field]);
    }
    let nothing = daemon
        .client
        .start_sync_daemon(pb::StartSyncDaemonRequest::default())
        .await;
    assert_rejected(
        nothing,
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
        &["sync_daemon"],
    );
}

#[tokio::test]
async fn absent_timeouts_are_preserved() {
    let mut daemon = start_daemon().await;
    let get = pb::GetTimeoutsRequest::default();
    let before = daemon.client.get_timeouts(get).await.unwrap().into_inner();
    let before = before.timeouts.unwrap();
    assert_eq!(before.tcp_seconds, Some(900));
    let mut set = pb::SetTimeoutsRequest {
        timeouts: Some(pb::Timeouts {
            udp_seconds: Some(60),
            ..pb::Timeouts::default()
        }),
        etag: before.etag,
        ..pb::SetTimeoutsRequest::default()
    };
    let response = daemon
        .client
        .set_timeouts(set.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(response.changed);
    let result = response.timeouts.unwrap();
    assert_eq!(
        (result.tcp_seconds, result.udp_seconds),
        (Some(900), Some(60))
    );
    let outcome = daemon.client.set_timeouts(set.clone()).await;
    assert_rejected(outcome, Code::Aborted, "REVISION_MISMATCH", &[]);
    set.etag.clear();
    set.timeouts = Some(pb::Timeouts::default());
    set.update_mask = mask(&["udp_seconds"]);
    let result = daemon
        .client
        .set_timeouts(set.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        result.timeouts.unwrap().udp_seconds,
        Some(300),
        "the kernel's default"
    );
    set.timeouts.as_mut().unwrap().udp_seconds = Some(0);
    let outcome = daemon.client.set_timeouts(set.clone()).await;
    assert_rejected(
        outcome,
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
        &["udp_seconds"],
    );
    set.timeouts = None;
    let outcome = daemon.client.set_timeouts(set).await;
    assert_rejected(
        outcome,
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
        &["timeouts"],
    );
}

#[tokio::test]
async fn settings_are_typed_and_validated_before_the_first_write() {
    let mut daemon = start_daemon().await;
    let get = pb::GetSettingsRequest::default();
    let before = daemon
        .client
        .get_settings(get)
        .await
        .unwrap()
        .into_inner()
        .settings;
    let kind = |settings: &HashMap<String, pb::SettingValue>, name: &str| {
        settings[name].kind.clone().unwrap()
    };
    assert_eq!(kind(&before, "expire_nodest_conn"), Kind::Boolean(false));
    assert_eq!(kind(&before, "drop_entry"), Kind::Integer(0));
    let value = |kind| pb::SettingValue { kind: Some(kind) };
    let mut update = pb::UpdateSettingsRequest {
        settings: HashMap::from([
            ("expire_nodest_conn".to_owned(), value(Kind::Boolean(true))),
            ("drop_entry".to_owned(), value(Kind::Integer(3))),
        ]),
        update_mask: mask(&["expire_nodest_conn"]),
        dry_run: false,
    };
    let response = daemon
        .client
        .update_settings(update.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(response.changed);
    assert_eq!(
        kind(&response.settings, "expire_nodest_conn"),
        Kind::Boolean(true)
    );
    assert_eq!(
        kind(&response.settings, "drop_entry"),
        Kind::Integer(0),
        "not in the mask"
    );
    update
        .settings
        .insert("drop_packet".to_owned(), value(Kind::Integer(4)));
    update
        .settings
        .insert("unknown".to_owned(), pb::SettingValue { kind: None });
    update.update_mask = None;
    let outcome = daemon.client.update_settings(update).await;
    let fields = ["drop_packet", "unknown"];
    assert_rejected(outcome, Code::InvalidArgument, "INVALID_ARGUMENT", &fields);
    let after = daemon
        .client
        .get_settings(get)
        .await
        .unwrap()
        .into_inner()
        .settings;
    assert_eq!(kind(&after, "drop_entry"), Kind::Integer(0));
}
