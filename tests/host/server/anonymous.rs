//! What clients without a valid credential can use up.

use axum::{
    Router,
    body::{Body, Bytes},
    response::Response,
    routing::{get, post},
};
use futures_util::StreamExt;
use http::Request;
use http_body_util::BodyExt;
use ipvsd::{audit::AuditLog, budget::Budget, identity::Role, server::with_middleware};
use tower::ServiceExt;

use super::{
    access::{Guarded, guarded, policy_of_roles, token},
    harness::*,
};

const KIB: usize = 1 << 10;

fn request(path: &str, role: Option<Role>, body: impl Into<Body>) -> Request<Body> {
    let mut request = Request::post(path).header("host", "localhost");
    if let Some(role) = role {
        request = request.header("authorization", format!("Bearer {}", token(role)));
    }
    request.body(body.into()).unwrap()
}

async fn send(router: &Router, request: Request<Body>) -> Response {
    in_time(router.clone().oneshot(request)).await.unwrap()
}

#[tokio::test]
async fn requests_without_a_credential_do_not_fill_the_audit_trail() {
    let Guarded { router, .. } = guarded(policy_of_roles(""));
    for _ in 0..50 {
        let refused = send(&router, request("/v1/zero", None, "")).await;
        assert_eq!(refused.status(), 401);
    }
    let mut query = request("/v1/audit", Some(Role::Admin), "");
    *query.method_mut() = http::Method::GET;
    let page = send(&router, query).await.into_body().collect().await;
    let page: serde_json::Value = serde_json::from_slice(&page.unwrap().to_bytes()).unwrap();
    let records = page["records"].as_array().unwrap();
    assert_eq!(records.len(), 10, "{page}");
}

#[tokio::test]
async fn the_length_of_bodies_without_a_credential_is_limited() {
    let Guarded { router, .. } = guarded(policy_of_roles(""));
    for (length, role, status) in [
        (64 * KIB, None, 405),
        (64 * KIB + 1, None, 413),
        (64 * KIB + 1, Some(Role::Viewer), 405),
    ] {
        for path in ["/healthz", "/docs/any", "/errors"] {
            let known = Body::from(vec![b'x'; length]);
            let chunks = futures_util::stream::iter([Ok::<_, std::io::Error>(vec![b'x'; length])]);
            for body in [known, Body::from_stream(chunks)] {
                let response = send(&router, request(path, role, body)).await;
                assert_eq!(response.status(), status, "{path} {length} {role:?}");
            }
        }
    }
}

#[tokio::test]
async fn bodies_without_a_credential_leave_memory_to_others() {
    let authenticator = guarded(policy_of_roles("")).authenticator;
    let budget = Budget::new(1024 * KIB);
    let length = |body: Bytes| async move { body.len().to_string() };
    let routes = Router::new()
        .route("/healthz", get(|| async {}))
        .route("/length", post(length));
    let mut config = test_config();
    config.dev = false;
    let audit = AuditLog::in_memory();
    let router = with_middleware(
        routes,
        &config,
        &authenticator,
        &audit,
        &budget,
        None,
        render,
    );
    // An eighth of the memory is 128 KiB.
    let mut pending = Vec::new();
    for _ in 0..2 {
        let begin = futures_util::stream::iter([Ok::<_, std::io::Error>(vec![b'x'; 60 * KIB])]);
        let body = Body::from_stream(begin.chain(futures_util::stream::pending()));
        let before = budget.used();
        let request = request("/healthz", None, body);
        pending.push(tokio::spawn(router.clone().oneshot(request)));
        in_time(async {
            while budget.used() < before + 60 * KIB {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    let response = send(&router, request("/healthz", None, vec![b'x'; 60 * KIB])).await;
    assert_eq!(response.status(), 507);
    let admitted = request("/length", Some(Role::Admin), vec![b'x'; 200 * KIB]);
    assert_eq!(send(&router, admitted).await.status(), 200);
    pending.iter().for_each(|task| task.abort());
}

#[tokio::test]
async fn health_watches_without_a_credential_leave_half_to_others() {
    let Guarded { router, .. } = guarded(policy_of_roles(""));
    let watch = async |role| {
        let mut request = request("/grpc.health.v1.Health/Watch", role, &[0; 5][..]);
        let media_type = "application/grpc".parse().unwrap();
        request.headers_mut().insert("content-type", media_type);
        *request.version_mut() = http::Version::HTTP_2;
        let response = send(&router, request).await;
        assert_eq!(response.status(), 200);
        response
    };
    let is_open = |response: &Response| !response.headers().contains_key("grpc-status");
    let mut open = Vec::new();
    let refused = loop {
        let response = watch(None).await;
        match is_open(&response) {
            true if open.len() < 64 => open.push(response),
            true => panic!("all watches are open"),
            false => break response,
        }
    };
    assert_eq!(refused.headers()["grpc-status"], "8");
    assert_eq!(open.len(), 32);
    for _ in 0..32 {
        let response = watch(Some(Role::Viewer)).await;
        assert!(is_open(&response), "{response:?}");
        open.push(response);
    }
    assert!(!is_open(&watch(Some(Role::Viewer)).await));
    open.remove(0);
    assert!(is_open(&watch(None).await), "the permit is free again");
}
