//! The stored state of a daemon, as a process: its directory, its end, damage, and `ipvsd state`.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use super::{harness::TempDir, process::Process};

const HEAD: &str = "{\"state\":\"ipvsd\",\"format\":2}\n";
const RECORD: &str = "{\"collection\":\"notes\",\"key\":\"a/b\",\"value\":{\"text\":\"ü\"}}\n";

/// `ipvsd state` on a directory.
fn state(directory: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ipvsd"))
        .env_clear()
        .args(["state", "--state-dir", directory.to_str().unwrap()])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may have failed before it reads.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[track_caller]
fn succeeds(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout).to_owned()
}

#[track_caller]
fn fails(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(text(&output.stdout), "");
    text(&output.stderr).to_owned()
}

fn configuration(state: &Path) -> String {
    format!("state_dir = {:?}\n", state.to_str().unwrap())
}

#[test]
fn the_state_outlives_the_daemon_and_is_kept_from_others_while_it_runs() {
    let directory = TempDir::new();
    let path = directory.0.join("state");
    let configuration = configuration(&path);
    let imported = succeeds(&state(&path, &["import"], &format!("{HEAD}{RECORD}")));
    assert_eq!(
        imported,
        format!(
            "{}: 1 records imported\n",
            path.join("state.redb").display()
        )
    );
    // Killed, and ended by a signal.
    for signal in ["KILL", "TERM"] {
        let mut daemon = Process::start(&configuration);
        let in_use = format!("ipvsd: {} is in use", path.join("state.redb").display());
        for action in ["check", "export"] {
            let error = fails(&state(&path, &[action], ""));
            assert!(error.starts_with(&in_use), "{error}");
            assert!(error.contains("stop the other daemon"), "{error}");
        }
        let mut second = Process::spawn(&configuration, |command| command.stderr(Stdio::piped()));
        second.read_log();
        second.wait_for(&in_use);
        assert_eq!(second.wait().code(), Some(1));
        daemon.signal(signal);
        daemon.wait();
        let checked = succeeds(&state(&path, &["check"], ""));
        assert!(checked.contains(": format 2, "), "{checked}");
        assert!(
            checked.ends_with("not damaged\nnotes: 1 records, 16 bytes\n"),
            "{checked}"
        );
        let exported = succeeds(&state(&path, &["export"], ""));
        assert_eq!(exported, format!("{HEAD}{RECORD}"));
    }
}

#[test]
fn a_trial_keeps_its_state_in_memory() {
    let daemon = Process::start("");
    assert!(
        daemon
            .request("GET", "/v1/services")
            .starts_with("HTTP/1.1 200 ")
    );
    daemon.signal("TERM");
    let mut daemon = Process::spawn("", |command| command.stderr(Stdio::piped()));
    daemon.read_log();
    daemon.wait_for("state_dir is memory: what is stored ends with the daemon");
}

#[test]
fn a_damaged_state_fails_the_start_unless_it_is_not_required() {
    let directory = TempDir::new();
    let file = directory.0.join("state.redb");
    fs::write(&file, "not a database").unwrap();
    let configuration = configuration(&directory.0);
    let damaged = format!("{} is damaged: ", file.display());
    let mut refused = Process::spawn(&configuration, |command| command.stderr(Stdio::piped()));
    refused.read_log();
    let line = refused.wait_for(&damaged);
    assert!(line.contains("the file was left as it is"), "{line}");
    assert_eq!(refused.wait().code(), Some(1));

    let optional = format!("{configuration}[store]\nrequired = false\n");
    let mut daemon = Process::spawn(&optional, |command| command.stderr(Stdio::piped()));
    daemon.read_log();
    let line = daemon.wait_for("serving without the stored state");
    assert!(line.contains(&damaged), "{line}");
    let created = daemon.send(
        "POST",
        "/v1/services",
        r#"{"id": "tcp-192.0.2.1-80", "scheduler": "rr"}"#,
    );
    assert!(created.starts_with("HTTP/1.1 201 "), "{created}");
    assert_eq!(fs::read(&file).unwrap(), b"not a database");

    for action in ["check", "export"] {
        let error = fails(&state(&directory.0, &[action], ""));
        assert!(error.starts_with(&format!("ipvsd: {damaged}")), "{error}");
        assert!(!error.contains("panicked"), "{error}");
    }
}

#[test]
fn check_config_finds_a_state_that_cannot_be_used() {
    let directory = TempDir::new();
    let (good, bad) = (directory.0.join("good"), directory.0.join("bad"));
    let check = |path: &Path, required: &str| {
        Command::new(env!("CARGO_BIN_EXE_ipvsd"))
            .env_clear()
            .env("IPVSD_STORE_REQUIRED", required)
            .args(["--check-config", "--state-dir", path.to_str().unwrap()])
            .output()
            .unwrap()
    };
    let shown = succeeds(&check(&good, "true"));
    assert!(
        shown.contains(&format!("state_dir = {good:?}\n")),
        "{shown}"
    );
    assert!(shown.contains("[store]\nrequired = true\n"), "{shown}");
    assert!(!good.exists(), "check-config has no other effect");

    fs::create_dir(&bad).unwrap();
    fs::write(bad.join("state.redb"), "").unwrap();
    let refused = check(&bad, "true");
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(text(&refused.stderr).contains("state.redb is damaged: it is empty"));
    let warned = check(&bad, "false");
    succeeds(&warned);
    let warning = text(&warned.stderr);
    assert!(
        warning.starts_with("warning: ") && warning.contains("it is empty"),
        "{warning}"
    );
}

#[test]
fn an_import_on_a_full_disk_leaves_nothing() {
    let directory = TempDir::new();
    let path = directory.0.join("state");
    let value = "x".repeat(8 << 20);
    let large = format!("{{\"collection\":\"notes\",\"key\":\"a\",\"value\":\"{value}\"}}\n");
    fs::write(directory.0.join("text"), format!("{HEAD}{large}")).unwrap();
    // The kernel refuses to make a file longer than 4 MiB, without a signal.
    let script = "trap '' XFSZ; ulimit -f 4096; exec \"$0\" state --state-dir state import text";
    let output = Command::new("bash")
        .args(["-c", script, env!("CARGO_BIN_EXE_ipvsd")])
        .current_dir(&directory.0)
        .output()
        .unwrap();
    let error = fails(&output);
    assert!(
        error.starts_with("ipvsd: no space is left to write state/state.redb"),
        "{error}"
    );
    assert!(error.contains("free space"), "{error}");
    let left: Vec<_> = fs::read_dir(&path)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(left, ["state.lock"]);
    succeeds(&state(&path, &["import"], HEAD));
}

#[test]
fn an_export_to_a_closed_pipe_is_no_error() {
    let directory = TempDir::new();
    let path = directory.0.join("state");
    succeeds(&state(&path, &["import"], &format!("{HEAD}{RECORD}")));
    let script = "set -o pipefail; \"$0\" state --state-dir \"$1\" export | true";
    let output = Command::new("bash")
        .args(["-c", script, env!("CARGO_BIN_EXE_ipvsd")])
        .arg(&path)
        .output()
        .unwrap();
    succeeds(&output);
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn the_state_of_a_daemon_in_memory_has_no_file() {
    let output = Command::new(env!("CARGO_BIN_EXE_ipvsd"))
        .env_clear()
        .env("IPVSD_STATE_DIR", "memory")
        .args(["state", "check"])
        .output()
        .unwrap();
    let error = fails(&output);
    assert!(
        error.contains("name a directory with --state-dir"),
        "{error}"
    );
}
