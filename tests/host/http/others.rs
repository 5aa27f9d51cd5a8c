//! Counters, timeouts, sync daemons, settings, info, health.

use http::Method;
use ipvsd::kernel::fake::{Counters, ServiceId};
use serde_json::json;

use super::daemon::Daemon;

#[tokio::test]
async fn zero_resets_counters() {
    let daemon = Daemon::with_service().await;
    let id = ServiceId::tcp("192.0.2.1:80".parse().unwrap());
    let counters = Counters {
        connections: 7,
        ..Counters::default()
    };
    for path in ["/v1/zero", "/v1/services/tcp-192.0.2.1-80/zero"] {
        assert!(daemon.kernel.set_counters(id, counters));
        daemon
            .request(Method::POST, path, &[], "")
            .await
            .expect(204);
        let path = "/v1/services/tcp-192.0.2.1-80?include=stats";
        assert_eq!(daemon.get(path).await.json()["stats"]["connections"], 0);
    }
    let response = daemon
        .request(Method::POST, "/v1/services/fwmark-1/zero", &[], "")
        .await;
    response.problem(404, "SERVICE_NOT_FOUND");
}

#[tokio::test]
async fn patch_of_timeouts_keeps_absent_fields_and_refuses_zero() {
    let daemon = Daemon::start().await;
    let all = json!({"tcp_seconds": 900, "tcp_fin_seconds": 120, "udp_seconds": 300});
    assert_eq!(daemon.get("/v1/timeouts").await.expect(200).json(), all);
    let response = daemon
        .patch("/v1/timeouts", r#"{"tcp_seconds":1800}"#)
        .await
        .expect(200);
    assert_eq!(response.json()["tcp_seconds"], 1800);
    assert_eq!(response.json()["udp_seconds"], 300);
    assert_eq!(response.json()["changed"], true);
    let stale = response.header("etag").to_owned();
    let response = daemon
        .patch("/v1/timeouts", r#"{"tcp_seconds":null}"#)
        .await
        .expect(200);
    assert_eq!(response.json()["tcp_seconds"], 900);
    let response = daemon
        .request(Method::PATCH, "/v1/timeouts", &[("if-match", &stale)], "{}")
        .await;
    response.problem(412, "REVISION_MISMATCH");
    for (body, field) in [
        (r#"{"tcp_seconds":0}"#, "tcp_seconds"),
        (r#"{"udp_seconds":2678401}"#, "udp_seconds"),
        (r#"{"tcp":1}"#, "tcp"),
    ] {
        daemon
            .patch("/v1/timeouts", body)
            .await
            .invalid_field(field);
    }
}

#[tokio::test]
async fn put_restarts_a_sync_daemon_only_if_its_configuration_differs() {
    let daemon = Daemon::start().await;
    let path = "/v1/sync-daemons/master";
    assert_eq!(
        daemon.get("/v1/sync-daemons").await.json(),
        json!({"sync_daemons": []})
    );
    daemon
        .get(path)
        .await
        .problem(404, "SYNC_DAEMON_NOT_RUNNING");
    let response = daemon
        .put(path, r#"{"interface":"eth0","sync_id":7}"#)
        .await
        .expect(201);
    assert_eq!(response.header("location"), path);
    assert_eq!(response.json()["multicast_group"], "224.0.0.81");
    let shown = daemon.get(path).await.expect(200);
    assert_eq!(shown.header("etag"), response.header("etag"));
    let text = std::str::from_utf8(&shown.body).unwrap();
    let again = daemon.put(path, text).await.expect(200);
    assert_eq!(again.json()["changed"], false);
    let other = daemon
        .put(path, r#"{"interface":"eth0"}"#)
        .await
        .expect(200);
    assert_eq!(other.json()["changed"], true);
    assert_eq!(other.json()["sync_id"], 0);
    let absent = [("if-none-match", "*")];
    let response = daemon
        .request(Method::PUT, path, &absent, r#"{"interface":"eth0"}"#)
        .await;
    response.problem(412, "REVISION_MISMATCH");

    let list = daemon.get("/v1/sync-daemons").await.json();
    assert_eq!(list["sync_daemons"][0]["state"], "master");
    daemon.delete(path).await.expect(204);
    daemon
        .delete(path)
        .await
        .problem(404, "SYNC_DAEMON_NOT_RUNNING");
    daemon
        .delete(&format!("{path}?allow_missing=true"))
        .await
        .expect(204);

    daemon.put(path, "{}").await.invalid_field("interface");
    daemon
        .put("/v1/sync-daemons/slave", "{}")
        .await
        .invalid_field("state");
}

#[tokio::test]
async fn settings_are_typed_and_validated_before_the_first_is_written() {
    let daemon = Daemon::start().await;
    let settings = daemon.get("/v1/settings").await.expect(200).json();
    assert_eq!(settings["expire_nodest_conn"], false);
    assert_eq!(settings["sync_threshold"], json!([3, 50]));
    let body = r#"{"expire_nodest_conn":true,"drop_entry":3}"#;
    let response = daemon.patch("/v1/settings", body).await.expect(200).json();
    assert_eq!(response["expire_nodest_conn"], true);
    assert_eq!(response["drop_entry"], 3);
    assert_eq!(response["changed"], true);
    let response = daemon.patch("/v1/settings", body).await.expect(200).json();
    assert_eq!(response["changed"], false);
    // The body of a response can be sent back.
    let again = daemon
        .patch("/v1/settings", &response.to_string())
        .await
        .expect(200);
    assert_eq!(again.json()["changed"], false);
    for (body, field) in [
        (r#"{"drop_entry":1,"drop_packet":4}"#, "drop_packet"),
        (r#"{"drop_entry":1,"nonsense":4}"#, "nonsense"),
        (r#"{"drop_entry":null}"#, "drop_entry"),
        (r#"{"expire_nodest_conn":1}"#, "expire_nodest_conn"),
        (r#"{"drop_entry":{}}"#, "drop_entry"),
    ] {
        daemon
            .patch("/v1/settings", body)
            .await
            .invalid_field(field);
    }
    assert_eq!(daemon.get("/v1/settings").await.json()["drop_entry"], 3);
}

#[tokio::test]
async fn stats_contain_totals_and_rankings() {
    let daemon = Daemon::with_service().await;
    let stats = daemon.get("/v1/stats").await.expect(200).json();
    assert_eq!(stats["service_count"], 1);
    assert_eq!(stats["server_count"], 2);
    assert_eq!(stats["top_servers"].as_array().unwrap().len(), 2);
    let path = "/v1/stats?top=1&sort=-stats.bytes_in";
    let stats = daemon.get(path).await.expect(200).json();
    assert_eq!(stats["top_servers"].as_array().unwrap().len(), 1);
    daemon.get("/v1/stats?top=101").await.invalid_field("top");
    daemon.get("/v1/stats?sort=x").await.invalid_field("sort");
}

#[tokio::test]
async fn info_describes_daemon_and_kernel() {
    let daemon = Daemon::start().await;
    let info = daemon.get("/v1/info").await.expect(200).json();
    assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(info["kernel"]["kind"], "fake");
    assert_eq!(info["kernel"]["connection_table_size"], 4096);
    assert!(info["schedulers"].as_array().unwrap().len() > 10);
}

#[tokio::test]
async fn readiness_fails_without_the_kernel_and_liveness_does_not() {
    let daemon = Daemon::start().await;
    daemon.get("/readyz").await.expect(200);
    let daemon = Daemon::start().await;
    daemon.kernel.faults().unload();
    daemon.get("/healthz").await.expect(200);
    let response = daemon.get("/readyz").await;
    response.problem(503, "KERNEL_UNAVAILABLE");
}
