//! The write-ahead log: batches that are durable and not in the database yet.
//!
//! A commit of redb writes about ten pages all over its file. Here a commit is one write at the end of the last
//! one, in a file that never grows: the least that a disk can do durably.
//!
//! The first sector has [`MAGIC`], the [`WalId`] of the database, and the length of the file in 8 bytes. Records follow,
//! each at the beginning of a sector, so that no write touches a sector of an earlier one. A record is a header of
//! [`HEADER`] bytes and its content. Numbers are little-endian:
//!
//! | bytes | field |
//! |---|---|
//! | 0 to 3 | CRC-32 of all that follows |
//! | 4 to 7 | length of the content in bytes, at least 1 |
//! | 8 to 15 | number of the record; each has the next one |
//! | 16 to 31 | [`WalId`] of the database |
//!
//! The database knows the number of the last record that it contains, and whether the log is in use: then the file
//! must be there. Once it contains all records, the next one is written after the first sector again. So the records that count are those that follow that number
//! without a gap; what is left of older ones has lower numbers.

use std::path::{Path, PathBuf};

use prost::Message;

use super::{
    batch::{Action, WriteBatch},
    error::StoreError,
    gate::Disk,
};

/// The file, while it is written.
#[derive(Debug)]
pub(super) struct Wal {
    path: PathBuf,
    disk: Disk,
    /// Length of the file in bytes.
    capacity: usize,
    id: WalId,
    /// Where the next record begins.
    end: usize,
    /// The number of the next record.
    next: u64,
    /// Whether a record that counts as failed may be at `end`.
    is_dirty: bool,
}

/// A random number, by which the log of a database is known from that of another one.
pub(super) type WalId = u128;

/// Where a database is in the sequence of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) id: WalId,
    /// The number of the last record that it contains.
    pub(super) applied: u64,
    /// Whether the log may have further ones.
    pub(super) is_logged: bool,
}

/// The content of a record.
#[derive(Clone, PartialEq, Message)]
struct Content {
    #[prost(message, repeated, tag = "1")]
    changes: Vec<LoggedChange>,
}

/// An [`Action`] of a collection.
#[derive(Clone, PartialEq, Message)]
struct LoggedChange {
    #[prost(string, tag = "1")]
    collection: String,
    #[prost(string, tag = "2")]
    key: String,
    /// What is put; nothing to delete.
    #[prost(bytes = "vec", optional, tag = "3")]
    value: Option<Vec<u8>>,
    /// Whether all keys that begin with `key` are deleted.
    #[prost(bool, tag = "4")]
    is_prefix: bool,
}

/// The name of the file, beside the database.
pub(super) const FILE: &str = "state.wal";

/// Length of the file in bytes: about 2000 requests. What it has is in memory, too.
pub(super) const CAPACITY: usize = 2 << 20;

/// What the file begins with.
const MAGIC: [u8; 8] = *b"ipvsdwal";

/// Bytes of the header of a record.
const HEADER: usize = 32;

/// Bytes of a file that are read at most: those of another version may be longer.
const MAX_LENGTH: usize = 64 << 20;

/// What a disk writes as a whole or not at all, in bytes.
const SECTOR: usize = 512;

// === impl Wal ===

impl Wal {
    /// The log of a database. Makes the file as long as it has to be, and durably so: no later write of it
    /// needs space or changes what the file system knows about it.
    ///
    /// What it has is to be in the database before: [`read`] returns it.
    pub(super) fn new(
        path: &Path,
        disk: Disk,
        capacity: usize,
        position: Position,
    ) -> Result<Self, StoreError> {
        let start = start(position.id, capacity as u64);
        let make = || {
            let len = disk.len()?;
            let mut found = [0; SECTOR];
            if len >= capacity as u64 {
                disk.read(0, &mut found)?;
            }
            if found == start {
                return Ok(());
            }
            // Of a log that was not completed, or of another length.
            disk.write(0, &vec![0; capacity])?;
            disk.sync_data()?;
            disk.write(0, &start)?;
            disk.sync_data()
        };
        make().map_err(|error| StoreError::io(path, error))?;
        Ok(Self {
            path: path.to_owned(),
            disk,
            capacity,
            id: position.id,
            end: SECTOR,
            next: position.applied + 1,
            is_dirty: false,
        })
    }

    /// Appends a record, and returns when it is durable. If that fails, it is as if it had not been tried;
    /// if not even that can be achieved, all further calls fail until it can.
    pub(super) fn append(&mut self, record: Record) -> Result<(), StoreError> {
        self.clean()?;
        let bytes = record.seal(self.id, self.next);
        self.is_dirty = true;
        if let Err(error) = self.write(&bytes) {
            // Whether it can be undone is reported when that matters.
            let _ = self.clean();
            return Err(error);
        }
        self.is_dirty = false;
        self.end += bytes.len();
        self.next += 1;
        Ok(())
    }

    /// Whether a record has place after the last one.
    pub(super) fn has_place(&self, record: &Record) -> bool {
        self.end + record.len() <= self.capacity
    }

    /// Whether a record is better written to the database at once.
    pub(super) fn is_large(&self, record: &Record) -> bool {
        record.len() > self.capacity / 4
    }

    /// Where a database is that contains all records.
    pub(super) fn position(&self) -> Position {
        Position {
            id: self.id,
            applied: self.next - 1,
            is_logged: true,
        }
    }

    /// Begins anew: the database contains all records, durably.
    pub(super) fn restart(&mut self) {
        self.end = SECTOR;
    }

    /// Undoes a record that has failed, before another one takes its place.
    pub(super) fn clean(&mut self) -> Result<(), StoreError> {
        if self.is_dirty {
            self.write(&[0; SECTOR])?;
            self.is_dirty = false;
        }
        Ok(())
    }

    fn write(&self, bytes: &[u8]) -> Result<(), StoreError> {
        let written = self.disk.write(self.end as u64, bytes);
        let durable = written.and_then(|()| self.disk.sync_data());
        durable.map_err(|error| StoreError::io(&self.path, error))
    }
}

/// A record that is not written yet, without the fields of its header.
pub(super) struct Record(Vec<u8>);

// === impl Record ===

impl Record {
    pub(super) fn new<'b>(batches: impl Iterator<Item = &'b WriteBatch>) -> Self {
        let changes = batches.flat_map(WriteBatch::changes).map(|change| {
            let (key, value, is_prefix) = match &change.action {
                Action::Put { key, value } => (key, Some(value.clone()), false),
                Action::Delete { key } => (key, None, false),
                Action::DeletePrefix { prefix } => (prefix, None, true),
            };
            LoggedChange {
                collection: change.collection.clone().into_owned(),
                key: key.clone(),
                value,
                is_prefix,
            }
        });
        let content = Content {
            changes: changes.collect(),
        };
        let mut bytes = Vec::with_capacity(HEADER + content.encoded_len());
        bytes.resize(HEADER, 0);
        content.encode_raw(&mut bytes);
        Self(bytes)
    }

    /// Its bytes in the file.
    fn len(&self) -> usize {
        self.0.len().next_multiple_of(SECTOR)
    }

    fn seal(self, id: WalId, number: u64) -> Vec<u8> {
        let len = self.len();
        let Self(mut bytes) = self;
        // A file has fewer bytes.
        let content = u32::try_from(bytes.len() - HEADER).unwrap_or(u32::MAX);
        bytes[4..8].copy_from_slice(&content.to_le_bytes());
        bytes[8..16].copy_from_slice(&number.to_le_bytes());
        bytes[16..32].copy_from_slice(&id.to_le_bytes());
        let sum = crc32fast::hash(&bytes[4..]);
        bytes[..4].copy_from_slice(&sum.to_le_bytes());
        bytes.resize(len, 0);
        bytes
    }
}

/// The batches of a log that a database does not contain, in their order, and where the database is when it
/// contains them. Fails if the log is missing although it is in use, belongs to another database, is cut off, has
/// records behind a damaged one, or has lost its first ones.
pub(super) fn read(
    path: &Path,
    disk: &Disk,
    from: Position,
) -> Result<(Vec<WriteBatch>, Position), StoreError> {
    let content = || {
        let len = usize::try_from(disk.len()?).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len.min(MAX_LENGTH)];
        disk.read(0, &mut bytes)?;
        Ok(bytes)
    };
    let bytes = content().map_err(|error| StoreError::io(path, error))?;
    let damaged = |cause: &str| Err(StoreError::damaged(path, cause));
    match bytes.split_first_chunk::<SECTOR>() {
        Some((found, _)) if found[..8] == MAGIC => {
            let len = u64::from_le_bytes(std::array::from_fn(|at| found[24 + at]));
            if *found != start(from.id, len) {
                return damaged("it is the log of another database, or its beginning is wrong");
            }
            if (bytes.len() as u64) < len {
                return damaged("it is cut off");
            }
        }
        _ if bytes.is_empty() && from.is_logged => {
            return damaged("it is missing or empty, and had what was stored last");
        }
        _ if from.is_logged => return damaged("it is cut off, or no log of ipvsd"),
        // It was not completed.
        _ => return Ok((Vec::new(), from)),
    }
    let (mut batches, mut position) = (Vec::new(), from);
    let mut offset = SECTOR;
    while offset < bytes.len() {
        let Some((number, content)) = record(&bytes[offset..], from.id) else {
            offset += SECTOR;
            continue;
        };
        offset += (HEADER + content.len()).next_multiple_of(SECTOR);
        if number == position.applied + 1 {
            batches.push(batch(content).map_err(|cause| StoreError::damaged(path, cause))?);
            position.applied = number;
        } else if number > position.applied {
            let missing = position.applied + 1;
            let cause = format!("it has record {number} without record {missing}");
            return Err(StoreError::damaged(path, cause));
        }
    }
    Ok((batches, position))
}

/// The first sector.
fn start(id: WalId, len: u64) -> [u8; SECTOR] {
    let mut bytes = [0; SECTOR];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..24].copy_from_slice(&id.to_le_bytes());
    bytes[24..32].copy_from_slice(&len.to_le_bytes());
    bytes
}

/// The number and the content of the record at the beginning of `bytes`, if there is one.
fn record(bytes: &[u8], id: WalId) -> Option<(u64, &[u8])> {
    let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
    if header[16..32] != id.to_le_bytes() {
        return None;
    }
    let len = u32::from_le_bytes(header[4..8].try_into().ok()?);
    let content = rest.get(..usize::try_from(len).ok()?)?;
    let mut sum = crc32fast::Hasher::new();
    sum.update(&header[4..]);
    sum.update(content);
    let number = u64::from_le_bytes(header[8..16].try_into().ok()?);
    (sum.finalize().to_le_bytes() == header[..4]).then_some((number, content))
}

fn batch(content: &[u8]) -> Result<WriteBatch, String> {
    let content = Content::decode(content).map_err(|error| error.to_string())?;
    let mut batch = WriteBatch::new();
    for change in content.changes {
        let LoggedChange {
            collection,
            key,
            value,
            is_prefix,
        } = change;
        let action = match value {
            Some(value) => Action::Put { key, value },
            None if is_prefix => Action::DeletePrefix { prefix: key },
            None => Action::Delete { key },
        };
        batch
            .push(collection, action)
            .map_err(|error| error.to_string())?;
    }
    Ok(batch)
}
