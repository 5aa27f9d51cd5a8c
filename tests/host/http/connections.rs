//! `/v1/connections`.

use std::{
    io::{self, Read},
    sync::{Arc, Mutex},
};

use ipvsd::{
    kernel::{FakeKernel, Kernel, NamespaceId, Transport},
    server::Limits,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::oneshot,
};

use super::daemon::Daemon;

/// A line of `/proc/net/ip_vs_conn`.
fn line(client: u16) -> String {
    format!("TCP C6336407 {client:04X} C0000201 0050 0A000001 0050 ESTABLISHED     899")
}

async fn with_connections(count: u16) -> Daemon {
    let daemon = Daemon::with_service().await;
    daemon
        .kernel
        .set_connections((0..count).map(line).collect());
    daemon
}

#[tokio::test]
async fn connections_have_the_documented_shape() {
    let daemon = with_connections(1).await;
    let list = daemon.get("/v1/connections").await.expect(200).json();
    assert_eq!(
        list,
        json!({
            "connections": [{
                "protocol": "tcp",
                "client": {"address": "198.51.100.7", "port": 0},
                "virtual": {"address": "192.0.2.1", "port": 80},
                "destination": {"address": "10.0.0.1", "port": 80},
                "state": "ESTABLISHED", "template": false, "expires_in_seconds": 899
            }],
            "truncated": false
        })
    );
    let daemon = with_connections(0).await;
    let list = daemon.get("/v1/connections").await.expect(200).json();
    assert_eq!(list, json!({"connections": [], "truncated": false}));
}

#[tokio::test]
async fn limit_truncates_the_list_and_sets_truncated() {
    let daemon = with_connections(3).await;
    for (limit, shown, truncated) in [(1, 1, true), (2, 2, true), (3, 3, false), (4, 3, false)] {
        let list = daemon
            .get(&format!("/v1/connections?limit={limit}"))
            .await
            .json();
        assert_eq!(list["connections"].as_array().unwrap().len(), shown);
        assert_eq!(list["truncated"], truncated);
    }
    for bad in ["0", "10000001", "x"] {
        daemon
            .get(&format!("/v1/connections?limit={bad}"))
            .await
            .invalid_field("limit");
    }
    let daemon = with_connections(1500).await;
    let list = daemon.get("/v1/connections").await.json();
    assert_eq!(list["connections"].as_array().unwrap().len(), 1000);
    assert_eq!(list["truncated"], true);
}

#[tokio::test]
async fn connections_are_filtered() {
    let daemon = with_connections(3).await;
    for (query, count) in [
        ("protocol=tcp", 3),
        ("protocol=udp", 0),
        ("client=198.51.100.7", 3),
        ("client=198.51.100.7:2", 1),
        ("virtual=192.0.2.1:80", 3),
        ("virtual=192.0.2.1:81", 0),
        ("destination=10.0.0.1", 3),
        ("destination=2001:db8::1", 0),
        ("state=established", 3),
        ("state=SYN_RECV", 0),
        ("templates=true", 0),
        ("templates=false", 3),
    ] {
        let list = daemon
            .get(&format!("/v1/connections?{query}"))
            .await
            .expect(200)
            .json();
        assert_eq!(
            list["connections"].as_array().unwrap().len(),
            count,
            "{query}"
        );
    }
    for (query, field) in [
        ("protocol=x", "protocol"),
        ("client=x", "client"),
        ("virtual=1.2.3.4:x", "virtual"),
        ("templates=1", "templates"),
        ("count_by=port", "count_by"),
        ("count_by=state&limit=5", "limit"),
    ] {
        daemon
            .get(&format!("/v1/connections?{query}"))
            .await
            .invalid_field(field);
    }
}

#[tokio::test]
async fn connections_are_counted_by_group() {
    let daemon = with_connections(3).await;
    let counts = daemon
        .get("/v1/connections?count_by=virtual")
        .await
        .expect(200)
        .json();
    assert_eq!(
        counts,
        json!({"counts": [{"group": "192.0.2.1:80", "count": 3}]})
    );
}

#[tokio::test]
async fn ndjson_has_one_connection_per_line() {
    let daemon = with_connections(1200).await;
    let accept = [("accept", "application/x-ndjson")];
    let response = daemon
        .get_with_headers("/v1/connections?limit=1100", &accept)
        .await
        .expect(200);
    assert_eq!(response.header("content-type"), "application/x-ndjson");
    let text = std::str::from_utf8(&response.body).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(lines.len(), 1100);
    assert_eq!(lines[7]["client"]["port"], 7);
}

/// Counts the lines that were read, and reports the count when it is dropped.
struct Source {
    given: u64,
    ended: Option<oneshot::Sender<u64>>,
}

impl Iterator for Source {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        self.given += 1;
        (self.given < 5_000_000).then(|| line(self.given as u16))
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Some(ended) = self.ended.take() {
            let _ = ended.send(self.given);
        }
    }
}

#[tokio::test]
async fn reading_stops_when_the_client_disconnects() {
    let daemon = Daemon::with_service().await;
    let (ended, end) = oneshot::channel();
    let ended = Mutex::new(Some(ended));
    daemon.kernel.set_connection_source(move || {
        let ended = ended.lock().unwrap().take();
        Box::new(Source { given: 0, ended })
    });
    let mut socket = tokio::net::TcpStream::connect(daemon.address)
        .await
        .unwrap();
    let request = b"GET /v1/connections?limit=10000000 HTTP/1.1\r\nhost: localhost\r\n\r\n";
    socket.write_all(request).await.unwrap();
    let mut some = vec![0; 1 << 20];
    socket.read_exact(&mut some).await.unwrap();
    drop(socket);
    let given = end.await.unwrap();
    assert!(
        given < 500_000,
        "{given} lines were read for a client that disconnected after a megabyte"
    );
}

/// A kernel that fails at the end of the connection table.
#[derive(Debug)]
struct Broken(FakeKernel);

struct Failure;

impl Kernel for Broken {
    fn namespace(&self) -> Option<&str> {
        self.0.namespace()
    }

    fn identity(&self) -> io::Result<NamespaceId> {
        self.0.identity()
    }

    fn enter(&self) -> io::Result<NamespaceId> {
        self.0.enter()
    }

    fn interface_index(&self, name: &str) -> io::Result<Option<u32>> {
        self.0.interface_index(name)
    }

    fn leave(&self) -> io::Result<()> {
        self.0.leave()
    }

    fn connect(&self) -> io::Result<Box<dyn Transport>> {
        self.0.connect()
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn Read + Send>> {
        let file = self.0.open(path)?;
        Ok(match path {
            "net/ip_vs_conn" => Box::new(file.chain(Failure)),
            _ => file,
        })
    }

    fn write(&self, path: &str, text: &str) -> io::Result<()> {
        self.0.write(path, text)
    }
}

impl Read for Failure {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Other.into())
    }
}

#[tokio::test]
async fn a_failure_during_the_transfer_aborts_it() {
    let fake = FakeKernel::new();
    fake.set_connections((0..20_000).map(line).collect());
    let kernel = Arc::new(Broken(fake.clone()));
    let daemon = Daemon::over(fake, kernel, Limits::default().http_options()).await;
    let mut socket = tokio::net::TcpStream::connect(daemon.address)
        .await
        .unwrap();
    let request = b"GET /v1/connections?limit=1000000 HTTP/1.1\r\nhost: localhost\r\n\r\n";
    socket.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 200 "));
    assert!(answer.len() > 1 << 20);
    assert!(!answer.contains("truncated"));
    assert!(!answer.ends_with("0\r\n\r\n"));
}

#[tokio::test]
async fn an_early_failure_is_an_error_response() {
    let daemon = Daemon::start().await;
    daemon.kernel.faults().unload();
    let response = daemon.get("/v1/connections").await;
    response.problem(503, "KERNEL_UNAVAILABLE");
    let response = daemon.get("/v1/connections?count_by=state").await;
    response.problem(503, "KERNEL_UNAVAILABLE");
}
