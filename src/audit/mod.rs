//! The audit trail: who changed what, and who was refused.
//!
//! [`AuditLog::record`] takes an [`Event`] and never blocks or fails. A thread makes an
//! [`AuditRecord`] of it, a line of JSON, and writes it to a file or to the journal; without either,
//! the last records are kept in memory. [`AuditLog::query`] reads the records back.
//! `docs/audit.md` is the reference.

mod event;
mod file;
mod journal;
mod json_line;
mod lines;
mod log;
mod options;
mod query;
mod queue;
mod record;
mod refusals;
mod values;
mod writer;

#[cfg(test)]
mod tests;

pub use event::{Caller, Changes, Event, Outcome};
pub use log::{AuditLog, StartError};
pub use options::{AuditOptions, FileOptions, JOURNAL_SOCKET, SinkOptions};
pub use query::{AuditPage, AuditQuery, MAX_PAGE_BYTES, Position};
pub use record::AuditRecord;
