//! Recorded rejections of requests for real servers.

use serde_json::json;

use super::{
    Row,
    rows::{TCP, TCP6, change_server, delete_server, invalid, row, server},
};
use crate::support::api::Request;

/// Invalid servers, and servers of invalid services.
pub fn servers() -> Vec<Row> {
    const NEW: &str = "NEW_DEST";
    const SET: &str = "SET_DEST";
    const DEL: &str = "DEL_DEST";
    const MISSING: &str = "tcp-10.0.0.9-80";
    let nat = || json!({"forwarding": "masquerade"});
    let new = |more| server(TCP, "10.1.1.7", more);
    let gue = json!({"forwarding": "tunnel", "tunnel": {"type": "gue"}});
    let masked = json!({"forwarding": "masquerade", "tunnel": {"type": "gue", "port": 0}});
    vec![
        row(
            &[(NEW, "svc missing")],
            server(MISSING, "10.1.1.2", json!({})),
            "SERVICE_NOT_FOUND",
            "",
        )
        .by_the_kernel("ESRCH"),
        invalid(
            &[(NEW, "no dest attr"), (NEW, "missing addr")],
            Request::CreateServer(TCP.to_owned(), json!({})),
            "address|id",
        ),
        row(
            &[(NEW, "dup")],
            server(TCP, "10.1.1.2", nat()),
            "SERVER_EXISTS",
            "",
        )
        .by_the_kernel("EEXIST"),
        row(
            &[(NEW, "dup other fwd")],
            server(TCP, "10.1.1.2", json!({"forwarding": "direct"})),
            "SERVER_EXISTS",
            "",
        )
        .by_the_kernel("EEXIST"),
        invalid(&[(NEW, "weight -1")], new(json!({"weight": -1})), "weight"),
        invalid(
            &[(NEW, "weight 0x80000000")],
            new(json!({"weight": 2_147_483_648_u32})),
            "weight",
        ),
        invalid(
            &[(NEW, "lt>ut")],
            new(json!({"upper_threshold": 1, "lower_threshold": 2})),
            "lower_threshold",
        ),
        invalid(&[], new(json!({"lower_threshold": 2})), "lower_threshold"),
        invalid(&[(NEW, "GUE port 0")], new(gue), "tunnel.port"),
        invalid(&[(NEW, "GUE port 0 with fwd masq")], new(masked), "tunnel"),
        row(
            &[(SET, "SET_DEST missing")],
            change_server(TCP, "10.1.1.9-80", json!({"weight": 2})),
            "SERVER_NOT_FOUND",
            "",
        ),
        row(
            &[(SET, "SET_DEST svc missing")],
            change_server(MISSING, "10.1.1.9-80", json!({"weight": 2})),
            "SERVICE_NOT_FOUND",
            "",
        ),
        invalid(
            &[(SET, "SET_DEST weight -1")],
            change_server(TCP, "10.1.1.2-80", json!({"weight": -1})),
            "weight",
        ),
        invalid(
            &[(SET, "SET_DEST lt>ut")],
            change_server(
                TCP,
                "10.1.1.2-80",
                json!({"upper_threshold": 5, "lower_threshold": 6}),
            ),
            "lower_threshold",
        ),
        invalid(
            &[(SET, "SET_DEST change af10 tun->masq")],
            change_server(TCP, "2001:db8:1::9-80", nat()),
            "forwarding",
        ),
        row(
            &[(DEL, "DEL_DEST svc missing")],
            delete_server(MISSING, "10.1.1.2-80"),
            "SERVICE_NOT_FOUND",
            "",
        ),
        row(
            &[(DEL, "DEL_DEST again")],
            delete_server(TCP, "10.1.1.9-80"),
            "SERVER_NOT_FOUND",
            "",
        ),
        row(
            &[(DEL, "DEL_DEST af wrong")],
            delete_server(TCP6, "10.1.1.2-80"),
            "SERVER_NOT_FOUND",
            "",
        ),
    ]
}

/// Invalid addresses.
pub fn addresses() -> Vec<Row> {
    const NEW: &str = "NEW_DEST";
    let v4 = |of, address| invalid(of, server(TCP, address, json!({})), "address");
    let v6 = |of, address| invalid(of, server(TCP6, address, json!({})), "address");
    let across = |of, id, address, forwarding: &str| {
        let request = server(id, address, json!({"forwarding": forwarding}));
        invalid(of, request, "forwarding")
    };
    const V6: &str = "2001:db8:1::7";
    vec![
        v4(&[(NEW, "dest addr 0.0.0.0")], "0.0.0.0"),
        v4(&[(NEW, "dest addr 10.1.1.255")], "10.1.1.255").by_the_kernel("EINVAL"),
        v4(&[(NEW, "dest addr 224.0.0.1")], "224.0.0.1"),
        v4(&[(NEW, "dest addr 239.1.1.1")], "239.1.1.1"),
        v4(&[(NEW, "dest addr 255.255.255.255")], "255.255.255.255"),
        v4(&[(NEW, "dest af 1")], "/run/server"),
        v6(&[(NEW, "v6 dest ::")], "::"),
        v6(&[(NEW, "v6 dest fe80::1")], "fe80::1").by_the_kernel("EINVAL"),
        v6(&[(NEW, "v6 dest ff02::1")], "ff02::1"),
        v6(&[(NEW, "v6 dest ::ffff:10.1.1.2")], "::ffff:10.1.1.2"),
        across(&[(NEW, "dest af 10 masq on v4 svc")], TCP, V6, "masquerade"),
        across(&[(NEW, "dest af 10 DR on v4 svc")], TCP, V6, "direct"),
        across(&[(NEW, "dest af 10 LOCAL")], TCP, V6, "local"),
        across(
            &[(NEW, "v6 svc + v4 masq dest")],
            TCP6,
            "10.1.1.2",
            "masquerade",
        ),
    ]
}
