//! Errors of the store.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use thiserror::Error;

use crate::model::{self, Reason};

/// Why the store cannot be opened, read or written. A write that fails has changed nothing.
#[derive(Clone, Debug, Error)]
pub enum StoreError {
    /// The directory or a file of it cannot be opened or created.
    #[error("cannot open {}", path.display())]
    Open {
        /// The directory or the file.
        path: PathBuf,
        /// The error of the operating system.
        source: Arc<io::Error>,
    },
    /// Another process has it open.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The content is not what was written.
    #[error("{} is damaged: {cause}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        cause: String,
    },
    /// A newer version of the program has written it.
    #[error(
        "{} has the format {version}, and this version of ipvsd knows formats up to {supported}",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Format of the file.
        version: u64,
        /// The newest format that is known.
        supported: u64,
    },
    /// There is no file to inspect.
    #[error("{} does not exist", .0.display())]
    Missing(PathBuf),
    /// There is a file already.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    /// The file system is full, or a quota or limit is reached.
    #[error("no space is left to write {}", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: Arc<io::Error>,
    },
    /// The file cannot be read or written.
    #[error("cannot read or write {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: Arc<io::Error>,
    },
    /// A record is not what this version expects.
    #[error("record {key:?} of {collection:?} in the stored state is not readable: {cause}")]
    Record {
        /// The collection.
        collection: String,
        /// The key.
        key: String,
        /// What is wrong.
        cause: String,
    },
    /// A value cannot be written as JSON.
    #[error("a record of {collection:?} cannot be stored")]
    Unwritable {
        /// The collection.
        collection: &'static str,
        /// The error of the encoder.
        source: Arc<serde_json::Error>,
    },
    /// A key or a batch is too large.
    #[error("{what} is larger than the {limit} bytes that the store accepts at once")]
    TooLarge {
        /// `a key` or `a change`.
        what: &'static str,
        /// The limit in bytes.
        limit: usize,
    },
    /// As many changes wait to be written as may.
    #[error("too many changes wait to be stored")]
    Busy,
    /// As many changes waited to be written as may, until the deadline.
    #[error("too many changes waited to be stored until the deadline")]
    Deadline,
    /// The daemon ends.
    #[error("the stored state is closed, because the daemon ends")]
    Closed,
    /// The system has no threads left.
    #[error("cannot start the thread of the store")]
    Thread(#[source] Arc<io::Error>),
}

// === impl StoreError ===

impl StoreError {
    pub(super) fn open(path: &Path, source: io::Error) -> Self {
        Self::Open {
            path: path.to_owned(),
            source: Arc::new(source),
        }
    }

    /// An error of reading or writing the file.
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        let is_full = matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        );
        let source = Arc::new(source);
        match is_full {
            true => Self::Full { path, source },
            false => Self::Io { path, source },
        }
    }

    pub(super) fn damaged(path: &Path, cause: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            cause: cause.into(),
        }
    }

    pub(super) fn unwritable(collection: &'static str, error: serde_json::Error) -> Self {
        Self::Unwritable {
            collection,
            source: Arc::new(error),
        }
    }

    pub(super) fn record(collection: &str, key: &str, cause: impl ToString) -> Self {
        Self::Record {
            collection: collection.to_owned(),
            key: key.to_owned(),
            cause: cause.to_string(),
        }
    }

    /// The remedy, if the error is not the program's own.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Open { .. } => {
                "state_dir must be a directory that belongs to the user of the daemon"
            }
            Self::InUse(_) => "stop the other daemon, or give each a state_dir of its own",
            Self::Damaged { .. } => {
                "the file was left as it is: restore state.redb and state.wal from a backup, or move both \
                 away and start with an empty state, or with an export (ipvsd state import)"
            }
            Self::Newer { .. } => {
                "the file was left as it is: use that version of ipvsd, and there ipvsd state export"
            }
            Self::Missing(_) => "the daemon creates it at its first start",
            Self::Exists(_) => "move it away first",
            Self::Full { .. } => "free space on the file system, and repeat the request",
            Self::Io { .. } => "see the log of the kernel for errors of the disk",
            Self::Record { .. } => {
                "ipvsd state export shows it; correct it there, and import the file into a new store"
            }
            Self::TooLarge { .. } => "split the request",
            Self::Busy | Self::Deadline => "repeat the request later",
            Self::Closed => "repeat the request when the daemon runs again",
            Self::Unwritable { .. } | Self::Thread(_) => return None,
        })
    }

    /// The error with its causes and its remedy, for the log and for operators.
    pub fn report(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text += &format!(": {error}");
            cause = error.source();
        }
        if let Some(hint) = self.hint() {
            text += &format!(" ({hint})");
        }
        text
    }

    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::TooLarge { .. } => Reason::TooLarge,
            Self::Busy => Reason::RateLimited,
            Self::Deadline => Reason::DeadlineExceeded,
            Self::Unwritable { .. } => Reason::Internal,
            Self::Open { .. }
            | Self::InUse(_)
            | Self::Damaged { .. }
            | Self::Newer { .. }
            | Self::Missing(_)
            | Self::Exists(_)
            | Self::Full { .. }
            | Self::Io { .. }
            | Self::Record { .. }
            | Self::Closed
            | Self::Thread(_) => Reason::StoreUnavailable,
        }
    }
}

/// What a client sees of a write that could not be stored.
impl From<StoreError> for model::Error {
    fn from(error: StoreError) -> Self {
        let client = Self::new(error.reason(), format!("{error}; nothing was changed"));
        let hint = error.hint();
        let client = client.with_source(error);
        match hint {
            Some(hint) => client.with_hint(hint),
            None => client,
        }
    }
}
