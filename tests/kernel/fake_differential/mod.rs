//! Differential test: the fake kernel and the real one return the same results for random sequences
//! of operations and queries, and have the same table afterwards.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod settings;
mod strategies;

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use ipvsd::{
    executor::{
        Executor, ExecutorLimits, InfoQuery, Nothing, Plan, ServersQuery, ServiceQuery,
        ServiceWithServersQuery, ServicesQuery, SyncDaemonsQuery, Table, TableQuery, TimeoutsQuery,
        Transaction, TypedQuery,
    },
    kernel::FakeKernel,
    model::{Error, Op, Query, SyncState, Timeouts},
};
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

use self::strategies::Step;
use crate::support::{Namespace, SOON, executor};

/// Maximum number of sequences.
const SEQUENCES: u32 = 4000;
/// Time after which no further sequences are started than the minimum.
const TIME: Duration = Duration::from_secs(75);
/// Minimum number of sequences, accepted changes and rejected changes.
const LEAST: u32 = 300;

#[test]
fn the_fake_kernel_behaves_like_the_real_one() {
    let namespace = Namespace::new();
    namespace.ip("link add d0 type dummy");
    namespace.ip("addr add 10.1.1.1/24 brd + dev d0");
    namespace.ip("link set d0 up");
    let (begun, tried) = (Instant::now(), AtomicU32::new(0));
    let outcome = namespace.run(|| {
        let both = Both::start();
        let mut outcome = Ok(());
        let goes_on = || {
            let tried = tried.load(Relaxed);
            tried < SEQUENCES && (tried < LEAST || begun.elapsed() < TIME)
        };
        while outcome.is_ok() && goes_on() {
            let mut runner = TestRunner::new(Config {
                cases: 50,
                failure_persistence: None,
                max_shrink_iters: 3000,
                ..Config::default()
            });
            outcome = runner.run(&strategies::steps(), |steps| {
                tried.fetch_add(1, Relaxed);
                both.agree_on(&steps)
            });
        }
        let [accepted, rejected] = both.changes.map(AtomicU32::into_inner);
        println!("{accepted} changes accepted, {rejected} rejected");
        if outcome.is_ok() {
            assert!(
                accepted > LEAST && rejected > LEAST,
                "{accepted}, {rejected}"
            );
        }
        outcome
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(why, steps)) => {
            let steps: Vec<_> = steps.iter().map(|step| format!("{step:?}\n")).collect();
            panic!("{why}, after\n{}", steps.concat());
        }
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
    println!("{} sequences in {:?}", tried.load(Relaxed), begun.elapsed());
    assert!(
        tried.load(Relaxed) >= LEAST,
        "only {} sequences",
        tried.load(Relaxed)
    );
}

struct Both {
    runtime: tokio::runtime::Runtime,
    real: Executor,
    fake: Executor,
    /// Number of accepted and of rejected changes.
    changes: [AtomicU32; 2],
}

impl Both {
    /// Starts both kernels. The fake one gets HZ and the interfaces of the real one.
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let real = executor();
        let kernel = FakeKernel::new();
        kernel.remove_interface("eth0");
        kernel.add_interface("d0", 1500);
        kernel.add_broadcast(Ipv4Addr::new(10, 1, 1, 255));
        kernel.set_hz(runtime.block_on(clock(&real)));
        if let Ok(info) = runtime.block_on(read(&real, InfoQuery)) {
            kernel.set_table_size(info.connection_table_size);
        }
        let fake = Executor::start(Arc::new(kernel), ExecutorLimits::default()).unwrap();
        Self {
            runtime,
            real,
            fake,
            changes: Default::default(),
        }
    }

    fn agree_on(&self, steps: &[Step]) -> Result<(), TestCaseError> {
        self.runtime.block_on(async {
            for executor in [&self.real, &self.fake] {
                reset(executor).await;
            }
            self.agree_on_queries(&[Query::Table, Query::Timeouts, Query::SyncDaemons])
                .await?;
            for step in steps {
                match step {
                    Step::Query(query) => self.agree_on_queries(&[*query]).await?,
                    Step::Do(ops) => {
                        let real = change(&self.real, ops).await;
                        let fake = change(&self.fake, ops).await;
                        self.changes[usize::from(real.is_err())].fetch_add(1, Relaxed);
                        same(&format!("{ops:?}"), &real, &fake)?;
                        let queries = [Query::Table, Query::Timeouts, Query::SyncDaemons];
                        let all = ops.iter().any(|op| op.service().is_none());
                        let wanted = if all { &queries[..] } else { &queries[..1] };
                        self.agree_on_queries(wanted).await?;
                    }
                }
            }
            self.agree_on_queries(&[Query::Timeouts, Query::SyncDaemons])
                .await
        })
    }

    async fn agree_on_queries(&self, queries: &[Query]) -> Result<(), TestCaseError> {
        for query in queries {
            match *query {
                Query::Info => self.agree_on_query(InfoQuery).await?,
                Query::Timeouts => self.agree_on_query(TimeoutsQuery).await?,
                Query::SyncDaemons => self.agree_on_query(SyncDaemonsQuery).await?,
                Query::Services => self.agree_on_table(ServicesQuery).await?,
                Query::Table => self.agree_on_table(TableQuery).await?,
                Query::Service(key) => self.agree_on_query(ServiceQuery(key)).await?,
                Query::ServiceWithServers(key) => {
                    self.agree_on_query(ServiceWithServersQuery(key)).await?;
                }
                Query::Servers(key) => self.agree_on_query(ServersQuery(key)).await?,
                other => panic!("{other:?} depends on the machine"),
            }
        }
        Ok(())
    }

    async fn agree_on_query<Q: TypedQuery>(&self, query: Q) -> Result<(), TestCaseError>
    where
        Q::Answer: PartialEq,
    {
        let real = read(&self.real, query.clone()).await;
        let fake = read(&self.fake, query.clone()).await;
        same(&format!("{query:?}"), &real, &fake)
    }

    /// Compares tables without the order of services, which depends on a pointer in the kernel.
    async fn agree_on_table<Q>(&self, query: Q) -> Result<(), TestCaseError>
    where
        Q: TypedQuery<Answer = Arc<Table>>,
    {
        let real = read(&self.real, query.clone()).await;
        let fake = read(&self.fake, query.clone()).await;
        let sorted = |table: &Result<Arc<Table>, Error>| {
            table.clone().map(|table| {
                let mut table = table.to_vec();
                table.sort_by_key(|entry| entry.service.key);
                table
            })
        };
        same(&format!("{query:?}"), &sorted(&real), &sorted(&fake))
    }
}

fn same<T: std::fmt::Debug + PartialEq>(
    what: &str,
    real: &T,
    fake: &T,
) -> Result<(), TestCaseError> {
    if real == fake {
        return Ok(());
    }
    Err(TestCaseError::fail(format!(
        "{what}:\n real {real:?}\n fake {fake:?}\n"
    )))
}

fn soon() -> Instant {
    Instant::now() + SOON
}

async fn read<Q: TypedQuery>(executor: &Executor, query: Q) -> Result<Q::Answer, Error> {
    let result = executor.reader.read(query, Duration::ZERO, soon()).await;
    result.map(|cached| cached.value)
}

async fn change(executor: &Executor, ops: &[Op]) -> Result<bool, Error> {
    let plan = Plan::of(ops.iter().cloned().map(Into::into));
    let transaction = Transaction::new(Nothing, |()| Ok(plan), Nothing);
    let executed = executor.writer.write(transaction, soon(), false).await;
    executed.map(|executed| executed.changed())
}

async fn reset(executor: &Executor) {
    change(executor, &[Op::Clear, Op::SetTimeouts(Timeouts::DEFAULT)])
        .await
        .unwrap();
    for state in [SyncState::Master, SyncState::Backup] {
        // It may not be running.
        let _ = change(executor, &[Op::StopSyncDaemon(state)]).await;
    }
}

/// HZ of the kernel, derived from the longest timeout that it accepts.
async fn clock(executor: &Executor) -> u32 {
    for hz in [100, 250, 300, 1000] {
        let longest = i32::MAX.cast_unsigned() / hz;
        let timeouts = |tcp_seconds| Timeouts {
            tcp_seconds,
            ..Timeouts::DEFAULT
        };
        let accepted = change(executor, &[Op::SetTimeouts(timeouts(longest))]).await;
        let rejected = change(executor, &[Op::SetTimeouts(timeouts(longest + 1))]).await;
        if accepted.is_ok() && rejected.is_err() {
            return hz;
        }
    }
    panic!("a clock of an unknown rate");
}
