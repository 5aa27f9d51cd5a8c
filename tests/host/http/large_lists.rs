//! Lists of tables that are too large to be read before they are sent.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use axum::body::Body;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use ipvsd::{
    app::{App, AppOptions},
    executor::{Executor, ExecutorLimits},
    http::{HttpOptions, router},
    kernel::{
        FakeKernel,
        fake::{Destination, Fault, On, Service, ServiceId, command},
    },
    server::Limits,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tower::ServiceExt;

use super::daemon::Daemon;

const SERVICES: u32 = 600;

fn id(number: u32) -> ServiceId {
    let [_, _, high, low] = number.to_be_bytes();
    ServiceId::tcp(([192, 0, high, low], 80).into())
}

/// Services with 0 to 4 servers.
fn fill(kernel: &FakeKernel) {
    for number in 0..SERVICES {
        kernel.add_service(Service::new(id(number)));
        for server in 0..number % 5 {
            let address = ([10, 0, 0, server as u8], 80).into();
            kernel.add_destination(id(number), Destination::new(address));
        }
    }
}

/// Refuses all requests from a certain dump of servers on.
fn deny_at(kernel: &FakeKernel, dump: u32) {
    let dumps = AtomicU32::new(0);
    let fault = Fault::before(move |kernel| {
        if dumps.fetch_add(1, Ordering::Relaxed) == dump {
            kernel.faults().set_permitted(false);
        }
    });
    let dumps = On::Command(command::GET_DEST);
    kernel.faults().always(dumps, fault);
}

/// A list without its last field, the revision: each list has its own if the whole table is not known.
fn content(list: &[u8]) -> &str {
    let list = std::str::from_utf8(list).unwrap();
    list.rsplit_once(",\"revision\":").unwrap().0
}

#[tokio::test]
async fn a_list_in_parts_has_the_same_content_but_no_etag() {
    let daemon = Daemon::with_listed_servers(100).await;
    let other = Daemon::start().await;
    fill(&daemon.kernel);
    fill(&other.kernel);
    for query in [
        "include=servers",
        "include=servers,stats,rates&sort=-id&page_size=500",
        "sort=kernel&page_size=300",
        "sort=-stats.connections&scheduler=wlc",
        "page_size=1",
    ] {
        let path = format!("/v1/services?{query}");
        let whole = other.get(&path).await.expect(200);
        let parts = daemon.get(&path).await.expect(200);
        let (some, all) = (content(&parts.body), content(&whole.body));
        assert!(some == all, "{query}: {some}");
        assert!(whole.headers.contains_key("etag"));
        for name in ["content-type", "cache-control", "age"] {
            assert_eq!(parts.headers.get(name), whole.headers.get(name), "{name}");
        }
    }
    let all = [("if-none-match", "*")];
    let path = "/v1/services?page_size=600";
    let response = daemon.get_with_headers(path, &all).await.expect(200);
    assert!(!response.headers.contains_key("etag"));
    // A list without servers is read as a whole.
    let bare = daemon.get("/v1/services?include=none").await.expect(200);
    assert!(bare.headers.contains_key("etag"));
}

#[tokio::test]
async fn a_list_that_fits_is_read_as_a_whole() {
    let daemon = Daemon::with_listed_servers(1 << 20).await;
    fill(&daemon.kernel);
    let path = "/v1/services";
    let response = daemon.get(path).await.expect(200);
    let headers = [("if-none-match", response.header("etag"))];
    daemon.get_with_headers(path, &headers).await.expect(304);
}

#[tokio::test]
async fn an_error_in_a_later_part_breaks_the_response() {
    let daemon = Daemon::with_listed_servers(100).await;
    fill(&daemon.kernel);
    deny_at(&daemon.kernel, SERVICES - 50);
    let client: Client<HttpConnector, Empty<bytes::Bytes>> =
        Client::builder(TokioExecutor::new()).build_http();
    let uri = format!("http://{}/v1/services", daemon.address);
    let request = Request::builder().method(Method::GET).uri(uri);
    let request = request.body(Empty::new()).unwrap();
    let response = client.request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    response.into_body().collect().await.unwrap_err();
}

/// A response to a request of HTTP/1.0: the head, and what follows until the connection ends.
async fn http_1_0(daemon: &Daemon, path: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(daemon.address).await.unwrap();
    let request = format!("GET {path} HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await.unwrap();
    let end = response.windows(4).position(|end| end == b"\r\n\r\n");
    let body = response.split_off(end.unwrap() + 4);
    (String::from_utf8(response).unwrap(), body)
}

#[tokio::test]
async fn a_list_in_parts_has_a_length_over_http_1_0() {
    let daemon = Daemon::with_listed_servers(100).await;
    fill(&daemon.kernel);
    let path = "/v1/services";
    let whole = daemon.get(path).await.expect(200);
    let (head, body) = http_1_0(&daemon, path).await;
    let length = format!("content-length: {}\r\n", whole.body.len());
    assert!(
        head.starts_with("HTTP/1.0 200 ") && head.contains(&length),
        "{head}"
    );
    assert!(content(&body) == content(&whole.body));
    deny_at(&daemon.kernel, SERVICES - 50);
    let (head, body) = http_1_0(&daemon, path).await;
    assert!(head.starts_with("HTTP/1.0 503 "), "{head}");
    assert!(body.ends_with(b"}"));
}

/// Lists that are encoded while they are sent to other clients.
#[tokio::test]
async fn every_list_has_a_length_over_http_1_0_and_no_compression() {
    let daemon = Daemon::with_listed_servers(1 << 20).await;
    fill(&daemon.kernel);
    for n in 0..5000_u32 {
        let [_, _, high, low] = n.to_be_bytes();
        let address = ([10, 9, high, low], 80).into();
        let server = Destination::new(address);
        assert!(daemon.kernel.add_destination(id(0), server));
    }
    for path in ["/v1/services", "/v1/services/tcp-192.0.0.0-80/servers"] {
        let whole = daemon.get(path).await.expect(200);
        assert!(whole.headers.get("content-length").is_none(), "{path}");
        let (head, body) = http_1_0(&daemon, path).await;
        let length = format!("content-length: {}\r\n", whole.body.len());
        assert!(head.contains(&length), "{path}: {head}");
        assert!(!head.contains("content-encoding"), "{head}");
        assert!(body == whole.body);
    }
}

#[tokio::test]
async fn the_parts_of_a_body_may_take_longer_than_a_request() {
    const TIMEOUT: Duration = Duration::from_secs(1);
    let kernel = FakeKernel::new();
    fill(&kernel);
    let executor = Executor::start(Arc::new(kernel), ExecutorLimits::default()).unwrap();
    let app = AppOptions {
        listed_servers: 1,
        ..AppOptions::default()
    };
    let options = HttpOptions {
        request_timeout: TIMEOUT,
        ..Limits::default().http_options()
    };
    let router = router(App::new(executor, app), options);
    let router = router.layer(axum::Extension(ipvsd::identity::Session::system()));
    let start = Instant::now();
    let request = Request::get("/v1/services").body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    let mut body = response.into_body();
    let mut text = Vec::new();
    let first = body.frame().await.unwrap().unwrap();
    text.extend(first.into_data().unwrap());
    tokio::time::sleep_until((start + TIMEOUT).into()).await;
    text.extend(body.collect().await.unwrap().to_bytes());
    let list: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(
        list["services"].as_array().unwrap().len(),
        SERVICES as usize
    );
}

#[tokio::test]
async fn an_error_in_the_first_part_is_a_problem() {
    let daemon = Daemon::with_listed_servers(1).await;
    fill(&daemon.kernel);
    deny_at(&daemon.kernel, 10);
    let response = daemon.get("/v1/services").await;
    response.problem(503, "KERNEL_UNAVAILABLE");
}
