//! The client itself: its options, and how a request is sent.

use std::{
    fmt::{self, Write as _},
    io::{self, BufRead, Read},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustls::ClientConfig;

use super::{
    connect::{self, Stream},
    endpoint::Endpoint,
    error::{ClientError, Problem},
    http1::{Body, Request, Response},
};

/// A client of one daemon.
///
/// Each request opens a connection of its own, and the daemon closes it after the response.
pub struct Client {
    endpoint: Endpoint,
    options: ClientOptions,
    tls: Option<Arc<ClientConfig>>,
    /// The connection that [`Client::probe`] opened, for the next request.
    connected: Mutex<Option<Box<dyn Stream>>>,
}

/// Options of a [`Client`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// Time limit of a request, from its start to the end of its response. For a response that is
    /// streamed (connections, restore, text), the limit of each read. Default 30 s.
    pub timeout: Duration,
    /// File of PEM certificates that are trusted in addition to the system's; `https` only. Default
    /// none.
    pub ca: Option<PathBuf>,
    /// Value of the header `User-Agent`. Default `ipvsd-client`.
    pub user_agent: String,
    /// How old the result of a read may be (`Cache-Control: max-age`, whole seconds). Default 0:
    /// every read queries the kernel.
    pub max_age: Duration,
}

/// Media type of most bodies.
pub(super) const JSON: &str = "application/json";
/// Media type of a stream with one JSON object per line.
pub(super) const NDJSON: &str = "application/x-ndjson";

/// Time limit of opening a connection. The system's default is minutes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Size limit of a problem document in bytes.
const MAX_PROBLEM: u64 = 1 << 20;

// === impl ClientOptions ===

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            ca: None,
            user_agent: "ipvsd-client".to_owned(),
            max_age: Duration::ZERO,
        }
    }
}

// === impl Client ===

impl Client {
    /// Creates a client of the daemon at `endpoint`. Sends nothing yet.
    pub fn new(endpoint: Endpoint) -> Result<Self, ClientError> {
        Self::with_options(endpoint, ClientOptions::default())
    }

    /// Creates a client with options. Reads the certificates if the endpoint is `https`.
    pub fn with_options(endpoint: Endpoint, options: ClientOptions) -> Result<Self, ClientError> {
        let tls = match &endpoint {
            Endpoint::Tcp { tls: true, .. } => Some(connect::tls(options.ca.as_deref())?),
            _ => None,
        };
        Ok(Self {
            endpoint,
            options,
            tls,
            connected: Mutex::new(None),
        })
    }

    /// The daemon's endpoint.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Opens a connection and keeps it for the next request.
    pub fn probe(&self) -> Result<(), ClientError> {
        let stream = self.connect()?;
        *self
            .connected
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(stream);
        Ok(())
    }

    /// Reads the resource at `path`, such as `/v1/info`, as the daemon's JSON.
    pub fn get(&self, path: &str) -> Result<Vec<u8>, ClientError> {
        Ok(self.get_response(path)?.0)
    }

    /// Reads the resource at `path`: its JSON, and the response that carried it.
    pub(super) fn get_response(&self, path: &str) -> Result<(Vec<u8>, Response), ClientError> {
        self.fetch(&Request {
            method: "GET",
            path,
            accept: JSON,
            headers: &self.read_headers(),
            body: None,
        })
    }

    /// Sends a read whose body is streamed.
    pub(super) fn stream(&self, path: &str, accept: &str) -> Result<Body, ClientError> {
        let response = self.send(&Request {
            method: "GET",
            path,
            accept,
            headers: &self.read_headers(),
            body: None,
        })?;
        Ok(response.body)
    }

    fn read_headers(&self) -> Vec<(&'static str, String)> {
        match self.options.max_age.as_secs() {
            0 => Vec::new(),
            seconds => vec![("cache-control", format!("max-age={seconds}"))],
        }
    }

    /// Sends a request and reads the head of its response. A status that is not a success is an
    /// error.
    pub(super) fn send(&self, request: &Request<'_>) -> Result<Response, ClientError> {
        let connected = self.connected.lock();
        let connected = connected.unwrap_or_else(PoisonError::into_inner).take();
        let stream = match connected {
            Some(stream) => stream,
            None => self.connect()?,
        };
        let host = self.endpoint.authority();
        let mut response = request
            .send(stream, &host, &self.options.user_agent)
            .map_err(|error| self.transport_error(error))?;
        let status = response.status;
        if status.is_success() {
            return Ok(response);
        }
        let mut problem = Vec::new();
        let limited = &mut response.body.by_ref().take(MAX_PROBLEM);
        limited
            .read_to_end(&mut problem)
            .map_err(|error| self.transport_error(error))?;
        Err(match Problem::parse(status, &problem) {
            Some(problem) => ClientError::Refused(Box::new(problem)),
            None => ClientError::NotIpvsd {
                endpoint: self.endpoint.clone(),
                status,
            },
        })
    }

    /// Sends a request and reads the whole body of its response.
    pub(super) fn fetch(&self, request: &Request<'_>) -> Result<(Vec<u8>, Response), ClientError> {
        let deadline = Instant::now().checked_add(self.options.timeout);
        let mut response = self.send(request)?;
        response.body.deadline = deadline;
        let mut body = Vec::new();
        response
            .body
            .read_to_end(&mut body)
            .map_err(|error| self.transport_error(error))?;
        Ok((body, response))
    }

    /// Reads a line without its end into `line`; `false` at the end of the body.
    pub(super) fn read_line(
        &self,
        body: &mut Body,
        line: &mut Vec<u8>,
    ) -> Result<bool, ClientError> {
        line.clear();
        body.read_until(b'\n', line)
            .map_err(|error| self.transport_error(error))?;
        match line.pop() {
            None => Ok(false),
            Some(b'\n') => Ok(true),
            Some(_) => Err(ClientError::Truncated),
        }
    }

    /// The error of a connection that failed while a request was sent or its response was read.
    pub(super) fn transport_error(&self, error: io::Error) -> ClientError {
        match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => ClientError::Timeout {
                endpoint: self.endpoint.clone(),
                after: self.options.timeout,
            },
            io::ErrorKind::UnexpectedEof => ClientError::Truncated,
            _ => ClientError::Connection(error),
        }
    }

    fn connect(&self) -> Result<Box<dyn Stream>, ClientError> {
        let io_timeout = self.options.timeout;
        let timeout = CONNECT_TIMEOUT.min(io_timeout);
        connect::open(&self.endpoint, self.tls.as_ref(), timeout, io_timeout)
            .map_err(|source| ClientError::connect(self.endpoint.clone(), source))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("endpoint", &self.endpoint)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Percent-encodes a value of a query parameter (RFC 3986, section 2.1).
pub(super) fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            encoded.push(byte.into());
        } else {
            // Writing into a String does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
