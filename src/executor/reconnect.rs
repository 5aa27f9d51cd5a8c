//! A socket that connects on first use, and reconnects after a failure and in another network
//! namespace.

use std::{
    hash::BuildHasher,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use foldhash::fast::FixedState;

use super::{
    interfaces::Master, offload::offload, request::ReadError, socket::IpvsSocket, unavailable,
};
use crate::{
    kernel::{Kernel, NamespaceId},
    metrics::KernelMetrics,
    model::{Errno, Error, Reason},
    watch::WatchCache,
};

/// A socket to IPVS that reconnects.
pub struct ReconnectingSocket {
    kernel: Arc<dyn Kernel>,
    /// The socket and the namespace in which it was opened.
    socket: Option<(NamespaceId, IpvsSocket)>,
    /// The namespace that the thread has entered; `None` if it is in that of the daemon, because the
    /// managed one does not exist.
    namespace: Option<NamespaceId>,
    shared: Arc<Mutex<Shared>>,
    watch: Arc<WatchCache>,
    metrics: Arc<KernelMetrics>,
}

/// What all sockets have in common.
#[derive(Default)]
struct Shared {
    /// The namespace that the rest is about.
    namespace: Option<NamespaceId>,
    /// The last failure to connect. It is returned again for a moment, because each attempt may run
    /// modprobe.
    failure: Option<(Instant, Error)>,
    /// The master sync daemon of the namespace, as it was started or last seen.
    master: Option<Master>,
}

/// How long a failure to connect is returned again without a new attempt.
const RETRY_AFTER: Duration = Duration::from_millis(200);

// === impl ReconnectingSocket ===

impl ReconnectingSocket {
    /// A socket that has not connected yet.
    pub fn new(
        kernel: Arc<dyn Kernel>,
        watch: Arc<WatchCache>,
        metrics: Arc<KernelMetrics>,
    ) -> Self {
        Self {
            kernel,
            socket: None,
            namespace: None,
            shared: Arc::default(),
            watch,
            metrics,
        }
    }

    /// A socket of another thread.
    pub fn sibling(&self) -> Self {
        Self {
            kernel: self.kernel.clone(),
            socket: None,
            namespace: None,
            shared: self.shared.clone(),
            watch: self.watch.clone(),
            metrics: self.metrics.clone(),
        }
    }

    /// Moves the thread into the namespace that has the managed name now, unless it is there, and
    /// returns its identity.
    pub fn enter(&mut self) -> Result<NamespaceId, Error> {
        let entered = match self.kernel.identity() {
            Ok(id) if self.namespace == Some(id) => return Ok(id),
            Ok(_) => self.kernel.enter(),
            Err(error) => Err(error),
        };
        let old = self.namespace.take();
        let name = self.kernel.namespace().unwrap_or_default();
        match entered {
            Ok(new) => {
                match old {
                    Some(old) => tracing::warn!(
                        namespace = name, %old, %new,
                        "another network namespace has the managed name; entered it"
                    ),
                    None if name.is_empty() => {}
                    None => tracing::info!(namespace = name, %new, "entered the network namespace"),
                }
                self.namespace = Some(new);
                let mut shared = self.shared();
                // Each thread enters the namespace; the first begins anew.
                if shared.namespace.replace(new) != Some(new) {
                    (shared.failure, shared.master) = (None, None);
                }
                drop(shared);
                Ok(new)
            }
            Err(error) => {
                if let Some(old) = old {
                    tracing::warn!(
                        namespace = name, %old, %error,
                        "left the network namespace, which does not have the managed name any more"
                    );
                    if let Err(error) = self.kernel.leave() {
                        tracing::warn!(%error, "cannot return to the daemon's network namespace");
                    }
                }
                Err(unavailable::namespace(name, error))
            }
        }
    }

    /// The connected socket, in the namespace that has the managed name now.
    pub fn socket(&mut self) -> Result<&mut IpvsSocket, Error> {
        let here = self.refresh()?;
        if self.socket.is_none() {
            let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((when, error)) = &shared.failure
                && when.elapsed() < RETRY_AFTER
            {
                return Err(error.clone());
            }
            // It may run modprobe.
            match offload(|| IpvsSocket::connect(&*self.kernel, &self.metrics)) {
                Ok(socket) => {
                    shared.failure = None;
                    // Of a module that was loaded again, the family has another id.
                    let world = (here, socket.family());
                    self.watch
                        .connected(FixedState::with_seed(0).hash_one(world));
                    self.socket = Some((here, socket));
                }
                Err(error) => {
                    let error = unavailable::no_socket(error);
                    shared.failure = Some((Instant::now(), error.clone()));
                    return Err(error);
                }
            }
        }
        let socket = self.socket.as_mut().map(|(_, socket)| socket);
        socket.ok_or_else(|| Error::new(Reason::Internal, "no socket"))
    }

    /// The master sync daemon, as it was started or last seen.
    pub fn master(&self) -> Option<Master> {
        self.shared().master
    }

    /// Replaces the [`master`](Self::master), because it was started.
    pub fn remember_master(&self, started: Option<Master>) {
        self.shared().master = started;
    }

    /// Replaces the [`master`](Self::master) with one that was seen, unless another thread has started
    /// one since `before` was the master.
    pub fn update_master(&self, before: Option<Master>, seen: Option<Master>) {
        let mut shared = self.shared();
        if shared.master == before {
            shared.master = seen;
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters the managed namespace, and closes the socket if it belongs to another one.
    pub fn refresh(&mut self) -> Result<NamespaceId, Error> {
        let here = self.enter();
        if let Some((opened_in, _)) = &self.socket
            && here.as_ref() != Ok(opened_in)
        {
            self.close();
        }
        here
    }

    /// Whether the socket is connected.
    pub fn is_connected(&self) -> bool {
        self.socket.is_some()
    }

    /// Closes the socket and discards pending replies.
    pub fn close(&mut self) {
        if self.socket.take().is_some() {
            self.metrics.socket_closed();
        }
    }

    /// Runs a read, and once more on a new socket if the first attempt fails on the old one.
    pub fn read<T>(
        &mut self,
        mut read: impl FnMut(&mut IpvsSocket) -> Result<T, ReadError>,
    ) -> Result<T, Error> {
        for attempt in 1.. {
            match read(self.socket()?) {
                Ok(value) => return Ok(value),
                // No read is rejected with ENOENT: the family is gone or has a new id.
                Err(error @ (ReadError::Broken(_) | ReadError::Rejected(Errno::ENOENT))) => {
                    tracing::warn!(%error, "reconnecting the netlink socket");
                    self.close();
                    if attempt == 2 {
                        return Err(unavailable::broken(error));
                    }
                }
                Err(ReadError::Interrupted) => {
                    return Err(Error::new(
                        Reason::Internal,
                        "the table changed during every attempt to read it",
                    )
                    .with_hint("retry"));
                }
                Err(ReadError::Rejected(errno)) => return Err(unavailable::rejected(errno)),
            }
        }
        Err(Error::new(Reason::Internal, "no reply"))
    }
}
