//! The settings of declared tables, drift that is reported or repaired, and what only applies may change.

use futures_util::StreamExt;

use super::{
    holds::{change, drain_request},
    tables::{OTHER, all, apply, operations, owner, service, sorted, table_draft},
    tables_failures::fail_after,
    *,
};

const FOREIGN: u32 = 77;

/// Applies a table with settings.
async fn declare(app: &App, name: &str, services: Value, settings: Value) -> ApplyReport {
    let mut table = json!({ "services": services });
    let members = settings.as_object().unwrap().clone();
    table.as_object_mut().unwrap().extend(members);
    let report = app.apply_table(context(), owner(name), table_draft(table), all());
    report.await.unwrap()
}

async fn repaired_table(app: &App) {
    let services = json!([service(TCP, &[(1, 10), (2, 20)])]);
    declare(app, "web", services, json!({"reconcile": "repair"})).await;
}

async fn update(app: &App, name: &str, settings: Value) -> Result<TableReport, Error> {
    app.update_table(context(), owner(name), table_draft(settings), NONE)
        .await
}

async fn report(app: &App, name: &str) -> TableReport {
    app.declared_table(context(), &owner(name)).await.unwrap()
}

/// Another program sets the weight of 10.0.0.1.
fn set_by_another_program(kernel: &FakeKernel) {
    change(kernel, key(TCP), socket("10.0.0.1:80"), |server| {
        server.weight = FOREIGN
    });
}

fn as_admin() -> RequestContext {
    RequestContext {
        principal: principal("root", Role::Admin),
        ..context().clone()
    }
}

#[tokio::test]
async fn an_update_changes_the_settings_and_nothing_else() {
    let (kernel, app) = setup();
    assert_eq!(
        reason(update(&app, "web", json!({})).await),
        Reason::TableNotFound
    );
    let first = apply(&app, "web", json!([service(TCP, &[(1, 10)])])).await;
    let before = sorted(&kernel);
    let updated = update(
        &app,
        "web",
        json!({"reconcile": "report", "keep_weights": true}),
    );
    let updated = updated.await.unwrap();
    let settings = TableSettings {
        reconcile: Reconcile::Report,
        keep_weights: true,
        ..TableSettings::default()
    };
    assert_eq!(updated.table.state.settings, settings);
    assert_eq!(updated.table.state.generation, first.generation + 1);
    assert_ne!(
        Some(updated.table.etag),
        first.etag,
        "settings are part of the declaration"
    );
    let again = update(&app, "web", json!({"reconcile": "report"}))
        .await
        .unwrap();
    assert_eq!(again.table.state, updated.table.state, "nothing differs");
    assert_eq!(sorted(&kernel), before);

    let stale = Guard::Matches(vec![first.etag.unwrap()]);
    let draft = || table_draft(json!({"reconcile": "off"}));
    let refused = app.update_table(context(), owner("web"), draft(), stale);
    assert_eq!(reason(refused.await), Reason::RevisionMismatch);
    let refused = update(&app, "web", json!({"services": []}))
        .await
        .unwrap_err();
    assert_eq!(fields(&refused), ["services"]);
    let dry_run = context().clone().with_dry_run(true);
    let planned = app.update_table(&dry_run, owner("web"), draft(), NONE);
    assert_eq!(
        planned.await.unwrap().table.state.settings.reconcile,
        Reconcile::Off
    );
    assert_eq!(report(&app, "web").await.table.state, updated.table.state);

    // An apply without them keeps them.
    apply(&app, "web", json!([service(TCP, &[(1, 10), (2, 1)])])).await;
    assert_eq!(report(&app, "web").await.table.state.settings, settings);
}

#[tokio::test]
async fn only_a_table_under_repair_is_repaired() {
    for reconcile in ["off", "report", "repair"] {
        let (kernel, app) = setup();
        let services = json!([service(TCP, &[(1, 10), (2, 20)]), service(OTHER, &[(1, 1)])]);
        declare(&app, "web", services, json!({ "reconcile": reconcile })).await;
        let declared = sorted(&kernel);
        create_service(&app, "tcp-192.0.2.9-80", &["10.0.0.9-80"]).await;
        set_by_another_program(&kernel);
        let server = fake::Destination::new(socket("10.0.0.8:80"));
        assert!(kernel.add_destination(id("192.0.2.1:80"), server));
        assert!(kernel.remove_service(id("192.0.2.2:80")));
        let drifted = sorted(&kernel);
        app.reconcile_now().await.unwrap();
        assert!(
            kernel.remove_service(id("192.0.2.9:80")),
            "nobody's service stays"
        );
        match reconcile {
            "repair" => {
                assert_eq!(sorted(&kernel), declared);
                let status = report(&app, "web").await;
                assert_eq!(status.status, TableStatus::InSync);
                assert_eq!(status.conflicts, []);
            }
            _ => {
                let is_of_table = |line: &&String| !line.contains("192.0.2.9");
                let drifted: Vec<_> = drifted.iter().filter(is_of_table).cloned().collect();
                assert_eq!(sorted(&kernel), drifted);
                assert_eq!(report(&app, "web").await.status, TableStatus::Drifted);
            }
        }
    }
}

#[tokio::test]
async fn a_change_that_returns_at_once_is_repaired_once_more_and_then_later() {
    let (kernel, app) = setup();
    repaired_table(&app).await;
    let weight = || {
        let service = kernel.service(id("192.0.2.1:80")).unwrap();
        service.destination(socket("10.0.0.1:80")).unwrap().weight
    };
    for expected in [10, 10, FOREIGN] {
        set_by_another_program(&kernel);
        app.reconcile_now().await.unwrap();
        assert_eq!(weight(), expected);
    }
    // A table that is put under repair again begins anew.
    for reconcile in ["off", "repair"] {
        update(&app, "web", json!({ "reconcile": reconcile }))
            .await
            .unwrap();
    }
    app.reconcile_now().await.unwrap();
    assert_eq!(weight(), 10);
    for expected in [10, FOREIGN] {
        set_by_another_program(&kernel);
        app.reconcile_now().await.unwrap();
        assert_eq!(weight(), expected);
    }
    // Another server of the same service is not delayed.
    change(&kernel, key(TCP), socket("10.0.0.2:80"), |server| {
        server.weight = 1
    });
    app.reconcile_now().await.unwrap();
    let drift = app.drift(context(), owner("web")).await.unwrap();
    assert_eq!(
        operations(&drift),
        ["update_server tcp-192.0.2.1-80 10.0.0.1-80 planned"]
    );
    assert_eq!(report(&app, "web").await.status, TableStatus::Drifted);
}

#[tokio::test]
async fn repairs_leave_drains_and_kept_weights_alone() {
    let (kernel, app) = setup();
    repaired_table(&app).await;
    let request = drain_request(json!({"server": "10.0.0.1-80"}));
    app.create_drain(&as_admin(), request).await.unwrap();
    app.reconcile_now().await.unwrap();
    let server = read_service(&app, TCP)
        .await
        .servers
        .iter()
        .find(|s| s.key == server_key("10.0.0.1-80"))
        .cloned()
        .unwrap();
    assert_eq!((server.config.weight, server.effective_weight), (10, 0));

    update(&app, "web", json!({"keep_weights": true}))
        .await
        .unwrap();
    change(&kernel, key(TCP), socket("10.0.0.2:80"), |server| {
        server.weight = FOREIGN
    });
    app.reconcile_now().await.unwrap();
    let kept = kernel.service(id("192.0.2.1:80")).unwrap();
    assert_eq!(
        kept.destination(socket("10.0.0.2:80")).unwrap().weight,
        FOREIGN
    );
}

#[tokio::test]
async fn a_failed_repair_of_one_object_does_not_stop_the_others() {
    let (kernel, app) = setup();
    let services = json!([service(TCP, &[(1, 10)]), service(OTHER, &[(1, 1), (2, 2)])]);
    declare(&app, "web", services, json!({"reconcile": "repair"})).await;
    let declared = sorted(&kernel);
    assert!(kernel.remove_destination(id("192.0.2.1:80"), socket("10.0.0.1:80")));
    assert!(kernel.remove_destination(id("192.0.2.2:80"), socket("10.0.0.2:80")));
    fail_after(&kernel, command::NEW_DEST, 0);
    app.reconcile_now().await.unwrap();
    assert_eq!(sorted(&kernel).len(), declared.len() - 1);
    app.reconcile_now().await.unwrap();
    assert_eq!(sorted(&kernel), declared, "it is tried again");
}

#[tokio::test]
async fn only_applies_change_the_services_of_a_table_under_repair() {
    let (kernel, app) = setup();
    repaired_table(&app).await;
    create_service(&app, OTHER, &[]).await;
    let before = sorted(&kernel);
    let server = || server_draft(json!({"address": "10.0.0.3", "forwarding": "masquerade"}));
    let (tcp, first) = (key(TCP), server_key("10.0.0.1-80"));
    for dry_run in [false, true] {
        let context = as_admin().with_dry_run(dry_run);
        let created = app.create_server(&context, tcp, server()).await;
        assert_eq!(reason(created), Reason::ServiceOwned);
        let weight = server_draft(json!({"weight": 3}));
        let updated = app
            .update_server(&context, tcp, first, weight, NONE, false)
            .await;
        let error = updated.unwrap_err();
        assert_eq!(error.reason, Reason::ServiceOwned);
        assert!(
            error
                .detail
                .contains("tcp-192.0.2.1-80 belongs to the table of web"),
            "{error}"
        );
        assert!(error.hint.unwrap().contains("PATCH /v1/tables/web"));
        let deleted = app.delete_server(&context, tcp, first, false, NONE).await;
        assert_eq!(reason(deleted), Reason::ServiceOwned);
        let deleted = app.delete_service(&context, tcp, false, NONE).await;
        assert_eq!(reason(deleted), Reason::ServiceOwned);
        let replaced = draft(json!({"scheduler": "wlc"}));
        let replaced = app.replace_service(&context, tcp, replaced, NONE).await;
        assert_eq!(reason(replaced), Reason::ServiceOwned);
        let operation = json!({"op": "delete_service", "service": TCP});
        let other = json!({"op": "delete_service", "service": OTHER});
        let batch = serde_json::from_value(json!({"operations": [other, operation]})).unwrap();
        assert_eq!(
            reason(app.apply_batch(&context, batch).await),
            Reason::ServiceOwned
        );
        let texts = [
            (
                RestoreMode::Execute,
                "-D -t 192.0.2.2:80\n-e -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 3\n",
            ),
            (RestoreMode::Replace, "-A -t 192.0.2.1:80 -s rr\n"),
        ];
        for (mode, text) in texts {
            let options = RestoreOptions { mode, stop: false };
            let restored = app
                .restore_rules(&context, text.to_owned().into(), options)
                .await;
            let last = match restored {
                Ok(events) => events.collect::<Vec<_>>().await.pop().unwrap().map(drop),
                Err(error) => Err(error),
            };
            assert_eq!(reason(last), Reason::ServiceOwned, "{mode:?}");
        }
        assert_eq!(sorted(&kernel), before);
    }

    // Who may not change the service does not learn whose it is.
    let denied = |role| RequestContext {
        principal: principal("other", role),
        ..context().clone()
    };
    let text = "-e -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 3\n";
    for (role, expected) in [
        (Role::Viewer, Reason::PermissionDenied),
        (Role::Operator, Reason::ServiceOwned),
    ] {
        let context = denied(role);
        let weight = server_draft(json!({"weight": 3}));
        let updated = app.update_server(&context, tcp, first, weight, NONE, false);
        assert_eq!(reason(updated.await), expected);
        let options = RestoreOptions::default();
        let restored = app.restore_rules(&context, text.to_owned().into(), options);
        assert_eq!(restored.await.err().unwrap().reason, expected);
    }
    assert_eq!(sorted(&kernel), before);

    // Permitted: zeroing, other services, and all of it without repairs.
    app.zero(&as_admin(), Some(tcp)).await.unwrap();
    app.create_server(&as_admin(), key(OTHER), server())
        .await
        .unwrap();
    update(&app, "web", json!({"reconcile": "report"}))
        .await
        .unwrap();
    app.create_server(&as_admin(), tcp, server()).await.unwrap();
    update(&app, "web", json!({"reconcile": "repair"}))
        .await
        .unwrap();
    let applied = apply(&app, "web", json!([service(TCP, &[(1, 5)])])).await;
    assert_eq!(applied.outcome, ApplyOutcome::Applied);
}

#[tokio::test]
async fn a_clear_suspends_repairs() {
    let clears = [
        (None, ""),
        (
            Some(RestoreMode::Execute),
            "-C\n-A -t 192.0.2.1:80 -s wlc\n",
        ),
        (Some(RestoreMode::Clear), "-A -t 192.0.2.1:80 -s wlc\n"),
    ];
    for (mode, text) in clears {
        let (kernel, app) = setup();
        repaired_table(&app).await;
        let services = json!([service(OTHER, &[])]);
        declare(&app, "mail", services, json!({"reconcile": "report"})).await;
        let suspended = match mode {
            None => {
                let wrong = app.clear_services(&as_admin(), Some(3)).await;
                assert_eq!(reason(wrong), Reason::ConfirmMismatch);
                let settings = report(&app, "web").await.table.state.settings;
                assert_eq!(settings.reconcile, Reconcile::Repair);
                let cleared = app.clear_services(&as_admin(), Some(2)).await.unwrap();
                cleared.reconcile_suspended
            }
            Some(mode) => {
                let options = RestoreOptions { mode, stop: false };
                let context = as_admin();
                let restored = app.restore_rules(&context, text.to_owned().into(), options);
                let last = restored
                    .await
                    .unwrap()
                    .collect::<Vec<_>>()
                    .await
                    .pop()
                    .unwrap();
                match last.unwrap() {
                    RestoreEvent::End(summary) => summary.reconcile_suspended,
                    event => panic!("{event:?}"),
                }
            }
        };
        assert_eq!(suspended.into_iter().collect::<Vec<_>>(), [owner("web")]);
        let after = sorted(&kernel);
        app.reconcile_now().await.unwrap();
        assert_eq!(sorted(&kernel), after);
        let web = report(&app, "web").await;
        assert_eq!(web.table.state.settings.reconcile, Reconcile::Report);
        assert_eq!(web.status, TableStatus::Drifted);
    }
}
