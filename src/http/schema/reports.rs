//! Schemas of what is read only: counters, connections, reports, and the words of parameters.

use utoipa::openapi::{Array, RefOr, Schema};

use super::{
    super::shape::{
        Property, always, boolean, choice, count, integer, list_of, optional, response, text, total,
    },
    super::values::{ListSort, ServerInclude, ServiceInclude, StatsSort},
};

pub(super) fn stats() -> RefOr<Schema> {
    response(
        "Counters since the last zero. The kernel updates them every 2 seconds, and not at all \
         while the setting `run_estimation` is off or `est_cpulist` empty (see `estimation`).",
        vec![
            always("connections", total(), "Scheduled connections."),
            always("packets_in", total(), "Packets from clients."),
            always(
                "packets_out",
                total(),
                "Packets to clients. 0 with `direct` and `tunnel` forwarding, where responses \
                 bypass the director.",
            ),
            always("bytes_in", total(), "Bytes from clients."),
            always("bytes_out", total(), "Bytes to clients."),
        ],
    )
}

pub(super) fn rates() -> RefOr<Schema> {
    response(
        "The kernel's rate estimates per second, averaged over about 8 seconds. Frozen while the \
         setting `run_estimation` is off or `est_cpulist` empty (see `estimation`). Afterwards, the \
         kernel counts what was missed as one interval of 2 seconds: rates are too high for about \
         20 seconds.",
        vec![
            always("connections", total(), "Connections per second."),
            always("packets_in", total(), "Packets from clients per second."),
            always("packets_out", total(), "Packets to clients per second."),
            always("bytes_in", total(), "Bytes from clients per second."),
            always("bytes_out", total(), "Bytes to clients per second."),
        ],
    )
}

pub(super) fn stats_report() -> RefOr<Schema> {
    response(
        "Totals, and the services and servers with the highest counters.",
        vec![
            always(
                "stats",
                "Stats",
                "Counters of the network namespace since the last zero, deleted services included \
                 (`/proc/net/ip_vs_stats`).",
            ),
            always("rates", "Rates", "Rates of the network namespace."),
            always(
                "estimation",
                boolean(),
                "Whether the kernel updates counters and rates (settings `run_estimation` and `est_cpulist`).",
            ),
            always("service_count", total(), "Number of virtual services."),
            always(
                "server_count",
                total(),
                "Number of real servers. A server of several services counts once for each.",
            ),
            always(
                "active_connections",
                total(),
                "Established connections of all services.",
            ),
            always(
                "inactive_connections",
                total(),
                "Other connections of all services.",
            ),
            always(
                "top_services",
                list_of("TopService"),
                "The first services in sort order.",
            ),
            always(
                "top_servers",
                list_of("TopServer"),
                "The first servers in sort order.",
            ),
        ],
    )
}

pub(super) fn top_service() -> RefOr<Schema> {
    response(
        "A service in a ranking.",
        vec![
            always(
                "id",
                text().examples(["tcp-192.0.2.1-80"]),
                "Id of the service.",
            ),
            always("stats", "Stats", "Counters of the service."),
            always("rates", "Rates", "Rates of the service."),
        ],
    )
}

pub(super) fn top_server() -> RefOr<Schema> {
    response(
        "A server in a ranking.",
        vec![
            always(
                "service",
                text().examples(["tcp-192.0.2.1-80"]),
                "Id of the service.",
            ),
            always(
                "id",
                text().examples(["192.168.10.1-80"]),
                "Id of the server.",
            ),
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
            always("stats", "Stats", "Counters of the server."),
            always("rates", "Rates", "Rates of the server."),
        ],
    )
}

pub(super) fn info() -> RefOr<Schema> {
    response(
        "The daemon and the kernel.",
        vec![
            always("version", text().examples(["0.1.0"]), "Version of ipvsd."),
            always(
                "commit",
                text().examples(["1f0e5c2a9b7d48e6c3a1d5f7b9082e4c6a8d0f13"]),
                "Commit from which ipvsd was built, with `-dirty` at the end if the sources differed from it. \
                 `unknown` in a debug build, or in one from an archive that did not name it.",
            ),
            always(
                "build_date",
                text().examples(["2026-11-30T04:00:00Z"]),
                "Time of the commit as of RFC 3339, never the time at which it was built; or `unknown`.",
            ),
            optional(
                "namespace",
                text(),
                "Name of the managed network namespace. Absent if it is the daemon's own.",
            ),
            always("kernel", "Kernel", "The kernel."),
            always(
                "schedulers",
                list_of("Scheduler"),
                "Schedulers of any known kernel version. The kernel loads the module of a \
                 scheduler on first use.",
            ),
            always(
                "persistence_engines",
                Array::builder().items(text()),
                "Loaded persistence engines.",
            ),
        ],
    )
}

pub(super) fn kernel() -> RefOr<Schema> {
    response(
        "The kernel that the daemon manages.",
        vec![
            always(
                "kind",
                choice(&["netlink", "fake"]).examples(["netlink"]),
                "`netlink`: the Linux kernel. `fake`: the in-memory simulator.",
            ),
            always(
                "release",
                text().examples(["6.1.0-37-amd64"]),
                "Kernel release.",
            ),
            always(
                "ipvs_version",
                text().examples(["1.2.1"]),
                "Version of IPVS.",
            ),
            always(
                "connection_table_size",
                count().examples([4096]),
                "Number of buckets of the connection table. 0 if the kernel resizes the table and \
                 has not allocated it yet.",
            ),
            always(
                "estimation",
                boolean(),
                "Whether the kernel updates counters and rates (settings `run_estimation` and `est_cpulist`).",
            ),
            always(
                "features",
                Array::builder().items(text()),
                "Optional features: `conntrack`, `debug`, `estimation_threads`, \
                 `resizable_tables`.",
            ),
        ],
    )
}

pub(super) fn scheduler() -> RefOr<Schema> {
    response(
        "A scheduler.",
        vec![
            always("name", text().examples(["wlc"]), "The kernel's name."),
            always(
                "description",
                text().examples(["weighted least connection"]),
                "Full name of the algorithm.",
            ),
            always("loaded", boolean(), "Whether the module is loaded."),
        ],
    )
}

pub(super) fn connection() -> RefOr<Schema> {
    let [template, invalidated] = template();
    response(
        "An entry of the kernel's connection table.",
        vec![
            always(
                "protocol",
                text().examples(["tcp"]),
                "`tcp`, `udp`, `sctp`, `icmp`, `icmpv6`, or `ip` for the template of a firewall \
                 mark.",
            ),
            always(
                "client",
                "Endpoint",
                "The client. Masked, with port 0, in a template.",
            ),
            optional(
                "virtual",
                "Endpoint",
                "The virtual address. Absent in a template of a firewall mark. In an invalidated \
                 template, the port is 65535.",
            ),
            optional(
                "fwmark",
                integer(1, u32::MAX.into()).examples([7]),
                "The firewall mark, in a template of a fwmark service. Connections do not have the \
                 mark.",
            ),
            always(
                "destination",
                "Endpoint",
                "The real server. In an invalidated template, the port is 65535.",
            ),
            always(
                "state",
                text().examples(["ESTABLISHED"]),
                "The kernel's name of the state, such as `ESTABLISHED`, `SYN_RECV`, `FIN_WAIT`, \
                 `UDP`. Templates have `NONE` or `ASSURED`.",
            ),
            template,
            invalidated,
            always(
                "expires_in_seconds",
                count().examples([899]),
                "Remaining lifetime without further packets.",
            ),
            optional(
                "persistence_engine",
                text(),
                "Persistence engine of the entry.",
            ),
            optional(
                "persistence_data",
                text(),
                "Data of the persistence engine; for `sip` the Call-ID. Invalid UTF-8 is replaced.",
            ),
        ],
    )
}

/// What says whether an entry is a template, and a valid one.
fn template() -> [Property; 2] {
    [
        always(
            "template",
            boolean(),
            "Whether the entry is a persistence template instead of a connection.",
        ),
        optional(
            "invalidated",
            boolean(),
            "true: the kernel has invalidated the template, because its real server was deleted \
             or has weight 0 (setting `expire_quiescent_template`). It directs no connections and \
             expires. The kernel has replaced both ports by 65535, so a template of port 65535 \
             looks the same. Otherwise absent.",
        ),
    ]
}

pub(super) fn endpoint() -> RefOr<Schema> {
    response(
        "An address and a port.",
        vec![
            always("address", text().examples(["192.0.2.1"]), "IP address."),
            always("port", integer(0, u16::MAX.into()).examples([80]), "Port."),
        ],
    )
}

pub(super) fn connection_list() -> RefOr<Schema> {
    response(
        "Connections.",
        vec![
            always(
                "connections",
                list_of("Connection"),
                "Connections in the kernel's order.",
            ),
            always(
                "truncated",
                boolean(),
                "Whether there are more than `limit`.",
            ),
        ],
    )
}

pub(super) fn connection_count() -> RefOr<Schema> {
    response(
        "Size of a group of connections.",
        vec![
            always(
                "group",
                text().examples(["ESTABLISHED"]),
                "Value of the `count_by` field.",
            ),
            always("count", total(), "Number of connections."),
        ],
    )
}

pub(super) fn connection_counts() -> RefOr<Schema> {
    response(
        "Connections by group.",
        vec![always(
            "counts",
            list_of("ConnectionCount"),
            "Groups in descending order of size.",
        )],
    )
}

pub(super) fn cleared() -> RefOr<Schema> {
    response(
        "Result of the deletion of all services.",
        vec![
            always("deleted", total(), "Number of deleted services."),
            reconcile_suspended(),
        ],
    )
}

fn reconcile_suspended() -> Property {
    optional(
        "reconcile_suspended",
        utoipa::openapi::ArrayBuilder::new().items(text()),
        "Owners of declared tables whose `reconcile` was `repair` and is `report` from now on, because the \
         kernel's table was cleared.",
    )
}

pub(super) fn restored() -> RefOr<Schema> {
    let number = |name, doc| -> Property { always(name, total().examples([3]), doc) };
    response(
        "Result of restored rules.",
        vec![
            number("commands", "Number of commands in the text."),
            number("done", "Number of executed commands."),
            number("refused", "Number of commands that the kernel rejected."),
            reconcile_suspended(),
        ],
    )
}

pub(super) fn replaced() -> RefOr<Schema> {
    let number = |name, doc| -> Property { always(name, total().examples([3]), doc) };
    response(
        "Result of replaced rules. Services and their servers are counted together.",
        vec![
            number(
                "commands",
                "Number of operations that the difference needs.",
            ),
            number("done", "Number of executed operations; 0 in a dry run."),
            number("refused", "Number of operations that the kernel rejected."),
            always(
                "changed",
                boolean(),
                "Whether the table differed from the text.",
            ),
            number("created", "Number of services and servers to create."),
            number(
                "updated",
                "Number of services and servers to edit in place.",
            ),
            number(
                "deleted",
                "Number of services and servers to delete, the servers of deleted services included.",
            ),
            number(
                "unchanged",
                "Number of services and servers that are left as they are.",
            ),
        ],
    )
}

pub(super) fn index() -> RefOr<Schema> {
    response(
        "Paths of the API.",
        vec![always("paths", list_of("IndexEntry"), "The paths.")],
    )
}

pub(super) fn index_entry() -> RefOr<Schema> {
    response(
        "A path of the API.",
        vec![
            always(
                "path",
                text().examples(["/v1/services/{service}"]),
                "The path. Names in braces are parameters.",
            ),
            always("methods", Array::builder().items(text()), "HTTP methods."),
            always("description", text(), "What the path is."),
        ],
    )
}

pub(super) fn health() -> RefOr<Schema> {
    response(
        "Liveness or readiness.",
        vec![always("status", choice(&["ok"]).examples(["ok"]), "`ok`.")],
    )
}

pub(super) fn service_include() -> RefOr<Schema> {
    choice(&ServiceInclude::WORDS)
        .description(Some(
            "Part of a service beside its configuration. `none` adds nothing.",
        ))
        .into()
}

pub(super) fn server_include() -> RefOr<Schema> {
    choice(&ServerInclude::WORDS)
        .description(Some(
            "Part of a server beside its configuration. `none` adds nothing.",
        ))
        .into()
}

pub(super) fn list_sort() -> RefOr<Schema> {
    choice(&ListSort::words())
        .description(Some("Sort key; prefix with `-` for descending order."))
        .into()
}

pub(super) fn stats_sort() -> RefOr<Schema> {
    choice(&StatsSort::words())
        .description(Some(
            "Counter or rate; prefix with `-` for descending order.",
        ))
        .into()
}
