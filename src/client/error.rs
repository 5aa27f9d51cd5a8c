//! Errors of the client, and the daemon's problem documents.

use std::{fmt, io, time::Duration};

use http::StatusCode;
use serde::{Deserialize, Deserializer};

use super::{
    endpoint::{Endpoint, EndpointError},
    files::FileError,
    trust::{ClientCertificateFault, Untrusted},
};
use crate::model::{Errno, Reason, Violation};

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The endpoint is malformed.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// No connection to the daemon.
    #[error("{endpoint} cannot be reached: {source}")]
    Connect {
        /// The daemon's endpoint.
        endpoint: Endpoint,
        /// The cause.
        source: io::Error,
    },
    /// The unix socket exists, but the user of this process may not connect to it.
    #[error("{endpoint}: permission denied")]
    Denied {
        /// The daemon's endpoint.
        endpoint: Endpoint,
    },
    /// A file of certificates, a key or a token cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// `key` without `cert`.
    #[error("a key is given without its certificate")]
    KeyWithoutCertificate,
    /// A token would be sent as plain text.
    #[error("{endpoint} is another machine, and the token would be sent to it as plain text")]
    InsecureToken {
        /// The daemon's endpoint.
        endpoint: Endpoint,
    },
    /// The daemon's certificate is not accepted.
    #[error("{endpoint} is not trusted: {source}")]
    Untrusted {
        /// The daemon's endpoint.
        endpoint: Endpoint,
        /// The cause, and the fingerprint of the certificate.
        source: Box<Untrusted>,
    },
    /// The daemon does not accept the client by its certificate. The request was not executed.
    #[error("{endpoint} {fault}")]
    ClientCertificate {
        /// The daemon's endpoint.
        endpoint: Endpoint,
        /// The cause.
        fault: ClientCertificateFault,
    },
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// No response within the time limit.
    #[error("{endpoint} did not respond within {after:?}")]
    Timeout {
        /// The daemon's endpoint.
        endpoint: Endpoint,
        /// The time limit.
        after: Duration,
    },
    /// The connection failed during the request.
    #[error("connection lost: {0}")]
    Connection(#[source] io::Error),
    /// The response is not one of ipvsd.
    #[error("{endpoint} responded with {status} ({content}), but is not ipvsd")]
    NotIpvsd {
        /// The endpoint.
        endpoint: Endpoint,
        /// Status of the response.
        status: StatusCode,
        /// Media type of the response, or what is wrong with it.
        content: String,
    },
    /// A response, or a line of it, exceeds the client's limit.
    #[error("{endpoint} responded with more than {limit} bytes{of}")]
    TooLarge {
        /// The endpoint.
        endpoint: Endpoint,
        /// Size limit in bytes.
        limit: usize,
        /// What exceeds it: empty for the whole response.
        of: &'static str,
    },
    /// The request was sent, but the daemon's response was not received: whether the change was made
    /// is unknown. Read the resource, or repeat a request that is idempotent.
    #[error("the outcome is unknown at {endpoint}: {source}")]
    OutcomeUnknown {
        /// The daemon's endpoint.
        endpoint: Endpoint,
        /// What happened to the response.
        source: Box<ClientError>,
    },
    /// A body is not the expected JSON.
    #[error("unexpected response: {0}")]
    Json(#[from] serde_json::Error),
    /// The connection ended before the end of the response.
    #[error("the response is truncated")]
    Truncated,
    /// The caller's writer failed.
    #[error("output: {0}")]
    Output(#[source] io::Error),
    /// The daemon rejected the request.
    #[error(transparent)]
    Refused(Box<Problem>),
}

/// Why the daemon rejected a request (`application/problem+json`, RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// Status of the response.
    pub status: StatusCode,
    /// Machine-readable reason.
    pub reason: ProblemReason,
    /// Explanation of this occurrence.
    pub detail: String,
    /// The kernel's error, if the kernel rejected the request.
    pub errno: Option<Errno>,
    /// The invalid fields.
    pub violations: Vec<Violation>,
    /// The remedy.
    pub hint: Option<String>,
    /// Id of the request, which the daemon's log has too.
    pub request_id: Option<String>,
    /// The document as the daemon has sent it.
    pub json: Vec<u8>,
}

/// The machine-readable reason of a problem. Compares with [`Reason`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProblemReason {
    /// A reason that this version knows.
    Known(Reason),
    /// The name of another one, from a newer daemon.
    Unknown(String),
}

#[derive(Deserialize)]
struct ProblemJson {
    reason: ProblemReason,
    detail: String,
    errno: Option<String>,
    #[serde(default)]
    errors: Vec<Violation>,
    hint: Option<String>,
    request_id: Option<String>,
}

// === impl Problem ===

impl Problem {
    /// Parses a problem document; `None` if the body is not one of ipvsd.
    pub(super) fn parse(status: StatusCode, body: &[u8]) -> Option<Self> {
        let ProblemJson {
            reason,
            detail,
            errno,
            errors,
            hint,
            request_id,
        } = serde_json::from_slice(body).ok()?;
        Some(Self {
            status,
            reason,
            detail,
            errno: errno.and_then(|errno| errno.parse().ok()),
            violations: errors,
            hint,
            request_id,
            json: body.to_vec(),
        })
    }
}

// === impl ProblemReason ===

impl ProblemReason {
    /// The reason, if this version knows it.
    pub fn known(&self) -> Option<Reason> {
        match self {
            Self::Known(reason) => Some(*reason),
            Self::Unknown(_) => None,
        }
    }

    /// The stable name, such as `SERVICE_NOT_FOUND`.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(reason) => reason.as_str(),
            Self::Unknown(name) => name,
        }
    }
}

impl From<String> for ProblemReason {
    fn from(name: String) -> Self {
        let known = Reason::ALL
            .into_iter()
            .find(|reason| reason.as_str() == name);
        known.map_or(Self::Unknown(name), Self::Known)
    }
}

impl PartialEq<Reason> for ProblemReason {
    fn eq(&self, other: &Reason) -> bool {
        self.known() == Some(*other)
    }
}

impl fmt::Display for ProblemReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ProblemReason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

// === impl ClientError ===

impl ClientError {
    /// The error of a connection that could not be opened.
    pub(super) fn connect(endpoint: Endpoint, source: io::Error) -> Self {
        if let Some(source) = Untrusted::find(&source) {
            return Self::Untrusted {
                endpoint,
                source: Box::new(source),
            };
        }
        match (&endpoint, source.kind()) {
            (Endpoint::Unix(_), io::ErrorKind::PermissionDenied) => Self::Denied { endpoint },
            _ => Self::Connect { endpoint, source },
        }
    }

    /// Whether the connection failed after the request was sent, before the time limit: the request
    /// can be sent again if it is idempotent.
    pub fn is_lost(&self) -> bool {
        match self {
            // Another server than one of HTTP does not get better by a repetition.
            Self::Connection(error) => error.kind() != io::ErrorKind::InvalidData,
            Self::Truncated => true,
            Self::OutcomeUnknown { source, .. } => source.is_lost(),
            _ => false,
        }
    }

    /// The daemon's problem document, if it rejected the request.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            _ => None,
        }
    }

    /// The reason of the rejection, if the daemon rejected the request and this version knows it.
    pub fn reason(&self) -> Option<Reason> {
        self.problem()?.reason.known()
    }
}
