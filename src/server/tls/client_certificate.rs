//! The identity in a client certificate.

use thiserror::Error;
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    prelude::{FromDer, ParsedExtension},
};

use super::subject;
use crate::{
    identity::{CertificateIdentity, MAX_CERTIFICATE_NAME, MAX_CERTIFICATE_NAMES},
    model::Sha256,
};

/// Why a client certificate that is valid has no identity. Its client is refused: a name that is left
/// out or cut off could be that of another client.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(in crate::server) enum NoIdentity {
    /// It cannot be parsed.
    #[error("the client certificate cannot be read")]
    Unreadable,
    /// It has too many names.
    #[error("the client certificate has more than {MAX_CERTIFICATE_NAMES} names")]
    TooManyNames,
    /// A name is too long.
    #[error("the client certificate has a name of more than {MAX_CERTIFICATE_NAME} bytes")]
    LongName,
}

/// The identity in a certificate (DER) that has been verified.
pub(super) fn identity(der: &[u8]) -> Result<CertificateIdentity, NoIdentity> {
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| NoIdentity::Unreadable)?;
    if !rest.is_empty() {
        return Err(NoIdentity::Unreadable);
    }
    let subject = certificate.subject();
    let common_name = subject.iter_common_name().last();
    let common_name = common_name.and_then(|name| subject::string(name.attr_value()));
    let mut identity = CertificateIdentity {
        subject: bounded(subject::text(subject))?,
        common_name: common_name.map(bounded).transpose()?,
        dns: Vec::new(),
        uris: Vec::new(),
        emails: Vec::new(),
        fingerprint: Sha256::of(der),
        not_after: certificate.validity().not_after.timestamp(),
    };
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => {
                names
                    .general_names
                    .iter()
                    .try_for_each(|name| add_name(&mut identity, name))?;
            }
            ParsedExtension::ParseError { .. } => return Err(NoIdentity::Unreadable),
            _ => {}
        }
    }
    let names = [&identity.dns, &identity.uris, &identity.emails];
    match names.map(Vec::len).iter().sum() {
        0..=MAX_CERTIFICATE_NAMES => Ok(identity),
        _ => Err(NoIdentity::TooManyNames),
    }
}

fn add_name(identity: &mut CertificateIdentity, name: &GeneralName<'_>) -> Result<(), NoIdentity> {
    match name {
        GeneralName::DNSName(name) => identity.dns.push(bounded(name.to_ascii_lowercase())?),
        GeneralName::URI(name) => identity.uris.push(bounded((*name).to_owned())?),
        GeneralName::RFC822Name(name) => identity.emails.push(bounded((*name).to_owned())?),
        GeneralName::Invalid(..) => return Err(NoIdentity::Unreadable),
        // Other kinds identify nobody here.
        _ => {}
    }
    Ok(())
}

fn bounded(name: String) -> Result<String, NoIdentity> {
    match name.len() {
        0..=MAX_CERTIFICATE_NAME => Ok(name),
        _ => Err(NoIdentity::LongName),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use rcgen::{
        CertificateParams, DistinguishedName, DnType, DnValue, KeyPair, SanType, date_time_ymd,
    };

    use super::*;

    fn identity_of(params: &CertificateParams) -> Result<CertificateIdentity, NoIdentity> {
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        identity(certificate.der())
    }

    fn named(subject: &[(DnType, DnValue)]) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (of, value) in subject {
            params.distinguished_name.push(of.clone(), value.clone());
        }
        params
    }

    fn utf8(text: &str) -> DnValue {
        DnValue::Utf8String(text.to_owned())
    }

    #[test]
    fn a_certificate_names_its_holder() {
        let mut params = named(&[
            (
                DnType::CountryName,
                DnValue::PrintableString("CH".try_into().unwrap()),
            ),
            (DnType::OrganizationName, utf8("Example, Inc.")),
            (DnType::CommonName, utf8("Grafana")),
        ]);
        params.not_after = date_time_ymd(2027, 1, 2);
        params.subject_alt_names = vec![
            SanType::DnsName("Grafana.Example.COM".try_into().unwrap()),
            SanType::URI("spiffe://example.com/ns/a/sa/B".try_into().unwrap()),
            SanType::Rfc822Name("Ops@example.com".try_into().unwrap()),
            SanType::IpAddress([192, 0, 2, 1].into()),
            SanType::DnsName("b.example".try_into().unwrap()),
        ];
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let identity = identity(certificate.der()).unwrap();
        assert_eq!(identity.subject, "CN=Grafana,O=Example\\, Inc.,C=CH");
        assert_eq!(identity.common_name.as_deref(), Some("Grafana"));
        assert_eq!(identity.dns, ["grafana.example.com", "b.example"]);
        assert_eq!(identity.uris, ["spiffe://example.com/ns/a/sa/B"]);
        assert_eq!(identity.emails, ["Ops@example.com"]);
        assert_eq!(identity.not_after, 1_798_848_000);
        let expected = ring::digest::digest(&ring::digest::SHA256, certificate.der());
        assert_eq!(identity.fingerprint.as_bytes(), expected.as_ref());
    }

    #[test]
    fn subjects_are_escaped() {
        let custom = |oid: &[u64]| DnType::CustomDnType(oid.to_vec());
        for (of, value, expected) in [
            (
                DnType::CommonName,
                utf8("a+b=c;\"<d>\"\\"),
                "CN=a\\+b=c\\;\\\"\\<d\\>\\\"\\\\",
            ),
            (DnType::CommonName, utf8(" #a "), "CN=\\ #a\\ "),
            (DnType::CommonName, utf8("#a"), "CN=\\#a"),
            (DnType::CommonName, utf8(" "), "CN=\\ "),
            (DnType::CommonName, utf8("a\0\n"), "CN=a\\00\\0A"),
            (DnType::CommonName, utf8("Zürich"), "CN=Zürich"),
            (DnType::CommonName, utf8(""), "CN="),
            (custom(&[2, 5, 4, 9]), utf8("Weg 1"), "street=Weg 1"),
            (
                custom(&[2, 5, 4, 4]),
                utf8("Lučić"),
                "2.5.4.4=#0C074C75C48D69C487",
            ),
            (
                custom(&[1, 2, 840, 113_549, 1, 9, 1]),
                DnValue::Ia5String("a@b.example".try_into().unwrap()),
                "emailAddress=a@b.example",
            ),
            (
                DnType::CommonName,
                DnValue::BmpString("é".try_into().unwrap()),
                "CN=é",
            ),
            (
                DnType::CommonName,
                DnValue::UniversalString("a".try_into().unwrap()),
                "CN=#1C0400000061",
            ),
        ] {
            assert_eq!(
                identity_of(&named(&[(of, value)])).unwrap().subject,
                expected
            );
        }
        assert_eq!(identity_of(&named(&[])).unwrap().subject, "");
    }

    #[test]
    fn a_subject_may_have_no_common_name() {
        let identity = identity_of(&named(&[(DnType::OrganizationName, utf8("o"))])).unwrap();
        assert_eq!(
            (identity.subject.as_str(), identity.common_name),
            ("O=o", None)
        );
    }

    #[test]
    fn a_certificate_with_names_beyond_the_bounds_has_no_identity() {
        let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
        let mut params = named(&[]);
        params.subject_alt_names = vec![dns("a.example"); MAX_CERTIFICATE_NAMES];
        assert_eq!(
            identity_of(&params).unwrap().dns.len(),
            MAX_CERTIFICATE_NAMES
        );
        params.subject_alt_names.push(dns("b.example"));
        assert_eq!(identity_of(&params), Err(NoIdentity::TooManyNames));

        let long = "x".repeat(MAX_CERTIFICATE_NAME);
        params.subject_alt_names = vec![dns(&long)];
        assert_eq!(identity_of(&params).unwrap().dns, [long.as_str()]);
        params.subject_alt_names = vec![SanType::URI(format!("{long}x").try_into().unwrap())];
        assert_eq!(identity_of(&params), Err(NoIdentity::LongName));
        let subject = named(&[(DnType::CommonName, utf8(&long))]);
        assert_eq!(identity_of(&subject), Err(NoIdentity::LongName));
    }

    #[test]
    fn other_bytes_have_no_identity() {
        assert_eq!(identity(b""), Err(NoIdentity::Unreadable));
        assert_eq!(identity(&[0x30; 100]), Err(NoIdentity::Unreadable));
        let certificate = named(&[])
            .self_signed(&KeyPair::generate().unwrap())
            .unwrap();
        let der = certificate.der().to_vec();
        assert_eq!(
            identity(&[&der[..], &[0]].concat()),
            Err(NoIdentity::Unreadable)
        );
        for length in 0..der.len() {
            assert_eq!(identity(&der[..length]), Err(NoIdentity::Unreadable));
        }
    }
}
