//! Declared tables: what the start of the daemon makes of applies that its end has interrupted.

use super::{
    tables::{OTHER, all, apply, apply_with, listed, owner, service, sorted},
    tables_failures::restarted,
    *,
};
use crate::store::Store;

const TIMEOUT: Duration = Duration::from_secs(60);

/// The states of the declared tables by owner.
async fn states(app: &App) -> Vec<(String, TableStatus)> {
    let tables = listed(app, context()).await;
    let state = |report: TableReport| (report.table.owner.to_string(), report.status);
    tables.into_iter().map(state).collect()
}

#[tokio::test]
async fn an_apply_that_the_end_of_the_daemon_stops_is_completed_or_undone_by_the_next_start() {
    let many: Vec<_> = (1..=200).map(|n| (n, 1)).collect();
    let new = json!([service(TCP, &many), service(OTHER, &[])]);
    for mode in [Interrupted::Complete, Interrupted::Undo] {
        let (kernel, store) = (FakeKernel::new(), Store::in_memory());
        let app = restarted(&kernel, &store);
        apply(&app, "a", json!([service(TCP, &[])])).await;
        let before = sorted(&kernel);
        let work = app.background_work().clone();
        let end = Fault::before(move |_| work.stop());
        kernel.faults().once(On::Command(command::NEW_DEST), end);
        let report = apply_with(&app, context(), "a", new.clone(), all()).await;
        let report = report.unwrap();
        assert_eq!(report.outcome, ApplyOutcome::Running);
        let failure = report.failure.unwrap();
        assert!(failure.detail.contains("the daemon ends"), "{failure}");
        let made = kernel.services()[0].destinations().count();
        assert!((1..200).contains(&made), "{made}");

        let app = restarted(&kernel, &store);
        assert_eq!(
            states(&app).await,
            [("a".to_owned(), TableStatus::Applying)]
        );
        app.recover_tables(mode, RestoreOnStart::Never, TIMEOUT)
            .await;
        assert_eq!(states(&app).await, [("a".to_owned(), TableStatus::InSync)]);
        match mode {
            Interrupted::Complete => assert_eq!(sorted(&kernel).len(), 202),
            Interrupted::Undo => assert_eq!(sorted(&kernel), before),
        }
    }
}

#[tokio::test]
async fn what_is_declared_after_the_start_is_not_overwritten_by_the_recovery() {
    for restore in [RestoreOnStart::Never, RestoreOnStart::Always] {
        let (kernel, store) = (FakeKernel::new(), Store::in_memory());
        let app = restarted(&kernel, &store);
        apply(&app, "a", json!([service(TCP, &[(1, 1)])])).await;
        apply(&app, "b", json!([service(OTHER, &[(1, 1)])])).await;
        let services = json!([service(TCP, &[(1, 2)])]);
        app.interrupt_apply(context(), "a", &services, 0).await;
        let app = restarted(&kernel, &store);
        // Requests are served while the recovery waits for the kernel.
        let newer = app.clone();
        let request = async move {
            apply(&newer, "a", json!([service(TCP, &[(1, 3)])])).await;
            let options = DeleteTableOptions {
                confirm: Some(1),
                ..DeleteTableOptions::default()
            };
            let deleted = newer.delete_table(context(), owner("b"), options);
            deleted.await.unwrap();
        };
        let lock = app.lock_table(context()).await.unwrap();
        let recovery = app.recover_tables(Interrupted::Complete, restore, TIMEOUT);
        let request = tokio::spawn(request);
        tokio::task::yield_now().await;
        let recovery = tokio::join!(recovery, async move {
            tokio::task::yield_now().await;
            drop(lock);
        });
        let ((), ()) = recovery;
        request.await.unwrap();
        assert_eq!(states(&app).await, [("a".to_owned(), TableStatus::InSync)]);
        let table = app.declared_table(context(), &owner("a")).await.unwrap();
        let declared = table.table.services.values().next().unwrap();
        assert_eq!(declared.servers[0].config.weight, 3);
        assert_eq!(kernel.services().len(), 1);
    }
}

#[tokio::test]
async fn an_empty_kernel_gets_all_tables_also_after_an_interrupted_apply() {
    for mode in [Interrupted::Complete, Interrupted::Undo] {
        let (kernel, store) = (FakeKernel::new(), Store::in_memory());
        let app = restarted(&kernel, &store);
        apply(&app, "a", json!([service(TCP, &[(1, 1)])])).await;
        apply(&app, "b", json!([service(OTHER, &[(1, 1)])])).await;
        let services = json!([service(TCP, &[(1, 2)])]);
        app.interrupt_apply(context(), "a", &services, 1).await;
        // The machine boots again.
        let kernel = FakeKernel::new();
        let app = restarted(&kernel, &store);
        app.recover_tables(mode, RestoreOnStart::IfEmpty, TIMEOUT)
            .await;
        let in_sync = |owner: &str| (owner.to_owned(), TableStatus::InSync);
        assert_eq!(states(&app).await, [in_sync("a"), in_sync("b")], "{mode:?}");
    }
}

#[tokio::test]
async fn an_interrupted_apply_may_have_taken_services_of_others() {
    let (kernel, store) = (FakeKernel::new(), Store::in_memory());
    let app = restarted(&kernel, &store);
    apply(&app, "b", json!([service(TCP, &[(1, 1)])])).await;
    let services = json!([service(TCP, &[(1, 2)])]);
    app.interrupt_apply(context(), "a", &services, 0).await;
    let app = restarted(&kernel, &store);
    app.recover_tables(Interrupted::Complete, RestoreOnStart::Never, TIMEOUT)
        .await;
    let in_sync = |owner: &str| (owner.to_owned(), TableStatus::InSync);
    assert_eq!(states(&app).await, [in_sync("a"), in_sync("b")]);
    let loser = app.declared_table(context(), &owner("b")).await.unwrap();
    assert_eq!(loser.table.state.lost, [key(TCP)]);
}

#[tokio::test]
async fn a_service_that_cannot_be_restored_does_not_prevent_the_others() {
    let (kernel, store) = (FakeKernel::new(), Store::in_memory());
    let app = restarted(&kernel, &store);
    let services = json!([service(TCP, &[(1, 1)]), service(OTHER, &[(2, 1)])]);
    apply(&app, "a", services).await;
    let kernel = FakeKernel::new();
    let app = restarted(&kernel, &store);
    let faults = kernel.faults();
    faults.once(
        On::Command(command::NEW_SERVICE),
        Fault::Errno(libc::ENOMEM),
    );
    app.recover_tables(Interrupted::Complete, RestoreOnStart::IfEmpty, TIMEOUT)
        .await;
    assert_eq!(kernel.services().len(), 1);
    let table = app.declared_table(context(), &owner("a")).await.unwrap();
    assert_eq!(table.table.services.len(), 2, "it is declared as before");
}

#[tokio::test]
async fn an_undo_at_the_start_leaves_what_another_program_has_changed_since() {
    let (kernel, store) = (FakeKernel::new(), Store::in_memory());
    let app = restarted(&kernel, &store);
    let old = json!([
        service(TCP, &[(1, 1), (2, 1), (3, 1)]),
        service(OTHER, &[(4, 1)])
    ]);
    apply(&app, "a", old).await;
    let new = json!([service(TCP, &[(1, 5), (2, 5)])]);
    // Both edits are executed, and no deletion.
    app.interrupt_apply(context(), "a", &new, 2).await;
    // Another program drains one of each kind: edited, and not reached.
    for n in [2, 3] {
        let server = socket(&format!("10.0.0.{n}:80"));
        let mut drained = fake::Destination::new(server);
        drained.weight = 0;
        kernel.remove_destination(id("192.0.2.1:80"), server);
        kernel.add_destination(id("192.0.2.1:80"), drained);
    }
    let app = restarted(&kernel, &store);
    app.recover_tables(Interrupted::Undo, RestoreOnStart::Never, TIMEOUT)
        .await;
    let found = app.service(context(), key(TCP), Include::default()).await;
    let found = found.unwrap().value;
    let mut weights: Vec<_> = found
        .servers
        .iter()
        .map(|server| (server.key.to_string(), server.config.weight))
        .collect();
    weights.sort();
    let weight = |n: u8, weight| (format!("10.0.0.{n}-80"), weight);
    assert_eq!(weights, [weight(1, 1), weight(2, 0), weight(3, 0)]);
    assert_eq!(kernel.services().len(), 2);
}

#[tokio::test]
async fn the_first_apply_of_an_owner_is_shown_until_it_is_recovered() {
    for mode in [Interrupted::Complete, Interrupted::Undo] {
        let (kernel, store) = (FakeKernel::new(), Store::in_memory());
        let services = json!([service(TCP, &[(1, 1)])]);
        let app = restarted(&kernel, &store);
        app.interrupt_apply(context(), "a", &services, 1).await;
        let app = restarted(&kernel, &store);
        let shown = app.declared_table(context(), &owner("a")).await.unwrap();
        let table = &shown.table;
        assert_eq!(
            (shown.status, table.state.generation, table.services.len()),
            (TableStatus::Applying, 0, 0)
        );
        assert_eq!(
            states(&app).await,
            [("a".to_owned(), TableStatus::Applying)]
        );
        app.recover_tables(mode, RestoreOnStart::Never, TIMEOUT)
            .await;
        let recovered = app.declared_table(context(), &owner("a")).await;
        match mode {
            Interrupted::Complete => assert_eq!(recovered.unwrap().status, TableStatus::InSync),
            Interrupted::Undo => assert_eq!(reason(recovered), Reason::TableNotFound),
        }
    }
}
