//! Options of the audit trail.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// Where the audit trail is written, and how much may wait to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditOptions {
    /// Where the records are written.
    pub sink: SinkOptions,
    /// Memory in bytes of the events that wait to be written. Further ones are lost. Default 4 MiB,
    /// about 7000 events.
    pub max_queue_bytes: usize,
}

/// Where records are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SinkOptions {
    /// Nowhere: the last records are kept in memory.
    #[default]
    Memory,
    /// To a file.
    File(FileOptions),
    /// To the journal, by way of its socket. The last records are kept in memory, too.
    Journal(PathBuf),
}

/// A file of records, and its rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileOptions {
    /// The file. Older ones are `PATH.1` (the newest), `PATH.2`, and so on.
    pub path: PathBuf,
    /// Size in bytes above which a new file is begun. Default 64 MiB.
    pub max_bytes: u64,
    /// Age of the first record above which a new file is begun; zero for any age. Default zero.
    pub max_age: Duration,
    /// Number of older files that are kept. Default 10.
    pub max_files: usize,
    /// Whether records are on the disk before the next ones are written (fdatasync(2)). Default
    /// false.
    pub fsync: bool,
}

/// The socket of systemd-journald.
pub const JOURNAL_SOCKET: &str = "/run/systemd/journal/socket";

// === impl AuditOptions ===

impl Default for AuditOptions {
    fn default() -> Self {
        Self {
            sink: SinkOptions::Memory,
            max_queue_bytes: 4 << 20,
        }
    }
}

// === impl FileOptions ===

impl FileOptions {
    /// The defaults for this file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            max_bytes: 64 << 20,
            max_age: Duration::ZERO,
            max_files: 10,
            fsync: false,
        }
    }

    /// The path of an older file; 1 is the newest of them.
    pub(super) fn older(&self, number: usize) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        name.into()
    }

    /// All files that may exist, the newest first.
    pub(super) fn all(&self) -> impl Iterator<Item = PathBuf> {
        let older = (1..=self.max_files).map(|number| self.older(number));
        std::iter::once(self.path.clone()).chain(older)
    }

    /// The directory of the files.
    pub(super) fn directory(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        }
    }
}
