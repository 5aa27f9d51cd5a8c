//! Files that an administrator writes and the daemon reads: how they are read, who may change them, and
//! when a change is complete.

use std::{
    fs::{self, Metadata, OpenOptions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::unistd::geteuid;
use thiserror::Error;

/// Time between two looks at files. A change takes effect after one to two of it.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// What changes when a file is written or replaced, also if a symbolic link on the way to it is, or its
/// owner or permissions change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileStamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// What is known of files whose state is `S`.
#[derive(Clone, Debug)]
pub(super) struct Watched<S> {
    /// Their state when they were read last; `None` to read them although they have not changed.
    read: Option<S>,
    /// Their state at the last look.
    seen: S,
}

/// What a look at files found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look<T> {
    /// Nothing new.
    Unchanged,
    /// A change that may not be complete.
    Changing,
    /// What was read.
    Read(T),
}

/// Why a file that decides about access is not used.
#[derive(Debug, Error)]
pub enum UnsafeFile {
    /// The group or others have the permission to write.
    #[error(
        "users other than its owner can write {path}; remove the permission: chmod go-w {path}",
        path = path.display()
    )]
    Writable {
        /// The path of the configuration.
        path: PathBuf,
    },
    /// The owner is neither root nor the daemon's user.
    #[error(
        "{path} belongs to the user {uid}, and must belong to root or to the user of the daemon: \
         chown root {path}",
        path = path.display()
    )]
    Owner {
        /// The path of the configuration.
        path: PathBuf,
        /// The owner.
        uid: u32,
    },
}

/// Reads a regular file of at most `max` bytes.
pub(super) fn read(path: &Path, max: u64) -> io::Result<(Vec<u8>, Metadata)> {
    // The open of a FIFO would wait for its writer.
    let mut options = OpenOptions::new();
    let options = options.read(true).custom_flags(libc::O_NONBLOCK);
    let file = options.open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > max {
        true => Err(io::ErrorKind::FileTooLarge.into()),
        false => Ok((bytes, metadata)),
    }
}

/// Reads a regular file of at most `max` bytes in UTF-8.
pub(super) fn read_text(path: &Path, max: u64) -> io::Result<(String, Metadata)> {
    let (bytes, file) = read(path, max)?;
    let text = String::from_utf8(bytes);
    let text = text.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok((text, file))
}

/// Refuses a file that other users than root and that of the daemon can change.
pub(super) fn check_writers(path: &Path, file: &Metadata) -> Result<(), UnsafeFile> {
    let own = geteuid().as_raw();
    let path = || path.to_owned();
    match (file.uid(), file.mode() & 0o022) {
        (uid, _) if uid != 0 && uid != own => Err(UnsafeFile::Owner { path: path(), uid }),
        (_, 0) => Ok(()),
        // An access control list with writers sets the permission of the group, too.
        _ => Err(UnsafeFile::Writable { path: path() }),
    }
}

// === impl FileStamp ===

impl FileStamp {
    /// The state of a file now; `None` if there is none.
    pub(super) fn at(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().as_ref().map(Self::of)
    }

    /// The state of a file with this metadata.
    pub(super) fn of(file: &Metadata) -> Self {
        Self {
            device: file.dev(),
            inode: file.ino(),
            length: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}

// === impl Watched ===

impl<S: Clone + PartialEq> Watched<S> {
    /// Files that have been read. `read` is their state before that: a later one is a change.
    pub(super) fn new(read: S) -> Self {
        Self {
            read: Some(read.clone()),
            seen: read,
        }
    }

    /// Reads the files again although they do not change.
    pub(super) fn read_again(&mut self) {
        self.read = None;
    }

    /// Reads the files if they have changed and are the same at two successive looks and after the read,
    /// else what is read may be a part of what is being written. Reads them at once if that is requested.
    pub(super) fn look<T>(
        &mut self,
        is_requested: bool,
        stamp: impl Fn() -> S,
        read: impl FnOnce() -> T,
    ) -> Look<T> {
        let found = stamp();
        if !is_requested {
            if self.read.as_ref() == Some(&found) {
                self.seen = found;
                return Look::Unchanged;
            }
            if self.seen != found {
                self.seen = found;
                return Look::Changing;
            }
        }
        let outcome = read();
        let after = stamp();
        if after != found && !is_requested {
            self.seen = after;
            return Look::Changing;
        }
        self.read = Some(found.clone());
        self.seen = found;
        Look::Read(outcome)
    }
}

#[cfg(test)]
pub(super) mod tests;
