//! What is stored: the database, the log before it, and what follows a failure of either.
//!
//! A commit is written to the log, and kept in memory until the database is given all of them in one
//! transaction: when the log is full, for a commit that is too large for the log, and at the end. After a crash,
//! opening does it.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError, RwLock},
};

use redb::{Database, ReadableDatabase, TableError, TableHandle};

use super::{
    batch::{Action, WriteBatch},
    collection::Visit,
    database::{self, Access, META, Open, after, commit, definition, dismiss, guarded, text},
    error::StoreError,
    gate::{Disk, Gate},
    wal::{Position, Record, Wal},
};

/// The database of a file.
pub(super) struct Engine {
    /// For errors.
    path: PathBuf,
    disk: Disk,
    /// Locked before the state.
    commits: Mutex<Commits>,
    state: RwLock<State>,
}

/// The commits that the database does not contain yet.
enum Commits {
    /// There are none: each is made in the database.
    Unlogged(Position),
    /// They are in the log.
    Logged { wal: Wal, batches: Vec<WriteBatch> },
}

/// The file of the log.
pub(super) struct LogFile {
    pub(super) path: PathBuf,
    pub(super) disk: Disk,
    /// Its length in bytes, if it is written.
    pub(super) capacity: usize,
}

enum State {
    Open(Open),
    /// The file could not be opened again after a failure.
    Failed {
        error: StoreError,
        /// What must be undone first.
        gate: Option<Gate>,
    },
    Closed,
}

/// A collection, in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectionSize {
    /// Name of the collection.
    pub name: String,
    /// Number of records.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
}

// === impl Engine ===

impl Engine {
    /// Makes an empty database in an empty file. It has no log.
    pub(super) fn create(path: &Path, disk: Disk) -> Result<Self, StoreError> {
        database::create(path, &disk)?;
        Self::open(path, disk, None, Access::Write)
    }

    /// Opens the database of a file, with its log if it has one, and verifies both. If that fails, the files are
    /// as they were.
    pub(super) fn open(
        path: &Path,
        disk: Disk,
        log: Option<LogFile>,
        access: Access,
    ) -> Result<Self, StoreError> {
        let log_disk = log.as_ref().map(|log| (log.path.as_path(), &log.disk));
        let open = database::open(path, &disk, log_disk, access)?;
        let position = open.position;
        let commits = match log {
            Some(log) if access == Access::Write => Commits::Logged {
                wal: Wal::new(&log.path, log.disk, log.capacity, position)?,
                batches: Vec::new(),
            },
            _ => Commits::Unlogged(position),
        };
        let engine = Self {
            path: path.to_owned(),
            disk,
            commits: Mutex::new(commits),
            state: RwLock::new(State::Open(open)),
        };
        // From now on the log is needed.
        let mut commits = engine.commits();
        if matches!(&*commits, Commits::Logged { .. }) && !position.is_logged {
            engine.transact(&mut commits, &[])?;
        }
        drop(commits);
        Ok(engine)
    }

    /// Makes the changes of all batches together, and returns when they are durable. If that fails, none was
    /// made.
    pub(super) fn apply(
        &self,
        new: impl IntoIterator<Item = WriteBatch>,
    ) -> Result<(), StoreError> {
        let new: Vec<_> = new.into_iter().collect();
        let record = Record::new(new.iter());
        let mut commits = self.commits();
        match &*commits {
            Commits::Logged { wal, .. } if !wal.is_large(&record) => {
                if !wal.has_place(&record) {
                    self.transact(&mut commits, &[])?;
                }
            }
            _ => return self.transact(&mut commits, &new),
        }
        if let Commits::Logged { wal, batches } = &mut *commits {
            wal.append(record)?;
            batches.extend(new);
        }
        Ok(())
    }

    /// Makes the changes of what is in the log and of `new` in one transaction of the database.
    fn transact(&self, commits: &mut Commits, new: &[WriteBatch]) -> Result<(), StoreError> {
        let position = commits.position()?;
        self.transact_to(position, commits, new)
    }

    /// As [`transact`](Self::transact), with the position that the database gets.
    fn transact_to(
        &self,
        position: Position,
        commits: &mut Commits,
        new: &[WriteBatch],
    ) -> Result<(), StoreError> {
        let old = match &*commits {
            Commits::Unlogged(_) => &[][..],
            Commits::Logged { batches, .. } => batches.as_slice(),
        };
        let has_failed = matches!(&*self.read(), State::Failed { .. });
        if has_failed {
            self.reopen()?;
        }
        let all = old.iter().chain(new);
        let outcome = match &*self.read() {
            State::Open(open) => guarded(&self.path, || commit(&open.database, all, position)),
            State::Failed { error, .. } => return Err(error.clone()),
            State::Closed => return Err(StoreError::Closed),
        };
        if outcome.is_err() {
            // Whether it can be opened again is reported when that matters.
            let _ = self.reopen();
        } else if let Commits::Logged { wal, batches } = commits {
            wal.restart();
            batches.clear();
        }
        outcome
    }

    /// Calls `visit` for the records whose keys begin with `prefix`, in the order of the keys.
    pub(super) fn scan(
        &self,
        collection: &str,
        prefix: &str,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        self.complete()?;
        let mut refused = Ok(());
        let scan = |database: &Database| -> Result<(), redb::Error> {
            let transaction = database.begin_read()?;
            let table = match transaction.open_table(definition(collection)) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(()),
                table => table?,
            };
            let end = after(prefix);
            for record in table.range::<&[u8]>(prefix.as_bytes()..end.as_slice())? {
                let (key, value) = record?;
                let key = text(key.value())?;
                refused = visit(key, value.value());
                if refused.is_err() {
                    break;
                }
            }
            Ok(())
        };
        self.with_database(scan)?;
        refused
    }

    /// The record of a key.
    pub(super) fn get(&self, collection: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        if let Commits::Logged { batches, .. } = &*self.commits() {
            let changes = batches.iter().flat_map(WriteBatch::changes);
            let mut of_collection = changes.rev().filter(|it| it.collection == collection);
            if let Some(found) = of_collection.find_map(|change| change.action.on(key)) {
                return Ok(found.map(<[u8]>::to_vec));
            }
        }
        self.with_database(|database| {
            let transaction = database.begin_read()?;
            let table = match transaction.open_table(definition(collection)) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(None),
                table => table?,
            };
            let value = table.get(key.as_bytes())?;
            Ok(value.map(|value| value.value().to_vec()))
        })
    }

    /// The collections that have records, by name.
    pub(super) fn collections(&self) -> Result<Vec<CollectionSize>, StoreError> {
        self.complete()?;
        self.with_database(|database| {
            let transaction = database.begin_read()?;
            let mut collections = Vec::new();
            for table in transaction.list_tables()? {
                let name = table.name().to_owned();
                if name == META {
                    continue;
                }
                let table = transaction.open_table(definition(&name))?;
                let (mut records, mut bytes) = (0, 0);
                for record in table.range::<&[u8]>(..)? {
                    let (key, value) = record?;
                    records += 1;
                    bytes += (key.value().len() + value.value().len()) as u64;
                }
                if records > 0 {
                    collections.push(CollectionSize {
                        name,
                        records,
                        bytes,
                    });
                }
            }
            collections.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(collections)
        })
    }

    /// Size of the file in bytes.
    pub(super) fn file_bytes(&self) -> Result<u64, StoreError> {
        let len = self.disk.len();
        len.map_err(|error| StoreError::io(&self.path, error))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes what is left to write, so that the next start needs no repair, and closes the file.
    pub(super) fn close(&self) {
        let mut commits = self.commits();
        if let Commits::Logged { .. } = &*commits {
            let closed = commits.position().and_then(|position| {
                let position = Position {
                    is_logged: false,
                    ..position
                };
                self.transact_to(position, &mut commits, &[])?;
                Ok(position)
            });
            match closed {
                // Nothing is written to the log any more.
                Ok(position) => *commits = Commits::Unlogged(position),
                Err(error) => tracing::warn!(
                    error = error.report(),
                    "the next start needs the write-ahead log, and space for what it has"
                ),
            }
        }
        drop(commits);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if let State::Open(open) = std::mem::replace(&mut *state, State::Closed) {
            dismiss(open.database);
            open.gate.close();
        }
    }

    /// Gives the database what is in the log.
    fn complete(&self) -> Result<(), StoreError> {
        let mut commits = self.commits();
        match &*commits {
            Commits::Logged { batches, .. } if !batches.is_empty() => {
                self.transact(&mut commits, &[])
            }
            _ => Ok(()),
        }
    }

    /// Makes the file as it was after the last successful commit, and opens it again.
    fn reopen(&self) -> Result<(), StoreError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let gate = match std::mem::replace(&mut *state, State::Closed) {
            State::Open(open) => {
                // No write of the old database reaches the file any more.
                open.gate.close();
                dismiss(open.database);
                Some(open.gate)
            }
            State::Failed { gate, .. } => gate,
            State::Closed => return Err(StoreError::Closed),
        };
        let rolled_back = gate.as_ref().map_or(Ok(()), Gate::roll_back);
        let (error, gate) = match rolled_back {
            Err(error) => (StoreError::io(&self.path, error), gate),
            Ok(()) => match database::open(&self.path, &self.disk, None, Access::Write) {
                Err(error) => (error, None),
                Ok(open) => {
                    *state = State::Open(open);
                    return Ok(());
                }
            },
        };
        let failed = error.clone();
        *state = State::Failed { error, gate };
        Err(failed)
    }

    fn with_database<T>(
        &self,
        call: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        match &*self.read() {
            State::Open(open) => guarded(&self.path, || call(&open.database)),
            State::Failed { error, .. } => Err(error.clone()),
            State::Closed => Err(StoreError::Closed),
        }
    }

    fn commits(&self) -> MutexGuard<'_, Commits> {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Engine").field(&self.path).finish()
    }
}

// === impl Commits ===

impl Commits {
    /// Where the database is when it contains all commits. Undoes one that has failed.
    fn position(&mut self) -> Result<Position, StoreError> {
        match self {
            Self::Unlogged(position) => Ok(*position),
            Self::Logged { wal, .. } => {
                wal.clean()?;
                Ok(wal.position())
            }
        }
    }
}

// === impl Action ===

impl Action {
    /// What it makes of the record of a key: `Some(None)` if it deletes it, `None` if it is about others.
    fn on(&self, of: &str) -> Option<Option<&[u8]>> {
        match self {
            Self::Put { key, value } => (key == of).then_some(Some(value)),
            Self::Delete { key } => (key == of).then_some(None),
            Self::DeletePrefix { prefix } => of.starts_with(prefix).then_some(None),
        }
    }
}
