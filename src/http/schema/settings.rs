//! Schemas of the resources of a network namespace: timeouts, sync daemons, settings.

use utoipa::openapi::{Array, RefOr, Schema};

use super::{
    super::shape::{
        Property, Shape, always, boolean, integer, list_of, optional, output, resource, response,
        settable, text,
    },
    resources::CHANGED,
};
use crate::model::{SETTINGS, SettingKind, SettingSpec, Timeouts};

pub(super) fn timeouts() -> RefOr<Schema> {
    let seconds = |default: u32| integer(1, Timeouts::MAX.into()).examples([default]);
    let Timeouts {
        tcp_seconds,
        tcp_fin_seconds,
        udp_seconds,
    } = Timeouts::DEFAULT;
    resource(
        "Timeouts of idle connections.",
        vec![
            settable(
                "tcp_seconds",
                seconds(tcp_seconds),
                "Timeout of an established TCP connection. Kernel default: 900.",
            ),
            settable(
                "tcp_fin_seconds",
                seconds(tcp_fin_seconds),
                "Timeout of a TCP connection after a FIN packet. Kernel default: 120.",
            ),
            settable(
                "udp_seconds",
                seconds(udp_seconds),
                "Timeout of UDP. Kernel default: 300.",
            ),
            output("changed", boolean(), CHANGED),
        ],
    )
}

const ROLE: &str = "Role: a master sends connections, a backup receives them.";

pub(super) fn sync_daemon() -> RefOr<Schema> {
    let state = output("state", "SyncDaemonRole", ROLE);
    resource(
        "A connection synchronisation daemon of the kernel.",
        daemon(state),
    )
}

pub(super) fn listed_sync_daemon() -> RefOr<Schema> {
    let state = always("state", "SyncDaemonRole", ROLE);
    resource("A sync daemon that a table declares.", daemon(state))
}

fn daemon(state: Property) -> Vec<Property> {
    vec![
        state,
        settable(
            "interface",
            text()
                .min_length(Some(1))
                .max_length(Some(15))
                .examples(["eth0"]),
            "Network interface for multicast. Required in requests.",
        ),
        settable(
            "sync_id",
            integer(0, 255),
            "Id of the messages. A backup accepts messages with its own id; 0 accepts all. \
             Default: 0.",
        ),
        settable(
            "max_length",
            integer(1, 65507).examples([1472]),
            "Maximum message length in bytes; the kernel raises values that are too small. \
             Default: what fits into 1500 bytes.",
        ),
        settable(
            "multicast_group",
            text().examples(["224.0.0.81"]),
            "Multicast group, IPv4 or IPv6. Default: 224.0.0.81.",
        ),
        settable(
            "multicast_port",
            integer(1, u16::MAX.into()).examples([8848]),
            "UDP port. Default: 8848.",
        ),
        settable(
            "multicast_ttl",
            integer(1, 255),
            "Multicast TTL. Default: 1.",
        ),
        output(
            "interface_state",
            "InterfaceState",
            "Whether the daemon uses the interface that has the name now. It keeps the index of \
             the interface that it was started on.",
        ),
        output("etag", text(), "Fingerprint, for `If-Match`."),
        output("changed", boolean(), CHANGED),
    ]
}

pub(super) fn sync_daemon_list() -> RefOr<Schema> {
    response(
        "The running sync daemons.",
        vec![always(
            "sync_daemons",
            list_of("SyncDaemon"),
            "None, one or two sync daemons.",
        )],
    )
}

pub(super) fn settings() -> RefOr<Schema> {
    let settings = SETTINGS
        .iter()
        .map(|spec| optional(spec.name, setting(spec), spec.doc));
    let changed = output("changed", boolean(), CHANGED);
    resource(
        "Kernel settings by name (`/proc/sys/net/ipv4/vs`). Responses contain those of the \
         kernel's version and loaded modules. If another program has set a value that is not \
         allowed here, responses contain it as a number or text.",
        settings.chain([changed]).collect(),
    )
}

fn setting(spec: &SettingSpec) -> Shape {
    match spec.kind {
        SettingKind::Bool => boolean().into(),
        SettingKind::Integer(min, max) => integer(min, max).into(),
        SettingKind::PowerOfTwo(max) => {
            integer(1, max).enum_values(Some(powers_of_two(max))).into()
        }
        SettingKind::Pair => Array::builder()
            .items(integer(0, i32::MAX.into()))
            .min_items(Some(2))
            .max_items(Some(2))
            .into(),
        SettingKind::Text => text()
            .pattern(Some("^[!-~]*$"))
            .max_length(Some(256))
            .into(),
    }
}

fn powers_of_two(max: i64) -> impl Iterator<Item = i64> {
    std::iter::successors(Some(1), |power| Some(power * 2)).take_while(move |power| *power <= max)
}
