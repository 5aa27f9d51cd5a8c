//! Errors of the configuration, with their origin: file and line, variable, or flag.

use std::{fmt, io, path::PathBuf};

use thiserror::Error;

use super::input_file::UnsafeFile;

/// Why the configuration could not be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file named by `--config` cannot be read.
    #[error("cannot read the configuration file {}", path.display())]
    Read {
        /// The path as given.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// Other users can change the file named by `--config`, and with it who may do what.
    #[error("the configuration file is not used: {0}")]
    Unsafe(UnsafeFile),
    /// The file, the environment or the command line is invalid.
    #[error(transparent)]
    Invalid(#[from] ConfigErrors),
}

/// All errors of a configuration, in the order of the file. Formatted one per line.
#[derive(Debug, Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

/// One error of a configuration.
#[derive(Debug, Error)]
#[error("{origin}: {}{problem}", self.key_prefix())]
pub struct ConfigError {
    /// Origin of the value.
    pub origin: Origin,
    /// Full name of the key, such as `limits.max_body_bytes`; empty if the file is not TOML.
    pub key: String,
    /// What is wrong.
    pub problem: ConfigProblem,
}

/// Origin of a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A line of the configuration file.
    File {
        /// The path as given.
        name: String,
        /// Line number, from 1.
        line: usize,
    },
    /// An environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag(&'static str),
    /// The built-in default.
    Default,
}

/// What is wrong with a key or its value.
#[derive(Debug, Error)]
pub enum ConfigProblem {
    /// The file is not TOML.
    #[error("{0}")]
    Syntax(String),
    /// No key has this name.
    #[error("unknown key{}", nearest.map(|key| format!(", did you mean {key}?")).unwrap_or_default())]
    UnknownKey {
        /// A key with a similar name.
        nearest: Option<&'static str>,
    },
    /// No key has this environment variable.
    #[error(
        "unknown variable{}",
        nearest.as_ref().map(|name| format!(", did you mean {name}?")).unwrap_or_default()
    )]
    UnknownVariable {
        /// A variable with a similar name.
        nearest: Option<String>,
    },
    /// The value has the wrong type or is out of range.
    #[error("expected {expected}, got {got}")]
    Unexpected {
        /// The values that the key allows.
        expected: String,
        /// The value as written.
        got: String,
    },
    /// An address is listed twice.
    #[error("{0} is listed twice")]
    ListedTwice(String),
    /// Two addresses cannot both be listened on.
    #[error("{0} and {1} are not distinct: one of them includes the other; list only that one")]
    Overlap(String, String),
    /// A listener without encryption is reachable from other machines, and `insecure` is not set.
    #[error(
        "{0} is not a loopback address: requests are not encrypted there, so that anyone on the \
         way can read the tokens and change what is requested. Listen on tls:{0}; or on \
         127.0.0.1, [::1] or unix:/path and forward it by a proxy or ssh; or, on a trusted \
         network, set --insecure or insecure = true"
    )]
    NotLoopback(String),
    /// There is a policy, and `dev` would permit everything nevertheless.
    #[error(
        "dev permits everything without a credential, whatever the policy says; set one of both"
    )]
    DevWithPolicy,
    /// A listener is reachable from other machines, and `dev` is set.
    #[error(
        "{0} is not a loopback address, and dev permits everything without a credential. Remove \
         --dev or dev = true, and set a policy"
    )]
    NotForDevelopment(String),
    /// The key and another one are set, of which one only is allowed.
    #[error("not together with {0}: set one of them")]
    Excludes(&'static str),
    /// Another key must be set, too.
    #[error("{value} requires {other}: {purpose}")]
    Requires {
        /// The value of this key.
        value: String,
        /// The other key.
        other: &'static str,
        /// What the other key is for.
        purpose: &'static str,
    },
    /// The key has no effect without another one, although the value looks as if it had.
    #[error("has no effect with {0}; set that to \"required\" or \"optional\", or remove this key")]
    NoEffect(&'static str),
    /// The protocol of traces does not allow the path of the URL.
    #[error(
        "{0:?} has a path, which only http/protobuf has; remove it, or set tracing.protocol = \"http/protobuf\""
    )]
    PathOfGrpc(String),
    /// The headers of requests with traces, which are secrets, would be sent without encryption.
    #[error(
        "the headers would be sent to {0} without encryption; use https://, or a collector on this machine"
    )]
    ExposedHeaders(String),
    /// The value exceeds that of another key.
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

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { name, line } => write!(f, "{name}:{line}"),
            Origin::Environment(name) => f.write_str(name),
            Origin::Flag(name) => f.write_str(name),
            Origin::Default => f.write_str("default"),
        }
    }
}
