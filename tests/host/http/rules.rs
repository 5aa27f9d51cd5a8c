//! `/v1/rules` and `/v1/listing`.

use http::{Method, StatusCode};
use ipvsd::{http::HttpOptions, server::Limits};

use super::daemon::{Daemon, Response};

const TABLE: &str = "\
-A -t 192.0.2.1:80 -s wlc -p 60
-a -t 192.0.2.1:80 -r 192.168.10.2:80 -m -w 1 -x 9 -y 4
-a -t 192.0.2.1:80 -r 192.168.10.1:80 -m -w 2
";

async fn restore(daemon: &Daemon, query: &str, text: &str) -> Response {
    let path = format!("/v1/rules{query}");
    let headers = [("content-type", "text/plain")];
    daemon.request(Method::POST, &path, &headers, text).await
}

async fn table(daemon: &Daemon) -> String {
    let response = daemon.get("/v1/rules").await;
    assert_eq!(
        response.headers["content-type"],
        "text/plain; charset=utf-8"
    );
    String::from_utf8(response.body.to_vec()).unwrap()
}

#[tokio::test]
async fn restored_rules_are_saved_sorted_or_restorable() {
    let daemon = Daemon::start().await;
    let response = restore(&daemon, "", TABLE).await;
    assert_eq!(response.status, StatusCode::OK);
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&response.body).unwrap(),
        serde_json::json!({"commands": 3, "done": 3, "refused": 0})
    );
    let sorted = table(&daemon).await;
    assert!(sorted.find("10.1:80").unwrap() < sorted.find("10.2:80").unwrap());
    let text = daemon.get("/v1/rules?order=restorable").await.body;
    assert_eq!(text, TABLE);
    let response = restore(&daemon, "?clear=true", TABLE).await;
    assert_eq!(response.status, StatusCode::OK);
    assert_eq!(table(&daemon).await, sorted);
    // Not modified since.
    let tag = daemon.get("/v1/rules").await.headers["etag"].clone();
    let headers = [("if-none-match", tag.to_str().unwrap())];
    let response = daemon.get_with_headers("/v1/rules", &headers).await;
    assert_eq!(response.status, StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn an_invalid_text_changes_nothing_and_every_invalid_line_is_reported() {
    let daemon = Daemon::start().await;
    restore(&daemon, "", TABLE).await;
    let before = table(&daemon).await;
    let response = restore(
        &daemon,
        "?clear=true",
        "-C\n-A -t vip:80\nfoo\n-L\n-A -t 1.2.3.4\n",
    )
    .await;
    assert_eq!(response.status, StatusCode::BAD_REQUEST);
    let problem: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    let fields: Vec<_> = problem["errors"].as_array().unwrap().iter().collect();
    let fields: Vec<_> = fields
        .iter()
        .map(|e| e["field"].as_str().unwrap())
        .collect();
    assert_eq!(fields, ["lines[2]", "lines[3]", "lines[4]", "lines[5]"]);
    let response = restore(&daemon, "?dry_run=true", "-C\n").await;
    assert_eq!(response.status, StatusCode::OK);
    assert_eq!(table(&daemon).await, before);
}

#[tokio::test]
async fn commands_refused_by_the_kernel_are_reported_and_on_error_decides_about_the_rest() {
    let daemon = Daemon::start().await;
    let text = "-A -t 192.0.2.1:80\n-A -t 192.0.2.1:80\n-A -t 192.0.2.2:80\n";
    let response = restore(&daemon, "", text).await;
    assert_eq!(response.status, StatusCode::CONFLICT);
    let problem: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(problem["reason"], "SERVICE_EXISTS");
    assert_eq!(problem["errno"], "EEXIST");
    assert_eq!(problem["errors"][0]["field"], "lines[2]");
    assert_eq!(table(&daemon).await.lines().count(), 2);
    let response = restore(&daemon, "?clear=true&on_error=stop", text).await;
    assert_eq!(response.status, StatusCode::CONFLICT);
    assert_eq!(table(&daemon).await.lines().count(), 1);
    // As a stream.
    let headers = [
        ("content-type", "text/plain"),
        ("accept", "application/x-ndjson"),
    ];
    let response = daemon
        .request(Method::POST, "/v1/rules", &headers, text)
        .await;
    assert_eq!(response.status, StatusCode::OK);
    let events = String::from_utf8(response.body.to_vec()).unwrap();
    assert!(
        events.contains(r#"{"event":"refused","line":1,"#),
        "{events}"
    );
    assert!(events.ends_with("{\"event\":\"end\",\"commands\":3,\"done\":1,\"refused\":2}\n"));
}

#[tokio::test]
async fn texts_have_a_limit_a_media_type_and_the_same_origin() {
    let daemon = Daemon::with(HttpOptions {
        max_body_bytes: 10,
        max_rules_bytes: 200,
        ..Limits::default().http_options()
    })
    .await;
    assert_eq!(restore(&daemon, "", TABLE).await.status, StatusCode::OK);
    let long = TABLE.repeat(3);
    let response = restore(&daemon, "", &long).await;
    assert_eq!(response.status, StatusCode::PAYLOAD_TOO_LARGE);
    let response = daemon.post("/v1/rules", "-C\n").await;
    assert_eq!(response.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let from = |origin: &'static str| [("content-type", "text/plain"), ("origin", origin)];
    let foreign = from("http://example.com");
    let response = daemon
        .request(Method::POST, "/v1/rules", &foreign, "-C\n")
        .await;
    assert_eq!(response.status, StatusCode::FORBIDDEN);
    for query in ["?order=x", "?clear=maybe", "?on_error=x", "?nosuch=1"] {
        let response = restore(&daemon, query, "-C\n").await;
        assert_eq!(response.status, StatusCode::BAD_REQUEST, "{query}");
    }
    assert_eq!(table(&daemon).await.lines().count(), 3);
}

#[tokio::test]
async fn the_listing_has_the_columns_of_ipvsadm() {
    let daemon = Daemon::start().await;
    restore(&daemon, "", TABLE).await;
    let response = daemon.get("/v1/listing").await;
    assert_eq!(
        response.headers["content-type"],
        "text/plain; charset=utf-8"
    );
    assert_eq!(
        response.body,
        "IP Virtual Server version 1.2.1 (size=4096)\n\
         Prot LocalAddress:Port Scheduler Flags\n  \
         -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n\
         TCP  192.0.2.1:80 wlc persistent 60\n  \
         -> 192.168.10.1:80              Masq    2      0          0         \n  \
         -> 192.168.10.2:80              Masq    1      0          0         \n"
    );
    let response = daemon
        .get("/v1/listing?columns=thresholds&order=kernel&exact=true")
        .await;
    let text = String::from_utf8(response.body.to_vec()).unwrap();
    let line = "  -> 192.168.10.2:80              9          4          0          0         ";
    assert!(text.lines().any(|other| other == line), "{text}");
    // The kernel lists the newest server first.
    assert!(text.find("10.1:80").unwrap() < text.find("10.2:80").unwrap());
    for bad in ["columns=all", "order=up", "exact=2", "sort=id"] {
        let response = daemon.get(&format!("/v1/listing?{bad}")).await;
        assert_eq!(response.status, StatusCode::BAD_REQUEST, "{bad}");
    }
}
