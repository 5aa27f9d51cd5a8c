//! Where the keys of an issuer are.

use std::{fmt, net::IpAddr, path::PathBuf, str::FromStr};

use http::{Uri, uri::Scheme};
use serde::Deserialize;
use thiserror::Error;

/// Where the keys of an issuer are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyLocation {
    /// A file, which is read again when it has changed.
    File(PathBuf),
    /// A URL.
    Url {
        /// The URL.
        url: KeyUrl,
        /// A file with the certificates (PEM) of the authorities that the server's certificate may be
        /// signed by; `None` for those of the system.
        ca: Option<PathBuf>,
    },
}

/// A URL of keys: `https`, or `http` to this machine, without user and password.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct KeyUrl(Uri);

/// A text is no [`KeyUrl`].
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum KeyUrlError {
    /// The text is no URL with a host.
    #[error("not a URL such as https://issuer.example.com/keys")]
    Malformed,
    /// The scheme is neither `http` nor `https`.
    #[error("a URL of keys begins with https://")]
    Scheme,
    /// `http` to another machine.
    #[error("http:// is accepted for this machine only: anyone on the path could replace the keys")]
    Plain,
    /// The URL has a user or password.
    #[error("a URL of keys has no user and password: they would be logged")]
    Credentials,
}

// === impl KeyLocation ===

impl fmt::Display for KeyLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Url { url, .. } => write!(f, "{}", url.0),
        }
    }
}

// === impl KeyUrl ===

impl KeyUrl {
    /// The URL.
    pub fn uri(&self) -> &Uri {
        &self.0
    }

    /// Whether it is `https`.
    pub fn is_encrypted(&self) -> bool {
        self.0.scheme() == Some(&Scheme::HTTPS)
    }
}

impl TryFrom<String> for KeyUrl {
    type Error = KeyUrlError;

    fn try_from(text: String) -> Result<Self, KeyUrlError> {
        text.parse()
    }
}

impl FromStr for KeyUrl {
    type Err = KeyUrlError;

    fn from_str(text: &str) -> Result<Self, KeyUrlError> {
        let url: Uri = text.parse().map_err(|_| KeyUrlError::Malformed)?;
        let authority = url.authority().ok_or(KeyUrlError::Malformed)?;
        if authority.as_str().contains('@') {
            return Err(KeyUrlError::Credentials);
        }
        let host = authority.host();
        match url.scheme() {
            _ if host.is_empty() => Err(KeyUrlError::Malformed),
            Some(scheme) if *scheme == Scheme::HTTPS => Ok(Self(url)),
            Some(scheme) if *scheme == Scheme::HTTP => match is_loopback(host) {
                true => Ok(Self(url)),
                false => Err(KeyUrlError::Plain),
            },
            _ => Err(KeyUrlError::Scheme),
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let address: Option<IpAddr> = address.parse().ok();
    host == "localhost" || address.is_some_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use super::*;

    #[test]
    fn keys_come_over_tls_or_from_this_machine() {
        use KeyUrlError::{Credentials, Malformed, Plain, Scheme};
        for url in [
            "https://a.example/keys?x=1",
            "https://192.0.2.1:8443/keys",
            "http://localhost:8200/v1/identity/oidc/.well-known/keys",
            "http://127.1.2.3/keys",
            "http://[::1]:80/keys",
        ] {
            url.parse::<KeyUrl>().unwrap();
        }
        for (url, error) in [
            ("", Malformed),
            ("/keys", Malformed),
            ("a.example", Scheme),
            ("https://", Malformed),
            ("ftp://a.example/", Scheme),
            ("file:///etc/keys", Malformed),
            ("http://a.example/keys", Plain),
            ("http://localhost.a.example/keys", Plain),
            ("http://192.0.2.1/keys", Plain),
            ("https://user:secret@a.example/keys", Credentials),
        ] {
            assert_eq!(url.parse::<KeyUrl>(), Err(error), "{url}");
        }
    }
}
