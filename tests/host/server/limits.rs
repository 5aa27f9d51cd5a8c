//! The layers around the router: ids, the log, and refusals in the project's own shape.

use std::io::Write;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use http::{Request, Response};
use http_body_util::BodyExt;
use ipvsd::app::RequestId;
use ipvsd::server::{Limits, with_limits};
use tokio::io::AsyncWriteExt;
use tower::ServiceExt;
use tracing_subscriber::fmt::MakeWriter;

use super::harness::*;

async fn ask(router: &Router, request: Request<Body>) -> (Response<()>, String) {
    let (head, body) = soon(router.clone().oneshot(request))
        .await
        .unwrap()
        .into_parts();
    let text = soon(body.collect()).await.unwrap().to_bytes();
    (
        Response::from_parts(head, ()),
        String::from_utf8(text.to_vec()).unwrap(),
    )
}

fn limited(limits: &Limits) -> Router {
    with_limits(stage().router, limits, answer)
}

fn request(path: &str, id: &[u8]) -> Request<Body> {
    Request::get(path)
        .header("x-request-id", id)
        .body(Body::empty())
        .unwrap()
}

#[tokio::test]
async fn a_sane_request_id_is_kept_and_echoed() {
    let router = Router::new().route(
        "/id",
        get(async |axum::Extension(id): axum::Extension<RequestId>| id.as_str().to_owned()),
    );
    let router = with_limits(router, &Limits::default(), answer);
    for id in ["a", "7f3c-!~", &"x".repeat(128)] {
        let (head, body) = ask(&router, request("/id", id.as_bytes())).await;
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
async fn an_absent_or_strange_request_id_becomes_a_fresh_one() {
    let router = limited(&Limits::default());
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
        let mut asked = request("/hello", id.unwrap_or(b"."));
        if id.is_none() {
            asked.headers_mut().clear();
        }
        let (head, _) = ask(&router, asked).await;
        let fresh = head.headers()["x-request-id"].to_str().unwrap().to_owned();
        assert!(
            fresh.len() > 16 && !seen.contains(&fresh),
            "{fresh} {seen:?}"
        );
        seen.push(fresh);
    }
}

#[tokio::test]
async fn unknown_paths_have_a_request_id_too() {
    let (head, _) = ask(&limited(&Limits::default()), request("/nowhere", b"mine")).await;
    assert_eq!(
        (head.status().as_u16(), &head.headers()["x-request-id"]),
        (404, &"mine".parse().unwrap())
    );
}

#[tokio::test]
async fn an_announced_body_above_the_limit_is_refused_unread() {
    let mut config = patient();
    config.limits.max_body_bytes = 1024;
    let server = start(&config, stage().router);
    let request = "POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 1025\r\n\
                   content-type: application/grpc\r\nx-request-id: me\r\n\r\n";
    let answer = converse(server.connect().await, request).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let reason = "BodyTooLarge { limit: 1024 } id=me type=application/grpc";
    assert!(answer.ends_with(reason), "{answer}");
}

#[tokio::test]
async fn a_body_without_a_length_is_refused_when_it_passes_the_limit() {
    let mut config = patient();
    config.limits.max_body_bytes = 1024;
    let server = start(&config, stage().router);
    let chunk = "x".repeat(0x200);
    let head = "POST /length HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    let two = format!("{head}200\r\n{chunk}\r\n200\r\n{chunk}\r\n");

    let mut stream = server.connect().await;
    stream
        .write_all(format!("{two}0\r\n\r\n").as_bytes())
        .await
        .unwrap();
    assert!(
        listen_for(&mut stream, "\r\n\r\n1024")
            .await
            .starts_with("HTTP/1.1 200")
    );

    let answer = converse(server.connect().await, &format!("{two}1\r\nx\r\n")).await;
    assert!(
        answer.starts_with("HTTP/1.1 413") && answer.contains("BodyTooLarge"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_body_above_the_default_of_axum_passes_when_the_limit_allows() {
    let limits = Limits {
        max_body_bytes: 5_000_000,
        ..Limits::default()
    };
    let body = Body::from(vec![0; 4_000_000]);
    let asked = Request::post("/length").body(body).unwrap();
    assert_eq!(ask(&limited(&limits), asked).await.1, "4000000");
}

#[tokio::test]
async fn above_the_concurrency_limit_the_answer_comes_at_once_and_health_is_exempt() {
    let mut config = patient();
    config.limits.max_concurrent_requests = 1;
    let mut stage = stage();
    let server = start(&config, stage.router.clone());
    let mut first = server.connect().await;
    first
        .write_all(get_and_close("/wait").as_bytes())
        .await
        .unwrap();
    soon(stage.entered.recv()).await;

    let refused = server.get("/hello").await;
    assert!(refused.starts_with("HTTP/1.1 429"), "{refused}");
    assert!(
        refused.contains("TooManyRequests { limit: 1 }"),
        "{refused}"
    );
    assert!(server.get("/healthz").await.ends_with("alive"));

    stage.release.add_permits(1);
    assert!(listen_to_end(first).await.ends_with("waited"));
    assert!(server.get("/hello").await.ends_with("hello"));
}

#[tokio::test]
async fn a_client_that_goes_away_gives_its_place_back() {
    let mut config = patient();
    config.limits.max_concurrent_requests = 1;
    let mut stage = stage();
    let server = start(&config, stage.router.clone());
    let (mut client, connection) = server.connect_h2().await;
    let asked = tokio::spawn(client.send_request(h2_get("/wait")));
    soon(stage.entered.recv()).await;
    connection.abort();
    asked.abort();
    soon(async { while !server.get("/hello").await.ends_with("hello") {} }).await;
}

#[tokio::test]
async fn an_answer_under_way_does_not_count_as_a_request() {
    let mut config = patient();
    config.limits.max_concurrent_requests = 1;
    let server = start(&config, stage().router);
    let (mut client, _connection) = server.connect_h2().await;
    let _watching = soon(client.send_request(h2_get("/flood"))).await.unwrap();
    assert!(server.get("/hello").await.ends_with("hello"));
}

#[tokio::test]
async fn a_panic_is_answered_and_the_connection_lives_on() {
    let server = start(&patient(), stage().router);
    let mut stream = server.connect().await;
    stream
        .write_all(get_and_keep("/panic").as_bytes())
        .await
        .unwrap();
    let answer = listen_for(&mut stream, "type=-").await;
    assert!(
        answer.starts_with("HTTP/1.1 500") && answer.contains("Panicked id="),
        "{answer}"
    );
    assert!(
        converse(stream, &get_and_close("/hello"))
            .await
            .ends_with("hello")
    );
}

/// A log to look into.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Paper {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn reads_are_logged_at_debug_and_changes_and_errors_at_info() {
    let paper = Paper::default();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_max_level(tracing::Level::DEBUG)
        .with_writer(paper.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let router = stage()
        .router
        .route(
            "/v1/services/{service}",
            get(async || "").delete(async || ""),
        )
        .route(
            "/ipvsd.v1.Ipvs/{*rest}",
            post(async || [("grpc-status", "0")]),
        )
        .route(
            "/ipvsd.v1.Ipvs/GetInfo",
            post(async || [("grpc-status", "14")]),
        );
    let router = with_limits(router, &Limits::default(), answer);
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
            "INFO",
            "/v1/services/{service}",
        ),
        ("GET", "/nowhere", "INFO", "-"),
        (
            "POST",
            "/ipvsd.v1.Ipvs/ListServices",
            "DEBUG",
            "/ipvsd.v1.Ipvs/{*rest}",
        ),
        (
            "POST",
            "/ipvsd.v1.Ipvs/DeleteService",
            "INFO",
            "/ipvsd.v1.Ipvs/{*rest}",
        ),
        (
            "POST",
            "/ipvsd.v1.Ipvs/GetInfo",
            "INFO",
            "/ipvsd.v1.Ipvs/GetInfo",
        ),
    ] {
        paper.0.lock().unwrap().clear();
        let asked = Request::builder()
            .method(method)
            .uri(path)
            .header("x-request-id", "it");
        ask(&router, asked.body(Body::empty()).unwrap()).await;
        let lines = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
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
