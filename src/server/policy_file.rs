//! The policy file: reading and reloading.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nix::unistd::{Group, User, geteuid};
use thiserror::Error;

use super::{
    input_file::{self, UnsafeFile},
    jwks::{self, FetchError},
};
use crate::identity::{Accounts, DEFAULT_OVERFLOW_ID, Policy, PolicyError};

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
    /// Other users can change the file, and with it what they may do.
    #[error("the policy is not used: {0}")]
    Unsafe(UnsafeFile),
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
    let read = input_file::read_text(path, MAX_FILE);
    let (text, file) = read.map_err(|source| PolicyFileError::Read {
        path: path.to_owned(),
        source,
    })?;
    input_file::check_writers(path, &file).map_err(PolicyFileError::Unsafe)?;
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

    fn overflow_user(&self) -> u32 {
        overflow_id("/proc/sys/kernel/overflowuid")
    }

    fn overflow_group(&self) -> u32 {
        overflow_id("/proc/sys/kernel/overflowgid")
    }
}

fn overflow_id(path: &str) -> u32 {
    let text = fs::read_to_string(path).ok();
    let id = text.and_then(|text| text.trim().parse().ok());
    id.unwrap_or(DEFAULT_OVERFLOW_ID)
}

#[cfg(test)]
mod tests;
