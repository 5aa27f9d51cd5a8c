//! `/v1/session`: sessions of browsers. There is nothing like it in gRPC, whose clients are programs.

use std::convert::Infallible;

use axum::{
    extract::{ConnectInfo, FromRequestParts, State},
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, ORIGIN, SET_COOKIE},
    request::Parts,
};

use super::{
    conditional::Unconditional, context::Write, no_body::NoBody, problem::Problem, state::Api,
};
use crate::{
    identity::{OverTls, Peer, SessionCookie},
    model::{Error, Reason, Sha256},
};

/// The head of a request, as far as it concerns the cookie of a session.
pub(super) struct Browser {
    /// The cookie that the browser accepts for a new session.
    cookie: SessionCookie,
    /// Whether the connection of the request is encrypted, or does not leave the director.
    is_private: bool,
    /// The cookies of the request, with the sessions that they stand for.
    presented: Vec<(SessionCookie, Sha256)>,
}

/// Open a session
///
/// Returns a cookie that stands for the bearer token of the request, for pages of the daemon: a page that
/// has the cookie need not keep the token. The cookie is `HttpOnly`, `Secure` and `SameSite=Strict`.
/// The session ends after 12 hours at the latest, and with its token. A session that the cookie of the
/// request stands for is not ended.
#[utoipa::path(
    post, path = "/v1/session", operation_id = "openSession", tag = "access",
    params(Write),
    security(("token" = [])),
    responses((
        status = 204, description = "Opened.",
        headers(("Set-Cookie" = String,
            description = "The cookie `__Host-ipvsd_session`; without TLS `ipvsd_session`."))
    ))
)]
pub(super) async fn open(
    State(api): State<Api>,
    browser: Browser,
    write: Write,
    _: Unconditional,
    _: NoBody,
) -> Result<Response, Problem> {
    let (context, _) = write.start();
    browser.check()?;
    let session = api.app.open_session(&context)?;
    let cookie = session.map(|session| browser.cookie.set(&session));
    Ok(no_content(cookie)?)
}

/// End a session
///
/// Ends the session of the cookie, and the streams that it has opened, and clears the cookie. Requires no
/// credential: a session that has ended already, or a request without a cookie, is no error.
#[utoipa::path(
    delete, path = "/v1/session", operation_id = "endSession", tag = "access",
    params(Write),
    security(()),
    responses((
        status = 204, description = "There is no such session any more.",
        headers(("Set-Cookie" = String, description = "Clears the cookie, if the request has one."))
    ))
)]
pub(super) async fn end(
    State(api): State<Api>,
    browser: Browser,
    write: Write,
    _: Unconditional,
) -> Result<Response, Problem> {
    let (context, _) = write.start();
    let ended = browser.presented.iter().filter(|_| !context.dry_run);
    let cleared = ended.map(|(cookie, session)| {
        api.app.end_session(&context, session);
        cookie.clear()
    });
    Ok(no_content(cleared)?)
}

/// A response with these `Set-Cookie`.
fn no_content(cookies: impl IntoIterator<Item = String>) -> Result<Response, Error> {
    let mut headers = HeaderMap::new();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for cookie in cookies {
        let field = HeaderValue::try_from(cookie)
            .map_err(|_| Error::new(Reason::Internal, "the cookie is invalid"))?;
        headers.append(SET_COOKIE, field);
    }
    Ok((StatusCode::NO_CONTENT, headers).into_response())
}

// === impl Browser ===

impl Browser {
    fn of(parts: &Parts) -> Self {
        let is_over_tls = parts.extensions.get::<OverTls>().is_some();
        // A proxy that terminates TLS does not pass it on, but the browser names the scheme of the page.
        let origin = parts.headers.get(ORIGIN).map(HeaderValue::as_bytes);
        let is_https = is_over_tls || origin.is_some_and(|origin| origin.starts_with(b"https://"));
        let peer = parts.extensions.get::<ConnectInfo<Peer>>();
        let is_local = peer.is_none_or(|ConnectInfo(peer)| match peer {
            Peer::Unix { .. } => true,
            Peer::Tcp(address) => address.ip().to_canonical().is_loopback(),
        });
        let presented = SessionCookie::ALL.into_iter().filter_map(|cookie| {
            let session = cookie.of(&parts.headers, &parts.extensions)?;
            Some((cookie, session))
        });
        Self {
            cookie: match is_https {
                true => SessionCookie::Host,
                false => SessionCookie::Local,
            },
            is_private: is_over_tls || is_local,
            presented: presented.collect(),
        }
    }

    /// Refuses a session whose cookie others could read.
    fn check(&self) -> Result<(), Error> {
        match self.is_private {
            true => Ok(()),
            false => Err(Error::invalid(
                "",
                "a session requires TLS: over plain text, others can read its cookie",
            )
            .with_hint(
                "use the port of a listener tls:ADDRESS:PORT, or a proxy on the director that \
                 terminates TLS",
            )),
        }
    }
}

impl FromRequestParts<Api> for Browser {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Infallible> {
        Ok(Self::of(parts))
    }
}
