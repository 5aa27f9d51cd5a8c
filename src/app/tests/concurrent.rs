//! Changes of other programs between the read and the write of a request.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// A server of the fake kernel.
fn destination(weight: u32, upper: u32) -> fake::Destination {
    fake::Destination {
        weight,
        upper,
        ..fake::Destination::new(socket("10.0.0.1:80"))
    }
}

/// What another program makes of the server 10.0.0.1.
fn set_destination(kernel: &FakeKernel, weight: u32, upper: u32) {
    let service = id("192.0.2.1:80");
    assert!(kernel.remove_destination(service, socket("10.0.0.1:80")));
    assert!(kernel.add_destination(service, destination(weight, upper)));
}

fn scheduler(kernel: &FakeKernel) -> String {
    kernel.service(id("192.0.2.1:80")).unwrap().scheduler
}

/// Runs `change` before each command of this number, once.
fn before(kernel: &FakeKernel, number: u8, change: impl Fn(&FakeKernel) + Send + Sync + 'static) {
    let fault = Fault::before(change);
    kernel.faults().once(On::Command(number), fault);
}

/// Runs `change` before the second command of this number.
fn before_second(
    kernel: &FakeKernel,
    number: u8,
    change: impl Fn(&FakeKernel) + Send + Sync + 'static,
) {
    let count = AtomicUsize::new(0);
    let fault = Fault::before(move |kernel| {
        if count.fetch_add(1, Ordering::Relaxed) == 1 {
            change(kernel);
        }
    });
    kernel.faults().always(On::Command(number), fault);
}

async fn put(app: &App, json: Value) -> Result<Written<Arc<ServiceEntry>>, Error> {
    app.replace_service(context(), key(TCP), draft(json), NONE)
        .await
}

async fn put_server(app: &App, json: Value) -> Result<Written<Server>, Error> {
    let server = server_key("10.0.0.1-80");
    app.replace_server(context(), key(TCP), server, server_draft(json), NONE)
        .await
}

#[tokio::test]
async fn put_creates_the_service_that_another_program_deleted() {
    let (kernel, app) = setup();
    create_service(&app, TCP, &["10.0.0.1-80"]).await;
    before(&kernel, command::SET_SERVICE, |kernel| {
        assert!(kernel.remove_service(id("192.0.2.1:80")));
    });
    let json = json!({"scheduler": "sh", "servers": [{"address": "10.0.0.2"}]});
    let written = put(&app, json).await.unwrap();
    assert!(written.created && written.changed);
    assert_eq!(ids(&written.value), ["10.0.0.2-80"]);
    assert_eq!(scheduler(&kernel), "sh");
}

#[tokio::test]
async fn put_edits_the_service_that_another_program_created() {
    let (kernel, app) = setup();
    before(&kernel, command::NEW_SERVICE, |kernel| {
        kernel.add_service(fake::Service::new(id("192.0.2.1:80")));
        kernel.add_destination(id("192.0.2.1:80"), destination(9, 9));
    });
    let servers = json!([{"address": "10.0.0.1", "forwarding": "masquerade"}]);
    let written = put(&app, json!({"scheduler": "sh", "servers": servers})).await;
    let written = written.unwrap();
    assert!(written.changed && !written.created);
    assert_eq!(written.value.servers[0].config.weight, 1);
    assert_eq!(scheduler(&kernel), "sh");
}

#[tokio::test]
async fn put_of_a_server_set_agrees_with_servers_that_come_and_go() {
    for comes in [true, false] {
        let (kernel, app) = setup();
        create_service(&app, TCP, &["10.0.0.2-80"]).await;
        let service = id("192.0.2.1:80");
        let number = match comes {
            true => command::NEW_DEST,
            false => command::DEL_DEST,
        };
        before(&kernel, number, move |kernel| match comes {
            true => assert!(kernel.add_destination(service, destination(7, 0))),
            false => assert!(kernel.remove_destination(service, socket("10.0.0.2:80"))),
        });
        let servers = json!([{"address": "10.0.0.1", "forwarding": "masquerade"}]);
        let written = put(&app, json!({"scheduler": "rr", "servers": servers})).await;
        let written = written.unwrap();
        assert_eq!(ids(&written.value), ["10.0.0.1-80"], "{comes}");
        assert_eq!(written.value.servers[0].config.weight, 1);
    }
}

#[tokio::test]
async fn put_creates_the_server_that_another_program_deleted() {
    let (kernel, app) = setup();
    create_service(&app, TCP, &["10.0.0.1-80"]).await;
    before(&kernel, command::SET_DEST, |kernel| {
        assert!(kernel.remove_destination(id("192.0.2.1:80"), socket("10.0.0.1:80")));
    });
    let written = put_server(&app, json!({"weight": 5})).await.unwrap();
    assert!(written.created && written.value.config.weight == 5);
}

#[tokio::test]
async fn put_edits_the_server_that_another_program_created() {
    let (kernel, app) = setup();
    create_service(&app, TCP, &[]).await;
    before(&kernel, command::NEW_DEST, |kernel| {
        assert!(kernel.add_destination(id("192.0.2.1:80"), destination(9, 9)));
    });
    let written = put_server(&app, json!({"weight": 5})).await.unwrap();
    assert!(written.changed && !written.created);
    assert_eq!(
        (
            written.value.config.weight,
            written.value.config.upper_threshold
        ),
        (5, 0)
    );
}

#[tokio::test]
async fn an_update_that_may_create_does_so_when_another_program_deletes() {
    let (kernel, app) = setup();
    create_service(&app, TCP, &["10.0.0.1-80"]).await;
    let gone = |kernel: &FakeKernel| assert!(kernel.remove_service(id("192.0.2.1:80")));
    before(&kernel, command::SET_SERVICE, gone);
    let sh = || draft(json!({"scheduler": "sh"}));
    let written = app.update_service(context(), key(TCP), sh(), NONE, true);
    assert!(written.await.unwrap().created);
    before(&kernel, command::SET_SERVICE, gone);
    let rr = draft(json!({"scheduler": "rr"}));
    let result = app.update_service(context(), key(TCP), rr, NONE, false);
    assert_eq!(reason(result.await), Reason::ServiceNotFound);
}

#[tokio::test]
async fn a_delete_that_tolerates_absence_tolerates_the_delete_of_another_program() {
    let (kernel, app) = setup();
    create_service(&app, TCP, &["10.0.0.1-80"]).await;
    let (service, server) = (id("192.0.2.1:80"), server_key("10.0.0.1-80"));
    before(&kernel, command::DEL_DEST, move |kernel| {
        assert!(kernel.remove_destination(service, socket("10.0.0.1:80")));
    });
    let deleted = app.delete_server(context(), key(TCP), server, true, NONE);
    assert!(!deleted.await.unwrap());
    before(&kernel, command::DEL_SERVICE, move |kernel| {
        assert!(kernel.remove_service(service));
    });
    let deleted = app.delete_service(context(), key(TCP), true, NONE);
    assert!(!deleted.await.unwrap());
}

#[tokio::test]
async fn a_sync_daemon_is_started_when_another_program_stops_the_old_one() {
    let (kernel, app) = setup();
    let daemon = |id: u8| serde_json::from_value(json!({"interface": "eth0", "sync_id": id}));
    let start = |id| {
        let draft = daemon(id).unwrap();
        app.start_sync_daemon(context(), SyncState::Master, draft, true, NONE)
    };
    start(1).await.unwrap();
    before(&kernel, command::DEL_DAEMON, |kernel| {
        let other = Executor::start(Arc::new(kernel.clone()), ExecutorLimits::default()).unwrap();
        let other = App::new(other, AppOptions::default());
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        let stop = other.stop_sync_daemon(context(), SyncState::Master, false, NONE);
        runtime.block_on(stop).unwrap();
    });
    let written = start(2).await.unwrap();
    assert!(written.changed && written.value.sync_id == 2);
}

/// Sets the weight of a server; returns its weight and upper threshold.
async fn patch_weight_to_5(app: &App) -> (u32, u32) {
    let server = server_key("10.0.0.1-80");
    let weight = server_draft(json!({"weight": 5}));
    let written = app.update_server(context(), key(TCP), server, weight, NONE, false);
    let config = written.await.unwrap().value.config;
    (config.weight, config.upper_threshold)
}

#[tokio::test]
async fn patch_keeps_a_field_of_a_server_that_another_program_changes_meanwhile() {
    let (kernel, app) = setup();
    create_service(&app, TCP, &["10.0.0.1-80", "10.0.0.2-80"]).await;
    // After the read of the plan, before the write.
    before_second(&kernel, command::GET_DEST, |kernel| {
        set_destination(kernel, 1, 9);
    });
    assert_eq!(patch_weight_to_5(&app).await, (5, 9));
}

#[tokio::test]
async fn a_merge_of_an_operators_patch_changes_the_weight_only() {
    let (kernel, app) = setup();
    create_service(&app, TCP, &["10.0.0.1-80"]).await;
    before_second(&kernel, command::GET_DEST, |kernel| {
        set_destination(kernel, 1, 9);
    });
    let context = RequestContext {
        principal: principal("oncall", Role::Operator),
        ..context().clone()
    };
    // The threshold is what it was when the change was planned.
    let draft = serde_json::from_value(json!({"weight": 5, "upper_threshold": 0})).unwrap();
    let server = server_key("10.0.0.1-80");
    let written = app.update_server(&context, key(TCP), server, draft, NONE, false);
    let config = written.await.unwrap().value.config;
    assert_eq!((config.weight, config.upper_threshold), (5, 9));
}

#[tokio::test]
async fn patch_keeps_a_field_of_a_service_that_another_program_changes_meanwhile() {
    let (kernel, app) = setup();
    create_service(&app, TCP, &["10.0.0.1-80"]).await;
    before_second(&kernel, command::GET_SERVICE, |kernel| {
        let service = id("192.0.2.1:80");
        assert!(kernel.remove_service(service));
        let mut changed = fake::Service::new(service);
        (changed.flags, changed.timeout) = (3, 77 * 250);
        kernel.add_service(changed);
    });
    let sh = draft(json!({"scheduler": "sh"}));
    let written = app.update_service(context(), key(TCP), sh, NONE, false);
    let config = written.await.unwrap().value.service.config;
    assert_eq!(config.scheduler.as_str(), "sh");
    assert_eq!(config.persistence_timeout, Some(77));
}

#[tokio::test]
async fn a_patch_that_was_anticipated_leaves_what_the_other_program_wrote() {
    let (kernel, app) = setup();
    create_service(&app, TCP, &["10.0.0.1-80"]).await;
    before_second(&kernel, command::GET_DEST, |kernel| {
        set_destination(kernel, 5, 9);
    });
    assert_eq!(patch_weight_to_5(&app).await, (5, 9));
}

#[tokio::test]
async fn a_conditional_write_restores_what_another_program_wrote_meanwhile_and_fails() {
    for method in ["PUT", "PATCH"] {
        let (kernel, app) = setup();
        let entry = create_service(&app, TCP, &["10.0.0.1-80"]).await;
        before_second(&kernel, command::GET_DEST, |kernel| {
            set_destination(kernel, 1, 9);
        });
        let guard = Guard::Matches(vec![entry.servers[0].etag()]);
        let (service, server) = (key(TCP), server_key("10.0.0.1-80"));
        let weight = server_draft(json!({"weight": 5, "forwarding": "masquerade"}));
        let written = match method {
            "PUT" => {
                app.replace_server(context(), service, server, weight, guard)
                    .await
            }
            _ => {
                let update = app.update_server(context(), service, server, weight, guard, false);
                update.await
            }
        };
        assert_eq!(reason(written), Reason::RevisionMismatch, "{method}");
        let config = read_service(&app, TCP).await.servers[0].config;
        assert_eq!((config.weight, config.upper_threshold), (1, 9), "{method}");
    }
}

#[tokio::test]
async fn a_checked_write_survives_a_lost_reply_and_a_reload_of_the_module() {
    let (kernel, app) = setup();
    create_service(&app, TCP, &["10.0.0.1-80"]).await;
    let server = server_key("10.0.0.1-80");
    let patch = |weight: u32| {
        let draft = server_draft(json!({"weight": weight}));
        app.update_server(context(), key(TCP), server, draft, NONE, false)
    };
    kernel
        .faults()
        .once(On::Command(command::SET_DEST), Fault::LostReply);
    assert_eq!(patch(5).await.unwrap().value.config.weight, 5);
    before(&kernel, command::SET_DEST, |kernel| {
        kernel.faults().unload();
        kernel.faults().load();
    });
    assert_eq!(reason(patch(6).await), Reason::ServiceNotFound);
}

#[tokio::test]
async fn put_creates_again_what_another_program_deleted_right_after_the_write() {
    let (kernel, app) = setup();
    // Before the read-back.
    let service = id("192.0.2.1:80");
    before_second(&kernel, command::GET_SERVICE, move |kernel| {
        assert!(kernel.remove_service(service));
    });
    let written = put(&app, json!({"scheduler": "sh"})).await.unwrap();
    assert!(written.created && kernel.service(service).is_some());

    let (kernel, app) = setup();
    create_service(&app, TCP, &["10.0.0.2-80"]).await;
    before_second(&kernel, command::GET_DEST, move |kernel| {
        assert!(kernel.remove_destination(service, socket("10.0.0.1:80")));
    });
    let written = put_server(&app, json!({"weight": 5})).await.unwrap();
    assert_eq!(written.value.config.weight, 5);
    assert_eq!(kernel.service(service).unwrap().len(), 2);
}

#[tokio::test]
async fn the_body_of_get_with_a_foreign_weight_can_be_put_and_patched() {
    let (kernel, app) = setup();
    create_service(&app, TCP, &["10.0.0.1-80"]).await;
    set_destination(&kernel, 100_000, 0);
    let entry = read_service(&app, TCP).await;
    let body = serde_json::to_value(ServiceView::new(&entry, Include::default())).unwrap();
    let written = put(&app, body.clone()).await.unwrap();
    assert!(!written.changed);
    let of_server = body["servers"][0].clone();
    assert!(!put_server(&app, of_server.clone()).await.unwrap().changed);
    let server = server_key("10.0.0.1-80");
    let patch = app.update_server(
        context(),
        key(TCP),
        server,
        server_draft(of_server),
        NONE,
        false,
    );
    assert!(!patch.await.unwrap().changed);
    // A new weight keeps to the manual.
    let error = put_server(&app, json!({"weight": 100_001}))
        .await
        .unwrap_err();
    assert_eq!(fields(&error), ["weight"]);
    let error = put(
        &app,
        json!({"servers": [{"address": "10.0.0.2", "weight": 100_000}]}),
    )
    .await;
    assert_eq!(fields(&error.unwrap_err()), ["servers[0].weight"]);
}
