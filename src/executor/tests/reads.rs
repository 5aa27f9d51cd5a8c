//! Reads: coalescing, caching, completeness.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::TryFutureExt;

use super::*;

#[tokio::test]
async fn concurrent_reads_share_one_dump() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    seed_service(&kernel, 1, 2);
    seed_service(&kernel, 2, 2);
    let requests = (0..200).map(|i| match i % 2 {
        0 => read_fresh(&executor, TableQuery)
            .map_ok(|table| (table.len(), 2))
            .boxed(),
        _ => read_fresh(&executor, ServiceWithServersQuery(key(1)))
            .map_ok(|entry| (2, entry.unwrap().servers.len()))
            .boxed(),
    });
    kernel.reset_counts();
    for (i, result) in run_concurrently(&kernel, &executor, requests)
        .await
        .into_iter()
        .enumerate()
    {
        assert_eq!(result.unwrap(), (2, 2), "{i}");
    }
    assert_eq!(kernel.dumps(command::GET_SERVICE), 1);
    assert_eq!(kernel.dumps(command::GET_DEST), 3);
}

#[tokio::test]
async fn reads_of_many_tasks_share_dumps() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let blocked = block_worker(&kernel, &executor).await;
    let polled = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..300)
        .map(|_| {
            let (executor, polled) = (executor.clone(), polled.clone());
            tokio::spawn(async move {
                polled.fetch_add(1, Ordering::Relaxed);
                read_fresh(&executor, ServicesQuery).await
            })
        })
        .collect();
    // A task submits when it is first polled.
    while polled.load(Ordering::Relaxed) < 300 {
        tokio::task::yield_now().await;
    }
    blocked.release().await;
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert!(
        kernel.dumps(command::GET_SERVICE) <= 2,
        "the executor takes 256 jobs per iteration"
    );
}

#[tokio::test]
async fn results_are_cached_until_the_next_own_write() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    seed_service(&kernel, 1, 1);
    let first = read_cached(&executor, TableQuery).await;
    assert_eq!(first.age, Duration::ZERO, "read for this request");
    let dumps = kernel.dumps(command::GET_SERVICE);
    let Cached { value, age, .. } = read_cached(&executor, TableQuery).await;
    assert_eq!(kernel.dumps(command::GET_SERVICE), dumps);
    assert!(age > Duration::ZERO && age < LONG);
    assert_eq!(value[0].servers.len(), 1);
    // A fresh read, and one whose maximum age is exceeded.
    read_fresh(&executor, TableQuery).await.unwrap();
    assert_eq!(kernel.dumps(command::GET_SERVICE), dumps + 1);
    let max_age = Duration::from_nanos(1);
    let read = executor.reader.read(TableQuery, max_age, deadline());
    read.await.unwrap();
    assert_eq!(kernel.dumps(command::GET_SERVICE), dumps + 2);
    // Another query has a result of its own.
    let services = read_cached(&executor, ServicesQuery).await.value;
    assert_eq!(services[0].servers.len(), 0);

    execute(&executor, create_service(2)).await.unwrap();
    let Cached { value, age, .. } = read_cached(&executor, TableQuery).await;
    assert_eq!(
        (value.len(), age),
        (2, Duration::ZERO),
        "the result includes the own write"
    );
}

#[tokio::test]
async fn reads_that_miss_the_cache_share_one_dump_across_iterations() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    seed_service(&kernel, 1, 1);
    let requests = (0..700).map(|_| executor.reader.read(TableQuery, LONG, deadline()));
    for (i, result) in run_concurrently(&kernel, &executor, requests)
        .await
        .into_iter()
        .enumerate()
    {
        let Cached { value, kept, .. } = result.unwrap();
        assert_eq!(value.len(), 1, "{i}");
        assert!(kept, "{i}");
    }
    assert_eq!(kernel.dumps(command::GET_SERVICE), 1);
}

#[tokio::test]
async fn a_result_is_kept_only_while_requests_accept_its_age() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let dumps = || kernel.dumps(command::GET_SERVICE);
    let first = executor
        .reader
        .read(TableQuery, Duration::ZERO, deadline())
        .await;
    let first = first.unwrap();
    assert!(!first.kept);
    let first = first.value;
    wait_until("the executor drops the result", || {
        Arc::strong_count(&first) == 1
    })
    .await;
    read_cached(&executor, TableQuery).await;
    assert_eq!(dumps(), 2);
    // A fresh result replaces the kept one.
    read_fresh(&executor, TableQuery).await.unwrap();
    read_cached(&executor, TableQuery).await;
    assert_eq!(dumps(), 3);
    // No request has accepted the age of the result, so its successor is not kept.
    execute(&executor, Op::ZeroAll).await.unwrap();
    let young = Duration::from_nanos(1);
    executor
        .reader
        .read(TableQuery, young, deadline())
        .await
        .unwrap();
    read_fresh(&executor, TableQuery).await.unwrap();
    read_cached(&executor, TableQuery).await;
    assert_eq!(dumps(), 6);
}

/// A query whose result records the thread that frees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct RecordedQuery;

#[derive(Clone, Debug, Default)]
struct FreedBy(Arc<Mutex<Option<String>>>);

impl Drop for FreedBy {
    fn drop(&mut self) {
        // Two: this value and the test.
        if Arc::strong_count(&self.0) == 2 {
            let name = thread::current().name().unwrap_or_default().to_owned();
            *self.0.lock().unwrap() = Some(name);
        }
    }
}

impl TypedQuery for RecordedQuery {
    type Answer = FreedBy;

    const CACHED: bool = true;

    fn query(&self) -> Option<Query> {
        None
    }

    fn fetch(&self, _source: &mut query::Source<'_>) -> Result<FreedBy, Error> {
        Ok(FreedBy::default())
    }
}

/// A kept table may be large, and a change may run in a task.
#[tokio::test]
async fn a_change_does_not_free_what_was_kept() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let Cached { value, kept, .. } = read_cached(&executor, RecordedQuery).await;
    assert!(kept);
    let freed_by = value.0.clone();
    drop(value);
    *freed_by.lock().unwrap() = None;
    execute(&executor, create_service(1)).await.unwrap();
    wait_until("the result is freed", || Arc::strong_count(&freed_by) == 1).await;
    assert_eq!(freed_by.lock().unwrap().as_deref(), Some("ipvs-reads"));
    // No request can use a result that is older than any of them accepts.
    let young = Duration::from_millis(1);
    let read = executor.reader.read(RecordedQuery, young, deadline());
    let freed_by = read.await.unwrap().value.0.clone();
    wait_until("the result is freed", || Arc::strong_count(&freed_by) == 1).await;
    // The result of the next read is another one.
    let next = read_cached(&executor, RecordedQuery).await;
    assert!(!Arc::ptr_eq(&next.value.0, &freed_by));
}

#[tokio::test]
async fn a_failed_write_clears_the_cache() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    read_cached(&executor, ServicesQuery).await;
    seed_service(&kernel, 1, 0);
    execute(&executor, create_service(1)).await.unwrap_err();
    let services = read_cached(&executor, ServicesQuery).await.value;
    assert_eq!(services.len(), 1);
}

#[tokio::test]
async fn a_cached_result_does_not_wait_for_the_worker() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    read_cached(&executor, TimeoutsQuery).await;
    let blocked = block_worker(&kernel, &executor).await;
    read_cached(&executor, TimeoutsQuery).await;
    blocked.release().await;
}

#[tokio::test]
async fn empty_tables_and_services_are_valid_results() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    assert!(read_fresh(&executor, TableQuery).await.unwrap().is_empty());
    assert!(
        read_fresh(&executor, ServiceQuery(key(1)))
            .await
            .unwrap()
            .is_none()
    );
    seed_service(&kernel, 1, 0);
    let entry = read_fresh(&executor, ServiceWithServersQuery(key(1))).await;
    assert!(entry.unwrap().unwrap().servers.is_empty());
    assert!(
        read_fresh(&executor, SyncDaemonsQuery)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_large_table_is_complete_and_in_the_kernels_order() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    for n in 0..300 {
        seed_service(&kernel, n, n % 4);
    }
    seed_service(&kernel, 1000, 500);
    let table = read_fresh(&executor, TableQuery).await.unwrap();
    assert_eq!(table.len(), 301);
    for (entry, service) in table.iter().zip(kernel.services()) {
        let address = match entry.service.key {
            ServiceKey::Address { address, port, .. } => (address, port).into(),
            ServiceKey::Fwmark { .. } => panic!("unexpected fwmark"),
        };
        assert_eq!(ServiceId::tcp(address), service.id);
        let found: Vec<std::net::SocketAddr> = entry
            .servers
            .iter()
            .map(|s| (s.key.address, s.key.port).into())
            .collect();
        let expected: Vec<std::net::SocketAddr> =
            service.destinations().map(|d| d.address).collect();
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn fresh_reads_within_the_shortest_interval_share_a_dump_until_the_next_own_write() {
    let kernel = FakeKernel::new();
    let limits = ExecutorLimits {
        min_read_interval: LONG,
        ..ExecutorLimits::default()
    };
    let executor = start_with(&kernel, limits);
    seed_service(&kernel, 1, 2);
    kernel.reset_counts();
    for _ in 0..5 {
        assert_eq!(read_fresh(&executor, TableQuery).await.unwrap().len(), 1);
    }
    assert_eq!(kernel.dumps(command::GET_DEST), 1);
    let read = executor.reader.read(TableQuery, Duration::ZERO, deadline());
    assert!(read.await.unwrap().age > Duration::ZERO);
    execute(&executor, create_service(2)).await.unwrap();
    assert_eq!(read_fresh(&executor, TableQuery).await.unwrap().len(), 2);
}
