//! A daemon on a free port.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use crate::parity::{Said, links, shell};

/// `ipvsd` with an imitated kernel; it ends with this.
pub struct Daemon {
    child: Child,
    pub endpoint: String,
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
        // What it logs later must go somewhere.
        std::thread::spawn(move || log.for_each(drop));
        Self { child, endpoint }
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
