//! The audit trail: what has no record, reads, refusals, interrupted writes, and pages.

use futures_util::{FutureExt, StreamExt};

use super::{
    audit::{failed, last, records, succeeded, summary},
    *,
};
use crate::{
    audit::Outcome,
    identity::{CredentialKind, Grant, Role},
};

#[tokio::test]
async fn dry_runs_and_invalid_requests_are_not_recorded() {
    let (_, app) = setup();
    create_service(&app, TCP, &[]).await;
    let dry_run = context().clone().with_dry_run(true);
    app.delete_service(&dry_run, key(TCP), false, NONE)
        .await
        .unwrap();
    app.delete_service(&dry_run, key("tcp-192.0.2.9-80"), false, NONE)
        .await
        .unwrap_err();
    let text = "-D -t 192.0.2.1:80\n".to_owned().into();
    let events = app.restore_rules(&dry_run, text, RestoreOptions::default());
    events.await.unwrap().collect::<Vec<_>>().await;
    app.create_service(context(), draft(json!({})))
        .await
        .unwrap_err();
    read_service(&app, TCP).await;
    assert_eq!(records(&app).await.len(), 1);
}

#[tokio::test]
async fn reads_of_connections_and_of_the_trail_are_recorded() {
    let (kernel, app) = setup();
    let filter = ConnectionFilter::default;
    app.connections(context(), filter(), Some(1)).await.unwrap();
    assert_eq!(summary(&app).await, succeeded("list_connections", "", ""));
    let count = app.count_connections(context(), filter(), CountBy::State);
    count.await.unwrap();
    assert_eq!(summary(&app).await, succeeded("count_connections", "", ""));
    kernel.faults().unload();
    app.connections(context(), filter(), None)
        .await
        .unwrap_err();
    let reason = "KERNEL_UNAVAILABLE";
    assert_eq!(
        summary(&app).await,
        failed("list_connections", "", "", reason)
    );

    let wrong = ListAuditRecords {
        page_token: Some("x".to_owned()),
        ..ListAuditRecords::default()
    };
    app.audit(context(), wrong).await.unwrap_err();
    let page = app
        .audit(context(), ListAuditRecords::default())
        .await
        .unwrap();
    assert_eq!(page.records[0].operation, "list_audit_records");
    assert_eq!(page.records[0].reason.as_deref(), Some("INVALID_ARGUMENT"));
    assert_eq!(
        page.records[1].outcome,
        Outcome::Success,
        "that of this test"
    );
}

/// The context of a principal with this role; without one, of nobody.
fn context_of(role: Option<Role>) -> RequestContext {
    RequestContext {
        principal: Arc::new(Principal {
            name: "somebody".to_owned(),
            kind: CredentialKind::Token,
            grant: role.map(Grant::of),
        }),
        ..context().clone()
    }
}

/// Operation, outcome and reason of the newest record, and whether there is one more than before.
async fn refusal(app: &App, count: &mut usize) -> (String, Outcome, String) {
    let all = records(app).await;
    *count += 1;
    assert_eq!(all.len(), *count, "{all:#?}");
    let (operation, _, _, outcome, reason) = summary(app).await;
    assert_eq!(all[0].principal, "somebody");
    (operation, outcome, reason)
}

#[tokio::test]
async fn each_refusal_has_one_record() {
    let (kernel, app) = setup();
    create_service(&app, TCP, &["10.0.0.1-80"]).await;
    let before = state(&kernel);
    let mut count = 1;
    let viewer = context_of(Some(Role::Viewer));
    let denied = |operation: &str| {
        let reason = "PERMISSION_DENIED".to_owned();
        (operation.to_owned(), Outcome::Denied, reason)
    };
    app.delete_service(&viewer, key(TCP), false, NONE)
        .await
        .unwrap_err();
    assert_eq!(refusal(&app, &mut count).await, denied("delete_service"));
    assert_eq!(last(&app).await.service.as_deref(), Some(TCP));
    app.clear_services(&viewer, Some(1)).await.unwrap_err();
    assert_eq!(refusal(&app, &mut count).await, denied("clear"));
    // A command line of ipvsctl, which is a text of one command.
    let text = "-d -t 192.0.2.1:80 -r 10.0.0.1:80\n".to_owned();
    let restore = app.restore_rules(&viewer, text.clone().into(), RestoreOptions::default());
    restore.await.unwrap_err();
    assert_eq!(refusal(&app, &mut count).await, denied("delete_server"));
    let record = last(&app).await;
    assert_eq!(record.service.as_deref(), Some(TCP));
    assert_eq!(record.server.as_deref(), Some("10.0.0.1-80"));
    for (text, mode) in [
        (text.repeat(2), RestoreMode::Execute),
        (text, RestoreMode::Clear),
    ] {
        let options = RestoreOptions { mode, stop: false };
        let restore = app.restore_rules(&viewer, text.into(), options);
        restore.await.unwrap_err();
        assert_eq!(refusal(&app, &mut count).await, denied("restore_rules"));
        assert_eq!(last(&app).await.service, None);
    }
    let filter = ConnectionFilter::default();
    app.connections(&viewer, filter, None).await.unwrap_err();
    assert_eq!(refusal(&app, &mut count).await, denied("read_connections"));
    // Decided when the change is planned.
    let operator = context_of(Some(Role::Operator));
    let threshold = server_draft(json!({"upper_threshold": 7}));
    let server = server_key("10.0.0.1-80");
    let update = app.update_server(&operator, key(TCP), server, threshold, NONE, false);
    update.await.unwrap_err();
    assert_eq!(refusal(&app, &mut count).await, denied("update_server"));
    assert_eq!(last(&app).await.server.as_deref(), Some("10.0.0.1-80"));
    // The same as a command line: the edit resets the forwarding method.
    let text = "-e -t 192.0.2.1:80 -r 10.0.0.1:80 -g\n".to_owned();
    let restore = app.restore_rules(&operator, text.into(), RestoreOptions::default());
    let events: Vec<_> = restore.await.unwrap().collect().await;
    events.last().unwrap().as_ref().unwrap_err();
    assert_eq!(refusal(&app, &mut count).await, denied("update_server"));
    assert_eq!(last(&app).await.server.as_deref(), Some("10.0.0.1-80"));

    let nobody = context_of(None);
    let unauthenticated = |operation: &str| {
        let reason = "UNAUTHENTICATED".to_owned();
        (operation.to_owned(), Outcome::Unauthenticated, reason)
    };
    let dry_run = nobody.clone().with_dry_run(true);
    app.zero(&dry_run, None).await.unwrap_err();
    assert_eq!(
        refusal(&app, &mut count).await,
        unauthenticated("zero"),
        "a dry run, too"
    );
    app.timeouts(&nobody).await.unwrap_err();
    assert_eq!(
        refusal(&app, &mut count).await,
        unauthenticated("read_settings")
    );
    app.list_services(&nobody, ListServices::default())
        .await
        .unwrap_err();
    assert_eq!(
        refusal(&app, &mut count).await,
        unauthenticated("read_services")
    );
    app.audit(&viewer, ListAuditRecords::default())
        .await
        .unwrap_err();
    let page = app
        .audit(context(), ListAuditRecords::default())
        .await
        .unwrap();
    assert_eq!(page.records[0].operation, "list_audit_records");
    assert_eq!(page.records[0].outcome, Outcome::Denied);
    assert_eq!(state(&kernel), before, "nothing was changed");
}

#[tokio::test]
async fn writes_whose_client_is_gone_are_recorded() {
    let (_, app) = setup();
    for n in 1..=200 {
        let draft = draft(json!({"fwmark": n}));
        let mut request = Box::pin(app.create_service(context(), draft));
        // The request has been received; the client closes its connection.
        drop(request.as_mut().now_or_never());
    }
    app.background_work().finished().await;
    let records = records(&app).await;
    assert_eq!(records.len(), 200);
    assert!(
        records
            .iter()
            .all(|record| record.operation == "create_service")
    );
    assert!(
        records
            .iter()
            .all(|record| record.outcome == Outcome::Success)
    );
}

#[tokio::test]
async fn a_write_that_the_end_of_the_daemon_interrupts_is_recorded_as_unknown() {
    let (kernel, app) = setup();
    let slow = Fault::SlowCommand(Duration::from_millis(200));
    kernel
        .faults()
        .once(On::Command(command::NEW_SERVICE), slow);
    let mut create = Box::pin(app.create_service(context(), draft(json!({"fwmark": 1}))));
    assert!(create.as_mut().now_or_never().is_none());
    let query = ServiceQuery(key(TCP));
    let transaction = Transaction::new(Nothing, |()| Ok(Plan::nothing()), query).named("zero");
    let path = app.write_path.clone();
    let mut write = Box::pin(path.run(context(), None, transaction));
    assert!(write.as_mut().now_or_never().is_none());
    drop(write);
    let record = last(&app).await;
    assert_eq!(
        (record.operation.as_str(), record.outcome),
        ("zero", Outcome::Unknown)
    );
    assert_eq!(record.service.as_deref(), Some(TCP));
    create.await.unwrap();
}

#[tokio::test]
async fn a_restore_that_the_kernel_interrupts_is_recorded_with_its_numbers() {
    let (kernel, app) = setup();
    let lost = Fault::before(|kernel| {
        kernel.faults().clear();
        kernel.faults().always(On::Any, Fault::LostReply);
        kernel.faults().always(On::Lookup, Fault::LostReply);
    });
    kernel
        .faults()
        .once(On::Command(command::NEW_SERVICE), lost);
    let text = "-A -f 1 -s rr\n-A -f 2 -s rr\n".to_owned().into();
    let events = app.restore_rules(context(), text, RestoreOptions::default());
    events.await.unwrap().collect::<Vec<_>>().await;
    kernel.faults().clear();
    let [end, part] = records(&app).await.try_into().unwrap();
    assert_eq!(
        (end.outcome, part.outcome),
        (Outcome::Partial, Outcome::Partial)
    );
    assert!(end.reason.is_some() && end.reason == part.reason, "{end:?}");
    let counts = json!({"commands": 2, "done": 1, "refused": 0});
    assert_eq!(end.after, Some(counts));
}

#[tokio::test]
async fn pages_of_the_trail_follow_each_other() {
    let (_, app) = setup();
    for _ in 0..5 {
        app.zero(context(), None).await.unwrap();
    }
    let list = |page_token, principal: &str| ListAuditRecords {
        principal: Some(principal.to_owned()),
        page_size: Some(2),
        page_token,
        ..ListAuditRecords::default()
    };
    let mut seqs = Vec::new();
    let mut token = None;
    loop {
        let page = app.audit(context(), list(token, "system")).await.unwrap();
        seqs.extend(page.records.iter().map(|record| record.seq));
        let Some(next) = page.next_page_token else {
            break;
        };
        let error = app
            .audit(context(), list(Some(next.clone()), "other"))
            .await
            .unwrap_err();
        assert_eq!(fields(&error), ["page_token"]);
        token = Some(next);
    }
    assert_eq!(seqs, [5, 4, 3, 2, 1]);
    let large = ListAuditRecords {
        page_size: Some(1001),
        ..ListAuditRecords::default()
    };
    assert_eq!(
        fields(&app.audit(context(), large).await.unwrap_err()),
        ["page_size"]
    );
}
