//! What browsers and people see: headers that restrict a page, the index, slashes at the end of a
//! path, and compressed responses.

use std::io::Read;

use axum::body::{Body, Bytes};
use flate2::read::GzDecoder;
use http::{Request, Response};
use serde_json::{Value, json};

use super::{
    gate::{Daemon, JSON, start},
    harness::*,
};

const NO_PAGE: &str = "default-src 'none'; frame-ancestors 'none'";

async fn request(
    daemon: &Daemon,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Response<Bytes> {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("http://localhost{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    daemon.h2(request.body(Body::empty()).unwrap()).await
}

pub async fn get(daemon: &Daemon, path: &str, headers: &[(&str, &str)]) -> Response<Bytes> {
    request(daemon, "GET", path, headers).await
}

#[track_caller]
pub fn header<'a>(response: &'a Response<Bytes>, name: &str) -> &'a str {
    let value = response.headers().get(name);
    value.map_or("", |value| value.to_str().unwrap())
}

fn json_of(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

pub fn unzip(response: &Response<Bytes>) -> Vec<u8> {
    assert_eq!(header(response, "content-encoding"), "gzip", "{response:?}");
    let mut text = Vec::new();
    GzDecoder::new(&response.body()[..])
        .read_to_end(&mut text)
        .unwrap();
    text
}

/// Fills the table, so that listings are long.
async fn fill(daemon: &Daemon) {
    let servers: Vec<_> = (1..=200)
        .map(|i| json!({"address": format!("10.0.0.{i}"), "weight": i}))
        .collect();
    let body = json!({"servers": servers}).to_string();
    let path = "/v1/services/tcp-192.0.2.1-80/servers";
    let response = daemon.send("POST", path, JSON, &body).await;
    assert!(response.starts_with("HTTP/1.1 201"), "{response}");
}

#[tokio::test]
async fn no_response_can_be_framed_sniffed_or_load_anything() {
    let daemon = start(&test_config()).await;
    for (method, path) in [
        ("GET", "/v1/services"),
        ("GET", "/v1/services/nonsense"),
        ("GET", "/v1/rules"),
        ("GET", "/nowhere"),
        ("PUT", "/v1/services"),
        ("POST", "/v1/zero"),
        ("GET", "/errors/INTERNAL"),
        ("GET", "/openapi.json"),
        ("GET", "/ipvsd.v1.IpvsService/GetInfo"),
    ] {
        let response = request(&daemon, method, path, &[]).await;
        assert_eq!(
            header(&response, "content-security-policy"),
            NO_PAGE,
            "{path}"
        );
        assert_eq!(header(&response, "x-frame-options"), "DENY", "{path}");
        assert_eq!(
            header(&response, "referrer-policy"),
            "no-referrer",
            "{path}"
        );
        assert_eq!(
            header(&response, "x-content-type-options"),
            "nosniff",
            "{path}"
        );
        let cors = response.headers().keys();
        assert!(
            cors.into_iter()
                .all(|name| !name.as_str().starts_with("access-control"))
        );
    }
    let grpc = [("content-type", "application/grpc")];
    let response = request(&daemon, "POST", "/ipvsd.v1.IpvsService/GetInfo", &grpc).await;
    assert_eq!(header(&response, "x-content-type-options"), "nosniff");
}

#[tokio::test]
async fn the_reference_loads_nothing_from_another_host() {
    let daemon = start(&test_config()).await;
    let initializer = get(&daemon, "/docs/swagger-initializer.js", &[]).await;
    let script = String::from_utf8_lossy(initializer.body()).into_owned();
    assert!(script.contains("\"validatorUrl\": \"none\""), "{script}");
    for path in [
        "/docs/",
        "/docs/index.html",
        "/docs/swagger-ui-bundle.js",
        "/docs/swagger-ui.css",
    ] {
        let response = get(&daemon, path, &[]).await;
        assert_eq!(response.status(), 200, "{path}");
        let policy = header(&response, "content-security-policy");
        for directive in policy.split("; ") {
            let mut words = directive.split(' ');
            let name = words.next().unwrap();
            // A style sheet in an attribute or a picture in the style sheet loads nothing.
            let allowed = |word: &str| match name {
                "style-src" => ["'self'", "'unsafe-inline'"].contains(&word),
                "img-src" => ["'self'", "data:"].contains(&word),
                "script-src" | "connect-src" => word == "'self'",
                _ => word == "'none'",
            };
            assert!(words.all(allowed), "{path}: {directive}");
        }
        assert!(
            policy.starts_with("default-src 'none'; "),
            "{path}: {policy}"
        );
        assert!(
            policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
        assert_eq!(header(&response, "x-frame-options"), "DENY", "{path}");
    }
}

#[tokio::test]
async fn the_root_and_v1_have_an_index() {
    let daemon = start(&test_config()).await;
    let mut paths = Vec::new();
    for index in ["/", "/v1"] {
        let response = get(&daemon, index, &[]).await;
        assert_eq!(response.status(), 200, "{index}");
        assert_eq!(header(&response, "content-type"), "application/json");
        for entry in json_of(&response)["paths"].as_array().unwrap() {
            let path = entry["path"].as_str().unwrap().to_owned();
            assert!(!entry["description"].as_str().unwrap().is_empty(), "{path}");
            let methods = entry["methods"].as_array().unwrap();
            // Streams have no end.
            let is_stream = ["/v1/watch", "/v1/stats/stream"].contains(&&*path);
            if methods.contains(&json!("GET")) && !path.contains('{') && !is_stream {
                // The only parameter of a GET that is required.
                let query = if path == "/v1/can-i" {
                    "?verb=clear"
                } else {
                    ""
                };
                let status = get(&daemon, &format!("{path}{query}"), &[]).await.status();
                assert!(
                    status.is_success() || status.is_redirection(),
                    "{path}: {status}"
                );
            }
            paths.push(path);
        }
    }
    for path in [
        "/v1",
        "/docs",
        "/openapi.json",
        "/openapi.yaml",
        "/healthz",
        "/v1/services",
        "/v1/rules",
    ] {
        assert!(paths.iter().any(|known| known == path), "{path}: {paths:?}");
    }
    let document = serde_json::to_value(ipvsd::http::openapi()).unwrap();
    for path in document["paths"].as_object().unwrap().keys() {
        assert!(path == "/" || paths.contains(path), "{path}");
    }
}

#[tokio::test]
async fn a_slash_at_the_end_of_a_path_changes_nothing() {
    let daemon = start(&test_config()).await;
    for path in [
        "/v1/services",
        "/v1",
        "/healthz",
        "/v1/services/tcp-192.0.2.1-80",
        "/errors",
        "/openapi.json",
    ] {
        let without = get(&daemon, path, &[]).await;
        for slashes in ["/", "//"] {
            let with = get(&daemon, &format!("{path}{slashes}"), &[]).await;
            assert_eq!(with.status(), 200, "{path}{slashes}");
            assert_eq!(with.body(), without.body(), "{path}{slashes}");
        }
    }
    let none = get(&daemon, "/v1/services/?protocol=udp", &[]).await;
    assert_eq!(json_of(&none)["services"], json!([]));
    let response = daemon
        .send("POST", "/v1/services/", JSON, r#"{"fwmark":7}"#)
        .await;
    assert!(response.starts_with("HTTP/1.1 201"), "{response}");
    let headers = ["X-Request-Id: 1"];
    let response = daemon
        .send("DELETE", "/v1/services/fwmark-7/", &headers, "")
        .await;
    assert!(response.starts_with("HTTP/1.1 204"), "{response}");
    // The larger limit of a rules text.
    let text = "-Z\n".repeat(400_000);
    let response = daemon
        .send("POST", "/v1/rules/?dry_run=true", &headers, &text)
        .await;
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    assert_eq!(get(&daemon, "/docs/", &[]).await.status(), 200);
    let grpc = [("content-type", "application/grpc")];
    let response = request(&daemon, "POST", "/ipvsd.v1.IpvsService/GetInfo/", &grpc).await;
    assert_eq!(header(&response, "grpc-status"), "12", "{response:?}");
}

#[tokio::test]
async fn long_listings_and_documents_are_compressed_if_the_client_accepts_it() {
    let daemon = start(&test_config()).await;
    fill(&daemon).await;
    let gzip = [("accept-encoding", "br;q=1.0, gzip;q=0.8, *;q=0.1")];
    for path in [
        "/v1/services",
        "/v1/services/tcp-192.0.2.1-80",
        "/v1/services/tcp-192.0.2.1-80/servers",
        "/v1/rules",
        "/v1/listing",
        "/openapi.json",
        "/openapi.yaml",
        "/docs/swagger-ui.css",
    ] {
        let plain = get(&daemon, path, &[]).await;
        let zipped = get(&daemon, path, &gzip).await;
        assert_eq!(header(&plain, "content-encoding"), "", "{path}");
        assert_eq!(unzip(&zipped), &plain.body()[..], "{path}");
        assert!(zipped.body().len() < plain.body().len() / 2, "{path}");
        for response in [&plain, &zipped] {
            assert_eq!(header(response, "vary"), "accept-encoding", "{path}");
        }
        let tags = (header(&plain, "etag"), header(&zipped, "etag"));
        assert!(tags.0.is_empty() || tags.0 != tags.1, "{path}: {tags:?}");
        for refused in ["gzip;q=0", "identity", "", "*;q=0", "gzip;q=0.5, identity"] {
            let response = get(&daemon, path, &[("accept-encoding", refused)]).await;
            assert_eq!(
                header(&response, "content-encoding"),
                "",
                "{path} {refused}"
            );
        }
        // RFC 9110, section 8.6: the length that the response to GET has, or none.
        for (sent, response) in [(&gzip[..], &zipped), (&[], &plain)] {
            let head = request(&daemon, "HEAD", path, sent).await;
            assert!(head.body().is_empty() && head.status() == 200, "{path}");
            let length = header(&head, "content-length");
            let expected = header(response, "content-length");
            assert!(length.is_empty() || length == expected, "{path}: {length}");
        }
    }
    let short = get(&daemon, "/v1/timeouts", &gzip).await;
    assert_eq!(header(&short, "content-encoding"), "");
    let events = [gzip[0], ("accept", "application/x-ndjson")];
    let events = get(&daemon, "/v1/connections", &events).await;
    assert_eq!(header(&events, "content-encoding"), "");
}

#[tokio::test]
async fn a_shared_page_is_compressed_once_and_its_bytes_are_the_same() {
    let daemon = start(&test_config()).await;
    fill(&daemon).await;
    let headers = [("accept-encoding", "gzip"), ("cache-control", "max-age=60")];
    let plain = get(&daemon, "/v1/services", &headers[1..]).await;
    let first = get(&daemon, "/v1/services", &headers).await;
    let second = get(&daemon, "/v1/services", &headers).await;
    assert_eq!(unzip(&first), &plain.body()[..]);
    assert_eq!(first.body(), second.body());
    assert!(!header(&first, "content-length").is_empty(), "{first:?}");
}

#[tokio::test]
async fn the_tag_of_a_compressed_response_serves_both_preconditions() {
    let daemon = start(&test_config()).await;
    fill(&daemon).await;
    let path = "/v1/services/tcp-192.0.2.1-80";
    let gzip = ("accept-encoding", "gzip");
    let zipped = get(&daemon, path, &[gzip]).await;
    let tag = header(&zipped, "etag").to_owned();
    let same = get(&daemon, path, &[gzip, ("if-none-match", &tag)]).await;
    assert_eq!(same.status(), 304);
    assert_eq!(header(&same, "etag"), tag);
    assert_eq!(header(&same, "vary"), "accept-encoding");
    // Another representation than the one that the client has.
    let other = get(&daemon, path, &[("if-none-match", &tag)]).await;
    assert_eq!(other.status(), 200);
    let if_match = format!("If-Match: {tag}");
    let headers = [if_match.as_str(), JSON[0]];
    let response = daemon
        .send("PATCH", path, &headers, r#"{"scheduler":"rr"}"#)
        .await;
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    let response = daemon
        .send("PATCH", path, &headers, r#"{"scheduler":"lc"}"#)
        .await;
    assert!(response.starts_with("HTTP/1.1 412"), "{response}");
}
