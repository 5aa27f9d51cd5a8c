//! The command line of the daemon, run as a process.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::Path,
    process::{Command, Output},
};

use nix::{sys::stat::Mode, unistd::mkfifo};

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

#[test]
fn an_unknown_variable_is_an_error_that_names_the_nearest_key() {
    let environment = [("IPVSD_LIMIT_MAX_BODY_BYTES", "1"), ("IPVSD_VERBOSE", "1")];
    let output = ipvsd(&environment, &["--check-config"]);
    assert_eq!(
        text(&output.stderr),
        "IPVSD_LIMIT_MAX_BODY_BYTES: unknown variable, did you mean IPVSD_LIMITS_MAX_BODY_BYTES?\n\
         IPVSD_VERBOSE: unknown variable\n"
    );
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_variable_that_is_not_utf_8_is_an_error() {
    let output = Command::new(env!("CARGO_BIN_EXE_ipvsd"))
        .env_clear()
        .env("IPVSD_NETNS", OsStr::from_bytes(b"a\xff"))
        .env("RUST_LOG", OsStr::from_bytes(b"inf\xff"))
        .arg("--check-config")
        .output()
        .unwrap();
    assert_eq!(
        text(&output.stderr),
        "IPVSD_NETNS: netns: expected UTF-8 text, got \"a\\xFF\"\n\
         RUST_LOG: log.filter: expected UTF-8 text, got \"inf\\xFF\"\n"
    );
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_faulty_rust_log_is_found_by_check_config() {
    let checked = ipvsd(&[("RUST_LOG", "a=b=c")], &["--check-config"]);
    assert_eq!(checked.status.code(), Some(2));
    let error = text(&checked.stderr);
    assert!(
        error.starts_with("RUST_LOG: log.filter: expected a level"),
        "{error}"
    );
    let valid = ipvsd(&[("RUST_LOG", "debug")], &["--check-config"]);
    assert!(text(&valid.stdout).contains("filter = \"debug\""));
}

#[test]
fn the_variables_of_the_async_runtime_do_not_fail_the_start() {
    let directory = TempDir::new();
    let (_, address) = directory.socket();
    fs::write(directory.0.join("ipvsd.sock"), "").unwrap();
    let output = ipvsd(
        &[("TOKIO_WORKER_THREADS", "none")],
        &["--kernel", "fake", "--listen", &address.to_string()],
    );
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("not a socket"));
}

#[test]
fn listeners_that_exclude_each_other_are_found_by_check_config() {
    for (addresses, other) in [
        (["127.0.0.1:80", "0.0.0.0:80"], "0.0.0.0:80"),
        (["0.0.0.0:80", "[::]:80"], "[::]:80"),
        (
            ["127.0.0.1:80", "[::ffff:127.0.0.1]:80"],
            "[::ffff:127.0.0.1]:80",
        ),
        (["127.0.0.1:80", "[::]:80"], "[::]:80"),
    ] {
        let [first, second] = addresses;
        let arguments = [
            "--insecure",
            "--listen",
            first,
            "--listen",
            second,
            "--check-config",
        ];
        let output = ipvsd(&[], &arguments);
        assert_eq!(output.status.code(), Some(2), "{addresses:?}");
        let error = text(&output.stderr);
        assert!(error.starts_with("--listen: listen: "), "{error}");
        assert!(error.contains(first) && error.contains(other), "{error}");
    }
    let arguments = [
        "--listen",
        "127.0.0.1:80",
        "--listen",
        "[::1]:80",
        "--check-config",
    ];
    assert!(ipvsd(&[], &arguments).status.success());
}

#[test]
fn an_empty_ipvsd_config_counts_as_unset() {
    let output = ipvsd(&[("IPVSD_CONFIG", "")], &["--check-config"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn a_configuration_file_that_is_no_file_or_too_large_is_rejected() {
    let directory = TempDir::new();
    let fifo = directory.0.join("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let large = directory.0.join("large");
    fs::write(&large, "#".repeat((1 << 20) + 1)).unwrap();
    for (path, problem) in [
        (Path::new("/dev/zero"), "not a regular file"),
        (&fifo, "not a regular file"),
        (&large, "file too large"),
    ] {
        let shown = path.display();
        let output = ipvsd(&[], &["--config", &shown.to_string(), "--check-config"]);
        assert_eq!(
            text(&output.stderr),
            format!("cannot read the configuration file {shown}: {problem}\n")
        );
        assert_eq!(output.status.code(), Some(2));
    }
}

#[test]
fn a_configuration_file_that_others_can_write_is_rejected() {
    let directory = TempDir::new();
    let file = directory.0.join("ipvsd.toml");
    fs::write(&file, "kernel = 'fake'\n").unwrap();
    let shown = file.display().to_string();
    for (mode, is_used) in [(0o644, true), (0o664, false), (0o646, false)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let output = ipvsd(&[], &["--config", &shown, "--check-config"]);
        assert_eq!(output.status.success(), is_used, "{mode:o}");
        let error = text(&output.stderr);
        let remedy = format!("chmod go-w {shown}\n");
        assert!(is_used || error.ends_with(&remedy), "{error}");
    }
}
