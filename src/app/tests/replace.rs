//! Replacing a service with its server set: minimal changes, order, rollback.

use std::sync::Mutex;

use super::*;

async fn replace(app: &App, json: Value) -> Result<Written<Arc<ServiceEntry>>, Error> {
    app.replace_service(context(), key(TCP), draft(json), NONE)
        .await
}

#[tokio::test]
async fn a_replace_creates_updates_or_changes_nothing() {
    let (kernel, app) = setup();
    let json = json!({"scheduler": "rr", "servers": [{"address": "10.0.0.1"}]});
    let written = replace(&app, json.clone()).await.unwrap();
    assert!(written.created && written.changed);
    kernel.reset_counts();
    let written = replace(&app, json).await.unwrap();
    assert!(!written.created && !written.changed);
    assert_eq!(
        kernel.commands(command::SET_SERVICE) + kernel.commands(command::SET_DEST),
        0
    );
    // An absent field is reset to its default; an absent server set is kept.
    let written = replace(&app, json!({})).await.unwrap();
    assert!(written.changed && !written.created);
    assert_eq!(written.value.service.config.scheduler.as_str(), "wlc");
    assert_eq!(ids(&written.value), ["10.0.0.1-80"]);
    let written = replace(&app, json!({"servers": []})).await.unwrap();
    assert!(written.changed && written.value.servers.is_empty());
    let error = replace(&app, json!({"id": "fwmark-7"})).await.unwrap_err();
    assert_eq!(fields(&error), ["id"]);
}

#[tokio::test]
async fn a_replace_reports_servers_in_another_order_than_requested() {
    let (_, app) = setup();
    let put = async |order: &[&str]| {
        let servers: Vec<_> = order.iter().map(|it| json!({"address": it})).collect();
        let json = json!({"scheduler": "sh", "servers": servers});
        replace(&app, json).await.unwrap()
    };
    assert!(!put(&["10.0.0.1", "10.0.0.2"]).await.server_order_differs);
    let other = put(&["10.0.0.2", "10.0.0.1"]).await;
    assert!(other.server_order_differs && !other.changed);
    // A new server is the first.
    let added = put(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]).await;
    assert!(added.server_order_differs && added.changed);
    put(&[]).await;
    let set = put(&["10.0.0.2", "10.0.0.1"]).await;
    assert!(!set.server_order_differs);
    assert_eq!(ids(&set.value), ["10.0.0.2-80", "10.0.0.1-80"]);
    let kept = replace(&app, json!({"scheduler": "rr"})).await.unwrap();
    assert!(!kept.server_order_differs, "no order is requested");
}

#[tokio::test]
async fn new_servers_are_created_before_old_ones_are_deleted() {
    let (kernel, app) = setup();
    create_service(&app, TCP, &["10.0.0.1-80", "10.0.0.2-80", "10.0.0.3-80"]).await;
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
        let record = Fault::before(move |kernel| {
            let count = kernel.service(id("192.0.2.1:80")).unwrap().len();
            log.lock().unwrap().push((number, count));
        });
        kernel.faults().always(On::Command(number), record);
    }
    let servers = json!([
        {"address": "10.0.0.4", "forwarding": "masquerade"},
        {"address": "10.0.0.2", "forwarding": "masquerade"},
        {"address": "10.0.0.3", "forwarding": "masquerade", "weight": 7},
        {"address": "10.0.0.5", "forwarding": "masquerade"},
    ]);
    let json = json!({"scheduler": "rr", "servers": servers});
    let written = replace(&app, json).await.unwrap();
    assert!(written.changed && !written.created);
    assert_eq!(
        ids(&written.value),
        ["10.0.0.4-80", "10.0.0.5-80", "10.0.0.2-80", "10.0.0.3-80"],
        "new servers in the requested order, then the old ones"
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
async fn a_rejected_server_rolls_back_the_whole_replace() {
    let (kernel, app) = setup();
    create_service(&app, TCP, &["10.0.0.1-80", "10.0.0.2-80"]).await;
    kernel.add_broadcast("10.0.0.255".parse().unwrap());
    let before = read_service(&app, TCP).await;
    let json = json!({"scheduler": "wrr", "servers": [
        {"address": "10.0.0.1", "weight": 9},
        {"address": "10.0.0.3"},
        {"address": "10.0.0.255"},
        {"address": "10.0.0.4"},
    ]});
    let error = replace(&app, json).await.unwrap_err();
    assert_eq!(error.reason, Reason::InvalidArgument);
    assert_eq!(fields(&error), ["servers[2].address"]);
    assert!(!error.detail.contains("rolled back"), "{error}");
    assert_eq!(*read_service(&app, TCP).await, *before);
    assert_eq!(
        kernel.commands(command::DEL_DEST),
        2,
        "of the two created servers"
    );
}

#[tokio::test]
async fn a_failed_delete_rolls_back_in_reverse_order() {
    let (kernel, app) = setup();
    create_service(&app, TCP, &["10.0.0.1-80", "10.0.0.2-80"]).await;
    let before = read_service(&app, TCP).await;
    let fail = Fault::before(|kernel| {
        kernel
            .faults()
            .once(On::Command(command::DEL_DEST), Fault::Errno(libc::ENOMEM));
    });
    kernel
        .faults()
        .once(On::Command(command::SET_SERVICE), fail);
    let json = json!({"scheduler": "wrr", "servers": [{"address": "10.0.0.3"}]});
    let error = replace(&app, json).await.unwrap_err();
    assert_eq!(error.reason, Reason::Internal);
    let mut after = (*read_service(&app, TCP).await).clone();
    // A deleted server is created again as the newest.
    after.servers.sort_by_key(|server| server.key);
    assert_eq!(after, *before);
}

#[tokio::test]
async fn an_incomplete_rollback_is_reported() {
    let (kernel, app) = setup();
    create_service(&app, TCP, &["10.0.0.1-80"]).await;
    kernel.add_broadcast("10.0.0.255".parse().unwrap());
    let on = On::Command(command::DEL_DEST);
    kernel.faults().always(on, Fault::Errno(libc::ENOMEM));
    let json = json!({"scheduler": "rr", "servers": [
        {"address": "10.0.0.3"}, {"address": "10.0.0.255"},
    ]});
    let error = replace(&app, json).await.unwrap_err();
    assert!(error.detail.contains("0 of them rolled back"), "{error}");
}

#[tokio::test]
async fn replacing_a_service_with_its_own_view_changes_nothing() {
    let (kernel, app) = setup();
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
    assert_eq!(kernel.sends(), 1, "one read of the service and its servers");
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
