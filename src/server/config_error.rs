//! What can be wrong with a configuration, and where: file and line, variable, or flag.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file named by `--config` cannot be read.
    #[error("cannot read the configuration file {}", path.display())]
    Read {
        /// The path as it was given.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// The file, the environment or the command line is wrong.
    #[error(transparent)]
    Wrong(#[from] ConfigErrors),
}

/// Everything found wrong in one go, one a line, in the order of the file.
#[derive(Debug, Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

/// One thing that is wrong, where, and with which key.
#[derive(Debug, Error)]
#[error("{place}: {}{problem}", self.key_prefix())]
pub struct ConfigError {
    /// Where the value came from.
    pub place: Place,
    /// The full name of the key, such as `limits.max_body_bytes`; empty when the text is not TOML.
    pub key: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A line of the file, counted from 1.
    File {
        /// The path as it was given.
        name: String,
        /// The line, from 1.
        line: usize,
    },
    /// An environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag(&'static str),
    /// Nobody set it.
    Default,
}

/// What is wrong with a key or its value.
#[derive(Debug, Error)]
pub enum Problem {
    /// The file is not TOML.
    #[error("{0}")]
    Syntax(String),
    /// No key has this name.
    #[error("there is no such key{}", nearest.map(|key| format!(", did you mean {key}?")).unwrap_or_default())]
    UnknownKey {
        /// A key with a similar name.
        nearest: Option<&'static str>,
    },
    /// A value of the wrong type or out of range.
    #[error("expected {expected}, got {got}")]
    Unexpected {
        /// What the key allows.
        expected: String,
        /// What was written.
        got: String,
    },
    /// The same address twice.
    #[error("{0} is listed twice")]
    ListedTwice(String),
    /// A listener that others can reach, without the operator having said so.
    #[error(
        "{0} is not a loopback address: anyone who reaches it could change the load balancer, \
         because requests are neither authenticated nor encrypted. Listen on 127.0.0.1, [::1] or \
         unix:/path and let a proxy or ssh carry it; or, on a network you trust, say so with \
         --insecure or insecure = true"
    )]
    Exposed(String),
    /// A key that must not be greater than another.
    #[error("{value} is greater than {other} = {limit}")]
    GreaterThan {
        /// The value of this key.
        value: usize,
        /// The other key.
        other: &'static str,
        /// The value of the other key.
        limit: usize,
    },
}

impl ConfigError {
    fn key_prefix(&self) -> String {
        if self.key.is_empty() {
            String::new()
        } else {
            format!("{}: ", self.key)
        }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { name, line } => write!(f, "{name}:{line}"),
            Place::Environment(name) => f.write_str(name),
            Place::Flag(name) => f.write_str(name),
            Place::Default => f.write_str("default"),
        }
    }
}
