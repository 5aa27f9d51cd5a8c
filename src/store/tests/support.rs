//! Disks that fail, directories, and a collection.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use redb::StorageBackend;
use serde::{Deserialize, Serialize};

use crate::store::{
    Collection, Store, StoreError, WriteBatch,
    database::Access,
    directory::Lock,
    engine::{Engine, LogFile},
};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    pub number: u64,
    pub text: String,
}

pub const ITEMS: Collection<Item> = Collection::new("items");
pub const OTHERS: Collection<Item> = Collection::new("others");

/// A new directory below the one for temporary files, deleted when dropped.
pub struct TempDir(pub PathBuf);

/// The bytes of the log on a disk. The database has those after them, so that a test can cut the writes of both
/// in their order. After its first sector, the log has place for eight small batches.
pub const LOG_BYTES: usize = 9 * 512;

/// A file on a disk.
#[derive(Debug)]
enum Part {
    Log(Arc<FakeDisk>),
    Database(Arc<FakeDisk>),
}

/// A file in memory that distinguishes what is durable from what was written, and that can fail.
#[derive(Debug, Default)]
pub struct FakeDisk(Mutex<Content>);

#[derive(Debug, Default)]
pub struct Content {
    /// What was synchronised last.
    pub durable: Vec<u8>,
    /// What has happened since.
    pub pending: Vec<Step>,
    /// What reads see: both.
    pub current: Vec<u8>,
    /// Every change and synchronisation fails, if there is one.
    pub failing: Option<Failing>,
    /// All changes and synchronisations, once a test wants them.
    pub recorded: Option<Vec<Step>>,
    /// Number of synchronisations.
    pub syncs: u64,
}

#[derive(Clone, Debug)]
pub enum Step {
    Write(u64, Vec<u8>),
    SetLen(u64),
    /// All before it is durable.
    Sync,
}

/// How the disk fails.
#[derive(Clone, Copy, Debug)]
pub enum Failing {
    /// The file cannot become longer than this, nor can a hole below it be filled.
    Full(u64),
    /// All after this number of steps.
    After(u64, io::ErrorKind),
    /// Synchronisations only.
    Sync,
}

pub fn item(number: u64) -> Item {
    let text = format!("text of {number}");
    Item { number, text }
}

/// A batch that puts an item for each number into both collections.
pub fn batch(numbers: impl IntoIterator<Item = u64>) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for number in numbers {
        let key = format!("{number:05}");
        batch.put(&ITEMS, key.as_str(), &item(number)).unwrap();
        batch.put(&OTHERS, key, &item(number)).unwrap();
    }
    batch
}

/// The keys of a collection, in order.
pub(in crate::store) fn keys(engine: &Engine, collection: &Collection<Item>) -> Vec<String> {
    let mut keys = Vec::new();
    let mut visit = |key: &str, value: &[u8]| {
        let item: Item = serde_json::from_slice(value).unwrap();
        assert_eq!(item.text, format!("text of {}", item.number));
        keys.push(key.to_owned());
        Ok(())
    };
    engine.scan(collection.name(), "", &mut visit).unwrap();
    keys
}

/// Makes an empty store on a disk.
pub(in crate::store) fn create(disk: &Arc<FakeDisk>) -> Engine {
    let database = Arc::new(Part::Database(disk.clone()));
    drop(Engine::create(Path::new("/state.redb"), database).unwrap());
    open(disk, Access::Write).unwrap()
}

/// Opens the store of a disk.
pub(in crate::store) fn open(disk: &Arc<FakeDisk>, access: Access) -> Result<Engine, StoreError> {
    let log = LogFile {
        path: PathBuf::from("/state.wal"),
        disk: Arc::new(Part::Log(disk.clone())),
        capacity: LOG_BYTES,
    };
    let database = Arc::new(Part::Database(disk.clone()));
    Engine::open(Path::new("/state.redb"), database, Some(log), access)
}

// === impl TempDir ===

impl TempDir {
    pub fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ipvsd-store-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

// === impl Store ===

impl Store {
    /// The store of a disk, as a daemon opens it.
    pub fn on_disk(disk: Arc<FakeDisk>) -> Self {
        let engine = match disk.with(|content| content.current.is_empty()) {
            true => create(&disk),
            false => open(&disk, Access::Write).unwrap(),
        };
        Self::start(Lock::NONE, engine).unwrap()
    }
}

// === impl FakeDisk ===

impl FakeDisk {
    pub fn new(bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Content {
            durable: bytes.clone(),
            current: bytes,
            ..Content::default()
        })))
    }

    /// Reads or changes it from outside.
    pub fn with<T>(&self, call: impl FnOnce(&mut Content) -> T) -> T {
        call(&mut self.0.lock().unwrap())
    }

    fn step(&self, step: Step) -> io::Result<()> {
        self.with(|content| {
            content.fail_if_full(&step)?;
            content.fail()?;
            apply(&mut content.current, &step);
            if let Some(recorded) = &mut content.recorded {
                recorded.push(step.clone());
            }
            content.pending.push(step);
            Ok(())
        })
    }
}

impl Content {
    fn fail(&mut self) -> io::Result<()> {
        match &mut self.failing {
            Some(Failing::After(0, kind)) => Err((*kind).into()),
            Some(Failing::After(left, _)) => {
                *left -= 1;
                Ok(())
            }
            Some(Failing::Full(_) | Failing::Sync) | None => Ok(()),
        }
    }

    fn fail_if_full(&self, step: &Step) -> io::Result<()> {
        let Some(Failing::Full(limit)) = self.failing else {
            return Ok(());
        };
        let end = match step {
            Step::Write(offset, data) => offset + data.len() as u64,
            Step::SetLen(len) => *len,
            Step::Sync => 0,
        };
        match end > limit && end > self.current.len() as u64 {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
}

pub fn apply(bytes: &mut Vec<u8>, step: &Step) {
    match step {
        Step::Write(offset, data) => {
            let start = usize::try_from(*offset).unwrap();
            let end = start + data.len();
            bytes.resize(bytes.len().max(end), 0);
            bytes[start..end].copy_from_slice(data);
        }
        Step::SetLen(len) => bytes.resize(usize::try_from(*len).unwrap(), 0),
        Step::Sync => {}
    }
}

impl FakeDisk {
    fn sync(&self) -> io::Result<()> {
        self.with(|content| {
            content.fail()?;
            if let Some(Failing::Sync) = content.failing {
                return Err(io::Error::other("the disk has an error"));
            }
            content.syncs += 1;
            if let Some(recorded) = &mut content.recorded {
                recorded.push(Step::Sync);
            }
            content.pending.clear();
            content.durable.clone_from(&content.current);
            Ok(())
        })
    }
}

// === impl Part ===

impl Part {
    const START: u64 = LOG_BYTES as u64;

    /// The disk, and where the file begins there.
    fn disk(&self) -> (&FakeDisk, u64) {
        match self {
            Self::Log(disk) => (disk, 0),
            Self::Database(disk) => (disk, Self::START),
        }
    }
}

impl StorageBackend for Part {
    fn len(&self) -> io::Result<u64> {
        let (disk, start) = self.disk();
        let len = disk.with(|content| content.current.len() as u64);
        Ok(match self {
            Self::Log(_) => len.min(Self::START),
            Self::Database(_) => len.saturating_sub(start),
        })
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let (disk, start) = self.disk();
        disk.with(|content| {
            // Also where a disk without a database ends.
            if out.is_empty() {
                return Ok(());
            }
            let start = usize::try_from(start + offset).unwrap();
            let bytes = content.current.get(start..start + out.len());
            out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let (disk, start) = self.disk();
        disk.step(Step::SetLen(start + len))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let (disk, start) = self.disk();
        disk.step(Step::Write(start + offset, data.to_vec()))
    }

    /// Of the whole disk: a test that loses writes loses those of both files.
    fn sync_data(&self) -> io::Result<()> {
        self.disk().0.sync()
    }
}
