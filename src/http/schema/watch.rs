//! Schemas of watches.

use utoipa::openapi::{RefOr, Schema};

use super::super::shape::{Property, always, choice, optional, response, text, time};
use crate::app::WatchResources;

pub(super) fn event() -> RefOr<Schema> {
    let kinds = ["added", "modified", "deleted", "bookmark", "resync", "end"];
    response(
        "The data of an event of a watch. Later versions may add types, resources and properties.",
        vec![
            always("type", choice(&kinds), "The type, as in the line `event`."),
            optional(
                "resource",
                choice(&WatchResources::NAMES),
                "The kind of the object. With `added`, `modified` and `deleted`.",
            ),
            optional(
                "service",
                text(),
                "Id of the service, or of that of the server or ramp. Absent for drains and tables.",
            ),
            optional(
                "server",
                text(),
                "Id of the server, or of that of the ramp. Absent for others.",
            ),
            optional(
                "before",
                "WatchState",
                "The object before. Absent with `added`.",
            ),
            optional(
                "after",
                "WatchState",
                "The object after. Absent with `deleted`.",
            ),
        ]
        .into_iter()
        .chain(circumstances())
        .collect(),
    )
}

/// What events have beside their object.
fn circumstances() -> Vec<Property> {
    vec![
        optional(
            "origin",
            choice(&["api", "task", "foreign"]),
            "What has made the change: a request to this daemon, the daemon itself, or another program. \
             Absent in the state that comes first or after `resync`.",
        ),
        optional(
            "principal",
            text(),
            "Who has made the request. For administrators, and in events of one's own requests.",
        ),
        optional("request_id", text(), "Id of that request."),
        optional(
            "reason",
            choice(&[
                "EPOCH_CHANGED",
                "REVISION_EXPIRED",
                "TOO_SLOW",
                "UNAUTHENTICATED",
                "PERMISSION_DENIED",
            ]),
            "Why the state is sent anew (`resync`), or why the stream ends (`end`).",
        ),
        optional(
            "revision",
            text(),
            "The revision after the change. Opaque. Absent if a watch cannot resume here.",
        ),
        optional(
            "time",
            time(),
            "When the change was executed; of another program's, when it was found.",
        ),
    ]
}

pub(super) fn state() -> RefOr<Schema> {
    response(
        "One object, under its kind.",
        vec![
            optional(
                "service",
                "Service",
                "A service, without its servers and counters.",
            ),
            optional(
                "server",
                "Server",
                "A server, without counters and connections.",
            ),
            optional(
                "drain",
                "WatchedDrain",
                "A drain, with the first 50 of its members, services and blockers.",
            ),
            optional("ramp", "Ramp", "A ramp."),
            optional(
                "health",
                "ServerHealth",
                "The health of a server, without its last check.",
            ),
            optional(
                "table",
                "TableOverview",
                "A declared table, without its services. Its `status.state` is as the last apply ended, or as \
                 a comparison since has found; `status.conflicts` is absent, and `status.lost` has the first \
                 50 entries.",
            ),
        ],
    )
}
