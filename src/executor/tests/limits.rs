//! Queue, deadlines, those who leave, and panics.

use std::{sync::atomic::AtomicBool, thread};

use super::*;
use crate::executor::handle::Waker;

#[tokio::test]
async fn one_request_more_than_may_wait_is_refused_at_once() {
    let kernel = FakeKernel::new();
    let limits = ExecutorLimits {
        queue_length: 2,
        ..ExecutorLimits::default()
    };
    let executor = start_with(&kernel, limits);
    let held = hold(&kernel, &executor).await;
    let mut first = pin!(ask(&executor, TimeoutsQuery));
    let mut second = pin!(change(&executor, reading(1, create(1))));
    submit(first.as_mut()).await;
    submit(second.as_mut()).await;
    let error = ask(&executor, TimeoutsQuery).await.unwrap_err();
    assert_eq!(error.reason, Reason::RateLimited);
    assert!(error.hint.unwrap().contains("limits.queue_length"));
    let error = run(&executor, create(2)).await.unwrap_err();
    assert_eq!(error.reason, Reason::RateLimited);
    held.go().await;
    first.await.unwrap();
    second.await.unwrap();
    assert_eq!(services(&kernel), 1);
    run(&executor, create(2)).await.unwrap();
}

#[tokio::test]
async fn what_waited_beyond_its_deadline_is_not_begun() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let held = hold(&kernel, &executor).await;
    let soon = Instant::now() + Duration::from_millis(5);
    let mut write = pin!(executor.writer.write(reading(1, create(1)), soon, false));
    let mut read = pin!(executor.reader.read(ServicesQuery, Duration::ZERO, soon));
    let mut file = pin!(
        executor
            .writer
            .write(blind([drop_entry("1")], Nothing), soon, false)
    );
    submit(write.as_mut()).await;
    submit(read.as_mut()).await;
    submit(file.as_mut()).await;
    tokio::time::sleep_until(soon.into()).await;
    held.go().await;
    for error in [
        write.await.unwrap_err(),
        read.await.unwrap_err(),
        file.await.unwrap_err(),
    ] {
        assert_eq!(error.reason, Reason::DeadlineExceeded);
        assert!(error.detail.contains("nothing was done"), "{error}");
    }
    assert_eq!(services(&kernel), 0);
    assert_eq!(kernel.dumps(command::GET_SERVICE), 0);
    let settings = ask(&executor, SettingsQuery).await.unwrap();
    assert_eq!(settings["drop_entry"], SettingValue::Integer(0));
}

fn drop_entry(value: &str) -> Op {
    Op::SetSetting {
        name: "drop_entry",
        text: value.to_owned(),
    }
}

#[tokio::test]
async fn what_waited_behind_another_of_its_turn_beyond_its_deadline_is_not_begun() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let soon = Instant::now() + Duration::from_millis(100);
    // The first change takes until the second's deadline has passed.
    kernel.faults().once(
        On::Command(command::NEW_SERVICE),
        Fault::before(move |_| {
            thread::sleep(soon.saturating_duration_since(Instant::now()));
        }),
    );
    let held = hold(&kernel, &executor).await;
    let mut first = pin!(change(&executor, reading(1, create(1))));
    let mut second = pin!(executor.writer.write(reading(1, add(1, 1)), soon, false));
    submit(first.as_mut()).await;
    submit(second.as_mut()).await;
    held.go().await;
    first.await.unwrap();
    let error = second.await.unwrap_err();
    assert_eq!(error.reason, Reason::DeadlineExceeded);
    assert!(error.detail.contains("nothing was done"), "{error}");
    assert!(kernel.service(id(1)).unwrap().is_empty());
}

#[tokio::test]
async fn who_leaves_does_not_stop_the_rest() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let held = hold(&kernel, &executor).await;
    let mut first = pin!(change(&executor, reading(1, create(1))));
    let mut left = Box::pin(change(&executor, reading(2, create(2))));
    let mut third = pin!(change(&executor, reading(3, create(3))));
    submit(first.as_mut()).await;
    submit(left.as_mut()).await;
    submit(third.as_mut()).await;
    drop(left);
    held.go().await;
    first.await.unwrap();
    third.await.unwrap();
    assert!(kernel.service(id(2)).is_none(), "nobody waited for it");
    assert_eq!(services(&kernel), 2);
}

#[tokio::test]
async fn what_has_begun_is_finished_though_nobody_waits() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let (enter, entered) = std_mpsc::channel();
    let (release, released) = std_mpsc::channel::<()>();
    let (enter, released) = (Mutex::new(enter), Mutex::new(released));
    kernel.faults().once(
        On::Command(command::NEW_SERVICE),
        Fault::before(move |_| {
            enter.lock().unwrap().send(()).unwrap();
            let _ = released.lock().unwrap().recv();
        }),
    );
    let own = executor.clone();
    let begun = tokio::spawn(async move { run(&own, create(1)).await });
    tokio::task::spawn_blocking(move || entered.recv())
        .await
        .unwrap()
        .unwrap();
    begun.abort();
    assert!(begun.await.unwrap_err().is_cancelled());
    release.send(()).unwrap();
    ask(&executor, InfoQuery).await.unwrap();
    assert_eq!(services(&kernel), 1);
}

#[tokio::test]
async fn a_plan_that_panics_fails_alone() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let requests = (0..5).map(|n| {
        let plan = move |_: &Option<Arc<ServiceEntry>>| match n {
            2 => panic!("a bug in a plan"),
            n => Ok(Plan::of([create(n).into()])),
        };
        change(
            &executor,
            Transaction::new(ServiceQuery(key(n)), plan, Nothing),
        )
    });
    let results = together(&kernel, &executor, requests).await;
    for (n, result) in (0..5).zip(results) {
        match n {
            2 => assert_eq!(result.unwrap_err().reason, Reason::Internal),
            _ => assert!(result.is_ok(), "{n}: {result:?}"),
        }
    }
    assert_eq!(services(&kernel), 4);
    ask(&executor, TableQuery).await.unwrap();
}

#[tokio::test]
async fn who_comes_while_somebody_is_about_to_ring_is_heard_with_them() {
    let (woken, heard) = std_mpsc::channel();
    let parked = thread::spawn(move || {
        thread::park();
        woken.send(()).unwrap();
    });
    let waker = Waker {
        thread: parked.thread().clone(),
        pending: AtomicBool::new(false),
    };
    let mut first = Box::pin(waker.wake());
    submit(first.as_mut()).await;
    // Not after others have had their turn, as the first, but at once.
    tokio::select! {
        biased;
        () = waker.wake() => {}
        () = std::future::ready(()) => panic!("it waits for nothing"),
    }
    // It rings even if nobody waits for it any more, and then the next one is the first again.
    drop(first);
    heard.recv().unwrap();
    submit(pin!(waker.wake())).await;
}
