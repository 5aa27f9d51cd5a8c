//! Configuration file with the names of directors.

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    fs::File,
    io,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use serde::{Deserialize, Deserializer, de::Error as _};

use super::{
    credentials::{Credentials, Source},
    environment::Environment,
    error::CliError,
    input::read_text,
    options,
};
use crate::{
    client::{Endpoint, Token, check_private},
    model::Sha256,
};

/// Contents of the configuration file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    /// Name of the director to use if none is selected.
    pub default: Option<String>,
    /// Directors by name.
    #[serde(default)]
    pub directors: BTreeMap<String, Director>,
}

/// A director.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Director {
    /// Endpoint of the daemon.
    #[serde(deserialize_with = "endpoint")]
    pub endpoint: Endpoint,
    /// PEM file with certificates that are trusted in addition to the system's.
    ca: Option<PathBuf>,
    /// PEM file with the client's certificate.
    cert: Option<PathBuf>,
    /// PEM file with its key.
    key: Option<PathBuf>,
    /// Bearer token. Only the owner of the configuration file may be able to read it.
    #[serde(default, deserialize_with = "optional")]
    token: Option<Token>,
    /// File with the token.
    token_file: Option<PathBuf>,
    /// SHA-256 of the daemon's certificate.
    #[serde(default, deserialize_with = "optional")]
    fingerprint: Option<Sha256>,
    /// Whether the token may be sent as plain text to another machine.
    #[serde(default)]
    insecure_token: bool,
    /// Request timeout, in seconds in the file.
    #[serde(default, deserialize_with = "seconds")]
    pub timeout: Option<Duration>,
}

/// System-wide configuration file.
const SYSTEM: &str = "/etc/ipvsctl.toml";
/// Size limit of the file in bytes. An entry has about 100.
const MAX_SIZE: u64 = 1 << 20;

/// A value that is parsed from a text.
fn parsed<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Error>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(D::Error::custom)
}

fn endpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Endpoint, D::Error> {
    parsed(deserializer)
        .map_err(|error: D::Error| D::Error::custom(format_args!("endpoint: {error}")))
}

fn optional<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Error>,
{
    parsed(deserializer).map(Some)
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let seconds = f64::deserialize(deserializer)?;
    options::seconds(seconds)
        .map(Some)
        .ok_or_else(|| D::Error::custom(format_args!("timeout: expected {}", options::SECONDS)))
}

/// The error of an invalid file. It shows an excerpt, unless the file has a token.
fn invalid(path: &Path, text: &str, error: toml::de::Error) -> CliError {
    let path = path.to_owned();
    if !text.to_ascii_lowercase().contains("token") {
        let source = Box::new(error);
        return CliError::Config { path, source };
    }
    let start = error.span().map_or(0, |span| span.start);
    let before = text.as_bytes().iter().take(start);
    let message = match error.message() {
        // serde shows the value that it does not expect.
        message if message.contains("string \"") => "another type of value is expected",
        message => message,
    };
    CliError::ConfigWithToken {
        path,
        line: 1 + before.filter(|byte| **byte == b'\n').count(),
        message: message.to_owned(),
    }
}

// === impl Config ===

impl Config {
    /// Reads the file that `IPVSCTL_CONFIG` names, which must exist; otherwise the user's or the
    /// system's file, which may be missing.
    pub(super) fn load(environment: &Environment) -> Result<Self, CliError> {
        if let Some(path) = &environment.config {
            return Self::read(path.clone());
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
        let opened = File::open(&path).and_then(|file| Ok((read_text(&file, MAX_SIZE)?, file)));
        let (text, file) = match opened {
            Ok(opened) => opened,
            Err(source) => return Err(CliError::File { path, source }),
        };
        let config: Self = toml::from_str(&text).map_err(|error| invalid(&path, &text, error))?;
        for (name, director) in &config.directors {
            director.credentials().check(Source::Director(name))?;
            if director.token.is_some() {
                check_private(&file, &path)?;
            }
        }
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

// === impl Director ===

impl Director {
    pub(super) fn credentials(&self) -> Credentials {
        Credentials {
            ca: self.ca.clone(),
            cert: self.cert.clone(),
            key: self.key.clone(),
            token: self.token.clone(),
            token_file: self.token_file.clone(),
            fingerprint: self.fingerprint,
            insecure_token: self.insecure_token,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use super::*;
    use crate::cli::reference::CONFIGURATION;

    #[test]
    fn the_example_of_the_documentation_is_valid() {
        let config: Config = toml::from_str(CONFIGURATION).unwrap();
        let lb1 = config.director("lb1").unwrap().credentials();
        assert!(lb1.ca.is_some() && lb1.cert.is_some() && lb1.key.is_some());
        let lb2 = config.director("lb2").unwrap().credentials();
        assert!(lb2.fingerprint.is_some() && lb2.token_file.is_some());
    }

    #[test]
    fn a_token_is_not_shown_with_an_error_of_the_file() {
        let secret = "ipvsd_0123456789abcdef";
        let head = "[directors.a]\nendpoint = \"http://127.0.0.1\"\n";
        for (lines, message) in [
            (format!("token = \"{secret}\nx"), ": "),
            (format!("token = {secret}"), "line 3: "),
            (format!("token = \"\"\"{secret}\n{secret}"), ": "),
            (format!("token = [\"{secret}\"]"), "line 3: "),
            (
                format!("token = \"{secret} {secret}\""),
                "line 3: the token is not",
            ),
            (
                format!("token = \"{secret}\"\ntimeout = \"{secret}\""),
                "line 4: another type",
            ),
            (
                format!("tokenfile = \"{secret}\""),
                "line 3: unknown field `tokenfile`",
            ),
            (
                format!("token = \"{secret}\"\ntimeout = 0.0"),
                "line 4: timeout: ",
            ),
        ] {
            let text = format!("{head}{lines}\n");
            let error = toml::from_str::<Config>(&text).unwrap_err();
            let error = invalid(Path::new("/f"), &text, error).to_string();
            let shows = error.contains(secret);
            assert!(
                error.starts_with("/f: ") && error.contains(message) && !shows,
                "{error}"
            );
        }
    }
}
