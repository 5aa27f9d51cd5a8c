//! What the daemon counts of requests, and who may read it.

use axum::body::Body;
use http::{Method, Request, Version};
use http_body_util::BodyExt;
use ipvsd::identity::Role;
use tower::ServiceExt;

use super::access::{Call, Guarded, guarded, policy_of_roles, token};
use crate::common::exposition::{Exposition, Format};

fn call(method: Method, path: &str) -> Call {
    Call {
        method,
        path: path.to_owned(),
        media_type: "application/json",
        body: Vec::new(),
    }
}

async fn status(daemon: &Guarded, method: Method, path: &str, token: Option<&str>) -> u16 {
    daemon.send(&call(method, path), token).await.0
}

/// Calls a method of gRPC with an empty message.
async fn grpc_call(daemon: &Guarded, path: &str, token: Option<&str>) {
    let mut request = Request::post(path)
        .version(Version::HTTP_2)
        .header("host", "localhost")
        .header("content-type", "application/grpc");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(Body::from(vec![0; 5])).unwrap();
    let response = daemon.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    response.into_body().collect().await.unwrap();
}

async fn scrape(daemon: &Guarded) -> Exposition {
    let get = call(Method::GET, "/metrics");
    let (status, _, body) = daemon.send(&get, Some(&token(Role::Viewer))).await;
    assert_eq!(status, 200);
    Exposition::parse(&String::from_utf8(body).unwrap(), Format::Prometheus)
}

#[tokio::test]
async fn requests_are_counted_by_route_and_status() {
    let daemon = guarded(policy_of_roles(""));
    let admin = token(Role::Admin);
    let viewer = Some(admin.as_str());
    let get = Method::GET;
    for _ in 0..3 {
        assert_eq!(
            status(&daemon, get.clone(), "/v1/services", viewer).await,
            200
        );
    }
    for id in ["tcp-192.0.2.1-80", "tcp-192.0.2.2-80"] {
        let path = format!("/v1/services/{id}");
        assert_eq!(status(&daemon, get.clone(), &path, viewer).await, 404);
    }
    assert_eq!(status(&daemon, Method::PUT, "/v1/stats", viewer).await, 405);
    assert_eq!(status(&daemon, get.clone(), "/nowhere", viewer).await, 404);
    let service = "/ipvsd.v1.IpvsService";
    grpc_call(&daemon, &format!("{service}/GetService"), viewer).await;
    grpc_call(&daemon, &format!("{service}/GetService"), None).await;
    grpc_call(&daemon, &format!("{service}/GetInfo"), viewer).await;
    grpc_call(&daemon, &format!("{service}/Unknown"), viewer).await;

    let metrics = scrape(&daemon).await;
    let http = |method, route, status| {
        let labels = [("method", method), ("route", route), ("status", status)];
        metrics.find("ipvsd_http_requests_total", &labels)
    };
    assert_eq!(http("GET", "/v1/services", "200"), Some(3.0));
    assert_eq!(http("GET", "/v1/services/{service}", "404"), Some(2.0));
    assert_eq!(http("other", "/v1/stats", "405"), Some(1.0));
    assert_eq!(http("other", "other", "404"), Some(1.0));
    // It is counted when its response begins.
    assert_eq!(http("GET", "/metrics", "200"), None);
    let lists = [("method", "GET"), ("route", "/v1/services")];
    let count = metrics.get("ipvsd_http_request_duration_seconds_count", &lists);
    assert_eq!(count, 3.0);
    let sum = metrics.get("ipvsd_http_request_duration_seconds_sum", &lists);
    assert!((0.0..20.0).contains(&sum), "{sum}");
    let grpc = |method, status| {
        let labels = [("method", method), ("status", status)];
        metrics.find("ipvsd_grpc_requests_total", &labels)
    };
    let method = "ipvsd.v1.IpvsService/GetService";
    assert_eq!(grpc(method, "INVALID_ARGUMENT"), Some(1.0));
    assert_eq!(grpc(method, "UNAUTHENTICATED"), Some(1.0));
    assert_eq!(grpc("ipvsd.v1.IpvsService/GetInfo", "OK"), Some(1.0));
    assert_eq!(grpc("other", "UNIMPLEMENTED"), Some(1.0));
    let own = [("route", "/metrics"), ("status", "200")];
    let again = scrape(&daemon).await;
    assert_eq!(again.get("ipvsd_http_requests_total", &own), 1.0);
}

#[tokio::test]
async fn failed_authentications_are_counted_with_and_without_a_credential() {
    let daemon = guarded(policy_of_roles(""));
    for (sent, times) in [(None, 2), (Some("ipvsd_wrong"), 3)] {
        for _ in 0..times {
            assert_eq!(status(&daemon, Method::GET, "/metrics", sent).await, 401);
        }
    }
    // Needs none.
    assert_eq!(status(&daemon, Method::GET, "/healthz", None).await, 200);
    let metrics = scrape(&daemon).await;
    let failures = |credential| {
        let labels = [("credential", credential)];
        metrics.get("ipvsd_authentication_failures_total", &labels)
    };
    assert_eq!((failures("none"), failures("invalid")), (2.0, 3.0));
}

#[tokio::test]
async fn labels_do_not_grow_with_what_clients_send() {
    let daemon = guarded(policy_of_roles(""));
    let admin = token(Role::Admin);
    let count = |metrics: &Exposition| metrics.named("ipvsd_http_requests_total").len();
    let mut before = 0;
    for round in 0..3 {
        for number in 0..20 {
            let path = format!("/v1/services/tcp-192.0.2.{number}-{}", round + 1);
            status(&daemon, Method::GET, &path, Some(&admin)).await;
            let path = format!("/x{round}{number}");
            status(&daemon, Method::GET, &path, Some(&admin)).await;
            let method = Method::from_bytes(format!("M{round}{number}").as_bytes()).unwrap();
            status(&daemon, method, "/v1/stats", Some(&admin)).await;
        }
        let now = count(&scrape(&daemon).await);
        // The second scrape shows the first.
        assert!(round < 2 || now == before, "{before} {now}");
        before = now;
    }
}
