//! The policy file: reading and reloading.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use nix::unistd::{Group, User, geteuid};
use thiserror::Error;

use super::jwks::{self, FetchError};
use crate::identity::{Accounts, Policy, PolicyError};

/// Maximum size of the file in bytes: 10,000 entries of each kind.
const MAX_FILE: u64 = 8 << 20;

/// Why a policy cannot be used.
#[derive(Debug, Error)]
pub enum PolicyFileError {
    /// The file cannot be read.
    #[error("cannot read the policy {}", path.display())]
    Read {
        /// The path of the configuration.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The keys of an identity provider cannot be used.
    #[error("{}: the keys of {issuer:?}", path.display())]
    Keys {
        /// The path of the configuration.
        path: PathBuf,
        /// The provider.
        issuer: String,
        /// What is wrong.
        source: FetchError,
    },
    /// The file has an error.
    #[error("{}: {error}", path.display())]
    Invalid {
        /// The path of the configuration.
        path: PathBuf,
        /// The error.
        error: PolicyError,
    },
}

/// The accounts of this machine (getpwnam(3), getgrnam(3)).
struct SystemAccounts;

/// Reads a policy, or makes the one without a document.
pub(super) fn load(path: Option<&Path>) -> Result<Policy, PolicyFileError> {
    let Some(path) = path else {
        return Ok(Policy::without_document(&SystemAccounts));
    };
    let mut text = String::new();
    let read = File::open(path).and_then(|file| {
        file.take(MAX_FILE + 1).read_to_string(&mut text)?;
        match text.len() as u64 > MAX_FILE {
            true => Err(io::ErrorKind::FileTooLarge.into()),
            false => Ok(()),
        }
    });
    read.map_err(|source| PolicyFileError::Read {
        path: path.to_owned(),
        source,
    })?;
    let policy = Policy::parse(&text, &SystemAccounts);
    let policy = policy.map_err(|error| PolicyFileError::Invalid {
        path: path.to_owned(),
        error,
    })?;
    for provider in policy.jwt_issuers() {
        jwks::check(&provider.keys).map_err(|source| PolicyFileError::Keys {
            path: path.to_owned(),
            issuer: provider.issuer.issuer.clone(),
            source,
        })?;
    }
    Ok(policy)
}

/// What changes when the file is replaced or written: its identity, size and time; `None` if there is
/// no such file.
pub(super) fn version(path: &Path) -> Option<(u64, u64, u64, i64, i64)> {
    let file = std::fs::metadata(path).ok()?;
    Some((
        file.dev(),
        file.ino(),
        file.size(),
        file.mtime(),
        file.mtime_nsec(),
    ))
}

impl Accounts for SystemAccounts {
    fn user(&self, name: &str) -> Option<u32> {
        let user = User::from_name(name).ok()??;
        Some(user.uid.as_raw())
    }

    fn group(&self, name: &str) -> Option<u32> {
        let group = Group::from_name(name).ok()??;
        Some(group.gid.as_raw())
    }

    fn own_user(&self) -> u32 {
        geteuid().as_raw()
    }
}
