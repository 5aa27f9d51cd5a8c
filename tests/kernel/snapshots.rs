//! Snapshots of what no table declares: a machine is booted when its state is found by a daemon in a new network
//! namespace, whose table is empty.

use std::fs;

use serde_json::json;

use crate::{
    labels::dropped,
    support::{Folder, Namespace, api::Api, daemon::Daemon, lists, rules, until},
};

/// A day: only the end of the daemon takes a snapshot.
const AT_THE_END: &str = "24h";

const UNDECLARED: &str = "-A -t 192.0.2.9:80 -s wrr -p 360\n\
                          -a -t 192.0.2.9:80 -r 10.0.0.3:80 -m -w 3\n\
                          -a -t 192.0.2.9:80 -r 10.0.0.1:80 -m -w 0\n\
                          -a -t 192.0.2.9:80 -r 10.0.0.2:80 -m -w 2\n\
                          -A -f 7 -s rr\n";

/// A namespace with an interface for a sync daemon.
fn boot() -> Namespace {
    let namespace = Namespace::new();
    namespace.ip("link add d0 type dummy");
    namespace.ip("addr add 10.5.0.1/24 dev d0");
    namespace.ip("link set d0 up");
    namespace
}

fn start(folder: &Folder, interval: &str, restore: &str) -> Api {
    let variables = [
        ("IPVSD_TABLES_SNAPSHOT_INTERVAL", interval),
        ("IPVSD_TABLES_RESTORE_ON_START", restore),
    ];
    Api::of(Daemon::with_state(folder, &variables))
}

/// Declares a service.
fn declare(api: &Api) {
    let services = json!([{"id": "tcp-192.0.2.1-80", "scheduler": "rr", "servers": [
        {"address": "10.0.0.1", "forwarding": "masquerade"},
    ]}]);
    api.send_json("PUT", "/v1/tables/k8s", &json!({"services": services}));
}

/// What the kernel has: its services in any order, their servers in its own.
fn present() -> Vec<String> {
    let mut services: Vec<String> = Vec::new();
    for line in lists("-S -n").lines() {
        match services.last_mut().filter(|_| line.starts_with("-a")) {
            Some(service) => *service += &format!("\n{line}"),
            None => services.push(line.to_owned()),
        }
    }
    services.sort();
    services.extend([lists("-L --timeout"), lists("-L --daemon")]);
    services
}

fn becomes(what: &str, expected: &[String]) {
    until(what, || match present() {
        now if now == expected => Ok(()),
        now => Err(format!("{now:?}")),
    });
}

#[test]
fn what_no_table_declares_is_restored_after_a_boot_with_the_tables() {
    let folder = Folder::new("snapshot");
    let before = boot().run(|| {
        rules(UNDECLARED);
        lists("--set 50 60 70");
        lists("--start-daemon master --mcast-interface d0 --syncid 7");
        let api = start(&folder, AT_THE_END, "if-empty");
        declare(&api);
        let labels = json!({"labels": {"team": "web"}});
        api.send_json("PATCH", "/v1/services/fwmark-7", &labels);
        let present = present();
        assert_eq!(present.len(), 5, "{present:?}");
        api.stop();
        present
    });
    boot().run(|| {
        let api = start(&folder, AT_THE_END, "if-empty");
        becomes("the restore", &before);
        let (_, fwmark) = api.fetch("/v1/services/fwmark-7");
        assert_eq!(fwmark["owner"], "_unmanaged");
        assert_eq!(fwmark["labels"], json!({"team": "web"}));
        let (_, declared) = api.fetch("/v1/services/tcp-192.0.2.1-80");
        assert_eq!(declared["owner"], "k8s");
    });
}

#[test]
fn a_snapshot_is_no_newer_than_the_services_of_a_kernel() {
    let folder = Folder::new("snapshot-old");
    boot().run(|| {
        rules(UNDECLARED);
        let api = start(&folder, AT_THE_END, "if-empty");
        declare(&api);
        let labels = json!({"labels": {"team": "web"}});
        api.send_json("PATCH", "/v1/services/fwmark-7", &labels);
        api.stop();
    });
    let now = boot().run(|| {
        rules("-A -t 192.0.2.8:80 -s rr\n");
        let empty = present();
        let api = start(&folder, AT_THE_END, "if-empty");
        // The last step of the start.
        dropped(&api);
        assert_eq!(present(), empty, "nothing is restored, also no table");
        api.stop();
        // `always` is for tables, and the snapshot is that of the last end.
        let api = start(&folder, AT_THE_END, "always");
        until("the table is restored", || {
            match api.fetch("/v1/tables/k8s").1 {
                table if table["status"]["state"] == "in_sync" => Ok(()),
                table => Err(table.to_string()),
            }
        });
        let now = present();
        assert_eq!(now.len(), 4, "{now:?}");
        now
    });
    boot().run(|| {
        let _api = start(&folder, AT_THE_END, "always");
        becomes("the restore", &now);
    });
}

#[test]
fn a_snapshot_of_an_interval_survives_a_power_cut() {
    let folder = Folder::new("snapshot-interval");
    let is_stored = |id: &str| {
        until("a snapshot is written", || {
            let has_id = |file| {
                let bytes = fs::read(folder.0.join(file)).unwrap_or_default();
                bytes.windows(id.len()).any(|part| part == id.as_bytes())
            };
            match has_id("state.redb") || has_id("state.wal") {
                true => Ok(()),
                false => Err(format!("no {id}")),
            }
        });
    };
    let before = boot().run(|| {
        rules(UNDECLARED);
        let before = present();
        let api = start(&folder, "20ms", "if-empty");
        is_stored("tcp-192.0.2.9-80");
        // The store writes one after the other: the first one is durable when the second one is written.
        rules("-A -t 192.0.2.8:80 -s rr\n");
        is_stored("tcp-192.0.2.8-80");
        drop(api);
        before
    });
    boot().run(|| {
        let _api = start(&folder, AT_THE_END, "if-empty");
        until("the restore", || {
            let mut now = present();
            now.retain(|line| !line.contains("192.0.2.8"));
            match now == before {
                true => Ok(()),
                false => Err(format!("{now:?}")),
            }
        });
    });
}
