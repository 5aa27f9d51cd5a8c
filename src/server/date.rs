//! The `Date` of responses (RFC 9110, section 6.6.1).

use std::time::SystemTime;

use http::HeaderValue;

/// The value for a response that is sent now, from the wall clock.
///
/// hyper would add one of its own. It renders that once per second, and not while the clock is behind
/// the last one: after the clock was set back by an hour, it is wrong for an hour. Rendering each
/// takes 0.1 µs.
pub(super) fn now() -> HeaderValue {
    let date = httpdate::fmt_http_date(SystemTime::now());
    // ASCII text is always a valid value.
    HeaderValue::try_from(date).unwrap_or(HeaderValue::from_static(""))
}
