//! Where output goes, and in what form.

use std::{
    io::{self, IsTerminal, Write},
    str::FromStr,
};

use serde_json::Value;

use super::{CliError, options::Color};

/// The form of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Format {
    /// For people; ipvsadm's own for its commands.
    #[default]
    Table,
    /// The API's own JSON.
    Json,
    /// The same as YAML.
    Yaml,
}

/// A writer to which a reader that has gone is no failure (`| head`).
pub(super) struct Quiet<W> {
    writer: W,
    /// Whether nobody reads any more.
    closed: bool,
    /// Whether no failure is one: the original looks at none, not even at a full disk.
    pub deaf: bool,
}

// === impl Format ===

impl FromStr for Format {
    type Err = CliError;

    fn from_str(text: &str) -> Result<Self, CliError> {
        match text {
            "table" => Ok(Self::Table),
            "json" => Ok(Self::Json),
            "yaml" => Ok(Self::Yaml),
            _ => Err(CliError::Option {
                option: "output",
                text: text.to_owned(),
                wanted: "table, json or yaml",
            }),
        }
    }
}

// === impl Quiet ===

impl<W: Write> Quiet<W> {
    pub(super) fn new(writer: W) -> Self {
        Self {
            writer,
            closed: false,
            deaf: false,
        }
    }

    fn quiet(&mut self, result: io::Result<()>) -> io::Result<()> {
        match result {
            Err(error) if self.deaf || error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            result => result,
        }
    }
}

impl<W: Write> Write for Quiet<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.closed {
            let result = self.writer.write_all(bytes);
            self.quiet(result)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.closed {
            let result = self.writer.flush();
            self.quiet(result)?;
        }
        Ok(())
    }
}

/// Writes an answer of the API as it is, or as YAML.
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

/// Rows under their headings, each column as wide as it must be.
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

/// Text in bold red on a terminal that wants it.
pub(super) fn alarming(text: &str, color: Color) -> String {
    let wanted = match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
    };
    match wanted {
        true => format!("\x1b[1;31m{text}\x1b[0m"),
        false => text.to_owned(),
    }
}

/// Answers of several directors.
#[derive(Debug)]
pub(super) struct Labelled {
    format: Format,
    first: bool,
}

// === impl Labelled ===

impl Labelled {
    pub(super) fn new(format: Format) -> Self {
        Self {
            format,
            first: true,
        }
    }

    /// Writes an answer with its director's name.
    pub(super) fn answer(
        &mut self,
        out: &mut dyn Write,
        name: &str,
        answer: &[u8],
    ) -> Result<(), CliError> {
        let first = std::mem::take(&mut self.first);
        match self.format {
            Format::Table => {
                let blank = if first { "" } else { "\n" };
                writeln!(out, "{blank}==> {name} <==")?;
                out.write_all(answer)?;
            }
            Format::Json => {
                let start = if first { "{" } else { "," };
                write!(out, "{start}{}:", serde_json::to_string(name)?)?;
                out.write_all(answer.trim_ascii_end())?;
            }
            Format::Yaml => {
                writeln!(out, "{}:", serde_json::to_string(name)?)?;
                for line in answer.split_inclusive(|b| *b == b'\n') {
                    out.write_all(b"  ")?;
                    out.write_all(line)?;
                }
            }
        }
        Ok(())
    }

    /// Ends the answers.
    pub(super) fn end(self, out: &mut dyn Write) -> Result<(), CliError> {
        if self.format == Format::Json {
            let start = if self.first { "{" } else { "" };
            writeln!(out, "{start}}}")?;
        }
        Ok(())
    }
}
