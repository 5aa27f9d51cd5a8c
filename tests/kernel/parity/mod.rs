//! Compares ipvsctl with ipvsadm on a real kernel. ipvsadm runs in one network namespace, ipvsctl and
//! ipvsd in another. Each command line of each scenario is executed in both; output, messages, exit
//! code and the resulting tables are compared.
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

use std::{
    path::PathBuf,
    sync::{Mutex, Once},
};

use crate::{
    common::parity::{CommandOutput, Tally, links, same_table, scenario, shell},
    support::{self, Namespace, Saves, daemon::Daemon},
};

/// Two equal namespaces: one for ipvsadm, one for ipvsctl with a running ipvsd.
struct Pair {
    ipvsadm: Namespace,
    ipvsctl: Namespace,
    saves: [Saves; 2],
    links: PathBuf,
    /// The last table that both were reset to, and both tables as saved then. `None` if a later
    /// command may have changed more than the tables.
    clean: Mutex<Option<(String, [String; 2])>>,
    _daemon: Daemon,
}

const ENDPOINT: &str = "http://127.0.0.1:4787";

impl Pair {
    fn new() -> Self {
        install_names();
        let [ipvsadm, ipvsctl] = [(); 2].map(|()| {
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
        let daemon = ipvsctl.run(|| Daemon::start(&[]));
        Self {
            saves: [&ipvsadm, &ipvsctl].map(|namespace| namespace.run(Saves::new)),
            ipvsadm,
            ipvsctl,
            links: links(),
            clean: Mutex::default(),
            _daemon: daemon,
        }
    }

    /// Runs a command line in both namespaces and compares outputs and tables.
    fn step(&self, tally: &mut Tally, step: &str, cmd: &str, stdin: &str) {
        let (expected, actual) = self.run_both(cmd, stdin);
        tally.compare(step, cmd, &expected, &actual);
        let [expected, actual] = self.save();
        if !same_table(&expected, &actual) {
            let missing = |text: &str, other: &str| {
                let lines = text.lines().filter(|line| !other.contains(*line));
                lines.fold(String::new(), |all, line| all + line + "\n")
            };
            tally.add_difference(format!(
                "{step}: {cmd}\nonly with ipvsadm\n{}only with ipvsctl\n{}",
                missing(&expected, &actual),
                missing(&actual, &expected)
            ));
        }
    }

    /// The output of ipvsadm and of ipvsctl.
    fn run_both(&self, cmd: &str, stdin: &str) -> (CommandOutput, CommandOutput) {
        let expected = self.ipvsadm.run(|| shell(cmd, stdin, None, ENDPOINT));
        (expected, self.run_ipvsctl(cmd, stdin))
    }

    /// The output of ipvsctl.
    fn run_ipvsctl(&self, cmd: &str, stdin: &str) -> CommandOutput {
        // These may change more than the table.
        if ["daemon", "set", "timeout"]
            .iter()
            .any(|word| cmd.contains(word))
        {
            *self.clean.lock().unwrap() = None;
        }
        let links = Some(self.links.as_path());
        self.ipvsctl.run(|| shell(cmd, stdin, links, ENDPOINT))
    }

    /// Both tables.
    fn save(&self) -> [String; 2] {
        let [ipvsadm, ipvsctl] = &self.saves;
        [
            ipvsadm.get(|| self.ipvsadm.save()),
            ipvsctl.get(|| self.ipvsctl.save()),
        ]
    }

    /// Resets both namespaces to `table`, without sync daemons, with the default timeouts. Does
    /// nothing if they have not changed: most steps are commands that fail.
    fn reset(&self, table: &str) {
        let mut clean = self.clean.lock().unwrap();
        if let Some((last, tables)) = &*clean
            && last == table
            && *tables == self.save()
        {
            return;
        }
        for namespace in [&self.ipvsadm, &self.ipvsctl] {
            namespace.run(|| {
                support::ipvsadm("-C", "");
                for state in ["master", "backup"] {
                    support::ipvsadm(&format!("--stop-daemon {state}"), "");
                }
                support::ipvsadm("--set 900 120 300", "");
                support::ipvsadm("-R", table);
            });
        }
        let tables = self.save();
        assert!(same_table(&tables[0], &tables[1]));
        *clean = Some((table.to_owned(), tables));
    }
}

/// Installs the host and port names of the recordings. The file system of the guest is in memory.
fn install_names() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        assert!(
            std::env::var_os("UML_RUN").is_some(),
            "this test writes to /etc and must run in the lab"
        );
        let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/cli");
        for name in ["hosts", "services"] {
            std::fs::copy(format!("{fixtures}/{name}"), format!("/etc/{name}")).unwrap();
        }
        std::fs::write("/etc/nsswitch.conf", "hosts: files\nservices: files\n").unwrap();
    });
}

/// The table before each step of the scenario `errors`.
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
        // Skip steps that need a patched ipvsadm, and the help text, which differs.
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
    tally.finish();
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
    invalid_command_lines_match_ipvsadm "errors";
    restores_match_ipvsadm "restore";
    listings_of_an_empty_table_match_ipvsadm "empty-table";
    schedulers_match_ipvsadm "schedulers";
    services_match_ipvsadm "services-matrix";
    names_match_ipvsadm "names";
    sync_daemons_match_ipvsadm "daemons";
    timeouts_match_ipvsadm "timeouts";
    a_configuration_for_traffic_matches_ipvsadm "traffic-config";
}
