//! Declared tables: applies whose end the store does not take, and what reads show around the end of an apply.

use std::{io, sync::Arc};

use super::{
    tables::{OTHER, all, apply, apply_with, listed, owner, service, sorted, table_draft},
    tables_failures::restarted,
    *,
};
use crate::store::{
    Store,
    tests::support::{Failing, FakeDisk},
};

const TIMEOUT: Duration = Duration::from_secs(60);

fn set_full(disk: &FakeDisk, is_full: bool) {
    let full = Failing::After(0, io::ErrorKind::StorageFull);
    disk.with(|content| content.failing = is_full.then_some(full));
}

/// The daemon that starts now, when it has recovered what was interrupted.
async fn recovered(kernel: &FakeKernel, disk: &FakeDisk) -> App {
    let durable = disk.with(|content| content.durable.clone());
    let app = restarted(kernel, &Store::on_disk(FakeDisk::new(durable)));
    app.recover_tables(Interrupted::Complete, RestoreOnStart::Never, TIMEOUT)
        .await;
    app
}

/// Applies a table of `a` whose store gets full after the first operation, and then has space again.
async fn apply_and_not_store(
    app: &App,
    kernel: &FakeKernel,
    disk: &Arc<FakeDisk>,
    services: Value,
    first: u8,
) -> ApplyReport {
    let full = disk.clone();
    let fault = Fault::before(move |_| set_full(&full, true));
    kernel.faults().once(On::Command(first), fault);
    let report = apply_with(app, context(), "a", services, all()).await;
    let report = report.unwrap();
    set_full(disk, false);
    let failure = report.failure.as_ref().unwrap();
    assert_eq!(failure.reason, Reason::StoreUnavailable, "{failure}");
    let hint = failure.hint.as_ref().unwrap();
    assert!(hint.contains("free space"), "{hint}");
    report
}

async fn status(app: &App, name: &str) -> TableStatus {
    let report = app.declared_table(context(), &owner(name)).await;
    report.unwrap().status
}

#[tokio::test]
async fn an_apply_that_is_over_is_not_completed_over_what_is_acknowledged_later() {
    let (kernel, disk) = (FakeKernel::new(), FakeDisk::new(Vec::new()));
    let app = restarted(&kernel, &Store::on_disk(disk.clone()));
    let faults = kernel.faults();
    faults.once(On::Command(command::NEW_DEST), Fault::Errno(libc::ENOMEM));
    let services = json!([service(TCP, &[(1, 1), (2, 1)])]);
    let report = apply_and_not_store(&app, &kernel, &disk, services, command::NEW_SERVICE).await;
    assert_eq!(report.outcome, ApplyOutcome::RolledBack);
    assert_eq!(kernel.services().len(), 0);
    let shown = app.declared_table(context(), &owner("a")).await.unwrap();
    assert_eq!(
        (shown.status, shown.table.state.generation),
        (TableStatus::Applying, 0)
    );
    apply(&app, "b", json!([service(TCP, &[(9, 1)])])).await;
    let before = sorted(&kernel);
    for app in [app, recovered(&kernel, &disk).await] {
        assert_eq!(sorted(&kernel), before);
        let tables = listed(&app, context()).await;
        let owners: Vec<_> = tables.iter().map(|it| it.table.owner.to_string()).collect();
        assert_eq!(owners, ["b"]);
        assert!(tables[0].table.state.lost.is_empty());
    }
}

#[tokio::test]
async fn settings_that_are_changed_after_an_apply_that_is_not_stored_stay() {
    let (kernel, disk) = (FakeKernel::new(), FakeDisk::new(Vec::new()));
    let app = restarted(&kernel, &Store::on_disk(disk.clone()));
    apply(&app, "a", json!([service(TCP, &[(1, 1)])])).await;
    let services = json!([service(TCP, &[(1, 2)])]);
    let report = apply_and_not_store(&app, &kernel, &disk, services, command::SET_DEST).await;
    assert_eq!(report.outcome, ApplyOutcome::Applied);
    assert_eq!(status(&app, "a").await, TableStatus::Applying);
    let settings = table_draft(json!({"reconcile": "report"}));
    let updated = app
        .update_table(context(), owner("a"), settings, NONE)
        .await;
    assert_eq!(updated.unwrap().status, TableStatus::Drifted);
    let app = recovered(&kernel, &disk).await;
    let table = app.declared_table(context(), &owner("a")).await.unwrap();
    assert_eq!(table.table.state.settings.reconcile, Reconcile::Report);
    assert_eq!(table.status, TableStatus::Drifted);
}

#[tokio::test]
async fn the_record_of_an_apply_that_is_over_is_deleted_when_the_store_works() {
    for by_task in [true, false] {
        let (kernel, disk) = (FakeKernel::new(), FakeDisk::new(Vec::new()));
        let app = restarted(&kernel, &Store::on_disk(disk.clone()));
        apply(&app, "a", json!([service(TCP, &[(1, 1)])])).await;
        let services = json!([service(TCP, &[(1, 2)])]);
        apply_and_not_store(&app, &kernel, &disk, services, command::SET_DEST).await;
        set_full(&disk, true);
        app.reconcile_now().await.unwrap();
        assert_eq!(status(&app, "a").await, TableStatus::Applying);
        set_full(&disk, false);
        if by_task {
            let task = app.clone();
            let task = tokio::spawn(async move { task.reconcile_tables(TIMEOUT).await });
            while status(&app, "a").await == TableStatus::Applying {
                tokio::task::yield_now().await;
            }
            task.abort();
        } else {
            // The begin of an apply of another table, which does not end.
            let other = json!([service(OTHER, &[])]);
            app.interrupt_apply(context(), "b", &other, 0).await;
        }
        let before = sorted(&kernel);
        assert_eq!(status(&app, "a").await, TableStatus::Drifted);
        let app = recovered(&kernel, &disk).await;
        assert_eq!(status(&app, "a").await, TableStatus::Drifted);
        let after = sorted(&kernel);
        assert!(before.iter().all(|line| after.contains(line)));
    }
}

#[tokio::test]
async fn a_recovery_does_not_take_services_that_others_have_declared_since() {
    for mode in [Interrupted::Complete, Interrupted::Undo] {
        let (kernel, store) = (FakeKernel::new(), Store::in_memory());
        let app = restarted(&kernel, &store);
        let draft = json!({"services": [service(TCP, &[])]});
        app.interrupt(context(), "a", &draft, 1, Adopt::None).await;
        let app = restarted(&kernel, &store);
        let options = ApplyOptions {
            adopt: Adopt::Unmanaged,
            ..all()
        };
        let services = json!([service(TCP, &[])]);
        let taken = apply_with(&app, context(), "b", services, options).await;
        assert_eq!(taken.unwrap().failure, None);
        app.recover_tables(mode, RestoreOnStart::Never, TIMEOUT)
            .await;
        app.reconcile_now().await.unwrap();
        assert_eq!(kernel.services().len(), 1, "{mode:?}");
        for app in [app, restarted(&kernel, &store)] {
            let tables = listed(&app, context()).await;
            let found: Vec<_> = tables
                .iter()
                .map(|it| {
                    (
                        it.table.owner.to_string(),
                        it.status,
                        it.table.services.len(),
                    )
                })
                .collect();
            assert_eq!(
                found,
                [("b".to_owned(), TableStatus::InSync, 1)],
                "{mode:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_table_is_applying_until_its_new_declaration_is_shown() {
    for old in [None, Some(json!([service(OTHER, &[])]))] {
        let (kernel, app) = setup();
        if let Some(old) = &old {
            apply(&app, "a", old.clone()).await;
        }
        let services = json!([service(TCP, &[(1, 1)])]);
        app.interrupt_apply(context(), "a", &services, usize::MAX)
            .await;
        // The apply ends while a request that has read the table reads the kernel's.
        let ending = app.clone();
        let end = Fault::before(move |_| {
            let ending = ending.clone();
            let end = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build();
                let ended = ending.end_apply(context(), "a");
                runtime.unwrap().block_on(ended);
            });
            end.join().unwrap();
        });
        kernel.faults().once(On::Command(command::GET_SERVICE), end);
        let generation = u64::from(old.is_some());
        let during = app.declared_table(context(), &owner("a")).await.unwrap();
        assert_eq!(
            (during.status, during.table.state.generation),
            (TableStatus::Applying, generation)
        );
        let after = app.declared_table(context(), &owner("a")).await.unwrap();
        assert_eq!(
            (after.status, after.table.state.generation),
            (TableStatus::InSync, generation + 1)
        );
    }
}
