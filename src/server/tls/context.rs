//! What handshakes are made with: the certificate, its key, and the verifier of client certificates.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use ring::digest::{Context as Hash, SHA256};
use rustls::{
    CertificateError, Error, InconsistentKeys, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring::default_provider},
    pki_types::{CertificateDer, UnixTime},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};

use super::{
    error::{TlsError, TlsErrors, TlsProblem},
    files::{Files, Stamp},
    settings::{ClientCertificates, TlsConfig},
    validity::Validity,
};

/// The application protocols, preferred first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// SHA-256.
pub(super) type Digest = [u8; 32];

/// What handshakes are made with, from the files at one time.
pub(super) struct TlsContext {
    /// For new connections.
    pub(super) server: Arc<ServerConfig>,
    /// The state of the files before they were read.
    pub(super) stamp: Stamp,
    clients: ClientCertificates,
    /// Absent if clients are not asked for certificates.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// Of all that decides about clients.
    pub(super) verifier_digest: Digest,
    /// The validity of the daemon's own certificates.
    certificate: Option<Validity>,
    /// The validity of what the verifier was made of.
    others: Vec<Validity>,
    warnings: Vec<String>,
}

// === impl TlsContext ===

impl TlsContext {
    /// Reads the files of these settings, or returns all their faults.
    pub(super) fn load(config: &TlsConfig) -> Result<Self, TlsErrors> {
        let stamp = Stamp::of(config);
        let files = Files::read(config)?;
        Self::build(config, files, stamp).map_err(|error| TlsErrors(vec![error]))
    }

    fn build(config: &TlsConfig, files: Files, stamp: Stamp) -> Result<Self, TlsError> {
        let path = |path: &Option<_>| path.clone().unwrap_or_default();
        let (certificate, client_ca) = (path(&config.certificate), path(&config.client_ca));
        let crl = path(&config.crl);
        let own = Validity::of_certificates("tls.certificate", &certificate, &files.certificate)
            .map_err(|problem| problem.of("tls.certificate"))?;
        let of_ca = Validity::of_certificates("tls.client_ca", &client_ca, &files.client_ca)
            .map_err(|problem| problem.of("tls.client_ca"))?;
        let of_crl = Validity::of_lists("tls.crl", &crl, &files.crls)
            .map_err(|problem| problem.of("tls.crl"))?;
        let clients = config.client_certificates;
        let verifier_digest = digest(clients, &files);
        // Explicitly: the default of the process depends on what else is linked.
        let provider = Arc::new(default_provider());
        let verifier = match clients {
            ClientCertificates::None => None,
            _ => Some(verifier(&provider, clients, &files, [&client_ca, &crl])?),
        };
        let key = CertifiedKey::from_der(files.certificate, files.key, &provider);
        let key = key.map_err(|error| key_error(error, config))?;
        Ok(Self {
            server: Arc::new(server_config(provider, key, verifier.clone())?),
            stamp,
            clients,
            verifier,
            verifier_digest,
            certificate: own,
            others: of_ca.into_iter().chain(of_crl).collect(),
            warnings: files.warnings,
        })
    }

    /// Whether a client with these certificates may be connected.
    pub(super) fn admits(&self, certificates: &[CertificateDer<'_>]) -> Result<(), Error> {
        match (&self.verifier, certificates) {
            (None, []) => Ok(()),
            (Some(_), []) if self.clients == ClientCertificates::Optional => Ok(()),
            (_, []) => Err(Error::NoCertificatesPresented),
            // Its identity would be used although no certificate authority is trusted any more.
            (None, _) => Err(CertificateError::UnknownIssuer.into()),
            (Some(verifier), [leaf, issuers @ ..]) => {
                let verified = verifier.verify_client_cert(leaf, issuers, UnixTime::now());
                verified.map(|_| ())
            }
        }
    }

    /// The daemon's certificate in the log.
    pub(super) fn description(&self) -> String {
        self.certificate
            .as_ref()
            .map(Validity::description)
            .unwrap_or_default()
    }

    /// When what each key of the configuration names expires first.
    pub(super) fn expiries(&self) -> impl Iterator<Item = (&'static str, i64)> {
        let validities = self.certificate.iter().chain(&self.others);
        validities.map(Validity::expiry)
    }

    /// The end of the daemon's certificate, if it has expired.
    pub(super) fn expired(&self, now: SystemTime) -> Option<String> {
        let certificate = self.certificate.as_ref();
        let expired = certificate.filter(|certificate| certificate.has_expired(now));
        expired.map(Validity::end)
    }

    /// What should be changed, although it works or did.
    pub(super) fn warnings(&self, now: SystemTime, warn_before: Duration) -> Vec<String> {
        let validities = self.certificate.iter().chain(&self.others);
        let expiries = validities.filter_map(|validity| validity.warning(now, warn_before));
        self.warnings.iter().cloned().chain(expiries).collect()
    }
}

/// TLS 1.3 and 1.2 with the cipher suites of the provider, all of which have forward secrecy and
/// authenticated encryption.
fn server_config(
    provider: Arc<CryptoProvider>,
    key: CertifiedKey,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_protocol_versions(&[&TLS13, &TLS12]);
    let builder = builder.map_err(|error| invalid(Path::new(""), error).of("tls.certificate"))?;
    let has_clients = verifier.is_some();
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    if has_clients {
        // A resumed session is not verified: its client would stay trusted after its certificate has
        // expired or been revoked. Without client certificates, the last 256 sessions are kept.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}

/// The verifier of client certificates. With revocation lists, every certificate of a chain needs one
/// of its issuer that has not expired: the absence of a list must not be the way around it.
fn verifier(
    provider: &Arc<CryptoProvider>,
    clients: ClientCertificates,
    files: &Files,
    [client_ca, crl]: [&Path; 2],
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in &files.client_ca {
        let added = roots.add(certificate.clone());
        added.map_err(|error| invalid(client_ca, error).of("tls.client_ca"))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let builder = match clients {
        ClientCertificates::Required => builder,
        _ => builder.allow_unauthenticated(),
    };
    let builder = match files.crls.is_empty() {
        true => builder,
        false => builder
            .with_crls(files.crls.iter().cloned())
            .enforce_revocation_expiration(),
    };
    // The authorities have been added, so that only the lists can be at fault.
    builder
        .build()
        .map_err(|error| invalid(crl, error).of("tls.crl"))
}

/// SHA-256 of all that decides about clients.
fn digest(clients: ClientCertificates, files: &Files) -> Digest {
    let mut hash = Hash::new(&SHA256);
    let authorities = files.client_ca.iter().map(|der| (b'a', der.as_ref()));
    let lists = files.crls.iter().map(|der| (b'l', der.as_ref()));
    hash.update(format!("{clients:?}").as_bytes());
    for (kind, der) in authorities.chain(lists) {
        // DER contains its length.
        hash.update(&[kind]);
        hash.update(der);
    }
    hash.finish().as_ref().try_into().unwrap_or_default()
}

fn key_error(error: Error, config: &TlsConfig) -> TlsError {
    let path = |path: &Option<_>| path.clone().unwrap_or_default();
    let (certificate, key) = (path(&config.certificate), path(&config.key));
    match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            TlsProblem::Mismatch { key, certificate }.of("tls.key")
        }
        Error::InvalidCertificate(_) => invalid(&certificate, error).of("tls.certificate"),
        _ => invalid(&key, error).of("tls.key"),
    }
}

fn invalid(path: &Path, error: impl std::fmt::Display) -> TlsProblem {
    TlsProblem::Invalid {
        path: path.to_owned(),
        message: error.to_string(),
    }
}
