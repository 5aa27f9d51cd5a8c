//! The client itself: how a request is sent.

use std::{
    fmt::{self, Write as _},
    io::{self, BufRead, Read},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::StatusCode;
use rustls::ClientConfig;
use serde::de::DeserializeOwned;

use super::{
    connect::{self, Limit, Stream, deadline_after},
    endpoint::Endpoint,
    error::{ClientError, Problem},
    http1::{Body, Request, Response, Sender},
    options::ClientOptions,
    tls,
    trust::ClientCertificateFault,
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

/// Media type of most bodies.
pub(super) const JSON: &str = "application/json";
/// Media type of a stream with one JSON object per line.
pub(super) const NDJSON: &str = "application/x-ndjson";

/// Time limit of opening a connection. The system's default is minutes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Size limit of a problem document in bytes. That of an apply has up to 1000 operations.
const MAX_PROBLEM: u64 = 4 << 20;
/// Size limit of a response that is kept in memory, and of a text, in bytes. 600,000 real servers
/// with counters and rates are smaller.
const MAX_DOCUMENT: usize = 256 << 20;
/// Size limit of a line of a stream in bytes. An event of a restore, the longest, has a command.
const MAX_LINE: usize = 1 << 20;

// === impl Client ===

impl Client {
    /// Creates a client of the daemon at `endpoint`. Sends nothing yet.
    pub fn new(endpoint: Endpoint) -> Result<Self, ClientError> {
        Self::with_options(endpoint, ClientOptions::default())
    }

    /// Creates a client with options. Reads the certificates and the key if the endpoint is `https`.
    /// A token for an `http` endpoint on another machine is an error unless
    /// [`insecure_token`](ClientOptions::insecure_token) allows it.
    pub fn with_options(endpoint: Endpoint, options: ClientOptions) -> Result<Self, ClientError> {
        if options.token.is_some() && !options.insecure_token && !endpoint.is_private() {
            return Err(ClientError::InsecureToken { endpoint });
        }
        let tls = match &endpoint {
            Endpoint::Tcp { tls: true, .. } => Some(tls::config(&options)?),
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
        let stream = self.connect(self.deadline())?;
        *self
            .connected
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(stream);
        Ok(())
    }

    /// Reads the resource at `path`, such as `/v1/info`: its type `T`, which may be a part of it, and
    /// the daemon's JSON.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<(T, Vec<u8>), ClientError> {
        let (json, _) = self.get_until(path, self.deadline())?;
        Ok((serde_json::from_slice(&json)?, json))
    }

    /// Reads the resource at `path`: its JSON, and the response that carried it.
    pub(super) fn get_until(
        &self,
        path: &str,
        deadline: Instant,
    ) -> Result<(Vec<u8>, Response), ClientError> {
        let headers = self.read_headers();
        let request = Request {
            method: "GET",
            path,
            accept: JSON,
            headers: &headers,
            body: None,
        };
        match self.fetch(&request, deadline) {
            Err(error) if error.is_lost() => self.fetch(&request, deadline),
            result => result,
        }
    }

    /// Sends a read whose body is streamed.
    pub(super) fn stream(
        &self,
        path: &str,
        accept: &str,
        limit: Limit,
    ) -> Result<Response, ClientError> {
        let headers = self.read_headers();
        let request = Request {
            method: "GET",
            path,
            accept,
            headers: &headers,
            body: None,
        };
        match self.send(&request, limit) {
            Err(error) if error.is_lost() => self.send(&request, limit),
            result => result,
        }
    }

    fn read_headers(&self) -> Vec<(&'static str, String)> {
        match self.options.max_age.as_secs() {
            0 => Vec::new(),
            seconds => vec![("cache-control", format!("max-age={seconds}"))],
        }
    }

    /// The limit of a request that begins now.
    pub(super) fn deadline(&self) -> Instant {
        deadline_after(self.options.timeout)
    }

    /// The limit of a stream: the time from one line to the next.
    pub(super) fn silence(&self) -> Limit {
        Limit::Silence(self.options.timeout)
    }

    /// Sends a request and reads the head of its response. A status that is not a success is an
    /// error, and so is another media type than the request accepts.
    pub(super) fn send(
        &self,
        request: &Request<'_>,
        limit: Limit,
    ) -> Result<Response, ClientError> {
        let connected = self.connected.lock();
        let connected = connected.unwrap_or_else(PoisonError::into_inner).take();
        let stream = match connected {
            Some(stream) => stream,
            None => self.connect(limit.deadline())?,
        };
        self.exchange(stream, request, limit)
            .map_err(|error| self.outcome_of(request, error))
    }

    fn exchange(
        &self,
        stream: Box<dyn Stream>,
        request: &Request<'_>,
        limit: Limit,
    ) -> Result<Response, ClientError> {
        let sender = Sender {
            host: &self.endpoint.authority(),
            user_agent: &self.options.user_agent,
            token: self.options.token.as_ref(),
        };
        let mut response = request
            .send(stream, &sender, limit)
            .map_err(|error| self.transport_error(error))?;
        let status = response.status;
        if status == StatusCode::NO_CONTENT && request.method != "GET" {
            return Ok(response);
        }
        if status.is_success() {
            return match response.media_type == request.accept {
                true => Ok(response),
                false => Err(self.not_ipvsd(&response)),
            };
        }
        let mut problem = Vec::new();
        let limited = &mut response.body.by_ref().take(MAX_PROBLEM);
        limited
            .read_to_end(&mut problem)
            .map_err(|error| self.transport_error(error))?;
        Err(match Problem::parse(status, &problem) {
            Some(problem) => ClientError::Refused(Box::new(problem)),
            None => self.not_ipvsd(&response),
        })
    }

    /// Sends a request and reads the whole body of its response.
    pub(super) fn fetch(
        &self,
        request: &Request<'_>,
        deadline: Instant,
    ) -> Result<(Vec<u8>, Response), ClientError> {
        let mut response = self.send(request, Limit::Deadline(deadline))?;
        let document = self
            .document(&mut response.body)
            .map_err(|error| self.outcome_of(request, error))?;
        Ok((document, response))
    }

    fn document(&self, body: &mut Body) -> Result<Vec<u8>, ClientError> {
        let mut document = Vec::new();
        loop {
            let part = body
                .fill_buf()
                .map_err(|error| self.transport_error(error))?;
            if part.is_empty() {
                return Ok(document);
            }
            let length = part.len();
            self.check_size(document.len() + length)?;
            if document.try_reserve(length).is_err() {
                return Err(self.too_large(document.len(), ", which is all memory there is"));
            }
            document.extend_from_slice(part);
            body.consume(length);
        }
    }

    /// Checks how much of a response, or of several of one list, has been read.
    pub(super) fn check_size(&self, size: usize) -> Result<(), ClientError> {
        match size > MAX_DOCUMENT {
            true => Err(self.too_large(MAX_DOCUMENT, "")),
            false => Ok(()),
        }
    }

    /// Reads a line without its end into `line`; `false` at the end of the body.
    pub(super) fn read_line(
        &self,
        body: &mut Body,
        line: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<bool, ClientError> {
        self.read_line_of(body, line, deadline, MAX_LINE)
    }

    /// As [`read_line`](Self::read_line), of a line of at most `limit` bytes.
    pub(super) fn read_line_of(
        &self,
        body: &mut Body,
        line: &mut Vec<u8>,
        deadline: Instant,
        limit: usize,
    ) -> Result<bool, ClientError> {
        line.clear();
        body.set_limit(Limit::Deadline(deadline));
        body.take(limit as u64)
            .read_until(b'\n', line)
            .map_err(|error| self.transport_error(error))?;
        match line.pop() {
            None => Ok(false),
            Some(b'\n') => Ok(true),
            Some(_) if line.len() + 1 == limit => Err(self.too_large(limit, " in one line")),
            Some(_) => Err(ClientError::Truncated),
        }
    }

    fn too_large(&self, limit: usize, of: &'static str) -> ClientError {
        ClientError::TooLarge {
            endpoint: self.endpoint.clone(),
            limit,
            of,
        }
    }

    pub(super) fn not_ipvsd(&self, response: &Response) -> ClientError {
        ClientError::NotIpvsd {
            endpoint: self.endpoint.clone(),
            status: response.status,
            content: match response.media_type.as_str() {
                "" => "no content type".to_owned(),
                media_type => media_type.to_owned(),
            },
        }
    }

    /// The error of a request whose response was not received or not understood: the outcome of a
    /// change is unknown then. Another server than ipvsd has not made it, but a proxy that reports a
    /// failure may have forwarded it.
    pub(super) fn outcome_of(&self, request: &Request<'_>, error: ClientError) -> ClientError {
        match error {
            ClientError::Refused(_) | ClientError::ClientCertificate { .. } => error,
            ClientError::NotIpvsd { status, .. } if !status.is_server_error() => error,
            error if !request.is_change() => error,
            error => self.outcome_unknown(error),
        }
    }

    pub(super) fn outcome_unknown(&self, error: ClientError) -> ClientError {
        ClientError::OutcomeUnknown {
            endpoint: self.endpoint.clone(),
            source: Box::new(error),
        }
    }

    /// The error of a connection that failed while a request was sent or its response was read.
    pub(super) fn transport_error(&self, error: io::Error) -> ClientError {
        if let Some(error) = self.client_certificate_error(&error) {
            return error;
        }
        match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => ClientError::Timeout {
                endpoint: self.endpoint.clone(),
                after: self.options.timeout,
            },
            io::ErrorKind::UnexpectedEof => ClientError::Truncated,
            _ => ClientError::Connection(error),
        }
    }

    /// With TLS 1.3, the daemon verifies the client's certificate after the client has sent its request,
    /// and before the daemon reads it.
    fn client_certificate_error(&self, error: &io::Error) -> Option<ClientError> {
        let fault = ClientCertificateFault::find(error, self.options.cert.is_some())?;
        Some(ClientError::ClientCertificate {
            endpoint: self.endpoint.clone(),
            fault,
        })
    }

    fn connect(&self, deadline: Instant) -> Result<Box<dyn Stream>, ClientError> {
        if deadline <= Instant::now() {
            return Err(self.transport_error(io::ErrorKind::TimedOut.into()));
        }
        let deadline = deadline.min(deadline_after(CONNECT_TIMEOUT));
        let tls = self.tls.as_ref();
        let only_loopback =
            tls.is_none() && self.options.token.is_some() && !self.options.insecure_token;
        connect::open(&self.endpoint, tls, only_loopback, deadline).map_err(|source| {
            if let Some(error) = self.client_certificate_error(&source) {
                return error;
            }
            let source = match source.kind() {
                // The time limit of a socket.
                io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
                _ => source,
            };
            ClientError::connect(self.endpoint.clone(), source)
        })
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

/// A path with query parameters.
pub(super) fn with_query(
    path: &str,
    parameters: impl Iterator<Item = (&'static str, String)>,
) -> String {
    let pairs: Vec<_> = parameters
        .map(|(name, value)| format!("{name}={}", percent_encode(&value)))
        .collect();
    match pairs.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{}", pairs.join("&")),
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
