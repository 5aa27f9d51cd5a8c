//! A log that cannot be written: requests, start and end do not depend on it.

use std::{
    fs::File,
    io::{self, Write},
    process::Stdio,
    thread,
};

use super::process::Process;

const SERVICE: &str = r#"{"id": "tcp-192.0.2.1-80", "scheduler": "rr"}"#;

/// The daemon carries out writes, answers them, and ends.
fn works(mut process: Process) {
    for _ in 0..3 {
        let created = process.send("POST", "/v1/services", SERVICE);
        assert!(created.starts_with("HTTP/1.1 201 "), "{created}");
        let refused = process.send("POST", "/v1/services", SERVICE);
        assert!(refused.starts_with("HTTP/1.1 409 "), "{refused}");
        let deleted = process.request("DELETE", "/v1/services/tcp-192.0.2.1-80");
        assert!(deleted.starts_with("HTTP/1.1 20"), "{deleted}");
    }
    process.signal("TERM");
    let status = process.wait();
    assert!(status.success(), "{status}");
    assert!(!process.socket.exists());
}

#[test]
fn the_daemon_works_while_the_file_system_of_its_log_is_full() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    works(Process::spawn("", |command| command.stderr(full)));
}

#[test]
fn the_daemon_works_while_its_log_is_a_closed_pipe() {
    let mut process = Process::spawn("", |command| command.stderr(Stdio::piped()));
    process.close_log();
    works(process);
}

#[test]
fn the_daemon_works_while_the_reader_of_its_log_is_stopped() {
    let process = Process::spawn("", |command| command.stderr(Stdio::piped()));
    // Each is a line; a pipe holds 64 KiB.
    let path = format!("/{}", "x".repeat(250));
    for _ in 0..200 {
        assert!(process.request("GET", &path).starts_with("HTTP/1.1 404 "));
    }
    works(process);
}

#[test]
fn a_log_file_at_its_maximum_size_does_not_end_the_daemon() {
    let directory = super::harness::TempDir::new();
    let file = File::create(directory.0.join("log")).unwrap();
    let mut process = Process::spawn("", |command| command.stderr(file));
    process.request("GET", "/healthz");
    process.limit("--fsize=0");
    process.request("GET", "/none");
    assert!(process.runs());
    works(process);
}

#[test]
fn lost_lines_are_counted_and_reported_when_the_reader_is_back() {
    let mut process = Process::spawn("", |command| command.stderr(Stdio::piped()));
    // Each is a line of more than 500 bytes: more than twice what the pipe and the queue hold.
    let path = format!("/{}", "x".repeat(250));
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n");
    let id = format!("x-request-id: {}\r\n\r\n", "y".repeat(128));
    let requests = (head.clone() + &id).repeat(5000) + &head + "connection: close\r\n\r\n";
    let mut stream = process.connect();
    let mut writer = stream.try_clone().unwrap();
    let writing = thread::spawn(move || writer.write_all(requests.as_bytes()));
    io::copy(&mut stream, &mut io::sink()).unwrap();
    writing.join().unwrap().unwrap();
    process.read_log();
    let line = process.wait_for("log lines were lost");
    let count = line.split(' ').find_map(|word| word.parse::<u64>().ok());
    assert!(count.is_some_and(|count| count > 0), "{line}");
    process.signal("TERM");
    assert!(process.wait().success());
    process.wait_for("signal received");
}
