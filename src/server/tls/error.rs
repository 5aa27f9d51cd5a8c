//! Faults of the files of TLS. Each names the key and the remedy.

use std::{fmt, io, path::PathBuf};

use thiserror::Error;

use super::super::input_file::UnsafeFile;

/// All faults of the files of TLS that could be found. Formatted one per line.
#[derive(Debug, Error)]
pub struct TlsErrors(pub Vec<TlsError>);

/// A fault of a file of TLS.
#[derive(Debug, Error)]
#[error("{key}: {problem}")]
pub struct TlsError {
    /// The key that names the file, such as `tls.certificate`.
    pub key: &'static str,
    /// What is wrong.
    pub problem: TlsProblem,
}

/// What is wrong with a file of TLS.
#[derive(Debug, Error)]
pub enum TlsProblem {
    /// The key has no value.
    #[error(
        "is not set; a tls: listener requires tls.certificate and tls.key (for a lab, ipvsd cert \
         --self-signed writes both)"
    )]
    NotSet,
    /// The file cannot be read.
    #[error("cannot read {}: {error}; {}", path.display(), remedy(error))]
    Read {
        /// The path as configured.
        path: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
    /// Other users can change the file.
    #[error(transparent)]
    Unsafe(UnsafeFile),
    /// The file has nothing of the kind that the key requires.
    #[error("{} has no {what}; it must be a PEM file with -----BEGIN {label}-----", path.display())]
    Empty {
        /// The path as configured.
        path: PathBuf,
        /// What is required, such as `certificate`.
        what: &'static str,
        /// The label of its PEM block.
        label: &'static str,
    },
    /// The key is protected by a password.
    #[error(
        "{} is encrypted; store it without password (openssl pkey -in FILE -out NEW), readable by \
         the daemon's user only", path.display()
    )]
    Encrypted {
        /// The path as configured.
        path: PathBuf,
    },
    /// What the file contains is invalid, or of a kind that is not supported.
    #[error("{}: {message}; replace the file", path.display())]
    Invalid {
        /// The path as configured.
        path: PathBuf,
        /// What the parser says.
        message: String,
    },
    /// The key belongs to another certificate.
    #[error(
        "{} is not the key of the first certificate of {}; set both keys to files that were issued \
         together, with the daemon's certificate before those of its issuers",
        key.display(), certificate.display()
    )]
    Mismatch {
        /// The path of the key.
        key: PathBuf,
        /// The path of the certificate.
        certificate: PathBuf,
    },
    /// The certificate has expired, and the one in use has not.
    #[error("{} expired at {at}; renew it", path.display())]
    Expired {
        /// The path as configured.
        path: PathBuf,
        /// The end of its validity.
        at: String,
    },
}

impl TlsProblem {
    /// The problem of this key.
    pub(super) fn of(self, key: &'static str) -> TlsError {
        TlsError { key, problem: self }
    }
}

/// What to do about a file that cannot be read.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "create it or correct the path",
        io::ErrorKind::PermissionDenied => "let the daemon's user read it",
        io::ErrorKind::FileTooLarge => "it is too large for what it should contain",
        _ => "correct the path",
    }
}

impl fmt::Display for TlsErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}
