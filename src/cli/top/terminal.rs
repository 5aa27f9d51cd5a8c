//! The terminal, which is as it was before when the program ends, in whichever way.

use std::{
    env,
    io::{self, IsTerminal, Stdout},
    panic, process,
};

use ratatui::{
    Terminal,
    backend::CrosstermBackend,
    crossterm::{
        cursor::Show,
        execute,
        terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
    },
};

use crate::cli::error::CliError;

/// The terminal while the program has its screen. Dropping it restores the terminal.
pub(super) struct Screen {
    pub terminal: Terminal<CrosstermBackend<Stdout>>,
}

/// Exit code of a program that panics, as std has it.
const PANICKED: i32 = 101;

/// Checks that there is a terminal that can show a screen.
pub(super) fn check() -> Result<(), CliError> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(CliError::NoTerminal);
    }
    let kind = env::var("TERM").unwrap_or_default();
    match kind.as_str() {
        "" | "dumb" => Err(CliError::DumbTerminal(kind)),
        _ => Ok(()),
    }
}

// === impl Screen ===

impl Screen {
    pub(super) fn open() -> io::Result<Self> {
        let default = panic::take_hook();
        // Other threads would go on, on a screen that is not theirs any more.
        panic::set_hook(Box::new(move |panic| {
            restore();
            default(panic);
            process::exit(PANICKED);
        }));
        enable_raw_mode()?;
        let opened = || {
            execute!(io::stdout(), EnterAlternateScreen)?;
            Terminal::new(CrosstermBackend::new(io::stdout()))
        };
        match opened() {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                restore();
                Err(error)
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Errors are ignored: the terminal has gone then.
fn restore() {
    let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}
