//! Queries: order, filters and pages.

use super::*;

/// All pages of a query.
fn pages(log: &AuditLog, mut query: AuditQuery) -> Vec<Vec<AuditRecord>> {
    let mut pages = Vec::new();
    loop {
        let page = log.query(&query).unwrap();
        pages.push(page.records);
        match page.next {
            Some(next) => query.from = Some(next),
            None => return pages,
        }
    }
}

fn small_files(dir: &TempDir) -> AuditLog {
    let file = FileOptions {
        max_bytes: 2000,
        max_files: 50,
        ..FileOptions::new(dir.file())
    };
    AuditLog::start(&options(file)).unwrap()
}

fn numbers(records: &[AuditRecord]) -> Vec<usize> {
    ids(records)
        .into_iter()
        .map(|id| id.parse().unwrap())
        .collect()
}

#[test]
fn pages_continue_across_files_and_memory() {
    let dir = TempDir::new();
    let log = small_files(&dir);
    for number in 0..100 {
        log.record(numbered(number));
    }
    // Some are written, and some wait, as it happens.
    let found = pages(&log, query(7));
    assert_eq!(found.len(), 15);
    let expected: Vec<_> = (0..100).rev().collect();
    assert_eq!(numbers(&found.concat()), expected);
    log.finish();
    assert!(dir.0.join("audit.log.5").exists());
    let found = pages(&log, query(7));
    assert_eq!(numbers(&found.concat()), expected);
    assert!(found[..14].iter().all(|page| page.len() == 7));
}

#[test]
fn new_records_and_rotations_between_two_pages_change_nothing() {
    let dir = TempDir::new();
    let log = small_files(&dir);
    let mut next = 0;
    let mut record = |count: usize| {
        for _ in 0..count {
            log.record(numbered(next));
            next += 1;
        }
        (next - 1).to_string()
    };
    record(60);
    let mut query = query(10);
    let mut found = Vec::new();
    loop {
        let page = log.query(&query).unwrap();
        found.extend(page.records);
        match page.next {
            Some(position) => query.from = Some(position),
            None => break,
        }
        let last = record(20);
        wait_for("they are written", || {
            fs::read_to_string(dir.file()).is_ok_and(|text| text.contains(&format!("\"{last}\"")))
        });
    }
    assert_eq!(numbers(&found), (0..60).rev().collect::<Vec<_>>());
}

#[test]
fn filters_must_all_match() {
    let dir = TempDir::new();
    let log = small_files(&dir);
    for number in 0..60 {
        let principal = if number % 2 == 0 { "even" } else { "odd" };
        log.record(Event {
            caller: Caller {
                principal: super::principal(principal),
                ..caller(&number.to_string())
            },
            service: (number % 3 == 0).then(service),
            ..event("zero")
        });
    }
    for finished in [false, true] {
        if finished {
            log.finish();
        }
        let even = AuditQuery {
            principal: Some("even".to_owned()),
            ..query(4)
        };
        let found = pages(&log, even.clone()).concat();
        assert_eq!(
            numbers(&found),
            (0..60).rev().filter(|n| n % 2 == 0).collect::<Vec<_>>()
        );
        let both = AuditQuery {
            service: Some(TCP.to_owned()),
            ..even
        };
        let found = pages(&log, both);
        assert_eq!(
            numbers(&found.concat()),
            (0..60).rev().filter(|n| n % 6 == 0).collect::<Vec<_>>()
        );
        assert!(found.iter().all(|page| !page.is_empty()));
    }
}

#[test]
fn the_service_of_an_operation_matches_too() {
    let log = AuditLog::in_memory();
    let (one, _) = creation(1);
    let other = Op::ZeroService("udp-192.0.2.1-53".parse().unwrap());
    log.record(Event {
        changes: Changes::of([(&one, None), (&other, None)].into_iter()),
        ..event("write")
    });
    let find = |service: &str| {
        let query = AuditQuery {
            service: Some(service.to_owned()),
            ..query(1)
        };
        log.query(&query).unwrap().records.len()
    };
    assert_eq!(find(TCP), 1);
    assert_eq!(find("udp-192.0.2.1-53"), 1);
    assert_eq!(find("tcp-192.0.2.1-81"), 0);
}

#[test]
fn times_are_inclusive_and_exclusive() {
    let log = AuditLog::in_memory();
    let now = Instant::now();
    for number in 0..3 {
        log.record(Event {
            end: now + Duration::from_millis(10 * number),
            ..numbered(number as usize)
        });
    }
    let records = all(&log);
    let middle = records[1].time;
    let find = |since, until| {
        let query = AuditQuery {
            since,
            until,
            ..query(10)
        };
        numbers(&log.query(&query).unwrap().records)
    };
    assert_eq!(find(Some(middle), None), [2, 1]);
    assert_eq!(find(None, Some(middle)), [0]);
    assert_eq!(find(Some(middle), Some(records[0].time)), [1]);
}

#[test]
fn a_page_is_bounded_in_bytes() {
    let dir = TempDir::new();
    let log = log_to(&dir.file());
    let many: Vec<_> = (0..=255).map(|number| creation(number).0).collect();
    for number in 0..300 {
        log.record(Event {
            changes: Changes::of(many.iter().map(|op| (op, None))),
            ..numbered(number)
        });
    }
    log.finish();
    let found = pages(&log, query(1000));
    assert!(found.len() >= 3, "{}", found.len());
    for page in &found {
        let bytes: usize = page
            .iter()
            .map(|r| serde_json::to_vec(r).unwrap().len())
            .sum();
        assert!(bytes <= MAX_PAGE_BYTES);
    }
    assert_eq!(numbers(&found.concat()), (0..300).rev().collect::<Vec<_>>());
}

#[test]
fn a_query_ends_at_its_deadline_and_the_next_page_goes_on() {
    let dir = TempDir::new();
    let log = small_files(&dir);
    for number in 0..100 {
        log.record(numbered(number));
    }
    log.finish();
    let late = AuditQuery {
        deadline: Instant::now(),
        ..query(1000)
    };
    let found = pages(&log, late);
    assert!(found.len() > 10, "{}", found.len());
    assert_eq!(numbers(&found.concat()), (0..100).rev().collect::<Vec<_>>());
}

#[test]
fn a_position_in_a_file_that_is_gone_finds_what_is_left() {
    let dir = TempDir::new();
    let log = small_files(&dir);
    for number in 0..100 {
        log.record(numbered(number));
    }
    log.finish();
    let mut query = query(50);
    let first = log.query(&query).unwrap();
    let mut next = first.next.unwrap();
    next.inode = u64::MAX;
    query.from = Some(next);
    let second = log.query(&query).unwrap();
    assert_eq!(numbers(&second.records), (0..50).rev().collect::<Vec<_>>());
    query.from = Some(Position {
        seq: 3,
        inode: 0,
        offset: 0,
    });
    assert_eq!(numbers(&log.query(&query).unwrap().records), [1, 0]);
}
