//! Why one side of a TLS connection does not accept the certificate of the other.

use std::{fmt, io};

use rustls::{AlertDescription, CertificateError, pki_types::UnixTime};

use crate::model::Sha256;

/// Why the daemon's certificate is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct Untrusted {
    /// What is wrong.
    pub fault: CertificateFault,
    /// The fingerprint of the daemon's certificate.
    pub fingerprint: Sha256,
}

/// What is wrong with the daemon's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateFault {
    /// It is for other names than the endpoint's.
    Name {
        /// The names and addresses that it is for.
        names: Vec<String>,
    },
    /// No CA that is trusted has signed it.
    UnknownCa,
    /// It was valid until this time.
    Expired(Time),
    /// It is valid from this time.
    NotYetValid(Time),
    /// It is not the one that is pinned.
    Pin {
        /// The fingerprint of the pinned certificate.
        expected: Sha256,
    },
    /// Something else, in the words of the TLS library.
    Other(String),
}

/// A time in a certificate, in seconds since 1970. Its text is that of RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub u64);

/// Why the daemon does not accept the client by its certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificateFault {
    /// The daemon requires a certificate, and none was sent.
    Required,
    /// No CA that the daemon trusts has signed it.
    UnknownCa,
    /// It is expired, or not yet valid.
    Expired,
    /// It is revoked.
    Revoked,
    /// The daemon does not accept it for another reason.
    Refused,
}

// === impl CertificateFault ===

impl CertificateFault {
    pub(super) fn of(error: &CertificateError) -> Self {
        match error {
            CertificateError::NotValidForNameContext { presented, .. } => Self::Name {
                names: presented.iter().map(|name| value(name)).collect(),
            },
            // The signature is that of another CA with the name of one that is trusted.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownCa,
            CertificateError::ExpiredContext { not_after, .. } => Self::Expired(not_after.into()),
            CertificateError::NotValidYetContext { not_before, .. } => {
                Self::NotYetValid(not_before.into())
            }
            error => Self::Other(error.to_string()),
        }
    }
}

/// The value of a name as the TLS library shows it: `DnsName("lb1")`, `IpAddress(192.0.2.1)`.
fn value(name: &str) -> String {
    let inner = name
        .split_once('(')
        .and_then(|(_, inner)| inner.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"').to_owned()
}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { names } if names.is_empty() => {
                f.write_str("its certificate has no names (subjectAltName)")
            }
            Self::Name { names } => write!(
                f,
                "its certificate is not for this name, but for {}",
                names.join(", ")
            ),
            Self::UnknownCa => f.write_str("no trusted CA has signed its certificate"),
            Self::Expired(time) => write!(f, "its certificate expired at {time}"),
            Self::NotYetValid(time) => write!(f, "its certificate is not valid before {time}"),
            Self::Pin { expected } => write!(
                f,
                "its certificate is not the one with the fingerprint {expected}"
            ),
            Self::Other(text) => write!(f, "its certificate is not accepted: {text}"),
        }
    }
}

// === impl Untrusted ===

impl Untrusted {
    /// The error for the TLS library, which hands it back through [`Self::find`].
    pub(super) fn into_tls(self) -> rustls::Error {
        CertificateError::Other(rustls::OtherError(std::sync::Arc::new(self))).into()
    }

    /// What an error of a connection says about the daemon's certificate.
    pub(super) fn find(error: &io::Error) -> Option<Self> {
        match tls_error(error)? {
            rustls::Error::InvalidCertificate(CertificateError::Other(other)) => {
                other.0.downcast_ref::<Self>().cloned()
            }
            _ => None,
        }
    }
}

// === impl Time ===

impl From<&UnixTime> for Time {
    fn from(time: &UnixTime) -> Self {
        Self(time.as_secs())
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = i64::try_from(self.0).ok();
        match time.and_then(|time| jiff::Timestamp::from_second(time).ok()) {
            Some(time) => time.fmt(f),
            // After the year 9999.
            None => write!(f, "{} s after 1970", self.0),
        }
    }
}

// === impl ClientCertificateFault ===

impl ClientCertificateFault {
    /// What an error of a connection says about the client's certificate. `has_certificate`: whether
    /// the client has one.
    pub(super) fn find(error: &io::Error, has_certificate: bool) -> Option<Self> {
        let rustls::Error::AlertReceived(alert) = tls_error(error)? else {
            return None;
        };
        match alert {
            AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
                Some(Self::Required)
            }
            // A server may use these alerts for other failures if there is no certificate.
            _ if !has_certificate => None,
            AlertDescription::UnknownCA => Some(Self::UnknownCa),
            AlertDescription::CertificateExpired => Some(Self::Expired),
            AlertDescription::CertificateRevoked => Some(Self::Revoked),
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateUnknown
            // Of a CA with the name of one that is trusted.
            | AlertDescription::DecryptError
            | AlertDescription::AccessDenied => Some(Self::Refused),
            _ => None,
        }
    }
}

impl fmt::Display for ClientCertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Required => "requires a client certificate",
            Self::UnknownCa => "refuses the client certificate: no CA that it trusts has signed it",
            Self::Expired => "refuses the client certificate: it is expired, or not yet valid",
            Self::Revoked => "refuses the client certificate: it is revoked",
            Self::Refused => "refuses the client certificate",
        })
    }
}

/// The error of the TLS library in an error of a connection.
fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_without_their_type() {
        for (name, shown) in [
            ("DnsName(\"lb1\")", "lb1"),
            ("IpAddress(192.0.2.1)", "192.0.2.1"),
            ("DirectoryName", "DirectoryName"),
        ] {
            assert_eq!(value(name), shown);
        }
    }

    #[test]
    fn a_ca_with_the_name_of_a_trusted_one_is_not_trusted() {
        let fault = CertificateFault::of(&CertificateError::BadSignature);
        assert_eq!(fault, CertificateFault::UnknownCa);
    }

    #[test]
    fn times_are_shown_as_in_rfc_3339() {
        assert_eq!(Time(1_800_000_000).to_string(), "2027-01-15T08:00:00Z");
        assert_eq!(
            Time(u64::MAX).to_string(),
            format!("{} s after 1970", u64::MAX)
        );
    }
}
