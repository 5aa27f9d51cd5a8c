//! Dry runs: the kernel receives no command that changes anything.

use std::collections::BTreeMap;

use super::*;

/// The commands that change the kernel's state.
const CHANGES: [u8; 11] = [
    command::NEW_SERVICE,
    command::SET_SERVICE,
    command::DEL_SERVICE,
    command::NEW_DEST,
    command::SET_DEST,
    command::DEL_DEST,
    command::NEW_DAEMON,
    command::DEL_DAEMON,
    command::SET_CONFIG,
    command::ZERO,
    command::FLUSH,
];

/// The number of operation kinds.
const KINDS: usize = 14;

/// The kind of an operation. A new kind must be added here and to [`ops`].
fn kind(op: &Op) -> usize {
    match op {
        Op::CreateService(..) => 0,
        Op::SetService(..) => 1,
        Op::DeleteService(_) => 2,
        Op::CreateServer(..) => 3,
        Op::SetServer(..) => 4,
        Op::DeleteServer(..) => 5,
        Op::Clear => 6,
        Op::ZeroAll => 7,
        Op::ZeroService(_) => 8,
        Op::SetTimeouts(_) => 9,
        Op::StartSyncDaemon(_) => 10,
        Op::StopSyncDaemon(_) => 11,
        Op::SetSetting { .. } => 12,
        Op::SetStored(..) => 13,
    }
}

/// One operation of each kind. Each succeeds on [`seeded_kernel`] and changes it.
fn ops() -> Vec<Op> {
    let weight_7 = ServerConfig {
        weight: 7,
        ..ServerConfig::default()
    };
    let timeouts = Timeouts {
        tcp_seconds: 7,
        ..Timeouts::DEFAULT
    };
    let labels = [("team".to_owned(), "web".to_owned())];
    let labels = Labels::from(BTreeMap::from(labels));
    let ops = vec![
        create_service(2),
        Op::SetService(key(1), config("rr")),
        Op::DeleteService(key(1)),
        create_server(1, 5),
        Op::SetServer(key(1), server_key(0), weight_7),
        Op::DeleteServer(key(1), server_key(0)),
        Op::Clear,
        Op::ZeroAll,
        Op::ZeroService(key(1)),
        Op::SetTimeouts(timeouts),
        Op::StartSyncDaemon(daemon_config(SyncState::Master)),
        Op::StopSyncDaemon(SyncState::Backup),
        set_setting("drop_entry", "1"),
        Op::SetStored(key(1), labels.into()),
    ];
    let kinds: Vec<_> = ops.iter().map(kind).collect();
    assert!(kinds.into_iter().eq(0..KINDS));
    ops
}

/// A kernel with a service, two servers, traffic, and a backup sync daemon.
async fn seeded_kernel() -> (FakeKernel, Executor) {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    seed_service(&kernel, 1, 2);
    let counters = fake::Counters {
        connections: 5,
        ..fake::Counters::default()
    };
    assert!(kernel.set_counters(id(1), counters));
    let backup = Op::StartSyncDaemon(daemon_config(SyncState::Backup));
    execute(&executor, backup).await.unwrap();
    connect(&executor).await;
    kernel.reset_counts();
    (kernel, executor)
}

/// The number of commands that changed the kernel or tried to.
fn change_count(kernel: &FakeKernel) -> u64 {
    CHANGES
        .iter()
        .map(|command| kernel.commands(*command))
        .sum()
}

/// Everything that an operation can change.
async fn full_state(kernel: &FakeKernel, executor: &Executor) -> impl PartialEq + std::fmt::Debug {
    let timeouts = read_fresh(executor, TimeoutsQuery).await.unwrap();
    let daemons = read_fresh(executor, SyncDaemonsQuery).await.unwrap();
    let settings = read_fresh(executor, SettingsQuery).await.unwrap();
    let kept = executor.kept.all();
    let labels = Kept::labels(&kept.of(key(1))).clone();
    (kernel.services(), timeouts, daemons, settings, labels)
}

async fn write_dry<W: Write>(executor: &Executor, write: W) -> Result<W::Outcome, Error> {
    executor.writer.write(write, deadline(), true).await
}

#[tokio::test]
async fn execution_sends_one_changing_command_per_operation() {
    for op in ops() {
        let (kernel, executor) = seeded_kernel().await;
        let before = full_state(&kernel, &executor).await;
        execute(&executor, op.clone()).await.unwrap();
        let expected = u64::from(!matches!(op, Op::SetSetting { .. } | Op::SetStored(..)));
        assert_eq!(change_count(&kernel), expected, "{op:?}");
        assert_ne!(full_state(&kernel, &executor).await, before, "{op:?}");
    }
}

#[tokio::test]
async fn a_dry_run_of_any_operation_changes_nothing() {
    let (kernel, executor) = seeded_kernel().await;
    let before = full_state(&kernel, &executor).await;
    for op in ops() {
        let transaction = without_precondition([op.clone()], Nothing);
        let executed = write_dry(&executor, transaction).await.unwrap();
        assert_eq!(executed.steps, [Step::from(op)], "the planned operation");
        assert!(executed.changed());
    }
    assert_eq!(change_count(&kernel), 0);
    assert_eq!(full_state(&kernel, &executor).await, before);
}

#[tokio::test]
async fn a_dry_run_of_a_command_list_changes_nothing() {
    let (kernel, executor) = seeded_kernel().await;
    let before = full_state(&kernel, &executor).await;
    for stop_on_error in [false, true] {
        let list = CommandList::new(ops(), stop_on_error);
        let outcome = write_dry(&executor, list).await.unwrap();
        assert_eq!(outcome.results, vec![CommandResult::Done; KINDS]);
        assert!(CommandList::ops(&outcome).eq(&ops()));
    }
    assert_eq!(change_count(&kernel), 0);
    assert_eq!(full_state(&kernel, &executor).await, before);
}

#[tokio::test]
async fn a_dry_run_keeps_the_cache() {
    let (kernel, executor) = seeded_kernel().await;
    read_cached(&executor, TableQuery).await;
    let dumps = kernel.dumps(command::GET_SERVICE);
    for op in ops() {
        let transaction = without_precondition([op], Nothing);
        write_dry(&executor, transaction).await.unwrap();
    }
    assert!(read_cached(&executor, TableQuery).await.age > Duration::ZERO);
    assert_eq!(kernel.dumps(command::GET_SERVICE), dumps);
}

#[tokio::test]
async fn a_dry_run_sees_the_changes_before_it_and_hides_nothing_from_those_after() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let delete = Transaction::new(
        ServiceWithServersQuery(key(1)),
        |entry: &Option<Arc<ServiceEntry>>| {
            assert!(entry.is_some(), "created before");
            Ok(Plan::of([Op::DeleteService(key(1)).into()]))
        },
        ServiceWithServersQuery(key(1)),
    );
    let requests = [
        write(&executor, with_precondition(1, create_service(1)))
            .map(|result| result.map(drop))
            .boxed(),
        write_dry(&executor, delete)
            .map(|result| result.map(|executed| assert!(executed.value.is_none())))
            .boxed(),
        write(&executor, with_precondition(1, create_server(1, 1)))
            .map(|result| result.map(drop))
            .boxed(),
    ];
    for result in run_concurrently(&kernel, &executor, requests).await {
        result.unwrap();
    }
    assert_eq!(kernel.service(id(1)).unwrap().len(), 1);
    assert_eq!(kernel.commands(command::DEL_SERVICE), 0);
}
