//! Sockets of checks.

use std::{
    fmt::Display,
    io::{self, ErrorKind},
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use nix::{
    cmsg_space,
    errno::Errno,
    libc::{linger, sock_extended_err, sockaddr_in6},
    sys::socket::{
        AddressFamily, ControlMessageOwned, MsgFlags, SetSockOpt, SockFlag, SockType,
        SockaddrStorage, bind, connect as begin, recvmsg, setsockopt, socket as create,
        sockopt::{IpBindAddressNoPort, Ipv4RecvErr, Ipv6RecvErr, Linger, Mark},
    },
};
use tokio::net::{TcpStream, UdpSocket};

use crate::{health::Failure, model::HealthCheck};

/// The end of a connection is a reset: 10,000 checks would leave 300,000 sockets in TIME_WAIT, and their ports.
const RESET: linger = linger {
    l_onoff: 1,
    l_linger: 0,
};

/// Connects to a server.
pub(super) async fn connect(
    check: &HealthCheck,
    address: SocketAddr,
) -> Result<TcpStream, Failure> {
    let socket = socket(check, address, SockType::Stream)?;
    set(&socket, Linger, &RESET)?;
    match address {
        SocketAddr::V4(_) => set(&socket, Ipv4RecvErr, &true)?,
        SocketAddr::V6(_) => set(&socket, Ipv6RecvErr, &true)?,
    }
    match begin(socket.as_raw_fd(), &SockaddrStorage::from(address)) {
        Ok(()) | Err(Errno::EINPROGRESS) => {}
        Err(errno) => return Err(failure(errno.into())),
    }
    let stream = TcpStream::from_std(socket.into());
    let stream = stream.map_err(|error| unchecked("no socket", &error))?;
    stream.writable().await.map_err(failure)?;
    match stream.take_error() {
        Ok(None) => Ok(stream),
        // Not from the server, which would have reset it: from a router or a firewall, perhaps the director's own.
        Ok(Some(error)) if is_icmp(&stream) => Err(Failure::Silent(format!(
            "connection rejected by ICMP: {error}"
        ))),
        Ok(Some(error)) | Err(error) => Err(failure(error)),
    }
}

/// A socket for datagrams to a server, which is not connected.
pub(super) fn datagram(check: &HealthCheck, address: SocketAddr) -> Result<UdpSocket, Failure> {
    let socket = socket(check, address, SockType::Datagram)?;
    let socket = UdpSocket::from_std(socket.into());
    socket.map_err(|error| unchecked("no socket", &error))
}

fn unchecked(what: &str, error: &dyn Display) -> Failure {
    Failure::Unchecked(format!("the director cannot check: {what}: {error}"))
}

/// A socket that is not connected.
fn socket(check: &HealthCheck, address: SocketAddr, kind: SockType) -> Result<OwnedFd, Failure> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = create(family, kind, flags, None);
    let socket = socket.map_err(|error| unchecked("no socket", &error))?;
    if let Some(mark) = check.fwmark {
        let set = setsockopt(&socket, Mark, &mark);
        set.map_err(|error| unchecked("the socket cannot have the fwmark", &error))?;
    }
    // A server of another family than the service is reached from any address.
    let source = check.source_address;
    if let Some(source) = source.filter(|source| source.is_ipv4() == address.is_ipv4()) {
        // Else each check occupies a port, whatever its server.
        set(&socket, IpBindAddressNoPort, &true)?;
        let bound = bind(
            socket.as_raw_fd(),
            &SockaddrStorage::from(SocketAddr::new(source, 0)),
        );
        bound.map_err(|error| unchecked(&format!("source_address {source}"), &error))?;
    }
    Ok(socket)
}

fn set<O: SetSockOpt>(socket: &OwnedFd, option: O, value: &O::Val) -> Result<(), Failure> {
    setsockopt(socket, option, value).map_err(|error| unchecked("an option of a socket", &error))
}

/// Whether the error of a connection was sent by ICMP.
fn is_icmp(stream: &TcpStream) -> bool {
    let mut space = cmsg_space!(sock_extended_err, sockaddr_in6);
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let fd = stream.as_fd().as_raw_fd();
    let Ok(message) = recvmsg::<()>(fd, &mut [], Some(&mut space), flags) else {
        return false;
    };
    let origin = |message| match message {
        ControlMessageOwned::Ipv4RecvErr(error, _) => Some(error.ee_origin),
        ControlMessageOwned::Ipv6RecvErr(error, _) => Some(error.ee_origin),
        _ => None,
    };
    let mut origins = message.cmsgs().into_iter().flatten().filter_map(origin);
    origins.any(|origin| {
        [nix::libc::SO_EE_ORIGIN_ICMP, nix::libc::SO_EE_ORIGIN_ICMP6].contains(&origin)
    })
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
