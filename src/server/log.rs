//! The log: one subscriber for `tracing` and for crates that use `log`, to standard error.

use std::env;
use std::io::{self, IsTerminal};

use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use super::config::{LogConfig, LogFormat};

/// Why there is no log.
#[derive(Debug, Error)]
pub enum LogError {
    /// `RUST_LOG` is not a list of directives.
    #[error("RUST_LOG={value:?} is not a log filter")]
    Filter {
        /// What the variable holds.
        value: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// The process has a logger already.
    #[error("the log is already set up")]
    Taken(#[from] TryInitError),
}

/// Starts the log of the process; once. A non-empty `RUST_LOG` wins over `log.filter`.
pub fn start(config: &LogConfig) -> Result<(), LogError> {
    let value = env::var("RUST_LOG").ok().filter(|value| !value.is_empty());
    let value = value.unwrap_or_else(|| config.filter.clone());
    let filter = parse_filter(&value).map_err(|source| LogError::Filter { value, source })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_target(true);
    // `try_init` also bridges the `log` crate.
    match config.format {
        LogFormat::Text => builder
            .with_ansi(io::stderr().is_terminal())
            .finish()
            .try_init()?,
        LogFormat::Json => {
            // The request's span is there once, as "span".
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

/// Reads `info`, `ipvsd=debug,hyper=warn` and the like.
pub(super) fn parse_filter(text: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().parse(text)
}
