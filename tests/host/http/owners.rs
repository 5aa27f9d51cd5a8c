//! Owners of services.

use serde_json::{Value, json};

use super::daemon::Daemon;

const TABLE: &str = r#"{"services":[{"id":"tcp-192.0.2.2-80","servers":[]}]}"#;

/// Services with their owners.
fn owners(list: &Value) -> Vec<(&str, &str)> {
    let services = list["services"].as_array().unwrap().iter();
    services
        .map(|service| {
            let text = |name: &str| service[name].as_str().unwrap();
            (text("id"), text("owner"))
        })
        .collect()
}

#[tokio::test]
async fn services_have_owners_and_are_filtered_by_them() {
    let daemon = Daemon::with_service().await;
    let before = daemon.get("/v1/services").await.expect(200);
    daemon.put("/v1/tables/web", TABLE).await.expect(200);
    let all = daemon.get("/v1/services").await.expect(200).json();
    let (unmanaged, web) = (
        ("tcp-192.0.2.1-80", "_unmanaged"),
        ("tcp-192.0.2.2-80", "web"),
    );
    assert_eq!(owners(&all), [unmanaged, web]);
    let of = async |query: &str| {
        let list = daemon.get(&format!("/v1/services?{query}")).await;
        list.expect(200).json()
    };
    assert_eq!(owners(&of("owner=web").await), [web]);
    assert_eq!(
        owners(&of("owner=_unmanaged&include=none").await),
        [unmanaged]
    );
    assert_eq!(owners(&of("owner=web&port=81").await), []);
    let stats = daemon.get("/v1/stats?owner=web").await.expect(200).json();
    assert_eq!(
        (&stats["service_count"], &stats["server_count"]),
        (&json!(1), &json!(0))
    );
    for path in ["services", "stats", "drains", "ramps", "watch"] {
        let refused = daemon.get(&format!("/v1/{path}?owner=_x")).await;
        let problem = refused.problem(400, "INVALID_ARGUMENT");
        assert_eq!(problem["errors"][0]["field"], "owner", "{path}");
    }
    // The owner is read-only, and a part of what a list shows.
    let service = daemon
        .get("/v1/services/tcp-192.0.2.2-80")
        .await
        .expect(200);
    assert_eq!(service.json()["owner"], "web");
    let sent_back = daemon
        .put("/v1/services/tcp-192.0.2.2-80", &service.json().to_string())
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&sent_back["changed"], &sent_back["owner"]),
        (&json!(false), &json!("web"))
    );
    let taken = r#"{"services":[{"id":"tcp-192.0.2.1-80","scheduler":"rr","servers":[
        {"id":"10.0.0.1-80","forwarding":"masquerade"}]}]}"#;
    daemon
        .put("/v1/tables/k8s?adopt=unmanaged", taken)
        .await
        .expect(200);
    let conditional = daemon
        .get_with_headers("/v1/services", &[("if-none-match", before.header("etag"))])
        .await;
    assert_eq!(owners(&conditional.expect(200).json())[0].1, "k8s");
}

#[tokio::test]
async fn what_no_table_declares_is_a_table_that_cannot_be_written() {
    let daemon = Daemon::with_service().await;
    daemon.put("/v1/tables/web", TABLE).await.expect(200);
    let table = daemon.get("/v1/tables/_unmanaged").await.expect(200).json();
    assert_eq!(
        (&table["owner"], &table["generation"]),
        (&json!("_unmanaged"), &json!(0))
    );
    let services = table["services"].as_array().unwrap();
    assert_eq!(services.len(), 1);
    assert_eq!(services[0]["id"], "tcp-192.0.2.1-80");
    assert_eq!(services[0]["servers"][0]["id"], "10.0.0.1-80");
    for refused in [
        daemon.put("/v1/tables/_unmanaged", TABLE).await,
        daemon.delete("/v1/tables/_unmanaged?confirm=1").await,
        daemon.get("/v1/tables/_unmanaged/drift").await,
    ] {
        let problem = refused.problem(400, "INVALID_ARGUMENT");
        let message = problem["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains("read-only"), "{message}");
    }
    // What is read can be declared.
    let adopted = daemon
        .put("/v1/tables/k8s?adopt=unmanaged", &table.to_string())
        .await;
    assert_eq!(adopted.expect(200).json()["outcome"], "unchanged");
    let table = daemon.get("/v1/tables/_unmanaged").await.expect(200).json();
    assert_eq!(table["services"], json!([]));
}

#[tokio::test]
async fn tables_are_listed_in_pages() {
    let daemon = Daemon::start().await;
    for owner in ["a", "b"] {
        let empty = r#"{"services":[]}"#;
        daemon
            .put(&format!("/v1/tables/{owner}"), empty)
            .await
            .expect(200);
    }
    let first = daemon
        .get("/v1/tables?page_size=1")
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&first["tables"][0]["owner"], &first["tables"][1]),
        (&json!("a"), &Value::Null)
    );
    let token = first["next_page_token"].as_str().unwrap();
    let path = format!("/v1/tables?page_size=1&page_token={token}");
    let second = daemon.get(&path).await.expect(200).json();
    assert_eq!(second["tables"][0]["owner"], "b");
    assert_eq!(second.get("next_page_token"), None);
    let refused = daemon.get("/v1/tables?page_token=x").await;
    assert_eq!(
        refused.problem(400, "INVALID_ARGUMENT")["errors"][0]["field"],
        "page_token"
    );
}

#[tokio::test]
async fn all_operations_of_an_apply_are_listed_in_pages() {
    let daemon = Daemon::with_service().await;
    let path = "/v1/tables/web/operations";
    daemon.get(path).await.problem(404, "TABLE_NOT_FOUND");
    let table = r#"{"services":[{"id":"tcp-192.0.2.2-80","servers":[{"id":"10.0.0.1-80"}]}]}"#;
    let applied = daemon.put("/v1/tables/web", table).await.expect(200).json();
    let list = daemon.get(path).await.expect(200).json();
    for same in ["apply_id", "outcome", "operations", "operations_total"] {
        assert_eq!(list[same], applied[same]);
    }
    assert!(list.get("next_page_token").is_none());
    let first = daemon.get(&format!("{path}?page_size=1")).await;
    let first = first.expect(200).json();
    assert_eq!(first["operations"][0], applied["operations"][0]);
    let token = first["next_page_token"].as_str().unwrap();
    let next = daemon
        .get(&format!("{path}?page_size=1&page_token={token}"))
        .await;
    assert_eq!(
        next.expect(200).json()["operations"][0],
        applied["operations"][1]
    );
    daemon
        .get(&format!("{path}?page_token=x"))
        .await
        .problem(400, "INVALID_ARGUMENT");
}

#[tokio::test]
async fn reads_of_tables_refuse_unknown_query_parameters() {
    let daemon = Daemon::start().await;
    daemon.put("/v1/tables/web", TABLE).await.expect(200);
    for path in ["", "/web", "/web/drift", "/web/operations", "/_unmanaged"] {
        let path = format!("/v1/tables{path}");
        daemon.get(&path).await.expect(200);
        let refused = daemon.get(&format!("{path}?x=1")).await;
        let problem = refused.problem(400, "INVALID_ARGUMENT");
        assert_eq!(problem["errors"][0]["field"], "x", "{path}");
    }
}
