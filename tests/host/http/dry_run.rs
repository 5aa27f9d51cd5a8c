//! `dry_run`: every write supports it, and changes nothing.

use http::Method;

use super::daemon::Daemon;

const SERVICE: &str = "/v1/services/tcp-192.0.2.1-80";
const SERVER: &str = "/v1/services/tcp-192.0.2.1-80/servers/10.0.0.1-80";

/// The state that writes can change.
async fn state(daemon: &Daemon) -> Vec<serde_json::Value> {
    let mut state = Vec::new();
    for path in [
        "/v1/services?include=servers,stats",
        "/v1/timeouts",
        "/v1/sync-daemons",
        "/v1/settings",
        "/v1/drains",
        "/v1/ramps",
    ] {
        state.push(daemon.get(path).await.expect(200).json());
    }
    state
}

#[tokio::test]
async fn every_write_succeeds_as_a_dry_run_and_changes_nothing() {
    let daemon = Daemon::with_service().await;
    let before = state(&daemon).await;
    let text = [("content-type", "text/plain"), ("x-request-id", "1")];
    for (method, path, headers, body, status) in [
        (
            Method::POST,
            "/v1/services?",
            [].as_slice(),
            r#"{"id":"fwmark-7"}"#,
            201,
        ),
        (
            Method::PUT,
            SERVICE,
            &[],
            r#"{"scheduler":"lc","servers":[]}"#,
            200,
        ),
        (Method::PATCH, SERVICE, &[], r#"{"scheduler":"lc"}"#, 200),
        (Method::DELETE, SERVICE, &[], "", 204),
        (Method::DELETE, "/v1/services?confirm=1&", &[], "", 200),
        (
            Method::POST,
            "/v1/services/tcp-192.0.2.1-80/servers",
            &[],
            r#"{"address":"10.0.0.9"}"#,
            201,
        ),
        (Method::PUT, SERVER, &[], r#"{"weight":7}"#, 200),
        (Method::PATCH, SERVER, &[], r#"{"weight":7}"#, 200),
        (Method::DELETE, SERVER, &[], "", 204),
        (
            Method::POST,
            "/v1/drains",
            &[],
            r#"{"server":"10.0.0.1"}"#,
            201,
        ),
        (
            Method::POST,
            "/v1/drains",
            &[],
            r#"{"server":"10.0.0.1-80","then":"remove"}"#,
            201,
        ),
        (
            Method::POST,
            "/v1/ramps",
            &[],
            r#"{"service":"tcp-192.0.2.1-80","server":"10.0.0.1-80","to":9,"over_seconds":9}"#,
            201,
        ),
        (Method::POST, "/v1/zero", &[], "", 204),
        (
            Method::POST,
            "/v1/services/tcp-192.0.2.1-80/zero",
            &[],
            "",
            204,
        ),
        (
            Method::PATCH,
            "/v1/timeouts",
            &[],
            r#"{"tcp_seconds":7}"#,
            200,
        ),
        (
            Method::PUT,
            "/v1/sync-daemons/master",
            &[],
            r#"{"interface":"eth0"}"#,
            201,
        ),
        (
            Method::PATCH,
            "/v1/settings",
            &[],
            r#"{"drop_entry":3}"#,
            200,
        ),
        (
            Method::POST,
            "/v1/rules?clear=true&",
            &text,
            "-A -f 7\n",
            200,
        ),
    ] {
        let separator = if path.contains('?') { "" } else { "?" };
        let path = format!("{path}{separator}dry_run=true");
        let response = daemon.request(method.clone(), &path, headers, body).await;
        let response = response.expect(status);
        if response.header("content-type") == "application/json" {
            let changed = response.json().get("changed").cloned();
            assert!(
                changed.is_none_or(|changed| changed == true),
                "{method} {path}"
            );
        }
        assert_eq!(state(&daemon).await, before, "{method} {path}");
    }
}

#[tokio::test]
async fn a_dry_run_returns_the_resulting_state_and_fails_like_the_request() {
    let daemon = Daemon::with_service().await;
    let path = format!("{SERVER}?dry_run=true");
    let server = daemon
        .patch(&path, r#"{"weight":7}"#)
        .await
        .expect(200)
        .json();
    assert_eq!(server["weight"], 7);
    let same = daemon.patch(&path, "{}").await.expect(200).json();
    assert_eq!(same["changed"], false);
    daemon
        .patch(&path, r#"{"weight":-1}"#)
        .await
        .invalid_field("weight");
    daemon
        .delete("/v1/services/fwmark-9?dry_run=true")
        .await
        .problem(404, "SERVICE_NOT_FOUND");
    daemon
        .post("/v1/services?dry_run=true", r#"{"id":"tcp-192.0.2.1-80"}"#)
        .await
        .problem(409, "SERVICE_EXISTS");
    daemon
        .delete(&format!("{SERVICE}?dry_run=yes"))
        .await
        .invalid_field("dry_run");
    // `dry_run=false` is a real write.
    daemon
        .delete(&format!("{SERVICE}?dry_run=false"))
        .await
        .expect(204);
}
