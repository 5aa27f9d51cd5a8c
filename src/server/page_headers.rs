//! Response headers that restrict what a browser does with a response.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS},
};

use crate::grpc;

/// Headers of every response but those of gRPC: it loads nothing, no page shows it in a frame, and
/// no site that it links to learns its address. A page with a policy of its own keeps it.
const PAGE: [(HeaderName, &str); 3] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'",
    ),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
];

/// Adds the headers to those of a response.
pub(super) fn add(headers: &mut HeaderMap) {
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(X_CONTENT_TYPE_OPTIONS, nosniff);
    if !grpc::is_grpc(headers) {
        for (name, value) in PAGE {
            headers
                .entry(name)
                .or_insert(HeaderValue::from_static(value));
        }
    }
}
