//! A proxy that terminates TLS before a daemon, and certificates for both sides.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
};

/// A CA.
pub struct Issuer(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key.
pub struct Certificate {
    pub chain: CertificateDer<'static>,
    pub pem: String,
    /// PKCS #8.
    pub key: Vec<u8>,
    pub key_pem: String,
}

/// Which clients the proxy accepts.
#[derive(Clone, Copy, Debug, Default)]
pub enum ClientCertificates {
    /// All.
    #[default]
    None,
    /// Those with a certificate of the CA, with this version of TLS only.
    Required(&'static SupportedProtocolVersion),
}

/// The proxy. It runs until the end of the test program.
pub struct TlsServer {
    pub port: u16,
    certificate: CertificateDer<'static>,
}

/// The certificate of the proxy. That rustls checks whether the key is its key is not wanted here.
#[derive(Debug)]
struct Unchecked(Arc<CertifiedKey>);

// === impl Issuer ===

impl Issuer {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    pub fn sign(&self, params: CertificateParams) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Certificate::new(&certificate, &key)
    }

    pub fn self_signed(params: CertificateParams) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Certificate::new(&certificate, &key)
    }
}

// === impl Certificate ===

impl Certificate {
    fn new(certificate: &rcgen::Certificate, key: &KeyPair) -> Self {
        Self {
            chain: certificate.der().clone(),
            pem: certificate.pem(),
            key: key.serialize_der(),
            key_pem: key.serialize_pem(),
        }
    }
}

// === impl TlsServer ===

impl TlsServer {
    /// Starts a proxy before the daemon at an address.
    pub fn start(
        certificate: CertificateDer<'static>,
        key: Vec<u8>,
        clients: ClientCertificates,
        issuer: &Issuer,
        to: &str,
    ) -> Self {
        let provider = Arc::new(ring::default_provider());
        let config = server_config(&provider, &certificate, key, clients, issuer);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let to = to.to_owned();
        std::thread::spawn(move || proxy(&listener, &Arc::new(config), &to));
        Self { port, certificate }
    }

    /// The SHA-256 of its certificate.
    pub fn fingerprint(&self) -> String {
        let digest = ::ring::digest::digest(&::ring::digest::SHA256, &self.certificate);
        digest
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

fn server_config(
    provider: &Arc<CryptoProvider>,
    certificate: &CertificateDer<'static>,
    key: Vec<u8>,
    clients: ClientCertificates,
    issuer: &Issuer,
) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = match clients {
        ClientCertificates::None => builder
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth(),
        ClientCertificates::Required(version) => {
            let mut roots = RootCertStore::empty();
            roots.add(issuer.0.der().clone()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
            builder
                .with_protocol_versions(&[version])
                .unwrap()
                .with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key));
    let key = provider.key_provider.load_private_key(key).unwrap();
    let certified = CertifiedKey::new(vec![certificate.clone()], key);
    builder.with_cert_resolver(Arc::new(Unchecked(Arc::new(certified))))
}

/// Forwards requests without a body until the test ends.
fn proxy(listener: &TcpListener, config: &Arc<ServerConfig>, to: &str) {
    for stream in listener.incoming() {
        let connection = ServerConnection::new(config.clone()).unwrap();
        let mut stream = StreamOwned::new(connection, stream.unwrap());
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            match stream.read(&mut byte) {
                Ok(1) => request.extend(byte),
                // One side does not trust the other.
                _ => break,
            }
        }
        if !request.ends_with(b"\r\n\r\n") {
            continue;
        }
        let mut daemon = TcpStream::connect(to).unwrap();
        daemon.write_all(&request).unwrap();
        let mut response = Vec::new();
        daemon.read_to_end(&mut response).unwrap();
        stream.write_all(&response).unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
    }
}

// === impl Unchecked ===

impl ResolvesServerCert for Unchecked {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}
