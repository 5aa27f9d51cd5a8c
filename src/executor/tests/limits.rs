//! Queue length, deadlines, cancelled requests, panics in plans.

use tokio::time::timeout;

use super::*;

#[tokio::test]
async fn a_request_beyond_the_queue_length_is_rejected_at_once() {
    let kernel = FakeKernel::new();
    let limits = ExecutorLimits {
        queue_length: 2,
        ..ExecutorLimits::default()
    };
    let executor = start_with(&kernel, limits);
    let blocked = block_worker(&kernel, &executor).await;
    let mut first = pin!(read_fresh(&executor, TimeoutsQuery));
    let mut second = pin!(write(&executor, with_precondition(1, create_service(1))));
    submit(first.as_mut()).await;
    submit(second.as_mut()).await;
    let error = read_fresh(&executor, TimeoutsQuery).await.unwrap_err();
    assert_eq!(error.reason, Reason::RateLimited);
    assert!(error.hint.unwrap().contains("limits.queue_length"));
    let error = execute(&executor, create_service(2)).await.unwrap_err();
    assert_eq!(error.reason, Reason::RateLimited);
    blocked.release().await;
    first.await.unwrap();
    second.await.unwrap();
    assert_eq!(service_count(&kernel), 1);
    execute(&executor, create_service(2)).await.unwrap();
}

#[tokio::test]
async fn requests_that_nobody_waits_for_make_space_in_the_queue() {
    let kernel = FakeKernel::new();
    let limits = ExecutorLimits {
        queue_length: 3,
        ..ExecutorLimits::default()
    };
    let executor = start_with(&kernel, limits);
    let blocked = block_worker(&kernel, &executor).await;
    let commands = CommandList::new(vec![create_service(2)], false);
    let mut read = Box::pin(read_fresh(&executor, TimeoutsQuery));
    let mut change = Box::pin(write(&executor, with_precondition(1, create_service(1))));
    let mut list = Box::pin(write(&executor, commands));
    submit(read.as_mut()).await;
    submit(change.as_mut()).await;
    submit(list.as_mut()).await;
    drop((read, change, list));
    let mut wanted: Vec<_> = (3..6)
        .map(|n| Box::pin(write(&executor, with_precondition(n, create_service(n)))))
        .collect();
    for change in &mut wanted {
        submit(change.as_mut()).await;
    }
    blocked.release().await;
    for change in wanted {
        change.await.unwrap();
    }
    assert_eq!(service_count(&kernel), 3);
}

#[tokio::test]
async fn a_large_service_is_forgotten_when_it_is_deleted() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    kernel.set_dump_size(2000);
    let is_large = || executor.writer.queues.large.contains(key(1));
    for op in [Op::DeleteService(key(1)), Op::Clear] {
        seed_service(&kernel, 1, 60);
        read_fresh(&executor, ServersQuery(key(1))).await.unwrap();
        assert!(is_large());
        execute(&executor, op).await.unwrap();
        assert!(!is_large());
    }
}

#[tokio::test]
async fn a_request_does_not_start_after_its_deadline() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let blocked = block_worker(&kernel, &executor).await;
    let expired = Instant::now();
    let mut change = pin!(executor.writer.write(
        with_precondition(1, create_service(1)),
        expired,
        false
    ));
    let mut read = pin!(executor.reader.read(ServicesQuery, Duration::ZERO, expired));
    let setting = without_precondition([set_setting("drop_entry", "1")], Nothing);
    let mut setting = pin!(executor.writer.write(setting, expired, false));
    submit(change.as_mut()).await;
    submit(read.as_mut()).await;
    submit(setting.as_mut()).await;
    blocked.release().await;
    for error in [
        change.await.unwrap_err(),
        read.await.unwrap_err(),
        setting.await.unwrap_err(),
    ] {
        assert_eq!(error.reason, Reason::DeadlineExceeded);
        assert!(error.detail.contains("nothing was done"), "{error}");
    }
    assert_eq!(service_count(&kernel), 0);
    assert_eq!(kernel.dumps(command::GET_SERVICE), 0);
    let settings = read_fresh(&executor, SettingsQuery).await.unwrap();
    assert_eq!(settings["drop_entry"], SettingValue::Integer(0));
}

#[tokio::test]
async fn a_request_does_not_start_if_its_deadline_passes_within_the_iteration() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let soon = Instant::now() + Duration::from_millis(100);
    // The first change lasts until the second's deadline has passed.
    kernel.faults().once(
        On::Command(command::NEW_SERVICE),
        Fault::before(move |_| {
            thread::sleep(soon.saturating_duration_since(Instant::now()));
        }),
    );
    let blocked = block_worker(&kernel, &executor).await;
    let mut first = pin!(write(&executor, with_precondition(1, create_service(1))));
    let mut second = pin!(executor.writer.write(
        with_precondition(1, create_server(1, 1)),
        soon,
        false
    ));
    submit(first.as_mut()).await;
    submit(second.as_mut()).await;
    blocked.release().await;
    first.await.unwrap();
    let error = second.await.unwrap_err();
    assert_eq!(error.reason, Reason::DeadlineExceeded);
    assert!(error.detail.contains("nothing was done"), "{error}");
    assert!(kernel.service(id(1)).unwrap().is_empty());
}

#[tokio::test]
async fn a_cancelled_request_is_skipped() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let blocked = block_worker(&kernel, &executor).await;
    let mut first = pin!(write(&executor, with_precondition(1, create_service(1))));
    let mut cancelled = Box::pin(write(&executor, with_precondition(2, create_service(2))));
    let mut third = pin!(write(&executor, with_precondition(3, create_service(3))));
    submit(first.as_mut()).await;
    submit(cancelled.as_mut()).await;
    submit(third.as_mut()).await;
    drop(cancelled);
    blocked.release().await;
    first.await.unwrap();
    third.await.unwrap();
    assert!(kernel.service(id(2)).is_none(), "nobody waits for it");
    assert_eq!(service_count(&kernel), 2);
}

#[tokio::test]
async fn a_started_change_is_completed_after_its_caller_is_cancelled() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let (breakpoint, stop) = Breakpoint::new();
    fault_once(
        &kernel,
        command::NEW_SERVICE,
        Fault::before(move |_| stop()),
    );
    let own = executor.clone();
    let started = tokio::spawn(async move { execute(&own, create_service(1)).await });
    let release = breakpoint.reached().await;
    started.abort();
    assert!(started.await.unwrap_err().is_cancelled());
    release.send(()).unwrap();
    read_fresh(&executor, InfoQuery).await.unwrap();
    assert_eq!(service_count(&kernel), 1);
}

#[tokio::test]
async fn a_panic_in_a_plan_fails_its_transaction_alone() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let requests = (0..5).map(|n| {
        let plan = move |_: &Option<Arc<ServiceEntry>>| match n {
            2 => panic!("a bug in a plan"),
            n => Ok(Plan::of([create_service(n).into()])),
        };
        write(
            &executor,
            Transaction::new(ServiceQuery(key(n)), plan, Nothing),
        )
    });
    let results = run_concurrently(&kernel, &executor, requests).await;
    for (n, result) in (0..5).zip(results) {
        match n {
            2 => assert_eq!(result.unwrap_err().reason, Reason::Internal),
            _ => assert!(result.is_ok(), "{n}: {result:?}"),
        }
    }
    assert_eq!(service_count(&kernel), 4);
    read_fresh(&executor, TableQuery).await.unwrap();
}

#[tokio::test]
async fn a_request_ends_at_its_deadline_while_the_kernel_is_slow() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let blocked = block_worker(&kernel, &executor).await;
    let soon = Instant::now() + Duration::from_millis(20);
    // The kernel stays blocked.
    const BOUND: Duration = Duration::from_secs(4);
    let read = executor.reader.read(ServicesQuery, Duration::ZERO, soon);
    let error = timeout(BOUND, read).await.unwrap().unwrap_err();
    assert_eq!(error.reason, Reason::DeadlineExceeded);
    assert!(error.detail.contains("nothing was done"), "{error}");
    let change = with_precondition(1, create_service(1));
    let change = executor.writer.write(change, soon, false);
    let error = timeout(BOUND, change).await.unwrap().unwrap_err();
    assert_eq!(error.reason, Reason::DeadlineExceeded);
    assert!(error.detail.contains("nothing was done"), "{error}");
    blocked.release().await;
    read_fresh(&executor, InfoQuery).await.unwrap();
    assert_eq!(service_count(&kernel), 0);
}
