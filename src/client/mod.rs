//! The remote client: ipvsd's HTTP API for Rust programs, `ipvsctl` among them.
//!
//! ```no_run
//! # async fn example() -> Result<(), ipvsd::client::ClientError> {
//! use ipvsd::client::{Client, Include};
//!
//! let client = Client::new("http://127.0.0.1:4787".parse()?)?;
//! for entry in client.services(Include::default(), false).await? {
//!     assert!(entry.servers.len() < 1000, "{}", entry.service.key);
//! }
//! # Ok(())
//! # }
//! ```

mod connect;
mod endpoint;
mod error;
mod json;
mod read;
mod restore;

use std::{
    fmt::Write as _,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1::SendRequest};
use tokio_rustls::rustls::ClientConfig;

pub use endpoint::Endpoint;
pub use error::{ClientError, EndpointError, Problem};
pub use json::{Connection, Info};
pub(crate) use read::service_path;
pub use read::{ConnectionQuery, Connections, Include};
pub use restore::{Refused, RestoreEvent, RestoreRequest, RestoreStream, Restored};

/// A daemon, and one connection to it that is kept between requests.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    options: ClientOptions,
    tls: Option<Arc<ClientConfig>>,
    idle: Mutex<Option<SendRequest<Full<Bytes>>>>,
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
            idle: Mutex::new(None),
        })
    }

    /// Where the daemon is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Connects, so that the next request need not.
    pub async fn probe(&self) -> Result<(), ClientError> {
        let sender = self.connect().await?;
        *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        Ok(())
    }

    /// Sends a request and gives the head of the answer, its body unread; a refusal is an error.
    async fn send(
        &self,
        method: Method,
        path: &str,
        accept: &'static str,
        body: Option<(&'static str, Bytes)>,
    ) -> Result<Response<Incoming>, ClientError> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.endpoint.authority())
            .header(header::USER_AGENT, &self.options.user_agent)
            .header(header::ACCEPT, accept);
        if let Some((media_type, _)) = &body {
            request = request.header(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        }
        let body = body.map(|(_, body)| body).unwrap_or_default();
        let request = request.body(Full::new(body))?;
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let mut sender = match idle {
            Some(sender) if sender.is_ready() => sender,
            _ => self.connect().await?,
        };
        let response = sender.send_request(request).await?;
        *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Err(Problem::read(status, &body).map_or_else(
            || ClientError::NotIpvsd {
                endpoint: self.endpoint.clone(),
                status,
            },
            |problem| ClientError::Refused(Box::new(problem)),
        ))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        let failed = |source| ClientError::Connect {
            endpoint: self.endpoint.clone(),
            source,
        };
        let limit = CONNECT_TIMEOUT.min(self.options.timeout);
        let stream = connect::open(&self.endpoint, self.tls.clone());
        let stream = tokio::time::timeout(limit, stream)
            .await
            .map_err(|_| failed(std::io::ErrorKind::TimedOut.into()))?
            .map_err(failed)?;
        let (sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
        // It ends with the sender; what goes wrong, the requests are told.
        tokio::spawn(connection);
        Ok(sender)
    }

    /// Sends a request and reads its whole answer.
    async fn fetch(
        &self,
        method: Method,
        path: &str,
        accept: &'static str,
        body: Option<(&'static str, Bytes)>,
    ) -> Result<Bytes, ClientError> {
        let whole = async {
            let response = self.send(method, path, accept, body).await?;
            Ok(response.into_body().collect().await?.to_bytes())
        };
        self.in_time(whole).await
    }

    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        tokio::time::timeout(self.options.timeout, work)
            .await
            .unwrap_or_else(|_| {
                Err(ClientError::Timeout {
                    endpoint: self.endpoint.clone(),
                    after: self.options.timeout,
                })
            })
    }

    /// A resource as the daemon sends it, JSON.
    pub async fn get(&self, path: &str) -> Result<Bytes, ClientError> {
        self.fetch(Method::GET, path, "application/json", None)
            .await
    }

    /// Changes settings by name; gives the settings after, JSON.
    pub async fn patch_settings(
        &self,
        settings: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<Bytes, ClientError> {
        let body = serde_json::to_vec(settings)?.into();
        let body = Some(("application/merge-patch+json", body));
        self.fetch(Method::PATCH, "/v1/settings", "application/json", body)
            .await
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
