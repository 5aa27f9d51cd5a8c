//! Records, batches, prefixes, order, durability and exclusion: the behaviour of a store that works.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::support::{ITEMS, Item, OTHERS, TempDir, batch, item};
use crate::store::{
    Collection, Kind, MAX_BATCH_BYTES, MAX_KEY_BYTES, Store, StoreError, StoreOptions, WriteBatch,
};

const TIMEOUT: Duration = Duration::from_secs(10);
const AT_ONCE: StoreOptions = StoreOptions {
    lock_timeout: Duration::ZERO,
};

fn open(directory: &Path) -> Store {
    Store::open(directory, &StoreOptions::default()).unwrap()
}

fn numbers(store: &Store, collection: &Collection<Item>) -> Vec<u64> {
    let records = store.load(collection).unwrap();
    records.into_iter().map(|(_, item)| item.number).collect()
}

#[tokio::test]
async fn what_was_written_is_there_after_the_next_start() {
    let directory = TempDir::new();
    let path = directory.0.join("a/state");
    let store = open(&path);
    store.write(batch([3, 1, 2])).await.unwrap();
    let mut later = WriteBatch::new();
    later.delete(&ITEMS, "00002").unwrap();
    later.put(&ITEMS, "00001", &item(10)).unwrap();
    store.write(later).await.unwrap();
    let closing = store.clone();
    let closed = tokio::task::spawn_blocking(move || closing.close(TIMEOUT));
    assert!(closed.await.unwrap());
    let refused = store.write(batch([1])).await;
    assert!(matches!(refused, Err(StoreError::Closed)), "{refused:?}");
    let store = open(&path);
    assert_eq!(numbers(&store, &ITEMS), [10, 3]);
    assert_eq!(numbers(&store, &OTHERS), [1, 2, 3]);
    assert_eq!(store.get(&ITEMS, "00003").unwrap(), Some(item(3)));
    assert_eq!(store.get(&ITEMS, "00002").unwrap(), None);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&path.join("state.redb")), 0o600);
    let names: Vec<_> = fs::read_dir(&path)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names.len(), 3, "{names:?}");
}

#[tokio::test]
async fn a_prefix_selects_keys_and_nothing_beside_them() {
    let directory = TempDir::new();
    for store in [open(&directory.0), Store::in_memory()] {
        let mut batch = WriteBatch::new();
        for key in ["a", "a/1", "a/2", "a/ü", "a0", "b/1", "A/1", ""] {
            batch.put(&ITEMS, key, &item(0)).unwrap();
        }
        store.write(batch).await.unwrap();
        let keys = |prefix: &str| {
            let records = store.load_prefix(&ITEMS, prefix).unwrap();
            records.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        };
        assert_eq!(keys("a/"), ["a/1", "a/2", "a/ü"]);
        assert_eq!(keys("a/ü"), ["a/ü"]);
        assert_eq!(keys(""), ["", "A/1", "a", "a/1", "a/2", "a/ü", "a0", "b/1"]);
        let mut batch = WriteBatch::new();
        batch.delete_prefix(&ITEMS, "a/").unwrap();
        batch.put(&ITEMS, "a/3", &item(0)).unwrap();
        store.write(batch).await.unwrap();
        assert_eq!(keys(""), ["", "A/1", "a", "a/3", "a0", "b/1"]);
        let mut batch = WriteBatch::new();
        batch.delete_prefix(&ITEMS, "").unwrap();
        store.write(batch).await.unwrap();
        assert_eq!(keys(""), [""; 0]);
    }
}

#[test]
fn a_second_daemon_is_kept_out_until_the_first_one_ends() {
    let directory = TempDir::new();
    let first = open(&directory.0);
    let error = Store::open(&directory.0, &AT_ONCE).unwrap_err();
    assert!(matches!(error, StoreError::InUse(_)), "{error}");
    assert!(
        error
            .to_string()
            .contains("state.redb is in use by another process")
    );
    let error = crate::store::check(&directory.0, Duration::ZERO).unwrap_err();
    assert!(matches!(error, StoreError::InUse(_)), "{error}");
    assert!(first.close(TIMEOUT));
    drop(first);
    Store::open(&directory.0, &StoreOptions::default()).unwrap();
}

#[tokio::test]
async fn batches_are_made_in_the_order_in_which_they_were_submitted() {
    let directory = TempDir::new();
    let store = open(&directory.0);
    let put = |number| {
        let mut batch = WriteBatch::new();
        batch.put(&ITEMS, "key", &item(number)).unwrap();
        batch
    };
    let submitted: Vec<_> = (0..1000).map(|number| store.submit(put(number))).collect();
    for commit in submitted {
        commit.unwrap().await.unwrap();
    }
    assert_eq!(store.get(&ITEMS, "key").unwrap(), Some(item(999)));
}

#[test]
fn writes_need_no_runtime() {
    let directory = TempDir::new();
    let store = open(&directory.0);
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let store = store.clone();
            std::thread::spawn(move || {
                for number in 0..20 {
                    store
                        .write_blocking(batch([thread * 100 + number]))
                        .unwrap();
                }
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    assert_eq!(numbers(&store, &ITEMS).len(), 160);
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_leaves_the_batch_as_it_was() {
    let mut batch = WriteBatch::new();
    let long = "k".repeat(MAX_KEY_BYTES + 1);
    let error = batch.put(&ITEMS, long, &item(1)).unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { .. }), "{error}");
    let text = "x".repeat(MAX_BATCH_BYTES / 2);
    batch
        .put(
            &ITEMS,
            "a",
            &Item {
                number: 1,
                text: text.clone(),
            },
        )
        .unwrap();
    let error = batch
        .put(&ITEMS, "b", &Item { number: 1, text })
        .unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { .. }), "{error}");
    let store = Store::in_memory();
    store.write(batch).await.unwrap();
    assert_eq!(numbers(&store, &ITEMS), [1]);
}

#[tokio::test]
async fn a_full_queue_refuses_what_must_not_wait_and_delays_the_rest_to_its_deadline() {
    let directory = TempDir::new();
    let store = open(&directory.0);
    let Kind::File(file) = &*store.0 else {
        panic!("no file");
    };
    // What other batches occupy.
    let most = u32::try_from(MAX_BATCH_BYTES - 100).unwrap();
    let occupied = file.bytes.clone().acquire_many_owned(most).await.unwrap();
    let busy = store.submit(batch([1])).unwrap_err();
    assert!(matches!(busy, StoreError::Busy), "{busy}");
    let late = store.write_before(batch([2]), Instant::now()).await;
    assert!(matches!(late, Err(StoreError::Deadline)), "{late:?}");
    let waiting = store.write_before(batch([3]), Instant::now() + TIMEOUT);
    let (waited, ()) = tokio::join!(waiting, async { drop(occupied) });
    waited.unwrap();
    assert_eq!(numbers(&store, &ITEMS), [3]);
    let bytes = file.bytes.available_permits();
    assert_eq!(bytes, MAX_BATCH_BYTES, "all of it is free again");
}

#[test]
fn the_store_of_a_daemon_that_serves_without_one_fails_with_the_cause() {
    let store = Store::unavailable(StoreError::damaged(Path::new("/state.redb"), "it is empty"));
    let error = store.load(&ITEMS).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }));
    let error = crate::model::Error::from(store.write_blocking(batch([1])).unwrap_err());
    assert_eq!(error.reason, crate::model::Reason::StoreUnavailable);
    assert_eq!(
        error.detail,
        "/state.redb is damaged: it is empty; nothing was changed"
    );
    assert!(error.hint.unwrap().contains("ipvsd state import"));
}

#[derive(Clone, Debug)]
enum Change {
    Put(String, u64),
    Delete(String),
    DeletePrefix(String),
}

fn changes() -> impl Strategy<Value = Vec<Vec<Change>>> {
    let key = "[ab/]{0,3}";
    let change = prop_oneof![
        4 => (key, any::<u64>()).prop_map(|(key, number)| Change::Put(key, number)),
        1 => key.prop_map(Change::Delete),
        1 => key.prop_map(Change::DeletePrefix),
    ];
    prop::collection::vec(prop::collection::vec(change, 0..8), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// The file and the memory hold the same records after the same batches.
    #[test]
    fn a_file_and_memory_are_the_same_store(batches in changes()) {
        let directory = TempDir::new();
        let (file, memory) = (open(&directory.0), Store::in_memory());
        for changes in batches {
            let mut batch = WriteBatch::new();
            for change in changes {
                match change {
                    Change::Put(key, number) => batch.put(&ITEMS, key, &item(number)),
                    Change::Delete(key) => batch.delete(&ITEMS, key),
                    Change::DeletePrefix(prefix) => batch.delete_prefix(&ITEMS, prefix),
                }
                .unwrap();
            }
            file.write_blocking(batch.clone()).unwrap();
            memory.write_blocking(batch).unwrap();
            prop_assert_eq!(file.load(&ITEMS).unwrap(), memory.load(&ITEMS).unwrap());
        }
    }
}
