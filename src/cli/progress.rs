//! Progress of what takes long, on standard error.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
    mem,
};

use super::{escape::escape, output::eprint_line};

/// What is shown of a progress.
pub(super) struct Progress {
    form: Form,
    /// The last text that was shown.
    shown: String,
}

/// How a progress is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Nothing,
    /// A line on the terminal that is overwritten with each update.
    Line,
    /// A line at each change.
    Lines,
}

/// Minimum number of commands for which progress is shown.
const MIN_COMMANDS: usize = 2000;

// === impl Progress ===

impl Progress {
    /// The progress of a restore, for a terminal only.
    pub(super) fn of_commands(commands: usize) -> Self {
        let is_shown = commands >= MIN_COMMANDS && io::stderr().is_terminal();
        Self::of_form(if is_shown { Form::Line } else { Form::Nothing })
    }

    /// The progress of a wait.
    pub(super) fn of_wait() -> Self {
        let is_terminal = io::stderr().is_terminal();
        Self::of_form(if is_terminal { Form::Line } else { Form::Lines })
    }

    fn of_form(form: Form) -> Self {
        let shown = String::new();
        Self { form, shown }
    }

    pub(super) fn show(&mut self, text: impl Display) {
        if self.form == Form::Nothing {
            return;
        }
        let text = text.to_string();
        if text == self.shown {
            return;
        }
        match self.form {
            Form::Line => {
                let _ = write!(io::stderr(), "\r\x1b[K{}", escape(&text));
            }
            _ => eprint_line(&text),
        }
        self.shown = text;
    }

    /// Erases the line, before other output.
    pub(super) fn clear(&mut self) {
        if self.form == Form::Line && !mem::take(&mut self.shown).is_empty() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
