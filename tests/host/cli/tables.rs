//! `ipvsctl apply`, `diff`, `tables` and `export`.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::daemon::Daemon;
use crate::{
    common::parity::{CommandOutput, links, shell},
    scripted::{JSON, Server, response},
};

const WEB: &str = "\
services:
- id: tcp-192.0.2.1-80
  scheduler: rr
  servers:
  - {address: 192.168.10.1, forwarding: masquerade, weight: 1}
  - {address: 192.168.10.2, forwarding: masquerade}
";
const CREATED: &str = "\
+ service tcp-192.0.2.1-80 scheduler rr
+ server tcp-192.0.2.1-80 192.168.10.2-80 forwarding masquerade, weight 1
+ server tcp-192.0.2.1-80 192.168.10.1-80 forwarding masquerade, weight 1
";
const APPLY: &str = "ipvsadm apply -f - --owner web";

/// A directory that is removed with its files.
pub struct Directory(PathBuf);

impl Directory {
    pub fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let name = format!("ipvsctl-{}-tables-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        for (file, text) in files {
            fs::write(path.join(file), text).unwrap();
        }
        Self(path)
    }

    pub fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[track_caller]
pub fn assert_output(output: &CommandOutput, code: i32, stdout: &str, stderr: &str) {
    let found = (output.code, output.stdout.as_str(), output.stderr.as_str());
    assert_eq!(found, (code, stdout, stderr));
}

/// Runs a command that succeeds without a message.
#[track_caller]
pub fn stdout(daemon: &Daemon, cmd: &str, stdin: &str) -> String {
    let output = daemon.run(cmd, stdin);
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{cmd}");
    output.stdout
}

fn server(server: &Server, cmd: &str, stdin: &str) -> CommandOutput {
    shell(cmd, stdin, Some(&links()), &server.endpoint)
}

/// A plan without its last line, which has a digest or an id.
fn operations(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    let operations = &lines[..lines.len() - 1];
    operations.iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn apply_executes_what_differs_and_a_dry_run_shows_it() {
    let daemon = Daemon::start();
    let planned = daemon.run(&format!("{APPLY} --dry-run"), WEB);
    assert_eq!((planned.code, planned.stderr.as_str()), (2, ""));
    assert_eq!(operations(&planned.stdout), CREATED);
    let summary = planned.stdout.lines().last().unwrap();
    let expected = "planned: 3 to create, 0 to edit, 0 to delete, 0 unchanged; plan p-";
    assert!(summary.starts_with(expected), "{summary}");
    let diff = daemon.run("ipvsadm diff -f - --owner web", WEB);
    assert_eq!(diff, planned);
    assert_eq!(stdout(&daemon, "ipvsadm -Sn", ""), "");

    let applied =
        format!("{CREATED}applied: 3 created, 0 edited, 0 deleted, 0 unchanged; generation 1\n");
    assert_eq!(stdout(&daemon, APPLY, WEB), applied);
    let unchanged = "unchanged: 3 objects\n";
    assert_eq!(stdout(&daemon, APPLY, WEB), unchanged);
    assert_eq!(
        stdout(&daemon, &format!("{APPLY} --dry-run"), WEB),
        unchanged
    );
}

#[test]
fn edits_and_deletions_are_shown_with_both_values() {
    let daemon = Daemon::start();
    stdout(&daemon, APPLY, WEB);
    let changed = WEB
        .replace("weight: 1", "weight: 5")
        .replace("  - {address: 192.168.10.2, forwarding: masquerade}\n", "")
        .replace("rr", "wrr\n  persistence: {timeout_seconds: 60}");
    let refused = daemon.run(&format!("{APPLY} --max-deletes 0"), &changed);
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""));
    assert!(refused.stderr.contains("--max-deletes 100%"), "{refused:?}");
    assert_eq!(
        operations(&stdout(
            &daemon,
            &format!("{APPLY} --max-deletes 50%"),
            &changed
        )),
        "~ service tcp-192.0.2.1-80 persistence.netmask none -> 255.255.255.255, \
         persistence.timeout_seconds none -> 60, scheduler rr -> wrr\n\
         ~ server tcp-192.0.2.1-80 192.168.10.1-80 weight 1 -> 5\n\
         - server tcp-192.0.2.1-80 192.168.10.2-80\n"
    );
    // The weight of the kernel stays.
    let output = stdout(&daemon, &format!("{APPLY} --keep-weights"), WEB);
    assert!(!output.contains("weight 5 -> 1"), "{output}");
}

#[test]
fn servers_that_are_drained_before_they_are_deleted_are_shown_with_their_drains() {
    let daemon = Daemon::start();
    let draining = format!("removal: drain\n{WEB}");
    stdout(&daemon, APPLY, &draining);
    let fewer = draining.replace("  - {address: 192.168.10.2, forwarding: masquerade}\n", "");
    let applied = stdout(&daemon, &format!("{APPLY} --max-deletes 100%"), &fewer);
    let removed = "- server tcp-192.0.2.1-80 192.168.10.2-80: draining (drain ";
    let rest = applied.strip_prefix(removed).expect(&applied);
    let (drain, summary) = rest.split_once(")\n").unwrap();
    assert_eq!(
        summary,
        "applied: 0 created, 0 edited, 0 deleted, 2 unchanged, 1 draining; generation 2\n"
    );
    let drains = stdout(&daemon, "ipvsadm drains", "");
    let line = drains.lines().find(|line| line.contains(drain)).unwrap();
    assert_eq!(line.split_whitespace().nth(2), Some("web"), "{drains}");
    let shown = stdout(&daemon, "ipvsadm tables show web", "");
    assert!(shown.contains("removal: drain\n"), "{shown}");
    // It has no connections.
    let end = Instant::now() + Duration::from_secs(60);
    while stdout(&daemon, "ipvsadm -Sn", "").contains("192.168.10.2") {
        assert!(Instant::now() < end, "the server is not deleted");
    }
    let delete = "ipvsadm tables delete web --confirm 1";
    let refused = daemon.run(&format!("{delete} --removal later"), "");
    assert_eq!(refused.code, 2, "{refused:?}");
    let deleted = stdout(&daemon, &format!("{delete} --removal now"), "");
    assert!(
        deleted.starts_with("- service tcp-192.0.2.1-80\n"),
        "{deleted}"
    );
}

#[test]
fn all_operations_of_the_last_apply_are_printed_also_those_of_further_pages() {
    // The client asks for larger pages, and then for those of the default size.
    let daemon = Daemon::start_with(&[("IPVSD_LIMITS_MAX_PAGE_SIZE", "1000")]);
    let servers = (0..1500).map(|number| {
        let address = format!("10.1.{}.{}", number / 250, number % 250 + 1);
        format!("  - {{address: {address}, forwarding: masquerade}}\n")
    });
    let table = "services:\n- id: tcp-192.0.2.1-80\n  scheduler: rr\n  servers:\n".to_owned();
    let table = table + &servers.collect::<String>();
    let applied = stdout(&daemon, APPLY, &table);
    assert!(applied.contains("and 501 operations more\n"), "{applied}");
    let shown = stdout(&daemon, "ipvsadm tables operations web", "");
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines.len(), 1502);
    assert_eq!(lines[0], "+ service tcp-192.0.2.1-80 scheduler rr");
    assert_eq!(
        lines[1500],
        "+ server tcp-192.0.2.1-80 10.1.0.1-80 forwarding masquerade, weight 1"
    );
    assert!(
        lines[1501].starts_with("applied: 1501 operations; apply "),
        "{}",
        lines[1501]
    );
    let json = stdout(&daemon, "ipvsadm tables operations web --output json", "");
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["operations"].as_array().unwrap().len(), 1501);
    assert_eq!(
        (&json["outcome"], &json["next_page_token"]),
        (&"applied".into(), &Value::Null)
    );
    let missing = daemon.run("ipvsadm tables operations mail", "");
    assert_eq!(missing.code, 2);
    assert!(missing.stderr.contains("mail"), "{missing:?}");
}

#[test]
fn colors_are_for_terminals_and_for_those_who_want_them() {
    let daemon = Daemon::start();
    let dry_run = |options: &str| {
        daemon
            .run(&format!("{APPLY} --dry-run {options}"), WEB)
            .stdout
    };
    let colored = dry_run("--color always");
    assert!(
        colored.starts_with("\x1b[32m+ service tcp-192.0.2.1-80 scheduler rr\x1b[0m\n"),
        "{colored:?}"
    );
    for options in ["", "--color never"] {
        assert!(!dry_run(options).contains('\x1b'), "{options}");
    }
}

#[test]
fn the_response_of_the_daemon_is_printed_as_json_and_yaml() {
    let daemon = Daemon::start();
    let planned = daemon.run(&format!("{APPLY} --dry-run --output json"), WEB);
    let json: Value = serde_json::from_str(&planned.stdout).unwrap();
    assert_eq!((planned.code, &json["outcome"]), (2, &"planned".into()));
    let plan = json["plan"].as_str().unwrap();
    let other = format!("{APPLY} --expect-plan p-0123456789abcdef");
    assert_eq!(daemon.run(&other, WEB).code, 1);
    let applied = stdout(
        &daemon,
        &format!("{APPLY} --expect-plan {plan} --output yaml"),
        WEB,
    );
    assert!(applied.contains("\noutcome: applied\n"), "{applied}");
}

#[test]
fn a_directory_is_one_table() {
    let daemon = Daemon::start();
    let other = r#"{"owner": "web", "services": [{"fwmark": 7, "servers": []}]}"#;
    let files = [
        ("b.yaml", WEB),
        ("a.json", other),
        ("c.yml", "keep_weights: true\nservices: []\n"),
        (".d.yaml", "editor: 1"),
        ("README", "no table"),
    ];
    let directory = Directory::new("one", &files);
    let cmd = format!("ipvsadm apply -f {}", directory.0.display());
    let text = stdout(&daemon, &cmd, "");
    assert!(
        text.starts_with("+ service fwmark-7 scheduler wlc\n"),
        "{text}"
    );
    assert!(text.contains(" 4 created,"), "{text}");
    let table = stdout(&daemon, "ipvsadm tables show web --output json", "");
    let table: Value = serde_json::from_str(&table).unwrap();
    assert_eq!(table["keep_weights"], true);

    // A service twice, under two of its names.
    let again = "services: [{protocol: tcp, address: 192.0.2.1, port: 80, servers: []}]";
    fs::write(directory.file("x.yaml"), again).unwrap();
    let message = format!(
        "ipvsadm: {}: tcp-192.0.2.1-80 is declared here and in {}; nothing was changed\n",
        directory.file("x.yaml"),
        directory.file("b.yaml")
    );
    assert_output(&daemon.run(&cmd, ""), 1, "", &message);
    // An error of the daemon names the file.
    let invalid = "services: [{fwmark: 8, scheduler: 5x5x5x5x5x5x5x5x5x5, servers: []}]";
    fs::write(directory.file("x.yaml"), invalid).unwrap();
    let output = daemon.run(&cmd, "");
    let field = format!("{}: services[0]", directory.file("x.yaml"));
    assert_eq!(output.code, 1);
    assert!(output.stderr.contains(&field), "{output:?}");
}

#[test]
fn a_file_that_is_no_table_is_refused_before_anything_is_sent() {
    let silent = Server::responding(response("200 OK", JSON, "{}"));
    let empty = Directory::new("none", &[]);
    for (file, options, part) in [
        ("", "--owner web", "is empty"),
        ("-A -t 192.0.2.1:80\n", "--owner web", "is no table"),
        ("service: []", "--owner web", "services: a list is required"),
        ("services: x", "--owner web", "services: a list is required"),
        ("{\"services\": [}", "--owner web", "line 1 column 15"),
        ("services: []\nservices: []", "--owner web", "duplicate"),
        (
            "{\"services\":[],\"services\":[]}",
            "--owner web",
            "duplicate",
        ),
        ("services: []", "", "whose table is it?"),
        (
            "services: []\nowner: db",
            "--owner web",
            "owner: is db, and --owner is web",
        ),
        (
            "services: []\nowner: Db",
            "",
            "\"Db\" is not the name of an owner",
        ),
        (
            "services: [{fwmark: 1}, {id: fwmark-1}]",
            "--owner web",
            "fwmark-1 is declared twice",
        ),
    ] {
        let output = server(&silent, &format!("ipvsadm apply -f - {options}"), file);
        assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{output:?}");
        assert!(output.stderr.contains(part), "{part}: {output:?}");
    }
    let cmd = format!("ipvsadm apply -f {} --owner web", empty.0.display());
    let output = server(&silent, &cmd, "");
    assert!(output.stderr.contains("has no *.json"), "{output:?}");
    // Not to be mistaken for a plan, which has the exit code 2.
    for cmd in [
        "ipvsadm apply --owner web",
        "ipvsadm diff",
        "ipvsadm diff --owner web --adopt any",
        "ipvsadm apply -f /nonexistent --owner web",
        "ipvsadm apply -f - --owner web --max-deletes 101%",
        "ipvsadm --all diff --owner web",
    ] {
        let output = server(&silent, cmd, WEB);
        assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{cmd}");
    }
    assert_eq!(silent.request_lines(), [""; 0]);
}

#[test]
fn options_are_sent_as_parameters() {
    let json = r#"{"owner":"web","apply_id":"a","generation":1,"outcome":"unchanged","plan":"p-0",
        "operations":[],"operations_total":0,
        "summary":{"create":0,"update":0,"delete":0,"unchanged":0}}"#;
    let daemon = Server::responding(response("200 OK", JSON, json));
    let cmd = "ipvsadm apply -f - --owner web --on-failure continue --max-deletes 5% --adopt any \
               --expect-plan p-1 --dry-run";
    assert_eq!(server(&daemon, cmd, WEB).code, 0);
    assert_eq!(
        daemon.request_lines(),
        [
            "PUT /v1/tables/web?on_failure=continue&max_deletes=5%25&adopt=any&expect_plan=p-1&dry_run=true \
             HTTP/1.1"
        ]
    );
}

#[test]
fn a_failed_apply_shows_what_became_of_each_operation() {
    let problem = r#"{"reason":"APPLY_FAILED","status":500,"detail":"1 of 2 operations failed; undone",
        "owner":"web","apply_id":"a-1","generation":1,"outcome":"rolled_back","plan":"p-0","operations":[
        {"op":"create_server","service":"fwmark-7","server":"10.0.0.2-0",
         "after":{"server":{"id":"10.0.0.2-0","weight":0,"upper_threshold":0}},"result":"failed",
         "error":{"reason":"KERNEL_ERROR","detail":"Memory\u001b allocation problem"}},
        {"op":"delete_service","service":"fwmark-9","before":{"service":{"id":"fwmark-9"}},
         "result":"undone","lost":["counters","connections"]}],
        "operations_total":1002,"summary":{"create":1,"update":0,"delete":1,"unchanged":0}}"#;
    let status = "500 Internal Server Error";
    let daemon = Server::responding(response(status, "application/problem+json", problem));
    assert_output(
        &server(&daemon, APPLY, WEB),
        1,
        "+ server fwmark-7 10.0.0.2-0 weight 0: failed: Memory\\u001b allocation problem\n\
         - service fwmark-9: undone (lost: counters, connections)\n\
         and 1000 operations more\n\
         rolled_back: 1 failed, 1 undone; apply a-1\n",
        "ipvsadm: 1 of 2 operations failed; undone\n",
    );
    let output = server(&daemon, &format!("{APPLY} --output json"), WEB);
    let json: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!((output.code, &json["outcome"]), (1, &"rolled_back".into()));
}

#[test]
fn an_apply_whose_reply_is_lost_is_sent_again_once() {
    let daemon = Daemon::start();
    let proxy = Server::losing(&daemon.endpoint, |number| number == 0);
    let unchanged = "unchanged: 3 objects\n";
    assert_output(&server(&proxy, APPLY, WEB), 0, unchanged, "");
    assert_eq!(proxy.request_lines().len(), 2);
    let proxy = Server::losing(&daemon.endpoint, |_| true);
    let output = server(&proxy, APPLY, WEB);
    assert_eq!(output.code, 3);
    let check = format!("`ipvsctl --endpoint {} tables show web`", proxy.endpoint);
    assert!(output.stderr.contains(&check), "{output:?}");
}

#[test]
fn diff_without_a_file_shows_the_drift() {
    let daemon = Daemon::start();
    stdout(&daemon, APPLY, WEB);
    assert_eq!(
        stdout(&daemon, "ipvsadm diff --owner web", ""),
        "unchanged: 3 objects\n"
    );
    stdout(
        &daemon,
        "ipvsadm -e -t 192.0.2.1:80 -r 192.168.10.1 -m -w 9",
        "",
    );
    let drift = daemon.run("ipvsadm diff --owner web", "");
    assert_eq!((drift.code, drift.stderr.as_str()), (2, ""));
    assert_eq!(
        operations(&drift.stdout),
        "~ server tcp-192.0.2.1-80 192.168.10.1-80 weight 9 -> 1\n"
    );
    let missing = daemon.run("ipvsadm diff --owner db", "");
    assert_eq!(
        (missing.code, missing.stdout.as_str()),
        (1, ""),
        "{missing:?}"
    );
}

#[test]
fn tables_are_listed_shown_and_deleted() {
    let daemon = Daemon::start();
    stdout(&daemon, APPLY, WEB);
    let list = stdout(&daemon, "ipvsadm tables", "");
    let rows: Vec<Vec<_>> = list
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[0][..3], ["OWNER", "GENERATION", "STATE"]);
    let expected = ["web", "1", "in_sync", "off", "1", "2", "applied"];
    assert_eq!(rows[1][..7], expected);
    let json = stdout(&daemon, "ipvsadm tables --output json", "");
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["tables"][0]["owner"], "web");

    // What is shown can be applied, without the name of the owner.
    let shown = stdout(&daemon, "ipvsadm tables show web", "");
    assert!(shown.starts_with("owner: web\n"), "{shown}");
    let unchanged = "unchanged: 3 objects\n";
    assert_eq!(stdout(&daemon, "ipvsadm apply -f -", &shown), unchanged);

    for options in ["", "--confirm 1 --if-match d-0123456789abcdef"] {
        let output = daemon.run(&format!("ipvsadm tables delete web {options}"), "");
        assert!(output.stderr.contains("--confirm"), "{output:?}");
    }
    for guard in ["--confirm 2", "--if-match d-0123456789abcdef"] {
        let output = daemon.run(&format!("ipvsadm tables delete web {guard}"), "");
        assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{output:?}");
    }
    let line = shown.lines().find(|line| line.starts_with("etag: "));
    let etag = line.unwrap().trim_start_matches("etag: ");
    let deleted = stdout(
        &daemon,
        &format!("ipvsadm tables delete web --if-match {etag}"),
        "",
    );
    assert_eq!(operations(&deleted), "- service tcp-192.0.2.1-80\n");
    assert_eq!(stdout(&daemon, "ipvsadm -Sn", ""), "");
    stdout(&daemon, APPLY, WEB);
    stdout(&daemon, "ipvsadm tables delete web --confirm 1", "");
    assert_eq!(stdout(&daemon, "ipvsadm tables", "").lines().count(), 1);
}

#[test]
fn the_settings_of_a_table_are_set() {
    let daemon = Daemon::start();
    stdout(&daemon, APPLY, WEB);
    let set = "ipvsadm tables set web --reconcile repair --keep-weights true";
    let row = stdout(&daemon, set, "");
    let words: Vec<_> = row.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(words[..4], ["web", "2", "in_sync", "repair"]);
    let refused = daemon.run("ipvsadm -e -t 192.0.2.1:80 -r 192.168.10.1 -m -w 5", "");
    assert_eq!(refused.stdout, "");
    let owned = "belongs to the table of web, which the daemon repairs; nothing was changed";
    assert!(refused.stderr.contains(owned), "{refused:?}");
    let shown = stdout(&daemon, "ipvsadm tables show web", "");
    for setting in ["reconcile: repair\n", "keep_weights: true\n"] {
        assert!(shown.contains(setting), "{shown}");
    }
    // A file that does not name them keeps them, and one that does sets them.
    stdout(&daemon, APPLY, WEB);
    let json = stdout(&daemon, "ipvsadm tables --output json", "");
    assert!(json.contains("\"repair\""), "{json}");
    stdout(&daemon, APPLY, &format!("reconcile: \"off\"\n{WEB}"));
    stdout(
        &daemon,
        "ipvsadm -e -t 192.0.2.1:80 -r 192.168.10.1 -m -w 5",
        "",
    );
    let stale = "ipvsadm tables set web --reconcile report --if-match d-0123456789abcdef";
    assert_eq!(daemon.run(stale, "").code, 2);
}

const RUNNING: &str = "\
-A -t 192.0.2.1:80 -s sh -b sh-port,sh-fallback -p 60 -M 255.255.255.0
-a -t 192.0.2.1:80 -r 192.168.10.3:80 -m -w 0 -x 9 -y 4
-a -t 192.0.2.1:80 -r 192.168.10.1:8080 -m -w 65535
-a -t 192.0.2.1:80 -r 192.168.10.2:80 -i -w 3 --tun-type gue --tun-port 6080 --tun-nocsum
-A -u [2001:db8::1]:53 -s rr -o
-a -u [2001:db8::1]:53 -r [2001:db8::9]:53 -g
-A -f 4294967295 -s rr -M 255.255.255.0
-A -f 7 -6 -s wrr
-A -t 192.0.2.9:5060 -s rr -p 30 --pe sip
";

#[test]
fn what_is_exported_is_applied_without_a_change() {
    let daemon = Daemon::start();
    let restored = daemon.run("ipvsadm -R", RUNNING);
    assert_output(&restored, 0, "", "");
    stdout(&daemon, "ipvsadm --set 100 0 0", "");
    let start = "ipvsadm --start-daemon master --mcast-interface eth0 --syncid 7";
    stdout(&daemon, start, "");
    let saved = stdout(&daemon, "ipvsadm save --full", "");
    let adopt = "ipvsadm apply -f - --owner all --adopt unmanaged";
    for format in ["yaml", "json"] {
        let file = stdout(&daemon, &format!("ipvsadm export --output {format}"), "");
        let output = daemon.run(&format!("{adopt} --dry-run"), &file);
        assert_output(&output, 0, "unchanged: 11 objects\n", "");
    }
    let file = stdout(&daemon, "ipvsadm export", "");
    for other in [
        "etag",
        "active_connections",
        "interface_state",
        "scheduler_flags: []",
        "port: 80",
    ] {
        assert!(!file.contains(other), "{file}");
    }
    // In an empty table, it makes the same one, with the servers in the same order.
    stdout(&daemon, "ipvsadm -C", "");
    stdout(&daemon, "ipvsadm --set 900 0 0", "");
    stdout(&daemon, "ipvsadm --stop-daemon master", "");
    let applied = stdout(&daemon, adopt, &file);
    let director = ["~ timeouts tcp_seconds 900 -> 100", "+ sync daemon master "];
    for line in director {
        assert!(applied.contains(line), "{applied}");
    }
    let restored = stdout(&daemon, "ipvsadm save --full", "");
    assert_eq!(restored.replace("\"all\"", "\"_unmanaged\""), saved);
    // Of an owner that declares them.
    let file = stdout(&daemon, "ipvsadm export --owner all", "");
    assert!(file.contains("tcp_seconds: 100"), "{file}");
}

#[test]
fn an_export_of_an_owner_has_what_runs_of_its_table() {
    let daemon = Daemon::start();
    stdout(&daemon, APPLY, WEB);
    stdout(&daemon, "ipvsadm -A -f 9", "");
    stdout(
        &daemon,
        "ipvsadm -e -t 192.0.2.1:80 -r 192.168.10.1 -m -w 9",
        "",
    );
    let file = stdout(&daemon, "ipvsadm export --owner web", "");
    assert!(file.starts_with("owner: web\nservices:\n"), "{file}");
    assert!(
        file.contains("weight: 9\n") && !file.contains("fwmark"),
        "{file}"
    );
    // The drift becomes the declaration.
    let applied = stdout(&daemon, "ipvsadm apply -f -", &file);
    assert_eq!(operations(&applied), "");
    stdout(&daemon, "ipvsadm diff --owner web", "");
    assert_eq!(daemon.run("ipvsadm export --owner db", "").code, 2);
}
