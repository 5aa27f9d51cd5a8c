//! The end: what runs is finished, what hangs is cut, and all of it in bounded time.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use ipvsd::server::{Drained, Phase};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::harness::*;

#[tokio::test]
async fn a_running_http1_request_is_finished_and_its_connection_closed() {
    let mut stage = stage();
    let server = start(&patient(), stage.router.clone());
    let mut stream = server.connect().await;
    stream
        .write_all(get_and_keep("/wait").as_bytes())
        .await
        .unwrap();
    soon(stage.entered.recv()).await;
    server.shutdown.advance();
    // No keep-alive, although the client would: the answer says so and the connection ends.
    stage.release.add_permits(1);
    let answer = listen_to_end(stream).await;
    assert!(
        answer.ends_with("waited") && answer.contains("connection: close"),
        "{answer}"
    );
    assert_eq!(soon(server.task).await.unwrap(), Drained { cut: 0 });
}

#[tokio::test]
async fn running_http2_requests_are_finished_and_new_ones_refused() {
    let mut stage = stage();
    let server = start(&patient(), stage.router.clone());
    let (mut client, connection) = server.connect_h2().await;
    let running = tokio::spawn(client.send_request(h2_get("/wait")));
    soon(stage.entered.recv()).await;
    server.shutdown.advance();
    // GOAWAY travels; from then on the client does not get through.
    soon(async {
        while client.ready().await.is_ok() && client.send_request(h2_get("/hello")).await.is_ok() {}
    })
    .await;
    stage.release.add_permits(1);
    let answer = soon(running).await.unwrap().unwrap();
    assert_eq!(soon(answer.collect()).await.unwrap().to_bytes(), "waited");
    soon(connection).await.unwrap().unwrap();
    assert_eq!(soon(server.task).await.unwrap(), Drained { cut: 0 });
}

#[tokio::test]
async fn idle_connections_do_not_delay_the_end() {
    let server = start(&patient(), stage().router);
    let mut used = server.connect().await;
    used.write_all(get_and_keep("/hello").as_bytes())
        .await
        .unwrap();
    listen_for(&mut used, "hello").await;
    let (mut client, _connection) = server.connect_h2().await;
    soon(client.send_request(h2_get("/hello"))).await.unwrap();
    let _silent = server.connect().await;
    server.shutdown.advance();
    assert_eq!(soon(server.task).await.unwrap(), Drained { cut: 0 });
}

#[tokio::test]
async fn a_request_that_hangs_is_cut_after_the_grace() {
    let mut config = patient();
    config.limits.shutdown_grace = Duration::from_millis(200);
    let mut stage = stage();
    let server = start(&config, stage.router.clone());
    let mut stream = server.connect().await;
    stream
        .write_all(get_and_keep("/wait").as_bytes())
        .await
        .unwrap();
    soon(stage.entered.recv()).await;
    let began = Instant::now();
    server.shutdown.advance();
    assert_eq!(soon(server.task).await.unwrap(), Drained { cut: 1 });
    assert!(began.elapsed() >= Duration::from_millis(200));
    assert_eq!(server.shutdown.phase(), Phase::Cutting);
    assert_eq!(listen_to_end(stream).await, "");
}

#[tokio::test]
async fn an_endless_answer_is_cut_after_the_grace() {
    let mut config = patient();
    config.limits.shutdown_grace = Duration::from_millis(100);
    let mut stage = stage();
    let server = start(&config, stage.router.clone());
    let (mut client, _connection) = server.connect_h2().await;
    let _unread = soon(client.send_request(h2_get("/flood"))).await.unwrap();
    server.shutdown.advance();
    assert_eq!(soon(server.task).await.unwrap(), Drained { cut: 1 });
    soon(stage.dropped.recv()).await.unwrap();
}

#[tokio::test]
async fn the_second_request_to_end_cuts_at_once() {
    let mut stage = stage();
    let server = start(&patient(), stage.router.clone());
    let (mut client, _connection) = server.connect_h2().await;
    let hanging = tokio::spawn(client.send_request(h2_get("/wait")));
    soon(stage.entered.recv()).await;
    server.shutdown.advance();
    server.shutdown.advance();
    assert_eq!(soon(server.task).await.unwrap(), Drained { cut: 1 });
    assert!(soon(hanging).await.unwrap().is_err());
}

#[tokio::test]
async fn nobody_gets_in_after_the_end_began() {
    let mut stage = stage();
    let server = start(&patient(), stage.router.clone());
    let mut stream = server.connect().await;
    stream
        .write_all(get_and_keep("/wait").as_bytes())
        .await
        .unwrap();
    soon(stage.entered.recv()).await;
    server.shutdown.advance();
    let address = server.tcp();
    soon(async { while TcpStream::connect(address).await.is_ok() {} }).await;
    assert!(!server.task.is_finished());
}

#[test]
fn the_daemon_ends_well_on_sigterm_and_on_sigint_and_removes_its_socket() {
    for signal in ["TERM", "INT"] {
        let directory = Directory::new();
        let (path, address) = directory.socket();
        let mut daemon = Command::new(env!("CARGO_BIN_EXE_ipvsd"))
            .args(["--kernel", "fake", "--listen", &address.to_string()])
            .env_remove("RUST_LOG")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(daemon.stderr.take().unwrap()).lines();
        assert!(log.any(|line| line.unwrap().contains("listening")));
        assert!(path.exists());
        let pid = daemon.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", signal, &pid])
                .status()
                .unwrap()
                .success()
        );
        assert!(
            daemon.wait().unwrap().success(),
            "{signal}: {:?}",
            log.collect::<Vec<_>>()
        );
        assert!(!path.exists());
    }
}
