//! `ipvsctl batch`.

use super::daemon::Daemon;
use crate::{
    common::parity::{links, shell},
    scripted::Server,
};

const TABLE: &str = "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 192.168.10.1:80 -m -w 1\n";
const BATCH: &str = "\
operations:
- op: create_server
  service: tcp-192.0.2.1-80
  value: {server: {address: 192.168.10.2, forwarding: masquerade}}
- op: update_server
  service: tcp-192.0.2.1-80
  server: 192.168.10.1-80
  value: {server: {weight: 0}}
";
const OPERATIONS: &str = "\
+ server tcp-192.0.2.1-80 192.168.10.2-80 forwarding masquerade, weight 1
~ server tcp-192.0.2.1-80 192.168.10.1-80 weight 1 -> 0
";

#[test]
fn operations_of_a_file_are_executed_together() {
    let daemon = Daemon::start();
    daemon.run("ipvsadm -R", TABLE);
    let planned = daemon.run("ipvsadm batch -f - --dry-run", BATCH);
    assert_eq!((planned.code, planned.stderr.as_str()), (2, ""));
    assert!(planned.stdout.starts_with(OPERATIONS), "{}", planned.stdout);
    assert_eq!(daemon.run("ipvsadm -Sn", "").stdout, TABLE);
    let applied = daemon.run("ipvsadm batch -f -", BATCH);
    assert_eq!((applied.code, applied.stderr.as_str()), (0, ""));
    let summary = "applied: 1 created, 1 edited, 0 deleted, 0 unchanged\n";
    assert_eq!(applied.stdout, format!("{OPERATIONS}{summary}"));
    let saved = daemon.run("ipvsadm -Sn", "").stdout;
    assert!(saved.contains("192.168.10.1:80 -m -w 0"), "{saved}");
    assert!(saved.contains("192.168.10.2:80 -m -w 1"), "{saved}");
}

#[test]
fn a_batch_that_cannot_be_executed_names_the_operation() {
    let daemon = Daemon::start();
    let refused = daemon.run("ipvsadm batch -f - --on-failure stop", BATCH);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused.stderr.contains("tcp-192.0.2.1-80 does not exist"),
        "{}",
        refused.stderr
    );
    for text in ["", "[]", "x"] {
        let refused = daemon.run("ipvsadm batch -f -", text);
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.stderr.contains("operations:"), "{}", refused.stderr);
    }
}

/// A folder that is removed at the end.
struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_batch_whose_reply_is_lost_is_repeated_with_its_key_and_executed_once() {
    let folder = format!("ipvsctl-{}-batch", std::process::id());
    let folder = Folder(std::env::temp_dir().join(folder));
    let daemon = Daemon::start_with(&[("IPVSD_STATE_DIR", folder.0.to_str().unwrap())]);
    daemon.run("ipvsadm -R", TABLE);
    let server = Server::losing(&daemon.endpoint, |number| number == 0);
    let output = shell(
        "ipvsadm batch -f -",
        BATCH,
        Some(&links()),
        &server.endpoint,
    );
    // A batch that was executed twice would find the server that it creates.
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{output:?}");
    assert!(output.stdout.starts_with(OPERATIONS), "{}", output.stdout);
    let keys = server.header("idempotency-key");
    assert_eq!(keys.len(), 2);
    assert!(keys[0] == keys[1] && keys[0].len() == 32, "{keys:?}");
    let other = shell(
        "ipvsadm batch -f - --dry-run",
        BATCH,
        Some(&links()),
        &server.endpoint,
    );
    assert_eq!(other.code, 1, "it exists: {other:?}");
    assert_eq!(
        server.header("idempotency-key")[2],
        "",
        "a dry run needs none"
    );
}

#[test]
fn a_daemon_without_a_store_gets_the_batch_without_a_key_and_once() {
    let daemon = Daemon::start();
    daemon.run("ipvsadm -R", TABLE);
    let server = Server::losing(&daemon.endpoint, |number| number == 1);
    let output = shell(
        "ipvsadm batch -f -",
        BATCH,
        Some(&links()),
        &server.endpoint,
    );
    assert_eq!(output.code, 3, "{output:?}");
    assert!(output.stderr.contains("outcome is unknown"), "{output:?}");
    let keys = server.header("idempotency-key");
    assert_eq!((keys.len(), keys[0].len(), keys[1].as_str()), (2, 32, ""));
}
