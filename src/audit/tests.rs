//! Tests of the audit trail on real files and sockets.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod files;
mod lines;
mod loss;
mod queries;
mod records;
mod refusals;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::*;
use crate::{
    identity::{CredentialKind, Principal, Protocol},
    model::{Op, Reason, ServerConfig, ServerKey, ServiceKey},
};

const TCP: &str = "tcp-192.0.2.1-80";

/// More than any step takes on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A directory that is removed at the end.
struct TempDir(PathBuf);

impl TempDir {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ipvsd-audit-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("audit.log")
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn principal(name: &str) -> Arc<Principal> {
    Arc::new(Principal {
        name: name.to_owned(),
        kind: CredentialKind::Token,
        grant: None,
    })
}

fn caller(request_id: &str) -> Caller {
    Caller {
        principal: principal("test"),
        peer: None,
        request_id: Some(request_id.into()),
        protocol: Protocol::Http,
    }
}

/// An event without changes.
fn event(operation: &'static str) -> Event {
    let now = Instant::now();
    Event {
        caller: caller("request"),
        operation: operation.into(),
        service: None,
        server: None,
        changes: Changes::None,
        outcome: Outcome::Success,
        reason: None,
        start: Some(now),
        end: now,
    }
}

/// An event whose id of the request is a number.
fn numbered(number: usize) -> Event {
    Event {
        caller: caller(&number.to_string()),
        ..event("zero")
    }
}

fn service() -> ServiceKey {
    TCP.parse().unwrap()
}

fn server(number: u8) -> ServerKey {
    format!("10.0.0.{number}-80").parse().unwrap()
}

/// The creation of a server, and its opposite.
fn creation(number: u8) -> (Op, Op) {
    let (service, server) = (service(), server(number));
    (
        Op::CreateServer(service, server, ServerConfig::default()),
        Op::DeleteServer(service, server),
    )
}

fn options(file: FileOptions) -> AuditOptions {
    AuditOptions {
        sink: SinkOptions::File(file),
        ..AuditOptions::default()
    }
}

fn log_to(path: &Path) -> AuditLog {
    AuditLog::start(&options(FileOptions::new(path))).unwrap()
}

fn query(limit: usize) -> AuditQuery {
    AuditQuery {
        since: None,
        until: None,
        principal: None,
        service: None,
        limit,
        from: None,
        deadline: Instant::now() + TIMEOUT,
    }
}

/// All records, the newest first.
fn all(log: &AuditLog) -> Vec<AuditRecord> {
    let page = log.query(&query(usize::MAX)).unwrap();
    assert_eq!(page.next, None);
    page.records
}

/// The ids of the requests.
fn ids(records: &[AuditRecord]) -> Vec<&str> {
    let ids = records.iter().map(|record| record.request_id.as_deref());
    ids.map(Option::unwrap_or_default).collect()
}

/// The lines of a file.
fn lines_of(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// The records of a file.
fn records_of(path: &Path) -> Vec<AuditRecord> {
    let lines = lines_of(path).into_iter();
    lines
        .map(|line| serde_json::from_str(&line).unwrap())
        .collect()
}

/// Waits for a condition.
#[track_caller]
fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        thread::yield_now();
    }
}

/// Waits until a file has this many lines.
#[track_caller]
fn wait_for_lines(path: &Path, count: usize) {
    let lines = || fs::read_to_string(path).map_or(0, |text| text.lines().count());
    wait_for("the records are written", || lines() == count);
}
