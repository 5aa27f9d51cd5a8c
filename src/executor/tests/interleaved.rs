//! Dumps during which the table changes: by other programs, and by writes of this process.

use std::sync::atomic::{AtomicU32, Ordering};

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
async fn changes_and_short_reads_do_not_wait_for_the_end_of_a_table_read() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    for n in 1..=3 {
        seed_service(&kernel, n, 2);
    }
    connect(&executor).await;
    let (breakpoint, stop) = Breakpoint::new();
    fault_once(&kernel, command::GET_DEST, Fault::before(move |_| stop()));
    let own = executor.clone();
    let read = tokio::spawn(async move { read_cached(&own, TableQuery).await });
    let release = breakpoint.reached().await;
    execute(&executor, create_service(4)).await.unwrap();
    let service = read_fresh(&executor, ServiceQuery(key(4))).await.unwrap();
    assert!(service.is_some());
    let entry = read_fresh(&executor, ServiceWithServersQuery(key(2))).await;
    assert_eq!(entry.unwrap().unwrap().servers.len(), 2);
    release.send(()).unwrap();
    // The read from before the change returns the table as dumped. It is not kept.
    let table = read.await.unwrap();
    assert_eq!((table.value.len(), table.kept), (3, false));
    assert_eq!(read_cached(&executor, TableQuery).await.value.len(), 4);
}

#[tokio::test]
async fn a_change_does_not_wait_for_the_end_of_a_read_of_a_large_service() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    seed_service(&kernel, 1, 60);
    kernel.set_dump_size(2000);
    connect(&executor).await;
    // The first read shows that the service is large.
    read_fresh(&executor, ServersQuery(key(1))).await.unwrap();
    let (breakpoint, stop) = Breakpoint::new();
    let stop = Fault::dump_interrupted(move |_| stop());
    fault_once(&kernel, command::GET_DEST, stop);
    let own = executor.clone();
    let read = tokio::spawn(async move { read_fresh(&own, ServersQuery(key(1))).await });
    let release = breakpoint.reached().await;
    execute(&executor, create_service(2)).await.unwrap();
    release.send(()).unwrap();
    assert_eq!(read.await.unwrap().unwrap().unwrap().len(), 60);
}

#[tokio::test]
async fn a_list_does_not_wait_for_the_end_of_a_change() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    seed_service(&kernel, 1, 2);
    connect(&executor).await;
    let (breakpoint, stop) = Breakpoint::new();
    fault_once(&kernel, command::SET_DEST, Fault::before(move |_| stop()));
    let own = executor.clone();
    let edit = Op::SetServer(key(1), server_key(0), ServerConfig::default());
    let change = tokio::spawn(async move { execute(&own, edit).await });
    let release = breakpoint.reached().await;
    let read = read_fresh(&executor, TableQuery);
    let table = tokio::time::timeout(LONG / 6, read).await;
    assert_eq!(table.unwrap().unwrap()[0].servers.len(), 2);
    release.send(()).unwrap();
    change.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_dump_that_begins_during_a_change_that_invalidates_it_is_repeated() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    seed_service(&kernel, 1, 60);
    kernel.set_dump_size(2000);
    connect(&executor).await;
    let (breakpoint, stop) = Breakpoint::new();
    fault_once(&kernel, command::DEL_DEST, Fault::before(move |_| stop()));
    let own = executor.clone();
    let newest = Op::DeleteServer(key(1), server_key(59));
    let change = tokio::spawn(async move { execute(&own, newest).await });
    let release = breakpoint.reached().await;
    // The server is deleted after the first datagram of the dump, which shifts the rest by one.
    let fault = Fault::dump_interrupted(move |kernel| {
        release.send(()).unwrap();
        while kernel.service(id(1)).unwrap().len() == 60 {
            thread::yield_now();
        }
    });
    fault_once(&kernel, command::GET_DEST, fault);
    let table = read_fresh(&executor, TableQuery).await.unwrap();
    let expected: Vec<_> = (0..59).rev().map(server_key).collect();
    assert_eq!(keys(&table[0].servers), expected);
    change.await.unwrap().unwrap();
}

/// A fault that executes the next of the operations after the first datagram of a dump. The dump goes
/// on when those that are not `exclusive` have been executed.
fn write_during_dump(
    executor: &Executor,
    ops: Vec<(Op, bool)>,
) -> (Fault, Arc<Mutex<Vec<thread::JoinHandle<()>>>>) {
    let (executor, ops) = (executor.clone(), Mutex::new(ops.into_iter()));
    let runtime = tokio::runtime::Handle::current();
    let excluded = Arc::new(Mutex::new(Vec::new()));
    let started = excluded.clone();
    let fault = Fault::dump_interrupted(move |_| {
        let Some((op, is_excluded)) = ops.lock().unwrap().next() else {
            return;
        };
        let (executor, runtime) = (executor.clone(), runtime.clone());
        let write = thread::spawn(move || {
            runtime.block_on(execute(&executor, op)).unwrap();
        });
        match is_excluded {
            true => started.lock().unwrap().push(write),
            false => write.join().unwrap(),
        }
    });
    (fault, excluded)
}

#[tokio::test]
async fn a_change_that_does_not_concern_a_dump_does_not_repeat_it() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    seed_service(&kernel, 1, 60);
    kernel.set_dump_size(2000);
    connect(&executor).await;
    kernel.reset_counts();
    let (fault, _) = write_during_dump(&executor, vec![(create_service(2), false)]);
    fault_once(&kernel, command::GET_DEST, fault);
    let table = read_fresh(&executor, TableQuery).await.unwrap();
    let expected: Vec<_> = (0..60).rev().map(server_key).collect();
    assert_eq!(keys(&table[0].servers), expected);
    assert_eq!(kernel.dumps(command::GET_DEST), 1);
    assert_eq!(service_count(&kernel), 2);
}

#[tokio::test]
async fn a_dump_that_an_own_change_invalidates_is_repeated() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    seed_service(&kernel, 1, 60);
    kernel.set_dump_size(2000);
    connect(&executor).await;
    // The newest server is dumped first. Deleting it shifts the rest by one.
    let newest = Op::DeleteServer(key(1), server_key(59));
    let expected = |from: u32| (0..from).rev().map(server_key).collect::<Vec<_>>();
    for (op, count, dumps) in [(newest, 59, 2), (create_server(1, 59), 60, 2)] {
        kernel.reset_counts();
        let (fault, _) = write_during_dump(&executor, vec![(op, false)]);
        fault_once(&kernel, command::GET_DEST, fault);
        let table = read_fresh(&executor, TableQuery).await;
        assert_eq!(keys(&table.unwrap()[0].servers), expected(count));
        assert_eq!(kernel.dumps(command::GET_DEST), dumps);
    }

    // A change during each attempt: the last attempt excludes it.
    kernel.reset_counts();
    let ops = [(59, false), (58, false), (57, true)];
    let ops = ops.map(|(n, excluded)| (Op::DeleteServer(key(1), server_key(n)), excluded));
    let (fault, excluded) = write_during_dump(&executor, ops.to_vec());
    let faults = kernel.faults();
    faults.times(3, On::Command(command::GET_DEST), fault);
    let table = read_fresh(&executor, TableQuery).await.unwrap();
    assert_eq!(keys(&table[0].servers), expected(58));
    assert_eq!(kernel.dumps(command::GET_DEST), 3);
    let excluded = std::mem::take(&mut *excluded.lock().unwrap());
    assert_eq!(excluded.len(), 1);
    wait_until("the excluded change is executed", || {
        kernel.service(id(1)).unwrap().len() == 57
    })
    .await;
}
