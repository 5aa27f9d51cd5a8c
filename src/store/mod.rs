//! The stored state: an embedded, transactional store for what the kernel cannot hold.
//!
//! It holds records of any serialisable type, in named [collections](Collection), as JSON by key. The files
//! are `state.redb`, a database, and `state.wal`, the log before it, in the directory of the state; docs/state.md
//! describes them for operators.
//!
//! - **Durable**: when [`Store::write`] returns, the batch is on the disk (fsync). A thread makes one
//!   commit of all batches that wait, so that many clients share an fsync.
//! - **Atomic**: a batch is there as a whole or not at all, also after a crash, a full disk or an error of the
//!   disk.
//! - **Ordered**: batches are made in the order in which they were submitted. One may succeed although one
//!   before it failed.
//! - A file that is damaged, or of a newer version, is refused and left as it is.
//!
//! Reads block, and are meant for the start: what is needed later is kept by its owner. Keys are text, composed
//! with `/`. No record has a secret.

mod archive;
mod batch;
mod collection;
mod database;
mod directory;
mod engine;
mod error;
mod gate;
mod memory;
mod wal;
mod writer;

#[cfg(test)]
pub(crate) mod tests;

use std::{
    path::Path,
    pin::pin,
    sync::{Arc, Mutex, PoisonError, mpsc::Receiver, mpsc::sync_channel},
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc, oneshot};

pub use archive::{ArchiveError, CheckReport, ImportReport, check, export, import};
pub use batch::{MAX_BATCH_BYTES, MAX_KEY_BYTES, WriteBatch};
pub use collection::Collection;
pub use database::FORMAT;
pub use engine::CollectionSize;
pub use error::StoreError;
pub use writer::Commit;

use engine::Engine;
use memory::Memory;
use writer::{MAX_WAITING, MAX_WAITING_BYTES, Message, Request};

/// The stored state. Clones share it.
#[derive(Clone, Debug)]
pub struct Store(Arc<Kind>);

#[derive(Debug)]
enum Kind {
    Memory(Memory),
    File(FileStore),
    Unavailable(StoreError),
}

#[derive(Debug)]
struct FileStore {
    engine: Arc<Engine>,
    messages: mpsc::Sender<Message>,
    /// Memory of batches that may still be submitted, in bytes.
    bytes: Arc<Semaphore>,
    /// Disconnected when the thread has ended.
    ended: Mutex<Receiver<()>>,
}

/// How a store is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// Time to wait for another process that has it open; default 2 s, for a daemon that ends, or for
    /// `ipvsd state check`.
    pub lock_timeout: Duration,
}

// === impl Store ===

impl Store {
    /// Opens the store of a directory. Both are created if they are missing, the directory with mode 0700, the
    /// file with 0600. Fails if another process has it open, and if it is damaged or newer; the file is then
    /// left as it is. Blocks: the whole file is verified.
    pub fn open(directory: &Path, options: &StoreOptions) -> Result<Self, StoreError> {
        let (lock, engine) = directory::open(directory, options.lock_timeout)?;
        Self::start(lock, engine)
    }

    fn start(lock: directory::Lock, engine: Engine) -> Result<Self, StoreError> {
        let engine = Arc::new(engine);
        let (messages, receiver) = mpsc::channel(MAX_WAITING);
        let (end, ended) = sync_channel(0);
        writer::start(engine.clone(), lock, receiver, end)?;
        Ok(Self(Arc::new(Kind::File(FileStore {
            engine,
            messages,
            bytes: Arc::new(Semaphore::new(MAX_WAITING_BYTES)),
            ended: Mutex::new(ended),
        }))))
    }

    /// An empty store in memory, which ends with the process. It never fails.
    pub fn in_memory() -> Self {
        Self(Arc::new(Kind::Memory(Memory::default())))
    }

    /// The store of a daemon that serves although its store cannot be used: every read and write fails with
    /// this error.
    pub fn unavailable(error: StoreError) -> Self {
        Self(Arc::new(Kind::Unavailable(error)))
    }

    /// The error of every read and write, if the store could not be opened.
    pub fn unavailable_because(&self) -> Option<&StoreError> {
        match &*self.0 {
            Kind::Unavailable(error) => Some(error),
            Kind::Memory(_) | Kind::File(_) => None,
        }
    }

    /// Fails with the error of every read and write, if the store could not be opened.
    pub fn available(&self) -> Result<(), StoreError> {
        let error = self.unavailable_because();
        error.map_or(Ok(()), |error| Err(error.clone()))
    }

    /// The file; `None` for a store in memory.
    pub fn path(&self) -> Option<&Path> {
        match &*self.0 {
            Kind::File(file) => Some(file.engine.path()),
            Kind::Memory(_) | Kind::Unavailable(_) => None,
        }
    }

    /// All records of a collection, in the order of their keys. Blocks.
    pub fn load<V: DeserializeOwned>(
        &self,
        collection: &Collection<V>,
    ) -> Result<Vec<(String, V)>, StoreError> {
        self.load_prefix(collection, "")
    }

    /// As [`load`](Self::load), for a daemon that serves although its store could not be opened: no records then.
    pub fn load_if_available<V: DeserializeOwned>(
        &self,
        collection: &Collection<V>,
    ) -> Result<Vec<(String, V)>, StoreError> {
        match self.unavailable_because() {
            Some(_) => Ok(Vec::new()),
            None => self.load(collection),
        }
    }

    /// The records whose keys begin with `prefix`, in the order of their keys. Blocks.
    pub fn load_prefix<V: DeserializeOwned>(
        &self,
        collection: &Collection<V>,
        prefix: &str,
    ) -> Result<Vec<(String, V)>, StoreError> {
        let mut records = Vec::new();
        let mut visit = |key: &str, value: &[u8]| {
            records.push((key.to_owned(), parse(collection, key, value)?));
            Ok(())
        };
        let name = collection.name();
        match &*self.0 {
            Kind::Memory(memory) => memory.scan(name, prefix, &mut visit)?,
            Kind::File(file) => file.engine.scan(name, prefix, &mut visit)?,
            Kind::Unavailable(error) => return Err(error.clone()),
        }
        Ok(records)
    }

    /// The record of a key, if there is one. Blocks.
    pub fn get<V: DeserializeOwned>(
        &self,
        collection: &Collection<V>,
        key: &str,
    ) -> Result<Option<V>, StoreError> {
        let name = collection.name();
        let value = match &*self.0 {
            Kind::Memory(memory) => memory.get(name, key),
            Kind::File(file) => file.engine.get(name, key)?,
            Kind::Unavailable(error) => return Err(error.clone()),
        };
        value
            .map(|value| parse(collection, key, &value))
            .transpose()
    }

    /// Makes the changes of a batch, and returns when they are durable. While too many batches wait, it waits
    /// until there are fewer. If it fails, nothing was changed. If the future is dropped, the batch is written or
    /// not.
    pub async fn write(&self, batch: WriteBatch) -> Result<(), StoreError> {
        let Some(file) = self.file_for(&batch) else {
            return self.submit(batch)?.await;
        };
        let permit = file.acquire(&batch).await?;
        file.send(batch, permit).await?.await
    }

    /// As [`write`](Self::write), but fails with [`StoreError::Deadline`] if there are too many batches
    /// until then. A batch that is queued is written, and its outcome awaited, whatever the time.
    pub async fn write_before(
        &self,
        batch: WriteBatch,
        deadline: Instant,
    ) -> Result<(), StoreError> {
        let Some(file) = self.file_for(&batch) else {
            return self.submit(batch)?.await;
        };
        let queued = async {
            let permit = file.acquire(&batch).await?;
            file.send(batch, permit).await
        };
        match tokio::time::timeout_at(deadline.into(), queued).await {
            Ok(queued) => queued?.await,
            Err(_) => Err(StoreError::Deadline),
        }
    }

    /// As [`write`](Self::write), for callers that are not async. Blocks the thread.
    pub fn write_blocking(&self, batch: WriteBatch) -> Result<(), StoreError> {
        block_on(self.write(batch))
    }

    /// Submits a batch without waiting: it will be made after those that were submitted before, and before those
    /// that are submitted later. The result says when it is durable. Fails with [`StoreError::Busy`] if too many
    /// batches wait.
    ///
    /// For changes whose order matters: they are submitted where the order is decided, and awaited afterwards, so
    /// that those of several requests share a transaction.
    pub fn submit(&self, batch: WriteBatch) -> Result<Commit, StoreError> {
        match &*self.0 {
            Kind::Unavailable(error) => Err(error.clone()),
            _ if batch.is_empty() => Ok(Commit::done(Ok(()))),
            Kind::Memory(memory) => {
                memory.apply(&batch);
                Ok(Commit::done(Ok(())))
            }
            Kind::File(file) => file.submit(batch),
        }
    }

    /// The file to which the batch must be written, if it is not done at once.
    fn file_for(&self, batch: &WriteBatch) -> Option<&FileStore> {
        match &*self.0 {
            Kind::File(file) if !batch.is_empty() => Some(file),
            _ => None,
        }
    }

    /// Writes what waits, and closes the file, so that the next start needs no repair. Further writes fail with
    /// [`StoreError::Closed`]. Blocks, up to `timeout`; returns false if it is not closed by then. Must not be
    /// called by async code.
    pub fn close(&self, timeout: Duration) -> bool {
        let Kind::File(file) = &*self.0 else {
            return true;
        };
        let until = Instant::now() + timeout;
        let ended = file.ended.lock().unwrap_or_else(PoisonError::into_inner);
        // The queue stays full if the disk does not respond.
        while let Err(mpsc::error::TrySendError::Full(_)) = file.messages.try_send(Message::Close) {
            if Instant::now() >= until {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
        let left = until.saturating_duration_since(Instant::now());
        let end = ended.recv_timeout(left);
        end == Err(std::sync::mpsc::RecvTimeoutError::Disconnected)
    }
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            lock_timeout: Duration::from_secs(2),
        }
    }
}

// === impl FileStore ===

impl FileStore {
    /// Waits for the memory of a batch.
    async fn acquire(&self, batch: &WriteBatch) -> Result<OwnedSemaphorePermit, StoreError> {
        let permit = self.bytes.clone().acquire_many_owned(permits(batch)).await;
        permit.map_err(|_| StoreError::Closed)
    }

    async fn send(
        &self,
        batch: WriteBatch,
        permit: OwnedSemaphorePermit,
    ) -> Result<Commit, StoreError> {
        let (reply, outcome) = oneshot::channel();
        let request = Message::Write(Request {
            batch,
            reply,
            permit,
        });
        let sent = self.messages.send(request).await;
        sent.map_err(|_| StoreError::Closed)?;
        Ok(Commit::waiting(outcome))
    }

    fn submit(&self, batch: WriteBatch) -> Result<Commit, StoreError> {
        let permit = self.bytes.clone().try_acquire_many_owned(permits(&batch));
        let permit = permit.map_err(|error| match error {
            TryAcquireError::NoPermits => StoreError::Busy,
            TryAcquireError::Closed => StoreError::Closed,
        })?;
        let (reply, outcome) = oneshot::channel();
        let request = Message::Write(Request {
            batch,
            reply,
            permit,
        });
        match self.messages.try_send(request) {
            Ok(()) => Ok(Commit::waiting(outcome)),
            Err(mpsc::error::TrySendError::Full(_)) => Err(StoreError::Busy),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(StoreError::Closed),
        }
    }
}

/// A batch has at most [`MAX_BATCH_BYTES`].
fn permits(batch: &WriteBatch) -> u32 {
    u32::try_from(batch.bytes()).unwrap_or(u32::MAX)
}

fn parse<V: DeserializeOwned>(
    collection: &Collection<V>,
    key: &str,
    value: &[u8],
) -> Result<V, StoreError> {
    serde_json::from_slice(value).map_err(|error| StoreError::record(collection.name(), key, error))
}

/// Unparks a thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future that needs no runtime on this thread.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
