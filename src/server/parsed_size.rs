//! An upper bound of the memory that the parsed form of a request body occupies, from one pass over
//! its bytes. It is charged before the body is parsed.

use http::HeaderMap;

use crate::grpc;

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// ipvsadm commands, which are parsed line by line. The text of a gRPC stream is charged by the
    /// handler that collects it.
    Commands,
    /// A JSON document.
    Json,
    /// gRPC messages.
    Grpc,
    /// gRPC messages in Base64 (grpc-web-text).
    GrpcText,
}

/// Memory of a real server from the body to the response: its draft, its configuration, the
/// operation and the one that reverts it, and its view. Nothing else in a body is as large.
const OBJECT: usize = 2048;

/// Memory of an element of a list: a text and its place in a growing list.
const ELEMENT: usize = 128;

// === impl Encoding ===

impl Encoding {
    /// The encoding of a body. `is_rules`: see [`Encoding::Commands`].
    pub(super) fn of(headers: &HeaderMap, is_rules: bool) -> Self {
        let content_type = headers.get(http::header::CONTENT_TYPE);
        let is_text = content_type
            .is_some_and(|text| text.as_bytes().starts_with(b"application/grpc-web-text"));
        match (grpc::is_grpc(headers), is_text) {
            _ if is_rules => Self::Commands,
            (true, true) => Self::GrpcText,
            (true, false) => Self::Grpc,
            (false, _) => Self::Json,
        }
    }

    /// The upper bound for a body.
    pub(super) fn parsed_size(self, body: &[u8]) -> usize {
        let count = |wanted: &[u8]| body.iter().filter(|byte| wanted.contains(byte)).count();
        // The texts of a body exist once more in its parsed form.
        match self {
            Self::Commands => 0,
            Self::Json => body.len() + OBJECT * count(b"{") + ELEMENT * count(b","),
            // An element has two bytes at least.
            Self::Grpc => body.len() * ELEMENT / 2 + OBJECT * count(&grpc::SERVER_TAGS),
            // Four characters for three bytes, and all of them may be servers.
            Self::GrpcText => body.len() * OBJECT * 3 / 8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ServiceDraft;

    #[test]
    fn a_body_of_empty_objects_is_as_large_as_its_objects() {
        let body = format!("{{\"servers\":[{}]}}", vec!["{}"; 1000].join(","));
        let size = Encoding::Json.parsed_size(body.as_bytes());
        let draft: ServiceDraft = serde_json::from_str(&body).unwrap_or_default();
        assert_eq!(draft.servers.as_ref().map(Vec::len), Some(1000));
        assert!(size > 1000 * 2 * size_of_val(&draft.servers.unwrap_or_default()[0]));
        let plain = br#"{"protocol":"tcp","address":"192.0.2.1","port":80,"scheduler":"rr"}"#;
        assert!(Encoding::Json.parsed_size(plain) < 4096);
        assert_eq!(Encoding::Commands.parsed_size(&[b'-'; 1 << 20]), 0);
    }

    #[test]
    fn the_encoding_follows_from_the_media_type() {
        for (media_type, is_rules, encoding) in [
            ("application/json", false, Encoding::Json),
            ("", false, Encoding::Json),
            ("text/plain", true, Encoding::Commands),
            ("application/grpc", true, Encoding::Commands),
            ("application/grpc", false, Encoding::Grpc),
            ("application/grpc-web+proto", false, Encoding::Grpc),
            ("application/grpc-web-text", false, Encoding::GrpcText),
        ] {
            let mut headers = HeaderMap::new();
            let value = http::HeaderValue::from_static(media_type);
            headers.insert(http::header::CONTENT_TYPE, value);
            assert_eq!(Encoding::of(&headers, is_rules), encoding, "{media_type}");
        }
    }
}
