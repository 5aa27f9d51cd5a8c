//! The OpenAPI document, the error descriptions, and long lists.

use http::Method;
use ipvsd::kernel::fake::{Destination, Service, ServiceId};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::daemon::Daemon;

#[tokio::test]
async fn the_openapi_document_is_served_as_json_yaml_and_html() {
    let daemon = Daemon::start().await;
    let document = daemon.get("/openapi.json").await.expect(200).json();
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["paths"]["/v1/services/{service}"]["patch"].is_object());
    let yaml = daemon.get("/openapi.yaml").await.expect(200);
    assert_eq!(yaml.header("content-type"), "application/yaml");
    assert!(yaml.body.starts_with(b"openapi: 3.1.0"));
    if cfg!(feature = "docs-ui") {
        let page = daemon.get("/docs/").await.expect(200);
        assert!(page.header("content-type").starts_with("text/html"));
    }
}

#[tokio::test]
async fn the_type_of_a_problem_refers_to_its_description() {
    let daemon = Daemon::start().await;
    let problem = daemon.get("/nowhere").await.problem(404, "NOT_FOUND");
    let page = daemon
        .get(problem["type"].as_str().unwrap())
        .await
        .expect(200);
    assert!(page.header("content-type").starts_with("text/plain"));
    assert!(page.body.starts_with(b"NOT_FOUND (HTTP 404)"));
    let all = daemon.get("/errors").await.expect(200);
    assert!(String::from_utf8_lossy(&all.body).contains("SERVICE_EXISTS (HTTP 409)"));
    daemon.get("/errors/X").await.problem(404, "NOT_FOUND");
}

#[tokio::test]
async fn head_has_the_headers_of_get_without_the_body() {
    let daemon = Daemon::with_service().await;
    let get = daemon.get("/v1/services").await.expect(200);
    let head = daemon
        .request(Method::HEAD, "/v1/services", &[], "")
        .await
        .expect(200);
    assert!(head.body.is_empty());
    assert_eq!(head.header("etag"), get.header("etag"));
}

#[tokio::test]
async fn a_long_list_is_complete_and_sent_in_chunks() {
    let daemon = Daemon::start().await;
    for port in 1..=300_u16 {
        let id = ServiceId::tcp(([192, 0, 2, 1], port).into());
        assert!(daemon.kernel.add_service(Service::new(id)));
        for server in 0..20_u8 {
            let address = ([10, 0, 0, server], port).into();
            assert!(daemon.kernel.add_destination(id, Destination::new(address)));
        }
    }
    let list = daemon
        .get("/v1/services?include=servers,stats,rates")
        .await
        .expect(200);
    assert_eq!(list.header("content-length"), "");
    let list: Value = serde_json::from_slice(&list.body).unwrap();
    let services = list["services"].as_array().unwrap();
    assert_eq!(services.len(), 300);
    assert!(
        services
            .iter()
            .all(|s| s["servers"].as_array().unwrap().len() == 20)
    );
    assert_eq!(list["estimation"], true);

    let mut socket = tokio::net::TcpStream::connect(daemon.address)
        .await
        .unwrap();
    let request = b"GET /v1/services HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    socket.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let longest = answer
        .lines()
        .filter(|line| line.len() < 8)
        .filter_map(|line| usize::from_str_radix(line, 16).ok())
        .max();
    assert!(longest.unwrap() < 256 * 1024, "{longest:?}");
    assert!(answer.ends_with("0\r\n\r\n"));
}
