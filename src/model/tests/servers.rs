use serde_json::json;

use super::*;

const SERVICE: &str = "tcp-192.0.2.1-80";
const SERVER: &str = "10.0.0.1-80";

fn created(json: Value) -> Result<ServerConfig, Error> {
    server(json).create(key(SERVICE), server_key(SERVER))
}

fn updated(json: Value, base: ServerConfig) -> Result<ServerConfig, Error> {
    server(json).update(key(SERVICE), server_key(SERVER), base)
}

fn gue() -> ServerConfig {
    created(json!({
        "forwarding": "tunnel", "tunnel": {"type": "gue", "port": 6080, "checksum": "remote"},
    }))
    .unwrap()
}

#[test]
fn an_empty_draft_creates_the_defaults_of_the_manual() {
    let expected = ServerConfig {
        forwarding: Forwarding::Direct,
        weight: 1,
        upper_threshold: 0,
        lower_threshold: 0,
        tunnel: Tunnel {
            kind: TunnelType::Ipip,
            port: 0,
            checksum: Checksum::None,
        },
    };
    assert_eq!(created(json!({})).unwrap(), expected);
    let nulls = json!({
        "forwarding": null, "weight": null, "upper_threshold": null, "lower_threshold": null,
        "tunnel": null,
    });
    assert_eq!(created(nulls).unwrap(), expected);
}

#[test]
fn the_weight_is_0_to_65535_and_0_is_not_absent() {
    for good in [0, 1, 65_535] {
        let config = created(json!({"weight": good})).unwrap();
        assert_eq!(i64::from(config.weight), good);
    }
    for bad in [-1, 65_536, i64::from(u32::MAX) + 2, i64::MAX, i64::MIN] {
        assert_eq!(fields(created(json!({"weight": bad}))), ["weight"]);
    }
    let drained = updated(json!({"weight": 0}), ServerConfig::default()).unwrap();
    assert_eq!(drained.weight, 0);
    assert_eq!(updated(json!({}), drained).unwrap().weight, 0);
    assert_eq!(updated(json!({"weight": null}), drained).unwrap().weight, 1);
}

#[test]
fn a_weight_above_65535_is_accepted_where_the_server_has_it() {
    let heavy = ServerConfig {
        weight: 100_000,
        ..ServerConfig::default()
    };
    let (service, address) = (key(SERVICE), server_key("10.0.0.1-80"));
    let same = server(json!({"weight": 100_000, "upper_threshold": 9}));
    let replaced = same.replace(service, address, heavy).unwrap();
    assert_eq!((replaced.weight, replaced.upper_threshold), (100_000, 9));
    assert_eq!(same.update(service, address, heavy).unwrap(), replaced);
    let empty = server(json!({})).replace(service, address, heavy).unwrap();
    assert_eq!(empty.weight, 1, "absent: the default");
    let other = server(json!({"weight": 100_001}));
    for result in [
        other.create(service, address),
        other.replace(service, address, heavy),
        other.update(service, address, heavy),
    ] {
        let error = result.unwrap_err();
        let message = "100001 is out of range: 0 to 65535, or the weight that the server has";
        assert_eq!(error.violations, [Violation::new("weight", message)]);
    }
}

#[test]
fn thresholds_are_0_to_2147483647_and_lower_is_at_most_upper() {
    let max = i64::from(i32::MAX);
    for (upper, lower) in [(0, 0), (5, 5), (max, max), (max, 0)] {
        let json = json!({"upper_threshold": upper, "lower_threshold": lower});
        let config = created(json).unwrap();
        assert_eq!(i64::from(config.upper_threshold), upper);
        assert_eq!(i64::from(config.lower_threshold), lower);
    }
    for bad in [-1, max + 1, i64::MAX] {
        let json = json!({"upper_threshold": bad, "lower_threshold": bad});
        assert_eq!(
            fields(created(json)),
            ["upper_threshold", "lower_threshold"]
        );
    }
    for json in [
        json!({"lower_threshold": 1}),
        json!({"lower_threshold": 6, "upper_threshold": 5}),
    ] {
        assert_eq!(fields(created(json)), ["lower_threshold"]);
    }
    let base = created(json!({"lower_threshold": 50, "upper_threshold": 100})).unwrap();
    assert_eq!(
        fields(updated(json!({"upper_threshold": 40}), base)),
        ["lower_threshold"]
    );
    assert_eq!(
        fields(updated(json!({"upper_threshold": null}), base)),
        ["lower_threshold"]
    );
    let both = json!({"upper_threshold": null, "lower_threshold": null});
    assert_eq!(updated(both, base).unwrap(), ServerConfig::default());
}

#[test]
fn invalid_foreign_values_are_kept_unless_the_draft_sets_them() {
    let foreign = ServerConfig {
        forwarding: Forwarding::Direct,
        weight: 1_000_000,
        upper_threshold: 1,
        lower_threshold: u32::MAX,
        tunnel: Tunnel {
            kind: TunnelType::Other(255),
            port: 7,
            checksum: Checksum::Other(9),
        },
    };
    // Direct routing to another port is invalid, but the server can still be drained.
    let elsewhere = server_key("10.0.0.1-8080");
    let drained = server(json!({"weight": 0})).update(key(SERVICE), elsewhere, foreign);
    assert_eq!(
        drained.unwrap(),
        ServerConfig {
            weight: 0,
            ..foreign
        }
    );
    let repaired = server(json!({"upper_threshold": 0, "lower_threshold": 0}));
    let repaired = repaired.update(key(SERVICE), elsewhere, foreign).unwrap();
    assert_eq!(repaired.weight, 1_000_000, "shown and kept as it is");
    assert_eq!(repaired.tunnel, foreign.tunnel);
    let rejected = server(json!({"forwarding": "tunnel"})).update(key(SERVICE), elsewhere, foreign);
    assert_eq!(fields(rejected), ["port"]);
    let other_family = server_key("2001:db8::1-80");
    let masquerade = server(json!({"forwarding": "masquerade"}));
    let rejected = masquerade.update(key(SERVICE), other_family, foreign);
    assert_eq!(fields(rejected), ["forwarding"]);
    server(json!({"weight": 5}))
        .update(key(SERVICE), other_family, foreign)
        .unwrap();
}

#[test]
fn direct_routing_and_tunneling_require_the_services_port() {
    let elsewhere = server_key("10.0.0.1-8080");
    let create = |method| server(json!({"forwarding": method})).create(key(SERVICE), elsewhere);
    assert_eq!(fields(create("direct")), ["port"]);
    assert_eq!(fields(create("tunnel")), ["port"]);
    assert_eq!(
        create("masquerade").unwrap().forwarding,
        Forwarding::Masquerade
    );
    let of_mark = server(json!({})).create(key("fwmark-7"), elsewhere);
    assert_eq!(of_mark.unwrap().forwarding, Forwarding::Direct);
    let of_any = server(json!({"forwarding": "direct"})).create(key("tcp-192.0.2.1-0"), elsewhere);
    assert_eq!(fields(of_any), ["port"]);
}

#[test]
fn mixed_address_families_require_a_tunnel() {
    let ipv6 = server_key("2001:db8::1-80");
    for (method, wrong) in [
        ("masquerade", &["forwarding"][..]),
        ("direct", &["forwarding"]),
        ("tunnel", &[]),
    ] {
        for (service, server_key) in [(key(SERVICE), ipv6), (key("fwmark6-7"), server_key(SERVER))]
        {
            let config = server(json!({"forwarding": method})).create(service, server_key);
            match wrong {
                [] => assert_eq!(config.unwrap().forwarding, Forwarding::Tunnel),
                wrong => assert_eq!(fields(config), *wrong),
            }
        }
    }
}

#[test]
fn methods_of_the_kernel_cannot_be_set_but_are_accepted_unchanged() {
    for own in ["local", "bypass", "7", "5"] {
        let wrong = created(json!({"forwarding": own}));
        assert_eq!(fields(wrong), ["forwarding"], "{own}");
        let base = ServerConfig {
            forwarding: own.parse().unwrap(),
            ..ServerConfig::default()
        };
        let same = updated(json!({"forwarding": own, "weight": 0}), base).unwrap();
        assert_eq!(same, ServerConfig { weight: 0, ..base });
        assert_eq!(
            fields(updated(json!({"forwarding": own}), ServerConfig::default())),
            ["forwarding"]
        );
    }
    for bad in ["dr", "Direct", "", "256", "-1"] {
        assert_eq!(fields(created(json!({"forwarding": bad}))), ["forwarding"]);
    }
}

#[test]
fn the_tunnel_type_determines_port_and_checksum() {
    let tunnel = |json| created(json!({"forwarding": "tunnel", "tunnel": json}));
    let of = |kind, port, checksum| Tunnel {
        kind,
        port,
        checksum,
    };
    for (json, expected) in [
        (json!({}), of(TunnelType::Ipip, 0, Checksum::None)),
        (json!(null), of(TunnelType::Ipip, 0, Checksum::None)),
        (
            json!({"type": "ipip", "checksum": "none"}),
            of(TunnelType::Ipip, 0, Checksum::None),
        ),
        (
            json!({"type": "gue", "port": 65535}),
            of(TunnelType::Gue, 65535, Checksum::None),
        ),
        (
            json!({"type": "gue", "port": 1, "checksum": "remote"}),
            of(TunnelType::Gue, 1, Checksum::Remote),
        ),
        (
            json!({"type": "gre", "checksum": "checksum"}),
            of(TunnelType::Gre, 0, Checksum::Checksum),
        ),
    ] {
        assert_eq!(tunnel(json).unwrap().tunnel, expected);
    }
    for (json, wrong) in [
        (json!({"type": "gue"}), &["tunnel.port"][..]),
        (json!({"type": "gue", "port": null}), &["tunnel.port"]),
        (json!({"type": "gue", "port": 0}), &["tunnel.port"]),
        (json!({"type": "gue", "port": 65536}), &["tunnel.port"]),
        (json!({"type": "gue", "port": -1}), &["tunnel.port"]),
        (json!({"port": 5}), &["tunnel.port"]),
        (json!({"type": "gre", "port": 5}), &["tunnel.port"]),
        (json!({"checksum": "checksum"}), &["tunnel.checksum"]),
        (
            json!({"type": "gre", "checksum": "remote"}),
            &["tunnel.checksum"],
        ),
        (json!({"type": "vxlan"}), &["tunnel.type"]),
        (json!({"type": "3"}), &["tunnel.type"]),
        (json!({"checksum": "7"}), &["tunnel.checksum"]),
        (
            json!({"type": "x", "port": i64::MAX, "checksum": "y"}),
            &["tunnel.type", "tunnel.port", "tunnel.checksum"],
        ),
    ] {
        let text = json.to_string();
        assert_eq!(fields(tunnel(json)), wrong, "{text}");
    }
}

#[test]
fn a_tunnel_requires_forwarding_tunnel() {
    for method in ["direct", "masquerade"] {
        let json = json!({"forwarding": method, "tunnel": {"type": "ipip"}});
        assert_eq!(fields(created(json)), ["tunnel"]);
        let cleared = json!({"forwarding": method, "tunnel": null});
        assert_eq!(created(cleared).unwrap().tunnel, Tunnel::default());
    }
    assert_eq!(fields(created(json!({"tunnel": {}}))), ["tunnel"]);
    assert_eq!(
        fields(updated(
            json!({"tunnel": {"type": "gre"}}),
            ServerConfig::default()
        )),
        ["tunnel"]
    );
}

#[test]
fn an_update_keeps_the_tunnel_and_resets_it_with_forwarding_or_type() {
    let update = |json| updated(json, gue()).unwrap();
    assert_eq!(update(json!({})), gue());
    assert_eq!(update(json!({"weight": 1})), gue());
    assert_eq!(update(json!({"forwarding": "tunnel"})), gue());
    assert_eq!(update(json!({"tunnel": {}})), gue());
    assert_eq!(update(json!({"tunnel": {"type": "gue"}})), gue());
    let gre = update(json!({"tunnel": {"type": "gre"}})).tunnel;
    assert_eq!(
        (gre.kind, gre.port, gre.checksum),
        (TunnelType::Gre, 0, Checksum::None)
    );
    assert_eq!(update(json!({"tunnel": null})).tunnel, Tunnel::default());
    assert_eq!(
        update(json!({"tunnel": {"type": null}})).tunnel,
        Tunnel::default()
    );
    let moved = update(json!({"tunnel": {"port": 6081}})).tunnel;
    assert_eq!((moved.port, moved.checksum), (6081, Checksum::Remote));
    let plain = update(json!({"tunnel": {"checksum": null}})).tunnel;
    assert_eq!((plain.port, plain.checksum), (6080, Checksum::None));
    let direct = update(json!({"forwarding": "direct"}));
    assert_eq!(direct, ServerConfig::default());
    let cleared = update(json!({"forwarding": null}));
    assert_eq!(cleared, ServerConfig::default());
    assert_eq!(
        fields(updated(json!({"tunnel": {"port": null}}), gue())),
        ["tunnel.port"]
    );
}

#[test]
fn a_create_rejects_addresses_that_are_not_unicast() {
    for bad in [
        "0.0.0.0",
        "224.0.0.1",
        "239.255.255.255",
        "255.255.255.255",
        "::",
        "ff02::1",
        "::ffff:192.0.2.1",
    ] {
        let key = ServerKey {
            address: bad.parse().unwrap(),
            port: 80,
        };
        let service = if key.address.is_ipv4() {
            SERVICE
        } else {
            "tcp-::1-80"
        };
        let service = super::key(service);
        assert_eq!(
            fields(server(json!({})).create(service, key)),
            ["address"],
            "{bad}"
        );
        server(json!({}))
            .update(service, key, ServerConfig::default())
            .unwrap();
    }
    for good in [
        "127.0.0.1",
        "240.0.0.1",
        "0.1.2.3",
        "10.1.1.255",
        "::1",
        "fe80::1",
        "fd00::1",
    ] {
        let key = ServerKey {
            address: good.parse().unwrap(),
            port: 80,
        };
        let service = if key.address.is_ipv4() {
            SERVICE
        } else {
            "tcp-::1-80"
        };
        server(json!({})).create(super::key(service), key).unwrap();
    }
}

#[test]
fn all_violations_are_reported_at_once() {
    let wrong = json!({
        "forwarding": "tunnel", "weight": -1, "upper_threshold": -1, "lower_threshold": 1,
        "tunnel": {"type": "gue"},
    });
    assert_eq!(
        fields(server(wrong).create(key(SERVICE), server_key("224.0.0.1-81"))),
        [
            "address",
            "weight",
            "upper_threshold",
            "lower_threshold",
            "tunnel.port",
            "port"
        ]
    );
}

#[test]
fn read_only_fields_are_ignored() {
    let with_read_only_fields = json!({
        "active_connections": 5, "inactive_connections": {}, "persistent_connections": "x",
        "stats": null, "rates": 1, "etag": "r-1", "changed": false,
    });
    assert_eq!(
        created(with_read_only_fields).unwrap(),
        ServerConfig::default()
    );
    let error = serde_json::from_value::<ServerDraft>(json!({"connections": 5})).unwrap_err();
    assert!(error.to_string().contains("unknown field `connections`"));
}
