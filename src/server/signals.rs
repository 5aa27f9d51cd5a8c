//! Signals. One task handles all whose default action would end the process without a drain. Those
//! of a terminal stop (SIGTSTP) and of a program error keep theirs; the standard library ignores
//! SIGPIPE.

use std::{
    future::{pending, poll_fn},
    io,
    task::Poll,
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use super::shutdown::Shutdown;

/// What a signal does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// Drains; the second one aborts.
    Drain,
    /// Ends without a grace period.
    Abort,
    /// Reloads the configuration.
    Reload,
    /// Only writes a line to the log.
    Log,
    /// Nothing.
    Ignore,
}

/// Every signal that is handled.
const SIGNALS: [(&str, libc::c_int, Effect); 13] = [
    ("SIGTERM", libc::SIGTERM, Effect::Drain),
    ("SIGINT", libc::SIGINT, Effect::Drain),
    ("SIGQUIT", libc::SIGQUIT, Effect::Abort),
    ("SIGHUP", libc::SIGHUP, Effect::Reload),
    ("SIGUSR1", libc::SIGUSR1, Effect::Log),
    ("SIGUSR2", libc::SIGUSR2, Effect::Log),
    ("SIGALRM", libc::SIGALRM, Effect::Log),
    ("SIGVTALRM", libc::SIGVTALRM, Effect::Log),
    ("SIGPROF", libc::SIGPROF, Effect::Log),
    ("SIGIO", libc::SIGIO, Effect::Log),
    ("SIGPWR", libc::SIGPWR, Effect::Log),
    ("SIGSTKFLT", libc::SIGSTKFLT, Effect::Log),
    // Sent by each write to a file of the maximum size (RLIMIT_FSIZE), such as a log file. The write
    // then fails; a line about it would be the next such write.
    ("SIGXFSZ", libc::SIGXFSZ, Effect::Ignore),
];

/// Requests to reload the configuration and the files that it names (SIGHUP); several that wait are one.
#[derive(Debug)]
pub struct ReloadRequests(watch::Receiver<()>);

impl ReloadRequests {
    /// Waits for the next request.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // The process ends.
            pending::<()>().await;
        }
    }
}

/// Handles signals from now on. Requires a running tokio runtime.
pub fn handle_signals(shutdown: &Shutdown) -> io::Result<ReloadRequests> {
    let mut signals = SIGNALS
        .into_iter()
        .map(|(name, number, effect)| Ok((name, signal(SignalKind::from_raw(number))?, effect)))
        .collect::<io::Result<Vec<_>>>()?;
    let shutdown = shutdown.clone();
    let (requests, reloads) = watch::channel(());
    tokio::spawn(async move {
        loop {
            let (signal, effect) = next(&mut signals).await;
            match effect {
                Effect::Drain => shutdown.advance(),
                Effect::Abort => shutdown.abort(),
                Effect::Reload => requests.send_replace(()),
                Effect::Log => {
                    tracing::info!(signal, "signal ignored");
                    continue;
                }
                Effect::Ignore => continue,
            }
            tracing::info!(signal, phase = ?shutdown.phase(), "signal received");
        }
    });
    Ok(ReloadRequests(reloads))
}

/// Waits for the next signal.
async fn next(signals: &mut [(&'static str, Signal, Effect)]) -> (&'static str, Effect) {
    poll_fn(|context| {
        for (name, signal, effect) in &mut *signals {
            if signal.poll_recv(context).is_ready() {
                return Poll::Ready((*name, *effect));
            }
        }
        Poll::Pending
    })
    .await
}
