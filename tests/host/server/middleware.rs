//! The middleware: request ids, the log, limits and rejections.

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Body,
    routing::{get, post},
};
use http::{Request, Response};
use http_body_util::BodyExt;
use ipvsd::{
    app::RequestId,
    audit::AuditLog,
    budget::Budget,
    server::{Authenticator, Config, Limits, with_middleware},
};
use tokio::io::AsyncWriteExt;
use tower::ServiceExt;
use tracing_subscriber::fmt::MakeWriter;

use super::harness::*;

async fn send(router: &Router, mut request: Request<Body>) -> (Response<()>, String) {
    let host = http::HeaderValue::from_static("localhost");
    request.headers_mut().insert("host", host);
    let (head, body) = in_time(router.clone().oneshot(request))
        .await
        .unwrap()
        .into_parts();
    let text = in_time(body.collect()).await.unwrap().to_bytes();
    (
        Response::from_parts(head, ()),
        String::from_utf8(text.to_vec()).unwrap(),
    )
}

fn limited_router(limits: &Limits) -> Router {
    let config = Config {
        limits: limits.clone(),
        ..open_config()
    };
    with_checks(setup().router, &config)
}

/// A configuration that requires no credential.
fn open_config() -> Config {
    Config {
        dev: true,
        ..Config::default()
    }
}

fn with_checks(router: Router, config: &Config) -> Router {
    let open = Authenticator::load(config).unwrap();
    let (audit, budget) = (AuditLog::in_memory(), Budget::default());
    with_middleware(router, config, &open, &audit, &budget, None, render)
}

fn request(path: &str, id: &[u8]) -> Request<Body> {
    Request::get(path)
        .header("x-request-id", id)
        .body(Body::empty())
        .unwrap()
}

#[tokio::test]
async fn a_valid_request_id_is_kept_and_returned() {
    let router = Router::new().route(
        "/id",
        get(async |axum::Extension(id): axum::Extension<RequestId>| id.as_str().to_owned()),
    );
    let router = with_checks(router, &open_config());
    for id in ["a", "7f3c-!~", &"x".repeat(128)] {
        let (head, body) = send(&router, request("/id", id.as_bytes())).await;
        assert_eq!(
            (
                head.headers()["x-request-id"].to_str().unwrap(),
                body.as_str()
            ),
            (id, id)
        );
    }
}

#[tokio::test]
async fn a_missing_or_invalid_request_id_is_replaced() {
    let router = limited_router(&Limits::default());
    let long = "x".repeat(129);
    let mut seen = Vec::new();
    for id in [
        None,
        None,
        Some(&b""[..]),
        Some(b"a b"),
        Some(b"\xff"),
        Some(long.as_bytes()),
    ] {
        let mut request = request("/hello", id.unwrap_or(b"."));
        if id.is_none() {
            request.headers_mut().clear();
        }
        let (head, _) = send(&router, request).await;
        let fresh = head.headers()["x-request-id"].to_str().unwrap().to_owned();
        assert!(
            fresh.len() > 16 && !seen.contains(&fresh),
            "{fresh} {seen:?}"
        );
        seen.push(fresh);
    }
}

#[tokio::test]
async fn responses_to_unknown_paths_have_a_request_id() {
    let (head, _) = send(
        &limited_router(&Limits::default()),
        request("/nowhere", b"mine"),
    )
    .await;
    assert_eq!(
        (head.status().as_u16(), &head.headers()["x-request-id"]),
        (404, &"mine".parse().unwrap())
    );
}

#[tokio::test]
async fn a_content_length_above_the_limit_is_rejected_before_the_body() {
    let mut config = test_config();
    config.limits.max_body_bytes = 1024;
    let server = start_server(&config, setup().router);
    let request = "POST /length HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1025\r\n\
                   content-type: application/grpc\r\nx-request-id: me\r\n\r\n";
    let response = exchange(server.connect().await, request).await;
    assert!(response.starts_with("HTTP/1.1 413"), "{response}");
    let reason = "BodyTooLarge { limit: 1024 } id=me type=application/grpc";
    assert!(response.ends_with(reason), "{response}");
}

#[tokio::test]
async fn a_chunked_body_is_rejected_when_it_exceeds_the_limit() {
    let mut config = test_config();
    config.limits.max_body_bytes = 1024;
    let server = start_server(&config, setup().router);
    let chunk = "x".repeat(0x200);
    let head = "POST /length HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
    let two = format!("{head}200\r\n{chunk}\r\n200\r\n{chunk}\r\n");

    let mut stream = server.connect().await;
    stream
        .write_all(format!("{two}0\r\n\r\n").as_bytes())
        .await
        .unwrap();
    assert!(
        read_until(&mut stream, "\r\n\r\n1024")
            .await
            .starts_with("HTTP/1.1 200")
    );

    let response = exchange(server.connect().await, &format!("{two}1\r\nx\r\n")).await;
    assert!(
        response.starts_with("HTTP/1.1 413") && response.contains("BodyTooLarge"),
        "{response}"
    );
}

#[tokio::test]
async fn a_body_above_the_default_limit_of_axum_is_accepted() {
    let limits = Limits {
        max_body_bytes: 5_000_000,
        ..Limits::default()
    };
    let body = Body::from(vec![0; 4_000_000]);
    let request = Request::post("/length").body(body).unwrap();
    assert_eq!(send(&limited_router(&limits), request).await.1, "4000000");
}

#[tokio::test]
async fn requests_above_the_concurrency_limit_are_rejected_except_health_checks() {
    let mut config = test_config();
    config.limits.max_concurrent_requests = 1;
    let mut fixture = setup();
    let server = start_server(&config, fixture.router.clone());
    let mut first = server.connect().await;
    first
        .write_all(get_close("/wait").as_bytes())
        .await
        .unwrap();
    in_time(fixture.entered.recv()).await;

    let rejected = server.get("/hello").await;
    assert!(rejected.starts_with("HTTP/1.1 429"), "{rejected}");
    assert!(
        rejected.contains("TooManyRequests { limit: 1 }"),
        "{rejected}"
    );
    assert!(server.get("/healthz").await.ends_with("alive"));

    fixture.release.add_permits(1);
    assert!(read_to_end(first).await.ends_with("waited"));
    assert!(server.get("/hello").await.ends_with("hello"));
}

#[tokio::test]
async fn a_disconnected_client_releases_its_slot() {
    let mut config = test_config();
    config.limits.max_concurrent_requests = 1;
    let mut fixture = setup();
    let server = start_server(&config, fixture.router.clone());
    let (mut client, connection) = server.connect_h2().await;
    let request = tokio::spawn(client.send_request(h2_get("/wait")));
    in_time(fixture.entered.recv()).await;
    connection.abort();
    request.abort();
    in_time(async { while !server.get("/hello").await.ends_with("hello") {} }).await;
}

#[tokio::test]
async fn a_request_whose_body_has_not_arrived_holds_no_slot() {
    let mut config = test_config();
    config.limits.max_concurrent_requests = 1;
    let server = start_server(&config, setup().router);
    let (mut client, _connection) = server.connect_h2().await;
    let mut waiting = Vec::new();
    for _ in 0..50 {
        let never = Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, String>>());
        let request = Request::post("http://ipvsd/length").body(never).unwrap();
        waiting.push(client.send_request(request));
    }
    // Requests of a connection are processed in order.
    let hello = in_time(client.send_request(h2_get("/hello"))).await;
    assert!(hello.unwrap().status().is_success());
    assert!(server.get("/hello").await.ends_with("hello"));
}

#[tokio::test]
async fn a_body_that_is_broken_off_does_not_reach_its_handler() {
    let server = start_server(&test_config(), setup().router);
    let request =
        "POST /length HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n";
    let response = exchange(server.connect().await, request).await;
    assert!(
        response.starts_with("HTTP/1.1 400") && response.contains("BodyIncomplete"),
        "{response}"
    );
}

#[tokio::test]
async fn a_response_in_transfer_does_not_count_as_a_request() {
    let mut config = test_config();
    config.limits.max_concurrent_requests = 1;
    let server = start_server(&config, setup().router);
    let (mut client, _connection) = server.connect_h2().await;
    let _watching = in_time(client.send_request(h2_get("/flood")))
        .await
        .unwrap();
    assert!(server.get("/hello").await.ends_with("hello"));
}

#[tokio::test]
async fn a_panic_is_reported_and_the_connection_stays_usable() {
    let server = start_server(&test_config(), setup().router);
    let mut stream = server.connect().await;
    stream
        .write_all(get_keep_alive("/panic").as_bytes())
        .await
        .unwrap();
    let response = read_until(&mut stream, "type=-").await;
    assert!(
        response.starts_with("HTTP/1.1 500") && response.contains("Panicked id="),
        "{response}"
    );
    assert!(
        exchange(stream, &get_close("/hello"))
            .await
            .ends_with("hello")
    );
}

/// A log that the test can read.
#[derive(Clone, Default)]
struct LogBuffer(Arc<Mutex<Vec<u8>>>);

impl Write for LogBuffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogBuffer {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn completed_requests_are_logged_at_debug_and_failed_ones_at_info() {
    let log = LogBuffer::default();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_max_level(tracing::Level::DEBUG)
        .with_writer(log.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let router = setup()
        .router
        .route(
            "/v1/services/{service}",
            get(async || "").delete(async || ""),
        )
        .route(
            "/ipvsd.v1.IpvsService/{*rest}",
            post(async || [("grpc-status", "0")]),
        )
        .route(
            "/ipvsd.v1.IpvsService/GetInfo",
            post(async || [("grpc-status", "14")]),
        );
    let router = with_checks(router, &open_config());
    for (method, path, level, route) in [
        (
            "GET",
            "/v1/services/fwmark-7",
            "DEBUG",
            "/v1/services/{service}",
        ),
        (
            "DELETE",
            "/v1/services/fwmark-7",
            "DEBUG",
            "/v1/services/{service}",
        ),
        ("GET", "/nowhere", "INFO", "-"),
        (
            "POST",
            "/ipvsd.v1.IpvsService/ListServices",
            "DEBUG",
            "/ipvsd.v1.IpvsService/{*rest}",
        ),
        (
            "POST",
            "/ipvsd.v1.IpvsService/DeleteService",
            "DEBUG",
            "/ipvsd.v1.IpvsService/{*rest}",
        ),
        (
            "POST",
            "/ipvsd.v1.IpvsService/GetInfo",
            "INFO",
            "/ipvsd.v1.IpvsService/GetInfo",
        ),
    ] {
        log.0.lock().unwrap().clear();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("x-request-id", "it");
        send(&router, request.body(Body::empty()).unwrap()).await;
        let lines = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let line: serde_json::Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
        assert_eq!(line["level"], level, "{line}");
        assert_eq!(line["span"]["route"], route, "{line}");
        assert_eq!(line["span"]["path"], path, "{line}");
        assert_eq!(line["span"]["request_id"], "it", "{line}");
        assert!(
            line["status"].is_number() && line["latency_us"].is_number(),
            "{line}"
        );
    }
}
