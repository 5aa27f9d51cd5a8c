//! The log: one subscriber for `tracing` and for crates that use `log`, writing to standard error or to the
//! journal.

use std::{
    io::{self, IsTerminal},
    panic::{self, PanicHookInfo},
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
use crate::trace::RequestSpan;

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
    /// The journal is not there, or the thread that writes the log cannot be started.
    #[error("cannot start the log")]
    Output(#[from] io::Error),
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
            LogFormat::Json | LogFormat::Journal => layer
                .json()
                .flatten_event(true)
                .with_span_list(false)
                .boxed(),
        };
        // `try_init` also installs the bridge from the `log` crate.
        registry().with(filter).with(layer).try_init()?;
        // The default hook writes to standard error, which may block.
        panic::set_hook(Box::new(log_panic));
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

    /// Lines that were lost since the start.
    pub fn lost(&self) -> u64 {
        self.sink.lost()
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

/// Logs a panic, with the request on whose behalf the thread runs. If that executed the change of
/// another request for it (`executor/worker.rs`), it is that change that panicked.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("?");
    let location = panic.location().map(tracing::field::display);
    RequestSpan::current().in_scope(|| tracing::error!(message, location, "panic"));
}

/// Parses a filter such as `info` or `ipvsd=debug,hyper=warn`.
pub(super) fn parse_filter(text: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().parse(text)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::panic,
        clippy::unwrap_used,
        reason = "a test fails by panicking"
    )]

    use std::sync::{Arc, Mutex};

    use axum::{Router, body::Body, extract::Request, response::Response, routing::get};
    use tower::ServiceExt;
    use tracing::subscriber::DefaultGuard;

    use super::*;
    use crate::{
        audit::AuditLog,
        budget::Budget,
        server::{Authenticator, Config, with_middleware},
    };

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Lines {
        /// Collects what this thread logs until the guard is dropped.
        fn start() -> (Self, DefaultGuard) {
            let lines = Self::default();
            let writer = lines.clone();
            let subscriber = fmt::Subscriber::builder()
                .with_ansi(false)
                .with_writer(move || writer.clone())
                .finish();
            (lines, tracing::subscriber::set_default(subscriber))
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn requests_without_a_credential_do_not_fill_the_log() {
        let (lines, _guard) = Lines::start();
        let config = Config::default();
        let router = with_middleware(
            Router::new().route("/secret", get(async || "")),
            &config,
            &Authenticator::load(&config).unwrap(),
            &AuditLog::in_memory(),
            &Budget::default(),
            None,
            |_, _| Response::new(Body::empty()),
        );
        for _ in 0..50 {
            let request = Request::get("/secret").header("host", "localhost");
            let request = request.body(Body::empty()).unwrap();
            let response = router.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), 401);
        }
        let log = lines.text();
        let failed = log.lines().filter(|line| line.contains("request failed"));
        assert_eq!(failed.count(), 10, "{log}");
    }

    #[tokio::test]
    async fn a_panic_is_logged_with_its_place_and_request() {
        let (lines, _guard) = Lines::start();
        // Other tests of the process keep their output.
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            log_panic(panic);
            others(panic);
        }));

        let handler = get(async || -> () { panic!("on purpose") });
        let router = Router::new().route("/panic", handler);
        let config = Config {
            dev: true,
            ..Config::default()
        };
        let open = Authenticator::load(&config).unwrap();
        let router = with_middleware(
            router,
            &config,
            &open,
            &AuditLog::in_memory(),
            &Budget::default(),
            None,
            |_, _| Response::new(Body::empty()),
        );
        let request = Request::get("/panic")
            .header("host", "localhost")
            .header("x-request-id", "request-7");
        let request = request.body(Body::empty()).unwrap();
        router.oneshot(request).await.unwrap();
        let log = lines.text();
        let line = log.lines().find(|line| line.contains("log.rs:")).unwrap();
        assert!(line.contains("request_id=\"request-7\""), "{line}");
        assert!(line.contains("on purpose"), "{line}");
    }
}
