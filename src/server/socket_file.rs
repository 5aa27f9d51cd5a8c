//! The files of a unix socket: the socket itself, and the lock that is held while it is created.

use std::{
    fs::{self, File, Metadata, TryLockError},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use nix::unistd::geteuid;

/// The file of a unix socket. Dropping it removes the file, unless another file replaced it.
pub(super) struct SocketFile {
    path: PathBuf,
    identity: Identity,
}

/// The lock on a unix socket: a locked file beside it, which only the daemon's user can open. A lock
/// on the directory would not do: any user who can read it can lock it. Dropping it removes the file.
pub(super) struct LockFile {
    path: PathBuf,
    _file: File,
}

/// Why a lock was not acquired.
pub(super) enum LockError {
    /// Another process holds it.
    Held,
    /// The file is not one that only the daemon's user can open.
    Foreign,
    /// A system call failed.
    System(io::Error),
}

/// Device and inode.
type Identity = (u64, u64);

/// Times that the file is opened anew because its last holder has removed it meanwhile.
const ATTEMPTS: u32 = 100;

// === impl SocketFile ===

impl SocketFile {
    /// The file at `path`, which exists.
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            identity: identity(&fs::symlink_metadata(path)?),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path);
        if found.is_ok_and(|found| identity(&found) == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the socket file");
        }
    }
}

// === impl LockFile ===

impl LockFile {
    /// Locks the socket at `path`, without waiting.
    pub(super) fn acquire(path: &Path) -> Result<Self, LockError> {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let path = PathBuf::from(name);
        for _ in 0..ATTEMPTS {
            let file = File::options()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                // A link could lead to a file that must not be created or locked, and a FIFO could block.
                .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
                .open(&path)
                .map_err(|error| match error.raw_os_error() {
                    Some(libc::ELOOP | libc::ENXIO) => LockError::Foreign,
                    // Of another user, unless the directory is not writable.
                    Some(libc::EACCES) if fs::symlink_metadata(&path).is_ok() => LockError::Foreign,
                    _ => LockError::System(error),
                })?;
            let opened = file.metadata().map_err(LockError::System)?;
            if opened.uid() != geteuid().as_raw() || opened.mode() & 0o077 != 0 {
                return Err(LockError::Foreign);
            }
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(LockError::Held),
                Err(TryLockError::Error(error)) => return Err(LockError::System(error)),
            }
            // The last holder may have removed it between the two calls.
            let found = fs::symlink_metadata(&path);
            if found.is_ok_and(|found| identity(&found) == identity(&opened)) {
                return Ok(Self { path, _file: file });
            }
        }
        Err(LockError::Held)
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // While it is still locked: no other process holds a lock on the removed file.
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the lock file");
        }
    }
}

fn identity(file: &Metadata) -> Identity {
    (file.dev(), file.ino())
}
