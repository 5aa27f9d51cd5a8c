//! Disks that are full or have errors: the write fails, nothing of it is there, and later ones work.

use std::{env, fs, io, path::Path, process::Command, sync::Arc};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::support::{Failing, FakeDisk, ITEMS, Item, TempDir, batch, create, item, keys, open};
use crate::store::{Store, StoreError, StoreOptions, WriteBatch, database::Access, engine::Engine};

/// The directory of [`in_a_process_that_may_write_little`].
const DIRECTORY: &str = "IPVSD_TEST_STATE_DIR";

/// An engine with one record, which was written so many times, and its disk.
fn engine(times: u64) -> (Engine, Arc<FakeDisk>) {
    let disk = FakeDisk::new(Vec::new());
    let engine = create(&disk);
    for _ in 0..times {
        engine.apply([batch([1])]).unwrap();
    }
    (engine, disk)
}

fn large(number: u64) -> WriteBatch {
    let mut batch = WriteBatch::new();
    let text = format!("text of {number}") + &"x".repeat(4 << 20);
    batch.put(&ITEMS, "large", &Item { number, text }).unwrap();
    batch
}

/// The records of what a process that starts now would find.
fn durable(disk: &FakeDisk) -> Vec<String> {
    let image = disk.with(|content| content.durable.clone());
    let engine = open(&FakeDisk::new(image), Access::Inspect).unwrap();
    keys(&engine, &ITEMS)
}

#[test]
fn a_write_that_fails_at_any_step_has_changed_nothing_and_later_ones_work() {
    let kinds = [io::ErrorKind::StorageFull, io::ErrorKind::Other];
    // Into the log, and into one that is full: into the database before.
    let logs = [(1, 2), (8, 6)];
    for (kind, (times, least)) in kinds
        .into_iter()
        .flat_map(|kind| logs.map(|log| (kind, log)))
    {
        let mut failures = 0;
        for steps in 0.. {
            let (engine, disk) = engine(times);
            disk.with(|content| content.failing = Some(Failing::After(steps, kind)));
            let outcome = engine.apply([batch([2, 3])]);
            disk.with(|content| content.failing = None);
            if outcome.is_ok() {
                break;
            }
            failures += 1;
            let error = outcome.unwrap_err();
            let is_full = matches!(error, StoreError::Full { .. });
            assert_eq!(is_full, kind == io::ErrorKind::StorageFull, "{error}");
            engine.apply([batch([4])]).unwrap();
            assert_eq!(
                keys(&engine, &ITEMS),
                ["00001", "00004"],
                "after {steps} steps"
            );
            drop(engine);
            assert_eq!(durable(&disk), ["00001", "00004"], "after {steps} steps");
        }
        assert!(failures >= least, "{failures}");
    }
}

#[test]
fn a_write_whose_fsync_fails_is_not_there_after_the_next_start() {
    let (engine, disk) = engine(1);
    disk.with(|content| content.failing = Some(Failing::Sync));
    let error = engine.apply([batch([2])]).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    // Neither could it be undone. The next write undoes it first.
    engine.apply([batch([2])]).unwrap_err();
    assert!(engine.get(ITEMS.name(), "00001").unwrap().is_some());
    assert_eq!(engine.get(ITEMS.name(), "00002").unwrap(), None);
    disk.with(|content| content.failing = None);
    engine.apply([batch([3])]).unwrap();
    assert_eq!(keys(&engine, &ITEMS), ["00001", "00003"]);
    drop(engine);
    assert_eq!(durable(&disk), ["00001", "00003"]);
}

#[test]
fn a_full_disk_refuses_what_needs_space_until_there_is_some() {
    let (engine, disk) = engine(1);
    let limit = disk.with(|content| content.current.len()) as u64 + 4096;
    for _ in 0..3 {
        disk.with(|content| content.failing = Some(Failing::Full(limit)));
        let error = engine.apply([large(1)]).unwrap_err();
        assert!(matches!(error, StoreError::Full { .. }), "{error}");
        let report = error.report();
        assert!(
            report.starts_with("no space is left to write /state.redb"),
            "{report}"
        );
        // What is there can be read, and replaced.
        assert_eq!(keys(&engine, &ITEMS), ["00001"]);
        engine.apply([batch([1])]).unwrap();
    }
    disk.with(|content| content.failing = None);
    engine.apply([large(1)]).unwrap();
    assert!(engine.get(ITEMS.name(), "large").unwrap().is_some());
}

/// A file system that is really full, as far as a process without privileges can make one so: the kernel
/// refuses to make the file longer.
#[test]
fn a_store_whose_file_may_not_grow_refuses_writes_until_it_may() {
    let directory = TempDir::new();
    // Without the trap, the signal ends the process; the daemon ignores it, too.
    let script = "trap '' XFSZ; exec \"$0\" \"$@\"";
    let output = Command::new("sh")
        .args(["-c", script])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "--include-ignored", "--nocapture"])
        .arg("store::tests::failures::in_a_process_that_may_write_little")
        .env(DIRECTORY, &directory.0)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{output:?}"
    );
}

#[test]
#[ignore = "run by a_store_whose_file_may_not_grow_refuses_writes_until_it_may"]
fn in_a_process_that_may_write_little() {
    let directory = env::var_os(DIRECTORY).unwrap();
    let directory = Path::new(&directory);
    let store = Store::open(directory, &StoreOptions::default()).unwrap();
    store.write_blocking(batch([1])).unwrap();
    let limits = getrlimit(Resource::Fsize);
    let size = fs::metadata(directory.join("state.redb")).unwrap().len();
    let little = Rlimit {
        current: Some(size),
        ..limits
    };
    setrlimit(Resource::Fsize, little).unwrap();
    let error = store.write_blocking(large(2)).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert_eq!(store.get(&ITEMS, "00001").unwrap(), Some(item(1)));
    assert_eq!(store.load_prefix(&ITEMS, "large").unwrap(), []);
    setrlimit(Resource::Fsize, limits).unwrap();
    store.write_blocking(large(2)).unwrap();
    drop(store);
    let store = Store::open(directory, &StoreOptions::default()).unwrap();
    assert_eq!(store.load(&ITEMS).unwrap().len(), 2);
}
