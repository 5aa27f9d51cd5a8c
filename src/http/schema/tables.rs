//! Schemas of declared tables.

use utoipa::openapi::{RefOr, Schema};

use super::{
    super::shape::{
        Property, always, boolean, choice, integer, list_of, optional, output, resource, response,
        settable, text, time, total,
    },
    holds::hold_id,
};
use crate::model::DrainRequest;

const OWNER: &str =
    "Owner: 1 to 63 characters `a-z`, `0-9`, `.`, `_` and `-`, the first a letter or a digit.";
const GENERATION: &str = "Number of the declaration, from 1. Grows when the declaration changes.";
const RECONCILE: [&str; 3] = ["off", "report", "repair"];
const RECONCILE_DOC: &str = "What the daemon does if the kernel has something else than is declared: nothing, log it, or \
     repair it. With `repair`, other writes to the services of the table are rejected with `SERVICE_OWNED`. \
     In a request without it, that of the declared table stays; default `off`.";
const KEEP_WEIGHTS_DOC: &str = "Whether servers that exist keep their weight. In a request without it, that of the declared table \
     stays; default false.";
const REMOVAL: [&str; 2] = ["now", "drain"];
const REMOVAL_DOC: &str = "What becomes of servers that are not declared any more: `now` deletes them; `drain` drains each, and \
     deletes it when it has no connections. In a request without it, that of the declared table stays; default `now`.";
const DRAIN_DEADLINE_DOC: &str = "Seconds until a server that drains is deleted with the connections that it has; `null`: no limit. \
     In a request without it, that of the declared table stays; default no limit.";
const TIMEOUTS_DOC: &str = "Timeouts that the table declares; those that are absent are the kernel's defaults. Absent: the table does \
     not declare them, and those of the kernel stay. One table may declare them; requires the role `admin`.";
const SYNC_DAEMONS_DOC: &str = "Sync daemons that the table declares, at most one of each `state`: others are stopped; `[]`: none may run. \
     Absent: the table does not declare them, and those that it has declared before are stopped. One table may \
     declare them; requires the role `admin`.";
const OPERATIONS: [&str; 9] = [
    "create_service",
    "update_service",
    "delete_service",
    "create_server",
    "update_server",
    "delete_server",
    "set_timeouts",
    "start_sync_daemon",
    "stop_sync_daemon",
];
const OUTCOMES: [&str; 7] = [
    "unchanged",
    "applied",
    "planned",
    "rolled_back",
    "rollback_incomplete",
    "partial",
    "running",
];

pub(super) fn table() -> RefOr<Schema> {
    resource(
        "The part of the kernel's table that an owner declares.",
        vec![
            output("owner", text(), OWNER),
            output("generation", total(), GENERATION),
            always(
                "services",
                list_of("Service"),
                "All services of the owner, each with all of its servers.",
            ),
            optional("reconcile", choice(&RECONCILE), RECONCILE_DOC),
            optional("keep_weights", boolean(), KEEP_WEIGHTS_DOC),
            optional("removal", choice(&REMOVAL), REMOVAL_DOC),
            settable("drain_deadline_seconds", deadline(), DRAIN_DEADLINE_DOC),
            optional("timeouts", "Timeouts", TIMEOUTS_DOC),
            optional(
                "sync_daemons",
                list_of("ListedSyncDaemon"),
                SYNC_DAEMONS_DOC,
            ),
            output(
                "etag",
                text(),
                "ETag of the declaration, for `If-Match`. The kernel's table is no part of it.",
            ),
            output("status", "TableStatus", "How the kernel's table compares."),
        ],
    )
}

pub(super) fn list() -> RefOr<Schema> {
    response(
        "A page of the declared tables.",
        vec![
            always("tables", list_of("TableOverview"), "By owner."),
            optional(
                "next_page_token",
                text(),
                "Value of `page_token` for the next page. Absent on the last page.",
            ),
        ],
    )
}

pub(super) fn operation_list() -> RefOr<Schema> {
    response(
        "A page of the operations of the last apply of a table.",
        vec![
            always("apply_id", text(), "Id of the apply."),
            always(
                "outcome",
                choice(&OUTCOMES),
                "How the apply ended; `running`: it has not ended.",
            ),
            always(
                "operations",
                list_of("TableOperation"),
                "In the order of their execution.",
            ),
            always("operations_total", total(), "Number of all operations."),
            optional(
                "next_page_token",
                text(),
                "Value of `page_token` for the next page. Absent on the last page.",
            ),
        ],
    )
}

pub(super) fn overview() -> RefOr<Schema> {
    response(
        "A declared table without its services.",
        vec![
            always("owner", text(), OWNER),
            always("generation", total(), GENERATION),
            always("service_count", total(), "Number of services."),
            always(
                "server_count",
                total(),
                "Number of servers of all services.",
            ),
            always("reconcile", choice(&RECONCILE), RECONCILE_DOC),
            always("keep_weights", boolean(), KEEP_WEIGHTS_DOC),
            always("removal", choice(&REMOVAL), REMOVAL_DOC),
            optional("drain_deadline_seconds", deadline(), DRAIN_DEADLINE_DOC),
            optional("timeouts", "Timeouts", TIMEOUTS_DOC),
            optional(
                "sync_daemons",
                list_of("ListedSyncDaemon"),
                SYNC_DAEMONS_DOC,
            ),
            always("etag", text(), "ETag of the declaration."),
            always("status", "TableStatus", "How the kernel's table compares."),
        ],
    )
}

pub(super) fn status() -> RefOr<Schema> {
    response(
        "The state of a declared table.",
        vec![
            always(
                "state",
                choice(&["in_sync", "drifted", "applying", "failed"]),
                "`in_sync`: the kernel has what is declared. `drifted`: it has something else. `applying`: \
                 an apply is in progress. `failed`: the last apply failed, and the kernel has something \
                 else.",
            ),
            optional(
                "last_apply",
                "LastApply",
                "The last apply that was not rejected. Absent before it.",
            ),
            optional(
                "lost",
                utoipa::openapi::ArrayBuilder::new().items(text()),
                "Ids of services that a table of another owner has taken over.",
            ),
            optional(
                "conflicts",
                list_of("TableConflict"),
                "What other programs keep changing under `repair`: repaired more and more rarely. The first \
                 100.",
            ),
        ],
    )
}

pub(super) fn settings() -> RefOr<Schema> {
    resource(
        "How a declared table is kept.",
        vec![
            optional("reconcile", choice(&RECONCILE), RECONCILE_DOC),
            optional("keep_weights", boolean(), KEEP_WEIGHTS_DOC),
            optional("removal", choice(&REMOVAL), REMOVAL_DOC),
            settable("drain_deadline_seconds", deadline(), DRAIN_DEADLINE_DOC),
        ],
    )
}

fn deadline() -> utoipa::openapi::ObjectBuilder {
    integer(1, DrainRequest::MAX_DEADLINE_SECONDS.into())
}

pub(super) fn conflict() -> RefOr<Schema> {
    response(
        "What another program keeps changing of a table under `repair`.",
        vec![
            always(
                "resource",
                choice(&["service", "server", "timeouts", "sync_daemon"]),
                "What it is.",
            ),
            optional(
                "service",
                text(),
                "Id of the service. Absent for timeouts and sync daemons.",
            ),
            optional("server", text(), "Id of the server. Absent for others."),
            optional(
                "sync_daemon",
                "SyncDaemonRole",
                "State of the sync daemon. Absent for others.",
            ),
            always(
                "repairs",
                total(),
                "Repairs one after the other, at least 3.",
            ),
            always("next_repair_time", time(), "When it may be repaired again."),
        ],
    )
}

pub(super) fn last_apply() -> RefOr<Schema> {
    response(
        "The last apply of a table.",
        vec![
            always("apply_id", text(), "Its id: that of its request."),
            always("end_time", time(), "When it ended."),
            always("outcome", choice(&OUTCOMES), "How it ended."),
        ],
    )
}

pub(super) fn applied() -> RefOr<Schema> {
    let mut properties = vec![
        always("owner", text(), OWNER),
        always("generation", total(), GENERATION),
    ];
    properties.extend(outcome());
    properties.push(optional(
        "etag",
        text(),
        "ETag of the declaration. Absent if the table is deleted.",
    ));
    properties.push(optional(
        "revision",
        text(),
        "Revision after the last event of the apply, for `from_revision` of a watch. Absent in a dry run and of an \
         apply that has not ended.",
    ));
    response(
        "What an apply did. In an error with the reason `APPLY_FAILED` or `DEADLINE_EXCEEDED`, the same members \
         are beside those of the error.",
        properties,
    )
}

pub(super) fn batch_applied() -> RefOr<Schema> {
    response(
        "What a batch did. In an error with the reason `APPLY_FAILED` or `DEADLINE_EXCEEDED`, the same members \
         are beside those of the error.",
        outcome(),
    )
}

fn outcome() -> Vec<Property> {
    vec![
        always(
            "apply_id",
            text(),
            "Id of the execution: that of its request, also in the log and the audit trail.",
        ),
        always(
            "outcome",
            choice(&OUTCOMES),
            "`unchanged`: there was nothing to do. `applied`: all operations were executed. `planned`: a \
             dry run. `rolled_back`: an operation failed, and the others were undone. \
             `rollback_incomplete`: not everything could be undone or restored. `partial`: an operation \
             failed, and others were executed. `running`: it has not ended.",
        ),
        always(
            "plan",
            text().examples(["p-0123456789abcdef"]),
            "Digest of the operations and of what they replace; of a table, for `expect_plan`.",
        ),
        always(
            "operations",
            list_of("TableOperation"),
            "The first 1000 operations, those that failed before the others.",
        ),
        always("operations_total", total(), "Number of all operations."),
        always(
            "summary",
            "ApplySummary",
            "Numbers of services and servers.",
        ),
    ]
}

fn fields() -> utoipa::openapi::ObjectBuilder {
    utoipa::openapi::ObjectBuilder::new()
}

pub(super) fn operation() -> RefOr<Schema> {
    response(
        "An operation of an apply or of a batch.",
        vec![
            always(
                "op",
                choice(&OPERATIONS),
                "The operation. The deletion of a service includes its servers.",
            ),
            optional(
                "index",
                total(),
                "Which operation of the batch asks for it, from 0. Absent of a table.",
            ),
            optional(
                "service",
                text(),
                "Id of the service. Absent for timeouts and sync daemons.",
            ),
            optional(
                "server",
                text(),
                "Id of the server. Absent if the operation is of the service.",
            ),
            optional(
                "before",
                fields(),
                "The fields that the operation changes, as they were, under `service`, `server`, `timeouts` or \
                 `sync_daemon`.",
            ),
            optional("after", fields(), "The same fields as they are to be."),
            always(
                "result",
                choice(&["done", "failed", "undone", "skipped", "planned", "draining"]),
                "`skipped`: not executed, or not undone because another program has changed the object since. \
                 `draining`: the server is deleted at the end of `drain`.",
            ),
            optional(
                "lost",
                utoipa::openapi::ArrayBuilder::new().items(choice(&[
                    "counters",
                    "connections",
                    "server_order",
                ])),
                "What an undo could not restore.",
            ),
            optional(
                "drain",
                hold_id(),
                "Id of the drain that the deletion of a server has begun.",
            ),
            optional("error", "Problem", "Why it failed."),
        ],
    )
}

pub(super) fn summary() -> RefOr<Schema> {
    response(
        "Numbers of services, servers, sync daemons and the timeouts, by what happens to them according to the \
         plan.",
        vec![
            always("create", total(), "Created."),
            always("update", total(), "Changed in place."),
            always(
                "delete",
                total(),
                "Deleted, the servers of deleted services included.",
            ),
            always("unchanged", total(), "Left as they are."),
            always(
                "draining",
                total(),
                "Servers that are deleted when they are drained: those that begin to drain, and those that \
                 already do. 0 of a batch.",
            ),
        ],
    )
}
