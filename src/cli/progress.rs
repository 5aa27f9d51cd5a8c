//! Progress line of a long restore.

use std::io::{self, IsTerminal, Write};

/// A line on the terminal that is overwritten with each update.
pub(super) struct Progress {
    visible: bool,
    enabled: bool,
}

/// Minimum number of commands for which progress is shown.
const MIN_COMMANDS: usize = 2000;

// === impl Progress ===

impl Progress {
    pub(super) fn new(commands: usize) -> Self {
        Self {
            visible: false,
            enabled: commands >= MIN_COMMANDS && io::stderr().is_terminal(),
        }
    }

    pub(super) fn update(&mut self, done: usize, total: usize) {
        if self.enabled {
            self.visible = true;
            let percent = done * 100 / total.max(1);
            let _ = write!(io::stderr(), "\r{done} of {total} commands, {percent} %");
        }
    }

    /// Erases the line, before other output.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.visible) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
