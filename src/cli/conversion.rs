//! What a conversion has found: a table, and what is not in it.

use super::error::CliError;
use crate::model::{Error, Op, Table, TargetService};

/// A place in the files that are converted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Number of the file, in the order in which they are read.
    pub file: usize,
    /// Number of the line, from 1.
    pub line: usize,
    /// Number of the character in the line, from 1.
    pub column: usize,
}

/// A table that is being made of files.
#[derive(Debug)]
pub(super) struct Conversion {
    files: Vec<String>,
    table: Table,
    /// Where the objects of the table come from. Their origin is a number in this list.
    places: Vec<Place>,
    notes: Vec<Note>,
    /// Notes that are only counted.
    further: usize,
}

/// Something that is not converted, and where the same is.
#[derive(Debug)]
struct Note {
    file: usize,
    text: String,
    lines: Vec<usize>,
    /// Lines that are not in the list.
    further: usize,
    /// The last line. A line that makes several services is counted once.
    last: usize,
}

/// What is not converted, for the user.
#[derive(Debug)]
pub(super) struct Notes {
    /// Lines of text.
    pub lines: Vec<String>,
    /// Number of places.
    pub total: usize,
}

/// Number of different notes that are shown.
const MAX_NOTES: usize = 100;
/// Number of lines that a note lists.
const MAX_LINES: usize = 10;
/// Number of services and servers. A group of virtual servers can make any number out of one line.
const MAX_OBJECTS: usize = 1 << 20;

// === impl Place ===

impl Place {
    /// The beginning of a line of the only file.
    pub(super) fn of_line(line: usize) -> Self {
        Self {
            file: 0,
            line,
            column: 1,
        }
    }
}

// === impl Note ===

impl Note {
    fn add(&mut self, line: usize) {
        match self.lines.len() < MAX_LINES {
            _ if self.last == line => {}
            true => self.lines.push(line),
            false => self.further += 1,
        }
        self.last = line;
    }
}

// === impl Conversion ===

impl Conversion {
    /// An empty table, of the file with this name.
    pub(super) fn new(name: String) -> Self {
        Self {
            files: vec![name],
            table: Table::default(),
            places: Vec::new(),
            notes: Vec::new(),
            further: 0,
        }
    }

    /// Adds a file; returns its number.
    pub(super) fn add_file(&mut self, name: String) -> usize {
        self.files.push(name);
        self.files.len() - 1
    }

    /// The name of the first file.
    pub(super) fn into_name(self) -> String {
        self.files.into_iter().next().unwrap_or_default()
    }

    /// Executes an operation on the table.
    pub(super) fn apply(&mut self, op: &Op, place: Place) -> Result<(), Error> {
        self.places.push(place);
        self.table.apply(op, self.places.len() - 1)
    }

    /// Fails if the table cannot have as many objects more.
    pub(super) fn check_size(&self, more: usize, place: Place) -> Result<(), CliError> {
        match self.places.len().saturating_add(more) <= MAX_OBJECTS {
            true => Ok(()),
            false => {
                let message = format!("more than {MAX_OBJECTS} services and servers");
                Err(self.error(place, message))
            }
        }
    }

    /// The services so far.
    pub(super) fn take_services(&mut self) -> Vec<TargetService> {
        std::mem::take(&mut self.table).into_services()
    }

    /// Notes something that is not converted.
    pub(super) fn note(&mut self, place: Place, text: &str) {
        let same = |note: &Note| note.file == place.file && note.text == text;
        match self.notes.iter().position(same) {
            Some(index) => self.notes[index].add(place.line),
            None if self.notes.len() < MAX_NOTES => self.notes.push(Note {
                file: place.file,
                text: text.to_owned(),
                lines: vec![place.line],
                further: 0,
                last: place.line,
            }),
            None => self.further += 1,
        }
    }

    /// Notes an object of the table that an apply would refuse.
    pub(super) fn leave_out(&mut self, origin: usize, name: &str, error: &Error) {
        let place = self.places.get(origin).copied().unwrap_or_default();
        let reasons: Vec<_> = error
            .violations
            .iter()
            .map(|violation| format!("{}: {}", violation.field, violation.message))
            .collect();
        self.note(place, &format!("{name}: {}: left out", reasons.join(", ")));
    }

    /// What is not converted, by file, in the order in which it was found.
    pub(super) fn notes(&self) -> Notes {
        let mut lines: Vec<_> = self.notes.iter().map(|note| self.describe(note)).collect();
        if self.further > 0 {
            lines.push(format!("and {} places more", self.further));
        }
        let noted = self.notes.iter();
        let noted: usize = noted.map(|note| note.lines.len() + note.further).sum();
        Notes {
            lines,
            total: noted + self.further,
        }
    }

    fn describe(&self, note: &Note) -> String {
        let file = self.files.get(note.file).map_or("", String::as_str);
        let numbers: Vec<_> = note.lines.iter().map(usize::to_string).collect();
        let word = match note.lines.len() + note.further {
            1 => "line",
            _ => "lines",
        };
        let further = match note.further {
            0 => String::new(),
            further => format!(" and {further} more"),
        };
        let Note { text, .. } = note;
        format!("{file}: {word} {}{further}: {text}", numbers.join(", "))
    }

    /// An error at a place.
    pub(super) fn error(&self, place: Place, message: String) -> CliError {
        CliError::Conversion {
            file: self.files.get(place.file).cloned().unwrap_or_default(),
            line: place.line,
            column: place.column,
            message,
        }
    }
}
