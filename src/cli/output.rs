//! Standard output and standard error.

use std::{
    env,
    io::{self, BufWriter, IsTerminal, Write},
};

use yaml_serde::{Mapping, Value};

use super::{
    error::CliError,
    escape::{Filter, escape},
    hints::describe,
    options::{Color, Format},
};
/// Standard output, through which all output of the program leaves it. A closed pipe (`| head`) is not
/// an error, every other failure is. On a terminal, control characters are escaped.
pub(super) struct Output<W: Write> {
    writer: BufWriter<W>,
    /// The reader has gone.
    is_closed: bool,
    /// Escapes for a terminal.
    filter: Option<Filter>,
}

/// Standard output of the process.
pub(super) type Stdout = Output<Box<dyn Write>>;

/// The code that begins a color.
pub(super) struct Paint(&'static str);

/// The code that ends a color.
const RESET: &str = "\x1b[0m";

/// Standard output that was closed before the process started.
struct Closed;

// === impl Output ===

impl Stdout {
    /// `is_closed`: the descriptor was closed when the process started.
    pub(super) fn new(is_closed: bool) -> Self {
        let writer: Box<dyn Write> = match is_closed {
            true => Box::new(Closed),
            false => Box::new(io::stdout()),
        };
        Self {
            writer: BufWriter::new(writer),
            is_closed: false,
            filter: io::stdout().is_terminal().then(Filter::default),
        }
    }
}

impl<W: Write> Output<W> {
    /// Writes a line in a color, if colors are enabled.
    pub(super) fn write_line(
        &mut self,
        text: &str,
        paint: Option<&Paint>,
        color: Color,
    ) -> io::Result<()> {
        let paint = paint.filter(|_| is_colored(color, self.filter.is_some()));
        // The filter would escape the codes.
        if let Some(Paint(code)) = paint {
            self.write_unfiltered_if_open(code)?;
        }
        self.write_all(escape(text).as_bytes())?;
        if paint.is_some() {
            self.write_unfiltered_if_open(RESET)?;
        }
        self.write_all(b"\n")
    }

    /// Whether the reader has gone.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    fn write_unfiltered_if_open(&mut self, text: &str) -> io::Result<()> {
        match self.is_closed {
            true => Ok(()),
            false => self.write_unfiltered(text.as_bytes()),
        }
    }

    fn write_unfiltered(&mut self, bytes: &[u8]) -> io::Result<()> {
        let result = self.writer.write_all(bytes);
        self.check(result)
    }

    fn check(&mut self, result: io::Result<()>) -> io::Result<()> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(())
            }
            result => result,
        }
    }
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_closed {
            let escaped = self.filter.as_mut().map(|filter| filter.push(bytes));
            self.write_unfiltered(escaped.as_ref().map_or(bytes, String::as_bytes))?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.is_closed {
            if let Some(rest) = self.filter.as_mut().map(Filter::finish) {
                self.write_unfiltered(rest.as_bytes())?;
            }
            let result = self.writer.flush();
            self.check(result)?;
        }
        Ok(())
    }
}

// === impl Paint ===

impl Paint {
    pub(super) const RED: Self = Self("\x1b[31m");
    pub(super) const GREEN: Self = Self("\x1b[32m");
    pub(super) const YELLOW: Self = Self("\x1b[33m");
}

// === impl Closed ===

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(nix::Error::EBADF.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes the elements of all pages of a list as one document, with the other fields of the last page.
pub(super) fn write_pages(
    out: &mut dyn Write,
    format: Format,
    name: &str,
    pages: &[Vec<u8>],
) -> Result<(), CliError> {
    let mut all = Vec::new();
    let mut list = Mapping::new();
    for page in pages {
        list = serde_json::from_slice(page)?;
        if let Some(Value::Sequence(elements)) = list.get_mut(name) {
            all.append(elements);
        }
    }
    list.remove("next_page_token");
    list.insert(name.into(), Value::Sequence(all));
    write_json(out, format, &serde_json::to_vec(&list)?)
}

/// Writes a JSON response unchanged, or as YAML.
pub(super) fn write_json(out: &mut dyn Write, format: Format, json: &[u8]) -> Result<(), CliError> {
    match format {
        Format::Yaml => {
            // A mapping of YAML keeps the order of its fields.
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

/// Writes a message to standard error, in one line, control characters escaped: it may contain text of
/// a director.
pub(super) fn eprint_line(text: &str) {
    eprint_text(&escape(text));
}

/// Writes a message of ipvsadm to standard error as it is: it contains text of the user only. Errors
/// are ignored: there is nowhere to report them.
pub(super) fn eprint_text(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Writes an error to standard error. `name` is the program or the director.
pub(super) fn report_error(name: &str, error: &CliError, color: Color) {
    let name = highlight(&escape(name), color);
    match error {
        // ipvsadm prints its messages without its name.
        CliError::Parse(error) => eprint_text(&error.to_string()),
        // clap formats its own messages.
        CliError::Args(error) => drop(write!(io::stderr(), "{}", error.render())),
        // Several lines, with an excerpt of the file.
        CliError::Config { .. } => {
            let lines: Vec<_> = error.to_string().lines().map(escape).collect();
            eprint_text(&format!("{name}: {}", lines.join("\n")));
        }
        error => eprint_text(&format!("{name}: {}", escape(&describe(error)))),
    }
}

/// Makes text bold red if colors are enabled.
fn highlight(text: &str, color: Color) -> String {
    match is_colored(color, io::stderr().is_terminal()) {
        true => format!("\x1b[1;31m{text}{RESET}"),
        false => text.to_owned(),
    }
}

/// Whether something is colored.
pub(super) fn is_colored(color: Color, is_terminal: bool) -> bool {
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => is_terminal && env::var_os("NO_COLOR").is_none(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use super::*;

    #[test]
    fn a_terminal_gets_the_codes_of_colors_and_no_others() {
        let line = |color, filter: Option<Filter>| {
            let mut out = Output {
                writer: BufWriter::new(Vec::new()),
                is_closed: false,
                filter,
            };
            out.write_line("+ \x1b[5mx", Some(&Paint::GREEN), color)
                .unwrap();
            out.flush().unwrap();
            String::from_utf8(out.writer.into_inner().unwrap()).unwrap()
        };
        let colored = "\x1b[32m+ \\u001b[5mx\x1b[0m\n";
        assert_eq!(line(Color::Always, Some(Filter::default())), colored);
        assert_eq!(line(Color::Always, None), colored);
        let plain = "+ \\u001b[5mx\n";
        assert_eq!(line(Color::Never, Some(Filter::default())), plain);
        assert_eq!(line(Color::Auto, None), plain);
    }
}
