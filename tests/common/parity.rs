//! Compares ipvsctl with ipvsadm: output, messages and exit code of a command line. The expected
//! values are recorded, or come from ipvsadm on the same kernel.
#![allow(dead_code, reason = "each suite uses a part of this")]
#![allow(clippy::print_stdout, reason = "the count is what a suite is for")]

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::Write,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

/// Output and exit code of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandOutput {
    pub stdout: String,
    pub stderr: String,
    pub code: i32,
}

/// Result of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    /// Different as documented, with the number in docs/ipvsadm-compatibility.md.
    Documented(u8),
    Different,
}

/// Counts of comparisons.
#[derive(Debug, Default)]
pub struct Tally {
    compared: usize,
    equal: usize,
    documented: BTreeMap<u8, usize>,
    different: Vec<String>,
}

/// A step of a recorded scenario.
#[derive(Clone, Debug)]
pub struct Step {
    pub name: String,
    pub cmd: String,
    pub stdin: String,
    pub expected: CommandOutput,
    /// The table after the command, as `ipvsadm -S -n` prints it.
    pub after: Option<String>,
    pub env: String,
}

/// The commands of a recorded scenario.
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
            expected: CommandOutput {
                stdout: text("out"),
                stderr: text("err"),
                code: i32::try_from(step["rc"].as_i64().unwrap_or(0)).unwrap(),
            },
            after: step["after"].as_str().map(str::to_owned),
            env: text("env"),
        })
    });
    steps.collect()
}

/// A directory with links to ipvsctl under the names of ipvsadm's programs.
pub fn links() -> PathBuf {
    let directory = std::env::temp_dir().join(format!("ipvsctl-links-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    for name in ["ipvsadm", "ipvsadm-save", "ipvsadm-restore"] {
        let link = directory.join(name);
        let linked = std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_ipvsctl"), &link);
        if linked.is_err() {
            assert!(link.exists(), "{linked:?}");
        }
    }
    directory
}

/// Time limit of a command. Its exit code is 124 then.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Runs a shell command in the network namespace of this thread. Programs in `first` take precedence.
pub fn shell(cmd: &str, stdin: &str, first: Option<&Path>, endpoint: &str) -> CommandOutput {
    let path = "/usr/sbin:/usr/bin:/sbin:/bin";
    let path = match first {
        Some(first) => format!("{}:{path}", first.display()),
        None => path.to_owned(),
    };
    // Starting a process takes 20 ms in the lab: do without a shell for plain words, and without
    // timeout(1). With the path of the program, the standard library need not copy this process.
    let program = |name: &str| {
        let mut found = path.split(':').map(|folder| Path::new(folder).join(name));
        found.find(|file| file.exists()).expect("no such program")
    };
    let is_special = |c: char| !c.is_ascii_alphanumeric() && !" -_.:,/=[]".contains(c);
    let sets_variable = cmd.split(' ').next().is_some_and(|word| word.contains('='));
    let mut command;
    if sets_variable || cmd.contains(is_special) {
        command = Command::new("/bin/sh");
        command.args(["-c", cmd]);
    } else {
        let mut words = cmd.split(' ').filter(|word| !word.is_empty());
        let first = words.next().expect("a command");
        command = Command::new(program(first));
        command.arg0(first).args(words);
    }
    let mut child = command
        .env_clear()
        .env("PATH", path)
        .env("IPVSCTL_ENDPOINT", endpoint)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // So that the limit ends what a shell has started, too.
        .process_group(0)
        .spawn()
        .unwrap();
    let group = Pid::from_raw(child.id().cast_signed());
    let (running, ended) = mpsc::channel::<()>();
    let limit = thread::spawn(move || {
        let is_late = ended.recv_timeout(TIMEOUT) == Err(mpsc::RecvTimeoutError::Timeout);
        if is_late {
            // It may have ended just now.
            let _ = killpg(group, Signal::SIGKILL);
        }
        is_late
    });
    // The command may exit without reading its input.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    drop(running);
    let is_late = limit.join().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let signal = output.status.signal();
    // Drop the shell's message about a killed program.
    let err = text(output.stderr);
    let err = err
        .lines()
        .filter(|line| !line.contains("Segmentation fault"))
        .fold(String::new(), |all, line| all + line + "\n");
    CommandOutput {
        stdout: text(output.stdout),
        stderr: err,
        code: match output.status.code() {
            _ if is_late => 124,
            Some(code) => code,
            None => 128 + signal.unwrap_or(0),
        },
    }
}

/// Compares the output of ipvsctl with that of ipvsadm.
pub fn compare(cmd: &str, expected: &CommandOutput, actual: &CommandOutput) -> Comparison {
    // The kernel's order of services and connections differs between namespaces.
    let kernels_order =
        cmd.contains("--nosort") || expected.stdout.starts_with("IPVS connection entries\n");
    if expected == actual || kernels_order && reordered(expected, actual) {
        return Comparison::Equal;
    }
    if expected.code == 124 && actual.code == 0 {
        // ipvsadm hangs.
        return Comparison::Documented(7);
    }
    if expected.code == 139 {
        return match actual.code {
            2 => Comparison::Documented(7),
            _ => Comparison::Different,
        };
    }
    if (expected.code, &expected.stderr) != (actual.code, &actual.stderr) {
        return Comparison::Different;
    }
    if expected.stdout.contains("\nUsage:\n") && actual.stdout.contains("Usage:\n") {
        return Comparison::Documented(8);
    }
    let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let sorted = |text: &str, change: &dyn Fn(&str) -> String| {
        let mut lines: Vec<_> = text.lines().map(|line| squeezed(&change(line))).collect();
        lines.sort();
        lines
    };
    let unchanged = |line: &str| line.to_owned();
    if default_persistence(&expected.stdout) == actual.stdout {
        return Comparison::Documented(1);
    }
    let expected = default_persistence(&expected.stdout);
    if sorted(&expected, &unchanged) == sorted(&actual.stdout, &unchanged) {
        return Comparison::Documented(3);
    }
    if sorted(&expected, &unsigned) == sorted(&actual.stdout, &unchanged) {
        return Comparison::Documented(5);
    }
    if sorted(&expected, &unsigned) == sorted(&actual.stdout, &lossy) {
        return Comparison::Documented(6);
    }
    Comparison::Different
}

/// Compares two tables as `ipvsadm -S` prints them, ignoring order.
pub fn same_table(expected: &str, actual: &str) -> bool {
    let lines = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    lines(&default_persistence(expected)) == lines(&default_persistence(actual))
}

/// Applies documented difference 1: `-p` without a value.
fn default_persistence(text: &str) -> String {
    text.replace("persistent 360", "persistent 300")
        .replace("-p 360", "-p 300")
}

/// Applies documented difference 5: marks from 2³¹.
fn unsigned(line: &str) -> String {
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    for place in 1..words.len() {
        let is_mark = matches!(words[place - 1].as_str(), "-f" | "FWM" | "");
        if is_mark && let Ok(negative @ ..0) = words[place].parse::<i32>() {
            words[place] = negative.cast_unsigned().to_string();
        }
    }
    words.join(" ")
}

/// Applies documented difference 6: options that `ipvsadm -S` omits.
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

/// Whether services or connections differ only in their order. The order of servers must be equal.
fn reordered(expected: &CommandOutput, actual: &CommandOutput) -> bool {
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
    (expected.code, &expected.stderr) == (actual.code, &actual.stderr)
        && blocks(&expected.stdout) == blocks(&actual.stdout)
}

// === impl Tally ===

impl Tally {
    /// Compares two outputs and counts the result. `step` identifies the command in messages.
    pub fn compare(
        &mut self,
        step: &str,
        cmd: &str,
        expected: &CommandOutput,
        actual: &CommandOutput,
    ) {
        self.compared += 1;
        match compare(cmd, expected, actual) {
            Comparison::Equal => self.equal += 1,
            Comparison::Documented(number) => *self.documented.entry(number).or_default() += 1,
            Comparison::Different => {
                self.add_difference(format!(
                    "{step}: {cmd}\nexpected {expected:#?}\nactual {actual:#?}"
                ));
            }
        }
    }

    /// Adds an undocumented difference.
    pub fn add_difference(&mut self, text: String) {
        self.different.push(text);
    }

    /// Prints the counts. Panics if there are undocumented differences.
    pub fn finish(self) {
        let mut text = format!(
            "compared {}, equal {}, different as documented {}",
            self.compared,
            self.equal,
            self.documented.values().sum::<usize>()
        );
        for (number, count) in &self.documented {
            write!(text, " [{number}: {count}]").unwrap();
        }
        println!("{text}, different {}", self.different.len());
        assert!(self.compared > 0);
        assert!(self.different.is_empty(), "{}", self.different.join("\n"));
    }
}
