//! Authentication: the principal of each request.
//!
//! A request that presents a token is decided by it alone. Without one, the cookie of a browser's session
//! counts, and without either the connection's own credential: the client certificate, or the process at
//! the other end of a unix socket.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwap;
use axum::extract::{MatchedPath, Request};
use http::{HeaderMap, Method, header::AUTHORIZATION};
use jiff::Timestamp;
use tokio::{task::spawn_blocking, time::timeout};

use super::{
    browser_sessions::{BrowserSessions, MAX_LIFETIME},
    config::Config,
    connection::ConnectionRequest,
    input_file::{FileStamp, LOOK_INTERVAL, Look, Watched},
    jwks::{JwtAuthenticator, JwtIdentity, JwtRefusal},
    policy_file::{self, PolicyFileError},
    read_requests::ReadRequests,
};
use crate::{
    clock,
    identity::{
        Authenticate, BrowserSession, Credential, CredentialKind, Entry, Grant, Policy, Principal,
        Session, TOKEN_PREFIX, require_own_site, session_cookie, unauthenticated,
    },
    model::{Error, Reason, Sha256},
};

/// Recognises the principals of requests by the policy in effect.
#[derive(Debug)]
pub struct Authenticator {
    policy: ArcSwap<Policy>,
    /// The identity providers of the policy.
    jwt: ArcSwap<JwtAuthenticator<Grant>>,
    sessions: BrowserSessions,
    /// The principal of requests without a credential.
    anonymous: Arc<Principal>,
    /// The state of the policy file before it was read at the start.
    stamp: Option<FileStamp>,
    requests: ReadRequests,
}

/// What the task that watches the policy file remembers.
#[derive(Clone)]
struct Watcher {
    file: Watched<Option<FileStamp>>,
    /// Since when the policy in effect has been in effect.
    in_effect_since: Timestamp,
    /// The fault of the file that was logged last, and when it is to be logged again.
    fault: Option<(String, Instant)>,
}

/// Time between two messages about the same fault of the policy file.
const FAULT_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// Longest token in bytes. Tokens of identity providers with many groups have several kilobytes.
const MAX_TOKEN: usize = 16 << 10;

/// Routes that require no credential. They show nothing of the director: a supervisor asks whether the
/// daemon lives, and a developer reads what the API is, without a secret.
const PUBLIC_ROUTES: [&str; 14] = [
    "/",
    "/v1",
    "/healthz",
    "/readyz",
    "/openapi.json",
    "/openapi.yaml",
    "/docs",
    "/docs/{*rest}",
    "/ui",
    "/ui/",
    "/ui/{file}",
    "/errors",
    "/errors/{reason}",
    "/grpc.health.v1.Health/{*rest}",
];

/// The same for routes of gRPC reflection, of both versions.
const PUBLIC_PREFIX: &str = "/grpc.reflection.";

/// The route of sessions of browsers. To end one needs no credential: that of a session which has ended
/// already is not valid any more.
const SESSION_ROUTE: &str = "/v1/session";

// === impl Authenticator ===

impl Authenticator {
    /// An authenticator for a policy. Without credential, everything is permitted if the configuration
    /// says so, else nothing.
    pub fn new(config: &Config, policy: Policy) -> Arc<Self> {
        Self::with_stamp(config, policy, None)
    }

    fn with_stamp(config: &Config, policy: Policy, stamp: Option<FileStamp>) -> Arc<Self> {
        let anonymous = match config.anonymous_is_admin() {
            true => Principal::anonymous_admin(),
            false => Principal::anonymous(),
        };
        let jwt = JwtAuthenticator::new(policy.jwt_issuers().to_vec(), None);
        Arc::new(Self {
            policy: ArcSwap::from_pointee(policy),
            jwt: ArcSwap::from_pointee(jwt),
            sessions: BrowserSessions::default(),
            anonymous,
            stamp,
            requests: ReadRequests::new(),
        })
    }

    /// An authenticator for the policy of a configuration. Blocks.
    pub fn load(config: &Config) -> Result<Arc<Self>, PolicyFileError> {
        let path = config.policy.as_deref();
        // Before the read, so that the watch finds what is written after it.
        let stamp = path.and_then(FileStamp::at);
        let policy = policy_file::load(path)?;
        Ok(Self::with_stamp(config, policy, stamp))
    }

    /// Replaces the policy. It applies to requests from now on, and to streams within seconds. Sessions of
    /// tokens that it does not have end for good.
    pub fn replace(&self, policy: Policy) {
        let issuers = policy.jwt_issuers().to_vec();
        let jwt = JwtAuthenticator::new(issuers, Some(&self.jwt.load()));
        let policy = Arc::new(policy);
        self.jwt.store(Arc::new(jwt));
        self.policy.store(policy.clone());
        self.sessions.retain(|credential| match credential {
            Credential::Token(hash) => policy.token(hash).is_some(),
            // Its issuer decides, whose keys may not have been read yet.
            _ => true,
        });
    }

    /// Reads the policy again when its file has changed, and on request. One with an error is reported, and
    /// the policy in effect stays.
    pub async fn watch(self: Arc<Self>, path: PathBuf) {
        let mut watcher = Watcher::new(&self);
        let mut requests = self.requests.subscribe();
        loop {
            let is_requested = timeout(LOOK_INTERVAL, requests.changed()).await.is_ok();
            let (path, authenticator) = (path.clone(), self.clone());
            let mut next = watcher.clone();
            // The file may be on a file system that does not respond.
            let look = spawn_blocking(move || {
                authenticator.reload(&mut next, &path, is_requested, Instant::now());
                next
            });
            match look.await {
                Ok(next) => watcher = next,
                Err(error) => tracing::error!(%error, "cannot look at the policy"),
            }
            if is_requested {
                self.requests.done();
            }
        }
    }

    /// Makes the task that [watches](Self::watch) the file read it, and waits for it.
    pub(super) async fn read_again(&self) {
        self.requests.request().await;
    }

    /// Replaces the policy if its file has changed completely, or if that is requested.
    fn reload(&self, watcher: &mut Watcher, path: &Path, is_requested: bool, now: Instant) {
        if watcher.is_due(now) {
            watcher.file.read_again();
        }
        let file = &mut watcher.file;
        let read = || policy_file::load(Some(path));
        match file.look(is_requested, || FileStamp::at(path), read) {
            Look::Unchanged | Look::Changing => {}
            Look::Read(Ok(policy)) => {
                self.replace(policy);
                watcher.fault = None;
                watcher.in_effect_since = Timestamp::now();
                tracing::info!(path = %path.display(), "policy reloaded");
            }
            Look::Read(Err(error)) => watcher.report(&error, is_requested, now),
        }
    }

    /// Recognises the principal of a request, and adds the [`Session`] to its extensions. Refuses a
    /// credential that is not valid, and a request without one where one is required. A cookie that is not
    /// valid is ignored where none is required: the browser sends it with all requests.
    pub(super) async fn admit(self: &Arc<Self>, request: &mut Request) -> Result<(), Error> {
        let credential = credential(request)?;
        let is_public = is_public(request);
        let recognised = match may_present(request, &credential) {
            Ok(()) => self.recognise(&credential).await,
            Err(error) => Err(error),
        };
        let is_cookie = matches!(credential, Credential::Cookie(_));
        let is_ignored = is_cookie && (is_public || self.anonymous.grant.is_some());
        let (principal, credential) = match recognised {
            Ok(principal) => (principal, credential),
            Err(_) if is_ignored => (self.anonymous.clone(), Credential::None),
            Err(error) => return Err(error),
        };
        if principal.grant.is_none() && !is_public {
            return Err(without_grant(&credential));
        }
        request.extensions_mut().insert(Session {
            principal,
            credential,
            authenticator: self.clone(),
        });
        Ok(())
    }

    /// The principal of a credential. Waits for the keys of a JWT.
    async fn recognise(&self, credential: &Credential) -> Result<Arc<Principal>, Error> {
        let of_cookie = match credential {
            Credential::Cookie(cookie) => Some(self.of_cookie(cookie)?),
            _ => None,
        };
        match of_cookie.as_ref().unwrap_or(credential) {
            Credential::Jwt(token) => {
                let jwt = self.jwt.load_full();
                of_jwt(&jwt, jwt.authenticate(token).await)
            }
            other => self.authenticate(other),
        }
    }

    /// The token that a cookie stands for.
    fn of_cookie(&self, cookie: &Sha256) -> Result<Credential, Error> {
        self.sessions.find(cookie, clock::now()).ok_or_else(|| {
            Error::new(
                Reason::Unauthenticated,
                "the session of the cookie is not known, or has ended",
            )
            .with_hint("open a session with POST /v1/session and Authorization: Bearer TOKEN")
        })
    }

    /// How long a bearer token is valid from now on, at most as long as a session lasts.
    fn validity(&self, credential: &Credential) -> Result<Duration, Error> {
        match credential {
            Credential::Token(hash) => {
                let policy = self.policy.load();
                let entry = policy.token(hash).ok_or_else(unknown_token)?;
                let left = entry.expires.map_or(Ok(MAX_LIFETIME), |end| {
                    end.duration_since(Timestamp::now()).try_into()
                });
                Ok(left.unwrap_or_default())
            }
            Credential::Jwt(token) => {
                let jwt = self.jwt.load();
                let identity = jwt.authenticate_now(token).map_err(refused_jwt)?;
                let left = identity.expires.duration_since(SystemTime::now());
                Ok(left.unwrap_or_default())
            }
            Credential::None => Err(unauthenticated()),
            other => Err(no_bearer(other)),
        }
    }
}

// === impl Watcher ===

impl Watcher {
    fn new(authenticator: &Authenticator) -> Self {
        Self {
            file: Watched::new(authenticator.stamp),
            in_effect_since: Timestamp::now(),
            fault: None,
        }
    }

    /// Whether a fault is to be logged again, if it still exists.
    fn is_due(&self, now: Instant) -> bool {
        self.fault.as_ref().is_some_and(|(_, due)| *due <= now)
    }

    /// Logs a fault, unless the same one has been logged in the last 24 hours.
    fn report(&mut self, error: &PolicyFileError, is_requested: bool, now: Instant) {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        let text = format!("{error} {cause:?}");
        let is_known = self.fault.as_ref().is_some_and(|(known, _)| *known == text);
        if is_known && !is_requested && !self.is_due(now) {
            return;
        }
        let in_effect_since = format!("{:.0}", self.in_effect_since);
        tracing::error!(
            %error,
            cause,
            in_effect_since,
            "policy not reloaded; the old one stays in effect"
        );
        self.fault = Some((text, now + FAULT_INTERVAL));
    }
}

impl Authenticate for Authenticator {
    fn authenticate(&self, credential: &Credential) -> Result<Arc<Principal>, Error> {
        let policy = self.policy.load();
        match credential {
            Credential::Token(hash) => match policy.token(hash) {
                Some(entry) => unexpired(entry, "token"),
                None => Err(unknown_token()),
            },
            Credential::Jwt(token) => {
                let jwt = self.jwt.load();
                of_jwt(&jwt, jwt.authenticate_now(token))
            }
            // A connection outlives the handshake in which the certificate was verified.
            Credential::Certificate(certificate) if certificate.is_expired(SystemTime::now()) => {
                Err(invalid("the client certificate has expired"))
            }
            Credential::Certificate(certificate) => match policy.certificate(certificate) {
                Some(entry) => unexpired(entry, "entry of the client certificate"),
                None => Ok(self.anonymous.clone()),
            },
            Credential::Unix { uid, gid, groups } => Ok(policy
                .unix(*uid, *gid, groups)
                .map_or_else(|| self.anonymous.clone(), |entry| entry.principal.clone())),
            Credential::Cookie(cookie) => self.authenticate(&self.of_cookie(cookie)?),
            Credential::None => Ok(self.anonymous.clone()),
        }
    }

    fn open_session(
        &self,
        session: &Session,
        dry_run: bool,
    ) -> Result<Option<BrowserSession>, Error> {
        let Session {
            principal,
            credential,
            ..
        } = session;
        let valid = self.validity(credential)?;
        let sessions = &self.sessions;
        sessions.open(credential, principal, valid, clock::now(), dry_run)
    }

    fn end_session(&self, cookie: &Sha256) -> Option<Arc<Principal>> {
        self.sessions.end(cookie, clock::now())
    }
}

/// The credential of a request.
fn credential(request: &Request) -> Result<Credential, Error> {
    if let Some(token) = bearer_token(request.headers())? {
        return Ok(match token.starts_with(TOKEN_PREFIX) {
            true => Credential::Token(Sha256::of(token.as_bytes())),
            false => Credential::Jwt(token.into()),
        });
    }
    if let Some(cookie) = session_cookie(request.headers(), request.extensions()) {
        return Ok(Credential::Cookie(cookie));
    }
    let connection = request.extensions().get::<ConnectionRequest>();
    Ok(connection.map_or(Credential::None, |connection| connection.credential.clone()))
}

/// Refuses a cookie that a browser sends for a page of another site. Browsers should not, because of its
/// `SameSite`, but another port or a sibling domain is the same site for them.
fn may_present(request: &Request, credential: &Credential) -> Result<(), Error> {
    match credential {
        Credential::Cookie(_) => {
            require_own_site(request.uri(), request.headers(), request.extensions())
        }
        _ => Ok(()),
    }
}

/// The token in the header `Authorization` (RFC 6750, section 2.1).
fn bearer_token(headers: &HeaderMap) -> Result<Option<&str>, Error> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(invalid("the header Authorization is repeated"));
    }
    let (scheme, token) = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .ok_or_else(|| invalid("the header Authorization is not \"Bearer TOKEN\""))?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(invalid(
            "the header Authorization has another scheme than Bearer",
        ));
    }
    let token = token.trim();
    match (1..=MAX_TOKEN).contains(&token.len()) {
        true => Ok(Some(token)),
        false => Err(invalid("the token is empty or too long")),
    }
}

/// The principal of an entry that has not expired.
fn unexpired(entry: &Entry, what: &str) -> Result<Arc<Principal>, Error> {
    match entry.expires {
        Some(end) if end <= Timestamp::now() => {
            Err(invalid(&format!("the {what} has expired ({end})")))
        }
        _ => Ok(entry.principal.clone()),
    }
}

/// The principal of a JWT.
fn of_jwt(
    jwt: &JwtAuthenticator<Grant>,
    outcome: Result<JwtIdentity<Grant>, JwtRefusal>,
) -> Result<Arc<Principal>, Error> {
    if jwt.is_empty() {
        return Err(invalid(
            "the token does not begin with ipvsd_, and the policy has no identity provider",
        ));
    }
    match outcome {
        Ok(JwtIdentity { name, grant, .. }) => Ok(Arc::new(Principal {
            name: name.to_string(),
            kind: CredentialKind::Jwt,
            grant,
        })),
        Err(refusal) => Err(refused_jwt(refusal)),
    }
}

fn refused_jwt(refusal: JwtRefusal) -> Error {
    Error::new(Reason::Unauthenticated, refusal.to_string()).with_hint(
        "[[jwt]] in the policy of the daemon says which tokens are accepted; get a new token from \
         the identity provider",
    )
}

/// Whether a request has a secret, valid or not: a token, or the cookie of a session.
pub(super) fn presents_secret(request: &Request) -> bool {
    request.headers().contains_key(AUTHORIZATION)
        || session_cookie(request.headers(), request.extensions()).is_some()
}

/// Whether a request needs no credential.
fn is_public(request: &Request) -> bool {
    let route = request.extensions().get::<MatchedPath>();
    route.is_some_and(|route| {
        let route = route.as_str();
        let ends_session = route == SESSION_ROUTE && request.method() == Method::DELETE;
        PUBLIC_ROUTES.contains(&route) || route.starts_with(PUBLIC_PREFIX) || ends_session
    })
}

/// The error for a session that is requested with something else than a bearer token.
fn no_bearer(credential: &Credential) -> Error {
    let why = match credential {
        Credential::Cookie(_) => "the request has the cookie of a session already",
        _ => "the connection itself has a credential, which counts for each request",
    };
    let message = format!("is required to open a session, as Bearer TOKEN: {why}");
    Error::invalid("Authorization", message)
}

/// The error for a request without a credential, or with one that the policy gives no role.
fn without_grant(credential: &Credential) -> Error {
    let what = match credential {
        Credential::None | Credential::Token(_) => return unauthenticated(),
        Credential::Jwt(_) | Credential::Cookie(_) => {
            "[[jwt.role]] of the policy matches the token"
        }
        Credential::Certificate(_) => {
            "[[certificate]] of the policy matches the client certificate"
        }
        Credential::Unix { .. } => {
            "[[unix]] of the policy matches the user or a group of the process"
        }
    };
    Error::new(
        Reason::Unauthenticated,
        format!("no {what}, and this requires a role"),
    )
    .with_hint("add an entry to the policy of the daemon, or send Authorization: Bearer TOKEN")
}

fn unknown_token() -> Error {
    invalid("the token is not known")
}

fn invalid(detail: &str) -> Error {
    Error::new(Reason::Unauthenticated, detail).with_hint(
        "the policy of the daemon has the valid credentials; ipvsctl token hash prints the hash \
         of a token as it is there",
    )
}

#[cfg(test)]
mod tests;
