//! Recorded sessions of ipvsadm, replayed over an interface of ipvsd and with the real ipvsadm, each in
//! its own namespace of the same kernel.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    Namespace,
    api::{Api, Interface, Refusal, without_etags},
    expected, lists,
    translate::translate,
};

/// Replays a recorded session of `tests/fixtures`. `differences` are the lines with a deliberately
/// different outcome. Returns the number of lines.
pub fn replay(name: &str, interface: Interface, differences: &[&str]) -> usize {
    let path = format!("{}/tests/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    let recorded: Value = serde_json::from_str(&text).unwrap();
    let (ours, reference) = (Namespace::new(), Namespace::new());
    for line in recorded["setup"].as_array().unwrap() {
        for namespace in [&ours, &reference] {
            namespace.ip(line.as_str().unwrap());
        }
    }
    ours.run(|| {
        let mut session = Session {
            api: Api::start(interface),
            reference: &reference,
            replayed: 0,
            differences: differences.iter().map(|line| (*line, 0)).collect(),
        };
        for step in recorded["steps"].as_array().unwrap() {
            session.step(step);
        }
        let unused = session.differences.iter().filter(|(_, seen)| **seen == 0);
        assert_eq!(unused.count(), 0, "{:?}", session.differences);
        session.replayed
    })
}

struct Session<'a> {
    api: Api,
    reference: &'a Namespace,
    replayed: usize,
    differences: BTreeMap<&'a str, usize>,
}

impl Session<'_> {
    fn step(&mut self, step: &Value) {
        if let Some(state) = step.get("state") {
            return self.compare_with(state);
        }
        self.replayed += 1;
        let line = step["line"].as_str().unwrap();
        let args = line.strip_prefix("ipvsadm ").unwrap();
        if let Some(text) = step["out"].as_str() {
            return self.list(args, text);
        }
        let stdin = step["stdin"].as_str();
        let real = self.reference.ipvsadm(args, stdin.unwrap_or_default());
        let stderr = String::from_utf8_lossy(&real.stderr).into_owned();
        let code = i64::from(real.status.code().unwrap());
        assert_eq!(code, step["rc"].as_i64().unwrap(), "{line}: {stderr}");

        // A restore ends at the first rejected line.
        let mut lines = stdin.map_or(vec![args], |text| text.lines().collect());
        lines.retain(|line| !line.is_empty());
        let result = lines
            .into_iter()
            .try_for_each(|line| self.api.write(&translate(line)).map(drop));
        let wanted = match self.differences.get_mut(line) {
            None => code == 0,
            Some(seen) => {
                *seen += 1;
                code != 0
            }
        };
        assert_eq!(result.is_ok(), wanted, "{line}: {stderr:?} {result:?}");
        if let Err(refusal) = result {
            let Refusal { reason, .. } = &refusal;
            assert_ne!(reason, "INTERNAL", "{line}: {refusal:?}");
            let reference = self.reference.save();
            similar("-S -n", &blocks(&lists("-S -n")), &blocks(&reference));
        }
    }

    /// Compares a listing of sync daemons or timeouts with the recorded one.
    fn list(&self, args: &str, text: &str) {
        assert_eq!(lists(args), text, "{args}, ipvsd's namespace");
        assert_eq!(
            self.reference.lists(args),
            text,
            "{args}, ipvsadm's namespace"
        );
        if args.contains("--daemon") {
            assert_eq!(self.api.sync_daemons(), expected::sync_daemons(text));
        } else {
            assert_eq!(self.api.timeouts(), expected::timeouts(text));
        }
    }

    /// Compares both namespaces, as the real ipvsadm lists them.
    fn compare(&self) {
        for args in [
            "-S -n",
            "-L -n --thresholds",
            "-L -n --persistent-conn",
            "-L -n --tun-info",
            "-L --timeout",
            "-L --daemon",
        ] {
            let (ours, reference) = (lists(args), self.reference.lists(args));
            similar(args, &blocks(&ours), &blocks(&reference));
        }
        let nosort = "-L -n --nosort";
        let (ours, reference) = (lists(nosort), self.reference.lists(nosort));
        similar(nosort, &blocks(&ours), &blocks(&reference));
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
        let reported = self.api.timeouts();
        for name in ["tcp", "tcp_fin", "udp"] {
            assert_eq!(
                reported[format!("{name}_seconds")],
                timeouts[name],
                "{name}"
            );
        }
        assert_eq!(
            self.api.sync_daemons().len(),
            state["daemons"].as_array().unwrap().len()
        );
    }
}

/// Asserts equality, line by line.
fn similar(what: &str, ours: &str, reference: &str) {
    for (ours, reference) in ours.lines().zip(reference.lines()) {
        assert_eq!(ours, reference, "ipvsadm {what}: ours, reference");
    }
    let count = |text: &str| text.lines().count();
    assert_eq!(
        count(ours),
        count(reference),
        "ipvsadm {what}:\n{ours}\n{reference}"
    );
}

/// A listing with its services sorted: the kernel's order differs between namespaces, and ipvsadm does
/// not sort marks above 2147483647. The order of the servers of a service is kept.
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
