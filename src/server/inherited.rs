//! Listening sockets that the service manager has opened: socket activation (sd_listen_fds(3)).

use std::{
    env, io,
    net::TcpListener,
    os::{fd::OwnedFd, unix::net::UnixListener},
};

use listenfd::ListenFd;
use nix::sys::socket::{getsockopt, sockopt};
use thiserror::Error;

use super::address::ListenAddress;

/// The sockets that the process was started with, and their addresses.
#[derive(Debug, Default)]
pub struct InheritedSockets(Vec<(ListenAddress, OwnedFd)>);

/// The sockets of the service manager cannot be served.
#[derive(Debug, Error)]
pub enum InheritedSocketError {
    /// There are too many, or their number is none.
    #[error("LISTEN_FDS: {0:?} is not a number from 0 to {MAX_SOCKETS}")]
    Count(String),
    /// One of them is of another kind.
    #[error("socket {number} of the service manager (LISTEN_FDS): {problem}")]
    Socket {
        /// Number of the socket, from 1.
        number: usize,
        /// What is wrong, and what to do.
        problem: String,
    },
}

/// Names of sockets (`FileDescriptorName=`) that begin with this word are served with TLS.
const TLS_NAME: &str = "tls";
/// Sockets that can be inherited.
const MAX_SOCKETS: usize = 64;

// === impl InheritedSockets ===

impl InheritedSockets {
    /// Takes the sockets that `LISTEN_FDS` names, and removes the variable. Must be called before the first
    /// thread is started.
    ///
    /// # Errors
    /// If one of them is not a listening stream socket of TCP or of a unix path.
    pub fn take() -> Result<Self, InheritedSocketError> {
        // Of systemd, which always names the process. Without it, the crate would take them for meant.
        if env::var_os("LISTEN_PID").is_none() {
            return Ok(Self::default());
        }
        // The crate takes any number, and allocates as much.
        if let Ok(count) = env::var("LISTEN_FDS")
            && !count
                .parse::<usize>()
                .is_ok_and(|count| count <= MAX_SOCKETS)
        {
            return Err(InheritedSocketError::Count(count));
        }
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut sockets = ListenFd::from_env();
        let all = (0..sockets.len()).map(|index| {
            let is_tls = names.next().is_some_and(|name| name.starts_with(TLS_NAME));
            take(&mut sockets, index, is_tls).map_err(|problem| InheritedSocketError::Socket {
                number: index + 1,
                problem,
            })
        });
        all.collect::<Result<_, _>>().map(Self)
    }

    /// Their addresses, in order.
    pub fn addresses(&self) -> Vec<ListenAddress> {
        self.0.iter().map(|(address, _)| address.clone()).collect()
    }

    /// Takes out the socket with this address.
    pub(super) fn remove(&mut self, address: &ListenAddress) -> Option<OwnedFd> {
        let at = self
            .0
            .iter()
            .position(|(inherited, _)| inherited == address)?;
        Some(self.0.swap_remove(at).1)
    }
}

/// A socket with its address; the error says why it cannot be served.
fn take(
    sockets: &mut ListenFd,
    index: usize,
    is_tls: bool,
) -> Result<(ListenAddress, OwnedFd), String> {
    const KINDS: &str =
        "it is not a stream socket of TCP or unix(7); use ListenStream= with an address or a path";
    let socket: OwnedFd = match sockets.take_custom(index, libc::AF_UNIX, libc::SOCK_STREAM, "unix")
    {
        Ok(Some(socket)) => socket,
        _ => match sockets.take_tcp_listener(index) {
            Ok(Some(socket)) => socket.into(),
            _ => return Err(KINDS.to_owned()),
        },
    };
    let system = |error: nix::Error| io::Error::from(error).to_string();
    if !getsockopt(&socket, sockopt::AcceptConn).map_err(system)? {
        return Err("it does not listen; use Accept=no".to_owned());
    }
    let address =
        address(&socket, is_tls).ok_or("it has no path; abstract addresses are not supported")?;
    Ok((address, socket))
}

/// The address of a listening socket.
fn address(socket: &OwnedFd, is_tls: bool) -> Option<ListenAddress> {
    if let Ok(unix) = UnixListener::from(socket.try_clone().ok()?).local_addr()
        && let Some(path) = unix.as_pathname()
    {
        return Some(ListenAddress::Unix(path.to_owned()));
    }
    let tcp = TcpListener::from(socket.try_clone().ok()?);
    let tcp = tcp.local_addr().ok()?;
    Some(match is_tls {
        true => ListenAddress::Tls(tcp),
        false => ListenAddress::Tcp(tcp),
    })
}
