//! `ipvsctl drain`, `undrain`, `drains`, `ramp`, `unramp` and `ramps`.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    process::{Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use super::daemon::Daemon;
use crate::{
    common::parity::{CommandOutput, links, shell},
    scripted::{JSON, Server, response},
};

const TABLE: &str = "\
-A -t 192.0.2.1:80 -s wrr
-a -t 192.0.2.1:80 -r 192.168.10.1:80 -m -w 5
-a -t 192.0.2.1:80 -r 192.168.10.2:80 -m -w 7
-A -t 192.0.2.2:80 -s wrr
-a -t 192.0.2.2:80 -r 192.168.10.1:8080 -m -w 1
";
const BLOCKER: &str = "tcp-192.0.2.1-80: clients with a persistence template still get the server";
const GOES_ON: &str =
    "the drain 00000000000000d1 goes on: repeat the command to wait again, or end it with";

/// The drain of one server with this many connections.
fn drain(state: &str, active: u32, ended: bool) -> String {
    let end = if ended {
        r#","end_time":"2026-01-31T12:01:00Z""#
    } else {
        ""
    };
    let member = if active == 0 { "drained" } else { "draining" };
    format!(
        r#"{{"id":"00000000000000d1","server":"192.168.10.1","then":"keep","state":"{state}","members":[
        {{"service":"tcp-192.0.2.1-80","server":"192.168.10.1-80","weight":5,"effective_weight":0,
        "active_connections":{active},"inactive_connections":3,"persistent_connections":1,"state":"{member}"}}],
        "blockers":["{BLOCKER}"],"create_time":"2026-01-31T12:00:00Z"{end}}}"#
    )
}

fn ramp(state: &str, weight: u32) -> String {
    format!(
        r#"{{"id":"00000000000000a1","service":"tcp-192.0.2.1-80","server":"192.168.10.1-80","from":5,
        "to":100,"over_seconds":600,"steps":20,"weight":{weight},"state":"{state}",
        "create_time":"2026-01-31T12:00:00Z"}}"#
    )
}

/// A director that responds with these documents, one after another; the last one stays.
fn director(documents: Vec<String>) -> Server {
    Server::start(move |number, _, stream| {
        let document = &documents[number.min(documents.len() - 1)];
        let status = if number == 0 { "201 Created" } else { "200 OK" };
        let _ = stream.write_all(response(status, JSON, document).as_bytes());
    })
}

fn run(server: &Server, cmd: &str) -> CommandOutput {
    shell(cmd, "", Some(&links()), &server.endpoint)
}

/// Starts a daemon with [`TABLE`].
fn setup() -> Daemon {
    let daemon = Daemon::start();
    assert_eq!(daemon.run("ipvsadm -R", TABLE).code, 0);
    daemon
}

/// Runs a command that succeeds without a message.
#[track_caller]
fn stdout(daemon: &Daemon, cmd: &str) -> String {
    let output = daemon.run(cmd, "");
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{cmd}");
    output.stdout
}

#[track_caller]
fn read(daemon: &Daemon, cmd: &str) -> Value {
    serde_json::from_str(&stdout(daemon, &format!("{cmd} --output json"))).unwrap()
}

/// The weights in the kernel of the servers of [`TABLE`].
fn weights(daemon: &Daemon) -> Vec<u64> {
    let list = read(daemon, "ipvsadm -L -n");
    let mut weights = BTreeMap::new();
    for service in list["services"].as_array().unwrap() {
        for server in service["servers"].as_array().unwrap() {
            let key = (service["id"].to_string(), server["id"].to_string());
            weights.insert(key, server["effective_weight"].as_u64().unwrap());
        }
    }
    weights.into_values().collect()
}

#[test]
fn a_drain_waits_and_shows_what_changes() {
    let states = [("draining", 12), ("draining", 12), ("drained", 0)];
    let states = states.map(|(state, active)| drain(state, active, false));
    let server = director(states.to_vec());
    let output = run(&server, "ipvsadm drain 192.168.10.1 --deadline 300");
    assert_eq!(
        output.stderr,
        format!("{BLOCKER}\n12 active, 3 inactive, 1 persistent; 0 of 1 servers drained\n")
    );
    assert_eq!(
        output.stdout,
        "SERVICE           SERVER           WEIGHT  ACTIVE  INACTIVE  PERSISTENT  STATE\n\
         tcp-192.0.2.1-80  192.168.10.1-80  5       0       3         1           drained\n\
         192.168.10.1: drained; `ipvsctl undrain 00000000000000d1` ends the drain\n"
    );
    assert_eq!(output.code, 0);
    assert_eq!(
        server.request_lines(),
        [
            "POST /v1/drains HTTP/1.1",
            "GET /v1/drains/00000000000000d1 HTTP/1.1",
            "GET /v1/drains/00000000000000d1 HTTP/1.1",
        ]
    );
}

#[test]
fn the_exit_code_says_how_a_wait_ended() {
    let drains = "ipvsadm drain 192.168.10.1";
    let ramps = "ipvsadm ramp tcp-192.0.2.1-80 192.168.10.1-80 --to 100 --over 600";
    let draining = || drain("draining", 12, false);
    for (cmd, options, documents, code) in [
        (
            drains,
            "",
            vec![draining(), drain("deadline_reached", 12, false)],
            4,
        ),
        (drains, "", vec![drain("cancelled", 12, true)], 5),
        (drains, "", vec![drain("superseded", 12, true)], 5),
        (drains, "--wait-timeout 0.1", vec![draining()], 6),
        (drains, "--no-wait", vec![draining()], 0),
        (drains, "--dry-run", vec![draining()], 0),
        (ramps, "", vec![ramp("ramping", 5), ramp("done", 100)], 0),
        (ramps, "", vec![ramp("superseded", 5)], 5),
        (ramps, "--wait-timeout 0.1", vec![ramp("ramping", 5)], 6),
        (ramps, "--no-wait", vec![ramp("ramping", 5)], 0),
    ] {
        let output = run(&director(documents), &format!("{cmd} {options}"));
        assert_eq!(output.code, code, "{cmd} {options}: {output:?}");
        assert_eq!(output.stderr.contains("goes on"), code == 6, "{output:?}");
    }
}

/// The servers of a drain that removes them are there until it has ended.
#[test]
fn a_drain_that_removes_servers_is_waited_for_until_they_are_removed() {
    let remove = |ended| drain("drained", 0, ended).replace("keep", "remove");
    let server = director(vec![remove(false), remove(true)]);
    let output = run(&server, "ipvsadm drain 192.168.10.1 --then remove");
    assert_eq!(server.request_lines().len(), 2);
    assert!(
        output.stdout.ends_with("the servers were removed\n"),
        "{output:?}"
    );
    assert_eq!(output.code, 0);
}

#[test]
fn a_wait_that_is_interrupted_says_that_the_drain_goes_on() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        // The daemon does not respond to the second read.
        let (sender, received) = mpsc::channel();
        let server = Server::start(move |number, _, stream| {
            if number < 2 {
                let draining = drain("draining", 12, false);
                let _ = stream.write_all(response("200 OK", JSON, &draining).as_bytes());
            } else {
                let _ = sender.send(());
                let _ = stream.read(&mut [0]);
            }
        });
        let child = Command::new(env!("CARGO_BIN_EXE_ipvsctl"))
            .args(["--endpoint", &server.endpoint, "drain", "192.168.10.1"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        received.recv_timeout(Duration::from_secs(30)).unwrap();
        kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        let expected = format!("{GOES_ON} `ipvsctl --endpoint {} undrain", server.endpoint);
        assert!(
            stderr.lines().last().unwrap().starts_with(&expected),
            "{stderr}"
        );
        assert_eq!(output.status.code(), Some(code));
        assert_eq!(output.stdout, b"");
    }
}

#[test]
fn a_wait_that_fails_says_that_the_drain_goes_on() {
    let server = Server::start(|number, _, stream| {
        let draining = drain("draining", 12, false);
        if number == 0 {
            let _ = stream.write_all(response("201 Created", JSON, &draining).as_bytes());
        }
    });
    let output = run(&server, "ipvsadm drain 192.168.10.1");
    assert_eq!((output.code, output.stdout.as_str()), (2, ""));
    assert!(output.stderr.contains(GOES_ON), "{output:?}");
}

#[test]
fn servers_are_drained_and_get_their_weights_again() {
    let daemon = setup();
    let planned = stdout(&daemon, "ipvsadm drain 192.168.10.1 --dry-run");
    assert!(planned.ends_with("nothing was changed\n"), "{planned}");
    assert_eq!(weights(&daemon), [5, 7, 1]);

    let drained = read(&daemon, "ipvsadm drain 192.168.10.1");
    assert_eq!(drained["state"], "drained");
    assert_eq!(weights(&daemon), [0, 7, 0]);
    let only = "ipvsadm drain 192.168.10.2-80 --service tcp-192.0.2.1-80 --deadline 60";
    let drain = read(&daemon, only);
    assert_eq!(drain["services"], json!(["tcp-192.0.2.1-80"]));
    assert_eq!(
        (&drain["deadline_seconds"], &drain["then"]),
        (&60.into(), &"keep".into())
    );
    // The same once more is the same drain.
    assert_eq!(read(&daemon, only)["id"], drain["id"]);
    let list = read(&daemon, "ipvsadm drains");
    assert_eq!(list["drains"].as_array().unwrap().len(), 2);

    let wider = daemon.run("ipvsadm undrain 192.168.10.1-80", "");
    assert_eq!(wider.code, 2);
    let hint = format!("`ipvsctl undrain {}`", drained["id"].as_str().unwrap());
    assert!(wider.stderr.contains(&hint), "{wider:?}");
    let none = daemon.run("ipvsadm undrain 192.168.10.3", "");
    assert_eq!(none.stderr, "ipvsadm: 192.168.10.3 has no drain\n");

    let ended = read(&daemon, "ipvsadm undrain 192.168.10.1");
    assert_eq!(ended["drains"][0]["state"], "cancelled");
    let ended = stdout(
        &daemon,
        &format!("ipvsadm undrain {}", drain["id"].as_str().unwrap()),
    );
    let line = ended.lines().nth(1).unwrap();
    let words: Vec<_> = line.split_whitespace().skip(1).take(2).collect();
    assert_eq!(words, ["192.168.10.2-80", "cancelled"], "{ended}");
    assert_eq!(weights(&daemon), [5, 7, 1]);
    // They are listed with the time of their end, and hold nothing.
    let lines = stdout(&daemon, "ipvsadm drains");
    assert_eq!(lines.matches("cancelled").count(), 2, "{lines}");
    assert_eq!(daemon.run("ipvsadm undrain 192.168.10.1", "").code, 2);
}

#[test]
fn a_drain_of_all_ports_of_an_address_ends_with_it() {
    let daemon = setup();
    for server in ["192.168.10.1-80", "192.168.10.1-8080", "192.168.10.2-80"] {
        stdout(&daemon, &format!("ipvsadm drain {server}"));
    }
    stdout(&daemon, "ipvsadm undrain 192.168.10.1");
    assert_eq!(weights(&daemon), [5, 0, 1]);
}

#[test]
fn servers_are_removed_after_their_drain() {
    let daemon = setup();
    let output = stdout(&daemon, "ipvsadm drain 192.168.10.1 --then remove");
    assert!(
        output.ends_with("192.168.10.1: drained; the servers were removed\n"),
        "{output}"
    );
    assert_eq!(weights(&daemon), [7]);
}

#[test]
fn ramps_are_made_listed_and_ended() {
    let daemon = setup();
    let ramp = "ipvsadm ramp tcp-192.0.2.1-80 192.168.10.1-80";
    let output = daemon.run(
        &format!("{ramp} --to 50 --over 1 --steps 1 --output json"),
        "",
    );
    assert_eq!(output.code, 0, "{output:?}");
    assert!(
        output
            .stderr
            .starts_with("weight 5 on the way from 5 to 50\n"),
        "{output:?}"
    );
    let done: Value = serde_json::from_str(&output.stdout).unwrap();
    let fields = ["from", "to", "over_seconds", "steps", "state"].map(|name| done[name].clone());
    assert_eq!(json!(fields), json!([5, 50, 1, 1, "done"]));
    assert_eq!(weights(&daemon), [50, 7, 1]);
    let begun = read(&daemon, &format!("{ramp} --to 100 --over 86400 --no-wait"));
    assert_eq!(
        (&begun["state"], &begun["steps"]),
        (&"ramping".into(), &20.into())
    );
    let list = stdout(&daemon, "ipvsadm ramps");
    assert!(list.contains(" 50    50      100  ramping "), "{list}");
    let ended = stdout(
        &daemon,
        &format!("ipvsadm unramp {}", begun["id"].as_str().unwrap()),
    );
    assert!(ended.contains(" cancelled "), "{ended}");
    assert_eq!(weights(&daemon), [100, 7, 1]);
    for (options, count) in [
        ("", 2),
        ("--owner _unmanaged", 2),
        ("--owner k8s", 0),
        ("--label '!team'", 2),
        ("--label '!team' --label team", 0),
    ] {
        let list = read(&daemon, &format!("ipvsadm ramps {options}"));
        assert_eq!(list["ramps"].as_array().unwrap().len(), count, "{options}");
        let drains = read(&daemon, &format!("ipvsadm drains {options}"));
        assert_eq!(drains["drains"], json!([]), "{options}");
    }
}

#[test]
fn a_drain_whose_reply_is_lost_is_requested_again_once() {
    let daemon = setup();
    let proxy = Server::losing(&daemon.endpoint, |number| number == 0);
    assert_eq!(run(&proxy, "ipvsadm drain 192.168.10.1").code, 0);
    let list = read(&daemon, "ipvsadm drains");
    assert_eq!(list["drains"].as_array().unwrap().len(), 1);
    let proxy = Server::losing(&daemon.endpoint, |_| true);
    let output = run(&proxy, "ipvsadm drain 192.168.10.2");
    assert_eq!(output.code, 3);
    let check = format!("`ipvsctl --endpoint {} drains`", proxy.endpoint);
    assert!(output.stderr.contains(&check), "{output:?}");
}

#[test]
fn what_is_wrong_is_refused_before_anything_is_changed() {
    let daemon = setup();
    for (cmd, part) in [
        ("--all drain 192.168.10.1", "only read-only commands"),
        ("--all undrain 192.168.10.1", "only read-only commands"),
        ("drain web1", "neither an address"),
        ("drain 192.168.10.1 --then stop", "keep, remove"),
        ("drain 192.168.10.1 --deadline 0", "--deadline"),
        ("drain 192.168.10.1 --deadline 99999999", "deadline_seconds"),
        (
            "drain 192.168.10.1 --no-wait --wait-timeout 1",
            "cannot be used with",
        ),
        (
            "drain 192.168.10.1 --service tcp-192.0.2.9-80",
            "tcp-192.0.2.9-80",
        ),
        (
            "undrain 0123456789abcdef",
            "there is no drain 0123456789abcdef",
        ),
        (
            "unramp 0123456789abcdef",
            "there is no ramp 0123456789abcdef",
        ),
        ("ramp tcp-192.0.2.1-80 192.168.10.1-80 --to 1", "--over"),
        (
            "ramp tcp-192.0.2.1-80 192.168.10.9-80 --to 1 --over 1",
            "192.168.10.9-80",
        ),
    ] {
        let output = daemon.run(&format!("ipvsadm {cmd}"), "");
        assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{cmd}");
        assert!(output.stderr.contains(part), "{cmd}: {output:?}");
    }
    assert_eq!(weights(&daemon), [5, 7, 1]);
}
