//! TLS over a socket. As `rustls::StreamOwned`, but for what a server sends before it closes a connection
//! from which it does not read: an alert about the client's certificate, or a response to the beginning of
//! a request. It is read although writing has failed.

use std::io::{self, Read, Write};

use rustls::ClientConnection;

/// A connection after its handshake.
#[derive(Debug)]
pub(super) struct TlsStream<S> {
    connection: ClientConnection,
    pub socket: S,
    /// Writing has failed.
    is_broken: bool,
}

// === impl TlsStream ===

impl<S: Read + Write> TlsStream<S> {
    /// Completes the handshake, so that a certificate that is not trusted has an error of its own.
    pub(super) fn handshake(connection: ClientConnection, socket: S) -> io::Result<Self> {
        let mut stream = Self {
            connection,
            socket,
            is_broken: false,
        };
        while stream.connection.is_handshaking() {
            let done = stream.connection.complete_io(&mut stream.socket);
            done.map_err(|error| stream.explain(error))?;
        }
        Ok(stream)
    }

    /// Sends what is encrypted.
    fn send(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            if let Err(error) = self.connection.write_tls(&mut self.socket) {
                self.is_broken = true;
                return Err(self.explain(error));
            }
        }
        Ok(())
    }

    /// The alert that the server has sent before it closed the connection; otherwise `error`.
    fn explain(&mut self, error: io::Error) -> io::Error {
        let is_closed = matches!(
            error.kind(),
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
        );
        while is_closed && matches!(self.connection.read_tls(&mut self.socket), Ok(1..)) {
            if let Err(alert) = self.process() {
                return alert;
            }
        }
        error
    }

    fn process(&mut self) -> io::Result<()> {
        let processed = self.connection.process_new_packets();
        processed
            .map(drop)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

impl<S: Read + Write> Read for TlsStream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            if !self.is_broken {
                self.send()?;
            }
            self.connection.read_tls(&mut self.socket)?;
            self.process()?;
        }
    }
}

impl<S: Read + Write> Write for TlsStream<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.connection.writer().write(bytes)?;
        self.send()?;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()?;
        self.socket.flush()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use std::sync::Arc;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::{
        AlertDescription, ClientConfig, RootCertStore, ServerConfig, ServerConnection,
        SupportedProtocolVersion,
        crypto::ring,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
        server::WebPkiClientVerifier,
        version::{TLS12, TLS13},
    };

    use super::*;

    /// A server at the other end, which closes the connection after an error: writes fail, and what it has
    /// sent can be read.
    struct Peer {
        server: ServerConnection,
        is_closed: bool,
    }

    impl Read for Peer {
        fn read(&mut self, mut buffer: &mut [u8]) -> io::Result<usize> {
            self.server.write_tls(&mut buffer)
        }
    }

    impl Write for Peer {
        fn write(&mut self, mut bytes: &[u8]) -> io::Result<usize> {
            if self.is_closed {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let length = self.server.read_tls(&mut bytes)?;
            self.is_closed = self.server.process_new_packets().is_err();
            Ok(length)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Both ends of a connection to a server that requires a client certificate, which the client does
    /// not have.
    fn ends(version: &'static SupportedProtocolVersion) -> (ClientConnection, Peer) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(issuer.der().clone()).unwrap();
        let (roots, provider) = (Arc::new(roots), Arc::new(ring::default_provider()));
        let clients =
            WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_client_cert_verifier(clients.unwrap())
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = "localhost".try_into().unwrap();
        let peer = Peer {
            server: ServerConnection::new(Arc::new(server)).unwrap(),
            is_closed: false,
        };
        (ClientConnection::new(Arc::new(client), name).unwrap(), peer)
    }

    #[test]
    fn an_alert_is_read_although_writing_fails() {
        for version in [&TLS12, &TLS13] {
            let (connection, peer) = ends(version);
            let request = TlsStream::handshake(connection, peer).and_then(|mut stream| {
                stream.write_all(b"GET / HTTP/1.1\r\n\r\n")?;
                stream.flush()
            });
            let error = request.unwrap_err();
            let alert = error.get_ref().and_then(|inner| inner.downcast_ref());
            assert_eq!(
                alert,
                Some(&rustls::Error::AlertReceived(
                    AlertDescription::CertificateRequired
                )),
                "{version:?}: {error}"
            );
        }
    }
}
