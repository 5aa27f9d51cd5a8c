//! A request that waits for the thread.

use std::time::Instant;

use tokio::sync::oneshot;

use crate::model::{Error, Reason};

/// A request and the channel for its result.
pub struct Pending<Q, A> {
    /// The request.
    pub request: Q,
    /// Deadline of the request.
    pub deadline: Instant,
    /// Receives the result.
    pub reply: oneshot::Sender<Result<A, Error>>,
}

impl<Q, A> Pending<Q, A> {
    /// The request, if its receiver exists and its deadline is after `now`; otherwise it is completed
    /// with an error.
    pub fn wanted(self, now: Instant) -> Option<Self> {
        if self.reply.is_closed() {
            return None;
        }
        if self.deadline <= now {
            self.reply(Err(Error::new(
                Reason::DeadlineExceeded,
                "the deadline passed before the request was sent to the kernel; nothing was done",
            )));
            return None;
        }
        Some(self)
    }

    /// Sends the result. The receiver may be gone; a change stays executed.
    pub fn reply(self, result: Result<A, Error>) {
        drop(self.reply.send(result));
    }
}
