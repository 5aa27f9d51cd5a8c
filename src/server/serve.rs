//! The life of the server: listen, accept, serve, drain.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::address::ListenAddress;
use super::config::{Config, Limits};
use super::connection::Terms;
use super::listener::{Accepted, BindError, Listener};
use super::shutdown::{Phase, Shutdown};

/// The first pause after an accept that failed for want of something (files, memory), and the
/// longest; each is twice the last. Short, because a descriptor may be free again at any moment;
/// growing, because the listener stays readable and would otherwise be asked in a busy loop.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// Files the daemon needs beside its connections: listeners, netlink, log, runtime, /proc.
const OTHER_FILES: usize = 64;

/// How long cut connections get to go. They need none, unless a handler blocks its thread.
const AFTER_CUT: Duration = Duration::from_secs(1);

/// Listening sockets, ready to be served.
///
/// Dropped or served to the end, it removes the files of its unix sockets.
pub struct Server {
    listeners: Vec<Listener>,
    limits: Limits,
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were still busy when the grace was over, or at the second signal.
    pub cut: usize,
}

impl Server {
    /// Listens on every address of the configuration, or on none. Needs a running tokio runtime.
    ///
    /// From here on clients can connect; they are answered as soon as [`serve`](Self::serve) runs.
    pub fn bind(config: &Config) -> Result<Self, BindError> {
        let listeners = config
            .listen
            .iter()
            .map(|address| Listener::bind(address, config.socket_mode, &config.limits))
            .collect::<Result<Vec<_>, _>>()?;
        for listener in &listeners {
            tracing::info!(address = %listener.address(), "listening");
        }
        Ok(Self {
            listeners,
            limits: config.limits.clone(),
        })
    }

    /// Where it really listens, in the order of the configuration, port 0 resolved.
    pub fn addresses(&self) -> Vec<ListenAddress> {
        self.listeners.iter().map(Listener::address).collect()
    }

    /// Serves `router` (see [`with_limits`](super::with_limits)) on all listeners until
    /// `shutdown` says otherwise, then lets running requests finish.
    ///
    /// Ends at most `limits.shutdown_grace` and a second after [`Phase::Draining`].
    pub async fn serve(self, router: Router, shutdown: &Shutdown) -> Drained {
        let Self { listeners, limits } = self;
        if let Err(error) = allow_files(limits.max_connections) {
            tracing::warn!(%error, "cannot raise the limit on open files");
        }
        let slots = Arc::new(Semaphore::new(limits.max_connections));
        let all = u32::try_from(limits.max_connections).unwrap_or(u32::MAX);
        let terms = Arc::new(Terms::new(&limits, shutdown));

        let mut doors = JoinSet::new();
        for listener in listeners {
            let door = Door {
                terms: terms.clone(),
                router: router.clone(),
                slots: slots.clone(),
            };
            let shutdown = shutdown.clone();
            doors.spawn(async move {
                tokio::select! {
                    () = shutdown.reached(Phase::Draining) => {}
                    () = door.keep_open(&listener) => {}
                }
            });
        }
        while doors.join_next().await.is_some() {}

        // Every connection holds one slot, so all slots are free when all connections are gone.
        let open = || limits.max_connections - slots.available_permits();
        tracing::info!(connections = open(), grace = ?limits.shutdown_grace, "draining");
        let drained = slots.acquire_many(all);
        tokio::select! {
            _ = drained => {}
            () = sleep(limits.shutdown_grace) => {}
            () = shutdown.reached(Phase::Cutting) => {}
        }
        if open() > 0 {
            shutdown.cut();
            let _ = timeout(AFTER_CUT, slots.acquire_many(all)).await;
        }
        let cut = terms.cut() + open();
        if cut > 0 {
            tracing::warn!(connections = cut, "cut connections that did not finish");
        }
        Drained { cut }
    }
}

/// What an accept loop needs.
struct Door {
    terms: Arc<Terms>,
    router: Router,
    slots: Arc<Semaphore>,
}

impl Door {
    /// Accepts until dropped. Above `max_connections`, one accepted connection waits here and the
    /// others in the kernel's backlog; when that is full too, clients see their connect time out.
    async fn keep_open(&self, listener: &Listener) {
        let mut pause = PAUSES.0;
        loop {
            match listener.accept().await {
                Ok(accepted) => {
                    pause = PAUSES.0;
                    // Not before the accept: a slot held by each waiting listener could be the
                    // last one, and the others would never accept. The semaphore is never closed.
                    let Ok(slot) = self.slots.clone().acquire_owned().await else {
                        return;
                    };
                    self.admit(accepted, slot);
                }
                Err(error) if is_of_one_connection(&error) => {
                    tracing::debug!(%error, "a connection was gone before it was accepted");
                }
                Err(error) => {
                    if pause == PAUSES.0 {
                        tracing::warn!(address = %listener.address(), %error, "cannot accept");
                    }
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        }
    }

    fn admit(&self, accepted: Accepted, slot: OwnedSemaphorePermit) {
        let (terms, router) = (self.terms.clone(), self.router.clone());
        tokio::spawn(async move {
            match accepted {
                Accepted::Tcp(stream, peer) => terms.serve(stream, peer, router).await,
                Accepted::Unix(stream, peer) => terms.serve(stream, peer, router).await,
            }
            drop(slot);
        });
    }
}

/// Errors that took the broken connection off the queue, so that the next accept can succeed.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionReset, Interrupted, InvalidInput, NotConnected,
    };
    // EINVAL: setsockopt(TCP_NODELAY) on a connection that was reset meanwhile.
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted | InvalidInput | NotConnected
    )
}

/// Lets the process open as many files as its connections need, within the hard limit: the soft
/// limit is usually 1024, for the sake of programs that use select(2).
fn allow_files(max_connections: usize) -> nix::Result<()> {
    let wanted = rlim_t::try_from(max_connections + OTHER_FILES).unwrap_or(rlim_t::MAX);
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < wanted && soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard)?;
    }
    if hard < wanted {
        tracing::warn!(
            open_files = hard,
            max_connections,
            "the limit on open files (LimitNOFILE=, ulimit -Hn) comes before \
             limits.max_connections; beyond it, accepting pauses"
        );
    }
    Ok(())
}
