//! PUT with servers: the set becomes what is wanted, with as little change as that takes.

use std::sync::Mutex;

use super::*;

async fn put(app: &App, json: Value) -> Result<Written<Arc<ServiceEntry>>, Error> {
    app.replace_service(context(), key(TCP), draft(json), NONE)
        .await
}

#[tokio::test]
async fn a_put_creates_replaces_and_leaves_alone() {
    let (kernel, app) = house();
    let json = json!({"scheduler": "rr", "servers": [{"address": "10.0.0.1"}]});
    let written = put(&app, json.clone()).await.unwrap();
    assert!(written.created && written.changed);
    kernel.reset_counts();
    let written = put(&app, json).await.unwrap();
    assert!(!written.created && !written.changed);
    assert_eq!(
        kernel.commands(command::SET_SERVICE) + kernel.commands(command::SET_DEST),
        0
    );
    // What is not named goes back to its default; absent servers are left alone.
    let written = put(&app, json!({})).await.unwrap();
    assert!(written.changed && !written.created);
    assert_eq!(written.value.service.config.scheduler.as_str(), "wlc");
    assert_eq!(ids(&written.value), ["10.0.0.1-80"]);
    let written = put(&app, json!({"servers": []})).await.unwrap();
    assert!(written.changed && written.value.servers.is_empty());
    let error = put(&app, json!({"id": "fwmark-7"})).await.unwrap_err();
    assert_eq!(fields(&error), ["id"]);
}

#[tokio::test]
async fn equal_servers_are_untouched_and_new_ones_come_before_old_ones_go() {
    let (kernel, app) = house();
    make(&app, TCP, &["10.0.0.1-80", "10.0.0.2-80", "10.0.0.3-80"]).await;
    let busy = fake::Counters {
        connections: 9,
        ..fake::Counters::default()
    };
    let open = fake::Connections {
        active: 4,
        ..fake::Connections::default()
    };
    for n in 1..=3 {
        let server = socket(&format!("10.0.0.{n}:80"));
        assert!(kernel.set_traffic(id("192.0.2.1:80"), server, open, busy));
    }
    kernel.reset_counts();
    let log = Arc::new(Mutex::new(Vec::new()));
    for number in [command::NEW_DEST, command::SET_DEST, command::DEL_DEST] {
        let log = Arc::clone(&log);
        let note = Fault::before(move |kernel| {
            let there = kernel.service(id("192.0.2.1:80")).unwrap().len();
            log.lock().unwrap().push((number, there));
        });
        kernel.faults().always(On::Command(number), note);
    }
    let servers = json!([
        {"address": "10.0.0.4", "forwarding": "masquerade"},
        {"address": "10.0.0.2", "forwarding": "masquerade"},
        {"address": "10.0.0.3", "forwarding": "masquerade", "weight": 7},
        {"address": "10.0.0.5", "forwarding": "masquerade"},
    ]);
    let json = json!({"scheduler": "rr", "servers": servers});
    let written = put(&app, json).await.unwrap();
    assert!(written.changed && !written.created);
    assert_eq!(
        ids(&written.value),
        ["10.0.0.4-80", "10.0.0.5-80", "10.0.0.2-80", "10.0.0.3-80"],
        "new ones as given, before those that were there"
    );
    assert_eq!(
        *log.lock().unwrap(),
        [
            (command::NEW_DEST, 3),
            (command::NEW_DEST, 4),
            (command::SET_DEST, 5),
            (command::DEL_DEST, 5),
        ]
    );
    for kept in &written.value.servers[2..] {
        assert_eq!((kept.stats.connections, kept.active_connections), (9, 4));
    }
    assert_eq!(written.value.servers[3].config.weight, 7);
}

#[tokio::test]
async fn a_put_of_which_one_server_is_refused_leaves_all_as_it_was() {
    let (kernel, app) = house();
    make(&app, TCP, &["10.0.0.1-80", "10.0.0.2-80"]).await;
    kernel.add_broadcast("10.0.0.255".parse().unwrap());
    let before = read(&app, TCP).await;
    let json = json!({"scheduler": "wrr", "servers": [
        {"address": "10.0.0.1", "weight": 9},
        {"address": "10.0.0.3"},
        {"address": "10.0.0.255"},
        {"address": "10.0.0.4"},
    ]});
    let error = put(&app, json).await.unwrap_err();
    assert_eq!(error.reason, Reason::InvalidArgument);
    assert_eq!(fields(&error), ["servers[2].address"]);
    assert!(!error.detail.contains("undone"), "{error}");
    assert_eq!(*read(&app, TCP).await, *before);
    assert_eq!(
        kernel.commands(command::DEL_DEST),
        2,
        "the two that were added"
    );
}

#[tokio::test]
async fn a_put_that_fails_when_old_servers_go_is_undone_from_the_end() {
    let (kernel, app) = house();
    make(&app, TCP, &["10.0.0.1-80", "10.0.0.2-80"]).await;
    let before = read(&app, TCP).await;
    let fail = Fault::before(|kernel| {
        kernel
            .faults()
            .once(On::Command(command::DEL_DEST), Fault::Errno(libc::ENOMEM));
    });
    kernel
        .faults()
        .once(On::Command(command::SET_SERVICE), fail);
    let json = json!({"scheduler": "wrr", "servers": [{"address": "10.0.0.3"}]});
    let error = put(&app, json).await.unwrap_err();
    assert_eq!(error.reason, Reason::Internal);
    let mut after = (*read(&app, TCP).await).clone();
    // The one that had gone came back, as the newest: the kernel has no other way.
    after.servers.sort_by_key(|server| server.key);
    assert_eq!(after, *before);
}

#[tokio::test]
async fn what_could_not_be_undone_is_said() {
    let (kernel, app) = house();
    make(&app, TCP, &["10.0.0.1-80"]).await;
    kernel.add_broadcast("10.0.0.255".parse().unwrap());
    let on = On::Command(command::DEL_DEST);
    kernel.faults().always(on, Fault::Errno(libc::ENOMEM));
    let json = json!({"scheduler": "rr", "servers": [
        {"address": "10.0.0.3"}, {"address": "10.0.0.255"},
    ]});
    let error = put(&app, json).await.unwrap_err();
    assert!(error.detail.contains("0 of them rolled back"), "{error}");
}

#[tokio::test]
async fn the_answer_put_back_changes_nothing() {
    let (kernel, app) = house();
    let create = draft(json!({
        "fwmark": 7, "family": "ipv6", "scheduler": "mh", "scheduler_flags": ["mh-port"],
        "persistence": {"netmask": 64}, "servers": [
            {"address": "2001:db8::1", "port": 80, "forwarding": "tunnel",
             "tunnel": {"type": "gue", "port": 6080, "checksum": "remote"}},
            {"address": "192.0.2.7", "port": 80, "forwarding": "tunnel", "weight": 0},
        ],
    }));
    let entry = app.create_service(context(), create).await.unwrap().value;
    let include = Include {
        servers: true,
        stats: true,
        rates: true,
    };
    let json = serde_json::to_value(ServiceView::new(&entry, include)).unwrap();
    kernel.reset_counts();
    let mark = key("fwmark6-7");
    let guard = Guard::Matches(vec![entry.etag()]);
    let written = app
        .replace_service(context(), mark, draft(json.clone()), guard)
        .await
        .unwrap();
    assert!(!written.changed && !written.created);
    assert_eq!(kernel.sends(), 2, "a service and its servers, read once");
    for (server, json) in entry
        .servers
        .iter()
        .zip(json["servers"].as_array().unwrap())
    {
        let draft = server_draft(json.clone());
        let guard = Guard::Matches(vec![server.etag()]);
        let written = app
            .replace_server(context(), mark, server.key, draft, guard)
            .await
            .unwrap();
        assert!(!written.changed);
        assert_eq!(written.value, *server);
    }
}
