//! How long the server waits for whom.

use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt;

use super::harness::*;

/// The timeout under test.
const SHORT: Duration = Duration::from_millis(150);

#[tokio::test]
async fn a_client_that_says_nothing_is_cut_after_the_header_timeout() {
    let mut config = patient();
    config.limits.header_read_timeout = SHORT;
    let server = start(&config, stage().router);
    let began = Instant::now();
    assert_eq!(listen_to_end(server.connect().await).await, "");
    assert!(began.elapsed() >= SHORT);
}

#[tokio::test]
async fn a_slowloris_is_cut_after_the_header_timeout() {
    let mut config = patient();
    config.limits.header_read_timeout = SHORT;
    let server = start(&config, stage().router);
    let (reader, mut writer) = server.connect().await.into_split();
    let drip = tokio::spawn(async move {
        writer.write_all(b"GET /hello HTTP/1.1\r\n").await.unwrap();
        while writer.write_all(b"a: b\r\n").await.is_ok() {
            tokio::time::sleep(SHORT / 10).await;
        }
    });
    assert_eq!(listen_to_end(reader).await, "");
    soon(drip).await.unwrap();
}

#[tokio::test]
async fn a_slow_head_on_a_used_connection_is_cut_too() {
    let mut config = patient();
    config.limits.header_read_timeout = SHORT;
    let server = start(&config, stage().router);
    let mut stream = server.connect().await;
    stream
        .write_all(get_and_keep("/hello").as_bytes())
        .await
        .unwrap();
    listen_for(&mut stream, "hello").await;
    assert_eq!(converse(stream, "GET /hel").await, "");
}

#[tokio::test]
async fn an_idle_connection_outlives_the_header_timeout() {
    let mut config = patient();
    config.limits.header_read_timeout = SHORT;
    let server = start(&config, stage().router);
    let mut stream = server.connect().await;
    stream
        .write_all(get_and_keep("/hello").as_bytes())
        .await
        .unwrap();
    listen_for(&mut stream, "hello").await;
    assert!(stays_open(&mut stream, SHORT * 3).await);
    assert!(
        converse(stream, &get_and_close("/hello"))
            .await
            .ends_with("hello")
    );
}

#[tokio::test]
async fn an_idle_http1_connection_is_closed_after_the_idle_timeout() {
    let mut config = patient();
    config.limits.idle_timeout = SHORT;
    let server = start(&config, stage().router);
    let stream = server.connect().await;
    let answer = converse(stream, &get_and_keep("/hello")).await;
    assert!(answer.ends_with("hello"), "{answer}");
}

#[tokio::test]
async fn an_idle_http2_connection_is_closed_after_the_idle_timeout() {
    let mut config = patient();
    config.limits.idle_timeout = SHORT;
    let server = start(&config, stage().router);
    let (mut client, connection) = server.connect_h2().await;
    let answer = soon(client.send_request(h2_get("/hello"))).await.unwrap();
    soon(answer.collect()).await.unwrap();
    soon(connection).await.unwrap().expect("closed politely");
}

#[tokio::test]
async fn an_http2_client_may_connect_ahead_of_its_first_request() {
    let mut config = patient();
    config.limits.header_read_timeout = SHORT;
    let server = start(&config, stage().router);
    let (mut client, connection) = server.connect_h2().await;
    assert!(tokio::time::timeout(SHORT * 3, connection).await.is_err());
    assert!(
        soon(client.send_request(h2_get("/hello")))
            .await
            .unwrap()
            .status()
            .is_success()
    );
}

#[tokio::test]
async fn an_http2_client_that_never_takes_leave_is_cut() {
    let mut config = patient();
    config.limits.idle_timeout = SHORT;
    config.limits.write_timeout = SHORT;
    let server = start(&config, stage().router);
    let mut stream = server.connect().await;
    // A preface and empty settings, then silence: neither pings nor GOAWAY are answered.
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    listen_to_end(stream).await;
}

#[tokio::test]
async fn an_http1_client_that_does_not_read_is_cut_after_the_write_timeout() {
    let mut config = patient();
    config.limits.write_timeout = SHORT;
    let mut stage = stage();
    let server = start(&config, stage.router.clone());
    let mut stream = server.connect().await;
    stream
        .write_all(get_and_keep("/flood").as_bytes())
        .await
        .unwrap();
    soon(stage.dropped.recv()).await.unwrap();
}

#[tokio::test]
async fn an_http2_client_that_leaves_its_window_closed_is_cut_after_the_write_timeout() {
    let mut config = patient();
    config.limits.write_timeout = SHORT;
    let mut stage = stage();
    let server = start(&config, stage.router.clone());
    let (mut client, connection) = server.connect_h2().await;
    let unread = soon(client.send_request(h2_get("/flood"))).await.unwrap();
    soon(stage.dropped.recv()).await.unwrap();
    let _ = soon(connection).await.unwrap();
    drop(unread);
}

#[tokio::test]
async fn an_answer_in_one_piece_that_nobody_reads_is_cut_too() {
    let mut config = patient();
    config.limits.write_timeout = SHORT;
    // The next connection gets in when the one before has been cut.
    config.limits.max_connections = 1;
    let server = start(&config, stage().router);
    let mut unread = server.connect().await;
    unread
        .write_all(get_and_keep("/big").as_bytes())
        .await
        .unwrap();

    let (mut client, connection) = server.connect_h2().await;
    let _unread = soon(client.send_request(h2_get("/big"))).await.unwrap();
    let _ = soon(connection).await.unwrap();

    assert!(server.get("/hello").await.ends_with("hello"));
}

#[tokio::test]
async fn answers_that_nobody_reads_are_cut_when_they_pile_up() {
    let mut config = patient();
    config.limits.write_timeout = SHORT;
    let server = start(&config, stage().router);
    let (reader, mut writer) = server.connect().await.into_split();
    // Without the cut, this ends when both directions are full, and nobody moves any more.
    soon(async {
        while writer
            .write_all(get_and_keep("/hello").as_bytes())
            .await
            .is_ok()
        {}
    })
    .await;
    drop(reader);
}

#[tokio::test]
async fn a_big_answer_arrives_whole_with_its_length() {
    let server = start(&patient(), stage().router);
    let answer = server.get("/big").await;
    assert!(answer.contains(&format!("\r\ncontent-length: {BIG}\r\n")));
    assert_eq!(answer.split_once("\r\n\r\n").unwrap().1.len(), BIG);
    let (mut client, _connection) = server.connect_h2().await;
    let answer = soon(client.send_request(h2_get("/big"))).await.unwrap();
    assert_eq!(soon(answer.collect()).await.unwrap().to_bytes().len(), BIG);
}

#[tokio::test]
async fn a_client_that_reads_slowly_but_steadily_is_not_cut() {
    let mut config = patient();
    config.limits.write_timeout = SHORT;
    let mut stage = stage();
    let server = start(&config, stage.router.clone());
    let (mut client, _connection) = server.connect_h2().await;
    let mut answer = soon(client.send_request(h2_get("/flood"))).await.unwrap();
    let began = Instant::now();
    while began.elapsed() < SHORT * 5 {
        soon(answer.frame()).await.unwrap().expect("not cut");
        tokio::time::sleep(SHORT / 20).await;
    }
    assert!(stage.dropped.try_recv().is_err());
}

#[tokio::test]
async fn an_answer_that_makes_the_client_wait_is_not_cut() {
    let mut config = patient();
    config.limits.write_timeout = LATE / 8;
    config.limits.idle_timeout = LATE / 8;
    config.limits.header_read_timeout = LATE / 8;
    let server = start(&config, stage().router);
    let answer = server.get("/late").await;
    assert!(
        answer.ends_with("5\r\nlate.\r\n5\r\nlate.\r\n0\r\n\r\n"),
        "{answer}"
    );

    let (mut client, _connection) = server.connect_h2().await;
    let answer = soon(client.send_request(h2_get("/late"))).await.unwrap();
    assert_eq!(
        soon(answer.collect()).await.unwrap().to_bytes(),
        "late.late."
    );
}

#[tokio::test]
async fn a_request_that_takes_long_is_not_cut() {
    let mut config = patient();
    config.limits.write_timeout = SHORT;
    config.limits.idle_timeout = SHORT;
    config.limits.header_read_timeout = SHORT;
    let mut stage = stage();
    let server = start(&config, stage.router.clone());
    let mut stream = server.connect().await;
    stream
        .write_all(get_and_close("/wait").as_bytes())
        .await
        .unwrap();
    soon(stage.entered.recv()).await;
    assert!(stays_open(&mut stream, SHORT * 3).await);
    stage.release.add_permits(1);
    assert!(listen_to_end(stream).await.ends_with("waited"));
}

#[tokio::test]
async fn a_body_that_does_not_come_is_answered_with_the_reason() {
    let mut config = patient();
    config.limits.body_read_timeout = SHORT;
    let server = start(&config, stage().router);
    let request = "POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc";
    let answer = converse(server.connect().await, request).await;
    assert!(
        answer.starts_with("HTTP/1.1 408") && answer.contains("BodyTooSlow"),
        "{answer}"
    );
}
