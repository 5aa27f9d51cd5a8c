//! The audit file of the daemon.

use std::{fs, process::Stdio, time::Instant};

use serde_json::Value;

use super::{
    harness::{DEADLINE, TempDir},
    process::Process,
};

/// A configuration with this file.
fn config(directory: &TempDir) -> String {
    let file = directory.0.join("audit.log");
    format!("[audit]\nfile = {file:?}\n")
}

fn create(process: &Process, mark: u32) {
    let body = format!("{{\"fwmark\": {mark}}}");
    let response = process.send("POST", "/v1/services", &body);
    assert!(response.starts_with("HTTP/1.1 201 "), "{response}");
}

/// The services that the records of a file are about.
fn services(directory: &TempDir, name: &str) -> Vec<String> {
    let text = fs::read_to_string(directory.0.join(name)).unwrap_or_default();
    let records = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    records
        .map(|record| record["service"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn the_last_records_are_written_at_the_end_and_found_after_a_restart() {
    let directory = TempDir::new();
    let mut process = Process::start(&config(&directory));
    create(&process, 1);
    create(&process, 2);
    process.signal("TERM");
    assert!(process.wait().success());
    assert_eq!(services(&directory, "audit.log"), ["fwmark-1", "fwmark-2"]);
    let process = Process::start(&config(&directory));
    create(&process, 3);
    let response = process.request("GET", "/v1/audit?page_size=2");
    let body = response.split("\r\n\r\n").nth(1).unwrap();
    let page: Value = serde_json::from_str(body).unwrap();
    assert_eq!(page["records"][0]["seq"], 3);
    assert_eq!(
        page["records"][0]["peer"]
            .as_str()
            .unwrap()
            .split('=')
            .next(),
        Some("unix:uid")
    );
    assert_eq!(page["records"][1]["service"], "fwmark-2");
    assert!(page["next_page_token"].is_string());
}

#[test]
fn sighup_opens_the_file_anew() {
    let directory = TempDir::new();
    let process = Process::start(&config(&directory));
    create(&process, 1);
    let wait_for = |name: &str| {
        let until = Instant::now() + DEADLINE;
        while services(&directory, name).is_empty() {
            assert!(Instant::now() < until, "{name}");
            std::thread::yield_now();
        }
    };
    wait_for("audit.log");
    let (file, moved) = (
        directory.0.join("audit.log"),
        directory.0.join("audit.log.1"),
    );
    fs::rename(&file, &moved).unwrap();
    process.signal("HUP");
    let until = Instant::now() + DEADLINE;
    while !file.exists() {
        assert!(Instant::now() < until, "the file is created");
        std::thread::yield_now();
    }
    create(&process, 2);
    wait_for("audit.log");
    assert_eq!(services(&directory, "audit.log"), ["fwmark-2"]);
    assert_eq!(services(&directory, "audit.log.1"), ["fwmark-1"]);
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_at_the_start() {
    let directory = TempDir::new();
    fs::create_dir(directory.0.join("audit.log")).unwrap();
    let mut process = Process::spawn(&config(&directory), |command| {
        command.stderr(Stdio::piped())
    });
    process.read_log();
    let line = process.wait_for("cannot open the audit file");
    assert!(line.contains("audit.log"), "{line}");
    assert_eq!(process.wait().code(), Some(1));
}
