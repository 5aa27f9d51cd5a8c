//! `dry_run` of every write: the response is the one of the write, and the kernel is not changed.

use std::collections::HashMap;

use ipvsd::proto::v1::{self as pb, restore_rules_response::Event, setting_value::Kind};

use super::harness::{Daemon, server, service, some, start_daemon};

const WEB: &str = "tcp-192.0.2.1-80";
const ONE: &str = "192.168.10.1-80";
const TWO: &str = "192.168.10.2-80";

/// Numbers of the kernel commands that write.
const WRITE_COMMANDS: [u8; 11] = [1, 2, 3, 5, 6, 7, 9, 10, 12, 16, 17];

async fn setup() -> Daemon {
    let mut daemon = start_daemon().await;
    daemon.create_service(WEB, &[ONE]).await;
    let start = pb::StartSyncDaemonRequest {
        sync_daemon: Some(sync_daemon("master")),
        ..pb::StartSyncDaemonRequest::default()
    };
    daemon.client.start_sync_daemon(start).await.unwrap();
    daemon.kernel.reset_counts();
    daemon
}

fn sync_daemon(state: &str) -> pb::SyncDaemon {
    pb::SyncDaemon {
        state: state.to_owned(),
        interface: some("eth0"),
        ..pb::SyncDaemon::default()
    }
}

#[track_caller]
fn assert_unchanged(daemon: &Daemon) {
    for command in WRITE_COMMANDS {
        assert_eq!(daemon.kernel.commands(command), 0, "command {command}");
    }
}

/// Calls a method with `dry_run` and returns the response.
macro_rules! dry_run {
    ($daemon:ident.$method:ident($request:ident { $($field:ident: $value:expr),* $(,)? })) => {{
        #[allow(clippy::needless_update, reason = "some requests have no other field")]
        let request = pb::$request {
            $($field: $value,)*
            dry_run: true,
            ..pb::$request::default()
        };
        $daemon.client.$method(request).await.unwrap().into_inner()
    }};
}

#[tokio::test]
async fn writes_of_services_change_nothing() {
    let mut daemon = setup().await;
    let new = dry_run!(daemon.create_service(CreateServiceRequest {
        service: Some(service("fwmark-7")),
    }));
    assert!(new.created && new.changed);
    assert_eq!(new.service.unwrap().scheduler.as_deref(), Some("wlc"));
    let updated = pb::Service {
        scheduler: some("rr"),
        ..service(WEB)
    };
    let update = dry_run!(daemon.update_service(UpdateServiceRequest {
        service: Some(updated.clone()),
    }));
    assert!(update.changed);
    assert_eq!(update.service.unwrap().scheduler.as_deref(), Some("rr"));
    let replace = dry_run!(daemon.replace_service(ReplaceServiceRequest {
        service: Some(updated),
        replace_servers: true,
    }));
    assert!(replace.changed && !replace.created);
    assert_eq!(replace.service.unwrap().server_count, Some(0));
    let delete = dry_run!(daemon.delete_service(DeleteServiceRequest { id: WEB.to_owned() }));
    assert!(delete.changed);
    let clear = dry_run!(daemon.clear_services(ClearServicesRequest { confirm: Some(1) }));
    assert_eq!(clear.deleted, 1);
    let one = WEB.to_owned();
    dry_run!(daemon.zero_counters(ZeroCountersRequest { service: one }));
    assert_unchanged(&daemon);
}

#[tokio::test]
async fn writes_of_servers_change_nothing() {
    let mut daemon = setup().await;
    let create = dry_run!(daemon.create_server(CreateServerRequest {
        service: WEB.to_owned(),
        server: Some(server(TWO)),
    }));
    assert_eq!(create.server.unwrap().weight, Some(1));
    let create = dry_run!(daemon.create_servers(CreateServersRequest {
        service: WEB.to_owned(),
        servers: vec![server(TWO)],
    }));
    assert!(create.created && create.changed);
    let idle = pb::Server {
        weight: Some(0),
        ..server(ONE)
    };
    let update = dry_run!(daemon.update_server(UpdateServerRequest {
        service: WEB.to_owned(),
        server: Some(idle.clone()),
    }));
    assert_eq!(update.server.unwrap().weight, Some(0));
    let replace = dry_run!(daemon.replace_server(ReplaceServerRequest {
        service: WEB.to_owned(),
        server: Some(idle),
    }));
    assert!(replace.changed && !replace.created);
    let delete = dry_run!(daemon.delete_server(DeleteServerRequest {
        service: WEB.to_owned(),
        id: ONE.to_owned(),
    }));
    assert!(delete.changed);
    assert_unchanged(&daemon);
}

#[tokio::test]
async fn writes_of_timeouts_settings_and_sync_daemons_change_nothing() {
    let mut daemon = setup().await;
    let timeouts = dry_run!(daemon.set_timeouts(SetTimeoutsRequest {
        timeouts: Some(pb::Timeouts {
            udp_seconds: Some(7),
            ..pb::Timeouts::default()
        }),
    }));
    assert!(timeouts.changed);
    assert_eq!(timeouts.timeouts.unwrap().udp_seconds, Some(7));
    let start = dry_run!(daemon.start_sync_daemon(StartSyncDaemonRequest {
        sync_daemon: Some(sync_daemon("backup")),
    }));
    assert!(start.created && start.changed);
    let state = "master".to_owned();
    assert!(dry_run!(daemon.stop_sync_daemon(StopSyncDaemonRequest { state: state })).changed);
    let value = |on| pb::SettingValue {
        kind: Some(Kind::Boolean(on)),
    };
    let settings = dry_run!(daemon.update_settings(UpdateSettingsRequest {
        settings: HashMap::from([("conntrack".to_owned(), value(true))]),
    }));
    assert!(settings.changed);
    assert_eq!(settings.settings["conntrack"], value(true));
    let get = pb::GetSettingsRequest::default();
    let current = daemon.client.get_settings(get).await;
    let current = current.unwrap().into_inner();
    assert_eq!(current.settings["conntrack"], value(false));
    assert_unchanged(&daemon);
}

#[tokio::test]
async fn a_restore_validates_the_text_only() {
    let mut daemon = setup().await;
    let request = pb::RestoreRulesRequest {
        text: "-A -f 7\n".to_owned(),
        clear: Some(true),
        dry_run: true,
        ..pb::RestoreRulesRequest::default()
    };
    let events = daemon
        .client
        .restore_rules(tokio_stream::iter([request]))
        .await;
    let first = events.unwrap().into_inner().message().await.unwrap();
    let summary = pb::RestoreSummary {
        commands: 1,
        ..pb::RestoreSummary::default()
    };
    assert_eq!(first.unwrap().event, Some(Event::End(summary)));
    assert_unchanged(&daemon);
}
