//! The log: one subscriber for `tracing` and for crates that use `log`, writing to standard error.

use std::{
    io::{self, IsTerminal},
    panic,
};

use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::ParseError,
    fmt,
    layer::SubscriberExt,
    registry, reload,
    util::{SubscriberInitExt, TryInitError},
};

use super::{
    config::{LogConfig, LogFormat},
    log_sink::LogSink,
};

/// Why the log could not be started, or its filter not be replaced.
#[derive(Debug, Error)]
pub enum LogError {
    /// The filter is not a list of directives.
    #[error("not a log filter")]
    Filter(#[from] ParseError),
    /// The filter could not be replaced.
    #[error("the log has ended")]
    Reload(#[from] reload::Error),
    /// The process already has a logger.
    #[error("the log is already started")]
    AlreadyStarted(#[from] TryInitError),
    /// The thread that writes the log cannot be started.
    #[error("cannot start the thread of the log")]
    Thread(#[from] io::Error),
}

/// The log of the process. Clones share it.
#[derive(Clone)]
pub struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
    sink: LogSink,
}

// === impl Log ===

impl Log {
    /// Starts the log of the process, once. Panics are logged as errors from then on.
    pub fn start(config: &LogConfig) -> Result<Self, LogError> {
        let (filter, handle) = reload::Layer::new(parse_filter(&config.filter)?);
        let sink = LogSink::start(config.format)?;
        // Both formats report no errors of their own on standard error: the sink counts them.
        let layer = fmt::layer()
            .with_writer(sink.clone())
            .log_internal_errors(false);
        let layer = match config.format {
            LogFormat::Text => layer.with_ansi(io::stderr().is_terminal()).boxed(),
            // The list would repeat the request's span, which is included as "span".
            LogFormat::Json => layer
                .json()
                .flatten_event(true)
                .with_span_list(false)
                .boxed(),
        };
        // `try_init` also installs the bridge from the `log` crate.
        registry().with(filter).with(layer).try_init()?;
        // The default hook writes to standard error, which may block.
        panic::set_hook(Box::new(|panic| {
            let message = panic.payload_as_str().unwrap_or("?");
            let location = panic.location().map(tracing::field::display);
            tracing::error!(message, location, "panic");
        }));
        Ok(Self {
            filter: handle,
            sink,
        })
    }

    /// Replaces the filter.
    pub fn set_filter(&self, text: &str) -> Result<(), LogError> {
        self.filter.reload(parse_filter(text)?)?;
        // The bridge from the `log` crate has a level of its own. The names of levels are the same.
        let level = LevelFilter::current().to_string();
        log::set_max_level(level.parse().unwrap_or(log::LevelFilter::Trace));
        Ok(())
    }

    /// Writes a line that is not an event, whatever the filter is.
    pub fn print(&self, line: &str) {
        self.sink.push(format!("{line}\n").as_bytes());
    }

    /// Writes what is queued, and ends. Returns after a second at the latest.
    pub fn finish(self) {
        self.sink.finish();
    }
}

/// Parses a filter such as `info` or `ipvsd=debug,hyper=warn`.
pub(super) fn parse_filter(text: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().parse(text)
}
