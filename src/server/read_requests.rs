//! Requests to a task that looks at files now and then, to read them at once.

use tokio::sync::watch;

/// The requests, and that they are done. One at a time is made.
#[derive(Clone, Debug)]
pub(super) struct ReadRequests {
    /// How many were made.
    requested: watch::Sender<u64>,
    done: watch::Sender<()>,
}

// === impl ReadRequests ===

impl ReadRequests {
    pub(super) fn new() -> Self {
        Self {
            requested: watch::Sender::new(0),
            done: watch::Sender::new(()),
        }
    }

    /// Makes a request, and waits until the task has read the files; for ever if there is no such task.
    pub(super) async fn request(&self) {
        let mut done = self.done.subscribe();
        self.requested.send_modify(|count| *count += 1);
        // Never an error: this handle keeps the sender alive.
        let _ = done.changed().await;
    }

    /// For the task: what changes with each request, also with one that was made before.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        let mut requests = self.requested.subscribe();
        if *requests.borrow_and_update() > 0 {
            requests.mark_changed();
        }
        requests
    }

    /// For the task: the files were read.
    pub(super) fn done(&self) {
        self.done.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_request_before_the_task_begins_is_not_lost() {
        let requests = ReadRequests::new();
        assert!(requests.subscribe().changed().now_or_never().is_none());
        let task = async {
            let mut requested = requests.subscribe();
            assert!(requested.changed().await.is_ok());
            requests.done();
        };
        tokio::join!(requests.request(), task);
    }
}
