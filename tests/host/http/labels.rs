//! Labels of services.

use serde_json::{Value, json};

use super::daemon::Daemon;

const SERVICE: &str = "/v1/services/tcp-192.0.2.1-80";

/// The ids of the services of a list.
fn ids(list: &Value) -> Vec<&str> {
    let services = list["services"].as_array().unwrap().iter();
    services
        .map(|service| service["id"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn labels_are_created_merged_replaced_and_cleared() {
    let daemon = Daemon::with_service().await;
    let service = daemon.get(SERVICE).await.expect(200).json();
    assert_eq!(service.get("labels"), None);
    let created = daemon
        .post(
            "/v1/services",
            r#"{"id":"tcp-192.0.2.2-80","labels":{"team":"web"}}"#,
        )
        .await;
    assert_eq!(created.expect(201).json()["labels"], json!({"team": "web"}));
    let patch = async |body: &str| daemon.patch(SERVICE, body).await;
    let patched = patch(r#"{"labels":{"a":"1","b":"2"}}"#).await.expect(200);
    assert_eq!(patched.json()["labels"], json!({"a": "1", "b": "2"}));
    assert_ne!(patched.json()["etag"], service["etag"]);
    let patched = patch(r#"{"labels":{"a":null,"c":""}}"#).await.expect(200);
    assert_eq!(patched.json()["labels"], json!({"b": "2", "c": ""}));
    let read = daemon.get(SERVICE).await.expect(200).json();
    // What was read can be sent back.
    let same = daemon.put(SERVICE, &read.to_string()).await.expect(200);
    assert_eq!(same.json()["changed"], false);
    let cleared = patch(r#"{"labels":null}"#).await.expect(200).json();
    assert_eq!(
        (cleared.get("labels"), &cleared["etag"]),
        (None, &service["etag"])
    );
    for body in [
        r#"{"labels":{"a b":"1"}}"#,
        r#"{"labels":{"a":"/"}}"#,
        r#"{"labels":{"a":1}}"#,
        r#"{"labels":[]}"#,
        r#"{"labels":{"a":"1","a":"2"}}"#,
    ] {
        patch(body).await.problem(400, "INVALID_ARGUMENT");
    }
    let dry = daemon
        .patch(
            &format!("{SERVICE}?dry_run=true"),
            r#"{"labels":{"x":"y"}}"#,
        )
        .await;
    assert_eq!(dry.expect(200).json()["labels"], json!({"x": "y"}));
    assert_eq!(
        daemon.get(SERVICE).await.expect(200).json().get("labels"),
        None
    );
}

#[tokio::test]
async fn reads_are_filtered_by_labels() {
    let daemon = Daemon::with_service().await;
    let body = r#"{"id":"tcp-192.0.2.2-80","labels":{"team":"web","env":"dev"}}"#;
    daemon.post("/v1/services", body).await.expect(201);
    let (plain, web) = ("tcp-192.0.2.1-80", "tcp-192.0.2.2-80");
    for (query, expected) in [
        ("label=team%3Dweb", &[web][..]),
        ("label=team=web,env=dev", &[web]),
        ("label=team=web&label=env!=dev", &[]),
        ("label=team!=web", &[plain]),
        ("label=!team&include=none", &[plain]),
        ("label=team", &[web]),
        ("label=", &[plain, web]),
    ] {
        let list = daemon.get(&format!("/v1/services?{query}")).await;
        assert_eq!(ids(&list.expect(200).json()), expected, "{query}");
    }
    let stats = daemon.get("/v1/stats?label=team").await.expect(200).json();
    assert_eq!(stats["service_count"], 1);
    let drain = r#"{"server":"10.0.0.1"}"#;
    daemon.post("/v1/drains", drain).await.expect(201);
    for (query, count) in [("label=team", 0), ("label=!team", 1)] {
        let drains = daemon.get(&format!("/v1/drains?{query}")).await;
        let drains = drains.expect(200).json();
        assert_eq!(drains["drains"].as_array().unwrap().len(), count, "{query}");
    }
    for path in ["services", "stats", "drains", "ramps", "watch"] {
        let refused = daemon.get(&format!("/v1/{path}?label=a%20b")).await;
        let problem = refused.problem(400, "INVALID_ARGUMENT");
        assert_eq!(problem["errors"][0]["field"], "label", "{path}");
    }
}

#[tokio::test]
async fn tables_declare_labels() {
    let daemon = Daemon::start().await;
    let table = |labels: &str| {
        format!(r#"{{"services":[{{"id":"tcp-192.0.2.2-80","servers":[]{labels}}}]}}"#)
    };
    let put = async |labels: &str| {
        let report = daemon.put("/v1/tables/web", &table(labels)).await;
        report.expect(200).json()
    };
    let created = put(r#","labels":{"team":"web"}"#).await;
    assert_eq!(
        created["operations"][0]["after"]["service"]["labels"],
        json!({"team": "web"})
    );
    let changed = put(r#","labels":{"team":"db"}"#).await;
    let operation = &changed["operations"][0];
    assert_eq!(operation["op"], "update_service");
    assert_eq!(
        (&operation["before"], &operation["after"]),
        (
            &json!({"service": {"labels": {"team": "web"}}}),
            &json!({"service": {"labels": {"team": "db"}}})
        )
    );
    let read = daemon.get("/v1/tables/web").await.expect(200).json();
    assert_eq!(read["services"][0]["labels"], json!({"team": "db"}));
    put(r#","labels":{}"#).await;
    let read = daemon.get("/v1/tables/web").await.expect(200).json();
    assert_eq!(read["services"][0]["labels"], json!({}));
    put("").await;
    let read = daemon.get("/v1/tables/web").await.expect(200).json();
    assert_eq!(read["services"][0].get("labels"), None);
}
