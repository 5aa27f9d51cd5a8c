//! Checks of a request's head, the same for both protocols: the host that it is addressed to, and the
//! headers that describe its body.
//!
//! A page on any site can reach the daemon from a browser on the operator's machine, by a DNS name
//! that resolves to the daemon's address (DNS rebinding). For the browser, the daemon is then part of
//! that site. The name in the request gives it away.

use std::convert::Infallible;

use axum::{
    body::{Body, Bytes},
    extract::{ConnectInfo, Request},
    response::Response,
};
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Version, header};
use http_body::Body as _;
use nix::sys::utsname::uname;

use crate::{
    grpc,
    identity::{Authority, Host, Peer},
    model::{Error, Reason},
};

/// Most characters of a header in an error.
const MAX_SHOWN: usize = 100;

/// The names by which TCP clients may address the daemon.
pub(super) struct AllowedHosts(Vec<String>);

/// Refuses a request with an invalid head, and sets the media type of a gRPC request in its canonical
/// form: all that follows compares it as text.
pub(super) fn check(request: &mut Request, hosts: &AllowedHosts) -> Result<(), Error> {
    check_host(request, hosts)?;
    check_body_headers(request.headers())?;
    if let Some(media_type) = grpc::media_type(request.headers()) {
        let value = HeaderValue::from_static(media_type);
        request.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    Ok(())
}

/// Completes a response to HEAD. axum does it for routes with methods, which gRPC has not.
pub(super) fn remove_body(response: &mut Response) {
    let body = std::mem::take(response.body_mut());
    let length = body.size_hint().exact().filter(|length| *length > 0);
    let headers = response.headers_mut();
    if let Some(length) = length {
        headers
            .entry(header::CONTENT_LENGTH)
            .or_insert(length.into());
    } else if !headers.contains_key(header::CONTENT_LENGTH) {
        // The length of a body that axum has removed is unknown. For an empty one it would add 0.
        *response.body_mut() = Body::from_stream(stream::empty::<Result<Bytes, Infallible>>());
    }
}

/// Checks every name of the daemon in the request.
fn check_host(request: &Request, hosts: &AllowedHosts) -> Result<(), Error> {
    let mut named = request.headers().get_all(header::HOST).iter();
    let host = named.next();
    if named.next().is_some() {
        return Err(Error::invalid("Host", "must not be repeated"));
    }
    if host.is_none() && request.version() == Version::HTTP_11 {
        return Err(Error::invalid(
            "Host",
            "is required (RFC 9112, section 3.2)",
        ));
    }
    let peer = request.extensions().get::<ConnectInfo<Peer>>();
    let is_local = peer.is_some_and(|ConnectInfo(peer)| matches!(peer, Peer::Unix { .. }));
    let host = host.map(|host| ("Host", String::from_utf8_lossy(host.as_bytes())));
    let target = request.uri().authority();
    let target_name = match request.version() {
        Version::HTTP_2 => ":authority",
        _ => "the request target",
    };
    let target = target.map(|target| (target_name, target.as_str().into()));
    for (name, text) in host.into_iter().chain(target) {
        let authority: Authority = text
            .parse()
            .map_err(|error| Error::invalid(name, format!("{} is {error}", shown(&text))))?;
        // A page of another site reaches a unix socket, too: through a port of the operator's machine
        // that ssh forwards to it.
        let is_local = is_local && !authority.host.is_qualified();
        if !is_local && !hosts.contains(&authority.host) {
            let detail = format!(
                "{name} is {}, which is no name of this daemon",
                shown(&text)
            );
            return Err(Error::new(Reason::CrossSite, detail).with_hint(
                "use its IP address or localhost, or add the name to allowed_hosts in the daemon's \
                 configuration",
            ));
        }
    }
    Ok(())
}

/// Checks what both protocols would otherwise ignore.
fn check_body_headers(headers: &HeaderMap) -> Result<(), Error> {
    if headers.get_all(header::CONTENT_TYPE).iter().count() > 1 {
        return Err(Error::invalid("Content-Type", "must not be repeated"));
    }
    for coding in headers.get_all(header::CONTENT_ENCODING) {
        let text = String::from_utf8_lossy(coding.as_bytes());
        if !text.trim().is_empty() && !text.trim().eq_ignore_ascii_case("identity") {
            let detail = format!("Content-Encoding {} is not supported", shown(&text));
            return Err(Error::new(Reason::UnsupportedMediaType, detail)
                .with_hint("send the body without encoding (identity)"));
        }
    }
    Ok(())
}

fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(MAX_SHOWN).collect::<String>())
}

// === impl AllowedHosts ===

impl AllowedHosts {
    /// The configured names; `*` stands for any.
    pub(super) fn new(names: &[String]) -> Self {
        Self(names.iter().map(|name| name.to_ascii_lowercase()).collect())
    }

    fn contains(&self, host: &Host) -> bool {
        let Host::Name(name) = host else {
            // Rebinding requires a DNS name.
            return true;
        };
        name == "localhost"
            || name.ends_with(".localhost")
            || self.0.iter().any(|known| known == "*" || known == name)
            || is_machine(name)
    }
}

/// Whether this is the machine's current host name (gethostname(2)).
fn is_machine(name: &str) -> bool {
    let machine = uname();
    let machine = machine.as_ref().ok().and_then(|u| u.nodename().to_str());
    machine.is_some_and(|machine| !name.is_empty() && machine.eq_ignore_ascii_case(name))
}
