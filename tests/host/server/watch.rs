//! Watches over HTTP: events, resumption, filters, scopes, and their end.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use axum::body::Body;
use http::{Request, StatusCode, Version};
use http_body_util::BodyExt;
use ipvsd::{
    executor::ExecutorLimits,
    identity::{Policy, Role},
    kernel::fake::{Destination, Service, ServiceId, command},
    model::Sha256,
    proto::v1 as pb,
    watch::WatchOptions,
};
use prost::Message;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{
    access::{Guarded, NoAccounts, SERVER, SERVICE, guarded_with, policy_of_roles, token},
    harness::in_time,
};

/// A watch of which everything is read that was sent.
struct Watch {
    body: Body,
    text: String,
}

/// An event.
#[derive(Debug)]
struct Event {
    id: Option<String>,
    kind: String,
    data: Value,
}

/// Shortest time between two dumps for watchers.
const DUMP_INTERVAL: Duration = Duration::from_millis(10);

fn limits(options: WatchOptions) -> ExecutorLimits {
    ExecutorLimits {
        watch: WatchOptions {
            dump_interval: DUMP_INTERVAL,
            max_load_percent: 100,
            ..options
        },
        ..ExecutorLimits::default()
    }
}

fn daemon() -> Guarded {
    daemon_with(WatchOptions::default())
}

fn daemon_with(options: WatchOptions) -> Guarded {
    let daemon = guarded_with(policy_of_roles(""), limits(options));
    let id = ServiceId::tcp("192.0.2.1:80".parse().unwrap());
    assert!(daemon.kernel.add_service(Service::new(id)));
    daemon.add_destination("192.168.10.1:80");
    daemon
}

impl Guarded {
    /// What another program does.
    fn add_destination(&self, address: &str) {
        let id = ServiceId::tcp("192.0.2.1:80".parse().unwrap());
        let destination = Destination::new(address.parse().unwrap());
        assert!(self.kernel.add_destination(id, destination));
    }

    fn remove_destination(&self, address: &str) {
        let id = ServiceId::tcp("192.0.2.1:80".parse().unwrap());
        let address: SocketAddr = address.parse().unwrap();
        assert!(self.kernel.remove_destination(id, address));
    }

    async fn call(&self, role: &str, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("x-request-id", "request-1")
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer ipvsd_{role}"));
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let response = self
            .router
            .clone()
            .oneshot(request.body(Body::from(body)).unwrap());
        let response = response.await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn list(&self) -> (Value, String) {
        let (status, list) = self
            .call("viewer", "GET", "/v1/services", Value::Null)
            .await;
        assert_eq!(status, 200);
        let revision = list["revision"].as_str().unwrap().to_owned();
        (list, revision)
    }

    async fn set_weight(&self, weight: u32) {
        let path = format!("/v1/services/{SERVICE}/servers/{SERVER}");
        let (status, body) = self
            .call("editor", "PATCH", &path, json!({"weight": weight}))
            .await;
        assert_eq!(status, 200, "{body}");
    }

    async fn watch(&self, role: &str, query: &str) -> Watch {
        self.watch_after(role, query, None).await
    }

    async fn watch_after(&self, role: &str, query: &str, last: Option<&str>) -> Watch {
        let response = self.try_watch(role, query, last).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Watch {
            body: response.into_body(),
            text: String::new(),
        }
    }

    async fn try_watch(&self, role: &str, query: &str, last: Option<&str>) -> http::Response<Body> {
        let mut request = Request::builder()
            .uri(format!("/v1/watch?{query}"))
            .header("host", "localhost")
            .header("authorization", format!("Bearer ipvsd_{role}"));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let request = request.body(Body::empty()).unwrap();
        self.router.clone().oneshot(request).await.unwrap()
    }
}

impl Watch {
    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        while !self.text.contains("\n\n") {
            let frame = in_time(self.body.frame()).await?.unwrap();
            let data = frame.into_data().unwrap();
            self.text += std::str::from_utf8(&data).unwrap();
        }
        let (event, rest) = self.text.split_once("\n\n").unwrap();
        let field = |name: &str| {
            let mut lines = event.lines();
            lines.find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(": ")?.to_owned()))
        };
        let event = Event {
            id: field("id"),
            kind: field("event").unwrap(),
            data: serde_json::from_str(&field("data").unwrap()).unwrap(),
        };
        assert_eq!(event.data["type"], *event.kind);
        self.text = rest.to_owned();
        Some(event)
    }

    /// The next event that is no bookmark.
    async fn change(&mut self) -> Event {
        loop {
            let event = self.next().await.unwrap();
            if event.kind != "bookmark" {
                return event;
            }
        }
    }

    /// The objects of a state, up to its bookmark.
    async fn state(&mut self) -> (Vec<String>, String) {
        let mut objects = Vec::new();
        loop {
            let event = self.next().await.unwrap();
            if event.kind == "bookmark" {
                return (objects, event.id.unwrap());
            }
            assert_eq!((event.kind.as_str(), event.id.as_deref()), ("added", None));
            assert!(event.data.get("revision").is_none(), "{event:?}");
            objects.push(object(&event));
        }
    }
}

/// `SERVICE` or `SERVICE/SERVER`.
fn object(event: &Event) -> String {
    let service = event.data["service"].as_str().unwrap();
    match event.data["server"].as_str() {
        Some(server) => format!("{service}/{server}"),
        None => service.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_is_followed_without_a_gap() {
    let daemon = daemon();
    // Nobody has watched before.
    let (_, revision) = daemon.list().await;
    daemon.add_destination("192.168.10.2:80");
    daemon.set_weight(5).await;
    let mut watch = daemon
        .watch("admin", &format!("from_revision={revision}"))
        .await;
    // The change of the other program is found by a dump after the write of the daemon.
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let event = watch.change().await;
        assert_eq!(event.id.as_deref(), event.data["revision"].as_str());
        let origin = event.data["origin"].as_str().unwrap().to_owned();
        if origin == "api" {
            assert_eq!(event.kind, "modified");
            assert_eq!(event.data["before"]["server"]["weight"], 1);
            let after = &event.data["after"]["server"];
            assert_eq!(
                (&after["weight"], &after["id"]),
                (&json!(5), &json!(SERVER))
            );
            assert!(after.get("active_connections").is_none(), "{after}");
            assert_eq!(event.data["principal"], "editor");
            assert_eq!(event.data["request_id"], "request-1");
        } else {
            assert_eq!((event.kind.as_str(), origin.as_str()), ("added", "foreign"));
            assert!(event.data.get("before").is_none());
            assert!(event.data.get("principal").is_none());
        }
        assert!(event.data["time"].as_str().unwrap().ends_with('Z'));
        seen.push(object(&event));
    }
    seen.sort();
    let expected = [SERVER, "192.168.10.2-80"].map(|server| format!("{SERVICE}/{server}"));
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_change_that_a_write_discovers_comes_before_it() {
    let daemon = daemon();
    let (_, revision) = daemon.list().await;
    // Another one with the same address.
    daemon.remove_destination("192.168.10.1:80");
    let mut destination = Destination::new("192.168.10.1:80".parse().unwrap());
    destination.weight = 7;
    let id = ServiceId::tcp("192.0.2.1:80".parse().unwrap());
    assert!(daemon.kernel.add_destination(id, destination));
    daemon.set_weight(9).await;
    let mut watch = daemon
        .watch("viewer", &format!("from_revision={revision}"))
        .await;
    let mut weights = Vec::new();
    for origin in ["foreign", "api"] {
        let event = watch.change().await;
        assert_eq!(event.data["origin"], origin);
        // Others made it.
        assert!(event.data.get("principal").is_none());
        weights.push((
            event.data["before"]["server"]["weight"].clone(),
            event.data["after"]["server"]["weight"].clone(),
        ));
    }
    assert_eq!(weights, [(json!(1), json!(7)), (json!(7), json!(9))]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_begins_with_the_state_and_resumes() {
    let daemon = daemon();
    let mut watch = daemon.watch("editor", "initial=true").await;
    let (objects, bookmark) = watch.state().await;
    assert_eq!(objects, [SERVICE.to_owned(), format!("{SERVICE}/{SERVER}")]);
    daemon.set_weight(2).await;
    let event = watch.change().await;
    let id = event.id.unwrap();
    assert_ne!(id, bookmark);
    assert_eq!(event.data["principal"], "editor", "of one's own request");
    drop(watch);
    daemon.set_weight(3).await;
    // As an EventSource connects again: with the same parameters.
    let mut resumed = daemon
        .watch_after("editor", "initial=true", Some(&id))
        .await;
    let event = resumed.change().await;
    assert_eq!(event.data["before"]["server"]["weight"], 2);
    assert_eq!(event.data["after"]["server"]["weight"], 3);
    let (status, deleted) = daemon
        .call(
            "editor",
            "DELETE",
            &format!("/v1/services/{SERVICE}"),
            Value::Null,
        )
        .await;
    assert_eq!(status, 204, "{deleted}");
    for resource in ["server", "service"] {
        let event = resumed.change().await;
        assert_eq!(
            (event.kind.as_str(), &event.data["resource"]),
            ("deleted", &json!(resource))
        );
        assert!(event.data.get("after").is_none());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_watcher_and_an_unknown_revision_get_the_state_anew() {
    let options = WatchOptions {
        max_events: 4,
        ..WatchOptions::default()
    };
    let daemon = daemon_with(options);
    let (_, first) = daemon.list().await;
    let mut slow = daemon.watch("viewer", "").await;
    assert_eq!(slow.next().await.unwrap().kind, "bookmark");
    for weight in 2..12 {
        daemon.set_weight(weight).await;
    }
    let mut old = daemon
        .watch("viewer", &format!("from_revision={first}"))
        .await;
    let foreign = "from_revision=0123456789abcdef-1";
    let mut other = daemon.watch("viewer", foreign).await;
    let watches = [
        (&mut slow, "TOO_SLOW"),
        (&mut old, "REVISION_EXPIRED"),
        (&mut other, "EPOCH_CHANGED"),
    ];
    for (watch, reason) in watches {
        let event = watch.change().await;
        assert_eq!(
            (event.kind.as_str(), &event.data["reason"]),
            ("resync", &json!(reason))
        );
        assert_eq!(event.id, None);
        let (objects, _) = watch.state().await;
        assert_eq!(objects.len(), 2);
        // The same stream goes on.
        daemon.add_destination("192.168.10.9:80");
        assert_eq!(watch.change().await.kind, "added");
        daemon.remove_destination("192.168.10.9:80");
        assert_eq!(watch.change().await.kind, "deleted");
    }
}

/// A watch over HTTP or gRPC.
enum AnyWatch {
    Http(Watch),
    Grpc(Body, Vec<u8>),
}

impl AnyWatch {
    /// Type and reason of the next event that is no bookmark.
    async fn change(&mut self) -> (String, String) {
        loop {
            let (kind, reason) = self.next().await;
            if kind != "bookmark" {
                return (kind, reason);
            }
        }
    }

    async fn next(&mut self) -> (String, String) {
        let (body, bytes) = match self {
            Self::Http(watch) => {
                let event = watch.next().await.unwrap();
                let reason = event.data["reason"].as_str().unwrap_or_default();
                return (event.kind, reason.to_owned());
            }
            Self::Grpc(body, bytes) => (body, bytes),
        };
        loop {
            if let Some((head, rest)) = bytes.split_first_chunk::<5>() {
                let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
                if let Some(message) = rest.get(..length) {
                    let event = pb::WatchResponse::decode(message).unwrap();
                    bytes.drain(..5 + length);
                    return (event.r#type, event.reason);
                }
            }
            let frame = in_time(body.frame()).await.unwrap().unwrap();
            bytes.extend_from_slice(&frame.into_data().unwrap());
        }
    }
}

impl Guarded {
    async fn watch_over(&self, over_grpc: bool) -> AnyWatch {
        if !over_grpc {
            return AnyWatch::Http(self.watch("viewer", "").await);
        }
        let request = Request::post("/ipvsd.v1.IpvsService/Watch")
            .header("host", "localhost")
            .header("authorization", "Bearer ipvsd_viewer")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .version(Version::HTTP_2);
        // A message without fields.
        let request = request.body(Body::from(vec![0; 5])).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.headers().get("grpc-status"), None);
        AnyWatch::Grpc(response.into_body(), Vec::new())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_watchers_cause_no_more_dumps_than_one_and_do_not_wait_for_the_slow_ones() {
    const DUMPS: u64 = 50;
    const SLOW: usize = 200;
    const MAX_EVENTS: usize = 16;
    let options = WatchOptions {
        max_events: MAX_EVENTS,
        ..WatchOptions::default()
    };
    let daemon = daemon_with(options);
    let mut watches = Vec::new();
    for watchers in [1, 1000] {
        while watches.len() < watchers {
            let mut watch = daemon.watch_over(watches.len() % 2 == 1).await;
            assert_eq!(watch.next().await.0, "bookmark");
            watches.push(watch);
        }
        let dumps = || daemon.kernel.dumps(command::GET_SERVICE);
        let (begin, before) = (Instant::now(), dumps());
        let enough = async {
            while dumps() < before + DUMPS {
                tokio::time::sleep(DUMP_INTERVAL).await;
            }
        };
        in_time(enough).await;
        let made = dumps() - before;
        let intervals = begin.elapsed().as_millis() as u64 / DUMP_INTERVAL.as_millis() as u64;
        assert!(
            made <= intervals + 2,
            "{watchers} watchers: {made} dumps in {intervals} intervals"
        );
    }
    let (slow, others) = watches.split_at_mut(SLOW);
    for weight in 2..=2 + MAX_EVENTS as u32 {
        daemon.set_weight(weight).await;
        for watch in &mut *others {
            assert_eq!(watch.change().await.0, "modified");
        }
    }
    for watch in slow {
        let resync = ("resync".to_owned(), "TOO_SLOW".to_owned());
        assert_eq!(watch.change().await, resync);
        for object in ["the service", "the server"] {
            assert_eq!(watch.next().await.0, "added", "{object}");
        }
        assert_eq!(watch.next().await.0, "bookmark");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_that_begin_or_cease_to_match_are_added_or_deleted() {
    let daemon = daemon();
    let mut wlc = daemon.watch("viewer", "initial=true&scheduler=wlc").await;
    let mut services = daemon
        .watch("viewer", "initial=true&resources=service&port=80")
        .await;
    let mut others = daemon.watch("viewer", "initial=true&port=81").await;
    wlc.state().await;
    assert_eq!(services.state().await.0, [SERVICE]);
    assert_eq!(others.state().await.0, [""; 0]);
    let path = format!("/v1/services/{SERVICE}");
    for (scheduler, kinds) in [
        ("rr", [("deleted", "server"), ("deleted", "service")]),
        ("wlc", [("added", "service"), ("added", "server")]),
    ] {
        let body = json!({"scheduler": scheduler});
        assert_eq!(daemon.call("editor", "PATCH", &path, body).await.0, 200);
        let mut ids = Vec::new();
        for (kind, resource) in kinds {
            let event = wlc.change().await;
            assert_eq!(
                (event.kind.as_str(), &event.data["resource"]),
                (kind, &json!(resource))
            );
            ids.push(event.id.is_some());
            assert_eq!(event.data["revision"].is_string(), event.id.is_some());
        }
        // A client that is disconnected between the two gets both again.
        assert_eq!(ids, [false, true]);
        let event = services.change().await;
        assert_eq!(
            (event.kind.as_str(), &event.data["resource"]),
            ("modified", &json!("service"))
        );
        assert_eq!(event.data["after"]["service"]["scheduler"], scheduler);
        assert!(event.data["after"]["service"].get("servers").is_none());
    }
    let body = json!({"id": "tcp-192.0.2.1-81"});
    assert_eq!(
        daemon.call("editor", "POST", "/v1/services", body).await.0,
        201
    );
    assert_eq!(object(&others.change().await), "tcp-192.0.2.1-81");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_sees_what_lists_show_to_it() {
    let scope = "scope = [{ports = '80'}]\nscope_reads = true";
    let daemon = guarded_with(policy_of_roles(scope), limits(WatchOptions::default()));
    for port in [80, 81] {
        let id = ServiceId::tcp(format!("192.0.2.1:{port}").parse().unwrap());
        assert!(daemon.kernel.add_service(Service::new(id)));
    }
    let mut watch = daemon.watch("viewer", "initial=true").await;
    assert_eq!(watch.state().await.0, [SERVICE]);
    for port in [81, 80] {
        let id = ServiceId::tcp(format!("192.0.2.1:{port}").parse().unwrap());
        assert!(daemon.kernel.remove_service(id));
    }
    let event = watch.change().await;
    assert_eq!(
        (event.kind.as_str(), object(&event).as_str()),
        ("deleted", SERVICE)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drains_and_tables_are_watched_by_those_who_may_read_them() {
    let entry = |role: Role| {
        let hash = Sha256::of(token(role).as_bytes());
        let scope = match role {
            Role::Viewer => "scope = [{ports = '81'}]\nscope_reads = true\n",
            _ => "",
        };
        format!("[[token]]\nname = '{role}'\nsha256 = '{hash}'\nrole = '{role}'\n{scope}")
    };
    let policy = Policy::parse(&Role::ALL.map(entry).concat(), &NoAccounts).unwrap();
    let daemon = guarded_with(policy, limits(WatchOptions::default()));
    let id = ServiceId::tcp("192.0.2.1:80".parse().unwrap());
    assert!(daemon.kernel.add_service(Service::new(id)));
    daemon.add_destination("192.168.10.1:80");
    let mut watch = daemon
        .watch("operator", "resources=drain,table&initial=true")
        .await;
    let mut narrow = daemon.watch("viewer", "resources=drain,table").await;
    assert_eq!(watch.state().await.0.len(), 0);
    let (status, drain) = daemon
        .call(
            "editor",
            "POST",
            "/v1/drains",
            json!({"server": "192.168.10.1-80"}),
        )
        .await;
    assert_eq!(status, 201, "{drain}");
    let event = watch.change().await;
    assert_eq!(
        (event.kind.as_str(), &event.data["resource"]),
        ("added", &json!("drain"))
    );
    let mut shown = event.data["after"]["drain"].clone();
    assert_eq!(shown["members_total"], 1);
    shown.as_object_mut().unwrap().remove("members_total");
    // The task may have found some since.
    shown["blockers"] = Value::Null;
    // The task may have found some since.
    shown["blockers"] = Value::Null;
    let path = format!("/v1/drains/{}", drain["id"].as_str().unwrap());
    let mut read = daemon.call("operator", "GET", &path, Value::Null).await.1;
    read["blockers"] = Value::Null;
    assert_eq!(shown, read);
    assert_eq!(event.data["origin"], "api");
    assert!(event.data.get("principal").is_none() && event.data.get("service").is_none());
    let table = json!({"services": [{"id": "tcp-192.0.2.2-80", "servers": []}]});
    let (status, report) = daemon.call("editor", "PUT", "/v1/tables/k8s", table).await;
    assert_eq!(status, 200, "{report}");
    let event = loop {
        let event = watch.change().await;
        if event.data["resource"] == "table" {
            break event;
        }
    };
    let list = daemon
        .call("operator", "GET", "/v1/tables", Value::Null)
        .await
        .1;
    assert_eq!(event.data["after"]["table"], list["tables"][0]);
    // It sees neither, but the table of services that are within its scope.
    let table = json!({"services": [{"id": "tcp-192.0.2.2-81", "servers": []}]});
    assert_eq!(
        daemon
            .call("editor", "PUT", "/v1/tables/web", table)
            .await
            .0,
        200
    );
    let event = narrow.change().await;
    assert_eq!(event.data["after"]["table"]["owner"], "web");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_ends_with_its_credential() {
    let daemon = daemon();
    let mut revoked = daemon.watch("viewer", "").await;
    let mut changed = daemon.watch("operator", "").await;
    for watch in [&mut revoked, &mut changed] {
        assert_eq!(watch.next().await.unwrap().kind, "bookmark");
    }
    let hash = Sha256::of(token(Role::Operator).as_bytes());
    let policy = format!("[[token]]\nname = 'operator'\nsha256 = '{hash}'\nrole = 'viewer'\n");
    let policy = Policy::parse(&policy, &NoAccounts).unwrap();
    daemon.authenticator.replace(policy);
    for (watch, reason) in [
        (&mut revoked, "UNAUTHENTICATED"),
        (&mut changed, "PERMISSION_DENIED"),
    ] {
        let event = tokio::time::timeout(Duration::from_secs(5), watch.change());
        let event = event.await.unwrap();
        assert_eq!(
            (event.kind.as_str(), &event.data["reason"]),
            ("end", &json!(reason))
        );
        assert!(watch.next().await.is_none());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_number_of_watches_is_limited_and_their_requests_are_checked() {
    let options = WatchOptions {
        max_watchers: 1,
        ..WatchOptions::default()
    };
    let daemon = guarded_with(policy_of_roles(""), limits(options));
    for wrong in [
        "from_revision=1",
        "from_revision=0123456789abcdef-",
        "resources=drains",
        "resources=table&port=80",
        "resources=drain&scheduler=rr",
        "initial=1",
        "port=x",
        "unknown=1",
    ] {
        assert_eq!(
            daemon.try_watch("viewer", wrong, None).await.status(),
            400,
            "{wrong}"
        );
    }
    let watch = daemon.watch("viewer", "").await;
    let refused = daemon.try_watch("viewer", "", None).await;
    assert_eq!(refused.status(), 429);
    drop((watch, refused));
    daemon.watch("viewer", "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_end_when_the_daemon_does() {
    let daemon = daemon();
    let mut watch = daemon.watch("viewer", "").await;
    assert_eq!(watch.next().await.unwrap().kind, "bookmark");
    daemon.shutdown.advance();
    assert!(watch.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_is_loaded_again_begins_a_new_epoch() {
    let daemon = daemon();
    let mut watch = daemon.watch("viewer", "initial=true").await;
    watch.state().await;
    daemon.kernel.faults().unload();
    daemon.kernel.faults().load();
    let event = watch.change().await;
    let reason = &event.data["reason"];
    assert_eq!(
        (event.kind.as_str(), reason),
        ("resync", &json!("EPOCH_CHANGED"))
    );
    assert_eq!(watch.state().await.0, [""; 0]);
}
