//! The table as text in ipvsadm's language: saving and restoring.

use std::time::Instant;

use super::{
    Answer, App, RequestContext,
    info::ipvs_version,
    restore::{CHUNK, Command, Restore, RestoreStream, Work},
};
use crate::{
    executor::{InfoQuery, TableQuery},
    ipvsadm::{self, CommandLine, Lines, ListFormat, Numeric, Order, ParseError},
    model::{Error, Op, Reason, Table, TargetService, Violation},
};

/// How to restore a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestoreOptions {
    /// What the text is for.
    pub mode: RestoreMode,
    /// Stop after the first command that the kernel rejects. Otherwise continue, like ipvsadm -R.
    pub stop: bool,
}

/// What a text is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestoreMode {
    /// Its commands are executed (ipvsadm -R).
    #[default]
    Execute,
    /// The table is cleared first (ipvsadm-restore).
    Clear,
    /// The table is made equal to what the commands make of an empty one, by the fewest operations.
    Replace,
}

/// What is invalid in a text.
#[derive(Default)]
struct Violations {
    found: Vec<Violation>,
    /// Further ones.
    more: usize,
}

/// Invalid lines that an error reports.
const MAX_VIOLATIONS: usize = 100;

// === impl App ===

impl App {
    /// The table as command lines, numeric (ipvsadm -S -n).
    pub async fn save_rules(
        &self,
        context: &RequestContext,
        order: Order,
    ) -> Result<Answer<Vec<u8>>, Error> {
        let table = Answer::from(self.read(context, TableQuery).await?);
        let mut text = Vec::new();
        ipvsadm::write_rules(&mut text, &table.value, order, &Numeric).map_err(|error| {
            Error::new(Reason::Internal, "the text cannot be written").with_source(error)
        })?;
        Ok(table.map(|_| text))
    }

    /// The table in columns (ipvsadm -L), always numeric.
    pub async fn listing(
        &self,
        context: &RequestContext,
        format: ListFormat,
    ) -> Result<Answer<Vec<u8>>, Error> {
        let info = self.read(context, InfoQuery).await?.value;
        let table = Answer::from(self.read(context, TableQuery).await?);
        let mut text = Vec::new();
        ipvsadm::write_version(&mut text, &ipvs_version(info), info.connection_table_size)
            .and_then(|()| ipvsadm::write_list(&mut text, &table.value, format, &Numeric))
            .map_err(|error| {
                Error::new(Reason::Internal, "the text cannot be written").with_source(error)
            })?;
        Ok(table.map(|_| text))
    }

    /// Executes the commands of a text (ipvsadm -R), or makes the table equal to it. The whole text is
    /// checked before the first command; a command that the kernel rejects reverts nothing.
    ///
    /// Restores that take turns with each other and with a clear: those that replace or clear the
    /// table, and those of more than [`CHUNK`] commands. A shorter text is executed as a whole, like
    /// any other write, possibly between the parts of a longer one.
    pub async fn restore_rules(
        &self,
        context: &RequestContext,
        text: &str,
        options: RestoreOptions,
    ) -> Result<RestoreStream, Error> {
        let RestoreOptions { mode, stop } = options;
        let timeout = context.deadline.saturating_duration_since(Instant::now());
        let mut commands = parse(text)?;
        if commands.is_empty() && mode != RestoreMode::Execute {
            return Err(
                Error::invalid("", "the text has no commands: nothing to restore").with_hint(
                    "to delete all services: DELETE /v1/services?confirm=N, or ipvsctl -C",
                ),
            );
        }
        let target = match mode {
            RestoreMode::Execute => None,
            RestoreMode::Clear => {
                let op = Op::Clear;
                commands.insert(0, Command { line: 0, op });
                None
            }
            RestoreMode::Replace => Some(evaluate(std::mem::take(&mut commands))?),
        };
        let needs_turn = target.is_some()
            || commands.len() > CHUNK
            || commands.iter().any(|command| command.op == Op::Clear);
        let turn = match needs_turn {
            true => self.turn(context).await?,
            false => None,
        };
        let context = RequestContext {
            deadline: Instant::now() + timeout,
            ..context.clone()
        };
        let work = match target {
            Some(target) => {
                let table = self.read(&context, TableQuery).await?.value;
                Work::Difference(table, target)
            }
            None => {
                if !context.dry_run {
                    // Without IPVS every command would fail alike.
                    self.read(&context, InfoQuery).await?;
                }
                Work::Commands(commands)
            }
        };
        Ok(Restore::start(self, &context, timeout, stop, work, turn))
    }
}

/// All commands of a text, or everything that is invalid in it.
fn parse(text: &str) -> Result<Vec<Command>, Error> {
    let mut commands = Vec::new();
    let mut violations = Violations::default();
    for line in Lines::new(text) {
        let number = line.number;
        let message = match ipvsadm::parse("ipvsadm", &line.words, &Numeric) {
            Ok(CommandLine::Change(op)) => {
                commands.push(Command { line: number, op });
                continue;
            }
            Ok(_) => "only commands that change the table are allowed here".to_owned(),
            Err(ParseError::TryHelp { .. }) => {
                "does not start with a command such as -A or -a; comments are not supported"
                    .to_owned()
            }
            Err(error @ (ParseError::ServiceAddress | ParseError::ServerAddress)) => {
                format!("{error}; the client resolves names, the server does not")
            }
            Err(error) => error.to_string().trim_end().to_owned(),
        };
        violations.add(number, message);
    }
    violations.none_or(commands)
}

/// The table that commands make of an empty one.
fn evaluate(commands: Vec<Command>) -> Result<Vec<TargetService>, Error> {
    let mut table = Table::default();
    let mut violations = Violations::default();
    for Command { line, op } in commands {
        if op.makes_table() {
            if let Err(error) = table.apply(&op, line) {
                violations.add(line, error.detail);
            }
        } else {
            let allowed = "only -A, -a, -E, -e, -D, -d and -C are allowed in a replacement";
            violations.add(line, allowed.to_owned());
        }
    }
    violations.none_or(table.into_services())
}

// === impl Violations ===

impl Violations {
    fn add(&mut self, line: usize, message: String) {
        if self.found.len() < MAX_VIOLATIONS {
            let violation = Violation::new(format!("lines[{line}]"), message);
            self.found.push(violation);
        } else {
            self.more += 1;
        }
    }

    /// `value` if nothing is invalid.
    fn none_or<T>(self, value: T) -> Result<T, Error> {
        let Self { found, more } = self;
        if found.is_empty() {
            return Ok(value);
        }
        let mut error = Error::from_violations(found);
        if more > 0 {
            error.detail += &format!("; and {more} more");
        }
        Err(error.with_hint("lines are counted from 1; nothing was changed"))
    }
}
