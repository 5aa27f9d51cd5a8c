//! The server: accept loops, the connection limit, and the drain at shutdown.

use std::{fs, io, sync::Arc, time::Duration};

use axum::Router;
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    address::ListenAddress,
    config::{Config, Limits},
    connection::ConnectionHandler,
    inherited::InheritedSockets,
    listener::{Accepted, BindError, Listener},
    shutdown::{Phase, Shutdown},
    tls::Tls,
};
use crate::{
    app::{BackgroundWork, MAX_RUNNING_CHECKS},
    audit::AuditLog,
    budget::Budget,
    identity::Credential,
};

/// First and longest pause after an accept that failed for lack of a resource (descriptors,
/// memory); the pause doubles with each failure. Without it, the listener stays readable and the
/// loop would spin. The first pause is short because a descriptor may be free again at once.
const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// Descriptors that the daemon opens besides its connections and what is open at the start: netlink
/// sockets, files of `/proc`, of namespaces and of the configuration.
const RESERVED_FILES: usize = 32;

/// Descriptors of a read of the connection table: the table, and the namespace of its thread.
const FILES_PER_TABLE: usize = 2;

/// Time that aborted connections have to end. Only a handler that blocks its thread needs it.
const ABORT_TIMEOUT: Duration = Duration::from_secs(1);

/// Bound listeners, ready to serve. Dropping it removes the files of its unix sockets.
pub struct Server {
    listeners: Vec<Listener>,
    limits: Limits,
    service: ServiceHandle,
    work: BackgroundWork,
    audit: AuditLog,
    /// Present if there is a TLS listener.
    tls: Option<Tls>,
}

/// Replaces what new connections of a server are served with. Open connections keep what they have.
#[derive(Clone)]
pub struct ServiceHandle(watch::Sender<Option<Service>>);

/// What connections are served with, after the first replacement.
#[derive(Clone)]
struct Service {
    router: Router,
    limits: Limits,
}

/// Result of the drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainOutcome {
    /// Connections with requests in progress at the end of the grace period or at the second
    /// signal.
    pub aborted: usize,
}

/// Accepts the connections of one listener.
struct Acceptor {
    handler: Arc<ConnectionHandler>,
    router: Router,
    /// One permit per connection.
    slots: Arc<Semaphore>,
    replacements: watch::Receiver<Option<Service>>,
}

impl Server {
    /// Binds every address of the configuration, or none, and reads the files of TLS if one of them
    /// needs it. Blocks. Requires a running tokio runtime.
    ///
    /// Clients can connect from now on; their requests wait until [`serve`](Self::serve) runs.
    pub fn bind(config: &Config) -> Result<Self, BindError> {
        Self::inherit(config, InheritedSockets::default())
    }

    /// As [`bind`](Self::bind), but takes the sockets that the service manager has opened for addresses of the
    /// configuration.
    pub fn inherit(config: &Config, mut inherited: InheritedSockets) -> Result<Self, BindError> {
        let needs_tls = config.listen.iter().any(ListenAddress::is_tls);
        let tls = needs_tls.then(|| Tls::load(&config.tls)).transpose()?;
        let listeners = config
            .listen
            .iter()
            .map(|address| match inherited.remove(address) {
                Some(socket) => Listener::inherit(socket, address, config, tls.as_ref()),
                None => Listener::bind(address, config, tls.as_ref()),
            })
            .collect::<Result<Vec<_>, _>>()?;
        for listener in &listeners {
            tracing::info!(address = %listener.address(), "listening");
        }
        Ok(Self {
            listeners,
            limits: config.limits.clone(),
            service: ServiceHandle(watch::Sender::new(None)),
            work: BackgroundWork::default(),
            audit: AuditLog::in_memory(),
            tls,
        })
    }

    /// Waits at the end for work that outlives its connections, too.
    #[must_use]
    pub fn with_background_work(self, work: &BackgroundWork) -> Self {
        Self {
            work: work.clone(),
            ..self
        }
    }

    /// Records the clients that TLS refuses.
    #[must_use]
    pub fn with_audit(self, audit: &AuditLog) -> Self {
        Self {
            audit: audit.clone(),
            ..self
        }
    }

    /// A handle to replace router and limits while the server runs.
    pub fn service(&self) -> ServiceHandle {
        self.service.clone()
    }

    /// The files of TLS, if there is a TLS listener.
    pub fn tls(&self) -> Option<Tls> {
        self.tls.clone()
    }

    /// The bound addresses in the order of the configuration, with port 0 resolved.
    pub fn addresses(&self) -> Vec<ListenAddress> {
        self.listeners.iter().map(Listener::address).collect()
    }

    /// Serves `router` (see [`with_middleware`](super::with_middleware)) on all listeners until a
    /// shutdown is requested, then drains. `budget` is that of the middleware.
    ///
    /// Returns at most `limits.shutdown_grace` and one second after [`Phase::Draining`].
    pub async fn serve(self, router: Router, budget: &Budget, shutdown: &Shutdown) -> DrainOutcome {
        let Self {
            listeners,
            mut limits,
            service: ServiceHandle(service),
            work,
            audit,
            tls,
        } = self;
        let mut watcher = JoinSet::new();
        if let Some(tls) = tls {
            watcher.spawn(tls.watch());
        }
        let max_connections = raise_file_limit(&limits, listeners.len());
        let slots = Arc::new(Semaphore::new(max_connections));
        let handler = Arc::new(ConnectionHandler::new(&limits, budget, &audit, shutdown));

        let mut accept_loops = JoinSet::new();
        for listener in listeners {
            let mut acceptor = Acceptor {
                handler: handler.clone(),
                router: router.clone(),
                slots: slots.clone(),
                replacements: service.subscribe(),
            };
            let shutdown = shutdown.clone();
            accept_loops.spawn(async move {
                tokio::select! {
                    () = shutdown.reached(Phase::Draining) => {}
                    () = acceptor.run(&listener) => {}
                }
            });
        }
        while accept_loops.join_next().await.is_some() {}
        if let Some(service) = &*service.borrow() {
            limits.shutdown_grace = service.limits.shutdown_grace;
        }
        drain(&limits, max_connections, &slots, &handler, &work, shutdown).await
    }
}

/// Waits for the open connections and for the writes in progress. Aborts connections that do not
/// complete in time, and then stops restores.
async fn drain(
    limits: &Limits,
    max_connections: usize,
    slots: &Semaphore,
    handler: &ConnectionHandler,
    work: &BackgroundWork,
    shutdown: &Shutdown,
) -> DrainOutcome {
    // Every connection holds one permit: all permits are free when all connections have ended.
    let all = u32::try_from(max_connections).unwrap_or(u32::MAX);
    let open = || max_connections - slots.available_permits();
    tracing::info!(connections = open(), grace = ?limits.shutdown_grace, "draining");
    let all_ended = || async {
        drop(slots.acquire_many(all).await);
        // No connection is left that could begin a write.
        work.finished().await;
    };
    tokio::select! {
        () = all_ended() => {}
        () = sleep(limits.shutdown_grace) => {}
        () = shutdown.reached(Phase::Aborting) => {}
    }
    if open() > 0 || work.is_running() {
        shutdown.abort();
        work.stop();
        let _ = timeout(ABORT_TIMEOUT, all_ended()).await;
    }
    let aborted = handler.aborted() + open();
    if aborted > 0 {
        tracing::warn!(
            connections = aborted,
            "aborted connections that did not complete"
        );
    }
    DrainOutcome { aborted }
}

impl ServiceHandle {
    /// Serves new connections with this router and these limits.
    pub fn replace(&self, router: Router, limits: &Limits) {
        self.0.send_replace(Some(Service {
            router,
            limits: limits.clone(),
        }));
    }
}

impl Acceptor {
    /// Accepts connections until dropped. Above `max_connections`, one accepted connection waits
    /// here and further ones in the kernel's backlog; when that is full, connects time out.
    async fn run(&mut self, listener: &Listener) {
        let mut pause = ACCEPT_PAUSE.0;
        loop {
            match listener.accept().await {
                Ok(accepted) => {
                    if pause != ACCEPT_PAUSE.0 {
                        tracing::info!(address = %listener.address(), "accepts connections again");
                        pause = ACCEPT_PAUSE.0;
                    }
                    // After the accept: if each waiting listener held a permit, an idle one could
                    // hold the last and starve the others. The semaphore is never closed.
                    let Ok(slot) = self.slots.clone().acquire_owned().await else {
                        return;
                    };
                    self.update();
                    self.spawn(accepted, slot);
                }
                Err(error) if is_connection_error(&error) => {
                    tracing::debug!(%error, "a connection was closed before it was accepted");
                }
                Err(error) => {
                    if pause == ACCEPT_PAUSE.0 {
                        tracing::warn!(address = %listener.address(), %error, "cannot accept");
                    }
                    sleep(pause).await;
                    pause = (pause * 2).min(ACCEPT_PAUSE.1);
                }
            }
        }
    }

    /// Takes the last replacement, if there is a new one.
    fn update(&mut self) {
        if self.replacements.has_changed().is_ok_and(|changed| changed)
            && let Some(Service { router, limits }) = &*self.replacements.borrow_and_update()
        {
            self.router = router.clone();
            self.handler = Arc::new(self.handler.with_limits(limits));
        }
    }

    /// Serves a connection in a task of its own, which is as large as its kind of connection needs.
    fn spawn(&self, accepted: Accepted, slot: OwnedSemaphorePermit) {
        let (handler, router) = (self.handler.clone(), self.router.clone());
        match accepted {
            Accepted::Tcp(stream, peer) => tokio::spawn(async move {
                let credential = Credential::None;
                handler.serve(stream, peer, credential, None, router).await;
                drop(slot);
            }),
            Accepted::Tls(stream, peer, tls) => tokio::spawn(async move {
                handler.serve_tls(stream, peer, &tls, router).await;
                drop(slot);
            }),
            Accepted::Unix(stream, peer, credential) => tokio::spawn(async move {
                handler.serve(stream, peer, credential, None, router).await;
                drop(slot);
            }),
        };
    }
}

/// Whether the error concerns only the accepted connection, so that the next accept can succeed.
fn is_connection_error(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, NotConnected};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted | NotConnected
    )
}

/// Raises the soft limit on open files to what the connections and health checks need, up to the hard limit, and
/// returns the number of connections for which it suffices: the last descriptors are for reads of the kernel.
/// The soft limit is usually 1024, because select(2) cannot handle more.
fn raise_file_limit(limits: &Limits, listeners: usize) -> usize {
    let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    // Each listener accepts one connection that waits for its turn.
    let tables = limits.max_connection_streams * FILES_PER_TABLE;
    let reserved = open + RESERVED_FILES + tables + listeners;
    let raised = raise_soft_limit(limits.max_connections + reserved + MAX_RUNNING_CHECKS);
    let allowed = raised.unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot raise the limit on open files");
        usize::MAX
    });
    let connections = allowed
        .saturating_sub(reserved)
        .clamp(1, limits.max_connections);
    if connections < limits.max_connections {
        tracing::warn!(
            open_files = allowed,
            connections,
            max_connections = limits.max_connections,
            "the limit on open files (LimitNOFILE=, ulimit -Hn) allows fewer connections than \
             limits.max_connections"
        );
    }
    connections
}

/// Raises the soft limit to `wanted`, if the hard limit allows, and returns the soft limit.
fn raise_soft_limit(wanted: usize) -> nix::Result<usize> {
    let wanted = rlim_t::try_from(wanted).unwrap_or(rlim_t::MAX);
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let raised = wanted.min(hard).max(soft);
    if raised > soft {
        setrlimit(Resource::RLIMIT_NOFILE, raised, hard)?;
    }
    Ok(usize::try_from(raised).unwrap_or(usize::MAX))
}
