//! The command line of the daemon, run as a process.

use std::{
    fs,
    process::{Command, Output},
};

use super::harness::TempDir;

fn ipvsd(environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ipvsd"));
    command
        .env_clear()
        .envs(environment.iter().copied())
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn flag_overrides_variable_overrides_file_overrides_default() {
    let directory = TempDir::new();
    let file = directory.0.join("ipvsd.toml");
    fs::write(
        &file,
        "netns = 'file'\nkernel = 'fake'\nlisten = ['127.0.0.1:1']\n",
    )
    .unwrap();
    let environment = [
        ("IPVSD_CONFIG", file.to_str().unwrap()),
        ("IPVSD_NETNS", "variable"),
        ("IPVSD_LISTEN", "127.0.0.1:2,unix:/variable"),
    ];
    let flags = [
        "--listen",
        "127.0.0.1:3",
        "--listen",
        "[::1]:4",
        "--check-config",
    ];
    let output = ipvsd(&environment, &flags);
    let shown = text(&output.stdout);
    for line in [
        "listen = [\"127.0.0.1:3\", \"[::1]:4\"]",
        "netns = \"variable\"",
        "kernel = \"fake\"",
        "socket_mode = \"0660\"",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}: {shown}");
    }
    assert!(output.status.success());
}

#[test]
fn an_invalid_configuration_is_reported_by_line_with_exit_status_2() {
    let directory = TempDir::new();
    let file = directory.0.join("ipvsd.toml");
    fs::write(&file, "[limits]\nqueue_length = 0\nmax_conections = 1\n").unwrap();
    let file = file.to_str().unwrap();
    let output = ipvsd(&[("IPVSD_INSECURE", "yes")], &["--config", file]);
    let expected = format!(
        "{file}:2: limits.queue_length: expected an integer from 1 to 1000000, got 0\n\
         {file}:3: limits.max_conections: unknown key, did you mean \
         limits.max_connections?\n\
         IPVSD_INSECURE: insecure: expected true or false, got \"yes\"\n"
    );
    assert_eq!(
        (text(&output.stderr), output.status.code()),
        (expected, Some(2))
    );
}

#[test]
fn a_non_loopback_listener_requires_insecure() {
    let rejected = ipvsd(&[], &["--listen", "0.0.0.0:0", "--check-config"]);
    assert_eq!(rejected.status.code(), Some(2));
    assert!(text(&rejected.stderr).starts_with("--listen: listen: 0.0.0.0:0 is not a loopback"));
    let allowed = ipvsd(
        &[],
        &["--listen", "0.0.0.0:0", "--insecure", "--check-config"],
    );
    assert!(allowed.status.success());
}

#[test]
fn a_missing_file_is_reported_with_path_and_cause() {
    let output = ipvsd(&[], &["--config", "/nonexistent"]);
    let expected = "cannot read the configuration file /nonexistent: No such file or directory \
                    (os error 2)\n";
    assert_eq!(text(&output.stderr), expected);
}
