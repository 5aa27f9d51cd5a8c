//! The memory of the daemon under clients that try to exhaust it: its peak stays below the budget and
//! what the process occupies without clients, and it is given back.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::harness::{DEADLINE, in_time};
use crate::cli::daemon::Daemon;

/// `limits.max_memory_bytes` of these tests.
const BUDGET: usize = 32 << 20;

/// What the allocator keeps in addition, and what is in use while a request is processed.
const MARGIN: usize = 24 << 20;

/// A daemon with a small budget, and the memory that it has allocated before the first request.
///
/// Pages of its binary are not counted: how many of them are in memory depends on what has run so far.
struct Attacked {
    daemon: Daemon,
    idle: usize,
}

impl Attacked {
    fn start() -> Self {
        let daemon = Daemon::start_with(&[
            ("IPVSD_LIMITS_MAX_MEMORY_BYTES", &BUDGET.to_string()),
            // The log of each request would be the work of the test.
            ("RUST_LOG", "info"),
        ]);
        let idle = daemon.memory("RssAnon");
        Self { daemon, idle }
    }

    /// The most memory that was allocated at once, beyond that of the idle process.
    fn peak(&self) -> usize {
        let most = self.daemon.memory("VmHWM") - self.daemon.memory("RssFile");
        most.saturating_sub(self.idle)
    }

    fn send(&self, method: &str, target: &str, media_type: &str, body: &[u8]) -> String {
        send(self.daemon.address(), method, target, media_type, body)
    }

    /// Checks that the peak was below the bound.
    #[track_caller]
    fn expect_bounded(&self) {
        let peak = self.peak();
        assert!(
            peak < BUDGET + MARGIN,
            "{} MiB beyond the idle process",
            peak >> 20
        );
    }

    /// Waits until the memory has been given back.
    #[track_caller]
    fn expect_returned(&self) {
        let end = Instant::now() + DEADLINE;
        loop {
            let kept = self.daemon.memory("RssAnon").saturating_sub(self.idle);
            if kept < MARGIN {
                return;
            }
            assert!(Instant::now() < end, "{} MiB are kept", kept >> 20);
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    // A daemon without optimisation needs seconds for the largest of these requests.
    stream.set_read_timeout(Some(4 * DEADLINE)).unwrap();
    stream
}

/// Sends a request on a connection of its own and returns the response.
fn send(address: &str, method: &str, target: &str, media_type: &str, body: &[u8]) -> String {
    let mut stream = connect(address);
    let head = format!(
        "{method} {target} HTTP/1.1\r\nhost: {address}\r\ncontent-type: {media_type}\r\nx-request-id: t\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    // The daemon may reject the body before its end.
    let _ = stream.write_all(body);
    let mut response = String::new();
    let _ = stream.read_to_string(&mut response);
    response
}

#[test]
fn what_the_documents_of_the_api_have_freed_is_given_back() {
    let daemon = Daemon::start();
    // The first is built about when the daemon gives back what its start has freed, the second afterwards.
    for target in ["/openapi.json", "/openapi.yaml"] {
        let document = send(daemon.address(), "GET", target, "text/plain", b"");
        assert!(document.contains("openapi"), "{document}");
        let kept = daemon.memory("RssAnon");
        let end = Instant::now() + DEADLINE;
        while daemon.memory("RssAnon") + (1 << 20) > kept {
            assert!(Instant::now() < end, "nothing was given back: {target}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn a_rules_text_of_short_lines_is_not_kept_in_parsed_form() {
    let attacked = Attacked::start();
    let text = "-Z\n".repeat(1 << 20);
    let check = "/v1/rules?dry_run=true";
    let response = attacked.send("POST", check, "text/plain", text.as_bytes());
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    attacked.expect_bounded();
}

#[test]
fn a_body_of_many_empty_servers_is_rejected_before_it_is_parsed() {
    let attacked = Attacked::start();
    let servers = vec!["{}"; 340_000].join(",");
    let body = format!(
        "{{\"address\":\"192.0.2.1\",\"protocol\":\"tcp\",\"port\":80,\"servers\":[{servers}]}}"
    );
    let address = attacked.daemon.address();
    let responses = thread::scope(|scope| {
        let post = || {
            send(
                address,
                "POST",
                "/v1/services",
                "application/json",
                body.as_bytes(),
            )
        };
        let clients: Vec<_> = (0..8).map(|_| scope.spawn(post)).collect();
        let responses = clients.into_iter().map(|client| client.join().unwrap());
        responses.collect::<Vec<_>>()
    });
    attacked.expect_bounded();
    for response in responses {
        assert!(response.starts_with("HTTP/1.1 413"), "{response}");
        assert!(response.contains("limits.max_memory_bytes"), "{response}");
    }
}

#[test]
fn chunks_of_one_byte_cost_no_more_than_their_bytes() {
    let attacked = Attacked::start();
    let chunks = "1\r\n \r\n".repeat(160 << 10);
    let mut open = Vec::new();
    for _ in 0..4 {
        let mut stream = connect(attacked.daemon.address());
        let head = "POST /v1/services HTTP/1.1\r\nhost: 127.0.0.1\r\n\
                    content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(chunks.as_bytes()).unwrap();
        open.push(stream);
    }
    // The daemon has read what precedes the end of each body.
    for stream in &mut open {
        stream.write_all(b"0\r\n\r\n").unwrap();
        let mut response = [0; 12];
        stream.read_exact(&mut response).unwrap();
        assert_eq!(&response, b"HTTP/1.1 400");
    }
    // The bodies have 640 KiB.
    let peak = attacked.peak();
    assert!(peak < 12 << 20, "{peak} bytes");
}

#[test]
fn an_error_does_not_grow_with_the_input_that_it_repeats() {
    let attacked = Attacked::start();
    let long = "k".repeat(900_000);
    let key = format!("{{\"{long}\":1}}");
    let words = format!("{{\"scheduler\":\"{}\"}}", "a b ".repeat(200_000));
    let rules = format!("-A -t {long} -s rr\n").repeat(3) + &"-X\n".repeat(1000);
    for (target, media_type, body) in [
        ("/v1/services", "application/json", key.as_str()),
        ("/v1/services", "application/json", &words),
        ("/v1/rules", "text/plain", &rules),
    ] {
        let response = attacked.send("POST", target, media_type, body.as_bytes());
        assert!(response.starts_with("HTTP/1.1 400"), "{response}");
        assert!(response.len() < 32 << 10, "{} bytes", response.len());
        assert!(!response.contains(&"k".repeat(101)), "{response}");
        assert!(!response.contains(&"a b ".repeat(26)), "{response}");
    }
}

/// Sends this many calls of a method with this message over one connection whose client takes no byte
/// of a body, and returns the heads of the responses.
async fn unread_calls(
    address: &str,
    media_type: &str,
    method: &str,
    message: &[u8],
    count: usize,
) -> Vec<http::Response<hyper::body::Incoming>> {
    let stream = in_time(tokio::net::TcpStream::connect(address)).await;
    let stream = stream.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(0);
    let handshake = builder.handshake(TokioIo::new(stream));
    let (mut client, connection) = in_time(handshake).await.unwrap();
    tokio::spawn(connection);
    let mut body = vec![0, 0, 0, 0, message.len() as u8];
    body.extend_from_slice(message);
    let mut responses = Vec::new();
    for _ in 0..count {
        let request = Request::post(format!("http://{address}/ipvsd.v1.IpvsService/{method}"))
            .header("content-type", media_type)
            .header("te", "trailers")
            .body(Body::from(body.clone()));
        let response = client.send_request(request.unwrap());
        responses.push(in_time(response).await.unwrap());
    }
    responses
}

#[tokio::test(flavor = "multi_thread")]
async fn short_grpc_responses_are_charged_their_length() {
    let daemon = Daemon::start_with(&[("IPVSD_LIMITS_MAX_MEMORY_BYTES", "16777216")]);
    let rules = b"-A -t 192.0.2.1:80\n";
    let created = send(
        daemon.address(),
        "POST",
        "/v1/rules",
        "text/plain",
        rules.as_slice(),
    );
    assert!(created.starts_with("HTTP/1.1 200"), "{created}");
    let get = b"\x0a\x10tcp-192.0.2.1-80";
    for media_type in ["application/grpc", "application/grpc-web"] {
        for (method, message) in [("ListServices", &b""[..]), ("GetService", get)] {
            let calls = unread_calls(daemon.address(), media_type, method, message, 64);
            for response in in_time(calls).await {
                // The status of an error is in the head, that of a response follows its body.
                let status = response.headers().get("grpc-status");
                assert_eq!(status, None, "{media_type} {method}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_that_are_not_read_are_bounded_and_given_back() {
    let attacked = Attacked::start();
    let mut rules = "-A -t 192.0.2.1:80 -s rr\n".to_owned();
    for server in 0..800 {
        let (high, low) = (server / 250, server % 250);
        rules += &format!("-a -t 192.0.2.1:80 -r 10.0.{high}.{low}:80 -m\n");
    }
    let response = attacked.send("POST", "/v1/rules", "text/plain", rules.as_bytes());
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");

    let mut unread = Vec::new();
    let mut statuses = Vec::new();
    for _ in 0..6 {
        let stream = in_time(tokio::net::TcpStream::connect(attacked.daemon.address()))
            .await
            .unwrap();
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(65_535);
        builder.initial_connection_window_size(65_535);
        let (mut client, connection) = in_time(builder.handshake(TokioIo::new(stream)))
            .await
            .unwrap();
        tokio::spawn(connection);
        for _ in 0..199 {
            let target = "http://127.0.0.1/v1/services?include=servers,stats,rates";
            let request = Request::get(target).body(Body::empty()).unwrap();
            // The daemon disconnects clients that do not read when memory is scarce.
            let Ok(response) = in_time(client.send_request(request)).await else {
                break;
            };
            statuses.push(response.status());
            unread.push(response);
        }
    }
    attacked.expect_bounded();
    assert!(statuses.contains(&StatusCode::OK), "{statuses:?}");
    assert!(statuses.contains(&StatusCode::TOO_MANY_REQUESTS));
    let rejected = unread
        .into_iter()
        .find(|response| response.status() == StatusCode::TOO_MANY_REQUESTS);
    let rejected = in_time(rejected.unwrap().collect()).await;
    if let Ok(body) = rejected {
        let text = String::from_utf8(body.to_bytes().to_vec()).unwrap();
        assert!(text.contains("limits.max_memory_bytes"), "{text}");
    }
    attacked.expect_returned();
    let response = attacked.send("GET", "/v1/services", "text/plain", b"");
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
}
