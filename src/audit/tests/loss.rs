//! The queue: its bound, and the report of what was lost.

use super::*;

/// A log whose file cannot be written, with a small queue.
fn blocked(dir: &TempDir) -> AuditLog {
    let options = AuditOptions {
        max_queue_bytes: 64 << 10,
        ..options(FileOptions::new(dir.file()))
    };
    let log = AuditLog::start(&options).unwrap();
    fs::remove_file(dir.file()).unwrap();
    fs::create_dir(dir.file()).unwrap();
    log
}

/// Lets the file be written.
fn unblock(dir: &TempDir) {
    fs::remove_dir(dir.file()).unwrap();
}

#[test]
fn lost_records_leave_a_gap_and_a_record_says_how_many() {
    let dir = TempDir::new();
    let log = blocked(&dir);
    for number in 0..1000 {
        log.record(numbered(number));
    }
    let lost = log.lost();
    assert!((500..1000).contains(&lost), "{lost}");
    unblock(&dir);
    let kept = 1000 - lost as usize;
    wait_for_lines(&dir.file(), kept + 1);
    log.record(numbered(1000));
    log.finish();
    let records = records_of(&dir.file());
    let last = records.last().unwrap();
    assert_eq!(ids(std::slice::from_ref(last))[0], "1000");
    // The thread may have taken events from the queue meanwhile, so that there were two gaps.
    let (reports, events): (Vec<_>, Vec<_>) = records
        .iter()
        .partition(|record| record.operation == "records_lost");
    let reported = reports.iter().map(|report| {
        assert_eq!(report.principal, "system");
        report.after.as_ref().unwrap()["records_lost"]
            .as_u64()
            .unwrap()
    });
    assert_eq!(reported.sum::<u64>(), lost);
    assert_eq!(events.len(), kept + 1);
    // Each event has a number, those that were lost too, and so has each report.
    assert_eq!(last.seq, 1001 + reports.len() as u64);
    assert!(records.is_sorted_by(|one, other| one.seq < other.seq));
    assert_eq!(log.lost(), lost);
}

#[test]
fn refused_requests_do_not_displace_changes() {
    let dir = TempDir::new();
    let log = blocked(&dir);
    for number in 0..1000 {
        let name = format!("principal {}", number % 20);
        log.record(Event {
            caller: Caller {
                principal: principal(&name),
                ..caller("request")
            },
            outcome: Outcome::Denied,
            reason: Some(Reason::PermissionDenied),
            ..event("clear")
        });
    }
    let lost = log.lost();
    assert!(lost > 0);
    log.record(numbered(1));
    assert_eq!(log.lost(), lost, "the change is kept");
    unblock(&dir);
    wait_for("it is written", || {
        dir.file().is_file()
            && lines_of(&dir.file())
                .iter()
                .any(|line| line.contains("\"zero\""))
    });
    log.finish();
    let records = records_of(&dir.file());
    let [.., report, change] = &records[..] else {
        panic!("{records:?}");
    };
    assert_eq!(report.operation, "records_lost");
    assert_eq!(change.operation, "zero");
    assert_eq!(records[0].outcome, Outcome::Denied);
    assert_eq!(records[0].reason.as_deref(), Some("PERMISSION_DENIED"));
}

#[test]
fn recording_does_not_wait_for_a_reader_of_the_journal() {
    let dir = TempDir::new();
    let path = dir.0.join("socket");
    // Nobody receives: the socket's buffer fills.
    let _journal = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    let options = AuditOptions {
        sink: SinkOptions::Journal(path),
        max_queue_bytes: 64 << 10,
    };
    let log = AuditLog::start(&options).unwrap();
    let start = Instant::now();
    let mut longest = Duration::ZERO;
    for number in 0..20_000 {
        let before = Instant::now();
        log.record(numbered(number));
        longest = longest.max(before.elapsed());
    }
    assert!(log.lost() > 0);
    // Less than one attempt to send.
    assert!(longest < Duration::from_millis(900), "{longest:?}");
    assert!(start.elapsed() < TIMEOUT);
    let start = Instant::now();
    log.finish();
    assert!(
        start.elapsed() < Duration::from_secs(3),
        "the end is bounded"
    );
}

#[test]
fn the_last_records_are_kept_in_memory() {
    let log = AuditLog::in_memory();
    for number in 0..10_000 {
        log.record(numbered(number));
    }
    let records = all(&log);
    assert!((1000..5000).contains(&records.len()), "{}", records.len());
    assert_eq!(records[0].seq, 10_000);
    assert_eq!(log.lost(), 0, "nothing was to be written");
}

#[test]
fn the_thread_ends_with_the_last_clone() {
    let dir = TempDir::new();
    let log = log_to(&dir.file());
    log.clone().record(numbered(1));
    drop(log);
    wait_for_lines(&dir.file(), 1);
}
