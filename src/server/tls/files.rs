//! The files of TLS: certificates, key and revocation lists, as they are on disk.

use std::{fs::Metadata, os::unix::fs::PermissionsExt, path::Path};

use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
    pem::{self, PemObject},
};

use super::{
    super::input_file::{self, FileStamp},
    error::{TlsErrors, TlsProblem},
    settings::{ClientCertificates, TlsConfig},
};

/// Most bytes of a file with certificates or a key: about 500 certificates.
const MAX_FILE: u64 = 1 << 20;

/// Most bytes of the file with revocation lists: about 300,000 revoked certificates.
const MAX_CRL_FILE: u64 = 16 << 20;

/// What the files contain.
pub(super) struct Files {
    /// The certificate of the daemon, and those of its issuers.
    pub(super) certificate: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    /// Empty if clients have no certificates.
    pub(super) client_ca: Vec<CertificateDer<'static>>,
    /// Empty if none are configured.
    pub(super) crls: Vec<CertificateRevocationListDer<'static>>,
    /// What is doubtful, but no fault.
    pub(super) warnings: Vec<String>,
}

/// The state of the files, which changes when one of them does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp([Option<FileStamp>; 4]);

impl Stamp {
    /// The state of the files now. A file that does not exist has one, too.
    pub(super) fn of(config: &TlsConfig) -> Self {
        let files = [
            &config.certificate,
            &config.key,
            &config.client_ca,
            &config.crl,
        ];
        Self(files.map(|path| FileStamp::at(path.as_ref()?)))
    }
}

impl Files {
    /// Reads the files, or returns every fault.
    pub(super) fn read(config: &TlsConfig) -> Result<Self, TlsErrors> {
        let mut warnings = Vec::new();
        let certificate = required(config.certificate.as_deref()).and_then(certificates);
        let key = required(config.key.as_deref()).and_then(|path| key(path, &mut warnings));
        let (mut client_ca, mut crls) = (Ok(Vec::new()), Ok(Vec::new()));
        if config.client_certificates != ClientCertificates::None {
            client_ca = required(config.client_ca.as_deref()).and_then(certificates);
            crls = config.crl.as_deref().map_or(crls, revocation_lists);
        }
        match (certificate, key, client_ca, crls) {
            (Ok(certificate), Ok(key), Ok(client_ca), Ok(crls)) => Ok(Self {
                certificate,
                key,
                client_ca,
                crls,
                warnings,
            }),
            (certificate, key, client_ca, crls) => {
                let certificate = certificate
                    .err()
                    .map(|problem| problem.of("tls.certificate"));
                let key = key.err().map(|problem| problem.of("tls.key"));
                let client_ca = client_ca.err().map(|problem| problem.of("tls.client_ca"));
                let crls = crls.err().map(|problem| problem.of("tls.crl"));
                let faults = [certificate, key, client_ca, crls];
                Err(TlsErrors(faults.into_iter().flatten().collect()))
            }
        }
    }
}

fn required(path: Option<&Path>) -> Result<&Path, TlsProblem> {
    path.ok_or(TlsProblem::NotSet)
}

/// All certificates of a file.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsProblem> {
    blocks(path, MAX_FILE, "certificate", "CERTIFICATE")
}

/// All revocation lists of a file.
fn revocation_lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsProblem> {
    blocks(path, MAX_CRL_FILE, "revocation list", "X509 CRL")
}

/// The first private key of a file.
fn key(path: &Path, warnings: &mut Vec<String>) -> Result<PrivateKeyDer<'static>, TlsProblem> {
    let (text, file) = read(path, MAX_FILE)?;
    // No fault: the files of a secret of Kubernetes have this permission, unless its volume says otherwise.
    if file.permissions().mode() & 0o004 != 0 {
        warnings.push(format!(
            "tls.key: every local user can read {}; remove the permission: chmod o= FILE",
            path.display()
        ));
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound if contains(&text, b"ENCRYPTED PRIVATE KEY-----") => {
            TlsProblem::Encrypted {
                path: path.to_owned(),
            }
        }
        error => pem_problem(path, &error, "private key", "PRIVATE KEY"),
    })
}

/// All blocks of one kind; at least one.
fn blocks<T: PemObject>(
    path: &Path,
    max: u64,
    what: &'static str,
    label: &'static str,
) -> Result<Vec<T>, TlsProblem> {
    let (text, _) = read(path, max)?;
    let blocks: Result<Vec<_>, _> = T::pem_slice_iter(&text).collect();
    match blocks {
        Ok(blocks) if blocks.is_empty() => Err(pem::Error::NoItemsFound),
        blocks => blocks,
    }
    .map_err(|error| pem_problem(path, &error, what, label))
}

fn pem_problem(
    path: &Path,
    error: &pem::Error,
    what: &'static str,
    label: &'static str,
) -> TlsProblem {
    let path = path.to_owned();
    match error {
        pem::Error::NoItemsFound => TlsProblem::Empty { path, what, label },
        // Not the error itself: it may show a part of the file.
        _ => TlsProblem::Invalid {
            path,
            message: format!("not a PEM file with a {what}"),
        },
    }
}

/// A file that no other user can change: each of them decides who is let in, or whom clients trust.
fn read(path: &Path, max: u64) -> Result<(Vec<u8>, Metadata), TlsProblem> {
    let read = input_file::read(path, max).map_err(|error| TlsProblem::Read {
        path: path.to_owned(),
        error,
    });
    let (bytes, file) = read?;
    input_file::check_writers(path, &file).map_err(TlsProblem::Unsafe)?;
    Ok((bytes, file))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
