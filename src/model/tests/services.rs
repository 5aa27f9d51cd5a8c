use serde_json::json;

use super::*;

const TCP: &str = "tcp-192.0.2.1-80";

fn config(id: &str, json: Value) -> ServiceConfig {
    draft(json).create(key(id)).unwrap()
}

fn violations_of(id: &str, json: Value) -> Vec<String> {
    fields(draft(json).create(key(id)))
}

#[test]
fn an_empty_draft_creates_the_defaults_of_the_manual() {
    let expected = ServiceConfig {
        scheduler: name("wlc"),
        scheduler_flags: SchedulerFlags::default(),
        one_packet: false,
        persistence_timeout: None,
        netmask: Netmask::V4([255, 255, 255, 255].into()),
        persistence_engine: None,
    };
    assert_eq!(config(TCP, json!({})), expected);
    let nulls = json!({
        "scheduler": null, "scheduler_flags": null, "one_packet": null, "persistence": null,
        "netmask": null, "persistence_engine": null,
    });
    assert_eq!(config(TCP, nulls), expected);
    let ipv6 = ServiceConfig {
        netmask: Netmask::V6(128),
        ..expected
    };
    assert_eq!(config("tcp-::1-80", json!({})), ipv6);
    assert_eq!(config("fwmark6-1", json!({})), ipv6);
    assert_eq!(config("fwmark-1", json!({})), expected);
}

#[test]
fn persistence_defaults_to_300_seconds_and_the_full_netmask() {
    let empty = config(TCP, json!({"persistence": {}}));
    assert_eq!(empty.persistence_timeout, Some(300));
    assert!(empty.netmask.is_full());
    let nulls = json!({"persistence": {"timeout_seconds": null, "netmask": null}});
    assert_eq!(config(TCP, nulls), empty);
}

#[test]
fn the_persistence_timeout_is_1_second_to_31_days() {
    let with = |seconds: i64| json!({"persistence": {"timeout_seconds": seconds}});
    for good in [1, 300, 2_678_400] {
        let config = config(TCP, with(good));
        assert_eq!(config.persistence_timeout.map(i64::from), Some(good));
    }
    for bad in [
        0,
        -1,
        2_678_401,
        i64::from(u32::MAX) + 300,
        i64::MAX,
        i64::MIN,
    ] {
        assert_eq!(
            violations_of(TCP, with(bad)),
            ["persistence.timeout_seconds"]
        );
    }
}

#[test]
fn the_netmask_is_a_dotted_quad_for_ipv4_and_a_prefix_length_for_ipv6() {
    let with = |mask: Value| json!({"persistence": {"netmask": mask}});
    for (mask, shown) in [
        (json!("255.255.255.0"), "255.255.255.0"),
        (json!("0.0.0.0"), "0.0.0.0"),
        (json!("255.0.255.0"), "255.0.255.0"),
    ] {
        assert_eq!(config(TCP, with(mask)).netmask.to_string(), shown);
    }
    for bad in [
        json!("24"),
        json!(24),
        json!("255.255.255"),
        json!("ffffff00"),
        json!(""),
        json!(i64::MAX),
    ] {
        assert_eq!(violations_of(TCP, with(bad)), ["persistence.netmask"]);
    }
    for (mask, length) in [
        (json!("64"), 64),
        (json!(64), 64),
        (json!(1), 1),
        (json!("128"), 128),
    ] {
        for id in ["tcp-::1-80", "fwmark6-1"] {
            assert_eq!(config(id, with(mask.clone())).netmask, Netmask::V6(length));
        }
    }
    for bad in [
        json!(0),
        json!(129),
        json!(-1),
        json!("/64"),
        json!("ffff::"),
        json!("255.255.255.0"),
        json!(i64::MAX),
        json!(4_294_967_296_i64 + 64),
    ] {
        assert_eq!(
            violations_of("tcp-::1-80", with(bad)),
            ["persistence.netmask"]
        );
    }
}

#[test]
fn a_persistent_service_has_its_netmask_in_persistence() {
    assert_eq!(
        violations_of(TCP, json!({"persistence": {}, "netmask": "255.0.0.0"})),
        ["netmask"]
    );
    let kept = config(TCP, json!({"netmask": "255.0.0.0"}));
    assert_eq!(kept.netmask, Netmask::V4([255, 0, 0, 0].into()));
    assert_eq!(kept.persistence_timeout, None);
    assert_eq!(violations_of(TCP, json!({"netmask": 8})), ["netmask"]);
}

#[test]
fn port_0_requires_persistence() {
    assert_eq!(violations_of("tcp-192.0.2.1-0", json!({})), ["port"]);
    config("tcp-192.0.2.1-0", json!({"persistence": {}}));
    config("fwmark-7", json!({}));

    let key = key("tcp-192.0.2.1-0");
    let foreign = ServiceConfig::new(Family::Ipv4);
    let kept = draft(json!({"scheduler": "rr"}))
        .update(key, foreign)
        .unwrap();
    assert_eq!(
        kept.scheduler,
        name("rr"),
        "a service in violation of the rules can be updated"
    );
    let persistent = draft(json!({"persistence": {}})).update(key, foreign);
    let persistent = persistent.unwrap();
    let cleared = draft(json!({"persistence": null})).update(key, persistent);
    assert_eq!(fields(cleared), ["persistence"]);
}

#[test]
fn one_packet_scheduling_requires_udp_or_a_fwmark() {
    let on = || json!({"one_packet": true});
    for good in ["udp-192.0.2.1-53", "fwmark-7", "fwmark6-7"] {
        assert!(config(good, on()).one_packet);
    }
    for bad in [TCP, "sctp-192.0.2.1-80"] {
        assert_eq!(violations_of(bad, on()), ["one_packet"]);
    }
    let foreign = ServiceConfig {
        one_packet: true,
        ..ServiceConfig::new(Family::Ipv4)
    };
    let update = |json| draft(json).update(key(TCP), foreign);
    assert!(update(json!({"scheduler": "rr"})).unwrap().one_packet);
    assert!(!update(json!({"one_packet": null})).unwrap().one_packet);
    assert_eq!(update(on()).unwrap(), foreign, "sent back");
    let off = ServiceConfig::new(Family::Ipv4);
    assert_eq!(fields(draft(on()).update(key(TCP), off)), ["one_packet"]);
}

#[test]
fn a_service_with_a_foreign_protocol_can_be_updated_but_not_created() {
    let gre = "47-192.0.2.1-80";
    assert_eq!(violations_of(gre, json!({})), ["protocol"]);
    let base = ServiceConfig::new(Family::Ipv4);
    draft(json!({"scheduler": "rr"}))
        .update(key(gre), base)
        .unwrap();
}

#[test]
fn a_scheduler_is_any_name_of_1_to_15_characters() {
    for good in ["rr", "none", "future", "fifteen-letters"] {
        assert_eq!(
            config(TCP, json!({"scheduler": good})).scheduler,
            name(good)
        );
    }
    for bad in ["", "sixteen-letters!", "r r", "rür", "rr\n"] {
        assert_eq!(violations_of(TCP, json!({"scheduler": bad})), ["scheduler"]);
    }
    let engine = |name: &str| json!({"persistence_engine": name});
    let sixteen = "sixteen-letters!";
    assert_eq!(
        config(TCP, engine(sixteen)).persistence_engine,
        Some(name(sixteen))
    );
    for bad in ["", "seventeen-letters", "s p"] {
        assert_eq!(violations_of(TCP, engine(bad)), ["persistence_engine"]);
    }
}

#[test]
fn flags_have_names_per_scheduler() {
    let flags = |scheduler: &str, names: &[&str]| {
        config(
            TCP,
            json!({"scheduler": scheduler, "scheduler_flags": names}),
        )
        .scheduler_flags
    };
    assert_eq!(flags("sh", &["sh-fallback", "sh-port"]).bits(), 0x18);
    assert_eq!(flags("mh", &["mh-port", "mh-port"]).bits(), 0x10);
    assert_eq!(flags("rr", &["flag-1", "flag-2", "flag-3"]).bits(), 0x38);
    assert_eq!(flags("mh", &[]).bits(), 0);
    let bad = json!({
        "scheduler": "sh", "scheduler_flags": ["sh-port", "mh-port", "flag-4"],
    });
    assert_eq!(
        violations_of(TCP, bad),
        ["scheduler_flags[1]", "scheduler_flags[2]"]
    );
    let names = |bits, scheduler| -> Vec<_> {
        SchedulerFlags::from_bits(bits)
            .names(name(scheduler))
            .collect()
    };
    assert_eq!(
        names(0xffff_ffff, "sh"),
        ["sh-fallback", "sh-port", "flag-3"]
    );
    assert_eq!(names(0x18, "mh"), ["mh-fallback", "mh-port"]);
    assert_eq!(names(0x18, "wlc"), ["flag-1", "flag-2"]);
    assert_eq!(names(0x7, "wlc"), [""; 0]);
}

#[test]
fn flags_are_reset_when_the_scheduler_changes() {
    let base = config(
        TCP,
        json!({"scheduler": "sh", "scheduler_flags": ["sh-port"]}),
    );
    let update = |json| draft(json).update(key(TCP), base).unwrap();
    assert_eq!(update(json!({"scheduler": "mh"})).scheduler_flags.bits(), 0);
    assert_eq!(update(json!({"scheduler": "sh"})), base);
    assert_eq!(update(json!({})), base);
    assert_eq!(
        update(json!({"scheduler_flags": null}))
            .scheduler_flags
            .bits(),
        0
    );
    let both = update(json!({"scheduler": "mh", "scheduler_flags": ["mh-fallback"]}));
    assert_eq!(both.scheduler_flags.bits(), 0x08);
    let cleared = update(json!({"scheduler": null}));
    assert_eq!(cleared.scheduler, name("wlc"));
    assert_eq!(cleared.scheduler_flags.bits(), 0);
}

#[test]
fn an_update_keeps_absent_fields_and_null_clears() {
    let base = config(
        "udp-192.0.2.1-5060",
        json!({
            "scheduler": "sh", "scheduler_flags": ["sh-port"], "one_packet": true,
            "persistence": {"timeout_seconds": 60, "netmask": "255.255.255.0"},
            "persistence_engine": "sip",
        }),
    );
    let key = key("udp-192.0.2.1-5060");
    let update = |json| draft(json).update(key, base).unwrap();
    assert_eq!(update(json!({})), base);
    assert_eq!(update(json!({"persistence": {}})), base);
    assert_eq!(
        update(json!({"persistence_engine": null})),
        ServiceConfig {
            persistence_engine: None,
            ..base
        }
    );
    assert_eq!(
        update(json!({"persistence": {"timeout_seconds": null}})),
        ServiceConfig {
            persistence_timeout: Some(300),
            ..base
        }
    );
    assert_eq!(
        update(json!({"persistence": {"netmask": null}})),
        ServiceConfig {
            netmask: Netmask::full(Family::Ipv4),
            ..base
        }
    );
    assert_eq!(
        update(json!({"persistence": null})),
        ServiceConfig {
            persistence_timeout: None,
            netmask: Netmask::full(Family::Ipv4),
            ..base
        }
    );
}

#[test]
fn an_update_keeps_foreign_values_out_of_range() {
    let foreign = ServiceConfig {
        persistence_timeout: Some(0),
        scheduler_flags: SchedulerFlags::from_bits(0x20),
        ..ServiceConfig::new(Family::Ipv4)
    };
    let update = draft(json!({"one_packet": false})).update(key(TCP), foreign);
    assert_eq!(update.unwrap(), foreign);
    let base = ServiceConfig {
        persistence_timeout: Some(9_000_000),
        ..foreign
    };
    let update = draft(json!({"persistence": {"netmask": "255.0.0.0"}})).update(key(TCP), base);
    assert_eq!(update.unwrap().persistence_timeout, Some(9_000_000));
}

#[test]
fn an_update_rejects_servers() {
    let update = draft(json!({"servers": []})).update(key(TCP), ServiceConfig::new(Family::Ipv4));
    assert_eq!(fields(update), ["servers"]);
}

#[test]
fn all_violations_are_reported_at_once() {
    let wrong = json!({
        "scheduler": "", "scheduler_flags": ["what"], "one_packet": true,
        "persistence_engine": "", "persistence": {"timeout_seconds": 0, "netmask": "x"},
        "netmask": "y",
    });
    assert_eq!(
        violations_of(TCP, wrong),
        [
            "scheduler",
            "scheduler_flags[0]",
            "persistence_engine",
            "persistence.netmask",
            "persistence.timeout_seconds",
            "netmask",
            "one_packet"
        ]
    );
}

#[test]
fn unknown_fields_are_rejected_and_read_only_fields_ignored() {
    for unknown in [
        json!({"shceduler": "rr"}),
        json!({"persistence": {"timeout": 5}}),
        json!({"servers": [{"wieght": 5}]}),
        json!({"servers": [{"tunnel": {"kind": "gue"}}]}),
        json!({"weight": 5}),
    ] {
        let error = serde_json::from_value::<ServiceDraft>(unknown).unwrap_err();
        assert!(error.to_string().contains("unknown field"), "{error}");
    }
    for invalid in [
        json!({"port": "80"}),
        json!({"port": 80.5}),
        json!({"one_packet": "yes"}),
        json!({"persistence": 300}),
        json!({"persistence": {"netmask": true}}),
        json!({"scheduler": 5}),
        json!({"port": 18_446_744_073_709_551_615_u64}),
    ] {
        assert!(serde_json::from_value::<ServiceDraft>(invalid).is_err());
    }
    let with_read_only_fields = draft(json!({
        "server_count": "any", "stats": {"x": 1}, "rates": [], "etag": 5, "changed": true,
    }));
    assert_eq!(
        with_read_only_fields.create(key(TCP)).unwrap(),
        ServiceConfig::new(Family::Ipv4)
    );
}
