//! A socket that connects on first use and reconnects after a failure.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{
    socket::{IpvsSocket, ReadError},
    unavailable,
};
use crate::{
    kernel::Kernel,
    model::{Errno, Error, Reason},
};

/// A socket to IPVS that reconnects.
pub struct ReconnectingSocket {
    kernel: Arc<dyn Kernel>,
    socket: Option<IpvsSocket>,
    /// The last failure to connect, shared by all sockets to this kernel. It is returned again for
    /// a moment, because each attempt may run modprobe.
    failure: Arc<Mutex<Option<(Instant, Error)>>>,
}

/// How long a failure to connect is returned again without a new attempt.
const RETRY_AFTER: Duration = Duration::from_millis(200);

// === impl ReconnectingSocket ===

impl ReconnectingSocket {
    /// A socket that has not connected yet.
    pub fn new(kernel: Arc<dyn Kernel>) -> Self {
        Self {
            kernel,
            socket: None,
            failure: Arc::default(),
        }
    }

    /// Another socket to the same kernel. Both share the last failure to connect.
    pub fn sibling(&self) -> Self {
        Self {
            kernel: self.kernel.clone(),
            socket: None,
            failure: self.failure.clone(),
        }
    }

    /// The connected socket.
    pub fn socket(&mut self) -> Result<&mut IpvsSocket, Error> {
        if self.socket.is_none() {
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((when, error)) = &*failure
                && when.elapsed() < RETRY_AFTER
            {
                return Err(error.clone());
            }
            match IpvsSocket::connect(&*self.kernel) {
                Ok(socket) => {
                    *failure = None;
                    self.socket = Some(socket);
                }
                Err(error) => {
                    let error = unavailable::no_socket(error);
                    *failure = Some((Instant::now(), error.clone()));
                    return Err(error);
                }
            }
        }
        self.socket
            .as_mut()
            .ok_or_else(|| Error::new(Reason::Internal, "no socket"))
    }

    /// Closes the socket and discards pending replies.
    pub fn close(&mut self) {
        self.socket = None;
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
