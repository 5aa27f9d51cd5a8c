//! What is sent where: the settings, and the standard variables of OpenTelemetry where a setting is missing.

use std::{
    env, io,
    path::{Path, PathBuf},
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue};
use rustls::ClientConfig;
use thiserror::Error;

use super::config::{ENDPOINT_FORM, TraceProtocol, TracingConfig, is_endpoint, is_exposed};
use crate::server::{
    input_file::{self, UnsafeFile},
    jwks::{FetchError, tls_config},
};

/// Why the export cannot be started.
#[derive(Debug, Error)]
pub enum TracesError {
    /// The file with the headers cannot be read.
    #[error("tracing.headers_file: cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// Other users can change the file with the headers.
    #[error("tracing.headers_file: {0}")]
    Unsafe(UnsafeFile),
    /// A line of the file with the headers is none. The line itself may be a secret.
    #[error("tracing.headers_file: {}:{line}: {problem}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What is wrong.
        problem: &'static str,
    },
    /// The headers would be sent without encryption.
    #[error(
        "tracing.headers_file: the headers would be sent to {0} without encryption; use https://, or a collector on \
         this machine"
    )]
    Exposed(String),
    /// The certificates of the authorities are not usable.
    #[error("tracing.ca: {0}")]
    Certificates(FetchError),
    /// A standard variable has a value that cannot be used.
    #[error("{variable}: expected {expected}, got {got:?}")]
    Variable {
        /// The variable.
        variable: &'static str,
        /// The values that it may have.
        expected: &'static str,
        /// The value as set.
        got: String,
    },
    /// The SDK refuses the configuration.
    #[error("tracing: {0}")]
    Sdk(String),
}

/// What is sent where.
pub(super) struct Endpoint {
    pub(super) protocol: TraceProtocol,
    /// Of [`TraceProtocol::Http`], with the path.
    pub(super) url: String,
    pub(super) headers: HeaderMap,
    /// Absent if the URL is not encrypted.
    pub(super) tls: Option<ClientConfig>,
    /// Time that a request may take, its repetitions included.
    pub(super) timeout: Duration,
}

/// Path of a collector, unless the URL has one.
const HTTP_PATH: &str = "/v1/traces";

/// Time that a request to a collector may take, if no variable says it.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest time that a variable may ask for.
const MAX_TIMEOUT: Duration = Duration::from_secs(60);

/// Size of the file with the headers, in bytes.
const MAX_HEADERS_FILE: u64 = 64 << 10;

const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];
const PROTOCOLS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
];
const COMPRESSIONS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
    "OTEL_EXPORTER_OTLP_COMPRESSION",
];
const TIMEOUTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
];

// === impl Endpoint ===

impl Endpoint {
    /// Reads the files, and the variables for what is not configured. Blocks.
    pub(super) fn of(config: &TracingConfig) -> Result<Self, TracesError> {
        let protocol = match config.protocol {
            Some(protocol) => protocol,
            None => protocol_of_variables()?,
        };
        if let Some((variable, got)) = variable(COMPRESSIONS) {
            let expected = "nothing: spans are not compressed";
            return Err(TracesError::Variable {
                variable,
                expected,
                got,
            });
        }
        let url = url(config, protocol)?;
        let headers = match &config.headers_file {
            Some(_) if is_exposed(&url) => return Err(TracesError::Exposed(url)),
            Some(path) => headers(path)?,
            None => HeaderMap::new(),
        };
        let tls = match url.starts_with("https:") {
            true => Some(tls_config(config.ca.as_deref()).map_err(TracesError::Certificates)?),
            false => None,
        };
        let timeout = timeout()?;
        Ok(Self {
            protocol,
            url,
            headers,
            tls,
            timeout,
        })
    }
}

/// The first of two variables that is set, with its value. One that is empty is not set.
fn variable(names: [&'static str; 2]) -> Option<(&'static str, String)> {
    names.into_iter().find_map(|name| {
        let value = env::var_os(name)?.to_string_lossy().into_owned();
        (!value.is_empty()).then_some((name, value))
    })
}

fn protocol_of_variables() -> Result<TraceProtocol, TracesError> {
    match variable(PROTOCOLS) {
        None => Ok(TraceProtocol::Grpc),
        Some((_, value)) if value == "grpc" => Ok(TraceProtocol::Grpc),
        Some((_, value)) if value == "http/protobuf" => Ok(TraceProtocol::Http),
        Some((variable, got)) => Err(TracesError::Variable {
            variable,
            expected: "grpc or http/protobuf",
            got,
        }),
    }
}

/// The URL of the requests. To the URL of all signals, HTTP appends the path of traces; that of traces is used as it
/// is, as a configured one that has a path.
fn url(config: &TracingConfig, protocol: TraceProtocol) -> Result<String, TracesError> {
    let (url, is_of_traces) = match (&config.endpoint, variable(ENDPOINTS)) {
        (Some(url), _) => (url.clone(), has_path(url)),
        (None, Some((variable, url))) if is_endpoint(&url, Some(protocol)) => {
            let [of_traces, _] = ENDPOINTS;
            (url, variable == of_traces)
        }
        (None, Some((variable, got))) => {
            return Err(TracesError::Variable {
                variable,
                expected: ENDPOINT_FORM,
                got,
            });
        }
        (None, None) => {
            let port = match protocol {
                TraceProtocol::Grpc => 4317,
                TraceProtocol::Http => 4318,
            };
            (format!("http://localhost:{port}"), false)
        }
    };
    Ok(match protocol {
        TraceProtocol::Http if !is_of_traces => {
            format!("{}{HTTP_PATH}", url.trim_end_matches('/'))
        }
        _ => url,
    })
}

fn has_path(url: &str) -> bool {
    let url = url.parse::<http::Uri>();
    url.is_ok_and(|url| url.path() != "/")
}

/// The time that a request may take, in milliseconds in the variables.
fn timeout() -> Result<Duration, TracesError> {
    let Some((variable, got)) = variable(TIMEOUTS) else {
        return Ok(DEFAULT_TIMEOUT);
    };
    let timeout = got.parse().ok().map(Duration::from_millis);
    let timeout =
        timeout.filter(|timeout| (Duration::from_millis(1)..=MAX_TIMEOUT).contains(timeout));
    timeout.ok_or(TracesError::Variable {
        variable,
        expected: "milliseconds from 1 to 60000",
        got,
    })
}

/// The headers of a file: one `Name: value` in each line. Empty lines, and those that begin with `#`, are ignored.
fn headers(path: &Path) -> Result<HeaderMap, TracesError> {
    let read = input_file::read_text(path, MAX_HEADERS_FILE);
    let (text, file) = read.map_err(|source| TracesError::Read {
        path: path.to_owned(),
        source,
    })?;
    input_file::check_writers(path, &file).map_err(TracesError::Unsafe)?;
    let mut headers = HeaderMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = header(line).map_err(|problem| TracesError::Header {
            path: path.to_owned(),
            line: index + 1,
            problem,
        })?;
        headers.insert(name, value);
    }
    Ok(headers)
}

fn header(line: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    let (name, value) = line.split_once(':').ok_or("expected \"Name: value\"")?;
    let name = HeaderName::try_from(name.trim());
    let name = name.map_err(|_| "the name is not that of a header")?;
    let mut value = HeaderValue::try_from(value.trim())
        .map_err(|_| "the value has characters that a header cannot have")?;
    value.set_sensitive(true);
    Ok((name, value))
}
