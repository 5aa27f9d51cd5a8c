//! Snapshots of what no table declares.

use super::{
    tables::{OTHER, apply, service, sorted},
    *,
};
use crate::{
    app::{Interrupted, RestoreOnStart},
    store::Store,
};

const MINUTE: Duration = Duration::from_secs(60);

fn start(kernel: &FakeKernel, store: &Store) -> App {
    app_on(kernel).with_store(store.clone()).unwrap()
}

/// A machine that was booted: a kernel with nothing.
fn boot(store: &Store) -> (FakeKernel, App) {
    let kernel = FakeKernel::new();
    let app = start(&kernel, store);
    (kernel, app)
}

async fn recover(app: &App, restore: RestoreOnStart) {
    app.recover_tables(Interrupted::Complete, restore, MINUTE)
        .await;
}

async fn set_tcp(app: &App, seconds: u32) {
    let draft = serde_json::from_value(json!({ "tcp_seconds": seconds })).unwrap();
    app.update_timeouts(context(), draft, NONE).await.unwrap();
}

async fn tcp_seconds(app: &App) -> u32 {
    app.timeouts(context()).await.unwrap().value.tcp_seconds
}

/// A table, and beside it a service, timeouts and a sync daemon, of which a snapshot is taken.
async fn machine_with_a_snapshot() -> (FakeKernel, Store) {
    let store = Store::in_memory();
    let (kernel, app) = boot(&store);
    recover(&app, RestoreOnStart::Never).await;
    apply(&app, "web", json!([service(TCP, &[(1, 1)])])).await;
    create_service(&app, OTHER, &["10.0.0.8-80", "10.0.0.9-80"]).await;
    set_tcp(&app, 77).await;
    let daemon = serde_json::from_value(json!({"interface": "eth0", "sync_id": 7})).unwrap();
    let started = app.start_sync_daemon(context(), SyncState::Master, daemon, false, NONE);
    started.await.unwrap();
    app.take_snapshot(MINUTE).await.unwrap();
    (kernel, store)
}

#[tokio::test]
async fn everything_is_restored_after_a_boot() {
    let (before, store) = machine_with_a_snapshot().await;
    let (kernel, app) = boot(&store);
    // The end of a daemon that has not restored it yet must not replace it.
    app.take_snapshot(MINUTE).await.unwrap();
    recover(&app, RestoreOnStart::IfEmpty).await;
    assert_eq!(sorted(&kernel), sorted(&before));
    let order = ids(&*read_service(&app, OTHER).await);
    assert_eq!(
        order,
        ids(&*read_service(&start(&before, &Store::in_memory()), OTHER).await)
    );
    assert_eq!(tcp_seconds(&app).await, 77);
    let daemons = app.sync_daemons(context()).await.unwrap().value;
    assert_eq!(daemons.iter().map(|it| it.sync_id).collect::<Vec<_>>(), [7]);
    let read = read_service(&app, OTHER).await;
    assert_eq!(Kept::owner(&read.service.kept), Some(&Owner::unmanaged()));

    // With other settings nothing is.
    let (kernel, app) = boot(&store);
    recover(&app, RestoreOnStart::Never).await;
    assert_eq!((sorted(&kernel), tcp_seconds(&app).await), (vec![], 900));
}

#[tokio::test]
async fn a_kernel_with_services_is_newer_than_the_snapshot() {
    let (kernel, store) = machine_with_a_snapshot().await;
    let app = start(&kernel, &store);
    app.delete_server(
        context(),
        key(OTHER),
        server_key("10.0.0.9-80"),
        false,
        NONE,
    )
    .await
    .unwrap();
    create_service(&app, "fwmark-9", &["10.0.0.1-0"]).await;
    let now = sorted(&kernel);
    recover(&app, RestoreOnStart::Always).await;
    assert_eq!(sorted(&kernel), now);
    app.take_snapshot(MINUTE).await.unwrap();
    let (kernel, app) = boot(&store);
    recover(&app, RestoreOnStart::Always).await;
    assert_eq!(sorted(&kernel), now);
}

#[tokio::test]
async fn no_snapshot_is_taken_during_an_apply() {
    let (kernel, store) = machine_with_a_snapshot().await;
    let app = start(&kernel, &store);
    recover(&app, RestoreOnStart::Never).await;
    let services = json!([service("tcp-192.0.2.7-80", &[(1, 1)])]);
    app.interrupt_apply(context(), "half", &services, 1).await;
    app.take_snapshot(MINUTE).await.unwrap();
    let (kernel, app) = boot(&store);
    app.recover_tables(Interrupted::Undo, RestoreOnStart::IfEmpty, MINUTE)
        .await;
    assert!(
        !sorted(&kernel)
            .iter()
            .any(|line| line.contains("192.0.2.7"))
    );
}

#[tokio::test]
async fn what_cannot_be_restored_stays_in_the_snapshot() {
    let (before, store) = machine_with_a_snapshot().await;
    let (kernel, app) = boot(&store);
    // The service of the table is the first.
    kernel.faults().once(
        On::Command(command::NEW_SERVICE),
        Fault::before(|kernel| {
            let failure = Fault::Errno(libc::ENOMEM);
            kernel
                .faults()
                .once(On::Command(command::NEW_SERVICE), failure);
        }),
    );
    recover(&app, RestoreOnStart::IfEmpty).await;
    assert_ne!(sorted(&kernel), sorted(&before));
    app.take_snapshot(MINUTE).await.unwrap();
    let (kernel, app) = boot(&store);
    recover(&app, RestoreOnStart::IfEmpty).await;
    assert_eq!(sorted(&kernel), sorted(&before));
}

#[tokio::test]
async fn a_service_that_a_table_declares_meanwhile_is_its() {
    let (kernel, store) = machine_with_a_snapshot().await;
    let app = start(&kernel, &store);
    let adopt = ApplyOptions {
        adopt: Adopt::Unmanaged,
        ..super::tables::all()
    };
    let services = json!([service(OTHER, &[(8, 5)])]);
    let applied = super::tables::apply_with(&app, context(), "db", services, adopt).await;
    assert_eq!(applied.unwrap().failure, None);
    let declared = sorted(&kernel);
    recover(&app, RestoreOnStart::Always).await;
    assert_eq!(sorted(&kernel), declared);
    app.take_snapshot(MINUTE).await.unwrap();
    // It is no part of the next one.
    let (kernel, app) = boot(&store);
    recover(&app, RestoreOnStart::IfEmpty).await;
    assert_eq!(sorted(&kernel), declared);
}
