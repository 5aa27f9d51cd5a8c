//! Schemas of statistics streams.

use utoipa::openapi::{
    RefOr, Schema,
    schema::{Object, ObjectBuilder, SchemaType, Type},
};

use super::super::shape::{
    Property, always, boolean, choice, count, integer, list_of, optional, response, text, time,
    total,
};
use crate::app::StatsInclude;

/// A number that is not negative.
fn number() -> ObjectBuilder {
    let number = Object::builder().schema_type(SchemaType::Type(Type::Number));
    number.minimum(Some(0))
}

pub(super) fn rates() -> RefOr<Schema> {
    response(
        "Rates per second between two samples of the counters, rounded to three decimals.",
        vec![
            always("connections", number(), "Connections per second."),
            always("packets_in", number(), "Packets from clients per second."),
            always("packets_out", number(), "Packets to clients per second."),
            always("bytes_in", number(), "Bytes from clients per second."),
            always("bytes_out", number(), "Bytes to clients per second."),
        ],
    )
}

pub(super) fn frame() -> RefOr<Schema> {
    response(
        "The counters at one time, and the rates since an older one. Later versions may add properties.",
        vec![
            always("time", time(), "When the counters were read."),
            optional(
                "interval_seconds",
                number(),
                "The time over which the rates were computed: at least 4 seconds, less what timers were late. Absent without an \
                 older sample.",
            ),
            always(
                "estimation",
                boolean(),
                "Whether the kernel refreshes the counters of services and servers (settings `run_estimation` and \
                 `est_cpulist`). The rates of the totals are known all the same.",
            ),
            always(
                "totals",
                "StatsFrameTotals",
                "Of the director; for a principal that sees only some services, of these.",
            ),
            optional(
                "services",
                list_of("StatsFrameService"),
                "Services in the order of lists. Absent with `include=totals`.",
            ),
        ],
    )
}

pub(super) fn totals() -> RefOr<Schema> {
    let properties = vec![
        always("service_count", count(), "Number of virtual services."),
        always(
            "server_count",
            total(),
            "Number of real servers. A server of several services counts for each.",
        ),
    ];
    response(
        "Totals of a frame.",
        counters()
            .into_iter()
            .chain(properties)
            .chain(connections())
            .collect(),
    )
}

pub(super) fn service() -> RefOr<Schema> {
    let id = always(
        "id",
        text().examples(["tcp-192.0.2.1-80"]),
        "Id of the service.",
    );
    let properties = vec![
        always("server_count", count(), "Number of real servers."),
        always(
            "available_server_count",
            count(),
            "Number of real servers with a weight above 0 in the kernel.",
        ),
        optional(
            "servers",
            list_of("StatsFrameServer"),
            "Its servers in the kernel's order. With `include=servers`.",
        ),
    ];
    response(
        "A service of a frame.",
        std::iter::once(id)
            .chain(counters())
            .chain(properties)
            .chain(connections())
            .collect(),
    )
}

pub(super) fn server() -> RefOr<Schema> {
    let id = always(
        "id",
        text().examples(["192.168.10.1-80"]),
        "Id of the server.",
    );
    let properties = vec![
        always(
            "weight",
            count(),
            "The weight in the kernel, which a drain or a ramp may keep below the intended one.",
        ),
        always(
            "persistent_connections",
            count(),
            "Current number of persistence templates.",
        ),
    ];
    response(
        "A server of a frame.",
        std::iter::once(id)
            .chain(counters())
            .chain(properties)
            .chain(connections())
            .collect(),
    )
}

pub(super) fn notice() -> RefOr<Schema> {
    response(
        "The data of an event that is no frame.",
        vec![
            always(
                "type",
                choice(&["unavailable", "end"]),
                "The type, as in the line `event`.",
            ),
            always(
                "reason",
                text().examples(["KERNEL_UNAVAILABLE"]),
                "Why the kernel could not be read, or why the stream ends (`UNAUTHENTICATED`, `PERMISSION_DENIED`): \
                 a reason of problem details.",
            ),
            optional("detail", text(), "Explanation. With `unavailable`."),
        ],
    )
}

pub(super) fn history() -> RefOr<Schema> {
    response(
        "The history of statistics.",
        vec![
            always(
                "interval_seconds",
                integer(1, 3600),
                "Time between two points. It is longer while a read of the table takes long.",
            ),
            always(
                "points",
                list_of("StatsFrame"),
                "Frames, oldest first: without `services`, or with the requested one if it existed then.",
            ),
        ],
    )
}

pub(super) fn include() -> RefOr<Schema> {
    choice(&StatsInclude::WORDS)
        .description(Some(
            "`totals`: nothing beside the totals; `services`; `servers`: the servers of one service, with it.",
        ))
        .into()
}

/// Counters and rates.
fn counters() -> [Property; 2] {
    [
        always("stats", "Stats", "Counters."),
        optional(
            "rates",
            "MeasuredRates",
            "Rates. Absent where they are not known: without an older sample, when a counter went back, and for \
             services and servers while the kernel does not refresh counters.",
        ),
    ]
}

/// Connection counts.
fn connections() -> [Property; 2] {
    [
        always(
            "active_connections",
            total(),
            "Current number of established connections.",
        ),
        always(
            "inactive_connections",
            total(),
            "Current number of other connections.",
        ),
    ]
}
