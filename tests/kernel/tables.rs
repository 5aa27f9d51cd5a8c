//! Declared tables on the kernel: what ipvsadm shows of them, drift by ipvsadm, rollback, and the end of the
//! daemon at any instant of an apply.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    Folder, Namespace, Random,
    api::Api,
    daemon::{Daemon, is_acknowledged},
    lists, rules, until,
};

/// Services by the last byte of their address, each with servers by theirs, and their weights.
type Table = Vec<(u8, Vec<(u8, u32)>)>;

impl Random {
    fn table(&mut self) -> Table {
        let services = (1..8).filter(|_| self.below(2) == 0).collect::<Vec<u8>>();
        let server = |random: &mut Self, n| {
            let weight = u32::try_from(random.below(3)).unwrap();
            (random.below(2) == 0).then_some((n, weight))
        };
        let service = |n| {
            let servers = (1..40).filter_map(|server_n| server(self, server_n));
            (n, servers.collect())
        };
        services.into_iter().map(service).collect()
    }
}

fn body(table: &Table) -> Value {
    let services = table.iter().map(|(n, servers)| {
        let server = |(n, weight): &(u8, u32)| {
            json!({"address": format!("10.0.0.{n}"), "forwarding": "masquerade", "weight": weight})
        };
        let servers: Vec<_> = servers.iter().map(server).collect();
        json!({"id": format!("tcp-192.0.2.{n}-80"), "scheduler": "rr", "servers": servers})
    });
    json!({"services": services.collect::<Vec<_>>()})
}

/// What `ipvsadm -S -n` prints of a table, sorted.
fn saved(table: &Table) -> Vec<String> {
    let mut lines = Vec::new();
    for (n, servers) in table {
        lines.push(format!("-A -t 192.0.2.{n}:80 -s rr"));
        let line = |(s, w): &(u8, u32)| format!("-a -t 192.0.2.{n}:80 -r 10.0.0.{s}:80 -m -w {w}");
        lines.extend(servers.iter().map(line));
    }
    lines.sort();
    lines
}

/// What the kernel has, sorted.
fn present() -> Vec<String> {
    let mut lines: Vec<_> = lists("-S -n").lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn put(api: &Api, query: &str, body: &Value) -> (u16, Value) {
    let path = format!("/v1/tables/k8s{query}");
    let headers = [("content-type", "application/json")];
    api.send("PUT", &path, &headers, Some(body))
}

fn operations(response: &Value) -> Vec<String> {
    let operations = response["operations"].as_array().unwrap().iter();
    let text = |op: &Value| {
        format!(
            "{} {}",
            op["op"].as_str().unwrap(),
            op["result"].as_str().unwrap()
        )
    };
    operations.map(text).collect()
}

#[test]
fn a_table_is_applied_compared_and_undone() {
    Namespace::new().run(|| {
        rules("-A -t 192.0.2.99:80 -s rr\n-a -t 192.0.2.99:80 -r 10.0.0.9:80 -m -w 1\n");
        let others = present();
        let with_others = |table: &Table| {
            let mut lines = saved(table);
            lines.extend(others.clone());
            lines.sort();
            lines
        };
        let api = Api::of(Daemon::start(&[]));
        let table = vec![(1, vec![(1, 1), (2, 2)]), (2, vec![(3, 1)])];
        let (status, response) = put(&api, "", &body(&table));
        assert_eq!((status, &response["outcome"]), (200, &json!("applied")));
        assert_eq!(present(), with_others(&table));
        let (_, response) = put(&api, "", &body(&table));
        assert_eq!(response["outcome"], "unchanged");

        // Another program changes and deletes.
        rules("-e -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 9\n-D -t 192.0.2.2:80\n");
        let (_, drift) = api.fetch("/v1/tables/k8s/drift");
        let planned = [
            "create_service planned",
            "create_server planned",
            "update_server planned",
        ];
        assert_eq!(operations(&drift), planned);
        let change = &drift["operations"][2];
        assert_eq!(change["before"], json!({"server": {"weight": 9}}));
        assert_eq!(change["after"], json!({"server": {"weight": 1}}));
        put(&api, "", &body(&table));
        assert_eq!(present(), with_others(&table));

        // The kernel has no such scheduler.
        let mut wrong = body(&vec![(1, vec![(1, 5), (4, 1)]), (5, vec![])]);
        wrong["services"][1]["scheduler"] = json!("nosuch");
        let (status, problem) = put(&api, "?max_deletes=100%25", &wrong);
        assert_eq!((status, &problem["reason"]), (422, &json!("APPLY_FAILED")));
        assert_eq!(problem["outcome"], "rolled_back");
        assert_eq!(
            problem["operations"][0]["error"]["reason"],
            "SCHEDULER_UNAVAILABLE"
        );
        assert_eq!(present(), with_others(&table));

        let (status, _) = put(
            &api,
            "",
            &json!({"services": [{"id": "tcp-192.0.2.99-80", "servers": []}]}),
        );
        assert_eq!(status, 409, "of nobody");
        let delete = api.send(
            "DELETE",
            "/v1/tables/k8s?confirm=2",
            &[("x-request-id", "t")],
            None,
        );
        assert_eq!(delete.0, 200);
        assert_eq!(present(), others);
    });
}

#[test]
fn timeouts_and_sync_daemons_are_declared_and_repaired() {
    let namespace = Namespace::new();
    namespace.ip("link add d0 type dummy");
    namespace.ip("addr add 10.5.0.1/24 dev d0");
    namespace.ip("link set d0 up");
    namespace.run(|| {
        let api = Api::of(Daemon::start(&[]));
        let daemon = |id: u32| json!({"state": "master", "interface": "d0", "sync_id": id});
        let table = |id: u32| {
            json!({"services": [], "timeouts": {"tcp_seconds": 1234}, "sync_daemons": [daemon(id)],
                   "reconcile": "repair"})
        };
        let (status, applied) = put(&api, "", &table(7));
        assert_eq!(
            (status, &applied["outcome"]),
            (200, &json!("applied")),
            "{applied}"
        );
        let timeouts = "Timeout (tcp tcpfin udp): 1234 120 300\n";
        let daemons = |id: u32| format!("master sync daemon (mcast=d0, syncid={id}, ");
        assert_eq!(lists("-L --timeout"), timeouts);
        assert!(lists("-L --daemon").starts_with(&daemons(7)));
        assert_eq!(put(&api, "", &table(7)).1["outcome"], "unchanged");
        // What GET answers can be sent back.
        let (_, read) = api.fetch("/v1/tables/k8s");
        assert_eq!(put(&api, "", &read).1["outcome"], "unchanged", "{read}");
        assert_eq!(put(&api, "", &table(8)).1["outcome"], "applied");
        assert!(lists("-L --daemon").starts_with(&daemons(8)));

        // An interface that the kernel does not have: the daemon that ran runs again.
        let mut wrong = table(9);
        wrong["sync_daemons"][0]["interface"] = json!("nosuch");
        wrong["timeouts"]["tcp_seconds"] = json!(99);
        let (_, problem) = put(&api, "", &wrong);
        assert_eq!(problem["outcome"], "rolled_back", "{problem}");
        assert_eq!(lists("-L --timeout"), timeouts);
        assert!(lists("-L --daemon").starts_with(&daemons(8)));

        lists("--set 50 0 0");
        lists("--stop-daemon master");
        until("the repair", || {
            let now = (lists("-L --timeout"), lists("-L --daemon"));
            match now.0 == timeouts && now.1.starts_with(&daemons(8)) {
                true => Ok(()),
                false => Err(format!("{now:?}")),
            }
        });
        let headers = [("content-type", "application/json")];
        let body = json!({"tcp_seconds": 60});
        let (status, problem) = api.send("PATCH", "/v1/timeouts", &headers, Some(&body));
        assert_eq!(
            (status, &problem["reason"]),
            (409, &json!("RESOURCE_OWNED"))
        );
        let nothing = json!({"services": [], "reconcile": "off"});
        assert_eq!(put(&api, "", &nothing).1["outcome"], "applied");
        assert_eq!(
            (
                lists("-L --timeout").as_str(),
                lists("-L --daemon").as_str()
            ),
            (timeouts, "")
        );
    });
}

#[test]
fn a_table_under_repair_is_repaired_whatever_another_program_does() {
    Namespace::new().run(|| {
        rules("-A -t 192.0.2.99:80 -s rr\n-a -t 192.0.2.99:80 -r 10.0.0.9:80 -m -w 1\n");
        let api = Api::of(Daemon::start(&[]));
        let table = vec![(1, vec![(1, 1), (2, 2)]), (2, vec![(3, 1)])];
        let mut declared = body(&table);
        declared["reconcile"] = json!("repair");
        assert_eq!(put(&api, "", &declared).0, 200);
        let before = present();

        rules(
            "-e -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 9\n-a -t 192.0.2.1:80 -r 10.0.0.8:80 -m\n\
             -d -t 192.0.2.1:80 -r 10.0.0.2:80\n-D -t 192.0.2.2:80\n",
        );
        let is_repaired = || match present() {
            now if now == before => Ok(()),
            now => Err(format!("{now:?}")),
        };
        until("the repair", is_repaired);
        // Another program insists.
        until("the conflict", || {
            if present() == before {
                rules("-e -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 9\n");
            }
            let (_, table) = api.fetch("/v1/tables/k8s");
            let status = &table["status"];
            match &status["conflicts"][0]["server"] {
                Value::String(server) if server == "10.0.0.1-80" => Ok(()),
                _ => Err(status.to_string()),
            }
        });

        let headers = [("content-type", "application/json")];
        let server = json!({"address": "10.0.0.7", "forwarding": "masquerade"});
        let path = "/v1/services/tcp-192.0.2.2-80/servers";
        let (status, problem) = api.send("POST", path, &headers, Some(&server));
        assert_eq!((status, &problem["reason"]), (409, &json!("SERVICE_OWNED")));
        let confirm = "/v1/services?confirm=3";
        let (status, cleared) = api.send("DELETE", confirm, &headers, None);
        assert_eq!(
            (status, &cleared["reconcile_suspended"]),
            (200, &json!(["k8s"]))
        );
        let (_, table) = api.fetch("/v1/tables/k8s");
        assert_eq!(
            (&table["reconcile"], &table["status"]["state"]),
            (&json!("report"), &json!("drifted"))
        );
        assert_eq!(present(), Vec::<String>::new());
    });
}

#[test]
fn any_table_can_follow_any_other_on_the_kernel() {
    Namespace::new().run(|| {
        let api = Api::of(Daemon::start(&[]));
        let mut random = Random(7);
        for _ in 0..50 {
            let table = random.table();
            let (status, response) = put(&api, "?max_deletes=100%25", &body(&table));
            assert_eq!(status, 200, "{response}");
            assert_eq!(present(), saved(&table));
            let (_, again) = put(&api, "", &body(&table));
            assert_eq!(again["outcome"], "unchanged", "{again}");
        }
    });
}

/// The daemon with its state in a folder.
fn daemon(folder: &Folder, interrupted: &str) -> Daemon {
    Daemon::with_state(folder, &[("IPVSD_TABLES_INTERRUPTED", interrupted)])
}

#[test]
fn an_apply_is_complete_or_undone_whenever_the_daemon_is_killed() {
    let folder = Folder::new("tables");
    let namespace = Namespace::new();
    let mut random = Random(11);
    let (mut before, mut interrupted) = (Table::new(), 0);
    // A table that was never declared does not exist again when its apply is undone.
    namespace.run(|| put(&Api::of(daemon(&folder, "complete")), "", &body(&before)));
    for round in 0..30 {
        let mode = ["complete", "undo"][round % 2];
        let table = random.table();
        // From before the apply to after its end, on a slow kernel too.
        let delay = Duration::from_micros(random.below(20_000));
        let running = namespace.run(|| daemon(&folder, mode));
        let (sender, acknowledged) = mpsc::channel();
        namespace.spawn({
            let table = table.clone();
            move || {
                let path = "/v1/tables/k8s?max_deletes=100%25";
                let _ = sender.send(is_acknowledged("PUT", path, &body(&table)));
            }
        });
        let end = Instant::now() + delay;
        while Instant::now() < end {
            std::hint::spin_loop();
        }
        drop(running);
        let is_acknowledged = acknowledged.recv().unwrap();
        let found = namespace.run(|| {
            let api = Api::of(daemon(&folder, mode));
            until("the table is in sync", || {
                match api.fetch("/v1/tables/k8s") {
                    (200, table) if table["status"]["state"] == "in_sync" => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            });
            present()
        });
        let is_new = found == saved(&table);
        assert!(
            is_new || found == saved(&before),
            "round {round}: {found:?}"
        );
        assert!(
            is_new || !is_acknowledged,
            "round {round}: an acknowledged apply is lost"
        );
        interrupted += usize::from(is_new && !is_acknowledged);
        if is_new {
            before = table;
        }
    }
    println!("{interrupted} applies were interrupted and completed, or not acknowledged");
}
