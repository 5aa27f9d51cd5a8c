//! The API's description: the OpenAPI document, and a page to browse it.

use std::sync::LazyLock;

use axum::{Router, http::header, routing::get};
use bytes::Bytes;
use serde_json::Value;
use utoipa::{
    OpenApi as _,
    openapi::{
        ComponentsBuilder, HeaderBuilder, Object, OpenApi, Ref, RefOr, Response, Type,
        path::Operation, schema::SchemaType,
    },
};

use super::{problem::Problem, schema};

const DESCRIPTION: &str = "\
Linux IPVS, the kernel's layer-4 load balancer: every operation of ipvsadm over HTTP.

The kernel is the truth: what other programs change there shows in the next answer. A write answers \
with the kernel's own view, read back, and says in `changed` whether anything changed.

**Names.** A virtual service has an id such as `tcp-192.0.2.1-80`, `udp-2001:db8::1-53`, `fwmark-7` \
(IPv4) or `fwmark6-7` (IPv6), a real server one such as `192.168.10.1-8080`. Any valid spelling of \
an address is taken; answers have the canonical one.

**Absent is not zero.** What a body does not mention keeps what is there (PATCH) or takes the \
default (POST, PUT); `null` goes back to the default.

**Conditional requests.** Answers carry an `ETag` of two parts, `\"CONFIGURATION.REPRESENTATION\"`. \
`If-None-Match` on a read compares the whole. `If-Match` on a write compares the configuration \
alone, so that moving counters are not in the way; the field `etag` of a body may be sent too.

**Freshness.** Reads ask the kernel. `Cache-Control: max-age=N` on a read takes an answer up to N \
seconds old; `Age` tells how old it is.

**Errors** are `application/problem+json` (RFC 9457) with a stable `reason`; `/errors` explains \
them. `X-Request-Id` is in the answer, in problems, and in the daemon's log.";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "ipvsd", license(name = "Apache-2.0", identifier = "Apache-2.0")),
    servers((url = "/", description = "This director")),
    tags(
        (name = "services", description = "Virtual services"),
        (name = "servers", description = "Real servers of a virtual service"),
        (name = "connections", description = "The connection table"),
        (name = "rules", description = "The table as text, in ipvsadm's language"),
        (name = "counters", description = "Totals, and counters back to zero"),
        (name = "timeouts", description = "How long idle connections are kept"),
        (name = "sync daemons", description = "Connection synchronisation"),
        (name = "settings", description = "Settings of the kernel"),
        (name = "about", description = "The daemon, the kernel, health, errors"),
    ),
    components(schemas(Problem, schema::ReasonName, crate::model::CountBy))
)]
struct Base;

/// The document before the operations are added.
pub(super) fn base() -> OpenApi {
    let mut openapi = Base::openapi();
    openapi.info.description = Some(DESCRIPTION.to_owned());
    let components = openapi.components.take().unwrap_or_default();
    let components = schema::refusals().into_iter().fold(
        ComponentsBuilder::from(components),
        |components, (name, response)| components.response(name, response),
    );
    openapi.components = Some(components.build());
    openapi
}

/// The whole OpenAPI document.
pub fn openapi() -> OpenApi {
    let (_, mut openapi) = super::operations().split_for_parts();
    for (path, item) in &mut openapi.paths.paths {
        let operations = [
            (&mut item.get, true),
            (&mut item.put, false),
            (&mut item.post, false),
            (&mut item.patch, false),
            (&mut item.delete, false),
        ];
        for (operation, read) in operations {
            if let Some(operation) = operation {
                complete(path, operation, read);
            }
        }
    }
    polished(openapi)
}

/// The same document with what the generator gets wrong put right.
fn polished(openapi: OpenApi) -> OpenApi {
    fn polish(value: &mut Value) {
        match value {
            Value::Object(object) => {
                // It says int32 of an u32 too, which a generated client would overflow.
                if object.get("format").is_some_and(|format| format == "int32") {
                    object.insert("format".to_owned(), "int64".into());
                }
                // Lines are broken in the source, not in the text.
                if let Some(Value::String(text)) = object.get_mut("description") {
                    let paragraphs = text.split("\n\n").map(|text| text.replace('\n', " "));
                    *text = paragraphs.collect::<Vec<_>>().join("\n\n");
                }
                object.values_mut().for_each(polish);
            }
            Value::Array(array) => array.iter_mut().for_each(polish),
            _ => {}
        }
    }
    let Ok(mut value) = serde_json::to_value(&openapi) else {
        return openapi;
    };
    polish(&mut value);
    serde_json::from_value(value).unwrap_or(openapi)
}

/// Adds what all operations have in common: the refusals that any of them may meet, and headers.
fn complete(path: &str, operation: &mut Operation, read: bool) {
    let mut refusals = Vec::new();
    if path.starts_with("/v1/") {
        refusals.extend([
            ("BadRequest", schema::BadRequest::status()),
            ("RateLimited", schema::RateLimited::status()),
            ("Internal", schema::Internal::status()),
            ("Unavailable", schema::Unavailable::status()),
            ("Timeout", schema::Timeout::status()),
        ]);
    }
    let has = |name: &str| {
        let mut parameters = operation.parameters.iter().flatten();
        parameters.any(|parameter| matches!(parameter, RefOr::T(p) if p.name == name))
    };
    let (conditional, tagged) = (has("If-Match"), has("Cache-Control"));
    if conditional {
        refusals.push(("PreconditionFailed", schema::PreconditionFailed::status()));
    }
    if operation.request_body.is_some() {
        refusals.push(("TooLarge", schema::TooLarge::status()));
        refusals.push((
            "UnsupportedMediaType",
            schema::UnsupportedMediaType::status(),
        ));
    }
    let responses = &mut operation.responses.responses;
    for (name, status) in refusals {
        let reference = RefOr::Ref(Ref::from_response_name(name));
        responses.entry(status).or_insert(reference);
    }
    if read && tagged {
        let not_modified = Response::new("The client has it: a tag of `If-None-Match` holds.");
        responses.insert("304".to_owned(), RefOr::T(not_modified));
    }
    for (status, response) in responses.iter_mut() {
        let RefOr::T(response) = response else {
            continue;
        };
        let mut header = |name: &str, kind: Type, description: &str| {
            let schema = Object::builder().schema_type(SchemaType::Type(kind));
            let header = HeaderBuilder::new()
                .schema(Some(schema.build()))
                .description(Some(description));
            response
                .headers
                .insert(name.to_owned(), RefOr::T(header.build()));
        };
        match status.as_str() {
            "200" | "304" if read && tagged => {
                header("ETag", Type::String, "Tag of this answer.");
                header("Age", Type::Integer, "How many seconds ago it was read.");
            }
            "200" | "201" if conditional => {
                header("ETag", Type::String, "Tag that a read would carry.");
            }
            _ => {}
        }
        if status == "201" {
            header(
                "Location",
                Type::String,
                "Path of what was created; absent where it is several.",
            );
        }
    }
}

/// The paths that show the document. It is made when it is first asked for: most daemons are never
/// asked, and it costs a megabyte.
pub(super) fn router() -> Router {
    static JSON: LazyLock<Bytes> =
        LazyLock::new(|| openapi().to_pretty_json().unwrap_or_default().into());
    static YAML: LazyLock<Bytes> = LazyLock::new(|| openapi().to_yaml().unwrap_or_default().into());
    let page = |media_type: &'static str, text: &'static LazyLock<Bytes>| {
        get(move || async move { ([(header::CONTENT_TYPE, media_type)], Bytes::clone(text)) })
    };
    let router = Router::new()
        .route("/openapi.json", page("application/json", &JSON))
        .route("/openapi.yaml", page("application/yaml", &YAML));
    #[cfg(feature = "docs-ui")]
    let router = router.merge(
        utoipa_swagger_ui::SwaggerUi::new("/docs")
            .config(utoipa_swagger_ui::Config::from("/openapi.json")),
    );
    router
}
