use super::*;

const SERVER: &str = "10.0.0.1-80";

#[tokio::test]
async fn servers_are_created_all_or_none_and_answered_in_the_order_of_the_drafts() {
    let (kernel, app) = house();
    let create = |json: Value| {
        let drafts = serde_json::from_value(json).unwrap();
        app.create_servers(context(), key(TCP), drafts)
    };
    let two = json!([{"address": "10.0.0.1"}, {"address": "10.0.0.2"}]);
    assert_eq!(reason(create(two.clone()).await), Reason::ServiceNotFound);
    make(&app, TCP, &[]).await;
    let written = create(two).await.unwrap();
    assert!(written.created && written.changed);
    let told: Vec<_> = written.value.iter().map(|s| s.key.to_string()).collect();
    assert_eq!(told, ["10.0.0.1-80", "10.0.0.2-80"]);
    assert_eq!(
        ids(&*read(&app, TCP).await),
        ["10.0.0.2-80", "10.0.0.1-80"],
        "as ipvsadm -a twice"
    );
    let before = state(&kernel);
    let error =
        create(json!([{"address": "10.0.0.3"}, {"address": "10.0.0.1"}, {"address": "10.0.0.4"}]));
    let error = error.await.unwrap_err();
    assert_eq!(error.reason, Reason::ServerExists);
    assert_eq!(fields(&error), ["servers[1]"]);
    assert_eq!(ids(&*read(&app, TCP).await), ["10.0.0.2-80", "10.0.0.1-80"]);
    let error = create(json!([{"address": "10.0.0.5"}, {"weight": 5}, {"address": "10.0.0.5"}]));
    let error = error.await.unwrap_err();
    assert_eq!(fields(&error), ["servers[1].address", "servers[2]"]);
    assert_eq!(state(&kernel).len(), before.len());
}

#[tokio::test]
async fn one_server_is_read_updated_put_and_deleted() {
    let (kernel, app) = house();
    let server = server_key(SERVER);
    assert_eq!(
        reason(app.server(context(), key(TCP), server).await),
        Reason::ServiceNotFound
    );
    make(&app, TCP, &[]).await;
    assert_eq!(
        reason(app.server(context(), key(TCP), server).await),
        Reason::ServerNotFound
    );
    let put = |json| app.replace_server(context(), key(TCP), server, server_draft(json), NONE);
    let made = put(json!({"weight": 5})).await.unwrap();
    assert!(made.created && made.changed);
    assert_eq!(made.value.config.weight, 5);
    let same = put(json!({"weight": 5})).await.unwrap();
    assert!(!same.created && !same.changed);
    let back = put(json!({})).await.unwrap();
    assert!(!back.created && back.changed);
    assert_eq!(back.value.config, ServerConfig::default());
    assert_eq!(
        fields(&put(json!({"port": 81})).await.unwrap_err()),
        ["port"]
    );
    let read = app.server(context(), key(TCP), server).await.unwrap();
    assert_eq!(read.value, back.value);

    let update =
        |json| app.update_server(context(), key(TCP), server, server_draft(json), NONE, false);
    let thresholds = json!({"upper_threshold": 9, "lower_threshold": 3, "weight": 0});
    let drained = update(thresholds).await.unwrap();
    assert!(drained.changed);
    kernel.reset_counts();
    assert!(!update(json!({"weight": 0})).await.unwrap().changed);
    assert_eq!(kernel.commands(command::SET_DEST), 0);
    let up = update(json!({"weight": 3})).await.unwrap().value.config;
    assert_eq!(
        (up.weight, up.upper_threshold, up.lower_threshold),
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
        "the service is missing, and so is the server"
    );
}

#[tokio::test]
async fn an_update_of_a_missing_server_creates_it_only_where_asked_to() {
    let (_, app) = house();
    let server = server_key(SERVER);
    let update = |create| {
        let draft = server_draft(json!({"weight": 2}));
        app.update_server(context(), key(TCP), server, draft, NONE, create)
    };
    assert_eq!(reason(update(true).await), Reason::ServiceNotFound);
    make(&app, TCP, &[]).await;
    assert_eq!(reason(update(false).await), Reason::ServerNotFound);
    let made = update(true).await.unwrap();
    assert!(made.created && made.changed);
    assert_eq!(made.value.config.weight, 2);
    assert!(!update(true).await.unwrap().changed);
}

#[tokio::test]
async fn a_tunnel_survives_an_update_of_something_else() {
    let (_, app) = house();
    make(&app, TCP, &[]).await;
    let server = server_key(SERVER);
    let gue = json!({
        "forwarding": "tunnel", "tunnel": {"type": "gue", "port": 6080, "checksum": "checksum"},
    });
    let made = app.replace_server(context(), key(TCP), server, server_draft(gue), NONE);
    let made = made.await.unwrap().value.config;
    let drain = server_draft(json!({"weight": 0}));
    let drained = app.update_server(context(), key(TCP), server, drain, NONE, false);
    assert_eq!(
        drained.await.unwrap().value.config,
        ServerConfig { weight: 0, ..made }
    );
}

#[tokio::test]
async fn what_others_set_up_oddly_can_be_drained_and_deleted() {
    let (kernel, app) = house();
    make(&app, TCP, &[]).await;
    // Direct routing to another port, a weight of a million.
    let odd = fake::Destination {
        forward: 3,
        weight: 1_000_000,
        ..fake::Destination::new(socket("10.0.0.1:8080"))
    };
    assert!(kernel.add_destination(id("192.0.2.1:80"), odd));
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
async fn every_guard_is_held_against_the_server_itself() {
    let (kernel, app) = house();
    let entry = make(&app, TCP, &["10.0.0.1-80", "10.0.0.2-80"]).await;
    let [first, second] = [entry.servers[0], entry.servers[1]];
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
    // A change of another server does not matter.
    assert!(put(second.key, 9, NONE).await.unwrap().changed);
    let changed = put(first.key, 2, etag(&first)).await.unwrap().value;
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
    // Traffic is no change of the configuration.
    let busy = fake::Connections {
        active: 5,
        ..fake::Connections::default()
    };
    let server = socket("10.0.0.1:80");
    assert!(kernel.set_traffic(id("192.0.2.1:80"), server, busy, fake::Counters::default()));
    assert!(delete(etag(&changed)).await.unwrap());
    assert_eq!(
        reason(delete(Guard::Exists).await),
        Reason::RevisionMismatch
    );
}
