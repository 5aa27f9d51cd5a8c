//! Starts ipvsd on a free port.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use crate::common::parity::{CommandOutput, links, shell};

/// ipvsd on the fake kernel. Dropping it ends the process.
pub struct Daemon {
    child: Child,
    pub endpoint: String,
    /// Lines of the log.
    log: mpsc::Receiver<String>,
}

impl Daemon {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a daemon with additional environment variables.
    pub fn start_with(variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ipvsd"))
            .args([
                "--dev",
                "--kernel",
                "fake",
                "--listen",
                "127.0.0.1:0",
                "--log-format",
                "json",
            ])
            // Logs each request.
            .env("RUST_LOG", "ipvsd=debug")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let endpoint = loop {
            let line = log.next().expect("ipvsd exited").unwrap();
            if let Some(at) = line.find("127.0.0.1:") {
                let port: String = line[at + 10..]
                    .chars()
                    .take_while(char::is_ascii_digit)
                    .collect();
                break format!("http://127.0.0.1:{port}");
            }
        };
        // Drain the pipe, so that the daemon never blocks on it.
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            for line in log.map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self {
            child,
            endpoint,
            log: receiver,
        }
    }

    /// The paths of the requests since the last call.
    pub fn requests(&self) -> Vec<String> {
        // Requests are logged in order; this one marks the end.
        self.run("ipvsadm -L --timeout", "");
        let mut paths = Vec::new();
        loop {
            let line = self.log.recv_timeout(Duration::from_secs(30)).unwrap();
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            let message = line["message"].as_str().unwrap_or_default();
            if !message.starts_with("request ") {
                // A request also logs its reads and writes.
                continue;
            }
            match line["span"]["path"].as_str() {
                Some("/v1/timeouts") => return paths,
                Some(path) => paths.push(path.to_owned()),
                None => {}
            }
        }
    }

    /// Number of minor page faults of the process.
    pub fn page_faults(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // proc(5): minflt is field 10. Field 2, a name in parentheses, may contain blanks.
        let fields = stat.rsplit_once(") ").unwrap().1;
        fields.split(' ').nth(7).unwrap().parse().unwrap()
    }

    /// A size of the process in bytes (proc_pid_status(5)): `VmRSS`, the memory in use, `RssAnon` and
    /// `RssFile`, its allocated pages and those of its binary, or `VmHWM`, the most that was in use.
    pub fn memory(&self, name: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let mut lines = status.lines();
        let size = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = size.unwrap().trim().trim_end_matches(" kB");
        kib.parse::<usize>().unwrap() << 10
    }

    /// The address to connect to.
    pub fn address(&self) -> &str {
        self.endpoint.trim_start_matches("http://")
    }

    /// Runs a shell command in which `ipvsadm` is ipvsctl.
    pub fn run(&self, cmd: &str, stdin: &str) -> CommandOutput {
        shell(cmd, stdin, Some(&links()), &self.endpoint)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
