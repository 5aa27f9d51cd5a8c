//! The directory of the state and its files: who may use it, and how the file comes into being.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    thread,
    time::{Duration, Instant},
};

use redb::StorageBackend;

use super::{
    database::Access,
    engine::{Engine, LogFile},
    error::StoreError,
    wal,
};

/// The file of the records.
pub(super) const FILE: &str = "state.redb";
/// The file that is locked while a process uses the directory.
const LOCK: &str = "state.lock";
/// The file of the records while it is made.
const NEW: &str = "state.redb.new";

/// How often a lock is tried while another process has it.
const LOCK_INTERVAL: Duration = Duration::from_millis(10);

/// Keeps other processes out of a directory, until it is dropped or the process ends: by the file for it, and by that
/// of the records, should somebody delete the first one.
#[derive(Debug)]
pub(super) struct Lock(Vec<File>);

/// A file as the storage of redb. One that is missing is empty, and made by the first write.
#[derive(Debug)]
struct FileDisk {
    path: PathBuf,
    file: OnceLock<File>,
}

// === impl Lock ===

#[cfg(test)]
impl Lock {
    /// Of a disk without a directory.
    pub(super) const NONE: Self = Self(Vec::new());
}

impl Drop for Lock {
    fn drop(&mut self) {
        for file in &self.0 {
            // The file of the records may still be open.
            let _ = file.unlock();
        }
    }
}

/// Opens the store of a directory, and creates both if they are missing.
pub(super) fn open(directory: &Path, wait: Duration) -> Result<(Lock, Engine), StoreError> {
    let mut lock = lock(directory, wait)?;
    let path = directory.join(FILE);
    let failed = |error| StoreError::open(&path, error);
    let file = match open_file(&path, true) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            without_log(directory)?;
            let new = directory.join(NEW);
            create(&new)?.close();
            publish(&new, &path)?;
            open_file(&path, true).map_err(failed)?
        }
        file => file.map_err(failed)?,
    };
    let own = file.try_clone().map_err(failed)?;
    lock.0.push(locked(own, &path, wait, File::try_lock)?);
    let log = log_file(directory, true)?;
    let disk = Arc::new(FileDisk::of(&path, file));
    Ok((lock, Engine::open(&path, disk, Some(log), Access::Write)?))
}

/// Opens the store of a directory to read it. Nothing there is changed.
pub(super) fn inspect(directory: &Path, wait: Duration) -> Result<(Lock, Engine), StoreError> {
    let lock_path = directory.join(LOCK);
    let mut lock = Lock(Vec::new());
    match File::open(&lock_path) {
        Ok(file) => lock
            .0
            .push(locked(file, &lock_path, wait, File::try_lock_shared)?),
        // A copy of the file alone.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(StoreError::open(&lock_path, error)),
    }
    let path = directory.join(FILE);
    let file = open_file(&path, false).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => StoreError::Missing(path.clone()),
        _ => StoreError::open(&path, error),
    })?;
    let own = file
        .try_clone()
        .map_err(|error| StoreError::open(&path, error))?;
    lock.0
        .push(locked(own, &path, wait, File::try_lock_shared)?);
    let log = log_file(directory, false)?;
    let disk = Arc::new(FileDisk::of(&path, file));
    let engine = Engine::open(&path, disk, Some(log), Access::Inspect)?;
    Ok((lock, engine))
}

/// The log of a directory, which may be missing.
fn log_file(directory: &Path, is_writable: bool) -> Result<LogFile, StoreError> {
    let path = directory.join(wal::FILE);
    let disk = match open_file(&path, is_writable) {
        Ok(file) => FileDisk::of(&path, file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => FileDisk {
            path: path.clone(),
            file: OnceLock::new(),
        },
        Err(error) => return Err(StoreError::open(&path, error)),
    };
    Ok(LogFile {
        path,
        disk: Arc::new(disk),
        capacity: wal::CAPACITY,
    })
}

/// Refuses to make a database where there is the log of one.
fn without_log(directory: &Path) -> Result<(), StoreError> {
    let path = directory.join(wal::FILE);
    match path.symlink_metadata() {
        Ok(log) if log.len() > 0 => {
            let cause = format!("{FILE}, to which it belongs, is missing");
            Err(StoreError::damaged(&path, cause))
        }
        _ => Ok(()),
    }
}

/// Makes the store of a directory that has none. `fill` makes its content.
pub(super) fn import<E: From<StoreError>>(
    directory: &Path,
    wait: Duration,
    fill: impl FnOnce(&Engine) -> Result<(), E>,
) -> Result<PathBuf, E> {
    let _lock = lock(directory, wait)?;
    let path = directory.join(FILE);
    if path.symlink_metadata().is_ok() {
        return Err(StoreError::Exists(path).into());
    }
    without_log(directory)?;
    let new = directory.join(NEW);
    let made = || {
        let engine = create(&new)?;
        fill(&engine)?;
        engine.close();
        Ok(publish(&new, &path)?)
    };
    match made() {
        Ok(()) => Ok(path),
        Err(error) => {
            // Nothing is left of it; if this fails, the next one replaces it.
            let _ = fs::remove_file(&new);
            Err(error)
        }
    }
}

/// Locks a directory, and creates it if it is missing.
fn lock(directory: &Path, wait: Duration) -> Result<Lock, StoreError> {
    make(directory).map_err(|error| StoreError::open(directory, error))?;
    let path = directory.join(LOCK);
    let file = writable()
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|error| StoreError::open(&path, error))?;
    Ok(Lock(vec![locked(file, &path, wait, File::try_lock)?]))
}

/// Creates a directory if it is missing, durably.
fn make(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(directory)?;
    match directory.parent() {
        Some(parent) if parent != Path::new("") => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// Takes a lock on a file, or fails if another process has it all the time.
fn locked(
    file: File,
    path: &Path,
    wait: Duration,
    try_lock: fn(&File) -> Result<(), TryLockError>,
) -> Result<File, StoreError> {
    let until = Instant::now() + wait;
    loop {
        match try_lock(&file) {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(StoreError::open(path, error)),
            Err(TryLockError::WouldBlock) if Instant::now() < until => {
                thread::sleep(LOCK_INTERVAL);
            }
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::InUse(path.with_file_name(FILE)));
            }
        }
    }
}

/// Makes an empty store in a new file. One that another process has not finished is replaced.
fn create(new: &Path) -> Result<Engine, StoreError> {
    let failed = |error| StoreError::open(new, error);
    match fs::remove_file(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let file = writable().create_new(true).open(new).map_err(failed)?;
    Engine::create(new, Arc::new(FileDisk::of(new, file)))
}

/// Gives a complete file its name, durably.
fn publish(new: &Path, path: &Path) -> Result<(), StoreError> {
    let renamed = fs::rename(new, path).and_then(|()| match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    });
    renamed.map_err(|error| StoreError::io(path, error))
}

fn open_file(path: &Path, is_writable: bool) -> io::Result<File> {
    let mut options = writable();
    options.write(is_writable);
    let file = options.open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(file)
}

/// How files are opened that only the daemon may read: without following a symbolic link.
fn writable() -> OpenOptions {
    let mut options = OpenOptions::new();
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    options
        .read(true)
        .write(true)
        .mode(0o600)
        .custom_flags(flags);
    options
}

// === impl FileDisk ===

impl FileDisk {
    fn of(path: &Path, file: File) -> Self {
        Self {
            path: path.to_owned(),
            file: OnceLock::from(file),
        }
    }

    /// The file, which is made if it is missing.
    fn made(&self) -> io::Result<&File> {
        if self.file.get().is_none() {
            let file = writable().create_new(true).open(&self.path)?;
            if let Some(directory) = self.path.parent() {
                File::open(directory)?.sync_all()?;
            }
            let _ = self.file.set(file);
        }
        self.file.get().ok_or(io::ErrorKind::NotFound.into())
    }
}

impl StorageBackend for FileDisk {
    fn len(&self) -> io::Result<u64> {
        let file = self.file.get();
        file.map_or(Ok(0), |file| Ok(file.metadata()?.len()))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match self.file.get() {
            Some(file) => file.read_exact_at(out, offset),
            None if out.is_empty() => Ok(()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.made()?.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.made()?.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.made()?.write_all_at(data, offset)
    }
}
