//! Connections of checks.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
};

use nix::sys::socket::{setsockopt, sockopt::Mark};
use tokio::net::{TcpSocket, TcpStream};

use crate::{health::Failure, model::HealthCheck};

/// Connects to a server.
pub(super) async fn connect(
    check: &HealthCheck,
    address: SocketAddr,
) -> Result<TcpStream, Failure> {
    let socket = socket(check, address)?;
    socket.connect(address).await.map_err(failure)
}

/// A socket that is not connected.
fn socket(check: &HealthCheck, address: SocketAddr) -> Result<TcpSocket, Failure> {
    let unchecked = |what: &str, error: &dyn std::fmt::Display| {
        Failure::Unchecked(format!("the director cannot check: {what}: {error}"))
    };
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    };
    let socket = socket.map_err(|error| unchecked("no socket", &error))?;
    if let Some(mark) = check.fwmark {
        let set = setsockopt(&socket, Mark, &mark);
        set.map_err(|error| unchecked("the socket cannot have the fwmark", &error))?;
    }
    // A server of another family than the service is reached from any address.
    let source = check.source_address;
    if let Some(source) = source.filter(|source| source.is_ipv4() == address.is_ipv4()) {
        let bound = socket.bind(SocketAddr::new(source, 0));
        bound.map_err(|error| unchecked(&format!("source_address {source}"), &error))?;
    }
    Ok(socket)
}

/// Who is at fault for an error of connect(2).
fn failure(error: io::Error) -> Failure {
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
