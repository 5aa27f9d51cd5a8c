//! `/v1/services/{service}/servers`.

use serde_json::json;

use super::daemon::Daemon;

const SERVERS: &str = "/v1/services/tcp-192.0.2.1-80/servers";

#[tokio::test]
async fn post_of_one_server_returns_one_server() {
    let daemon = Daemon::with_service().await;
    let response = daemon
        .post(SERVERS, r#"{"address":"10.0.0.3"}"#)
        .await
        .expect(201);
    assert_eq!(
        response.header("location"),
        format!("{SERVERS}/10.0.0.3-80")
    );
    let server = response.json();
    assert_eq!(server["id"], "10.0.0.3-80");
    assert_eq!(server["forwarding"], "direct");
    assert_eq!(server["weight"], 1);
    assert_eq!(server["changed"], true);
    let read = daemon.get(response.header("location")).await.expect(200);
    assert_eq!(read.header("etag"), response.header("etag"));

    let response = daemon.post(SERVERS, r#"{"address":"10.0.0.3"}"#).await;
    response.problem(409, "SERVER_EXISTS");
    daemon.post(SERVERS, "{}").await.invalid_field("address");
    let body = r#"{"address":"10.0.0.4","weight":-1}"#;
    daemon.post(SERVERS, body).await.invalid_field("weight");
}

#[tokio::test]
async fn post_of_several_servers_is_atomic_and_returns_them_in_order() {
    let daemon = Daemon::with_service().await;
    let body = r#"{"servers":[{"address":"10.0.0.4"},{"address":"10.0.0.3","weight":0}]}"#;
    let created = daemon.post(SERVERS, body).await.expect(201).json();
    assert_eq!(created["changed"], true);
    assert_eq!(created["servers"][0]["id"], "10.0.0.4-80");
    assert_eq!(created["servers"][1]["weight"], 0);

    let body = r#"{"servers":[{"address":"10.0.0.5"},{"address":"10.0.0.3"}]}"#;
    daemon
        .post(SERVERS, body)
        .await
        .problem(409, "SERVER_EXISTS");
    let path = format!("{SERVERS}/10.0.0.5-80");
    daemon.get(&path).await.problem(404, "SERVER_NOT_FOUND");

    let body = r#"{"servers":[{"address":"10.0.0.6"},{"address":"10.0.0.7","weight":70000}]}"#;
    daemon
        .post(SERVERS, body)
        .await
        .invalid_field("servers[1].weight");
    let body = r#"{"servers":[{"address":"10.0.0.6"},{"weight":"1"}]}"#;
    daemon
        .post(SERVERS, body)
        .await
        .invalid_field("servers[1].weight");
    daemon
        .post(SERVERS, r#"{"servers":[]}"#)
        .await
        .invalid_field("servers");
    let body = r#"{"servers":[],"weight":1}"#;
    daemon.post(SERVERS, body).await.invalid_field("weight");
}

#[tokio::test]
async fn absent_null_and_zero_differ() {
    let daemon = Daemon::with_service().await;
    let path = format!("{SERVERS}/10.0.0.1-80");
    let weight = |body: &'static str| {
        let (daemon, path) = (&daemon, &path);
        async move { daemon.patch(path, body).await.expect(200).json()["weight"].clone() }
    };
    assert_eq!(weight(r#"{"weight":5}"#).await, 5);
    assert_eq!(weight(r#"{"upper_threshold":9}"#).await, 5);
    assert_eq!(weight(r#"{"weight":0}"#).await, 0);
    assert_eq!(weight("{}").await, 0);
    assert_eq!(weight(r#"{"weight":null}"#).await, 1);
    let put = daemon
        .put(&path, r#"{"weight":0}"#)
        .await
        .expect(200)
        .json();
    assert_eq!(put["weight"], 0);
    assert_eq!(put["upper_threshold"], 0);
    assert_eq!(put["forwarding"], "direct");
    let put = daemon.put(&path, r#"{}"#).await.expect(200).json();
    assert_eq!(put["weight"], 1);
}

#[tokio::test]
async fn put_and_delete_are_idempotent() {
    let daemon = Daemon::with_service().await;
    let path = format!("{SERVERS}/10.0.0.9-80");
    let body = r#"{"forwarding":"tunnel","tunnel":{"type":"gue","port":6080,"checksum":"remote"}}"#;
    let server = daemon.put(&path, body).await.expect(201).json();
    assert_eq!(
        server["tunnel"],
        json!({"type": "gue", "port": 6080, "checksum": "remote"})
    );
    let server = daemon.put(&path, body).await.expect(200).json();
    assert_eq!(server["changed"], false);
    daemon.delete(&path).await.expect(204);
    daemon.delete(&path).await.problem(404, "SERVER_NOT_FOUND");
    daemon
        .delete(&format!("{path}?allow_missing=true"))
        .await
        .expect(204);
    let response = daemon
        .delete("/v1/services/fwmark-1/servers/10.0.0.1-80")
        .await;
    response.problem(404, "SERVICE_NOT_FOUND");
}

#[tokio::test]
async fn servers_are_listed_in_kernel_order_in_pages_with_counters_on_request() {
    let daemon = Daemon::with_service().await;
    let list = daemon.get(SERVERS).await.expect(200).json();
    assert_eq!(list["servers"][0]["id"], "10.0.0.1-80");
    assert!(list["servers"][0].get("stats").is_none());
    assert!(list.get("next_page_token").is_none());

    let page = format!("{SERVERS}?sort=id&page_size=1&include=stats");
    let list = daemon.get(&page).await.expect(200).json();
    assert_eq!(list["servers"][0]["id"], "10.0.0.1-80");
    assert_eq!(list["servers"][0]["stats"]["connections"], 0);
    assert_eq!(list["estimation"], true);
    let token = list["next_page_token"].as_str().unwrap();
    let list = daemon
        .get(&format!("{page}&page_token={token}"))
        .await
        .expect(200)
        .json();
    assert_eq!(list["servers"][0]["id"], "10.0.0.2-80");
    assert!(list.get("next_page_token").is_none());

    let single = format!("{SERVERS}/10.0.0.1-80?include=stats,rates");
    let server = daemon.get(&single).await.expect(200).json();
    assert_eq!(server["rates"]["bytes_in"], 0);

    daemon
        .get(&format!("{SERVERS}?include=servers"))
        .await
        .invalid_field("include");
    daemon
        .get("/v1/services/fwmark-1/servers")
        .await
        .problem(404, "SERVICE_NOT_FOUND");
    daemon
        .get(&format!("{SERVERS}/10.0.0.1"))
        .await
        .invalid_field("server");
}

#[tokio::test]
async fn a_server_id_is_accepted_in_any_spelling() {
    let daemon = Daemon::start().await;
    daemon
        .put("/v1/services/tcp-2001:db8::1-80", "{}")
        .await
        .expect(201);
    let servers = "/v1/services/tcp-2001:db8::1-80/servers";
    let path = format!("{servers}/2001:DB8:0::A-80");
    let response = daemon.put(&path, "{}").await.expect(201);
    assert_eq!(
        response.header("location"),
        format!("{servers}/2001:db8::a-80")
    );
    daemon
        .get(&format!("{servers}/%5b2001:db8::a%5d-80"))
        .await
        .expect(200);
}
