//! The site whose page made a browser send a request. Programs send none of these headers, and no
//! page can set or omit them.

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Uri, header};

use super::{certificate::OverTls, host::Authority};
use crate::model::{Error, Reason};

/// Relation of the page to the server (Fetch Metadata). Browsers send it over TLS and to this machine.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses a request that a browser sends for a page of another site. Every write passes this check, and
/// so does every request that is recognised by the cookie of a session.
///
/// A page is of this site if its scheme, host and port (`Origin`, RFC 6454) are those of the request.
/// The scheme of a request with the extension [`OverTls`] is `https`. The scheme is not compared if the
/// browser itself says that they are the same: a proxy that terminates TLS does not pass it on.
pub fn require_own_site(
    uri: &Uri,
    headers: &HeaderMap,
    extensions: &Extensions,
) -> Result<(), Error> {
    let sites = headers.get_all(FETCH_SITE);
    if let Some(site) = sites
        .iter()
        .find(|site| *site != "same-origin" && *site != "none")
    {
        return Err(foreign("Sec-Fetch-Site", site));
    }
    let any_scheme = sites.iter().any(|site| site == "same-origin");
    let own = uri.authority().map(|authority| authority.as_str());
    let own = own.or_else(|| headers.get(header::HOST)?.to_str().ok());
    let scheme = match extensions.get::<OverTls>() {
        Some(OverTls) => "https",
        None => uri.scheme_str().unwrap_or("http"),
    };
    for origin in headers.get_all(header::ORIGIN) {
        let own = own.and_then(|own| own.parse().ok());
        let page = origin.to_str().ok().and_then(|origin| {
            let (page_scheme, page) = origin.split_once("://")?;
            let is_own = any_scheme || page_scheme == scheme;
            is_own.then_some((page_scheme, page.parse().ok()?))
        });
        match (own, page) {
            (Some(own), Some((scheme, page))) if same(scheme, &own, &page) => {}
            _ => return Err(foreign("Origin", origin)),
        }
    }
    Ok(())
}

/// Whether both have the same host and port.
fn same(scheme: &str, own: &Authority, page: &Authority) -> bool {
    let default = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return false,
    };
    own.host == page.host && own.port.unwrap_or(default) == page.port.unwrap_or(default)
}

fn foreign(name: &str, value: &HeaderValue) -> Error {
    /// Most characters of a header in an error.
    const MAX_SHOWN: usize = 100;
    let value = String::from_utf8_lossy(value.as_bytes());
    let value: String = value.chars().take(MAX_SHOWN).collect();
    let detail = format!("{name} is {value:?}: pages of other sites must not act on the director");
    Error::new(Reason::CrossSite, detail).with_hint(
        "send the request from a program, or from a page of this daemon (/ui, /docs); a proxy must pass \
         the header Host on unchanged",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a write with this `Origin` to `director:4788` is accepted.
    fn accepts(origin: &'static str, is_over_tls: bool) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("director:4788"));
        headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        let mut extensions = Extensions::new();
        if is_over_tls {
            extensions.insert(OverTls);
        }
        // A request of HTTP/1 has a path only, one of HTTP/2 has the scheme that its client names.
        let [one, two] = ["/v1/services", "http://director:4788/v1/services"].map(|target| {
            let uri = Uri::from_static(target);
            require_own_site(&uri, &headers, &extensions).is_ok()
        });
        assert_eq!(one, two, "{origin}");
        one
    }

    #[test]
    fn the_scheme_of_a_page_is_that_of_the_connection() {
        assert!(accepts("https://director:4788", true));
        assert!(!accepts("http://director:4788", true));
        assert!(accepts("http://director:4788", false));
        assert!(!accepts("https://director:4788", false));
        assert!(!accepts("https://director", true), "another port");
        assert!(!accepts("https://other:4788", true), "another host");
    }
}
