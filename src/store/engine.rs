//! The database: transactions of redb, guarded against its panics, and what follows a failure.

use std::{
    borrow::Cow,
    collections::{BTreeMap, btree_map::Entry},
    fmt,
    io::ErrorKind,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
};

use redb::{Database, ReadableDatabase, Table, TableDefinition, TableError, TableHandle};

use super::{
    batch::{Action, WriteBatch},
    collection::Visit,
    error::StoreError,
    gate::{Disk, Gate},
};

/// The database of a file.
pub(super) struct Engine {
    /// For errors.
    path: PathBuf,
    disk: Disk,
    state: RwLock<State>,
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

struct Open {
    database: Database,
    gate: Gate,
}

/// What may happen to the file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// It is left as it is, even if it has to be repaired to be read.
    Inspect,
    /// It is read and written.
    Write,
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

/// The newest format: what [`FORMAT_KEY`] says in a file of this version.
pub const FORMAT: u64 = 1;

/// Memory of redb's cache of pages, in bytes, at most half of it for writes. Records are read once, at the
/// start; a commit reads the inner nodes of the trees, a few pages. redb's default is 1 GiB, and an idle daemon
/// should not occupy more than 14 MiB.
const CACHE_BYTES: usize = 1 << 20;

/// The table of the store itself.
const META: &str = "_store";
/// The key of the format, in that table.
const FORMAT_KEY: &[u8] = b"format";

type Definition<'a> = TableDefinition<'a, &'static [u8], &'static [u8]>;

// === impl Engine ===

impl Engine {
    /// Makes an empty database in an empty file.
    pub(super) fn create(path: &Path, disk: Disk) -> Result<Self, StoreError> {
        let create = || -> Result<(), redb::Error> {
            let gate = Gate::new(disk.clone())?;
            gate.release()?;
            let database = database(&gate)?;
            let transaction = database.begin_write()?;
            let format = FORMAT.to_string();
            transaction
                .open_table(definition(META))?
                .insert(FORMAT_KEY, format.as_bytes())?;
            transaction.commit()?;
            Ok(())
        };
        guarded(path, create)?;
        Self::open(path, disk, Access::Write)
    }

    /// Opens the database of a file, and verifies it. If that fails, the file is as it was.
    pub(super) fn open(path: &Path, disk: Disk, access: Access) -> Result<Self, StoreError> {
        let open = open(path, &disk, access)?;
        Ok(Self {
            path: path.to_owned(),
            disk,
            state: RwLock::new(State::Open(open)),
        })
    }

    /// Makes the changes of all batches in one transaction, and returns when they are durable. If that fails,
    /// none was made.
    pub(super) fn apply<'b>(
        &self,
        batches: impl Iterator<Item = &'b WriteBatch> + Clone,
    ) -> Result<(), StoreError> {
        let has_failed = matches!(&*self.read(), State::Failed { .. });
        if has_failed {
            self.reopen()?;
        }
        let outcome = match &*self.read() {
            State::Open(open) => guarded(&self.path, || commit(&open.database, batches)),
            State::Failed { error, .. } => return Err(error.clone()),
            State::Closed => return Err(StoreError::Closed),
        };
        if outcome.is_err() {
            // Whether it can be opened again is reported when that matters.
            let _ = self.reopen();
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
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if let State::Open(open) = std::mem::replace(&mut *state, State::Closed) {
            dismiss(open.database);
            open.gate.close();
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
            Ok(()) => match open(&self.path, &self.disk, Access::Write) {
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

/// Opens the database of a file, verifies all of it, and lets writes reach the file if they may.
fn open(path: &Path, disk: &Disk, access: Access) -> Result<Open, StoreError> {
    let io = |error| StoreError::io(path, error);
    if disk.len().map_err(io)? == 0 {
        return Err(StoreError::damaged(path, "it is empty"));
    }
    let gate = Gate::new(disk.clone()).map_err(io)?;
    let (database, format) = guarded(path, || {
        let mut database = database(&gate)?;
        // redb verifies the checksums of pages in a repair only. What it would repair here is no commit that
        // was interrupted: opening has dealt with those.
        if !database.check_integrity()? {
            let cause = "the checksum of a page is wrong".to_owned();
            return Err(redb::Error::Corrupted(cause));
        }
        let format = format_of(&database)?;
        Ok((database, format))
    })?;
    let refused = match format {
        None => Some(StoreError::damaged(path, "it is no store of ipvsd")),
        Some(version) if version > FORMAT => Some(StoreError::Newer {
            path: path.to_owned(),
            version,
            supported: FORMAT,
        }),
        Some(_) => None,
    };
    if let Some(error) = refused {
        dismiss(database);
        return Err(error);
    }
    if access == Access::Write
        && let Err(error) = gate.release()
    {
        gate.close();
        dismiss(database);
        return Err(io(error));
    }
    Ok(Open { database, gate })
}

/// The database of an empty file, or of one that has a database.
fn database(gate: &Gate) -> Result<Database, redb::Error> {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    Ok(builder.create_with_backend(gate.clone())?)
}

/// The format of the file; `None` if it is not the file of a store.
fn format_of(database: &Database) -> Result<Option<u64>, redb::Error> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(definition(META)) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        table => table?,
    };
    let format = table.get(FORMAT_KEY)?;
    Ok(format.and_then(|format| std::str::from_utf8(format.value()).ok()?.parse().ok()))
}

fn commit<'b>(
    database: &Database,
    batches: impl Iterator<Item = &'b WriteBatch>,
) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut tables: BTreeMap<&str, Table<'_, &[u8], &[u8]>> = BTreeMap::new();
        for change in batches.flat_map(WriteBatch::changes) {
            let name = change.collection.as_ref();
            let table = match tables.entry(name) {
                Entry::Occupied(table) => table.into_mut(),
                Entry::Vacant(place) => place.insert(transaction.open_table(definition(name))?),
            };
            match &change.action {
                Action::Put { key, value } => drop(table.insert(key.as_bytes(), value.as_slice())?),
                Action::Delete { key } => drop(table.remove(key.as_bytes())?),
                Action::DeletePrefix { prefix } => {
                    let end = after(prefix);
                    let range = prefix.as_bytes()..end.as_slice();
                    table.retain_in::<&[u8], _>(range, |_, _| false)?;
                }
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

fn definition(name: &str) -> Definition<'_> {
    TableDefinition::new(name)
}

/// What is after all keys that begin with `prefix`, and before all others after it. No UTF-8 has the last byte.
fn after(prefix: &str) -> Vec<u8> {
    [prefix.as_bytes(), &[0xff]].concat()
}

fn text(key: &[u8]) -> Result<&str, redb::Error> {
    std::str::from_utf8(key).map_err(|_| redb::Error::Corrupted("a key is not UTF-8".to_owned()))
}

/// Closes a database. If redb panics, it has closed it as far as it can.
fn dismiss(database: Database) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
}

/// Calls redb. It panics on some damage of a file.
fn guarded<T>(path: &Path, call: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, StoreError> {
    let panic = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(outcome) => return outcome.map_err(|error| store_error(path, error)),
        Err(panic) => panic,
    };
    let message = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(message), _) => Cow::Borrowed(*message),
        (None, Some(message)) => Cow::Borrowed(message.as_str()),
        (None, None) => Cow::Borrowed("no message"),
    };
    let cause = format!("redb does not expect its content: {message}");
    Err(StoreError::damaged(path, cause))
}

fn store_error(path: &Path, error: redb::Error) -> StoreError {
    match error {
        redb::Error::Io(error) if error.kind() == ErrorKind::UnexpectedEof => {
            StoreError::damaged(path, "it is cut off")
        }
        redb::Error::Io(error) if error.kind() == ErrorKind::InvalidData => {
            StoreError::damaged(path, "it is no database of redb")
        }
        redb::Error::Io(error) => StoreError::io(path, error),
        error => StoreError::damaged(path, error.to_string()),
    }
}
