//! Whether a write may come from its sender: no page of another site can make a browser send it.
//!
//! A browser sends a request for a page of another site at once only if it is simple: without a media
//! type but those of HTML forms, and without headers of the API. Any other it sends only if the
//! server permits it in the response to a preflight request (Fetch Standard, section 3.3), which the
//! daemon never does. Simple writes are therefore refused, as are those whose `Origin` or
//! `Sec-Fetch-Site` names another site.

use http::{HeaderMap, header, request::Parts};

use super::{extract, problem::REQUEST_ID};
use crate::{
    app::RequestId,
    identity::require_own_site,
    model::{Error, Reason},
};

/// Media types of writes that HTML forms cannot send.
const NOT_OF_FORMS: [&str; 3] = [
    extract::JSON,
    extract::MERGE_PATCH,
    "application/octet-stream",
];

/// Refuses a write that a page of another site could have made a browser send. Every write passes
/// this check.
pub(super) fn check(parts: &Parts) -> Result<(), Error> {
    require_own_site(&parts.uri, &parts.headers, &parts.extensions)?;
    if !is_simple(parts) {
        return Ok(());
    }
    let detail = "a write requires Content-Type: application/json, or another media type of the \
                  request that HTML forms cannot send; or the header X-Request-Id";
    Err(Error::new(Reason::UnsupportedMediaType, detail).with_hint(
        "set the header Content-Type: application/json, or X-Request-Id with any value: \
             browsers send neither to other sites without asking",
    ))
}

/// Whether browsers send such a request for a page of another site without a preflight request.
fn is_simple(
    Parts {
        headers,
        extensions,
        ..
    }: &Parts,
) -> bool {
    let has_id = match extensions.get::<RequestId>() {
        Some(id) => !id.is_generated(),
        None => headers.contains_key(REQUEST_ID),
    };
    let is_typed = NOT_OF_FORMS.contains(&media_type(headers).as_str());
    let has_tag =
        headers.contains_key(header::IF_MATCH) || headers.contains_key(header::IF_NONE_MATCH);
    !(has_id || is_typed || has_tag)
}

/// The media type of the body without parameters, in lower case.
fn media_type(headers: &HeaderMap) -> String {
    let text = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = text.unwrap_or_default().split(';').next();
    essence.unwrap_or_default().trim().to_ascii_lowercase()
}
