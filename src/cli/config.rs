//! Configuration file with the names of directors.

use std::{collections::BTreeMap, env, fs::File, io, path::PathBuf, time::Duration};

use serde::{Deserialize, Deserializer, de::Error as _};

use super::{environment, error::CliError, input::read_text, options};
use crate::client::Endpoint;

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
    #[serde(deserialize_with = "endpoint")]
    pub endpoint: Endpoint,
    /// PEM file with certificates that are trusted in addition to the system's.
    pub ca: Option<PathBuf>,
    /// Request timeout, in seconds in the file.
    #[serde(default, deserialize_with = "seconds")]
    pub timeout: Option<Duration>,
}

/// System-wide configuration file.
const SYSTEM: &str = "/etc/ipvsctl.toml";
/// Size limit of the file in bytes. An entry has about 100.
const MAX_SIZE: u64 = 1 << 20;

fn endpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Endpoint, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse()
        .map_err(|error| D::Error::custom(format_args!("endpoint: {error}")))
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let seconds = f64::deserialize(deserializer)?;
    options::seconds(seconds)
        .map(Some)
        .ok_or_else(|| D::Error::custom(format_args!("timeout: expected {}", options::SECONDS)))
}

// === impl Config ===

impl Config {
    /// Reads the file that `IPVSCTL_CONFIG` names, which must exist; otherwise the user's or the
    /// system's file, which may be missing.
    pub(super) fn load() -> Result<Self, CliError> {
        if let Some(path) = environment::config()? {
            return Self::read(path);
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
        let text = match File::open(&path).and_then(|file| read_text(file, MAX_SIZE)) {
            Ok(text) => text,
            Err(source) => return Err(CliError::File { path, source }),
        };
        let config: Self = match toml::from_str(&text) {
            Ok(config) => config,
            Err(source) => {
                let source = Box::new(source);
                return Err(CliError::Config { path, source });
            }
        };
        if let Some(name) = &config.default {
            config.director(name)?;
        }
        Ok(config)
    }

    /// Looks up a director by name.
    pub(super) fn director(&self, name: &str) -> Result<&Director, CliError> {
        self.directors
            .get(name)
            .ok_or_else(|| CliError::UnknownDirector(name.to_owned()))
    }
}
