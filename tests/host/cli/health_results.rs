//! `ipvsctl report-health`.

use serde_json::Value;

use super::daemon::Daemon;

const TABLE: &str = "-A -t 192.0.2.1:80 -s wrr\n-a -t 192.0.2.1:80 -r 192.168.10.1:80 -m -w 5\n";
const REPORT: &str = "ipvsadm report-health tcp-192.0.2.1-80 192.168.10.1-80";

/// A daemon with a service whose servers are not asked.
fn setup(kind: &str) -> Daemon {
    let daemon = Daemon::start();
    assert_eq!(daemon.run("ipvsadm -R", TABLE).code, 0);
    let file = format!(
        r#"{{"services": [{{"id": "tcp-192.0.2.1-80", "scheduler": "wrr", "health_check": {{"type": "{kind}"}},
        "servers": [{{"id": "192.168.10.1-80", "forwarding": "masquerade", "weight": 5}}]}}]}}"#
    );
    let applied = daemon.run("ipvsadm apply -f - --owner web --adopt any", &file);
    assert_eq!(applied.code, 0, "{applied:?}");
    daemon
}

/// The weight of the server in the kernel.
fn weight(daemon: &Daemon) -> String {
    let listing = daemon.run("ipvsadm -Ln", "").stdout;
    let mut lines = listing.lines();
    let line = lines.find(|line| line.contains("192.168.10.1:80"));
    let mut words = line.unwrap().split_whitespace();
    words.nth(3).unwrap().to_owned()
}

#[test]
fn a_result_takes_a_server_out_and_brings_it_back() {
    let daemon = setup("external");
    let down = daemon.run(&format!("{REPORT} down --reason 'disk full'"), "");
    assert_eq!((down.code, down.stderr.as_str()), (0, ""));
    assert!(down.stdout.contains("down") && down.stdout.contains("disk full"));
    assert_eq!(weight(&daemon), "0");
    let up = daemon.run(&format!("{REPORT} up --output json"), "");
    let up: Value = serde_json::from_str(&up.stdout).unwrap();
    assert_eq!(up["state"], "up");
    assert_eq!(weight(&daemon), "5");
}

#[test]
fn a_result_that_is_refused_says_why() {
    let daemon = setup("tcp");
    let refused = daemon.run(&format!("{REPORT} down"), "");
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("type tcp"), "{}", refused.stderr);
    let long = format!("{REPORT} down --reason {}", "x".repeat(257));
    let refused = daemon.run(&long, "");
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("256"), "{}", refused.stderr);
    let refused = daemon.run(&format!("{REPORT} off"), "");
    assert_eq!(refused.code, 2, "{refused:?}");
}
