//! Schemas of drains and ramps, and of what they hold.

use utoipa::openapi::{
    Array, RefOr, Schema,
    schema::{ArrayBuilder, ObjectBuilder},
};

use super::super::shape::{
    Property, always, boolean, choice, count, integer, list_of, optional, resource, response,
    settable, text, time, total,
};
use crate::model::{
    DrainRequest, DrainState, MemberState, RampRequest, RampState, ServerConfig, Then,
};

const SERVER: &str = "The server (`192.168.10.1-80`), or an address for all of its ports.";
const SERVICES: &str =
    "Ids of the services. Absent: all that have the server, also those that get it later.";
const THEN: &str = "What happens to the servers at `drained` or `deadline_reached`. `keep`: they stay, with the \
                    effective weight 0, until the drain is deleted. `remove`: they are deleted, and the drain ends.";
const WEIGHT: &str = "The intended weight.";

pub(super) fn holds() -> RefOr<Schema> {
    let holds = list_of("Hold").description(Some("The holds on the weight of a server."));
    Schema::from(holds.build()).into()
}

pub(super) fn hold() -> RefOr<Schema> {
    response(
        "A hold on the weight of a server: why `effective_weight` may differ from `weight`. A drain precedes a \
         ramp.",
        vec![
            always(
                "kind",
                choice(&["drain", "ramp", "health", "manual"]),
                "What holds the weight: a drain, a ramp, a health check that has failed, or an override of the health.",
            ),
            always("id", hold_id(), "Id of the drain or ramp."),
            always(
                "weight",
                integer(0, i32::MAX.into()),
                "The weight that it asks for: 0 for a drain, that of the current step for a ramp.",
            ),
        ],
    )
}

/// The id of a drain or ramp.
pub(in crate::http) fn hold_id() -> ObjectBuilder {
    text()
        .pattern(Some("^[0-9a-f]{16}$"))
        .examples(["00c0ffee5ca1ab1e"])
}

/// The words of an enum of the model.
fn words<T, const N: usize>(words: [(&str, T); N]) -> ObjectBuilder {
    choice(&words.map(|(word, _)| word))
}

fn ids() -> ArrayBuilder {
    Array::builder().items(text().examples(["tcp-192.0.2.1-80"]))
}

fn weight() -> ObjectBuilder {
    integer(0, i32::MAX.into())
}

fn id(doc: &str) -> Property {
    always("id", hold_id(), doc)
}

fn times() -> [Property; 2] {
    [
        always("create_time", time(), "When it was created."),
        optional(
            "end_time",
            time(),
            "When it ended. Absent while it holds the weight.",
        ),
    ]
}

/// Whether a request has created it.
fn changed() -> Property {
    optional(
        "changed",
        boolean(),
        "Whether the request changed anything. Present in responses to POST.",
    )
}

pub(super) fn drain() -> RefOr<Schema> {
    let mut properties = drain_properties();
    properties.push(changed());
    response(
        "A drain: its servers receive no new connections.",
        properties,
    )
}

pub(super) fn watched_drain() -> RefOr<Schema> {
    let mut properties = drain_properties();
    properties.push(always("members_total", total(), "Number of the servers."));
    response(
        "A drain in an event of a watch, with the first 50 of its `members`, `services` and `blockers`.",
        properties,
    )
}

fn drain_properties() -> Vec<Property> {
    let mut properties = vec![
        id("Id of the drain."),
        always("server", text().examples(["192.168.10.1"]), SERVER),
        optional("services", ids(), SERVICES),
        optional(
            "deadline_seconds",
            integer(1, DrainRequest::MAX_DEADLINE_SECONDS.into()),
            "Seconds from `create_time` until it stops waiting for connections to end. Absent: it waits.",
        ),
        always("then", words(Then::WORDS), THEN),
        optional(
            "table",
            text(),
            "The owner of the table that does not declare the server any more. Absent: a request has asked for \
             the drain.",
        ),
        always(
            "state",
            words(DrainState::WORDS),
            "`draining`: there are connections. `drained`: there are none. `deadline_reached`: there were \
             some at the deadline. `cancelled`: it was deleted before. `superseded`: the weights of all of its \
             servers were changed. A drain with `then: keep` holds its servers until it is deleted, also at \
             `drained` and `deadline_reached`.",
        ),
        always("members", list_of("DrainMember"), "The servers."),
        always(
            "blockers",
            Array::builder().items(text()),
            "Why connections may continue to come, and what would change that.",
        ),
    ];
    properties.extend(times());
    properties
}

pub(super) fn drain_member() -> RefOr<Schema> {
    response(
        "A server of a drain. The numbers are those of the last look, usually at most a second old.",
        vec![
            always("service", text(), "Id of the service."),
            always("server", text(), "Id of the server."),
            always("weight", weight(), WEIGHT),
            always("effective_weight", weight(), "The weight in the kernel."),
            always(
                "active_connections",
                count(),
                "Current number of established connections.",
            ),
            always(
                "inactive_connections",
                count(),
                "Current number of other connections.",
            ),
            always(
                "persistent_connections",
                count(),
                "Current number of persistence templates.",
            ),
            always(
                "state",
                words(MemberState::WORDS),
                "`draining`: it has connections or persistence templates. `drained`: it has none, or does not \
                 exist. `superseded`: its weight was changed, which has ended the drain for it.",
            ),
        ],
    )
}

pub(super) fn drain_request() -> RefOr<Schema> {
    resource(
        "Which servers to drain.",
        vec![
            always("server", text().examples(["192.168.10.1"]), SERVER),
            settable(
                "services",
                ids()
                    .min_items(Some(1))
                    .max_items(Some(DrainRequest::MAX_SERVICES)),
                SERVICES,
            ),
            settable(
                "deadline_seconds",
                integer(1, DrainRequest::MAX_DEADLINE_SECONDS.into()),
                "Seconds until it stops waiting for connections to end. Default: it waits.",
            ),
            settable(
                "then",
                text().pattern(Some("^(keep|remove)$")),
                &format!("{THEN} Default: `keep`."),
            ),
        ],
    )
}

pub(super) fn drain_list() -> RefOr<Schema> {
    list("A page of drains.", "drains", "Drain")
}

pub(super) fn ramp() -> RefOr<Schema> {
    let mut properties = vec![
        id("Id of the ramp."),
        always("service", text(), "Id of the service."),
        always("server", text(), "Id of the server."),
        always("from", weight(), "The weight in the kernel at the begin."),
        always(
            "to",
            weight(),
            "The weight in the end, which is the intended one from the begin.",
        ),
        always(
            "over_seconds",
            integer(1, RampRequest::MAX_SECONDS.into()),
            "Seconds from `create_time` to the end.",
        ),
        always(
            "steps",
            integer(1, RampRequest::MAX_STEPS.into()),
            "Number of steps.",
        ),
        always(
            "weight",
            weight(),
            "The weight of the current step. The kernel has it unless the server is drained.",
        ),
        always(
            "state",
            words(RampState::WORDS),
            "`ramping`: it is in progress. `done`: the weight is `to`. `cancelled`: it was deleted before; the \
             weight is `to`. `superseded`: the weight was changed, the server was deleted, or another ramp has \
             replaced it.",
        ),
    ];
    properties.extend(times());
    properties.push(changed());
    response(
        "A ramp: the weight of a server changes in steps.",
        properties,
    )
}

pub(super) fn ramp_request() -> RefOr<Schema> {
    resource(
        "The weight of a server, and how long it takes to reach it.",
        vec![
            always("service", text(), "Id of the service."),
            always("server", text(), "Id of the server."),
            always(
                "to",
                integer(0, ServerConfig::MAX_WEIGHT.into()),
                "The weight in the end.",
            ),
            always(
                "over_seconds",
                integer(1, RampRequest::MAX_SECONDS.into()),
                "Seconds until then.",
            ),
            settable(
                "steps",
                integer(1, RampRequest::MAX_STEPS.into()),
                "Number of steps. Those of the same second are made at once. Default: 20.",
            ),
        ],
    )
}

pub(super) fn ramp_list() -> RefOr<Schema> {
    list("A page of ramps.", "ramps", "Ramp")
}

fn list(doc: &str, name: &'static str, of: &str) -> RefOr<Schema> {
    response(
        doc,
        vec![
            always(name, list_of(of), "By id."),
            optional(
                "next_page_token",
                text(),
                "Value of `page_token` for the next page. Absent on the last page.",
            ),
        ],
    )
}
