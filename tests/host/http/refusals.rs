//! Requests that are refused before they reach the kernel.

use http::Method;
use ipvsd::kernel::fake::command;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::daemon::{Daemon, options_with_body};

const SERVICE: &str = "/v1/services/tcp-192.0.2.1-80";

#[tokio::test]
async fn an_unknown_path_is_a_problem() {
    let daemon = Daemon::start().await;
    for path in ["/v2/services", "/v2", "/v1/services/a/b"] {
        daemon.get(path).await.problem(404, "NOT_FOUND");
    }
}

#[tokio::test]
async fn an_unsupported_method_yields_405_with_allow() {
    let daemon = Daemon::start().await;
    for (method, path, allowed) in [
        (
            Method::PUT,
            "/v1/services",
            ["GET", "POST", "DELETE"].as_slice(),
        ),
        (Method::POST, SERVICE, &["GET", "PUT", "PATCH", "DELETE"]),
        (Method::GET, "/v1/zero", &["POST"]),
        (Method::DELETE, "/v1/timeouts", &["GET", "PATCH"]),
        (Method::POST, "/healthz", &["GET"]),
        (Method::POST, "/openapi.json", &["GET"]),
    ] {
        let response = daemon.request(method, path, &[], "").await;
        response.problem(405, "METHOD_NOT_ALLOWED");
        for method in allowed {
            assert!(
                response.header("allow").contains(method),
                "{path}: {response:?}"
            );
        }
    }
}

#[tokio::test]
async fn an_unsupported_media_type_yields_415() {
    let daemon = Daemon::start().await;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    for (method, path) in [
        (Method::POST, "/v1/services"),
        (Method::PUT, SERVICE),
        (Method::PATCH, SERVICE),
        (Method::PATCH, "/v1/timeouts"),
        (Method::PATCH, "/v1/settings"),
        (Method::PUT, "/v1/sync-daemons/master"),
    ] {
        let response = daemon.request(method.clone(), path, &form, "{}").await;
        let problem = response.problem(415, "UNSUPPORTED_MEDIA_TYPE");
        assert!(problem["hint"].as_str().unwrap().contains("Content-Type"));
        assert_eq!(
            method == Method::PATCH,
            !response.header("accept-patch").is_empty()
        );
        let untyped = daemon
            .request(method, path, &[("content-type", "")], "{}")
            .await;
        untyped.problem(415, "UNSUPPORTED_MEDIA_TYPE");
    }
    let merge = [("content-type", "application/merge-patch+json")];
    let response = daemon.request(Method::PUT, SERVICE, &merge, "{}").await;
    response.problem(415, "UNSUPPORTED_MEDIA_TYPE");
    let json = [("content-type", "Application/JSON ; charset=utf-8")];
    daemon
        .request(Method::PUT, SERVICE, &json, "{}")
        .await
        .expect(201);
}

#[tokio::test]
async fn a_body_that_is_not_a_json_object_is_refused() {
    let daemon = Daemon::start().await;
    for (body, expected) in [
        ("", "empty"),
        (" ", "invalid JSON"),
        ("{", "invalid JSON"),
        ("{}{}", "invalid JSON"),
        ("{\"port\":1e999}", "invalid JSON"),
        ("[]", "expected an object"),
        ("null", "expected an object"),
        ("\"x\"", "expected an object"),
    ] {
        let message = daemon.put(SERVICE, body).await.invalid_field("");
        assert!(message.contains(expected), "{body}: {message}");
    }
}

#[tokio::test]
async fn errors_name_invalid_fields_and_the_allowed_values() {
    let daemon = Daemon::with_service().await;
    for (body, field, expected) in [
        (r#"{"algorithm":"rr"}"#, "algorithm", "`scheduler`"),
        (r#"{"scheduler":7}"#, "scheduler", "expected a string"),
        (
            r#"{"one_packet":"yes"}"#,
            "one_packet",
            "expected a boolean",
        ),
        (r#"{"port":"80"}"#, "port", "expected an integer"),
        (r#"{"port":80.5}"#, "port", "expected an integer"),
        (
            r#"{"persistence":{"timeout":5}}"#,
            "persistence.timeout",
            "`timeout_seconds`",
        ),
        (
            r#"{"persistence":{"timeout_seconds":0}}"#,
            "persistence.timeout_seconds",
            "1 to",
        ),
        (r#"{"persistence":[]}"#, "persistence", "expected an object"),
        (
            r#"{"servers":[{"address":"10.0.0.1"},{"address":"10.0.0.2","weight":-1}]}"#,
            "servers[1].weight",
            "0 to 65535",
        ),
        (
            r#"{"servers":[{"address":"10.0.0.1","forwarding":"tunnel","tunnel":{"type":"vxlan"}}]}"#,
            "servers[0].tunnel.type",
            "gue",
        ),
    ] {
        let response = daemon.put(SERVICE, body).await;
        let problem = response.problem(400, "INVALID_ARGUMENT");
        let errors = problem["errors"].as_array().unwrap();
        let error = errors.iter().find(|error| error["field"] == field);
        let message = error.unwrap_or_else(|| panic!("{problem}"))["message"]
            .as_str()
            .unwrap();
        assert!(message.contains(expected), "{body}: {message}");
    }
}

#[tokio::test]
async fn every_operation_refuses_unknown_parameters() {
    let daemon = Daemon::with_service().await;
    for (method, path, body) in [
        (Method::GET, "/v1/services", ""),
        (Method::POST, "/v1/services", "{}"),
        (Method::DELETE, "/v1/services", ""),
        (Method::GET, SERVICE, ""),
        (Method::PUT, SERVICE, "{}"),
        (Method::PATCH, SERVICE, "{}"),
        (Method::DELETE, SERVICE, ""),
        (Method::GET, "/v1/services/tcp-192.0.2.1-80/servers", ""),
        (Method::POST, "/v1/services/tcp-192.0.2.1-80/servers", "{}"),
        (Method::GET, "/v1/drains", ""),
        (Method::POST, "/v1/drains", "{}"),
        (Method::GET, "/v1/drains/00c0ffee5ca1ab1e", ""),
        (Method::DELETE, "/v1/drains/00c0ffee5ca1ab1e", ""),
        (Method::GET, "/v1/ramps", ""),
        (Method::POST, "/v1/ramps", "{}"),
        (Method::GET, "/v1/ramps/00c0ffee5ca1ab1e", ""),
        (Method::DELETE, "/v1/ramps/00c0ffee5ca1ab1e", ""),
        (Method::POST, "/v1/zero", ""),
        (Method::GET, "/v1/timeouts", ""),
        (Method::PATCH, "/v1/timeouts", "{}"),
        (Method::GET, "/v1/sync-daemons", ""),
        (Method::DELETE, "/v1/sync-daemons/master", ""),
        (Method::GET, "/v1/connections", ""),
        (Method::GET, "/v1/stats", ""),
        (Method::GET, "/v1/info", ""),
        (Method::GET, "/v1/settings", ""),
        (Method::PATCH, "/v1/settings", "{}"),
    ] {
        let response = daemon
            .request(method, &format!("{path}?nosuch=1"), &[], body)
            .await;
        let message = response.problem(400, "INVALID_ARGUMENT")["errors"].to_string();
        assert!(message.contains("nosuch"), "{path}: {message}");
    }
    assert_eq!(daemon.kernel.services().len(), 1);
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused_with_and_without_content_length() {
    let daemon = Daemon::with(options_with_body(64)).await;
    let long = format!(r#"{{"scheduler":"{}"}}"#, "x".repeat(64));
    daemon.put(SERVICE, &long).await.problem(413, "TOO_LARGE");
    let fits = format!(r#"{{"scheduler":"rr"}}{}"#, " ".repeat(46));
    daemon.put(SERVICE, &fits).await.expect(201);

    let mut socket = tokio::net::TcpStream::connect(daemon.address)
        .await
        .unwrap();
    let head = format!(
        "PUT {SERVICE} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\nconnection: close\r\n\r\n50\r\n{}\r\n0\r\n\r\n",
        " ".repeat(0x50)
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 413 "), "{text}");
    assert!(text.contains("TOO_LARGE"), "{text}");
}

#[tokio::test]
async fn a_problem_contains_the_id_of_its_request() {
    let daemon = Daemon::start().await;
    let id = [("x-request-id", "test-7")];
    for path in [SERVICE, "/nowhere", "/v1/services?x=1"] {
        let response = daemon.get_with_headers(path, &id).await;
        let problem: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(problem["request_id"], "test-7", "{path}");
        let length: usize = response.header("content-length").parse().unwrap();
        assert_eq!(length, response.body.len());
    }
    let problem = daemon.get(SERVICE).await.problem(404, "SERVICE_NOT_FOUND");
    assert!(problem.get("request_id").is_none());
}

#[tokio::test]
async fn invalid_requests_do_not_reach_the_kernel() {
    let daemon = Daemon::start().await;
    daemon.kernel.reset_counts();
    daemon.put(SERVICE, r#"{"port":"x"}"#).await.expect(400);
    daemon.get("/v1/services?x=1").await.expect(400);
    daemon.get("/v1/services/x").await.expect(400);
    for command in [command::NEW_SERVICE, command::GET_SERVICE] {
        assert_eq!(daemon.kernel.commands(command), 0);
    }
    // Another program may have set it: the service is read, and does not exist.
    daemon
        .put(SERVICE, r#"{"one_packet":true}"#)
        .await
        .expect(400);
    assert_eq!(daemon.kernel.commands(command::NEW_SERVICE), 0);
}
