//! Endpoints of daemons as URLs.

use std::{fmt, net::IpAddr, num::NonZero, path::PathBuf, str::FromStr};

/// The address of a daemon: `http://HOST[:PORT]`, `https://HOST[:PORT]` or `unix:///PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A TCP port.
    Tcp {
        /// Name or address; IPv6 without brackets.
        host: String,
        /// Port; default [`Endpoint::PORT`], with TLS [`Endpoint::TLS_PORT`].
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
    /// Default TCP port of ipvsd with TLS.
    pub const TLS_PORT: u16 = 4788;
    /// Unix socket of the packaged daemon.
    pub const SOCKET: &str = "/run/ipvsd/ipvsd.sock";

    /// Whether what is sent can be read by nobody else on the way: it stays on this machine, or is
    /// encrypted.
    pub(super) fn is_private(&self) -> bool {
        match self {
            Self::Unix(_) | Self::Tcp { tls: true, .. } => true,
            Self::Tcp { host, .. } => match host.parse::<IpAddr>() {
                Ok(address) => address.is_loopback(),
                Err(_) => host.eq_ignore_ascii_case("localhost"),
            },
        }
    }

    /// The value of the header `Host`.
    pub(super) fn authority(&self) -> String {
        match self {
            Self::Unix(_) => "localhost".to_owned(),
            Self::Tcp { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Tcp { host, port, .. } => format!("{host}:{port}"),
        }
    }
}

/// The rest of `text` behind a scheme, in any case (RFC 3986, section 3.1).
fn strip_scheme<'a>(text: &'a str, scheme: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let bad = || EndpointError {
            text: text.to_owned(),
        };
        if let Some(path) = strip_scheme(text, "unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path.starts_with('/') {
                true => Ok(Self::Unix(path.into())),
                false => Err(bad()),
            };
        }
        let (tls, rest) = if let Some(rest) = strip_scheme(text, "https://") {
            (true, rest)
        } else {
            (false, strip_scheme(text, "http://").unwrap_or(text))
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
                // A NonZero accepts a plus sign, as all integers do.
                Some(port) if port.starts_with('+') => return Err(bad()),
                Some(port) => port.parse::<NonZero<u16>>().map_err(|_| bad())?.get(),
                None if tls => Self::TLS_PORT,
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use super::*;

    #[test]
    fn the_scheme_may_be_in_capital_letters() {
        for (text, shown) in [
            ("HTTP://lb1", "http://lb1:4787"),
            ("HTTPS://lb1", "https://lb1:4788"),
            ("Https://[2001:db8::1]:443/", "https://[2001:db8::1]:443"),
            ("UNIX:///run/s", "unix:///run/s"),
            ("lb1:80", "http://lb1:80"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn the_default_port_depends_on_the_scheme() {
        for (text, shown) in [
            ("lb1", "http://lb1:4787"),
            ("http://[::1]", "http://[::1]:4787"),
            ("https://lb1/", "https://lb1:4788"),
            ("https://[::1]", "https://[::1]:4788"),
            ("https://lb1:4787", "https://lb1:4787"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn only_tls_and_this_machine_are_private() {
        for (text, is_private) in [
            ("unix:///run/s", true),
            ("https://192.0.2.1", true),
            ("http://127.0.0.1", true),
            ("http://127.8.9.1", true),
            ("http://[::1]", true),
            ("http://LocalHost", true),
            ("http://192.0.2.1", false),
            ("http://0.0.0.0", false),
            ("http://[2001:db8::1]", false),
            ("http://[fe80::1%lo]", false),
            ("http://lb1", false),
            ("http://localhost.example.com", false),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.is_private(), is_private, "{text}");
        }
    }

    #[test]
    fn texts_that_are_no_endpoints_are_rejected() {
        for text in [
            "",
            "http://",
            "http:///x",
            "http://lb1/x",
            "http://lb1:0",
            "http://lb1:+80",
            "http://lb1:",
            "http://a:b@c",
            "http://lb 1",
            "http://lb1\r\nx: y",
            "ftp://lb1",
            "unix:run",
            "http://[::1",
            "http://[::1]x",
            "http://é",
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text:?}");
        }
    }
}
