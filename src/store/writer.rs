//! The thread that writes: it makes one commit, and so one fsync, of all batches that wait.

use std::{
    pin::Pin,
    sync::{Arc, mpsc::SyncSender},
    task::{Context, Poll, ready},
    thread,
};

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::{
    batch::{MAX_BATCH_BYTES, WriteBatch},
    directory::Lock,
    engine::Engine,
    error::StoreError,
};
use crate::trace::Begun;

/// Batches that may wait, and a multiple of the requests that write at once by default.
pub(super) const MAX_WAITING: usize = 4096;

/// Memory in bytes of the batches that may wait. One batch may need all of it.
pub(super) const MAX_WAITING_BYTES: usize = MAX_BATCH_BYTES;

/// Bytes of the batches of one commit, unless the first one alone has more: a few milliseconds of work,
/// so that the requests in it do not wait much longer for the others than for the disk.
const MAX_GROUP_BYTES: usize = 4 << 20;

/// Batches of one commit.
const MAX_GROUP: usize = 1024;

/// What the thread is asked for.
pub(super) enum Message {
    Write(Request),
    /// Write what waits, close the file, and end.
    Close,
}

/// A batch that waits.
pub(super) struct Request {
    pub(super) batch: WriteBatch,
    pub(super) reply: oneshot::Sender<Result<(), StoreError>>,
    /// The memory of the batch, of [`MAX_WAITING_BYTES`].
    pub(super) permit: OwnedSemaphorePermit,
}

/// A batch that was submitted. As a future, it is ready when the batch is durable or was refused. The batch is
/// written even if this is dropped.
#[derive(Debug)]
#[must_use = "the batch is not durable yet"]
pub struct Commit {
    progress: Progress,
    /// When it was submitted, and the trace of the request. Its span is recorded if it is awaited.
    submitted: Begun,
}

#[derive(Debug)]
enum Progress {
    Done(Result<(), StoreError>),
    Waiting(oneshot::Receiver<Result<(), StoreError>>),
}

struct Writer {
    engine: Arc<Engine>,
    messages: mpsc::Receiver<Message>,
    /// What was received and is in no commit yet.
    next: Option<Message>,
}

/// Starts the thread. It ends with the last sender of `messages`, or when it is asked to. Then it closes the file,
/// and drops `lock` and `ended`.
pub(super) fn start(
    engine: Arc<Engine>,
    lock: Lock,
    messages: mpsc::Receiver<Message>,
    ended: SyncSender<()>,
) -> Result<(), StoreError> {
    let writer = Writer {
        engine,
        messages,
        next: None,
    };
    let run = move || {
        writer.run();
        drop(lock);
        drop(ended);
    };
    match thread::Builder::new()
        .name("ipvsd-store".to_owned())
        .spawn(run)
    {
        Ok(_) => Ok(()),
        Err(error) => Err(StoreError::Thread(Arc::new(error))),
    }
}

// === impl Writer ===

impl Writer {
    fn run(mut self) {
        while let Some(group) = self.group() {
            let (batches, replies): (Vec<_>, Vec<_>) = group
                .into_iter()
                .map(|request| (request.batch, (request.reply, request.permit)))
                .unzip();
            let outcome = self.engine.apply(batches);
            if let Err(error) = &outcome {
                tracing::error!(error = error.report(), "nothing could be stored");
            }
            for (reply, permit) in replies {
                drop(permit);
                // The caller may not wait any more.
                let _ = reply.send(outcome.clone());
            }
        }
        self.messages.close();
        self.engine.close();
    }

    /// The batches of the next commit, in the order in which they were submitted; `None` at the end.
    fn group(&mut self) -> Option<Vec<Request>> {
        let first = match self.next.take() {
            Some(message) => message,
            None => self.messages.blocking_recv()?,
        };
        let Message::Write(first) = first else {
            return None;
        };
        // On a busy machine those that have a batch to submit come first, and share the fsync. On one that is not,
        // this returns at once.
        thread::yield_now();
        let mut bytes = first.batch.bytes();
        let mut group = vec![first];
        while group.len() < MAX_GROUP
            && let Ok(message) = self.messages.try_recv()
        {
            match message {
                Message::Write(request) if bytes + request.batch.bytes() <= MAX_GROUP_BYTES => {
                    bytes += request.batch.bytes();
                    group.push(request);
                }
                later => {
                    self.next = Some(later);
                    break;
                }
            }
        }
        Some(group)
    }
}

// === impl Commit ===

impl Commit {
    pub(super) fn done(outcome: Result<(), StoreError>) -> Self {
        Self {
            progress: Progress::Done(outcome),
            submitted: Begun::default(),
        }
    }

    pub(super) fn waiting(reply: oneshot::Receiver<Result<(), StoreError>>) -> Self {
        Self {
            progress: Progress::Waiting(reply),
            submitted: Begun::now(),
        }
    }
}

impl Future for Commit {
    type Output = Result<(), StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = match &mut self.progress {
            Progress::Done(outcome) => outcome.clone(),
            // The thread ends without a reply if it panics, or is closed.
            Progress::Waiting(reply) => {
                ready!(Pin::new(reply).poll(context)).unwrap_or(Err(StoreError::Closed))
            }
        };
        let span = std::mem::take(&mut self.submitted).span("store commit");
        if let Err(error) = &outcome {
            span.fail(error.reason().as_str());
        }
        Poll::Ready(outcome)
    }
}
