//! Credentials, and sessions: a principal together with what proves it.

use std::{fmt, sync::Arc};

use super::{
    certificate::CertificateIdentity, principal::Principal, session_cookie::BrowserSession,
};
use crate::model::{Error, Reason, Sha256};

/// What every bearer token of the policy begins with (RFC 6750); 64 hexadecimal digits follow, 256 random
/// bits. Scanners for secrets recognise it. The policy has the SHA-256 of the whole token: so many random bits
/// need no slow hash.
pub const TOKEN_PREFIX: &str = "ipvsd_";

/// What a request proves its principal with.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// Nothing.
    None,
    /// A bearer token of the policy, by its SHA-256.
    Token(Sha256),
    /// A JSON Web Token.
    Jwt(Arc<str>),
    /// A client certificate that the TLS handshake has verified.
    Certificate(Arc<CertificateIdentity>),
    /// The process at the other end of a unix socket, as it was when it connected (unix(7)).
    Unix {
        /// Effective user id.
        uid: u32,
        /// Effective group id.
        gid: u32,
        /// Supplementary group ids.
        groups: Arc<[u32]>,
    },
    /// The cookie of a browser's session, which stands for the credential that opened it.
    Cookie(Sha256),
}

/// Recognises credentials.
pub trait Authenticate: fmt::Debug + Send + Sync {
    /// The principal of a credential, by the policy in effect.
    fn authenticate(&self, credential: &Credential) -> Result<Arc<Principal>, Error>;

    /// Opens a session of a browser for the bearer token of a request. A dry run only checks whether one
    /// can be opened.
    fn open_session(
        &self,
        session: &Session,
        dry_run: bool,
    ) -> Result<Option<BrowserSession>, Error>;

    /// Ends a session of a browser. Returns the principal that opened it; `None` if there is no such
    /// session.
    fn end_session(&self, cookie: &Sha256) -> Option<Arc<Principal>>;
}

/// A principal, and what it was recognised by. Requests carry it as an extension.
#[derive(Clone, Debug)]
pub struct Session {
    /// The principal.
    pub principal: Arc<Principal>,
    /// The credential of the request.
    pub credential: Credential,
    /// What has recognised it.
    pub authenticator: Arc<dyn Authenticate>,
}

/// Recognises the process itself.
#[derive(Debug)]
struct System;

// === impl Session ===

impl Session {
    /// The session of a program that serves the API without the daemon's server. It may do everything.
    pub fn system() -> Self {
        Self {
            principal: Principal::system(),
            credential: Credential::None,
            authenticator: Arc::new(System),
        }
    }

    /// Recognises the credential again. The error says why a stream must end: the credential has expired
    /// or was revoked, or its principal may do something else now.
    pub fn check(&self) -> Result<(), Error> {
        let now = self.authenticator.authenticate(&self.credential)?;
        match now == self.principal {
            true => Ok(()),
            false => Err(Error::new(
                Reason::PermissionDenied,
                "the policy of the director has changed",
            )
            .with_hint("send the request again")),
        }
    }
}

impl Authenticate for System {
    fn authenticate(&self, _: &Credential) -> Result<Arc<Principal>, Error> {
        Ok(Principal::system())
    }

    fn open_session(&self, _: &Session, _: bool) -> Result<Option<BrowserSession>, Error> {
        Err(Error::new(
            Reason::Unauthenticated,
            "the program has no sessions of browsers",
        ))
    }

    fn end_session(&self, _: &Sha256) -> Option<Arc<Principal>> {
        None
    }
}

// === impl Credential ===

/// Without secrets.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Token(_) => "Token",
            Self::Jwt(_) => "Jwt",
            Self::Certificate(_) => "Certificate",
            Self::Unix { .. } => "Unix",
            Self::Cookie(_) => "Cookie",
        })
    }
}
