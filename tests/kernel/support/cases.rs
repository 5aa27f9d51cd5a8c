//! Recorded sessions of ipvsadm, played over the interface and by the real program at the same
//! time, each in a namespace of its own of the same kernel.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    Namespace,
    api::{Api, Refusal, Way, without_etags},
    expected, lists,
    translate::translate,
};

/// Plays a recorded session, one of `tests/fixtures`. `differences` are the lines that end
/// otherwise over the interface, on purpose. Returns how many lines were played.
pub fn play(name: &str, way: Way, differences: &[&str]) -> usize {
    let path = format!("{}/tests/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    let recorded: Value = serde_json::from_str(&text).unwrap();
    let (ours, theirs) = (Namespace::new(), Namespace::new());
    for line in recorded["setup"].as_array().unwrap() {
        for namespace in [&ours, &theirs] {
            namespace.ip(line.as_str().unwrap());
        }
    }
    ours.run(|| {
        let mut session = Session {
            api: Api::start(way),
            theirs: &theirs,
            played: 0,
            differences: differences.iter().map(|line| (*line, 0)).collect(),
        };
        for step in recorded["steps"].as_array().unwrap() {
            session.step(step);
        }
        let unused = session.differences.iter().filter(|(_, seen)| **seen == 0);
        assert_eq!(unused.count(), 0, "{:?}", session.differences);
        session.played
    })
}

struct Session<'a> {
    api: Api,
    theirs: &'a Namespace,
    played: usize,
    differences: BTreeMap<&'a str, usize>,
}

impl Session<'_> {
    fn step(&mut self, step: &Value) {
        if let Some(state) = step.get("state") {
            return self.compare_with(state);
        }
        self.played += 1;
        let line = step["line"].as_str().unwrap();
        let args = line.strip_prefix("ipvsadm ").unwrap();
        if let Some(text) = step["out"].as_str() {
            return self.list(args, text);
        }
        let stdin = step["stdin"].as_str();
        let real = self.theirs.ipvsadm(args, stdin.unwrap_or_default());
        let said = String::from_utf8_lossy(&real.stderr).into_owned();
        let code = i64::from(real.status.code().unwrap());
        assert_eq!(code, step["rc"].as_i64().unwrap(), "{line}: {said}");

        // A restore ends at the first line that is refused.
        let mut lines = stdin.map_or(vec![args], |text| text.lines().collect());
        lines.retain(|line| !line.is_empty());
        let answer = lines
            .into_iter()
            .try_for_each(|line| self.api.write(&translate(line)).map(drop));
        let wanted = match self.differences.get_mut(line) {
            None => code == 0,
            Some(seen) => {
                *seen += 1;
                code != 0
            }
        };
        assert_eq!(answer.is_ok(), wanted, "{line}: {said:?} {answer:?}");
        if let Err(refusal) = answer {
            let Refusal { reason, .. } = &refusal;
            assert_ne!(reason, "INTERNAL", "{line}: {refusal:?}");
            let theirs = self.theirs.save();
            similar("-S -n", &blocks(&lists("-S -n")), &blocks(&theirs));
        }
    }

    /// A listing of sync daemons or timeouts: as recorded, whoever lists it.
    fn list(&self, args: &str, text: &str) {
        assert_eq!(lists(args), text, "{args}, of what the interface made");
        assert_eq!(self.theirs.lists(args), text, "{args}, of the real one's");
        if args.contains("--daemon") {
            assert_eq!(self.api.sync_daemons(), expected::sync_daemons(text));
        } else {
            assert_eq!(self.api.timeouts(), expected::timeouts(text));
        }
    }

    /// Our namespace is as theirs, as the real program sees both.
    fn compare(&self) {
        for args in [
            "-S -n",
            "-L -n --thresholds",
            "-L -n --persistent-conn",
            "-L -n --tun-info",
            "-L --timeout",
            "-L --daemon",
        ] {
            let (ours, theirs) = (lists(args), self.theirs.lists(args));
            similar(args, &blocks(&ours), &blocks(&theirs));
        }
        let nosort = "-L -n --nosort";
        let (ours, theirs) = (lists(nosort), self.theirs.lists(nosort));
        similar(nosort, &blocks(&ours), &blocks(&theirs));
    }

    fn compare_with(&self, state: &Value) {
        self.compare();
        let mut listed: Vec<_> = self.api.services().into_iter().map(without_etags).collect();
        expected::sort(&mut listed);
        let wanted = expected::services(state);
        let ids = |all: &[Value]| all.iter().map(|s| s["id"].clone()).collect::<Vec<_>>();
        assert_eq!(ids(&listed), ids(&wanted));
        for (listed, wanted) in listed.iter().zip(&wanted) {
            assert_eq!(listed, wanted);
        }
        let timeouts = &state["timeouts"];
        let told = self.api.timeouts();
        for name in ["tcp", "tcp_fin", "udp"] {
            assert_eq!(told[format!("{name}_seconds")], timeouts[name], "{name}");
        }
        assert_eq!(
            self.api.sync_daemons().len(),
            state["daemons"].as_array().unwrap().len()
        );
    }
}

/// Both list the same; else the first line that differs.
fn similar(what: &str, ours: &str, theirs: &str) {
    for (ours, theirs) in ours.lines().zip(theirs.lines()) {
        assert_eq!(ours, theirs, "ipvsadm {what}: ours, theirs");
    }
    let count = |text: &str| text.lines().count();
    assert_eq!(
        count(ours),
        count(theirs),
        "ipvsadm {what}:\n{ours}\n{theirs}"
    );
}

/// A listing with its services in order: that of the kernel differs between namespaces, and
/// ipvsadm's own is none where marks exceed 2147483647. The order of the servers within each stays.
fn blocks(listing: &str) -> String {
    let mut blocks: Vec<String> = Vec::new();
    for line in listing.lines() {
        match blocks.last_mut() {
            Some(last) if line.starts_with("  ->") || line.starts_with("-a") => {
                last.push_str(line);
                last.push('\n');
            }
            _ => blocks.push(format!("{line}\n")),
        }
    }
    blocks.sort();
    blocks.concat()
}
