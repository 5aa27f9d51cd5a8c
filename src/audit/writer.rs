//! The thread that writes records.

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{
    json_line,
    queue::{Batch, Queue},
    record::AuditRecord,
};

/// Where records are written.
pub(super) trait Sink: Send + 'static {
    /// Writes lines in order.
    fn write(&mut self, lines: &[Line]) -> Written;

    /// Opens it anew.
    fn reopen(&mut self) -> io::Result<()>;

    /// The name, for the log.
    fn name(&self) -> String;
}

/// A record as text.
pub(super) struct Line {
    /// With its end.
    pub(super) text: Vec<u8>,
    /// Milliseconds from 1970 to the record.
    pub(super) time: i64,
}

/// How many lines were written, and why not the others.
pub(super) struct Written {
    pub(super) count: usize,
    pub(super) error: Option<io::Error>,
}

struct Writer<S> {
    queue: Arc<Queue>,
    sink: S,
    failing: Option<Failing>,
}

/// The sink fails.
struct Failing {
    since: Instant,
    /// When it was logged last.
    reported: Instant,
}

/// Time after which records that could not be written are tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Time after a write during which further records wait, so that they are written together.
const PAUSE: Duration = Duration::from_millis(10);
/// Time between two lines in the log about a sink that fails.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// Starts the thread.
pub(super) fn start(queue: Arc<Queue>, sink: impl Sink) -> io::Result<()> {
    let writer = Writer {
        queue,
        sink,
        failing: None,
    };
    thread::Builder::new()
        .name("ipvsd-audit".to_owned())
        .spawn(move || writer.run())?;
    Ok(())
}

// === impl Writer ===

impl<S: Sink> Writer<S> {
    fn run(mut self) {
        loop {
            let timeout = self.failing.as_ref().map(|_| RETRY);
            let Batch {
                entries,
                closing,
                reopen,
            } = self.queue.next(timeout);
            if reopen && let Err(error) = self.sink.reopen() {
                tracing::error!(to = self.sink.name(), %error, "cannot open the audit trail anew");
            }
            let lines = entries.iter().map(|entry| Line {
                text: json_line::line(&AuditRecord::from(&**entry)),
                time: entry.time,
            });
            let lines: Vec<_> = lines.collect();
            let Written { count, error } = self.sink.write(&lines);
            self.queue.written(count);
            let failed = error.is_some();
            self.report(error);
            if closing && (failed || lines.is_empty()) {
                self.queue.closed();
                return;
            }
            if !failed {
                self.queue.pause(PAUSE);
            }
        }
    }

    /// Logs that the sink fails, and that it works again.
    fn report(&mut self, error: Option<io::Error>) {
        let now = Instant::now();
        match (error, &mut self.failing) {
            (None, None) => {}
            (None, Some(Failing { since, .. })) => {
                let failed_for = now.saturating_duration_since(*since);
                tracing::info!(
                    to = self.sink.name(),
                    ?failed_for,
                    lost = self.queue.lost(),
                    "audit records are written again"
                );
                self.failing = None;
            }
            (Some(_), Some(Failing { reported, .. }))
                if now.saturating_duration_since(*reported) < REPORT_INTERVAL => {}
            (Some(error), failing) => {
                tracing::error!(
                    to = self.sink.name(),
                    %error,
                    lost = self.queue.lost(),
                    "audit records cannot be written; they wait"
                );
                let since = failing.as_ref().map_or(now, |failing| failing.since);
                self.failing = Some(Failing {
                    since,
                    reported: now,
                });
            }
        }
    }
}

// === impl Written ===

impl Written {
    pub(super) fn failed(count: usize, error: io::Error) -> Self {
        Self {
            count,
            error: Some(error),
        }
    }
}
