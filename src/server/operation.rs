//! Whether a request reads or writes. The method of the HTTP API says it; of a gRPC method, which is always
//! called by POST, its request message does.

use http::Method;

use crate::grpc;

/// Paths of the standard services of gRPC, health and reflection, which read.
const STANDARD_SERVICES: &str = "/grpc.";

/// Whether a request with this method and path writes, if it has a route. A dry run counts as a write: it
/// reads and plans as one.
pub(super) fn is_write(method: &Method, path: &str) -> bool {
    match grpc::is_write(path) {
        Some(is_write) => is_write,
        None => !method.is_safe() && !path.starts_with(STANDARD_SERVICES),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use prost::Message;
    use prost_types::FileDescriptorSet;
    use serde_json::Value;

    use super::*;
    use crate::{http as http_api, proto};

    /// In both APIs, writes and only writes have `dry_run`.
    #[test]
    fn operations_of_http_are_distinguished() {
        let document = serde_json::to_value(http_api::openapi()).unwrap();
        let (mut reads, mut writes) = (0, 0);
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let Ok(method) = method.to_ascii_uppercase().parse::<Method>() else {
                    continue;
                };
                let none = Vec::new();
                let parameters = operation["parameters"].as_array().unwrap_or(&none);
                let is_dry_run = |parameter: &Value| parameter["name"] == "dry_run";
                let expected = parameters.iter().any(is_dry_run);
                assert_eq!(is_write(&method, path), expected, "{method} {path}");
                *(if expected { &mut writes } else { &mut reads }) += 1;
            }
        }
        assert!(reads > 15 && writes > 15, "{reads} {writes}");
    }

    #[test]
    fn methods_of_grpc_are_distinguished() {
        let set = FileDescriptorSet::decode(proto::DESCRIPTORS).unwrap();
        let messages = || set.file.iter().flat_map(|file| &file.message_type);
        let services = set.file.iter().flat_map(|file| &file.service);
        let service = services.into_iter().next().unwrap();
        let mut writes = 0;
        for method in &service.method {
            let request = method.input_type().rsplit('.').next().unwrap();
            let message = messages()
                .find(|message| message.name() == request)
                .unwrap();
            // Of a stream, the options are a message of their own.
            let has = |name: &str| message.field.iter().any(|field| field.name() == name);
            let expected = has("dry_run") || has("options");
            let path = format!("/{}/{}", proto::SERVICE, method.name());
            assert_eq!(is_write(&Method::POST, &path), expected, "{path}");
            writes += usize::from(expected);
        }
        assert!(writes > 10 && writes < service.method.len());
        for path in [
            "/grpc.health.v1.Health/Check",
            "/grpc.reflection.v1.ServerReflection/X",
        ] {
            assert!(!is_write(&Method::POST, path), "{path}");
        }
    }
}
