//! `--watch`: prints a listing again and again.

use std::{
    io::Write,
    process,
    sync::{Arc, Mutex, PoisonError},
    thread::sleep,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    buffer::Buffer,
    error::CliError,
    options::{Color, Format},
    output::{Stdout, report_error},
    signals,
};

/// How a listing is repeated.
pub(super) struct Repeat<'a> {
    /// Name of the program, for messages.
    pub program: &'a str,
    /// From the begin of a listing to that of the next. One that takes longer is followed at once.
    pub interval: Duration,
    pub format: Format,
    pub color: Color,
}

/// The highest exit code of the listings. It is locked while one is printed, so that the end of the
/// process does not cut it.
type Highest = Arc<Mutex<u8>>;

// === impl Repeat ===

impl Repeat<'_> {
    /// Prints the listing that `list` writes, until ^C, SIGTERM, or the end of the reader of `out`. Each is
    /// printed when it is complete. Returns the highest exit code of all.
    pub(super) fn run(
        &self,
        out: &mut Stdout,
        list: impl Fn(&mut Buffer) -> Result<u8, CliError>,
    ) -> Result<u8, CliError> {
        let highest = Highest::default();
        let ended = highest.clone();
        signals::at_end(move |_| process::exit((*lock(&ended)).into()))?;
        let mut is_first = true;
        let mut next = Instant::now();
        loop {
            let mut text = Buffer::default();
            let code = list(&mut text).unwrap_or_else(|error| {
                text = Buffer::default();
                report_error(self.program, &error, self.color);
                error.exit_code()
            });
            let text = text.into_bytes();
            let mut highest = lock(&highest);
            *highest = highest.max(code);
            if code == 0 || !text.is_empty() {
                self.print(out, &text, std::mem::take(&mut is_first))?;
                if out.is_closed() {
                    return Ok(*highest);
                }
            }
            drop(highest);
            next = (next + self.interval).max(Instant::now());
            sleep(next.saturating_duration_since(Instant::now()));
        }
    }

    fn print(&self, out: &mut Stdout, text: &[u8], is_first: bool) -> Result<(), CliError> {
        match self.format {
            Format::Table => {
                let separator = if is_first { "" } else { "\n" };
                writeln!(out, "{separator}{}", time(Timestamp::now()))?;
            }
            Format::Json => {}
            Format::Yaml => out.write_all(b"---\n")?,
        }
        out.write_all(text)?;
        Ok(out.flush()?)
    }
}

/// In whole seconds.
fn time(time: Timestamp) -> Timestamp {
    // The seconds of a time are those of one.
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn lock(highest: &Highest) -> std::sync::MutexGuard<'_, u8> {
    highest.lock().unwrap_or_else(PoisonError::into_inner)
}
