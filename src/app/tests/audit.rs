//! The audit trail: each kind of write, read and refusal has the right record.

use futures_util::StreamExt;

use super::*;
use crate::{
    audit::{AuditRecord, Outcome},
    identity::Protocol,
};

/// Operation, service, server, outcome and reason of a record.
pub(super) type Summary = (String, String, String, Outcome, String);

/// All records, the newest first, without those of this function.
pub(super) async fn records(app: &App) -> Vec<AuditRecord> {
    let request = ListAuditRecords {
        page_size: Some(1000),
        ..ListAuditRecords::default()
    };
    let page = app.audit(context(), request).await.unwrap();
    assert_eq!(page.next_page_token, None);
    let mut records = page.records;
    records.retain(|record| record.operation != "list_audit_records");
    records
}

/// The newest record.
pub(super) async fn last(app: &App) -> AuditRecord {
    records(app).await.remove(0)
}

/// Operation, service, server, outcome and reason of the newest record.
pub(super) async fn summary(app: &App) -> Summary {
    let record = last(app).await;
    (
        record.operation,
        record.service.unwrap_or_default(),
        record.server.unwrap_or_default(),
        record.outcome,
        record.reason.unwrap_or_default(),
    )
}

pub(super) fn succeeded(operation: &str, service: &str, server: &str) -> Summary {
    let [operation, service, server] = [operation, service, server].map(str::to_owned);
    (operation, service, server, Outcome::Success, String::new())
}

pub(super) fn failed(operation: &str, service: &str, server: &str, reason: &str) -> Summary {
    let (operation, service, server, ..) = succeeded(operation, service, server);
    (
        operation,
        service,
        server,
        Outcome::Failure,
        reason.to_owned(),
    )
}

#[tokio::test]
async fn a_record_says_who_did_it_and_how_long_it_took() {
    let (_, app) = setup();
    let context = RequestContext {
        principal: Arc::new(Principal {
            name: "grafana".to_owned(),
            ..(*Principal::anonymous_admin()).clone()
        }),
        peer: Some(crate::identity::Peer::Unix {
            uid: 7,
            gid: 8,
            pid: None,
        }),
        protocol: Protocol::Grpc,
        ..RequestContext::new(RequestId::new("request-7"), Duration::from_secs(3600))
    };
    let before = jiff::Timestamp::now();
    app.create_service(&context, draft(json!({"id": TCP})))
        .await
        .unwrap();
    let record = last(&app).await;
    assert_eq!(record.principal, "grafana");
    assert_eq!(record.credential, "anonymous");
    assert_eq!(record.peer.as_deref(), Some("unix:uid=7,gid=8"));
    assert_eq!(record.request_id.as_deref(), Some("request-7"));
    assert_eq!(record.protocol, "grpc");
    let latency = record.latency_seconds.unwrap();
    assert!(latency > 0.0 && latency < 60.0, "{latency}");
    assert!(record.time.as_millisecond() >= before.as_millisecond());
}

#[tokio::test]
async fn writes_of_services_and_servers_are_recorded() {
    let (_, app) = setup();
    create_service(&app, TCP, &["10.0.0.1-80", "10.0.0.2-80"]).await;
    assert_eq!(
        summary(&app).await,
        succeeded("create_service create_server*2", TCP, "")
    );
    let after = last(&app).await.after.unwrap();
    assert_eq!(after[0]["value"]["service"]["scheduler"], "rr");
    assert_eq!(
        after[1]["server"], "10.0.0.2-80",
        "in the order of execution"
    );

    let wlc = draft(json!({"scheduler": "wlc"}));
    let update = app.update_service(context(), key(TCP), wlc, NONE, false);
    update.await.unwrap();
    assert_eq!(summary(&app).await, succeeded("update_service", TCP, ""));
    let record = last(&app).await;
    assert_eq!(record.before.unwrap()["service"]["scheduler"], "rr");
    assert_eq!(record.after.unwrap()["service"]["scheduler"], "wlc");

    let server = server_key("10.0.0.1-80");
    let weight = || server_draft(json!({"weight": 7}));
    let update = app.update_server(context(), key(TCP), server, weight(), NONE, false);
    update.await.unwrap();
    assert_eq!(
        summary(&app).await,
        succeeded("update_server", TCP, "10.0.0.1-80")
    );
    let record = last(&app).await;
    assert_eq!(record.before.unwrap()["server"]["weight"], 1);
    assert_eq!(record.after.unwrap()["server"]["weight"], 7);

    let update = app.update_server(context(), key(TCP), server, weight(), NONE, false);
    update.await.unwrap();
    assert_eq!(
        summary(&app).await,
        succeeded("update_server", TCP, "10.0.0.1-80")
    );
    let record = last(&app).await;
    assert_eq!(
        (record.before, record.after),
        (None, None),
        "nothing was changed"
    );

    let delete = app.delete_server(context(), key(TCP), server, false, NONE);
    delete.await.unwrap();
    assert_eq!(
        summary(&app).await,
        succeeded("delete_server", TCP, "10.0.0.1-80")
    );
    let record = last(&app).await;
    assert_eq!(record.before.unwrap()["server"]["weight"], 7);
    assert_eq!(record.after, None);

    let new = server_draft(json!({"id": "10.0.0.3-80"}));
    app.create_server(context(), key(TCP), new).await.unwrap();
    assert_eq!(
        summary(&app).await,
        succeeded("create_server", TCP, "10.0.0.3-80")
    );

    let replaced = draft(json!({"scheduler": "wlc", "servers": [{"address": "10.0.0.3"}]}));
    let replace = app.replace_service(context(), key(TCP), replaced, NONE);
    replace.await.unwrap();
    assert_eq!(
        summary(&app).await,
        succeeded("delete_server", TCP, "10.0.0.2-80")
    );

    app.delete_service(context(), key(TCP), false, NONE)
        .await
        .unwrap();
    assert_eq!(summary(&app).await, succeeded("delete_service", TCP, ""));
    assert_eq!(last(&app).await.before.unwrap()["service"]["id"], TCP);
}

#[tokio::test]
async fn writes_of_the_director_are_recorded() {
    let (_, app) = setup();
    create_service(&app, TCP, &[]).await;
    app.zero(context(), Some(key(TCP))).await.unwrap();
    assert_eq!(summary(&app).await, succeeded("zero", TCP, ""));
    app.zero(context(), None).await.unwrap();
    assert_eq!(summary(&app).await, succeeded("zero", "", ""));
    app.clear_services(context(), Some(1)).await.unwrap();
    assert_eq!(summary(&app).await, succeeded("clear", "", ""));

    let timeouts = serde_json::from_value(json!({"udp_seconds": 7})).unwrap();
    app.update_timeouts(context(), timeouts, NONE)
        .await
        .unwrap();
    assert_eq!(summary(&app).await, succeeded("set_timeouts", "", ""));
    let record = last(&app).await;
    assert_eq!(record.before.unwrap()["timeouts"]["udp_seconds"], 300);
    assert_eq!(record.after.unwrap()["timeouts"]["udp_seconds"], 7);

    let daemon = serde_json::from_value(json!({"interface": "eth0"})).unwrap();
    let start = app.start_sync_daemon(context(), SyncState::Master, daemon, false, NONE);
    start.await.unwrap();
    assert_eq!(summary(&app).await, succeeded("start_sync_daemon", "", ""));
    assert_eq!(
        last(&app).await.after.unwrap()["sync_daemon"]["interface"],
        "eth0"
    );
    let stop = app.stop_sync_daemon(context(), SyncState::Master, false, NONE);
    stop.await.unwrap();
    assert_eq!(summary(&app).await, succeeded("stop_sync_daemon", "", ""));
    assert_eq!(
        last(&app).await.before.unwrap()["sync_daemon"]["state"],
        "master"
    );

    let one = |name: &str| (name.to_owned(), Field::Set(SettingValue::Integer(1)));
    app.update_settings(context(), [one("drop_entry")].into())
        .await
        .unwrap();
    assert_eq!(summary(&app).await, succeeded("set_setting", "", ""));
    let record = last(&app).await;
    assert_eq!(record.before, Some(json!({"settings": {"drop_entry": 0}})));
    assert_eq!(record.after, Some(json!({"settings": {"drop_entry": 1}})));
}

#[tokio::test]
async fn a_failed_write_is_recorded_by_the_name_of_the_request() {
    let (kernel, app) = setup();
    let server = server_key("10.0.0.1-80");
    let weight = || server_draft(json!({"weight": 7}));
    let missing = "SERVICE_NOT_FOUND";

    let update = app.update_server(context(), key(TCP), server, weight(), NONE, false);
    update.await.unwrap_err();
    assert_eq!(
        summary(&app).await,
        failed("update_server", TCP, "10.0.0.1-80", missing)
    );
    let replace = app.replace_server(context(), key(TCP), server, weight(), NONE);
    replace.await.unwrap_err();
    assert_eq!(
        summary(&app).await,
        failed("replace_server", TCP, "10.0.0.1-80", missing)
    );
    let delete = app.delete_server(context(), key(TCP), server, false, NONE);
    delete.await.unwrap_err();
    assert_eq!(
        summary(&app).await,
        failed("delete_server", TCP, "10.0.0.1-80", missing)
    );
    let new = || server_draft(json!({"id": "10.0.0.1-80"}));
    app.create_server(context(), key(TCP), new())
        .await
        .unwrap_err();
    assert_eq!(
        summary(&app).await,
        failed("create_server", TCP, "10.0.0.1-80", missing)
    );
    app.create_servers(context(), key(TCP), vec![new()])
        .await
        .unwrap_err();
    assert_eq!(
        summary(&app).await,
        failed("create_servers", TCP, "", missing)
    );
    let update = app.update_service(context(), key(TCP), draft(json!({})), NONE, false);
    update.await.unwrap_err();
    assert_eq!(
        summary(&app).await,
        failed("update_service", TCP, "", missing)
    );
    app.delete_service(context(), key(TCP), false, NONE)
        .await
        .unwrap_err();
    assert_eq!(
        summary(&app).await,
        failed("delete_service", TCP, "", missing)
    );
    let guard = Guard::Exists;
    let replace = app.replace_service(context(), key(TCP), draft(json!({})), guard);
    replace.await.unwrap_err();
    assert_eq!(
        summary(&app).await,
        failed("replace_service", TCP, "", "REVISION_MISMATCH")
    );
    app.clear_services(context(), Some(1)).await.unwrap_err();
    assert_eq!(
        summary(&app).await,
        failed("clear", "", "", "CONFIRM_MISMATCH")
    );
    let stop = app.stop_sync_daemon(context(), SyncState::Master, false, NONE);
    stop.await.unwrap_err();
    let reason = "SYNC_DAEMON_NOT_RUNNING";
    assert_eq!(
        summary(&app).await,
        failed("stop_sync_daemon", "", "", reason)
    );

    // By the kernel.
    let unknown = draft(json!({"id": TCP, "scheduler": "nosuch"}));
    app.create_service(context(), unknown).await.unwrap_err();
    assert_eq!(
        summary(&app).await,
        failed("create_service", TCP, "", "SCHEDULER_UNAVAILABLE")
    );
    kernel.faults().unload();
    let reason = "KERNEL_UNAVAILABLE";
    app.zero(context(), None).await.unwrap_err();
    assert_eq!(summary(&app).await, failed("zero", "", "", reason));
    let timeouts = serde_json::from_value(json!({"udp_seconds": 7})).unwrap();
    app.update_timeouts(context(), timeouts, NONE)
        .await
        .unwrap_err();
    assert_eq!(summary(&app).await, failed("set_timeouts", "", "", reason));
    let daemon = serde_json::from_value(json!({"interface": "eth0"})).unwrap();
    let start = app.start_sync_daemon(context(), SyncState::Master, daemon, false, NONE);
    start.await.unwrap_err();
    assert_eq!(
        summary(&app).await,
        failed("start_sync_daemon", "", "", reason)
    );
    let one = (
        "drop_entry".to_owned(),
        Field::Set(SettingValue::Integer(1)),
    );
    let failing = app.update_settings(context(), [one].into()).await;
    if failing.is_err() {
        assert_eq!(summary(&app).await.0, "update_settings");
    }
}

#[tokio::test]
async fn a_restore_has_a_record_of_each_part_and_one_of_its_end() {
    let (_, app) = setup();
    let text = "-A -t 192.0.2.1:80 -s rr\n\
                -A -t 192.0.2.1:80 -s rr\n\
                -a -t 192.0.2.1:80 -r 10.0.0.1 -m\n";
    let restore = |text: &str, options: RestoreOptions| {
        let text = text.to_owned().into();
        let app = app.clone();
        async move {
            let events = app.restore_rules(context(), text, options).await.unwrap();
            events.collect::<Vec<_>>().await;
        }
    };
    restore(text, RestoreOptions::default()).await;
    let [end, part] = records(&app).await.try_into().unwrap();
    assert_eq!(part.operation, "create_service create_server");
    assert_eq!(
        (part.outcome, part.reason.as_deref()),
        (Outcome::Partial, Some("SERVICE_EXISTS"))
    );
    assert_eq!(part.service.as_deref(), Some(TCP));
    assert_eq!(part.after.unwrap()[1]["server"], "10.0.0.1-80");
    assert_eq!(end.operation, "restore_rules");
    assert_eq!(
        (end.outcome, end.reason.as_deref()),
        (Outcome::Partial, Some("SERVICE_EXISTS"))
    );
    assert_eq!(
        end.after,
        Some(json!({"commands": 3, "done": 2, "refused": 1}))
    );

    let replace = RestoreOptions {
        mode: RestoreMode::Replace,
        ..RestoreOptions::default()
    };
    restore("-A -t 192.0.2.1:80 -s wlc\n", replace).await;
    let records = records(&app).await;
    assert_eq!(records[0].operation, "replace_rules");
    assert_eq!(records[0].outcome, Outcome::Success);
    let operations: Vec<_> = records[1..3]
        .iter()
        .map(|record| record.operation.as_str())
        .collect();
    assert_eq!(operations, ["delete_server", "update_service"]);
}
