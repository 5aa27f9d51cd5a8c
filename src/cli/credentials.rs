//! What identifies both sides of a connection: from the command line, the environment and the
//! configuration file, in this order of precedence. A director's own token precedes that of the environment.

use std::path::PathBuf;

use super::error::CliError;
use crate::{
    client::{ClientOptions, Endpoint, Token},
    model::Sha256,
};

/// Credentials from one source, or from several.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Credentials {
    /// File of CAs.
    pub ca: Option<PathBuf>,
    /// File of the client's certificate.
    pub cert: Option<PathBuf>,
    /// File of its key.
    pub key: Option<PathBuf>,
    pub token: Option<Token>,
    /// File of the token.
    pub token_file: Option<PathBuf>,
    /// That of the daemon's certificate.
    pub fingerprint: Option<Sha256>,
    /// Whether a token may be sent as plain text to another machine.
    pub insecure_token: bool,
}

/// Where credentials come from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source<'a> {
    CommandLine,
    Environment,
    /// A director in the configuration file.
    Director(&'a str),
}

// === impl Credentials ===

impl Credentials {
    /// Checks what one source gives.
    pub(super) fn check(&self, source: Source<'_>) -> Result<(), CliError> {
        if self.token.is_some() && self.token_file.is_some() {
            return Err(CliError::TwoTokens {
                token: source.name("token"),
                file: source.name("token_file"),
            });
        }
        // A key of one source and a certificate of another do not fit.
        if self.key.is_some() && self.cert.is_none() {
            return Err(CliError::KeyWithoutCertificate {
                key: source.name("key"),
                cert: source.name("cert"),
            });
        }
        Ok(())
    }

    /// These credentials, and `lower` where they are not given. A certificate and its key are given
    /// together, and so are both forms of a token.
    pub(super) fn or(self, lower: Self) -> Self {
        let (cert, key) = match self.cert {
            Some(_) => (self.cert, self.key),
            None => (lower.cert, lower.key),
        };
        let (token, token_file) = match (&self.token, &self.token_file) {
            (None, None) => (lower.token, lower.token_file),
            _ => (self.token, self.token_file),
        };
        Self {
            ca: self.ca.or(lower.ca),
            cert,
            key,
            token,
            token_file,
            fingerprint: self.fingerprint.or(lower.fingerprint),
            insecure_token: self.insecure_token || lower.insecure_token,
        }
    }

    /// These credentials of the environment for a director with credentials of its own. Its token precedes
    /// that of the environment, which is the secret of another director.
    pub(super) fn for_director(mut self, own: Self) -> Self {
        if own.token.is_some() || own.token_file.is_some() {
            (self.token, self.token_file) = (None, None);
        }
        self.or(own)
    }

    /// Rejects options of TLS, those of the command line, for an endpoint without TLS: a user who gives
    /// them does not expect plain text.
    pub(super) fn check_endpoint(&self, endpoint: &Endpoint) -> Result<(), CliError> {
        let Self {
            ca,
            cert,
            fingerprint,
            ..
        } = self;
        let given = [
            ("ca", ca.is_some()),
            ("cert", cert.is_some()),
            ("fingerprint", fingerprint.is_some()),
        ];
        let is_tls = matches!(endpoint, Endpoint::Tcp { tls: true, .. });
        match given.into_iter().find(|(_, is_given)| *is_given) {
            Some((option, _)) if !is_tls => Err(CliError::NoTls {
                option,
                endpoint: endpoint.to_string(),
            }),
            _ => Ok(()),
        }
    }

    /// Options of a client with these credentials. Reads the file of the token.
    pub(super) fn client_options(self) -> Result<ClientOptions, CliError> {
        let Self {
            ca,
            cert,
            key,
            token,
            token_file,
            fingerprint,
            insecure_token,
        } = self;
        let token = match (token, token_file) {
            (None, Some(path)) => Some(Token::read(&path)?),
            (token, _) => token,
        };
        Ok(ClientOptions {
            ca,
            cert,
            key,
            fingerprint,
            token,
            insecure_token,
            ..ClientOptions::default()
        })
    }
}

// === impl Source ===

impl Source<'_> {
    /// How a user spells a key of the configuration file in this source.
    fn name(self, key: &str) -> String {
        match self {
            Self::CommandLine => format!("--{}", key.replace('_', "-")),
            Self::Environment => format!("IPVSCTL_{}", key.to_uppercase()),
            Self::Director(name) => format!("directors.{name}.{key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use super::*;

    fn path(name: &str) -> Option<PathBuf> {
        Some(name.into())
    }

    #[test]
    fn a_higher_source_replaces_pairs_as_a_whole() {
        let high = Credentials {
            cert: path("high"),
            token_file: path("high"),
            ..Credentials::default()
        };
        let low = Credentials {
            ca: path("low"),
            cert: path("low"),
            key: path("low"),
            token: Some("low".parse().unwrap()),
            ..Credentials::default()
        };
        let both = high.clone().or(low.clone());
        assert_eq!(
            (both.ca, both.cert, both.key),
            (path("low"), path("high"), None)
        );
        assert_eq!((both.token, both.token_file), (None, path("high")));
        let both = low.clone().or(high);
        assert_eq!(both, low);
        assert_eq!(Credentials::default().or(low.clone()), low);
    }

    #[test]
    fn the_token_of_a_director_precedes_that_of_the_environment() {
        let token = |text: &str| Some(text.parse::<Token>().unwrap());
        let environment = Credentials {
            ca: path("environment"),
            token: token("environment"),
            ..Credentials::default()
        };
        let own = Credentials {
            ca: path("own"),
            token_file: path("own"),
            insecure_token: true,
            ..Credentials::default()
        };
        let both = environment.clone().for_director(own.clone());
        assert_eq!((both.token, both.token_file), (None, path("own")));
        assert_eq!(both.ca, path("environment"));
        assert!(both.insecure_token);
        let without = environment.clone().for_director(Credentials::default());
        assert_eq!(without, environment);
        let file = Credentials {
            token_file: path("environment"),
            ..Credentials::default()
        };
        let own = Credentials {
            token: token("own"),
            ..Credentials::default()
        };
        assert_eq!(file.for_director(own.clone()), own);
    }

    #[test]
    fn errors_name_what_the_user_has_written() {
        let credentials = Credentials {
            key: path("key"),
            ..Credentials::default()
        };
        for (source, name) in [
            (Source::CommandLine, "--key without --cert"),
            (Source::Environment, "IPVSCTL_KEY without IPVSCTL_CERT"),
            (
                Source::Director("lb1"),
                "directors.lb1.key without directors.lb1.cert",
            ),
        ] {
            let error = credentials.check(source).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        let credentials = Credentials {
            token: Some("secret".parse().unwrap()),
            token_file: path("file"),
            ..Credentials::default()
        };
        let error = credentials
            .check(Source::Environment)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("IPVSCTL_TOKEN and IPVSCTL_TOKEN_FILE"),
            "{error}"
        );
        assert!(!format!("{error} {credentials:?}").contains("secret"));
    }

    #[test]
    fn options_of_tls_need_an_endpoint_with_tls() {
        let credentials = Credentials {
            fingerprint: Some(Sha256::of(b"")),
            ..Credentials::default()
        };
        let check = |endpoint: &str| credentials.check_endpoint(&endpoint.parse().unwrap());
        assert!(check("https://lb1").is_ok());
        for endpoint in ["http://lb1", "unix:///run/s"] {
            let error = check(endpoint).unwrap_err().to_string();
            assert!(error.starts_with("--fingerprint"), "{error}");
        }
        let none = Credentials::default();
        assert!(none.check_endpoint(&"http://lb1".parse().unwrap()).is_ok());
    }
}
