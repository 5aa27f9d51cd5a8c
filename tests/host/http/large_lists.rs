//! Lists of tables that are too large to be read before they are sent.

use std::sync::atomic::{AtomicU32, Ordering};

use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use ipvsd::kernel::{
    FakeKernel,
    fake::{Destination, Fault, On, Service, ServiceId, command},
};

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
        assert!(parts.body == whole.body, "{query}: {:?}", parts.body);
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

#[tokio::test]
async fn an_error_in_the_first_part_is_a_problem() {
    let daemon = Daemon::with_listed_servers(1).await;
    fill(&daemon.kernel);
    deny_at(&daemon.kernel, 10);
    let response = daemon.get("/v1/services").await;
    response.problem(503, "KERNEL_UNAVAILABLE");
}
