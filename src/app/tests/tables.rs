//! Declared tables: plan, guards, owners, drift, deletion.

use super::*;
use crate::store::{Store, StoreError};

pub(super) const OTHER: &str = "tcp-192.0.2.2-80";

pub(super) fn table_draft(json: Value) -> TableDraft {
    serde_json::from_value(json).unwrap()
}

pub(super) fn owner(name: &str) -> Owner {
    name.parse().unwrap()
}

/// A service with servers at 10.0.0.N, each with a weight.
pub(super) fn service(id: &str, servers: &[(u8, u32)]) -> Value {
    let server = |(n, weight): &(u8, u32)| json!({"address": format!("10.0.0.{n}"), "forwarding": "masquerade", "weight": weight});
    let servers: Vec<_> = servers.iter().map(server).collect();
    json!({"id": id, "scheduler": "rr", "servers": servers})
}

pub(super) fn all() -> ApplyOptions {
    ApplyOptions {
        max_deletes: Deletions::Percent(100),
        ..ApplyOptions::default()
    }
}

pub(super) async fn apply_with(
    app: &App,
    context: &RequestContext,
    name: &str,
    services: Value,
    options: ApplyOptions,
) -> Result<ApplyReport, Error> {
    let draft = table_draft(json!({"services": services}));
    app.apply_table(context, owner(name), draft, options).await
}

pub(super) async fn apply(app: &App, name: &str, services: Value) -> ApplyReport {
    let report = apply_with(app, context(), name, services, all())
        .await
        .unwrap();
    assert_eq!(report.failure, None);
    report
}

/// The first page of the declared tables.
pub(super) async fn listed(app: &App, context: &RequestContext) -> Vec<TableReport> {
    let page = app.declared_tables(context, &ListTables::default()).await;
    page.unwrap().entries
}

/// The operations of a report: names, ids and results.
pub(super) fn operations(report: &ApplyReport) -> Vec<String> {
    let text = |operation: &OperationReport| {
        let op = &operation.op;
        let server = op
            .server()
            .map_or_else(String::new, |key| format!(" {key}"));
        let result = operation.result.as_str();
        format!("{} {}{server} {result}", op.name(), op.service().unwrap())
    };
    report.operations.iter().map(text).collect()
}

/// The table without counters and without the order of services and servers.
pub(super) fn sorted(kernel: &FakeKernel) -> Vec<String> {
    let mut lines = Vec::new();
    for service in kernel.services() {
        let id = service.id;
        lines.push(format!("{id:?} {} {:#x}", service.scheduler, service.flags));
        lines.extend(service.destinations().map(|server| {
            let fake::Destination {
                address,
                forward,
                weight,
                upper,
                ..
            } = server;
            format!("{id:?} {address} {forward} {weight} {upper}")
        }));
    }
    lines.sort();
    lines
}

#[tokio::test]
async fn a_table_is_created_edited_in_place_and_left_alone_if_nothing_differs() {
    let (kernel, app) = setup();
    create_service(&app, OTHER, &["10.0.0.9-80"]).await;
    let report = apply(&app, "k8s", json!([service(TCP, &[(1, 1), (2, 1)])])).await;
    assert_eq!(report.outcome, ApplyOutcome::Applied);
    assert_eq!(report.generation, 1);
    assert_eq!(
        operations(&report),
        [
            "create_service tcp-192.0.2.1-80 done",
            "create_server tcp-192.0.2.1-80 10.0.0.2-80 done",
            "create_server tcp-192.0.2.1-80 10.0.0.1-80 done",
        ]
    );
    // The kernel has the order of the request.
    assert_eq!(
        ids(&*read_service(&app, TCP).await),
        ["10.0.0.1-80", "10.0.0.2-80"]
    );

    kernel.reset_counts();
    let again = apply(&app, "k8s", json!([service(TCP, &[(1, 1), (2, 1)])])).await;
    assert_eq!(
        (again.outcome, again.generation),
        (ApplyOutcome::Unchanged, 1)
    );
    assert_eq!(again.summary.unchanged, 3);
    for number in [
        command::NEW_DEST,
        command::SET_DEST,
        command::DEL_DEST,
        command::SET_SERVICE,
    ] {
        assert_eq!(kernel.commands(number), 0);
    }

    let report = apply(&app, "k8s", json!([service(TCP, &[(1, 5), (3, 1)])])).await;
    assert_eq!(report.generation, 2);
    assert_eq!(
        operations(&report),
        [
            "create_server tcp-192.0.2.1-80 10.0.0.3-80 done",
            "update_server tcp-192.0.2.1-80 10.0.0.1-80 done",
            "delete_server tcp-192.0.2.1-80 10.0.0.2-80 done",
        ]
    );
    let report = apply(&app, "k8s", json!([])).await;
    assert_eq!(
        operations(&report),
        ["delete_service tcp-192.0.2.1-80 done"]
    );
    assert_eq!(kernel.services().len(), 1, "the service of nobody stays");
}

#[tokio::test]
async fn services_of_others_are_refused_unless_they_are_adopted() {
    let (kernel, app) = setup();
    create_service(&app, TCP, &[]).await;
    apply(&app, "b", json!([service(OTHER, &[(2, 1)])])).await;
    let before = state(&kernel);
    let services = json!([
        service("tcp-192.0.2.7-80", &[]),
        service(TCP, &[]),
        service(OTHER, &[])
    ]);
    let with = |adopt| ApplyOptions { adopt, ..all() };
    let error = apply_with(&app, context(), "a", services.clone(), all())
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::ServiceOwned);
    assert_eq!(fields(&error), ["services[1]", "services[2]"]);
    assert!(
        error.violations[1].message.contains("the table of b"),
        "{error:?}"
    );
    let unmanaged = with(Adopt::Unmanaged);
    let error = apply_with(&app, context(), "a", services.clone(), unmanaged)
        .await
        .unwrap_err();
    assert_eq!(fields(&error), ["services[2]"]);
    assert_eq!(state(&kernel), before);

    let editor = RequestContext {
        principal: principal("editor", Role::Editor),
        ..context().clone()
    };
    let denied = apply_with(&app, &editor, "a", services.clone(), with(Adopt::Any)).await;
    assert_eq!(reason(denied), Reason::PermissionDenied);
    let adopted = apply_with(&app, context(), "a", services, with(Adopt::Any))
        .await
        .unwrap();
    assert_eq!(adopted.outcome, ApplyOutcome::Applied);
    let lost = app.declared_table(context(), &owner("b")).await.unwrap();
    assert_eq!(lost.table.state.lost, [key(OTHER)]);
    assert!(lost.table.services.is_empty());
    let again = apply_with(&app, context(), "b", json!([service(OTHER, &[])]), all()).await;
    assert_eq!(reason(again), Reason::ServiceOwned);
    apply(&app, "b", json!([])).await;
    let accepted = app.declared_table(context(), &owner("b")).await.unwrap();
    assert!(accepted.table.state.lost.is_empty());
}

#[tokio::test]
async fn a_table_that_deletes_too_much_is_refused() {
    let (kernel, app) = setup();
    let ten: Vec<_> = (1..=10).map(|n| (n, 1)).collect();
    apply(&app, "a", json!([service(TCP, &ten)])).await;
    let before = state(&kernel);
    let with = |max: &str| ApplyOptions {
        max_deletes: max.parse().unwrap(),
        ..ApplyOptions::default()
    };
    let six = json!([service(TCP, &ten[..6])]);
    for max in ["30%", "3"] {
        let error = apply_with(&app, context(), "a", six.clone(), with(max))
            .await
            .unwrap_err();
        assert_eq!(error.reason, Reason::TooManyDeletes);
        assert!(
            error.detail.contains("0 of 1 services and 4 of 10 servers"),
            "{error}"
        );
        assert_eq!(fields(&error), ["max_deletes"]);
    }
    // Services are counted apart.
    let error = apply_with(&app, context(), "a", json!([]), with("50%"))
        .await
        .unwrap_err();
    assert!(
        error
            .detail
            .contains("1 of 1 services and 10 of 10 servers"),
        "{error}"
    );
    assert_eq!(state(&kernel), before);
    apply_with(&app, context(), "a", six, with("40%"))
        .await
        .unwrap();
    assert_eq!(ids(&*read_service(&app, TCP).await).len(), 6);
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_its_plan_can_be_expected() {
    let (kernel, app) = setup();
    let services = json!([service(TCP, &[(1, 1)])]);
    let dry_run = context().clone().with_dry_run(true);
    let planned = apply_with(&app, &dry_run, "a", services.clone(), all())
        .await
        .unwrap();
    assert_eq!(planned.outcome, ApplyOutcome::Planned);
    assert_eq!(kernel.services().len(), 0);
    assert!(listed(&app, context()).await.is_empty());
    let expecting = || ApplyOptions {
        expect_plan: Some(planned.plan),
        ..all()
    };
    create_service(&app, TCP, &[]).await;
    let adopting = ApplyOptions {
        adopt: Adopt::Unmanaged,
        ..expecting()
    };
    let changed = apply_with(&app, context(), "a", services.clone(), adopting).await;
    assert_eq!(reason(changed), Reason::PlanChanged);
    app.delete_service(context(), key(TCP), false, NONE)
        .await
        .unwrap();
    let applied = apply_with(&app, context(), "a", services, expecting())
        .await
        .unwrap();
    assert_eq!(applied.outcome, ApplyOutcome::Applied);
}

#[tokio::test]
async fn invalid_tables_name_their_fields() {
    let (_, app) = setup();
    let services = json!([
        {"id": TCP},
        {"id": "tcp-192.0.2.1-0", "servers": []},
        service(OTHER, &[(1, 70_000)]),
        service(OTHER, &[]),
        {"servers": []},
    ]);
    let error = apply_with(&app, context(), "a", services, all())
        .await
        .unwrap_err();
    assert_eq!(
        fields(&error),
        [
            "services[0].servers",
            "services[1].port",
            "services[2].servers[0].weight",
            "services[4].id",
        ]
    );
    let none = app.apply_table(context(), owner("a"), table_draft(json!({})), all());
    assert_eq!(fields(&none.await.unwrap_err()), ["services"]);
}

#[tokio::test]
async fn drift_is_what_other_programs_changed() {
    let (kernel, app) = setup();
    apply(&app, "a", json!([service(TCP, &[(1, 1), (2, 1)])])).await;
    let status = async || {
        app.declared_table(context(), &owner("a"))
            .await
            .unwrap()
            .status
    };
    assert_eq!(status().await, TableStatus::InSync);
    assert!(kernel.remove_service(id("192.0.2.1:80")));
    assert_eq!(status().await, TableStatus::Drifted);
    // Deleted and created again by another program: it still belongs to the table.
    create_service(&app, TCP, &["10.0.0.1-80", "10.0.0.7-80"]).await;
    let drift = app.drift(context(), owner("a")).await.unwrap();
    assert_eq!(
        operations(&drift),
        [
            "create_server tcp-192.0.2.1-80 10.0.0.2-80 planned",
            "delete_server tcp-192.0.2.1-80 10.0.0.7-80 planned",
        ]
    );
    let missing = app.drift(context(), owner("b")).await;
    assert_eq!(reason(missing), Reason::TableNotFound);
}

#[tokio::test]
async fn keep_weights_leaves_the_weights_of_servers_that_exist() {
    let (_, app) = setup();
    let put = async |weight, keep: Option<bool>| {
        let services = [service(TCP, &[(1, weight)])];
        let draft = table_draft(json!({"services": services, "keep_weights": keep}));
        app.apply_table(context(), owner("a"), draft, all())
            .await
            .unwrap();
        read_service(&app, TCP).await.servers[0].config.weight
    };
    assert_eq!(put(3, Some(true)).await, 3);
    assert_eq!(put(4, None).await, 3, "kept when absent");
    assert_eq!(put(4, Some(false)).await, 4);
}

#[tokio::test]
async fn a_table_is_deleted_with_its_services_if_that_is_confirmed() {
    let (kernel, app) = setup();
    apply(
        &app,
        "a",
        json!([service(TCP, &[(1, 1)]), service(OTHER, &[])]),
    )
    .await;
    let delete = |confirm, guard| {
        let options = DeleteTableOptions {
            confirm,
            guard,
            ..DeleteTableOptions::default()
        };
        app.delete_table(context(), owner("a"), options)
    };
    assert_eq!(fields(&delete(None, NONE).await.unwrap_err()), ["confirm"]);
    assert_eq!(reason(delete(Some(1), NONE).await), Reason::ConfirmMismatch);
    let table = app
        .declared_table(context(), &owner("a"))
        .await
        .unwrap()
        .table;
    let stale = Guard::Matches(vec![Etag::of(EtagScope::Table, &1)]);
    assert_eq!(reason(delete(None, stale).await), Reason::RevisionMismatch);
    assert_eq!(kernel.services().len(), 2);
    let report = delete(None, Guard::Matches(vec![table.etag]))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (report.outcome, report.generation),
        (ApplyOutcome::Applied, 0)
    );
    assert_eq!(kernel.services().len(), 0);
    assert_eq!(reason(delete(Some(0), NONE).await), Reason::TableNotFound);
    let options = DeleteTableOptions {
        allow_missing: true,
        ..DeleteTableOptions::default()
    };
    let missing = app.delete_table(context(), owner("a"), options).await;
    assert!(missing.unwrap().is_none());
}

/// The context of a principal with this role and scope.
pub(super) fn scoped(role: Role, scope: Value, scope_reads: bool) -> RequestContext {
    let grant = Grant {
        role,
        scope: serde_json::from_value(scope).unwrap(),
        scope_reads,
    };
    let principal = Principal {
        grant: Some(grant),
        ..(*principal("someone", role)).clone()
    };
    RequestContext {
        principal: Arc::new(principal),
        ..context().clone()
    }
}

#[tokio::test]
async fn an_owner_takes_over_only_what_the_scope_has_without_it() {
    let (kernel, app) = setup();
    create_service(&app, TCP, &[]).await;
    let before = state(&kernel);
    let services = json!([service(TCP, &[(1, 1)]), service(OTHER, &[])]);
    let options = ApplyOptions {
        adopt: Adopt::Unmanaged,
        ..all()
    };
    let apply_as = |scope: Value| {
        let context = scoped(Role::Editor, scope, false);
        let (app, services, options) = (app.clone(), services.clone(), options.clone());
        async move { apply_with(&app, &context, "a", services, options).await }
    };
    let error = apply_as(json!([{"owner": "a"}])).await.unwrap_err();
    assert_eq!(error.reason, Reason::PermissionDenied);
    assert_eq!(error.violations[0].message, TCP);
    assert_eq!(error.violations.len(), 1, "OTHER would be new");
    assert_eq!(state(&kernel), before);
    apply_as(json!([{"owner": "a"}, {"address": "192.0.2.1"}]))
        .await
        .unwrap();
    // What the owner has already is within the scope of the owner.
    let again = apply_as(json!([{"owner": "a"}])).await.unwrap();
    assert_eq!(again.outcome, ApplyOutcome::Unchanged);
}

#[tokio::test]
async fn a_table_that_a_principal_sees_has_its_state() {
    let (_, app) = setup();
    apply(&app, "a", json!([service(TCP, &[(1, 1)])])).await;
    let viewer = scoped(Role::Viewer, json!([{"address": "192.0.2.1"}]), true);
    let tables = listed(&app, &viewer).await;
    assert_eq!(tables[0].status, TableStatus::InSync);
    let drift = app.drift(&viewer, owner("a")).await.unwrap();
    assert_eq!(drift.outcome, ApplyOutcome::Unchanged);
    let refused = audit::records(&app).await;
    let refused = refused.iter().filter(|record| record.reason.is_some());
    assert_eq!(refused.count(), 0);
    let other = scoped(Role::Viewer, json!([{"address": "192.0.2.9"}]), true);
    assert_eq!(listed(&app, &other).await.len(), 0);
    assert_eq!(
        reason(app.drift(&other, owner("a")).await),
        Reason::TableNotFound
    );
}

#[tokio::test]
async fn without_the_store_nothing_is_said_about_tables() {
    let (kernel, app) = setup();
    let missing = StoreError::Missing("state.redb".into());
    let app = app.with_store(Store::unavailable(missing)).unwrap();
    let dry_run = context().clone().with_dry_run(true);
    let services = json!([service(TCP, &[])]);
    let deleted = app.delete_table(context(), owner("a"), DeleteTableOptions::default());
    let reasons = [
        reason(app.declared_tables(context(), &ListTables::default()).await),
        reason(app.declared_table(context(), &owner("a")).await),
        reason(app.drift(context(), owner("a")).await),
        reason(deleted.await),
        reason(apply_with(&app, context(), "a", services.clone(), all()).await),
        reason(apply_with(&app, &dry_run, "a", services, all()).await),
    ];
    assert_eq!(reasons, [Reason::StoreUnavailable; 6]);
    assert_eq!(kernel.services().len(), 0);
}
