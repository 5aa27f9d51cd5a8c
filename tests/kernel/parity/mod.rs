//! The real ipvsadm in one namespace of a real kernel, ipvsctl and ipvsd in another: each command
//! line of each scenario is carried out in both, and what is said, the exit codes and the tables
//! after it are compared.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::new_without_default,
    reason = "a test that panics fails, and the counts are printed"
)]

mod lines;
mod random;
mod traffic;

use std::{path::PathBuf, sync::Once};

use crate::{
    common::parity::{Said, Tally, links, same_table, scenario, shell},
    support::{self, Namespace, daemon::Daemon},
};

/// Two namespaces that are alike, and ipvsd in the second.
struct Pair {
    theirs: Namespace,
    ours: Namespace,
    links: PathBuf,
    _daemon: Daemon,
}

const ENDPOINT: &str = "http://127.0.0.1:4787";

impl Pair {
    fn new() -> Self {
        know_names();
        let [theirs, ours] = [(); 2].map(|()| {
            let namespace = Namespace::new();
            for line in [
                "link add d0 type dummy",
                "addr add 10.99.0.1/24 dev d0",
                "link set d0 up",
                "route add default dev d0",
                "link add noip type dummy",
                "link set noip up",
                "link add down0 type dummy",
            ] {
                namespace.ip(line);
            }
            namespace
        });
        let daemon = ours.run(|| Daemon::start(&[]));
        Self {
            theirs,
            ours,
            links: links(),
            _daemon: daemon,
        }
    }

    /// Carries a command line out in both, and compares.
    fn step(&self, tally: &mut Tally, of: &str, cmd: &str, stdin: &str) {
        let (theirs, ours) = self.both(cmd, stdin);
        tally.compare(of, cmd, &theirs, &ours);
        let (theirs, ours) = (self.theirs.save(), self.ours.save());
        if !same_table(&theirs, &ours) {
            let lacks = |text: &str, of: &str| {
                let lines = text.lines().filter(|line| !of.contains(*line));
                lines.fold(String::new(), |all, line| all + line + "\n")
            };
            tally.different(format!(
                "{of}: {cmd}\nonly their table\n{}only ours\n{}",
                lacks(&theirs, &ours),
                lacks(&ours, &theirs)
            ));
        }
    }

    /// What both say.
    fn both(&self, cmd: &str, stdin: &str) -> (Said, Said) {
        let theirs = self.theirs.run(|| shell(cmd, stdin, None, ENDPOINT));
        (theirs, self.ours(cmd, stdin))
    }

    /// What ipvsctl says.
    fn ours(&self, cmd: &str, stdin: &str) -> Said {
        let links = Some(self.links.as_path());
        self.ours.run(|| shell(cmd, stdin, links, ENDPOINT))
    }

    /// Begins anew with a table, without sync daemons, with the kernel's own timeouts.
    fn reset(&self, table: &str) {
        for namespace in [&self.theirs, &self.ours] {
            namespace.run(|| {
                support::ipvsadm("-C", "");
                for state in ["master", "backup"] {
                    support::ipvsadm(&format!("--stop-daemon {state}"), "");
                }
                support::ipvsadm("--set 900 120 300", "");
                support::ipvsadm("-R", table);
            });
        }
        assert!(same_table(&self.theirs.save(), &self.ours.save()));
    }
}

/// The names of the recordings; the guest's files are in memory.
fn know_names() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        assert!(
            std::env::var_os("UML_RUN").is_some(),
            "this writes into /etc: run it in the lab"
        );
        let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/cli");
        for name in ["hosts", "services"] {
            std::fs::copy(format!("{fixtures}/{name}"), format!("/etc/{name}")).unwrap();
        }
        std::fs::write("/etc/nsswitch.conf", "hosts: files\nservices: files\n").unwrap();
    });
}

/// What every step of the scenario of errors began with.
const BEFORE_ERRORS: &str = "\
-A -t 10.0.0.1:80 -s rr
-a -t 10.0.0.1:80 -r 10.1.1.2:8080 -m -w 1
-A -u 10.0.0.1:53 -s rr
-A -f 5 -s rr
-A -t [2001:db8::1]:80 -s rr
-a -t [2001:db8::1]:80 -r [2001:db8:1::2]:80 -m -w 1
";

fn recorded(name: &str) {
    let pair = Pair::new();
    let mut tally = Tally::default();
    for step in scenario(name) {
        // What needed a patched original, or a help text, which is its own.
        if !step.env.is_empty() || step.cmd == "ipvsadm -h" || step.cmd == "ipvsadm --help" {
            continue;
        }
        match name {
            "errors" => pair.reset(BEFORE_ERRORS),
            "restore" if step.name != "051-long-save" => pair.reset(""),
            _ => {}
        }
        pair.step(
            &mut tally,
            &format!("{name}/{}", step.name),
            &step.cmd,
            &step.stdin,
        );
    }
    print!("{name}: ");
    tally.end();
}

macro_rules! scenarios {
    ($($test:ident $name:literal;)*) => {$(
        #[test]
        fn $test() {
            recorded($name);
        }
    )*};
}

scenarios! {
    faulty_and_odd_command_lines_are_alike "errors";
    restores_are_alike "restore";
    listings_of_nothing_are_alike "empty-table";
    schedulers_are_alike "schedulers";
    services_of_every_kind_are_alike "services-matrix";
    names_are_alike "names";
    sync_daemons_are_alike "daemons";
    timeouts_are_alike "timeouts";
    a_configuration_for_traffic_is_alike "traffic-config";
}
