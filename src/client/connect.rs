//! Connections to a daemon: TCP, TLS, unix socket.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs},
    os::{fd::AsRawFd, unix::net::UnixStream},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use nix::sys::{
    socket::{self, AddressFamily, SockFlag, SockType, UnixAddr, sockopt},
    time::{TimeVal, TimeValLike},
};
use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};

use super::{endpoint::Endpoint, getent::getent, tls_stream::TlsStream};

/// A byte stream to the daemon.
pub(super) trait Stream: Read + Write + Send {
    /// Sets the time limit of the reads and writes that follow.
    fn set_limit(&mut self, limit: Limit);
}

/// A time limit. An operation beyond it fails with `TimedOut` or `WouldBlock`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    /// All operations end at this time, however many they are.
    Deadline(Instant),
    /// Each operation may take this long.
    Silence(Duration),
}

/// Replaces a time limit that the clock cannot represent.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// A socket that keeps a [`Limit`].
struct Limited<S> {
    socket: S,
    limit: Limit,
}

/// The time limits of a socket (`SO_RCVTIMEO`, `SO_SNDTIMEO`).
trait Timeouts {
    fn limit_read(&self, time: Duration) -> io::Result<()>;
    fn limit_write(&self, time: Duration) -> io::Result<()>;
}

/// The time after `time` from now.
pub(super) fn deadline_after(time: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(time).unwrap_or(now + FOREVER)
}

/// Opens a connection until `deadline`, which is also the limit of the stream until it gets another.
/// With `only_loopback`, a TCP connection to another machine is an error.
pub(super) fn open(
    endpoint: &Endpoint,
    tls: Option<&Arc<ClientConfig>>,
    only_loopback: bool,
    deadline: Instant,
) -> io::Result<Box<dyn Stream>> {
    let limit = Limit::Deadline(deadline);
    let (host, port) = match endpoint {
        Endpoint::Unix(path) => {
            let socket = connect_unix(path, deadline)?;
            return Ok(Box::new(Limited { socket, limit }));
        }
        Endpoint::Tcp { host, port, .. } => (host, *port),
    };
    let socket = connect(host, port, deadline)?;
    if only_loopback && !socket.peer_addr()?.ip().is_loopback() {
        let text = format!("{host} is another machine, to which the token is not sent without TLS");
        return Err(io::Error::other(text));
    }
    socket.set_nodelay(true)?;
    let stream = Limited { socket, limit };
    let Some(config) = tls else {
        return Ok(Box::new(stream));
    };
    let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
    let connection = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
    Ok(Box::new(TlsStream::handshake(connection, stream)?))
}

/// Connects to a unix socket. The kernel waits for a place in the queue of the listener for as long
/// as `SO_SNDTIMEO` says, which std cannot set before.
fn connect_unix(path: &Path, deadline: Instant) -> io::Result<UnixStream> {
    let kind = (
        AddressFamily::Unix,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
    );
    let socket = socket::socket(kind.0, kind.1, kind.2, None)?;
    let time = i64::try_from(remaining(deadline)?.as_micros()).unwrap_or(i64::MAX);
    socket::setsockopt(&socket, sockopt::SendTimeout, &TimeVal::microseconds(time))?;
    match socket::connect(socket.as_raw_fd(), &UnixAddr::new(path)?) {
        Ok(()) => Ok(socket.into()),
        Err(nix::Error::EAGAIN) => Err(io::ErrorKind::TimedOut.into()),
        Err(error) => Err(error.into()),
    }
}

/// The time until `deadline`; an error if there is none left.
fn remaining(deadline: Instant) -> io::Result<Duration> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        time => Ok(time),
    }
}

/// Connects to the first of the host's addresses that accepts.
fn connect(host: &str, port: u16, deadline: Instant) -> io::Result<TcpStream> {
    let mut last_error = io::ErrorKind::TimedOut.into();
    for address in addresses(host, port, deadline)? {
        let Ok(time) = remaining(deadline) else {
            break;
        };
        match TcpStream::connect_timeout(&address, time) {
            Ok(stream) => return Ok(stream),
            Err(error) => last_error = error,
        }
    }
    Err(last_error)
}

/// The addresses of a host by `getent ahosts`.
fn addresses(host: &str, port: u16, deadline: Instant) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![(address, port).into()]);
    }
    let output = match getent("ahosts", [host], deadline) {
        // A system without getent (musl) has no NSS modules, so the resolver of std is safe.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok((host, port).to_socket_addrs()?.collect());
        }
        output => output?,
    };
    // Each line: ADDRESS TYPE [NAME], where TYPE is the type of socket.
    let addresses = output.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = words.next()?.parse::<IpAddr>().ok()?;
        (words.next() == Some("STREAM")).then_some((address, port).into())
    });
    let addresses: Vec<_> = addresses.collect();
    match addresses.is_empty() {
        true => Err(io::Error::other(format!("{host} is not known"))),
        false => Ok(addresses),
    }
}

// === impl Limit ===

impl Limit {
    /// When one operation that begins now ends.
    pub(super) fn deadline(self) -> Instant {
        match self {
            Self::Deadline(deadline) => deadline,
            Self::Silence(time) => deadline_after(time),
        }
    }
}

// === impl Limited ===

impl<S> Limited<S> {
    /// The time that the next operation may take.
    fn time(&self) -> io::Result<Duration> {
        match self.limit {
            Limit::Deadline(deadline) => remaining(deadline),
            Limit::Silence(time) => Ok(time),
        }
    }
}

impl<S: Timeouts + Read> Read for Limited<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.limit_read(self.time()?)?;
        self.socket.read(buffer)
    }
}

impl<S: Timeouts + Write> Write for Limited<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.limit_write(self.time()?)?;
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

impl<S: Timeouts + Read + Write + Send> Stream for Limited<S> {
    fn set_limit(&mut self, limit: Limit) {
        self.limit = limit;
    }
}

// === impl TlsStream ===

impl<S: Timeouts + Read + Write + Send> Stream for TlsStream<Limited<S>> {
    fn set_limit(&mut self, limit: Limit) {
        self.socket.limit = limit;
    }
}

// === impl Timeouts ===

impl Timeouts for TcpStream {
    fn limit_read(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))
    }

    fn limit_write(&self, time: Duration) -> io::Result<()> {
        self.set_write_timeout(Some(time))
    }
}

impl Timeouts for UnixStream {
    fn limit_read(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))
    }

    fn limit_write(&self, time: Duration) -> io::Result<()> {
        self.set_write_timeout(Some(time))
    }
}
