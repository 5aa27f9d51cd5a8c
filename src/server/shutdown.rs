//! The end of the daemon, in two steps: finish what runs, then cut what is left.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not at all.
    Running,
    /// No new connections; running requests finish, at most for `limits.shutdown_grace`.
    Draining,
    /// Everything that is left is cut.
    Cutting,
}

/// A handle to ask for the end and to wait for it. Clones share one state.
///
/// Answers without an end (watches) should finish themselves at [`Phase::Draining`]; otherwise
/// they keep the daemon for the whole grace and are cut then.
#[derive(Clone, Debug)]
pub struct Shutdown(Arc<watch::Sender<Phase>>);

impl Shutdown {
    /// A handle that only [`advance`](Self::advance) moves.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Phase::Running)))
    }

    /// A handle that SIGTERM and SIGINT advance too: the first drains, the second cuts. Needs a
    /// running tokio runtime.
    pub fn on_signals() -> io::Result<Self> {
        let shutdown = Self::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let moved = shutdown.clone();
        tokio::spawn(async move {
            while moved.phase() < Phase::Cutting {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                moved.advance();
                tracing::info!(signal = name, phase = ?moved.phase(), "signal received");
            }
        });
        Ok(shutdown)
    }

    /// Goes one phase further.
    pub fn advance(&self) {
        self.0.send_modify(|phase| {
            *phase = match phase {
                Phase::Running => Phase::Draining,
                Phase::Draining | Phase::Cutting => Phase::Cutting,
            }
        });
    }

    /// Goes to the last phase.
    pub fn cut(&self) {
        self.0.send_replace(Phase::Cutting);
    }

    /// The phase of now.
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Waits until `phase` has come; at once when it has.
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
