use std::collections::BTreeMap;

use serde_json::json;

use super::*;

fn spec(name: &str) -> &'static SettingSpec {
    SettingSpec::find(name).unwrap()
}

fn check(json: Value) -> Result<Vec<(String, String)>, Error> {
    let request: BTreeMap<String, Field<SettingValue>> = serde_json::from_value(json).unwrap();
    let checked = SettingSpec::check(&request)?;
    Ok(checked
        .into_iter()
        .map(|(spec, text)| (spec.name.to_owned(), text))
        .collect())
}

#[test]
fn setting_names_are_unique_and_documented() {
    for (i, spec) in SETTINGS.iter().enumerate() {
        assert!(spec.doc.ends_with('.'), "{}", spec.name);
        assert!(
            SETTINGS[..i].iter().all(|other| other.name < spec.name),
            "{}",
            spec.name
        );
    }
    assert!(SettingSpec::find("conntracks").is_none());
}

#[test]
fn file_contents_are_typed_or_text() {
    for (name, text, value) in [
        ("conntrack", "1\n", SettingValue::Bool(true)),
        ("conntrack", "0\n", SettingValue::Bool(false)),
        ("conntrack", "2\n", SettingValue::Integer(2)),
        ("conntrack", "yes\n", SettingValue::Text("yes".into())),
        ("drop_entry", "2\n", SettingValue::Integer(2)),
        ("drop_entry", "-5\n", SettingValue::Integer(-5)),
        (
            "sync_qlen_max",
            "9223372036854775807\n",
            SettingValue::Integer(i64::MAX),
        ),
        (
            "sync_qlen_max",
            "18446744073709551615\n",
            SettingValue::Text("18446744073709551615".into()),
        ),
        ("sync_threshold", "3\t50\n", SettingValue::Pair([3, 50])),
        ("sync_threshold", "3\n", SettingValue::Text("3".into())),
        ("est_cpulist", "0-3,7\n", SettingValue::Text("0-3,7".into())),
        ("est_cpulist", "\n", SettingValue::Text(String::new())),
    ] {
        assert_eq!(spec(name).parse(text), value, "{name} {text:?}");
    }
}

#[test]
fn values_round_trip_through_files() {
    for (name, value) in [
        ("conntrack", json!(true)),
        ("conntrack", json!(false)),
        ("drop_entry", json!(0)),
        ("drop_entry", json!(3)),
        ("am_droprate", json!(1)),
        ("amemthresh", json!(i32::MAX)),
        ("est_nice", json!(-20)),
        ("sync_qlen_max", json!(i64::MAX)),
        ("sync_threshold", json!([3, 50])),
        ("sync_threshold", json!([50, 0])),
        ("sync_threshold", json!([0, 0])),
        ("est_cpulist", json!("0-3,7")),
        ("est_cpulist", json!("")),
    ] {
        let value: SettingValue = serde_json::from_value(value).unwrap();
        let text = spec(name).print(&value).unwrap();
        assert_eq!(spec(name).parse(&text), value);
        assert!(!text.is_empty(), "a write of nothing would change nothing");
    }
}

#[test]
fn violations_name_the_setting() {
    for (name, value) in [
        ("conntrack", json!(1)),
        ("conntrack", json!("true")),
        ("drop_entry", json!(4)),
        ("drop_entry", json!(-1)),
        ("drop_entry", json!(true)),
        ("am_droprate", json!(0)),
        ("amemthresh", json!(2_147_483_648_i64)),
        ("sync_version", json!(2)),
        ("sync_threshold", json!([50, 3])),
        ("sync_threshold", json!([3, 3])),
        ("sync_threshold", json!([-1, 3])),
        ("sync_threshold", json!([0, i64::MAX])),
        ("sync_threshold", json!(3)),
        ("est_cpulist", json!("0-3\n7")),
        ("est_cpulist", json!("0 3")),
        ("est_cpulist", json!("1,".repeat(200))),
        ("est_cpulist", json!(3)),
        ("drop_entry", Value::Null),
        ("nonsense", json!(1)),
    ] {
        let text = value.to_string();
        let request = Value::Object([(name.to_owned(), value)].into_iter().collect());
        assert_eq!(fields(check(request)), [name], "{text}");
    }
    let three = json!({"conntrack": 1, "drop_entry": 1, "nonsense": 1, "sync_retries": 4});
    assert_eq!(
        fields(check(three)),
        ["conntrack", "nonsense", "sync_retries"]
    );
}

#[test]
fn a_request_is_checked_as_a_whole() {
    let request = json!({"sync_threshold": [3, 50], "conntrack": true, "drop_entry": 3});
    let checked = check(request).unwrap();
    let checked: Vec<_> = checked
        .iter()
        .map(|(n, t)| (n.as_str(), t.trim_end()))
        .collect();
    assert_eq!(
        checked,
        [
            ("conntrack", "1"),
            ("drop_entry", "3"),
            ("sync_threshold", "3 50")
        ]
    );
}
