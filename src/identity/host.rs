//! The host that a request is addressed to: `Host`, `:authority`, or the authority of the request's
//! URI.

use std::{fmt, net::IpAddr, str::FromStr};

use thiserror::Error;

/// Host and port (RFC 3986, section 3.2), without user information.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// The host.
    pub host: Host,
    /// The port; `None` for the default of the scheme.
    pub port: Option<u16>,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// An IP address.
    Address(IpAddr),
    /// A name in lower case, without the dot at its end.
    Name(String),
}

/// The text is not `HOST` or `HOST:PORT`.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not a host name or IP address with an optional port")]
pub struct InvalidAuthority;

impl Host {
    /// Whether it is a name with a dot, which DNS may resolve to any address.
    pub fn is_qualified(&self) -> bool {
        matches!(self, Self::Name(name) if name.contains('.'))
    }
}

// === impl Authority ===

impl FromStr for Authority {
    type Err = InvalidAuthority;

    fn from_str(text: &str) -> Result<Self, InvalidAuthority> {
        let (host, port) = match text.rsplit_once(':') {
            // A colon within the brackets of an IPv6 address.
            Some((_, rest)) if rest.ends_with(']') => (text, ""),
            Some((host, port)) => (host, port),
            None => (text, ""),
        };
        let port = match port {
            "" => None,
            digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().map_err(|_| InvalidAuthority)?)
            }
            _ => return Err(InvalidAuthority),
        };
        Ok(Self {
            host: host.parse()?,
            port,
        })
    }
}

// === impl Host ===

impl FromStr for Host {
    type Err = InvalidAuthority;

    fn from_str(text: &str) -> Result<Self, InvalidAuthority> {
        if let Some(address) = text.strip_prefix('[') {
            let address = address.strip_suffix(']').ok_or(InvalidAuthority)?;
            // RFC 6874: an address with the zone of the client.
            let address = address.split('%').next().unwrap_or(address);
            let address = address.parse().map_err(|_| InvalidAuthority)?;
            return Ok(Self::Address(IpAddr::V6(address)));
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(IpAddr::V4(address)));
        }
        // The characters of `reg-name` (RFC 3986, section 3.2.2).
        let is_valid =
            |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte);
        if !text.bytes().all(is_valid) {
            return Err(InvalidAuthority);
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        Ok(Self::Name(name.to_ascii_lowercase()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use super::*;

    #[test]
    fn an_authority_is_a_host_and_a_port() {
        for (text, host, port) in [
            ("192.0.2.1", "192.0.2.1", None),
            ("192.0.2.1:80", "192.0.2.1", Some(80)),
            ("[2001:DB8::1]", "2001:db8::1", None),
            ("[::1]:4787", "::1", Some(4787)),
            ("[fe80::1%25eth0]:80", "fe80::1", Some(80)),
            ("LocalHost.", "localhost", None),
            ("a.example:", "a.example", None),
            ("127.1", "127.1", None),
            ("", "", None),
        ] {
            let authority: Authority = text.parse().unwrap();
            assert_eq!(authority.host.to_string(), host, "{text}");
            assert_eq!(authority.port, port, "{text}");
            let is_address = text.starts_with('[') || text.starts_with("192.");
            assert_eq!(matches!(authority.host, Host::Address(_)), is_address);
        }
    }

    #[test]
    fn other_texts_are_no_authority() {
        for text in [
            "a b",
            "a:http",
            "a:65536",
            "a:-1",
            "user@a",
            "a/b",
            "[::1",
            "::1",
            "[a]",
            "[192.0.2.1]",
            "[::1]x:80",
            "ä",
        ] {
            assert_eq!(text.parse::<Authority>(), Err(InvalidAuthority), "{text}");
        }
    }
}
