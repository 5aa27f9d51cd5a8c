//! Changes: their order, their outcomes, their requests to the kernel, rollback.

use super::*;
use crate::executor::socket::{IpvsSocket, Outcome};

#[test]
fn a_socket_reports_the_outcome_of_each_operation_of_a_batch() {
    let kernel = FakeKernel::new();
    let mut socket = IpvsSocket::connect(&kernel, &Arc::default()).unwrap();
    kernel.reset_counts();
    let mut ops = Vec::new();
    let mut expected = Vec::new();
    for n in 0..40 {
        for (op, outcome) in [
            (create_service(n), Outcome::Done),
            (create_service(n), Outcome::Rejected(Errno::EEXIST)),
            (create_server(n + 1000, 1), Outcome::Rejected(Errno::ESRCH)),
            (create_server(n, 1), Outcome::Done),
            (
                Op::CreateService(key(n + 2000), config("nosuch"), StoredFields::default()),
                Outcome::Rejected(Errno::ENOENT),
            ),
        ] {
            ops.push(op);
            expected.push(outcome);
        }
    }
    let (outcomes, broken) = socket.execute(&ops);
    assert!(broken.is_none());
    assert_eq!(outcomes, expected);
    assert_eq!(kernel.sends(), 2, "128 operations per send");
    assert_eq!(service_count(&kernel), 40);
    // All operations fail, the last of a send included.
    for len in [1, 63, 64, 65, 127, 128, 129, 256, 257] {
        let (outcomes, broken) = socket.execute(&vec![create_service(0); len]);
        assert!(broken.is_none());
        assert_eq!(outcomes, vec![Outcome::Rejected(Errno::EEXIST); len]);
    }
}

#[tokio::test]
async fn waiting_changes_have_separate_results() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    for n in (0..150).filter(|n| n % 3 == 0) {
        seed_service(&kernel, n, 0);
    }
    let requests = (0..150).map(|n| {
        let op = match n % 5 {
            0 => Op::CreateService(key(n), config("nosuch"), StoredFields::default()),
            _ => create_service(n),
        };
        write(&executor, with_precondition(n, op))
    });
    let results = run_concurrently(&kernel, &executor, requests).await;
    for (n, result) in (0..150).zip(results) {
        let changed = result
            .map(|executed| executed.changed())
            .map_err(|error| error.reason);
        let expected = match (n % 3, n % 5) {
            (0, _) => Err(Reason::ServiceExists),
            (_, 0) => Err(Reason::SchedulerUnavailable),
            _ => Ok(true),
        };
        assert_eq!(changed, expected, "{n}");
    }
}

#[tokio::test]
async fn changes_of_one_service_keep_their_order_with_a_clear() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let requests = (0..100).map(|n| match n {
        50 => write(&executor, without_precondition([Op::Clear], Nothing)),
        n if n % 10 == 9 => write(&executor, with_precondition(n, create_service(n))),
        n if n % 2 == 0 => write(&executor, with_precondition(0, create_service(0))),
        _ => write(&executor, with_precondition(0, Op::DeleteService(key(0)))),
    });
    let results = run_concurrently(&kernel, &executor, requests).await;
    let mut exists = false;
    for (n, result) in (0..100).zip(results) {
        if n == 50 {
            exists = false;
            result.unwrap();
            continue;
        }
        let create = n % 2 == 0;
        if n % 10 == 9 {
            result.unwrap();
        } else if create == exists {
            let reason = if create {
                Reason::ServiceExists
            } else {
                Reason::ServiceNotFound
            };
            assert_eq!(result.unwrap_err().reason, reason, "{n}");
        } else {
            result.unwrap();
            exists = create;
        }
    }
    let present: Vec<_> = (0..100)
        .filter(|n| kernel.service(id(*n)).is_some())
        .collect();
    assert_eq!(present, [0, 59, 69, 79, 89, 99][usize::from(!exists)..]);
}

#[tokio::test]
async fn a_precondition_includes_the_changes_before_it() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let requests = (0..20).map(|_| {
        let toggle = Transaction::new(
            ServiceQuery(key(1)),
            |entry: &Option<Arc<ServiceEntry>>| {
                Ok(Plan::of([match entry {
                    Some(_) => Op::DeleteService(key(1)).into(),
                    None => create_service(1).into(),
                }]))
            },
            ServiceQuery(key(1)),
        );
        write(&executor, toggle)
    });
    for (i, result) in run_concurrently(&kernel, &executor, requests)
        .await
        .into_iter()
        .enumerate()
    {
        let entry = result.unwrap().value;
        assert_eq!(
            entry.is_some(),
            i % 2 == 0,
            "read back before the next change"
        );
    }
}

#[tokio::test]
async fn a_failed_plan_is_rolled_back_without_the_others_of_its_batch() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let plan = |n: u32, fails: bool| {
        Transaction::new(
            ServiceQuery(key(n)),
            move |_| {
                let step = |server| {
                    Step::new(
                        create_server(n, server),
                        Op::DeleteServer(key(n), server_key(server)),
                    )
                    .at(format!("servers[{server}]"))
                };
                let second = match fails {
                    true => Step::from(create_server(n + 500, 1)).at("servers[1]"),
                    false => step(1),
                };
                let service = Step::new(create_service(n), Op::DeleteService(key(n)));
                Ok(Plan::staged([
                    vec![service],
                    vec![step(0), second, step(2)],
                    vec![step(3)],
                ]))
            },
            ServiceWithServersQuery(key(n)),
        )
    };
    let requests = (0..6).map(|n| write(&executor, plan(n, n % 2 == 1)));
    let results = run_concurrently(&kernel, &executor, requests).await;
    for (n, result) in (0..6).zip(results) {
        if n % 2 == 1 {
            let error = result.unwrap_err();
            assert_eq!(error.reason, Reason::ServiceNotFound);
            assert!(
                !error.detail.contains("rolled back"),
                "rolled back completely: {error:?}"
            );
            assert!(kernel.service(id(n)).is_none());
        } else {
            let entry = result.unwrap().value.unwrap();
            assert_eq!(entry.servers.len(), 4);
        }
    }
    assert_eq!(service_count(&kernel), 3);
}

#[tokio::test]
async fn an_incomplete_rollback_is_reported() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let twice = without_precondition([create_service(1), create_service(1)], Nothing);
    let error = write(&executor, twice).await.unwrap_err();
    assert_eq!(error.reason, Reason::ServiceExists);
    assert!(error.detail.contains("0 of them rolled back"), "{error}");
    assert_eq!(service_count(&kernel), 1);
}

#[tokio::test]
async fn the_error_of_a_step_names_its_field() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    seed_service(&kernel, 1, 1);
    let steps = [5, 0, 6].into_iter().enumerate().map(|(i, server)| {
        Step::new(
            create_server(1, server),
            Op::DeleteServer(key(1), server_key(server)),
        )
        .at(format!("servers[{i}]"))
    });
    let plan = Plan::of(steps);
    let create = Transaction::new(Nothing, |_| Ok(plan), Nothing);
    let error = write(&executor, create).await.unwrap_err();
    assert_eq!(error.reason, Reason::ServerExists);
    assert_eq!(error.violations.len(), 1);
    assert_eq!(error.violations[0].field, "servers[1]");
    assert_eq!(kernel.service(id(1)).unwrap().len(), 1);
}

#[tokio::test]
async fn an_empty_plan_sends_nothing_and_keeps_the_cache() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    seed_service(&kernel, 1, 0);
    connect(&executor).await;
    read_cached(&executor, ServicesQuery).await;
    kernel.reset_counts();
    let no_change = Transaction::new(
        ServiceQuery(key(1)),
        |_| Ok(Plan::staged([vec![], vec![]])),
        ServiceQuery(key(1)),
    );
    let executed = write(&executor, no_change).await.unwrap();
    assert!(!executed.changed() && !executed.created);
    assert!(executed.value.is_some());
    assert_eq!(
        (kernel.sends(), kernel.lookups()),
        (1, 0),
        "only the precondition is read"
    );
    let cached = read_cached(&executor, ServicesQuery).await;
    assert_eq!(
        kernel.dumps(command::GET_SERVICE),
        0,
        "{cached:?} is still cached"
    );
}

/// Creates a server without a precondition, as the use cases do, and reads back the servers.
fn server_transaction(n: u32, server: u32) -> Transaction<Nothing, ServersQuery> {
    without_precondition([create_server(n, server)], ServersQuery(key(n)))
}

/// An edit of a server, planned from its current state.
fn edit_server(n: u32, server: u32, weight: u32) -> Transaction<ServerQuery, ServerQuery> {
    let query = ServerQuery(key(n), server_key(server));
    let plan = move |found: &Option<FoundServer>| {
        let old = found
            .as_ref()
            .and_then(|found| found.server.clone())
            .unwrap();
        let new = ServerConfig {
            weight,
            ..old.config
        };
        Ok(Plan::of([Step::from(Op::SetServer(
            key(n),
            server_key(server),
            new,
        ))]))
    };
    Transaction::new(query, plan, query)
}

#[tokio::test]
async fn a_creation_and_its_read_back_are_one_send_and_an_edit_reads_once() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    seed_service(&kernel, 1, 10);
    connect(&executor).await;
    kernel.reset_counts();
    let query = ServerQuery(key(1), server_key(10));
    let create = without_precondition([create_server(1, 10)], query);
    let created = write(&executor, create).await.unwrap().value.unwrap();
    assert_eq!(created.server.unwrap().key, server_key(10));
    assert_eq!(created.servers, 11);
    assert_eq!((kernel.sends(), kernel.dumps(command::GET_DEST)), (1, 1));

    kernel.reset_counts();
    let edited = write(&executor, edit_server(1, 3, 7)).await.unwrap().value;
    assert_eq!(edited.unwrap().server.unwrap().config.weight, 7);
    assert_eq!((kernel.sends(), kernel.dumps(command::GET_DEST)), (2, 1));

    kernel.reset_counts();
    let read = read_fresh(&executor, ServiceWithServersQuery(key(1))).await;
    assert_eq!(read.unwrap().unwrap().servers.len(), 11);
    assert_eq!(kernel.sends(), 1);
}

#[tokio::test]
async fn a_read_in_the_send_of_a_change_is_repeated_if_it_is_not_sure() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    seed_service(&kernel, 1, 30);
    kernel.set_dump_size(2000);
    connect(&executor).await;
    // Another program adds a server after the first datagram: the dump has a duplicate.
    fault_once(
        &kernel,
        command::GET_DEST,
        Fault::dump_interrupted(|kernel| seed_server(kernel, 1, 50)),
    );
    let create = without_precondition([create_server(1, 40)], ServersQuery(key(1)));
    let servers = write(&executor, create).await.unwrap().value.unwrap();
    let mut keys: Vec<_> = servers.iter().map(|server| server.key).collect();
    keys.sort_unstable();
    let expected: Vec<_> = (0..30).chain([40, 50]).map(server_key).collect();
    assert_eq!(keys, expected);
}

#[tokio::test]
async fn a_precondition_includes_earlier_changes_without_one_and_no_later_ones() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    seed_service(&kernel, 1, 0);
    let expect_count = |expected: usize| {
        let plan = move |servers: &Option<Arc<Vec<Server>>>| {
            assert_eq!(servers.as_ref().unwrap().len(), expected);
            Ok(Plan::nothing())
        };
        Transaction::new(ServersQuery(key(1)), plan, ServersQuery(key(1)))
    };
    let requests = (0..30).map(|n| match n % 3 {
        2 => write(&executor, expect_count((n as usize / 3 + 1) * 2)),
        _ => write(&executor, server_transaction(1, n)),
    });
    for result in run_concurrently(&kernel, &executor, requests).await {
        result.unwrap();
    }
}
