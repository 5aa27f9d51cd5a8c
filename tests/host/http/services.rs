//! `/v1/services`.

use http::Method;
use serde_json::{Value, json};

use super::daemon::Daemon;

const SERVICE: &str = "/v1/services/tcp-192.0.2.1-80";

fn ids(list: &Value) -> Vec<&str> {
    let services = list["services"].as_array().unwrap();
    services.iter().map(|s| s["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn post_returns_the_service_as_stored_and_its_location() {
    let daemon = Daemon::start().await;
    let body = r#"{"protocol":"tcp","address":"2001:DB8:0::1","port":443}"#;
    let response = daemon.post("/v1/services", body).await.expect(201);
    let location = response.header("location");
    assert_eq!(location, "/v1/services/tcp-2001:db8::1-443");
    let created = response.json();
    assert_eq!(created["scheduler"], "wlc");
    assert_eq!(created["changed"], true);
    assert_eq!(created["servers"], json!([]));
    assert!(created.get("persistence").is_none());

    let read = daemon.get(location).await.expect(200);
    assert_eq!(read.header("etag"), response.header("etag"));
    let mut read = read.json();
    read["changed"] = true.into();
    assert_eq!(read, created);

    daemon
        .post("/v1/services", body)
        .await
        .problem(409, "SERVICE_EXISTS");
}

#[tokio::test]
async fn ids_are_accepted_in_any_spelling_and_returned_in_canonical_form() {
    let daemon = Daemon::start().await;
    daemon
        .put("/v1/services/udp-2001:db8::1-53", "{}")
        .await
        .expect(201);
    for id in [
        "udp-2001:db8::1-53",
        "udp-2001:DB8:0:0::1-53",
        "udp-[2001:db8::1]-53",
        "udp-%5B2001%3Adb8%3A%3A1%5D-53",
        "udp-2001:db8::1-0053",
    ] {
        let read = daemon.get(&format!("/v1/services/{id}")).await.expect(200);
        assert_eq!(read.json()["id"], "udp-2001:db8::1-53", "{id}");
    }
    for id in [
        "x",
        "tcp-192.0.2.1",
        "tcp-192.0.2.1-65536",
        "icmp-192.0.2.1-1",
        "fwmark-x",
        "%FF",
    ] {
        let response = daemon.get(&format!("/v1/services/{id}")).await;
        response.invalid_field("service");
    }
}

#[tokio::test]
async fn put_creates_then_changes_nothing_then_replaces() {
    let daemon = Daemon::start().await;
    let body = r#"{"scheduler":"sh","scheduler_flags":["sh-port"],"persistence":{}}"#;
    let response = daemon.put(SERVICE, body).await.expect(201);
    assert_eq!(response.header("location"), SERVICE);
    let response = daemon.put(SERVICE, body).await.expect(200);
    assert_eq!(response.header("location"), "");
    assert_eq!(response.json()["changed"], false);

    let response = daemon.put(SERVICE, "{}").await.expect(200);
    let service = response.json();
    assert_eq!(service["changed"], true);
    assert_eq!(service["scheduler"], "wlc");
    assert_eq!(service["scheduler_flags"], json!([]));
    assert!(service.get("persistence").is_none());

    daemon
        .put(SERVICE, r#"{"id":"tcp-192.0.2.1-81"}"#)
        .await
        .invalid_field("id");
}

#[tokio::test]
async fn put_replaces_the_server_set_only_if_the_body_has_servers() {
    let daemon = Daemon::with_service().await;
    let service = daemon
        .put(SERVICE, r#"{"scheduler":"lc"}"#)
        .await
        .expect(200)
        .json();
    assert_eq!(service["server_count"], 2);
    let body = r#"{"servers":[{"address":"10.0.0.2"},{"address":"10.0.0.3"}]}"#;
    let service = daemon.put(SERVICE, body).await.expect(200).json();
    let servers = service["servers"].as_array().unwrap();
    let ids: Vec<_> = servers.iter().map(|s| s["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 2);
    assert!(ids.contains(&"10.0.0.2-80") && ids.contains(&"10.0.0.3-80"));
    let service = daemon
        .put(SERVICE, r#"{"servers":[]}"#)
        .await
        .expect(200)
        .json();
    assert_eq!(service["servers"], json!([]));
}

#[tokio::test]
async fn patch_keeps_absent_fields_and_clears_null_fields() {
    let daemon = Daemon::start().await;
    let body = r#"{"scheduler":"rr","persistence":{"timeout_seconds":60,"netmask":"255.255.255.0"},
                   "persistence_engine":"sip"}"#;
    daemon
        .put("/v1/services/udp-192.0.2.1-5060", body)
        .await
        .expect(201);
    let path = "/v1/services/udp-192.0.2.1-5060";
    let service = daemon
        .patch(path, r#"{"scheduler":"wrr"}"#)
        .await
        .expect(200)
        .json();
    assert_eq!(service["scheduler"], "wrr");
    assert_eq!(service["persistence"]["timeout_seconds"], 60);
    assert_eq!(service["persistence_engine"], "sip");

    let merge = [(
        "content-type",
        "application/merge-patch+json; charset=utf-8",
    )];
    let body = r#"{"persistence":{"timeout_seconds":null},"persistence_engine":null}"#;
    let service = daemon
        .request(Method::PATCH, path, &merge, body)
        .await
        .expect(200)
        .json();
    assert_eq!(service["persistence"]["timeout_seconds"], 300);
    assert_eq!(service["persistence"]["netmask"], "255.255.255.0");
    assert!(service.get("persistence_engine").is_none());

    let service = daemon
        .patch(path, r#"{"persistence":null}"#)
        .await
        .expect(200)
        .json();
    assert!(service.get("persistence").is_none());
    let service = daemon.patch(path, "{}").await.expect(200).json();
    assert_eq!(service["changed"], false);

    daemon
        .patch(path, r#"{"servers":[]}"#)
        .await
        .invalid_field("servers");
    daemon
        .patch(SERVICE, "{}")
        .await
        .problem(404, "SERVICE_NOT_FOUND");
}

#[tokio::test]
async fn the_body_of_a_get_can_be_put_unchanged() {
    let daemon = Daemon::with_service().await;
    let path = format!("{SERVICE}?include=servers,stats,rates");
    let shown = daemon.get(&path).await.expect(200);
    let text = std::str::from_utf8(&shown.body).unwrap();
    let response = daemon.put(SERVICE, text).await.expect(200);
    assert_eq!(response.json()["changed"], false);
    let server = "/v1/services/tcp-192.0.2.1-80/servers/10.0.0.2-80";
    let shown = daemon.get(&format!("{server}?include=stats,rates")).await;
    let mut body = shown.expect(200).json();
    // Read-only fields are ignored, `etag` included.
    body["etag"] = "r-0000000000000000".into();
    body["active_connections"] = "many".into();
    let response = daemon.put(server, &body.to_string()).await.expect(200);
    assert_eq!(response.json()["changed"], false);
}

#[tokio::test]
async fn delete_of_a_missing_service_is_404_without_allow_missing() {
    let daemon = Daemon::with_service().await;
    let response = daemon.delete(SERVICE).await.expect(204);
    assert!(response.body.is_empty());
    daemon
        .delete(SERVICE)
        .await
        .problem(404, "SERVICE_NOT_FOUND");
    daemon
        .delete(&format!("{SERVICE}?allow_missing=false"))
        .await
        .expect(404);
    daemon
        .delete(&format!("{SERVICE}?allow_missing=true"))
        .await
        .expect(204);
    daemon
        .delete(&format!("{SERVICE}?allow_missing=yes"))
        .await
        .invalid_field("allow_missing");
}

#[tokio::test]
async fn clear_requires_the_number_of_services() {
    let daemon = Daemon::with_service().await;
    daemon.delete("/v1/services").await.invalid_field("confirm");
    let response = daemon.delete("/v1/services?confirm=2").await;
    response.problem(412, "CONFIRM_MISMATCH");
    daemon
        .delete("/v1/services?confirm=-1")
        .await
        .invalid_field("confirm");
    assert_eq!(daemon.kernel.services().len(), 1);
    let response = daemon.delete("/v1/services?confirm=1").await.expect(200);
    assert_eq!(response.json(), json!({"deleted": 1}));
    assert!(daemon.kernel.services().is_empty());
}

#[tokio::test]
async fn include_selects_the_parts_of_a_list() {
    let daemon = Daemon::with_service().await;
    let list = |include: &'static str| {
        let daemon = &daemon;
        async move {
            let path = format!("/v1/services{include}");
            daemon.get(&path).await.expect(200).json()["services"][0].clone()
        }
    };
    let service = list("").await;
    assert_eq!(service["server_count"], 2);
    assert_eq!(service["servers"][0]["id"], "10.0.0.1-80");
    assert!(service.get("stats").is_none() && service["servers"][0].get("stats").is_none());

    let service = list("?include=none").await;
    assert!(service.get("servers").is_none() && service.get("server_count").is_none());
    let service = list("?include=stats").await;
    assert!(service.get("servers").is_none());
    assert_eq!(service["stats"]["bytes_in"], 0);
    let service = list("?include=servers,stats,rates").await;
    assert_eq!(service["servers"][1]["rates"]["packets_out"], 0);

    // Repeating the parameter gives the same list.
    let path = "/v1/services?include=servers&include=stats,rates";
    let repeated = daemon.get(path).await.expect(200).json();
    assert_eq!(repeated["services"][0], service);
    assert_eq!(
        list("?include=none,stats").await,
        list("?include=stats").await
    );

    for bad in ["", "x", "servers,", "servers&include="] {
        let response = daemon.get(&format!("/v1/services?include={bad}")).await;
        response.invalid_field("include");
    }
}

#[tokio::test]
async fn a_list_contains_the_same_services_as_single_reads() {
    let daemon = Daemon::with_service().await;
    daemon
        .put("/v1/services/fwmark6-7", r#"{"scheduler":"mh"}"#)
        .await
        .expect(201);
    for include in ["servers", "none", "servers,stats,rates"] {
        let list = daemon
            .get(&format!("/v1/services?include={include}"))
            .await
            .json();
        for service in list["services"].as_array().unwrap() {
            let id = service["id"].as_str().unwrap();
            let single = daemon
                .get(&format!("/v1/services/{id}?include={include}"))
                .await;
            assert_eq!(&single.json(), service);
        }
    }
}

#[tokio::test]
async fn lists_are_filtered_and_sorted() {
    let daemon = Daemon::start().await;
    for (id, body) in [
        ("tcp-192.0.2.1-80", "{}"),
        ("udp-192.0.2.1-53", r#"{"scheduler":"rr"}"#),
        ("tcp-2001:db8::1-80", "{}"),
        ("fwmark-7", "{}"),
    ] {
        daemon
            .put(&format!("/v1/services/{id}"), body)
            .await
            .expect(201);
    }
    for (query, expected) in [
        ("protocol=udp", vec!["udp-192.0.2.1-53"]),
        (
            "address=192.0.2.1",
            vec!["tcp-192.0.2.1-80", "udp-192.0.2.1-53"],
        ),
        ("address=2001:DB8:0::1", vec!["tcp-2001:db8::1-80"]),
        ("address=%5B2001:db8::1%5D", vec!["tcp-2001:db8::1-80"]),
        ("port=80", vec!["tcp-192.0.2.1-80", "tcp-2001:db8::1-80"]),
        ("fwmark=7", vec!["fwmark-7"]),
        ("scheduler=rr", vec!["udp-192.0.2.1-53"]),
        ("scheduler=nothing", vec![]),
        (
            "port=80&protocol=tcp&address=192.0.2.1",
            vec!["tcp-192.0.2.1-80"],
        ),
        (
            "sort=-id",
            vec![
                "fwmark-7",
                "udp-192.0.2.1-53",
                "tcp-2001:db8::1-80",
                "tcp-192.0.2.1-80",
            ],
        ),
    ] {
        let list = daemon
            .get(&format!("/v1/services?{query}"))
            .await
            .expect(200)
            .json();
        assert_eq!(ids(&list), expected, "{query}");
    }
    for (query, field) in [
        ("protocol=http", "protocol"),
        ("address=example.org", "address"),
        ("port=65536", "port"),
        ("fwmark=-1", "fwmark"),
        ("sort=name", "sort"),
        ("sort=id,kernel", "sort"),
        ("sort=id&sort=-id", "sort"),
        ("protocol=6", "protocol"),
        ("page_size=x", "page_size"),
        ("page_size=100001", "page_size"),
        ("page_token=x", "page_token"),
        ("prot=tcp", "prot"),
        ("port=80&port=81", "port"),
    ] {
        let response = daemon.get(&format!("/v1/services?{query}")).await;
        response.invalid_field(field);
    }
}

#[tokio::test]
async fn pages_contain_every_service_once() {
    let daemon = Daemon::start().await;
    for port in 1..=5 {
        let path = format!("/v1/services/tcp-192.0.2.1-{port}");
        daemon.put(&path, "{}").await.expect(201);
    }
    let mut seen = Vec::new();
    let mut path = "/v1/services?page_size=2".to_owned();
    for page in 1..=3 {
        let list = daemon.get(&path).await.expect(200).json();
        seen.extend(ids(&list).into_iter().map(str::to_owned));
        match list["next_page_token"].as_str() {
            Some(token) => {
                assert!(page < 3);
                path = format!("/v1/services?page_size=2&page_token={token}");
            }
            None => assert_eq!(page, 3),
        }
    }
    let expected: Vec<_> = (1..=5)
        .map(|port| format!("tcp-192.0.2.1-{port}"))
        .collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn changes_of_other_programs_show_up_in_the_next_response() {
    let daemon = Daemon::with_service().await;
    daemon.get(SERVICE).await.expect(200);
    daemon.kernel.flush();
    daemon.get(SERVICE).await.problem(404, "SERVICE_NOT_FOUND");
    assert!(ids(&daemon.get("/v1/services").await.json()).is_empty());
}

#[tokio::test]
async fn kernel_errors_contain_errno_and_hint() {
    let daemon = Daemon::start().await;
    let response = daemon.put(SERVICE, r#"{"scheduler":"wrd"}"#).await;
    let problem = response.problem(422, "SCHEDULER_UNAVAILABLE");
    assert_eq!(problem["errno"], "ENOENT");
    assert!(problem["hint"].is_string());

    daemon.kernel.faults().unload();
    let response = daemon.get("/v1/services").await;
    response.problem(503, "KERNEL_UNAVAILABLE");
    assert!(!response.header("retry-after").is_empty());
}
