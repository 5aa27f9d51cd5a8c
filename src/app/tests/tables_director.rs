//! Timeouts and sync daemons of declared tables.

use super::{
    tables::{all, listed, owner, table_draft},
    *,
};
use crate::app::{Interrupted, RestoreOnStart};

const LONG: u32 = 1200;

/// What is executed, and how: services have their id, others their name alone.
fn operations(report: &ApplyReport) -> Vec<String> {
    let text = |operation: &OperationReport| {
        let op = &operation.op;
        let service = op.service().map(|key| format!(" {key}"));
        let (service, result) = (service.unwrap_or_default(), operation.result.as_str());
        format!("{}{service} {result}", op.name())
    };
    report.operations.iter().map(text).collect()
}

async fn try_apply(app: &App, name: &str, table: Value) -> Result<ApplyReport, Error> {
    let table = table_draft(table);
    app.apply_table(context(), owner(name), table, all()).await
}

async fn apply(app: &App, name: &str, table: Value) -> ApplyReport {
    let report = try_apply(app, name, table).await.unwrap();
    assert_eq!(report.failure, None);
    report
}

/// A table with a timeout and these daemons.
fn table(daemons: Value) -> Value {
    json!({"services": [], "timeouts": {"tcp_seconds": LONG}, "sync_daemons": daemons})
}

fn master(id: u32) -> Value {
    json!({"state": "master", "interface": "eth0", "sync_id": id})
}

/// Confirms the deletion of a table without services.
fn of_no_services() -> DeleteTableOptions {
    DeleteTableOptions {
        confirm: Some(0),
        ..DeleteTableOptions::default()
    }
}

async fn tcp_seconds(app: &App) -> u32 {
    app.timeouts(context()).await.unwrap().value.tcp_seconds
}

async fn running(app: &App) -> Vec<(SyncState, u32)> {
    let daemons = app.sync_daemons(context()).await.unwrap().value;
    let daemons = daemons.into_iter();
    daemons.map(|it| (it.state, it.sync_id)).collect()
}

async fn set_tcp(app: &App, seconds: u32) -> Result<Written<Timeouts>, Error> {
    let draft = serde_json::from_value(json!({ "tcp_seconds": seconds })).unwrap();
    app.update_timeouts(context(), draft, NONE).await
}

#[tokio::test]
async fn timeouts_and_sync_daemons_are_set_left_alone_changed_and_stopped() {
    let (kernel, app) = setup();
    let backup = json!({"state": "backup", "interface": "eth0"});
    let first = apply(&app, "net", table(json!([backup, master(1)]))).await;
    let created = [
        "start_sync_daemon done",
        "start_sync_daemon done",
        "set_timeouts done",
    ];
    assert_eq!(operations(&first), created);
    assert_eq!((first.summary.create, first.summary.update), (2, 1));
    assert_eq!(tcp_seconds(&app).await, LONG);
    let both = [(SyncState::Master, 1), (SyncState::Backup, 0)];
    assert_eq!(running(&app).await, both);

    kernel.reset_counts();
    let again = apply(&app, "net", table(json!([master(1), backup]))).await;
    assert_eq!(again.outcome, ApplyOutcome::Unchanged);
    assert_eq!((again.summary.unchanged, again.generation), (3, 1));
    for command in [
        command::SET_CONFIG,
        command::NEW_DAEMON,
        command::DEL_DAEMON,
    ] {
        assert_eq!(kernel.commands(command), 0);
    }

    // The kernel cannot change a daemon that runs. One that is not in the list is stopped.
    let changed = apply(&app, "net", table(json!([master(2)]))).await;
    let replaced = [
        "stop_sync_daemon done",
        "start_sync_daemon done",
        "stop_sync_daemon done",
    ];
    assert_eq!(operations(&changed), replaced);
    assert_eq!(running(&app).await, [(SyncState::Master, 2)]);

    // What is not declared any more: daemons are stopped, timeouts stay.
    let dropped = apply(&app, "net", json!({"services": []})).await;
    assert_eq!(operations(&dropped), ["stop_sync_daemon done"]);
    assert_eq!(
        (running(&app).await, tcp_seconds(&app).await),
        (vec![], LONG)
    );
}

#[tokio::test]
async fn a_table_without_them_leaves_the_timeouts_and_daemons_of_the_kernel() {
    let (_kernel, app) = setup();
    set_tcp(&app, 77).await.unwrap();
    let daemon = serde_json::from_value(json!({"interface": "eth0"})).unwrap();
    let started = app.start_sync_daemon(context(), SyncState::Master, daemon, false, NONE);
    started.await.unwrap();
    let applied = apply(&app, "web", json!({"services": []})).await;
    assert_eq!(applied.outcome, ApplyOutcome::Unchanged);
    let timeouts_only = json!({"services": [], "timeouts": {"tcp_seconds": 77}});
    apply(&app, "net", timeouts_only).await;
    assert_eq!(
        (tcp_seconds(&app).await, running(&app).await.len()),
        (77, 1)
    );
    app.delete_table(context(), owner("net"), of_no_services())
        .await
        .unwrap();
    assert_eq!(
        (tcp_seconds(&app).await, running(&app).await.len()),
        (77, 1)
    );
    apply(&app, "net", json!({"services": [], "sync_daemons": []})).await;
    assert_eq!(running(&app).await, [], "[] declares that none run");
}

#[tokio::test]
async fn one_table_declares_them() {
    let (_kernel, app) = setup();
    apply(&app, "net", table(json!([master(1)]))).await;
    for (part, field) in [
        (json!({"services": [], "timeouts": {}}), "timeouts"),
        (json!({"services": [], "sync_daemons": []}), "sync_daemons"),
    ] {
        let error = try_apply(&app, "web", part).await.unwrap_err();
        assert_eq!(
            (error.reason, fields(&error)),
            (Reason::ResourceOwned, vec![field])
        );
        assert!(error.to_string().contains("net"), "{error}");
    }
    assert_eq!(
        (tcp_seconds(&app).await, running(&app).await.len()),
        (LONG, 1)
    );
    apply(&app, "net", json!({"services": []})).await;
    apply(
        &app,
        "web",
        json!({"services": [], "timeouts": {}, "sync_daemons": []}),
    )
    .await;
    assert_eq!(tcp_seconds(&app).await, Timeouts::DEFAULT.tcp_seconds);
}

#[tokio::test]
async fn faulty_ones_are_rejected_by_their_fields() {
    let (kernel, app) = setup();
    let faulty = json!({"services": [], "timeouts": {"tcp_seconds": 0}, "sync_daemons": [
        {"state": "master"}, {"interface": "eth0"}, {"state": "chief", "interface": "eth0"},
        {"state": "backup", "interface": "eth0", "sync_id": 256},
        {"state": "backup", "interface": "eth0"}, {"state": "backup", "interface": "eth0"},
    ]});
    let error = try_apply(&app, "net", faulty).await.unwrap_err();
    let expected = [
        "timeouts.tcp_seconds",
        "sync_daemons[0].interface",
        "sync_daemons[1].state",
        "sync_daemons[2].state",
        "sync_daemons[3].sync_id",
        "sync_daemons[5].state",
    ];
    assert_eq!(fields(&error), expected);
    assert_eq!(
        (
            kernel.commands(command::SET_CONFIG),
            listed(&app, context()).await.len()
        ),
        (0, 0)
    );
    let patch = table_draft(json!({"timeouts": {}, "sync_daemons": []}));
    apply(&app, "net", json!({"services": []})).await;
    let error = app.update_table(context(), owner("net"), patch, NONE).await;
    assert_eq!(error.unwrap_err().reason, Reason::InvalidArgument);
}

#[tokio::test]
async fn they_need_an_admin() {
    let (_kernel, app) = setup();
    let editor = RequestContext {
        principal: principal("deploy", Role::Editor),
        ..context().clone()
    };
    let apply_as_editor =
        |table: Value| app.apply_table(&editor, owner("net"), table_draft(table), all());
    let error = apply_as_editor(table(json!([master(1)])))
        .await
        .unwrap_err();
    assert_eq!(
        (error.reason, fields(&error)),
        (Reason::PermissionDenied, vec!["timeouts"])
    );
    apply(
        &app,
        "net",
        json!({"services": [], "sync_daemons": [master(1)]}),
    )
    .await;
    // To declare them no more, to delete the table, and to have it repaired are changes of them.
    let dropped = apply_as_editor(json!({"services": []})).await;
    assert_eq!(reason(dropped), Reason::PermissionDenied);
    let deleted = app
        .delete_table(&editor, owner("net"), of_no_services())
        .await;
    assert_eq!(reason(deleted), Reason::PermissionDenied);
    let patch = table_draft(json!({"reconcile": "repair"}));
    let updated = app.update_table(&editor, owner("net"), patch, NONE).await;
    assert_eq!(reason(updated), Reason::PermissionDenied);
    assert_eq!(running(&app).await.len(), 1);
}

#[tokio::test]
async fn an_apply_that_fails_restores_them() {
    let (kernel, app) = setup();
    set_tcp(&app, 77).await.unwrap();
    apply(
        &app,
        "net",
        json!({"services": [], "sync_daemons": [master(1)]}),
    )
    .await;
    let before = (tcp_seconds(&app).await, running(&app).await);
    for failing in [command::SET_CONFIG, command::NEW_DAEMON] {
        let fault = Fault::Errno(libc::ENOMEM);
        kernel.faults().once(On::Command(failing), fault);
        let report = try_apply(&app, "net", table(json!([master(2)])))
            .await
            .unwrap();
        assert_eq!(report.outcome, ApplyOutcome::RolledBack, "{report:?}");
        assert_eq!((tcp_seconds(&app).await, running(&app).await), before);
    }
}

#[tokio::test]
async fn what_another_program_changes_is_drift_and_repaired() {
    let (_kernel, app) = setup();
    let mut repaired = table(json!([master(1)]));
    repaired["reconcile"] = json!("repair");
    apply(&app, "net", repaired).await;
    let admin = RequestContext {
        principal: principal("root", Role::Admin),
        ..context().clone()
    };
    let draft: TimeoutsDraft = serde_json::from_value(json!({"tcp_seconds": 5})).unwrap();
    let set = app.update_timeouts(&admin, draft.clone(), NONE).await;
    assert_eq!(reason(set), Reason::ResourceOwned);
    let stopped = app.stop_sync_daemon(&admin, SyncState::Master, false, NONE);
    assert_eq!(reason(stopped.await), Reason::ResourceOwned);

    // As another program would.
    app.update_timeouts(context(), draft, NONE).await.unwrap();
    let stopped = app.stop_sync_daemon(context(), SyncState::Master, false, NONE);
    assert!(stopped.await.unwrap());
    let drift = app.drift(context(), owner("net")).await.unwrap();
    assert_eq!(
        operations(&drift),
        ["start_sync_daemon planned", "set_timeouts planned"]
    );
    app.reconcile_now().await.unwrap();
    assert_eq!(tcp_seconds(&app).await, LONG);
    assert_eq!(running(&app).await, [(SyncState::Master, 1)]);
    let status = app.declared_table(context(), &owner("net")).await.unwrap();
    assert_eq!(status.status, TableStatus::InSync);
}

#[tokio::test]
async fn an_apply_that_was_interrupted_is_completed_or_undone() {
    for (mode, seconds, id) in [(Interrupted::Complete, LONG, 2), (Interrupted::Undo, 77, 1)] {
        // The stop and the start of the daemon, and the timeouts.
        for executed in 0..=3 {
            let (_kernel, app) = setup();
            set_tcp(&app, 77).await.unwrap();
            apply(
                &app,
                "net",
                json!({"services": [], "sync_daemons": [master(1)]}),
            )
            .await;
            let draft = table(json!([master(2)]));
            app.interrupt_draft(context(), "net", &draft, executed)
                .await;
            app.recover_tables(mode, RestoreOnStart::Never, Duration::from_secs(30))
                .await;
            let state = (tcp_seconds(&app).await, running(&app).await);
            assert_eq!(
                state,
                (seconds, vec![(SyncState::Master, id)]),
                "{mode:?} {executed}"
            );
        }
    }
}

#[tokio::test]
async fn a_timeout_that_the_kernel_does_not_have_is_no_drift() {
    let (kernel, app) = setup();
    kernel.remove_udp();
    apply(&app, "net", table(json!([]))).await;
    assert_eq!(tcp_seconds(&app).await, LONG);
    let again = apply(&app, "net", table(json!([]))).await;
    assert_eq!(again.outcome, ApplyOutcome::Unchanged);
    let drift = app.drift(context(), owner("net")).await.unwrap();
    assert_eq!(operations(&drift), [""; 0]);
}

#[tokio::test]
async fn a_timeout_that_the_kernel_does_not_have_cannot_be_set() {
    let (kernel, app) = setup();
    kernel.remove_udp();
    let set = async |timeouts: Value| {
        let draft = serde_json::from_value(timeouts).unwrap();
        app.update_timeouts(context(), draft, NONE).await
    };
    for udp in [json!(60), json!(null)] {
        let wanted = json!({"tcp_seconds": LONG, "udp_seconds": udp});
        let error = set(wanted).await.unwrap_err();
        assert_eq!(
            (error.reason, fields(&error)),
            (Reason::UnsupportedByKernel, vec!["udp_seconds"])
        );
    }
    assert_eq!(tcp_seconds(&app).await, Timeouts::DEFAULT.tcp_seconds);
    // What is read can be written.
    let read = app.timeouts(context()).await.unwrap().value;
    let mut same = serde_json::to_value(read).unwrap();
    same["tcp_seconds"] = json!(LONG);
    assert_eq!(set(same).await.unwrap().value.tcp_seconds, LONG);
}

/// A kernel that has a second interface, and an application whose table has a backup there.
async fn with_a_backup_on_d0() -> (FakeKernel, App) {
    let (kernel, app) = setup();
    kernel.add_interface("d0", 1500);
    apply(&app, "net", table(json!([master(1), backup()]))).await;
    (kernel, app)
}

fn backup() -> Value {
    json!({"state": "backup", "interface": "d0"})
}

#[tokio::test]
async fn an_undo_leaves_a_daemon_alone_that_the_apply_did_not_touch() {
    let (kernel, app) = with_a_backup_on_d0().await;
    let draft = table(json!([master(2), backup()]));
    app.interrupt_draft(context(), "net", &draft, 2).await;
    kernel.remove_interface("d0");
    kernel.add_interface("d0", 1500);
    kernel.reset_counts();
    let timeout = Duration::from_secs(30);
    app.recover_tables(Interrupted::Undo, RestoreOnStart::Never, timeout)
        .await;
    let both = [(SyncState::Master, 1), (SyncState::Backup, 0)];
    assert_eq!(running(&app).await, both);
    assert_eq!(kernel.commands(command::NEW_DAEMON), 1, "the master alone");
}

#[tokio::test]
async fn a_declared_daemon_whose_interface_is_missing_fails_an_apply_and_runs_on() {
    let (kernel, app) = with_a_backup_on_d0().await;
    kernel.remove_interface("d0");
    let drift = app.drift(context(), owner("net")).await.unwrap();
    assert_eq!(operations(&drift), ["start_sync_daemon planned"]);
    let mut wanted = table(json!([master(1), backup()]));
    wanted["timeouts"]["tcp_seconds"] = json!(60);
    let report = try_apply(&app, "net", wanted.clone()).await.unwrap();
    assert_eq!(report.outcome, ApplyOutcome::RolledBack);
    let failed = report
        .operations
        .iter()
        .find_map(|operation| match &operation.result {
            OperationResult::Failed(error) => Some(fields(error)),
            _ => None,
        });
    assert_eq!(failed, Some(vec!["interface"]));
    let both = [(SyncState::Master, 1), (SyncState::Backup, 0)];
    assert_eq!(
        (running(&app).await, tcp_seconds(&app).await),
        (both.to_vec(), LONG)
    );
    // It is not known whether the start was executed: the daemon that runs is not its.
    for fault in [Fault::LostReply, Fault::Overrun] {
        let on = On::Command(command::NEW_DAEMON);
        kernel.faults().once(on, fault);
        let report = try_apply(&app, "net", wanted.clone()).await.unwrap();
        assert_eq!(report.outcome, ApplyOutcome::RolledBack, "{report:?}");
        assert_eq!(running(&app).await, both);
    }
    for mode in [Interrupted::Complete, Interrupted::Undo] {
        app.interrupt_draft(context(), "net", &wanted, 1).await;
        let timeout = Duration::from_secs(30);
        app.recover_tables(mode, RestoreOnStart::Never, timeout)
            .await;
        assert_eq!(running(&app).await, both, "{mode:?}");
    }
    kernel.add_interface("d0", 1500);
    let applied = apply(&app, "net", wanted).await;
    assert_eq!(applied.outcome, ApplyOutcome::Applied);
    let daemons = app.sync_daemons(context()).await.unwrap().value;
    assert_eq!(daemons[1].interface_state, InterfaceState::Ok);
}
