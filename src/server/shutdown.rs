//! Shutdown in two steps: drain, then abort what is left.

use std::sync::Arc;

use tokio::sync::watch;

/// Phase of the shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// No shutdown was requested.
    Running,
    /// New connections are not accepted; requests in progress have `limits.shutdown_grace` to
    /// complete.
    Draining,
    /// The remaining connections are closed.
    Aborting,
}

/// A handle to request the shutdown and to wait for it. Clones share one state.
///
/// Responses without an end (watches) should end at [`Phase::Draining`]. Otherwise they delay the
/// shutdown for the whole grace period and are aborted then.
#[derive(Clone, Debug)]
pub struct Shutdown(Arc<watch::Sender<Phase>>);

impl Shutdown {
    /// A handle to a server that runs.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Phase::Running)))
    }

    /// Advances to the next phase.
    pub fn advance(&self) {
        self.0.send_modify(|phase| {
            *phase = match phase {
                Phase::Running => Phase::Draining,
                Phase::Draining | Phase::Aborting => Phase::Aborting,
            }
        });
    }

    /// Advances to [`Phase::Aborting`].
    pub fn abort(&self) {
        self.0.send_replace(Phase::Aborting);
    }

    /// The current phase.
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Waits until `phase` is reached.
    pub async fn reached(&self, phase: Phase) {
        // Never an error: this handle keeps the sender alive.
        let _ = self.0.subscribe().wait_for(|now| *now >= phase).await;
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}
