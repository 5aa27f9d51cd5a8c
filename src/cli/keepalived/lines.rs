//! The lines of a keepalived.conf and of the files that it includes, without comments, for one config-id,
//! with the values of parameters.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
};

use super::parameters::{Definition, Expanded, Parameters};
use crate::cli::{
    conversion::{Conversion, Place},
    error::CliError,
    input::{self, MAX_INPUT},
};

/// A line of text, and where it begins.
#[derive(Debug)]
pub(super) struct Line {
    pub text: String,
    pub place: Place,
}

/// Reads files.
pub(super) struct Reader<'a> {
    config_id: Option<&'a str>,
    conversion: &'a mut Conversion,
    parameters: Parameters,
    lines: Vec<Line>,
    /// Bytes that are read or made.
    bytes: u64,
}

/// What a line counts besides its text, and one that a parameter makes. It limits their number.
const LINE: usize = 64;
const MADE_LINE: usize = 512;
/// Files that include each other.
const MAX_DEPTH: usize = 16;
/// Names of the directive that includes files. They differ in which files may be missing.
const INCLUDES: [&str; 6] = [
    "include", "includea", "includeb", "includem", "includer", "includew",
];

// === impl Reader ===

impl<'a> Reader<'a> {
    pub(super) fn new(config_id: Option<&'a str>, conversion: &'a mut Conversion) -> Self {
        Self {
            config_id,
            conversion,
            parameters: Parameters::default(),
            lines: Vec::new(),
            bytes: 0,
        }
    }

    /// The lines of a text whose files are in `directory`.
    pub(super) fn read(mut self, text: &str, directory: &Path) -> Result<Vec<Line>, CliError> {
        self.read_file(0, text, directory, 0)?;
        Ok(self.lines)
    }

    fn read_file(
        &mut self,
        file: usize,
        text: &str,
        directory: &Path,
        depth: usize,
    ) -> Result<(), CliError> {
        let mut definition = None;
        for (index, line) in text.lines().enumerate() {
            let place = Place {
                file,
                line: index + 1,
                column: 1,
            };
            let line = without_comment(line);
            if let Some(pattern) = included(line) {
                self.include(pattern, directory, depth, place)?;
                continue;
            }
            self.expand(line, place, &mut definition)?;
        }
        if let Some(definition) = definition {
            self.parameters.close(definition);
        }
        Ok(())
    }

    /// Reads the files that a pattern matches.
    fn include(
        &mut self,
        pattern: &str,
        directory: &Path,
        depth: usize,
        place: Place,
    ) -> Result<(), CliError> {
        if depth == MAX_DEPTH {
            let message = format!("more than {MAX_DEPTH} files include each other");
            return Err(self.conversion.error(place, message));
        }
        let pattern = directory.join(pattern);
        let files = glob::glob(&pattern.to_string_lossy());
        let files: Vec<PathBuf> = files.into_iter().flatten().flatten().collect();
        if files.is_empty() {
            let text = format!("{}: no such file: left out", pattern.display());
            self.conversion.note(place, &text);
        }
        for path in files {
            let text = match input::read(Some(path.clone())) {
                Ok(text) => text,
                Err(error) => {
                    self.conversion.note(place, &format!("{error}: left out"));
                    continue;
                }
            };
            let file = self.conversion.add_file(path.display().to_string());
            let directory = path.parent().unwrap_or(directory);
            self.count(text.len(), place)?;
            self.read_file(file, &text, directory, depth + 1)?;
        }
        Ok(())
    }

    /// Adds a line, and those that its parameters make of it.
    fn expand(
        &mut self,
        line: &str,
        place: Place,
        definition: &mut Option<Definition>,
    ) -> Result<(), CliError> {
        let mut waiting = VecDeque::from([line.to_owned()]);
        let mut cost = LINE;
        while let Some(line) = waiting.pop_front() {
            self.count(line.len() + cost, place)?;
            cost = MADE_LINE;
            // Those in a definition are decided when it is used.
            if definition.is_none() && line.trim_start().starts_with('@') {
                if let Some(line) = self.condition(&line, place) {
                    waiting.push_front(line);
                }
                continue;
            }
            let Some(line) = self.parameters.define(&line, definition) else {
                continue;
            };
            let expanded = self.parameters.expand(line);
            let Ok(Expanded { line, following }) = expanded else {
                let message = "the values of the parameters are too long, or contain each other";
                return Err(self.conversion.error(place, message.to_owned()));
            };
            for next in following.into_iter().rev() {
                waiting.push_front(next);
            }
            match line.trim_start().starts_with('@') {
                true => waiting.push_front(line),
                false => self.lines.push(Line { text: line, place }),
            }
        }
        Ok(())
    }

    /// What is behind `@ID` or `@^ID`, if the line is for this director. Blanks replace the condition, so
    /// that the columns stay.
    fn condition(&mut self, line: &str, place: Place) -> Option<String> {
        let (condition, rest) = line.trim_start().split_once([' ', '\t'])?;
        let Some(config_id) = self.config_id else {
            let text = format!("{condition} without --config-id: left out");
            self.conversion.note(place, &text);
            return None;
        };
        let id = condition.trim_start_matches('@');
        let is_wanted = match id.strip_prefix('^') {
            Some(id) => id != config_id,
            None => id == config_id,
        };
        is_wanted.then(|| " ".repeat(line.chars().count() - rest.chars().count()) + rest)
    }

    /// Counts bytes, of which there is a limit.
    fn count(&mut self, bytes: usize, place: Place) -> Result<(), CliError> {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        match self.bytes <= MAX_INPUT {
            true => Ok(()),
            false => {
                let message = format!("more than {MAX_INPUT} bytes, with all files and parameters");
                Err(self.conversion.error(place, message))
            }
        }
    }
}

/// The pattern of the files that a line includes.
fn included(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    words.next().filter(|word| INCLUDES.contains(word))?;
    let pattern = words.next()?;
    words.next().is_none().then(|| pattern.trim_matches('"'))
}

/// A line up to the `#` or `!` that begins a comment: not in quotes, and not behind a backslash.
fn without_comment(line: &str) -> &str {
    let mut is_quoted = false;
    let mut is_escaped = false;
    for (index, byte) in line.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b'#' | b'!' if !is_quoted => return &line[..index],
            _ => {}
        }
    }
    line
}
