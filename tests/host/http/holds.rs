//! Drains and ramps.

use serde_json::{Value, json};

use super::daemon::{Daemon, Response};

const SERVER: &str = "/v1/services/tcp-192.0.2.1-80/servers/10.0.0.1-80";
const NONE: &str = "00c0ffee5ca1ab1e";

/// Checks that a time is that of now, and takes it out.
#[track_caller]
fn take_time(object: &mut Value, name: &str) {
    let time = object.as_object_mut().unwrap().remove(name).unwrap();
    let time: jiff::Timestamp = time.as_str().unwrap().parse().unwrap();
    let age = jiff::Timestamp::now().duration_since(time).as_secs();
    assert!((0..60).contains(&age), "{name}: {age} seconds ago");
}

/// The fields that an error names.
#[track_caller]
fn fields(response: &Response) -> Vec<String> {
    let problem = response.problem(400, "INVALID_ARGUMENT");
    let errors = problem["errors"].as_array().unwrap().iter();
    let fields = errors.map(|error| error["field"].as_str().unwrap().to_owned());
    fields.collect()
}

async fn weights(daemon: &Daemon) -> (Value, Value) {
    let server = daemon.get(SERVER).await.expect(200).json();
    (server["weight"].clone(), server["effective_weight"].clone())
}

/// Sets the weight of the server to 7, so that it differs from the default.
async fn weighted() -> Daemon {
    let daemon = Daemon::with_service().await;
    daemon.patch(SERVER, r#"{"weight":7}"#).await.expect(200);
    daemon
}

#[tokio::test]
async fn a_drain_is_created_shown_and_deleted() {
    let daemon = weighted().await;
    let response = daemon
        .post(
            "/v1/drains",
            r#"{"server":"10.0.0.1","deadline_seconds":300}"#,
        )
        .await
        .expect(201);
    let mut drain = response.json();
    let id = drain["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/drains/{id}");
    assert_eq!(response.header("location"), path);
    take_time(&mut drain, "create_time");
    let member = json!({
        "service": "tcp-192.0.2.1-80", "server": "10.0.0.1-80", "weight": 7, "effective_weight": 0,
        "active_connections": 0, "inactive_connections": 0, "persistent_connections": 0,
        "state": "drained"
    });
    assert_eq!(
        drain,
        json!({
            "id": id, "server": "10.0.0.1", "deadline_seconds": 300, "then": "keep", "state": "drained",
            "members": [member], "blockers": [], "changed": true
        })
    );
    assert_eq!(weights(&daemon).await, (json!(7), json!(0)));
    let server = daemon.get(SERVER).await.json();
    assert_eq!(
        server["holds"],
        json!([{"kind": "drain", "id": id, "weight": 0}])
    );

    let shown = daemon.get(&path).await.expect(200).json();
    let list = daemon.get("/v1/drains").await.expect(200).json();
    assert_eq!(list, json!({ "drains": [shown] }));
    let mut ended = daemon.delete(&path).await.expect(200).json();
    assert_eq!(ended["state"], "cancelled");
    take_time(&mut ended, "end_time");
    assert_eq!(weights(&daemon).await, (json!(7), json!(7)));
    // It is shown until it is deleted again.
    assert_eq!(daemon.get(&path).await.json()["state"], "cancelled");
    daemon.delete(&path).await.expect(200);
    daemon.get(&path).await.problem(404, "DRAIN_NOT_FOUND");
    assert_eq!(weights(&daemon).await, (json!(7), json!(7)));
}

#[tokio::test]
async fn the_same_drain_is_returned_and_not_created() {
    let daemon = weighted().await;
    let body = r#"{"server":"10.0.0.1-80","services":["tcp-192.0.2.1-80"]}"#;
    let first = daemon.post("/v1/drains", body).await.expect(201).json();
    let again = daemon.post("/v1/drains", body).await.expect(200);
    assert_eq!(again.header("location"), "");
    let again = again.json();
    assert_eq!(
        (&again["id"], &again["changed"]),
        (&first["id"], &json!(false))
    );
    let other = daemon.post("/v1/drains", r#"{"server":"10.0.0.1"}"#).await;
    assert_ne!(other.expect(201).json()["id"], first["id"]);
}

#[tokio::test]
async fn servers_are_removed_on_request() {
    let daemon = weighted().await;
    let body = r#"{"server":"10.0.0.1","then":"remove"}"#;
    let drain = daemon.post("/v1/drains", body).await.expect(201).json();
    assert_eq!(
        (&drain["then"], &drain["state"]),
        (&json!("remove"), &json!("drained"))
    );
    daemon.get(SERVER).await.problem(404, "SERVER_NOT_FOUND");
}

#[tokio::test]
async fn a_server_that_a_table_declares_is_not_removed() {
    let daemon = Daemon::start().await;
    let table = r#"{"services":[{"id":"tcp-192.0.2.1-80","servers":[
        {"address":"10.0.0.1","forwarding":"masquerade"}]}]}"#;
    daemon.put("/v1/tables/web", table).await.expect(200);
    let body = r#"{"server":"10.0.0.1","then":"remove"}"#;
    let problem = daemon.post("/v1/drains", body).await;
    let problem = problem.problem(409, "SERVICE_OWNED");
    assert!(
        problem["hint"].as_str().unwrap().contains("then=keep"),
        "{problem}"
    );
    assert_eq!(weights(&daemon).await, (json!(1), json!(1)));
}

#[tokio::test]
async fn a_ramp_is_created_shown_and_deleted() {
    let daemon = weighted().await;
    let body =
        r#"{"service":"tcp-192.0.2.1-80","server":"10.0.0.1-80","to":100,"over_seconds":600}"#;
    let response = daemon.post("/v1/ramps", body).await.expect(201);
    let mut ramp = response.json();
    let id = ramp["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/ramps/{id}");
    assert_eq!(response.header("location"), path);
    take_time(&mut ramp, "create_time");
    assert_eq!(
        ramp,
        json!({
            "id": id, "service": "tcp-192.0.2.1-80", "server": "10.0.0.1-80", "from": 7, "to": 100,
            "over_seconds": 600, "steps": 20, "weight": 7, "state": "ramping", "changed": true
        })
    );
    assert_eq!(weights(&daemon).await, (json!(100), json!(7)));
    let shown = daemon.get(&path).await.expect(200).json();
    assert_eq!(shown["id"], id.as_str());
    let list = daemon
        .get("/v1/ramps?state=ramping")
        .await
        .expect(200)
        .json();
    assert_eq!(list, json!({ "ramps": [shown] }));
    let mut ended = daemon.delete(&path).await.expect(200).json();
    assert_eq!(ended["state"], "cancelled");
    take_time(&mut ended, "end_time");
    assert_eq!(weights(&daemon).await, (json!(100), json!(100)));
    daemon.delete(&path).await.expect(200);
    daemon.delete(&path).await.problem(404, "RAMP_NOT_FOUND");
}

#[tokio::test]
async fn lists_have_pages_and_a_filter_of_states() {
    let daemon = weighted().await;
    let mut ids = Vec::new();
    for seconds in 1000..1005 {
        let body = json!({"server": "10.0.0.1", "deadline_seconds": seconds}).to_string();
        let drain = daemon.post("/v1/drains", &body).await.expect(201).json();
        ids.push(drain["id"].as_str().unwrap().to_owned());
    }
    let ended = ids[0].clone();
    daemon
        .delete(&format!("/v1/drains/{ended}"))
        .await
        .expect(200);
    ids.sort();
    let list = async |query: &str| {
        let (mut found, mut pages, mut more) = (Vec::new(), 0, String::new());
        loop {
            let path = format!("/v1/drains?page_size=2{query}{more}");
            let page = daemon.get(&path).await.expect(200).json();
            let drains = page["drains"].as_array().unwrap().iter();
            found.extend(drains.map(|drain| drain["id"].as_str().unwrap().to_owned()));
            pages += 1;
            let Some(token) = page["next_page_token"].as_str() else {
                return (found, pages);
            };
            more = format!("&page_token={token}");
        }
    };
    assert_eq!(list("").await, (ids.clone(), 3));
    assert_eq!(list("&state=cancelled").await, (vec![ended.clone()], 1));
    ids.retain(|id| *id != ended);
    assert_eq!(list("&state=drained").await, (ids, 2));
    // A token is for the same filter.
    let page = daemon.get("/v1/drains?page_size=1").await.json();
    let token = page["next_page_token"].as_str().unwrap();
    let path = format!("/v1/drains?state=drained&page_token={token}");
    daemon.get(&path).await.invalid_field("page_token");
    daemon
        .get("/v1/drains?page_token=x")
        .await
        .invalid_field("page_token");
    daemon
        .get("/v1/ramps?state=drained")
        .await
        .invalid_field("state");
    daemon
        .get("/v1/drains?page_size=100001")
        .await
        .invalid_field("page_size");
}

#[tokio::test]
async fn invalid_requests_name_all_fields_and_change_nothing() {
    let daemon = weighted().await;
    let many = vec!["fwmark-1"; 10_001];
    for (body, named) in [
        (json!({}), vec!["server"]),
        (
            json!({"server": "x", "services": ["y", "fwmark-1", "z"], "deadline_seconds": 0, "then": "go"}),
            vec![
                "server",
                "services[0]",
                "services[2]",
                "deadline_seconds",
                "then",
            ],
        ),
        (
            json!({"server": "10.0.0.1", "services": []}),
            vec!["services"],
        ),
        (
            json!({"server": "10.0.0.1", "services": many}),
            vec!["services"],
        ),
        (
            json!({"server": "10.0.0.1", "deadline_seconds": 2_678_401}),
            vec!["deadline_seconds"],
        ),
        (
            json!({"server": "10.0.0.1", "state": "drained"}),
            vec!["state"],
        ),
        (json!({"server": 1}), vec!["server"]),
    ] {
        let response = daemon.post("/v1/drains", &body.to_string()).await;
        assert_eq!(fields(&response), named, "{body}");
    }
    for (body, named) in [
        (json!({}), vec!["service", "server", "to", "over_seconds"]),
        (
            json!({"service": "x", "server": "y", "to": 65536, "over_seconds": 0, "steps": 1001}),
            vec!["service", "server", "to", "over_seconds", "steps"],
        ),
        (json!({"from": 1}), vec!["from"]),
    ] {
        let response = daemon.post("/v1/ramps", &body.to_string()).await;
        assert_eq!(fields(&response), named, "{body}");
    }
    let body = r#"{"server":"10.0.0.9","services":["tcp-192.0.2.1-80"]}"#;
    let response = daemon.post("/v1/drains", body).await;
    response.problem(404, "SERVER_NOT_FOUND");
    let body = r#"{"server":"10.0.0.1","services":["fwmark-9"]}"#;
    let response = daemon.post("/v1/drains", body).await;
    response.problem(404, "SERVICE_NOT_FOUND");
    for collection in ["drains", "ramps"] {
        for id in ["x", "00C0FFEE5CA1AB1E", "0"] {
            let path = format!("/v1/{collection}/{id}");
            daemon.get(&path).await.invalid_field("id");
            daemon.delete(&path).await.invalid_field("id");
        }
        assert_eq!(
            daemon
                .get(&format!("/v1/{collection}"))
                .await
                .expect(200)
                .json(),
            json!({ collection: [] })
        );
    }
    daemon
        .get(&format!("/v1/drains/{NONE}"))
        .await
        .problem(404, "DRAIN_NOT_FOUND");
    daemon
        .get(&format!("/v1/ramps/{NONE}"))
        .await
        .problem(404, "RAMP_NOT_FOUND");
    assert_eq!(weights(&daemon).await, (json!(7), json!(7)));
}

#[tokio::test]
async fn dry_runs_show_what_would_be_and_create_nothing() {
    let daemon = weighted().await;
    let body = r#"{"server":"10.0.0.1"}"#;
    let planned = daemon
        .post("/v1/drains?dry_run=true", body)
        .await
        .expect(201);
    assert_eq!(planned.header("location"), "");
    let planned = planned.json();
    let member = &planned["members"][0];
    assert_eq!(
        (&member["weight"], &planned["changed"]),
        (&json!(7), &json!(true))
    );
    let id = planned["id"].as_str().unwrap();
    daemon
        .get(&format!("/v1/drains/{id}"))
        .await
        .problem(404, "DRAIN_NOT_FOUND");

    let drain = daemon.post("/v1/drains", body).await.expect(201).json();
    let path = format!("/v1/drains/{}", drain["id"].as_str().unwrap());
    let planned = daemon.delete(&format!("{path}?dry_run=true")).await;
    assert_eq!(planned.expect(200).json()["state"], "cancelled");
    assert_eq!(daemon.get(&path).await.json()["state"], "drained");
    assert_eq!(weights(&daemon).await, (json!(7), json!(0)));
}
