//! Errors of ipvsctl.

use std::{io, path::PathBuf};

use crate::{
    client::{ClientError, EndpointError, FileError},
    ipvsadm::ParseError,
    model::{DrainTarget, HoldId},
};

/// Error of a command. Rejections by the kernel are not errors here: they are reported with
/// ipvsadm's messages.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Invalid command line of ipvsadm.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// Invalid command line with a subcommand, or a request for its help.
    #[error(transparent)]
    Args(#[from] clap::Error),
    /// Invalid value of a global option.
    #[error("invalid value {value:?} for --{option}: expected {expected}")]
    InvalidValue {
        /// Name of the option.
        option: &'static str,
        /// The value.
        value: String,
        /// The accepted values.
        expected: String,
    },
    /// Invalid endpoint.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// Invalid environment variable.
    #[error("{name}: {source}")]
    Variable {
        /// Name of the variable.
        name: &'static str,
        /// What is wrong with its value. Without the value if it is a secret.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An environment variable that ipvsctl does not have.
    #[error("{name} is not a variable of ipvsctl: expected {}", known.join(", "))]
    UnknownVariable {
        /// Name of the variable.
        name: String,
        /// The names of the variables.
        known: &'static [&'static str],
    },
    /// Both forms of a token in one source.
    #[error("{token} and {file} are both set: remove one")]
    TwoTokens {
        /// How the source spells the token.
        token: String,
        /// How it spells the file of a token.
        file: String,
    },
    /// A key without its certificate in the same source.
    #[error("{key} without {cert}: specify the certificate of the key too")]
    KeyWithoutCertificate {
        /// How the source spells the key.
        key: String,
        /// How it spells the certificate.
        cert: String,
    },
    /// An option of TLS for an endpoint without TLS.
    #[error("--{option} needs an https:// endpoint, and {endpoint} is another: see --endpoint")]
    NoTls {
        /// Name of the option.
        option: &'static str,
        /// The endpoint.
        endpoint: String,
    },
    /// The system's generator of random numbers failed.
    #[error("the system has no random numbers")]
    NoRandomness,
    /// A file with a secret cannot be used.
    #[error(transparent)]
    Secret(#[from] FileError),
    /// The request failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A change was sent, but its reply was lost.
    #[error(
        "{source}; the change may have been made: check with `{check}` before you repeat the command"
    )]
    OutcomeUnknown {
        /// What happened.
        source: ClientError,
        /// The command that shows whether the change was made.
        check: String,
    },
    /// No endpoint is configured, and no daemon listens on the local ones.
    #[error(
        "no director: cannot connect to {socket} or {address}; specify one with --endpoint URL, \
         --director NAME or IPVSCTL_ENDPOINT"
    )]
    NoDirector {
        /// The local socket.
        socket: String,
        /// The local TCP address.
        address: String,
    },
    /// The local socket cannot be used, and the token would be sent to a port that the user has not named.
    #[error(
        "{source}; a token is not sent to {address}, where any user of this machine could listen, unless \
         you name it: --endpoint {address} or IPVSCTL_ENDPOINT"
    )]
    UnnamedPort {
        /// Why the local socket cannot be used.
        source: ClientError,
        /// The local TCP address.
        address: String,
    },
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// Path of the file.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// The configuration file is invalid, and has a token, which the parser's excerpt of the file could
    /// contain.
    #[error("{}: line {line}: {message}", path.display())]
    ConfigWithToken {
        /// Path of the file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What is wrong, without values.
        message: String,
    },
    /// The configuration file is invalid.
    #[error("{}: {source}", path.display())]
    Config {
        /// Path of the file.
        path: PathBuf,
        /// Error of the parser.
        source: Box<toml::de::Error>,
    },
    /// A director that is not configured.
    #[error("director {0:?} is not configured; `ipvsctl directors` lists the configured ones")]
    UnknownDirector(String),
    /// `--all` without configured directors.
    #[error("--all: no directors are configured")]
    NoDirectors,
    /// `--all` with a command that writes.
    #[error("--all: only read-only commands are allowed")]
    AllIsReadOnly,
    /// `--watch` with a command that is no listing.
    #[error("--watch: only read-only commands are allowed; `ipvsctl watch` prints changes")]
    WatchIsReadOnly,
    /// `--all` with `version`.
    #[error("--all: `ipvsctl directors` shows the versions of all directors")]
    AllIsNotAllowed,
    /// Standard input cannot be read, or is not UTF-8.
    #[error("standard input: {0}")]
    Input(#[source] io::Error),
    /// The input of a restore has invalid lines.
    #[error("{0} invalid lines; nothing was changed")]
    InvalidLines(usize),
    /// The input of a restore has invalid fields.
    #[error("{0} invalid fields; nothing was changed")]
    InvalidFields(usize),
    /// The input of a restore is not a document.
    #[error("input: {path}: {message}; nothing was changed")]
    Document {
        /// Path of the field.
        path: String,
        /// What is wrong.
        message: String,
    },
    /// The input of a restore is empty.
    #[error("the input is empty: nothing to restore; `ipvsctl -C` clears the table")]
    EmptyInput,
    /// The input of a restore has settings that the director does not have.
    #[error(
        "the kernel of the director does not have the settings {0}: remove them from the input; nothing \
         was changed"
    )]
    MissingSettings(String),
    /// The daemon aborted a restore.
    #[error("restore aborted: {detail}")]
    RestoreAborted {
        /// How far it came.
        detail: String,
        /// Whether the outcome of a command is unknown.
        is_unknown: bool,
    },
    /// A file with a table is not one.
    #[error("{file}: {message}; nothing was changed")]
    TableFile {
        /// Name of the file.
        file: String,
        /// What is wrong.
        message: String,
    },
    /// A file that is to be converted is not in its format.
    #[error("{file}: line {line}, column {column}: {message}")]
    Conversion {
        /// Name of the file.
        file: String,
        /// Number of the line, from 1.
        line: usize,
        /// Number of the character in the line, from 1.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// A file that is to be converted has no services.
    #[error(
        "{0}: no virtual services in it, and a table without them would delete all; `services: []` declares \
         none"
    )]
    NothingToConvert(String),
    /// Not everything is converted, with `--strict`.
    #[error("not converted: {0}; without --strict, the rest is printed")]
    NotConverted(usize),
    /// Neither the command line nor the file has the owner of a table.
    #[error("whose table is it? --owner NAME, or owner: NAME in the file; nothing was changed")]
    NoOwner,
    /// `--all` with the plan of a table.
    #[error("--all: a plan is made for one director")]
    AllHasNoPlan,
    /// No drain of a server to end.
    #[error("{server} has no drain{}", wider_drain(wider))]
    NotDrained {
        /// The server or address.
        server: DrainTarget,
        /// The drain of all ports of its address.
        wider: Option<HoldId>,
    },
    /// A response without settings.
    #[error("the director has no settings of IPVS, or is not ipvsd")]
    NoSettings,
    /// `help` with a word that is no subcommand, command or option.
    #[error("{0:?} is not a subcommand, command or option; `ipvsctl help` lists them")]
    NoHelp(String),
    /// Names of settings together with `NAME=VALUE`.
    #[error("settings: {} without a value: use NAME=VALUE to set, or names alone to show", quoted(.0))]
    SettingsWithoutValue(Vec<String>),
    /// Settings that do not exist.
    #[error("no such setting: {}; the settings are {}", quoted(unknown), known.join(", "))]
    UnknownSettings {
        /// The names that do not exist.
        unknown: Vec<String>,
        /// All names that exist.
        known: Vec<String>,
    },
    /// `top` without a terminal.
    #[error(
        "top: standard input and standard output must be a terminal; for scripts, \
         `ipvsctl -Ln --rate --watch` prints listings"
    )]
    NoTerminal,
    /// `top` on a terminal that cannot show a screen.
    #[error(
        "top: TERM is {0:?}, a terminal that cannot show a screen; `ipvsctl -Ln --rate --watch` prints \
         listings"
    )]
    DumbTerminal(String),
    /// Output failed. A closed pipe is not an error.
    #[error("output: {0}")]
    Output(#[from] io::Error),
    /// The response is not valid JSON or not of the expected shape.
    #[error("invalid response: {0}")]
    Response(#[from] serde_json::Error),
    /// The response cannot be converted to YAML.
    #[error("cannot convert the response to YAML: {0}")]
    Yaml(#[from] yaml_serde::Error),
}

/// Names in quotation marks, for a message.
fn quoted(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
    names.join(", ")
}

fn wider_drain(id: &Option<HoldId>) -> String {
    let text = |id| {
        format!(" of its own; `ipvsctl undrain {id}` ends the one of all ports of its address")
    };
    id.map_or_else(String::new, text)
}

// === impl CliError ===

impl CliError {
    /// The exit code: that of ipvsadm for its command lines, 3 if the outcome is unknown, 1 if something is
    /// not converted, otherwise 2.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Parse(error) => error.exit_code(),
            Self::OutcomeUnknown { .. }
            | Self::Client(ClientError::OutcomeUnknown { .. })
            | Self::RestoreAborted {
                is_unknown: true, ..
            } => 3,
            Self::NotConverted(_) => 1,
            _ => 2,
        }
    }
}
