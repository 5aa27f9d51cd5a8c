//! Signals: each has the effect that docs/ipvsd.md states.

use std::{fs, io::Write, os::unix::net::UnixStream, process::Command};

use super::{
    harness::{TempDir, get_keep_alive},
    process::Process,
};

const FILE: &str = "[log]\nfilter = \"info\"\n";

fn answers(process: &Process) {
    let response = process.request("GET", "/healthz");
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
}

/// A request that is in progress for as long as its body is incomplete.
fn request_in_progress(process: &Process) -> UnixStream {
    let mut stream = process.connect();
    let head = "POST /v1/services HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\
                content-type: application/json\r\nexpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    // The server asks for the body once the request is in progress.
    let mut line = [0; 12];
    std::io::Read::read_exact(&mut stream, &mut line).unwrap();
    assert_eq!(line, *b"HTTP/1.1 100");
    stream
}

#[test]
fn sighup_reloads_the_log_filter() {
    let process = Process::start(FILE);
    process.configure("[log]\nfilter = \"debug\"\n");
    process.signal("HUP");
    let line = process.wait_for("configuration reloaded");
    assert!(line.contains("log.filter"), "{line}");
    answers(&process);
    process.wait_for("request completed");
}

#[test]
fn sighup_names_the_changed_keys_that_require_a_restart() {
    let process = Process::start(FILE);
    process.configure("socket_mode = \"0600\"\n[limits]\nqueue_length = 7\n");
    for _ in 0..2 {
        process.signal("HUP");
        let line = process.wait_for("require a restart");
        assert!(line.contains("socket_mode, limits.queue_length"), "{line}");
    }
    answers(&process);
}

#[test]
fn sighup_with_a_faulty_file_keeps_the_configuration_and_logs_every_error() {
    let process = Process::start(FILE);
    process.configure("lisen = 1\n[log]\nfilter = \"debug\"\n[limits]\nqueue_length = 0\n");
    process.signal("HUP");
    process.wait_for("lisen: unknown key, did you mean listen?");
    process.wait_for("limits.queue_length: expected an integer from 1 to 1000000, got 0");
    fs::remove_file(process.directory.0.join("ipvsd.toml")).unwrap();
    process.signal("HUP");
    process.wait_for("cannot read the configuration file");
    answers(&process);
}

#[test]
fn sighup_without_a_change_or_without_a_file_has_no_effect() {
    let process = Process::start(FILE);
    process.signal("HUP");
    process.wait_for("configuration unchanged");
    answers(&process);
}

#[test]
fn sighup_applies_limits_to_new_connections() {
    let process = Process::start(FILE);
    process.configure("[limits]\nmax_body_bytes = 1024\n");
    process.signal("HUP");
    process.wait_for("limits.max_body_bytes");
    let body = format!("{{\"id\": \"{}\"}}", "x".repeat(2000));
    let response = process.send("POST", "/v1/services", &body);
    assert!(response.starts_with("HTTP/1.1 413 "), "{response}");
}

#[test]
fn signals_that_mean_nothing_to_the_daemon_do_not_end_it() {
    let mut process = Process::start(FILE);
    for name in ["USR1", "USR2", "ALRM"] {
        process.signal(name);
        let line = process.wait_for(&format!("SIG{name}"));
        assert!(line.contains("ignored"), "{line}");
    }
    for name in ["PIPE", "XFSZ"] {
        process.signal(name);
    }
    answers(&process);
    assert!(process.runs());
}

#[test]
fn every_signal_that_ends_the_daemon_removes_its_socket() {
    for name in ["TERM", "INT", "QUIT"] {
        let mut process = Process::start(FILE);
        process.signal(name);
        assert!(process.wait().success(), "{name}");
        assert!(!process.socket.exists(), "{name}");
    }
}

#[test]
fn sigquit_ends_the_daemon_without_grace() {
    let mut process = Process::start("[limits]\nshutdown_grace = \"1h\"\n");
    let _stream = request_in_progress(&process);
    process.signal("QUIT");
    assert!(process.wait().success());
    process.wait_for("aborted connections");
}

#[test]
fn a_second_sigterm_ends_the_grace_period() {
    let mut process = Process::start("[limits]\nshutdown_grace = \"1h\"\n");
    let _stream = request_in_progress(&process);
    process.signal("TERM");
    process.wait_for("draining");
    process.signal("TERM");
    assert!(process.wait().success());
}

#[test]
fn a_client_that_reads_nothing_does_not_delay_the_end() {
    let mut process = Process::start("[limits]\nshutdown_grace = \"10ms\"\n");
    let mut stream = process.connect();
    let request = get_keep_alive("/openapi.json");
    while stream.set_nonblocking(true).is_ok() && stream.write_all(request.as_bytes()).is_ok() {}
    process.signal("TERM");
    assert!(process.wait().success());
}

/// The daemon opens the namespace's file before it listens, and a FIFO without a writer blocks it.
#[test]
fn sigterm_ends_a_start_that_waits_for_a_file() {
    let directory = TempDir::new();
    let fifo = directory.0.join("netns");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    let mut process = Process::spawn("", |command| {
        command.args(["--kernel", "netlink", "--netns"]).arg(&fifo)
    });
    process.wait_for_signal_handlers();
    process.signal("TERM");
    assert!(process.wait().success());
}
