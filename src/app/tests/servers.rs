//! Real servers.

use super::*;

const SERVER: &str = "10.0.0.1-80";

#[tokio::test]
async fn several_servers_are_created_all_or_none() {
    let (kernel, app) = setup();
    let create = |json: Value| {
        let drafts = serde_json::from_value(json).unwrap();
        app.create_servers(context(), key(TCP), drafts)
    };
    let two = json!([{"address": "10.0.0.1"}, {"address": "10.0.0.2"}]);
    assert_eq!(reason(create(two.clone()).await), Reason::ServiceNotFound);
    create_service(&app, TCP, &[]).await;
    let written = create(two).await.unwrap();
    assert!(written.created && written.changed);
    let created: Vec<_> = written.value.iter().map(|s| s.key.to_string()).collect();
    assert_eq!(created, ["10.0.0.1-80", "10.0.0.2-80"]);
    assert_eq!(
        ids(&*read_service(&app, TCP).await),
        ["10.0.0.2-80", "10.0.0.1-80"],
        "the last is first, as after two ipvsadm -a"
    );
    let before = state(&kernel);
    let error =
        create(json!([{"address": "10.0.0.3"}, {"address": "10.0.0.1"}, {"address": "10.0.0.4"}]));
    let error = error.await.unwrap_err();
    assert_eq!(error.reason, Reason::ServerExists);
    assert_eq!(fields(&error), ["servers[1]"]);
    assert_eq!(
        ids(&*read_service(&app, TCP).await),
        ["10.0.0.2-80", "10.0.0.1-80"]
    );
    let error = create(json!([{"address": "10.0.0.5"}, {"weight": 5}, {"address": "10.0.0.5"}]));
    let error = error.await.unwrap_err();
    assert_eq!(fields(&error), ["servers[1].address", "servers[2]"]);
    assert_eq!(state(&kernel).len(), before.len());
}

#[tokio::test]
async fn a_server_is_created_replaced_updated_and_deleted() {
    let (kernel, app) = setup();
    let server = server_key(SERVER);
    assert_eq!(
        reason(app.server(context(), key(TCP), server).await),
        Reason::ServiceNotFound
    );
    create_service(&app, TCP, &[]).await;
    assert_eq!(
        reason(app.server(context(), key(TCP), server).await),
        Reason::ServerNotFound
    );
    let put = |json| app.replace_server(context(), key(TCP), server, server_draft(json), NONE);
    let created = put(json!({"weight": 5})).await.unwrap();
    assert!(created.created && created.changed);
    assert_eq!(created.value.config.weight, 5);
    let same = put(json!({"weight": 5})).await.unwrap();
    assert!(!same.created && !same.changed);
    let reset = put(json!({})).await.unwrap();
    assert!(!reset.created && reset.changed);
    assert_eq!(reset.value.config, ServerConfig::default());
    assert_eq!(
        fields(&put(json!({"port": 81})).await.unwrap_err()),
        ["port"]
    );
    let read = app.server(context(), key(TCP), server).await.unwrap();
    assert_eq!(read.value, reset.value);

    let update =
        |json| app.update_server(context(), key(TCP), server, server_draft(json), NONE, false);
    let thresholds = json!({"upper_threshold": 9, "lower_threshold": 3, "weight": 0});
    let drained = update(thresholds).await.unwrap();
    assert!(drained.changed);
    kernel.reset_counts();
    assert!(!update(json!({"weight": 0})).await.unwrap().changed);
    assert_eq!(kernel.commands(command::SET_DEST), 0);
    let updated = update(json!({"weight": 3})).await.unwrap().value.config;
    assert_eq!(
        (
            updated.weight,
            updated.upper_threshold,
            updated.lower_threshold
        ),
        (3, 9, 3)
    );
    let error = update(json!({"upper_threshold": 1})).await.unwrap_err();
    assert_eq!(fields(&error), ["lower_threshold"]);

    let delete = |missing| app.delete_server(context(), key(TCP), server, missing, NONE);
    assert!(delete(false).await.unwrap());
    assert_eq!(reason(delete(false).await), Reason::ServerNotFound);
    assert!(!delete(true).await.unwrap());
    app.delete_service(context(), key(TCP), false, NONE)
        .await
        .unwrap();
    assert_eq!(reason(delete(false).await), Reason::ServiceNotFound);
    assert!(
        !delete(true).await.unwrap(),
        "a missing service has no server"
    );
}

#[tokio::test]
async fn an_update_creates_a_missing_server_only_on_request() {
    let (_, app) = setup();
    let server = server_key(SERVER);
    let update = |create| {
        let draft = server_draft(json!({"weight": 2}));
        app.update_server(context(), key(TCP), server, draft, NONE, create)
    };
    assert_eq!(reason(update(true).await), Reason::ServiceNotFound);
    create_service(&app, TCP, &[]).await;
    assert_eq!(reason(update(false).await), Reason::ServerNotFound);
    let created = update(true).await.unwrap();
    assert!(created.created && created.changed);
    assert_eq!(created.value.config.weight, 2);
    assert!(!update(true).await.unwrap().changed);
}

#[tokio::test]
async fn an_update_keeps_the_tunnel() {
    let (_, app) = setup();
    create_service(&app, TCP, &[]).await;
    let server = server_key(SERVER);
    let gue = json!({
        "forwarding": "tunnel", "tunnel": {"type": "gue", "port": 6080, "checksum": "checksum"},
    });
    let created = app.replace_server(context(), key(TCP), server, server_draft(gue), NONE);
    let created = created.await.unwrap().value.config;
    let drain = server_draft(json!({"weight": 0}));
    let drained = app.update_server(context(), key(TCP), server, drain, NONE, false);
    assert_eq!(
        drained.await.unwrap().value.config,
        ServerConfig {
            weight: 0,
            ..created
        }
    );
}

#[tokio::test]
async fn unusual_servers_of_other_programs_can_be_drained_and_deleted() {
    let (kernel, app) = setup();
    create_service(&app, TCP, &[]).await;
    // Direct routing to another port, with a weight of a million.
    let unusual = fake::Destination {
        forward: 3,
        weight: 1_000_000,
        ..fake::Destination::new(socket("10.0.0.1:8080"))
    };
    assert!(kernel.add_destination(id("192.0.2.1:80"), unusual));
    let server = server_key("10.0.0.1-8080");
    let read = app.server(context(), key(TCP), server).await.unwrap().value;
    assert_eq!(read.config.weight, 1_000_000);
    let drain = server_draft(json!({"weight": 0}));
    let drained = app.update_server(context(), key(TCP), server, drain, NONE, false);
    assert_eq!(drained.await.unwrap().value.config.weight, 0);
    assert!(
        app.delete_server(context(), key(TCP), server, false, NONE)
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn every_guard_is_checked_against_the_server() {
    let (kernel, app) = setup();
    let entry = create_service(&app, TCP, &["10.0.0.1-80", "10.0.0.2-80"]).await;
    let [first, second] = [entry.servers[0].clone(), entry.servers[1].clone()];
    let put = |server: ServerKey, weight: u32, guard| {
        let draft = server_draft(json!({"weight": weight, "forwarding": "masquerade"}));
        app.replace_server(context(), key(TCP), server, draft, guard)
    };
    let etag = |server: &Server| Guard::Matches(vec![server.etag()]);
    assert_eq!(
        reason(put(first.key, 2, Guard::Absent).await),
        Reason::RevisionMismatch
    );
    assert_eq!(
        reason(put(first.key, 2, etag(&second)).await),
        Reason::RevisionMismatch
    );
    let of_service = Guard::Matches(vec![entry.etag(), entry.service.etag()]);
    assert_eq!(
        reason(put(first.key, 2, of_service).await),
        Reason::RevisionMismatch
    );
    // Another server is changed.
    assert!(put(second.key, 9, NONE).await.unwrap().changed);
    let updated = put(first.key, 2, etag(&first)).await.unwrap().value;
    assert_eq!(
        reason(put(first.key, 3, etag(&first)).await),
        Reason::RevisionMismatch
    );
    let new = server_key("10.0.0.9-80");
    assert_eq!(
        reason(put(new, 1, Guard::Exists).await),
        Reason::RevisionMismatch
    );
    assert_eq!(
        reason(put(new, 1, etag(&first)).await),
        Reason::RevisionMismatch
    );
    assert!(put(new, 1, Guard::Absent).await.unwrap().created);

    let delete = |guard| app.delete_server(context(), key(TCP), first.key, false, guard);
    assert_eq!(reason(delete(etag(&first)).await), Reason::RevisionMismatch);
    // Traffic does not change the ETag.
    let busy = fake::Connections {
        active: 5,
        ..fake::Connections::default()
    };
    let server = socket("10.0.0.1:80");
    assert!(kernel.set_traffic(id("192.0.2.1:80"), server, busy, fake::Counters::default()));
    assert!(delete(etag(&updated)).await.unwrap());
    assert_eq!(
        reason(delete(Guard::Exists).await),
        Reason::RevisionMismatch
    );
}
