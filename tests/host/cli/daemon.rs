//! A daemon on a free port.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use crate::common::parity::{Said, links, shell};

/// `ipvsd` with an imitated kernel; it ends with this.
pub struct Daemon {
    child: Child,
    pub endpoint: String,
    /// What it logs.
    log: mpsc::Receiver<String>,
}

impl Daemon {
    pub fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ipvsd"))
            .args([
                "--kernel",
                "fake",
                "--listen",
                "127.0.0.1:0",
                "--log-format",
                "json",
            ])
            // Every request.
            .env("RUST_LOG", "ipvsd=debug")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let endpoint = loop {
            let line = log.next().expect("it ended").unwrap();
            if let Some(at) = line.find("127.0.0.1:") {
                let port: String = line[at + 10..]
                    .chars()
                    .take_while(char::is_ascii_digit)
                    .collect();
                break format!("http://127.0.0.1:{port}");
            }
        };
        // What it logs must go somewhere, whether it is looked at or not.
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

    /// The paths of the requests that it has answered since this was last asked.
    pub fn requests(&self) -> Vec<String> {
        // Requests are logged one after the other; this is the last.
        self.run("ipvsadm -L --timeout", "");
        let mut paths = Vec::new();
        loop {
            let line = self.log.recv_timeout(Duration::from_secs(30)).unwrap();
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            match line["span"]["path"].as_str() {
                Some("/v1/timeouts") => return paths,
                Some(path) => paths.push(path.to_owned()),
                None => {}
            }
        }
    }

    /// How often it had to be given a page of memory.
    pub fn page_faults(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // The second field, a name in parentheses, may have spaces; this is the tenth.
        let fields = stat.rsplit_once(") ").unwrap().1;
        fields.split(' ').nth(7).unwrap().parse().unwrap()
    }

    /// Runs a command line with ipvsctl as `ipvsadm`.
    pub fn run(&self, cmd: &str, stdin: &str) -> Said {
        shell(cmd, stdin, Some(&links()), &self.endpoint)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
