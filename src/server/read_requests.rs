//! Requests to a task that looks at files now and then, to read them at once.

use tokio::sync::watch;

/// The requests, and that they are done. One at a time is made.
#[derive(Clone, Debug)]
pub(super) struct ReadRequests {
    requested: watch::Sender<()>,
    done: watch::Sender<()>,
}

// === impl ReadRequests ===

impl ReadRequests {
    pub(super) fn new() -> Self {
        Self {
            requested: watch::Sender::new(()),
            done: watch::Sender::new(()),
        }
    }

    /// Makes a request, and waits until the task has read the files; for ever if there is no such task.
    pub(super) async fn request(&self) {
        let mut done = self.done.subscribe();
        self.requested.send_replace(());
        // Never an error: this handle keeps the sender alive.
        let _ = done.changed().await;
    }

    /// For the task: what changes with each request.
    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.requested.subscribe()
    }

    /// For the task: the files were read.
    pub(super) fn done(&self) {
        self.done.send_replace(());
    }
}
