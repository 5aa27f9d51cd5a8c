//! Records: their fields, their limits, and what nobody can forge.

use serde_json::{Value, json};

use super::*;
use crate::model::{Family, ServiceConfig, Timeouts};

fn only(event: Event) -> AuditRecord {
    let log = AuditLog::in_memory();
    log.record(event);
    let mut records = all(&log);
    assert_eq!(records.len(), 1);
    records.remove(0)
}

fn of(operations: &[(Op, Option<Op>)]) -> AuditRecord {
    let operations = operations.iter().map(|(op, undo)| (op, undo.as_ref()));
    only(Event {
        changes: Changes::of(operations),
        ..event("write")
    })
}

#[test]
fn a_record_has_the_fields_of_the_contract() {
    let now = Instant::now();
    let (op, undo) = creation(1);
    let record = only(Event {
        caller: Caller {
            peer: Some(crate::identity::Peer::Tcp("192.0.2.7:5".parse().unwrap())),
            ..caller("r-1")
        },
        service: Some(service()),
        server: Some(server(1)),
        changes: Changes::One(op, Some(undo)),
        reason: Some(Reason::Internal),
        start: Some(now),
        end: now + Duration::from_micros(1500),
        ..event("write")
    });
    let mut json = serde_json::to_value(&record).unwrap();
    let time = json["time"].take();
    let time = time.as_str().unwrap();
    assert_eq!(time.len(), "2026-01-31T12:00:00.123Z".len(), "{time}");
    assert!(time.ends_with('Z'));
    let after = json!({"server": {
        "id": "10.0.0.1-80", "address": "10.0.0.1", "port": 80, "forwarding": "direct", "weight": 1,
        "upper_threshold": 0, "lower_threshold": 0
    }});
    let expected = json!({
        "seq": 1, "time": null, "principal": "test", "credential": "token",
        "peer": "192.0.2.7:5", "request_id": "r-1", "protocol": "http",
        "operation": "create_server", "service": TCP, "server": "10.0.0.1-80", "after": after,
        "outcome": "success", "reason": "INTERNAL", "latency_seconds": 0.0015
    });
    assert_eq!(json, expected);
}

#[test]
fn the_time_is_that_of_the_wall_clock() {
    let before = jiff::Timestamp::now().as_millisecond();
    let record = only(event("zero"));
    let after = jiff::Timestamp::now().as_millisecond();
    let time = record.time.as_millisecond();
    assert!(
        (before - 1..=after).contains(&time),
        "{before} {time} {after}"
    );
}

#[test]
fn one_operation_has_the_state_before_and_after() {
    let config = ServiceConfig::new(Family::Ipv4);
    let persistent = ServiceConfig {
        persistence_timeout: Some(300),
        ..config
    };
    let record = of(&[(
        Op::SetService(service(), persistent),
        Some(Op::SetService(service(), config)),
    )]);
    assert_eq!(record.operation, "update_service");
    let before = json!({"service": {
        "id": TCP, "protocol": "tcp", "address": "192.0.2.1", "port": 80, "scheduler": "wlc",
        "scheduler_flags": [], "one_packet": false
    }});
    let mut after = before.clone();
    after["service"]["persistence"] = json!({"timeout_seconds": 300, "netmask": "255.255.255.255"});
    assert_eq!((record.before, record.after), (Some(before), Some(after)));

    let (create, delete) = creation(1);
    let record = of(&[(delete, Some(create))]);
    assert_eq!(record.operation, "delete_server");
    assert_eq!(record.before.unwrap()["server"]["id"], "10.0.0.1-80");
    assert_eq!(record.after, None);

    let old = Timeouts::DEFAULT;
    let new = Timeouts {
        udp_seconds: 7,
        ..old
    };
    let record = of(&[(Op::SetTimeouts(new), Some(Op::SetTimeouts(old)))]);
    assert_eq!(record.before.unwrap()["timeouts"]["udp_seconds"], 300);
    assert_eq!(record.after.unwrap()["timeouts"]["udp_seconds"], 7);

    let set = |text: &str| Op::SetSetting {
        name: "sync_threshold",
        text: text.to_owned(),
    };
    let record = of(&[(set("3 50"), Some(set("0 0")))]);
    assert_eq!(
        record.after,
        Some(json!({"settings": {"sync_threshold": [3, 50]}}))
    );
}

#[test]
fn several_operations_are_lists() {
    let (first, undo) = creation(1);
    let (second, _) = creation(2);
    let (replaced, delete) = creation(3);
    let record = of(&[
        (first, Some(undo)),
        (second, None),
        (delete, Some(replaced)),
    ]);
    assert_eq!(record.operation, "create_server*2 delete_server");
    let before = record.before.unwrap();
    assert_eq!(before.as_array().unwrap().len(), 1);
    assert_eq!(before[0]["op"], "delete_server");
    assert_eq!(before[0]["value"]["server"]["id"], "10.0.0.3-80");
    let after = record.after.unwrap();
    let names: Vec<_> = after
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["op"])
        .collect();
    assert_eq!(names, ["create_server", "create_server", "delete_server"]);
    assert_eq!(after[1]["service"], TCP);
    assert_eq!(after[1]["server"], "10.0.0.2-80");
    assert_eq!(after[1]["value"]["server"]["weight"], 1);
    assert_eq!(after[2].get("value"), None);
}

#[test]
fn what_does_not_fit_is_truncated() {
    let many: Vec<_> = (0..=255).map(|number| (creation(number).0, None)).collect();
    let record = of(&many);
    assert_eq!(record.operation, "create_server*256");
    let after = record.after.unwrap();
    let text = after.to_string();
    assert!((3500..=4096).contains(&text.len()), "{}", text.len());
    let items = after.as_array().unwrap();
    assert_eq!(items.last().unwrap(), "truncated");
    assert!(items[..items.len() - 1].iter().all(Value::is_object));

    let long = Op::SetSetting {
        name: "est_cpulist",
        text: "1".repeat(5000),
    };
    assert_eq!(of(&[(long, None)]).after, Some(json!("truncated")));
}

#[test]
fn the_names_of_many_operations_are_bounded() {
    let alternating: Vec<_> = (0..200)
        .map(|number| {
            let (create, delete) = creation(1);
            (if number % 2 == 0 { create } else { delete }, None)
        })
        .collect();
    let record = of(&alternating);
    assert!(
        record.operation.ends_with(" others*168"),
        "{}",
        record.operation
    );
    assert_eq!(record.operation.split(' ').count(), 33);
}

#[test]
fn no_value_can_forge_a_line() {
    let dir = TempDir::new();
    let log = log_to(&dir.file());
    let evil =
        "a\n{\"seq\":9}\r\u{0}\u{1b}[2J\u{7f}\u{85}\u{9b}\u{2028}\u{2029}\u{202e}\u{2066}\"\\ ä😀";
    log.record(Event {
        caller: caller(evil),
        operation: evil.to_owned().into(),
        ..event("")
    });
    log.finish();
    let text = fs::read_to_string(dir.file()).unwrap();
    assert_eq!(text.matches('\n').count(), 1, "{text}");
    let unsafe_chars: Vec<_> = text
        .trim_end_matches('\n')
        .chars()
        .filter(|c| c.is_control() || ('\u{2028}'..='\u{202e}').contains(c) || *c == '\u{2066}')
        .collect();
    assert!(unsafe_chars.is_empty(), "{text}");
    let [record] = records_of(&dir.file()).try_into().unwrap();
    assert_eq!(record.request_id.as_deref(), Some(evil));
    assert_eq!(record.operation, evil);
    assert!(text.contains("ä😀"), "what is harmless stays readable");
}

#[test]
fn a_record_of_a_later_version_is_read() {
    let text = json!({
        "seq": 7, "time": "2026-01-31T12:00:00Z", "principal": "p", "credential": "c",
        "protocol": "quic", "operation": "o", "outcome": "postponed", "new": 1
    });
    let record: AuditRecord = serde_json::from_value(text).unwrap();
    assert_eq!((record.seq, record.outcome), (7, Outcome::Unknown));
}

#[test]
fn outcomes_have_one_name() {
    for outcome in [
        Outcome::Success,
        Outcome::Partial,
        Outcome::Failure,
        Outcome::Denied,
        Outcome::Unauthenticated,
        Outcome::Unknown,
    ] {
        assert_eq!(json!(outcome), outcome.as_str());
    }
}
