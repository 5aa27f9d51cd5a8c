//! When certificates and revocation lists expire.

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::{
    certificate::X509Certificate, prelude::FromDer, revocation_list::CertificateRevocationList,
};

use super::{error::TlsProblem, subject};

const DAY: i64 = 24 * 3600;

/// The validity of what a file contains.
#[derive(Clone, Debug)]
pub(super) struct Validity {
    key: &'static str,
    path: PathBuf,
    /// The subject of the certificate, or the issuer of the list, that expires first.
    name: String,
    /// First and last second, since 1970-01-01 UTC.
    first: i64,
    last: i64,
}

impl Validity {
    /// The validity of the certificate of a file that expires first. All must be certificates.
    pub(super) fn of_certificates(
        key: &'static str,
        path: &Path,
        certificates: &[CertificateDer<'_>],
    ) -> Result<Option<Self>, TlsProblem> {
        let validities = certificates.iter().map(|der| {
            let (_, certificate) = X509Certificate::from_der(der).ok()?;
            let validity = certificate.validity();
            Some(Self {
                key,
                path: path.to_owned(),
                name: subject::text(certificate.subject()),
                first: validity.not_before.timestamp(),
                last: validity.not_after.timestamp(),
            })
        });
        Self::first_to_end(validities).ok_or_else(|| invalid(path, "an X.509 certificate"))
    }

    /// The validity of the revocation list of a file that is to be replaced first.
    pub(super) fn of_lists(
        key: &'static str,
        path: &Path,
        lists: &[CertificateRevocationListDer<'_>],
    ) -> Result<Option<Self>, TlsProblem> {
        let validities = lists.iter().map(|der| {
            let (_, list) = CertificateRevocationList::from_der(der).ok()?;
            Some(Self {
                key,
                path: path.to_owned(),
                name: subject::text(list.issuer()),
                first: list.last_update().timestamp(),
                last: list.next_update()?.timestamp(),
            })
        });
        Self::first_to_end(validities)
            .ok_or_else(|| invalid(path, "a revocation list with the date of the next one"))
    }

    /// `None` if one of them could not be parsed.
    fn first_to_end(validities: impl Iterator<Item = Option<Self>>) -> Option<Option<Self>> {
        let validities: Option<Vec<_>> = validities.collect();
        Some(validities?.into_iter().min_by_key(|validity| validity.last))
    }

    pub(super) fn has_expired(&self, now: SystemTime) -> bool {
        self.last < seconds(now)
    }

    /// The key of the configuration, and the last second since 1970-01-01 UTC.
    pub(super) fn expiry(&self) -> (&'static str, i64) {
        (self.key, self.last)
    }

    /// The end as text.
    pub(super) fn end(&self) -> String {
        text(self.last)
    }

    /// The name and the end.
    pub(super) fn description(&self) -> String {
        format!("{} until {}", self.name, self.end())
    }

    /// A warning, if it has expired, does so within `warn_before`, or is not yet valid.
    pub(super) fn warning(&self, now: SystemTime, warn_before: Duration) -> Option<String> {
        let (key, path, name) = (self.key, self.path.display(), &self.name);
        let left = self.last - seconds(now);
        let end = self.end();
        if left < 0 {
            let effect = match key {
                "tls.certificate" => "clients refuse it",
                _ => "all client certificates that need it are refused",
            };
            return Some(format!(
                "{key}: {path} ({name}) expired at {end}: {effect}; renew it"
            ));
        }
        if self.first > seconds(now) {
            let from = text(self.first);
            return Some(format!(
                "{key}: {path} ({name}) is not valid before {from}; check the clock of this machine"
            ));
        }
        // Revocation lists are valid for days; their issuer replaces them just in time.
        let warn_before = i64::try_from(warn_before.as_secs()).unwrap_or(i64::MAX);
        let is_soon = key != "tls.crl" && left <= warn_before;
        is_soon.then(|| {
            let days = (left + DAY - 1) / DAY;
            format!("{key}: {path} ({name}) expires at {end}, in {days} days; renew it")
        })
    }
}

fn invalid(path: &Path, what: &str) -> TlsProblem {
    TlsProblem::Invalid {
        path: path.to_owned(),
        message: format!("not {what}"),
    }
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// A time as in RFC 3339; as seconds if it has no such form.
fn text(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| format!("{seconds} s"), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use super::*;

    fn warning(key: &'static str, first: i64, last: i64) -> Option<String> {
        let validity = Validity {
            key,
            path: "/c.pem".into(),
            name: "CN=a".to_owned(),
            first,
            last,
        };
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        validity.warning(now, Duration::from_secs(30 * 24 * 3600))
    }

    #[test]
    fn a_certificate_is_warned_of_before_and_after_its_end() {
        const NOW: i64 = 1_800_000_000;
        assert_eq!(warning("tls.certificate", 0, NOW + 30 * DAY + 1), None);
        assert_eq!(
            warning("tls.certificate", 0, NOW + 30 * DAY).unwrap(),
            "tls.certificate: /c.pem (CN=a) expires at 2027-02-14T08:00:00Z, in 30 days; renew it"
        );
        let expired = warning("tls.certificate", 0, NOW - 1).unwrap();
        assert!(expired.contains("expired at 2027-01-15T07:59:59Z: clients refuse it"));
        let early = warning("tls.certificate", NOW + 1, NOW + 300 * DAY).unwrap();
        assert!(
            early.contains("is not valid before 2027-01-15T08:00:01Z"),
            "{early}"
        );
    }

    #[test]
    fn a_revocation_list_is_warned_of_after_its_end_only() {
        const NOW: i64 = 1_800_000_000;
        assert_eq!(warning("tls.crl", 0, NOW), None);
        let expired = warning("tls.crl", 0, NOW - 1).unwrap();
        assert!(expired.contains("all client certificates that need it are refused"));
    }
}
