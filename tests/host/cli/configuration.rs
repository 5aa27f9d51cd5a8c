//! Values of options, environment and configuration file that ipvsctl rejects, and limits of its input.

use std::path::PathBuf;

use super::daemon::Daemon;
use crate::common::parity::CommandOutput;

/// A configuration file, which is deleted with this.
struct Config(PathBuf);

impl Config {
    fn new(name: &str, text: &[u8]) -> Self {
        let path = format!("ipvsctl-{}-{name}.toml", std::process::id());
        let path = std::env::temp_dir().join(path);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    /// Runs a command with this file and no other source of the endpoint.
    fn run(&self, daemon: &Daemon, cmd: &str) -> CommandOutput {
        let path = self.0.display();
        daemon.run(
            &format!("unset IPVSCTL_ENDPOINT; export IPVSCTL_CONFIG={path}; {cmd}"),
            "",
        )
    }
}

impl Drop for Config {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_faulty_value_in_the_configuration_file_is_an_error_that_names_the_key() {
    let daemon = Daemon::start();
    let faulty = [
        ("timeout = nan", "timeout: expected a number of seconds"),
        ("timeout = -1.0", "timeout: expected a number of seconds"),
        ("timeout = -1", "timeout"),
        ("timeout = inf", "timeout: expected a number of seconds"),
        ("timeout = 0.0", "timeout: expected a number of seconds"),
        ("timeout = 1e300", "timeout: expected a number of seconds"),
        ("timeout = 1e-300", "timeout: expected a number of seconds"),
        ("timeout = \"5\"", "timeout"),
        (
            "endpoint = \"ftp://lb1\"",
            "endpoint: \"ftp://lb1\" is not an endpoint",
        ),
        ("deadline = 5", "deadline"),
    ];
    for (line, message) in faulty {
        let endpoint = match line.starts_with("endpoint") {
            true => "",
            false => "endpoint = \"http://127.0.0.1:1\"",
        };
        // In the entry of another director than the one that is used.
        let text = format!(
            "default = \"a\"\n[directors.a]\nendpoint = \"{}\"\n[directors.b]\n{endpoint}\n{line}\n",
            daemon.endpoint
        );
        let config = Config::new("faulty", text.as_bytes());
        for cmd in [
            "ipvsadm -L --timeout",
            "ipvsadm directors",
            "ipvsadm --all -Ln",
        ] {
            let output = config.run(&daemon, cmd);
            assert_eq!(output.code, 2, "{line}: {cmd}: {output:?}");
            assert!(output.stderr.contains(message), "{line}: {output:?}");
        }
    }
    let text = "default = \"b\"\n[directors.a]\nendpoint = \"http://127.0.0.1:1\"\n";
    let output = Config::new("default", text.as_bytes()).run(&daemon, "ipvsadm directors");
    assert_eq!(output.code, 2, "{output:?}");
    assert!(
        output.stderr.contains("\"b\" is not configured"),
        "{output:?}"
    );
}

#[test]
fn numbers_of_seconds_may_be_integers_in_the_configuration_file() {
    let daemon = Daemon::start();
    let endpoint = daemon.endpoint.replace("http:", "HTTP:");
    let text = format!("default = \"a\"\n[directors.a]\nendpoint = \"{endpoint}\"\ntimeout = 9\n");
    let output = Config::new("integer", text.as_bytes()).run(&daemon, "ipvsadm -L --timeout");
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
}

#[test]
fn faulty_options_are_errors_that_name_the_option() {
    let daemon = Daemon::start();
    for value in ["0", "-1", "nan", "inf", "1e300", "1e-300", "x", ""] {
        for cmd in ["-Ln", "info"] {
            let output = daemon.run(&format!("ipvsadm --timeout=\"{value}\" {cmd}"), "");
            assert_eq!(output.code, 2, "{value}: {output:?}");
            assert!(output.stderr.contains("timeout"), "{value}: {output:?}");
        }
    }
    let endpoint = daemon.endpoint.replace("http:", "HTTP:");
    let output = daemon.run(&format!("ipvsadm --endpoint {endpoint} -L --timeout"), "");
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
}

#[test]
fn faulty_variables_are_errors_that_name_the_variable() {
    let daemon = Daemon::start();
    for (variables, message) in [
        (
            "IPVSCTL_ENDPOINT=ftp://lb1",
            "IPVSCTL_ENDPOINT: \"ftp://lb1\" is not an endpoint",
        ),
        (
            "IPVSCTL_ENDPOINT=\"$(printf '\\377')\"",
            "IPVSCTL_ENDPOINT: ",
        ),
        (
            "IPVSCTL_URL=http://lb1",
            "IPVSCTL_URL is not a variable of ipvsctl",
        ),
        (
            "IPVSCTL_ENDPOINT= IPVSCTL_CONFIG=/nonexistent",
            "/nonexistent: ",
        ),
    ] {
        let output = daemon.run(&format!("{variables} ipvsadm -L --timeout"), "");
        assert_eq!(output.code, 2, "{variables}: {output:?}");
        assert!(output.stderr.contains(message), "{variables}: {output:?}");
    }
}

#[test]
fn input_without_end_is_refused_at_the_daemons_limit() {
    let daemon = Daemon::start();
    for cmd in [
        "ipvsadm restore --dry-run </dev/zero",
        "ipvsadm restore --dry-run /dev/zero",
        "ipvsadm restore </dev/zero",
        "ipvsadm -R </dev/zero",
        "unset IPVSCTL_ENDPOINT; IPVSCTL_CONFIG=/dev/zero ipvsadm -Ln",
    ] {
        let output = daemon.run(&format!("ulimit -v 1000000; {cmd}"), "");
        assert_eq!(output.code, 2, "{cmd}: {output:?}");
        assert!(output.stderr.contains("more than"), "{cmd}: {output:?}");
    }
    let text = "[directors.a]\nendpoint = \"https://127.0.0.1:1\"\nca = \"/dev/zero\"\n";
    let config = Config::new("ca", text.as_bytes());
    let output = config.run(&daemon, "ulimit -v 1000000; ipvsadm --director a -Ln");
    assert_eq!(output.code, 2, "{output:?}");
    assert!(
        output.stderr.contains("/dev/zero: more than 1048576 bytes"),
        "{output:?}"
    );
}
