//! The recorded rejections of a real kernel (`tests/fixtures/kernel-errno.json`: raw messages and
//! replies) as requests of a client.

use serde_json::{Value, json};

use super::{Row, servers};
use crate::support::api::Request;

type Names = &'static [(&'static str, &'static str)];

/// Covered by another test of this module.
pub const ELSEWHERE: Names = &[
    ("NEW_DAEMON", "again"),
    (
        "DEL_DAEMON",
        "DEL immediately after start (kthread never ran)",
    ),
];

/// Messages that ipvsd never sends: without attributes that it always adds, malformed, or with other
/// flags.
pub const MALFORMED: Names = &[
    ("GET_INFO", "GET_INFO with dump flag"),
    ("GET_CONFIG", "GET_CONFIG dump"),
    ("SET_INFO", "SET_INFO (14) as request"),
    ("0", "cmd 0"),
    ("18", "cmd 18"),
    ("255", "cmd 255"),
    ("GET_DEST", "GET_DEST without NLM_F_DUMP"),
    ("GET_DAEMON", "GET_DAEMON without NLM_F_DUMP"),
    ("GET_SERVICE", "GET_SERVICE do, no attrs"),
    ("GET_SERVICE", "GET bad af"),
    ("NEW_SERVICE", "NEW_SERVICE with NLM_F_DUMP"),
    ("NEW_SERVICE", "no service attr"),
    ("NEW_SERVICE", "missing af"),
    ("NEW_SERVICE", "missing sched"),
    ("NEW_SERVICE", "missing flags"),
    ("NEW_SERVICE", "missing timeout"),
    ("NEW_SERVICE", "missing netmask"),
    ("NEW_SERVICE", "sched without NUL"),
    ("NEW_SERVICE", "flags attr 12 bytes"),
    ("NEW_SERVICE", "attr PORT 1 byte"),
    ("NEW_SERVICE", "netmask attr 1 byte"),
    ("SET_SERVICE", "set missing netmask attr"),
    ("DEL_SERVICE", "DEL no attr"),
    ("ZERO", "ZERO with empty nested"),
    ("NEW_DEST", "missing port"),
    ("NEW_DEST", "missing fwd"),
    ("NEW_DEST", "missing weight"),
    ("NEW_DEST", "missing ut"),
    ("NEW_DEST", "missing lt"),
    ("NEW_DAEMON", "missing syncid"),
    ("DEL_DAEMON", "DEL no attrs"),
];

pub const TCP: &str = "tcp-10.0.0.1-80";
pub const TCP6: &str = "tcp-2001:db8::1-80";

pub fn row(of: Names, request: Request, reason: &'static str, field: &'static str) -> Row {
    Row {
        of,
        request,
        reason,
        field,
        errno: None,
    }
}

impl Row {
    /// The kernel must reject it with this errno.
    pub fn by_the_kernel(self, errno: &'static str) -> Self {
        Self {
            errno: Some(errno),
            ..self
        }
    }
}

pub fn invalid(of: Names, request: Request, field: &'static str) -> Row {
    row(of, request, "INVALID_ARGUMENT", field)
}

/// Creates a service with these fields besides protocol, address and port.
fn service(more: Value) -> Request {
    let mut body = json!({"protocol": "tcp", "address": "10.0.0.2", "port": 80});
    merge(&mut body, more);
    Request::CreateService(body)
}

fn service6(netmask: &str) -> Request {
    let mask = json!({"netmask": netmask});
    service(json!({"address": "2001:db8::2", "persistence": mask}))
}

pub fn server(id: &str, address: &str, more: Value) -> Request {
    let mut body = json!({"address": address});
    merge(&mut body, more);
    Request::CreateServer(id.to_owned(), body)
}

fn change(id: &str, body: Value) -> Request {
    Request::UpdateService(id.to_owned(), body)
}

pub fn change_server(id: &str, server: &str, body: Value) -> Request {
    Request::UpdateServer(id.to_owned(), server.to_owned(), body)
}

fn delete(id: &str) -> Request {
    Request::DeleteService(id.to_owned())
}

pub fn delete_server(id: &str, server: &str) -> Request {
    Request::DeleteServer(id.to_owned(), server.to_owned())
}

fn daemon(state: &str, body: Value) -> Request {
    Request::StartSyncDaemon(state.to_owned(), body)
}

pub fn merge(body: &mut Value, more: Value) {
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
}

/// All rows.
pub fn rows() -> Vec<Row> {
    let mut rows = services();
    rows.extend(servers::servers());
    rows.extend(servers::addresses());
    rows.extend(rest());
    rows
}

fn services() -> Vec<Row> {
    const NEW: &str = "NEW_SERVICE";
    const SET: &str = "SET_SERVICE";
    let there = json!({"address": "10.0.0.1"});
    let unknown = json!({"address": "10.0.0.1", "scheduler": "nosuch"});
    let spelled = json!({"address": "2001:DB8:0:0::0001"});
    let persistent = |netmask: &str| json!({"persistence": {"netmask": netmask}});
    vec![
        row(&[(NEW, "duplicate")], service(there), "SERVICE_EXISTS", "").by_the_kernel("EEXIST"),
        row(
            &[(NEW, "duplicate + unknown sched")],
            service(unknown),
            "SERVICE_EXISTS",
            "",
        )
        .by_the_kernel("EEXIST"),
        row(
            &[(NEW, "  dup without junk")],
            service(spelled),
            "SERVICE_EXISTS",
            "",
        )
        .by_the_kernel("EEXIST"),
        row(
            &[(NEW, "fwmark 5 again + proto/addr/port attrs")],
            Request::CreateService(json!({"fwmark": 5})),
            "SERVICE_EXISTS",
            "",
        )
        .by_the_kernel("EEXIST"),
        invalid(&[], service(json!({"fwmark": 5})), "port"),
        invalid(
            &[(NEW, "empty nested")],
            Request::CreateService(json!({})),
            "protocol",
        ),
        invalid(
            &[(NEW, "missing proto")],
            Request::CreateService(json!({"address": "10.0.0.2", "port": 80})),
            "protocol",
        ),
        invalid(
            &[(NEW, "missing addr")],
            Request::CreateService(json!({"protocol": "tcp", "port": 80})),
            "address",
        ),
        invalid(
            &[(NEW, "missing port")],
            Request::CreateService(json!({"protocol": "tcp", "address": "10.0.0.2"})),
            "port",
        ),
        invalid(
            &[(NEW, "af=0"), (NEW, "af=1")],
            Request::CreateService(json!({"fwmark": 9, "family": "unix"})),
            "family",
        ),
        invalid(
            &[(NEW, "af=10 with netmask 0xffffffff")],
            service6("255.255.255.255"),
            "persistence.netmask",
        ),
        invalid(
            &[(NEW, "af=10 netmask 0")],
            service6("0"),
            "persistence.netmask",
        ),
        invalid(
            &[(NEW, "af=10 netmask 129")],
            service6("129"),
            "persistence.netmask",
        ),
        invalid(
            &[(NEW, "af=10 netmask 64 in big endian")],
            service6("1073741824"),
            "persistence.netmask",
        ),
        invalid(
            &[(NEW, "addr 17 bytes")],
            service(json!({"address": "1:2:3:4:5:6:7:8:9"})),
            "address",
        ),
        invalid(
            &[(NEW, "sched empty")],
            service(json!({"scheduler": ""})),
            "scheduler",
        ),
        invalid(
            &[(NEW, "sched 16 chars")],
            service(json!({"scheduler": "abcdefghijklmnop"})),
            "scheduler",
        ),
        row(
            &[(NEW, "sched 15 chars")],
            service(json!({"scheduler": "abcdefghijklmno"})),
            "SCHEDULER_UNAVAILABLE",
            "scheduler",
        )
        .by_the_kernel("ENOENT"),
        row(
            &[(NEW, "sched nosuch")],
            service(json!({"scheduler": "nosuch"})),
            "SCHEDULER_UNAVAILABLE",
            "scheduler",
        )
        .by_the_kernel("ENOENT"),
        row(
            &[(NEW, "sched with slash")],
            service(json!({"scheduler": "a/b"})),
            "SCHEDULER_UNAVAILABLE",
            "scheduler",
        )
        .by_the_kernel("ENOENT"),
        row(
            &[(NEW, "pe nosuch")],
            service(json!({"persistence_engine": "nosuch"})),
            "PERSISTENCE_ENGINE_UNAVAILABLE",
            "persistence_engine",
        )
        .by_the_kernel("ENOENT"),
        // No module of this name exists.
        row(
            &[],
            service(json!({"scheduler": "none", "persistence_engine": "nosuch"})),
            "PERSISTENCE_ENGINE_UNAVAILABLE",
            "persistence_engine",
        )
        .by_the_kernel("ENOENT"),
        row(
            &[(NEW, "pe 16 chars")],
            service(json!({"persistence_engine": "abcdefghijklmnop"})),
            "PERSISTENCE_ENGINE_UNAVAILABLE",
            "persistence_engine",
        )
        .by_the_kernel("ENOENT"),
        invalid(
            &[(NEW, "pe 17 chars")],
            service(json!({"persistence_engine": "abcdefghijklmnopq"})),
            "persistence_engine",
        ),
        row(
            &[(SET, "missing")],
            change("tcp-10.0.0.9-80", json!({"scheduler": "rr"})),
            "SERVICE_NOT_FOUND",
            "",
        ),
        row(
            &[(SET, "set af10 netmask 0 on v6 svc (ESRCH first)")],
            change("tcp-2001:db8::9-80", persistent("0")),
            "SERVICE_NOT_FOUND",
            "",
        ),
        row(
            &[(SET, "set unknown sched")],
            change(TCP, json!({"scheduler": "nosuch"})),
            "SCHEDULER_UNAVAILABLE",
            "scheduler",
        )
        .by_the_kernel("ENOENT"),
        row(
            &[(SET, "set unknown pe")],
            change(TCP, json!({"persistence_engine": "nosuch"})),
            "PERSISTENCE_ENGINE_UNAVAILABLE",
            "persistence_engine",
        )
        .by_the_kernel("ENOENT"),
        invalid(
            &[(SET, "set v6 netmask 0")],
            change(TCP6, persistent("0")),
            "persistence.netmask",
        ),
        invalid(
            &[(SET, "set v6 netmask 200 -> ?")],
            change(TCP6, persistent("200")),
            "persistence.netmask",
        ),
        row(
            &[("DEL_SERVICE", "DEL missing")],
            delete("tcp-10.0.0.9-80"),
            "SERVICE_NOT_FOUND",
            "",
        ),
        row(
            &[("DEL_SERVICE", "DEL wrong proto")],
            delete("udp-10.0.0.1-80"),
            "SERVICE_NOT_FOUND",
            "",
        ),
        row(
            &[("DEL_SERVICE", "DEL wrong port")],
            delete("tcp-10.0.0.1-8080"),
            "SERVICE_NOT_FOUND",
            "",
        ),
        row(
            &[("ZERO", "ZERO missing")],
            Request::Zero(Some("tcp-10.0.0.9-80".to_owned())),
            "SERVICE_NOT_FOUND",
            "",
        )
        .by_the_kernel("ESRCH"),
        row(
            &[
                ("GET_SERVICE", "GET missing"),
                ("GET_SERVICE", "GET_SERVICE no ACK flag"),
            ],
            Request::GetService("tcp-10.0.0.9-80".to_owned()),
            "SERVICE_NOT_FOUND",
            "",
        ),
    ]
}

fn rest() -> Vec<Row> {
    const SET: &str = "SET_CONFIG";
    const NEW: &str = "NEW_DAEMON";
    let set = Request::SetTimeouts;
    let on = |more| {
        let mut body = json!({"interface": "d0"});
        merge(&mut body, more);
        daemon("master", body)
    };
    let group = |group: &str| on(json!({"multicast_group": group}));
    let interface = |name: &str| daemon("master", json!({"interface": name}));
    vec![
        invalid(
            &[(SET, "negative")],
            set(json!({"tcp_seconds": -1})),
            "tcp_seconds",
        ),
        invalid(
            &[(SET, "INT_MAX/HZ+1")],
            set(json!({"tcp_fin_seconds": i32::MAX / 100 + 1})),
            "tcp_fin_seconds",
        ),
        invalid(
            &[(SET, "partly bad: tcp=5,udp=-1")],
            set(json!({"tcp_seconds": 5, "udp_seconds": -1})),
            "udp_seconds",
        ),
        invalid(&[], set(json!({"udp_seconds": 0})), "udp_seconds"),
        invalid(
            &[(NEW, "no attr"), (NEW, "missing ifn")],
            daemon("master", json!({})),
            "interface",
        ),
        invalid(
            &[(NEW, "missing state"), (NEW, "state 0"), (NEW, "state 3")],
            daemon("both", json!({"interface": "d0"})),
            "state",
        ),
        invalid(
            &[(NEW, "ifn 16 chars")],
            interface("abcdefghijklmnop"),
            "interface",
        ),
        invalid(&[(NEW, "ifn empty")], interface(""), "interface"),
        invalid(
            &[(NEW, "group unicast")],
            group("10.1.1.1"),
            "multicast_group",
        ),
        invalid(
            &[(NEW, "group6 unicast")],
            group("2001:db8::1"),
            "multicast_group",
        ),
        // The server of the other family is found before the interface is looked up.
        row(&[], on(json!({})), "SYNC_DAEMON_CONFLICT", "").by_the_kernel("EINVAL"),
        row(
            &[("DEL_DAEMON", "DEL state 2")],
            Request::StopSyncDaemon("backup".to_owned()),
            "SYNC_DAEMON_NOT_RUNNING",
            "",
        ),
        invalid(
            &[("DEL_DAEMON", "DEL state 3")],
            Request::StopSyncDaemon("both".to_owned()),
            "state",
        ),
    ]
}

/// Invalid interfaces, where no other error comes first.
pub fn interfaces() -> Vec<Row> {
    let on = |interface: &str, more| {
        let mut body = json!({"interface": interface});
        merge(&mut body, more);
        daemon("master", body)
    };
    vec![
        invalid(
            &[("NEW_DAEMON", "bad ifn")],
            on("nosuch0", json!({})),
            "interface",
        )
        .by_the_kernel("ENODEV"),
        invalid(&[], on("down0", json!({})), "interface").by_the_kernel("ENETUNREACH"),
    ]
}
