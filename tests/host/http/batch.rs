//! `/v1/batch`.

use http::Method;
use ipvsd::kernel::fake::{Fault, On, command};
use serde_json::{Value, json};

use super::daemon::{Daemon, Response};

const SERVICE: &str = "tcp-192.0.2.1-80";

async fn post(daemon: &Daemon, query: &str, body: &Value) -> Response {
    let path = format!("/v1/batch{query}");
    daemon
        .request(Method::POST, &path, &[], &body.to_string())
        .await
}

fn create(address: &str) -> Value {
    json!({"op": "create_server", "service": SERVICE,
           "value": {"server": {"address": address, "forwarding": "masquerade"}}})
}

fn weight(weight: u32) -> Value {
    json!({"op": "update_server", "service": SERVICE, "server": "10.0.0.1-80",
           "value": {"server": {"weight": weight}}})
}

async fn servers(daemon: &Daemon) -> Vec<Value> {
    let path = format!("/v1/services/{SERVICE}/servers");
    let list = daemon.get(&path).await.expect(200).json();
    list["servers"].as_array().unwrap().clone()
}

#[tokio::test]
async fn operations_are_executed_together_and_reported() {
    let daemon = Daemon::with_service().await;
    let body = json!({"operations": [create("10.0.0.7"), weight(0), weight(0)]});
    let planned = post(&daemon, "?dry_run=true", &body)
        .await
        .expect(200)
        .json();
    assert_eq!(planned["outcome"], "planned");
    let before = servers(&daemon).await.len();

    let applied = post(&daemon, "", &body).await.expect(200).json();
    assert_eq!(applied["outcome"], "applied");
    assert_eq!(applied["plan"], planned["plan"]);
    assert_eq!(applied["operations_total"], 2);
    assert_eq!(
        applied["summary"],
        json!({"create": 1, "update": 1, "delete": 0, "unchanged": 1, "draining": 0})
    );
    let operation = &applied["operations"][1];
    assert_eq!(
        *operation,
        json!({"op": "update_server", "index": 1, "service": SERVICE, "server": "10.0.0.1-80",
               "before": {"server": {"weight": operation["before"]["server"]["weight"]}},
               "after": {"server": {"weight": 0}}, "result": "done"})
    );
    for absent in ["owner", "generation", "etag"] {
        assert!(applied.get(absent).is_none(), "{applied}");
    }
    assert_eq!(servers(&daemon).await.len(), before + 1);
}

#[tokio::test]
async fn a_batch_that_cannot_be_executed_as_a_whole_changes_nothing() {
    let daemon = Daemon::with_service().await;
    let before = servers(&daemon).await;
    for (body, status, reason, field) in [
        (json!({}), 400, "INVALID_ARGUMENT", "operations"),
        (
            json!({"operations": [weight(3), {"op": "x"}]}),
            400,
            "INVALID_ARGUMENT",
            "operations[1].op",
        ),
        (
            json!({"operations": [weight(3), weight(70_000)]}),
            400,
            "INVALID_ARGUMENT",
            "operations[1].value.server.weight",
        ),
        (
            json!({"operations": [weight(3), create("10.0.0.1")]}),
            409,
            "SERVER_EXISTS",
            "operations[1]",
        ),
        (
            json!({"operations": [weight(3)], "on_failure": "ignore"}),
            400,
            "INVALID_ARGUMENT",
            "on_failure",
        ),
        (
            json!({"operations": [[]]}),
            400,
            "INVALID_ARGUMENT",
            "operations[0]",
        ),
        (
            json!({"operations": [{"op": "update_server", "service": SERVICE, "server": "10.0.0.1-80",
            "etag": "r-0123456789abcdef", "value": {"server": {}}}]}),
            412,
            "REVISION_MISMATCH",
            "operations[0]",
        ),
    ] {
        let problem = post(&daemon, "", &body).await.problem(status, reason);
        assert_eq!(problem["errors"][0]["field"], field, "{body}");
        assert_eq!(servers(&daemon).await, before, "{body}");
    }
}

#[tokio::test]
async fn a_batch_that_fails_is_a_problem_with_the_outcome_of_each_operation() {
    let daemon = Daemon::with_service().await;
    let before = servers(&daemon).await;
    let failing = || {
        let errno = Fault::Errno(libc::ENOMEM);
        daemon
            .kernel
            .faults()
            .once(On::Command(command::NEW_DEST), errno);
    };
    failing();
    let body = json!({"operations": [weight(9), create("10.0.0.8"), weight(8)]});
    let problem = post(&daemon, "", &body).await.problem(500, "APPLY_FAILED");
    assert_eq!(problem["outcome"], "rolled_back");
    assert_eq!(problem["errno"], "ENOMEM");
    // Those that failed are the first.
    let result = |index: usize| problem["operations"][index]["result"].clone();
    assert_eq!(
        [result(0), result(1), result(2)],
        ["failed", "undone", "skipped"]
    );
    assert_eq!(problem["operations"][0]["index"], 1);
    let weight_of = |servers: &[Value]| {
        let server = servers.iter().find(|server| server["id"] == "10.0.0.1-80");
        server.unwrap()["weight"].clone()
    };
    assert_eq!(weight_of(&servers(&daemon).await), weight_of(&before));
    failing();
    let body =
        json!({"operations": [weight(9), create("10.0.0.8"), weight(8)], "on_failure": "continue"});
    let problem = post(&daemon, "", &body).await.problem(500, "APPLY_FAILED");
    assert_eq!(problem["outcome"], "partial");
    assert_eq!(weight_of(&servers(&daemon).await), 8);
}
