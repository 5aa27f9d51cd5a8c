//! Dumps during which the table changes: by other programs, and by writes of this process that the
//! executor runs between two datagrams.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::*;

fn keys(servers: &[Server]) -> Vec<ServerKey> {
    servers.iter().map(|server| server.key).collect()
}

#[tokio::test]
async fn a_dump_with_duplicates_is_repeated() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    seed_service(&kernel, 1, 30);
    kernel.set_dump_size(2000);
    read_fresh(&executor, InfoQuery).await.unwrap();
    kernel.reset_counts();
    // Another program adds servers after the first datagram, which shifts the rest.
    kernel.faults().once(
        On::Command(command::GET_DEST),
        Fault::dump_interrupted(|kernel| (100..103).for_each(|n| seed_server(kernel, 1, n))),
    );
    let entry = read_fresh(&executor, ServiceWithServersQuery(key(1))).await;
    let entry = entry.unwrap().unwrap();
    let expected: Vec<_> = (100..103)
        .rev()
        .chain((0..30).rev())
        .map(server_key)
        .collect();
    assert_eq!(keys(&entry.servers), expected);
    assert_eq!(kernel.dumps(command::GET_DEST), 2);

    let next = AtomicU32::new(200);
    kernel.faults().always(
        On::Command(command::GET_DEST),
        Fault::dump_interrupted(move |kernel| {
            seed_server(kernel, 1, next.fetch_add(1, Ordering::Relaxed));
        }),
    );
    let entry = read_fresh(&executor, ServiceWithServersQuery(key(1))).await;
    let mut found = keys(&entry.unwrap().unwrap().servers);
    assert_eq!(kernel.dumps(command::GET_DEST), 2 + 3, "three attempts");
    let count = found.len();
    found.sort_unstable();
    found.dedup();
    assert_eq!(found.len(), count, "no duplicates");
    assert!(count >= 33);
}

#[tokio::test]
async fn a_service_deleted_during_the_dump_of_its_servers_is_missing() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    for with_table in [false, true] {
        seed_service(&kernel, 1, 200);
        kernel.faults().once(
            On::Command(command::GET_DEST),
            Fault::dump_interrupted(|kernel| assert!(kernel.remove_service(id(1)))),
        );
        if with_table {
            let table = read_fresh(&executor, TableQuery).await.unwrap();
            assert!(table.is_empty(), "{table:?}");
        } else {
            let query = ServiceWithServersQuery(key(1));
            let entry = read_fresh(&executor, query).await.unwrap();
            assert!(entry.is_none(), "{entry:?}");
        }
    }
    // Deleted before the dump, which is then empty.
    seed_service(&kernel, 1, 3);
    kernel.faults().once(
        On::Command(command::GET_DEST),
        Fault::before(|kernel| assert!(kernel.remove_service(id(1)))),
    );
    let entry = read_fresh(&executor, ServiceWithServersQuery(key(1))).await;
    assert!(entry.unwrap().is_none());
}

#[tokio::test]
async fn a_write_runs_between_the_dumps_of_a_table_read() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    for n in 1..=3 {
        seed_service(&kernel, n, 2);
    }
    // The write arrives during the dump of the first service's servers, and runs after it.
    let (breakpoint, stop) = Breakpoint::new();
    let counts = Arc::new(Mutex::new(Vec::new()));
    let log = counts.clone();
    kernel.faults().always(
        On::Command(command::GET_DEST),
        Fault::before(move |kernel| {
            let mut log = log.lock().unwrap();
            if log.is_empty() {
                stop();
            }
            log.push(service_count(kernel));
        }),
    );
    let own = executor.clone();
    let read = tokio::spawn(async move { read_cached(&own, TableQuery).await });
    let release = breakpoint.reached().await;
    let mut change = pin!(execute(&executor, create_service(4)));
    submit(change.as_mut()).await;
    release.send(()).unwrap();
    change.await.unwrap();
    // The read from before the write returns the table as dumped.
    let table = read.await.unwrap().value;
    assert_eq!(table.len(), 3);
    assert_eq!(*counts.lock().unwrap(), [3, 4, 4]);
    // That table is not cached.
    let table = read_cached(&executor, TableQuery).await.value;
    assert_eq!(table.len(), 4);
}

#[tokio::test]
async fn a_write_behind_many_fresh_reads_does_not_wait_for_the_end_of_a_dump() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    for n in 1..=3 {
        seed_service(&kernel, n, 2);
    }
    let (breakpoint, stop) = Breakpoint::new();
    let counts = Arc::new(Mutex::new(Vec::new()));
    let log = counts.clone();
    kernel.faults().always(
        On::Command(command::GET_DEST),
        Fault::before(move |kernel| {
            let mut log = log.lock().unwrap();
            if log.is_empty() {
                stop();
            }
            log.push(service_count(kernel));
        }),
    );
    let own = executor.clone();
    let read = tokio::spawn(async move { read_fresh(&own, TableQuery).await });
    let release = breakpoint.reached().await;
    let mut reads: Vec<_> = (0..600)
        .map(|_| Box::pin(read_fresh(&executor, TimeoutsQuery)))
        .collect();
    for read in &mut reads {
        submit(read.as_mut()).await;
    }
    let mut change = pin!(execute(&executor, create_service(4)));
    submit(change.as_mut()).await;
    release.send(()).unwrap();
    change.await.unwrap();
    read.await.unwrap().unwrap();
    for read in reads {
        read.await.unwrap();
    }
    assert_eq!(counts.lock().unwrap()[..3], [3, 4, 4]);
}

/// Writes that were submitted during a dump.
#[derive(Clone, Default)]
struct SubmittedWrites(Arc<Mutex<Vec<PendingWrite>>>);

type PendingWrite = BoxFuture<'static, Result<Executed<()>, Error>>;

impl SubmittedWrites {
    /// A fault that submits the next of the operations after the first datagram of a dump.
    fn submit_during_dump(&self, executor: &Executor, ops: impl IntoIterator<Item = Op>) -> Fault {
        let (own, executor) = (self.clone(), executor.clone());
        let ops = Mutex::new(ops.into_iter().collect::<Vec<_>>().into_iter());
        let runtime = tokio::runtime::Handle::current();
        Fault::dump_interrupted(move |_| {
            let _entered = runtime.enter();
            let (executor, op) = (executor.clone(), ops.lock().unwrap().next());
            if let Some(op) = op {
                let mut change = async move { execute(&executor, op).await }.boxed();
                // The first poll puts it into the queue.
                assert!((&mut change).now_or_never().is_none());
                own.0.lock().unwrap().push(change);
            }
        })
    }

    /// Waits until all writes have succeeded.
    async fn succeed(&self) {
        let writes = std::mem::take(&mut *self.0.lock().unwrap());
        for change in writes {
            change.await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_write_runs_between_the_datagrams_of_a_long_dump() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    seed_service(&kernel, 1, 60);
    kernel.set_dump_size(2000);
    connect(&executor).await;
    kernel.reset_counts();
    let submitted = SubmittedWrites::default();
    let written = Arc::new(AtomicBool::new(false));
    // For each datagram, whether the write had run.
    let datagrams = Arc::new(Mutex::new(Vec::new()));
    let (flag, log) = (written.clone(), datagrams.clone());
    let faults = kernel.faults();
    faults.once(
        On::Command(command::GET_DEST),
        submitted.submit_during_dump(&executor, [create_service(2)]),
    );
    faults.once(
        On::Command(command::GET_DEST),
        Fault::rewrite(move |_| log.lock().unwrap().push(written.load(Ordering::Relaxed))),
    );
    faults.once(
        On::Command(command::NEW_SERVICE),
        Fault::before(move |_| flag.store(true, Ordering::Relaxed)),
    );
    let servers = read_fresh(&executor, ServersQuery(key(1))).await.unwrap();
    let servers = servers.unwrap();
    let expected: Vec<_> = (0..60).rev().map(server_key).collect();
    assert_eq!(keys(&servers), expected);
    assert_eq!(
        kernel.dumps(command::GET_DEST),
        1,
        "the write does not invalidate the dump"
    );
    let datagrams = datagrams.lock().unwrap().clone();
    assert!(datagrams.len() > 8, "{} datagrams", datagrams.len());
    assert_eq!(
        datagrams.iter().position(|written| *written),
        Some(5),
        "after the four of one receive and the one that the kernel fills ahead: {datagrams:?}"
    );
    submitted.succeed().await;
}

#[tokio::test]
async fn a_dump_that_an_own_write_invalidates_is_repeated() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    seed_service(&kernel, 1, 60);
    kernel.set_dump_size(2000);
    connect(&executor).await;
    // The newest server is dumped first. Deleting it shifts the rest by one.
    let newest = Op::DeleteServer(key(1), server_key(59));
    let expected = |from: u32| (0..from).rev().map(server_key).collect::<Vec<_>>();
    let submitted = SubmittedWrites::default();
    for (op, count, dumps) in [(newest, 59, 2), (create_server(1, 59), 60, 2)] {
        kernel.reset_counts();
        kernel.faults().once(
            On::Command(command::GET_DEST),
            submitted.submit_during_dump(&executor, [op]),
        );
        let table = read_fresh(&executor, TableQuery).await;
        assert_eq!(keys(&table.unwrap()[0].servers), expected(count));
        assert_eq!(kernel.dumps(command::GET_DEST), dumps);
        submitted.succeed().await;
    }

    // A write during each attempt: the last attempt runs without interruption.
    kernel.reset_counts();
    kernel.faults().times(
        3,
        On::Command(command::GET_DEST),
        submitted.submit_during_dump(
            &executor,
            [59, 58, 57].map(|n| Op::DeleteServer(key(1), server_key(n))),
        ),
    );
    let entry = read_fresh(&executor, ServiceWithServersQuery(key(1))).await;
    let entry = entry.unwrap().unwrap();
    assert_eq!(keys(&entry.servers), expected(58));
    assert_eq!(kernel.dumps(command::GET_DEST), 3);
    submitted.succeed().await;
    assert_eq!(kernel.service(id(1)).unwrap().len(), 57);
}
