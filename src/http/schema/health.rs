//! Schemas of health checks.

use utoipa::openapi::{
    Object, RefOr, Schema, Type,
    schema::{ObjectBuilder, SchemaType},
};

use super::super::shape::{
    Property, always, boolean, choice, count, integer, list_of, optional, resource, response,
    settable, text, time,
};
use crate::model::{
    BelowMin, CheckMethod, CheckType, DownAction, FallbackServer, Forced, HealthCheck,
    HealthResult, HealthState, OverrideRequest, QueryType, ServerCheck, Transport,
};

pub(super) fn check() -> RefOr<Schema> {
    let parts = [times(), request(), network(), consequences(), kinds()];
    resource(
        "How the servers of a service are checked, and what follows from it.",
        parts.into_iter().flatten().collect(),
    )
}

fn times() -> Vec<Property> {
    let times = || integer(1, HealthCheck::MAX_TIMES.into());
    vec![
        settable(
            "type",
            choice(&words(&CheckType::WORDS)).examples(["http"]),
            "How a server is asked: `tcp` opens a connection, `http` and `https` send a request of HTTP/1.1, `grpc` calls \
             `Check` of grpc.health.v1, `dns` sends a query. `external`: it is not asked, results are reported. \
             Required. Another type resets the fields that depend on it.",
        ),
        settable(
            "interval_seconds",
            integer(1, HealthCheck::MAX_INTERVAL.into()).examples([2]),
            "Seconds between two checks of a server. Not `external`. Default: 2.",
        ),
        settable(
            "timeout_seconds",
            integer(1, HealthCheck::MAX_TIMEOUT.into()).examples([1]),
            "Seconds after which a check without an answer has failed; at most `interval_seconds`. Not `external`. \
             Default: 1.",
        ),
        settable(
            "rise",
            times().examples([2]),
            "Successes in a row that bring a failing server back. Default: 2; of `external`, 1. More are needed while a \
             server fails and returns again and again, except of `external`.",
        ),
        settable(
            "fall",
            times().examples([3]),
            "Failures in a row that take a server out. Default: 3; of `external`, 1.",
        ),
    ]
}

fn request() -> Vec<Property> {
    let short = |max: usize| text().min_length(Some(1)).max_length(Some(max));
    vec![
        settable(
            "path",
            short(HealthCheck::MAX_PATH).examples(["/healthz"]),
            "Path and query of the request. Only `http` and `https`. Default: `/`.",
        ),
        settable(
            "host",
            short(HealthCheck::MAX_HOST).examples(["www.example.com"]),
            "The header `Host` of the request, of `grpc` the authority. Only `http`, `https` and `grpc`. Default: the \
             address of the server, with the port if it is not the usual one.",
        ),
        settable(
            "method",
            choice(&words(&CheckMethod::WORDS)).examples(["GET"]),
            "Method of the request. POST has no body. Only `http` and `https`. Default: `GET`.",
        ),
        settable(
            "expect_status",
            text().examples(["200-399"]),
            "Status codes of a success: up to 16 codes or ranges, such as `200-299,301`. Redirections are not \
             followed. Only `http` and `https`. Default: `200-399`.",
        ),
        settable(
            "expect_body",
            short(HealthCheck::MAX_BODY).examples(["ok"]),
            "Text that the first 64 KiB of the body contain. Only `http` and `https`. Default: any body.",
        ),
        settable(
            "tls_verify",
            boolean(),
            "Whether the certificate of the server is verified, against the authorities of the director's system. \
             Only `https`, and `grpc` with `tls`. Default: true.",
        ),
        settable(
            "sni",
            short(253).examples(["www.example.com"]),
            "Name that is asked for in TLS and that the certificate must have. Only `https`, and `grpc` with `tls`. \
             Default: `host` without its port, else the address of the server.",
        ),
    ]
}

fn network() -> Vec<Property> {
    vec![
        settable(
            "port",
            integer(1, u16::MAX.into()).examples([8080]),
            "Port that is checked. Not `external`. Default: that of the server.",
        ),
        settable(
            "source_address",
            text().examples(["192.0.2.10"]),
            "Address of the director from which checks are sent, of the family of the service. Not `external`. Default: \
             the kernel chooses.",
        ),
        settable(
            "fwmark",
            integer(1, u32::MAX.into()).examples([7]),
            "Firewall mark of the packets of checks (`SO_MARK`). Not `external`. Default: none.",
        ),
    ]
}

fn consequences() -> Vec<Property> {
    vec![
        settable(
            "down_action",
            choice(&words(&DownAction::WORDS)).examples(["weight_zero"]),
            "What happens to a server that fails. `weight_zero`: it stays, and gets no new connections. Default: \
             `weight_zero`.",
        ),
        settable(
            "min_healthy",
            text().examples(["50%"]),
            "Servers that are to be healthy at least: a number from `1` to `65535`, or a part of all from `1%` to \
             `100%`, rounded up. Default: none need be.",
        ),
        settable(
            "below_min",
            choice(&words(&BelowMin::WORDS)).examples(["keep_all"]),
            "What happens while fewer are. `keep_all`: all servers get connections, also those that fail. `none`: \
             those that fail get none, even if no server is left. `fallback`: those that fail get none, and the \
             fallback servers do. Only with `min_healthy`, which `fallback` sets to `1` by default. Default: \
             `fallback` with `fallback_servers`, else `keep_all`.",
        ),
        settable(
            "fallback_servers",
            list_of("Server")
                .min_items(Some(1))
                .max_items(Some(FallbackServer::MAX)),
            "The servers that the service gets while fewer are healthy, each with a weight of at least 1. They are \
             replaced as a whole. Only with `below_min` `fallback`, which requires them.",
        ),
        settable(
            "servers",
            list_of("ServerCheck").max_items(Some(ServerCheck::MAX)),
            "Servers that are not checked like the others. They are replaced as a whole.",
        ),
        settable(
            "max_losses",
            text().examples(["50%"]),
            "Servers that are taken out at most within `interval_seconds` × `fall` + `timeout_seconds`: a number from \
             `1` to `65535`, or a part of all from `1%` to `100%`, rounded up. Others that fail are kept meanwhile. \
             Not `external`. Default: any number.",
        ),
    ]
}

/// Fields of single types.
fn kinds() -> Vec<Property> {
    vec![
        settable(
            "grpc_service",
            text()
                .max_length(Some(HealthCheck::MAX_GRPC_SERVICE))
                .examples(["shop.v1.Cart"]),
            "Service that is asked for; empty for the whole server. Only `grpc`. Default: empty.",
        ),
        settable(
            "tls",
            boolean(),
            "Whether the connection is encrypted. Only `grpc`. Default: false.",
        ),
        settable(
            "query_name",
            text()
                .min_length(Some(1))
                .max_length(Some(HealthCheck::MAX_QUERY_NAME + 1))
                .examples(["www.example.com"]),
            "Name in the query. Only `dns`. Default: `.`.",
        ),
        settable(
            "query_type",
            choice(&words(&QueryType::WORDS)).examples(["SOA"]),
            "Type in the query. Only `dns`. Default: `SOA`.",
        ),
        settable(
            "expect_rcode",
            text().examples(["NOERROR,NXDOMAIN"]),
            "Response codes of a success, separated by commas: `NOERROR`, `FORMERR`, `SERVFAIL`, `NXDOMAIN`, `NOTIMP`, \
             `REFUSED`. Only `dns`. Default: `NOERROR`.",
        ),
        settable(
            "transport",
            choice(&words(&Transport::WORDS)).examples(["udp"]),
            "Protocol of the query. Only `dns`. Default: `tcp` for a service of TCP, else `udp`.",
        ),
        settable(
            "expire_seconds",
            integer(1, HealthCheck::MAX_EXPIRE.into()).examples([60]),
            "Seconds after which a result that no other has followed does not hold any more: the state is `unknown` \
             then, and the server is treated as healthy. Only `external`. Default: it holds until the next.",
        ),
    ]
}

/// The settings of a server.
pub(super) fn of_one() -> RefOr<Schema> {
    let short = |max: usize| text().min_length(Some(1)).max_length(Some(max));
    resource(
        "How a server is checked that is not checked like the others of its service. Absent fields are as for the \
         others; at least one is present.",
        vec![
            always(
                "server",
                text().examples(["192.168.10.1-80"]),
                "Id of the server. It need not exist.",
            ),
            settable(
                "port",
                integer(1, u16::MAX.into()).examples([8080]),
                "Port that is checked.",
            ),
            settable(
                "path",
                short(HealthCheck::MAX_PATH).examples(["/healthz"]),
                "Path and query of the request. Only `http` and `https`.",
            ),
            settable(
                "host",
                short(HealthCheck::MAX_HOST).examples(["www.example.com"]),
                "The header `Host` of the request. Only `http` and `https`.",
            ),
            settable(
                "expect_status",
                text().examples(["200-399"]),
                "Status codes of a success. Only `http` and `https`.",
            ),
            settable(
                "sni",
                short(253).examples(["www.example.com"]),
                "Name that is asked for in TLS and that the certificate must have. Only `https`.",
            ),
            settable(
                "disabled",
                boolean(),
                "Whether the server is not checked, and treated as healthy. Default: false.",
            ),
        ],
    )
}

fn words<T>(words: &[(&'static str, T)]) -> Vec<&'static str> {
    words.iter().map(|(word, _)| *word).collect()
}

/// The health of the servers of a service.
pub(super) fn of_service() -> RefOr<Schema> {
    response(
        "The health of the servers of a service.",
        vec![
            always(
                "service",
                text().examples(["tcp-192.0.2.1-80"]),
                "Id of the service.",
            ),
            always(
                "healthy_count",
                count().examples([2]),
                "Servers that are healthy and get connections: they have a weight, and are neither drained nor forced \
                 down. Those whose state is `unknown` count.",
            ),
            always(
                "below_min",
                boolean(),
                "Whether fewer servers are healthy than `min_healthy` says. It ends with one more than that, or, \
                 with fallback servers, with that.",
            ),
            always(
                "storm",
                boolean(),
                "Whether servers that fail get connections, because so many became silent at once that the director \
                 or its network is rather at fault.",
            ),
            always(
                "limited",
                boolean(),
                "Whether servers that fail get connections, because `max_losses` were taken out lately.",
            ),
            always(
                "fallback",
                boolean(),
                "Whether a fallback server gets connections.",
            ),
            always(
                "servers",
                list_of("ServerHealth"),
                "The servers, by id. Fallback servers are not checked.",
            ),
        ],
    )
}

/// The health of a server.
pub(super) fn of_server() -> RefOr<Schema> {
    response(
        "The health of a server.",
        vec![
            always(
                "server",
                text().examples(["192.168.10.1-80"]),
                "Id of the server.",
            ),
            always(
                "state",
                state(),
                "`up`: its checks succeed. `down`: they have failed. `unknown`: not enough is known, it is treated as \
                 healthy. `disabled`: it is not checked. `forced_up`, `forced_down`: an override decides.",
            ),
            always("since_time", time(), "When the state began."),
            optional(
                "last_check_time",
                time(),
                "When the last check ended, or the last result was reported. Absent before it.",
            ),
            optional(
                "latency_seconds",
                number().examples([0.0021]),
                "Seconds that the last check took. Absent before it, and for results that were reported.",
            ),
            optional(
                "reason",
                text().examples(["connection refused"]),
                "Why the last check has failed, or why nothing is known. Absent after a success, unless it was reported \
                 with a reason.",
            ),
            optional(
                "override_expire_time",
                time(),
                "When the override ends. Absent without one, and if it has no end.",
            ),
            optional(
                "transitions",
                list_of("HealthTransition"),
                "The last changes of the state since the start of the daemon, newest first, at most 8. Absent if there \
                 are none, and in events of a watch.",
            ),
        ],
    )
}

/// A change of the state of a server.
pub(super) fn transition() -> RefOr<Schema> {
    response(
        "A change of the state of a server.",
        vec![
            always("time", time(), "When."),
            always("state", state(), "The state since then."),
            optional(
                "reason",
                text().examples(["connection refused"]),
                "Why its checks had failed. Absent if they had not.",
            ),
        ],
    )
}

fn state() -> ObjectBuilder {
    choice(&words(&HealthState::WORDS)).examples(["up"])
}

/// A page of services.
pub(super) fn list() -> RefOr<Schema> {
    response(
        "A page of services that are checked.",
        vec![
            always("services", list_of("ServiceHealth"), "The services, by id."),
            optional(
                "next_page_token",
                text(),
                "Value of `page_token` for the next page. Absent on the last page.",
            ),
        ],
    )
}

/// An override.
pub(super) fn health_override() -> RefOr<Schema> {
    resource(
        "What is forced of the health of a server.",
        vec![
            always(
                "state",
                choice(&words(&Forced::WORDS)).examples(["down"]),
                "`up` or `down`.",
            ),
            settable(
                "expires_seconds",
                integer(1, OverrideRequest::MAX_SECONDS.into()).examples([600]),
                "Seconds until the override ends. Default: it has no end.",
            ),
        ],
    )
}

/// A result that is reported.
pub(super) fn health_result() -> RefOr<Schema> {
    resource(
        "The result of a health check that the client has made.",
        vec![
            always("healthy", boolean(), "Whether the server is healthy."),
            settable(
                "reason",
                text()
                    .max_length(Some(HealthResult::MAX_REASON))
                    .examples(["replication lag of 90 s"]),
                "Text that is shown with the state. Default: none.",
            ),
        ],
    )
}

fn number() -> ObjectBuilder {
    Object::builder()
        .schema_type(SchemaType::Type(Type::Number))
        .minimum(Some(0.0))
}
