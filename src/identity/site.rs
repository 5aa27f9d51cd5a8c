//! The site whose page made a browser send a request. Programs send none of these headers, and no
//! page can set or omit them.

use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};

use super::host::Authority;
use crate::model::{Error, Reason};

/// Relation of the page to the server (Fetch Metadata). Browsers send it over TLS and to this machine.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses a request that a browser sends for a page of another site. Every write passes this check.
///
/// A page is of this site if its scheme, host and port (`Origin`, RFC 6454) are those of the request.
/// The scheme is not compared if the browser itself says that they are the same: a proxy that
/// terminates TLS does not pass it on.
pub fn require_own_site(uri: &Uri, headers: &HeaderMap) -> Result<(), Error> {
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
    let scheme = uri.scheme_str().unwrap_or("http");
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
    let detail = format!("{name} is {value:?}: pages of other sites must not change the director");
    Error::new(Reason::CrossSite, detail).with_hint(
        "send the request from a program, or from a page of this daemon (/docs); a proxy must pass \
         the header Host on unchanged",
    )
}
