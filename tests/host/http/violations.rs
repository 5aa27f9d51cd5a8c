//! Which fields an error names: all that are wrong, at once; and numbers and lists in every spelling
//! that the documents allow.

use http::Method;

use super::daemon::{Daemon, Response};

const SERVICE: &str = "/v1/services/tcp-192.0.2.1-80";
const SERVER: &str = "/v1/services/tcp-192.0.2.1-80/servers/10.0.0.1-80";

#[track_caller]
fn fields(response: &Response) -> Vec<String> {
    let problem = response.problem(400, "INVALID_ARGUMENT");
    let errors = problem["errors"].as_array().unwrap().iter();
    let fields = errors.map(|error| error["field"].as_str().unwrap().to_owned());
    fields.collect()
}

#[tokio::test]
async fn an_invalid_key_does_not_hide_other_fields_nor_those_of_the_servers() {
    let daemon = Daemon::with_service().await;
    let servers = r#""servers":[{"address":"10.0.0.1","weight":-1},
        {"address":"x","port":70000,"forwarding":"mail"},{"id":"y","weight":99999999999}]"#;
    let expected = [
        "scheduler",
        "persistence.timeout_seconds",
        "servers[0].weight",
        "servers[1].address",
        "servers[1].port",
        "servers[1].forwarding",
        "servers[2].id",
        "servers[2].weight",
    ];
    let others = format!(r#""scheduler":"a b","persistence":{{"timeout_seconds":0}},{servers}"#);
    let body = format!(r#"{{"protocol":"tcp","address":"x","port":70000,{others}}}"#);
    let response = daemon.post("/v1/services", &body).await;
    assert_eq!(
        fields(&response),
        [&["address", "port"][..], &expected].concat()
    );
    let body = format!(r#"{{"id":"x","port":70000,{others}}}"#);
    let response = daemon.post("/v1/services", &body).await;
    let with = |names: &[&'static str]| [names, &expected].concat();
    assert_eq!(fields(&response), with(&["id", "port"]));
    let response = daemon
        .put(SERVICE, &format!(r#"{{"port":81,{others}}}"#))
        .await;
    assert_eq!(fields(&response), with(&["port"]));
    let response = daemon.put(SERVICE, &format!("{{{others}}}")).await;
    assert_eq!(fields(&response), expected);
    let body = r#"{"port":81,"scheduler":"a b","servers":[]}"#;
    let response = daemon.patch(SERVICE, body).await;
    assert_eq!(fields(&response), ["port", "servers", "scheduler"]);

    let body = r#"{"address":"x","port":70000,"weight":-1,"forwarding":"mail"}"#;
    let response = daemon.post(&format!("{SERVICE}/servers"), body).await;
    assert_eq!(
        fields(&response),
        ["address", "port", "forwarding", "weight"]
    );
    let body = r#"{"address":"10.0.0.9","port":81,"weight":-1}"#;
    for response in [
        daemon.put(SERVER, body).await,
        daemon.patch(SERVER, body).await,
    ] {
        assert_eq!(fields(&response), ["address", "port", "weight"]);
    }
}

#[tokio::test]
async fn a_field_that_contradicts_the_path_is_named_with_the_path() {
    let daemon = Daemon::with_service().await;
    daemon
        .post("/v1/services", r#"{"id":"fwmark6-7"}"#)
        .await
        .expect(201);
    for (path, body, field, named) in [
        (SERVICE, r#"{"port":81}"#, "port", "tcp-192.0.2.1-80"),
        (
            SERVICE,
            r#"{"protocol":"udp"}"#,
            "protocol",
            "tcp-192.0.2.1-80",
        ),
        (
            SERVICE,
            r#"{"address":"192.0.2.2"}"#,
            "address",
            "tcp-192.0.2.1-80",
        ),
        (SERVICE, r#"{"fwmark":7}"#, "fwmark", "tcp-192.0.2.1-80"),
        (
            SERVICE,
            r#"{"id":"tcp-192.0.2.1-81"}"#,
            "id",
            "tcp-192.0.2.1-80",
        ),
        (
            "/v1/services/fwmark6-7",
            r#"{"fwmark":8}"#,
            "fwmark",
            "fwmark6-7",
        ),
        (
            "/v1/services/fwmark6-7",
            r#"{"family":"ipv4"}"#,
            "family",
            "fwmark6-7",
        ),
        (
            "/v1/services/fwmark6-7",
            r#"{"port":80}"#,
            "port",
            "fwmark6-7",
        ),
        (SERVER, r#"{"port":81}"#, "port", "10.0.0.1-80"),
        (
            SERVER,
            r#"{"address":"10.0.0.2"}"#,
            "address",
            "10.0.0.1-80",
        ),
        (SERVER, r#"{"id":"10.0.0.2-80"}"#, "id", "10.0.0.1-80"),
    ] {
        for method in [Method::PUT, Method::PATCH] {
            let response = daemon.request(method.clone(), path, &[], body).await;
            assert_eq!(fields(&response), [field], "{method} {path} {body}");
            let message = response.invalid_field(field);
            assert!(message.contains(named), "{path} {body}: {message}");
        }
    }
    for (path, body) in [
        (SERVICE, r#"{"port":80,"protocol":"tcp"}"#),
        ("/v1/services/fwmark6-7", r#"{"fwmark":7}"#),
        ("/v1/services/fwmark6-7", r#"{"fwmark":7,"family":"ipv6"}"#),
    ] {
        daemon.patch(path, body).await.expect(200);
    }
}

#[tokio::test]
async fn a_number_without_fraction_is_an_integer() {
    let daemon = Daemon::with_service().await;
    let body = r#"{"protocol":"udp","address":"192.0.2.1","port":5.3e1,"scheduler":"rr",
        "persistence":{"timeout_seconds":60.0},
        "servers":[{"address":"10.0.0.1","port":53.0,"forwarding":"tunnel","weight":7.0,
            "upper_threshold":10.0,"lower_threshold":1.0,"tunnel":{"type":"gue","port":6080.0}}]}"#;
    let service = daemon.post("/v1/services", body).await.expect(201).json();
    assert_eq!(service["id"], "udp-192.0.2.1-53");
    assert_eq!(service["servers"][0]["weight"], 7);
    let body = r#"{"fwmark":7.0,"family":"ipv6","persistence":{"netmask":64.0}}"#;
    daemon.post("/v1/services", body).await.expect(201);
    let timeouts = daemon.patch("/v1/timeouts", r#"{"tcp_seconds":1e3}"#).await;
    assert_eq!(timeouts.expect(200).json()["tcp_seconds"], 1000);
    let body = r#"{"drop_entry":1.0,"sync_threshold":[3.0,5e1]}"#;
    let settings = daemon.patch("/v1/settings", body).await.expect(200).json();
    assert_eq!(settings["drop_entry"], 1);
    assert_eq!(settings["sync_threshold"], serde_json::json!([3, 50]));
    let body = r#"{"interface":"eth0","sync_id":1.0,"max_length":1472.0,"multicast_port":8848.0}"#;
    daemon
        .put("/v1/sync-daemons/master", body)
        .await
        .expect(201);
    for body in [
        r#"{"weight":1.5}"#,
        r#"{"weight":1e19}"#,
        r#"{"weight":"1"}"#,
    ] {
        let message = daemon.patch(SERVER, body).await.invalid_field("weight");
        assert!(message.contains("an integer"), "{body}: {message}");
    }
    let message = daemon
        .patch(SERVER, r#"{"weight":1e18}"#)
        .await
        .invalid_field("weight");
    assert!(message.contains("out of range"), "{message}");
}

#[tokio::test]
async fn a_repeated_key_is_refused_in_every_body() {
    let daemon = Daemon::with_service().await;
    for (path, body, field) in [
        (
            "/v1/settings",
            r#"{"drop_entry":1,"drop_entry":2}"#,
            "drop_entry",
        ),
        (
            "/v1/settings",
            r#"{"changed":true,"changed":true}"#,
            "changed",
        ),
        (
            "/v1/timeouts",
            r#"{"tcp_seconds":1,"tcp_seconds":2}"#,
            "tcp_seconds",
        ),
        (
            SERVICE,
            r#"{"scheduler":"rr","scheduler":"wrr"}"#,
            "scheduler",
        ),
        (SERVER, r#"{"weight":1,"weight":1}"#, "weight"),
    ] {
        let message = daemon.patch(path, body).await.invalid_field(field);
        assert!(message.contains("duplicate"), "{path}: {message}");
    }
}

#[tokio::test]
async fn a_setting_with_some_values_names_them() {
    let daemon = Daemon::start().await;
    for value in ["0", "3", "65", "\"x\""] {
        let body = format!(r#"{{"sync_ports":{value}}}"#);
        let message = daemon.patch("/v1/settings", &body).await;
        let message = message.invalid_field("sync_ports");
        assert!(message.contains("a power of 2 from 1 to 64"), "{message}");
    }
    for value in [1, 2, 64] {
        let body = format!(r#"{{"sync_ports":{value}}}"#);
        daemon.patch("/v1/settings", &body).await.expect(200);
    }
}

#[tokio::test]
async fn empty_elements_of_a_list_of_etags_are_ignored() {
    let daemon = Daemon::with_service().await;
    let etag = daemon.get(SERVICE).await.header("etag").to_owned();
    for list in [
        format!(",,{etag}"),
        format!(", ,\t{etag},"),
        format!("\"x\",,{etag} , "),
    ] {
        let headers = [("if-match", list.as_str())];
        let response = daemon.request(Method::PATCH, SERVICE, &headers, "{}").await;
        response.expect(200);
        let headers = [("if-none-match", list.as_str())];
        daemon.get_with_headers(SERVICE, &headers).await.expect(304);
    }
    for broken in [",", " , ", "", "\"a\" \"b\""] {
        let headers = [("if-match", broken)];
        let response = daemon.request(Method::PATCH, SERVICE, &headers, "{}").await;
        response.problem(400, "INVALID_ARGUMENT");
    }
}
