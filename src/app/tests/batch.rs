//! Batches: plan, refusals, failure, permissions.

use super::{
    tables::{OTHER, operations, service, sorted},
    *,
};
use crate::{
    identity::Scope,
    store::{
        Store,
        tests::support::{Failing, FakeDisk},
    },
};

fn batch(on_failure: &str, operations: Value) -> BatchDraft {
    serde_json::from_value(json!({"on_failure": on_failure, "operations": operations})).unwrap()
}

async fn execute(app: &App, operations: Value) -> Result<ApplyReport, Error> {
    app.apply_batch(context(), batch("rollback", operations))
        .await
}

fn create_server(n: u8) -> Value {
    let server = json!({"address": format!("10.0.0.{n}"), "forwarding": "masquerade"});
    json!({"op": "create_server", "service": TCP, "value": {"server": server}})
}

fn of_server(op: &str, n: u8, server: Value) -> Value {
    json!({"op": op, "service": TCP, "server": format!("10.0.0.{n}-80"), "value": {"server": server}})
}

fn delete_server(n: u8) -> Value {
    json!({"op": "delete_server", "service": TCP, "server": format!("10.0.0.{n}-80")})
}

#[tokio::test]
async fn later_operations_see_the_effect_of_earlier_ones() {
    let (kernel, app) = setup();
    let report = execute(
        &app,
        json!([
            {"op": "create_service", "value": {"service": service(TCP, &[(1, 1), (2, 1)])}},
            create_server(3),
            of_server("update_server", 3, json!({"weight": 7})),
            of_server("replace_server", 1, json!({"forwarding": "masquerade", "weight": 1})),
            {"op": "update_service", "service": TCP, "value": {"service": {"scheduler": "wlc"}}},
            delete_server(2),
            {"op": "delete_service", "service": OTHER, "allow_missing": true},
        ]),
    )
    .await
    .unwrap();
    assert_eq!(
        (report.outcome, &report.failure),
        (ApplyOutcome::Applied, &None)
    );
    assert_eq!(
        operations(&report),
        [
            "create_service tcp-192.0.2.1-80 done",
            "create_server tcp-192.0.2.1-80 10.0.0.2-80 done",
            "create_server tcp-192.0.2.1-80 10.0.0.1-80 done",
            "create_server tcp-192.0.2.1-80 10.0.0.3-80 done",
            "update_server tcp-192.0.2.1-80 10.0.0.3-80 done",
            "update_service tcp-192.0.2.1-80 done",
            "delete_server tcp-192.0.2.1-80 10.0.0.2-80 done",
        ]
    );
    let indices: Vec<_> = report.operations.iter().map(|op| op.index).collect();
    assert_eq!(indices, [0, 0, 0, 1, 2, 4, 5].map(Some));
    let Summary {
        create,
        update,
        delete,
        unchanged,
        draining,
    } = report.summary;
    assert_eq!(
        (create, update, delete, unchanged, draining),
        (4, 2, 1, 1, 0)
    );
    let entry = read_service(&app, TCP).await;
    assert_eq!(entry.service.config.scheduler.to_string(), "wlc");
    assert_eq!(ids(&entry), ["10.0.0.3-80", "10.0.0.1-80"]);
    assert_eq!(entry.servers[0].config.weight, 7);

    kernel.reset_counts();
    let same = of_server("update_server", 3, json!({"weight": 7}));
    let report = execute(&app, json!([same])).await.unwrap();
    assert_eq!(report.outcome, ApplyOutcome::Unchanged);
    assert_eq!(kernel.commands(command::SET_DEST), 0);
}

#[tokio::test]
async fn a_batch_with_an_invalid_operation_changes_nothing_and_names_all_fields() {
    let (kernel, app) = setup();
    create_service(&app, TCP, &["10.0.0.1-80"]).await;
    let before = sorted(&kernel);
    let refused = async |operations: Value| {
        let error = execute(&app, operations).await.unwrap_err();
        assert_eq!(sorted(&kernel), before);
        error
    };
    let error = refused(json!([
        create_server(2),
        {"service": TCP},
        {"op": "update_server", "service": TCP, "value": {"server": {}}},
        {"op": "create_server", "service": "x", "etag": "*", "value": {"server": {"address": "10.0.0.3"}}},
        {"op": "delete_service", "service": TCP, "value": {}},
        {"op": "update_service", "service": TCP, "value": {"service": {"port": 81}}},
        {"op": "replace_service", "service": TCP, "allow_missing": true, "value": {"server": {}}},
        {"op": "update_server", "service": TCP, "server": "10.0.0.1-80", "update_mask": "wieght",
         "value": {"server": {"weight": 1}}},
    ]))
    .await;
    assert_eq!(error.reason, Reason::InvalidArgument);
    assert_eq!(
        fields(&error),
        [
            "operations[1].op",
            "operations[2].server",
            "operations[3].etag",
            "operations[4].value",
            "operations[5].value.service.port",
            "operations[6].allow_missing",
            "operations[6].value.server",
            "operations[7].update_mask",
        ]
    );
    // Values are checked against what the operation finds.
    let error = refused(json!([
        create_server(2),
        of_server("update_server", 2, json!({"weight": 70_000})),
        {"op": "create_service", "service": OTHER, "value": {"service": {"servers": [{"address": "x"}]}}},
        {"op": "create_server", "service": OTHER, "value": {"server": {"address": "10.0.0.1"}}},
    ]))
    .await;
    assert_eq!(
        fields(&error),
        [
            "operations[1].value.server.weight",
            "operations[2].value.service.servers[0].address",
        ]
    );
    assert_eq!(fields(&refused(json!([])).await), ["operations"]);
    let many = Value::from(vec![delete_server(1); 10_001]);
    assert_eq!(refused(many).await.reason, Reason::TooLarge);
}

#[tokio::test]
async fn a_batch_that_is_not_possible_changes_nothing() {
    let (kernel, app) = setup();
    let entry = create_service(&app, TCP, &["10.0.0.1-80"]).await;
    let before = sorted(&kernel);
    let with_etag = |mut operation: Value, etag: String| {
        operation["etag"] = json!(etag);
        operation
    };
    let tag = entry.servers[0].etag().to_string();
    let update = |weight| of_server("update_server", 1, json!({"weight": weight}));
    let delete_service = json!({"op": "delete_service", "service": TCP});
    for (operation, expected) in [
        (create_server(2), Reason::ServerExists),
        (delete_server(9), Reason::ServerNotFound),
        (
            with_etag(delete_service.clone(), "t-0123456789abcdef".to_owned()),
            Reason::RevisionMismatch,
        ),
        (
            with_etag(update(4), "nonsense".to_owned()),
            Reason::RevisionMismatch,
        ),
        // It was changed by an operation of the batch.
        (with_etag(update(4), tag.clone()), Reason::RevisionMismatch),
        (
            json!({"op": "create_service", "value": {"service": {"id": TCP}}}),
            Reason::ServiceExists,
        ),
        (
            json!({"op": "update_service", "service": OTHER, "value": {"service": {}}}),
            Reason::ServiceNotFound,
        ),
        (
            json!({"op": "delete_server", "service": OTHER, "server": "10.0.0.1-80"}),
            Reason::ServiceNotFound,
        ),
    ] {
        for on_failure in ["rollback", "stop", "continue"] {
            let operations = json!([create_server(2), update(3), operation]);
            let error = app.apply_batch(context(), batch(on_failure, operations));
            let error = error.await.unwrap_err();
            assert_eq!(error.reason, expected, "{error}");
            assert!(
                error.violations[0].field.starts_with("operations[2]"),
                "{error:?}"
            );
            assert_eq!(sorted(&kernel), before, "{operation}");
        }
    }
    // Before the change of the batch, the ETag holds.
    let whole = read_service(&app, TCP).await.etag().to_string();
    let operations = json!([with_etag(update(3), tag), delete_service]);
    execute(&app, operations).await.unwrap();
    create_service(&app, TCP, &["10.0.0.1-80"]).await;
    let delete_service = json!({"op": "delete_service", "service": TCP});
    execute(&app, json!([with_etag(delete_service, whole)]))
        .await
        .unwrap();
    assert_eq!(kernel.services().len(), 0);
}

#[tokio::test]
async fn a_mask_resets_the_fields_that_the_value_does_not_have() {
    let (_, app) = setup();
    create_service(&app, TCP, &["10.0.0.1-80"]).await;
    let update = |mask: Option<&str>, server: Value| {
        let mut operation = of_server("update_server", 1, server);
        operation["update_mask"] = json!(mask);
        operation
    };
    let thresholds = async || {
        let config = read_service(&app, TCP).await.servers[0].config;
        (config.weight, config.upper_threshold)
    };
    execute(
        &app,
        json!([update(None, json!({"weight": 5, "upper_threshold": 9}))]),
    )
    .await
    .unwrap();
    assert_eq!(thresholds().await, (5, 9));
    let masked = update(Some("upper_threshold"), json!({"weight": 6}));
    execute(&app, json!([masked])).await.unwrap();
    assert_eq!(thresholds().await, (5, 0));
}

/// Every operation in turn is rejected by the kernel.
#[tokio::test]
async fn a_batch_that_fails_at_any_operation_leaves_what_was_there() {
    let steps = json!([
        create_server(5),
        of_server("update_server", 1, json!({"weight": 7})),
        {"op": "create_service", "value": {"service": service(OTHER, &[(4, 1)])}},
        of_server("update_server", 5, json!({"weight": 8})),
        {"op": "update_service", "service": TCP, "value": {"service": {"scheduler": "wlc"}}},
        delete_server(5),
        {"op": "delete_service", "service": OTHER},
    ]);
    let numbers = [
        command::NEW_DEST,
        command::SET_DEST,
        command::NEW_SERVICE,
        command::NEW_DEST,
        command::SET_DEST,
        command::SET_SERVICE,
        command::DEL_DEST,
        command::DEL_SERVICE,
    ];
    for failing in 0..numbers.len() {
        let (kernel, app) = setup();
        create_service(&app, TCP, &["10.0.0.1-80"]).await;
        let before = sorted(&kernel);
        let number = numbers[failing];
        let earlier = numbers[..failing].iter().filter(|other| **other == number);
        super::tables_failures::fail_after(&kernel, number, earlier.count());
        let report = execute(&app, steps.clone()).await.unwrap();
        let results: Vec<_> = report
            .operations
            .iter()
            .map(|op| op.result.as_str())
            .collect();
        assert_eq!(results[failing], "failed", "{results:?}");
        assert!(
            results[..failing].iter().all(|result| *result == "undone"),
            "{results:?}"
        );
        assert!(
            results[failing + 1..]
                .iter()
                .all(|result| *result == "skipped"),
            "{results:?}"
        );
        assert_eq!(sorted(&kernel), before, "{:?}", operations(&report));
        let failure = report.failure.unwrap();
        assert_eq!(
            (failure.reason, failure.errno),
            (Reason::ApplyFailed, Some(Errno::ENOMEM))
        );
        let lost = report.operations.iter().any(|op| !op.lost.is_empty());
        assert_eq!(
            report.outcome,
            match lost {
                true => ApplyOutcome::RollbackIncomplete,
                false => ApplyOutcome::RolledBack,
            }
        );
    }
}

#[tokio::test]
async fn a_failure_stops_the_batch_or_the_others_are_executed() {
    for (on_failure, expected) in [
        ("stop", ["done", "failed", "skipped"]),
        ("continue", ["done", "failed", "done"]),
    ] {
        let (kernel, app) = setup();
        create_service(&app, TCP, &[]).await;
        super::tables_failures::fail_after(&kernel, command::NEW_DEST, 1);
        let operations = json!([create_server(1), create_server(2), create_server(3)]);
        let report = app.apply_batch(context(), batch(on_failure, operations));
        let report = report.await.unwrap();
        let results: Vec<_> = report
            .operations
            .iter()
            .map(|op| op.result.as_str())
            .collect();
        assert_eq!(results, expected);
        assert_eq!(report.outcome, ApplyOutcome::Partial);
        assert_eq!(report.failure.unwrap().reason, Reason::ApplyFailed);
    }
}

#[tokio::test]
async fn a_dry_run_of_a_batch_changes_nothing() {
    let (kernel, app) = setup();
    create_service(&app, TCP, &[]).await;
    let before = sorted(&kernel);
    let dry_run = context().clone().with_dry_run(true);
    let report = app.apply_batch(&dry_run, batch("rollback", json!([create_server(1)])));
    let report = report.await.unwrap();
    assert_eq!(report.outcome, ApplyOutcome::Planned);
    assert_eq!(
        operations(&report),
        ["create_server tcp-192.0.2.1-80 10.0.0.1-80 planned"]
    );
    assert_eq!(sorted(&kernel), before);
}

#[tokio::test]
async fn a_batch_with_one_refused_operation_is_refused_as_a_whole() {
    let (kernel, app) = setup();
    create_service(&app, TCP, &["10.0.0.1-80"]).await;
    create_service(&app, OTHER, &["10.0.0.1-80"]).await;
    let before = sorted(&kernel);
    let as_principal = |principal| RequestContext {
        principal,
        ..context().clone()
    };
    let operator = as_principal(principal("op", Role::Operator));
    let weight = of_server("update_server", 1, json!({"weight": 0}));
    let threshold = of_server("update_server", 1, json!({"upper_threshold": 5}));
    for operations in [
        json!([weight, threshold]),
        json!([weight, create_server(2)]),
    ] {
        let refused = app
            .apply_batch(&operator, batch("rollback", operations))
            .await;
        assert_eq!(reason(refused), Reason::PermissionDenied);
        assert_eq!(sorted(&kernel), before);
    }
    let viewer = as_principal(principal("v", Role::Viewer));
    let refused = app
        .apply_batch(&viewer, batch("rollback", json!([weight])))
        .await;
    assert_eq!(reason(refused), Reason::PermissionDenied);

    let scope: Scope = serde_json::from_value(json!([{"address": "192.0.2.1"}])).unwrap();
    let mut scoped = Principal::clone(&principal("e", Role::Editor));
    scoped.grant = scoped.grant.map(|grant| Grant { scope, ..grant });
    let scoped = as_principal(Arc::new(scoped));
    let outside = json!({"op": "delete_service", "service": "tcp-192.0.2.9-80"});
    let refused = app.apply_batch(&scoped, batch("rollback", json!([weight, outside])));
    // Not that it does not exist.
    let error = refused.await.unwrap_err();
    assert_eq!(error.reason, Reason::PermissionDenied);
    assert_eq!(error.violations[0].message, "tcp-192.0.2.9-80");
    assert_eq!(sorted(&kernel), before);

    let report = app.apply_batch(&operator, batch("rollback", json!([weight])));
    assert_eq!(report.await.unwrap().outcome, ApplyOutcome::Applied);
    let create = json!([create_server(2)]);
    app.apply_batch(&scoped, batch("rollback", create))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_batch_whose_labels_the_full_store_does_not_take_says_to_free_space() {
    let disk = FakeDisk::new(Vec::new());
    let (_, app) = setup();
    let app = app.with_store(Store::on_disk(disk.clone())).unwrap();
    let full = Failing::After(0, std::io::ErrorKind::StorageFull);
    disk.with(|content| content.failing = Some(full));
    let labelled = json!({"id": TCP, "scheduler": "rr", "labels": {"a": "1"}});
    let operation = json!({"op": "create_service", "value": {"service": labelled}});
    let report = execute(&app, json!([operation])).await.unwrap();
    assert_eq!(
        report.first_failure().unwrap().reason,
        Reason::StoreUnavailable
    );
    let hint = report.failure.unwrap().hint.unwrap();
    assert!(hint.contains("free space"), "{hint}");
}
