//! Health checks in requests.

use serde_json::{Value, json};

use super::*;

fn draft(json: Value) -> HealthCheckDraft {
    serde_json::from_value(json).unwrap()
}

fn made(json: Value) -> HealthCheck {
    draft(json).apply(None, Family::Ipv4).unwrap()
}

fn patched(base: &HealthCheck, json: Value) -> HealthCheck {
    draft(json).apply(Some(base), Family::Ipv4).unwrap()
}

fn fields(json: Value) -> Vec<String> {
    let error = draft(json).apply(None, Family::Ipv4).unwrap_err();
    error.violations.into_iter().map(|one| one.field).collect()
}

#[test]
fn defaults_are_filled_in_for_the_type() {
    let tcp = json!({"type": "tcp", "interval_seconds": 2, "timeout_seconds": 1, "rise": 2, "fall": 3,
        "down_action": "weight_zero"});
    assert_eq!(json!(made(json!({"type": "tcp"}))), tcp);
    let https = made(json!({"type": "https", "min_healthy": "50%"}));
    let expected = json!({"type": "https", "interval_seconds": 2, "timeout_seconds": 1, "rise": 2, "fall": 3,
        "down_action": "weight_zero", "path": "/", "method": "GET", "expect_status": "200-399",
        "tls_verify": true, "min_healthy": "50%", "below_min": "keep_all"});
    assert_eq!(json!(https), expected);
    // What is shown can be sent back, and read again.
    assert_eq!(made(expected.clone()), https);
    assert_eq!(
        serde_json::from_value::<HealthCheck>(expected).unwrap(),
        https
    );
}

#[test]
fn an_update_keeps_what_it_does_not_name_and_another_type_resets_what_depends_on_it() {
    let base = made(
        json!({"type": "http", "path": "/a", "expect_body": "ok", "fall": 5, "port": 81,
        "min_healthy": "1", "below_min": "none"}),
    );
    let same = patched(
        &base,
        json!({"path": "/b", "port": null, "min_healthy": null}),
    );
    let expected = json!({"type": "http", "path": "/b", "expect_body": "ok", "fall": 5});
    assert_eq!(same, made(expected));
    let tcp = patched(&base, json!({"type": "tcp"}));
    let expected =
        json!({"type": "tcp", "fall": 5, "port": 81, "min_healthy": "1", "below_min": "none"});
    assert_eq!(tcp, made(expected));
}

#[test]
fn each_invalid_field_is_reported() {
    assert_eq!(
        fields(json!({"rise": 0})),
        ["health_check.type", "health_check.rise"]
    );
    let all = json!({"type": "https", "interval_seconds": 0, "timeout_seconds": 3601, "rise": 0, "fall": 101,
        "port": 0, "path": "a", "host": "a b", "method": "get", "expect_status": "2xx", "expect_body": "",
        "sni": "-a", "source_address": "::1", "fwmark": 0, "down_action": "remove", "min_healthy": "0",
        "below_min": "all", "max_losses": "101%"});
    let names = all.as_object().unwrap().keys();
    let mut names: Vec<_> = names.map(|name| format!("health_check.{name}")).collect();
    names.retain(|name| name != "health_check.type");
    let mut found = fields(all);
    names.sort();
    found.sort();
    assert_eq!(found, names);
    let tcp = json!({"type": "tcp", "path": "/", "host": "a", "method": "GET", "expect_status": "200",
        "expect_body": "a", "tls_verify": true, "sni": "a"});
    assert_eq!(fields(tcp).len(), 7);
    assert_eq!(
        fields(json!({"type": "http", "sni": "a"})),
        ["health_check.sni"]
    );
    assert_eq!(
        fields(json!({"type": "tcp", "below_min": "none"})),
        ["health_check.below_min"]
    );
    let late = json!({"type": "tcp", "timeout_seconds": 3});
    assert_eq!(fields(late), ["health_check.timeout_seconds"]);
    let head = json!({"type": "http", "method": "HEAD", "expect_body": "a"});
    assert_eq!(fields(head), ["health_check.expect_body"]);
}
