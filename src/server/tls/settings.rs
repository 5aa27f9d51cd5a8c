//! Settings of TLS: `[tls]` of the configuration.

use std::{path::PathBuf, time::Duration};

/// Settings of the TLS listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// PEM file with the certificate of the daemon, followed by those of its intermediate issuers.
    pub certificate: Option<PathBuf>,
    /// PEM file with the private key of the certificate, not encrypted.
    pub key: Option<PathBuf>,
    /// PEM file with the certificates of the authorities that issue client certificates.
    pub client_ca: Option<PathBuf>,
    /// Whether clients have certificates. Default: [`ClientCertificates::None`].
    pub client_certificates: ClientCertificates,
    /// PEM file with the certificate revocation lists of these authorities.
    pub crl: Option<PathBuf>,
    /// Remaining validity of a certificate from which on it is a warning in the log. Default: 30 days.
    pub expiry_warning: Duration,
}

/// Whether clients of the TLS listeners have certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Clients are not asked for a certificate.
    None,
    /// Clients may have none. One that is presented must be valid.
    Optional,
    /// Clients without a valid certificate are refused in the handshake.
    Required,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            certificate: None,
            key: None,
            client_ca: None,
            client_certificates: ClientCertificates::None,
            crl: None,
            expiry_warning: Duration::from_secs(30 * 24 * 3600),
        }
    }
}
