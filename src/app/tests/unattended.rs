//! Restores and writes whose client is gone, restores at the same time, and restores that the kernel
//! or the end of the daemon interrupts.

use futures_util::{FutureExt, StreamExt};

use super::{write_log::WriteLog, *};

/// Lines that create `count` services, which begin with this number.
fn lines(first: usize, count: usize) -> String {
    let line = |n| format!("-A -f {n} -s rr\n");
    (first..first + count).map(line).collect()
}

fn rules(text: &str) -> RulesText {
    RulesText::new(text.to_owned().into()).unwrap()
}

fn options(mode: RestoreMode) -> RestoreOptions {
    RestoreOptions { mode, stop: false }
}

async fn restore(app: &App, text: &str, mode: RestoreMode) -> Result<RestoreStream, Error> {
    let text = rules(text);
    app.restore_rules(context(), text, options(mode)).await
}

/// The result of a restore.
async fn end(events: RestoreStream) -> Result<RestoreSummary, Error> {
    match events.collect::<Vec<_>>().await.pop() {
        Some(Ok(RestoreEvent::End(summary))) => Ok(summary),
        Some(Err(error)) => Err(error),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_write_runs_to_its_end_and_is_logged_when_its_client_is_gone() {
    let (kernel, app) = setup();
    let (log, _guard) = WriteLog::start();
    let mut pending = 0;
    for n in 1..=200 {
        let draft = draft(json!({"fwmark": n}));
        let mut request = Box::pin(app.create_service(context(), draft));
        // The request has been received; the client closes its connection.
        pending += usize::from(request.as_mut().now_or_never().is_none());
    }
    // Others were executed at once.
    assert!(pending > 0);
    app.background_work().finished().await;
    assert_eq!(kernel.services().len(), 200);
    let created = log.take().into_iter();
    let created = created.filter(|event| event["operations"] == "create_service");
    assert_eq!(created.count(), 200);
}

#[tokio::test]
async fn a_restore_runs_to_its_end_and_is_logged_when_its_client_is_gone() {
    let (kernel, app) = setup();
    let (log, _guard) = WriteLog::start();
    let text = lines(1, 5000);
    let events = restore(&app, &text, RestoreMode::Execute).await.unwrap();
    drop(events);
    app.background_work().finished().await;
    assert_eq!(kernel.services().len(), 5000);
    let last = log.take().pop().unwrap();
    assert_eq!(last["message"], "restore ended");
    assert_eq!((&*last["done"], &*last["refused"]), ("5000", "0"));
}

#[tokio::test]
async fn restores_of_the_whole_table_do_not_interleave() {
    for mode in [RestoreMode::Clear, RestoreMode::Replace] {
        let (kernel, app) = setup();
        let (low, high) = (lines(1, 3000), lines(100_001, 3000));
        let both = tokio::join!(restore(&app, &low, mode), async {
            let events = restore(&app, &high, mode).await.unwrap();
            end(events).await.unwrap()
        });
        end(both.0.unwrap()).await.unwrap();
        assert_eq!(kernel.services().len(), 3000, "{mode:?}");
    }
}

#[tokio::test]
async fn a_restore_that_waits_too_long_for_another_is_refused_and_changes_nothing() {
    let (kernel, app) = setup();
    create_service(&app, TCP, &[]).await;
    let lock = app.lock_table(context()).await.unwrap();
    let soon = RequestContext::new(RequestId::new("test"), Duration::ZERO);
    for mode in [RestoreMode::Clear, RestoreMode::Replace] {
        let refused = app
            .restore_rules(&soon, rules("-A -f 1\n"), options(mode))
            .await;
        assert_eq!(reason(refused), Reason::RateLimited);
    }
    let refused = app.restore_rules(&soon, rules("-C\n"), RestoreOptions::default());
    assert_eq!(reason(refused.await), Reason::RateLimited);
    let refused = app.clear_services(&soon, Some(1)).await.unwrap_err();
    assert_eq!(refused.reason, Reason::RateLimited);
    assert!(refused.detail.contains("nothing was changed"), "{refused}");
    assert_eq!(state(&kernel).len(), 1);
    // A few commands, and dry runs, do not wait.
    let events = restore(&app, "-A -f 2\n", RestoreMode::Execute).await;
    end(events.unwrap()).await.unwrap();
    let dry_run = soon.with_dry_run(true);
    let checked = app.restore_rules(&dry_run, rules("-C\n"), options(RestoreMode::Clear));
    checked.now_or_never().unwrap().unwrap();
    drop(lock);
    app.clear_services(context(), Some(2)).await.unwrap();
}

/// Makes the kernel silent from the command that creates the service of this mark on.
fn silence_at(kernel: &FakeKernel, services: usize) {
    let fault = Fault::before(move |kernel| {
        if kernel.services().len() == services {
            kernel.faults().clear();
            kernel.faults().always(On::Any, Fault::LostReply);
            kernel.faults().always(On::Lookup, Fault::LostReply);
        }
    });
    kernel
        .faults()
        .always(On::Command(command::NEW_SERVICE), fault);
}

#[tokio::test]
async fn a_restore_that_the_kernel_interrupts_says_how_far_it_came() {
    let (kernel, app) = setup();
    let (log, _guard) = WriteLog::start();
    silence_at(&kernel, 1500);
    let text = format!("-A -f 1\n{}", lines(1, 3000));
    let events = restore(&app, &text, RestoreMode::Execute).await.unwrap();
    let error = end(events).await.unwrap_err();
    let progress = error.progress.as_deref().unwrap();
    let executed = kernel.services().len();
    assert!((1500..1600).contains(&executed), "{executed}");
    assert_eq!((progress.commands, progress.refused), (3001, 1));
    assert_eq!(progress.done + progress.unknown_lines.len(), executed);
    // The line of the last service.
    assert_eq!(progress.unknown_lines, [executed + 1]);
    let detail = &error.detail;
    assert!(
        detail.contains(&format!(
            "{} of 3001 commands were executed, 1 was refused",
            executed - 1
        )),
        "{detail}"
    );
    assert!(
        detail.contains(&format!("line {}", executed + 1)),
        "{detail}"
    );
    assert!(error.hint.unwrap().contains("read the table"));
    let last = log.take().pop().unwrap();
    assert_eq!(last["message"], "restore interrupted");
    assert_eq!(last["done"], (executed - 1).to_string());
}

#[tokio::test]
async fn a_restore_goes_on_after_a_lost_reply() {
    for fault in [
        Fault::LostReply,
        Fault::Overrun,
        Fault::SendError(libc::EIO),
    ] {
        let (kernel, app) = setup();
        // The first command of the second send.
        let hook = Fault::before(move |kernel| {
            if kernel.services().len() == 63 {
                let next = On::Command(command::NEW_SERVICE);
                kernel.faults().once(next, fault.clone());
            }
        });
        let faults = kernel.faults();
        faults.times(64, On::Command(command::NEW_SERVICE), hook);
        let events = restore(&app, &lines(1, 500), RestoreMode::Execute).await;
        let summary = end(events.unwrap()).await.unwrap();
        assert_eq!((summary.done, summary.refused), (500, 0));
        assert_eq!(kernel.services().len(), 500);
    }
}

#[tokio::test]
async fn a_restore_stops_at_the_end_of_the_daemon_and_says_how_far_it_came() {
    let (kernel, app) = setup();
    let (log, _guard) = WriteLog::start();
    let work = app.background_work().clone();
    let stop = Fault::before(move |_| work.stop());
    kernel
        .faults()
        .once(On::Command(command::NEW_SERVICE), stop);
    let text = lines(1, 3000);
    let events = restore(&app, &text, RestoreMode::Execute).await.unwrap();
    let error = end(events).await.unwrap_err();
    let progress = error.progress.unwrap();
    assert_eq!(progress.done, kernel.services().len());
    assert!(progress.done < 3000 && progress.unknown_lines.is_empty());
    let last = log.take().pop().unwrap();
    assert_eq!(last["done"], progress.done.to_string());
}

#[tokio::test]
async fn a_write_whose_outcome_the_daemon_does_not_live_to_see_is_logged() {
    let (kernel, app) = setup();
    let (log, _guard) = WriteLog::start();
    kernel.faults().once(
        On::Command(command::NEW_SERVICE),
        Fault::SlowCommand(Duration::from_millis(200)),
    );
    let draft = draft(json!({"fwmark": 1}));
    let path = app.write_path.clone();
    let transaction = Transaction::new(Nothing, |()| Ok(Plan::nothing()), ServiceQuery(key(TCP)));
    let create = app.create_service(context(), draft);
    let mut create = Box::pin(create);
    assert!(create.as_mut().now_or_never().is_none());
    let mut write = Box::pin(path.run(context(), None, transaction));
    assert!(write.as_mut().now_or_never().is_none());
    drop(write);
    let event = log.take_one();
    assert!(
        event["message"].contains("its outcome is unknown"),
        "{event:?}"
    );
    assert_eq!(event["service"], TCP);
    create.await.unwrap();
}
