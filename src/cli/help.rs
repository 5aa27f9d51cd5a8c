//! What `-h` and `ipvsctl help` say, and the grammar of both halves for completion.

use std::io::{self, Write};

use clap::{Arg, ArgAction};

use super::{
    args,
    option_help::{COMMANDS, EXAMPLES, Explained, OPTIONS, OWN},
};

/// `-h`
pub(super) fn write_short(out: &mut dyn Write, program: &str) -> io::Result<()> {
    writeln!(
        out,
        "\
Usage:
  {program} -A|E SERVICE [-s SCHEDULER] [-p [SECONDS]] [-M MASK] [--pe ENGINE] [-b FLAGS] [-o]
  {program} -D SERVICE
  {program} -C
  {program} -R
  {program} -S [-n]
  {program} -a|e SERVICE -r SERVER [-g|i|m] [-w WEIGHT] [-x UPPER] [-y LOWER] [TUNNEL]
  {program} -d SERVICE -r SERVER
  {program} [-L [SERVICE|-c|--timeout|--daemon] [-n] [--stats|--rate|--thresholds|
            --persistent-conn|--tun-info] [--exact] [--nosort]]
  {program} -Z [SERVICE]
  {program} --set TCP TCPFIN UDP
  {program} --start-daemon master|backup [--mcast-interface INTERFACE] [--syncid ID]
            [--sync-maxlen BYTES] [--mcast-group ADDRESS] [--mcast-port PORT] [--mcast-ttl TTL]
  {program} --stop-daemon master|backup
  {program} -h|-v
  {program} help|info|settings|connections|save|restore|directors|completion ...

SERVICE is -t|-u|--sctp-service HOST[:PORT], or -f MARK [-6]. TUNNEL goes with -i:
  --tun-type ipip|gue|gre [--tun-port PORT] [--tun-nocsum|--tun-csum|--tun-remcsum]
Options of {program}'s own: --endpoint URL, --director NAME, --all, --timeout SECONDS (before the
  command), --output table|json|yaml, --color auto|always|never, --keep-going

ipvsctl help explains every one of them."
    )
}

/// `ipvsctl help`
pub(super) fn write_long(out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "\
ipvsctl speaks ipvsadm's command lines to a director that is somewhere else, byte for byte, and in
words what ipvsadm does not have. man ipvsctl has the same at more length.

Commands of ipvsadm:"
    )?;
    write_explained(out, &COMMANDS)?;
    writeln!(out, "\nTheir options:")?;
    write_explained(out, &OPTIONS)?;
    writeln!(out, "\nWords:")?;
    for word in args::grammar()
        .get_subcommands()
        .filter(|word| !word.is_hide_set())
    {
        let about = word
            .get_about()
            .map(ToString::to_string)
            .unwrap_or_default();
        write_paragraph(out, word.get_name(), &about)?;
    }
    writeln!(out, "\nOptions of ipvsctl's own:")?;
    write_explained(out, &OWN)?;
    writeln!(out, "\nExamples:")?;
    for (line, text) in EXAMPLES {
        writeln!(out, "  {line:<50} {text}")?;
    }
    writeln!(
        out,
        "\nDirectors have names in ~/.config/ipvsctl/config.toml or /etc/ipvsctl.toml:\n\
         \n  default = \"lb1\"\n  [directors.lb1]\n  endpoint = \"https://lb1.example.com\"\n  \
         ca = \"/etc/ipvsctl/ca.pem\"   # trusted beside the system's certificates\n\
         \nExit codes: 0 done; 1 a listing or a restore failed; 2 a faulty command line, or no\n\
         director; 255 the kernel refused, or an unknown option."
    )
}

fn write_explained(out: &mut dyn Write, option_help: &[Explained]) -> io::Result<()> {
    for one in option_help {
        write_paragraph(out, &one.synopsis(), one.text)?;
    }
    Ok(())
}

/// A term and its text beside it, broken between words.
fn write_paragraph(out: &mut dyn Write, term: &str, text: &str) -> io::Result<()> {
    const TERM: usize = 30;
    const WIDTH: usize = 98;
    let mut line = format!("  {term:<28}");
    if line.chars().count() > TERM {
        writeln!(out, "{line}")?;
        line = " ".repeat(TERM);
    }
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            writeln!(out, "{line}")?;
            line = " ".repeat(TERM);
        }
        line.push(' ');
        line += word;
    }
    writeln!(out, "{}", line.trim_end())
}

/// Both halves as one grammar, for completion.
pub(super) fn whole_grammar() -> clap::Command {
    let known: Vec<_> = OWN.iter().map(|own| own.long).collect();
    COMMANDS
        .iter()
        .chain(&OPTIONS)
        // What both halves have is there already, and clap adds its own help.
        .filter(|one| !known.contains(&one.long) && one.long != "help")
        .fold(args::grammar(), |grammar, one| {
            let arg = Arg::new(one.long).long(one.long).help(one.text);
            let arg = match one.short {
                Some(short) => arg.short(short),
                None => arg,
            };
            grammar.arg(match one.value {
                "" => arg.action(ArgAction::SetTrue),
                value => arg.value_name(value).action(ArgAction::Set),
            })
        })
}
