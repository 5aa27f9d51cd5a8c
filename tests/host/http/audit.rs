//! `/v1/audit`.

use serde_json::{Value, json};

use super::daemon::Daemon;

/// The records of a page, the newest first, without the reads of the trail.
async fn records(daemon: &Daemon, query: &str) -> Vec<Value> {
    let list = daemon.get(&format!("/v1/audit{query}")).await;
    let mut list = list.expect(200).json();
    let records = list["records"].as_array_mut().unwrap();
    records.retain(|record| record["operation"] != "list_audit_records");
    records.clone()
}

#[tokio::test]
async fn a_change_has_a_record() {
    let daemon = Daemon::with_service().await;
    let path = "/v1/services/tcp-192.0.2.1-80/servers/10.0.0.1-80";
    let id = [("x-request-id", "change-7")];
    let changed = daemon.request(http::Method::PATCH, path, &id, r#"{"weight": 5}"#);
    changed.await.expect(200);
    let mut record = records(&daemon, "").await.remove(0);
    for (name, is_valid) in [
        ("time", record["time"].as_str().unwrap().ends_with('Z')),
        (
            "latency_seconds",
            record["latency_seconds"].as_f64().unwrap() > 0.0,
        ),
    ] {
        assert!(is_valid, "{record}");
        record.as_object_mut().unwrap().remove(name);
    }
    let server = |weight: u32| {
        json!({"server": {
            "id": "10.0.0.1-80", "address": "10.0.0.1", "port": 80, "forwarding": "masquerade",
            "weight": weight, "upper_threshold": 0, "lower_threshold": 0
        }})
    };
    let expected = json!({
        "seq": 2, "principal": "system", "credential": "system", "request_id": "change-7",
        "protocol": "http", "operation": "update_server", "service": "tcp-192.0.2.1-80",
        "server": "10.0.0.1-80", "before": server(1), "after": server(5), "outcome": "success"
    });
    assert_eq!(record, expected);
}

#[tokio::test]
async fn filters_and_pages_have_the_documented_parameters() {
    let daemon = Daemon::with_service().await;
    for _ in 0..3 {
        daemon
            .post("/v1/services/tcp-192.0.2.1-80/zero", "")
            .await
            .expect(204);
    }
    daemon.post("/v1/zero", "").await.expect(204);
    let all = records(&daemon, "?page_size=0").await;
    assert_eq!(all.len(), 5);
    let of_service = records(&daemon, "?service=tcp-192.0.2.1-80").await;
    assert_eq!(of_service, all[1..]);
    // Any spelling of the id.
    assert_eq!(
        records(&daemon, "?service=fwmark-7").await,
        [] as [Value; 0]
    );
    assert_eq!(records(&daemon, "?principal=system").await, all);
    assert_eq!(records(&daemon, "?principal=other").await, [] as [Value; 0]);
    let time = all[2]["time"].as_str().unwrap();
    let later = records(&daemon, &format!("?since_time={time}")).await;
    assert!(later.len() >= 3 && later.contains(&all[2]));
    let earlier = records(&daemon, &format!("?until_time={time}")).await;
    assert!(!earlier.contains(&all[2]) && earlier.len() + later.len() == 5);

    let mut query = "?page_size=2".to_owned();
    let mut seqs = Vec::new();
    loop {
        let page = daemon
            .get(&format!("/v1/audit{query}"))
            .await
            .expect(200)
            .json();
        let records = page["records"].as_array().unwrap();
        assert!(records.len() <= 2);
        let list = records
            .iter()
            .filter(|record| record["operation"] != "list_audit_records");
        seqs.extend(list.map(|record| record["seq"].as_u64().unwrap()));
        match page["next_page_token"].as_str() {
            Some(token) => query = format!("?page_size=2&page_token={token}"),
            None => break,
        }
    }
    assert_eq!(seqs, [5, 4, 3, 2, 1]);
}

#[tokio::test]
async fn invalid_parameters_are_named() {
    let daemon = Daemon::start().await;
    for (query, field) in [
        ("since_time=yesterday", "since_time"),
        ("until_time=2026-01-31", "until_time"),
        ("service=x", "service"),
        ("page_size=1001", "page_size"),
        ("page_token=x", "page_token"),
        ("actor=x", "actor"),
    ] {
        let response = daemon.get(&format!("/v1/audit?{query}")).await;
        response.invalid_field(field);
    }
}

#[tokio::test]
async fn a_failure_has_its_reason() {
    let daemon = Daemon::start().await;
    daemon
        .delete("/v1/services/tcp-192.0.2.1-80")
        .await
        .expect(404);
    let record = records(&daemon, "").await.remove(0);
    assert_eq!(record["operation"], "delete_service");
    assert_eq!(record["outcome"], "failure");
    assert_eq!(record["reason"], "SERVICE_NOT_FOUND");
}
