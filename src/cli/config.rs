//! The file that names directors.

use std::{collections::BTreeMap, env, io, path::PathBuf};

use serde::Deserialize;

use super::CliError;

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Config {
    /// The director that is meant where none is named.
    pub default: Option<String>,
    /// Directors by name.
    #[serde(default)]
    pub directors: BTreeMap<String, App>,
}

/// A director.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct App {
    /// Where it listens.
    pub endpoint: String,
    /// Certificates that are trusted beside the system's.
    pub ca: Option<PathBuf>,
    /// Seconds that a request may take.
    pub timeout: Option<f64>,
}

/// Names the file.
pub(super) const VARIABLE: &str = "IPVSCTL_CONFIG";
/// The file for everybody on a machine.
const SYSTEM: &str = "/etc/ipvsctl.toml";

// === impl Config ===

impl Config {
    /// Reads the file: that of the environment, or else the user's, or else the machine's. Only one
    /// that is named must exist.
    pub(super) fn load() -> Result<Self, CliError> {
        if let Some(path) = env::var_os(VARIABLE) {
            return Self::read(path.into()).map(Option::unwrap_or_default);
        }
        let home = env::var_os("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".config")));
        let own = home.map(|home| home.join("ipvsctl/config.toml"));
        for path in own.into_iter().chain([SYSTEM.into()]) {
            match Self::read(path) {
                Ok(Some(config)) => return Ok(config),
                Ok(None) => {}
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

    fn read(path: PathBuf) -> Result<Option<Self>, CliError> {
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) => return Err(CliError::File { path, source }),
        };
        toml::from_str(&text)
            .map(Some)
            .map_err(|source| CliError::Config {
                path,
                source: Box::new(source),
            })
    }

    /// A director by name.
    pub(super) fn director(&self, name: &str) -> Result<&App, CliError> {
        self.directors
            .get(name)
            .ok_or_else(|| CliError::UnknownDirector(name.to_owned()))
    }
}
