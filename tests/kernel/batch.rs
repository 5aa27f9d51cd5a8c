//! Batches on the kernel: what ipvsadm shows of them, their undo when the kernel rejects an operation, and their
//! repetition with an idempotency key after the daemon was killed.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    Namespace,
    api::Api,
    daemon::{ADDRESS, Daemon},
    ipvsadm, lists, rules,
};

const TABLE: &str = "-A -t 192.0.2.1:80 -s rr\n\
                     -a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1\n\
                     -a -t 192.0.2.1:80 -r 10.0.0.2:80 -m -w 2\n";
const WEB: &str = "tcp-192.0.2.1-80";

fn post(api: &Api, body: &Value) -> (u16, Value) {
    let headers = [("content-type", "application/json")];
    api.send("POST", "/v1/batch", &headers, Some(body))
}

fn operations(last: Value) -> Vec<Value> {
    vec![
        json!({"op": "create_server", "service": WEB,
               "value": {"server": {"address": "10.0.0.3", "forwarding": "masquerade", "weight": 3}}}),
        json!({"op": "update_server", "service": WEB, "server": "10.0.0.1-80",
               "value": {"server": {"weight": 0}}}),
        json!({"op": "create_service", "value": {"service": {"id": "tcp-192.0.2.2-80", "scheduler": "rr",
               "servers": [{"address": "10.0.0.4", "forwarding": "masquerade"}]}}}),
        json!({"op": "delete_server", "service": WEB, "server": "10.0.0.3-80"}),
        last,
    ]
}

fn results(response: &Value) -> Vec<&str> {
    let operations = response["operations"].as_array().unwrap().iter();
    operations
        .map(|op| op["result"].as_str().unwrap())
        .collect()
}

#[test]
fn a_batch_is_executed_or_undone() {
    Namespace::new().run(|| {
        rules(TABLE);
        let before = lists("-S -n");
        let api = Api::of(Daemon::start(&[]));
        // The kernel has no such scheduler, which only it knows.
        let wrong = json!({"op": "create_service",
                           "value": {"service": {"id": "tcp-192.0.2.3-80", "scheduler": "nosuch"}}});
        let (status, problem) = post(&api, &json!({"operations": operations(wrong)}));
        assert_eq!((status, &problem["reason"]), (422, &json!("APPLY_FAILED")), "{problem}");
        assert_eq!(problem["outcome"], "rollback_incomplete");
        let mut expected = vec!["undone"; 6];
        expected[0] = "failed";
        assert_eq!(results(&problem), expected);
        // The server that was created and deleted was created again for the undo.
        let lost: Vec<_> = problem["operations"].as_array().unwrap().iter().filter(|op| op.get("lost").is_some()).collect();
        assert_eq!(lost.len(), 1, "{problem}");
        assert_eq!(lost[0]["lost"], json!(["server_order"]));
        assert_eq!(lists("-S -n"), before);

        let right = json!({"op": "delete_service", "service": "tcp-192.0.2.9-80", "allow_missing": true});
        let (status, response) = post(&api, &json!({"operations": operations(right)}));
        assert_eq!((status, &response["outcome"]), (200, &json!("applied")), "{response}");
        let expected = "-A -t 192.0.2.1:80 -s rr\n\
                        -a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 0\n\
                        -a -t 192.0.2.1:80 -r 10.0.0.2:80 -m -w 2\n\
                        -A -t 192.0.2.2:80 -s rr\n\
                        -a -t 192.0.2.2:80 -r 10.0.0.4:80 -m -w 1\n";
        let sorted = |text: &str| {
            let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&lists("-S -n")), sorted(expected));
    });
}

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The daemon with its state in a folder.
fn daemon(folder: &Path) -> Daemon {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ipvsd"));
    command.env("IPVSD_STATE_DIR", folder);
    Daemon::of(command)
}

/// Sends a batch with a key, and returns the response if it arrives.
fn keyed(key: &str, body: &str) -> Option<String> {
    let request = format!(
        "POST /v1/batch HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nidempotency-key: {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(ADDRESS).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).ok()?;
    (!response.is_empty()).then_some(response)
}

/// A batch that is not the same when it is executed twice: it creates, changes and deletes what it has created.
fn batch(round: u32) -> String {
    let weight = round % 7;
    let mut operations = Vec::new();
    for n in 1..=60 {
        operations.push(
            json!({"op": "create_server", "service": WEB, "value": {"server":
            {"address": format!("10.0.1.{n}"), "forwarding": "masquerade", "weight": 9}}}),
        );
    }
    for n in 1..=60 {
        let server = format!("10.0.1.{n}-80");
        operations.push(match n % 2 {
            0 => json!({"op": "update_server", "service": WEB, "server": server,
                        "value": {"server": {"weight": weight}}}),
            _ => json!({"op": "delete_server", "service": WEB, "server": server}),
        });
    }
    json!({"on_failure": "stop", "operations": operations}).to_string()
}

#[test]
fn a_batch_with_a_key_is_executed_once_whenever_the_daemon_is_killed() {
    let folder = format!("ipvsd-kernel-batch-{}", std::process::id());
    let folder = Folder(std::env::temp_dir().join(folder));
    fs::create_dir_all(&folder.0).unwrap();
    let namespace = Namespace::new();
    let mut resumed = 0;
    for round in 0..20 {
        namespace.run(|| {
            ipvsadm("-C", "");
            rules(TABLE);
        });
        let (body, key) = (batch(round), format!("round-{round}"));
        let running = namespace.run(|| daemon(&folder.0));
        let (sender, acknowledged) = mpsc::channel();
        namespace.spawn({
            let (body, key) = (body.clone(), key.clone());
            move || {
                let _ = sender.send(keyed(&key, &body));
            }
        });
        let end = Instant::now() + Duration::from_micros(u64::from(round) * 1500);
        while Instant::now() < end {
            std::hint::spin_loop();
        }
        drop(running);
        let acknowledged = acknowledged.recv().unwrap();
        let acknowledged =
            acknowledged.is_some_and(|response| response.starts_with("HTTP/1.1 200"));
        namespace.run(|| {
            let _daemon = daemon(&folder.0);
            let again = keyed(&key, &body).unwrap();
            assert!(again.starts_with("HTTP/1.1 200"), "round {round}: {again}");
            let is_replayed = again.contains("idempotency-replayed: true");
            assert!(
                is_replayed || !acknowledged,
                "round {round}: executed twice"
            );
            resumed += u32::from(!is_replayed);
            let saved = lists("-S -n");
            let created: Vec<_> = saved
                .lines()
                .filter(|line| line.contains("-r 10.0.1."))
                .collect();
            assert_eq!(created.len(), 30, "round {round}: {saved}");
            let weight = format!("-w {}", round % 7);
            assert!(
                created.iter().all(|line| line.ends_with(&weight)),
                "round {round}: {saved}"
            );
            // Once more: nothing is executed, whatever the table is.
            ipvsadm("-C", "");
            let again = keyed(&key, &body).unwrap();
            assert!(
                again.contains("idempotency-replayed: true"),
                "round {round}: {again}"
            );
            assert_eq!(lists("-S -n"), "");
        });
    }
    println!("{resumed} of 20 batches were executed or finished by their repetition");
}
