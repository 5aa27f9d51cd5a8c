//! Environment variables of ipvsctl.

use std::{env, ffi::OsString, path::PathBuf};

use super::error::CliError;
use crate::client::Endpoint;

/// What the names of all variables begin with.
const PREFIX: &str = "IPVSCTL_";
/// Endpoint of the daemon.
const ENDPOINT: &str = "IPVSCTL_ENDPOINT";
/// Path of the configuration file.
const CONFIG: &str = "IPVSCTL_CONFIG";

/// Rejects variables that ipvsctl does not know: a command for another director than the intended one
/// may do harm.
fn check() -> Result<(), CliError> {
    let unknown = |name: &OsString| {
        let is_ours = name.as_encoded_bytes().starts_with(PREFIX.as_bytes());
        is_ours && name != ENDPOINT && name != CONFIG
    };
    match env::vars_os().map(|(name, _)| name).find(unknown) {
        Some(name) => Err(CliError::UnknownVariable {
            name: name.to_string_lossy().into_owned(),
            known: [ENDPOINT, CONFIG],
        }),
        None => Ok(()),
    }
}

/// `IPVSCTL_ENDPOINT`; `None` if it is not set, or empty.
pub(super) fn endpoint() -> Result<Option<Endpoint>, CliError> {
    let Some(value) = value(ENDPOINT)? else {
        return Ok(None);
    };
    // Text that is not UTF-8 is no endpoint; the replacement character is not allowed in one.
    match value.to_string_lossy().parse() {
        Ok(endpoint) => Ok(Some(endpoint)),
        Err(source) => Err(CliError::Variable {
            name: ENDPOINT,
            source,
        }),
    }
}

/// `IPVSCTL_CONFIG`; `None` if it is not set, or empty.
pub(super) fn config() -> Result<Option<PathBuf>, CliError> {
    Ok(value(CONFIG)?.map(PathBuf::from))
}

fn value(name: &str) -> Result<Option<OsString>, CliError> {
    check()?;
    Ok(env::var_os(name).filter(|value| !value.is_empty()))
}
