//! Requests without a valid credential: which are recorded, and what they leave of others.

use super::*;
use crate::{
    audit::refusals::{MAX_PEERS, MAX_RECORDS, WINDOW},
    identity::Peer,
};

const LIMIT: usize = MAX_RECORDS as usize;

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
    let recorded = (MAX_PEERS + 1) * LIMIT;
    let counted = 1000 * (LIMIT + 1) - recorded;
    let records = all(&log);
    assert_eq!(requests(&records[1]), Some(counted as u64));
    assert_eq!(records[0].seq, recorded as u64 + 2);
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
    for _ in 0..10_000 {
        log.record(Event {
            outcome: Outcome::Denied,
            ..event("clear")
        });
    }
    let records = all(&log);
    let changes = records.iter().filter(|record| record.operation == "zero");
    assert_eq!(changes.count(), 1000);
    let refused = records.len() - 1000;
    assert!((200..1000).contains(&refused), "{refused}");
    assert!(records.is_sorted_by(|newer, older| newer.seq > older.seq));
    assert_eq!(records[0].seq, 11_000);
}
