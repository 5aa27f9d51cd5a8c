//! Dry runs return the outcome that the write would have and do not change the kernel.

use super::*;

/// The context of a dry run.
fn dry_run() -> &'static RequestContext {
    static CONTEXT: LazyLock<RequestContext> =
        LazyLock::new(|| context().clone().with_dry_run(true));
    &CONTEXT
}

/// Everything that a write can change.
async fn full_state(kernel: &FakeKernel, app: &App) -> impl PartialEq + Debug {
    let timeouts = app.timeouts(context()).await.unwrap().value;
    let daemons = app.sync_daemons(context()).await.unwrap().value;
    let settings = app.settings(context()).await.unwrap().value;
    (state(kernel), timeouts, daemons, settings)
}

#[tokio::test]
async fn dry_runs_return_the_resulting_services_and_servers() {
    let (kernel, app) = setup();
    create_service(&app, TCP, &["10.0.0.1-80", "10.0.0.2-80"]).await;
    let before = full_state(&kernel, &app).await;

    let new =
        json!({"id": "tcp-192.0.2.9-80", "scheduler": "rr", "servers": [{"address": "10.0.0.9"}]});
    let written = app.create_service(dry_run(), draft(new)).await.unwrap();
    assert!(written.created && written.changed);
    assert_eq!(ids(&written.value), ["10.0.0.9-80"]);

    let set = json!({"scheduler": "wrr", "servers": [
        {"address": "10.0.0.3"}, {"address": "10.0.0.2", "weight": 7},
    ]});
    let written = app.replace_service(dry_run(), key(TCP), draft(set), NONE);
    let written = written.await.unwrap();
    assert!(!written.created && written.changed);
    assert_eq!(written.value.service.config.scheduler.as_str(), "wrr");
    assert_eq!(ids(&written.value), ["10.0.0.3-80", "10.0.0.2-80"]);
    assert_eq!(written.value.servers[1].config.weight, 7);

    let added = json!({"address": "10.0.0.4"});
    let written = app
        .create_server(dry_run(), key(TCP), server_draft(added))
        .await;
    assert!(written.unwrap().created);
    let drained = app.update_server(
        dry_run(),
        key(TCP),
        server_key("10.0.0.1-80"),
        server_draft(json!({"weight": 0})),
        NONE,
        false,
    );
    let drained = drained.await.unwrap();
    assert_eq!((drained.value.config.weight, drained.changed), (0, true));

    let server = server_key("10.0.0.1-80");
    assert!(
        app.delete_server(dry_run(), key(TCP), server, false, NONE)
            .await
            .unwrap()
    );
    assert!(
        app.delete_service(dry_run(), key(TCP), false, NONE)
            .await
            .unwrap()
    );
    let cleared = app.clear_services(dry_run(), Some(1)).await.unwrap();
    assert_eq!(cleared.deleted, 1);
    app.zero(dry_run(), None).await.unwrap();
    app.zero(dry_run(), Some(key(TCP))).await.unwrap();
    assert_eq!(full_state(&kernel, &app).await, before);
}

#[tokio::test]
async fn dry_runs_return_the_resulting_timeouts_daemons_and_settings() {
    let (kernel, app) = setup();
    let before = full_state(&kernel, &app).await;
    let timeouts = serde_json::from_value(json!({"udp_seconds": 7})).unwrap();
    let written = app
        .update_timeouts(dry_run(), timeouts, NONE)
        .await
        .unwrap();
    assert_eq!((written.value.udp_seconds, written.changed), (7, true));
    let daemon = serde_json::from_value(json!({"interface": "eth0"})).unwrap();
    let started = app.start_sync_daemon(dry_run(), SyncState::Master, daemon, true, NONE);
    let started = started.await.unwrap();
    assert!(started.created && started.value.max_length == 1472);
    let settings = [(
        "drop_entry".to_owned(),
        Field::Set(SettingValue::Integer(1)),
    )]
    .into();
    let written = app.update_settings(dry_run(), settings).await.unwrap();
    assert_eq!(written.value["drop_entry"], SettingValue::Integer(1));
    let text = "-A -t 192.0.2.1:80 -s rr\n";
    let options = RestoreOptions::default();
    let events = app
        .restore_rules(dry_run(), text.to_owned().into(), options)
        .await
        .unwrap();
    let events: Vec<_> = futures_util::StreamExt::collect(events).await;
    assert_eq!(events.len(), 1, "only the end");
    assert_eq!(full_state(&kernel, &app).await, before);
}

#[tokio::test]
async fn dry_runs_fail_like_the_write() {
    let (kernel, app) = setup();
    create_service(&app, TCP, &["10.0.0.1-80"]).await;
    let before = state(&kernel);
    let existing = draft(json!({"id": TCP}));
    let error = reason(app.create_service(dry_run(), existing).await);
    assert_eq!(error, Reason::ServiceExists);
    let server = |id| server_draft(json!({"id": id}));
    let error = app
        .create_server(dry_run(), key(TCP), server("10.0.0.1-80"))
        .await;
    assert_eq!(reason(error), Reason::ServerExists);
    let missing = key("tcp-192.0.2.9-80");
    let error = app
        .create_server(dry_run(), missing, server("10.0.0.1-80"))
        .await;
    assert_eq!(reason(error), Reason::ServiceNotFound);
    assert_eq!(
        reason(app.zero(dry_run(), Some(missing)).await),
        Reason::ServiceNotFound
    );
    let error = app.clear_services(dry_run(), Some(2)).await;
    assert_eq!(reason(error), Reason::ConfirmMismatch);
    let drafts = vec![server("10.0.0.5-80"), server("10.0.0.1-80")];
    let error = app
        .create_servers(dry_run(), key(TCP), drafts)
        .await
        .unwrap_err();
    assert_eq!(fields(&error), ["servers[1]"]);
    assert_eq!(state(&kernel), before);
}
