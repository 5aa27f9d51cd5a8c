//! Manual pages in roff, of which both programs print their own.
//!
//! The crate `clap_mangen` makes a page of each subcommand, and knows only options that clap parses. Here the
//! subcommands of a program are in its page, and [`Page`] takes options from any table. Both write roff by the crate
//! `roff`.

mod commented;

use std::io::{self, Write};

use clap::{Arg, Command};
use roff::{Inline, Roff, bold, italic, roman};

use crate::version::VERSION;

/// Date of the last change of the texts that the pages consist of.
const DATE: &str = "2026-11-30";

/// A manual page. Texts are plain; what is special in roff is escaped.
pub struct Page {
    roff: Roff,
    /// Whether a heading or an indentation precedes: it separates paragraphs by itself.
    is_separated: bool,
}

// === impl Page ===

impl Page {
    /// A page with its heading and the section NAME. `section` is that of the manual, and `group` its name.
    pub fn new(name: &str, section: &str, group: &str, summary: &str) -> Self {
        let source = format!("ipvsd {VERSION}");
        let mut page = Self {
            roff: Roff::new(),
            is_separated: false,
        };
        let title = name.to_uppercase();
        page.roff
            .control("TH", [title.as_str(), section, DATE, &source, group]);
        page.section("NAME");
        page.paragraph(&format!("{name} - {summary}"));
        page
    }

    /// Begins a section.
    pub fn section(&mut self, title: &str) {
        self.roff.control("SH", [title]);
        self.is_separated = true;
    }

    /// Begins a section within the section.
    pub fn subsection(&mut self, title: &str) {
        self.roff.control("SS", [title]);
        self.is_separated = true;
    }

    /// Adds a paragraph.
    pub fn paragraph(&mut self, text: &str) {
        self.separate("PP");
        self.roff.text([roman(text)]);
    }

    /// Adds a command line: the program in bold, and the rest of it.
    pub fn synopsis(&mut self, program: &str, arguments: &str) {
        self.separate("br");
        let line = [bold(program), roman(format!(" {arguments}"))];
        self.roff.text(line);
    }

    /// Adds a request that separates what follows from what precedes.
    fn separate(&mut self, request: &str) {
        if !self.is_separated {
            self.roff.control(request, []);
        }
        self.is_separated = false;
    }

    /// Adds a term and its description.
    pub fn entry(&mut self, term: &str, text: &str) {
        self.setting(term, "", text);
    }

    /// Adds a key with the rest of its line, such as its value, and its description.
    pub fn setting(&mut self, key: &str, rest: &str, text: &str) {
        let term = match rest {
            "" => vec![bold(key)],
            rest => vec![bold(key), roman(format!(" {rest}"))],
        };
        self.term(term, text);
    }

    /// Adds a file and its description.
    pub fn file(&mut self, path: &str, text: &str) {
        self.term(vec![italic(path)], text);
    }

    fn term(&mut self, term: Vec<Inline>, text: &str) {
        self.roff.control("TP", []).text(term);
        if !text.is_empty() {
            self.roff.text([roman(text)]);
        }
        self.is_separated = false;
    }

    /// Begins what is indented, below an entry.
    pub fn indent(&mut self) {
        self.roff.control("RS", []);
        self.is_separated = true;
    }

    /// Ends what is indented.
    pub fn outdent(&mut self) {
        self.roff.control("RE", []);
        self.is_separated = false;
    }

    /// Adds a text whose lines stay as they are.
    pub fn literal(&mut self, text: &str) {
        self.separate("PP");
        self.roff.control("nf", []);
        for line in text.lines() {
            // An empty line of a text is a warning of the formatters.
            match line {
                "" => self.roff.control("sp", []),
                line => self.roff.text([roman(line)]),
            };
        }
        self.roff.control("fi", []);
    }

    /// Adds the section SEE ALSO, of pages with their sections.
    pub fn see_also(&mut self, pages: &[(&str, &str)]) {
        self.section("SEE ALSO");
        for (index, (name, section)) in pages.iter().enumerate() {
            let end = if index + 1 < pages.len() { "," } else { "" };
            let reference = [bold(*name), roman(format!("({section}){end}"))];
            self.roff.text(reference);
        }
    }

    /// Adds the arguments of a command, without those that clap has added.
    pub fn arguments(&mut self, command: &Command) {
        for arg in command.get_arguments().filter(|arg| arg.get_id() != "help") {
            self.entry(&term(arg), &sentence(&description(arg)));
        }
    }

    /// Adds the subcommands of a program that are not hidden, with their arguments, and those below them.
    pub fn subcommands(&mut self, program: &Command) {
        for subcommand in visible(program) {
            self.subcommand(subcommand.get_name(), subcommand);
            for inner in visible(subcommand) {
                let name = format!("{} {}", subcommand.get_name(), inner.get_name());
                self.subcommand(&name, inner);
            }
        }
    }

    fn subcommand(&mut self, name: &str, subcommand: &Command) {
        let about = subcommand.get_about().map(ToString::to_string);
        self.entry(name, &sentence(&about.unwrap_or_default()));
        if subcommand.get_arguments().next().is_some() {
            self.indent();
            self.arguments(subcommand);
            self.outdent();
        }
    }

    /// Writes the page.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        self.roff.to_writer(out)
    }
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    let is_visible = |subcommand: &&Command| !subcommand.is_hide_set();
    command.get_subcommands().filter(is_visible)
}

/// The spellings of an argument: `-f, --file FILE`.
fn term(arg: &Arg) -> String {
    let value = arg.get_value_names().unwrap_or_default().join(" ");
    let letter = arg.get_short().map(|letter| format!("-{letter}, "));
    let letter = letter.unwrap_or_default();
    match arg.get_long() {
        Some(long) if arg.get_action().takes_values() => format!("{letter}--{long} {value}"),
        Some(long) => format!("{letter}--{long}"),
        None => value,
    }
}

/// The help of an argument, with its values and its default, as `--help` has them.
fn description(arg: &Arg) -> String {
    let help = arg.get_long_help().or_else(|| arg.get_help());
    let mut text = help.map(ToString::to_string).unwrap_or_default();
    if !arg.get_action().takes_values() {
        return text;
    }
    let values = arg.get_possible_values();
    if !values.is_empty() {
        let names: Vec<_> = values.iter().map(|value| value.get_name()).collect();
        text += &format!(" [possible values: {}]", names.join(", "));
    }
    let defaults: Vec<_> = arg.get_default_values().iter().collect();
    if let [value] = defaults[..] {
        text += &format!(" [default: {}]", value.to_string_lossy());
    }
    text
}

/// A help text as a sentence: clap removes the period at its end.
fn sentence(text: &str) -> String {
    match text.ends_with(['.', ']']) {
        true => text.to_owned(),
        false => format!("{text}."),
    }
}
