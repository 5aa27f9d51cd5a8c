//! The only owner of sockets to the kernel.
//!
//! A generic-netlink request runs inside `send` and a dump inside `recv`, in the caller's thread and
//! under one mutex of the kernel. So one plain thread owns the socket (`worker.rs`), and the async
//! world reaches it by a bounded channel: nothing below [`Executor`] is async, and nothing above it
//! touches the kernel.

mod act;
mod cache;
mod change;
mod connections;
mod link;
mod pack;
mod reader;
mod session;
mod unavailable;
mod worker;

#[cfg(test)]
mod tests;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use cache::Cache;
use tokio::sync::{Semaphore, mpsc, oneshot};
use worker::{Aged, Job, Waiting, Worker};

use crate::kernel::Kernel;
use crate::model::{Error, Query, Reason};
pub use cache::{RenderCache, Told};
pub use change::{Batch, Change, Changed, Decide, Plan, Seen, Step};

/// The way to the kernel. Cheap to clone; the thread ends with the last of them.
#[derive(Clone, Debug)]
pub struct Executor {
    // Before the bell: when that rings for the last time, the queue is closed.
    jobs: mpsc::Sender<Job>,
    bell: Arc<Bell>,
    cache: Arc<Cache>,
    kernel: Arc<dyn Kernel>,
    streams: Arc<Semaphore>,
}

/// How much the executor takes on.
#[derive(Clone, Copy, Debug)]
pub struct ExecutorLimits {
    /// Requests that may wait for the kernel; one more is refused at once.
    pub queue_length: usize,
    /// Readings of the connection table at a time: each has a thread of its own.
    pub connection_streams: usize,
}

/// Wakes the thread, once for all who come at the same moment: the thread would begin with the
/// first of them alone, and each would cost a wake-up and a send of its own.
#[derive(Debug)]
struct Bell {
    thread: thread::Thread,
    /// Whether somebody is about to ring.
    pending: AtomicBool,
}

/// Somebody who is about to ring, and does even if nobody waits for it any more.
struct Ringer<'a>(&'a Bell);

/// An operation that runs when its deadline passes is waited for this long: it knows whether it
/// was carried out.
const GRACE: Duration = Duration::from_secs(5);

// === impl Executor ===

impl Executor {
    /// Starts the thread in the kernel's namespace. Fails where that cannot be entered; a kernel
    /// without IPVS is no failure here, but of each request.
    pub fn start(kernel: Arc<dyn Kernel>, limits: ExecutorLimits) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel(limits.queue_length.max(1));
        let cache = Arc::new(Cache::default());
        let worker = Worker::new(kernel.clone(), queue, cache.clone());
        let (entered, result) = std::sync::mpsc::channel();
        let own = kernel.clone();
        let thread = thread::Builder::new()
            .name("ipvs-netlink".to_owned())
            .spawn(move || {
                let enter = own.enter();
                let failed = enter.is_err();
                if entered.send(enter).is_ok() && !failed {
                    worker.run();
                }
            })?;
        result.recv().map_err(io::Error::other)??;
        let streams = Arc::new(Semaphore::new(limits.connection_streams.max(1)));
        let bell = Arc::new(Bell {
            thread: thread.thread().clone(),
            pending: AtomicBool::new(false),
        });
        Ok(Self {
            jobs,
            bell,
            cache,
            kernel,
            streams,
        })
    }

    /// Answers a question. The answer is at most `max_age` old: zero for a fresh one. It is kept
    /// for others only where an old one was accepted: who wants fresh ones costs no memory.
    pub async fn ask(
        &self,
        query: Query,
        max_age: Duration,
        deadline: Instant,
    ) -> Result<Told<Seen>, Error> {
        if let Some(told) = self.cache.answer(query, max_age) {
            return Ok(told);
        }
        let question = Aged {
            about: query,
            max_age,
        };
        self.submit(question, deadline, Job::Ask).await
    }

    /// Makes a change.
    pub async fn change(&self, change: Change, deadline: Instant) -> Result<Changed, Error> {
        self.submit(change, deadline, Job::Change).await
    }

    /// Carries out operations in their order, and tells what came of each: of all of them, or of
    /// those up to the first that failed where the batch stops there.
    pub async fn batch(
        &self,
        batch: Batch,
        deadline: Instant,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        self.submit(batch, deadline, Job::Batch).await
    }

    /// Reads small text files below `/proc`, `None` for each that is missing; or tells what they
    /// said at most `max_age` ago.
    pub async fn read_files(
        &self,
        paths: Vec<String>,
        max_age: Duration,
        deadline: Instant,
    ) -> Result<Vec<Option<String>>, Error> {
        if let Some(texts) = self.cache.texts(&paths, max_age) {
            return Ok(texts);
        }
        let question = Aged {
            about: paths,
            max_age,
        };
        self.submit(question, deadline, Job::Read).await
    }

    /// Writes small text files below `/proc`, as `(path, text)`: all, or none where one is refused.
    pub async fn write_files(
        &self,
        files: Vec<(String, String)>,
        deadline: Instant,
    ) -> Result<(), Error> {
        self.submit(files, deadline, Job::Write).await
    }

    async fn submit<Q, A>(
        &self,
        request: Q,
        deadline: Instant,
        job: impl FnOnce(Waiting<Q, A>) -> Job,
    ) -> Result<A, Error> {
        let (reply, answer) = oneshot::channel();
        self.jobs
            .try_send(job(Waiting {
                request,
                deadline,
                reply,
            }))
            .map_err(|full| match full {
                mpsc::error::TrySendError::Full(_) => {
                    Error::new(Reason::RateLimited, "too many requests wait for the kernel")
                        .with_hint("try again a little later; limits.queue_length bounds them")
                }
                mpsc::error::TrySendError::Closed(_) => {
                    Error::new(Reason::Internal, "the executor has ended")
                }
            })?;
        self.bell.ring().await;
        match tokio::time::timeout_at((deadline + GRACE).into(), answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Error::new(
                Reason::Internal,
                "the executor failed on this request",
            )),
            Err(_) => Err(Error::new(
                Reason::DeadlineExceeded,
                "the kernel has not answered; a change may still be carried out",
            )
            .with_hint("look at it before trying again")),
        }
    }
}

// === impl Bell ===

impl Bell {
    /// Rings when those have come who can run now; who comes while somebody is about to ring is
    /// heard with them.
    async fn ring(&self) {
        if !self.pending.swap(true, Ordering::AcqRel) {
            let _ringer = Ringer(self);
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.thread.unpark();
    }
}

impl Drop for Ringer<'_> {
    fn drop(&mut self) {
        // What was put into the queue before this is seen by the thread after it.
        self.0.pending.swap(false, Ordering::AcqRel);
        self.0.thread.unpark();
    }
}

// === impl ExecutorLimits ===

impl Default for ExecutorLimits {
    fn default() -> Self {
        Self {
            queue_length: 1024,
            connection_streams: 4,
        }
    }
}
