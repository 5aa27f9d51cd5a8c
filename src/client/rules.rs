//! The table as text: ipvsadm's command lines and its columns.

use std::{
    io::{BufRead, Write},
    time::Instant,
};

use serde::{Deserialize, de::Error as _};

use super::{
    blocking::{Client, NDJSON},
    connect::Limit,
    error::{ClientError, ProblemReason},
    http1::{Body, Request},
};
use crate::{ipvsadm::ListFormat, model::Errno};

/// Command lines, and how to execute them.
#[derive(Clone, Debug, Default)]
pub struct RestoreRequest {
    /// Command lines of ipvsadm(8), numeric, one per line.
    pub text: Vec<u8>,
    /// What the text is for.
    pub mode: RestoreMode,
    /// Whether to stop at the first command that the kernel rejects. Default: continue with the
    /// next, as `ipvsadm -R` does.
    pub stop: bool,
    /// Whether to check the text only, as [`WriteOptions::dry_run`](super::WriteOptions::dry_run).
    pub dry_run: bool,
}

/// What a text is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestoreMode {
    /// Its commands are executed (`ipvsadm -R`).
    #[default]
    Execute,
    /// The table is cleared first, once the text is checked (`ipvsadm-restore`).
    Clear,
    /// The table is made equal to what the commands make of an empty one, by the fewest operations.
    /// What is equal keeps its counters and connections.
    Replace,
}

/// An event of a restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestoreEvent {
    /// Progress.
    Progress {
        /// Commands that have been executed, rejected ones included.
        done: usize,
        /// Commands in the text.
        total: usize,
    },
    /// The kernel rejected a command.
    Refused(Refused),
    /// The restore has ended.
    End(Restored),
    /// The daemon could not continue.
    Failed {
        /// Machine-readable reason.
        reason: ProblemReason,
        /// Explanation.
        detail: String,
        /// Remedy.
        hint: Option<String>,
        /// How far the restore came. Absent in the responses of older daemons.
        progress: Option<RestoreProgress>,
    },
}

/// How far a restore came that was interrupted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RestoreProgress {
    /// Commands of the restore.
    pub commands: usize,
    /// Commands that were executed.
    pub done: usize,
    /// Commands that the kernel rejected.
    pub refused: usize,
    /// Lines of the commands that were sent to the kernel and whose outcome is unknown.
    pub unknown_lines: Vec<usize>,
}

/// A command that the kernel rejected.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Refused {
    /// Number of its line, from 1; 0 for a command that is not in the text: a clear, or a deletion
    /// of [`RestoreMode::Replace`].
    pub line: usize,
    /// Machine-readable reason.
    pub reason: ProblemReason,
    /// Explanation.
    pub detail: String,
    errno: Option<String>,
}

/// The result of a restore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Restored {
    /// Commands in the text; with [`RestoreMode::Replace`], operations that the difference needs.
    pub commands: usize,
    /// Commands that were executed.
    pub done: usize,
    /// Commands that the kernel rejected.
    pub refused: usize,
    /// The difference between the table and the text. Only with [`RestoreMode::Replace`].
    #[serde(skip)]
    pub difference: Option<RestoreDifference>,
}

/// The difference between the table and a text. Services and their servers are counted together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct RestoreDifference {
    /// Whether the table differed from the text.
    pub changed: bool,
    /// Services and servers to create.
    pub created: usize,
    /// Services and servers to edit in place.
    pub updated: usize,
    /// Services and servers to delete, the servers of deleted services included.
    pub deleted: usize,
    /// Services and servers that are left as they are.
    pub unchanged: usize,
}

/// The events of a restore as they happen. The last is [`RestoreEvent::End`],
/// [`RestoreEvent::Failed`] or an error.
#[derive(Debug)]
pub struct RestoreStream<'a> {
    client: &'a Client,
    body: Body,
    line: Vec<u8>,
    mode: RestoreMode,
    dry_run: bool,
    /// When a single command ends. Several are a stream, which has no end of its own.
    deadline: Option<Instant>,
    ended: bool,
}

// === impl Client ===

impl Client {
    /// Executes command lines (`ipvsadm -R`). The daemon checks the whole text before it executes
    /// the first: if a line is invalid, this is [`ClientError::Refused`] and nothing has changed.
    /// A command that the kernel rejects later is an event, and does not undo the ones before it.
    ///
    /// With [`RestoreMode::Replace`] it makes the table equal to the text instead. Repeating that is
    /// safe: the second time there is no difference.
    pub fn restore(&self, request: RestoreRequest) -> Result<RestoreStream<'_>, ClientError> {
        let RestoreRequest {
            text,
            mode,
            stop,
            dry_run,
        } = request;
        self.restore_text(&text, mode, stop, dry_run)
    }

    /// As [`Self::restore`], of a text that the caller keeps.
    pub(crate) fn restore_text(
        &self,
        text: &[u8],
        mode: RestoreMode,
        stop: bool,
        dry_run: bool,
    ) -> Result<RestoreStream<'_>, ClientError> {
        let on_error = if stop { "stop" } else { "continue" };
        let (method, clear) = match mode {
            RestoreMode::Execute => ("POST", ""),
            RestoreMode::Clear => ("POST", "clear=true&"),
            RestoreMode::Replace => ("PUT", ""),
        };
        let path = format!("/v1/rules?{clear}on_error={on_error}&dry_run={dry_run}");
        let request = Request {
            method,
            path: &path,
            accept: NDJSON,
            headers: &[],
            // The daemon refuses text/plain without a header of its API, as HTML forms send it.
            body: Some(("application/octet-stream", text)),
        };
        let is_single = mode == RestoreMode::Execute && !text.trim_ascii().contains(&b'\n');
        let deadline = is_single.then(|| self.deadline());
        let limit = deadline.map_or(self.silence(), Limit::Deadline);
        let response = self.send(&request, limit)?;
        Ok(RestoreStream {
            client: self,
            body: response.body,
            line: Vec::new(),
            mode,
            dry_run,
            deadline,
            ended: false,
        })
    }

    /// Writes the table to `out` as command lines (`ipvsadm -S -n`). With `restorable`, the servers
    /// of each service are in the order that gives the kernel's own order when they are restored.
    pub fn write_rules(&self, out: &mut dyn Write, restorable: bool) -> Result<(), ClientError> {
        let order = if restorable { "restorable" } else { "sorted" };
        let path = format!("/v1/rules?order={order}");
        self.write_text(out, &path, |first| {
            first.is_empty() || first.starts_with(b"-A ")
        })
    }

    /// Writes the table to `out` in columns (`ipvsadm -L -n`).
    pub fn write_listing(
        &self,
        out: &mut dyn Write,
        format: ListFormat,
    ) -> Result<(), ClientError> {
        let ListFormat {
            mode,
            exact,
            numeric: _,
            unsorted,
        } = format;
        let order = if unsorted { "kernel" } else { "sorted" };
        let columns = mode.name();
        let path = format!("/v1/listing?columns={columns}&exact={exact}&order={order}");
        self.write_text(out, &path, |first| first.starts_with(b"IP Virtual Server "))
    }

    /// Copies a text to `out` as it arrives, so that a long one is never in memory as a whole. Writes
    /// nothing if `is_expected` does not hold of its first line.
    fn write_text(
        &self,
        out: &mut dyn Write,
        path: &str,
        is_expected: impl Fn(&[u8]) -> bool,
    ) -> Result<(), ClientError> {
        let mut deadline = self.deadline();
        let mut response = self.stream(path, "text/plain", Limit::Deadline(deadline))?;
        let mut first = Vec::new();
        self.read_line(&mut response.body, &mut first, deadline)?;
        if !is_expected(&first) {
            return Err(self.not_ipvsd(&response));
        }
        if first.is_empty() {
            return Ok(());
        }
        first.push(b'\n');
        out.write_all(&first).map_err(ClientError::Output)?;
        let mut body = response.body;
        let (mut size, mut last) = (first.len(), b'\n');
        loop {
            body.set_limit(Limit::Deadline(deadline));
            let part = body
                .fill_buf()
                .map_err(|error| self.transport_error(error))?;
            let Some(end) = part.last() else {
                break;
            };
            last = *end;
            // A pager may wait for its user.
            let start = Instant::now();
            out.write_all(part).map_err(ClientError::Output)?;
            deadline += start.elapsed();
            let length = part.len();
            size += length;
            self.check_size(size)?;
            body.consume(length);
        }
        // The end of a response without a length is not known otherwise.
        match last {
            b'\n' => Ok(()),
            _ => Err(ClientError::Truncated),
        }
    }
}

// === impl RestoreEvent ===

impl RestoreEvent {
    /// Parses a line. First its kind, then its fields: a tagged enum and flattened fields would read
    /// them into a tree first, and `ipvsctl -a` executes this code once.
    fn parse(line: &[u8], mode: RestoreMode) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Kind<'a> {
            event: &'a str,
        }
        #[derive(Deserialize)]
        struct Reached {
            done: usize,
            total: usize,
        }
        #[derive(Deserialize)]
        struct Failure {
            reason: ProblemReason,
            detail: String,
            hint: Option<String>,
        }
        match serde_json::from_slice::<Kind<'_>>(line)?.event {
            "progress" => {
                let Reached { done, total } = serde_json::from_slice(line)?;
                Ok(Self::Progress { done, total })
            }
            "refused" => serde_json::from_slice(line).map(Self::Refused),
            "end" => {
                let mut restored: Restored = serde_json::from_slice(line)?;
                if mode == RestoreMode::Replace {
                    restored.difference = serde_json::from_slice(line).ok();
                }
                Ok(Self::End(restored))
            }
            "failed" => {
                let Failure {
                    reason,
                    detail,
                    hint,
                } = serde_json::from_slice(line)?;
                Ok(Self::Failed {
                    reason,
                    detail,
                    hint,
                    progress: serde_json::from_slice(line).ok(),
                })
            }
            _ => Err(serde_json::Error::custom("an unknown event")),
        }
    }
}

// === impl Refused ===

impl Refused {
    /// The kernel's error.
    pub fn errno(&self) -> Option<Errno> {
        self.errno.as_deref()?.parse().ok()
    }
}

// === impl RestoreStream ===

impl Iterator for RestoreStream<'_> {
    type Item = Result<RestoreEvent, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let deadline = self.deadline.unwrap_or_else(|| self.client.deadline());
        let event = match self
            .client
            .read_line(&mut self.body, &mut self.line, deadline)
        {
            Ok(true) => RestoreEvent::parse(&self.line, self.mode).map_err(ClientError::from),
            Ok(false) => Err(ClientError::Truncated),
            Err(error) => Err(error),
        };
        let event = event.map_err(|error| match self.dry_run {
            true => error,
            false => self.client.outcome_unknown(error),
        });
        self.ended = !matches!(
            event,
            Ok(RestoreEvent::Progress { .. } | RestoreEvent::Refused(_))
        );
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::panic,
        reason = "a test that panics fails"
    )]

    use super::*;

    fn event(line: &str, mode: RestoreMode) -> RestoreEvent {
        RestoreEvent::parse(line.as_bytes(), mode).unwrap()
    }

    #[test]
    fn every_event_is_parsed() {
        let execute = RestoreMode::Execute;
        assert_eq!(
            event(
                r#"{"event":"progress","done":1,"total":2,"new":[{}]}"#,
                execute
            ),
            RestoreEvent::Progress { done: 1, total: 2 }
        );
        let line = r#"{"line":3,"event":"refused","command":"-Z","reason":"X","detail":"d"}"#;
        let RestoreEvent::Refused(refused) = event(line, execute) else {
            panic!("{line}");
        };
        assert_eq!((refused.line, refused.detail.as_str()), (3, "d"));
        let line = r#"{"event":"failed","reason":"INTERNAL","detail":"d","hint":"h","commands":4,
                       "done":1,"refused":2,"unknown_lines":[3]}"#;
        let RestoreEvent::Failed { hint, progress, .. } = event(line, execute) else {
            panic!("{line}");
        };
        assert_eq!(hint.as_deref(), Some("h"));
        assert_eq!(progress.unwrap().unknown_lines, [3]);
        let line = r#"{"event":"failed","reason":"INTERNAL","detail":"d"}"#;
        let RestoreEvent::Failed { progress, .. } = event(line, execute) else {
            panic!("{line}");
        };
        assert_eq!(progress, None);
        for line in [r#"{"event":"other"}"#, r#"{"event":"end"}"#, "[]", "{}"] {
            assert!(RestoreEvent::parse(line.as_bytes(), execute).is_err());
        }
    }

    #[test]
    fn a_replacement_ends_with_its_difference() {
        let line = r#"{"event":"end","commands":1,"done":1,"refused":0,"changed":true,"created":1,
                       "updated":0,"deleted":0,"unchanged":5}"#;
        let difference = |mode| match event(line, mode) {
            RestoreEvent::End(restored) => restored.difference,
            event => panic!("{event:?}"),
        };
        assert_eq!(difference(RestoreMode::Execute), None);
        let RestoreDifference {
            changed, unchanged, ..
        } = difference(RestoreMode::Replace).unwrap();
        assert_eq!((changed, unchanged), (true, 5));
    }
}
