//! Standard output and standard error.

use std::{
    env,
    io::{self, BufWriter, IsTerminal, Write},
};

use serde_json::Value;

use super::{
    error::CliError,
    options::{Color, Format},
};
use crate::client::ClientError;

/// A buffered writer for which a closed pipe (`| head`) is not an error.
pub(super) struct Output<W: Write> {
    writer: BufWriter<W>,
    closed: bool,
    /// Ignore all write errors, as ipvsadm does.
    pub ignore_errors: bool,
}

/// Standard output.
pub(super) type Stdout = Output<io::Stdout>;

// === impl Output ===

impl<W: Write> Output<W> {
    pub(super) fn new(writer: W) -> Self {
        Self {
            writer: BufWriter::new(writer),
            closed: false,
            ignore_errors: false,
        }
    }

    fn check(&mut self, result: io::Result<()>) -> io::Result<()> {
        match result {
            Err(error) if self.ignore_errors || error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            result => result,
        }
    }
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.closed {
            let result = self.writer.write_all(bytes);
            self.check(result)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.closed {
            let result = self.writer.flush();
            self.check(result)?;
        }
        Ok(())
    }
}

/// Writes a JSON response unchanged, or as YAML.
pub(super) fn write_json(out: &mut dyn Write, format: Format, json: &[u8]) -> Result<(), CliError> {
    match format {
        Format::Yaml => {
            let value: Value = serde_json::from_slice(json)?;
            out.write_all(yaml_serde::to_string(&value)?.as_bytes())?;
        }
        Format::Table | Format::Json => {
            out.write_all(json.trim_ascii_end())?;
            out.write_all(b"\n")?;
        }
    }
    Ok(())
}

/// Writes rows under their headings, in columns as wide as their longest cell.
pub(super) fn write_table(
    out: &mut dyn Write,
    headings: &[&str],
    rows: &[Vec<String>],
) -> io::Result<()> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let cells = cells.map(|cell| cell.chars().count());
        cells
            .chain(headings.get(column).map(|text| text.len()))
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<_> = (0..headings.len()).map(width).collect();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (cell, width) in cells.zip(&widths) {
            text += &format!("{cell:<width$}  ");
        }
        writeln!(out, "{}", text.trim_end())
    };
    line(&mut headings.iter().copied())?;
    for row in rows {
        line(&mut row.iter().map(String::as_str))?;
    }
    Ok(())
}

/// Writes a line to standard error. Errors are ignored: there is nowhere to report them.
pub(super) fn eprint_line(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Writes an error to standard error. `name` is the program or the director.
pub(super) fn report_error(name: &str, error: &CliError, color: Color) {
    match error {
        // ipvsadm prints its messages without its name.
        CliError::Parse(error) => eprint_line(&error.to_string()),
        // clap formats its own messages.
        CliError::Args(error) => drop(write!(io::stderr(), "{}", error.render())),
        error => {
            let mut text = format!("{}: {error}", highlight(name, color));
            if let CliError::Client(ClientError::Refused(problem)) = error
                && let Some(hint) = &problem.hint
            {
                text += &format!(" ({hint})");
            }
            eprint_line(&text);
        }
    }
}

/// Makes text bold red if colors are enabled.
fn highlight(text: &str, color: Color) -> String {
    let enabled = match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none(),
    };
    match enabled {
        true => format!("\x1b[1;31m{text}\x1b[0m"),
        false => text.to_owned(),
    }
}
