//! The log: one subscriber for `tracing` and for crates that use `log`, writing to standard error.

use std::{
    env,
    io::{self, IsTerminal},
};

use thiserror::Error;
use tracing_subscriber::{
    EnvFilter,
    filter::ParseError,
    util::{SubscriberInitExt, TryInitError},
};

/// Format and filter of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Format of the log. Default: text.
    pub format: LogFormat,
    /// Events to log, as `target=level` directives. `RUST_LOG` takes precedence. Default: `info`.
    pub filter: String,
}

/// Format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Readable lines.
    Text,
    /// One JSON object per line.
    Json,
}

/// Why the log could not be initialized.
#[derive(Debug, Error)]
pub enum LogError {
    /// `RUST_LOG` is not a list of directives.
    #[error("RUST_LOG={value:?} is not a log filter")]
    Filter {
        /// The value of the variable.
        value: String,
        /// The error of the parser.
        source: ParseError,
    },
    /// The process already has a logger.
    #[error("the log is already initialized")]
    AlreadyInitialized(#[from] TryInitError),
}

/// Initializes the log of the process; may be called once. A non-empty `RUST_LOG` takes precedence
/// over `log.filter`.
pub fn init(config: &LogConfig) -> Result<(), LogError> {
    let value = env::var("RUST_LOG").ok().filter(|value| !value.is_empty());
    let value = value.unwrap_or_else(|| config.filter.clone());
    let filter = parse_filter(&value).map_err(|source| LogError::Filter { value, source })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_target(true);
    // `try_init` also installs the bridge from the `log` crate.
    match config.format {
        LogFormat::Text => builder
            .with_ansi(io::stderr().is_terminal())
            .finish()
            .try_init()?,
        LogFormat::Json => {
            // The list would repeat the request's span, which is included as "span".
            builder
                .json()
                .flatten_event(true)
                .with_span_list(false)
                .finish()
                .try_init()?
        }
    }
    Ok(())
}

/// Parses a filter such as `info` or `ipvsd=debug,hyper=warn`.
pub(super) fn parse_filter(text: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().parse(text)
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info".to_owned(),
        }
    }
}
