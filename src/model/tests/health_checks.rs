//! Health checks in requests.

use serde_json::{Value, json};

use super::*;

fn draft(json: Value) -> HealthCheckDraft {
    serde_json::from_value(json).unwrap()
}

fn service() -> ServiceKey {
    "tcp-192.0.2.1-80".parse().unwrap()
}

fn made(json: Value) -> HealthCheck {
    draft(json).apply(None, service()).unwrap()
}

fn patched(base: &HealthCheck, json: Value) -> HealthCheck {
    draft(json).apply(Some(base), service()).unwrap()
}

fn fields(json: Value) -> Vec<String> {
    let error = draft(json).apply(None, service()).unwrap_err();
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

#[test]
fn grpc_has_a_service_and_tls() {
    let plain = json!({"type": "grpc", "interval_seconds": 2, "timeout_seconds": 1, "rise": 2, "fall": 3,
        "down_action": "weight_zero", "grpc_service": "", "tls": false});
    assert_eq!(json!(made(json!({"type": "grpc"}))), plain);
    assert_eq!(json!(made(plain.clone())), plain);
    let base = made(
        json!({"type": "grpc", "grpc_service": "shop.v1.Cart", "host": "a", "tls": true,
        "tls_verify": false, "sni": "b"}),
    );
    let same = patched(&base, json!({"fall": 2}));
    assert_eq!(
        (same.tls, same.tls_verify, same.sni.as_deref()),
        (Some(true), Some(false), Some("b"))
    );
    let without = patched(&base, json!({"tls": null, "grpc_service": null}));
    assert_eq!(without, made(json!({"type": "grpc", "host": "a"})));
    let long = "a".repeat(256);
    for (fields, name) in [
        (json!({"grpc_service": long}), "grpc_service"),
        (json!({"grpc_service": "a\nb"}), "grpc_service"),
        (json!({"sni": "a"}), "sni"),
        (json!({"tls_verify": true}), "tls_verify"),
        (json!({"tls": true, "sni": "192.0.2.1"}), "sni"),
        (json!({"host": "a b"}), "host"),
        (json!({"path": "/"}), "path"),
        (json!({"expect_rcode": "NOERROR"}), "expect_rcode"),
    ] {
        refuses("grpc", fields, name);
    }
}

#[test]
fn dns_has_a_question_and_response_codes() {
    let plain = json!({"type": "dns", "interval_seconds": 2, "timeout_seconds": 1, "rise": 2, "fall": 3,
        "down_action": "weight_zero", "query_name": ".", "query_type": "SOA", "expect_rcode": "NOERROR"});
    assert_eq!(json!(made(json!({"type": "dns"}))), plain);
    assert_eq!(json!(made(plain.clone())), plain);
    let base = made(
        json!({"type": "dns", "query_name": "_sip._udp.example.com.", "query_type": "SRV",
        "expect_rcode": "NXDOMAIN, NOERROR", "transport": "tcp"}),
    );
    assert_eq!(json!(base)["expect_rcode"], "NOERROR,NXDOMAIN");
    assert_eq!(patched(&base, json!({"transport": null})).transport, None);
    let longest = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
    made(json!({"type": "dns", "query_name": longest}));
    for (fields, name) in [
        (json!({"query_name": ""}), "query_name"),
        (json!({"query_name": ".."}), "query_name"),
        (json!({"query_name": "a..b"}), "query_name"),
        (json!({"query_name": "münchen.example"}), "query_name"),
        (json!({"query_name": "a".repeat(64)}), "query_name"),
        (json!({"query_name": format!("{longest}b")}), "query_name"),
        (json!({"query_type": "AXFR"}), "query_type"),
        (json!({"query_type": "soa"}), "query_type"),
        (json!({"expect_rcode": "0"}), "expect_rcode"),
        (json!({"transport": "quic"}), "transport"),
        (json!({"tls": true}), "tls"),
        (json!({"host": "a"}), "host"),
        (json!({"expire_seconds": 1}), "expire_seconds"),
    ] {
        refuses("dns", fields, name);
    }
}

#[test]
fn external_has_nothing_that_is_sent() {
    let plain = json!({"type": "external", "rise": 1, "fall": 1, "down_action": "weight_zero"});
    let external = made(json!({"type": "external"}));
    assert_eq!(json!(external), plain);
    assert_eq!(made(plain.clone()), external);
    assert_eq!(
        serde_json::from_value::<HealthCheck>(plain).unwrap(),
        external
    );
    for (fields, name) in [
        (json!({"interval_seconds": 2}), "interval_seconds"),
        (json!({"timeout_seconds": 1}), "timeout_seconds"),
        (json!({"port": 80}), "port"),
        (json!({"source_address": "192.0.2.1"}), "source_address"),
        (json!({"fwmark": 7}), "fwmark"),
        (json!({"max_losses": "1"}), "max_losses"),
        (json!({"path": "/"}), "path"),
        (json!({"expire_seconds": 0}), "expire_seconds"),
        (json!({"expire_seconds": 2_678_401}), "expire_seconds"),
        (json!({"rise": 0}), "rise"),
    ] {
        refuses("external", fields, name);
    }
    // Another type has other defaults, both ways.
    let base =
        made(json!({"type": "tcp", "fall": 5, "port": 81, "min_healthy": "1", "max_losses": "1"}));
    let reported = patched(&base, json!({"type": "external", "expire_seconds": 60}));
    let expected = json!({"type": "external", "expire_seconds": 60, "min_healthy": "1"});
    assert_eq!(reported, made(expected));
    let again = patched(&reported, json!({"type": "tcp"}));
    assert_eq!(again, made(json!({"type": "tcp", "min_healthy": "1"})));
}

#[test]
fn invalid_results_are_refused() {
    let check = |json: Value| {
        let draft: HealthResultDraft = serde_json::from_value(json).unwrap();
        draft.check()
    };
    let result = check(json!({"healthy": false, "reason": "lag"})).unwrap();
    assert_eq!(
        (result.healthy, result.reason.as_deref()),
        (false, Some("lag"))
    );
    assert_eq!(
        check(json!({"healthy": true, "reason": ""}))
            .unwrap()
            .reason,
        None
    );
    for (json, field) in [
        (json!({}), "healthy"),
        (
            json!({"healthy": true, "reason": "a".repeat(257)}),
            "reason",
        ),
        (json!({"healthy": true, "reason": "two\nlines"}), "reason"),
        (json!({"healthy": true, "reason": "\u{202e}"}), "reason"),
    ] {
        let violations = check(json).unwrap_err().violations;
        assert_eq!(violations[0].field, field);
    }
    for json in [
        json!({"healthy": "yes"}),
        json!({"healthy": true, "weight": 1}),
    ] {
        assert!(serde_json::from_value::<HealthResultDraft>(json).is_err());
    }
}

/// A field that a type refuses, by itself.
fn refuses(kind: &str, mut json: Value, field: &str) {
    json["type"] = json!(kind);
    assert_eq!(
        fields(json.clone()),
        [format!("health_check.{field}")],
        "{json}"
    );
}

#[test]
fn fallback_servers_have_the_shape_of_servers() {
    let servers = json!([{"id": "10.0.9.1-8080", "forwarding": "masquerade"},
        {"address": "10.0.9.2", "forwarding": "tunnel", "weight": 3, "tunnel": {"type": "gue", "port": 6080}}]);
    let check = made(json!({"type": "tcp", "fallback_servers": servers}));
    let shown = json!(check);
    assert_eq!(
        (&shown["below_min"], &shown["min_healthy"]),
        (&json!("fallback"), &json!("1"))
    );
    let expected = json!([
        {"id": "10.0.9.1-8080", "address": "10.0.9.1", "port": 8080, "forwarding": "masquerade", "weight": 1,
            "upper_threshold": 0, "lower_threshold": 0},
        {"id": "10.0.9.2-80", "address": "10.0.9.2", "port": 80, "forwarding": "tunnel", "weight": 3,
            "upper_threshold": 0, "lower_threshold": 0,
            "tunnel": {"type": "gue", "port": 6080, "checksum": "none"}}]);
    assert_eq!(shown["fallback_servers"], expected);
    // What is shown can be sent back, and read again.
    assert_eq!(made(shown.clone()), check);
    assert_eq!(serde_json::from_value::<HealthCheck>(shown).unwrap(), check);
    // An update keeps them, or replaces them as a whole; another policy resets them.
    assert_eq!(patched(&check, json!({"fall": 3})), check);
    let one = patched(
        &check,
        json!({"fallback_servers": [{"address": "10.0.9.3"}]}),
    );
    assert_eq!(one.fallback_servers.unwrap().len(), 1);
    let none = patched(&check, json!({"below_min": "none"}));
    assert_eq!(none.fallback_servers, None);
    let without = patched(&check, json!({"fallback_servers": null}));
    assert_eq!(
        (without.fallback_servers, without.below_min),
        (None, Some(BelowMin::KeepAll))
    );
    // As a mask that names the whole check makes it.
    let masked =
        json!({"type": "tcp", "below_min": null, "min_healthy": null, "fallback_servers": servers});
    assert_eq!(made(masked), check);
    let min = patched(&check, json!({"min_healthy": null}));
    assert_eq!(min, check);
}

#[test]
fn each_invalid_fallback_server_is_reported() {
    let of = |servers: Value| json!({"type": "tcp", "fallback_servers": servers});
    let server = |id: &str| json!({"id": id, "forwarding": "masquerade"});
    for (json, expected) in [
        (of(json!([])), "fallback_servers"),
        (
            of((1..18).map(|n| server(&format!("10.0.9.{n}-80"))).collect()),
            "fallback_servers",
        ),
        (
            of(json!([server("10.0.9.1-80"), server("10.0.9.1-80")])),
            "fallback_servers[1]",
        ),
        (
            of(json!([{"address": "10.0.9.1", "weight": 0}])),
            "fallback_servers[0].weight",
        ),
        (
            of(json!([{"id": "10.0.9.1-81"}])),
            "fallback_servers[0].port",
        ),
        (of(json!([{"weight": 1}])), "fallback_servers[0].address"),
        (
            json!({"type": "tcp", "below_min": "fallback"}),
            "fallback_servers",
        ),
        (
            json!({"type": "tcp", "below_min": "none", "fallback_servers": [{"address": "10.0.9.1"}]}),
            "fallback_servers",
        ),
    ] {
        assert_eq!(
            fields(json.clone()),
            [format!("health_check.{expected}")],
            "{json}"
        );
    }
}

#[test]
fn settings_of_servers_are_merged_into_the_check() {
    let servers = json!([{"server": "10.0.0.2-80", "port": 81, "path": "/b"},
        {"server": "10.0.0.1-80", "disabled": true, "host": "a", "sni": "b", "expect_status": "204"}]);
    let check = made(json!({"type": "https", "path": "/a", "servers": servers}));
    let shown = json!(check);
    let by_server = json!([servers[1], servers[0]]);
    assert_eq!(shown["servers"], by_server);
    assert_eq!(made(shown.clone()), check);
    assert_eq!(serde_json::from_value::<HealthCheck>(shown).unwrap(), check);
    let of = |id: &str| check.settings_of(id.parse().unwrap());
    assert_eq!(of("10.0.0.3-80"), None);
    let own = check.with(of("10.0.0.2-80").unwrap());
    assert_eq!(
        (own.port, own.path.as_deref(), own.host),
        (Some(81), Some("/b"), None)
    );
    let own = check.with(of("10.0.0.1-80").unwrap());
    let status = own.expect_status.map(|status| status.to_string());
    assert_eq!(
        (own.path.as_deref(), status.as_deref()),
        (Some("/a"), Some("204"))
    );
    // An update keeps them, or replaces them as a whole; another type resets what depends on it.
    assert_eq!(patched(&check, json!({"fall": 3})), check);
    let none = patched(&check, json!({"servers": null}));
    assert_eq!(none.servers, None);
    let tcp = patched(&check, json!({"type": "tcp"}));
    let left =
        json!([{"server": "10.0.0.1-80", "disabled": true}, {"server": "10.0.0.2-80", "port": 81}]);
    assert_eq!(json!(tcp)["servers"], left);
}

#[test]
fn each_invalid_setting_of_a_server_is_reported() {
    let of = |servers: Value| json!({"type": "http", "servers": servers});
    let many = (0..1025)
        .map(|n| json!({"server": format!("10.0.{}.{}-80", n / 250, n % 250), "disabled": true}));
    for (json, expected) in [
        (of(many.collect()), "servers"),
        (of(json!([{"disabled": true}])), "servers[0].server"),
        (
            of(json!([{"server": "a", "disabled": true}])),
            "servers[0].server",
        ),
        (
            of(json!([{"server": "10.0.0.1-80", "disabled": false}])),
            "servers[0].server",
        ),
        (
            of(json!([{"server": "10.0.0.1-80", "port": 0}])),
            "servers[0].port",
        ),
        (
            of(json!([{"server": "10.0.0.1-80", "path": "a"}])),
            "servers[0].path",
        ),
        (
            of(json!([{"server": "10.0.0.1-80", "host": ""}])),
            "servers[0].host",
        ),
        (
            of(json!([{"server": "10.0.0.1-80", "sni": "a"}])),
            "servers[0].sni",
        ),
        (
            of(json!([{"server": "10.0.0.1-80", "expect_status": "2xx"}])),
            "servers[0].expect_status",
        ),
        (
            of(json!([{"server": "10.0.0.1-80", "port": 1}, {"server": "10.0.0.1-80", "port": 2}])),
            "servers[1]",
        ),
    ] {
        assert_eq!(
            fields(json.clone()),
            [format!("health_check.{expected}")],
            "{json}"
        );
    }
}
