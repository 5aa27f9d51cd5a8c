//! `--watch`: listings that are repeated.

use std::{
    io::{BufRead, BufReader, Lines},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::daemon::Daemon;
use crate::{
    common::parity::{links, shell},
    scripted::{Server, response},
};

/// A command that repeats a listing. Dropping it ends the process.
struct Repeated {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Repeated {
    fn start(endpoint: &str, args: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ipvsctl"))
            .args(args.split(' '))
            .env_clear()
            .env("IPVSCTL_ENDPOINT", endpoint)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("no more output").unwrap()
    }

    /// The next lines, as a text.
    fn text(&mut self, lines: usize) -> String {
        (0..lines).map(|_| self.line() + "\n").collect()
    }

    /// Sends a signal; returns the exit code, the rest of the output, and what is on standard error.
    fn end(mut self, signal: Signal) -> (Option<i32>, Vec<String>, String) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
        let rest = self.lines.by_ref().map(Result::unwrap).collect();
        let errors = BufReader::new(self.child.stderr.take().unwrap()).lines();
        let errors = errors.map(|line| line.unwrap() + "\n").collect();
        (self.child.wait().unwrap().code(), rest, errors)
    }
}

impl Drop for Repeated {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a line is a time in whole seconds: `2026-11-30T00:40:02Z`.
fn is_time(line: &str) -> bool {
    let shape: String = line
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    shape == "0000-00-00T00:00:00Z"
}

#[test]
fn a_listing_is_repeated_with_the_time_of_each_until_it_is_interrupted() {
    let daemon = Daemon::start();
    daemon.run("ipvsadm -A -t 192.0.2.1:80", "");
    let listing = || daemon.run("ipvsadm -Ln --stats", "").stdout;
    let first = listing();
    let mut repeated = Repeated::start(&daemon.endpoint, "-Ln --stats --watch=1");
    let time = repeated.line();
    assert!(is_time(&time), "{time:?}");
    assert_eq!(repeated.text(first.lines().count()), first);
    daemon.run("ipvsadm -a -t 192.0.2.1:80 -r 192.168.10.1:80 -m", "");
    assert_eq!(repeated.line(), "");
    let next = repeated.line();
    assert!(is_time(&next) && next > time, "{next:?}");
    let second = listing();
    assert_ne!(second, first);
    assert_eq!(repeated.text(second.lines().count()), second);
    let (code, rest, errors) = repeated.end(Signal::SIGINT);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert_eq!(rest.len() % (second.lines().count() + 2), 0, "{rest:?}");
}

#[test]
fn json_has_a_document_per_line_and_yaml_has_separated_documents() {
    let daemon = Daemon::start();
    let mut json = Repeated::start(&daemon.endpoint, "--watch=1 --output=json -Ln");
    for _ in 0..2 {
        let document: serde_json::Value = serde_json::from_str(&json.line()).unwrap();
        assert_eq!(document["services"], serde_json::json!([]));
    }
    assert_eq!(json.end(Signal::SIGTERM).0, Some(0));
    let mut yaml = Repeated::start(&daemon.endpoint, "drains --output yaml --watch=1");
    for _ in 0..2 {
        assert_eq!(yaml.text(2), "---\ndrains: []\n");
    }
}

#[test]
fn all_directors_are_listed_each_time() {
    let daemon = Daemon::start();
    let path = std::env::temp_dir().join(format!("ipvsctl-{}-repeat.toml", std::process::id()));
    let endpoint = &daemon.endpoint;
    let text = format!(
        "[directors.a]\nendpoint = \"{endpoint}\"\n[directors.b]\nendpoint = \"{endpoint}\"\n"
    );
    std::fs::write(&path, text).unwrap();
    let config = format!("IPVSCTL_CONFIG={}", path.display());
    let output = daemon.run(
        &format!("{config} ipvsadm --all --watch=1 -L --timeout | head -n 8"),
        "",
    );
    std::fs::remove_file(&path).unwrap();
    let lines: Vec<_> = output.stdout.lines().collect();
    let timeouts = "Timeout (tcp tcpfin udp): 900 120 300";
    assert_eq!(
        lines[1..6],
        ["==> a <==", timeouts, "", "==> b <==", timeouts]
    );
    assert_eq!(lines[6], "");
    assert!(is_time(lines[0]) && is_time(lines[7]), "{lines:?}");
}

#[test]
fn the_end_of_the_reader_ends_it_without_an_error() {
    let daemon = Daemon::start();
    let command = "{ ipvsadm -Ln --watch=1; echo \"code $?\" >&2; } | head -n 1";
    let output = daemon.run(command, "");
    assert!(is_time(output.stdout.trim_end()), "{output:?}");
    assert_eq!(output.stderr, "code 0\n");
}

#[test]
fn a_listing_that_fails_is_reported_and_the_next_ones_follow() {
    let server = Server::start(|number, _, stream| {
        use std::io::Write;
        let status = if number == 1 {
            "500 Internal Server Error"
        } else {
            "200 OK"
        };
        let body = if number == 1 {
            "{\"reason\":\"INTERNAL\",\"detail\":\"broken\"}"
        } else {
            "{\"services\":[]}"
        };
        let kind = if number == 1 {
            "application/problem+json"
        } else {
            "application/json"
        };
        let _ = stream.write_all(response(status, kind, body).as_bytes());
    });
    let mut repeated = Repeated::start(&server.endpoint, "-Ln --output json --watch=1");
    assert_eq!(repeated.text(2), "{\"services\":[]}\n{\"services\":[]}\n");
    assert!(server.request_lines().len() >= 3);
    let (code, _, errors) = repeated.end(Signal::SIGINT);
    assert_eq!(code, Some(2), "the highest of all listings");
    assert!(errors.contains("broken"), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
}

#[test]
fn only_commands_that_read_are_repeated_every_1_to_3600_seconds() {
    let run = |cmd: &str| shell(cmd, "", Some(&links()), "http://127.0.0.1:1");
    for value in ["0", "3601", "x", "1.5", ""] {
        for command in ["-Ln", "drains"] {
            let output = run(&format!("ipvsadm {command} --watch={value}"));
            assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{value:?}");
            let message = "for --watch: expected a number of seconds from 1 to 3600\n";
            assert!(output.stderr.ends_with(message), "{output:?}");
        }
    }
    for command in [
        "-A -t 192.0.2.1:80 --watch",
        "-R --watch",
        "--watch watch",
        "settings --watch expire_nodest_conn=true",
        "tables delete --watch --confirm 0 x",
        "drain 192.0.2.1 --watch",
        "directors --watch",
    ] {
        let output = run(&format!("ipvsadm {command}"));
        assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{command}");
        let message = "ipvsadm: --watch: only read-only commands are allowed";
        assert!(output.stderr.starts_with(message), "{command}: {output:?}");
    }
    // The next word is none of its value, as that of an ipvsadm that does not know it is none.
    let output = run("ipvsadm -L --watch 5");
    assert_eq!(output.code, 2);
    assert!(!output.stderr.contains("--watch"), "{output:?}");
}

#[test]
fn a_reader_that_takes_nothing_does_not_delay_the_end() {
    let daemon = Daemon::start();
    // More than a pipe holds.
    let rules = (0..10_000).map(|mark| format!("-A -f {} -s rr\n", mark + 1));
    let restored = daemon.run("ipvsadm -R", &rules.collect::<String>());
    assert_eq!(restored.code, 0, "{restored:?}");
    let mut repeated = Repeated::start(&daemon.endpoint, "-Ln --watch=1");
    // The rest of the listing waits.
    repeated.line();
    kill(
        Pid::from_raw(repeated.child.id().cast_signed()),
        Signal::SIGTERM,
    )
    .unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    let status = loop {
        match repeated.child.try_wait().unwrap() {
            Some(status) => break status,
            None => thread::sleep(Duration::from_millis(20)),
        }
        assert!(Instant::now() < end, "it goes on");
    };
    assert_eq!(status.code(), Some(143));
}
