//! The families of services and servers.

use super::text::Family;

/// The counters of a level, in the order of [`Stats::values`](crate::model::Stats::values).
macro_rules! counters {
    ($prefix:literal, $of:literal) => {
        [
            Family::counter(
                concat!($prefix, "connections"),
                concat!("Connections that were scheduled", $of, "."),
            ),
            Family::counter(
                concat!($prefix, "incoming_packets"),
                concat!("Packets from clients", $of, "."),
            ),
            Family::counter(
                concat!($prefix, "outgoing_packets"),
                concat!(
                    "Packets to clients",
                    $of,
                    "; 0 where responses bypass the director."
                ),
            ),
            Family::bytes(
                concat!($prefix, "incoming_bytes"),
                concat!("Bytes from clients", $of, "."),
            ),
            Family::bytes(
                concat!($prefix, "outgoing_bytes"),
                concat!(
                    "Bytes to clients",
                    $of,
                    "; 0 where responses bypass the director."
                ),
            ),
        ]
    };
}

/// Of the director: all services, deleted ones included.
pub(super) const DIRECTOR: [Family; 5] = counters!("ipvs_", "");
/// Of a service.
pub(super) const SERVICE: [Family; 5] = counters!("ipvs_service_", " of the service");
/// Of a server.
pub(super) const SERVER: [Family; 5] = counters!("ipvs_server_", " of the server");

pub(super) const SERVICE_INFO: Family = Family::info(
    "ipvs_service",
    "Properties of the service, to join with its other metrics by the label service.",
);

pub(super) const SERVICE_GAUGES: [Family; 2] = [
    Family::gauge("ipvs_service_servers", "Servers of the service."),
    Family::gauge(
        "ipvs_service_available_servers",
        "Servers of the service with an effective weight above 0.",
    ),
];

pub(super) const SERVER_INFO: Family = Family::info(
    "ipvs_server",
    "Properties of the server, to join with its other metrics by the labels service and server.",
);

pub(super) const SERVER_GAUGES: [Family; 5] = [
    Family::gauge(
        "ipvs_server_active_connections",
        "Connections of the server in state ESTABLISHED.",
    ),
    Family::gauge(
        "ipvs_server_inactive_connections",
        "Connections of the server in other states.",
    ),
    Family::gauge(
        "ipvs_server_persistent_connections",
        "Persistence templates of the server.",
    ),
    Family::gauge("ipvs_server_weight", "Intended weight of the server."),
    Family::gauge(
        "ipvs_server_effective_weight",
        "Weight of the server in the kernel, which a drain or a ramp may have changed.",
    ),
];

/// The totals of node_exporter, with its help texts.
pub(super) const NODE_TOTALS: [Family; 5] = [
    Family::counter(
        "node_ipvs_connections",
        "The total number of connections made.",
    ),
    Family::counter(
        "node_ipvs_incoming_packets",
        "The total number of incoming packets.",
    ),
    Family::counter(
        "node_ipvs_outgoing_packets",
        "The total number of outgoing packets.",
    ),
    Family::bytes(
        "node_ipvs_incoming_bytes",
        "The total amount of incoming data.",
    ),
    Family::bytes(
        "node_ipvs_outgoing_bytes",
        "The total amount of outgoing data.",
    ),
];

/// The gauges of node_exporter, with its help texts.
pub(super) const NODE_GAUGES: [Family; 3] = [
    Family::gauge(
        "node_ipvs_backend_connections_active",
        "The current active connections by local and remote address.",
    ),
    Family::gauge(
        "node_ipvs_backend_connections_inactive",
        "The current inactive connections by local and remote address.",
    ),
    Family::gauge(
        "node_ipvs_backend_weight",
        "The current backend weight by local and remote address.",
    ),
];
