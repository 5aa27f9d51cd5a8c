//! Declared tables with `removal: drain`: what becomes of the servers that they do not declare any more.

use super::{
    holds::{connect, kernel_weight, until},
    tables::{OTHER, all, apply_with, operations, owner, service, table_draft},
    tables_failures::restarted,
    *,
};
use crate::store::Store;

const FIRST: &str = "10.0.0.1:80";
const SECOND: &str = "10.0.0.2:80";

/// Applies the table of `web` with `removal: drain`.
async fn declare(app: &App, services: Value) -> ApplyReport {
    let draft = json!({"services": services, "removal": "drain"});
    let applied = app.apply_table(context(), owner("web"), table_draft(draft), all());
    let report = applied.await.unwrap();
    assert_eq!(report.failure, None);
    report
}

/// The table of `web` with two servers of one service, each with a connection, of which it drops the second.
async fn dropped() -> (FakeKernel, App, ApplyReport) {
    let (kernel, app) = setup();
    declare(&app, json!([service(TCP, &[(1, 1), (2, 3)])])).await;
    connect(&kernel, FIRST, 1);
    connect(&kernel, SECOND, 1);
    let report = declare(&app, json!([service(TCP, &[(1, 1)])])).await;
    (kernel, app, report)
}

fn drain_of(report: &ApplyReport) -> HoldId {
    let drains: Vec<_> = report.operations.iter().filter_map(|op| op.drain).collect();
    assert_eq!(drains.len(), 1);
    drains[0]
}

async fn servers(app: &App, service: &str) -> Vec<String> {
    let mut servers = ids(&*read_service(app, service).await);
    servers.sort();
    servers
}

#[tokio::test]
async fn a_server_that_is_not_declared_any_more_is_deleted_when_it_has_no_connections() {
    let (kernel, app, report) = dropped().await;
    assert_eq!(report.outcome, ApplyOutcome::Applied);
    assert_eq!(
        operations(&report),
        ["delete_server tcp-192.0.2.1-80 10.0.0.2-80 draining"]
    );
    let Summary {
        delete, draining, ..
    } = report.summary;
    assert_eq!((delete, draining), (0, 1));
    let drain = app.drain(context(), drain_of(&report)).unwrap();
    assert_eq!(drain.table, Some(owner("web")));
    assert_eq!(kernel_weight(&kernel, TCP, FIRST), 1);
    assert_eq!(kernel_weight(&kernel, TCP, SECOND), 0);

    // It is no drift, and a second apply does nothing.
    let drift = app.drift(context(), owner("web")).await.unwrap();
    assert_eq!(drift.outcome, ApplyOutcome::Unchanged);
    let again = declare(&app, json!([service(TCP, &[(1, 1)])])).await;
    assert_eq!(
        (again.outcome, again.summary.draining),
        (ApplyOutcome::Unchanged, 1)
    );
    assert_eq!(app.hold_registry.removing().len(), 1);

    connect(&kernel, SECOND, 0);
    until(async || servers(&app, TCP).await == ["10.0.0.1-80"]).await;
    until(async || !app.drain(context(), drain.id).unwrap().is_active()).await;
    let drift = app.drift(context(), owner("web")).await.unwrap();
    assert_eq!(
        (drift.outcome, drift.summary.draining),
        (ApplyOutcome::Unchanged, 0)
    );
}

#[tokio::test]
async fn a_deadline_deletes_a_server_with_its_connections() {
    let (kernel, app) = setup();
    declare(&app, json!([service(TCP, &[(1, 1)])])).await;
    connect(&kernel, FIRST, 1);
    let draft =
        json!({"services": [service(TCP, &[])], "removal": "drain", "drain_deadline_seconds": 1});
    let applied = app.apply_table(context(), owner("web"), table_draft(draft), all());
    let id = drain_of(&applied.await.unwrap());
    until(async || servers(&app, TCP).await.is_empty()).await;
    until(async || !app.drain(context(), id).unwrap().is_active()).await;
    let drain = app.drain(context(), id).unwrap();
    assert_eq!(drain.state, DrainState::DeadlineReached);
    assert_eq!(kernel.services().len(), 1, "the service is declared");
}

#[tokio::test]
async fn a_server_that_is_declared_again_has_its_weight_again() {
    let (kernel, app, report) = dropped().await;
    let id = drain_of(&report);
    let again = declare(&app, json!([service(TCP, &[(1, 1), (2, 5)])])).await;
    assert_eq!(
        operations(&again),
        ["update_server tcp-192.0.2.1-80 10.0.0.2-80 done"]
    );
    assert_eq!(again.summary.draining, 0);
    assert_eq!(kernel_weight(&kernel, TCP, SECOND), 5);
    let drain = app.drain(context(), id).unwrap();
    assert_eq!(drain.state, DrainState::Cancelled);
    connect(&kernel, SECOND, 0);
    app.look_now().await;
    assert_eq!(servers(&app, TCP).await, ["10.0.0.1-80", "10.0.0.2-80"]);

    // The same weight needs no operation.
    connect(&kernel, SECOND, 1);
    declare(&app, json!([service(TCP, &[(1, 1)])])).await;
    assert_eq!(kernel_weight(&kernel, TCP, SECOND), 0);
    declare(&app, json!([service(TCP, &[(1, 1), (2, 5)])])).await;
    assert_eq!(kernel_weight(&kernel, TCP, SECOND), 5);
}

#[tokio::test]
async fn a_service_goes_with_its_last_server() {
    let (kernel, app) = setup();
    let both = json!([service(TCP, &[(1, 1), (2, 1)]), service(OTHER, &[])]);
    declare(&app, both.clone()).await;
    connect(&kernel, FIRST, 1);
    connect(&kernel, SECOND, 1);
    let report = declare(&app, json!([])).await;
    assert_eq!(
        operations(&report),
        [
            "delete_service tcp-192.0.2.2-80 done",
            "delete_server tcp-192.0.2.1-80 10.0.0.1-80 draining",
            "delete_server tcp-192.0.2.1-80 10.0.0.2-80 draining",
        ]
    );
    let drift = app.drift(context(), owner("web")).await.unwrap();
    assert_eq!(
        (drift.outcome, drift.summary.draining),
        (ApplyOutcome::Unchanged, 2)
    );
    connect(&kernel, FIRST, 0);
    until(async || servers(&app, TCP).await == ["10.0.0.2-80"]).await;

    // The service is still the owner's, who declares it again.
    let report = apply_with(&app, context(), "web", both, ApplyOptions::default());
    assert_eq!(report.await.unwrap().outcome, ApplyOutcome::Applied);
    assert_eq!(kernel_weight(&kernel, TCP, SECOND), 1);
    assert_eq!(servers(&app, TCP).await, ["10.0.0.1-80", "10.0.0.2-80"]);

    declare(&app, json!([])).await;
    connect(&kernel, SECOND, 0);
    until(async || kernel.services().is_empty()).await;
}

#[tokio::test]
async fn a_table_is_deleted_when_its_servers_are_drained() {
    let (kernel, app) = setup();
    let services = json!([service(TCP, &[(1, 1)])]);
    apply_with(&app, context(), "web", services.clone(), all())
        .await
        .unwrap();
    connect(&kernel, FIRST, 1);
    let options = DeleteTableOptions {
        confirm: Some(1),
        removal: Some(Removal::Drain),
        ..DeleteTableOptions::default()
    };
    let deleted = app.delete_table(context(), owner("web"), options).await;
    let report = deleted.unwrap().unwrap();
    assert_eq!(
        (report.outcome, report.summary.draining),
        (ApplyOutcome::Applied, 1)
    );
    assert_eq!(kernel_weight(&kernel, TCP, FIRST), 0);
    // It belongs to the owner until then, and to no other.
    let refused = apply_with(&app, context(), "other", services, all()).await;
    assert_eq!(reason(refused), Reason::ServiceOwned);
    connect(&kernel, FIRST, 0);
    until(async || kernel.services().is_empty()).await;
}

#[tokio::test]
async fn servers_that_drain_are_deleted_at_once_if_the_table_says_so() {
    let (kernel, app, _) = dropped().await;
    let draft = json!({"services": [service(TCP, &[(1, 1)])], "removal": "now"});
    // It has counted as deleted when the drain began.
    let options = ApplyOptions {
        max_deletes: Deletions::Count(0),
        ..ApplyOptions::default()
    };
    let applied = app.apply_table(context(), owner("web"), table_draft(draft), options);
    assert_eq!(
        operations(&applied.await.unwrap()),
        ["delete_server tcp-192.0.2.1-80 10.0.0.2-80 done"]
    );
    until(async || app.hold_registry.removing().is_empty()).await;
    assert_eq!(kernel_weight(&kernel, TCP, FIRST), 1);
}

#[tokio::test]
async fn servers_that_begin_to_drain_count_as_deleted() {
    let (kernel, app) = setup();
    declare(&app, json!([service(TCP, &[(1, 1), (2, 1)])])).await;
    let draft = json!({"services": [service(TCP, &[(1, 1)])], "removal": "drain"});
    let applied = app.apply_table(
        context(),
        owner("web"),
        table_draft(draft.clone()),
        ApplyOptions {
            max_deletes: Deletions::Count(0),
            ..ApplyOptions::default()
        },
    );
    assert_eq!(reason(applied.await), Reason::TooManyDeletes);
    assert_eq!(kernel_weight(&kernel, TCP, SECOND), 1);
}

#[tokio::test]
async fn an_apply_that_fails_begins_no_drain() {
    let (kernel, app) = setup();
    declare(&app, json!([service(TCP, &[(1, 1), (2, 1)])])).await;
    connect(&kernel, SECOND, 1);
    kernel
        .faults()
        .once(On::Command(command::NEW_DEST), Fault::Errno(libc::ENOMEM));
    let draft = json!({"services": [service(TCP, &[(1, 1), (3, 1)])], "removal": "drain"});
    let applied = app.apply_table(context(), owner("web"), table_draft(draft), all());
    let report = applied.await.unwrap();
    assert_eq!(report.outcome, ApplyOutcome::RolledBack);
    assert_eq!(
        operations(&report),
        [
            "create_server tcp-192.0.2.1-80 10.0.0.3-80 failed",
            "delete_server tcp-192.0.2.1-80 10.0.0.2-80 skipped",
        ]
    );
    assert_eq!(kernel_weight(&kernel, TCP, SECOND), 1);
    assert!(app.hold_registry.removing().is_empty());
}

#[tokio::test]
async fn drains_go_on_after_a_restart() {
    let (kernel, store) = (FakeKernel::new(), Store::in_memory());
    let app = restarted(&kernel, &store);
    declare(&app, json!([service(TCP, &[(1, 1), (2, 1)])])).await;
    connect(&kernel, FIRST, 1);
    connect(&kernel, SECOND, 1);
    declare(&app, json!([])).await;
    drop(app);

    let app = restarted(&kernel, &store);
    app.resume_holds();
    app.recover_tables(
        Interrupted::Complete,
        RestoreOnStart::Always,
        Duration::from_secs(60),
    )
    .await;
    assert_eq!(kernel_weight(&kernel, TCP, FIRST), 0);
    let drift = app.drift(context(), owner("web")).await.unwrap();
    assert_eq!(
        (drift.outcome, drift.summary.draining),
        (ApplyOutcome::Unchanged, 2)
    );
    connect(&kernel, FIRST, 0);
    connect(&kernel, SECOND, 0);
    until(async || kernel.services().is_empty()).await;
}

#[tokio::test]
async fn drains_of_an_apply_whose_end_was_not_stored_are_cancelled_or_kept_by_the_next_start() {
    for mode in [Interrupted::Complete, Interrupted::Undo] {
        let (kernel, store) = (FakeKernel::new(), Store::in_memory());
        let app = restarted(&kernel, &store);
        declare(&app, json!([service(TCP, &[(1, 1), (2, 1)])])).await;
        connect(&kernel, SECOND, 1);
        let draft = json!({"services": [service(TCP, &[(1, 1)])], "removal": "drain"});
        app.interrupt_draft(context(), "web", &draft, 1).await;
        assert_eq!(kernel_weight(&kernel, TCP, SECOND), 0);
        drop(app);

        let app = restarted(&kernel, &store);
        // The task cannot know what is declared.
        app.look_now().await;
        assert_eq!(kernel_weight(&kernel, TCP, SECOND), 0);
        app.recover_tables(mode, RestoreOnStart::Never, Duration::from_secs(60))
            .await;
        app.look_now().await;
        let (weight, removing) = match mode {
            Interrupted::Complete => (0, 1),
            Interrupted::Undo => (1, 0),
        };
        assert_eq!(kernel_weight(&kernel, TCP, SECOND), weight);
        assert_eq!(app.hold_registry.removing().len(), removing);
    }
}

#[tokio::test]
async fn a_set_of_servers_that_is_read_and_written_back_leaves_the_drain_alone() {
    let (kernel, app, _) = dropped().await;
    let entry = read_service(&app, TCP).await;
    let view = serde_json::to_value(ServiceView::new(&entry, Include::default())).unwrap();
    let memberships = view["servers"].as_array().unwrap().iter();
    let memberships: Vec<_> = memberships
        .map(|server| (server["id"].as_str(), server["membership"].as_str()))
        .collect();
    assert!(memberships.contains(&(Some("10.0.0.1-80"), None)));
    assert!(memberships.contains(&(Some("10.0.0.2-80"), Some("removing"))));
    let mut draft = draft(view);
    draft.scheduler = Field::Set("wrr".to_owned());
    let replaced = app.replace_service(context(), key(TCP), draft, NONE).await;
    assert!(replaced.unwrap().changed);
    assert_eq!(kernel_weight(&kernel, TCP, SECOND), 0);
    connect(&kernel, SECOND, 0);
    until(async || servers(&app, TCP).await == ["10.0.0.1-80"]).await;
}
