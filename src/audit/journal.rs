//! The audit trail in the journal of systemd.

use std::{io, path::Path};

use super::writer::{Line, Sink, Written};
use crate::journal::{Entry, Journal};

/// `SYSLOG_IDENTIFIER` of the records.
const IDENTIFIER: &str = "ipvsd-audit";
/// Facility "log audit" of RFC 5424.
const FACILITY: &str = "13";
/// Priority `notice`: normal but significant.
const PRIORITY: &str = "5";

/// The journal as the place of records.
pub(super) struct JournalSink(Journal);

// === impl JournalSink ===

impl JournalSink {
    /// See [`Journal::open`].
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Journal::open(path).map(Self)
    }

    fn send(&self, line: &Line) -> io::Result<()> {
        let mut entry = Entry::default();
        entry.field("SYSLOG_IDENTIFIER", IDENTIFIER);
        entry.field("SYSLOG_FACILITY", FACILITY);
        entry.field("PRIORITY", PRIORITY);
        entry.field("MESSAGE", line.text.trim_ascii_end());
        if !self.0.send(&entry)? {
            let bytes = entry.len();
            tracing::error!(
                bytes,
                "the journal does not take an audit record of this length"
            );
        }
        Ok(())
    }
}

impl Sink for JournalSink {
    fn write(&mut self, lines: &[Line]) -> Written {
        for (count, line) in lines.iter().enumerate() {
            if let Err(error) = self.send(line) {
                return Written::failed(count, error);
            }
        }
        Written {
            count: lines.len(),
            error: None,
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn name(&self) -> String {
        "journal".to_owned()
    }
}
