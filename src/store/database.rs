//! Calls of redb, guarded against its panics.

use std::{
    borrow::Cow,
    collections::{BTreeMap, btree_map::Entry},
    io::ErrorKind,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use redb::{Database, ReadableDatabase, Table, TableDefinition, TableError};
use ring::rand::{SecureRandom, SystemRandom};

use super::{
    batch::{Action, WriteBatch},
    error::StoreError,
    gate::{Disk, Gate},
    wal::{self, Position, WalId},
};

/// A database that is open.
pub(super) struct Open {
    pub(super) database: Database,
    pub(super) gate: Gate,
    pub(super) position: Position,
}

/// What may happen to the file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// It is left as it is, even if it has to be repaired to be read.
    Inspect,
    /// It is read and written.
    Write,
}

/// The newest format: what [`FORMAT_KEY`] says in a file of this version. Format 1 has no [`POSITION_KEY`].
pub const FORMAT: u64 = 2;

/// Memory of redb's cache of pages, in bytes, at most half of it for writes. Records are read once, at the
/// start; a commit reads the inner nodes of the trees, a few pages. redb's default is 1 GiB, and an idle daemon
/// should not occupy more than 14 MiB.
const CACHE_BYTES: usize = 1 << 20;

/// The table of the store itself.
pub(super) const META: &str = "_store";
/// The key of the format, in that table: a decimal number.
const FORMAT_KEY: &[u8] = b"format";
/// The key of the position in the write-ahead log, in that table: the identifier, the number, and whether it is in
/// use, little-endian.
const POSITION_KEY: &[u8] = b"wal";

pub(super) type Definition<'a> = TableDefinition<'a, &'static [u8], &'static [u8]>;

/// Makes an empty database in an empty file.
pub(super) fn create(path: &Path, disk: &Disk) -> Result<(), StoreError> {
    guarded(path, || {
        let gate = Gate::new(disk.clone())?;
        gate.release()?;
        commit(&database(&gate)?, [].into_iter(), new_position()?)
    })
}

/// Opens the database of a file, verifies all of it, and lets writes reach the file if they may. Then it contains
/// what is in the log, of the path and the disk, too.
pub(super) fn open(
    path: &Path,
    disk: &Disk,
    log: Option<(&Path, &Disk)>,
    access: Access,
) -> Result<Open, StoreError> {
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
    let complete = || {
        check_format(path, format)?;
        let position = complete(path, &database, log)?;
        match access {
            Access::Write => gate.release().map_err(io)?,
            Access::Inspect => {}
        }
        Ok(position)
    };
    match complete() {
        Ok(position) => Ok(Open {
            database,
            gate,
            position,
        }),
        Err(error) => {
            gate.close();
            dismiss(database);
            Err(error)
        }
    }
}

/// Makes a database one of this format that contains what is in the log.
fn complete(
    path: &Path,
    database: &Database,
    log: Option<(&Path, &Disk)>,
) -> Result<Position, StoreError> {
    let stored = guarded(path, || position_of(database))?;
    let before = match stored {
        Some(position) => position,
        None => guarded(path, || Ok(new_position()?))?,
    };
    let (batches, position) = match log {
        Some((path, disk)) => wal::read(path, disk, before)?,
        None => (Vec::new(), before),
    };
    if stored != Some(position) {
        guarded(path, || commit(database, batches.iter(), position))?;
    }
    Ok(position)
}

fn check_format(path: &Path, format: Option<u64>) -> Result<(), StoreError> {
    match format {
        None => Err(StoreError::damaged(path, "it is no store of ipvsd")),
        Some(version) if version > FORMAT => Err(StoreError::Newer {
            path: path.to_owned(),
            version,
            supported: FORMAT,
        }),
        Some(_) => Ok(()),
    }
}

fn new_position() -> std::io::Result<Position> {
    let mut id = [0; size_of::<WalId>()];
    let filled = SystemRandom::new().fill(&mut id);
    filled.map_err(|_| std::io::Error::other("the system has no random numbers"))?;
    Ok(Position {
        id: WalId::from_le_bytes(id),
        applied: 0,
        is_logged: false,
    })
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

/// Where the database is in the log; `None` in format 1.
fn position_of(database: &Database) -> Result<Option<Position>, redb::Error> {
    let transaction = database.begin_read()?;
    let Some(stored) = transaction
        .open_table(definition(META))?
        .get(POSITION_KEY)?
    else {
        return Ok(None);
    };
    let wrong = || redb::Error::Corrupted("its position in the log is wrong".to_owned());
    let stored: [u8; 25] = stored.value().try_into().map_err(|_| wrong())?;
    Ok(Some(Position {
        id: WalId::from_le_bytes(std::array::from_fn(|at| stored[at])),
        applied: u64::from_le_bytes(std::array::from_fn(|at| stored[16 + at])),
        is_logged: stored[24] != 0,
    }))
}

/// Makes the changes of all batches in one transaction, and returns when they are durable.
pub(super) fn commit<'b>(
    database: &Database,
    batches: impl Iterator<Item = &'b WriteBatch>,
    position: Position,
) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(definition(META))?;
        meta.insert(FORMAT_KEY, FORMAT.to_string().as_bytes())?;
        let Position {
            id,
            applied,
            is_logged,
        } = position;
        let (id, applied) = (id.to_le_bytes(), applied.to_le_bytes());
        let stored = [&id[..], &applied, &[is_logged.into()]].concat();
        meta.insert(POSITION_KEY, stored.as_slice())?;
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

pub(super) fn definition(name: &str) -> Definition<'_> {
    TableDefinition::new(name)
}

/// What is after all keys that begin with `prefix`, and before all others after it. No UTF-8 has the last byte.
pub(super) fn after(prefix: &str) -> Vec<u8> {
    [prefix.as_bytes(), &[0xff]].concat()
}

pub(super) fn text(key: &[u8]) -> Result<&str, redb::Error> {
    std::str::from_utf8(key).map_err(|_| redb::Error::Corrupted("a key is not UTF-8".to_owned()))
}

/// Closes a database. If redb panics, it has closed it as far as it can.
pub(super) fn dismiss(database: Database) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
}

/// Calls redb. It panics on some damage of a file.
pub(super) fn guarded<T>(
    path: &Path,
    call: impl FnOnce() -> Result<T, redb::Error>,
) -> Result<T, StoreError> {
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
