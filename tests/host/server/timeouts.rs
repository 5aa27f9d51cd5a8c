//! Timeouts of connections, requests and responses.

use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt;

use super::harness::*;
use crate::cli::daemon::Daemon;

/// The timeout under test.
const SHORT: Duration = Duration::from_millis(150);

#[tokio::test]
async fn a_silent_client_is_disconnected_after_the_header_timeout() {
    let mut config = test_config();
    config.limits.header_read_timeout = SHORT;
    let server = start_server(&config, setup().router);
    let began = Instant::now();
    assert_eq!(read_to_end(server.connect().await).await, "");
    assert!(began.elapsed() >= SHORT);
}

#[tokio::test]
async fn a_slowloris_client_is_disconnected_after_the_header_timeout() {
    let mut config = test_config();
    config.limits.header_read_timeout = SHORT;
    let server = start_server(&config, setup().router);
    let (reader, mut writer) = server.connect().await.into_split();
    let drip = tokio::spawn(async move {
        writer.write_all(b"GET /hello HTTP/1.1\r\n").await.unwrap();
        while writer.write_all(b"a: b\r\n").await.is_ok() {
            tokio::time::sleep(SHORT / 10).await;
        }
    });
    assert_eq!(read_to_end(reader).await, "");
    in_time(drip).await.unwrap();
}

#[tokio::test]
async fn the_header_timeout_applies_to_later_requests() {
    let mut config = test_config();
    config.limits.header_read_timeout = SHORT;
    let server = start_server(&config, setup().router);
    let mut stream = server.connect().await;
    stream
        .write_all(get_keep_alive("/hello").as_bytes())
        .await
        .unwrap();
    read_until(&mut stream, "hello").await;
    assert_eq!(exchange(stream, "GET /hel").await, "");
}

#[tokio::test]
async fn the_header_timeout_does_not_close_idle_connections() {
    let mut config = test_config();
    config.limits.header_read_timeout = SHORT;
    let server = start_server(&config, setup().router);
    let mut stream = server.connect().await;
    stream
        .write_all(get_keep_alive("/hello").as_bytes())
        .await
        .unwrap();
    read_until(&mut stream, "hello").await;
    assert!(stays_open(&mut stream, SHORT * 3).await);
    assert!(
        exchange(stream, &get_close("/hello"))
            .await
            .ends_with("hello")
    );
}

#[tokio::test]
async fn an_idle_http1_connection_is_closed_after_the_idle_timeout() {
    let mut config = test_config();
    config.limits.idle_timeout = SHORT;
    let server = start_server(&config, setup().router);
    let stream = server.connect().await;
    let response = exchange(stream, &get_keep_alive("/hello")).await;
    assert!(response.ends_with("hello"), "{response}");
}

#[tokio::test]
async fn an_idle_http2_connection_is_closed_after_the_idle_timeout() {
    let mut config = test_config();
    config.limits.idle_timeout = SHORT;
    let server = start_server(&config, setup().router);
    let (mut client, connection) = server.connect_h2().await;
    let response = in_time(client.send_request(h2_get("/hello")))
        .await
        .unwrap();
    in_time(response.collect()).await.unwrap();
    in_time(connection)
        .await
        .unwrap()
        .expect("closed gracefully");
}

#[tokio::test]
async fn an_http2_client_may_connect_before_its_first_request() {
    let mut config = test_config();
    config.limits.header_read_timeout = SHORT;
    let server = start_server(&config, setup().router);
    let (mut client, connection) = server.connect_h2().await;
    assert!(tokio::time::timeout(SHORT * 3, connection).await.is_err());
    assert!(
        in_time(client.send_request(h2_get("/hello")))
            .await
            .unwrap()
            .status()
            .is_success()
    );
}

#[tokio::test]
async fn an_http2_client_that_ignores_goaway_is_disconnected() {
    let mut config = test_config();
    config.limits.idle_timeout = SHORT;
    config.limits.write_timeout = SHORT;
    let server = start_server(&config, setup().router);
    let mut stream = server.connect().await;
    // A preface and empty settings, then silence: neither pings nor GOAWAY are answered.
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    read_to_end(stream).await;
}

#[tokio::test]
async fn an_http1_client_that_does_not_read_is_disconnected_after_the_write_timeout() {
    let mut config = test_config();
    config.limits.write_timeout = SHORT;
    let mut fixture = setup();
    let server = start_server(&config, fixture.router.clone());
    let mut stream = server.connect().await;
    stream
        .write_all(get_keep_alive("/flood").as_bytes())
        .await
        .unwrap();
    in_time(fixture.dropped.recv()).await.unwrap();
}

#[tokio::test]
async fn an_http2_client_with_a_closed_window_is_disconnected_after_the_write_timeout() {
    let mut config = test_config();
    config.limits.write_timeout = SHORT;
    let mut fixture = setup();
    let server = start_server(&config, fixture.router.clone());
    let (mut client, connection) = server.connect_h2().await;
    let unread = in_time(client.send_request(h2_get("/flood")))
        .await
        .unwrap();
    in_time(fixture.dropped.recv()).await.unwrap();
    let _ = in_time(connection).await.unwrap();
    drop(unread);
}

#[tokio::test]
async fn an_http2_client_without_any_window_is_disconnected_after_the_write_timeout() {
    let mut config = test_config();
    config.limits.write_timeout = SHORT;
    let mut fixture = setup();
    let server = start_server(&config, fixture.router.clone());
    let mut stream = server.connect().await;
    // SETTINGS_INITIAL_WINDOW_SIZE (4) of 0, then a request: `:method: GET`, `:scheme: http`,
    // `:path: /flood`, `:authority: localhost` (RFC 7541).
    let mut request =
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0".to_vec();
    request.extend(b"\0\0\x15\x01\x05\0\0\0\x01\x82\x86\x04\x06/flood\x01\x09localhost");
    stream.write_all(&request).await.unwrap();
    in_time(fixture.dropped.recv()).await.unwrap();
    drop(stream);
}

#[tokio::test]
async fn an_unread_response_of_one_frame_is_aborted() {
    let mut config = test_config();
    config.limits.write_timeout = SHORT;
    // The next connection is served when the previous one has ended.
    config.limits.max_connections = 1;
    let server = start_server(&config, setup().router);
    let mut unread = server.connect().await;
    unread
        .write_all(get_keep_alive("/big").as_bytes())
        .await
        .unwrap();

    let (mut client, connection) = server.connect_h2().await;
    let _unread = in_time(client.send_request(h2_get("/big"))).await.unwrap();
    let _ = in_time(connection).await.unwrap();

    assert!(server.get("/hello").await.ends_with("hello"));
}

#[tokio::test]
async fn unread_pipelined_responses_are_aborted() {
    let mut config = test_config();
    config.limits.write_timeout = SHORT;
    let server = start_server(&config, setup().router);
    let (reader, mut writer) = server.connect().await.into_split();
    // Without the timeout, both directions would fill up and the writes would block forever.
    in_time(async {
        while writer
            .write_all(get_keep_alive("/hello").as_bytes())
            .await
            .is_ok()
        {}
    })
    .await;
    drop(reader);
}

#[tokio::test]
async fn a_large_response_arrives_completely_with_its_length() {
    let server = start_server(&test_config(), setup().router);
    let response = server.get("/big").await;
    assert!(response.contains(&format!("\r\ncontent-length: {BIG}\r\n")));
    assert_eq!(response.split_once("\r\n\r\n").unwrap().1.len(), BIG);
    let (mut client, _connection) = server.connect_h2().await;
    let response = in_time(client.send_request(h2_get("/big"))).await.unwrap();
    assert_eq!(
        in_time(response.collect()).await.unwrap().to_bytes().len(),
        BIG
    );
}

#[tokio::test]
async fn a_client_that_reads_slowly_is_not_disconnected() {
    let mut config = test_config();
    config.limits.write_timeout = SHORT;
    let mut fixture = setup();
    let server = start_server(&config, fixture.router.clone());
    let (mut client, _connection) = server.connect_h2().await;
    let mut response = in_time(client.send_request(h2_get("/flood")))
        .await
        .unwrap();
    let began = Instant::now();
    while began.elapsed() < SHORT * 5 {
        in_time(response.frame())
            .await
            .unwrap()
            .expect("still connected");
        tokio::time::sleep(SHORT / 20).await;
    }
    assert!(fixture.dropped.try_recv().is_err());
}

#[tokio::test]
async fn a_response_with_pauses_is_not_aborted() {
    let mut config = test_config();
    config.limits.write_timeout = LATE / 8;
    config.limits.idle_timeout = LATE / 8;
    config.limits.header_read_timeout = LATE / 8;
    let server = start_server(&config, setup().router);
    let response = server.get("/late").await;
    assert!(
        response.ends_with("5\r\nlate.\r\n5\r\nlate.\r\n0\r\n\r\n"),
        "{response}"
    );

    let (mut client, _connection) = server.connect_h2().await;
    let response = in_time(client.send_request(h2_get("/late"))).await.unwrap();
    assert_eq!(
        in_time(response.collect()).await.unwrap().to_bytes(),
        "late.late."
    );
}

#[tokio::test]
async fn a_long_request_is_not_aborted() {
    let mut config = test_config();
    config.limits.write_timeout = SHORT;
    config.limits.idle_timeout = SHORT;
    config.limits.header_read_timeout = SHORT;
    let mut fixture = setup();
    let server = start_server(&config, fixture.router.clone());
    let mut stream = server.connect().await;
    stream
        .write_all(get_close("/wait").as_bytes())
        .await
        .unwrap();
    in_time(fixture.entered.recv()).await;
    assert!(stays_open(&mut stream, SHORT * 3).await);
    fixture.release.add_permits(1);
    assert!(read_to_end(stream).await.ends_with("waited"));
}

#[tokio::test]
async fn a_missing_body_is_rejected_after_the_body_timeout() {
    let mut config = test_config();
    config.limits.body_read_timeout = SHORT;
    let server = start_server(&config, setup().router);
    let request = "POST /length HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\nabc";
    let response = exchange(server.connect().await, request).await;
    assert!(
        response.starts_with("HTTP/1.1 408") && response.contains("BodyTimeout"),
        "{response}"
    );
}

#[tokio::test]
async fn the_request_timeout_starts_when_the_body_is_complete() {
    let daemon = Daemon::start_with(&[("IPVSD_LIMITS_REQUEST_TIMEOUT", "150ms")]);
    let mut stream = in_time(tokio::net::TcpStream::connect(daemon.address()))
        .await
        .unwrap();
    let body = r#"{"protocol":"tcp","address":"192.0.2.1","port":80}"#;
    let (first, rest) = body.split_at(10);
    let head = format!(
        "POST /v1/services HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream
        .write_all(format!("{head}{first}").as_bytes())
        .await
        .unwrap();
    assert!(stays_open(&mut stream, SHORT * 3).await);
    let response = exchange(stream, rest).await;
    assert!(response.starts_with("HTTP/1.1 201"), "{response}");
}
