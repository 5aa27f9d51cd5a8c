//! What is between redb and the file: it decides which writes reach the file.
//!
//! - While a store is opened, writes are held in memory. redb writes to a file that it opens, and repairs one
//!   that was not closed. A file that turns out to be damaged or newer must stay as it is.
//! - After a failed commit, what the commit wrote to the header is written back. Otherwise a commit that was
//!   reported as failed could be there after the next start, because the kernel may still write its pages.

use std::{
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use redb::StorageBackend;

/// A file, or what a test has instead of one.
pub(super) type Disk = Arc<dyn StorageBackend>;

/// The file as redb sees it. Clones share it.
#[derive(Clone)]
pub(super) struct Gate(Arc<Shared>);

struct Shared {
    disk: Disk,
    mode: RwLock<Mode>,
}

enum Mode {
    /// Writes are held.
    Held(Mutex<Held>),
    /// Writes reach the file.
    Live(Mutex<Header>),
    /// Writes fail.
    Closed(Option<Header>),
}

/// Writes that are held, over the content of the file.
struct Held {
    steps: Vec<Step>,
    /// Memory of the steps in bytes.
    bytes: usize,
    /// Length of the content with the steps.
    len: u64,
    /// Up to here the content of the file counts where no step has replaced it.
    base: u64,
}

enum Step {
    Write { offset: u64, data: Vec<u8> },
    SetLen(u64),
    Sync,
}

/// The beginning of the file, which says which commit is the last one.
struct Header {
    /// As written.
    written: [u8; HEADER],
    /// As it was when the file was last synchronised.
    durable: [u8; HEADER],
}

/// Size of redb's header in bytes, rounded up to a page.
const HEADER: usize = 4096;

/// Memory of the writes that are held, in bytes. A repair writes the header and the state of the allocator,
/// about a bit for each page of 4 KiB.
const MAX_HELD: usize = 64 << 20;

// === impl Gate ===

impl Gate {
    /// The gate of a file. Writes are held.
    pub(super) fn new(disk: Disk) -> io::Result<Self> {
        let len = disk.len()?;
        let held = Held {
            steps: Vec::new(),
            bytes: 0,
            len,
            base: len,
        };
        Ok(Self(Arc::new(Shared {
            disk,
            mode: RwLock::new(Mode::Held(Mutex::new(held))),
        })))
    }

    /// Makes the writes that were held, and lets further ones through.
    pub(super) fn release(&self) -> io::Result<()> {
        let mut mode = self.0.mode.write().unwrap_or_else(PoisonError::into_inner);
        let disk = &self.0.disk;
        if let Mode::Held(held) = &*mode {
            for step in &lock(held).steps {
                match step {
                    Step::Write { offset, data } => disk.write(*offset, data)?,
                    Step::SetLen(len) => disk.set_len(*len)?,
                    Step::Sync => disk.sync_data()?,
                }
            }
            disk.sync_data()?;
            let mut header = [0; HEADER];
            let len = usize::try_from(disk.len()?).unwrap_or(HEADER).min(HEADER);
            disk.read(0, &mut header[..len])?;
            *mode = Mode::Live(Mutex::new(Header {
                written: header,
                durable: header,
            }));
        }
        Ok(())
    }

    /// Makes all further writes fail.
    pub(super) fn close(&self) {
        let mut mode = self.0.mode.write().unwrap_or_else(PoisonError::into_inner);
        *mode = match std::mem::replace(&mut *mode, Mode::Closed(None)) {
            Mode::Live(header) => Mode::Closed(Some(
                header.into_inner().unwrap_or_else(PoisonError::into_inner),
            )),
            Mode::Held(_) => Mode::Closed(None),
            closed @ Mode::Closed(_) => closed,
        };
    }

    /// Makes a file that is closed as it was after the last successful commit. After an error, it may have the
    /// commit that failed; another call tries again.
    pub(super) fn roll_back(&self) -> io::Result<()> {
        let mut mode = self.0.mode.write().unwrap_or_else(PoisonError::into_inner);
        if let Mode::Closed(Some(header)) = &*mode {
            if header.written != header.durable {
                self.0.disk.write(0, &header.durable)?;
                self.0.disk.sync_data()?;
            }
            *mode = Mode::Closed(None);
        }
        Ok(())
    }

    /// Calls something with the mode.
    fn with<T>(&self, call: impl FnOnce(&Mode) -> io::Result<T>) -> io::Result<T> {
        call(&self.0.mode.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl StorageBackend for Gate {
    fn len(&self) -> io::Result<u64> {
        self.with(|mode| match mode {
            Mode::Held(held) => Ok(lock(held).len),
            Mode::Live(_) | Mode::Closed(_) => self.0.disk.len(),
        })
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.with(|mode| match mode {
            Mode::Held(held) => lock(held).read(&self.0.disk, offset, out),
            Mode::Live(_) | Mode::Closed(_) => self.0.disk.read(offset, out),
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|mode| match mode {
            Mode::Held(held) => lock(held).set_len(len),
            Mode::Live(_) => self.0.disk.set_len(len),
            Mode::Closed(_) => Err(closed()),
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|mode| match mode {
            Mode::Held(held) => {
                lock(held).steps.push(Step::Sync);
                Ok(())
            }
            Mode::Live(header) => {
                self.0.disk.sync_data()?;
                let mut header = lock(header);
                header.durable = header.written;
                Ok(())
            }
            Mode::Closed(_) => Err(closed()),
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.with(|mode| match mode {
            Mode::Held(held) => lock(held).write(offset, data),
            Mode::Live(header) => {
                if let Ok(start @ ..HEADER) = usize::try_from(offset) {
                    let end = HEADER.min(start + data.len());
                    lock(header).written[start..end].copy_from_slice(&data[..end - start]);
                }
                self.0.disk.write(offset, data)
            }
            Mode::Closed(_) => Err(closed()),
        })
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gate").field(&self.0.disk).finish()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn closed() -> io::Error {
    io::Error::other("the file is closed")
}

// === impl Held ===

impl Held {
    fn read(&self, disk: &Disk, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let end = offset.saturating_add(out.len() as u64);
        if end > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        out.fill(0);
        let in_base = self.base.min(end).saturating_sub(offset);
        let in_base = usize::try_from(in_base).unwrap_or(0);
        if in_base > 0 {
            disk.read(offset, &mut out[..in_base])?;
        }
        for step in &self.steps {
            match step {
                Step::Write { offset: at, data } => overlay(offset, out, *at, data),
                // What was beyond the end is zero if the file grows again.
                Step::SetLen(len) => {
                    let kept = usize::try_from(len.saturating_sub(offset)).unwrap_or(usize::MAX);
                    if let Some(cut) = out.get_mut(kept..) {
                        cut.fill(0);
                    }
                }
                Step::Sync => {}
            }
        }
        Ok(())
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.bytes += data.len();
        if self.bytes > MAX_HELD {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.len = self.len.max(offset.saturating_add(data.len() as u64));
        let data = data.to_vec();
        self.steps.push(Step::Write { offset, data });
        Ok(())
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.len = len;
        self.base = self.base.min(len);
        self.steps.push(Step::SetLen(len));
        Ok(())
    }
}

/// Copies the part of `data`, which begins at `at`, that is in `out`, which begins at `offset`.
fn overlay(offset: u64, out: &mut [u8], at: u64, data: &[u8]) {
    let start = offset.max(at);
    let end = (offset + out.len() as u64).min(at + data.len() as u64);
    if start < end {
        // Both differences are at most the length of a slice.
        let (to, from) = ((start - offset) as usize, (start - at) as usize);
        let length = (end - start) as usize;
        out[to..to + length].copy_from_slice(&data[from..from + length]);
    }
}
