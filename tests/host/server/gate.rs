//! Requests that the whole daemon refuses before a handler sees them: foreign host names, requests
//! that a browser sends for another site, and heads that are not valid HTTP.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use http::{Request, Response};
use http_body_util::BodyExt;
use ipvsd::{
    app::{App, AppOptions},
    executor::{Executor, ExecutorLimits},
    kernel::FakeKernel,
    server::{Authenticator, Config, ListenAddress, Server, Shutdown, build_router},
};
use tokio::net::UnixStream;

use super::harness::*;

/// The whole daemon on the fake kernel, with two services.
pub(super) struct Daemon {
    pub(super) kernel: FakeKernel,
    addresses: Vec<ListenAddress>,
}

const SERVICES: usize = 2;

/// `ClearServicesRequest {confirm: 2}` in a gRPC frame.
const CLEAR: &[u8] = &[0, 0, 0, 0, 2, 8, 2];

pub(super) async fn start(config: &Config) -> Daemon {
    let kernel = FakeKernel::new();
    let executor = Executor::start(Arc::new(kernel.clone()), ExecutorLimits::default()).unwrap();
    let app = App::new(executor, AppOptions::default());
    let server = Server::bind(config).unwrap();
    let addresses = server.addresses();
    let shutdown = Shutdown::new();
    let budget = app.budget().clone();
    let router = build_router(
        app,
        config,
        &Authenticator::load(config).unwrap(),
        &shutdown,
    );
    tokio::spawn(async move { server.serve(router, &budget, &shutdown).await });
    let daemon = Daemon { kernel, addresses };
    for port in [80, 81] {
        let body = format!(r#"{{"id":"tcp-192.0.2.1-{port}"}}"#);
        let response = daemon.send("POST", "/v1/services", JSON, &body).await;
        assert!(response.starts_with("HTTP/1.1 201"), "{response}");
    }
    daemon
}

pub(super) const JSON: &[&str] = &["Content-Type: application/json"];

impl Daemon {
    pub(super) fn port(&self) -> u16 {
        self.addresses[0].tcp().map_or(0, |address| address.port())
    }

    /// Sends bytes over HTTP/1.1, and reads until the daemon closes the connection.
    pub(super) async fn raw(&self, request: &str) -> String {
        match &self.addresses[0] {
            ListenAddress::Tcp(address) | ListenAddress::Tls(address) => {
                let stream = tokio::net::TcpStream::connect(address).await.unwrap();
                exchange(stream, request).await
            }
            ListenAddress::Unix(path) => {
                exchange(UnixStream::connect(path).await.unwrap(), request).await
            }
        }
    }

    /// Sends a request over HTTP/1.1 with `Host: localhost` unless `headers` have another.
    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &str,
    ) -> String {
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|header| header.starts_with("Host:")) {
            head += &format!("Host: localhost:{}\r\n", self.port());
        }
        for header in headers {
            head += &format!("{header}\r\n");
        }
        let length = body.len();
        if length > 0 {
            head += &format!("Content-Length: {length}\r\n");
        }
        self.raw(&format!("{head}\r\n{body}")).await
    }

    /// Sends a request over HTTP/2.
    pub(super) async fn h2(&self, request: Request<Body>) -> Response<Bytes> {
        let ListenAddress::Tcp(address) = &self.addresses[0] else {
            panic!("no TCP listener");
        };
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut client, _connection) = handshake(stream).await;
        let response = in_time(client.send_request(request)).await.unwrap();
        let (head, body) = response.into_parts();
        let body = in_time(body.collect()).await.unwrap().to_bytes();
        Response::from_parts(head, body)
    }

    /// ClearServices over HTTP/2, with further headers.
    async fn clear(
        &self,
        method: &str,
        authority: &str,
        headers: &[(&str, &str)],
    ) -> Response<Bytes> {
        let mut request = Request::builder().method(method).uri(format!(
            "http://{authority}/ipvsd.v1.IpvsService/ClearServices"
        ));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.h2(request.body(Body::from(CLEAR)).unwrap()).await
    }

    #[track_caller]
    fn assert_unchanged(&self, what: &str) {
        assert_eq!(self.kernel.services().len(), SERVICES, "{what}");
    }
}

#[track_caller]
fn assert_refused(response: &str, status: u16, reason: &str, what: &str) {
    let start = format!("HTTP/1.1 {status} ");
    assert!(response.starts_with(&start), "{what}: {response}");
    assert!(
        response.contains(&format!("\"reason\":\"{reason}\"")),
        "{what}: {response}"
    );
}

#[track_caller]
fn assert_grpc_refused(response: &Response<Bytes>, code: &str, message: &str, what: &str) {
    let header = |name: &str| {
        let value = response.headers().get(name);
        value.map_or("", |value| value.to_str().unwrap())
    };
    assert_eq!(header("grpc-status"), code, "{what}: {response:?}");
    assert!(
        header("grpc-message").contains(message),
        "{what}: {response:?}"
    );
}

#[tokio::test]
async fn a_request_to_a_foreign_host_name_is_refused_on_tcp() {
    let daemon = start(&test_config()).await;
    for host in [
        "evil.example",
        "evil.example:4787",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "notlocalhost",
        "",
    ] {
        for (method, path) in [
            ("GET", "/healthz"),
            ("GET", "/v1/services"),
            ("GET", "/docs/"),
            ("GET", "/nowhere"),
            ("DELETE", "/v1/services?confirm=2"),
        ] {
            let host = format!("Host: {host}");
            let response = daemon
                .send(method, path, &[&host, "X-Request-Id: 1"], "")
                .await;
            assert_refused(&response, 403, "CROSS_SITE", &format!("{host} {path}"));
            assert!(response.contains("allowed_hosts"), "{response}");
            assert!(response.contains("Host"), "{response}");
        }
    }
    let absolute = "GET http://evil.example/v1/info HTTP/1.1\r\nHost: localhost\r\n\
                    Connection: close\r\n\r\n";
    assert_refused(
        &daemon.raw(absolute).await,
        403,
        "CROSS_SITE",
        "absolute form",
    );
    let response = daemon
        .clear(
            "POST",
            "evil.example",
            &[("content-type", "application/grpc")],
        )
        .await;
    assert_grpc_refused(&response, "7", "evil.example", "gRPC");
    let request = Request::get("http://evil.example/v1/info")
        .body(Body::empty())
        .unwrap();
    assert_eq!(daemon.h2(request).await.status(), 403);
    daemon.assert_unchanged("foreign hosts");
}

#[tokio::test]
async fn addresses_localhost_and_the_name_of_the_machine_are_accepted_with_any_port() {
    let daemon = start(&test_config()).await;
    let machine = nix::sys::utsname::uname().unwrap();
    let machine = machine.nodename().to_str().unwrap().to_uppercase();
    for host in [
        "127.0.0.1",
        "192.0.2.7:8080",
        "[::1]:4787",
        "[2001:db8::1]",
        "localhost",
        "LocalHost:1",
        "localhost.",
        "director.localhost:4787",
        &machine,
    ] {
        let host = format!("Host: {host}");
        let response = daemon.send("GET", "/v1/services", &[&host], "").await;
        assert!(response.starts_with("HTTP/1.1 200"), "{host}: {response}");
    }
}

#[tokio::test]
async fn configured_names_are_accepted_and_a_star_accepts_all() {
    let mut config = test_config();
    config.allowed_hosts = vec!["Director.example".to_owned()];
    let daemon = start(&config).await;
    for (host, status) in [
        ("director.example:80", 200),
        ("director.EXAMPLE.", 200),
        ("a.director.example", 403),
        ("evil.example", 403),
    ] {
        let host = format!("Host: {host}");
        let response = daemon.send("GET", "/healthz", &[&host], "").await;
        let start = format!("HTTP/1.1 {status}");
        assert!(response.starts_with(&start), "{host}: {response}");
    }
    config.allowed_hosts = vec!["*".to_owned()];
    let daemon = start(&config).await;
    let response = daemon
        .send("GET", "/healthz", &["Host: any.example"], "")
        .await;
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
}

#[tokio::test]
async fn a_unix_socket_accepts_names_without_a_dot() {
    let directory = TempDir::new();
    let mut config = test_config();
    config.listen = vec![directory.socket().1];
    config.allowed_hosts = vec!["director.example".to_owned()];
    let daemon = start(&config).await;
    for host in ["any", "Host", "192.0.2.1:80", "director.example"] {
        let host = format!("Host: {host}");
        let response = daemon.send("GET", "/healthz", &[&host], "").await;
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    }
    // Such as a page of another site, by a port that ssh forwards to the socket.
    let response = daemon
        .send("GET", "/healthz", &["Host: any.example"], "")
        .await;
    assert_refused(&response, 403, "CROSS_SITE", "a foreign name");
    let response = daemon
        .raw("GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n")
        .await;
    assert_refused(&response, 400, "INVALID_ARGUMENT", "no Host");
}

#[tokio::test]
async fn http1_without_a_host_or_with_two_is_refused() {
    let daemon = start(&test_config()).await;
    for (headers, what) in [
        ("", "none"),
        ("Host: localhost\r\nHost: localhost\r\n", "two"),
        ("Host: localhost\r\nHost: 127.0.0.1\r\n", "two"),
        ("Host: local host\r\n", "a space"),
        ("Host: localhost:http\r\n", "a port that is no number"),
        ("Host: user@localhost\r\n", "a user"),
        ("Host: [::1\r\n", "half an address"),
    ] {
        let request = format!("GET /healthz HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
        let response = daemon.raw(&request).await;
        assert_refused(&response, 400, "INVALID_ARGUMENT", what);
    }
    let old = daemon.raw("GET /healthz HTTP/1.0\r\n\r\n").await;
    assert!(old.starts_with("HTTP/1.0 200"), "{old}");
}

#[tokio::test]
async fn a_page_of_another_site_cannot_write() {
    let daemon = start(&test_config()).await;
    let port = daemon.port();
    let foreign = [
        "Origin: http://evil.example".to_owned(),
        "Origin: null".to_owned(),
        "Origin: chrome-extension://abc".to_owned(),
        format!("Origin: http://localhost:{}", port ^ 1),
        "Origin: http://localhost".to_owned(),
        format!("Origin: https://localhost:{port}"),
        format!("Origin: http://127.0.0.1:{port}"),
        format!("Origin: http://localhost:{port}\r\nOrigin: http://evil.example"),
        "Sec-Fetch-Site: cross-site".to_owned(),
        "Sec-Fetch-Site: same-site".to_owned(),
        format!("Sec-Fetch-Site: cross-site\r\nOrigin: http://localhost:{port}"),
    ];
    let service = "/v1/services/tcp-192.0.2.1-80";
    for foreign in &foreign {
        for (method, path, body) in [
            ("POST", "/v1/zero", ""),
            ("POST", "/v1/services/tcp-192.0.2.1-80/zero", ""),
            ("DELETE", "/v1/services?confirm=2", ""),
            ("DELETE", service, ""),
            ("PUT", service, "{}"),
            ("PATCH", service, r#"{"scheduler":"rr"}"#),
            ("POST", "/v1/services", r#"{"id":"tcp-192.0.2.9-80"}"#),
            ("POST", "/v1/rules", "-C\n"),
            ("PUT", "/v1/rules", ""),
            ("PATCH", "/v1/timeouts", r#"{"tcp_seconds":1}"#),
            ("PATCH", "/v1/settings", r#"{"drop_entry":1}"#),
            ("PUT", "/v1/sync-daemons/master", r#"{"interface":"lo"}"#),
            ("DELETE", "/v1/sync-daemons/master", ""),
        ] {
            let headers = [foreign.as_str(), "X-Request-Id: 1", JSON[0]];
            let response = daemon.send(method, path, &headers, body).await;
            let what = format!("{method} {path} with {foreign}");
            assert_refused(&response, 403, "CROSS_SITE", &what);
        }
    }
    daemon.assert_unchanged("HTTP");
    assert!(
        daemon
            .kernel
            .services()
            .iter()
            .all(|s| s.scheduler == "wlc")
    );
    for header in [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
    ] {
        for kind in ["application/grpc-web+proto", "application/grpc"] {
            let headers = [("content-type", kind), header];
            let response = daemon.clear("POST", "localhost", &headers).await;
            assert_grpc_refused(&response, "7", header.1, &format!("{header:?}"));
        }
    }
    daemon.assert_unchanged("gRPC");
}

#[tokio::test]
async fn a_page_of_the_daemon_itself_can_write_and_other_pages_can_be_refused_nothing_by_reading() {
    let daemon = start(&test_config()).await;
    let port = daemon.port();
    for headers in [
        format!("Origin: http://localhost:{port}"),
        format!("Origin: http://localhost:{port}\r\nSec-Fetch-Site: same-origin"),
        "Sec-Fetch-Site: none".to_owned(),
        // Behind a proxy that terminates TLS.
        format!(
            "Host: 192.0.2.1\r\nOrigin: https://192.0.2.1\r\nSec-Fetch-Site: same-origin\r\nX: {port}"
        ),
    ] {
        let headers = [headers.as_str(), "X-Request-Id: 1"];
        let response = daemon.send("POST", "/v1/zero", &headers, "").await;
        assert!(
            response.starts_with("HTTP/1.1 204"),
            "{headers:?}: {response}"
        );
    }
    let headers = ["Origin: http://evil.example", "Sec-Fetch-Site: cross-site"];
    let response = daemon.send("GET", "/v1/services", &headers, "").await;
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    assert!(
        !response.to_lowercase().contains("access-control"),
        "{response}"
    );
}

#[tokio::test]
async fn a_write_without_a_header_that_browsers_ask_for_first_is_refused() {
    let daemon = start(&test_config()).await;
    let service = "/v1/services/tcp-192.0.2.1-80";
    for (method, path, headers, body) in [
        ("POST", "/v1/zero", &[][..], ""),
        ("POST", "/v1/zero", &["Content-Type: text/plain"], ""),
        ("POST", "/v1/services/tcp-192.0.2.1-80/zero", &[], ""),
        ("DELETE", service, &[], ""),
        ("DELETE", "/v1/services?confirm=2", &["Accept: */*"], ""),
        ("DELETE", "/v1/sync-daemons/master", &[], ""),
        ("POST", "/v1/rules", &[], "-C\n"),
        ("POST", "/v1/rules", &["Content-Type: text/plain"], "-C\n"),
        (
            "POST",
            "/v1/rules",
            &["Content-Type: application/x-www-form-urlencoded"],
            "-C\n",
        ),
        ("PUT", service, &["Content-Type: text/plain"], "{}"),
        (
            "PUT",
            service,
            &["Content-Type: multipart/form-data; boundary=application/json"],
            "{}",
        ),
        (
            "PUT",
            service,
            &["Content-Type: text/plain, application/json"],
            "{}",
        ),
    ] {
        let response = daemon.send(method, path, headers, body).await;
        let what = format!("{method} {path} {headers:?}");
        assert_refused(&response, 415, "UNSUPPORTED_MEDIA_TYPE", &what);
        assert!(response.contains("X-Request-Id"), "{what}: {response}");
        assert!(response.contains("application/json"), "{what}: {response}");
    }
    daemon.assert_unchanged("writes without a header");
    for (headers, path, body) in [
        (&["X-Request-Id: 1"][..], "/v1/zero", ""),
        (&["Content-Type: application/json"], "/v1/zero", ""),
        (
            &["X-Request-Id: 1", "Content-Type: text/plain"],
            "/v1/rules",
            "-Z\n",
        ),
        (&["X-Request-Id: 1"], "/v1/rules", "-Z\n"),
        (
            &["Content-Type: application/octet-stream"],
            "/v1/rules",
            "-Z\n",
        ),
    ] {
        let response = daemon.send("POST", path, headers, body).await;
        assert!(
            response.starts_with("HTTP/1.1 20"),
            "{headers:?}: {response}"
        );
    }
    let headers = ["If-Match: *"];
    let response = daemon.send("DELETE", service, &headers, "").await;
    assert!(response.starts_with("HTTP/1.1 204"), "{response}");
}

#[tokio::test]
async fn a_grpc_method_is_called_by_post_with_the_content_type_of_grpc_only() {
    let daemon = start(&test_config()).await;
    let grpc = ("content-type", "application/grpc");
    for method in ["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "BREW"] {
        for headers in [&[grpc][..], &[]] {
            let response = daemon.clear(method, "localhost", headers).await;
            assert_eq!(response.status(), 405, "{method}: {response:?}");
            assert_eq!(response.headers()["allow"], "POST", "{method}");
        }
    }
    for kind in [
        "",
        "text/plain",
        "application/json",
        "application/grpc+json",
        "application/grpcish",
        "application/grpc-web+thrift",
    ] {
        let response = daemon
            .clear("POST", "localhost", &[("content-type", kind)])
            .await;
        assert_eq!(response.status(), 415, "{kind:?}: {response:?}");
        let body = String::from_utf8_lossy(&response.body()[..]).into_owned();
        assert!(body.contains("UNSUPPORTED_MEDIA_TYPE"), "{kind:?}: {body}");
    }
    let untyped = daemon.clear("POST", "localhost", &[]).await;
    assert_eq!(untyped.status(), 415, "{untyped:?}");
    daemon.assert_unchanged("gRPC");
    let response = daemon
        .clear(
            "POST",
            "localhost",
            &[("content-type", "Application/gRPC+proto;v=1")],
        )
        .await;
    assert_eq!(response.status(), 200, "{response:?}");
    assert_eq!(daemon.kernel.services().len(), 0);
}

#[tokio::test]
async fn a_grpc_path_over_http1_is_answered() {
    let daemon = start(&test_config()).await;
    let frame = "\0\0\0\0\0";
    let path = "/ipvsd.v1.IpvsService/GetInfo";
    let kind = ["Content-Type: application/grpc"];
    for path in [path, "/ipvsd.v1.IpvsService/Nothing"] {
        let response = daemon.send("POST", path, &kind, frame).await;
        assert_refused(&response, 415, "UNSUPPORTED_MEDIA_TYPE", path);
        assert!(response.contains("HTTP/2"), "{response}");
    }
    for kind in [
        "application/grpc-web",
        "application/grpc-web; charset=utf-8",
        "application/grpc-web+proto;charset=utf-8",
        "Application/gRPC-Web+Proto",
    ] {
        let kind = format!("Content-Type: {kind}");
        let response = daemon.send("POST", path, &[&kind], frame).await;
        assert!(response.starts_with("HTTP/1.1 200"), "{kind}: {response}");
        assert!(response.contains("grpc-status:0"), "{kind}: {response}");
        let unknown = daemon
            .send("POST", "/ipvsd.v1.IpvsService/Nothing", &[&kind], frame)
            .await;
        assert!(unknown.contains("grpc-status: 12"), "{unknown}");
        assert!(unknown.contains("Nothing"), "{unknown}");
    }
}

#[tokio::test]
async fn encoded_bodies_two_media_types_and_two_lengths_are_refused() {
    let daemon = start(&test_config()).await;
    let service = "/v1/services/tcp-192.0.2.1-80";
    for coding in ["gzip", "br", "identity, gzip", "GZIP"] {
        let coding = format!("Content-Encoding: {coding}");
        let headers = [coding.as_str(), JSON[0]];
        let response = daemon.send("PUT", service, &headers, "{}").await;
        assert_refused(&response, 415, "UNSUPPORTED_MEDIA_TYPE", &coding);
        assert!(response.contains("identity"), "{response}");
    }
    let headers = ["Content-Encoding: identity", JSON[0]];
    let response = daemon.send("PUT", service, &headers, "{}").await;
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    let headers = ["Content-Type: text/plain", JSON[0]];
    let response = daemon.send("PUT", service, &headers, "{}").await;
    assert_refused(&response, 400, "INVALID_ARGUMENT", "two media types");
    // RFC 9112, section 6.1: the length is ignored, and the connection is closed.
    for order in [
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 2",
    ] {
        let request = format!(
            "PUT {service} HTTP/1.1\r\nHost: localhost\r\n{}\r\n{order}\r\n\r\n\
             2\r\n{{}}\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
            JSON[0]
        );
        let response = daemon.raw(&request).await;
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
        assert_eq!(response.matches("HTTP/1.1").count(), 1, "{response}");
    }
}

#[tokio::test]
async fn a_body_on_a_request_that_takes_none_is_refused() {
    let daemon = start(&test_config()).await;
    let service = "/v1/services/tcp-192.0.2.1-80";
    for (method, path) in [
        ("POST", "/v1/zero"),
        ("POST", "/v1/services/tcp-192.0.2.1-80/zero"),
        ("DELETE", service),
        ("DELETE", "/v1/services?confirm=2"),
        ("DELETE", "/v1/sync-daemons/master?allow_missing=true"),
        ("GET", "/v1/services"),
        ("GET", "/healthz"),
    ] {
        let response = daemon.send(method, path, JSON, "{}").await;
        assert_refused(
            &response,
            400,
            "INVALID_ARGUMENT",
            &format!("{method} {path}"),
        );
        assert!(response.contains("no body"), "{response}");
    }
    daemon.assert_unchanged("bodies");
    // The method is not supported with or without a body.
    let response = daemon.send("DELETE", "/v1/rules", JSON, "{}").await;
    assert_refused(&response, 405, "METHOD_NOT_ALLOWED", "DELETE /v1/rules");
    let chunked = format!(
        "POST /v1/zero HTTP/1.1\r\nHost: localhost\r\n{}\r\nConnection: close\r\n\
         Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        JSON[0]
    );
    let response = daemon.raw(&chunked).await;
    assert!(response.starts_with("HTTP/1.1 204"), "{response}");
}
