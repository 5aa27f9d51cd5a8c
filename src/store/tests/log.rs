//! The write-ahead log: what it has after a crash, when it is full, and when it is damaged.

use std::{fs, io, path::Path, time::Duration};

use super::support::{
    Failing, FakeDisk, ITEMS, LOG_BYTES, OTHERS, Step, TempDir, batch, create, item, keys, open,
};
use crate::store::{
    Store, StoreError, StoreOptions, WriteBatch, check, database::Access, engine::Engine, export,
};

/// Bytes of the record of a small batch.
const RECORD: usize = 512;

/// What a crash leaves, after a number of batches of one record each.
fn crashed(batches: u64) -> Vec<u8> {
    let disk = FakeDisk::new(Vec::new());
    let engine = create(&disk);
    for number in 0..batches {
        engine.apply([batch([number])]).unwrap();
    }
    disk.with(|content| content.durable.clone())
}

fn numbers(engine: &Engine) -> Vec<u64> {
    let keys = keys(engine, &ITEMS);
    keys.iter().map(|key| key.parse().unwrap()).collect()
}

#[track_caller]
fn damaged(image: Vec<u8>) -> String {
    let disk = FakeDisk::new(image.clone());
    let error = open(&disk, Access::Write).map(drop).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    disk.with(|content| assert!(content.current == image, "the files were changed"));
    error.to_string()
}

/// The writes of a call.
fn steps(disk: &FakeDisk, call: impl FnOnce()) -> Vec<Step> {
    disk.with(|content| content.recorded = Some(Vec::new()));
    call();
    let steps = disk.with(|content| content.recorded.take()).unwrap();
    let is_write = |step: &Step| !matches!(step, Step::Sync);
    steps.into_iter().filter(is_write).collect()
}

#[test]
fn a_commit_is_one_write_and_one_synchronisation_until_the_log_is_full() {
    let disk = FakeDisk::new(Vec::new());
    let engine = create(&disk);
    for number in 0..20 {
        let syncs = disk.with(|content| content.syncs);
        let steps = steps(&disk, || engine.apply([batch([number])]).unwrap());
        let [.., Step::Write(at, bytes)] = steps.as_slice() else {
            panic!("{number}: {steps:?}");
        };
        let place = (1 + number % 8) * RECORD as u64;
        assert_eq!((*at, bytes.len()), (place, RECORD), "{number}");
        let is_full = number > 0 && number % 8 == 0;
        assert_eq!(steps.len() > 1, is_full, "{number}");
        let syncs = disk.with(|content| content.syncs) - syncs;
        assert_eq!(syncs > 1, is_full, "{number}: {syncs}");
    }
}

#[test]
fn what_was_written_is_there_after_a_crash_at_every_place_of_the_log() {
    for batches in 0..20 {
        for access in [Access::Inspect, Access::Write] {
            let image = crashed(batches);
            let disk = FakeDisk::new(image.clone());
            let engine = open(&disk, access).unwrap();
            assert_eq!(numbers(&engine), (0..batches).collect::<Vec<_>>());
            if access == Access::Inspect {
                drop(engine);
                disk.with(|content| assert!(content.current == image, "{batches}: changed"));
                continue;
            }
            // And after the next one.
            engine.apply([batch([100])]).unwrap();
            let image = disk.with(|content| content.durable.clone());
            let engine = open(&FakeDisk::new(image), Access::Write).unwrap();
            assert_eq!(
                numbers(&engine),
                (0..batches).chain([100]).collect::<Vec<_>>()
            );
        }
    }
}

#[test]
fn deletions_are_read_from_the_log_as_puts_are() {
    let disk = FakeDisk::new(Vec::new());
    let engine = create(&disk);
    // One is in the database.
    for number in [1, 2, 3, 4, 1, 2, 3, 4, 5, 11, 12] {
        engine.apply([batch([number])]).unwrap();
    }
    let mut deletions = WriteBatch::new();
    deletions.delete(&ITEMS, "00004").unwrap();
    deletions.delete_prefix(&ITEMS, "0001").unwrap();
    deletions.put(&ITEMS, "00012", &item(12)).unwrap();
    engine.apply([deletions]).unwrap();
    let get = |engine: &Engine, key: &str| engine.get(ITEMS.name(), key).unwrap().is_some();
    let read = |engine: &Engine| {
        ["00003", "00004", "00005", "00011", "00012", "00013"].map(|key| get(engine, key))
    };
    let expected = [true, false, true, false, true, false];
    assert_eq!(read(&engine), expected);
    let image = disk.with(|content| content.durable.clone());
    let engine = open(&FakeDisk::new(image), Access::Write).unwrap();
    assert_eq!(read(&engine), expected);
    assert_eq!(numbers(&engine), [1, 2, 3, 5, 12]);
    assert_eq!(keys(&engine, &OTHERS).len(), 7);
}

#[test]
fn a_wrong_byte_is_found_unless_it_is_in_the_last_record() {
    let image = crashed(4);
    let content = |record: usize| (1 + record) * RECORD..(1 + record) * RECORD + 100;
    for place in (0..3).flat_map(content) {
        let mut image = image.clone();
        image[place] ^= 0x41;
        let error = damaged(image);
        let number = place / RECORD;
        let expected = format!(
            "/state.wal is damaged: it has record {} without record {number}",
            number + 1
        );
        assert_eq!(error, expected, "byte {place}");
    }
    // As after a crash in its write.
    for place in content(3) {
        let mut image = image.clone();
        image[place] ^= 0x41;
        let engine = open(&FakeDisk::new(image), Access::Write).unwrap();
        assert_eq!(numbers(&engine), [0, 1, 2], "byte {place}");
    }
}

#[test]
fn a_log_that_is_missing_cut_off_or_of_another_database_is_refused() {
    let (this, other) = (crashed(3), crashed(6));
    let with = |log: &[u8]| [log, &this[LOG_BYTES..]].concat();
    let error = damaged(with(&other[..LOG_BYTES]));
    assert!(
        error.contains("state.wal is damaged: it is the log of another"),
        "{error}"
    );
    let error = damaged(with(&[0; LOG_BYTES]));
    assert!(error.contains("no log of ipvsd"), "{error}");
    let mut beginning = this.clone();
    beginning[8] ^= 1;
    let error = damaged(beginning);
    assert!(error.contains("its beginning is wrong"), "{error}");
}

/// The error of `check` and of a start, which change no file.
#[track_caller]
fn refused(directory: &Path) -> String {
    let content = || {
        let files = ["state.redb", "state.wal"].map(|file| directory.join(file));
        files.map(|file| fs::read(file).ok())
    };
    let before = content();
    let checked = check(directory, Duration::ZERO).map(drop).unwrap_err();
    let opened = Store::open(directory, &StoreOptions::default()).map(drop);
    let opened = opened.unwrap_err();
    assert!(content() == before, "the files were changed: {opened}");
    if directory.join("state.redb").exists() {
        assert_eq!(checked.to_string(), opened.to_string());
    }
    assert!(opened.hint().is_some(), "{opened}");
    opened.to_string()
}

#[test]
fn a_file_of_a_killed_daemon_that_is_missing_or_short_is_refused() {
    let killed = TempDir::new();
    let store = Store::open(&killed.0, &StoreOptions::default()).unwrap();
    store.write_blocking(batch([1])).unwrap();
    let cases: [(&str, Option<usize>, &str); 7] = [
        (
            "state.wal",
            None,
            "state.wal is damaged: it is missing or empty, ",
        ),
        (
            "state.wal",
            Some(0),
            "state.wal is damaged: it is missing or empty, ",
        ),
        (
            "state.wal",
            Some(100),
            "state.wal is damaged: it is cut off, ",
        ),
        (
            "state.wal",
            Some(512),
            "state.wal is damaged: it is cut off",
        ),
        (
            "state.wal",
            Some(20_000),
            "state.wal is damaged: it is cut off",
        ),
        (
            "state.redb",
            None,
            "state.wal is damaged: state.redb, to which it belongs, is missing",
        ),
        ("state.redb", Some(0), "state.redb is damaged: it is empty"),
    ];
    for (name, length, expected) in cases {
        let copy = TempDir::new();
        for file in ["state.redb", "state.wal"] {
            let mut bytes = fs::read(killed.0.join(file)).unwrap();
            match length {
                None if file == name => continue,
                Some(length) if file == name => bytes.truncate(length),
                _ => {}
            }
            fs::write(copy.0.join(file), bytes).unwrap();
        }
        let error = refused(&copy.0);
        assert!(error.contains(expected), "{name} {length:?}: {error}");
    }
}

#[test]
fn a_daemon_that_ended_needs_no_log() {
    let directory = TempDir::new();
    let open = || Store::open(&directory.0, &StoreOptions::default()).unwrap();
    for number in 0..3 {
        let store = open();
        store.write_blocking(batch([number])).unwrap();
        assert!(store.close(Duration::from_secs(10)));
        fs::remove_file(directory.0.join("state.wal")).unwrap();
    }
    assert_eq!(open().load(&ITEMS).unwrap().len(), 3);
}

#[test]
fn a_directory_without_its_lock_file_has_one_user_all_the_same() {
    let directory = TempDir::new();
    let store = Store::open(&directory.0, &StoreOptions::default()).unwrap();
    fs::remove_file(directory.0.join("state.lock")).unwrap();
    let at_once = StoreOptions {
        lock_timeout: Duration::ZERO,
    };
    let error = Store::open(&directory.0, &at_once).map(drop).unwrap_err();
    assert!(matches!(error, StoreError::InUse(_)), "{error}");
    let error = check(&directory.0, Duration::ZERO).unwrap_err();
    assert!(matches!(error, StoreError::InUse(_)), "{error}");
    assert!(store.close(Duration::from_secs(10)));
    Store::open(&directory.0, &at_once).unwrap();
}

#[test]
fn an_older_copy_of_the_database_is_completed_or_refused() {
    let disk = FakeDisk::new(Vec::new());
    let engine = create(&disk);
    engine.apply([batch([1])]).unwrap();
    // The database has the first one.
    assert_eq!(numbers(&engine), [1]);
    let copy = disk.with(|content| content.durable[LOG_BYTES..].to_vec());
    for number in 2..5 {
        engine.apply([batch([number])]).unwrap();
    }
    let with_copy = || disk.with(|content| [&content.durable[..LOG_BYTES], &copy].concat());
    let completed = open(&FakeDisk::new(with_copy()), Access::Write).unwrap();
    assert_eq!(numbers(&completed), [1, 2, 3, 4]);
    // The log begins anew: its first records are lost.
    for number in 5..15 {
        engine.apply([batch([number])]).unwrap();
    }
    let error = damaged(with_copy());
    assert!(
        error.ends_with("it has record 10 without record 2"),
        "{error}"
    );
}

#[test]
fn a_write_that_failed_is_not_there_although_the_log_began_anew() {
    let disk = FakeDisk::new(Vec::new());
    let engine = create(&disk);
    engine.apply([batch([1])]).unwrap();
    disk.with(|content| content.failing = Some(Failing::After(1, io::ErrorKind::Other)));
    engine.apply([batch([2])]).unwrap_err();
    disk.with(|content| content.failing = None);
    // The log begins anew at the next write; the record that failed is behind it.
    assert_eq!(numbers(&engine), [1]);
    let image = disk.with(|content| content.current.clone());
    let engine = open(&FakeDisk::new(image), Access::Write).unwrap();
    assert_eq!(numbers(&engine), [1]);
}

#[test]
fn a_process_that_is_killed_has_stored_what_it_said() {
    let (directory, copy) = (TempDir::new(), TempDir::new());
    let open = |path: &Path| Store::open(path, &StoreOptions::default());
    let store = open(&directory.0).unwrap();
    for number in 0..10 {
        store.write_blocking(batch([number])).unwrap();
    }
    for file in ["state.redb", "state.wal"] {
        fs::copy(directory.0.join(file), copy.0.join(file)).unwrap();
    }
    let report = check(&copy.0, Duration::ZERO).unwrap();
    assert_eq!(report.collections[0].records, 10);
    let mut text = Vec::new();
    export(&copy.0, Duration::ZERO, &mut text).unwrap();
    assert_eq!(String::from_utf8(text).unwrap().lines().count(), 21);
    let copied = open(&copy.0).unwrap();
    assert_eq!(copied.load(&ITEMS).unwrap().len(), 10);
    // The end gives the database everything: it can be copied without the log.
    assert!(store.close(Duration::from_secs(10)));
    let alone = TempDir::new();
    fs::copy(directory.0.join("state.redb"), alone.0.join("state.redb")).unwrap();
    assert_eq!(open(&alone.0).unwrap().load(&ITEMS).unwrap().len(), 10);
}
