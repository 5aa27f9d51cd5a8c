//! Connections to a daemon: TCP, TLS, unix socket.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs},
    os::unix::net::UnixStream,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use super::{endpoint::Endpoint, error::ClientError, getent::getent};

/// A byte stream to the daemon.
pub(super) trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// A TLS configuration that trusts the system's certificates and those in the file `ca`.
pub(super) fn tls(ca: Option<&Path>) -> Result<Arc<ClientConfig>, ClientError> {
    let mut roots = RootCertStore::empty();
    // A machine without certificates of its own is no error: `ca` may be all that is needed.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca {
        let bad = || ClientError::Certificates(path.to_owned());
        let mut found = 0;
        for certificate in CertificateDer::pem_file_iter(path).map_err(|_| bad())? {
            roots.add(certificate.map_err(|_| bad())?)?;
            found += 1;
        }
        if found == 0 {
            return Err(bad());
        }
    }
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Opens a connection within `timeout`. Each read and write on it then has the limit `io_timeout`.
pub(super) fn open(
    endpoint: &Endpoint,
    tls: Option<&Arc<ClientConfig>>,
    timeout: Duration,
    io_timeout: Duration,
) -> io::Result<Box<dyn Stream>> {
    let (host, port) = match endpoint {
        Endpoint::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(io_timeout))?;
            stream.set_write_timeout(Some(io_timeout))?;
            return Ok(Box::new(stream));
        }
        Endpoint::Tcp { host, port, .. } => (host, *port),
    };
    let mut stream = connect(host, port, Instant::now() + timeout)?;
    stream.set_nodelay(true)?;
    let set_timeout = |stream: &TcpStream, time: Duration| {
        stream.set_read_timeout(Some(time))?;
        stream.set_write_timeout(Some(time))
    };
    let Some(config) = tls else {
        set_timeout(&stream, io_timeout)?;
        return Ok(Box::new(stream));
    };
    let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
    let mut connection = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
    // The handshake is completed here, so that a certificate that is not trusted has an error of
    // its own.
    set_timeout(&stream, timeout)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    set_timeout(&stream, io_timeout)?;
    Ok(Box::new(StreamOwned::new(connection, stream)))
}

/// Connects to the first of the host's addresses that accepts.
fn connect(host: &str, port: u16, deadline: Instant) -> io::Result<TcpStream> {
    let mut last_error = io::ErrorKind::TimedOut.into();
    for address in addresses(host, port, deadline)? {
        let remaining = deadline.saturating_duration_since(Instant::now());
        if remaining.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(&address, remaining) {
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
