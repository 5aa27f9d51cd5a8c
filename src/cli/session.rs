//! Sends commands that write, and reports their failures.

use std::io::{self, IsTerminal};

use super::{
    commands::{Commands, op},
    error::CliError,
    outcome,
    output::{eprint_line, eprint_text},
    progress::Progress,
    target::Target,
};
use crate::{
    client::{ClientError, Refused, RestoreDifference, RestoreEvent, RestoreMode},
    ipvsadm::{Line, Lines, ParseError, errno_message, write_op},
    model::{Op, Reason},
};

/// Commands for one director. They are collected and sent in one request.
pub(super) struct Session<'a> {
    target: &'a Target,
    input: &'a str,
    pending: Commands<'a>,
    /// The invalid lines among the pending commands that do not end the restore, with their numbers.
    invalid: Vec<(usize, ParseError)>,
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
    commands: &'a Commands<'a>,
    /// The lines of the commands that have not been searched yet.
    lines: Lines<'a>,
    /// The invalid lines that are not reported yet.
    invalid: &'a [(usize, ParseError)],
    mode: RestoreMode,
    show_lines: bool,
    failures: usize,
    /// The line in the text of the last command that was rejected.
    last_rejected: usize,
}

/// ipvsadm's exit code for a command that the kernel rejects.
const REJECTED: u8 = 255;
/// The text of a clear.
const CLEAR: &[u8] = b"-C\n";

// === impl Session ===

impl<'a> Session<'a> {
    /// A session for the lines of an input.
    pub(super) fn new(target: &'a Target, input: &'a str, mut options: SessionOptions) -> Self {
        options.show_lines |= io::stderr().is_terminal();
        Self {
            target,
            input,
            pending: Commands::of_lines(input),
            invalid: Vec::new(),
            options,
            exit_code: 0,
            failures: 0,
            difference: None,
        }
    }

    /// Adds a line of the input and its command to the next request.
    pub(super) fn push(
        &mut self,
        line: &Line<'_>,
        op: &Op,
        is_numeric: bool,
    ) -> Result<(), CliError> {
        Ok(self.pending.push(line, op, is_numeric)?)
    }

    /// Adds an invalid line, which is reported between the commands.
    pub(super) fn push_invalid(&mut self, number: usize, error: ParseError) {
        self.invalid.push((number, error));
    }

    /// Sends the pending commands and reports failures. With `stop`, the daemon stops at the first
    /// command that the kernel rejects.
    pub(super) fn send(&mut self, stop: bool) -> Result<(), CliError> {
        let commands = std::mem::replace(&mut self.pending, Commands::of_lines(self.input));
        self.send_commands(&commands, stop)
    }

    /// As [`Self::send`], with these commands. If the daemon refuses a text as too large, which it does
    /// before it executes a command, the shortest text of the commands is sent.
    pub(super) fn send_commands(
        &mut self,
        commands: &Commands<'_>,
        stop: bool,
    ) -> Result<(), CliError> {
        let invalid = std::mem::take(&mut self.invalid);
        let mode = self.options.mode;
        if mode == RestoreMode::Clear {
            self.options.mode = RestoreMode::Execute;
        }
        match self.send_text(commands, &invalid, mode, stop) {
            Err(CliError::Client(ClientError::Refused(problem)))
                if problem.reason.known() == Some(Reason::TooLarge) =>
            {
                let shortened = commands.shortened()?;
                if shortened.text().len() >= commands.text().len() {
                    return Err(ClientError::Refused(problem).into());
                }
                self.send_text(&shortened, &invalid, mode, stop)
            }
            result => result,
        }
    }

    fn send_text(
        &mut self,
        commands: &Commands<'_>,
        invalid: &[(usize, ParseError)],
        mode: RestoreMode,
        stop: bool,
    ) -> Result<(), CliError> {
        let mut reporter = Reporter {
            commands,
            lines: commands.lines(),
            invalid,
            mode,
            show_lines: self.options.show_lines,
            failures: 0,
            last_rejected: 0,
        };
        if !commands.is_empty() {
            self.difference = self.execute(commands.text(), mode, stop, &mut reporter)?;
        } else if mode == RestoreMode::Clear {
            // ipvsadm-restore clears the table even if its input is empty.
            self.execute(CLEAR, RestoreMode::Execute, stop, &mut reporter)?;
        }
        reporter.report_invalid(usize::MAX);
        self.failures += reporter.failures;
        let last = commands.last_line();
        self.exit_code = match invalid.last() {
            Some((number, error)) if commands.is_empty() || *number > commands.number(last) => {
                error.exit_code()
            }
            _ if commands.is_empty() => self.exit_code,
            _ if reporter.last_rejected == last => REJECTED,
            _ => 0,
        };
        Ok(())
    }

    /// Sends a request. If the reply is lost, a single command and a replacement are sent again, once.
    fn execute(
        &self,
        text: &[u8],
        mode: RestoreMode,
        stop: bool,
        reporter: &mut Reporter<'_>,
    ) -> Result<Option<RestoreDifference>, CliError> {
        let commands = reporter.commands;
        let single = || match mode {
            RestoreMode::Execute => commands.single(),
            RestoreMode::Clear | RestoreMode::Replace => None,
        };
        let result = match self.attempt(text, mode, stop, reporter, None) {
            Err(CliError::Client(first)) if first.is_lost() => {
                let single = single();
                if single.is_none() && mode != RestoreMode::Replace {
                    Err(first.into())
                } else {
                    match self.attempt(text, mode, stop, reporter, single.as_ref()) {
                        // What became of the first attempt is still unknown.
                        Err(CliError::Client(_)) => Err(first.into()),
                        result => result,
                    }
                }
            }
            result => result,
        };
        result.map_err(|error| outcome::explain(error, self.target, single().as_ref()))
    }

    /// Sends a request once. `repeated` is the command that has been sent before.
    fn attempt(
        &self,
        text: &[u8],
        mode: RestoreMode,
        stop: bool,
        reporter: &mut Reporter<'_>,
        repeated: Option<&Op>,
    ) -> Result<Option<RestoreDifference>, CliError> {
        let client = &self.target.client;
        let mut difference = None;
        let mut progress = Progress::of_commands(reporter.commands.len());
        for event in client.restore_text(text, mode, stop, self.options.dry_run)? {
            match event? {
                RestoreEvent::Progress { done, total } => {
                    let percent = done * 100 / total.max(1);
                    progress.show(format_args!("{done} of {total} commands, {percent} %"));
                }
                RestoreEvent::Refused(refused) => {
                    progress.clear();
                    if let Some(op) = repeated
                        && outcome::is_done(client, op, &refused)?
                    {
                        continue;
                    }
                    reporter.report_rejected(refused);
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

// === impl Reporter ===

impl Reporter<'_> {
    /// Reports the invalid lines before the line `end` of the input.
    fn report_invalid(&mut self, end: usize) {
        let count = self.invalid.partition_point(|(number, _)| *number < end);
        let (before, rest) = self.invalid.split_at(count);
        for (number, error) in before {
            self.failures += 1;
            match self.show_lines {
                true => {
                    let text = error.to_string();
                    eprint_line(&format!("line {number}: {}", text.trim_end()));
                }
                false => eprint_text(&error.to_string()),
            }
        }
        self.invalid = rest;
    }

    /// The command in a line of the text.
    fn find(&mut self, line: usize) -> Option<Op> {
        let is_wanted = |found: &Line<'_>| found.number >= line;
        let mut found = self.lines.find(is_wanted);
        if found.as_ref().is_none_or(|found| found.number > line) {
            // A replacement edits after it has created.
            self.lines = self.commands.lines();
            found = self.lines.find(is_wanted);
        }
        op(&found.filter(|found| found.number == line)?)
    }

    /// Reports a command that the kernel rejected. Line 0 is the clearing of the table, or a deletion
    /// that a replacement needs.
    fn report_rejected(&mut self, refused: Refused) {
        let found = match refused.line {
            0 => None,
            line => self.find(line),
        };
        let number = found.is_some().then(|| self.commands.number(refused.line));
        if let Some(number) = number {
            self.report_invalid(number);
            self.last_rejected = refused.line;
        }
        let op = found.as_ref().unwrap_or(&Op::Clear);
        self.failures += 1;
        let message = match refused.errno() {
            // A deletion that a replacement needs.
            _ if found.is_none() && self.mode == RestoreMode::Replace => refused.detail,
            Some(errno) => errno_message(Some(op), errno).into_owned(),
            None => refused.detail,
        };
        match number.filter(|_| self.show_lines) {
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
