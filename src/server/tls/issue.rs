//! Certificates for labs: `ipvsd cert`.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::{ArgGroup, Args};
use nix::sys::utsname::uname;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use thiserror::Error;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use crate::{identity::Host, model::Sha256};

/// Name of an authority, unless it is given one.
const CA_NAME: &str = "ipvsd lab CA";

/// Time by which a certificate is valid earlier, for clients whose clock is behind.
const CLOCK_SKEW: Duration = Duration::from_secs(3600);

/// Seconds of a day.
const DAY: u64 = 24 * 3600;

/// Options of `ipvsd cert`.
#[derive(Args, Clone, Debug)]
#[command(group(ArgGroup::new("issuer").required(true).args(["self_signed", "ca_certificate"])))]
pub struct CertOptions {
    /// Sign the certificate with its own key: clients trust it by itself (ipvsctl --ca,
    /// curl --cacert).
    #[arg(long)]
    pub self_signed: bool,
    /// Make an authority, which signs other certificates and serves nothing itself.
    #[arg(long, requires = "self_signed", conflicts_with = "client")]
    pub ca: bool,
    /// Sign the certificate with this authority (PEM), and its key.
    #[arg(
        long,
        value_name = "FILE",
        requires = "ca_key",
        conflicts_with = "self_signed"
    )]
    pub ca_certificate: Option<PathBuf>,
    /// Key of the authority (PEM).
    #[arg(long, value_name = "FILE", requires = "ca_certificate")]
    pub ca_key: Option<PathBuf>,
    /// Make a certificate of a client, not of a server.
    #[arg(long, requires = "name")]
    pub client: bool,
    /// Name of the holder: a DNS name; for a client also a URI or an e-mail address; may be repeated. The
    /// first one is also the common name. [default: localhost and the name of the machine]
    #[arg(long, value_name = "NAME")]
    pub name: Vec<String>,
    /// IP address of the server; may be repeated. [default without --name: 127.0.0.1 and ::1]
    #[arg(long, value_name = "IP")]
    pub address: Vec<IpAddr>,
    /// Days for which the certificate is valid, 1 to 36500.
    #[arg(long, value_name = "N", default_value = "365", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub days: u32,
    /// File for the certificate (PEM).
    #[arg(long, value_name = "FILE")]
    pub certificate: PathBuf,
    /// File for the key (PEM), which only its owner can read.
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Replace the files if they exist.
    #[arg(long)]
    pub force: bool,
}

/// Why no certificate was written.
#[derive(Debug, Error)]
pub enum IssueError {
    /// A file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The path as given.
        path: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {error}", path.display())]
    Write {
        /// The path as given.
        path: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
    /// A file exists.
    #[error("{} exists; choose another path, or replace it with --force", .0.display())]
    Exists(PathBuf),
    /// Both files have the same path.
    #[error("--certificate and --key are the same file; choose two")]
    SameFile,
    /// A name is of no known kind.
    #[error("--name {0:?} is not a DNS name, nor, for a client, a URI or an e-mail address")]
    Name(String),
    /// The issuer is no authority.
    #[error(
        "{} is not the certificate of an authority; ipvsd cert --self-signed --ca makes one",
        .0.display()
    )]
    NoAuthority(PathBuf),
    /// The key of the issuer is another one's.
    #[error("{} is not the key of {}", key.display(), certificate.display())]
    Mismatch {
        /// The path of the key.
        key: PathBuf,
        /// The path of the certificate.
        certificate: PathBuf,
    },
    /// The certificate could not be made.
    #[error("cannot make the certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// Makes a certificate and its key, and returns a message for the user. Blocks.
pub fn issue(options: &CertOptions) -> Result<String, IssueError> {
    if options.certificate == options.key {
        return Err(IssueError::SameFile);
    }
    for path in [&options.certificate, &options.key] {
        // Also a symbolic link to nothing.
        if !options.force && path.symlink_metadata().is_ok() {
            return Err(IssueError::Exists(path.clone()));
        }
    }
    let params = params(options)?;
    let key = KeyPair::generate()?;
    let certificate = match (&options.ca_certificate, &options.ca_key) {
        (Some(ca), Some(ca_key)) => signed_by(&params, &key, ca, ca_key)?,
        _ => params.self_signed(&key)?,
    };
    write(&options.key, &key.serialize_pem(), 0o600, options.force)?;
    write(
        &options.certificate,
        &certificate.pem(),
        0o644,
        options.force,
    )?;
    Ok(report(options, &params, &certificate))
}

fn params(options: &CertOptions) -> Result<CertificateParams, IssueError> {
    let mut params = CertificateParams::default();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(CLOCK_SKEW);
    params.not_after = epoch + now + Duration::from_secs(u64::from(options.days) * DAY);
    params.use_authority_key_identifier_extension = !options.self_signed;
    let (names, addresses) = holder(options);
    let common_name = match names.first() {
        Some(name) => name.clone(),
        None => addresses
            .first()
            .map_or_else(|| CA_NAME.to_owned(), IpAddr::to_string),
    };
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    if options.ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        return Ok(params);
    }
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![match options.client {
        true => ExtendedKeyUsagePurpose::ClientAuth,
        false => ExtendedKeyUsagePurpose::ServerAuth,
    }];
    let names = names
        .iter()
        .map(|name| alternative_name(name, options.client));
    let addresses = addresses.into_iter().map(|ip| Ok(SanType::IpAddress(ip)));
    params.subject_alt_names = names.chain(addresses).collect::<Result<_, _>>()?;
    Ok(params)
}

/// The names and addresses of the holder.
fn holder(options: &CertOptions) -> (Vec<String>, Vec<IpAddr>) {
    if options.ca || !options.name.is_empty() || !options.address.is_empty() {
        return (options.name.clone(), options.address.clone());
    }
    let mut names = vec!["localhost".to_owned()];
    let machine = uname().ok();
    let machine = machine.as_ref().and_then(|uname| uname.nodename().to_str());
    names.extend(machine.filter(|name| is_dns_name(name)).map(str::to_owned));
    (
        names,
        vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
    )
}

fn is_dns_name(name: &str) -> bool {
    matches!(name.parse(), Ok(Host::Name(name)) if !name.is_empty())
}

fn alternative_name(name: &str, is_client: bool) -> Result<SanType, IssueError> {
    let unknown = || IssueError::Name(name.to_owned());
    let text = name.try_into().map_err(|_| unknown())?;
    match name {
        _ if name.contains(|c: char| c.is_whitespace() || c.is_control()) => Err(unknown()),
        _ if is_client && name.contains("://") => Ok(SanType::URI(text)),
        _ if is_client && name.contains('@') => Ok(SanType::Rfc822Name(text)),
        _ if is_dns_name(name) => Ok(SanType::DnsName(text)),
        _ => Err(unknown()),
    }
}

/// The certificate, signed by an authority.
fn signed_by(
    params: &CertificateParams,
    key: &KeyPair,
    ca: &Path,
    ca_key: &Path,
) -> Result<Certificate, IssueError> {
    let no_authority = || IssueError::NoAuthority(ca.to_owned());
    let mismatch = || IssueError::Mismatch {
        key: ca_key.to_owned(),
        certificate: ca.to_owned(),
    };
    let der = CertificateDer::from_pem_slice(&read(ca)?).map_err(|_| no_authority())?;
    let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| no_authority())?;
    if !parsed.is_ca() {
        return Err(no_authority());
    }
    let text = String::from_utf8(read(ca_key)?).map_err(|_| mismatch())?;
    let issuer_key = KeyPair::from_pem(&text).map_err(|_| mismatch())?;
    if parsed.public_key().subject_public_key.as_ref() != issuer_key.public_key_raw() {
        return Err(mismatch());
    }
    let issuer = Issuer::from_ca_cert_der(&der, issuer_key)?;
    Ok(params.signed_by(key, &issuer)?)
}

fn read(path: &Path) -> Result<Vec<u8>, IssueError> {
    fs::read(path).map_err(|error| IssueError::Read {
        path: path.to_owned(),
        error,
    })
}

/// Writes a file with these permissions. A file that is replaced is whole at any time.
fn write(path: &Path, text: &str, mode: u32, force: bool) -> Result<(), IssueError> {
    let create = |path: &Path| {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path);
        file?.write_all(text.as_bytes())
    };
    let outcome = match force {
        false => create(path),
        true => {
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".{}.new", std::process::id()));
            create(name.as_ref()).and_then(|()| fs::rename(&name, path))
        }
    };
    outcome.map_err(|error| IssueError::Write {
        path: path.to_owned(),
        error,
    })
}

/// What was written.
fn report(options: &CertOptions, params: &CertificateParams, certificate: &Certificate) -> String {
    let kind = match options {
        CertOptions { ca: true, .. } => "authority",
        CertOptions { client: true, .. } => "client",
        _ => "server",
    };
    let names = params.subject_alt_names.iter().map(|name| match name {
        SanType::DnsName(name) | SanType::URI(name) | SanType::Rfc822Name(name) => {
            name.as_str().to_owned()
        }
        SanType::IpAddress(address) => address.to_string(),
        _ => String::new(),
    });
    let names: Vec<_> = names.collect();
    let names = if names.is_empty() {
        String::new()
    } else {
        format!(": {}", names.join(", "))
    };
    let fingerprint = Sha256::of(certificate.der());
    let bytes = fingerprint.as_bytes().map(|byte| format!("{byte:02X}"));
    format!(
        "Certificate: {} ({kind}{names}; valid for {} days)\nKey: {}\nSHA-256 fingerprint: {}\n",
        options.certificate.display(),
        options.days,
        options.key.display(),
        bytes.join(":")
    )
}
