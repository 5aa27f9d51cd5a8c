//! Options of a client.

use std::{path::PathBuf, time::Duration};

use super::token::Token;
use crate::model::Sha256;

/// Options of a [`Client`](super::Client).
///
/// ```no_run
/// use ipvsd::client::{Client, ClientOptions, Token};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let options = ClientOptions {
///     ca: Some("/etc/ipvsd/ca.pem".into()),
///     token: Some(Token::read("/run/secrets/ipvsd-token".as_ref())?),
///     ..ClientOptions::default()
/// };
/// let client = Client::with_options("https://lb1.example.com:4788".parse()?, options)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// Time limit of a request, from its start to the end of its response; of a list, all pages
    /// included. The time that a caller takes to process a part of the response does not count. For
    /// the events of a restore of several commands and for connections, the limit from one line to the
    /// next. Default 30 s.
    pub timeout: Duration,
    /// File of PEM certificates of CAs that are trusted in addition to the system's, 1 MiB at most;
    /// `https` only. Default none.
    pub ca: Option<PathBuf>,
    /// File with the certificate of the client in PEM, followed by those of intermediate CAs, 1 MiB at
    /// most; `https` only. Default none.
    pub cert: Option<PathBuf>,
    /// File with the key of `cert` in PEM (PKCS #8, PKCS #1 or SEC 1, not encrypted), 1 MiB at most.
    /// Refused if group or others can read it. Default: the file of `cert`.
    pub key: Option<PathBuf>,
    /// The only certificate of the daemon that is accepted; `https` only. It replaces the checks of the
    /// CA, of the name and of the time, so that a certificate may be self-signed. With `ca`, these
    /// checks are made too. That the daemon has the key of the certificate is always verified. Default
    /// none.
    pub fingerprint: Option<Sha256>,
    /// Token that every request carries (`Authorization: Bearer`). Default none.
    pub token: Option<Token>,
    /// Whether the token may be sent over `http` to another machine, where everybody on the way can
    /// read it. Default false: an error.
    pub insecure_token: bool,
    /// Value of the header `User-Agent`. Default `ipvsd-client`.
    pub user_agent: String,
    /// How old the result of a read may be (`Cache-Control: max-age`, whole seconds). Default 0:
    /// every read queries the kernel.
    pub max_age: Duration,
}

// === impl ClientOptions ===

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            ca: None,
            cert: None,
            key: None,
            fingerprint: None,
            token: None,
            insecure_token: false,
            user_agent: "ipvsd-client".to_owned(),
            max_age: Duration::ZERO,
        }
    }
}
