//! Idempotency keys, in both protocols: a write is executed once, whatever becomes of its response and of the
//! daemon.

use std::{path::Path, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use ipvsd::{
    app::{App, AppOptions, BackgroundWork},
    executor::{Executor, ExecutorLimits},
    identity::{Policy, Role},
    kernel::{
        FakeKernel,
        fake::{Fault, On, command},
    },
    model::Sha256,
    proto::v1 as pb,
    server::{Authenticator, Config, Shutdown, build_router},
    store::{Store, StoreOptions},
};
use prost::Message;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{
    access::{NoAccounts, token},
    harness::{TempDir, test_config},
};

const SERVICES: &str = "/v1/services";
const SERVERS: &str = "/v1/services/tcp-192.0.2.1-80/servers";

/// A daemon on a kernel that outlives it.
struct Daemon {
    router: Router,
    store: Store,
    background: BackgroundWork,
}

struct Response {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
}

/// A token for each role, and one of another administrator.
fn policy() -> Policy {
    let entry = |name: &str, token: &str, role: Role| {
        let hash = Sha256::of(token.as_bytes());
        format!("[[token]]\nname = '{name}'\nsha256 = '{hash}'\nrole = '{role}'\n")
    };
    let roles = Role::ALL.map(|role| entry(&role.to_string(), &token(role), role));
    let other = entry("other", "ipvsd_other", Role::Admin);
    Policy::parse(&(roles.concat() + &other), &NoAccounts).unwrap()
}

impl Daemon {
    fn start(kernel: &FakeKernel, store: Store, max_idempotency_keys: usize) -> Self {
        let executor =
            Executor::start(Arc::new(kernel.clone()), ExecutorLimits::default()).unwrap();
        let options = AppOptions {
            max_idempotency_keys,
            ..AppOptions::default()
        };
        let app = App::new(executor, options)
            .with_store(store.clone())
            .unwrap();
        let config = Config {
            dev: false,
            ..test_config()
        };
        let authenticator = Authenticator::new(&config, policy());
        let background = app.background_work().clone();
        let router = build_router(app, &config, &authenticator, &Shutdown::new());
        Self {
            router,
            store,
            background,
        }
    }

    fn on(kernel: &FakeKernel, directory: &Path) -> Self {
        let store = Store::open(directory, &StoreOptions::default()).unwrap();
        Self::start(kernel, store, 100)
    }

    /// Ends the daemon as its crash would: nothing is written any more.
    fn end(self) {
        let Self { router, store, .. } = self;
        drop(router);
        let closed = std::thread::spawn(move || store.close(Duration::from_secs(60)));
        assert!(closed.join().unwrap());
    }

    async fn send(&self, request: Request<Body>) -> Response {
        let (head, body) = self
            .router
            .clone()
            .oneshot(request)
            .await
            .unwrap()
            .into_parts();
        let collected = body.collect().await.unwrap();
        Response {
            status: head.status.as_u16(),
            headers: head.headers,
            trailers: collected.trailers().cloned(),
            body: collected.to_bytes().to_vec(),
        }
    }

    async fn keyed(&self, key: &str, method: &str, path: &str, body: &Value) -> Response {
        self.send(request(&token(Role::Admin), key, method, path, body))
            .await
    }
}

fn request(token: &str, key: &str, method: &str, path: &str, body: &Value) -> Request<Body> {
    let body = match body {
        Value::Null => Body::empty(),
        body => Body::from(body.to_string()),
    };
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .header("idempotency-key", key)
        .header("authorization", format!("Bearer {token}"))
        .body(body)
        .unwrap()
}

impl Response {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn is_replayed(&self) -> bool {
        self.headers
            .get("idempotency-replayed")
            .is_some_and(|value| value == "true")
    }

    #[track_caller]
    fn assert_reason(&self, status: u16, reason: &str) {
        assert_eq!(
            (self.status, &self.json()["reason"]),
            (status, &json!(reason))
        );
        assert!(!self.is_replayed());
    }
}

fn web() -> Value {
    json!({"id": "tcp-192.0.2.1-80", "servers": [{"address": "10.0.0.1"}]})
}

#[tokio::test]
async fn a_repeated_write_is_executed_once_and_has_the_first_response() {
    let (kernel, directory) = (FakeKernel::new(), TempDir::new());
    let daemon = Daemon::on(&kernel, &directory.0);
    let first = daemon.keyed("a", "POST", SERVICES, &web()).await;
    assert_eq!((first.status, first.is_replayed()), (201, false));
    let again = daemon.keyed("a", "POST", SERVICES, &web()).await;
    assert_eq!((again.status, again.is_replayed()), (201, true));
    assert_eq!(again.body, first.body);
    for name in ["content-type", "location", "etag"] {
        assert_eq!(again.headers[name], first.headers[name], "{name}");
    }
    assert_ne!(again.headers["x-request-id"], first.headers["x-request-id"]);
    assert_eq!(kernel.commands(command::NEW_SERVICE), 1);

    // An error that is an answer is kept, too.
    let exists = daemon.keyed("b", "POST", SERVICES, &web()).await;
    exists.assert_reason(409, "SERVICE_EXISTS");
    let delete = daemon
        .keyed("c", "DELETE", "/v1/services/tcp-192.0.2.1-80", &Value::Null)
        .await;
    assert_eq!((delete.status, delete.body.len()), (204, 0));
    let again = daemon.keyed("b", "POST", SERVICES, &web()).await;
    assert_eq!((again.status, again.is_replayed()), (409, true));
    let delete = daemon
        .keyed("c", "DELETE", "/v1/services/tcp-192.0.2.1-80", &Value::Null)
        .await;
    assert_eq!((delete.status, delete.is_replayed()), (204, true));

    // After a restart.
    daemon.end();
    let daemon = Daemon::on(&kernel, &directory.0);
    let again = daemon.keyed("a", "POST", SERVICES, &web()).await;
    assert_eq!(
        (again.status, again.is_replayed(), &again.body),
        (201, true, &first.body)
    );
    assert_eq!(kernel.services().len(), 0);
}

#[tokio::test]
async fn a_repeated_result_of_a_health_check_is_counted_once() {
    let (kernel, directory) = (FakeKernel::new(), TempDir::new());
    let daemon = Daemon::on(&kernel, &directory.0);
    let mut service = web();
    service["health_check"] = json!({"type": "external", "fall": 2});
    let made = daemon.keyed("a", "POST", SERVICES, &service).await;
    assert_eq!(made.status, 201);
    let path = "/v1/health/tcp-192.0.2.1-80/10.0.0.1-80";
    let result = json!({"healthy": false, "reason": "disk full"});
    for (key, is_replayed, state) in [
        ("b", false, "unknown"),
        ("b", true, "unknown"),
        ("c", false, "down"),
    ] {
        let response = daemon.keyed(key, "PUT", path, &result).await;
        let shown = (
            response.status,
            response.is_replayed(),
            response.json()["state"].clone(),
        );
        assert_eq!(shown, (200, is_replayed, json!(state)), "{key}");
    }
}

#[tokio::test]
async fn a_response_is_durable_with_the_next_key_and_at_the_end() {
    let (kernel, directory) = (FakeKernel::new(), TempDir::new());
    let daemon = Daemon::on(&kernel, &directory.0);
    let mut statuses = Vec::new();
    for key in ["a", "b"] {
        let first = daemon.keyed(key, "POST", SERVICES, &web()).await;
        statuses.push((key, first.status));
    }
    assert_eq!(statuses, [("a", 201), ("b", 409)]);
    daemon.end();
    let daemon = Daemon::on(&kernel, &directory.0);
    let again = daemon.keyed("a", "POST", SERVICES, &web()).await;
    assert_eq!((again.status, again.is_replayed()), (201, true));

    daemon.keyed("c", "POST", SERVICES, &web()).await;
    // As at the end of the daemon.
    daemon.background.finished().await;
    daemon.end();
    let daemon = Daemon::on(&kernel, &directory.0);
    let again = daemon.keyed("c", "POST", SERVICES, &web()).await;
    assert_eq!((again.status, again.is_replayed()), (409, true));
}

#[tokio::test]
async fn a_request_that_is_cancelled_takes_no_response_with_it() {
    let (kernel, directory) = (FakeKernel::new(), TempDir::new());
    let daemon = Daemon::on(&kernel, &directory.0);
    let first = daemon.keyed("a", "POST", SERVICES, &web()).await;
    assert_eq!(first.status, 201);
    // Its key and the response of the first are in one batch, which is not durable yet.
    let body = web();
    let other = daemon.keyed("b", "POST", SERVICES, &body);
    drop(tokio::time::timeout(Duration::ZERO, other).await);
    let again = daemon.keyed("a", "POST", SERVICES, &web()).await;
    assert_eq!((again.status, again.is_replayed()), (201, true));
}

#[tokio::test]
async fn a_key_belongs_to_one_request_of_one_principal() {
    let (kernel, directory) = (FakeKernel::new(), TempDir::new());
    let daemon = Daemon::on(&kernel, &directory.0);
    assert_eq!(
        daemon.keyed("a", "POST", SERVICES, &web()).await.status,
        201
    );
    let other = json!({"id": "tcp-192.0.2.2-80"});
    for (method, path, body) in [
        ("POST", SERVICES, &other),
        ("POST", "/v1/services?dry_run=true", &web()),
        ("PUT", "/v1/services/tcp-192.0.2.1-80", &web()),
    ] {
        let reused = daemon.keyed("a", method, path, body).await;
        reused.assert_reason(422, "IDEMPOTENCY_KEY_REUSED");
    }
    let mut conditional = request(
        &token(Role::Admin),
        "d",
        "PUT",
        "/v1/services/tcp-192.0.2.1-80",
        &web(),
    );
    let etag = "\"s-0123456789abcdef\"".parse().unwrap();
    conditional.headers_mut().insert("if-match", etag);
    assert_eq!(daemon.send(conditional).await.status, 412);
    let reused = daemon
        .keyed("d", "PUT", "/v1/services/tcp-192.0.2.1-80", &web())
        .await;
    reused.assert_reason(422, "IDEMPOTENCY_KEY_REUSED");
    // The key of another principal is another key.
    let own = daemon
        .send(request("ipvsd_other", "a", "POST", SERVICES, &web()))
        .await;
    own.assert_reason(409, "SERVICE_EXISTS");

    for key in ["", " ", &"x".repeat(256)] {
        let invalid = daemon.keyed(key, "POST", SERVICES, &other).await;
        invalid.assert_reason(400, "INVALID_ARGUMENT");
        assert_eq!(invalid.json()["errors"][0]["field"], "Idempotency-Key");
    }
    let longest = "x".repeat(255);
    assert_eq!(
        daemon
            .keyed(&longest, "POST", SERVICES, &other)
            .await
            .status,
        201
    );
    let session = daemon.keyed("s", "POST", "/v1/session", &Value::Null).await;
    session.assert_reason(400, "INVALID_ARGUMENT");
    // A read has no key.
    let read = daemon
        .keyed("a", "GET", "/v1/services/tcp-192.0.2.1-80", &Value::Null)
        .await;
    assert_eq!((read.status, read.is_replayed()), (200, false));
}

#[tokio::test]
async fn a_write_that_was_refused_is_executed_when_it_is_repeated() {
    let (kernel, directory) = (FakeKernel::new(), TempDir::new());
    let daemon = Daemon::on(&kernel, &directory.0);
    let wrong = json!({"id": "tcp-192.0.2.1-80", "port": 81});
    daemon
        .keyed("a", "POST", SERVICES, &wrong)
        .await
        .assert_reason(400, "INVALID_ARGUMENT");
    assert_eq!(
        daemon.keyed("a", "POST", SERVICES, &web()).await.status,
        201
    );
    let viewer = token(Role::Viewer);
    for _ in 0..2 {
        let refused = daemon
            .send(request(&viewer, "a", "POST", SERVICES, &web()))
            .await;
        refused.assert_reason(403, "PERMISSION_DENIED");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_repetition_while_the_first_runs_is_refused() {
    let (kernel, directory) = (FakeKernel::new(), TempDir::new());
    let daemon = Daemon::on(&kernel, &directory.0);
    let (entered, is_entered) = std::sync::mpsc::channel();
    let (release, is_released) = std::sync::mpsc::channel();
    let is_released = std::sync::Mutex::new(is_released);
    let wait = Fault::before(move |_| {
        let _ = entered.send(());
        let _ = is_released.lock().unwrap().recv();
    });
    kernel
        .faults()
        .once(On::Command(command::NEW_SERVICE), wait);
    let first = {
        let router = daemon.router.clone();
        let request = request(&token(Role::Admin), "a", "POST", SERVICES, &web());
        tokio::spawn(async move { router.oneshot(request).await.unwrap().status().as_u16() })
    };
    tokio::task::spawn_blocking(move || is_entered.recv().unwrap())
        .await
        .unwrap();
    let second = daemon.keyed("a", "POST", SERVICES, &web()).await;
    second.assert_reason(409, "IDEMPOTENCY_IN_PROGRESS");
    assert_eq!(second.headers["retry-after"], "1");
    // Its client does not wait for it any more, and it ends nevertheless.
    first.abort();
    release.send(()).unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    let replayed = loop {
        let again = daemon.keyed("a", "POST", SERVICES, &web()).await;
        if again.status != 409 || std::time::Instant::now() > deadline {
            break again;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((replayed.status, replayed.is_replayed()), (201, true));
    assert_eq!(kernel.commands(command::NEW_SERVICE), 1);
}

#[tokio::test]
async fn a_write_that_was_cut_is_finished_by_its_repetition() {
    let put = json!({"scheduler": "lc"});
    let batch = json!({"operations": [
        {"op": "create_server", "service": "tcp-192.0.2.1-80", "value": {"server": {"address": "10.0.0.2"}}},
        {"op": "update_server", "service": "tcp-192.0.2.1-80", "server": "10.0.0.2-80",
         "value": {"server": {"weight": 5}}},
        {"op": "delete_server", "service": "tcp-192.0.2.1-80", "server": "10.0.0.1-80"},
    ]});
    let server = json!({"address": "10.0.0.2", "weight": 5});
    let servers = json!({"servers": [server]});
    let deleted = "/v1/services/tcp-192.0.2.1-80/servers/10.0.0.1-80";
    for (method, path, body, status) in [
        ("POST", SERVERS, &server, 201),
        ("POST", SERVERS, &servers, 201),
        ("DELETE", deleted, &Value::Null, 204),
        ("PUT", "/v1/services/tcp-192.0.2.1-80", &put, 200),
        ("POST", "/v1/batch", &batch, 200),
    ] {
        let (kernel, directory) = (FakeKernel::new(), TempDir::new());
        let daemon = Daemon::on(&kernel, &directory.0);
        assert_eq!(
            daemon.keyed("w", "POST", SERVICES, &web()).await.status,
            201
        );
        let first = daemon.keyed("a", method, path, body).await;
        assert_eq!(
            first.status,
            status,
            "{method} {path}: {}",
            String::from_utf8_lossy(&first.body)
        );
        daemon.end();
        // As if the daemon had ended before the response was stored.
        let store = Store::open(&directory.0, &StoreOptions::default()).unwrap();
        cut(&store);
        let daemon = Daemon::start(&kernel, store, 100);
        let before = kernel.services();
        let again = daemon.keyed("a", method, path, body).await;
        assert_eq!(
            (again.status, again.is_replayed()),
            (status, false),
            "{method} {path}: {}",
            String::from_utf8_lossy(&again.body)
        );
        assert_eq!(kernel.services(), before, "{method} {path}");
        // A write with a new key is not resumed.
        let exists = daemon.keyed("x", "POST", SERVICES, &web()).await;
        exists.assert_reason(409, "SERVICE_EXISTS");
    }
}

/// Makes all keys those of writes that were cut.
fn cut(store: &Store) {
    use ipvsd::store::{Collection, WriteBatch};
    const KEYS: Collection<Value> = Collection::new("idempotency-keys");
    const RESPONSES: Collection<Value> = Collection::new("idempotency-responses");
    let mut batch = WriteBatch::new();
    for (key, mut record) in store.load(&KEYS).unwrap() {
        record["done"] = json!(false);
        batch.put(&KEYS, key.clone(), &record).unwrap();
        batch.delete(&RESPONSES, key).unwrap();
    }
    store.write_blocking(batch).unwrap();
}

#[tokio::test]
async fn the_oldest_keys_are_forgotten() {
    let (kernel, directory) = (FakeKernel::new(), TempDir::new());
    let store = Store::open(&directory.0, &StoreOptions::default()).unwrap();
    let daemon = Daemon::start(&kernel, store, 2);
    let create = |n: u32| json!({"fwmark": n});
    for n in 1..=3 {
        let created = daemon
            .keyed(&n.to_string(), "POST", SERVICES, &create(n))
            .await;
        assert_eq!(created.status, 201);
    }
    assert!(
        daemon
            .keyed("3", "POST", SERVICES, &create(3))
            .await
            .is_replayed()
    );
    assert!(
        daemon
            .keyed("2", "POST", SERVICES, &create(2))
            .await
            .is_replayed()
    );
    let forgotten = daemon.keyed("1", "POST", SERVICES, &create(1)).await;
    forgotten.assert_reason(409, "SERVICE_EXISTS");
}

#[tokio::test]
async fn no_principal_pushes_out_the_keys_of_another() {
    let (kernel, directory) = (FakeKernel::new(), TempDir::new());
    let store = Store::open(&directory.0, &StoreOptions::default()).unwrap();
    let daemon = Daemon::start(&kernel, store, 4);
    let other = async |n: u32| {
        let body = json!({"fwmark": n});
        daemon
            .send(request(
                "ipvsd_other",
                &n.to_string(),
                "POST",
                SERVICES,
                &body,
            ))
            .await
    };
    for n in 1..=2 {
        assert_eq!(other(n).await.status, 201);
    }
    for n in 3..=9 {
        let body = json!({"fwmark": n});
        let created = daemon.keyed(&n.to_string(), "POST", SERVICES, &body).await;
        assert_eq!(created.status, 201);
    }
    for n in 1..=2 {
        assert!(other(n).await.is_replayed(), "{n}");
    }
    let last = daemon
        .keyed("8", "POST", SERVICES, &json!({"fwmark": 8}))
        .await;
    assert!(last.is_replayed());
}

#[tokio::test]
async fn an_unknown_outcome_is_not_kept_and_the_repetition_resumes_the_write() {
    let (kernel, directory) = (FakeKernel::new(), TempDir::new());
    let daemon = Daemon::on(&kernel, &directory.0);
    // The reply of the kernel is lost, and reading back fails.
    let unreadable = Fault::before(|kernel| {
        let on = On::Command(command::GET_SERVICE);
        kernel.faults().always(on, Fault::Errno(libc::EIO));
    });
    let on = On::Command(command::NEW_SERVICE);
    kernel.faults().once(on, unreadable);
    kernel.faults().once(on, Fault::Overrun);
    let body = json!({"id": "tcp-192.0.2.1-80"});
    let first = daemon.keyed("a", "POST", SERVICES, &body).await;
    first.assert_reason(504, "DEADLINE_EXCEEDED");
    assert_eq!(kernel.services().len(), 1, "it was executed");
    kernel.faults().clear();
    let again = daemon.keyed("a", "POST", SERVICES, &body).await;
    assert_eq!((again.status, again.is_replayed()), (201, false));
    let again = daemon.keyed("a", "POST", SERVICES, &body).await;
    assert_eq!((again.status, again.is_replayed()), (201, true));

    // The same with a kernel that has not executed it.
    let body = json!({"id": "tcp-192.0.2.2-80"});
    kernel.faults().once(on, Fault::Errno(libc::ENOMEM));
    kernel.faults().once(on, Fault::Overrun);
    let first = daemon.keyed("b", "POST", SERVICES, &body).await;
    first.assert_reason(504, "DEADLINE_EXCEEDED");
    assert_eq!(kernel.services().len(), 1);
    let again = daemon.keyed("b", "POST", SERVICES, &body).await;
    assert_eq!((again.status, again.is_replayed()), (201, false));
    assert_eq!(kernel.services().len(), 2);
}

#[tokio::test]
async fn a_long_body_is_truncated() {
    let (kernel, directory) = (FakeKernel::new(), TempDir::new());
    let daemon = Daemon::on(&kernel, &directory.0);
    let servers: Vec<_> = (1..=100)
        .map(|n| json!({"address": format!("10.0.0.{n}")}))
        .collect();
    let body = json!({"id": "tcp-192.0.2.1-80", "servers": servers});
    let first = daemon.keyed("a", "POST", SERVICES, &body).await;
    assert_eq!(first.json()["servers"].as_array().unwrap().len(), 100);
    let again = daemon.keyed("a", "POST", SERVICES, &body).await;
    assert_eq!(
        (again.status, again.json()),
        (201, json!({"truncated": true}))
    );
    assert_eq!(again.headers["location"], first.headers["location"]);
}

#[tokio::test]
async fn without_a_store_on_a_disk_a_key_is_refused_and_never_ignored() {
    let kernel = FakeKernel::new();
    let daemon = Daemon::start(&kernel, Store::in_memory(), 100);
    let refused = daemon.keyed("a", "POST", SERVICES, &web()).await;
    refused.assert_reason(503, "STORE_UNAVAILABLE");
    assert_eq!(refused.json()["status"], 503);
    assert_eq!(kernel.services().len(), 0);
    let mut without = request(&token(Role::Admin), "a", "POST", SERVICES, &web());
    without.headers_mut().remove("idempotency-key");
    assert_eq!(daemon.send(without).await.status, 201);
}

fn grpc(
    method: &str,
    key: &str,
    media_type: &'static str,
    message: &impl Message,
) -> Request<Body> {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let body = [&[0], &length[..], &message].concat();
    let mut request = request(&token(Role::Admin), key, "POST", method, &Value::Null);
    *request.version_mut() = http::Version::HTTP_2;
    request
        .headers_mut()
        .insert("content-type", media_type.parse().unwrap());
    *request.body_mut() = Body::from(body);
    request
}

#[tokio::test]
async fn grpc_has_keys_in_its_metadata() {
    const CREATE: &str = "/ipvsd.v1.IpvsService/CreateService";
    for media_type in ["application/grpc", "application/grpc-web+proto"] {
        let (kernel, directory) = (FakeKernel::new(), TempDir::new());
        let daemon = Daemon::on(&kernel, &directory.0);
        let create = pb::CreateServiceRequest {
            service: Some(pb::Service {
                id: "tcp-192.0.2.1-80".to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let send = async |key: &str, message: &pb::CreateServiceRequest| {
            daemon.send(grpc(CREATE, key, media_type, message)).await
        };
        let first = send("a", &create).await;
        let again = send("a", &create).await;
        assert_eq!((first.is_replayed(), again.is_replayed()), (false, true));
        assert!(first.body.len() > 10, "{media_type}");
        assert_eq!(again.body, first.body);
        assert_eq!(again.trailers, first.trailers);
        assert_eq!(kernel.commands(command::NEW_SERVICE), 1);
        // An error, in the head.
        let exists = send("b", &create).await;
        let again = send("b", &create).await;
        assert_eq!(exists.headers["grpc-status"], "6");
        assert_eq!(again.headers["grpc-status"], "6");
        assert_eq!(
            again.headers["grpc-status-details-bin"],
            exists.headers["grpc-status-details-bin"]
        );
        assert!(again.is_replayed());
        let other = pb::CreateServiceRequest {
            dry_run: true,
            ..create.clone()
        };
        assert_eq!(send("a", &other).await.headers["grpc-status"], "3");
        // Invalid arguments are not kept.
        let invalid = pb::CreateServiceRequest::default();
        for _ in 0..2 {
            let refused = send("c", &invalid).await;
            assert_eq!(
                (
                    refused.headers["grpc-status"].as_bytes(),
                    refused.is_replayed()
                ),
                (&b"3"[..], false)
            );
        }
        let memory = Daemon::start(&kernel, Store::in_memory(), 100);
        let refused = memory.send(grpc(CREATE, "a", media_type, &create)).await;
        assert_eq!(refused.headers["grpc-status"], "9");
    }
}
