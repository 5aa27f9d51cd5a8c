//! The remote client: ipvsd's HTTP API for Rust programs, `ipvsctl` among them.
//!
//! ```no_run
//! # fn example() -> Result<(), ipvsd::client::ClientError> {
//! use ipvsd::client::{Client, Include};
//!
//! let client = Client::new("http://127.0.0.1:4787".parse()?)?;
//! for entry in client.services(Include::default(), false)? {
//!     assert!(entry.servers.len() < 1000, "{}", entry.service.key);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! It blocks, and needs no runtime; several requests at a time are several threads.

mod connect;
mod endpoint;
mod error;
mod getent;
mod http1;
mod json;
mod read;
mod restore;

use std::{
    fmt::Write as _,
    io::{self, BufRead, Read},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustls::ClientConfig;

use connect::Stream;
use http1::{Asked, Body};

pub use endpoint::Endpoint;
pub use error::{ClientError, EndpointError, Problem};
pub(crate) use getent::getent;
pub use json::{Connection, Info};
pub(crate) use read::service_path;
pub use read::{ConnectionQuery, Connections, Include};
pub use restore::{Refused, RestoreEvent, RestoreRequest, RestoreStream, Restored};

/// A daemon. Each request has a connection of its own.
pub struct Client {
    endpoint: Endpoint,
    options: ClientOptions,
    tls: Option<Arc<ClientConfig>>,
    /// What [`Client::probe`] opened.
    opened: Mutex<Option<Box<dyn Stream>>>,
}

/// How a client behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// How long a request may take, from its begin to the end of its answer; of an answer that is
    /// streamed, to its next part. Default 30 s.
    pub timeout: Duration,
    /// A file of PEM certificates that are trusted beside the system's; `https` only.
    pub ca: Option<PathBuf>,
    /// What the client calls itself. Default `ipvsd-client`.
    pub user_agent: String,
}

/// How long a connection may take to be made. Default timeouts of the system are minutes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest refusal that is read, in bytes.
const MOST_PROBLEM: u64 = 1 << 20;

// === impl ClientOptions ===

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            ca: None,
            user_agent: "ipvsd-client".to_owned(),
        }
    }
}

// === impl Client ===

impl Client {
    /// A client of the daemon there. Nothing is sent yet.
    pub fn new(endpoint: Endpoint) -> Result<Self, ClientError> {
        Self::with_options(endpoint, ClientOptions::default())
    }

    /// The same with options.
    pub fn with_options(endpoint: Endpoint, options: ClientOptions) -> Result<Self, ClientError> {
        let tls = match &endpoint {
            Endpoint::Tcp { tls: true, .. } => Some(connect::tls(options.ca.as_deref())?),
            _ => None,
        };
        Ok(Self {
            endpoint,
            options,
            tls,
            opened: Mutex::new(None),
        })
    }

    /// Where the daemon is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Connects, so that the next request need not.
    pub fn probe(&self) -> Result<(), ClientError> {
        let stream = self.connect()?;
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream);
        Ok(())
    }

    /// Sends a request and gives the answer's body, yet unread; a refusal is an error.
    fn send(
        &self,
        method: &str,
        path: &str,
        accept: &str,
        body: Option<(&str, &[u8])>,
    ) -> Result<Body, ClientError> {
        let opened = self.opened.lock();
        let opened = opened.unwrap_or_else(PoisonError::into_inner).take();
        let stream = match opened {
            Some(stream) => stream,
            None => self.connect()?,
        };
        let asked = Asked {
            method,
            path,
            host: &self.endpoint.authority(),
            user_agent: &self.options.user_agent,
            accept,
            body,
        };
        let (status, mut body) = asked.send(stream).map_err(|error| self.broken(error))?;
        if status.is_success() {
            return Ok(body);
        }
        let mut problem = Vec::new();
        let read = body.by_ref().take(MOST_PROBLEM).read_to_end(&mut problem);
        read.map_err(|error| self.broken(error))?;
        Err(Problem::read(status, &problem).map_or_else(
            || ClientError::NotIpvsd {
                endpoint: self.endpoint.clone(),
                status,
            },
            |problem| ClientError::Refused(Box::new(problem)),
        ))
    }

    fn connect(&self) -> Result<Box<dyn Stream>, ClientError> {
        let patience = self.options.timeout;
        let limit = CONNECT_TIMEOUT.min(patience);
        connect::open(&self.endpoint, self.tls.as_ref(), limit, patience)
            .map_err(|source| ClientError::connect(self.endpoint.clone(), source))
    }

    /// What a failure to send or to read is to who asked.
    fn broken(&self, error: io::Error) -> ClientError {
        match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => ClientError::Timeout {
                endpoint: self.endpoint.clone(),
                after: self.options.timeout,
            },
            io::ErrorKind::UnexpectedEof => ClientError::BrokenOff,
            _ => ClientError::Broken(error),
        }
    }

    /// Sends a request and reads its whole answer.
    fn fetch(
        &self,
        method: &str,
        path: &str,
        accept: &str,
        body: Option<(&str, &[u8])>,
    ) -> Result<Vec<u8>, ClientError> {
        let deadline = Instant::now().checked_add(self.options.timeout);
        let mut body = self.send(method, path, accept, body)?;
        body.deadline = deadline;
        let mut whole = Vec::new();
        body.read_to_end(&mut whole)
            .map_err(|error| self.broken(error))?;
        Ok(whole)
    }

    /// Reads a line, without its end; `false` where there is none.
    fn next_line(&self, body: &mut Body, line: &mut Vec<u8>) -> Result<bool, ClientError> {
        line.clear();
        let read = body.read_until(b'\n', line);
        read.map_err(|error| self.broken(error))?;
        match line.pop() {
            None => Ok(false),
            Some(b'\n') => Ok(true),
            Some(_) => Err(ClientError::BrokenOff),
        }
    }

    /// A resource as the daemon sends it, JSON.
    pub fn get(&self, path: &str) -> Result<Vec<u8>, ClientError> {
        self.fetch("GET", path, "application/json", None)
    }

    /// Changes settings by name; gives the settings after, JSON.
    pub fn patch_settings(
        &self,
        settings: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<Vec<u8>, ClientError> {
        let body = serde_json::to_vec(settings)?;
        let body = Some(("application/merge-patch+json", body.as_slice()));
        self.fetch("PATCH", "/v1/settings", "application/json", body)
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("endpoint", &self.endpoint)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Text as a part of a query.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            escaped.push(byte.into());
        } else {
            // Writing into a String does not fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}
