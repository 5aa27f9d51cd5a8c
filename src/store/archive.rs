//! The stored state from outside of the daemon: its check, its export as text, and the import of that text.
//!
//! The text has one JSON object a line: first `{"state":"ipvsd","format":2}`, then a record a line,
//! `{"collection":"tables","key":"web","value":{…}}`, ordered by collection and key.

use std::{
    borrow::Cow,
    io::{self, BufRead, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

use super::{
    batch::{MAX_BATCH_BYTES, WriteBatch},
    collection::is_name,
    database::FORMAT,
    directory,
    engine::{CollectionSize, Engine},
    error::StoreError,
};

/// What a check found. The file is not damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckReport {
    /// The file.
    pub path: PathBuf,
    /// Format of the file.
    pub format: u64,
    /// Its size in bytes.
    pub file_bytes: u64,
    /// The collections that have records, by name.
    pub collections: Vec<CollectionSize>,
}

/// What an import did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportReport {
    /// The new file.
    pub path: PathBuf,
    /// The number of its records.
    pub records: u64,
}

/// Why an export or an import failed.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// The store cannot be opened, read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The text cannot be read.
    #[error("cannot read the text")]
    Read(#[source] io::Error),
    /// The text cannot be written.
    #[error("cannot write the text")]
    Write(#[source] io::Error),
    /// A line is not what an export prints.
    #[error("line {line}: {cause}; nothing was imported")]
    Line {
        /// Its number, from 1.
        line: u64,
        /// What is wrong.
        cause: String,
    },
}

/// The first line.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Head<'a> {
    state: Cow<'a, str>,
    format: u64,
}

/// Another line.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    collection: Cow<'a, str>,
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow)]
    value: &'a RawValue,
}

/// [`Head::state`].
const STATE: &str = "ipvsd";

/// Bytes of the records of one transaction of an import, about.
const IMPORT_BYTES: usize = 4 << 20;

/// Longest line in bytes: a record of the largest size, with an escaped key.
const MAX_LINE: u64 = (MAX_BATCH_BYTES + (64 << 10)) as u64;

/// Verifies the store of a directory. The file is not changed. Waits for up to `wait` for a process that has it
/// open.
pub fn check(directory: &Path, wait: Duration) -> Result<CheckReport, StoreError> {
    let (_lock, engine) = directory::inspect(directory, wait)?;
    Ok(CheckReport {
        path: engine.path().to_owned(),
        format: FORMAT,
        file_bytes: engine.file_bytes()?,
        collections: engine.collections()?,
    })
}

/// Writes all records of the store of a directory as text. The file is not changed. Waits as [`check`] does.
pub fn export(directory: &Path, wait: Duration, out: &mut dyn Write) -> Result<(), ArchiveError> {
    let (_lock, engine) = directory::inspect(directory, wait)?;
    let head = Head {
        state: STATE.into(),
        format: FORMAT,
    };
    write_line(out, &head).map_err(ArchiveError::Write)?;
    for collection in engine.collections()? {
        let mut failed = None;
        let name = collection.name.as_str();
        let scanned = engine.scan(name, "", &mut |key, value| {
            let value = serde_json::from_slice(value)
                .map_err(|error| StoreError::record(name, key, error))?;
            let line = Line {
                collection: name.into(),
                key: key.into(),
                value,
            };
            write_line(out, &line).map_err(|error| {
                failed = Some(error);
                // Ends the scan.
                StoreError::Closed
            })
        });
        match failed {
            Some(error) => return Err(ArchiveError::Write(error)),
            None => scanned?,
        }
    }
    out.flush().map_err(ArchiveError::Write)
}

/// Makes the store of a directory that has none from the text of an export. If it fails, there is none
/// afterwards. Waits as [`check`] does.
pub fn import(
    directory: &Path,
    wait: Duration,
    text: &mut dyn BufRead,
) -> Result<ImportReport, ArchiveError> {
    let mut records = 0;
    let path = directory::import(directory, wait, |engine| {
        records = fill(engine, text)?;
        Ok::<_, ArchiveError>(())
    })?;
    Ok(ImportReport { path, records })
}

/// Writes the records of a text, and returns their number.
fn fill(engine: &Engine, text: &mut dyn BufRead) -> Result<u64, ArchiveError> {
    let mut number = 0;
    let mut batch = WriteBatch::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = text.take(MAX_LINE).read_until(b'\n', &mut line);
        if read.map_err(ArchiveError::Read)? == 0 {
            break;
        }
        number += 1;
        let failed = |cause: String| ArchiveError::Line {
            line: number,
            cause,
        };
        if number == 1 {
            check_head(&line).map_err(failed)?;
            continue;
        }
        let record: Line<'_> =
            serde_json::from_slice(&line).map_err(|error| failed(error.to_string()))?;
        if !is_name(record.collection.as_bytes()) {
            return Err(failed(format!(
                "no collection can be named {:?}",
                record.collection
            )));
        }
        if batch.bytes() + line.len() > IMPORT_BYTES {
            engine.apply([std::mem::take(&mut batch)])?;
        }
        let collection = Cow::Owned(record.collection.into_owned());
        let value = record.value.get().as_bytes().to_vec();
        batch
            .put_json(collection, record.key.into_owned(), value)
            .map_err(|error| failed(error.to_string()))?;
    }
    if number == 0 {
        return Err(ArchiveError::Line {
            line: 1,
            cause: "the text is empty".to_owned(),
        });
    }
    engine.apply([batch])?;
    Ok(number - 1)
}

fn check_head(line: &[u8]) -> Result<(), String> {
    match serde_json::from_slice(line) {
        Ok(Head { state, format }) if state == STATE && format <= FORMAT => Ok(()),
        Ok(Head { state, format }) if state == STATE => Err(format!(
            "the text has the format {format}, and this version of ipvsd knows formats up to {FORMAT}"
        )),
        _ => Err("the text is no export of ipvsd".to_owned()),
    }
}

fn write_line(out: &mut dyn Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}
