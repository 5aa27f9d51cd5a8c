//! Streams to a daemon: TCP, TLS, unix socket.

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

use super::{ClientError, Endpoint, getent};

/// A stream of any kind.
pub(super) trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// Trust in the system's certificates, and in those of a file.
pub(super) fn tls(ca: Option<&Path>) -> Result<Arc<ClientConfig>, ClientError> {
    let mut roots = RootCertStore::empty();
    // A machine without certificates can still trust those of the file.
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

/// Opens a stream within `limit`; it then waits `patience` for each part.
pub(super) fn open(
    endpoint: &Endpoint,
    tls: Option<&Arc<ClientConfig>>,
    limit: Duration,
    patience: Duration,
) -> io::Result<Box<dyn Stream>> {
    let (host, port) = match endpoint {
        Endpoint::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(patience))?;
            stream.set_write_timeout(Some(patience))?;
            return Ok(Box::new(stream));
        }
        Endpoint::Tcp { host, port, .. } => (host, *port),
    };
    let mut stream = connect(host, port, Instant::now() + limit)?;
    stream.set_nodelay(true)?;
    let wait = |stream: &TcpStream, time: Duration| {
        stream.set_read_timeout(Some(time))?;
        stream.set_write_timeout(Some(time))
    };
    let Some(config) = tls else {
        wait(&stream, patience)?;
        return Ok(Box::new(stream));
    };
    let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
    let mut connection = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
    // Here already, so that a certificate that is not trusted is told as such.
    wait(&stream, limit)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    wait(&stream, patience)?;
    Ok(Box::new(StreamOwned::new(connection, stream)))
}

/// The first of the host's addresses that takes the connection.
fn connect(host: &str, port: u16, deadline: Instant) -> io::Result<TcpStream> {
    let mut failed = io::ErrorKind::TimedOut.into();
    for address in addresses(host, port, deadline)? {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn addresses(host: &str, port: u16, deadline: Instant) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![(address, port).into()]);
    }
    let printed = match getent("ahosts", [host], deadline) {
        // A machine without it has no modules either.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok((host, port).to_socket_addrs()?.collect());
        }
        printed => printed?,
    };
    // ADDRESS TYPE [NAME], a line for each type of socket.
    let addresses = printed.lines().filter_map(|line| {
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
