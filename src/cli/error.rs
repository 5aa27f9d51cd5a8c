use std::{io, path::PathBuf};

use crate::{
    client::{ClientError, EndpointError},
    ipvsadm::Usage,
};

/// Why a command failed. What the kernel refused is not here: ipvsadm's own words tell it.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// A faulty command line.
    #[error(transparent)]
    Usage(#[from] Usage),
    /// A faulty value of one of ipvsctl's own options.
    #[error("--{option}: {text:?} is not {wanted}")]
    Option {
        /// The option.
        option: &'static str,
        /// Its value.
        text: String,
        /// What it takes.
        wanted: &'static str,
    },
    /// A faulty endpoint.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The daemon refused, or cannot be reached.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// None of the daemon's usual places has one.
    #[error(
        "no director: {socket} and {address} cannot be reached; name one with --endpoint URL, IPVSCTL_ENDPOINT or --director NAME"
    )]
    NoDirector {
        /// The local socket.
        socket: String,
        /// The local port.
        address: String,
    },
    /// A configuration file that cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A configuration file that cannot be understood.
    #[error("{}: {source}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<toml::de::Error>,
    },
    /// A director that the configuration does not name.
    #[error("there is no director {0:?} in the configuration: ipvsctl directors lists them")]
    UnknownDirector(String),
    /// `--all` without a director.
    #[error("--all: the configuration names no director")]
    NoDirectors,
    /// `--all` with a command that changes something.
    #[error("--all is for commands that only read")]
    AllOnlyReads,
    /// Standard input is not text.
    #[error("standard input: {0}")]
    Input(io::Error),
    /// Lines that are no commands.
    #[error("{0} faulty lines; nothing was changed")]
    FaultyLines(usize),
    /// The daemon ended a restore before its end.
    #[error("the restore broke off: {0}")]
    BrokenOff(String),
    /// A setting that is none.
    #[error("{0:?} is neither NAME nor NAME=VALUE of a setting that this kernel has")]
    Setting(String),
    /// Output failed; a closed pipe is not reported.
    #[error("output: {0}")]
    Output(#[from] io::Error),
    /// An answer is not what it should be.
    #[error("the answer cannot be understood: {0}")]
    Answer(#[from] serde_json::Error),
    /// An answer cannot be shown.
    #[error("the answer cannot be shown: {0}")]
    Yaml(#[from] yaml_serde::Error),
}

// === impl CliError ===

impl CliError {
    /// The exit code: 2, but for a faulty command line that ipvsadm ends otherwise.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(usage) => usage.exit_code(),
            _ => 2,
        }
    }
}
