//! Media types of gRPC and grpc-web requests.

use http::{HeaderMap, header::CONTENT_TYPE};

/// Media types of gRPC, which requires HTTP/2, and of grpc-web.
const MEDIA_TYPES: [&str; 6] = [
    "application/grpc",
    "application/grpc+proto",
    "application/grpc-web",
    "application/grpc-web+proto",
    "application/grpc-web-text",
    "application/grpc-web-text+proto",
];

/// The media type of a gRPC or grpc-web request, in canonical form; `None` for other requests.
pub fn media_type(headers: &HeaderMap) -> Option<&'static str> {
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let essence = text.split(';').next()?.trim();
    let known = |known: &&str| known.eq_ignore_ascii_case(essence);
    MEDIA_TYPES.into_iter().find(known)
}

/// Whether a request uses gRPC or grpc-web, by its `content-type`.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    media_type(headers).is_some()
}

/// Whether this media type is one of grpc-web.
pub fn is_web(media_type: &str) -> bool {
    media_type.starts_with("application/grpc-web")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn media_types_are_compared_without_parameters_and_case() {
        let kind = |text| {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(text))]);
            media_type(&headers)
        };
        assert_eq!(kind("application/grpc"), Some("application/grpc"));
        assert_eq!(
            kind("Application/gRPC-Web+Proto ; charset=utf-8"),
            Some("application/grpc-web+proto")
        );
        for other in [
            "application/grpcx",
            "application/grpc+json",
            "application/json",
            "",
        ] {
            assert_eq!(kind(other), None, "{other}");
        }
        assert_eq!(media_type(&HeaderMap::new()), None);
    }
}
