//! What only the OpenAPI document needs: shapes around the model's views, headers, and the refusals
//! that requests have in common.
#![allow(
    dead_code,
    reason = "these are read by the OpenAPI generator, not by the program"
)]

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;
use utoipa::{
    IntoParams, IntoResponses, PartialSchema, ToSchema,
    openapi::{
        Content, Object, Ref, RefOr, Response, ResponseBuilder, Schema, Type,
        example::ExampleBuilder, schema::SchemaType,
    },
};

use super::problem::{MEDIA_TYPE, Problem, status};
use crate::{
    app::Count,
    model::{
        Connection, Errno, Error, Reason, ServerDraft, ServerView, ServiceView, SyncDaemonView,
        Timeouts,
    },
};

/// A page of virtual services.
#[derive(Serialize, ToSchema)]
pub(super) struct ServiceList<'a> {
    /// The services.
    services: Vec<ServiceView<'a>>,
    /// Send it as `page_token` for the next page. Absent on the last.
    #[schema(nullable = false)]
    next_page_token: Option<String>,
    /// Whether the kernel estimates (setting `run_estimation`); if not, counters and rates stand
    /// still. Only with `stats` or `rates`.
    #[schema(nullable = false)]
    estimation: Option<bool>,
}

/// A page of real servers.
#[derive(Serialize, ToSchema)]
pub(super) struct ServerList<'a> {
    /// The servers.
    servers: Vec<ServerView<'a>>,
    /// Send it as `page_token` for the next page. Absent on the last.
    #[schema(nullable = false)]
    next_page_token: Option<String>,
    /// Whether the kernel estimates (setting `run_estimation`); if not, counters and rates stand
    /// still. Only with `stats` or `rates`.
    #[schema(nullable = false)]
    estimation: Option<bool>,
}

/// A virtual service after a write.
#[derive(Serialize, ToSchema)]
pub(super) struct WrittenService<'a> {
    #[serde(flatten)]
    service: ServiceView<'a>,
    /// Whether the kernel was changed at all.
    changed: bool,
}

/// A real server after a write.
#[derive(Serialize, ToSchema)]
pub(super) struct WrittenServer<'a> {
    #[serde(flatten)]
    server: ServerView<'a>,
    /// Whether the kernel was changed at all.
    changed: bool,
}

/// Real servers after a write.
#[derive(Serialize, ToSchema)]
pub(super) struct WrittenServers<'a> {
    /// The servers, in the order of the request.
    servers: Vec<ServerView<'a>>,
    /// Whether the kernel was changed at all.
    changed: bool,
}

/// One server, or several.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum WrittenServerOrServers<'a> {
    One(WrittenServer<'a>),
    Several(WrittenServers<'a>),
}

/// One server, or several, which are created all or none.
#[derive(ToSchema, Serialize)]
#[serde(untagged)]
pub(super) enum ServerInputOrList {
    #[schema(value_type = ServerDraft)]
    One(()),
    Several(ServerInputList),
}

/// Several servers.
#[derive(ToSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServerInputList {
    /// The servers.
    #[schema(value_type = Vec<ServerDraft>, min_items = 1)]
    servers: (),
}

/// How many services were deleted.
#[derive(Serialize, ToSchema)]
pub(super) struct Deleted {
    /// How many.
    pub deleted: u64,
}

/// Timeouts after a write.
#[derive(Serialize, ToSchema)]
pub(super) struct WrittenTimeouts {
    #[serde(flatten)]
    timeouts: Timeouts,
    /// Whether the kernel was changed at all.
    changed: bool,
}

/// The sync daemons that run.
#[derive(Serialize, ToSchema)]
pub(super) struct SyncDaemonList {
    /// The daemons: none, one or both.
    pub sync_daemons: Vec<SyncDaemonView>,
}

/// A sync daemon after a write.
#[derive(Serialize, ToSchema)]
pub(super) struct WrittenSyncDaemon {
    #[serde(flatten)]
    daemon: SyncDaemonView,
    /// Whether the kernel was changed at all.
    changed: bool,
}

/// Connections.
#[derive(Serialize, ToSchema)]
pub(super) struct ConnectionList {
    /// The connections, in the kernel's order.
    connections: Vec<Connection>,
    /// Whether there are more than `limit`.
    truncated: bool,
}

/// Connections by group.
#[derive(Serialize, ToSchema)]
pub(super) struct ConnectionCounts {
    /// The groups, the largest first.
    pub counts: Vec<Count>,
}

/// Connections, or how many there are in each group where `count_by` is given.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum ConnectionListOrCounts {
    List(ConnectionList),
    Counts(ConnectionCounts),
}

/// Whether the daemon is alive or ready.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    /// `ok`.
    #[schema(example = "ok")]
    pub status: &'static str,
}

/// Name of a reason.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReasonName;

/// Headers of a read.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct ReadHeaders {
    /// Tags that the client has; if one of them still holds, the answer is 304.
    #[param(
        rename = "If-None-Match",
        required = false,
        nullable = false,
        example = "\"r-0123456789abcdef.0123456789abcdef\""
    )]
    if_none_match: Option<String>,
    /// `max-age=N` takes an answer up to N seconds old. Without it, or with what is not
    /// understood, the kernel is asked.
    #[param(
        rename = "Cache-Control",
        required = false,
        nullable = false,
        example = "max-age=5"
    )]
    cache_control: Option<String>,
}

/// Precondition of a write.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct IfMatchHeader {
    /// Etags of the resource, one of which it must still have, or `*`: it must exist. The
    /// configuration counts, not counters and connections.
    #[param(
        rename = "If-Match",
        required = false,
        nullable = false,
        pattern = "^(\\*|\"[srt]-[0-9a-f]{16}(\\.[0-9a-f]{16})?\")$",
        example = "\"r-0123456789abcdef\""
    )]
    if_match: Option<String>,
}

/// Precondition of a write that may create.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct IfNoneMatchHeader {
    /// `*`: it must not exist yet. Not together with `If-Match`.
    #[param(
        rename = "If-None-Match",
        required = false,
        nullable = false,
        pattern = "^\\*$",
        example = "*"
    )]
    if_none_match: Option<String>,
}

/// `allow_missing` of a deletion.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct AllowMissingParam {
    /// Whether it is all right when there is nothing to delete. Default false: then it is 404.
    #[param(required = false, nullable = false)]
    allow_missing: Option<bool>,
}

// === impl ReasonName ===

impl PartialSchema for ReasonName {
    fn schema() -> RefOr<Schema> {
        let names = Reason::ALL.map(Reason::as_str);
        Object::builder()
            .schema_type(SchemaType::Type(Type::String))
            .enum_values(Some(names))
            .description(Some("Stable name of a reason; `/errors` explains them."))
            .build()
            .into()
    }
}

impl ToSchema for ReasonName {
    fn name() -> std::borrow::Cow<'static, str> {
        "Reason".into()
    }
}

// === the refusals ===

macro_rules! refusals {
    ($($name:ident = $description:literal [$($reason:ident),+];)+) => {
        $(
            #[doc = $description]
            pub(super) struct $name;

            impl $name {
                /// Its status.
                pub(super) fn status() -> String {
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

        /// The refusals as reusable parts of the document.
        pub(super) fn refusals() -> Vec<(&'static str, Response)> {
            vec![$((stringify!($name), refusal($description, &[$(Reason::$reason),+]))),+]
        }
    };
}

refusals! {
    BadRequest = "Something in the request is missing, out of range, unknown, or contradicts \
        something else." [InvalidArgument];
    NotFound = "There is no such thing." [ServiceNotFound, ServerNotFound, SyncDaemonNotRunning, NotFound];
    Conflict = "It exists already." [ServiceExists, ServerExists];
    PreconditionFailed = "The precondition does not hold." [RevisionMismatch];
    TooLarge = "The body is larger than the daemon takes." [TooLarge];
    UnsupportedMediaType = "The body is not of a type that this request takes." [UnsupportedMediaType];
    Unprocessable = "The kernel cannot do it." [SchedulerUnavailable, PersistenceEngineUnavailable,
        UnsupportedByKernel, SyncDaemonConflict];
    RateLimited = "The daemon has as much to do as it takes on at a time; `Retry-After` says when \
        to try again." [RateLimited];
    Internal = "The daemon or the kernel misbehaved." [Internal];
    Unavailable = "The kernel has no IPVS, or the daemon may not manage it." [KernelUnavailable];
    Timeout = "The operation did not end in time." [DeadlineExceeded];
}

fn refusal(description: &str, reasons: &[Reason]) -> Response {
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
    let error = match reason {
        Reason::InvalidArgument => Error::invalid("weight", "70000 is out of range: 0 to 65535"),
        Reason::ServiceNotFound => {
            Error::new(reason, "there is no virtual service tcp-192.0.2.1-80")
                .with_errno(Errno::ESRCH)
        }
        Reason::ServiceExists => Error::new(
            reason,
            "there is a virtual service tcp-192.0.2.1-80 already",
        )
        .with_errno(Errno::EEXIST),
        Reason::SchedulerUnavailable => {
            Error::new(reason, "the kernel has no scheduler \"wrd\"").with_errno(Errno::ENOENT)
        }
        Reason::RevisionMismatch => Error::new(reason, "it has changed since the etag was given"),
        _ => Error::new(reason, reason.title()),
    };
    serde_json::to_value(Problem::from(error)).unwrap_or(json!({}))
}
