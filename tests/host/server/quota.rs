//! Quotas of single clients, over both protocols.

use http::Request;
use ipvsd::server::Config;
use std::time::Instant;
use tokio::net::TcpSocket;
use tonic_types::StatusExt;

use super::{
    gate::{Daemon, JSON, start},
    harness::*,
};

/// A GetInfo request over HTTP/2 without fields.
const EMPTY: &[u8] = &[0, 0, 0, 0, 0];

fn limited() -> Config {
    let mut config = test_config();
    config.quota.reads_per_second = 1;
    config.quota.reads_burst = 5;
    config.quota.writes_per_second = 1;
    config.quota.writes_burst = 7;
    config
}

/// Sends requests until one is refused, and returns it with the number of those before.
async fn until_refused(
    daemon: &Daemon,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &str,
) -> (usize, String) {
    for admitted in 0..200 {
        let response = daemon.send(method, path, headers, body).await;
        if response.starts_with("HTTP/1.1 429") {
            return (admitted, response);
        }
    }
    panic!("no request was refused")
}

#[tokio::test]
async fn requests_beyond_the_quota_are_refused_with_the_time_to_wait() {
    let begin = Instant::now();
    let daemon = start(&limited()).await;
    let (reads, refusal) = until_refused(&daemon, "GET", "/v1/info", &[], "").await;
    // Tokens that were added meanwhile.
    let more = begin.elapsed().as_secs() as usize + 1;
    assert!((5..=5 + more).contains(&reads), "{reads}");
    assert!(refusal.contains("retry-after: 1\r\n"), "{refusal}");
    assert!(refusal.contains("\"reason\":\"RATE_LIMITED\""), "{refusal}");
    assert!(refusal.contains("quota.reads_per_second"), "{refusal}");
    // Writes have a bucket of their own, of which `start` has taken two tokens.
    let body = r#"{"id":"tcp-192.0.2.9-80"}"#;
    let (writes, refusal) =
        until_refused(&daemon, "POST", "/v1/services?dry_run=true", JSON, body).await;
    let more = begin.elapsed().as_secs() as usize + 1;
    assert!((5..=5 + more).contains(&writes), "{writes}");
    assert!(refusal.contains("quota of writes"), "{refusal}");
    for _ in 0..20 {
        for path in ["/healthz", "/readyz"] {
            let response = daemon.send("GET", path, &[], "").await;
            assert!(response.starts_with("HTTP/1.1 200"), "{response}");
        }
    }
}

#[tokio::test]
async fn other_clients_are_not_affected() {
    let daemon = start(&limited()).await;
    until_refused(&daemon, "GET", "/v1/info", &[], "").await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let address = ([127, 0, 0, 1], daemon.port()).into();
    let stream = in_time(socket.connect(address)).await.unwrap();
    let request = "GET /v1/info HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let response = exchange(stream, request).await;
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
}

#[tokio::test]
async fn a_method_of_grpc_counts_as_what_it_does() {
    let daemon = start(&limited()).await;
    let call = async |method: &str| {
        let uri = format!("http://localhost/ipvsd.v1.IpvsService/{method}");
        let request = Request::post(uri).header("content-type", "application/grpc");
        let response = daemon.h2(request.body(EMPTY.into()).unwrap()).await;
        let status = tonic::Status::from_header_map(response.headers());
        status.filter(|status| status.code() == tonic::Code::ResourceExhausted)
    };
    let mut refused = None;
    for _ in 0..200 {
        refused = call("GetInfo").await;
        if refused.is_some() {
            break;
        }
    }
    let details = refused.unwrap().get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "RATE_LIMITED");
    let delay = details.retry_info().unwrap().retry_delay.unwrap();
    assert_eq!(delay.as_secs(), 1);
    // A write has a token: it fails for its invalid message only.
    assert!(call("CreateService").await.is_none());
}

#[tokio::test]
async fn bytes_of_responses_are_counted() {
    let mut config = test_config();
    config.quota.bytes_per_second = 1024;
    config.quota.bytes_burst = 20 * 1024;
    let daemon = start(&config).await;
    let length = daemon.send("GET", "/openapi.json", &[], "").await.len();
    assert!(length > 100_000, "{length}");
    let refusal = daemon.send("GET", "/v1/info", &[], "").await;
    assert!(refusal.starts_with("HTTP/1.1 429"), "{refusal}");
    assert!(refusal.contains("quota of bytes"), "{refusal}");
    // What the bucket lacks, at 1 KiB per second.
    let seconds = refusal.split("retry-after: ").nth(1).unwrap();
    let seconds: usize = seconds.split('\r').next().unwrap().parse().unwrap();
    // Less the seconds that have passed; a part of a second counts as one. The requests of `start` and their
    // responses have less than 1 KiB.
    let expected = length / 1024 - 20 + 2;
    assert!(
        (expected - 60..=expected).contains(&seconds),
        "{seconds} {expected}"
    );
}
