//! Settings: the files in `/proc/sys/net/ipv4/vs`.

use super::*;

/// A transaction of one stage per setting, like those of the use cases.
fn update(
    settings: impl IntoIterator<Item = (&'static str, &'static str)>,
) -> Transaction<SettingsQuery, SettingsQuery> {
    let settings: Vec<_> = settings.into_iter().collect();
    let plan = move |old: &Settings| {
        let stages = settings.into_iter().map(|(name, text)| {
            let undo = match old.get(name) {
                Some(value) => value.file_text(),
                None => String::new(),
            };
            vec![Step::new(set_setting(name, text), set_setting(name, &undo))]
        });
        Ok(Plan::staged(stages))
    };
    Transaction::new(SettingsQuery, plan, SettingsQuery)
}

#[tokio::test]
async fn settings_that_the_kernel_lacks_are_absent() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let settings = read_fresh(&executor, SettingsQuery).await.unwrap();
    assert_eq!(settings["sync_threshold"], SettingValue::Pair([3, 50]));
    assert!(!settings.contains_key("est_nice"));
    let (stats, _) = read_fresh(&executor, TotalsQuery).await.unwrap();
    assert_eq!(stats, Stats::default());
}

#[tokio::test]
async fn settings_are_cached_until_the_next_own_write() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let read = async |max_age| {
        let settings = executor
            .reader
            .read(SettingsQuery, max_age, deadline())
            .await;
        settings.unwrap().value["drop_entry"].clone()
    };
    assert_eq!(read(LONG).await, SettingValue::Integer(0));
    kernel.set_file("sys/net/ipv4/vs/drop_entry", "1\n");
    assert_eq!(read(LONG).await, SettingValue::Integer(0));
    execute(&executor, set_setting("drop_packet", "1"))
        .await
        .unwrap();
    assert_eq!(read(LONG).await, SettingValue::Integer(1));
}

#[tokio::test]
async fn settings_before_a_rejected_one_are_restored() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    execute(&executor, set_setting("drop_entry", "3"))
        .await
        .unwrap();
    let settings = [
        ("drop_entry", "1"),
        ("sync_threshold", "7 70"),
        // Not a power of 2.
        ("sync_ports", "3"),
        ("drop_packet", "1"),
    ];
    let error = write(&executor, update(settings)).await.unwrap_err();
    assert_eq!(error.reason, Reason::InvalidArgument);
    assert_eq!(error.errno, Some(Errno::EINVAL));
    assert_eq!(error.violations[0].field, "sync_ports");
    assert!(
        !error.detail.contains("rolled back"),
        "rolled back completely: {error}"
    );
    let settings = read_fresh(&executor, SettingsQuery).await.unwrap();
    assert_eq!(settings["drop_entry"], SettingValue::Integer(3));
    assert_eq!(settings["sync_threshold"], SettingValue::Pair([3, 50]));
    assert_eq!(settings["sync_ports"], SettingValue::Integer(1));
    assert_eq!(settings["drop_packet"], SettingValue::Integer(0));
}

#[tokio::test]
async fn the_error_names_a_setting_that_the_kernel_lacks() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let error = execute(&executor, set_setting("est_nice", "1"))
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::UnsupportedByKernel);
    assert_eq!(error.violations[0].field, "est_nice");
}
