//! Fixtures of TLS: an authority, the files of a daemon, and clients.

use std::{
    fs, net::SocketAddr, os::unix::fs::PermissionsExt, path::PathBuf, sync::Arc, time::Duration,
};

use axum::{Extension, Router, routing::get};
use ipvsd::{
    identity::{Credential, OverTls, Session},
    server::{ClientCertificates, Config, TlsConfig},
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SanType, SerialNumber, date_time_ymd,
};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
    version::{TLS12, TLS13},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::harness::*;

/// An authority that issues certificates.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key.
pub struct Issued {
    pub certificate: CertificateDer<'static>,
    pub pem: String,
    pub key: KeyPair,
    pub serial: SerialNumber,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    /// A certificate for `localhost` and 127.0.0.1.
    pub fn server(&self) -> Issued {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        self.issue(CertificateParams::new(names).unwrap())
    }

    /// A certificate of a client with this DNS name.
    pub fn client(&self, name: &str) -> Issued {
        self.client_with(name, |_| {})
    }

    pub fn client_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        self.issue(params)
    }

    pub fn issue(&self, mut params: CertificateParams) -> Issued {
        let key = KeyPair::generate().unwrap();
        let serial: [u8; 8] = key.public_key_raw()[8..16].try_into().unwrap();
        // Positive, and without leading zeros.
        let serial = SerialNumber::from_slice(&[&[0x40], &serial[..]].concat());
        params.serial_number = Some(serial.clone());
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued {
            certificate: certificate.der().clone(),
            pem: certificate.pem(),
            key,
            serial,
        }
    }

    /// A revocation list with these certificates, valid until the first day of this year.
    pub fn revoke(&self, revoked: &[&Issued], until: i32) -> String {
        let revoked_certs = revoked.iter().map(|issued| RevokedCertParams {
            serial_number: issued.serial.clone(),
            revocation_time: date_time_ymd(2025, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2025, 1, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// What a client trusts and presents.
    pub fn connector(&self, client: Option<&Issued>) -> ClientConfig {
        self.connector_of(&[&TLS13, &TLS12], client)
    }

    pub fn connector_of(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        client: Option<&Issued>,
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        match client {
            None => builder.with_no_client_auth(),
            Some(issued) => builder
                .with_client_auth_cert(vec![issued.certificate.clone()], issued.key_der())
                .unwrap(),
        }
    }
}

impl Issued {
    pub fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }
}

/// The files of a daemon.
pub struct TlsFiles {
    pub directory: TempDir,
    pub authority: Authority,
}

impl TlsFiles {
    /// A new authority and a certificate of a server.
    pub fn new() -> Self {
        let files = Self {
            directory: TempDir::new(),
            authority: Authority::new(),
        };
        files.write_server(&files.authority.server());
        files.write("ca.pem", &files.authority.pem());
        files
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.0.join(name)
    }

    /// Replaces a file at once.
    pub fn write(&self, name: &str, text: &str) {
        let new = self.path("new");
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(new, self.path(name)).unwrap();
    }

    pub fn write_server(&self, issued: &Issued) {
        self.write("key.pem", &issued.key.serialize_pem());
        self.write("cert.pem", &issued.pem);
    }

    /// Settings without client certificates.
    pub fn settings(&self) -> TlsConfig {
        TlsConfig {
            certificate: Some(self.path("cert.pem")),
            key: Some(self.path("key.pem")),
            ..TlsConfig::default()
        }
    }

    /// A server with a TLS listener, and how clients are treated.
    pub fn config(&self, clients: ClientCertificates) -> Config {
        let mut config = test_config();
        config.listen = vec!["tls:127.0.0.1:0".parse().unwrap()];
        config.tls = self.settings();
        config.tls.client_certificates = clients;
        if clients != ClientCertificates::None {
            config.tls.client_ca = Some(self.path("ca.pem"));
        }
        config
    }

    /// The settings as a configuration file.
    pub fn toml(&self, more: &str) -> String {
        let path = |name| self.path(name).display().to_string();
        let (certificate, key) = (path("cert.pem"), path("key.pem"));
        format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n{more}")
    }
}

/// A router whose `/who` says what the daemon knows of the client of TLS.
pub fn router() -> Router {
    let who = |tls: Option<Extension<OverTls>>, Extension(session): Extension<Session>| async move {
        let names = match &session.credential {
            Credential::Certificate(identity) => Some(identity.dns.clone()),
            _ => None,
        };
        format!("{} {names:?}", tls.is_some())
    };
    setup().router.route("/who", get(who))
}

/// Connects, or returns why the handshake failed.
pub async fn try_connect(
    address: SocketAddr,
    config: &ClientConfig,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = in_time(TcpStream::connect(address)).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(config.clone()));
    in_time(connector.connect(name, stream)).await
}

pub async fn connect(address: SocketAddr, config: &ClientConfig) -> TlsStream<TcpStream> {
    try_connect(address, config).await.unwrap()
}

/// The response to a request on a connection of its own, or the error. With TLS 1.3, a client learns
/// only after its handshake that its certificate is refused.
pub async fn try_get(
    address: SocketAddr,
    config: &ClientConfig,
    path: &str,
) -> std::io::Result<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = try_connect(address, config).await?;
    let mut response = String::new();
    let exchange = async {
        stream.write_all(get_close(path).as_bytes()).await?;
        stream.read_to_string(&mut response).await
    };
    in_time(exchange).await?;
    Ok(response)
}

/// The body of the response to a request on a connection of its own.
#[track_caller]
pub fn body(response: std::io::Result<String>) -> String {
    let response = response.unwrap();
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    let (_, body) = response.split_once("\r\n\r\n").unwrap();
    body.to_owned()
}

/// Repeats an attempt until it succeeds, at most for the time of a test step.
pub async fn until<T, F: Future<Output = Option<T>>>(mut attempt: impl FnMut() -> F) -> T {
    in_time(async {
        loop {
            if let Some(found) = attempt().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}
