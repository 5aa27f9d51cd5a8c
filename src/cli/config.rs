//! Configuration file with the names of directors.

use std::{collections::BTreeMap, env, io, path::PathBuf};

use serde::Deserialize;

use super::error::CliError;

/// Contents of the configuration file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Config {
    /// Name of the director to use if none is selected.
    pub default: Option<String>,
    /// Directors by name.
    #[serde(default)]
    pub directors: BTreeMap<String, Director>,
}

/// A director.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Director {
    /// Endpoint of the daemon.
    pub endpoint: String,
    /// PEM file with certificates that are trusted in addition to the system's.
    pub ca: Option<PathBuf>,
    /// Request timeout in seconds.
    pub timeout: Option<f64>,
}

/// Environment variable with the path of the file.
const VARIABLE: &str = "IPVSCTL_CONFIG";
/// System-wide configuration file.
const SYSTEM: &str = "/etc/ipvsctl.toml";

// === impl Config ===

impl Config {
    /// Reads the file that `IPVSCTL_CONFIG` names, which must exist; otherwise the user's or the
    /// system's file, which may be missing.
    pub(super) fn load() -> Result<Self, CliError> {
        if let Some(path) = env::var_os(VARIABLE) {
            return Self::read(path.into());
        }
        let home = env::var_os("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".config")));
        let user = home.map(|home| home.join("ipvsctl/config.toml"));
        for path in user.into_iter().chain([SYSTEM.into()]) {
            match Self::read(path) {
                Ok(config) => return Ok(config),
                Err(CliError::File { source, .. })
                    if matches!(
                        source.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                    ) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self::default())
    }

    fn read(path: PathBuf) -> Result<Self, CliError> {
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) => return Err(CliError::File { path, source }),
        };
        toml::from_str(&text).map_err(|source| CliError::Config {
            path,
            source: Box::new(source),
        })
    }

    /// Looks up a director by name.
    pub(super) fn director(&self, name: &str) -> Result<&Director, CliError> {
        self.directors
            .get(name)
            .ok_or_else(|| CliError::UnknownDirector(name.to_owned()))
    }
}
