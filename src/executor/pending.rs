//! A request that waits for the executor, and the two ends of its result.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use tokio::sync::oneshot;

use crate::{
    model::{Error, Reason},
    trace::{Begun, Span},
};

/// A request and the channel for its result.
pub struct Pending<Q, A> {
    /// The request.
    pub request: Q,
    /// Deadline of the request.
    pub deadline: Instant,
    /// Receives the result.
    pub reply: Reply<A>,
}

/// The end of the channel that the thread has.
pub struct Reply<A> {
    sender: oneshot::Sender<Result<A, Error>>,
    taken: Arc<AtomicBool>,
    /// When the request began to wait, and its trace.
    queued: Begun,
}

/// The end of the channel that waits for the result.
pub struct Awaited<A> {
    pub(super) receiver: oneshot::Receiver<Result<A, Error>>,
    /// Set by the thread when it starts a change, or by this end when it gives up: the first of the two
    /// decides whether the change is executed.
    pub(super) taken: Arc<AtomicBool>,
}

/// The name of the span of a wait.
const EXECUTOR_QUEUE: &str = "executor queue";

/// The name of the span of a change.
pub const KERNEL_WRITE: &str = "kernel write";

/// A channel for the result of a request.
pub fn channel<A>() -> (Reply<A>, Awaited<A>) {
    let (sender, receiver) = oneshot::channel();
    let taken = Arc::new(AtomicBool::new(false));
    let reply = Reply {
        sender,
        taken: taken.clone(),
        queued: Begun::now(),
    };
    (reply, Awaited { receiver, taken })
}

/// The error for a request whose deadline has passed.
pub fn not_started() -> Error {
    Error::new(
        Reason::DeadlineExceeded,
        "the deadline passed before the request was sent to the kernel; nothing was done",
    )
}

/// The error for a request whose reply channel was dropped.
pub fn failed() -> Error {
    Error::new(Reason::Internal, "the executor failed on this request")
}

// === impl Pending ===

impl<Q, A> Pending<Q, A> {
    /// The request, if its receiver exists and its deadline is after `now`; otherwise it is completed
    /// with an error.
    pub fn wanted(self, now: Instant) -> Option<Self> {
        if self.reply.sender.is_closed() {
            return None;
        }
        if self.deadline <= now {
            let queued = self.reply.queued.span(EXECUTOR_QUEUE);
            queued.fail(Reason::DeadlineExceeded.as_str());
            self.reply(Err(not_started()));
            return None;
        }
        Some(self)
    }

    /// The change, if it is [wanted](Self::wanted). From now on its receiver waits for the outcome.
    pub fn start(self, now: Instant) -> Option<Self> {
        let wanted = self.wanted(now)?;
        let given_up = wanted.reply.taken.swap(true, Ordering::AcqRel);
        (!given_up).then_some(wanted)
    }

    /// The request has waited, and runs: the span of its run.
    pub fn span(&self, name: &'static str) -> Span {
        let queued = &self.reply.queued;
        queued.span(EXECUTOR_QUEUE).end();
        queued.trace().span(name)
    }

    /// Sends the result. The receiver may be gone; a change stays executed.
    pub fn reply(self, result: Result<A, Error>) {
        drop(self.reply.sender.send(result));
    }
}
