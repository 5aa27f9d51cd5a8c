//! Refused requests: which are recorded, and what they leave of others.

use super::*;
use crate::{
    audit::refusals::{MAX_OF_PEER, MAX_OF_PRINCIPAL, MAX_SENDERS, WINDOW},
    identity::Peer,
};

const LIMIT: usize = MAX_OF_PEER as usize;
const DENIED: usize = MAX_OF_PRINCIPAL as usize;

/// A request without a valid credential from this address, so long after the start.
fn refusal(address: &str, end: Instant) -> Event {
    Event {
        caller: Caller {
            peer: Some(Peer::Tcp(address.parse().unwrap())),
            ..caller("refused")
        },
        outcome: Outcome::Unauthenticated,
        end,
        ..event("authenticate")
    }
}

/// A request that this principal may not make.
fn denial(name: &str, end: Instant) -> Event {
    Event {
        caller: Caller {
            principal: principal(name),
            ..caller("denied")
        },
        outcome: Outcome::Denied,
        reason: Some(Reason::PermissionDenied),
        end,
        ..event("clear")
    }
}

/// The requests that a record counts.
fn requests(record: &AuditRecord) -> Option<u64> {
    record.after.as_ref()?["requests"].as_u64()
}

#[test]
fn many_requests_of_a_peer_are_counted() {
    let log = AuditLog::in_memory();
    let now = Instant::now();
    for port in 1000..1100 {
        log.record(refusal(&format!("192.0.2.1:{port}"), now));
    }
    assert_eq!(all(&log).len(), LIMIT);
    // Of one subnet.
    for host in 1..=100 {
        log.record(refusal(&format!("[2001:db8::{host}]:1"), now));
    }
    assert_eq!(all(&log).len(), 2 * LIMIT);
    log.record(refusal("192.0.2.2:1", now));
    assert_eq!(all(&log).len(), 2 * LIMIT + 1, "others are recorded");

    log.record(refusal("192.0.2.1:1", now + WINDOW));
    let records = all(&log);
    assert_eq!(records.len(), 2 * LIMIT + 3);
    assert_eq!(requests(&records[0]), None, "a new minute");
    assert_eq!(requests(&records[1]), Some(2 * (100 - LIMIT as u64)));
    assert_eq!(records[1].operation, "authenticate");
    assert_eq!(records[1].principal, "system");
    assert_eq!(records[1].outcome, Outcome::Unauthenticated);
    log.record(Event {
        end: now + 2 * WINDOW,
        ..event("zero")
    });
    assert_eq!(all(&log).len(), 2 * LIMIT + 4, "nothing more to report");
}

#[test]
fn the_records_of_many_peers_are_limited() {
    let log = AuditLog::in_memory();
    let now = Instant::now();
    for subnet in 0..1000 {
        for _ in 0..=LIMIT {
            log.record(refusal(&format!("[2001:db8:0:{subnet:x}::1]:1"), now));
        }
    }
    log.record(Event {
        end: now + WINDOW,
        ..event("zero")
    });
    let recorded = (MAX_SENDERS + 1) * LIMIT;
    let counted = 1000 * (LIMIT + 1) - recorded;
    let records = all(&log);
    assert_eq!(requests(&records[1]), Some(counted as u64));
    assert_eq!(records[0].seq, recorded as u64 + 2);
}

#[test]
fn many_denied_requests_of_a_principal_are_counted() {
    let log = AuditLog::in_memory();
    let now = Instant::now();
    for _ in 0..DENIED + 7 {
        log.record(denial("viewer", now));
    }
    assert_eq!(all(&log).len(), DENIED);
    log.record(denial("operator", now));
    log.record(event("zero"));
    assert_eq!(all(&log).len(), DENIED + 2, "others are recorded");
    for _ in 0..LIMIT + 3 {
        log.record(refusal("192.0.2.1:1", now));
    }

    log.record(denial("viewer", now + WINDOW));
    let records = all(&log);
    let [newest, viewer, unauthenticated, ..] = &records[..] else {
        panic!("{records:?}");
    };
    assert_eq!(
        (newest.principal.as_str(), requests(newest)),
        ("viewer", None)
    );
    assert_eq!(requests(unauthenticated), Some(3));
    assert_eq!(requests(viewer), Some(7));
    assert_eq!(viewer.operation, "refused_requests");
    assert_eq!(
        (viewer.principal.as_str(), viewer.credential.as_str()),
        ("viewer", "token")
    );
    assert_eq!(viewer.outcome, Outcome::Denied);
    assert_eq!(viewer.reason.as_deref(), Some("PERMISSION_DENIED"));
    assert_eq!(records.len(), DENIED + 2 + LIMIT + 3);
}

#[test]
fn the_denied_requests_of_many_principals_are_limited() {
    let dir = TempDir::new();
    let log = AuditLog::start(&AuditOptions {
        max_queue_bytes: 16 << 20,
        ..options(FileOptions::new(dir.file()))
    })
    .unwrap();
    let now = Instant::now();
    for number in 0..MAX_SENDERS + 10 {
        for _ in 0..=DENIED {
            log.record(denial(&format!("principal {number}"), now));
        }
    }
    wait_for_lines(&dir.file(), (MAX_SENDERS + 1) * DENIED);
    log.finish();
    let records = records_of(&dir.file());
    let (counts, denials): (Vec<_>, Vec<_>) = records
        .iter()
        .partition(|record| record.operation == "refused_requests");
    assert_eq!(denials.len(), (MAX_SENDERS + 1) * DENIED);
    assert_eq!(counts.len(), MAX_SENDERS + 1);
    let all = (MAX_SENDERS + 10) * (DENIED + 1);
    let counted: u64 = counts.iter().copied().filter_map(requests).sum();
    assert_eq!(denials.len() + counted as usize, all);
    let others = counts.iter().find(|record| record.principal == "system");
    assert_eq!(others.and_then(|record| requests(record)), Some(550));
    assert_eq!(log.lost(), 0);
}

#[test]
fn what_was_counted_is_written_at_the_end() {
    let dir = TempDir::new();
    let log = log_to(&dir.file());
    for _ in 0..LIMIT + 5 {
        log.unauthenticated(caller("x"), Instant::now());
    }
    log.finish();
    let records = records_of(&dir.file());
    assert_eq!(records.len(), LIMIT + 1);
    assert_eq!(requests(&records[LIMIT]), Some(5));
    assert_eq!(log.lost(), 0);
}

#[test]
fn refusals_in_memory_do_not_displace_changes() {
    let log = AuditLog::in_memory();
    for number in 0..1000 {
        log.record(numbered(number));
    }
    for number in 0..10_000 {
        let name = format!("principal {}", number % MAX_SENDERS);
        log.record(denial(&name, Instant::now()));
    }
    let records = all(&log);
    let changes = records.iter().filter(|record| record.operation == "zero");
    assert_eq!(changes.count(), 1000);
    let refused = records.len() - 1000;
    assert!((200..1000).contains(&refused), "{refused}");
    assert!(records.is_sorted_by(|newer, older| newer.seq > older.seq));
    let recorded = 1000 + MAX_SENDERS * DENIED;
    assert_eq!(records[0].seq, recorded as u64);
}
