//! Streams of statistics and their history over HTTP: frames, scopes, refusals, and their end.

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use ipvsd::{
    identity::Policy,
    kernel::fake::{Connections, Counters, Destination, Service, ServiceId},
};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{
    access::{Guarded, NoAccounts, guarded, policy_of_roles},
    harness::in_time,
};

const WEB: &str = "tcp-192.0.2.1-80";
const OTHER: &str = "tcp-198.51.100.1-80";

/// A stream, and what was received of it and is not used yet.
struct Stream {
    body: Body,
    text: String,
}

fn daemon() -> Guarded {
    daemon_with("")
}

/// A daemon with two services and a server each.
fn daemon_with(more: &str) -> Guarded {
    let daemon = guarded(policy_of_roles(more));
    for (address, server) in [
        ("192.0.2.1:80", "10.0.0.1:80"),
        ("198.51.100.1:80", "10.0.0.2:80"),
    ] {
        let id = ServiceId::tcp(address.parse().unwrap());
        assert!(daemon.kernel.add_service(Service::new(id)));
        let destination = Destination::new(server.parse().unwrap());
        assert!(daemon.kernel.add_destination(id, destination));
    }
    daemon
}

impl Guarded {
    async fn get_stats(&self, path: &str) -> http::Response<Body> {
        let request = Request::builder()
            .uri(path)
            .header("host", "localhost")
            .header("authorization", "Bearer ipvsd_viewer");
        let request = request.body(Body::empty()).unwrap();
        in_time(self.router.clone().oneshot(request)).await.unwrap()
    }

    async fn json(&self, path: &str) -> (u16, Value) {
        let response = self.get_stats(path).await;
        let status = response.status().as_u16();
        let body = in_time(response.into_body().collect()).await.unwrap();
        (status, serde_json::from_slice(&body.to_bytes()).unwrap())
    }

    async fn stream(&self, query: &str) -> Stream {
        let response = self.get_stats(&format!("/v1/stats/stream?{query}")).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Stream {
            body: response.into_body(),
            text: String::new(),
        }
    }

    /// What the services have counted, and the kernel of all.
    fn count(&self, number: u64) {
        let counters = Counters {
            connections: number,
            in_bytes: 100 * number,
            ..Counters::default()
        };
        let web = ServiceId::tcp("192.0.2.1:80".parse().unwrap());
        assert!(self.kernel.set_counters(web, counters));
        let connections = Connections {
            active: 7,
            inactive: 5,
            persistent: 1,
        };
        let server = "10.0.0.1:80".parse().unwrap();
        assert!(self.kernel.set_traffic(web, server, connections, counters));
        self.kernel.set_totals(counters);
    }
}

impl Stream {
    /// The kind and the data of the next event; `None` at the end.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            while !self.text.contains("\n\n") {
                let frame = in_time(self.body.frame()).await?.unwrap();
                self.text += std::str::from_utf8(&frame.into_data().unwrap()).unwrap();
            }
            let (event, rest) = self.text.split_once("\n\n").unwrap();
            let (event, rest) = (event.to_owned(), rest.to_owned());
            self.text = rest;
            // A comment, which comes when there is no frame for some time: on a busy machine, reads are rarer.
            if event.starts_with(':') {
                continue;
            }
            let (kind, data) = event.split_once('\n').unwrap();
            let kind = kind.strip_prefix("event: ").unwrap().to_owned();
            let data = data.strip_prefix("data: ").unwrap();
            return Some((kind, serde_json::from_str(data).unwrap()));
        }
    }

    async fn frame(&mut self) -> Value {
        let (kind, data) = self.next().await.unwrap();
        assert_eq!(kind, "stats");
        data
    }

    /// The first frame whose services have rates.
    async fn with_rates(&mut self) -> Value {
        loop {
            let frame = self.frame().await;
            if frame["services"][0].get("rates").is_some() {
                return frame;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_have_counters_and_then_rates() {
    let daemon = daemon();
    let mut stream = daemon
        .stream(&format!("include=servers&service={WEB}"))
        .await;
    let mut all = daemon.stream("").await;
    let first = stream.frame().await;
    assert!(first["time"].as_str().unwrap().ends_with('Z'));
    assert!(first.get("interval_seconds").is_none() && first["totals"].get("rates").is_none());
    let zero =
        json!({"connections": 0, "packets_in": 0, "packets_out": 0, "bytes_in": 0, "bytes_out": 0});
    let expected = json!([{
        "id": WEB, "stats": zero, "server_count": 1, "available_server_count": 1,
        "active_connections": 0, "inactive_connections": 0,
        "servers": [{
            "id": "10.0.0.1-80", "weight": 1, "active_connections": 0, "inactive_connections": 0,
            "persistent_connections": 0, "stats": zero,
        }],
    }]);
    assert_eq!(first["services"], expected);
    assert_eq!(first["totals"]["service_count"], 2);
    let idle = stream.with_rates().await;
    assert_eq!(idle["services"][0]["rates"]["connections"], 0.0);
    daemon.count(1200);
    let frame = loop {
        let frame = stream.frame().await;
        if frame["services"][0]["stats"]["connections"] == 1200 {
            break frame;
        }
    };
    let seconds = frame["interval_seconds"].as_f64().unwrap();
    assert!(seconds >= 3.0, "{seconds}");
    for object in [
        &frame["totals"],
        &frame["services"][0],
        &frame["services"][0]["servers"][0],
    ] {
        assert_eq!(object["stats"]["connections"], 1200, "{object}");
        let rate = object["rates"]["connections"].as_f64().unwrap();
        assert!((rate - 1200.0 / seconds).abs() < 1.0, "{rate} {seconds}");
        let bytes = object["rates"]["bytes_in"].as_f64().unwrap();
        assert!((bytes - 100.0 * rate).abs() < 1.0, "{bytes}");
    }
    let server = &frame["services"][0]["servers"][0];
    assert_eq!(
        (
            &server["active_connections"],
            &server["persistent_connections"]
        ),
        (&json!(7), &json!(1))
    );
    assert_eq!(frame["totals"]["inactive_connections"], 5);
    let others = all.with_rates().await;
    let ids: Vec<_> = others["services"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["id"])
        .collect();
    assert_eq!(ids.len(), 2);
    assert!(ids.contains(&&json!(OTHER)), "{ids:?}");
    assert!(others["services"][0].get("servers").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scope_on_reads_hides_services_and_their_share_of_the_totals() {
    let daemon = daemon_with("scope = [{address = '192.0.2.0/24'}]\nscope_reads = true");
    daemon.count(3);
    let frame = daemon.stream("").await.frame().await;
    assert_eq!(frame["services"].as_array().unwrap().len(), 1, "{frame}");
    assert_eq!(frame["totals"]["service_count"], 1);
    assert_eq!(frame["totals"]["stats"]["connections"], 3);
    for path in ["stream?service=", "history?service="] {
        let (status, problem) = daemon.json(&format!("/v1/stats/{path}{OTHER}")).await;
        assert_eq!(
            (status, &problem["reason"]),
            (403, &json!("PERMISSION_DENIED"))
        );
    }
    // The frame of those who see everything is not shown.
    let totals = daemon.stream("include=totals").await.frame().await;
    assert_eq!(totals["totals"]["service_count"], 1);
    assert!(totals.get("services").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_are_checked_together() {
    let daemon = daemon();
    for (query, fields) in [
        (
            "stream?interval_seconds=1&include=x&service=y",
            vec!["interval_seconds", "include", "service"],
        ),
        ("stream?interval_seconds=61", vec!["interval_seconds"]),
        ("stream?include=servers", vec!["include"]),
        ("stream?max_age=1", vec!["max_age"]),
        (
            "history?window_seconds=0&service=y",
            vec!["service", "window_seconds"],
        ),
        ("history?window_seconds=3601", vec!["window_seconds"]),
    ] {
        let (status, problem) = daemon.json(&format!("/v1/stats/{query}")).await;
        assert_eq!(status, 400, "{query}: {problem}");
        let errors = problem["errors"].as_array().unwrap();
        let mut named: Vec<_> = errors
            .iter()
            .map(|error| error["field"].as_str().unwrap())
            .collect();
        named.sort_unstable();
        let mut fields = fields;
        fields.sort_unstable();
        assert_eq!(named, fields, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kernel_that_cannot_be_read_is_reported_and_the_stream_goes_on() {
    let daemon = daemon();
    daemon.kernel.faults().unload();
    let mut stream = daemon.stream("").await;
    let (kind, data) = stream.next().await.unwrap();
    assert_eq!(
        (kind.as_str(), &data["type"]),
        ("unavailable", &json!("unavailable"))
    );
    assert_eq!(data["reason"], "KERNEL_UNAVAILABLE");
    daemon.kernel.faults().load();
    while stream.next().await.unwrap().0 != "stats" {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_its_credential_and_with_the_daemon() {
    let daemon = daemon();
    let mut stream = daemon.stream("").await;
    stream.frame().await;
    daemon
        .authenticator
        .replace(Policy::parse("", &NoAccounts).unwrap());
    let (kind, data) = loop {
        let (kind, data) = stream.next().await.unwrap();
        if kind != "stats" {
            break (kind, data);
        }
    };
    assert_eq!(
        (kind.as_str(), data),
        ("end", json!({"type": "end", "reason": "UNAUTHENTICATED"}))
    );
    assert!(stream.next().await.is_none());

    let daemon = self::daemon();
    let mut stream = daemon.stream("include=totals").await;
    stream.frame().await;
    daemon.shutdown.advance();
    while stream.next().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_history_has_the_points_of_the_last_time() {
    let daemon = daemon();
    daemon.count(6);
    let (status, empty) = daemon.json("/v1/stats/history").await;
    assert_eq!(
        (status, empty),
        (200, json!({"interval_seconds": 6, "points": []}))
    );
    // The sampler runs without a stream; a stream is a clock that does not sleep.
    let mut stream = daemon.stream("").await;
    let path = format!("/v1/stats/history?window_seconds=60&service={WEB}");
    let point = loop {
        stream.frame().await;
        let (_, history) = daemon.json(&path).await;
        if let Some(point) = history["points"].as_array().unwrap().first() {
            break point.clone();
        }
    };
    assert_eq!(point["services"][0]["id"], WEB);
    assert_eq!(point["services"][0]["stats"]["connections"], 6);
    assert_eq!(point["services"][0]["rates"]["connections"], 0.0);
    let (_, totals) = daemon.json("/v1/stats/history").await;
    assert!(totals["points"][0].get("services").is_none());
    assert_eq!(totals["points"][0]["totals"]["stats"]["connections"], 6);
}
