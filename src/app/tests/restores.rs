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
