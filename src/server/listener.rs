//! Listening sockets: TCP, with or without TLS, and unix, with the file of the latter.

use std::{
    fs::{self, DirBuilder},
    io,
    net::{SocketAddr, TcpListener as BlockingTcpListener},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::{
            fs::{DirBuilderExt, FileTypeExt, PermissionsExt, chown},
            net::UnixListener as BlockingUnixListener,
        },
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    sys::{
        socket::{
            AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen,
            setsockopt, socket, sockopt,
        },
        stat::{Mode, fchmod},
    },
    unistd::{Group, getgroups},
};
use rustix::thread::{CapabilitySet, capabilities};
use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

use super::{
    address::ListenAddress,
    config::{Config, Limits},
    peer_groups,
    socket_file::{LockError, LockFile, SocketFile},
    tls::{Tls, TlsErrors},
};
use crate::identity::{Credential, DEFAULT_GROUP, Peer};

/// Connections that wait in the kernel to be accepted, per listener. The kernel may limit it further
/// (net.core.somaxconn).
const BACKLOG: u16 = 1024;

/// Unanswered TCP keep-alive probes after which a connection is closed (TCP_KEEPCNT, tcp(7)).
const KEEP_ALIVE_PROBES: u32 = 3;

/// Why the daemon cannot listen on an address.
#[derive(Debug, Error)]
pub enum BindError {
    /// A system call failed: address in use, no such address, no permission.
    #[error("cannot listen on {address}: {error}{}", remedy(error))]
    System {
        /// The address of the configuration.
        address: ListenAddress,
        /// The error of the operating system.
        error: io::Error,
    },
    /// Another process listens on the unix socket.
    #[error("cannot listen on {0}: another process listens there")]
    InUse(ListenAddress),
    /// The file at the path is not a socket. It is left alone.
    #[error(
        "cannot listen on {0}: the file there is not a socket; remove it or choose another path"
    )]
    NotASocket(ListenAddress),
    /// Another process holds the lock on the unix socket.
    #[error(
        "cannot listen on {0}: another process holds a lock on {0}.lock, perhaps an ipvsd that is \
         starting; try again"
    )]
    Contended(ListenAddress),
    /// The lock file of the unix socket is not the daemon's own. It is left alone.
    #[error(
        "cannot listen on {0}: its lock file {0}.lock is a symbolic link, or not a file that only \
         the daemon's user can open; remove it"
    )]
    ForeignLock(ListenAddress),
    /// The configured group of unix sockets does not exist.
    #[error("socket_group: there is no group {0:?} (groupadd --system {0})")]
    NoGroup(String),
    /// The directory of the unix socket does not exist.
    #[error(
        "cannot listen on {0}: its directory does not exist; create it (systemd: RuntimeDirectory=)"
    )]
    NoDirectory(ListenAddress),
    /// The files of TLS have faults.
    #[error(transparent)]
    Tls(#[from] TlsErrors),
}

/// A listening socket.
pub(super) enum Listener {
    Tcp(TcpListener, SocketAddr),
    Tls(TcpListener, SocketAddr, Tls),
    Unix(UnixListener, UnixPath),
}

/// The path of a unix socket.
pub(super) enum UnixPath {
    /// Of the daemon, which removes the file at the end.
    Own(SocketFile),
    /// Of the service manager.
    Inherited(PathBuf),
}

/// An accepted connection, before its handshake.
pub(super) enum Accepted {
    Tcp(TcpStream, Peer),
    Tls(TcpStream, Peer, Tls),
    Unix(UnixStream, Peer, Credential),
}

impl Listener {
    /// Binds an address and listens; with `tls` if it is one of TLS. Requires a running tokio runtime.
    pub(super) fn bind(
        address: &ListenAddress,
        config: &Config,
        tls: Option<&Tls>,
    ) -> Result<Self, BindError> {
        let tcp = match address {
            ListenAddress::Unix(path) => return bind_unix(address, path, config),
            ListenAddress::Tcp(tcp) | ListenAddress::Tls(tcp) => *tcp,
        };
        let (listener, bound) =
            bind_tcp(tcp, &config.limits).map_err(|error| BindError::System {
                address: address.clone(),
                error,
            })?;
        Ok(match tls.filter(|_| address.is_tls()) {
            Some(tls) => Listener::Tls(listener, bound, tls.clone()),
            None => Listener::Tcp(listener, bound),
        })
    }

    /// Serves a socket that the service manager has opened at this address. Requires a running tokio runtime.
    pub(super) fn inherit(
        socket: OwnedFd,
        address: &ListenAddress,
        config: &Config,
        tls: Option<&Tls>,
    ) -> Result<Self, BindError> {
        let system = |error: io::Error| BindError::System {
            address: address.clone(),
            error,
        };
        let tcp = match address {
            ListenAddress::Unix(path) => {
                let listener = BlockingUnixListener::from(socket);
                listener.set_nonblocking(true).map_err(system)?;
                let listener = UnixListener::from_std(listener).map_err(system)?;
                return Ok(Listener::Unix(listener, UnixPath::Inherited(path.clone())));
            }
            ListenAddress::Tcp(tcp) | ListenAddress::Tls(tcp) => *tcp,
        };
        keep_alive(&socket, &config.limits).map_err(|error| system(error.into()))?;
        let listener = BlockingTcpListener::from(socket);
        listener.set_nonblocking(true).map_err(system)?;
        let listener = TcpListener::from_std(listener).map_err(system)?;
        Ok(match tls.filter(|_| address.is_tls()) {
            Some(tls) => Listener::Tls(listener, tcp, tls.clone()),
            None => Listener::Tcp(listener, tcp),
        })
    }

    /// The bound address, with port 0 resolved.
    pub(super) fn address(&self) -> ListenAddress {
        match self {
            Listener::Tcp(_, address) => ListenAddress::Tcp(*address),
            Listener::Tls(_, address, _) => ListenAddress::Tls(*address),
            Listener::Unix(_, UnixPath::Own(file)) => ListenAddress::Unix(file.path().to_owned()),
            Listener::Unix(_, UnixPath::Inherited(path)) => ListenAddress::Unix(path.clone()),
        }
    }

    /// Accepts the next connection.
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Listener::Tcp(listener, _) => {
                let (stream, peer) = accept_tcp(listener).await?;
                Ok(Accepted::Tcp(stream, peer))
            }
            Listener::Tls(listener, _, tls) => {
                let (stream, peer) = accept_tcp(listener).await?;
                Ok(Accepted::Tls(stream, peer, tls.clone()))
            }
            Listener::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let credentials = stream.peer_cred()?;
                let peer = unix_peer(credentials.uid(), credentials.gid(), credentials.pid());
                let credential = Credential::Unix {
                    uid: credentials.uid(),
                    gid: credentials.gid(),
                    groups: peer_groups::of(&stream)?,
                };
                Ok(Accepted::Unix(stream, peer, credential))
            }
        }
    }
}

/// The process at the other end of a unix socket. The kernel reports the id 0 for a process in a PID
/// namespace that this one cannot see.
fn unix_peer(uid: u32, gid: u32, pid: Option<i32>) -> Peer {
    let pid = pid.filter(|pid| *pid > 0);
    Peer::Unix { uid, gid, pid }
}

async fn accept_tcp(listener: &TcpListener) -> io::Result<(TcpStream, Peer)> {
    let (stream, address) = listener.accept().await?;
    // Responses are written in full, so that Nagle's algorithm would only delay them. An error concerns a
    // connection that was reset meanwhile; reading it will say so.
    let _ = stream.set_nodelay(true);
    Ok((stream, Peer::Tcp(address)))
}

fn bind_tcp(address: SocketAddr, limits: &Limits) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // Without SO_REUSEADDR, a restart fails while old connections are in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    if address.is_ipv6() {
        // Whether [::] includes IPv4 does not depend on net.ipv6.bindv6only.
        setsockopt(&socket, sockopt::Ipv6V6Only, &false)?;
    }
    keep_alive(&socket, limits)?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG.into())?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Makes the kernel probe idle connections. On Linux, accepted connections inherit the options.
fn keep_alive(socket: &impl AsFd, limits: &Limits) -> nix::Result<()> {
    let interval = u32::try_from(limits.keep_alive_interval.as_secs())
        .unwrap_or(u32::MAX)
        .max(1);
    setsockopt(socket, sockopt::KeepAlive, &true)?;
    setsockopt(socket, sockopt::TcpKeepIdle, &interval)?;
    setsockopt(socket, sockopt::TcpKeepInterval, &interval)?;
    setsockopt(socket, sockopt::TcpKeepCount, &KEEP_ALIVE_PROBES)
}

fn bind_unix(address: &ListenAddress, path: &Path, config: &Config) -> Result<Listener, BindError> {
    let mode = config.socket_mode;
    let group = socket_group(config)?;
    let system = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => BindError::NoDirectory(address.clone()),
        io::ErrorKind::AddrInUse => BindError::InUse(address.clone()),
        _ => BindError::System {
            address: address.clone(),
            error,
        },
    };
    if *address == ListenAddress::default_socket()
        && let Some(directory) = path.parent()
    {
        // systemd makes it (RuntimeDirectory=); by hand, the daemon does.
        let made = DirBuilder::new().mode(0o755).create(directory);
        made.or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Ok(()),
            _ => Err(system(error)),
        })?;
    }
    // Otherwise two daemons that start at once could both find the stale socket, and the second
    // would remove the new socket of the first.
    let _lock = LockFile::acquire(path).map_err(|error| match error {
        LockError::Held => BindError::Contended(address.clone()),
        LockError::Foreign => BindError::ForeignLock(address.clone()),
        LockError::System(error) => system(error),
    })?;
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(system(error)),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(BindError::NotASocket(address.clone()));
        }
        Ok(_) => match probe(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                tracing::info!(path = %path.display(), "replacing a stale socket");
                fs::remove_file(path).map_err(system)?;
            }
            Ok(()) => return Err(BindError::InUse(address.clone())),
            // Unknown state: another process may own the socket.
            Err(error) => return Err(system(error)),
        },
    }
    let socket = unix_socket(path, mode).map_err(system)?;
    let file = SocketFile::new(path).map_err(system)?;
    if let Some(group) = group {
        chown(path, None, Some(group)).map_err(system)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(system)?;
    let listener = BlockingUnixListener::from(socket);
    listener.set_nonblocking(true).map_err(system)?;
    let listener = UnixListener::from_std(listener).map_err(system)?;
    Ok(Listener::Unix(listener, UnixPath::Own(file)))
}

/// The group of unix sockets. That of the default may be missing, and may be one that the daemon must
/// not give files to; an explicit one may not.
fn socket_group(config: &Config) -> Result<Option<u32>, BindError> {
    let name = config.socket_group.as_deref();
    let id = Group::from_name(name.unwrap_or(DEFAULT_GROUP));
    let id = id.ok().flatten().map(|group| group.gid.as_raw());
    match (name, id) {
        (Some(name), None) => Err(BindError::NoGroup(name.to_owned())),
        (Some(_), id) => Ok(id),
        (None, id) => Ok(id.filter(|id| {
            let groups = getgroups().unwrap_or_default();
            may_give_files() || groups.iter().any(|group| group.as_raw() == *id)
        })),
    }
}

/// Whether this process may give its files to any group. Root of a container may not have the capability.
fn may_give_files() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::CHOWN))
}

/// Connects to a unix socket. Succeeds also if its backlog is full, which means that another process
/// listens on it but accepts nothing.
fn probe(path: &Path) -> io::Result<()> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    match connect(fd.as_raw_fd(), &UnixAddr::new(path)?) {
        Ok(()) | Err(Errno::EAGAIN) => Ok(()),
        Err(error) => Err(error.into()),
    }
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

/// What to do about an error, if that is known.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another process listens there (ss -lntp)",
        io::ErrorKind::AddrNotAvailable => "; no interface has this address (ip address)",
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 require CAP_NET_BIND_SERVICE, and a unix socket requires write \
             permission in its directory; choose other addresses with --listen, or use --dev for \
             development"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_another_pid_namespace_has_no_pid() {
        let peer = |pid| unix_peer(1, 2, Some(pid)).to_string();
        assert_eq!(peer(0), "unix:uid=1,gid=2");
        assert_eq!(peer(3), "unix:uid=1,gid=2,pid=3");
    }
}
