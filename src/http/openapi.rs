//! The OpenAPI document: its head, and what all operations have in common.

use serde_json::Value;
use utoipa::{
    OpenApi as _,
    openapi::{
        ComponentsBuilder, HeaderBuilder, OpenApi, Ref, RefOr, Required, Response,
        path::{Operation, Parameter, ParameterIn},
        schema::ObjectBuilder,
        security::{
            ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
        },
    },
};

use super::{
    schema,
    shape::{integer, text},
};
use crate::identity::SessionCookie;

/// Names of the security schemes.
const TOKEN: &str = "token";
const CERTIFICATE: &str = "certificate";
const SESSION: &str = "session";

const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

const DESCRIPTION: &str = "\
HTTP API of Linux IPVS, the kernel's layer-4 load balancer. It covers all operations of ipvsadm(8).

The kernel is the source of truth: changes made by other programs, such as ipvsadm or keepalived, \
show up in the next response. A write returns the resulting state, and `changed` states \
whether anything changed. What is created is read back from the kernel. After an edit, the \
configuration is the one that the kernel has acknowledged, and counters were read right before it.

**Ids.** Virtual services have ids such as `tcp-192.0.2.1-80`, `udp-2001:db8::1-53`, `fwmark-7` \
(IPv4) and `fwmark6-7` (IPv6); real servers have ids such as `192.168.10.1-8080`. Addresses are \
accepted in any valid spelling, and returned in canonical form (RFC 5952).

**Unset and zero.** An absent field keeps its value (PATCH) or takes its default (POST, PUT); `null` \
resets it to the default. Zero is a value.

**Get, edit, put.** Requests and responses use the same objects. Read-only fields in a request, \
`etag` included, are ignored, so that the body of a GET can be changed and sent with PUT. To detect \
concurrent changes, send the ETag in `If-Match`.

**Dry run.** Every write has the query parameter `dry_run`. With `dry_run=true` the request is \
validated against the current state, and nothing is changed.

**Repetition.** A write with the header `Idempotency-Key` is executed once; a repetition has the response of \
the first. This requires a daemon with a store on a disk.

**Compatibility.** Within v1, fields, enum values and reasons may be added. Clients must ignore \
unknown fields in responses. Requests with unknown fields or query parameters are rejected with 400.

**Conditional requests.** The `ETag` of a resource has two parts, \
`\"CONFIGURATION.REPRESENTATION\"`. `If-None-Match` of a read compares the whole tag. `If-Match` of a \
write compares the configuration only, so that changing counters do not matter; the field `etag` of \
a body contains this part. Lists, reports and texts have a tag of one part, for `If-None-Match` only.

**Browsers.** No page of another site can write. A write requires a header that browsers send to \
other sites only with permission, which the daemon never gives: `Content-Type: application/json` or \
another media type of the request that HTML forms cannot send, or `X-Request-Id` with any value. \
Others are rejected with 415, and writes with a foreign `Origin` or `Sec-Fetch-Site` with 403. The \
host name of a request over TCP must be an IP address, `localhost`, the name of the machine, or one \
of `allowed_hosts` in the daemon's configuration; others are rejected with 403.

**Access.** Every path below `/v1` requires a credential: `Authorization: Bearer TOKEN`, the cookie of a \
session that such a token has opened (`/v1/session`, for browsers), a TLS client certificate, or the user \
and groups of a process on the unix socket. They precede in this order. Only to end a session requires \
none. 401 means that nobody was \
recognised; 403 names the role or the scope that is needed. `/v1/whoami` shows the principal, and \
`/v1/can-i` whether it may do something.

**Freshness.** Reads query the kernel; concurrent reads share one query. `Cache-Control: max-age=N` \
accepts a result up to N seconds old; `Age` contains the age.

**Compression.** A body of 8 KiB or more is sent with `Content-Encoding: gzip` if the request accepts \
it (`Accept-Encoding`). The ETag of a compressed response ends with `-gzip`, and serves `If-None-Match` \
and `If-Match` like the other. Bodies of requests are not compressed.

**Paths** may end with slashes, which are ignored. `/` and `/v1` list the paths; to a browser, `/` shows the dashboard.

**Errors** are `application/problem+json` (RFC 9457) with a machine-readable `reason`; `/errors` \
describes the reasons. `X-Request-Id` is part of the response, of errors and of the log.";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "ipvsd", license(name = "Apache-2.0", identifier = "Apache-2.0")),
    servers((url = "/", description = "This director")),
    tags(
        (name = "services", description = "Virtual services"),
        (name = "servers", description = "Real servers of a virtual service"),
        (name = "tables", description = "Declared tables"),
        (name = "drains and ramps", description = "Weights of servers that are held for a while"),
        (name = "health checks", description = "Health of the servers of services that have a health check"),
        (name = "batch", description = "Operations that are executed together"),
        (name = "connections", description = "Connection table"),
        (name = "rules", description = "The table as text, in the language of ipvsadm"),
        (name = "counters", description = "Totals, and reset of counters"),
        (name = "timeouts", description = "Timeouts of idle connections"),
        (name = "sync daemons", description = "Connection synchronisation"),
        (name = "settings", description = "Kernel settings"),
        (name = "access", description = "The principal of a request, and what it may do"),
        (name = "audit", description = "Audit trail"),
        (name = "about", description = "Daemon, kernel, health, errors"),
    )
)]
struct Base;

/// The document without operations.
pub(super) fn base() -> OpenApi {
    let mut openapi = Base::openapi();
    openapi.info.description = Some(DESCRIPTION.to_owned());
    let components = openapi.components.take().unwrap_or_default();
    let components = schema::error_responses().into_iter().fold(
        ComponentsBuilder::from(components),
        |components, (name, response)| components.response(name, response),
    );
    let components = schema::all()
        .into_iter()
        .fold(components, |components, (name, schema)| {
            components.schema(name, schema)
        });
    let token = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("A token of the policy, or a JSON Web Token."));
    let certificate = SecurityScheme::MutualTls {
        description: Some("A TLS client certificate of the policy.".to_owned()),
        deprecated: None,
        extensions: None,
    };
    let session = ApiKeyValue::with_description(
        SessionCookie::Host.name(),
        "The session of a browser. On plain HTTP of this machine, the name is `ipvsd_session`.",
    );
    let components = components
        .security_scheme(TOKEN, SecurityScheme::Http(token.build()))
        .security_scheme(CERTIFICATE, certificate)
        .security_scheme(SESSION, SecurityScheme::ApiKey(ApiKey::Cookie(session)));
    openapi.components = Some(components.build());
    openapi
}

/// Adds to the operations of `openapi` what they have in common.
pub(super) fn complete(mut openapi: OpenApi) -> OpenApi {
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
                if needs_credential(path) {
                    operation.security.get_or_insert_with(credentials);
                }
                add_request_id(operation, read);
                add_idempotency_key(path, operation, read);
                add_error_responses(path, operation, read);
                add_headers(operation, read);
            }
        }
    }
    with_paragraphs(openapi)
}

/// Whether the operations of a path require a credential.
fn needs_credential(path: &str) -> bool {
    path.starts_with("/v1/")
}

/// The credentials of which a request requires one. That of a unix socket has no name in OpenAPI.
fn credentials() -> Vec<SecurityRequirement> {
    let requirement = |name| SecurityRequirement::new(name, Vec::<String>::new());
    vec![
        requirement(TOKEN),
        requirement(CERTIFICATE),
        requirement(SESSION),
    ]
}

/// Adds the header that a write needs unless its body is JSON.
fn add_request_id(operation: &mut Operation, read: bool) {
    if read {
        return;
    }
    let is_json = match &operation.request_body {
        Some(RefOr::T(body)) => body.content.keys().any(|kind| kind.ends_with("json")),
        _ => false,
    };
    let required = if is_json {
        Required::False
    } else {
        Required::True
    };
    let parameter = Parameter::builder()
        .name("X-Request-Id")
        .parameter_in(ParameterIn::Header)
        .required(required)
        .description(Some(
            "Id of the request, for the response, errors and the log: 1 to 128 visible ASCII \
             characters; the daemon replaces another one. It also marks the request as not sent by an HTML form; a write without a JSON body \
             needs it.",
        ))
        .schema(Some(text()))
        .example(Some("1".into()))
        .build();
    let parameters = operation.parameters.get_or_insert_default();
    parameters.push(RefOr::T(parameter));
}

/// Adds the header that makes the repetition of a write safe.
fn add_idempotency_key(path: &str, operation: &mut Operation, read: bool) {
    // The cookie of a session is a secret, and is not kept.
    if read || path == "/v1/session" {
        return;
    }
    let parameter = Parameter::builder()
        .name(IDEMPOTENCY_KEY)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "Makes the repetition of the request safe: it is executed once, and a repetition with the same key \
             has the first response, with `Idempotency-Replayed: true`. 1 to 255 visible ASCII characters.",
        ))
        .schema(Some(text()))
        .example(Some("0b54e6c3d1".into()))
        .build();
    let parameters = operation.parameters.get_or_insert_default();
    parameters.push(RefOr::T(parameter));
}

/// Joins the lines of each paragraph: line breaks of the source are no line breaks of the text.
fn with_paragraphs(openapi: OpenApi) -> OpenApi {
    fn join(value: &mut Value) {
        match value {
            Value::Object(object) => {
                if let Some(Value::String(text)) = object.get_mut("description") {
                    let paragraphs = text.split("\n\n").map(|text| text.replace('\n', " "));
                    *text = paragraphs.collect::<Vec<_>>().join("\n\n");
                }
                object.values_mut().for_each(join);
            }
            Value::Array(array) => array.iter_mut().for_each(join),
            _ => {}
        }
    }
    let Ok(mut value) = serde_json::to_value(&openapi) else {
        return openapi;
    };
    join(&mut value);
    serde_json::from_value(value).unwrap_or(openapi)
}

/// Whether the operation has this parameter.
fn has(operation: &Operation, name: &str) -> bool {
    let mut parameters = operation.parameters.iter().flatten();
    parameters.any(|parameter| matches!(parameter, RefOr::T(p) if p.name == name))
}

fn add_error_responses(path: &str, operation: &mut Operation, read: bool) {
    let mut errors = Vec::new();
    if needs_credential(path) {
        errors.extend([
            ("BadRequest", schema::BadRequest::status()),
            ("Unauthenticated", schema::Unauthenticated::status()),
            ("Forbidden", schema::Forbidden::status()),
            ("RateLimited", schema::RateLimited::status()),
            ("Internal", schema::Internal::status()),
            ("Unavailable", schema::Unavailable::status()),
            ("Timeout", schema::Timeout::status()),
        ]);
    }
    if has(operation, "If-Match") {
        errors.push(("PreconditionFailed", schema::PreconditionFailed::status()));
    }
    if has(operation, IDEMPOTENCY_KEY) {
        errors.push(("InProgress", schema::InProgress::status()));
        errors.push(("KeyReused", schema::KeyReused::status()));
    }
    if operation.request_body.is_some() {
        errors.push(("TooLarge", schema::TooLarge::status()));
    }
    if !read {
        let media_type = schema::UnsupportedMediaType::status();
        errors.push(("UnsupportedMediaType", media_type));
        let storage = schema::InsufficientStorage::status();
        errors.push(("InsufficientStorage", storage));
    }
    for (name, status) in errors {
        let reference = RefOr::Ref(Ref::from_response_name(name));
        let responses = &mut operation.responses.responses;
        responses.entry(status).or_insert(reference);
    }
}

fn add_headers(operation: &mut Operation, read: bool) {
    let (conditional, tagged) = (has(operation, "If-Match"), has(operation, "Cache-Control"));
    let responses = &mut operation.responses.responses;
    if read && tagged {
        let not_modified =
            Response::new("Not modified: `If-None-Match` contains the current ETag.");
        responses.insert("304".to_owned(), RefOr::T(not_modified));
    }
    for (status, response) in responses.iter_mut() {
        let RefOr::T(response) = response else {
            continue;
        };
        match status.as_str() {
            "200" | "304" if read && tagged => {
                add_header(response, "ETag", text(), "ETag of this response.");
                let age = "Age of the result in seconds.";
                add_header(response, "Age", integer(0, i64::MAX), age);
            }
            "200" | "201" if conditional => {
                let doc = "ETag of the resulting representation.";
                add_header(response, "ETag", text(), doc);
            }
            _ => {}
        }
        if status == "201" {
            let doc = "Path of the created resource. Absent if several were created.";
            add_header(response, "Location", text(), doc);
        }
    }
}

fn add_header(response: &mut Response, name: &str, schema: ObjectBuilder, doc: &str) {
    let header = HeaderBuilder::new()
        .schema(Some(schema.build()))
        .description(Some(doc));
    let header = RefOr::T(header.build());
    response.headers.insert(name.to_owned(), header);
}
