//! Damaged, newer and foreign files: they are refused and left as they are. The files of each format.

use std::{fs, io::Read, path::Path, time::Duration};

use flate2::read::GzDecoder;

use super::support::{self, FakeDisk, ITEMS, Item, LOG_BYTES, OTHERS, TempDir, batch, item};
use crate::store::{
    ArchiveError, Collection, FORMAT, Store, StoreError, StoreOptions, WriteBatch, check,
    database::Access, export, import,
};

/// A file that the first version of the format has written, by `make_the_fixture`.
const FORMAT_1: &[u8] = include_bytes!("../../../tests/fixtures/state-format-1.redb.gz");
/// What it contains, by `ipvsd state export`.
const FORMAT_1_TEXT: &str = include_str!("../../../tests/fixtures/state-format-1.jsonl");

/// Files of format 2 after a crash, by `make_the_fixture`: records in the database, and others in the log.
const FORMAT_2: &[u8] = include_bytes!("../../../tests/fixtures/state-format-2.redb.gz");
const FORMAT_2_LOG: &[u8] = include_bytes!("../../../tests/fixtures/state-format-2.wal.gz");
const FORMAT_2_TEXT: &str = include_str!("../../../tests/fixtures/state-format-2.jsonl");

const TEXTS: Collection<String> = Collection::new("texts");

fn open(directory: &Path) -> Result<Store, StoreError> {
    Store::open(directory, &StoreOptions::default())
}

fn close(store: Store) {
    assert!(store.close(Duration::from_secs(10)));
}

/// The bytes of a file with some records, in a directory.
fn written(directory: &Path) -> Vec<u8> {
    let store = open(directory).unwrap();
    for number in 0..20 {
        store
            .write_blocking(batch(number * 10..number * 10 + 10))
            .unwrap();
    }
    close(store);
    fs::read(directory.join("state.redb")).unwrap()
}

fn exported(directory: &Path) -> String {
    let mut text = Vec::new();
    export(directory, Duration::ZERO, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// The error of opening a directory with this file, which is as before afterwards.
#[track_caller]
fn refused(bytes: &[u8], what: &str) -> StoreError {
    let directory = TempDir::new();
    let path = directory.0.join("state.redb");
    fs::write(&path, bytes).unwrap();
    let checked = check(&directory.0, Duration::ZERO).map(drop);
    let Err(error) = open(&directory.0) else {
        panic!("{what}: opened");
    };
    assert_eq!(
        fs::read(&path).unwrap(),
        bytes,
        "{what}: the file was changed"
    );
    assert_eq!(
        checked.unwrap_err().to_string(),
        error.to_string(),
        "{what}"
    );
    assert!(error.to_string().contains("state.redb"), "{what}: {error}");
    assert!(
        error.hint().unwrap().contains("left as it is"),
        "{what}: {error}"
    );
    error
}

#[test]
fn an_empty_truncated_or_foreign_file_is_refused_and_left_as_it_is() {
    let directory = TempDir::new();
    let bytes = written(&directory.0);
    for (content, what) in [
        (&[][..], "empty"),
        (b"{}", "text"),
        (&[0; 8192][..], "zeros"),
        (&bytes[..100], "100 bytes"),
        (&bytes[..4096], "a page"),
        (&bytes[..bytes.len() / 2], "half"),
        (&bytes[..bytes.len() - 1], "all but a byte"),
    ] {
        let error = refused(content, what);
        assert!(
            matches!(error, StoreError::Damaged { .. }),
            "{what}: {error}"
        );
    }
}

#[test]
fn a_file_with_a_wrong_byte_is_refused_or_has_all_records() {
    let directory = TempDir::new();
    let bytes = written(&directory.0);
    let text = exported(&directory.0);
    let (mut damaged, mut unused) = (0, 0);
    // The header, and places all over the pages; a prime stride reaches all positions within pages.
    let places = (0..320).step_by(7).chain((320..bytes.len()).step_by(1549));
    for place in places {
        let mut image = bytes.clone();
        image[place] ^= 0x41;
        let content_before = [vec![0; LOG_BYTES], image.clone()].concat();
        let disk = FakeDisk::new(content_before.clone());
        match support::open(&disk, Access::Write) {
            Err(error) => {
                assert!(
                    matches!(error, StoreError::Damaged { .. }),
                    "byte {place}: {error}"
                );
                disk.with(|content| {
                    assert!(content.current == content_before, "byte {place}: changed")
                });
                damaged += 1;
            }
            Ok(engine) => {
                drop(engine);
                let copy = TempDir::new();
                fs::write(copy.0.join("state.redb"), &image).unwrap();
                assert!(exported(&copy.0) == text, "byte {place}: other records");
                unused += 1;
            }
        }
    }
    assert!(damaged > 10, "{damaged} of {}", damaged + unused);
}

#[test]
fn a_newer_format_is_refused_and_left_as_it_is() {
    let directory = TempDir::new();
    close(open(&directory.0).unwrap());
    let path = directory.0.join("state.redb");
    {
        let database = redb::Database::open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        let table: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new("_store");
        let mut table = transaction.open_table(table).unwrap();
        table.insert(&b"format"[..], &b"3"[..]).unwrap();
        drop(table);
        transaction.commit().unwrap();
    }
    let error = refused(&fs::read(&path).unwrap(), "newer");
    assert!(
        matches!(
            error,
            StoreError::Newer {
                version: 3,
                supported: FORMAT,
                ..
            }
        ),
        "{error}"
    );
    assert!(
        error.to_string().ends_with(
            "state.redb has the format 3, and this version of ipvsd knows formats up to 2"
        ),
        "{error}"
    );
}

#[test]
fn a_database_of_another_program_is_refused_and_left_as_it_is() {
    let directory = TempDir::new();
    let path = directory.0.join("other");
    drop(redb::Database::create(&path).unwrap());
    let error = refused(&fs::read(&path).unwrap(), "foreign");
    assert!(
        error
            .to_string()
            .ends_with("is damaged: it is no store of ipvsd"),
        "{error}"
    );
}

#[test]
fn a_check_and_an_export_change_nothing_even_after_a_crash() {
    let directory = TempDir::new();
    let copy = TempDir::new();
    let store = open(&directory.0).unwrap();
    store.write_blocking(batch([1, 2])).unwrap();
    // As it is when the daemon is killed.
    let files = ["state.redb", "state.wal"];
    let contents = |directory: &Path| files.map(|file| fs::read(directory.join(file)).unwrap());
    let [bytes, log] = contents(&directory.0);
    fs::write(copy.0.join("state.redb"), &bytes).unwrap();
    fs::write(copy.0.join("state.wal"), &log).unwrap();
    let report = check(&copy.0, Duration::ZERO).unwrap();
    let sizes: Vec<_> = report
        .collections
        .iter()
        .map(|c| (c.name.as_str(), c.records))
        .collect();
    assert_eq!(sizes, [("items", 2), ("others", 2)]);
    assert_eq!(
        (report.format, report.file_bytes),
        (FORMAT, bytes.len() as u64)
    );
    assert_eq!(
        exported(&copy.0),
        "{\"state\":\"ipvsd\",\"format\":2}\n\
         {\"collection\":\"items\",\"key\":\"00001\",\"value\":{\"number\":1,\"text\":\"text of 1\"}}\n\
         {\"collection\":\"items\",\"key\":\"00002\",\"value\":{\"number\":2,\"text\":\"text of 2\"}}\n\
         {\"collection\":\"others\",\"key\":\"00001\",\"value\":{\"number\":1,\"text\":\"text of 1\"}}\n\
         {\"collection\":\"others\",\"key\":\"00002\",\"value\":{\"number\":2,\"text\":\"text of 2\"}}\n"
    );
    assert_eq!(fs::read_dir(&copy.0).unwrap().count(), 2);
    assert!(contents(&copy.0) == [bytes, log]);
}

#[test]
fn an_import_makes_the_same_store_and_replaces_none() {
    let (from, to) = (TempDir::new(), TempDir::new());
    written(&from.0);
    let text = exported(&from.0);
    let report = import(&to.0, Duration::ZERO, &mut text.as_bytes()).unwrap();
    assert_eq!(
        (report.records, report.path),
        (400, to.0.join("state.redb"))
    );
    assert_eq!(exported(&to.0), text);
    let error = import(&to.0, Duration::ZERO, &mut text.as_bytes()).unwrap_err();
    assert!(
        matches!(error, ArchiveError::Store(StoreError::Exists(_))),
        "{error}"
    );
    let store = open(&to.0).unwrap();
    assert_eq!(store.get(&OTHERS, "00199").unwrap(), Some(item(199)));
}

#[test]
fn a_text_that_is_no_export_imports_nothing_and_names_the_line() {
    let head = "{\"state\":\"ipvsd\",\"format\":2}\n";
    let record = "{\"collection\":\"a\",\"key\":\"k\",\"value\":1}\n";
    for (text, expected) in [
        (String::new(), "line 1: the text is empty"),
        ("{}\n".to_owned(), "line 1: the text is no export of ipvsd"),
        (record.to_owned(), "line 1: the text is no export of ipvsd"),
        (head.replace('2', "3"), "line 1: the text has the format 3"),
        (format!("{head}{record}x\n"), "line 3: expected value"),
        (
            format!("{head}{{\"collection\":\"_store\",\"key\":\"format\",\"value\":9}}"),
            "line 2: no collection can be named \"_store\"",
        ),
        (
            format!("{head}{{\"collection\":\"a\",\"key\":\"k\"}}"),
            "line 2: missing field `value`",
        ),
        (
            format!(
                "{head}{{\"collection\":\"a\",\"key\":\"{}\",\"value\":1}}",
                "k".repeat(5000)
            ),
            "line 2: a key is larger",
        ),
    ] {
        let directory = TempDir::new();
        let error = import(&directory.0, Duration::ZERO, &mut text.as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{text}: {error}");
        let error = check(&directory.0, Duration::ZERO).unwrap_err();
        assert!(matches!(error, StoreError::Missing(_)), "{text}: {error}");
        assert!(!directory.0.join("state.redb.new").exists());
    }
}

#[test]
fn a_record_that_this_version_does_not_understand_is_named() {
    let store = Store::in_memory();
    let mut batch = WriteBatch::new();
    batch
        .put(&Collection::new("items"), "a/b", &"text")
        .unwrap();
    store.write_blocking(batch).unwrap();
    let error = store.load(&ITEMS).unwrap_err();
    let expected = "record \"a/b\" of \"items\" in the stored state is not readable: ";
    assert!(error.to_string().starts_with(expected), "{error}");
}

#[test]
fn the_file_of_format_1_has_its_records() {
    let directory = TempDir::new();
    let mut bytes = Vec::new();
    GzDecoder::new(FORMAT_1).read_to_end(&mut bytes).unwrap();
    fs::write(directory.0.join("state.redb"), bytes).unwrap();
    let expected = FORMAT_1_TEXT.replace("\"format\":1", "\"format\":2");
    assert_eq!(exported(&directory.0), expected);
    let store = open(&directory.0).unwrap();
    let items = store.load_prefix(&ITEMS, "web/").unwrap();
    assert_eq!(
        items,
        [("web/a".to_owned(), item(1)), ("web/ü".to_owned(), item(2))]
    );
    let text = store.get(&TEXTS, "long").unwrap().unwrap();
    assert_eq!(text.len(), 10_000);
    store.write_blocking(batch([3])).unwrap();
    assert_eq!(store.load(&ITEMS).unwrap().len(), 3);
    close(store);
    // And the text of an export by format 1 can be imported.
    let other = TempDir::new();
    import(&other.0, Duration::ZERO, &mut FORMAT_1_TEXT.as_bytes()).unwrap();
    assert_eq!(exported(&other.0), expected);
}

#[test]
fn the_files_of_format_2_have_their_records() {
    let directory = TempDir::new();
    for (file, content) in [("state.redb", FORMAT_2), ("state.wal", FORMAT_2_LOG)] {
        let mut bytes = Vec::new();
        GzDecoder::new(content).read_to_end(&mut bytes).unwrap();
        fs::write(directory.0.join(file), bytes).unwrap();
    }
    assert_eq!(exported(&directory.0), FORMAT_2_TEXT);
    let store = open(&directory.0).unwrap();
    let items = store.load_prefix(&ITEMS, "web/").unwrap();
    assert_eq!(items, [("web/ü".to_owned(), item(3))]);
    assert_eq!(store.load(&OTHERS).unwrap(), []);
    store.write_blocking(batch([4])).unwrap();
    close(store);
    assert!(exported(&directory.0).contains("text of 4"));
}

/// Writes the fixture of this format, once: a file that exists must not be replaced.
#[test]
#[ignore = "writes tests/fixtures"]
fn make_the_fixture() {
    use std::io::Write;

    let (directory, copy) = (TempDir::new(), TempDir::new());
    let store = open(&directory.0).unwrap();
    let mut records = WriteBatch::new();
    records.put(&ITEMS, "web/a", &item(1)).unwrap();
    records.put(&ITEMS, "web/ü", &item(2)).unwrap();
    let long = "0123456789".repeat(1000);
    records.put(&TEXTS, "long", &long).unwrap();
    let text = "\"\n".to_owned();
    let number = u64::MAX;
    records.put(&OTHERS, "", &Item { number, text }).unwrap();
    store.write_blocking(records).unwrap();
    // What is read completely is in the database.
    store.load(&ITEMS).unwrap();
    let mut records = WriteBatch::new();
    records.delete(&ITEMS, "web/a").unwrap();
    records.put(&ITEMS, "web/ü", &item(3)).unwrap();
    records.delete_prefix(&OTHERS, "").unwrap();
    store.write_blocking(records).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for file in ["redb", "wal"] {
        let bytes = fs::read(directory.0.join(format!("state.{file}"))).unwrap();
        fs::write(copy.0.join(format!("state.{file}")), &bytes).unwrap();
        let fixture = folder.join(format!("state-format-{FORMAT}.{file}.gz"));
        let fixture = fs::File::create_new(fixture).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(fixture, flate2::Compression::best());
        gzip.write_all(&bytes).unwrap();
        gzip.finish().unwrap();
    }
    let text = folder.join(format!("state-format-{FORMAT}.jsonl"));
    fs::write(text, exported(&copy.0)).unwrap();
}
