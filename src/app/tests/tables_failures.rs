//! Declared tables: operations that fail, rollback, and the end of the daemon.

use proptest::prelude::*;

use super::{
    tables::{OTHER, all, apply, apply_with, listed, operations, owner, service, sorted},
    *,
};
use crate::store::{Store, StoreOptions};

/// The command of an operation.
fn command_of(op: &Op) -> u8 {
    match op {
        Op::CreateService(..) => command::NEW_SERVICE,
        Op::SetService(..) => command::SET_SERVICE,
        Op::DeleteService(_) => command::DEL_SERVICE,
        Op::CreateServer(..) => command::NEW_DEST,
        Op::SetServer(..) => command::SET_DEST,
        _ => command::DEL_DEST,
    }
}

/// Lets the command fail, after it has been executed `earlier` times.
pub(super) fn fail_after(kernel: &FakeKernel, number: u8, earlier: usize) {
    let fail = move |kernel: &FakeKernel| {
        let errno = Fault::Errno(libc::ENOMEM);
        kernel.faults().once(On::Command(number), errno);
    };
    let Some(last) = earlier.checked_sub(1) else {
        return fail(kernel);
    };
    let count = std::sync::atomic::AtomicUsize::new(0);
    let count_and_fail = Fault::before(move |kernel| {
        if count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == last {
            fail(kernel);
        }
    });
    kernel.faults().always(On::Command(number), count_and_fail);
}

#[tokio::test]
async fn an_apply_that_fails_at_any_operation_leaves_what_was_there() {
    let old = json!([
        service(TCP, &[(1, 1), (2, 1), (3, 1)]),
        service(OTHER, &[(4, 1)]),
        service("tcp-192.0.2.3-80", &[(5, 1), (6, 1)]),
    ]);
    let mut new = json!([
        service(TCP, &[(1, 9), (2, 1), (7, 1)]),
        service("tcp-192.0.2.4-80", &[(8, 1)]),
        service("tcp-192.0.2.3-80", &[(5, 1)]),
    ]);
    new[2]["scheduler"] = json!("wlc");
    let count = {
        let (_, app) = setup();
        apply(&app, "a", old.clone()).await;
        apply(&app, "a", new.clone()).await.operations.len()
    };
    assert_eq!(count, 8);
    for failing in 0..count {
        let (kernel, app) = setup();
        apply(&app, "a", old.clone()).await;
        let before = sorted(&kernel);
        let dry_run = context().clone().with_dry_run(true);
        let plan = apply_with(&app, &dry_run, "a", new.clone(), all())
            .await
            .unwrap();
        let number = command_of(&plan.operations[failing].op);
        let earlier = plan.operations[..failing].iter();
        let earlier = earlier
            .filter(|operation| command_of(&operation.op) == number)
            .count();
        fail_after(&kernel, number, earlier);
        let report = apply_with(&app, context(), "a", new.clone(), all())
            .await
            .unwrap();
        assert_eq!(report.first_failure().unwrap().errno, Some(Errno::ENOMEM));
        assert_eq!(report.failure.as_ref().unwrap().reason, Reason::ApplyFailed);
        assert_eq!(report.generation, 1);
        assert_eq!(
            sorted(&kernel),
            before,
            "operation {failing}: {:?}",
            operations(&report)
        );
        let lost: Vec<_> = report
            .operations
            .iter()
            .flat_map(|op| op.lost.clone())
            .collect();
        let is_deletion = number == command::DEL_SERVICE || number == command::DEL_DEST;
        assert!(
            is_deletion || lost.is_empty(),
            "nothing is deleted after a failure to create"
        );
        let expected = match lost.is_empty() {
            true => ApplyOutcome::RolledBack,
            false => ApplyOutcome::RollbackIncomplete,
        };
        assert_eq!(report.outcome, expected, "{:?}", operations(&report));
        let table = app.declared_table(context(), &owner("a")).await.unwrap();
        assert_eq!(
            table.status,
            TableStatus::InSync,
            "the old declaration holds"
        );
    }
}

#[tokio::test]
async fn an_undo_leaves_what_another_program_has_changed_since() {
    let (kernel, app) = setup();
    apply(&app, "a", json!([service(TCP, &[(1, 1)])])).await;
    // The last operation fails, after another program has changed what the first has written.
    let server = socket("10.0.0.1:80");
    fail_after(&kernel, command::NEW_SERVICE, 1);
    kernel.faults().once(
        On::Command(command::SET_DEST),
        Fault::before(move |kernel| {
            // Runs before the edit; the server of the new service is changed.
            let id = id("192.0.2.5:80");
            let mut changed = fake::Destination::new(server);
            changed.weight = 77;
            kernel.remove_destination(id, server);
            kernel.add_destination(id, changed);
        }),
    );
    let new = json!([
        service(TCP, &[(1, 2)]),
        service("tcp-192.0.2.5-80", &[(1, 1)]),
        service("tcp-192.0.2.6-80", &[]),
    ]);
    let report = apply_with(&app, context(), "a", new, all()).await.unwrap();
    let incomplete = ApplyOutcome::RollbackIncomplete;
    assert_eq!(
        report.outcome,
        incomplete,
        "{:?} {:?}",
        operations(&report),
        state(&kernel)
    );
    assert_eq!(
        operations(&report),
        [
            "create_service tcp-192.0.2.5-80 skipped",
            "create_server tcp-192.0.2.5-80 10.0.0.1-80 skipped",
            "create_service tcp-192.0.2.6-80 failed",
            "update_server tcp-192.0.2.1-80 10.0.0.1-80 undone",
        ]
    );
}

#[tokio::test]
async fn the_others_are_executed_or_not_as_on_failure_says() {
    for (on_failure, results) in [
        (OnFailure::Continue, ["done", "failed", "done"]),
        (OnFailure::Stop, ["done", "failed", "skipped"]),
    ] {
        let (kernel, app) = setup();
        let faults = kernel.faults();
        faults.once(On::Command(command::NEW_DEST), Fault::Errno(libc::ENOMEM));
        let options = ApplyOptions {
            on_failure,
            ..all()
        };
        let services = json!([service(TCP, &[(1, 1), (2, 1)])]);
        let report = apply_with(&app, context(), "a", services, options)
            .await
            .unwrap();
        assert_eq!(report.outcome, ApplyOutcome::Partial);
        let found: Vec<_> = report
            .operations
            .iter()
            .map(|op| op.result.as_str())
            .collect();
        assert_eq!(found, results);
        let table = app.declared_table(context(), &owner("a")).await.unwrap();
        assert_eq!(
            table.status,
            TableStatus::Drifted,
            "the new table is declared"
        );
    }
}

/// The use cases over the same kernel and store, after a restart.
pub(super) fn restarted(kernel: &FakeKernel, store: &Store) -> App {
    app_on(kernel).with_store(store.clone()).unwrap()
}

#[tokio::test]
async fn tables_outlast_the_daemon_and_are_restored_if_that_is_configured() {
    const TIMEOUT: Duration = Duration::from_secs(60);
    let (kernel, store) = (FakeKernel::new(), Store::in_memory());
    let app = restarted(&kernel, &store);
    apply(
        &app,
        "a",
        json!([service(TCP, &[(1, 3)]), service(OTHER, &[(2, 1)])]),
    )
    .await;
    apply(&app, "a", json!([service(TCP, &[(1, 4)])])).await;
    let before = sorted(&kernel);
    let app = restarted(&kernel, &store);
    let report = app.declared_table(context(), &owner("a")).await.unwrap();
    assert_eq!(
        (report.status, report.table.state.generation),
        (TableStatus::InSync, 2)
    );
    assert_eq!(
        report.table.state.last_apply.as_ref().unwrap().outcome,
        ApplyOutcome::Applied
    );
    assert!(kernel.remove_service(id("192.0.2.1:80")));
    app.recover_tables(Interrupted::Complete, RestoreOnStart::Never, TIMEOUT)
        .await;
    assert_eq!(kernel.services().len(), 0);
    app.recover_tables(Interrupted::Complete, RestoreOnStart::IfEmpty, TIMEOUT)
        .await;
    assert_eq!(sorted(&kernel), before);
    create_service(&app, OTHER, &[]).await;
    assert!(kernel.remove_service(id("192.0.2.1:80")));
    app.recover_tables(Interrupted::Complete, RestoreOnStart::IfEmpty, TIMEOUT)
        .await;
    assert_eq!(kernel.services().len(), 1, "not empty");
    app.recover_tables(Interrupted::Complete, RestoreOnStart::Always, TIMEOUT)
        .await;
    assert_eq!(kernel.services().len(), 2);
}

#[tokio::test]
async fn a_recovered_apply_has_the_generation_of_its_declaration() {
    let services = json!([service(TCP, &[(1, 1)])]);
    let changed = json!([service(TCP, &[(1, 2)])]);
    for (declared, generation) in [(&services, 1), (&changed, 2)] {
        let (kernel, store) = (FakeKernel::new(), Store::in_memory());
        let app = restarted(&kernel, &store);
        apply(&app, "a", services.clone()).await;
        // Another program changes it, so that even the same declaration has operations.
        assert!(kernel.remove_service(id("192.0.2.1:80")));
        app.interrupt_apply(context(), "a", declared, 0).await;
        let app = restarted(&kernel, &store);
        let timeout = Duration::from_secs(60);
        app.recover_tables(Interrupted::Complete, RestoreOnStart::Never, timeout)
            .await;
        let report = app.declared_table(context(), &owner("a")).await.unwrap();
        assert_eq!(report.status, TableStatus::InSync);
        assert_eq!(report.table.state.generation, generation);
    }
}

/// The last byte of the address of a service, whether its scheduler is wlc, and its servers.
type AnyService = (u8, bool, Vec<(u8, u32)>);

fn any_table() -> impl Strategy<Value = Vec<AnyService>> {
    let servers = proptest::collection::btree_map(1..6_u8, 0..4_u32, 0..5);
    let services = proptest::collection::btree_map(1..6_u8, (any::<bool>(), servers), 0..5);
    services.prop_map(|services| {
        let service = |(n, (wlc, servers)): (u8, (bool, std::collections::BTreeMap<u8, u32>))| {
            (n, wlc, servers.into_iter().collect())
        };
        services.into_iter().map(service).collect()
    })
}

fn services_of(table: &[AnyService]) -> Value {
    let services = table.iter().map(|(n, wlc, servers)| {
        let mut service = service(&format!("tcp-192.0.2.{n}-80"), servers);
        if *wlc {
            service["scheduler"] = json!("wlc");
        }
        service
    });
    services.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Applying b onto a yields b, the plan afterwards is empty, and an interrupted apply is completed or
    /// undone wherever it ended.
    #[test]
    fn any_table_can_follow_any_other(a in any_table(), b in any_table(), cut in 0..20_usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fresh = FakeKernel::new();
            apply(&app_on(&fresh), "x", services_of(&b)).await;
            let (kernel, store) = (FakeKernel::new(), Store::in_memory());
            let app = restarted(&kernel, &store);
            apply(&app, "x", services_of(&a)).await;
            let before = sorted(&kernel);
            let report = apply(&app, "x", services_of(&b)).await;
            prop_assert_eq!(sorted(&kernel), sorted(&fresh));
            let again = apply(&app, "x", services_of(&b)).await;
            prop_assert_eq!(again.outcome, ApplyOutcome::Unchanged);
            for mode in [Interrupted::Complete, Interrupted::Undo] {
                let (kernel, store) = (FakeKernel::new(), Store::in_memory());
                let app = restarted(&kernel, &store);
                apply(&app, "x", services_of(&a)).await;
                // As if the daemon had ended after some operations.
                app.interrupt_apply(context(), "x", &services_of(&b), cut).await;
                let app = restarted(&kernel, &store);
                app.recover_tables(mode, RestoreOnStart::Never, Duration::from_secs(60)).await;
                let expected = match mode {
                    Interrupted::Complete => sorted(&fresh),
                    Interrupted::Undo => before.clone(),
                };
                prop_assert_eq!(sorted(&kernel), expected, "{:?} {:?}", mode, operations(&report));
                let status = listed(&app, context()).await;
                prop_assert!(status.iter().all(|report| report.status == TableStatus::InSync));
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn a_rollback_does_not_create_what_another_program_has_deleted() {
    let (kernel, app) = setup();
    let servers: Vec<_> = (1..=2).map(|n| (n, 1)).collect();
    apply(
        &app,
        "a",
        json!([service(TCP, &servers), service(OTHER, &[])]),
    )
    .await;
    // Before the deletions, another program deletes one of the servers. The last deletion fails.
    let faults = kernel.faults();
    faults.once(
        On::Command(command::DEL_DEST),
        Fault::before(|kernel| {
            kernel.remove_destination(id("192.0.2.1:80"), socket("10.0.0.1:80"));
        }),
    );
    fail_after(&kernel, command::DEL_SERVICE, 0);
    let report = apply_with(&app, context(), "a", json!([service(TCP, &[])]), all())
        .await
        .unwrap();
    let mut results = operations(&report);
    results.sort();
    assert_eq!(
        results,
        [
            "delete_server tcp-192.0.2.1-80 10.0.0.1-80 skipped",
            "delete_server tcp-192.0.2.1-80 10.0.0.2-80 undone",
            "delete_service tcp-192.0.2.2-80 failed",
        ]
    );
    let names = audit::records(&app).await;
    let names: Vec<_> = names.into_iter().map(|record| record.operation).collect();
    assert!(
        !names.iter().any(|name| name == "restore_rules"),
        "{names:?}"
    );
    let servers = kernel.services();
    let left: usize = servers.iter().map(|it| it.destinations().count()).sum();
    assert_eq!(left, 1);
}

#[tokio::test]
async fn an_apply_whose_end_is_not_stored_does_not_say_that_nothing_was_changed() {
    let directory = std::env::temp_dir().join(format!("ipvsd-tables-{}", std::process::id()));
    drop(std::fs::remove_dir_all(&directory));
    let store = Store::open(&directory, &StoreOptions::default()).unwrap();
    let kernel = FakeKernel::new();
    let app = restarted(&kernel, &store);
    let closed = store.clone();
    kernel.faults().once(
        On::Command(command::NEW_SERVICE),
        Fault::before(move |_| assert!(closed.close(Duration::from_secs(60)))),
    );
    let services = json!([service(TCP, &[])]);
    let report = apply_with(&app, context(), "a", services, all()).await;
    let report = report.unwrap();
    assert_eq!((report.generation, report.etag), (0, None));
    let failure = report.failure.unwrap();
    assert_eq!(failure.reason, Reason::StoreUnavailable);
    assert!(!failure.detail.contains("nothing was changed"), "{failure}");
    assert_eq!(kernel.services().len(), 1);
    drop(store);
    drop(std::fs::remove_dir_all(&directory));
}
