//! Shutdown: requests in progress complete or are aborted, in bounded time.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use http_body_util::BodyExt;
use ipvsd::{
    app::{App, AppOptions},
    executor::{Executor, ExecutorLimits},
    kernel::{
        FakeKernel,
        fake::{Fault, On, command},
    },
    server::{Authenticator, Config, DrainOutcome, Phase, Server, Shutdown, build_router},
};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::harness::*;

#[tokio::test]
async fn an_http1_request_in_progress_completes_and_its_connection_closes() {
    let mut fixture = setup();
    let server = start_server(&test_config(), fixture.router.clone());
    let mut stream = server.connect().await;
    stream
        .write_all(get_keep_alive("/wait").as_bytes())
        .await
        .unwrap();
    in_time(fixture.entered.recv()).await;
    server.shutdown.advance();
    // The response announces the close, although the client asked for keep-alive.
    fixture.release.add_permits(1);
    let response = read_to_end(stream).await;
    assert!(
        response.ends_with("waited") && response.contains("connection: close"),
        "{response}"
    );
    assert_eq!(
        in_time(server.task).await.unwrap(),
        DrainOutcome { aborted: 0 }
    );
}

#[tokio::test]
async fn http2_requests_in_progress_complete_and_new_ones_are_rejected() {
    let mut fixture = setup();
    let server = start_server(&test_config(), fixture.router.clone());
    let (mut client, connection) = server.connect_h2().await;
    let running = tokio::spawn(client.send_request(h2_get("/wait")));
    in_time(fixture.entered.recv()).await;
    server.shutdown.advance();
    // New requests fail once the client has received GOAWAY.
    in_time(async {
        while client.ready().await.is_ok() && client.send_request(h2_get("/hello")).await.is_ok() {}
    })
    .await;
    fixture.release.add_permits(1);
    let response = in_time(running).await.unwrap().unwrap();
    assert_eq!(
        in_time(response.collect()).await.unwrap().to_bytes(),
        "waited"
    );
    in_time(connection).await.unwrap().unwrap();
    assert_eq!(
        in_time(server.task).await.unwrap(),
        DrainOutcome { aborted: 0 }
    );
}

#[tokio::test]
async fn idle_connections_do_not_delay_the_shutdown() {
    let server = start_server(&test_config(), setup().router);
    let mut used = server.connect().await;
    used.write_all(get_keep_alive("/hello").as_bytes())
        .await
        .unwrap();
    read_until(&mut used, "hello").await;
    let (mut client, _connection) = server.connect_h2().await;
    in_time(client.send_request(h2_get("/hello")))
        .await
        .unwrap();
    let _silent = server.connect().await;
    server.shutdown.advance();
    assert_eq!(
        in_time(server.task).await.unwrap(),
        DrainOutcome { aborted: 0 }
    );
}

#[tokio::test]
async fn a_hanging_request_is_aborted_after_the_grace_period() {
    let mut config = test_config();
    config.limits.shutdown_grace = Duration::from_millis(200);
    let mut fixture = setup();
    let server = start_server(&config, fixture.router.clone());
    let mut stream = server.connect().await;
    stream
        .write_all(get_keep_alive("/wait").as_bytes())
        .await
        .unwrap();
    in_time(fixture.entered.recv()).await;
    let began = Instant::now();
    server.shutdown.advance();
    assert_eq!(
        in_time(server.task).await.unwrap(),
        DrainOutcome { aborted: 1 }
    );
    assert!(began.elapsed() >= Duration::from_millis(200));
    assert_eq!(server.shutdown.phase(), Phase::Aborting);
    assert_eq!(read_to_end(stream).await, "");
}

#[tokio::test]
async fn an_endless_response_is_aborted_after_the_grace_period() {
    let mut config = test_config();
    config.limits.shutdown_grace = Duration::from_millis(100);
    let mut fixture = setup();
    let server = start_server(&config, fixture.router.clone());
    let (mut client, _connection) = server.connect_h2().await;
    let _unread = in_time(client.send_request(h2_get("/flood")))
        .await
        .unwrap();
    server.shutdown.advance();
    assert_eq!(
        in_time(server.task).await.unwrap(),
        DrainOutcome { aborted: 1 }
    );
    in_time(fixture.dropped.recv()).await.unwrap();
}

#[tokio::test]
async fn the_second_shutdown_request_aborts_at_once() {
    let mut fixture = setup();
    let server = start_server(&test_config(), fixture.router.clone());
    let (mut client, _connection) = server.connect_h2().await;
    let hanging = tokio::spawn(client.send_request(h2_get("/wait")));
    in_time(fixture.entered.recv()).await;
    server.shutdown.advance();
    server.shutdown.advance();
    assert_eq!(
        in_time(server.task).await.unwrap(),
        DrainOutcome { aborted: 1 }
    );
    assert!(in_time(hanging).await.unwrap().is_err());
}

#[tokio::test]
async fn a_request_that_is_about_to_arrive_is_not_lost() {
    let server = start_server(&test_config(), setup().router);
    let mut silent = server.connect().await;
    let mut incomplete = server.connect().await;
    let request = get_keep_alive("/hello");
    let (begin, rest) = request.split_at(10);
    incomplete.write_all(begin.as_bytes()).await.unwrap();
    // Accepted after the others.
    server.get("/hello").await;
    server.shutdown.advance();
    // In the sockets before the server runs again.
    silent.write_all(request.as_bytes()).await.unwrap();
    incomplete.write_all(rest.as_bytes()).await.unwrap();
    let response = in_time(read_to_end(silent)).await;
    assert!(response.ends_with("hello"), "{response}");
    assert!(response.contains("connection: close"), "{response}");
    let response = in_time(read_to_end(incomplete)).await;
    assert!(response.ends_with("hello"), "{response}");
    in_time(server.task).await.unwrap();
}

#[tokio::test]
async fn a_connection_without_a_request_does_not_delay_the_end_for_long() {
    let server = start_server(&test_config(), setup().router);
    let silent = server.connect().await;
    server.get("/hello").await;
    let began = Instant::now();
    server.shutdown.advance();
    assert_eq!(in_time(server.task).await.unwrap().aborted, 0);
    assert!(began.elapsed() < test_config().limits.shutdown_grace);
    assert_eq!(read_to_end(silent).await, "");
}

#[tokio::test]
async fn new_connections_are_refused_during_the_drain() {
    let mut fixture = setup();
    let server = start_server(&test_config(), fixture.router.clone());
    let mut stream = server.connect().await;
    stream
        .write_all(get_keep_alive("/wait").as_bytes())
        .await
        .unwrap();
    in_time(fixture.entered.recv()).await;
    server.shutdown.advance();
    let address = server.tcp();
    in_time(async { while TcpStream::connect(address).await.is_ok() {} }).await;
    assert!(!server.task.is_finished());
}

#[test]
fn sigterm_and_sigint_stop_the_daemon_and_remove_its_socket() {
    for signal in ["TERM", "INT"] {
        let directory = TempDir::new();
        let (path, address) = directory.socket();
        let mut daemon = Command::new(env!("CARGO_BIN_EXE_ipvsd"))
            .args([
                "--dev",
                "--kernel",
                "fake",
                "--listen",
                &address.to_string(),
            ])
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

/// An application whose kernel takes this time for each creation of a service.
fn slow_app(time: Duration) -> (FakeKernel, App) {
    let kernel = FakeKernel::new();
    let slow = Fault::SlowCommand(time);
    kernel
        .faults()
        .always(On::Command(command::NEW_SERVICE), slow);
    let executor = Executor::start(Arc::new(kernel.clone()), ExecutorLimits::default()).unwrap();
    (kernel, App::new(executor, AppOptions::default()))
}

/// A server of the application, to which a client has sent this request and left.
async fn serve_and_leave(config: &Config, app: &App, path: &str, body: &str) -> RunningServer {
    let shutdown = Shutdown::new();
    let router = build_router(
        app.clone(),
        config,
        &Authenticator::load(config).unwrap(),
        &shutdown,
    );
    let server = Server::bind(config).unwrap();
    let server = server.with_background_work(app.background_work());
    let addresses = server.addresses();
    let (handle, budget) = (shutdown.clone(), app.budget().clone());
    let task = tokio::spawn(async move { server.serve(router, &budget, &handle).await });
    let server = RunningServer {
        addresses,
        shutdown,
        task,
        tls: None,
    };
    let mut stream = server.connect().await;
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    );
    let request = match path {
        "/v1/rules" => request.replace("application/json", "text/plain\r\nx-request-id: a-test"),
        _ => request,
    };
    stream.write_all(request.as_bytes()).await.unwrap();
    in_time(async {
        while !app.background_work().is_running() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    server
}

#[tokio::test]
async fn the_end_waits_for_a_write_whose_client_is_gone() {
    let (kernel, app) = slow_app(Duration::from_millis(200));
    let server = serve_and_leave(&test_config(), &app, "/v1/services", "{\"fwmark\": 7}").await;
    server.shutdown.advance();
    assert_eq!(
        in_time(server.task).await.unwrap(),
        DrainOutcome { aborted: 0 }
    );
    assert_eq!(kernel.services().len(), 1);
}

#[tokio::test]
async fn a_restore_that_outlasts_the_grace_period_stops_after_the_commands_in_progress() {
    let (kernel, app) = slow_app(Duration::from_micros(100));
    let mut config = test_config();
    config.limits.shutdown_grace = Duration::from_millis(100);
    let text: String = (1..=50_000).map(|n| format!("-A -f {n}\n")).collect();
    let server = serve_and_leave(&config, &app, "/v1/rules", &text).await;
    server.shutdown.advance();
    in_time(server.task).await.unwrap();
    in_time(app.background_work().finished()).await;
    let executed = kernel.services().len();
    assert!((1..50_000).contains(&executed), "{executed}");
}
