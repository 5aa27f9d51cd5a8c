//! Restores beside other requests.

use std::sync::{Mutex, atomic::AtomicUsize, atomic::Ordering, mpsc};

use futures_util::StreamExt;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_requests_run_between_short_parts_of_a_restore() {
    let (kernel, app) = setup();
    let mut text = "-A -t 192.0.2.1:80 -s rr\n".to_owned();
    for n in 0..3000 {
        let (high, low) = (n / 250, n % 250);
        text += &format!("-a -t 192.0.2.1:80 -r 10.0.{high}.{low}:80 -m\n");
    }
    // The first creation waits until the other request is in the queue.
    let (started, has_started) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    kernel.faults().once(
        On::Command(command::NEW_DEST),
        Fault::before(move |_| {
            started.send(()).unwrap();
            let _ = released.lock().unwrap().recv();
        }),
    );
    let servers = Arc::new(AtomicUsize::new(usize::MAX));
    let seen = servers.clone();
    kernel.faults().once(
        On::Command(command::GET_CONFIG),
        Fault::before(move |kernel| {
            let service = kernel.service(id("192.0.2.1:80")).unwrap();
            seen.store(service.len(), Ordering::Release);
        }),
    );
    let restore = app.restore_rules(context(), text.into(), RestoreOptions::default());
    let events = restore.await.unwrap();
    tokio::task::spawn_blocking(move || has_started.recv())
        .await
        .unwrap()
        .unwrap();
    let mut read = Box::pin(app.timeouts(context()));
    tokio::select! {
        biased;
        _ = &mut read => panic!("the executor is blocked"),
        () = tokio::task::yield_now() => {}
    }
    release.send(()).unwrap();
    read.await.unwrap();
    // At most the first part of 64 commands, and the second of 128.
    assert!(servers.load(Ordering::Acquire) < 192, "{servers:?}");
    let last = events.collect::<Vec<_>>().await.pop();
    let Some(Ok(RestoreEvent::End(summary))) = last else {
        panic!("{last:?}");
    };
    assert_eq!(summary.done, 3001);
}

#[tokio::test]
async fn progress_is_reported_after_the_first_part_and_after_the_last() {
    let (_, app) = setup();
    let mut text = "-A -t 192.0.2.1:80 -s rr\n".to_owned();
    for n in 0..1000 {
        text += &format!("-a -t 192.0.2.1:80 -r 10.0.{}.{}:80 -m\n", n / 250, n % 250);
    }
    let restore = app.restore_rules(context(), text.into(), RestoreOptions::default());
    let events: Vec<_> = restore.await.unwrap().collect().await;
    let progress = events.iter().filter_map(|event| match event {
        Ok(RestoreEvent::Progress { done, total }) => Some((*done, *total)),
        _ => None,
    });
    let progress: Vec<_> = progress.collect();
    assert_eq!(progress.first(), Some(&(64, 1001)));
    assert_eq!(progress.last(), Some(&(1001, 1001)));
}

/// Restores a text as an operator.
async fn restore_as_operator(app: &App, text: &str, dry_run: bool) -> Result<usize, Error> {
    let context = RequestContext {
        principal: principal("oncall", Role::Operator),
        ..context().clone().with_dry_run(dry_run)
    };
    let restore = app.restore_rules(&context, text.to_owned().into(), RestoreOptions::default());
    let last = restore.await?.collect::<Vec<_>>().await.pop().unwrap();
    match last? {
        RestoreEvent::End(summary) => Ok(summary.done),
        event => panic!("{event:?}"),
    }
}

fn edit_weights(servers: std::ops::Range<usize>, options: &str) -> String {
    let edit = |n| format!("-e -t 192.0.2.1:80 -r 10.0.0.{n}:80 {options}\n");
    servers.map(edit).collect()
}

#[tokio::test]
async fn an_operator_edits_weights_alone() {
    let (kernel, app) = setup();
    let servers: Vec<_> = (1..=65).map(|n| format!("10.0.0.{n}-80")).collect();
    let servers: Vec<_> = servers.iter().map(String::as_str).collect();
    create_service(&app, TCP, &servers).await;
    let weight = server_draft(json!({"weight": 1, "forwarding": "masquerade"}));
    for server in &servers {
        let key = server_key(server);
        let update =
            app.update_server(context(), super::key(TCP), key, weight.clone(), NONE, false);
        update.await.unwrap();
    }
    let before = state(&kernel);

    // Without -m, the forwarding method changes too; a command that is refused refuses all of them.
    let both = edit_weights(1..3, "-m -w 7") + &edit_weights(3..4, "-w 7");
    let too_many = edit_weights(1..66, "-m -w 7");
    let mixed = edit_weights(1..2, "-m -w 7") + "-d -t 192.0.2.1:80 -r 10.0.0.9:80\n";
    for (text, verb) in [
        (both, "update_server"),
        (too_many, "update_server"),
        (mixed, "delete_server"),
    ] {
        let error = restore_as_operator(&app, &text, false).await.unwrap_err();
        assert_eq!(error.reason, Reason::PermissionDenied, "{text}");
        assert!(error.detail.contains(verb), "{error}");
        assert_eq!(state(&kernel), before);
    }
    let text = edit_weights(1..65, "-m -w 7");
    restore_as_operator(&app, &text, true).await.unwrap();
    assert_eq!(state(&kernel), before);
    assert_eq!(restore_as_operator(&app, &text, false).await.unwrap(), 64);
    let entry = read_service(&app, TCP).await;
    let weights = entry.servers.iter().map(|server| server.config.weight);
    assert_eq!(weights.filter(|weight| *weight == 7).count(), 64);
}
