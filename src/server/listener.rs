//! Listening sockets: TCP and unix, with the file of the latter.

use std::{
    fs::{self, File, TryLockError},
    io,
    net::SocketAddr,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::{
            fs::{FileTypeExt, MetadataExt, PermissionsExt},
            net::{UnixListener as BlockingUnixListener, UnixStream as BlockingUnixStream},
        },
    },
    path::{Path, PathBuf},
};

use nix::sys::{
    socket::{
        AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, setsockopt, socket,
        sockopt,
    },
    stat::{Mode, fchmod},
};
use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

use super::{address::ListenAddress, config::Limits};
use crate::identity::Peer;

/// Connections that wait in the kernel to be accepted, per listener. The kernel may limit it further
/// (net.core.somaxconn).
const BACKLOG: u16 = 1024;

/// Unanswered TCP keep-alive probes after which a connection is closed (TCP_KEEPCNT, tcp(7)).
const KEEP_ALIVE_PROBES: u32 = 3;

/// Why the daemon cannot listen on an address.
#[derive(Debug, Error)]
pub enum BindError {
    /// A system call failed: address in use, no such address, no permission.
    #[error("cannot listen on {address}")]
    System {
        /// The address of the configuration.
        address: ListenAddress,
        /// The error of the operating system.
        source: io::Error,
    },
    /// Another process listens on the unix socket.
    #[error("cannot listen on {0}: another process listens there")]
    InUse(ListenAddress),
    /// The file at the path is not a socket. It is left alone.
    #[error(
        "cannot listen on {0}: the file there is not a socket; remove it or choose another path"
    )]
    NotASocket(ListenAddress),
    /// Another process holds a lock on the directory of the unix socket.
    #[error(
        "cannot listen on {0}: another process holds a lock on its directory, perhaps an ipvsd \
         that is starting; try again"
    )]
    Contended(ListenAddress),
    /// The directory of the unix socket does not exist.
    #[error(
        "cannot listen on {0}: its directory does not exist; create it (systemd: RuntimeDirectory=)"
    )]
    NoDirectory(ListenAddress),
}

/// A listening socket.
pub(super) enum Listener {
    Tcp(TcpListener, SocketAddr),
    Unix(UnixListener, SocketFile),
}

/// An accepted connection.
pub(super) enum Accepted {
    Tcp(TcpStream, Peer),
    Unix(UnixStream, Peer),
}

/// The file of a unix socket. Dropping it removes the file, unless another file replaced it.
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl Listener {
    /// Binds an address and listens. Requires a running tokio runtime.
    pub(super) fn bind(
        address: &ListenAddress,
        socket_mode: u32,
        limits: &Limits,
    ) -> Result<Self, BindError> {
        match address {
            ListenAddress::Tcp(tcp) => bind_tcp(*tcp, limits).map_err(|source| BindError::System {
                address: address.clone(),
                source,
            }),
            ListenAddress::Unix(path) => bind_unix(address, path, socket_mode),
        }
    }

    /// The bound address, with port 0 resolved.
    pub(super) fn address(&self) -> ListenAddress {
        match self {
            Listener::Tcp(_, address) => ListenAddress::Tcp(*address),
            Listener::Unix(_, file) => ListenAddress::Unix(file.path.clone()),
        }
    }

    /// Accepts the next connection.
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Listener::Tcp(listener, _) => {
                let (stream, address) = listener.accept().await?;
                // Responses are written in full, so that Nagle's algorithm would only delay them.
                stream.set_nodelay(true)?;
                Ok(Accepted::Tcp(stream, Peer::Tcp(address)))
            }
            Listener::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let credentials = stream.peer_cred()?;
                let peer = Peer::Unix {
                    uid: credentials.uid(),
                    gid: credentials.gid(),
                    pid: credentials.pid(),
                };
                Ok(Accepted::Unix(stream, peer))
            }
        }
    }
}

fn bind_tcp(address: SocketAddr, limits: &Limits) -> io::Result<Listener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // Without SO_REUSEADDR, a restart fails while old connections are in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    // On Linux, accepted connections inherit these options.
    let interval = u32::try_from(limits.keep_alive_interval.as_secs())
        .unwrap_or(u32::MAX)
        .max(1);
    setsockopt(&socket, sockopt::KeepAlive, &true)?;
    setsockopt(&socket, sockopt::TcpKeepIdle, &interval)?;
    setsockopt(&socket, sockopt::TcpKeepInterval, &interval)?;
    setsockopt(&socket, sockopt::TcpKeepCount, &KEEP_ALIVE_PROBES)?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG.into())?;
    let address = listener.local_addr()?;
    Ok(Listener::Tcp(listener, address))
}

fn bind_unix(address: &ListenAddress, path: &Path, mode: u32) -> Result<Listener, BindError> {
    let system = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => BindError::NoDirectory(address.clone()),
        io::ErrorKind::AddrInUse => BindError::InUse(address.clone()),
        _ => BindError::System {
            address: address.clone(),
            source,
        },
    };
    // Otherwise two daemons that start at once could both find the stale socket, and the second
    // would remove the new socket of the first. Closing the file releases the lock.
    let directory = path.parent().map(File::open).transpose().map_err(system)?;
    match directory.as_ref().map_or(Ok(()), File::try_lock) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(BindError::Contended(address.clone())),
        Err(TryLockError::Error(source)) => return Err(system(source)),
    }
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(system(error)),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(BindError::NotASocket(address.clone()));
        }
        Ok(_) => match BlockingUnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                tracing::info!(path = %path.display(), "replacing a stale socket");
                fs::remove_file(path).map_err(system)?;
            }
            Ok(_) => return Err(BindError::InUse(address.clone())),
            // Unknown state: another process may own the socket.
            Err(error) => return Err(system(error)),
        },
    }
    let socket = unix_socket(path, mode).map_err(system)?;
    let file = SocketFile::new(path).map_err(system)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(system)?;
    let listener = BlockingUnixListener::from(socket);
    listener.set_nonblocking(true).map_err(system)?;
    let listener = UnixListener::from_std(listener).map_err(system)?;
    Ok(Listener::Unix(listener, file))
}

/// Creates a listening unix socket. Its file never has more permissions than `mode`: on Linux,
/// bind(2) takes the permissions from the socket, less the umask.
fn unix_socket(path: &Path, mode: u32) -> io::Result<OwnedFd> {
    let fd = socket(
        AddressFamily::Unix,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    fchmod(fd.as_fd(), Mode::from_bits_truncate(mode))?;
    bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    listen(&fd, Backlog::new(BACKLOG)?)?;
    Ok(fd)
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            identity: identity(path)?,
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the socket file");
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}
