//! Reads: shared, cached on demand, and whole.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::TryFutureExt;

use super::*;

#[tokio::test]
async fn reads_that_wait_together_share_one_sweep() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    put(&kernel, 1, 2);
    put(&kernel, 2, 2);
    let requests = (0..200).map(|i| match i % 2 {
        0 => ask(&executor, TableQuery)
            .map_ok(|table| (table.len(), 2))
            .boxed(),
        _ => ask(&executor, ServiceWithServersQuery(key(1)))
            .map_ok(|entry| (2, entry.unwrap().servers.len()))
            .boxed(),
    });
    kernel.reset_counts();
    for (i, result) in together(&kernel, &executor, requests)
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
async fn many_tasks_that_ask_at_once_cost_few_sweeps() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let held = hold(&kernel, &executor).await;
    let polled = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..300)
        .map(|_| {
            let (executor, polled) = (executor.clone(), polled.clone());
            tokio::spawn(async move {
                polled.fetch_add(1, Ordering::Relaxed);
                ask(&executor, ServicesQuery).await
            })
        })
        .collect();
    // A task submits when it is first polled.
    while polled.load(Ordering::Relaxed) < 300 {
        tokio::task::yield_now().await;
    }
    held.go().await;
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert!(
        kernel.dumps(command::GET_SERVICE) <= 2,
        "256 are taken at a time"
    );
}

#[tokio::test]
async fn an_answer_that_may_be_old_comes_from_the_cache_until_an_own_write() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    put(&kernel, 1, 1);
    let Cached { value: _, age, .. } = executor
        .reader
        .read(TableQuery, LONG, later())
        .await
        .unwrap();
    assert_eq!(age, Duration::ZERO, "read for this");
    let sweeps = kernel.dumps(command::GET_SERVICE);
    let Cached {
        value: seen, age, ..
    } = executor
        .reader
        .read(TableQuery, LONG, later())
        .await
        .unwrap();
    assert_eq!(kernel.dumps(command::GET_SERVICE), sweeps);
    assert!(age > Duration::ZERO && age < LONG);
    assert_eq!(seen[0].servers.len(), 1);
    // A fresh one is asked for anew, and younger than it may be is not old enough.
    ask(&executor, TableQuery).await.unwrap();
    assert_eq!(kernel.dumps(command::GET_SERVICE), sweeps + 1);
    let young = Duration::from_nanos(1);
    executor
        .reader
        .read(TableQuery, young, later())
        .await
        .unwrap();
    assert_eq!(kernel.dumps(command::GET_SERVICE), sweeps + 2);
    // Another question has an answer of its own.
    let Cached {
        value: seen,
        age: _,
        ..
    } = executor
        .reader
        .read(ServicesQuery, LONG, later())
        .await
        .unwrap();
    assert_eq!(seen[0].servers.len(), 0);

    run(&executor, create(2)).await.unwrap();
    let Cached {
        value: seen, age, ..
    } = executor
        .reader
        .read(TableQuery, LONG, later())
        .await
        .unwrap();
    assert_eq!(
        (seen.len(), age),
        (2, Duration::ZERO),
        "own writes show at once"
    );
}

#[tokio::test]
async fn readers_who_miss_an_old_answer_together_share_one_sweep_however_many_they_are() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    put(&kernel, 1, 1);
    let requests = (0..700).map(|_| executor.reader.read(TableQuery, LONG, later()));
    for (place, result) in together(&kernel, &executor, requests)
        .await
        .into_iter()
        .enumerate()
    {
        let Cached { value, kept, .. } = result.unwrap();
        assert_eq!(value.len(), 1, "{place}");
        assert!(kept, "{place}");
    }
    assert_eq!(kernel.dumps(command::GET_SERVICE), 1);
}

#[tokio::test]
async fn an_answer_is_kept_for_those_who_accept_an_old_one_only() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let sweeps = || kernel.dumps(command::GET_SERVICE);
    let first = executor
        .reader
        .read(TableQuery, Duration::ZERO, later())
        .await;
    let first = first.unwrap();
    assert!(!first.kept);
    let first = first.value;
    until("nobody else has it", || Arc::strong_count(&first) == 1).await;
    executor
        .reader
        .read(TableQuery, LONG, later())
        .await
        .unwrap();
    assert_eq!(sweeps(), 2);
    // While somebody does, a fresh one takes its place.
    ask(&executor, TableQuery).await.unwrap();
    executor
        .reader
        .read(TableQuery, LONG, later())
        .await
        .unwrap();
    assert_eq!(sweeps(), 3);
    // When nobody has for that time, it is not kept any more.
    run(&executor, Op::ZeroAll).await.unwrap();
    let young = Duration::from_nanos(1);
    executor
        .reader
        .read(TableQuery, young, later())
        .await
        .unwrap();
    ask(&executor, TableQuery).await.unwrap();
    executor
        .reader
        .read(TableQuery, LONG, later())
        .await
        .unwrap();
    assert_eq!(sweeps(), 6);
}

#[tokio::test]
async fn a_write_that_fails_clears_the_cache_too() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    executor
        .reader
        .read(ServicesQuery, LONG, later())
        .await
        .unwrap();
    put(&kernel, 1, 0);
    run(&executor, create(1)).await.unwrap_err();
    let Cached {
        value: seen,
        age: _,
        ..
    } = executor
        .reader
        .read(ServicesQuery, LONG, later())
        .await
        .unwrap();
    assert_eq!(seen.len(), 1);
}

#[tokio::test]
async fn a_cached_answer_needs_no_kernel_and_no_room_in_the_queue() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    executor
        .reader
        .read(TimeoutsQuery, LONG, later())
        .await
        .unwrap();
    let held = hold(&kernel, &executor).await;
    executor
        .reader
        .read(TimeoutsQuery, LONG, later())
        .await
        .unwrap();
    held.go().await;
}

fn keys(servers: &[Server]) -> Vec<ServerKey> {
    servers.iter().map(|server| server.key).collect()
}

#[tokio::test]
async fn a_dump_that_doubles_entries_is_done_again() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    put(&kernel, 1, 30);
    kernel.set_dump_size(2000);
    ask(&executor, InfoQuery).await.unwrap();
    kernel.reset_counts();
    // Another program adds servers after the first datagram: those behind are shown twice.
    kernel.faults().once(
        On::Command(command::GET_DEST),
        Fault::dump_interrupted(|kernel| (100..103).for_each(|n| put_server(kernel, 1, n))),
    );
    let seen = ask(&executor, ServiceWithServersQuery(key(1))).await;
    let seen = seen.unwrap().unwrap();
    let expected: Vec<_> = (100..103)
        .rev()
        .chain((0..30).rev())
        .map(server_key)
        .collect();
    assert_eq!(keys(&seen.servers), expected);
    assert_eq!(kernel.dumps(command::GET_DEST), 2);

    let next = std::sync::atomic::AtomicU32::new(200);
    kernel.faults().always(
        On::Command(command::GET_DEST),
        Fault::dump_interrupted(move |kernel| {
            put_server(
                kernel,
                1,
                next.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
            );
        }),
    );
    let seen = ask(&executor, ServiceWithServersQuery(key(1))).await;
    let mut seen = keys(&seen.unwrap().unwrap().servers);
    assert_eq!(kernel.dumps(command::GET_DEST), 2 + 3, "not for ever");
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), count, "each entry once");
    assert!(count >= 33);
}

#[tokio::test]
async fn a_service_deleted_while_its_servers_are_read_is_not_shown_with_some_of_them() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    for with_table in [false, true] {
        put(&kernel, 1, 200);
        kernel.faults().once(
            On::Command(command::GET_DEST),
            Fault::dump_interrupted(|kernel| assert!(kernel.remove_service(id(1)))),
        );
        if with_table {
            let table = ask(&executor, TableQuery).await.unwrap();
            assert!(table.is_empty(), "{table:?}");
        } else {
            let query = ServiceWithServersQuery(key(1));
            let entry = ask(&executor, query).await.unwrap();
            assert!(entry.is_none(), "{entry:?}");
        }
    }
    // Nor with none, which is all that an empty dump says.
    put(&kernel, 1, 3);
    kernel.faults().once(
        On::Command(command::GET_DEST),
        Fault::before(|kernel| assert!(kernel.remove_service(id(1)))),
    );
    let seen = ask(&executor, ServiceWithServersQuery(key(1))).await;
    assert!(seen.unwrap().is_none());
}

#[tokio::test]
async fn a_write_that_comes_while_the_table_is_read_does_not_wait_for_its_end() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    for n in 1..=3 {
        put(&kernel, n, 2);
    }
    // The first service's servers are read when the write has come, the second's after it.
    let (enter, entered) = std_mpsc::channel();
    let (release, released) = std_mpsc::channel();
    let (enter, released) = (Mutex::new(enter), Mutex::new(released));
    let counts = Arc::new(Mutex::new(Vec::new()));
    let seen = counts.clone();
    kernel.faults().always(
        On::Command(command::GET_DEST),
        Fault::before(move |kernel| {
            let mut seen = seen.lock().unwrap();
            if seen.is_empty() {
                enter.lock().unwrap().send(()).unwrap();
                let _ = released.lock().unwrap().recv();
            }
            seen.push(services(kernel));
        }),
    );
    let own = executor.clone();
    let reading = tokio::spawn(async move { own.reader.read(TableQuery, LONG, later()).await });
    tokio::task::spawn_blocking(move || entered.recv())
        .await
        .unwrap()
        .unwrap();
    let mut writing = pin!(run(&executor, create(4)));
    submit(writing.as_mut()).await;
    release.send(()).unwrap();
    writing.await.unwrap();
    // Who asked before the write is told what was there when the reading began,
    let told = reading.await.unwrap().unwrap();
    assert_eq!(told.value.len(), 3);
    assert_eq!(*counts.lock().unwrap(), [3, 4, 4]);
    // and who asks after it is not, however old an answer may be.
    let told = executor
        .reader
        .read(TableQuery, LONG, later())
        .await
        .unwrap();
    assert_eq!(told.value.len(), 4);
}

/// Writes that were submitted by the kernel, as it were.
#[derive(Clone, Default)]
struct Submitted(Arc<Mutex<Vec<PendingWrite>>>);

type PendingWrite = BoxFuture<'static, Result<Executed<()>, Error>>;

impl Submitted {
    /// Submits the operations, one a time, when a dump has given its first datagram.
    fn in_the_middle(&self, executor: &Executor, ops: impl IntoIterator<Item = Op>) -> Fault {
        let (own, executor) = (self.clone(), executor.clone());
        let ops = Mutex::new(ops.into_iter().collect::<Vec<_>>().into_iter());
        let runtime = tokio::runtime::Handle::current();
        Fault::dump_interrupted(move |_| {
            let _entered = runtime.enter();
            let (executor, op) = (executor.clone(), ops.lock().unwrap().next());
            if let Some(op) = op {
                let mut write = async move { run(&executor, op).await }.boxed();
                // The first poll puts it into the queue.
                assert!((&mut write).now_or_never().is_none());
                own.0.lock().unwrap().push(write);
            }
        })
    }

    async fn all_succeed(&self) {
        let writes = std::mem::take(&mut *self.0.lock().unwrap());
        for write in writes {
            write.await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_write_in_the_middle_of_a_long_dump_does_not_wait_for_its_end() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    put(&kernel, 1, 60);
    kernel.set_dump_size(2000);
    connect(&executor).await;
    kernel.reset_counts();
    let submitted = Submitted::default();
    let made = Arc::new(AtomicBool::new(false));
    let (make, seen) = (made.clone(), Arc::new(Mutex::new(Vec::new())));
    let log = seen.clone();
    let faults = kernel.faults();
    faults.once(
        On::Command(command::GET_DEST),
        submitted.in_the_middle(&executor, [create(2)]),
    );
    faults.once(
        On::Command(command::GET_DEST),
        Fault::rewrite(move |_| log.lock().unwrap().push(made.load(Ordering::Relaxed))),
    );
    faults.once(
        On::Command(command::NEW_SERVICE),
        Fault::before(move |_| make.store(true, Ordering::Relaxed)),
    );
    let told = ask(&executor, ServersQuery(key(1))).await.unwrap();
    let servers = told.unwrap();
    let expected: Vec<_> = (0..60).rev().map(server_key).collect();
    assert_eq!(keys(&servers), expected);
    assert_eq!(kernel.dumps(command::GET_DEST), 1, "nothing was moved");
    let seen = seen.lock().unwrap().clone();
    assert!(seen.len() > 8, "{} datagrams", seen.len());
    assert_eq!(
        seen.iter().position(|made| *made),
        Some(5),
        "after those taken at a time and the one that the kernel fills ahead: {seen:?}"
    );
    submitted.all_succeed().await;
}

#[tokio::test]
async fn an_own_write_that_moves_what_is_dumped_hides_and_doubles_nothing() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    put(&kernel, 1, 60);
    kernel.set_dump_size(2000);
    connect(&executor).await;
    // The newest is told first. When it goes, the rest comes from one place before.
    let newest = Op::DeleteServer(key(1), server_key(59));
    let expected = |from: u32| (0..from).rev().map(server_key).collect::<Vec<_>>();
    let submitted = Submitted::default();
    for (op, count, dumps) in [(newest, 59, 2), (add(1, 59), 60, 2)] {
        kernel.reset_counts();
        kernel.faults().once(
            On::Command(command::GET_DEST),
            submitted.in_the_middle(&executor, [op]),
        );
        let seen = ask(&executor, TableQuery).await;
        assert_eq!(keys(&seen.unwrap()[0].servers), expected(count));
        assert_eq!(kernel.dumps(command::GET_DEST), dumps);
        submitted.all_succeed().await;
    }

    // With a write into each, the last attempt lets none come into it.
    kernel.reset_counts();
    kernel.faults().times(
        3,
        On::Command(command::GET_DEST),
        submitted.in_the_middle(
            &executor,
            [59, 58, 57].map(|n| Op::DeleteServer(key(1), server_key(n))),
        ),
    );
    let seen = ask(&executor, ServiceWithServersQuery(key(1))).await;
    let seen = seen.unwrap().unwrap();
    assert_eq!(keys(&seen.servers), expected(58));
    assert_eq!(kernel.dumps(command::GET_DEST), 3);
    submitted.all_succeed().await;
    assert_eq!(kernel.service(id(1)).unwrap().len(), 57);
}

#[tokio::test]
async fn an_empty_table_and_an_empty_service_are_no_errors() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    assert!(ask(&executor, TableQuery).await.unwrap().is_empty());
    assert!(
        ask(&executor, ServiceQuery(key(1)))
            .await
            .unwrap()
            .is_none()
    );
    put(&kernel, 1, 0);
    let seen = ask(&executor, ServiceWithServersQuery(key(1))).await;
    assert!(seen.unwrap().unwrap().servers.is_empty());
    assert!(ask(&executor, SyncDaemonsQuery).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_large_table_is_whole_and_in_the_kernels_order() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    for n in 0..300 {
        put(&kernel, n, n % 4);
    }
    put(&kernel, 1000, 500);
    let table = ask(&executor, TableQuery).await.unwrap();
    assert_eq!(table.len(), 301);
    for (entry, service) in table.iter().zip(kernel.services()) {
        let address = match entry.service.key {
            ServiceKey::Address { address, port, .. } => (address, port).into(),
            ServiceKey::Fwmark { .. } => panic!("none was made"),
        };
        assert_eq!(ServiceId::tcp(address), service.id);
        let told: Vec<std::net::SocketAddr> = entry
            .servers
            .iter()
            .map(|s| (s.key.address, s.key.port).into())
            .collect();
        let there: Vec<std::net::SocketAddr> = service.destinations().map(|d| d.address).collect();
        assert_eq!(told, there);
    }
}
