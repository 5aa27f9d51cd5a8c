//! Sockets of checks.

use std::{
    fmt::Display,
    io::{self, ErrorKind},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsFd,
};

use nix::sys::socket::{setsockopt, sockopt::Mark};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

use crate::{health::Failure, model::HealthCheck};

/// Connects to a server.
pub(super) async fn connect(
    check: &HealthCheck,
    address: SocketAddr,
) -> Result<TcpStream, Failure> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    };
    let socket = socket.map_err(no_socket)?;
    mark(check, &socket)?;
    if let Some(source) = source(check, address) {
        let bound = socket.bind(source);
        bound.map_err(|error| lacks(source, &error))?;
    }
    socket.connect(address).await.map_err(failure)
}

/// A socket for datagrams to a server, which is not connected.
pub(super) fn datagram(check: &HealthCheck, address: SocketAddr) -> Result<UdpSocket, Failure> {
    let source = source(check, address);
    let any = match address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = std::net::UdpSocket::bind(source.unwrap_or(any));
    let socket = socket.map_err(|error| match source {
        Some(source) => lacks(source, &error),
        None => no_socket(error),
    })?;
    mark(check, &socket)?;
    let prepared = socket.set_nonblocking(true);
    prepared
        .and_then(|()| UdpSocket::from_std(socket))
        .map_err(no_socket)
}

fn mark(check: &HealthCheck, socket: &impl AsFd) -> Result<(), Failure> {
    let Some(mark) = check.fwmark else {
        return Ok(());
    };
    let set = setsockopt(socket, Mark, &mark);
    set.map_err(|error| unchecked("the socket cannot have the fwmark", &error))
}

/// The address from which a server is checked. One of another family than the service is reached from any.
fn source(check: &HealthCheck, address: SocketAddr) -> Option<SocketAddr> {
    let source = check.source_address?;
    let is_fitting = source.is_ipv4() == address.is_ipv4();
    is_fitting.then_some(SocketAddr::new(source, 0))
}

fn unchecked(what: &str, error: &dyn Display) -> Failure {
    Failure::Unchecked(format!("the director cannot check: {what}: {error}"))
}

fn no_socket(error: io::Error) -> Failure {
    unchecked("no socket", &error)
}

fn lacks(source: SocketAddr, error: &io::Error) -> Failure {
    unchecked(&format!("source_address {}", source.ip()), error)
}

/// Who is at fault for an error of connect(2), send(2) or recv(2).
pub(super) fn failure(error: io::Error) -> Failure {
    match error.kind() {
        ErrorKind::ConnectionRefused => Failure::Wrong("connection refused".to_owned()),
        ErrorKind::ConnectionReset => Failure::Wrong("connection reset".to_owned()),
        ErrorKind::TimedOut => Failure::Silent("no connection: the kernel gave up".to_owned()),
        ErrorKind::HostUnreachable => Failure::Silent("host unreachable".to_owned()),
        ErrorKind::NetworkUnreachable => Failure::Silent("network unreachable".to_owned()),
        ErrorKind::NetworkDown => Failure::Silent("network down".to_owned()),
        // No port or memory left, or a rule of the director's firewall.
        _ => Failure::Unchecked(format!("the director cannot check: {error}")),
    }
}
