//! Random tables: what ipvsctl or ipvsadm saves, ipvsctl and ipvsadm restore.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    time::{Duration, Instant},
};

use ipvsd::{
    executor::{CommandList, Executor, TableQuery},
    model::{
        Netmask, Op, SchedulerFlags, ServerConfig, ServerKey, ServiceConfig, ServiceEntry,
        ServiceKey, StoredFields,
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

/// Number of tables if there is time.
const MAX_TABLES: u32 = 150;
/// Number of tables in any case.
const MIN_TABLES: u32 = 40;
/// No runner is started after this time.
const TIME: Duration = Duration::from_secs(45);
/// Tables per runner. The seed is printed for each test run.
const TABLES_PER_RUNNER: u32 = 5;

#[test]
fn a_saved_table_is_restored_unchanged() {
    let fixture = Fixture::new();
    let start = Instant::now();
    let seed = match Config::default().rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => rand_seed(),
    };
    println!("PROPTEST_RNG_SEED={seed}");
    let seen = RefCell::new(BTreeSet::new());
    let mut tried = 0;
    while tried < MIN_TABLES || tried < MAX_TABLES && start.elapsed() < TIME {
        let mut runner = TestRunner::new(Config {
            cases: TABLES_PER_RUNNER,
            rng_seed: RngSeed::Fixed(seed.wrapping_add(u64::from(tried))),
            failure_persistence: None,
            max_shrink_iters: 200,
            ..Config::default()
        });
        let outcome = runner.run(&table(OF_A_KERNEL, 5, 5), |entries| {
            fixture.save_and_restore(&entries, &mut seen.borrow_mut())
        });
        outcome.unwrap_or_else(|why| panic!("{why}"));
        tried += TABLES_PER_RUNNER;
    }
    let seen = seen.into_inner();
    println!("{tried} tables in {:?}, with {seen:?}", start.elapsed());
    assert_eq!(seen, OPTIONS.into(), "options");
}

/// The options with which tables are saved. All of them must occur.
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

/// A namespace that ipvsctl, ipvsadm and an executor access.
struct Fixture {
    pair: Pair,
    executor: Executor,
    runtime: tokio::runtime::Runtime,
}

/// Configuration of a table: services with their servers in the kernel's order.
type Table = Vec<(ServiceKey, ServiceConfig, Vec<(ServerKey, ServerConfig)>)>;

impl Fixture {
    fn new() -> Self {
        let pair = Pair::new();
        let executor = pair.ipvsctl.run(executor);
        let runtime = tokio::runtime::Builder::new_current_thread();
        Self {
            pair,
            executor,
            runtime: { runtime }.enable_all().build().unwrap(),
        }
    }

    /// Saves and restores a table in all ways.
    fn save_and_restore(
        &self,
        entries: &[ServiceEntry],
        seen: &mut BTreeSet<&'static str>,
    ) -> Result<(), TestCaseError> {
        let run = |cmd: &str, stdin: &str| {
            let output = self.pair.run_ipvsctl(cmd, stdin);
            let failure = (output.code, output.stderr.as_str());
            assert_eq!(failure, (0, ""), "{cmd}\n{stdin}");
            output.stdout
        };
        let run_ipvsadm = |line: &str, stdin: &str| {
            let output = self.pair.ipvsctl.ipvsadm(line, stdin);
            assert!(
                output.status.success() && output.stderr.is_empty(),
                "{output:?}\n{stdin}"
            );
        };
        let table = configured(entries);
        let sorted = sorted(&table);

        self.fill(entries);
        prop_assert_eq!(&by_service(self.table()), &by_service(table.clone()));
        let saves = ["ipvsadm -S -n", "ipvsadm save", "ipvsadm save --full"];
        let [rules, saved, document] = saves.map(|cmd| run(cmd, ""));
        let used = |option: &&str| rules.split_whitespace().any(|word| word == *option);
        seen.extend(OPTIONS.into_iter().filter(used));

        // ipvsctl -S; ipvsctl -R and ipvsadm -R.
        run("ipvsadm -C", "");
        prop_assert_eq!(self.table(), Table::new());
        run("ipvsadm -R", &rules);
        prop_assert_eq!(&self::sorted(&self.table()), &sorted);
        run_ipvsadm("-C", "");
        run_ipvsadm("-R", &rules);
        prop_assert_eq!(&self::sorted(&self.table()), &sorted);

        // ipvsctl save and restore: by difference, which does not order the servers of an existing
        // service, and into an empty table, in the order of servers. No commands are not a table.
        let saved = match saved.as_str() {
            "" => "-C\n",
            saved => saved,
        };
        run("ipvsadm restore", saved);
        prop_assert_eq!(&self::sorted(&self.table()), &sorted);
        run("ipvsadm restore --clear", saved);
        prop_assert_eq!(&by_service(self.table()), &by_service(table.clone()));
        run("ipvsadm -C", "");
        run("ipvsadm restore", &document);
        prop_assert_eq!(by_service(self.table()), by_service(table));

        // ipvsadm -S, for tables that ipvsadm saves completely; ipvsctl -R.
        let entries: Vec<_> = entries.iter().cloned().map(restorable_by_ipvsadm).collect();
        self.fill(&entries);
        let rules = self.pair.ipvsctl.save();
        run("ipvsadm -C", "");
        run("ipvsadm -R", &rules);
        prop_assert_eq!(
            self::sorted(&self.table()),
            self::sorted(&configured(&entries))
        );
        Ok(())
    }

    /// Replaces the table of the kernel.
    fn fill(&self, entries: &[ServiceEntry]) {
        let mut ops = vec![Op::Clear];
        for entry in entries {
            let key = entry.service.key;
            ops.push(Op::CreateService(
                key,
                entry.service.config,
                StoredFields::default(),
            ));
            // The kernel inserts a new server before the others.
            let servers = entry.servers.iter().rev();
            ops.extend(servers.map(|server| Op::CreateServer(key, server.key, server.config)));
        }
        let commands = CommandList::new(ops, true);
        let writer = &self.executor.writer;
        let work = writer.write(commands, Instant::now() + SOON, false);
        for result in self.runtime.block_on(work).unwrap().results {
            Result::from(result).unwrap();
        }
    }

    /// The table of the kernel.
    fn table(&self) -> Table {
        let deadline = Instant::now() + SOON;
        let reader = &self.executor.reader;
        let work = reader.read(TableQuery, Duration::ZERO, deadline);
        configured(&self.runtime.block_on(work).unwrap().value)
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

/// Sorts services, whose order the kernel does not guarantee.
fn by_service(mut table: Table) -> Table {
    table.sort_by_key(|(key, ..)| *key);
    table
}

/// Sorts services and servers.
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

/// Removes what `ipvsadm -S` loses (documented differences 5 and 6).
fn restorable_by_ipvsadm(mut entry: ServiceEntry) -> ServiceEntry {
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
