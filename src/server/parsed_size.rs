//! An upper bound of the memory that the parsed form of a request body occupies, from one pass over
//! its bytes. It is charged before the body is parsed.

use http::HeaderMap;

use crate::{grpc, proto};

/// What a body may be, by the path of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upload {
    /// ipvsadm commands of a whole table.
    Rules,
    /// A declared table, or a batch in JSON.
    Table,
    /// A single resource.
    Other,
}

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
    /// gRPC messages of a declared table.
    GrpcTable,
    /// gRPC messages in Base64 (grpc-web-text).
    GrpcText,
}

/// Memory of a real server from the body to the response: its draft, its configuration, the
/// operation and the one that reverts it, and its view. Nothing else in a body is as large.
const OBJECT: usize = 2048;

/// Commas in an object of JSON that separate members and not elements of a list. The memory of members is a part of
/// [`OBJECT`], which has so many elements to spare.
const MEMBERS: usize = 4;

/// Memory of an element of a list: a text and its place in a growing list.
const ELEMENT: usize = 128;

// === impl Upload ===

impl Upload {
    /// The kind of the body of a request to this path.
    pub(super) fn of(path: &str) -> Self {
        let grpc_method = path
            .strip_prefix('/')
            .and_then(|path| path.strip_prefix(proto::SERVICE));
        match (path, grpc_method) {
            ("/v1/rules", _) | (_, Some("/RestoreRules")) => Self::Rules,
            (_, Some("/ApplyTable")) => Self::Table,
            ("/v1/batch", _) => Self::Table,
            _ if path.starts_with("/v1/tables/") => Self::Table,
            _ => Self::Other,
        }
    }
}

// === impl Encoding ===

impl Encoding {
    /// The encoding of a body.
    pub(super) fn of(headers: &HeaderMap, upload: Upload) -> Self {
        let content_type = headers.get(http::header::CONTENT_TYPE);
        let is_text = content_type
            .is_some_and(|text| text.as_bytes().starts_with(b"application/grpc-web-text"));
        match (grpc::is_grpc(headers), is_text, upload) {
            (_, _, Upload::Rules) => Self::Commands,
            (true, true, _) => Self::GrpcText,
            (true, false, Upload::Table) => Self::GrpcTable,
            (true, false, Upload::Other) => Self::Grpc,
            (false, ..) => Self::Json,
        }
    }

    /// The upper bound for a body.
    pub(super) fn parsed_size(self, body: &[u8]) -> usize {
        let count = |wanted: &[u8]| body.iter().filter(|byte| wanted.contains(byte)).count();
        // The texts of a body exist once more in its parsed form.
        match self {
            Self::Commands => 0,
            Self::Json => {
                let objects = count(b"{");
                let elements = count(b",").saturating_sub(MEMBERS * objects);
                body.len() + OBJECT * objects + ELEMENT * elements
            }
            // An element has two bytes at least.
            Self::Grpc => body.len() * ELEMENT / 2 + OBJECT * count(&grpc::SERVER_TAGS),
            // Beside services and servers, only flags of schedulers are many, two bytes each at least.
            Self::GrpcTable => {
                2 * body.len()
                    + OBJECT * count(&grpc::TABLE_TAGS)
                    + ELEMENT * count(&[grpc::FLAG_TAG])
            }
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
    fn one_connection_may_declare_a_table_of_100_000_servers() {
        let server =
            r#"{"address":"192.168.100.100","port":8080,"forwarding":"masquerade","weight":100}"#;
        let servers = vec![server; 100].join(",");
        let service =
            format!(r#"{{"id":"tcp-192.0.2.100-8080","scheduler":"wlc","servers":[{servers}]}}"#);
        let body = format!(
            r#"{{"services":[{}]}}"#,
            vec![service.as_str(); 1000].join(",")
        );
        let size = Encoding::Json.parsed_size(body.as_bytes());
        let limits = crate::server::Config::default().limits;
        let limit = crate::budget::Budget::new(limits.max_memory_bytes).of_connection();
        // The kernel's table is read, too.
        assert!(body.len() + size < limit.limit() * 9 / 10, "{size}");
    }

    #[test]
    fn a_declared_table_occupies_what_its_objects_do() {
        use prost::Message;

        use crate::proto::v1 as pb;

        let server = pb::Server {
            address: Some("192.168.10.1".to_owned()),
            forwarding: Some("masquerade".to_owned()),
            weight: Some(100),
            ..pb::Server::default()
        };
        let service = pb::Service {
            id: "tcp-192.0.2.1-80".to_owned(),
            scheduler: Some("wlc".to_owned()),
            servers: vec![server; 100],
            ..pb::Service::default()
        };
        let services = vec![service; 1000];
        let table = pb::TableServices { services };
        let request = pb::ApplyTableRequest {
            part: Some(pb::apply_table_request::Part::Services(table)),
        };
        let size = Encoding::GrpcTable.parsed_size(&request.encode_to_vec());
        assert!(size >= 101_000 * OBJECT, "{size}");
        // A table of this size must not be refused with the default of 512 MiB for all requests.
        assert!(size < 300 << 20, "{size}");
        let empty = pb::TableServices {
            services: vec![pb::Service::default(); 1000],
        };
        let size = Encoding::GrpcTable.parsed_size(&empty.encode_to_vec());
        let parsed = size_of::<pb::Service>() + 2 * size_of::<ServiceDraft>();
        assert!(size > 1000 * parsed, "{size}");
    }

    #[test]
    fn the_encoding_follows_from_the_media_type_and_the_path() {
        let method = |name: &str| Upload::of(&format!("/{}/{name}", proto::SERVICE));
        let (rules, table, other) = (Upload::Rules, Upload::Table, Upload::Other);
        for (path, upload) in [
            ("/v1/rules", rules),
            ("/v1/tables/web", table),
            ("/v1/batch", table),
            ("/v1/services", other),
        ] {
            assert_eq!(Upload::of(path), upload, "{path}");
        }
        assert_eq!(method("RestoreRules"), rules);
        assert_eq!(method("ApplyTable"), table);
        assert_eq!(method("GetTable"), other);
        assert_eq!(method("ApplyBatch"), other);
        for (media_type, upload, encoding) in [
            ("application/json", other, Encoding::Json),
            ("application/json", table, Encoding::Json),
            ("", other, Encoding::Json),
            ("text/plain", rules, Encoding::Commands),
            ("application/grpc", rules, Encoding::Commands),
            ("application/grpc", table, Encoding::GrpcTable),
            ("application/grpc", other, Encoding::Grpc),
            ("application/grpc-web+proto", other, Encoding::Grpc),
            ("application/grpc-web-text", table, Encoding::GrpcText),
        ] {
            let mut headers = HeaderMap::new();
            let value = http::HeaderValue::from_static(media_type);
            headers.insert(http::header::CONTENT_TYPE, value);
            assert_eq!(Encoding::of(&headers, upload), encoding, "{media_type}");
        }
    }
}
