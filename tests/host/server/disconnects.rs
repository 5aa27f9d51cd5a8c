//! Clients that disconnect: what they asked for is done and logged.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
};

use super::harness::DEADLINE;

/// `ipvsd` on the fake kernel, and its log.
struct Daemon {
    process: Child,
    address: SocketAddr,
    lines: mpsc::Receiver<String>,
}

impl Daemon {
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_ipvsd"))
            .args(["--dev", "--kernel", "fake", "--listen", "127.0.0.1:0"])
            .env_remove("RUST_LOG")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(process.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in log.lines() {
                drop(sender.send(line.unwrap()));
            }
        });
        let listening = lines.iter().find(|line| line.contains("listening"));
        let listening = listening.unwrap();
        let address = listening.split("127.0.0.1:").nth(1).unwrap();
        let port: String = address.chars().take_while(char::is_ascii_digit).collect();
        let address = SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
        Self {
            process,
            address,
            lines,
        }
    }

    /// Sends a request.
    fn post(&self, path: &str, kind: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let length = body.len();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\n\
             x-request-id: a-test\r\naccept: application/x-ndjson\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
        response
    }

    /// Ends the daemon and returns its table and its log.
    fn finish(mut self) -> (String, Vec<String>) {
        let table = self.get("/v1/rules");
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").arg(&pid).status().unwrap().success());
        assert!(self.process.wait().unwrap().success());
        (table, self.lines.iter().collect())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It has ended already unless the test has failed.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[test]
fn every_change_of_a_client_that_disconnects_at_once_is_logged() {
    let daemon = Daemon::start();
    for mark in 1..=200 {
        let body = format!("{{\"fwmark\": {mark}}}");
        drop(daemon.post("/v1/services", "application/json", &body));
    }
    let (table, log) = daemon.finish();
    // A client that is gone before its request was read has asked for nothing; others are still
    // served after the table was read.
    let created = table.lines().filter_map(|line| line.strip_prefix("-A -f "));
    let created: Vec<_> = created.filter_map(|line| line.split(' ').next()).collect();
    let is_logged = |mark: &str| {
        let service = format!("service=fwmark-{mark} operations=create_service");
        log.iter().any(|line| line.ends_with(&service))
    };
    assert!(!created.is_empty());
    let lost: Vec<_> = created
        .into_iter()
        .filter(|mark| !is_logged(mark))
        .collect();
    assert!(lost.is_empty(), "{lost:?}");
}

#[test]
fn a_restore_of_a_client_that_disconnects_runs_to_its_end() {
    const RULES: usize = 5000;
    let daemon = Daemon::start();
    let text: String = (1..=RULES)
        .map(|mark| format!("-A -f {mark} -s rr\n"))
        .collect();
    let mut stream = daemon.post("/v1/rules", "text/plain", &text);
    // The first event: the restore has begun.
    let mut begin = [0; 256];
    assert!(stream.read(&mut begin).unwrap() > 0);
    drop(stream);
    let mut log = Vec::new();
    let end = loop {
        let line = daemon.lines.recv_timeout(6 * DEADLINE);
        let line = line.expect("no end is logged");
        if line.contains("restore ended") {
            break line;
        }
        log.push(line);
    };
    assert!(end.contains(&format!("done={RULES}")), "{end}");
    let (table, _) = daemon.finish();
    assert_eq!(
        table.lines().filter(|line| line.starts_with("-A")).count(),
        RULES
    );
}
