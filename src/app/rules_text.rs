//! A text of ipvsadm commands. It is kept as text, and parsed twice: to check it as a whole, and
//! piece by piece when it is executed. Parsed, it would be 30 times as large.

use bytes::Bytes;

use crate::{
    budget::{Budget, Charged},
    ipvsadm::{self, CommandLine, Lines, Numeric, ParseError},
    model::{Error, Op, Table, TargetService, Violation},
};

/// A text of commands. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RulesText(Bytes);

/// A command of a restore.
#[derive(Clone, Debug)]
pub(super) struct Command {
    /// Line of the text, from 1; 0 for a command that is not in the text.
    pub(super) line: usize,
    pub(super) op: Op,
}

/// What a valid text contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checked {
    /// Number of commands.
    pub commands: usize,
    /// Whether one of them clears the table.
    pub clears: bool,
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
/// Lines that are checked before other tasks may run: a few milliseconds. To let them run takes some
/// system calls.
const LINES_PER_YIELD: usize = 4096;
/// Memory of a command of a replacement: its place in the evaluated table, in the target, and in the
/// difference.
const EVALUATED_BYTES: usize = 768;

// === impl RulesText ===

impl RulesText {
    /// A text in UTF-8.
    pub fn new(bytes: Bytes) -> Result<Self, Error> {
        match std::str::from_utf8(&bytes) {
            Ok(_) => Ok(Self(bytes)),
            Err(error) => Err(Error::invalid("", format!("invalid UTF-8: {error}"))),
        }
    }

    /// What the text contains, or everything that is invalid in it.
    pub(super) async fn check(&self) -> Result<Checked, Error> {
        let (mut commands, mut clears) = (0, false);
        let mut violations = Violations::default();
        for (index, line) in Lines::new(self.text()).enumerate() {
            match parse(&line.words) {
                Ok(op) => {
                    commands += 1;
                    clears |= op == Op::Clear;
                }
                Err(message) => violations.add(line.number, message),
            }
            yield_sometimes(index).await;
        }
        violations.none_or(Checked { commands, clears })
    }

    /// The table that the commands of a [checked](Self::check) text make of an empty one.
    pub(super) async fn evaluate(
        &self,
        commands: usize,
        budget: &Budget,
    ) -> Result<Charged<Vec<TargetService>>, Error> {
        let charge = budget.charge(commands * EVALUATED_BYTES)?;
        let mut table = Table::default();
        let mut violations = Violations::default();
        for (index, Command { line, op }) in self.commands().enumerate() {
            if op.makes_table() {
                if let Err(error) = table.apply(&op, line) {
                    violations.add(line, error.detail);
                }
            } else {
                let allowed = "only -A, -a, -E, -e, -D, -d and -C are allowed in a replacement";
                violations.add(line, allowed.to_owned());
            }
            yield_sometimes(index).await;
        }
        let services = violations.none_or(table)?.into_services();
        Ok(Charged::new(services, charge))
    }

    /// The commands of a text that has been [checked](Self::check).
    pub(super) fn commands(&self) -> impl Iterator<Item = Command> {
        Lines::new(self.text()).filter_map(|line| {
            let op = parse(&line.words).ok()?;
            let line = line.number;
            Some(Command { line, op })
        })
    }

    /// The operation of a text that is one command.
    pub(super) fn single(&self) -> Option<Op> {
        let mut lines = Lines::new(self.text());
        let line = lines.next()?;
        match lines.next() {
            None => parse(&line.words).ok(),
            Some(_) => None,
        }
    }

    fn text(&self) -> &str {
        // Checked by `new`.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl From<String> for RulesText {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

/// Lets other tasks run now and then.
pub(super) async fn yield_sometimes(index: usize) {
    if index % LINES_PER_YIELD == LINES_PER_YIELD - 1 {
        tokio::task::yield_now().await;
    }
}

/// The operation of a command line, or what is wrong with it.
fn parse(words: &[&str]) -> Result<Op, String> {
    match ipvsadm::parse("ipvsadm", words, &Numeric) {
        Ok(CommandLine::Change(op)) => Ok(op),
        Ok(_) => Err("only commands that change the table are allowed here".to_owned()),
        Err(ParseError::TryHelp { .. }) => Err(
            "does not start with a command such as -A or -a; comments are not supported".to_owned(),
        ),
        Err(error @ (ParseError::ServiceAddress | ParseError::ServerAddress)) => Err(format!(
            "{error}; the client resolves names, the server does not"
        )),
        Err(error) => Err(error.to_string().trim_end().to_owned()),
    }
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
