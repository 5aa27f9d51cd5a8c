//! The stored state: how long a durable write takes, and how many clients get at once.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Args;
use ipvsd::store::{Collection, Store, StoreOptions, WriteBatch};
use serde::{Deserialize, Serialize};

#[derive(Args, Debug)]
pub struct Options {
    /// Directory on the file system to measure. It must not exist, and is deleted at the end.
    #[arg(long, default_value = "target/measure-store")]
    directory: PathBuf,
    /// Clients that write at once, in the second part.
    #[arg(long, default_value_t = 64)]
    clients: u64,
    /// Seconds of each part.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Records that are there before.
    #[arg(long, default_value_t = 10_000)]
    records: u64,
}

/// A record of the size of an idempotency key with its response.
#[derive(Serialize, Deserialize)]
struct Record {
    text: String,
}

const RECORDS: Collection<Record> = Collection::new("records");
const RECORD_BYTES: usize = 400;

/// What one part has measured.
struct Part {
    writes: u64,
    elapsed: Duration,
    median: Duration,
    p99: Duration,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    fs::create_dir(&options.directory)
        .with_context(|| format!("cannot create {}", options.directory.display()))?;
    let measured = measure(options);
    fs::remove_dir_all(&options.directory)?;
    measured
}

fn measure(options: &Options) -> anyhow::Result<()> {
    let duration = Duration::from_secs(options.seconds);
    let store = open(&options.directory, options.records)?;
    let file = File::create(options.directory.join("plain"))?;
    file.write_all_at(&vec![0; 1 << 20], 0)?;
    file.sync_all()?;
    let overwrite = |number: u64| {
        file.write_all_at(&[1; 4096], number % 256 * 4096)?;
        Ok(file.sync_data()?)
    };
    let write = |number: u64| Ok(store.write_blocking(batch(number)?)?);
    for clients in [1, options.clients] {
        show(
            "4 KiB and fdatasync",
            clients,
            part(clients, duration, overwrite)?,
        );
        show("store", clients, part(clients, duration, write)?);
    }
    store.close(Duration::from_secs(10));
    let begin = Instant::now();
    let store = Store::open(&options.directory, &StoreOptions::default())?;
    let records = store.load(&RECORDS)?.len();
    let elapsed = begin.elapsed();
    println!("open, verify and load {records} records: {elapsed:.1?}");
    Ok(())
}

fn open(directory: &Path, records: u64) -> anyhow::Result<Store> {
    let store = Store::open(directory, &StoreOptions::default())?;
    let mut all = WriteBatch::new();
    for number in 0..records {
        all.put(&RECORDS, format!("{number:08}"), &record())?;
    }
    store.write_blocking(all)?;
    Ok(store)
}

fn record() -> Record {
    Record {
        text: "x".repeat(RECORD_BYTES),
    }
}

/// A batch that replaces one of the first records or adds one, as a request with an idempotency key does.
fn batch(number: u64) -> anyhow::Result<WriteBatch> {
    let mut batch = WriteBatch::new();
    let scattered = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 20_000;
    batch.put(&RECORDS, format!("{scattered:08}"), &record())?;
    Ok(batch)
}

/// Writes by some clients for some time, each after its last write is durable.
fn part(
    clients: u64,
    duration: Duration,
    write: impl Fn(u64) -> anyhow::Result<()> + Sync,
) -> anyhow::Result<Part> {
    let next = AtomicU64::new(0);
    let begin = Instant::now();
    let client = || -> anyhow::Result<Vec<Duration>> {
        let mut times = Vec::new();
        while begin.elapsed() < duration {
            let start = Instant::now();
            write(next.fetch_add(1, Ordering::Relaxed))?;
            times.push(start.elapsed());
        }
        Ok(times)
    };
    let mut times = Vec::new();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        for thread in threads {
            let of_one = thread.join().ok().context("a client has panicked")?;
            times.extend(of_one?);
        }
        anyhow::Ok(())
    })?;
    let elapsed = begin.elapsed();
    times.sort();
    let quantile = |q: usize| {
        times
            .get(times.len() * q / 100)
            .copied()
            .unwrap_or_default()
    };
    Ok(Part {
        writes: times.len() as u64,
        elapsed,
        median: quantile(50),
        p99: quantile(99),
    })
}

fn show(what: &str, clients: u64, part: Part) {
    let Part {
        writes,
        elapsed,
        median,
        p99,
    } = part;
    let rate = writes as f64 / elapsed.as_secs_f64();
    println!("{what}, {clients} clients: {rate:.0} writes/s, p50 {median:.1?}, p99 {p99:.1?}");
}
