//! The manual page ipvsctl(8), generated from the same tables as the help.

use std::io::{self, Write};

use clap::Command;

use super::{
    args,
    options::GLOBAL_OPTIONS,
    reference::{CONFIGURATION, ENVIRONMENT, EXAMPLES, EXIT_STATUS},
};
use crate::ipvsadm::{OPTIONS, service_synopsis, synopses};

/// Date of the last change of the texts that the page consists of.
const DATE: &str = "2026-11-30";

/// Writes the manual page in roff.
pub(super) fn write(out: &mut dyn Write) -> io::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    writeln!(
        out,
        ".TH IPVSCTL 8 \"{DATE}\" \"ipvsd {version}\" \"System Administration\""
    )?;
    section(out, "NAME")?;
    paragraph(out, "ipvsctl - administer IPVS on remote directors")?;
    write_synopsis(out)?;
    section(out, "DESCRIPTION")?;
    paragraph(
        out,
        "ipvsctl accepts the command lines of ipvsadm(8), with the same output, messages and exit \
         codes, and executes them through the daemon ipvsd, which may run on another machine. On this \
         machine, root and the members of the group ipvsd need no option: ipvsctl uses the socket \
         /run/ipvsd/ipvsd.sock if it exists, and http://127.0.0.1:4787 otherwise. Other users and other \
         machines need a token or a client certificate, and --endpoint or --director. Host and port names are resolved on the machine on which ipvsctl runs. \
         Invoked as ipvsadm, ipvsadm-save or ipvsadm-restore (through a link), it behaves as that \
         program. Differences from ipvsadm are listed in ipvsadm-compatibility.md.",
    )?;
    for (title, is_command) in [("COMMANDS", true), ("OPTIONS", false)] {
        section(out, title)?;
        for spec in OPTIONS.iter().filter(|s| s.is_command() == is_command) {
            entry(out, &spec.all_spellings(), spec.help)?;
        }
    }
    write_subcommands(out)?;
    section(out, "GLOBAL OPTIONS")?;
    for option in &GLOBAL_OPTIONS {
        entry(out, &option.usage(), option.help)?;
    }
    for (title, entries) in [
        ("EXAMPLES", &EXAMPLES[..]),
        ("ENVIRONMENT", &ENVIRONMENT[..]),
    ] {
        section(out, title)?;
        for (term, text) in entries {
            entry(out, term, text)?;
        }
    }
    section(out, "FILES")?;
    writeln!(
        out,
        ".TP\n.I {}\n.TQ\n.I {}",
        escape("~/.config/ipvsctl/config.toml"),
        escape("/etc/ipvsctl.toml")
    )?;
    paragraph(
        out,
        "Directors with their names. The first file that exists is used. A file with a token must be readable \
         by its owner alone. The command line and the environment take precedence; a director's token precedes the environment. Example:",
    )?;
    writeln!(out, ".RS\n.nf\n{}.fi\n.RE", escape(CONFIGURATION))?;
    section(out, "EXIT STATUS")?;
    for (code, text) in EXIT_STATUS {
        entry(out, code, text)?;
    }
    section(out, "SEE ALSO")?;
    writeln!(out, ".BR ipvsadm (8)")
}

fn write_synopsis(out: &mut dyn Write) -> io::Result<()> {
    section(out, "SYNOPSIS")?;
    for synopsis in synopses().chain(["SUBCOMMAND ...".to_owned()]) {
        writeln!(out, ".B ipvsctl\n{}\n.br", escape(&synopsis))?;
    }
    writeln!(out, ".PP\nSERVICE: {}", escape(&service_synopsis()))
}

fn write_subcommands(out: &mut dyn Write) -> io::Result<()> {
    section(out, "SUBCOMMANDS")?;
    let grammar = args::grammar();
    for subcommand in grammar.get_subcommands().filter(|s| !s.is_hide_set()) {
        write_subcommand(out, subcommand.get_name(), subcommand)?;
        for inner in subcommand.get_subcommands() {
            let name = format!("{} {}", subcommand.get_name(), inner.get_name());
            write_subcommand(out, &name, inner)?;
        }
    }
    Ok(())
}

fn write_subcommand(out: &mut dyn Write, name: &str, subcommand: &Command) -> io::Result<()> {
    let about = subcommand.get_about().map(ToString::to_string);
    entry(out, name, &format!("{}.", about.unwrap_or_default()))?;
    writeln!(out, ".RS")?;
    for arg in subcommand.get_arguments().filter(|a| a.get_id() != "help") {
        let value = arg.get_value_names().unwrap_or_default().join(" ");
        let letter = arg.get_short().map(|letter| format!("-{letter}, "));
        let letter = letter.unwrap_or_default();
        let term = match arg.get_long() {
            Some(long) if arg.get_action().takes_values() => format!("{letter}--{long} {value}"),
            Some(long) => format!("{letter}--{long}"),
            None => value,
        };
        let mut help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let values = arg.get_possible_values();
        if !values.is_empty() && arg.get_action().takes_values() {
            let names: Vec<_> = values.iter().map(|value| value.get_name()).collect();
            help += &format!(": {}", names.join(", "));
        }
        entry(out, &term, &format!("{help}."))?;
    }
    writeln!(out, ".RE")
}

fn section(out: &mut dyn Write, title: &str) -> io::Result<()> {
    writeln!(out, ".SH {title}")
}

fn paragraph(out: &mut dyn Write, text: &str) -> io::Result<()> {
    writeln!(out, "{}", escape(text))
}

/// Writes a term and its description.
fn entry(out: &mut dyn Write, term: &str, text: &str) -> io::Result<()> {
    writeln!(out, ".TP\n.B {}\n{}", escape(term), escape(text))
}

/// Escapes text for roff.
fn escape(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}
