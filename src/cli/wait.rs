//! Waits for the end of what goes on at the director.

use std::{
    io::{self, IsTerminal},
    process,
    thread::sleep,
    time::{Duration, Instant},
};

use super::{
    error::CliError,
    output::{eprint_line, eprint_text},
    progress::Progress,
    signals,
};
use crate::client::ClientError;

/// A drain or ramp.
pub(super) trait Ongoing {
    /// Whether to wait for more.
    fn is_ongoing(&self) -> bool;

    /// How far it is, in fewer characters than a line of a terminal has.
    fn progress(&self) -> String;

    /// What the user should know.
    fn notes(&self) -> &[String];
}

/// What is waited for.
pub(super) struct Wait<R> {
    /// Reads how far it is.
    pub read: R,
    /// The longest time to wait.
    pub limit: Option<Duration>,
    /// That it goes on, for a wait that ends before.
    pub goes_on: String,
}

/// Time between two reads, that between two looks of the daemon.
const INTERVAL: Duration = Duration::from_secs(1);

// === impl Wait ===

impl<R> Wait<R> {
    /// Waits, and shows the progress; returns what was read last, with its JSON.
    pub(super) fn run<T: Ongoing>(self, first: (T, Vec<u8>)) -> Result<(T, Vec<u8>), CliError>
    where
        R: Fn() -> Result<(T, Vec<u8>), ClientError>,
    {
        let end = self
            .limit
            .and_then(|limit| Instant::now().checked_add(limit));
        let mut progress = Progress::of_wait();
        let mut notes = Vec::new();
        let mut current = first;
        if current.0.is_ongoing() {
            end_at_signals(self.goes_on.clone())?;
        }
        loop {
            for note in current.0.notes() {
                if !notes.contains(note) {
                    progress.clear();
                    eprint_line(note);
                    notes.push(note.clone());
                }
            }
            if !current.0.is_ongoing() {
                break;
            }
            progress.show(current.0.progress());
            let left = end.map_or(INTERVAL, |end| {
                end.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                progress.clear();
                eprint_line(&self.goes_on);
                break;
            }
            sleep(left.min(INTERVAL));
            current = (self.read)().inspect_err(|_| {
                progress.clear();
                eprint_line(&self.goes_on);
            })?;
        }
        progress.clear();
        Ok(current)
    }
}

/// Ends the program at ^C or SIGTERM with a message, also while a request waits for its response.
fn end_at_signals(message: String) -> io::Result<()> {
    signals::at_end(move |signal| {
        if io::stderr().is_terminal() {
            // Below the progress.
            eprint_text("");
        }
        eprint_line(&message);
        process::exit(128 + signal as i32);
    })
}
