//! Schemas of services and servers.

use utoipa::openapi::{
    Object, RefOr, Schema, Type,
    schema::{AdditionalProperties, ObjectBuilder, SchemaType},
};

use super::super::shape::{
    Property, always, boolean, choice, count, integer, list_of, optional, output, resource,
    response, settable, text,
};
use crate::model::{Membership, ServerConfig, ServiceConfig};

pub(super) const CHANGED: &str = "Whether the write changed the kernel's table. Present only in the \
    response to a write.";
const TOKEN: &str = "Value of `page_token` for the next page. Absent on the last page.";
/// Of a list.
const REVISION: &str = "The list has every change up to this revision, and perhaps later ones, which a watch from \
     it (`GET /v1/watch?from_revision=`) shows again. Opaque. Watch from that of the first page.";

const ESTIMATION: &str = "Whether the kernel updates counters and rates (setting \
    `run_estimation`). Present only with `stats` or `rates`.";

pub(super) fn service() -> RefOr<Schema> {
    resource(
        "A virtual service. It is identified by protocol, address and port, or by a firewall mark.",
        [identity(), configuration(), parts()]
            .into_iter()
            .flatten()
            .collect(),
    )
}

fn identity() -> Vec<Property> {
    vec![
        settable(
            "id",
            text().examples(["tcp-192.0.2.1-80"]),
            "Id of the service. In a request it can replace the identifying fields; if both are \
             given, they must agree. Forms: `tcp-192.0.2.1-80`, `udp-2001:db8::1-53`, \
             `sctp-192.0.2.1-0`, `fwmark-7` (IPv4), `fwmark6-7` (IPv6).",
        ),
        settable(
            "protocol",
            "Protocol",
            "Transport protocol. Not with `fwmark`.",
        ),
        settable(
            "address",
            text().examples(["192.0.2.1"]),
            "Virtual address, IPv4 or IPv6. Responses use the canonical form (RFC 5952). Not with \
             `fwmark`.",
        ),
        settable(
            "port",
            integer(0, u16::MAX.into()).examples([80]),
            "Virtual port. 0 stands for any port and requires `persistence`. Default: 0. Not with \
             `fwmark`.",
        ),
        settable(
            "fwmark",
            integer(1, u32::MAX.into()).examples([7]),
            "Firewall mark of the packets, instead of protocol, address and port.",
        ),
        settable(
            "family",
            "Family",
            "Address family of the packets with this `fwmark`. Default: `ipv4`.",
        ),
    ]
}

fn configuration() -> Vec<Property> {
    vec![
        settable(
            "scheduler",
            text()
                .min_length(Some(1))
                .max_length(Some(15))
                .examples(["wlc"]),
            "Scheduling algorithm, by the kernel's name. Default: `wlc`. `GET /v1/info` lists the \
             names.",
        ),
        settable(
            "scheduler_flags",
            list_of("SchedulerFlag"),
            "Flags of the scheduler: `sh-fallback` and `sh-port` (sh), `mh-fallback` and `mh-port` \
             (mh), `flag-1` to `flag-3` (any). Default: none; also reset when the scheduler \
             changes.",
        ),
        settable(
            "one_packet",
            boolean(),
            "Whether each packet is scheduled independently (one-packet scheduling). Only for UDP \
             and firewall marks. Turned on, it does not apply to flows that are in the connection \
             table: they keep their server until their entry expires. Default: false.",
        ),
        settable(
            "persistence",
            "Persistence",
            "Persistence: connections of a client go to the same server. `{}` enables it with the \
             defaults. Absent from responses if the service is not persistent. Default: none.",
        ),
        settable(
            "netmask",
            netmask(),
            "Netmask stored by the kernel for a service without persistence, where it has no \
             effect. Present in responses only if it is not the full address. A persistent service \
             has `persistence.netmask`.",
        ),
        settable(
            "persistence_engine",
            text()
                .min_length(Some(1))
                .max_length(Some(16))
                .examples(["sip"]),
            "Persistence engine, such as `sip`. Default: none.",
        ),
        settable(
            "labels",
            "Labels",
            "Labels, which the daemon keeps. PATCH merges them into those that the service has, and `null` as a \
             value removes one. A PUT and a table without this field keep those; `{}` and `null` remove all. \
             Absent from responses without any. Default: none.",
        ),
        settable(
            "health_check",
            "HealthCheck",
            "How the servers are checked; servers that fail get no new connections. The daemon stores it. PATCH merges \
             its fields into those that there are. A PUT and a table without this field keep it; `null`, and `{}` in a \
             PUT or a table, remove it. Absent from responses without one. Default: none.",
        ),
        settable(
            "servers",
            list_of("Server"),
            "Real servers, in the kernel's order, which schedulers use. POST creates them with the \
             service. PUT makes them the whole set; without this field it keeps the set. PATCH \
             rejects it. Absent from responses without `include=servers`.",
        ),
    ]
}

fn parts() -> Vec<Property> {
    vec![
        output(
            "server_count",
            count().examples([1]),
            "Number of real servers. Present with `servers`.",
        ),
        output("stats", "Stats", "Counters. Present with `include=stats`."),
        output("rates", "Rates", "Rates. Present with `include=rates`."),
        output(
            "etag",
            text().examples(["t-0123456789abcdef"]),
            "Fingerprint of the configuration, for `If-Match`. It covers the servers if the \
             response contains them.",
        ),
        output(
            "owner",
            text().examples(["k8s"]),
            "Owner of the table that declares the service; `_unmanaged` if none does. Absent in tables and \
             operations, and if it is not known, because the daemon serves without its store.",
        ),
        output("changed", boolean(), CHANGED),
        output(
            "server_order_differs",
            boolean(),
            "true: the servers are in another order than the body of the PUT lists them. The kernel \
             puts new servers first and cannot move others. The schedulers `sh`, `dh` and `mh` depend \
             on the order: to set it, PUT the service with an empty list of servers, then with the \
             list. Present only in the response to a PUT, and only if true.",
        ),
    ]
}

/// Labels of a service.
pub(super) fn labels() -> RefOr<Schema> {
    let value = text()
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .max_length(Some(63));
    Object::builder()
        .schema_type(SchemaType::Type(Type::Object))
        .description(Some(
            "Values by keys, in the syntax of Kubernetes: names of up to 63 characters `A-Z`, `a-z`, `0-9`, `.`, \
             `_` and `-`, the first and the last a letter or a digit. A key may have a DNS name of up to 253 \
             characters and `/` before the name; a value may be empty. At most 64.",
        ))
        .additional_properties(Some(AdditionalProperties::RefOr(RefOr::T(Schema::from(
            value.build(),
        )))))
        .max_properties(Some(64))
        .examples([serde_json::json!({"team": "web"})])
        .build()
        .into()
}

pub(super) fn persistence() -> RefOr<Schema> {
    resource(
        "Persistence of a virtual service.",
        vec![
            settable(
                "timeout_seconds",
                integer(1, ServiceConfig::MAX_TIMEOUT.into()).examples([300]),
                "Seconds for which a client keeps its server after its last connection. Default: \
                 300.",
            ),
            settable(
                "netmask",
                netmask(),
                "Granularity of the client address: a dotted quad for IPv4, a prefix length from 1 \
                 to 128 for IPv6. Default: the full address.",
            ),
        ],
    )
}

/// Text, or a number for a prefix length.
fn netmask() -> ObjectBuilder {
    Object::builder()
        .schema_type(SchemaType::from_iter([Type::String, Type::Integer]))
        .examples(["255.255.255.255"])
}

pub(super) fn server() -> RefOr<Schema> {
    resource(
        "A real server of a virtual service.",
        [server_configuration(), server_state()]
            .into_iter()
            .flatten()
            .collect(),
    )
}

fn server_configuration() -> Vec<Property> {
    let threshold = || integer(0, ServerConfig::MAX_THRESHOLD.into());
    vec![
        settable(
            "id",
            text().examples(["192.168.10.1-80"]),
            "Id of the server within the service. In a request it can replace address and port; \
             if both are given, they must agree.",
        ),
        settable(
            "address",
            text().examples(["192.168.10.1"]),
            "Address of the server.",
        ),
        settable(
            "port",
            integer(0, u16::MAX.into()).examples([80]),
            "Port of the server. 0 stands for the port of the packet. Default: the port of the \
             service (0 for a firewall mark). With `direct` and `tunnel` forwarding it must be \
             the port of the service.",
        ),
        settable(
            "forwarding",
            "Forwarding",
            "Packet forwarding method. Requests may set `masquerade`, `tunnel` and `direct`; the \
             kernel sets `local` and `bypass`. Default: `direct`.",
        ),
        settable(
            "weight",
            integer(0, ServerConfig::MAX_KERNEL_WEIGHT.into()).examples([1]),
            "Capacity relative to the other servers. A server of weight 0 receives no new \
             connections. Requests set 0 to 65535; a larger weight, which another program or \
             `/v1/rules` has set, is accepted where the server has it already. Default: 1.",
        ),
        settable(
            "upper_threshold",
            threshold(),
            "Number of connections above which the server receives no new ones. 0: no limit. \
             Default: 0.",
        ),
        settable(
            "lower_threshold",
            threshold(),
            "Number of connections below which the server receives new ones again. Must not be \
             above `upper_threshold`. 0: three quarters of it. Default: 0.",
        ),
        settable(
            "tunnel",
            "Tunnel",
            "Encapsulation of forwarded packets. Only with `tunnel` forwarding. Default: ipip.",
        ),
    ]
}

fn server_state() -> Vec<Property> {
    vec![
        output(
            "effective_weight",
            integer(0, i32::MAX.into()),
            "The weight in the kernel. Another than `weight` while there are holds.",
        ),
        output(
            "holds",
            "Holds",
            "The holds on the weight. Absent without any.",
        ),
        output(
            "membership",
            choice(&Membership::WORDS.map(|(word, _)| word)),
            "`removing`: the table of the service does not declare the server any more, and it is deleted when it \
             is drained. `fallback`: the daemon has added the server, because too few of the others are healthy; it \
             is in no ETag, plan or export. In a set of servers that is written back, such servers are not taken as \
             declared. Absent of others.",
        ),
        output(
            "active_connections",
            count(),
            "Current number of established connections.",
        ),
        output(
            "inactive_connections",
            count(),
            "Current number of other connections.",
        ),
        output(
            "persistent_connections",
            count(),
            "Current number of persistence templates.",
        ),
        output("stats", "Stats", "Counters. Present with `include=stats`."),
        output("rates", "Rates", "Rates. Present with `include=rates`."),
        output(
            "etag",
            text().examples(["r-0123456789abcdef"]),
            "Fingerprint of the configuration, for `If-Match`.",
        ),
        output("changed", boolean(), CHANGED),
    ]
}

pub(super) fn protocol() -> RefOr<Schema> {
    words(
        "Transport protocol of a virtual service.",
        &["tcp", "udp", "sctp"],
    )
}

pub(super) fn family() -> RefOr<Schema> {
    words("Address family.", &["ipv4", "ipv6"])
}

pub(super) fn scheduler_flag() -> RefOr<Schema> {
    let flags = [
        "sh-fallback",
        "sh-port",
        "mh-fallback",
        "mh-port",
        "flag-1",
        "flag-2",
        "flag-3",
    ];
    words("Flag of a scheduler.", &flags)
}

pub(super) fn forwarding() -> RefOr<Schema> {
    words(
        "Packet forwarding method. `local` and `bypass` are set by the kernel.",
        &["masquerade", "tunnel", "direct", "local", "bypass"],
    )
}

pub(super) fn tunnel_type() -> RefOr<Schema> {
    words("Tunnel type.", &["ipip", "gue", "gre"])
}

pub(super) fn tunnel_checksum() -> RefOr<Schema> {
    words("Tunnel checksum.", &["none", "checksum", "remote"])
}

pub(super) fn sync_daemon_role() -> RefOr<Schema> {
    words("Role of a sync daemon.", &["master", "backup"])
}

pub(super) fn interface_state() -> RefOr<Schema> {
    words(
        "Whether a sync daemon uses the interface that has its name now. `missing`: no interface has \
         the name, it was deleted or renamed. `replaced`: the interface was deleted, and another one \
         has its name; the daemon neither sends nor receives until PUT starts it again. `unknown`: a \
         master that another program, or an earlier run of ipvsd, has started; the kernel does not \
         report its interface, but a replacement from now on is detected.",
        &["ok", "missing", "replaced", "unknown"],
    )
}

/// An enum.
fn words(doc: &str, words: &[&str]) -> RefOr<Schema> {
    choice(words).description(Some(doc)).into()
}

pub(super) fn tunnel() -> RefOr<Schema> {
    resource(
        "Encapsulation of packets to a real server.",
        vec![
            settable("type", "TunnelType", "Tunnel type. Default: `ipip`."),
            settable(
                "port",
                integer(1, u16::MAX.into()).examples([6080]),
                "UDP destination port. Required with `gue`; not allowed with other types.",
            ),
            settable(
                "checksum",
                "TunnelChecksum",
                "Tunnel checksum. `checksum` requires `gue` or `gre`, `remote` requires `gue`. \
                 Default: `none`.",
            ),
        ],
    )
}

pub(super) fn service_list() -> RefOr<Schema> {
    response(
        "A page of virtual services.",
        vec![
            always("services", list_of("Service"), "The services of this page."),
            optional("next_page_token", text(), TOKEN),
            optional("estimation", boolean(), ESTIMATION),
            always("revision", text(), REVISION),
        ],
    )
}

pub(super) fn server_list() -> RefOr<Schema> {
    response(
        "A page of real servers.",
        vec![
            always("servers", list_of("Server"), "The servers of this page."),
            optional("next_page_token", text(), TOKEN),
            optional("estimation", boolean(), ESTIMATION),
            always("revision", text(), REVISION),
        ],
    )
}

pub(super) fn server_batch() -> RefOr<Schema> {
    resource(
        "Several real servers, which are created together or not at all.",
        vec![
            always(
                "servers",
                list_of("Server").min_items(Some(1)),
                "The servers.",
            ),
            output("changed", boolean(), CHANGED),
        ],
    )
}
