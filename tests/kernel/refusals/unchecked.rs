//! Requests that the kernel accepts although it cannot honour them.

use serde_json::{Value, json};

use super::Row;
use crate::support::api::Request;

const TCP: &str = "tcp-10.0.0.1-80";

/// All of them, each with the field that the error must name.
pub fn rows() -> Vec<Row> {
    let row = |request, field| Row {
        of: &[],
        request,
        reason: "INVALID_ARGUMENT",
        field,
        errno: None,
    };
    let service = |protocol: &str, port: i64, more| {
        let mut body = json!({"protocol": protocol, "address": "10.0.0.3", "port": port});
        super::rows::merge(&mut body, more);
        Request::CreateService(body)
    };
    let server = |more| {
        let mut body = json!({"address": "10.1.1.8"});
        super::rows::merge(&mut body, more);
        Request::CreateServer(TCP.to_owned(), body)
    };
    let change = |id: &str, more: Value| Request::UpdateService(id.to_owned(), more);
    let change_server =
        |more: Value| Request::UpdateServer(TCP.to_owned(), "10.1.1.2-80".to_owned(), more);
    let tunnel = |tunnel: Value| json!({"forwarding": "tunnel", "tunnel": tunnel});
    let persistent = |seconds: i64| json!({"persistence": {"timeout_seconds": seconds}});
    vec![
        // Packets to it would not be scheduled.
        row(service("tcp", 0, json!({})), "port"),
        // Packets would arrive at the service's port.
        row(server(json!({"forwarding": "direct", "port": 81})), "port"),
        row(server(json!({"forwarding": "tunnel", "port": 81})), "port"),
        row(server(json!({"forwarding": "direct", "port": 0})), "port"),
        // IPVS does not balance this protocol.
        row(service("47", 80, json!({})), "protocol"),
        row(service("icmp", 80, json!({})), "protocol"),
        row(service("65535", 80, json!({})), "protocol"),
        // It has an effect on UDP only.
        row(
            service("tcp", 80, json!({"one_packet": true})),
            "one_packet",
        ),
        row(
            service("sctp", 80, json!({"one_packet": true})),
            "one_packet",
        ),
        row(change(TCP, json!({"one_packet": true})), "one_packet"),
        // Flags of another scheduler.
        row(
            service(
                "tcp",
                80,
                json!({"scheduler": "rr", "scheduler_flags": ["sh-port"]}),
            ),
            "scheduler_flags",
        ),
        row(
            service(
                "tcp",
                80,
                json!({"scheduler": "sh", "scheduler_flags": ["mh-port"]}),
            ),
            "scheduler_flags",
        ),
        row(
            service("tcp", 80, json!({"scheduler_flags": ["flag-4"]})),
            "scheduler_flags",
        ),
        // The sum of all weights is a signed number of 32 bits.
        row(server(json!({"weight": 65_536})), "weight"),
        row(change_server(json!({"weight": 2_147_483_647})), "weight"),
        // Signed in the kernel; newer kernels reject it.
        row(
            server(json!({"upper_threshold": 2_147_483_648_i64})),
            "upper_threshold",
        ),
        // It would become a TCP service of 0.0.0.0:0.
        row(Request::CreateService(json!({"fwmark": 0})), "fwmark"),
        row(
            Request::CreateService(json!({"fwmark": 4_294_967_296_i64})),
            "fwmark",
        ),
        row(Request::CreateService(json!({"fwmark": -1})), "fwmark"),
        // Multiplied by the clock's rate without a check.
        row(
            service("tcp", 80, persistent(2_678_401)),
            "persistence.timeout_seconds",
        ),
        row(
            service("tcp", 80, persistent(4_294_967_295)),
            "persistence.timeout_seconds",
        ),
        row(
            service("tcp", 80, persistent(0)),
            "persistence.timeout_seconds",
        ),
        // Set by the kernel only, or not at all.
        row(server(json!({"forwarding": "local"})), "forwarding"),
        row(server(json!({"forwarding": "bypass"})), "forwarding"),
        row(server(json!({"forwarding": "5"})), "forwarding"),
        // ipvsadm crashes when it lists such a tunnel.
        row(server(tunnel(json!({"type": "3"}))), "tunnel.type"),
        row(server(tunnel(json!({"type": "255"}))), "tunnel.type"),
        row(
            server(tunnel(json!({"type": "gre", "checksum": "3"}))),
            "tunnel.checksum",
        ),
        row(
            server(tunnel(json!({"type": "gre", "checksum": "remote"}))),
            "tunnel.checksum",
        ),
        row(
            server(tunnel(json!({"type": "ipip", "checksum": "checksum"}))),
            "tunnel.checksum",
        ),
        row(
            server(tunnel(json!({"type": "ipip", "port": 6080}))),
            "tunnel.port",
        ),
        row(
            server(json!({"forwarding": "masquerade", "tunnel": {"type": "gre"}})),
            "tunnel",
        ),
        // Sync messages have 8 bits for it.
        row(
            Request::StartSyncDaemon(
                "master".to_owned(),
                json!({"interface": "d0", "sync_id": 256}),
            ),
            "sync_id",
        ),
    ]
}
