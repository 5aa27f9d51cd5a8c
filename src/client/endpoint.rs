//! Endpoints of daemons as URLs.

use std::{fmt, path::PathBuf, str::FromStr};

/// The address of a daemon: `http://HOST[:PORT]`, `https://HOST[:PORT]` or `unix:///PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A TCP port.
    Tcp {
        /// Name or address; IPv6 without brackets.
        host: String,
        /// Port; default [`Endpoint::PORT`].
        port: u16,
        /// Whether the connection uses TLS (`https`).
        tls: bool,
    },
    /// A unix socket on this machine.
    Unix(PathBuf),
}

/// A text that is not an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not an endpoint, such as http://192.0.2.10:4787, https://lb1 or unix:///run/ipvsd/ipvsd.sock"
)]
pub struct EndpointError {
    /// The text.
    pub text: String,
}

// === impl Endpoint ===

impl Endpoint {
    /// Default TCP port of ipvsd.
    pub const PORT: u16 = 4787;
    /// Unix socket of the packaged daemon.
    pub const SOCKET: &str = "/run/ipvsd/ipvsd.sock";

    /// The value of the header `Host`.
    pub(super) fn authority(&self) -> String {
        match self {
            Self::Unix(_) => "localhost".to_owned(),
            Self::Tcp { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Tcp { host, port, .. } => format!("{host}:{port}"),
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let bad = || EndpointError {
            text: text.to_owned(),
        };
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path.starts_with('/') {
                true => Ok(Self::Unix(path.into())),
                false => Err(bad()),
            };
        }
        let (tls, rest) = if let Some(rest) = text.strip_prefix("https://") {
            (true, rest)
        } else {
            (false, text.strip_prefix("http://").unwrap_or(text))
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or_else(bad)?;
                match rest {
                    "" => (host, None),
                    rest => (host, Some(rest.strip_prefix(':').ok_or_else(bad)?)),
                }
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
        if host.is_empty() || !host.chars().all(allowed) {
            return Err(bad());
        }
        Ok(Self::Tcp {
            host: host.to_owned(),
            port: match port {
                Some(port) => port.parse().map_err(|_| bad())?,
                None => Self::PORT,
            },
            tls,
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { tls, .. } => {
                let scheme = if *tls { "https" } else { "http" };
                write!(f, "{scheme}://{}", self.authority())
            }
        }
    }
}
