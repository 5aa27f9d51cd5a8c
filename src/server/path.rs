//! Paths with slashes at the end: `/v1/services/` is `/v1/services`.

use http::{Request, Uri, uri::PathAndQuery};

use crate::grpc;

/// The pages below these paths link to each other relative to them.
const PAGES: [&str; 2] = ["/docs/", "/ui/"];

/// Removes slashes at the end of the path. gRPC methods are names, which have none.
pub(super) fn trim<B>(request: &mut Request<B>) {
    let path = request.uri().path();
    let is_page = PAGES.iter().any(|pages| path.starts_with(pages));
    if !path.ends_with('/') || is_page || grpc::is_grpc(request.headers()) {
        return;
    }
    let trimmed = match path.trim_end_matches('/') {
        "" => "/",
        trimmed => trimmed,
    };
    let target = match request.uri().query() {
        Some(query) => format!("{trimmed}?{query}"),
        None => trimmed.to_owned(),
    };
    let mut parts = request.uri().clone().into_parts();
    // A part of a valid path is valid.
    parts.path_and_query = PathAndQuery::try_from(target).ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use super::*;

    #[test]
    fn slashes_at_the_end_are_removed() {
        for (uri, expected) in [
            ("/v1/services/", "/v1/services"),
            ("/v1/services//?a=b/", "/v1/services?a=b/"),
            ("http://a:1/v1/", "http://a:1/v1"),
            ("/", "/"),
            ("//", "/"),
            ("/v1", "/v1"),
            ("/docs/", "/docs/"),
            ("/ui/", "/ui/"),
            ("*", "*"),
        ] {
            let mut request = Request::get(uri).body(()).unwrap();
            trim(&mut request);
            assert_eq!(request.uri().to_string(), *expected, "{uri}");
        }
    }
}
