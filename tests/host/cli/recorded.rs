//! Recorded scenarios.

use super::daemon::Daemon;
use crate::common::parity::{Said, Tally, scenario};

/// Names that only the recording machine knew.
const NAMES: [&str; 6] = ["vip", "rs1", "rs6", "longrs", ":http", ":https"];

/// What every step of the scenario of errors began with.
const BEFORE_ERRORS: &str = "\
-A -t 10.0.0.1:80 -s rr
-a -t 10.0.0.1:80 -r 10.1.1.2:8080 -m -w 1
-A -u 10.0.0.1:53 -s rr
-A -f 5 -s rr
-A -t [2001:db8::1]:80 -s rr
-a -t [2001:db8::1]:80 -r [2001:db8:1::2]:80 -m -w 1
";

fn fine(said: Said) {
    assert_eq!((said.rc, said.err.as_str()), (0, ""));
}

fn reset(daemon: &Daemon, table: &str) {
    fine(daemon.run("ipvsadm -C", ""));
    for state in ["master", "backup"] {
        daemon.run(&format!("ipvsadm --stop-daemon {state}"), "");
    }
    fine(daemon.run("ipvsadm -R", table));
}

#[test]
fn every_recorded_command_line_says_the_same_again() {
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
            // The interface that the imitated kernel has.
            for text in [&mut step.cmd, &mut step.stdin, &mut step.said.out] {
                *text = text.replace("d0", "eth0");
            }
            let (cmd, out) = (&step.cmd, &step.said.out);
            let numeric = ["-n", "-ln", "-Ln", "--numeric"];
            let lists = cmd.contains("-L") || cmd.contains("-S") || cmd == "ipvsadm";
            let named = NAMES
                .iter()
                .any(|name| cmd.contains(name) || out.contains(name))
                || lists && !out.is_empty() && !cmd.split(' ').any(|word| numeric.contains(&word));
            // The imitated kernel has no network: neither interfaces nor addresses that are local.
            let of_network = [
                "nosuch",
                "noip",
                "down0",
                "verylong",
                "fe80",
                "proc-write",
                "sdb",
            ];
            let of_network = of_network
                .iter()
                .any(|word| step.name.contains(word) || cmd.contains(word))
                && (cmd.contains("daemon")
                    || step.name.contains("ll")
                    || step.name.contains("proc"));
            if named
                || of_network
                || !step.env.is_empty()
                || cmd.contains("-h") && step.said.rc == 0
            {
                continue;
            }
            match name {
                "errors" => reset(&daemon, BEFORE_ERRORS),
                // This one looks at what the step before has left.
                "restore" if step.name != "051-long-save" => reset(&daemon, ""),
                _ => {}
            }
            let ours = daemon.run(cmd, &step.stdin);
            tally.compare(&format!("{name}/{}", step.name), cmd, &step.said, &ours);
            if let Some(after) = &step.after {
                let theirs = Said {
                    out: after.clone(),
                    err: String::new(),
                    rc: 0,
                };
                let ours = daemon.run("ipvsadm -S -n", "");
                tally.compare(&format!("{name}/{} after", step.name), cmd, &theirs, &ours);
            }
        }
    }
    tally.end();
}
