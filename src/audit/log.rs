//! The audit trail of a daemon.

use std::{
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use thiserror::Error;

use super::{
    event::{Caller, Changes, Event, Outcome},
    file::AuditFile,
    journal::JournalSink,
    options::{AuditOptions, FileOptions, SinkOptions},
    query::{AuditPage, AuditQuery, search},
    queue::{Limits, Queue},
    writer,
};
use crate::model::Reason;

/// The audit trail. Clones share it. The thread that writes ends with the last clone.
#[derive(Clone, Debug)]
pub struct AuditLog(Arc<Trail>);

#[derive(Debug)]
struct Trail {
    queue: Arc<Queue>,
    /// The files that have records, if there are any.
    files: Option<FileOptions>,
    /// Whether a thread writes records.
    is_written: bool,
}

/// Why the audit trail cannot be written. The daemon does not start without it.
#[derive(Debug, Error)]
pub enum StartError {
    /// The file cannot be opened, created or read.
    #[error("cannot open the audit file {}", path.display())]
    File {
        /// The path as configured.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The journal does not listen.
    #[error("cannot reach the journal at {}", path.display())]
    Journal {
        /// The socket.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The system has no threads left.
    #[error("cannot start the thread of the audit trail")]
    Thread(#[source] io::Error),
}

/// Memory in bytes of the events that are kept if they are in no file: about 1800. Refused requests have a
/// quarter of it in addition.
const MEMORY: usize = 1 << 20;
/// Time that the last records may take at the end of the process.
const FINISH_TIMEOUT: Duration = Duration::from_secs(1);

// === impl AuditLog ===

impl AuditLog {
    /// A trail of which the last records are kept in memory, and no more.
    pub fn in_memory() -> Self {
        let limits = Limits {
            waiting: None,
            kept: MEMORY,
        };
        Self(Arc::new(Trail {
            queue: Arc::new(Queue::new(limits, 1)),
            files: None,
            is_written: false,
        }))
    }

    /// Opens the file or the journal, and starts the thread that writes. The numbers of the records
    /// follow those in the file.
    pub fn start(options: &AuditOptions) -> Result<Self, StartError> {
        let waiting = Some(options.max_queue_bytes);
        match &options.sink {
            SinkOptions::Memory => Ok(Self::in_memory()),
            SinkOptions::File(file) => {
                let failed = |source| StartError::File {
                    path: file.path.clone(),
                    source,
                };
                let sink = AuditFile::open(file.clone()).map_err(failed)?;
                let last = AuditFile::last_seq(file).map_err(failed)?.unwrap_or(0);
                let limits = Limits { waiting, kept: 0 };
                let queue = Arc::new(Queue::new(limits, last.saturating_add(1)));
                Self::written(queue, sink, Some(file.clone()))
            }
            SinkOptions::Journal(path) => {
                let failed = |source| StartError::Journal {
                    path: path.clone(),
                    source,
                };
                let sink = JournalSink::open(path).map_err(failed)?;
                let kept = MEMORY;
                let queue = Arc::new(Queue::new(Limits { waiting, kept }, 1));
                Self::written(queue, sink, None)
            }
        }
    }

    fn written(
        queue: Arc<Queue>,
        sink: impl writer::Sink,
        files: Option<FileOptions>,
    ) -> Result<Self, StartError> {
        writer::start(queue.clone(), sink).map_err(StartError::Thread)?;
        Ok(Self(Arc::new(Trail {
            queue,
            files,
            is_written: true,
        })))
    }

    /// Records an event. It never blocks and never fails: an event that finds the queue full is
    /// counted, and a record says how many were lost. Of refused requests, the
    /// first ones of each minute are recorded one by one: ten of a peer without a valid credential, 60 of a
    /// principal. Records say how many others there were.
    pub fn record(&self, event: Event) {
        self.0.queue.push(event);
    }

    /// Records that a request had no valid credential. `start` is when it was received. `caller` must
    /// not contain the secret. Returns false if it is only counted.
    pub fn unauthenticated(&self, caller: Caller, start: Instant) -> bool {
        self.0.queue.push(Event {
            caller,
            operation: "authenticate".into(),
            service: None,
            server: None,
            changes: Changes::None,
            outcome: Outcome::Unauthenticated,
            reason: Some(Reason::Unauthenticated),
            start: Some(start),
            end: Instant::now(),
        })
    }

    /// Opens the file anew, as after a rotation by another program.
    pub fn reopen(&self) {
        self.0.queue.reopen();
    }

    /// Records that were lost since the start.
    pub fn lost(&self) -> u64 {
        self.0.queue.lost()
    }

    /// Finds records, the newest first. Those that wait to be written are found too. It reads files, so
    /// it may block.
    pub fn query(&self, query: &AuditQuery) -> io::Result<AuditPage> {
        let bound = query.from.map_or(u64::MAX, |from| from.seq);
        // First: what is written meanwhile is then in the files.
        let memory = self.0.queue.newest_first(bound);
        let files = self.0.files.iter().flat_map(FileOptions::all);
        search(query, &memory, files)
    }

    /// Writes what waits, for at most a second. Later events are not written.
    pub fn finish(&self) {
        if !self.0.is_written {
            return;
        }
        self.0.queue.close();
        let lost = self.0.queue.wait_closed(FINISH_TIMEOUT);
        if lost > 0 {
            tracing::error!(lost, "audit records were not written before the end");
        }
    }
}

impl Default for AuditLog {
    fn default() -> Self {
        Self::in_memory()
    }
}

// === impl Trail ===

impl Drop for Trail {
    fn drop(&mut self) {
        self.queue.close();
    }
}
