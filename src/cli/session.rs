//! Sends commands that write, and reports their failures.

use std::io::{self, IsTerminal};

use super::{
    error::CliError,
    outcome,
    output::{eprint_line, eprint_text},
    progress::Progress,
    target::Target,
};
use crate::{
    client::{Refused, RestoreDifference, RestoreEvent, RestoreMode, RestoreRequest},
    ipvsadm::{ParseError, errno_message, write_op},
    model::Op,
};

/// A line of the input with its number.
#[derive(Clone, Debug)]
pub(super) enum Item {
    /// A command to send. The number is 0 if the input has no lines.
    Command(usize, Op),
    /// An invalid line that does not end the restore.
    Invalid(usize, ParseError),
}

/// Commands for one director. They are collected and sent in one request.
pub(super) struct Session<'a> {
    target: &'a Target,
    pending: Vec<Item>,
    options: SessionOptions,
    /// Exit code of the last line.
    pub exit_code: u8,
    /// Number of lines that failed.
    pub failures: usize,
    /// The difference that a replacement has made, or would make.
    pub difference: Option<RestoreDifference>,
}

/// Options of a [`Session`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SessionOptions {
    /// What the commands are for. The table is cleared before the first request only.
    pub mode: RestoreMode,
    /// Whether the commands are only validated.
    pub dry_run: bool,
    /// Whether messages show the line. On a terminal, they always do.
    pub show_lines: bool,
}

/// Reports failures in the order of the lines.
struct Reporter<'a> {
    items: &'a [Item],
    mode: RestoreMode,
    show_lines: bool,
    /// Index of the first item whose outcome is not reported yet.
    next: usize,
    failures: usize,
    /// Index of the last command that was rejected.
    last_rejected: Option<usize>,
}

/// ipvsadm's exit code for a command that the kernel rejects.
const REJECTED: u8 = 255;

// === impl Session ===

impl<'a> Session<'a> {
    pub(super) fn new(target: &'a Target, mut options: SessionOptions) -> Self {
        options.show_lines |= io::stderr().is_terminal();
        Self {
            target,
            pending: Vec::new(),
            options,
            exit_code: 0,
            failures: 0,
            difference: None,
        }
    }

    /// Adds an item to the next request.
    pub(super) fn push(&mut self, item: Item) {
        self.pending.push(item);
    }

    /// Sends the pending commands and reports failures. With `stop`, the daemon stops at the first
    /// command that the kernel rejects.
    pub(super) fn send(&mut self, stop: bool) -> Result<(), CliError> {
        let items = std::mem::take(&mut self.pending);
        let mode = self.options.mode;
        if mode == RestoreMode::Clear {
            self.options.mode = RestoreMode::Execute;
        }
        let mut text = Vec::new();
        // Index of the item for each line of the request.
        let mut indices = Vec::new();
        for (index, item) in items.iter().enumerate() {
            if let Item::Command(_, op) = item {
                write_op(&mut text, op)?;
                indices.push(index);
            }
        }
        let is_empty_clear = mode == RestoreMode::Clear && indices.is_empty();
        if is_empty_clear {
            // ipvsadm-restore clears the table even if its input is empty.
            write_op(&mut text, &Op::Clear)?;
        }
        let mut reporter = Reporter {
            items: &items,
            mode,
            show_lines: self.options.show_lines,
            next: 0,
            failures: 0,
            last_rejected: None,
        };
        if !text.is_empty() {
            let request = RestoreRequest {
                text,
                mode: match is_empty_clear {
                    true => RestoreMode::Execute,
                    false => mode,
                },
                stop,
                dry_run: self.options.dry_run,
            };
            self.difference = self.execute(request, &indices, &mut reporter)?;
        }
        reporter.report_invalid(items.len());
        self.failures += reporter.failures;
        self.exit_code = match items.last() {
            Some(Item::Invalid(_, error)) => error.exit_code(),
            Some(Item::Command(..)) if reporter.last_rejected == Some(items.len() - 1) => REJECTED,
            Some(Item::Command(..)) => 0,
            None => self.exit_code,
        };
        Ok(())
    }

    /// Sends a request. If the reply is lost, a single command and a replacement are sent again, once.
    fn execute(
        &self,
        request: RestoreRequest,
        indices: &[usize],
        reporter: &mut Reporter<'_>,
    ) -> Result<Option<RestoreDifference>, CliError> {
        let items = reporter.items;
        let single = match (indices, request.mode) {
            ([index], RestoreMode::Execute) => items.get(*index).and_then(Item::op),
            _ => None,
        };
        let can_repeat = single.is_some() || request.mode == RestoreMode::Replace;
        let result = match self.attempt(request.clone(), indices, reporter, None) {
            Err(CliError::Client(first)) if can_repeat && first.is_lost() => {
                match self.attempt(request, indices, reporter, single) {
                    // What became of the first attempt is still unknown.
                    Err(CliError::Client(_)) => Err(first.into()),
                    result => result,
                }
            }
            result => result,
        };
        result.map_err(|error| outcome::explain(error, self.target, single))
    }

    /// Sends a request once. `repeated` is the command that has been sent before.
    fn attempt(
        &self,
        request: RestoreRequest,
        indices: &[usize],
        reporter: &mut Reporter<'_>,
        repeated: Option<&Op>,
    ) -> Result<Option<RestoreDifference>, CliError> {
        let client = &self.target.client;
        let mut difference = None;
        let mut progress = Progress::new(indices.len());
        for event in client.restore(request)? {
            match event? {
                RestoreEvent::Progress { done, total } => progress.update(done, total),
                RestoreEvent::Refused(refused) => {
                    progress.clear();
                    if let Some(op) = repeated
                        && outcome::is_done(client, op, &refused)?
                    {
                        continue;
                    }
                    // Line 0 is the clearing of the table.
                    let line = refused.line.checked_sub(1);
                    let index = line.and_then(|line| indices.get(line).copied());
                    reporter.report_rejected(index, refused);
                }
                RestoreEvent::End(restored) => difference = restored.difference,
                RestoreEvent::Failed {
                    reason: _,
                    mut detail,
                    hint,
                    progress: reached,
                } => {
                    progress.clear();
                    if let Some(hint) = hint {
                        detail += &format!(" ({hint})");
                    }
                    let unknown = reached.map(|reached| reached.unknown_lines);
                    return Err(CliError::RestoreAborted {
                        detail,
                        is_unknown: unknown.is_some_and(|lines| !lines.is_empty()),
                    });
                }
            }
        }
        progress.clear();
        Ok(difference)
    }
}

// === impl Item ===

impl Item {
    fn op(&self) -> Option<&Op> {
        match self {
            Self::Command(_, op) => Some(op),
            Self::Invalid(..) => None,
        }
    }
}

// === impl Reporter ===

impl Reporter<'_> {
    /// Reports the invalid lines before index `end`.
    fn report_invalid(&mut self, end: usize) {
        for item in self.items.iter().take(end).skip(self.next) {
            if let Item::Invalid(line, error) = item {
                self.failures += 1;
                match self.show_lines {
                    true => {
                        let text = error.to_string();
                        eprint_line(&format!("line {line}: {}", text.trim_end()));
                    }
                    false => eprint_text(&error.to_string()),
                }
            }
        }
        self.next = end.max(self.next);
    }

    /// Reports a command that the kernel rejected; without index, the clearing of the table.
    fn report_rejected(&mut self, index: Option<usize>, refused: Refused) {
        let item = index.and_then(|index| self.items.get(index));
        let (line, op) = match item {
            Some(Item::Command(line, op)) => (Some(*line), op),
            _ => (None, &Op::Clear),
        };
        if let Some(index) = index {
            self.report_invalid(index);
            self.next = self.next.max(index + 1);
            self.last_rejected = Some(index);
        }
        self.failures += 1;
        let message = match refused.errno() {
            // A deletion that a replacement needs.
            _ if item.is_none() && self.mode == RestoreMode::Replace => refused.detail,
            Some(errno) => errno_message(Some(op), errno).into_owned(),
            None => refused.detail,
        };
        match line.filter(|_| self.show_lines) {
            Some(0) => eprint_line(&format!("{message}: {}", command_line(op))),
            Some(line) => eprint_line(&format!("line {line}: {message}: {}", command_line(op))),
            None => eprint_line(&message),
        }
    }
}

fn command_line(op: &Op) -> String {
    let mut text = Vec::new();
    // Writing to a Vec cannot fail.
    let _ = write_op(&mut text, op);
    String::from_utf8_lossy(&text).trim_end().to_owned()
}
