//! Notifications to the service manager: sd_notify(3).

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Instant, sleep_until};

use super::shutdown::{Phase, Shutdown};

/// The service manager, if the daemon was started by one that wants notifications (`NOTIFY_SOCKET`).
#[derive(Clone, Copy, Debug)]
pub struct ServiceManager(());

/// Longest time between two looks at the status.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

// === impl ServiceManager ===

impl ServiceManager {
    /// The service manager of this process.
    pub fn of_process() -> Option<Self> {
        std::env::var_os("NOTIFY_SOCKET").map(|_| Self(()))
    }

    /// The daemon serves.
    pub fn ready(self) {
        notify(&[NotifyState::Ready]);
    }

    /// The daemon reads its configuration again, until it is [`ready`](Self::ready).
    pub fn reloading(self) {
        // systemd 253 needs the time, in the same message.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => notify(&[NotifyState::Reloading, now]),
            Err(error) => tracing::debug!(%error, "cannot read the clock"),
        }
    }

    /// Notifies when the daemon begins to drain.
    pub async fn announce_end(self, shutdown: Shutdown) {
        shutdown.reached(Phase::Draining).await;
        notify(&[NotifyState::Stopping, NotifyState::Status("Draining")]);
    }

    /// Feeds the watchdog whenever `progress` returns, which it does if the daemon makes progress, and reports what
    /// `status` returns when that changes.
    pub async fn keep_informed<P, S>(self, progress: impl Fn() -> P, status: impl Fn() -> S)
    where
        P: Future<Output = ()>,
        S: Future<Output = String>,
    {
        // A half, as sd_watchdog_enabled(3) recommends.
        let watchdog = sd_notify::watchdog_enabled().map(|timeout| timeout / 2);
        let interval = watchdog.unwrap_or(STATUS_INTERVAL).min(STATUS_INTERVAL);
        let mut reported = String::new();
        let mut next = Instant::now();
        loop {
            progress().await;
            if watchdog.is_some() {
                notify(&[NotifyState::Watchdog]);
            }
            let now = status().await;
            if now != reported {
                notify(&[NotifyState::Status(&now)]);
                reported = now;
            }
            next = Instant::now().max(next + interval);
            sleep_until(next).await;
        }
    }
}

/// Waits only while the queue of the service manager is full.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot notify the service manager");
    }
}
