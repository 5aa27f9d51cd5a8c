//! Random tables of everything that the model has: what is saved is restored, by ipvsctl and by the
//! original, whoever saved it.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    time::{Duration, Instant},
};

use ipvsd::{
    executor::{Batch, Executor, Seen},
    model::{
        Netmask, Op, Query, SchedulerFlags, ServerConfig, ServerKey, ServiceConfig, ServiceEntry,
        ServiceKey,
    },
};
use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed, TestRunner},
};

use super::Pair;
use crate::{
    common::tables::{OF_A_KERNEL, table},
    support::{SOON, executor},
};

/// How many tables are tried, unless the time is up before; fewer would prove little.
const TABLES: u32 = 150;
const LEAST: u32 = 40;
/// When no more are begun.
const TIME: Duration = Duration::from_secs(45);
/// Tables of one runner, whose seed is told.
const AT_A_TIME: u32 = 5;

#[test]
fn any_table_is_restored_as_it_was_saved() {
    let world = World::new();
    let begun = Instant::now();
    let seed = match Config::default().rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => rand_seed(),
    };
    println!("PROPTEST_RNG_SEED={seed}");
    let met = RefCell::new(BTreeSet::new());
    let mut tried = 0;
    while tried < LEAST || tried < TABLES && begun.elapsed() < TIME {
        let mut runner = TestRunner::new(Config {
            cases: AT_A_TIME,
            rng_seed: RngSeed::Fixed(seed.wrapping_add(u64::from(tried))),
            failure_persistence: None,
            max_shrink_iters: 200,
            ..Config::default()
        });
        let outcome = runner.run(&table(OF_A_KERNEL, 5, 5), |entries| {
            world.restores(&entries, &mut met.borrow_mut())
        });
        outcome.unwrap_or_else(|why| panic!("{why}"));
        tried += AT_A_TIME;
    }
    let met = met.into_inner();
    println!("{tried} tables in {:?}, with {met:?}", begun.elapsed());
    assert_eq!(met, OPTIONS.into(), "options");
}

/// What a table is saved with.
const OPTIONS: [&str; 27] = [
    "--pe",
    "--sctp-service",
    "--tun-csum",
    "--tun-nocsum",
    "--tun-port",
    "--tun-remcsum",
    "--tun-type",
    "-6",
    "-A",
    "-M",
    "-a",
    "-b",
    "-f",
    "-g",
    "-i",
    "-m",
    "-o",
    "-p",
    "-r",
    "-s",
    "-t",
    "-u",
    "-w",
    "-x",
    "-y",
    "gre",
    "gue",
];

/// A namespace, seen by ipvsctl, by the original, and directly.
struct World {
    pair: Pair,
    executor: Executor,
    runtime: tokio::runtime::Runtime,
}

/// What is configured: each service with its servers in the kernel's order.
type Table = Vec<(ServiceKey, ServiceConfig, Vec<(ServerKey, ServerConfig)>)>;

impl World {
    fn new() -> Self {
        let pair = Pair::new();
        let executor = pair.ours.run(executor);
        let runtime = tokio::runtime::Builder::new_current_thread();
        Self {
            pair,
            executor,
            runtime: { runtime }.enable_all().build().unwrap(),
        }
    }

    /// Saves and restores this table in every way.
    fn restores(
        &self,
        entries: &[ServiceEntry],
        met: &mut BTreeSet<&'static str>,
    ) -> Result<(), TestCaseError> {
        let told = |cmd: &str, stdin: &str| {
            let said = self.pair.ours(cmd, stdin);
            assert_eq!((said.rc, said.err.as_str()), (0, ""), "{cmd}\n{stdin}");
            said.out
        };
        let theirs = |line: &str, stdin: &str| {
            let said = self.pair.ours.ipvsadm(line, stdin);
            assert!(
                said.status.success() && said.stderr.is_empty(),
                "{said:?}\n{stdin}"
            );
        };
        let table = configured(entries);
        let sorted = sorted(&table);

        self.fill(entries);
        prop_assert_eq!(&by_service(self.table()), &by_service(table.clone()));
        let [rules, saved] = ["ipvsadm -S -n", "ipvsadm save"].map(|cmd| told(cmd, ""));
        let used = |option: &&str| rules.split_whitespace().any(|word| word == *option);
        met.extend(OPTIONS.into_iter().filter(used));

        // -S, -R: the same table, by us and by the original.
        told("ipvsadm -C", "");
        prop_assert_eq!(self.table(), Table::new());
        told("ipvsadm -R", &rules);
        prop_assert_eq!(&self::sorted(&self.table()), &sorted);
        theirs("-C", "");
        theirs("-R", &rules);
        prop_assert_eq!(&self::sorted(&self.table()), &sorted);

        // save, restore: the same order of servers too, whatever was there before.
        told("ipvsadm restore", &saved);
        prop_assert_eq!(by_service(self.table()), by_service(table));

        // What the original saves, as far as it can be restored at all.
        let entries: Vec<_> = entries.iter().cloned().map(restorable_by_theirs).collect();
        self.fill(&entries);
        let rules = self.pair.ours.save();
        told("ipvsadm -C", "");
        told("ipvsadm -R", &rules);
        prop_assert_eq!(
            self::sorted(&self.table()),
            self::sorted(&configured(&entries))
        );
        Ok(())
    }

    /// Makes the kernel have this and nothing else.
    fn fill(&self, entries: &[ServiceEntry]) {
        let mut ops = vec![Op::Clear];
        for entry in entries {
            let key = entry.service.key;
            ops.push(Op::CreateService(key, entry.service.config));
            // The kernel puts a new one before the others.
            let servers = entry.servers.iter().rev();
            ops.extend(servers.map(|server| Op::CreateServer(key, server.key, server.config)));
        }
        let batch = Batch { ops, stop: true };
        let work = self.executor.batch(batch, Instant::now() + SOON);
        for result in self.runtime.block_on(work).unwrap() {
            result.unwrap();
        }
    }

    /// What the kernel has.
    fn table(&self) -> Table {
        let deadline = Instant::now() + SOON;
        let work = self.executor.ask(Query::Table, Duration::ZERO, deadline);
        match self.runtime.block_on(work).unwrap().value {
            Seen::Table(entries) => configured(&entries),
            other => panic!("{other:?}"),
        }
    }
}

fn configured(entries: &[ServiceEntry]) -> Table {
    let entries = entries.iter().map(|entry| {
        let servers = entry
            .servers
            .iter()
            .map(|server| (server.key, server.config));
        (entry.service.key, entry.service.config, servers.collect())
    });
    entries.collect()
}

/// The order of services is the kernel's own affair.
fn by_service(mut table: Table) -> Table {
    table.sort_by_key(|(key, ..)| *key);
    table
}

/// That of servers, too.
fn sorted(table: &Table) -> Table {
    let mut table = by_service(table.clone());
    for (.., servers) in &mut table {
        servers.sort_by_key(|(key, _)| *key);
    }
    table
}

fn rand_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| u64::from(since.subsec_nanos()))
}

/// The same without what the original loses when it saves (deliberate differences 5 and 6).
fn restorable_by_theirs(mut entry: ServiceEntry) -> ServiceEntry {
    let service = &mut entry.service;
    if let ServiceKey::Fwmark { mark, .. } = &mut service.key {
        *mark = (*mark & 0x7fff_ffff).max(1);
    }
    let config = &mut service.config;
    config.scheduler_flags = SchedulerFlags::from_bits(config.scheduler_flags.bits() & 0x18);
    if config.persistence_timeout.is_none() {
        config.netmask = Netmask::full(service.key.family());
    }
    for server in &mut entry.servers {
        server.config.upper_threshold = 0;
        server.config.lower_threshold = 0;
    }
    entry
}
