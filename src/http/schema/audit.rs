//! Schemas of the audit trail.

use utoipa::openapi::{
    Array, KnownFormat, Object, RefOr, Schema, SchemaFormat, Type,
    schema::{ObjectBuilder, SchemaType},
};

use crate::http::shape::{
    Property, always, choice, list_of, one_of, optional, response, text, time, total,
};

pub(super) fn record() -> RefOr<Schema> {
    let [before, after] = states();
    response(
        "A record of the audit trail.",
        vec![
            always(
                "seq",
                total().examples([4711]),
                "Number of the record. Where numbers are missing, records were lost, and the next \
                 record says how many.",
            ),
            always("time", time(), "When it ended, to the millisecond."),
            always("principal", text(), "Name of the principal."),
            always(
                "credential",
                choice(&["token", "certificate", "jwt", "unix", "anonymous", "system"]),
                "Kind of the credential by which the principal was recognised.",
            ),
            optional(
                "peer",
                text().examples(["192.0.2.7:51234"]),
                "The other end of the connection. Absent for the daemon itself.",
            ),
            optional("request_id", text(), "Id of the request."),
            always(
                "protocol",
                choice(&["http", "grpc", "internal"]),
                "Protocol of the request; `internal` for the daemon itself.",
            ),
            operation(),
            optional(
                "service",
                text(),
                "Id of the service, if the record is about one.",
            ),
            optional(
                "server",
                text(),
                "Id of the server, if the record is about one.",
            ),
            before,
            after,
            always("outcome", "AuditOutcome", "How it ended."),
            optional(
                "reason",
                text().examples(["SERVICE_NOT_FOUND"]),
                "Why it failed or was refused, as in errors.",
            ),
            optional(
                "latency_seconds",
                seconds(),
                "Seconds from the complete request to the end.",
            ),
        ],
    )
}

/// What was done.
fn operation() -> Property {
    always(
        "operation",
        text().examples(["update_server"]),
        "Operations that were executed, such as `update_server` or `create_service \
         create_server*3`; otherwise what was requested, such as `replace_service`, \
         `list_connections`, `read_services` or `authenticate`. `records_lost`: records were lost before this \
         one. `refused_requests`: further requests that the principal may not make.",
    )
}

/// Seconds, with a fraction.
fn seconds() -> ObjectBuilder {
    Object::builder()
        .schema_type(SchemaType::Type(Type::Number))
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Double)))
        .minimum(Some(0))
}

/// `before` and `after`.
fn states() -> [Property; 2] {
    [
        optional(
            "before",
            "AuditState",
            "Configuration that was replaced or deleted.",
        ),
        optional(
            "after",
            "AuditState",
            "Configuration that was written. At the end of a restore: the numbers of its commands. Of \
             lost records, and of requests that are not recorded one by one: their number.",
        ),
    ]
}

pub(super) fn state() -> RefOr<Schema> {
    one_of(
        "Configuration. Of one operation: an object with the member `service`, `server`, `timeouts`, \
         `sync_daemon` or `settings`. Of several: a list of objects with `op`, `service`, `server` and \
         `value`. Of more than 4096 bytes, the rest is replaced by the string `truncated`.",
        &["AuditStateOfOne", "AuditStateOfSeveral", "AuditTruncated"],
    )
}

pub(super) fn state_of_one() -> RefOr<Schema> {
    response(
        "Configuration written or replaced by one operation.",
        vec![],
    )
}

pub(super) fn state_of_several() -> RefOr<Schema> {
    Schema::from(
        Array::builder()
            .items(Object::builder().schema_type(SchemaType::AnyValue))
            .description(Some(
                "Operations, and the string `truncated` if there are others.",
            ))
            .build(),
    )
    .into()
}

pub(super) fn truncated() -> RefOr<Schema> {
    choice(&["truncated"])
        .description(Some("The configuration is longer than 4096 bytes."))
        .into()
}

pub(super) fn outcome() -> RefOr<Schema> {
    choice(&[
        "success",
        "partial",
        "failure",
        "denied",
        "unauthenticated",
        "unknown",
    ])
    .description(Some(
        "`partial`: some commands of a restore were executed, others were not. `denied`: the principal \
         may not do it. `unauthenticated`: no valid credential. `unknown`: begun, and the daemon does \
         not know how it ended.",
    ))
    .into()
}

pub(super) fn record_list() -> RefOr<Schema> {
    response(
        "A page of records.",
        vec![
            always(
                "records",
                list_of("AuditRecord"),
                "The records, the newest first.",
            ),
            optional(
                "next_page_token",
                text(),
                "Value of `page_token` for the next page. Absent on the last page.",
            ),
        ],
    )
}
