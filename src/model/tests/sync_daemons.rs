use serde_json::json;

use super::*;

fn draft_from(json: Value) -> SyncDaemonDraft {
    serde_json::from_value(json).unwrap()
}

fn config(state: SyncState, json: Value) -> SyncDaemonConfig {
    draft_from(json).config(state).unwrap()
}

/// The daemon that `ipvsadm --start-daemon STATE --mcast-interface eth0` starts.
fn running(state: SyncState) -> SyncDaemon {
    SyncDaemon {
        state,
        interface: name("eth0"),
        sync_id: 0,
        max_length: 1472,
        multicast_group: "224.0.0.81".parse().unwrap(),
        multicast_port: 8848,
        multicast_ttl: 1,
        interface_state: InterfaceState::Unknown,
    }
}

#[test]
fn a_draft_requires_only_the_interface() {
    for state in [SyncState::Master, SyncState::Backup] {
        let config = config(state, json!({"interface": "eth0"}));
        let expected = SyncDaemonConfig {
            max_length: None,
            ..running(state).into()
        };
        assert_eq!(config, expected);
    }
    let nulls = json!({
        "interface": "eth0", "sync_id": null, "max_length": null, "multicast_group": null,
        "multicast_port": null, "multicast_ttl": null,
    });
    assert_eq!(
        config(SyncState::Master, nulls),
        config(SyncState::Master, json!({"interface": "eth0"}))
    );
    for json in [json!({}), json!({"interface": null})] {
        assert_eq!(
            fields(draft_from(json).config(SyncState::Master)),
            ["interface"]
        );
    }
}

#[test]
fn numbers_have_ranges() {
    for (field, good, bad) in [
        ("sync_id", [0, 255], [-1, 256]),
        ("max_length", [1, 65_507], [0, 65_508]),
        ("multicast_port", [1, 65_535], [0, 65_536]),
        ("multicast_ttl", [1, 255], [0, 256]),
    ] {
        let with = |value: i64| draft_from(json!({"interface": "eth0", field: value}));
        for value in good {
            with(value).config(SyncState::Master).unwrap();
        }
        for value in bad.into_iter().chain([i64::MAX, i64::MIN]) {
            assert_eq!(fields(with(value).config(SyncState::Master)), [field]);
        }
    }
}

#[test]
fn the_group_is_a_multicast_address() {
    for good in ["224.0.0.81", "239.1.2.3", "ff02::55", "[ff02::55]"] {
        config(
            SyncState::Backup,
            json!({"interface": "eth0", "multicast_group": good}),
        );
    }
    let wrong = json!({
        "interface": "longer-than-15-b", "sync_id": -1, "max_length": 0,
        "multicast_group": "192.0.2.1", "multicast_port": 0, "multicast_ttl": 0,
    });
    assert_eq!(
        fields(draft_from(wrong).config(SyncState::Master)),
        [
            "interface",
            "multicast_group",
            "sync_id",
            "max_length",
            "multicast_port",
            "multicast_ttl"
        ]
    );
}

#[test]
fn a_configuration_matches_the_daemon_that_it_starts() {
    use SyncState::{Backup, Master};
    let ipv6 = "ff02::55";
    for (state, max_length, group, effective) in [
        (Master, None, "224.0.0.81", 1472),
        (Master, None, ipv6, 1452),
        (Master, Some(1), "224.0.0.81", 1),
        (Master, Some(65_507), "224.0.0.81", 65_507),
        (Master, Some(65_507), ipv6, 65_487),
        (Backup, Some(5), "224.0.0.81", 1024),
        (Backup, Some(65_507), ipv6, 65_487),
        (Backup, None, "224.0.0.81", 1472),
        // The default of a backup depends on the MTU of the interface.
        (Backup, None, "224.0.0.81", 8972),
    ] {
        let json = json!({
            "interface": "eth0", "max_length": max_length, "multicast_group": group,
        });
        let daemon = SyncDaemon {
            max_length: effective,
            multicast_group: group.parse().unwrap(),
            ..running(state)
        };
        let config = config(state, json);
        assert!(config.matches(&daemon), "{config:?} {daemon:?}");
        if !(state == Backup && max_length.is_none()) {
            let longer = SyncDaemon {
                max_length: effective + 1,
                ..daemon
            };
            assert!(!config.matches(&longer));
        }
    }
}

#[test]
fn a_configuration_does_not_match_a_different_daemon() {
    let wanted = config(SyncState::Master, json!({"interface": "eth0"}));
    let same = running(SyncState::Master);
    assert!(wanted.matches(&same));
    for other in [
        SyncDaemon {
            state: SyncState::Backup,
            ..same
        },
        SyncDaemon {
            interface: name("eth1"),
            ..same
        },
        SyncDaemon { sync_id: 1, ..same },
        SyncDaemon {
            max_length: 1400,
            ..same
        },
        SyncDaemon {
            multicast_group: "224.0.0.82".parse().unwrap(),
            ..same
        },
        SyncDaemon {
            multicast_port: 8849,
            ..same
        },
        SyncDaemon {
            multicast_ttl: 2,
            ..same
        },
    ] {
        assert!(!wanted.matches(&other), "{other:?}");
        assert_ne!(other.etag(), same.etag());
        assert!(SyncDaemonConfig::from(other).matches(&other));
    }
}

#[test]
fn a_response_sent_back_matches_the_same_daemon() {
    let daemon = running(SyncState::Backup);
    let json = serde_json::to_value(SyncDaemonView::from(daemon)).unwrap();
    assert_eq!(json["state"], "backup");
    let config = draft_from(json).config(SyncState::Backup).unwrap();
    assert!(config.matches(&daemon));
    assert!(serde_json::from_value::<SyncDaemonDraft>(json!({"ifname": "x"})).is_err());
}
