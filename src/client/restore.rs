//! Command lines to the daemon, and what becomes of them.

use serde::Deserialize;

use super::{Client, ClientError, http1::Body};
use crate::model::Errno;

/// A text and how it is to be carried out.
#[derive(Clone, Debug, Default)]
pub struct RestoreRequest {
    /// Command lines of ipvsadm, numeric.
    pub text: Vec<u8>,
    /// Clears the table first.
    pub clear: bool,
    /// Ends at the first refusal.
    pub stop: bool,
    /// Only checks the text.
    pub check_only: bool,
}

/// What happens meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase", tag = "event")]
pub enum RestoreEvent {
    /// How far it came.
    Progress {
        /// Commands that have been tried.
        done: usize,
        /// Of so many.
        total: usize,
    },
    /// The kernel refused a command.
    Refused(Refused),
    /// All is done.
    End(Restored),
    /// The daemon could not go on.
    Failed {
        /// The stable name of the reason.
        reason: String,
        /// One sentence for a person.
        detail: String,
    },
}

/// A command that the kernel refused.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Refused {
    /// Its line, from 1.
    pub line: usize,
    /// The stable name of the reason.
    pub reason: String,
    /// One sentence for a person.
    pub detail: String,
    /// What the kernel answered, where it was asked.
    errno: Option<String>,
}

/// What came of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Restored {
    /// Commands in the text.
    pub commands: usize,
    /// Those that were carried out.
    pub done: usize,
    /// Those that were refused.
    pub refused: usize,
}

/// Events as they come. The last is [`RestoreEvent::End`], [`RestoreEvent::Failed`] or an error.
#[derive(Debug)]
pub struct RestoreStream<'a> {
    client: &'a Client,
    body: Body,
    line: Vec<u8>,
    ended: bool,
}

// === impl Client ===

impl Client {
    /// Has command lines carried out.
    pub fn restore(&self, request: RestoreRequest) -> Result<RestoreStream<'_>, ClientError> {
        let RestoreRequest {
            text,
            clear,
            stop,
            check_only,
        } = request;
        let on_error = if stop { "stop" } else { "continue" };
        let path = format!("/v1/rules?clear={clear}&on_error={on_error}&check_only={check_only}");
        let body = Some(("text/plain; charset=utf-8", text.as_slice()));
        let body = self.send("POST", &path, "application/x-ndjson", body)?;
        Ok(RestoreStream {
            client: self,
            body,
            line: Vec::new(),
            ended: false,
        })
    }
}

// === impl Refused ===

impl Refused {
    /// What the kernel answered, where it was asked.
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
        let event = match self.client.next_line(&mut self.body, &mut self.line) {
            Ok(true) => serde_json::from_slice(&self.line).map_err(ClientError::from),
            Ok(false) => Err(ClientError::BrokenOff),
            Err(error) => Err(error),
        };
        let goes_on = matches!(
            event,
            Ok(RestoreEvent::Progress { .. } | RestoreEvent::Refused(_))
        );
        self.ended = !goes_on;
        Some(event)
    }
}
