//! Environment variables of ipvsctl.

use std::{env, error::Error, ffi::OsString, path::PathBuf};

use super::{
    credentials::{Credentials, Source},
    error::CliError,
};
use crate::client::Endpoint;

/// The variables that are set, and not empty.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment {
    endpoint: Option<OsString>,
    /// Path of the configuration file.
    pub config: Option<PathBuf>,
    pub credentials: Credentials,
}

/// What the names of all variables begin with.
const PREFIX: &str = "IPVSCTL_";
const ENDPOINT: &str = "IPVSCTL_ENDPOINT";
const CONFIG: &str = "IPVSCTL_CONFIG";
const CA: &str = "IPVSCTL_CA";
const CERT: &str = "IPVSCTL_CERT";
const KEY: &str = "IPVSCTL_KEY";
const TOKEN: &str = "IPVSCTL_TOKEN";
const TOKEN_FILE: &str = "IPVSCTL_TOKEN_FILE";
const FINGERPRINT: &str = "IPVSCTL_FINGERPRINT";
/// All variables.
const VARIABLES: [&str; 8] = [
    ENDPOINT,
    CONFIG,
    CA,
    CERT,
    KEY,
    TOKEN,
    TOKEN_FILE,
    FINGERPRINT,
];

// === impl Environment ===

impl Environment {
    /// Reads the variables. One that ipvsctl does not know is an error: a command for another director
    /// than the intended one may do harm.
    pub(super) fn load() -> Result<Self, CliError> {
        let mut environment = Self::default();
        let credentials = &mut environment.credentials;
        for (name, value) in env::vars_os() {
            if !name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
                continue;
            }
            let name = name.to_string_lossy();
            let Some(known) = VARIABLES.into_iter().find(|known| *known == name) else {
                return Err(CliError::UnknownVariable {
                    name: name.into_owned(),
                    known: &VARIABLES,
                });
            };
            if value.is_empty() {
                continue;
            }
            // What is not UTF-8 is neither a token nor a fingerprint: the replacement character is not
            // allowed in one.
            let text = value.to_string_lossy();
            match known {
                ENDPOINT => environment.endpoint = Some(value),
                CONFIG => environment.config = Some(value.into()),
                CA => credentials.ca = Some(value.into()),
                CERT => credentials.cert = Some(value.into()),
                KEY => credentials.key = Some(value.into()),
                TOKEN_FILE => credentials.token_file = Some(value.into()),
                TOKEN => credentials.token = Some(parsed(known, text.parse())?),
                _ => credentials.fingerprint = Some(parsed(known, text.parse())?),
            }
        }
        environment.credentials.check(Source::Environment)?;
        Ok(environment)
    }

    /// `IPVSCTL_ENDPOINT`.
    pub(super) fn endpoint(&self) -> Result<Option<Endpoint>, CliError> {
        let Some(value) = &self.endpoint else {
            return Ok(None);
        };
        parsed(ENDPOINT, value.to_string_lossy().parse()).map(Some)
    }
}

fn parsed<T, E: Error + Send + Sync + 'static>(
    name: &'static str,
    value: Result<T, E>,
) -> Result<T, CliError> {
    value.map_err(|error| CliError::Variable {
        name,
        source: Box::new(error),
    })
}
