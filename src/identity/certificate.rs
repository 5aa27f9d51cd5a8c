//! What a verified client certificate says of its holder.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::model::Sha256;

/// Most names of a client certificate, of all kinds together. A client with more is refused.
pub const MAX_CERTIFICATE_NAMES: usize = 100;

/// Most bytes of a name of a client certificate, and of its subject. A client with a longer one is
/// refused.
pub const MAX_CERTIFICATE_NAME: usize = 1024;

/// The names and the validity of a client certificate that the daemon has verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateIdentity {
    /// The subject as text (RFC 4514), most specific part first, as `openssl x509 -subject -nameopt
    /// RFC2253` shows it: `CN=grafana,O=Example`. Empty if the certificate has only alternative names.
    pub subject: String,
    /// The most specific common name of the subject.
    pub common_name: Option<String>,
    /// Alternative names: DNS names, in lower case.
    pub dns: Vec<String>,
    /// Alternative names: URIs, such as the `spiffe://` ids of workloads.
    pub uris: Vec<String>,
    /// Alternative names: e-mail addresses.
    pub emails: Vec<String>,
    /// SHA-256 of the certificate (DER).
    pub fingerprint: Sha256,
    /// The last second in which the certificate is valid, in seconds since 1970-01-01 UTC.
    pub not_after: i64,
}

/// Marks a request that came over TLS, as an extension of it.
#[derive(Clone, Copy, Debug)]
pub struct OverTls;

// === impl CertificateIdentity ===

impl CertificateIdentity {
    /// Whether the certificate is no longer valid. A connection outlives the handshake in which the
    /// certificate was verified.
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.time_left(now) == Duration::ZERO
    }

    /// Time until the certificate is no longer valid; zero if it is not.
    pub fn time_left(&self, now: SystemTime) -> Duration {
        let end = u64::try_from(self.not_after).map_or(0, |last| last.saturating_add(1));
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        Duration::from_secs(end).saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_valid_until_the_end_of_its_last_second() {
        let identity = CertificateIdentity {
            not_after: 1000,
            ..CertificateIdentity::default()
        };
        let at = |millis| UNIX_EPOCH + Duration::from_millis(millis);
        assert!(!identity.is_expired(at(999_000)));
        assert!(!identity.is_expired(at(1_000_999)));
        assert_eq!(identity.time_left(at(1_000_999)), Duration::from_millis(1));
        assert!(identity.is_expired(at(1_001_000)));
    }
}
