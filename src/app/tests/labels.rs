//! Labels of services: what writes make of them, what reads show, and what is stored.

use super::{
    tables::{OTHER, all, apply, apply_with, owner},
    *,
};
use crate::{
    app::tests::kept::{changes, watch},
    store::{Store, StoreError},
};

/// Another program creates a service.
pub(super) fn seed(kernel: &FakeKernel, address: &str) {
    assert!(kernel.add_service(fake::Service::new(id(address))));
}

/// An application with a store, and the store.
fn stored(kernel: &FakeKernel, store: &Store) -> App {
    app_on(kernel).with_store(store.clone()).unwrap()
}

pub(super) async fn labels_of(app: &App, id: &str) -> Value {
    json!(read_service(app, id).await.service.labels())
}

async fn patch(app: &App, body: Value) -> Written<Arc<ServiceEntry>> {
    let patched = app.update_service(context(), key(TCP), draft(body), NONE, false);
    patched.await.unwrap()
}

async fn put(app: &App, body: Value) -> Written<Arc<ServiceEntry>> {
    let put = app.replace_service(context(), key(TCP), draft(body), NONE);
    put.await.unwrap()
}

async fn create(app: &App, body: Value) -> Written<Arc<ServiceEntry>> {
    app.create_service(context(), draft(body)).await.unwrap()
}

/// The operation of a batch.
async fn batch(app: &App, operations: Value) -> ApplyReport {
    let draft = serde_json::from_value(json!({ "operations": operations })).unwrap();
    app.apply_batch(context(), draft).await.unwrap()
}

#[tokio::test]
async fn a_service_has_the_labels_that_writes_name() {
    let (kernel, app) = setup();
    let body = json!({"id": TCP, "labels": {"team": "web", "env": "dev"}});
    let created = create(&app, body).await;
    let etag = created.value.etag();
    assert_eq!(
        json!(created.value.service.labels()),
        json!({"team": "web", "env": "dev"})
    );
    let writes = state(&kernel);
    let patched = patch(&app, json!({"labels": {"env": null, "tier": "1"}})).await;
    let expected = json!({"team": "web", "tier": "1"});
    assert!(patched.changed);
    assert_eq!(json!(patched.value.service.labels()), expected);
    assert_eq!(labels_of(&app, TCP).await, expected);
    assert_ne!(patched.value.etag(), etag);
    assert_eq!(state(&kernel), writes, "labels are not the kernel's");
    assert!(!patch(&app, json!({"labels": {"tier": "1"}})).await.changed);
    // A PUT keeps those that it does not name at all.
    put(&app, json!({"scheduler": "rr"})).await;
    assert_eq!(labels_of(&app, TCP).await, expected);
    put(&app, json!({"scheduler": "rr", "labels": {"a": ""}})).await;
    assert_eq!(labels_of(&app, TCP).await, json!({"a": ""}));
    assert!(
        put(&app, json!({"scheduler": "rr", "labels": {}}))
            .await
            .changed
    );
    assert_eq!(labels_of(&app, TCP).await, json!({}));
    patch(&app, json!({"scheduler": "wlc", "labels": {"a": "1"}})).await;
    patch(&app, json!({"labels": null})).await;
    assert_eq!(labels_of(&app, TCP).await, json!({}));
}

#[tokio::test]
async fn a_precondition_covers_labels_and_invalid_ones_change_nothing() {
    let (_, app) = setup();
    let before = create(&app, json!({"id": TCP})).await.value.service.etag();
    patch(&app, json!({"labels": {"a": "1"}})).await;
    let guard = Guard::Matches(vec![before]);
    let late = draft(json!({"labels": {"a": "2"}}));
    let late = app.update_service(context(), key(TCP), late, guard, false);
    assert_eq!(reason(late.await), Reason::RevisionMismatch);
    let bad = draft(json!({"scheduler": "rr", "labels": {"a b": "", "c": "/"}}));
    let bad = app.update_service(context(), key(TCP), bad, NONE, false);
    assert_eq!(fields(&bad.await.unwrap_err()), ["labels", "labels"]);
    assert_eq!(labels_of(&app, TCP).await, json!({"a": "1"}));
    let dry_run = context().clone().with_dry_run(true);
    let planned = draft(json!({"labels": {"b": "2"}}));
    let planned = app.update_service(&dry_run, key(TCP), planned, NONE, false);
    let shown = planned.await.unwrap().value;
    assert_eq!(json!(shown.service.labels()), json!({"a": "1", "b": "2"}));
    assert_eq!(labels_of(&app, TCP).await, json!({"a": "1"}));
}

#[tokio::test]
async fn a_mask_that_names_labels_replaces_them() {
    let (_, app) = setup();
    create(&app, json!({"id": TCP, "labels": {"a": "1"}})).await;
    let mask = |path: &str| {
        Mask::parse(vec![path.to_owned()], &ServiceDraft::FIELDS, |_| {
            String::new()
        })
        .unwrap()
    };
    let masked = async |path: &str, body: Value| {
        let draft = draft(body).masked(&mask(path));
        let updated = app.update_service(context(), key(TCP), draft, NONE, false);
        json!(updated.await.unwrap().value.service.labels())
    };
    assert_eq!(
        masked("labels", json!({"labels": {"b": "2"}})).await,
        json!({"b": "2"})
    );
    assert_eq!(
        masked("scheduler", json!({"labels": {"c": "3"}})).await,
        json!({"b": "2"})
    );
    assert_eq!(masked("labels", json!({})).await, json!({}));
}

#[tokio::test]
async fn labels_are_stored_and_deleted_with_the_service() {
    let (kernel, store) = (FakeKernel::new(), Store::in_memory());
    let app = stored(&kernel, &store);
    let labelled = |id: &str| json!({"id": id, "labels": {"team": "web"}});
    create(&app, labelled(TCP)).await;
    create(&app, labelled(OTHER)).await;
    // Another program deletes it, and creates it again.
    kernel.remove_service(id("192.0.2.1:80"));
    seed(&kernel, "192.0.2.1:80");
    assert_eq!(labels_of(&app, TCP).await, json!({"team": "web"}));
    let app = stored(&kernel, &store);
    assert_eq!(labels_of(&app, TCP).await, json!({"team": "web"}));
    app.delete_service(context(), key(TCP), false, NONE)
        .await
        .unwrap();
    create(&app, json!({"id": TCP})).await;
    assert_eq!(labels_of(&app, TCP).await, json!({}));
    let app = stored(&kernel, &store);
    assert_eq!(labels_of(&app, TCP).await, json!({}));
    // What another program has deleted is created anew: it has exactly the labels that are named.
    kernel.remove_service(id("192.0.2.2:80"));
    create(&app, json!({"id": OTHER})).await;
    assert_eq!(labels_of(&app, OTHER).await, json!({}));
    patch(&app, json!({"labels": {"a": "1"}})).await;
    app.clear_services(context(), Some(2)).await.unwrap();
    seed(&kernel, "192.0.2.1:80");
    assert_eq!(labels_of(&app, TCP).await, json!({}));
    let app = stored(&kernel, &store);
    assert_eq!(labels_of(&app, TCP).await, json!({}));
}

#[tokio::test]
async fn a_start_drops_the_labels_of_services_that_do_not_exist() {
    let (kernel, store) = (FakeKernel::new(), Store::in_memory());
    let app = stored(&kernel, &store);
    for id in [TCP, OTHER] {
        create(&app, json!({"id": id, "labels": {"a": "1"}})).await;
    }
    kernel.remove_service(id("192.0.2.1:80"));
    let app = stored(&kernel, &store);
    app.recover_tables(
        Interrupted::Complete,
        RestoreOnStart::Never,
        Duration::from_secs(60),
    )
    .await;
    seed(&kernel, "192.0.2.1:80");
    for app in [app, stored(&kernel, &store)] {
        assert_eq!(labels_of(&app, TCP).await, json!({}));
        assert_eq!(labels_of(&app, OTHER).await, json!({"a": "1"}));
    }
}

#[tokio::test]
async fn without_its_store_the_daemon_writes_no_labels() {
    let (kernel, app) = setup();
    create(&app, json!({"id": TCP})).await;
    let missing = StoreError::Missing("state.redb".into());
    let app = app.with_store(Store::unavailable(missing)).unwrap();
    let writes = state(&kernel);
    let body = draft(json!({"id": OTHER, "labels": {"a": "1"}}));
    let created = app.create_service(context(), body).await;
    assert_eq!(reason(created), Reason::StoreUnavailable);
    let body = draft(json!({"scheduler": "rr", "labels": {"a": "1"}}));
    let patched = app.update_service(context(), key(TCP), body, NONE, false);
    assert_eq!(reason(patched.await), Reason::StoreUnavailable);
    assert_eq!(state(&kernel), writes);
    patch(&app, json!({"scheduler": "rr"})).await;
    app.delete_service(context(), key(TCP), false, NONE)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_service_that_cannot_be_created_leaves_the_labels_of_the_one_that_exists() {
    let (kernel, store) = (FakeKernel::new(), Store::in_memory());
    let app = stored(&kernel, &store);
    create(&app, json!({"id": TCP, "labels": {"a": "1"}})).await;
    let again = draft(json!({"id": TCP, "labels": {"b": "2"}}));
    assert_eq!(
        reason(app.create_service(context(), again).await),
        Reason::ServiceExists
    );
    // The kernel refuses it.
    let refused = draft(json!({"id": OTHER, "scheduler": "nosuch", "labels": {"b": "2"}}));
    app.create_service(context(), refused).await.unwrap_err();
    seed(&kernel, "192.0.2.2:80");
    for app in [app, stored(&kernel, &store)] {
        assert_eq!(labels_of(&app, TCP).await, json!({"a": "1"}));
        assert_eq!(labels_of(&app, OTHER).await, json!({}));
    }
}

#[tokio::test]
async fn lists_and_watches_select_by_labels() {
    let (_, app) = setup();
    create(&app, json!({"id": TCP, "labels": {"team": "web"}})).await;
    create(&app, json!({"id": OTHER})).await;
    let selected = |text: &str| KeptFilter {
        labels: text.parse().unwrap(),
        ..KeptFilter::default()
    };
    let list = async |text: &str| {
        let list = ListServices {
            filter: Filter {
                kept: selected(text),
                ..Filter::default()
            },
            ..ListServices::default()
        };
        let page = app.list_services(context(), list).await.unwrap().value;
        page.iter()
            .map(|entry| entry.service.key)
            .collect::<Vec<_>>()
    };
    assert_eq!(list("team=web").await, [key(TCP)]);
    assert_eq!(list("!team").await, [key(OTHER)]);
    let mut web = watch(&app, selected("team=web")).await;
    let mut everything = watch(&app, KeptFilter::default()).await;
    let app = &app;
    let change = async |id: &str, labels: Value| {
        let body = draft(json!({ "labels": labels }));
        app.update_service(context(), key(id), body, NONE, false)
            .await
            .unwrap();
    };
    change(OTHER, json!({"team": "web"})).await;
    assert_eq!(changes(&mut web).await, [format!("added {OTHER}")]);
    assert_eq!(
        changes(&mut everything).await,
        [format!("modified {OTHER}")]
    );
    change(TCP, json!({"team": "db"})).await;
    assert_eq!(changes(&mut web).await, [format!("deleted {TCP}")]);
    app.delete_service(context(), key(OTHER), false, NONE)
        .await
        .unwrap();
    assert_eq!(changes(&mut web).await, [format!("deleted {OTHER}")]);
    // It has its labels from the beginning.
    create(app, json!({"id": OTHER, "labels": {"team": "web"}})).await;
    assert_eq!(changes(&mut web).await, [format!("added {OTHER}")]);
}

#[tokio::test]
async fn declared_labels_are_applied_and_are_drift_if_they_differ() {
    let (_, app) = setup();
    let table = |labels: Value| json!([{"id": TCP, "servers": [], "labels": labels}]);
    let undeclared = || json!([{"id": TCP, "servers": []}]);
    apply(&app, "k8s", table(json!({"team": "web"}))).await;
    assert_eq!(labels_of(&app, TCP).await, json!({"team": "web"}));
    let etag = app
        .declared_table(context(), &owner("k8s"))
        .await
        .unwrap()
        .table
        .etag;
    patch(&app, json!({"labels": {"team": "db"}})).await;
    let drift = app.drift(context(), owner("k8s")).await.unwrap();
    assert_eq!(drift.operations.len(), 1);
    let (before, after) = drift.operations[0].changes();
    assert_eq!(drift.operations[0].op.name(), "update_service");
    assert_eq!(before, Some(json!({"service": {"labels": {"team": "db"}}})));
    assert_eq!(after, Some(json!({"service": {"labels": {"team": "web"}}})));
    assert_eq!((drift.summary.update, drift.summary.unchanged), (1, 0));
    apply(&app, "k8s", table(json!({"team": "web"}))).await;
    assert_eq!(labels_of(&app, TCP).await, json!({"team": "web"}));
    // Those that it does not declare stay, and are no drift.
    let report = apply(&app, "k8s", undeclared()).await;
    assert_eq!(report.outcome, ApplyOutcome::Unchanged);
    let table_now = app
        .declared_table(context(), &owner("k8s"))
        .await
        .unwrap()
        .table;
    assert_ne!(table_now.etag, etag);
    patch(&app, json!({"labels": {"team": "db"}})).await;
    assert!(
        app.drift(context(), owner("k8s"))
            .await
            .unwrap()
            .operations
            .is_empty()
    );
    apply(&app, "k8s", table(json!({}))).await;
    assert_eq!(labels_of(&app, TCP).await, json!({}));
    // Deleted with the service.
    apply(&app, "k8s", table(json!({"a": "1"}))).await;
    apply_with(&app, context(), "k8s", json!([]), all())
        .await
        .unwrap();
    create(&app, json!({"id": TCP})).await;
    assert_eq!(labels_of(&app, TCP).await, json!({}));
}

#[tokio::test]
async fn a_rollback_restores_labels() {
    let (_, app) = setup();
    let services = |labels: Value| json!([{"id": TCP, "servers": [], "labels": labels}]);
    apply(&app, "k8s", services(json!({"a": "1"}))).await;
    let failing = json!([
        {"id": TCP, "servers": [], "labels": {"a": "2"}},
        {"id": OTHER, "servers": [], "scheduler": "nosuch", "labels": {"b": "1"}},
    ]);
    let report = apply_with(&app, context(), "k8s", failing, all())
        .await
        .unwrap();
    assert_eq!(report.outcome, ApplyOutcome::RolledBack);
    assert_eq!(labels_of(&app, TCP).await, json!({"a": "1"}));
    // A batch: what was deleted is created again with its labels.
    let report = batch(
        &app,
        json!([
            {"op": "delete_service", "service": TCP},
            {"op": "create_service", "service": OTHER, "value": {"service": {"scheduler": "nosuch"}}},
        ]),
    )
    .await;
    assert!(report.failure.is_some());
    assert_eq!(labels_of(&app, TCP).await, json!({"a": "1"}));
}

#[tokio::test]
async fn operations_of_a_batch_have_labels() {
    let (_, app) = setup();
    let value = |service: Value| json!({ "service": service });
    let report = batch(
        &app,
        json!([
            {"op": "create_service", "service": TCP, "value": value(json!({"labels": {"a": "1"}}))},
            {"op": "update_service", "service": TCP, "value": value(json!({"labels": {"b": "2"}}))},
            {"op": "create_service", "service": OTHER, "value": value(json!({"labels": {"c": "3"}}))},
            {"op": "replace_service", "service": OTHER, "value": value(json!({"labels": {}}))},
        ]),
    )
    .await;
    assert_eq!(report.outcome, ApplyOutcome::Applied);
    assert_eq!(labels_of(&app, TCP).await, json!({"a": "1", "b": "2"}));
    assert_eq!(labels_of(&app, OTHER).await, json!({}));
    batch(
        &app,
        json!([{
            "op": "update_service", "service": TCP, "update_mask": "labels",
            "value": value(json!({"labels": {"z": ""}})),
        }]),
    )
    .await;
    assert_eq!(labels_of(&app, TCP).await, json!({"z": ""}));
}
