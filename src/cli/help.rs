//! Text of `-h`, `-v` and `ipvsctl help`.

use std::io::{self, Write};

use super::{
    args::{self, Args},
    error::CliError,
    options::GLOBAL_OPTIONS,
    reference::{CONFIGURATION, EXAMPLES, EXIT_STATUS, summary},
};
use crate::ipvsadm::{OPTIONS, OptionSpec, service_synopsis, synopses};

/// Output of `-v`: the version of ipvsadm that is emulated.
pub(super) const VERSION: &str = "ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)";

/// Column at which the description of an option begins.
const INDENT: usize = 30;
/// Maximum width of a line.
const WIDTH: usize = 98;

/// How much of a help text is printed.
#[derive(Clone, Copy)]
enum Detail {
    Summary,
    Full,
}

/// Writes `-h`: usage, and a summary of each option.
pub(super) fn write_short(out: &mut dyn Write, program: &str) -> io::Result<()> {
    write_usage(out, program)?;
    write_tables(out, Detail::Summary)?;
    writeln!(
        out,
        "\n`ipvsctl help` shows ranges, defaults and examples; `ipvsctl SUBCOMMAND --help` the options \
         of a\nsubcommand."
    )
}

/// Writes `ipvsctl help`: the full text of each option, examples, configuration and exit codes.
pub(super) fn write_long(out: &mut dyn Write) -> io::Result<()> {
    write_usage(out, "ipvsctl")?;
    write_tables(out, Detail::Full)?;
    writeln!(out, "\nExamples:")?;
    for (line, text) in EXAMPLES {
        writeln!(out, "  {line:<50} {text}")?;
    }
    writeln!(
        out,
        "\nConfiguration (~/.config/ipvsctl/config.toml or /etc/ipvsctl.toml):"
    )?;
    for line in CONFIGURATION.lines() {
        writeln!(out, "{}", format!("  {line}").trim_end())?;
    }
    writeln!(out, "\nExit codes:")?;
    for (code, text) in EXIT_STATUS {
        write_entry(out, code, text)?;
    }
    writeln!(out, "\nSee `man ipvsctl` for more.")
}

/// Writes the help of a subcommand, or the full text of ipvsadm's commands and options and of global
/// options of a name: `-A`, `add-service`, `timeout`.
pub(super) fn write_topic(out: &mut dyn Write, word: &str) -> Result<(), CliError> {
    if args::is_subcommand(&[word.to_owned()]) {
        let words = [word.to_owned(), "--help".to_owned()];
        if let Err(CliError::Args(help)) = Args::parse(&words) {
            write!(out, "{}", help.render())?;
        }
        return Ok(());
    }
    let (name, letter) = match word.strip_prefix("--") {
        Some(name) => (name, None),
        None => {
            let name = word.strip_prefix('-').unwrap_or(word);
            let mut letters = name.chars();
            let letter = letters.next().filter(|_| letters.next().is_none());
            (name, letter)
        }
    };
    let mut found = false;
    let is_meant = |spec: &&OptionSpec| {
        spec.long == name || letter.is_some_and(|letter| spec.short.contains(letter))
    };
    for spec in OPTIONS.iter().filter(is_meant) {
        write_entry(out, &spec.all_spellings(), spec.help)?;
        found = true;
    }
    for option in GLOBAL_OPTIONS
        .iter()
        .filter(|option| option.syntax.long == name)
    {
        write_entry(out, &option.usage(), option.help)?;
        found = true;
    }
    match found {
        true => Ok(()),
        false => Err(CliError::NoHelp(word.to_owned())),
    }
}

fn write_usage(out: &mut dyn Write, program: &str) -> io::Result<()> {
    writeln!(out, "Usage:")?;
    for synopsis in synopses() {
        let line = format!("{program} {synopsis}");
        write_wrapped(out, "  ", &" ".repeat(program.len() + 6), &words(&line))?;
    }
    writeln!(out, "  {program} SUBCOMMAND ...")?;
    writeln!(out, "\nSERVICE: {}", service_synopsis())
}

fn write_tables(out: &mut dyn Write, detail: Detail) -> io::Result<()> {
    let text = |help| match detail {
        Detail::Summary => summary(help),
        Detail::Full => help,
    };
    for (title, is_command) in [("Commands", true), ("Options", false)] {
        writeln!(out, "\n{title}:")?;
        for spec in OPTIONS.iter().filter(|s| s.is_command() == is_command) {
            write_entry(out, &spec.all_spellings(), text(spec.help))?;
        }
    }
    writeln!(out, "\nSubcommands:")?;
    let grammar = args::grammar();
    for subcommand in grammar.get_subcommands().filter(|s| !s.is_hide_set()) {
        let about = subcommand.get_about().map(ToString::to_string);
        write_entry(out, subcommand.get_name(), &about.unwrap_or_default())?;
    }
    writeln!(out, "\nGlobal options:")?;
    for option in &GLOBAL_OPTIONS {
        write_entry(out, &option.usage(), text(option.help))?;
    }
    Ok(())
}

/// Writes a term with its description in the column beside it.
fn write_entry(out: &mut dyn Write, term: &str, text: &str) -> io::Result<()> {
    let indent = " ".repeat(INDENT + 1);
    let words: Vec<_> = text.split_whitespace().collect();
    let mut first = format!("  {term:<width$} ", width = INDENT - 2);
    if first.chars().count() > INDENT + 1 {
        writeln!(out, "{}", first.trim_end())?;
        first.clone_from(&indent);
    }
    write_wrapped(out, &first, &indent, &words)
}

/// Writes words in lines of at most [`WIDTH`] characters.
fn write_wrapped(
    out: &mut dyn Write,
    first_indent: &str,
    indent: &str,
    words: &[&str],
) -> io::Result<()> {
    let mut line = first_indent.to_owned();
    let mut is_empty = true;
    for word in words {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            writeln!(out, "{line}")?;
            indent.clone_into(&mut line);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line += word;
        is_empty = false;
    }
    writeln!(out, "{line}")
}

/// Splits a synopsis at blanks outside of brackets.
fn words(synopsis: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    synopsis
        .split(|c| {
            match c {
                '[' => depth += 1,
                ']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            c == ' ' && depth == 0
        })
        .collect()
}
