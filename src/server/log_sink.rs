//! The sink of the log: a bounded queue, and a thread that writes it to standard error or to the journal.
//!
//! A write to standard error may fail (the file system is full, the pipe is closed) or block (the
//! reader of the pipe is stopped). Requests, start and end do not depend on it: a line that cannot
//! be queued or written is counted, and the number is written as soon as that is possible.

use std::{
    fs::File,
    io::{self, Write},
    mem,
    os::fd::AsFd,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tracing_subscriber::fmt::{
    MakeWriter,
    format::Writer,
    time::{FormatTime, SystemTime},
};

use super::{config::LogFormat, log_journal::JournalWriter};
use crate::journal::{self, Journal};

/// Maximum size of a line in bytes. Longer lines are cut: no event of the daemon is longer, but
/// those of libraries are at level `trace`.
const MAX_LINE: usize = 16 * 1024;

/// Maximum size of the queue in bytes: about 5000 lines, more than a burst of requests writes while
/// the reader of a pipe is scheduled. As much again is being written.
const MAX_QUEUE: usize = 1024 * 1024;

/// What replaces the end of a line that was cut.
const CUT: &[u8] = b"... (cut)\n";

/// Time after which a failed write is tried again, if no new line causes an attempt.
const RETRY: Duration = Duration::from_secs(1);

/// Pause while standard error is a full pipe in non-blocking mode. Another process may have set it.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// Time after a write during which further lines wait. A wake-up of the thread for each line would cost
/// more than the request that logs it.
const PAUSE: Duration = Duration::from_millis(10);

/// Maximum size of a write of several lines: what a pipe takes as a whole (`PIPE_BUF`), so that lines
/// of several processes do not mix.
const MAX_WRITE: usize = 4096;

/// Time that the last lines may take at the end of the process.
const FINISH_TIMEOUT: Duration = Duration::from_secs(1);

/// The sink. Clones share it.
#[derive(Clone)]
pub(super) struct LogSink(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    /// All lines that were lost.
    lost: AtomicU64,
}

/// What waits for the thread.
#[derive(Default)]
struct Queue {
    /// Complete lines.
    lines: Vec<u8>,
    /// Lines that did not fit.
    lost: u64,
    /// The thread waits for a line.
    idle: bool,
    /// The thread is to end when it has written everything.
    closing: bool,
    /// The thread has ended.
    closed: bool,
}

/// The state of the thread.
struct SinkThread<W> {
    shared: Arc<Shared>,
    output: W,
    format: LogFormat,
    /// Lines that were lost and not reported yet.
    lost: u64,
    /// Whether the last byte written is not the end of a line.
    in_line: bool,
}

// === impl LogSink ===

impl LogSink {
    /// Starts the thread that writes to standard error, or to the journal.
    pub(super) fn start(format: LogFormat) -> io::Result<Self> {
        if format == LogFormat::Journal {
            let journal = Journal::open(journal::SOCKET.as_ref())?;
            return Self::with_output(format, JournalWriter::new(journal));
        }
        // A duplicate: `io::stderr` is locked while a write blocks.
        let output = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        Self::with_output(format, output)
    }

    fn with_output(format: LogFormat, output: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            changed: Condvar::new(),
            lost: AtomicU64::new(0),
        });
        let thread = SinkThread {
            shared: shared.clone(),
            output,
            format,
            lost: 0,
            in_line: false,
        };
        thread::Builder::new()
            .name("ipvsd-log".to_owned())
            .spawn(move || thread.run())?;
        Ok(Self(shared))
    }

    /// Queues a line, or counts it as lost. Never waits for the output.
    pub(super) fn push(&self, line: &[u8]) {
        let mut queue = self.0.lock();
        let end = line.len().min(MAX_LINE);
        if queue.lines.len() + end + CUT.len() > MAX_QUEUE {
            queue.lost += 1;
            self.0.count_lost(1);
        } else if end == line.len() {
            queue.lines.extend_from_slice(line);
        } else {
            let text = String::from_utf8_lossy(line.get(..end).unwrap_or_default());
            queue.lines.extend_from_slice(text.as_bytes());
            queue.lines.extend_from_slice(CUT);
        }
        let wake = queue.idle || queue.lines.len() >= MAX_QUEUE / 2;
        drop(queue);
        if wake {
            self.0.changed.notify_all();
        }
    }

    /// Lines that were lost since the start.
    pub(super) fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }

    /// Waits until everything is written, for at most [`FINISH_TIMEOUT`].
    pub(super) fn finish(&self) {
        let mut queue = self.0.lock();
        queue.closing = true;
        self.0.changed.notify_all();
        let open = |queue: &mut Queue| !queue.closed;
        drop(
            self.0
                .changed
                .wait_timeout_while(queue, FINISH_TIMEOUT, open),
        );
    }
}

impl MakeWriter<'_> for LogSink {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Each event is one call.
impl Write for LogSink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// === impl Shared ===

impl Shared {
    fn count_lost(&self, lines: u64) {
        self.lost.fetch_add(lines, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl SinkThread ===

impl<W: Write> SinkThread<W> {
    /// Writes lines until the sink is finished.
    fn run(mut self) {
        loop {
            let Queue {
                lines,
                lost,
                closing,
                ..
            } = self.next();
            for lines in writes(&lines) {
                // The report comes first: it is about earlier lines, and ends a broken one.
                if self.report().is_err() {
                    self.lose(lines);
                } else if let Err(unwritten) = self.write(lines) {
                    self.lose(unwritten);
                }
            }
            self.lost += lost;
            // A failure is tried again later.
            let _ = self.report();
            if closing {
                self.shared.lock().closed = true;
                self.shared.changed.notify_all();
                return;
            }
            self.pause();
        }
    }

    /// Counts lines that were not written.
    fn lose(&mut self, lines: &[u8]) {
        let lost = count_lines(lines);
        self.lost += lost;
        self.shared.count_lost(lost);
    }

    /// Lets lines gather, unless the queue fills or is to be emptied.
    fn pause(&self) {
        let may_wait = |queue: &mut Queue| queue.lines.len() < MAX_QUEUE / 2 && !queue.closing;
        let queue = self.shared.lock();
        let changed = &self.shared.changed;
        drop(changed.wait_timeout_while(queue, PAUSE, may_wait));
    }

    /// Waits for something to do, and takes it.
    fn next(&self) -> Queue {
        let idle = |queue: &mut Queue| {
            queue.idle = queue.lines.is_empty() && queue.lost == 0 && !queue.closing;
            queue.idle
        };
        let queue = self.shared.lock();
        let changed = &self.shared.changed;
        let mut queue = if self.lost == 0 {
            changed
                .wait_while(queue, idle)
                .unwrap_or_else(PoisonError::into_inner)
        } else {
            let waited = changed.wait_timeout_while(queue, RETRY, idle);
            waited.unwrap_or_else(PoisonError::into_inner).0
        };
        queue.idle = false;
        Queue {
            lines: mem::take(&mut queue.lines),
            lost: mem::take(&mut queue.lost),
            ..*queue
        }
    }

    /// Writes the number of lost lines, if there are any.
    fn report(&mut self) -> Result<(), ()> {
        if self.lost == 0 {
            return Ok(());
        }
        let line_end = if self.in_line { "\n" } else { "" };
        let report = format!("{line_end}{}\n", self.lost_lines());
        self.write(report.as_bytes()).map_err(drop)?;
        self.lost = 0;
        Ok(())
    }

    /// A line in the format of the others.
    fn lost_lines(&self) -> String {
        const TARGET: &str = "ipvsd::log";
        let mut timestamp = String::new();
        // A String takes any text.
        let _ = SystemTime.format_time(&mut Writer::new(&mut timestamp));
        let message = format!("{} log lines were lost", self.lost);
        match self.format {
            LogFormat::Text => format!("{timestamp}  WARN {TARGET}: {message}"),
            LogFormat::Json | LogFormat::Journal => serde_json::json!({
                "timestamp": timestamp,
                "level": "WARN",
                "message": message,
                "target": TARGET,
            })
            .to_string(),
        }
    }

    /// Writes text that ends with a newline. The error is what was not written.
    fn write<'a>(&mut self, text: &'a [u8]) -> Result<(), &'a [u8]> {
        let mut rest = text;
        while !rest.is_empty() {
            match self.output.write(rest) {
                Ok(0) => return Err(rest),
                Ok(written) => {
                    rest = rest.get(written..).unwrap_or_default();
                    let written = text.get(..text.len() - rest.len());
                    self.in_line = written.is_some_and(|written| !written.ends_with(b"\n"));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    thread::sleep(BUSY_PAUSE);
                }
                Err(_) => return Err(rest),
            }
        }
        Ok(())
    }
}

/// Divides lines into writes of at most [`MAX_WRITE`] bytes. A longer line is a write of its own.
fn writes(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = lines;
    std::iter::from_fn(move || {
        let mut ends = rest.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let first = ends.next().map_or(rest.len(), |(at, _)| at + 1);
        let more = ends
            .map(|(at, _)| at + 1)
            .take_while(|end| *end <= MAX_WRITE);
        let (write, after) = rest.split_at(more.last().unwrap_or(first));
        rest = after;
        (!write.is_empty()).then_some(write)
    })
}

/// The number of lines, of which the last may lack its end.
fn count_lines(text: &[u8]) -> u64 {
    text.split_inclusive(|byte| *byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests;
