//! Writes: packed, in their order, each with its own exact outcome.

use super::*;
use crate::executor::socket::{IpvsSocket, Outcome};

#[test]
fn each_of_200_mixed_operations_in_a_few_sends_has_its_own_exact_outcome() {
    let kernel = FakeKernel::new();
    let mut socket = IpvsSocket::connect(&kernel).unwrap();
    kernel.reset_counts();
    let mut ops = Vec::new();
    let mut expected = Vec::new();
    for n in 0..40 {
        for (op, outcome) in [
            (create(n), Outcome::Done),
            (create(n), Outcome::Rejected(Errno::EEXIST)),
            (add(n + 1000, 1), Outcome::Rejected(Errno::ESRCH)),
            (add(n, 1), Outcome::Done),
            (
                Op::CreateService(key(n + 2000), config("nosuch")),
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
    assert_eq!(kernel.sends(), 4, "64 a send");
    assert_eq!(services(&kernel), 40);
    // The last in a pack may be the one that fails, or all may.
    for len in [1, 63, 64, 65, 128, 129] {
        let (outcomes, broken) = socket.execute(&vec![create(0); len]);
        assert!(broken.is_none());
        assert_eq!(outcomes, vec![Outcome::Rejected(Errno::EEXIST); len]);
    }
}

#[tokio::test]
async fn changes_that_wait_together_go_out_together_and_are_answered_apart() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    for n in (0..150).filter(|n| n % 3 == 0) {
        put(&kernel, n, 0);
    }
    kernel.reset_counts();
    let requests = (0..150).map(|n| {
        let op = match n % 5 {
            0 => Op::CreateService(key(n), config("nosuch")),
            _ => create(n),
        };
        change(&executor, reading(n, op))
    });
    let results = together(&kernel, &executor, requests).await;
    for (n, result) in (0..150).zip(results) {
        let told = result
            .map(|changed| changed.changed())
            .map_err(|e| e.reason);
        let expected = match (n % 3, n % 5) {
            (0, _) => Err(Reason::ServiceExists),
            (_, 0) => Err(Reason::SchedulerUnavailable),
            _ => Ok(true),
        };
        assert_eq!(told, expected, "{n}");
    }
    assert!(
        kernel.sends() < 75,
        "{} sends for 150 changes",
        kernel.sends()
    );
}

#[tokio::test]
async fn changes_of_one_service_and_of_all_keep_their_order() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let requests = (0..100).map(|n| match n {
        50 => change(&executor, blind([Op::Clear], Nothing)),
        n if n % 10 == 9 => change(&executor, reading(n, create(n))),
        n if n % 2 == 0 => change(&executor, reading(0, create(0))),
        _ => change(&executor, reading(0, Op::DeleteService(key(0)))),
    });
    let results = together(&kernel, &executor, requests).await;
    let mut there = false;
    for (n, result) in (0..100).zip(results) {
        if n == 50 {
            there = false;
            result.unwrap();
            continue;
        }
        let create = n % 2 == 0;
        if n % 10 == 9 {
            result.unwrap();
        } else if create == there {
            let reason = if create {
                Reason::ServiceExists
            } else {
                Reason::ServiceNotFound
            };
            assert_eq!(result.unwrap_err().reason, reason, "{n}");
        } else {
            result.unwrap();
            there = create;
        }
    }
    let left: Vec<_> = (0..100)
        .filter(|n| kernel.service(id(*n)).is_some())
        .collect();
    assert_eq!(left, [0, 59, 69, 79, 89, 99][usize::from(!there)..]);
}

#[tokio::test]
async fn a_change_sees_what_the_one_before_it_did() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let requests = (0..20).map(|_| {
        let toggle = Transaction::new(
            ServiceQuery(key(1)),
            |entry: &Option<Arc<ServiceEntry>>| {
                Ok(Plan::of([match entry {
                    Some(_) => Op::DeleteService(key(1)).into(),
                    None => create(1).into(),
                }]))
            },
            ServiceQuery(key(1)),
        );
        change(&executor, toggle)
    });
    for (i, result) in together(&kernel, &executor, requests)
        .await
        .into_iter()
        .enumerate()
    {
        let seen = result.unwrap().value;
        assert_eq!(seen.is_some(), i % 2 == 0, "read back before the next");
    }
}

#[tokio::test]
async fn a_plan_that_fails_is_undone_and_the_others_in_its_pack_are_not() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let plan = |n: u32, bad: bool| {
        Transaction::new(
            ServiceQuery(key(n)),
            move |_| {
                let step = |server| {
                    Step::new(add(n, server), Op::DeleteServer(key(n), server_key(server)))
                        .at(format!("servers[{server}]"))
                };
                let second = match bad {
                    true => Step::from(add(n + 500, 1)).at("servers[1]"),
                    false => step(1),
                };
                let service = Step::new(create(n), Op::DeleteService(key(n)));
                Ok(Plan::staged([
                    vec![service],
                    vec![step(0), second, step(2)],
                    vec![step(3)],
                ]))
            },
            ServiceWithServersQuery(key(n)),
        )
    };
    let requests = (0..6).map(|n| change(&executor, plan(n, n % 2 == 1)));
    let results = together(&kernel, &executor, requests).await;
    for (n, result) in (0..6).zip(results) {
        if n % 2 == 1 {
            let error = result.unwrap_err();
            assert_eq!(error.reason, Reason::ServiceNotFound);
            assert!(
                !error.detail.contains("rolled back"),
                "undone as a whole: {error:?}"
            );
            assert!(kernel.service(id(n)).is_none());
        } else {
            let seen = result.unwrap().value.unwrap();
            assert_eq!(seen.servers.len(), 4);
        }
    }
    assert_eq!(services(&kernel), 3);
}

#[tokio::test]
async fn what_could_not_be_undone_is_told() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let blind = blind([create(1), create(1)], Nothing);
    let error = change(&executor, blind).await.unwrap_err();
    assert_eq!(error.reason, Reason::ServiceExists);
    assert!(error.detail.contains("0 of them rolled back"), "{error}");
    assert_eq!(services(&kernel), 1);
}

#[tokio::test]
async fn the_failure_of_a_step_is_told_by_its_path() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    put(&kernel, 1, 1);
    let steps = [5, 0, 6].into_iter().enumerate().map(|(i, server)| {
        Step::new(add(1, server), Op::DeleteServer(key(1), server_key(server)))
            .at(format!("servers[{i}]"))
    });
    let plan = Plan::of(steps);
    let create = Transaction::new(Nothing, |_| Ok(plan), Nothing);
    let error = change(&executor, create).await.unwrap_err();
    assert_eq!(error.reason, Reason::ServerExists);
    assert_eq!(error.violations.len(), 1);
    assert_eq!(error.violations[0].field, "servers[1]");
    assert_eq!(kernel.service(id(1)).unwrap().len(), 1);
}

#[tokio::test]
async fn a_plan_with_nothing_to_do_does_not_touch_the_kernel() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    put(&kernel, 1, 0);
    connect(&executor).await;
    executor
        .reader
        .read(ServicesQuery, LONG, later())
        .await
        .unwrap();
    kernel.reset_counts();
    let nothing = Transaction::new(
        ServiceQuery(key(1)),
        |_| Ok(Plan::staged([vec![], vec![]])),
        ServiceQuery(key(1)),
    );
    let changed = change(&executor, nothing).await.unwrap();
    assert!(!changed.changed() && !changed.created);
    assert!(changed.value.is_some());
    assert_eq!(
        (kernel.sends(), kernel.lookups()),
        (1, 0),
        "one look, nothing else"
    );
    let cached = executor
        .reader
        .read(ServicesQuery, LONG, later())
        .await
        .unwrap();
    assert_eq!(
        kernel.dumps(command::GET_SERVICE),
        0,
        "{cached:?} is still known"
    );
}

#[tokio::test]
async fn changes_of_one_service_wait_for_each_other_and_hold_up_no_others() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    // Of each service two: it is made, and deleted again.
    let requests = (0..60).map(|n| {
        let op = match n % 2 {
            0 => create(n / 2),
            _ => Op::DeleteService(key(n / 2)),
        };
        change(&executor, reading(n / 2, op))
    });
    connect(&executor).await;
    kernel.reset_counts();
    for result in together(&kernel, &executor, requests).await {
        result.unwrap();
    }
    assert_eq!(services(&kernel), 0);
    // One for who holds the kernel, then twice a look and an act.
    assert_eq!(kernel.sends(), 1 + 2 * 2);
}

/// Adds a server without a look, as the director does.
fn adding(n: u32, server: u32) -> Transaction<Nothing, ServersQuery> {
    blind([add(n, server)], ServersQuery(key(n)))
}

#[tokio::test]
async fn changes_of_one_service_that_look_at_nothing_go_together_and_are_read_back_once() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    put(&kernel, 1, 1);
    connect(&executor).await;
    kernel.reset_counts();
    // The first is there, and the last is added twice; then one of a service that is not.
    let requests = (0..40).chain([39]).map(|server| adding(1, server));
    let requests = requests.chain([adding(2, 0)]);
    let requests = requests.map(|request| change(&executor, request));
    let results = together(&kernel, &executor, requests).await;
    for (place, result) in results.into_iter().enumerate() {
        let told = result.map(|changed| changed.value.unwrap().len());
        let expected = match place {
            0 | 40 => Err(Reason::ServerExists),
            41 => Err(Reason::ServiceNotFound),
            _ => Ok(40),
        };
        assert_eq!(told.map_err(|error| error.reason), expected, "{place}");
    }
    assert_eq!(kernel.dumps(command::GET_DEST), 1);
    assert_eq!(kernel.sends(), 1 + 1 + 1, "held, added, read back");
}

#[tokio::test]
async fn a_change_that_looks_sees_those_before_it_that_do_not_and_none_after() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    put(&kernel, 1, 0);
    let counting = |expected: usize| {
        let plan = move |servers: &Option<Arc<Vec<Server>>>| {
            assert_eq!(servers.as_ref().unwrap().len(), expected);
            Ok(Plan::nothing())
        };
        Transaction::new(ServersQuery(key(1)), plan, ServersQuery(key(1)))
    };
    let requests = (0..30).map(|n| match n % 3 {
        2 => change(&executor, counting((n as usize / 3 + 1) * 2)),
        _ => change(&executor, adding(1, n)),
    });
    for result in together(&kernel, &executor, requests).await {
        result.unwrap();
    }
}
