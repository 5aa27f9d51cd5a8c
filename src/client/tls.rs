//! The TLS configuration of a client: which certificates of the daemon it accepts, and its own.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{self, CryptoProvider, WebPkiSupportedAlgorithms, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};

use super::{
    error::ClientError,
    files::{self, FileError},
    options::ClientOptions,
    trust::{CertificateFault, Untrusted},
};
use crate::model::Sha256;

/// Size limit of a file in PEM in bytes. The certificates of a system have a quarter of it.
const MAX_PEM: u64 = 1 << 20;

/// The TLS configuration for `https` endpoints. Reads all files.
pub(super) fn config(options: &ClientOptions) -> Result<Arc<ClientConfig>, ClientError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Verifier::new(options, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let cert = match (&options.cert, &options.key) {
        (Some(cert), _) => cert,
        (None, None) => return Ok(Arc::new(builder.with_no_client_auth())),
        (None, Some(_)) => return Err(ClientError::KeyWithoutCertificate),
    };
    let key = options.key.as_deref().unwrap_or(cert);
    let chain = match options.key {
        Some(_) => files::read(cert, MAX_PEM)?,
        None => files::read_private(cert, MAX_PEM)?,
    };
    let chain = certificates(&chain, cert)?;
    let private = files::read_private(key, MAX_PEM)?;
    let private = PrivateKeyDer::from_pem_slice(&private).map_err(|_| {
        let problem = "has no private key in PEM, or an encrypted one";
        FileError::content(key, problem)
    })?;
    let config = builder.with_client_auth_cert(chain, private);
    let config = config.map_err(|error| {
        let problem = match error {
            rustls::Error::InconsistentKeys(_) => {
                format!("is not the key of the certificate in {}", cert.display())
            }
            error => format!("with {}: {error}", key.display()),
        };
        let path = if problem.starts_with("is") { key } else { cert };
        FileError::content(path, problem)
    })?;
    Ok(Arc::new(config))
}

/// The certificates in a file.
fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(FileError::content(path, "has no certificates in PEM")),
    }
}

/// The certificates that are trusted: the system's and those in the file `ca`.
fn roots(ca: Option<&Path>) -> Result<RootCertStore, FileError> {
    let mut roots = RootCertStore::empty();
    // A machine without certificates of its own is no error: `ca` may be all that is needed.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca {
        for certificate in certificates(&files::read(path, MAX_PEM)?, path)? {
            let added = roots.add(certificate);
            added.map_err(|error| FileError::content(path, format!("cannot be used: {error}")))?;
        }
    }
    Ok(roots)
}

/// Verifies the daemon's certificate.
#[derive(Debug)]
struct Verifier {
    chain: Chain,
    pin: Option<Sha256>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// How CA, name and time of a certificate are checked.
#[derive(Debug)]
enum Chain {
    /// A pin replaces the check.
    Pinned,
    /// No CA is trusted.
    NoRoots,
    Roots(Arc<WebPkiServerVerifier>),
}

// === impl Verifier ===

impl Verifier {
    fn new(options: &ClientOptions, provider: &Arc<CryptoProvider>) -> Result<Self, ClientError> {
        let ca = options.ca.as_deref();
        let chain = match options.fingerprint {
            Some(_) if ca.is_none() => Chain::Pinned,
            _ => {
                let roots = Arc::new(roots(ca)?);
                match roots.is_empty() {
                    true => Chain::NoRoots,
                    false => {
                        let builder =
                            WebPkiServerVerifier::builder_with_provider(roots, provider.clone());
                        let verifier = builder.build();
                        Chain::Roots(verifier.map_err(|error| {
                            ClientError::Tls(rustls::Error::General(error.to_string()))
                        })?)
                    }
                }
            }
        };
        Ok(Self {
            chain,
            pin: options.fingerprint,
            algorithms: provider.signature_verification_algorithms,
        })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let fingerprint = Sha256::of(end_entity);
        let untrusted = |fault| Untrusted { fault, fingerprint }.into_tls();
        if let Some(expected) = self.pin.filter(|expected| *expected != fingerprint) {
            return Err(untrusted(CertificateFault::Pin { expected }));
        }
        let verified = match &self.chain {
            Chain::Pinned => return Ok(ServerCertVerified::assertion()),
            Chain::NoRoots => return Err(untrusted(CertificateFault::UnknownCa)),
            Chain::Roots(roots) => {
                roots.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
        };
        verified.map_err(|error| match error {
            rustls::Error::InvalidCertificate(cause) => untrusted(CertificateFault::of(&cause)),
            error => error,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
