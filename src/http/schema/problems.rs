//! Schemas of errors, and the error responses that operations share.

use std::collections::BTreeMap;

use serde_json::json;
use utoipa::{
    IntoResponses,
    openapi::{
        Array, Content, Ref, RefOr, Response, ResponseBuilder, Schema, example::ExampleBuilder,
    },
};

use super::{
    super::problem::{MEDIA_TYPE, Problem, status},
    super::shape::{Property, always, choice, integer, list_of, optional, response, text, total},
};
use crate::model::{Errno, Error, Reason};

pub(super) fn problem() -> RefOr<Schema> {
    let mut properties = vec![
        always(
            "type",
            text()
                .format(Some(utoipa::openapi::SchemaFormat::Custom(
                    "uri-reference".to_owned(),
                )))
                .examples(["/errors/SERVICE_EXISTS"]),
            "Path of a description of the reason.",
        ),
        always(
            "title",
            text().examples(["Virtual service already exists"]),
            "Short text.",
        ),
        always("status", integer(400, 599).examples([409]), "HTTP status."),
        always(
            "detail",
            text().examples(["virtual service tcp-192.0.2.1-80 already exists"]),
            "Description of this occurrence.",
        ),
        always("reason", "Reason", "Machine-readable reason."),
        optional(
            "errno",
            text().examples(["EEXIST"]),
            "The kernel's error number. Absent if the error does not come from the kernel.",
        ),
        optional(
            "errors",
            list_of("Violation"),
            "The invalid fields. Absent if there are none.",
        ),
        optional("hint", text(), "Remedy."),
        optional(
            "request_id",
            text(),
            "Id of the request, also in the response header `X-Request-Id` and in the log.",
        ),
    ];
    properties.extend(progress());
    response("An error (RFC 9457).", properties)
}

/// How far a restore came.
fn progress() -> [Property; 4] {
    [
        optional(
            "commands",
            total().examples([3]),
            "Number of commands of a restore. This and the next three are present if a restore was \
             interrupted, or if the kernel rejected some of its commands.",
        ),
        optional(
            "done",
            total().examples([1]),
            "Number of executed commands.",
        ),
        optional(
            "refused",
            total().examples([1]),
            "Number of commands that the kernel rejected.",
        ),
        optional(
            "unknown_lines",
            Array::builder().items(total()),
            "Lines of the commands that were sent to the kernel and whose outcome is unknown.",
        ),
    ]
}

pub(super) fn violation() -> RefOr<Schema> {
    response(
        "An invalid field, query parameter or header.",
        vec![
            always(
                "field",
                text().examples(["persistence.netmask"]),
                "Path of the field, such as `persistence.netmask` or `servers[2].weight`. Empty for \
                 the request as a whole.",
            ),
            always("message", text(), "What is wrong, and the allowed values."),
        ],
    )
}

pub(super) fn reason() -> RefOr<Schema> {
    choice(&Reason::ALL.map(Reason::as_str))
        .description(Some(
            "Machine-readable reason of an error. `/errors` describes them. Later versions may add \
             reasons.",
        ))
        .into()
}

macro_rules! error_responses {
    ($($name:ident = $description:literal [$($reason:ident),+];)+) => {
        $(
            #[doc = $description]
            pub(in crate::http) struct $name;

            impl $name {
                /// The status of the response.
                pub(in crate::http) fn status() -> String {
                    let reasons = [$(Reason::$reason),+];
                    status(reasons[0]).as_u16().to_string()
                }
            }

            impl IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<Response>> {
                    let reference = Ref::from_response_name(stringify!($name));
                    BTreeMap::from([(Self::status(), RefOr::Ref(reference))])
                }
            }
        )+

        /// The error responses as components of the document.
        pub(in crate::http) fn error_responses() -> Vec<(&'static str, Response)> {
            vec![$((stringify!($name), error_response($description, &[$(Reason::$reason),+]))),+]
        }
    };
}

error_responses! {
    BadRequest = "A field, query parameter or header is missing, unknown, out of range, or \
        contradicts another." [InvalidArgument];
    Unauthenticated = "The request has no valid credential. Nothing was changed." [Unauthenticated];
    Forbidden = "The role or the scope of the principal does not permit it; the host name is not the \
        daemon's; or a page of another site sent the write. Nothing was changed."
        [PermissionDenied, CrossSite];
    NotFound = "The resource does not exist." [ServiceNotFound, ServerNotFound, SyncDaemonNotRunning, TableNotFound,
        DrainNotFound, RampNotFound, HealthCheckNotFound, NotFound];
    Conflict = "The resource already exists, or belongs to the table of an owner." [ServiceExists, ServerExists,
        ServiceOwned, ResourceOwned];
    NotExternal = "The servers of the service are checked by the daemon." [HealthCheckNotExternal];
    PreconditionFailed = "The precondition is not met. Nothing was changed." [RevisionMismatch, ConfirmMismatch];
    InProgress = "The first request with the `Idempotency-Key` is in progress." [IdempotencyInProgress];
    KeyReused = "Another request was sent with the `Idempotency-Key`. Nothing was changed." [IdempotencyKeyReused];
    TooLarge = "The body exceeds the limit." [TooLarge];
    UnsupportedMediaType = "The media type of the body is not supported." [UnsupportedMediaType];
    Unprocessable = "The kernel does not support the request." [SchedulerUnavailable,
        PersistenceEngineUnavailable, UnsupportedByKernel, SyncDaemonConflict];
    RateLimited = "The client has used up its quota, or the request queue is full. `Retry-After` \
        contains the seconds to wait."
        [RateLimited];
    Internal = "Internal error of the daemon or the kernel." [Internal];
    Unavailable = "IPVS is not available, or the daemon lacks the permission to manage it."
        [KernelUnavailable];
    InsufficientStorage = "The stored state cannot be read or written. Nothing was changed, unless the detail \
        says that the kernel was." [StoreUnavailable];
    Timeout = "The operation did not finish in time." [DeadlineExceeded];
}

fn error_response(description: &str, reasons: &[Reason]) -> Response {
    let mut content = Content::builder().schema(Some(Ref::from_schema_name("Problem")));
    for reason in reasons {
        let example = ExampleBuilder::new()
            .summary(reason.title())
            .value(Some(example(*reason)))
            .build();
        content = content.examples_from_iter([(reason.as_str(), example)]);
    }
    ResponseBuilder::new()
        .description(description)
        .content(MEDIA_TYPE, content.build())
        .build()
}

fn example(reason: Reason) -> serde_json::Value {
    let new = |detail| Error::new(reason, detail);
    let error = match reason {
        Reason::InvalidArgument => Error::invalid(
            "weight",
            "70000 is out of range: 0 to 65535, or the weight that the server has",
        ),
        Reason::ServiceNotFound => {
            new("virtual service tcp-192.0.2.1-80 does not exist").with_errno(Errno::ESRCH)
        }
        Reason::ServiceExists => {
            new("virtual service tcp-192.0.2.1-80 already exists").with_errno(Errno::EEXIST)
        }
        Reason::SchedulerUnavailable => {
            new("the kernel has no scheduler \"wrd\"").with_errno(Errno::ENOENT)
        }
        Reason::RevisionMismatch => new("the resource has changed since the etag was issued"),
        _ => new(reason.title()),
    };
    serde_json::to_value(Problem::from(error)).unwrap_or(json!({}))
}
