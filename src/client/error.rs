use std::{io, path::PathBuf, time::Duration};

use http::StatusCode;
use serde::Deserialize;

use super::Endpoint;
use crate::model::{Errno, Violation};

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The endpoint is none.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The daemon cannot be reached.
    #[error("{endpoint} cannot be reached: {source}")]
    Connect {
        /// Where.
        endpoint: Endpoint,
        /// Why.
        source: io::Error,
    },
    /// Certificates cannot be read.
    #[error("{} cannot be read as PEM certificates", .0.display())]
    Certificates(PathBuf),
    /// The daemon shows a certificate that is not trusted, or is for another name.
    #[error(
        "{endpoint} is not trusted: {source}; certificates are trusted by the machine, \
         SSL_CERT_FILE, and `ca` of a director in the configuration"
    )]
    Untrusted {
        /// Where.
        endpoint: Endpoint,
        /// Why.
        source: rustls::Error,
    },
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The daemon did not answer in time.
    #[error("{endpoint} did not answer within {after:?}")]
    Timeout {
        /// Which.
        endpoint: Endpoint,
        /// What was waited.
        after: Duration,
    },
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(io::Error),
    /// Somebody else answered.
    #[error("{endpoint} answered {status}, but not as ipvsd does")]
    NotIpvsd {
        /// Where.
        endpoint: Endpoint,
        /// With what.
        status: StatusCode,
    },
    /// The answer is not what it should be.
    #[error("the answer cannot be understood: {0}")]
    Answer(#[from] serde_json::Error),
    /// The answer ended too soon.
    #[error("the answer broke off")]
    BrokenOff,
    /// What is read cannot be written.
    #[error("output: {0}")]
    Output(io::Error),
    /// The daemon refused.
    #[error("{0}")]
    Refused(Box<Problem>),
}

/// A text that is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not an endpoint, such as http://192.0.2.10:4787, https://lb1 or unix:///run/ipvsd/ipvsd.sock"
)]
pub struct EndpointError {
    /// The text.
    pub text: String,
}

/// The daemon's refusal (`application/problem+json`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// Status of the answer.
    pub status: StatusCode,
    /// The stable name of the reason, such as `SERVICE_NOT_FOUND`.
    pub reason: String,
    /// One sentence for a person.
    pub detail: String,
    /// What the kernel answered, where it was asked.
    pub errno: Option<Errno>,
    /// The fields at fault.
    pub violations: Vec<Violation>,
    /// What to do about it.
    pub hint: Option<String>,
}

#[derive(Deserialize)]
struct ProblemJson {
    reason: String,
    detail: String,
    errno: Option<String>,
    #[serde(default)]
    errors: Vec<Violation>,
    hint: Option<String>,
}

// === impl Problem ===

impl Problem {
    /// Reads a refusal; `None` where it is not one of ipvsd's.
    pub(super) fn read(status: StatusCode, body: &[u8]) -> Option<Self> {
        let ProblemJson {
            reason,
            detail,
            errno,
            errors,
            hint,
        } = serde_json::from_slice(body).ok()?;
        Some(Self {
            status,
            reason,
            detail,
            errno: errno.and_then(|errno| errno.parse().ok()),
            violations: errors,
            hint,
        })
    }
}

// === impl ClientError ===

impl ClientError {
    /// Why there is no connection.
    pub(super) fn connect(endpoint: Endpoint, source: io::Error) -> Self {
        let inner = source.get_ref().and_then(|inner| inner.downcast_ref());
        match inner {
            Some(error @ rustls::Error::InvalidCertificate(_)) => Self::Untrusted {
                endpoint,
                source: error.clone(),
            },
            _ => Self::Connect { endpoint, source },
        }
    }

    /// The daemon's refusal, where it is one.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            _ => None,
        }
    }
}
