//! The field `health_check`, the health of servers and overrides.

use serde_json::{Value, json};

use super::daemon::Daemon;

const SERVICE: &str = "/v1/services/tcp-192.0.2.1-80";
const HEALTH: &str = "/v1/health/tcp-192.0.2.1-80";
const OVERRIDE: &str = "/v1/health/tcp-192.0.2.1-80/10.0.0.1-80/override";

/// A service with the servers 10.0.0.1 and a health check.
async fn checked() -> Daemon {
    let daemon = Daemon::with_service().await;
    let body = r#"{"health_check": {"type": "http", "path": "/healthz"}}"#;
    daemon.patch(SERVICE, body).await.expect(200);
    daemon
}

async fn check(daemon: &Daemon) -> Value {
    daemon.get(SERVICE).await.expect(200).json()["health_check"].clone()
}

#[tokio::test]
async fn a_patch_merges_a_health_check_and_a_put_without_it_keeps_it() {
    let daemon = checked().await;
    let etag = daemon.get(SERVICE).await.json()["etag"].clone();
    let expected = json!({"type": "http", "interval_seconds": 2, "timeout_seconds": 1, "rise": 2, "fall": 3,
        "path": "/healthz", "method": "GET", "expect_status": "200-399", "down_action": "weight_zero"});
    assert_eq!(check(&daemon).await, expected);
    let body = r#"{"health_check": {"fall": 5, "path": null}}"#;
    let changed = daemon.patch(SERVICE, body).await.expect(200).json();
    assert_eq!(changed["changed"], true);
    assert_ne!(changed["etag"], etag);
    assert_eq!(changed["health_check"]["fall"], 5);
    assert_eq!(changed["health_check"]["path"], "/");
    let same = daemon.patch(SERVICE, body).await.expect(200).json();
    assert_eq!(same["changed"], false);
    daemon
        .put(SERVICE, r#"{"scheduler": "rr"}"#)
        .await
        .expect(200);
    assert_eq!(check(&daemon).await, changed["health_check"]);
    // What is shown can be sent back.
    let whole = daemon.get(SERVICE).await.json();
    let again = daemon.put(SERVICE, &whole.to_string()).await.expect(200);
    assert_eq!(again.json()["changed"], false);
    let other = r#"{"health_check": {"type": "tcp"}}"#;
    let replaced = daemon.put(SERVICE, other).await.expect(200).json();
    assert_eq!(replaced["health_check"]["fall"], 3);
    daemon
        .put(SERVICE, r#"{"health_check": {}}"#)
        .await
        .expect(200);
    assert_eq!(check(&daemon).await, Value::Null);
}

#[tokio::test]
async fn invalid_health_checks_name_the_field_and_change_nothing() {
    let daemon = checked().await;
    let before = check(&daemon).await;
    for (body, field) in [
        (r#"{"health_check": {"type": "ping"}}"#, "health_check.type"),
        (
            r#"{"health_check": {"interval_seconds": 0}}"#,
            "health_check.interval_seconds",
        ),
        (
            r#"{"health_check": {"timeout_seconds": 3}}"#,
            "health_check.timeout_seconds",
        ),
        (r#"{"health_check": {"sni": "a"}}"#, "health_check.sni"),
        (
            r#"{"health_check": {"min_healthy": "0"}}"#,
            "health_check.min_healthy",
        ),
        (r#"{"health_check": {"path": "x"}}"#, "health_check.path"),
        (
            r#"{"health_check": {"retries": 1}}"#,
            "health_check.retries",
        ),
    ] {
        let problem = daemon
            .patch(SERVICE, body)
            .await
            .problem(400, "INVALID_ARGUMENT");
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
    }
    assert_eq!(check(&daemon).await, before);
}

#[tokio::test]
async fn the_health_of_servers_is_listed_and_shown() {
    let daemon = checked().await;
    let health = daemon.get(HEALTH).await.expect(200).json();
    assert_eq!(health["service"], "tcp-192.0.2.1-80");
    assert_eq!(health["healthy_count"], 1);
    assert_eq!(
        (&health["below_min"], &health["storm"]),
        (&json!(false), &json!(false))
    );
    let server = &health["servers"][0];
    assert_eq!(
        (&server["server"], &server["state"]),
        (&json!("10.0.0.1-80"), &json!("unknown"))
    );
    let list = daemon.get("/v1/health").await.expect(200).json();
    assert_eq!(list, json!({ "services": [health] }));
    let none = daemon.get("/v1/health?label=a=b").await.expect(200).json();
    assert_eq!(none, json!({"services": []}));
    daemon
        .patch(SERVICE, r#"{"health_check": null}"#)
        .await
        .expect(200);
    daemon
        .get(HEALTH)
        .await
        .problem(404, "HEALTH_CHECK_NOT_FOUND");
    let missing = daemon.get("/v1/health/tcp-192.0.2.9-80").await;
    missing.problem(404, "SERVICE_NOT_FOUND");
    let empty = daemon.get("/v1/health").await.expect(200).json();
    assert_eq!(empty, json!({"services": []}));
}

#[tokio::test]
async fn an_override_holds_a_server_until_it_is_deleted() {
    let daemon = checked().await;
    let body = r#"{"state": "down", "expires_seconds": 600}"#;
    let down = daemon.put(OVERRIDE, body).await.expect(200).json();
    assert_eq!(down["state"], "forced_down");
    assert!(down["override_expire_time"].is_string(), "{down}");
    let server = format!("{SERVICE}/servers/10.0.0.1-80");
    let held = daemon.get(&server).await.expect(200).json();
    assert_eq!(
        (&held["weight"], &held["effective_weight"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(held["holds"][0]["kind"], "manual");
    let dry_run = format!("{OVERRIDE}?dry_run=true");
    daemon.delete(&dry_run).await.expect(200);
    assert_eq!(daemon.get(&server).await.json()["effective_weight"], 0);
    let ended = daemon.delete(OVERRIDE).await.expect(200).json();
    assert_eq!(ended["state"], "unknown");
    assert_eq!(daemon.get(&server).await.json()["effective_weight"], 1);
    let problem = daemon.put(OVERRIDE, r#"{"state": "off"}"#).await;
    assert_eq!(
        problem.problem(400, "INVALID_ARGUMENT")["errors"][0]["field"],
        "state"
    );
    let other = OVERRIDE.replace("10.0.0.1", "10.0.0.9");
    daemon
        .put(&other, body)
        .await
        .problem(404, "SERVER_NOT_FOUND");
}

const RESULT: &str = "/v1/health/tcp-192.0.2.1-80/10.0.0.1-80";

#[tokio::test]
async fn each_type_has_its_own_fields() {
    let daemon = checked().await;
    for (body, expected) in [
        (
            json!({"type": "grpc", "grpc_service": "shop.v1.Cart", "tls": true}),
            json!({"type": "grpc", "interval_seconds": 2, "timeout_seconds": 1, "rise": 2, "fall": 3,
                "down_action": "weight_zero", "grpc_service": "shop.v1.Cart", "tls": true, "tls_verify": true}),
        ),
        (
            json!({"type": "dns", "query_name": "example.com", "expect_rcode": "NOERROR,NXDOMAIN"}),
            json!({"type": "dns", "interval_seconds": 2, "timeout_seconds": 1, "rise": 2, "fall": 3,
                "down_action": "weight_zero", "query_name": "example.com", "query_type": "SOA",
                "expect_rcode": "NOERROR,NXDOMAIN"}),
        ),
        (
            json!({"type": "external", "expire_seconds": 60}),
            json!({"type": "external", "rise": 1, "fall": 1, "down_action": "weight_zero", "expire_seconds": 60}),
        ),
    ] {
        let whole = json!({"scheduler": "rr", "health_check": body}).to_string();
        let made = daemon.put(SERVICE, &whole).await.expect(200).json();
        assert_eq!(made["health_check"], expected);
        // What is shown can be sent back.
        let whole = daemon.get(SERVICE).await.json();
        let again = daemon.put(SERVICE, &whole.to_string()).await.expect(200);
        assert_eq!(again.json()["changed"], false);
    }
    for (body, field) in [
        (r#"{"type": "grpc", "path": "/"}"#, "path"),
        (r#"{"type": "grpc", "sni": "a"}"#, "sni"),
        (r#"{"type": "dns", "query_type": "ANY"}"#, "query_type"),
        (r#"{"type": "dns", "expire_seconds": 9}"#, "expire_seconds"),
        (r#"{"interval_seconds": 2}"#, "interval_seconds"),
        (r#"{"expire_seconds": 2678401}"#, "expire_seconds"),
    ] {
        let body = format!(r#"{{"health_check": {body}}}"#);
        let refused = daemon.patch(SERVICE, &body).await;
        let problem = refused.problem(400, "INVALID_ARGUMENT");
        let expected = format!("health_check.{field}");
        assert_eq!(problem["errors"][0]["field"], expected, "{problem}");
    }
}

#[tokio::test]
async fn results_are_reported_for_the_type_external() {
    let daemon = checked().await;
    let bad = r#"{"healthy": false, "reason": "replication lag of 90 s"}"#;
    let refused = daemon.put(RESULT, bad).await;
    let problem = refused.problem(409, "HEALTH_CHECK_NOT_EXTERNAL");
    assert!(problem["hint"].as_str().unwrap().contains("external"));
    let body = r#"{"health_check": {"type": "external"}}"#;
    daemon.patch(SERVICE, body).await.expect(200);
    let tried = format!("{RESULT}?dry_run=true");
    let tried = daemon.put(&tried, bad).await.expect(200).json();
    assert_eq!(tried["state"], "unknown");
    let down = daemon.put(RESULT, bad).await.expect(200).json();
    assert_eq!(
        (&down["state"], &down["reason"]),
        (&json!("down"), &json!("replication lag of 90 s"))
    );
    assert!(down["last_check_time"].is_string() && down["latency_seconds"].is_null());
    let server = format!("{SERVICE}/servers/10.0.0.1-80");
    let held = daemon.get(&server).await.expect(200).json();
    assert_eq!(
        (&held["weight"], &held["effective_weight"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(held["holds"][0]["kind"], "health");
    let shown = daemon.get(HEALTH).await.expect(200).json();
    assert_eq!(shown["servers"][0], down);
    let up = daemon.put(RESULT, r#"{"healthy": true}"#).await.expect(200);
    assert_eq!(up.json()["state"], "up");
    assert_eq!(daemon.get(&server).await.json()["effective_weight"], 1);
}

#[tokio::test]
async fn invalid_results_name_the_field_and_change_nothing() {
    let daemon = checked().await;
    let body = r#"{"health_check": {"type": "external"}}"#;
    daemon.patch(SERVICE, body).await.expect(200);
    let long = json!({"healthy": false, "reason": "x".repeat(257)}).to_string();
    for (body, field) in [
        (r"{}", "healthy"),
        (r#"{"healthy": "no"}"#, "healthy"),
        (r#"{"healthy": null}"#, "healthy"),
        (r#"{"healthy": false, "reason": "a\u0007"}"#, "reason"),
        (r#"{"healthy": false, "state": "down"}"#, "state"),
        (long.as_str(), "reason"),
    ] {
        let problem = daemon.put(RESULT, body).await;
        let problem = problem.problem(400, "INVALID_ARGUMENT");
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
    }
    let huge = json!({"healthy": false, "reason": "x".repeat(8 << 20)}).to_string();
    daemon.put(RESULT, &huge).await.problem(413, "TOO_LARGE");
    let good = r#"{"healthy": true}"#;
    let other = RESULT.replace("10.0.0.1", "10.0.0.9");
    daemon
        .put(&other, good)
        .await
        .problem(404, "SERVER_NOT_FOUND");
    let other = RESULT.replace("192.0.2.1", "192.0.2.9");
    daemon
        .put(&other, good)
        .await
        .problem(404, "SERVICE_NOT_FOUND");
    daemon
        .put("/v1/health/tcp-192.0.2.1-80/x", good)
        .await
        .problem(400, "INVALID_ARGUMENT");
    daemon.get(RESULT).await.problem(405, "METHOD_NOT_ALLOWED");
    let shown = daemon.get(HEALTH).await.expect(200).json();
    assert_eq!(shown["servers"][0]["state"], "unknown");
}

#[tokio::test]
async fn a_fallback_server_is_shown_with_its_membership_and_is_no_configuration() {
    let daemon = checked().await;
    let body = r#"{"health_check": {"fallback_servers": [{"id": "10.0.9.1-80", "forwarding": "masquerade"}]}}"#;
    let changed = daemon.patch(SERVICE, body).await.expect(200).json();
    let check = &changed["health_check"];
    assert_eq!(
        (&check["below_min"], &check["min_healthy"]),
        (&json!("fallback"), &json!("1"))
    );
    assert_eq!(check["fallback_servers"][0]["weight"], 1);
    daemon
        .put(OVERRIDE, r#"{"state": "down"}"#)
        .await
        .expect(200);
    let service = daemon.get(SERVICE).await.expect(200).json();
    assert_eq!(service["etag"], changed["etag"]);
    let servers = service["servers"].as_array().unwrap();
    let memberships = servers
        .iter()
        .map(|server| (server["id"].as_str(), server["membership"].as_str()));
    let memberships: Vec<_> = memberships.collect();
    assert!(
        memberships.contains(&(Some("10.0.9.1-80"), Some("fallback"))),
        "{service}"
    );
    assert_eq!(memberships.len(), 3, "{service}");
    // It can be sent back.
    let again = daemon.put(SERVICE, &service.to_string()).await.expect(200);
    assert_eq!(again.json()["changed"], false);
    let server = format!("{SERVICE}/servers/10.0.9.1-80");
    let problem = daemon.delete(&server).await.problem(409, "SERVICE_OWNED");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("is a fallback server"), "{problem}");
    let health = daemon.get(HEALTH).await.expect(200).json();
    assert_eq!(
        (&health["fallback"], &health["below_min"]),
        (&json!(true), &json!(true))
    );
    daemon.delete(OVERRIDE).await.expect(200);
    let service = daemon.get(SERVICE).await.expect(200).json();
    let mut fallback = service["servers"].as_array().unwrap().iter();
    let fallback = fallback.find(|server| server["membership"] == "fallback");
    assert!(
        fallback.is_none_or(|server| server["effective_weight"] == 0),
        "{service}"
    );
}

#[tokio::test]
async fn a_server_is_not_both_a_server_and_a_fallback_server() {
    let daemon = checked().await;
    let server = json!({"id": "10.0.0.1-80", "forwarding": "masquerade"});
    let body = json!({"scheduler": "rr", "servers": [server],
        "health_check": {"type": "tcp", "fallback_servers": [server]}});
    let problem = daemon.put(SERVICE, &body.to_string()).await;
    let problem = problem.problem(400, "INVALID_ARGUMENT");
    let field = "health_check.fallback_servers[0]";
    assert_eq!(problem["errors"][0]["field"], field, "{problem}");
}
