//! Virtual services.

use super::*;

#[tokio::test]
async fn a_create_returns_the_service_as_read_back() {
    let (kernel, app) = setup();
    let draft = draft(json!({
        "protocol": "tcp", "address": "192.0.2.1", "port": 80,
        "servers": [
            {"address": "10.0.0.1"},
            {"address": "10.0.0.2", "weight": 0},
            {"address": "10.0.0.3", "port": 8080, "forwarding": "masquerade"},
        ],
    }));
    let written = app.create_service(context(), draft.clone()).await.unwrap();
    assert!(written.created && written.changed);
    let entry = written.value;
    assert_eq!(entry.service.key, key(TCP));
    assert_eq!(entry.service.config, ServiceConfig::new(Family::Ipv4));
    assert_eq!(ids(&entry), ["10.0.0.1-80", "10.0.0.2-80", "10.0.0.3-8080"]);
    assert_eq!(entry.servers[1].config.weight, 0);
    assert_eq!(read_service(&app, TCP).await, entry);

    let before = state(&kernel);
    let error = app.create_service(context(), draft).await.unwrap_err();
    assert_eq!(error.reason, Reason::ServiceExists);
    assert_eq!(error.errno, Some(Errno::EEXIST));
    assert!(error.hint.is_some());
    assert_eq!(state(&kernel), before, "nothing changed");
}

#[tokio::test]
async fn an_invalid_draft_sends_nothing() {
    let (kernel, app) = setup();
    for (json, invalid) in [
        (json!({}), &["protocol"][..]),
        (json!({"scheduler": "rr"}), &["protocol"]),
        (
            json!({"id": TCP, "scheduler": "", "one_packet": true}),
            &["scheduler", "one_packet"],
        ),
        (json!({"id": "tcp-192.0.2.1-0"}), &["port"]),
        (
            json!({"id": TCP, "servers": [
                {"address": "10.0.0.1"},
                {"address": "10.0.0.2", "weight": -1, "upper_threshold": -1},
                {},
                {"address": "10.0.0.1", "port": 80},
                {"address": "10.0.0.4", "port": 81},
                {"address": "224.0.0.1"},
            ]}),
            &[
                "servers[1].weight",
                "servers[1].upper_threshold",
                "servers[2].address",
                "servers[3]",
                "servers[4].port",
                "servers[5].address",
            ],
        ),
    ] {
        let error = app
            .create_service(context(), draft(json))
            .await
            .unwrap_err();
        assert_eq!(error.reason, Reason::InvalidArgument);
        assert_eq!(fields(&error), invalid);
    }
    assert_eq!(kernel.sends(), 0);
}

#[tokio::test]
async fn a_rejected_server_rolls_back_the_create() {
    let (kernel, app) = setup();
    create_service(&app, "tcp-192.0.2.9-80", &["10.0.0.1-80"]).await;
    kernel.add_broadcast("10.0.0.255".parse().unwrap());
    let before = state(&kernel);
    let servers =
        json!([{"address": "10.0.0.1"}, {"address": "10.0.0.255"}, {"address": "10.0.0.3"}]);
    let create = draft(json!({"id": TCP, "servers": servers}));
    let error = app.create_service(context(), create).await.unwrap_err();
    assert_eq!(error.reason, Reason::InvalidArgument);
    assert_eq!(error.errno, Some(Errno::EINVAL));
    assert_eq!(fields(&error), ["servers[1].address"]);
    assert_eq!(state(&kernel), before);
    // If the service is rejected, no server is sent.
    kernel.reset_counts();
    let create = draft(json!({"id": TCP, "scheduler": "nosuch", "servers": servers}));
    let error = app.create_service(context(), create).await.unwrap_err();
    assert_eq!(error.reason, Reason::SchedulerUnavailable);
    assert_eq!(fields(&error), ["scheduler"]);
    assert_eq!(kernel.commands(command::NEW_DEST), 0);
    assert_eq!(state(&kernel), before);
}

#[tokio::test]
async fn a_service_is_read_with_or_without_its_servers() {
    let (kernel, app) = setup();
    assert_eq!(
        reason(app.service(context(), key(TCP), Include::default()).await),
        Reason::ServiceNotFound
    );
    create_service(&app, TCP, &["10.0.0.1-80"]).await;
    kernel.reset_counts();
    let bare = Include {
        servers: false,
        ..Include::default()
    };
    let answer = app.service(context(), key(TCP), bare).await.unwrap();
    assert!(answer.value.servers.is_empty());
    assert_eq!(kernel.dumps(command::GET_DEST), 0);
    assert_eq!(answer.age, Duration::ZERO);
    assert_eq!(read_service(&app, TCP).await.servers.len(), 1);
}

#[tokio::test]
async fn an_update_changes_only_the_fields_that_it_names() {
    let (kernel, app) = setup();
    let create = draft(json!({
        "id": "udp-192.0.2.1-5060", "scheduler": "sh", "scheduler_flags": ["sh-port"],
        "one_packet": true, "persistence": {"timeout_seconds": 60, "netmask": "255.255.255.0"},
        "persistence_engine": "sip",
    }));
    let sip = key("udp-192.0.2.1-5060");
    let created = app
        .create_service(context(), create)
        .await
        .unwrap()
        .value
        .service
        .config;
    let update = |json| app.update_service(context(), sip, draft(json), NONE, false);
    let written = update(json!({"persistence": {"timeout_seconds": 90}}))
        .await
        .unwrap();
    assert!(written.changed && !written.created);
    let expected = ServiceConfig {
        persistence_timeout: Some(90),
        ..created
    };
    assert_eq!(
        written.value.service.config, expected,
        "engine, flags and mask are kept"
    );
    kernel.reset_counts();
    let same = json!({"persistence": {"timeout_seconds": 90}, "scheduler": "sh"});
    for json in [json!({}), same] {
        let written = update(json).await.unwrap();
        assert!(!written.changed && !written.created);
        assert_eq!(written.value.service.config, expected);
    }
    assert_eq!(kernel.commands(command::SET_SERVICE), 0);
    let cleared = update(json!({"persistence_engine": null})).await.unwrap();
    assert_eq!(cleared.value.service.config.persistence_engine, None);

    let error = update(json!({"id": TCP, "scheduler": "rr"}))
        .await
        .unwrap_err();
    assert_eq!(fields(&error), ["id"]);
    let error = update(json!({"servers": []})).await.unwrap_err();
    assert_eq!(fields(&error), ["servers"]);
    let error = update(json!({"scheduler": "nosuch"})).await.unwrap_err();
    assert_eq!(error.reason, Reason::SchedulerUnavailable);
}

#[tokio::test]
async fn an_update_creates_a_missing_service_only_on_request() {
    let (kernel, app) = setup();
    let rr = || draft(json!({"scheduler": "rr", "servers": [{"address": "10.0.0.1"}]}));
    let missing = app
        .update_service(context(), key(TCP), rr(), NONE, false)
        .await;
    assert_eq!(reason(missing), Reason::ServiceNotFound);
    assert!(state(&kernel).is_empty());
    let created = app
        .update_service(context(), key(TCP), rr(), NONE, true)
        .await
        .unwrap();
    assert!(created.created && created.changed);
    assert_eq!(ids(&created.value), ["10.0.0.1-80"]);
}

#[tokio::test]
async fn a_delete_reports_whether_the_service_existed() {
    let (kernel, app) = setup();
    create_service(&app, TCP, &["10.0.0.1-80"]).await;
    let delete = |missing, guard| app.delete_service(context(), key(TCP), missing, guard);
    assert!(delete(false, NONE).await.unwrap());
    assert!(state(&kernel).is_empty());
    assert_eq!(reason(delete(false, NONE).await), Reason::ServiceNotFound);
    assert!(!delete(true, NONE).await.unwrap());
    assert!(!delete(true, Guard::Exists).await.unwrap());
}

#[tokio::test]
async fn every_guard_is_checked_against_the_current_state() {
    let (kernel, app) = setup();
    let put = |guard| {
        let draft = draft(json!({"scheduler": "rr"}));
        app.replace_service(context(), key(TCP), draft, guard)
    };
    let stale = || Guard::Matches(vec!["t-0123456789abcdef".parse().unwrap()]);
    assert_eq!(reason(put(Guard::Exists).await), Reason::RevisionMismatch);
    assert_eq!(reason(put(stale()).await), Reason::RevisionMismatch);
    assert!(state(&kernel).is_empty());
    assert!(put(Guard::Absent).await.unwrap().created);
    assert_eq!(reason(put(Guard::Absent).await), Reason::RevisionMismatch);
    assert!(!put(Guard::Exists).await.unwrap().changed);

    let entry = create_service(&app, "tcp-192.0.2.2-80", &["10.0.0.1-80", "10.0.0.2-80"]).await;
    let second = entry.service.key;
    let (with, without) = (entry.etag(), entry.service.etag());
    let update = |weight: &str, guard| {
        let draft = draft(json!({"scheduler": weight}));
        app.update_service(context(), second, draft, guard, false)
    };
    // A server is deleted: the ETag with the servers is stale, the one without is current.
    let address = socket("10.0.0.1:80");
    assert!(kernel.remove_destination(id("192.0.2.2:80"), address));
    let error = update("wrr", Guard::Matches(vec![with])).await.unwrap_err();
    assert_eq!(error.reason, Reason::RevisionMismatch);
    assert!(error.hint.is_some());
    let delete = app.delete_service(context(), second, false, Guard::Matches(vec![with]));
    assert_eq!(reason(delete.await), Reason::RevisionMismatch);
    let any_of = Guard::Matches(vec![with, without]);
    let written = update("wrr", any_of).await.unwrap();
    assert_eq!(
        reason(update("lc", Guard::Matches(vec![without])).await),
        Reason::RevisionMismatch
    );
    let current = written.value.etag();
    assert!(
        update("lc", Guard::Matches(vec![current]))
            .await
            .unwrap()
            .changed
    );
    let current = read_service(&app, "tcp-192.0.2.2-80").await.etag();
    let delete = app.delete_service(context(), second, false, Guard::Matches(vec![current]));
    assert!(delete.await.unwrap());
}

#[tokio::test]
async fn a_clear_requires_the_number_of_services() {
    let (kernel, app) = setup();
    let clear = |confirm| app.clear_services(context(), confirm);
    assert_eq!(clear(Some(0)).await.unwrap().deleted, 0);
    assert_eq!(kernel.commands(command::FLUSH), 0, "nothing to do");
    for n in 1..4 {
        create_service(&app, &format!("tcp-192.0.2.{n}-80"), &[]).await;
    }
    let error = clear(None).await.unwrap_err();
    assert_eq!(fields(&error), ["confirm"]);
    for wrong in [0, 2, 4, u64::MAX] {
        let error = clear(Some(wrong)).await.unwrap_err();
        assert_eq!(error.reason, Reason::ConfirmMismatch);
        assert_eq!(fields(&error), ["confirm"]);
    }
    assert_eq!(state(&kernel).len(), 3);
    assert_eq!(clear(Some(3)).await.unwrap().deleted, 3);
    assert!(state(&kernel).is_empty());
}

#[tokio::test]
async fn zero_resets_one_service_or_all() {
    let (kernel, app) = setup();
    let busy = fake::Counters {
        connections: 5,
        ..fake::Counters::default()
    };
    for n in 1..3 {
        create_service(&app, &format!("tcp-192.0.2.{n}-80"), &["10.0.0.1-80"]).await;
        let id = id(&format!("192.0.2.{n}:80"));
        let active = fake::Connections {
            active: 7,
            ..fake::Connections::default()
        };
        assert!(kernel.set_counters(id, busy));
        assert!(kernel.set_traffic(id, socket("10.0.0.1:80"), active, busy));
    }
    kernel.set_totals(busy);
    app.zero(context(), Some(key("tcp-192.0.2.1-80")))
        .await
        .unwrap();
    let first = read_service(&app, "tcp-192.0.2.1-80").await;
    assert_eq!(
        (
            first.service.stats.connections,
            first.servers[0].stats.connections
        ),
        (0, 0)
    );
    assert_eq!(first.servers[0].active_connections, 7);
    let second = read_service(&app, "tcp-192.0.2.2-80").await;
    assert_eq!(second.service.stats.connections, 5);
    let missing = app.zero(context(), Some(key("fwmark-9"))).await;
    assert_eq!(reason(missing), Reason::ServiceNotFound);
    app.zero(context(), None).await.unwrap();
    assert_eq!(
        read_service(&app, "tcp-192.0.2.2-80").await.servers[0]
            .stats
            .connections,
        0
    );
}

#[tokio::test]
async fn the_error_says_that_another_program_deleted_the_service() {
    let (kernel, app) = setup();
    create_service(&app, TCP, &["10.0.0.1-80"]).await;
    // Between the creation and reading back.
    let delete = Fault::before(|kernel| assert!(kernel.remove_service(id("192.0.2.1:80"))));
    kernel.faults().once(On::Command(command::GET_DEST), delete);
    let create = server_draft(json!({"address": "10.0.0.2"}));
    let error = app.create_server(context(), key(TCP), create).await;
    let error = error.unwrap_err();
    assert_eq!(error.reason, Reason::ServiceNotFound);
    assert!(error.detail.contains("another program"), "{error}");
}
