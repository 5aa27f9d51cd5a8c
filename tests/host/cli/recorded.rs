//! Recorded scenarios of ipvsadm.

use super::daemon::Daemon;
use crate::common::parity::{CommandOutput, Step, Tally, scenario};

/// Names that only the recording machine can resolve.
const NAMES: [&str; 6] = ["vip", "rs1", "rs6", "longrs", ":http", ":https"];

/// Words of steps that depend on interfaces or local addresses, which the fake kernel lacks.
const NETWORK: [&str; 7] = [
    "nosuch",
    "noip",
    "down0",
    "verylong",
    "fe80",
    "proc-write",
    "sdb",
];

/// The table before each step of the scenario `errors`.
const BEFORE_ERRORS: &str = "\
-A -t 10.0.0.1:80 -s rr
-a -t 10.0.0.1:80 -r 10.1.1.2:8080 -m -w 1
-A -u 10.0.0.1:53 -s rr
-A -f 5 -s rr
-A -t [2001:db8::1]:80 -s rr
-a -t [2001:db8::1]:80 -r [2001:db8:1::2]:80 -m -w 1
";

fn assert_success(output: &CommandOutput) {
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
}

fn reset(daemon: &Daemon, table: &str) {
    assert_success(&daemon.run("ipvsadm -C", ""));
    for state in ["master", "backup"] {
        daemon.run(&format!("ipvsadm --stop-daemon {state}"), "");
    }
    assert_success(&daemon.run("ipvsadm -R", table));
}

/// Whether a step can run on this machine and the fake kernel.
fn is_applicable(step: &Step) -> bool {
    let (cmd, out) = (&step.cmd, &step.expected.stdout);
    let is_numeric = cmd
        .split(' ')
        .any(|word| ["-n", "-ln", "-Ln", "--numeric"].contains(&word));
    let lists = cmd.contains("-L") || cmd.contains("-S") || cmd == "ipvsadm";
    let has_names = NAMES
        .iter()
        .any(|name| cmd.contains(name) || out.contains(name))
        || lists && !out.is_empty() && !is_numeric;
    let needs_network = NETWORK
        .iter()
        .any(|word| step.name.contains(word) || cmd.contains(word))
        && (cmd.contains("daemon") || step.name.contains("ll") || step.name.contains("proc"));
    let is_help = cmd.contains("-h") && step.expected.code == 0;
    // Steps with an environment were recorded with a patched ipvsadm.
    step.env.is_empty() && !has_names && !needs_network && !is_help
}

#[test]
fn recorded_command_lines_match_ipvsadm() {
    let mut tally = Tally::default();
    for name in [
        "errors",
        "restore",
        "empty-table",
        "schedulers",
        "services-matrix",
        "daemons",
        "timeouts",
    ] {
        let daemon = Daemon::start();
        for mut step in scenario(name) {
            // The interface of the fake kernel.
            let texts = [&mut step.cmd, &mut step.stdin, &mut step.expected.stdout];
            for text in texts {
                *text = text.replace("d0", "eth0");
            }
            if !is_applicable(&step) {
                continue;
            }
            match name {
                "errors" => reset(&daemon, BEFORE_ERRORS),
                // Step 051 reads the table of the step before.
                "restore" if step.name != "051-long-save" => reset(&daemon, ""),
                _ => {}
            }
            let actual = daemon.run(&step.cmd, &step.stdin);
            let title = format!("{name}/{}", step.name);
            tally.compare(&title, &step.cmd, &step.expected, &actual);
            if let Some(after) = &step.after {
                let expected = CommandOutput {
                    stdout: after.clone(),
                    stderr: String::new(),
                    code: 0,
                };
                let actual = daemon.run("ipvsadm -S -n", "");
                tally.compare(&format!("{title} after"), &step.cmd, &expected, &actual);
            }
        }
    }
    tally.finish();
}
