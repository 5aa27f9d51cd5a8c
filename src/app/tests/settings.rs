//! Settings and timeouts.

use std::collections::BTreeMap;

use super::*;

fn values(json: Value) -> BTreeMap<String, Field<SettingValue>> {
    serde_json::from_value(json).unwrap()
}

#[tokio::test]
async fn settings_are_typed() {
    let (kernel, app) = setup();
    let settings = app.settings(context()).await.unwrap().value;
    assert_eq!(settings["conntrack"], SettingValue::Bool(false));
    assert_eq!(settings["amemthresh"], SettingValue::Integer(1024));
    assert_eq!(settings["sync_threshold"], SettingValue::Pair([3, 50]));
    assert!(!settings.contains_key("est_nice"), "this kernel lacks it");
    kernel.faults().unload();
    let error = app.settings(context()).await.unwrap_err();
    assert_eq!(error.reason, Reason::KernelUnavailable);
    assert!(error.hint.unwrap().contains("modprobe"));
}

#[tokio::test]
async fn settings_are_changed_all_or_none() {
    let (_, app) = setup();
    let update = |json| app.update_settings(context(), values(json));
    let valid = || json!({"conntrack": true, "sync_threshold": [7, 70], "drop_entry": 1});
    let written = update(valid()).await.unwrap();
    assert!(written.changed && !written.created);
    assert_eq!(written.value["conntrack"], SettingValue::Bool(true));
    assert_eq!(written.value["sync_threshold"], SettingValue::Pair([7, 70]));
    assert!(!update(valid()).await.unwrap().changed);
    assert!(!update(json!({})).await.unwrap().changed);

    let error = update(json!({"conntrack": false, "drop_entry": 9, "nosuch": 1}))
        .await
        .unwrap_err();
    assert_eq!(fields(&error), ["drop_entry", "nosuch"]);
    let error = update(json!({"conntrack": false, "est_nice": 1}))
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::UnsupportedByKernel);
    assert_eq!(fields(&error), ["est_nice"]);
    // 3 is no power of 2, which the kernel would report after conntrack was written.
    let error = update(json!({"conntrack": false, "sync_ports": 3}))
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::InvalidArgument);
    assert_eq!(error.errno, None);
    assert_eq!(fields(&error), ["sync_ports"]);
    assert_eq!(app.settings(context()).await.unwrap().value, written.value);
}

#[tokio::test]
async fn a_value_that_the_kernel_replaces_is_a_change_only_if_the_setting_changed() {
    let (_, app) = setup();
    let update = || app.update_settings(context(), values(json!({"drop_entry": 2})));
    let first = update().await.unwrap();
    assert!(first.changed);
    assert_eq!(first.value["drop_entry"], SettingValue::Integer(1));
    assert!(!update().await.unwrap().changed);
}

#[tokio::test]
async fn an_update_changes_only_the_timeouts_that_it_names() {
    let (kernel, app) = setup();
    let update = |json: Value, guard| {
        let draft = serde_json::from_value(json).unwrap();
        app.update_timeouts(context(), draft, guard)
    };
    assert_eq!(
        app.timeouts(context()).await.unwrap().value,
        Timeouts::DEFAULT
    );
    let written = update(json!({"udp_seconds": 30}), NONE).await.unwrap();
    assert!(written.changed && !written.created);
    let expected = Timeouts {
        udp_seconds: 30,
        ..Timeouts::DEFAULT
    };
    assert_eq!(written.value, expected);
    let sets = kernel.commands(command::SET_CONFIG);
    let current = Guard::Matches(vec![expected.etag()]);
    assert!(
        !update(json!({"udp_seconds": 30}), current)
            .await
            .unwrap()
            .changed
    );
    assert_eq!(kernel.commands(command::SET_CONFIG), sets);
    let stale = Guard::Matches(vec![Timeouts::DEFAULT.etag()]);
    assert_eq!(
        reason(update(json!({"udp_seconds": 31}), stale).await),
        Reason::RevisionMismatch
    );
    let absent = update(json!({}), Guard::Absent).await;
    assert_eq!(reason(absent), Reason::RevisionMismatch);
    let error = update(json!({"tcp_seconds": 0}), NONE).await.unwrap_err();
    assert_eq!(fields(&error), ["tcp_seconds"]);
    let reset = update(json!({"udp_seconds": null}), Guard::Exists)
        .await
        .unwrap();
    assert_eq!(reset.value, Timeouts::DEFAULT);
    kernel.set_hz(1000);
    let error = update(json!({"tcp_seconds": 2_678_400}), NONE)
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::InvalidArgument);
    assert!(error.hint.unwrap().contains("2147483"));
    assert_eq!(
        app.timeouts(context()).await.unwrap().value,
        Timeouts::DEFAULT
    );
}
