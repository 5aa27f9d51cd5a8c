//! Command lines carried out twice, by the real ipvsadm (or as it was recorded) and by ipvsctl, and
//! what may differ between the two.
#![allow(dead_code, reason = "each suite uses a part of this")]
#![allow(clippy::print_stdout, reason = "the count is what a suite is for")]

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What a command said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub out: String,
    pub err: String,
    pub rc: i32,
}

/// How two compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Equal,
    /// By the number in docs/ipvsadm-compatibility.md.
    Deliberate(u8),
    Different,
}

/// What was compared.
#[derive(Debug, Default)]
pub struct Tally {
    compared: usize,
    equal: usize,
    deliberate: BTreeMap<u8, usize>,
    different: Vec<String>,
}

/// A step of a recorded scenario.
#[derive(Clone, Debug)]
pub struct Step {
    pub name: String,
    pub cmd: String,
    pub stdin: String,
    pub said: Said,
    pub after: Option<String>,
    pub env: String,
}

/// The steps of a scenario that are commands.
pub fn scenario(name: &str) -> Vec<Step> {
    let root = env!("CARGO_MANIFEST_DIR");
    let path = format!("{root}/tests/fixtures/cli/{name}.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    let steps = text.lines().filter_map(|line| {
        let step: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| step[key].as_str().unwrap_or_default().to_owned();
        step["cmd"].is_string().then(|| Step {
            name: text("name"),
            cmd: text("cmd"),
            stdin: text("stdin"),
            said: Said {
                out: text("out"),
                err: text("err"),
                rc: i32::try_from(step["rc"].as_i64().unwrap_or(0)).unwrap(),
            },
            after: step["after"].as_str().map(str::to_owned),
            env: text("env"),
        })
    });
    steps.collect()
}

/// A directory in which ipvsctl has the names of the original's programs.
pub fn links() -> PathBuf {
    let directory = std::env::temp_dir().join(format!("ipvsctl-links-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    for name in ["ipvsadm", "ipvsadm-save", "ipvsadm-restore"] {
        let link = directory.join(name);
        let made = std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_ipvsctl"), &link);
        if made.is_err() {
            assert!(link.exists(), "{made:?}");
        }
    }
    directory
}

/// Seconds after which a command has hung; its exit code is 124 then.
const PATIENCE: u32 = 10;

/// Runs a command line in this thread's namespace, its programs first looked for in `first`.
pub fn shell(cmd: &str, stdin: &str, first: Option<&Path>, endpoint: &str) -> Said {
    let path = "/usr/sbin:/usr/bin:/sbin:/bin";
    let path = match first {
        Some(first) => format!("{}:{path}", first.display()),
        None => path.to_owned(),
    };
    let mut child = Command::new("timeout")
        .args([&PATIENCE.to_string(), "sh", "-c", cmd])
        .env_clear()
        .env("PATH", path)
        .env("IPVSCTL_ENDPOINT", endpoint)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end without reading.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let signal = std::os::unix::process::ExitStatusExt::signal(&output.status);
    // What a shell says of a program that was killed is not what the program said.
    let err = text(output.stderr);
    let err = err
        .lines()
        .filter(|line| !line.contains("Segmentation fault"))
        .fold(String::new(), |all, line| all + line + "\n");
    Said {
        out: text(output.stdout),
        err,
        rc: output
            .status
            .code()
            .unwrap_or_else(|| 128 + signal.unwrap_or(0)),
    }
}

/// How what ipvsctl said compares with what the original said.
pub fn verdict(cmd: &str, theirs: &Said, ours: &Said) -> Verdict {
    // The kernel's own order, of services and of connections, is each namespace's own.
    let kernels_order =
        cmd.contains("--nosort") || theirs.out.starts_with("IPVS connection entries\n");
    if theirs == ours || kernels_order && of_another_order(theirs, ours) {
        return Verdict::Equal;
    }
    if theirs.rc == 124 && ours.rc == 0 {
        // It waits for ever for what the kernel does not say.
        return Verdict::Deliberate(7);
    }
    if theirs.rc == 139 {
        return match ours.rc {
            2 => Verdict::Deliberate(7),
            _ => Verdict::Different,
        };
    }
    if theirs.rc == 0 && ours.err == "illegal weight specified\n" && ours.rc == 2 {
        return Verdict::Deliberate(2);
    }
    if (theirs.rc, &theirs.err) != (ours.rc, &ours.err) {
        return Verdict::Different;
    }
    if theirs.out.contains("\nUsage:\n") && ours.out.contains("Usage:\n") {
        return Verdict::Deliberate(8);
    }
    let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let sorted = |text: &str, change: &dyn Fn(&str) -> String| {
        let mut lines: Vec<_> = text.lines().map(|line| squeezed(&change(line))).collect();
        lines.sort();
        lines
    };
    let as_it_is = |line: &str| line.to_owned();
    if default_persistence(&theirs.out) == ours.out {
        return Verdict::Deliberate(1);
    }
    let theirs = default_persistence(&theirs.out);
    if sorted(&theirs, &as_it_is) == sorted(&ours.out, &as_it_is) {
        return Verdict::Deliberate(3);
    }
    if sorted(&theirs, &unsigned) == sorted(&ours.out, &as_it_is) {
        return Verdict::Deliberate(5);
    }
    if sorted(&theirs, &unsigned) == sorted(&ours.out, &lossy) {
        return Verdict::Deliberate(6);
    }
    Verdict::Different
}

/// The table after a command, as the original saves it.
pub fn same_table(theirs: &str, ours: &str) -> bool {
    let lines = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    lines(&default_persistence(theirs)) == lines(&default_persistence(ours))
}

/// Deliberate difference 1: `-p` without a value.
fn default_persistence(text: &str) -> String {
    text.replace("persistent 360", "persistent 300")
        .replace("-p 360", "-p 300")
}

/// Deliberate difference 5: marks from 2³¹.
fn unsigned(line: &str) -> String {
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    for place in 1..words.len() {
        let named = matches!(words[place - 1].as_str(), "-f" | "FWM" | "");
        if named && let Ok(negative @ ..0) = words[place].parse::<i32>() {
            words[place] = negative.cast_unsigned().to_string();
        }
    }
    words.join(" ")
}

/// Deliberate difference 6: what the original's `-S` leaves out.
fn lossy(line: &str) -> String {
    let persistent = line.contains(" -p ");
    let mut kept = Vec::new();
    let mut words = line.split(' ');
    while let Some(word) = words.next() {
        if matches!(word, "-x" | "-y") || word == "-M" && !persistent {
            words.next();
        } else if word != "flag-3" || !line.contains(" -s sh ") {
            kept.push(word);
        }
    }
    kept.join(" ")
}

/// The same services or connections in another order; that of servers is the same.
fn of_another_order(theirs: &Said, ours: &Said) -> bool {
    let blocks = |text: &str| {
        let mut blocks: Vec<String> = Vec::new();
        for line in default_persistence(text).lines() {
            match blocks.last_mut() {
                Some(block) if line.starts_with("  ->") => block.push_str(line),
                _ => blocks.push(unsigned(line)),
            }
        }
        blocks.sort();
        blocks
    };
    (theirs.rc, &theirs.err) == (ours.rc, &ours.err) && blocks(&theirs.out) == blocks(&ours.out)
}

// === impl Tally ===

impl Tally {
    /// Compares what two commands said.
    pub fn compare(&mut self, of: &str, cmd: &str, theirs: &Said, ours: &Said) {
        self.compared += 1;
        match verdict(cmd, theirs, ours) {
            Verdict::Equal => self.equal += 1,
            Verdict::Deliberate(number) => *self.deliberate.entry(number).or_default() += 1,
            Verdict::Different => {
                self.different(format!("{of}: {cmd}\ntheirs {theirs:#?}\nours {ours:#?}"));
            }
        }
    }

    /// Notes a difference.
    pub fn different(&mut self, what: String) {
        self.different.push(what);
    }

    /// Prints the counts; fails where something differs without a reason.
    pub fn end(self) {
        let mut text = format!(
            "compared {}, equal {}, deliberately different {}",
            self.compared,
            self.equal,
            self.deliberate.values().sum::<usize>()
        );
        for (number, count) in &self.deliberate {
            write!(text, " [{number}: {count}]").unwrap();
        }
        println!("{text}, different {}", self.different.len());
        assert!(self.compared > 0);
        assert!(self.different.is_empty(), "{}", self.different.join("\n"));
    }
}
