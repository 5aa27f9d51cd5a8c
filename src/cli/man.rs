//! The manual page, made of the same tables as the help.

use std::io::{self, Write};

use super::{
    args,
    option_help::{COMMANDS, EXAMPLES, Explained, OPTIONS, OWN},
};

/// Writes `ipvsctl.1`.
pub(super) fn write(out: &mut dyn Write) -> io::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    writeln!(
        out,
        ".TH IPVSCTL 1 \"\" \"ipvsd {version}\" \"User Commands\""
    )?;
    section(out, "NAME")?;
    text(
        out,
        "ipvsctl - ipvsadm's command lines for directors anywhere",
    )?;
    section(out, "SYNOPSIS")?;
    for line in [
        "-A|E SERVICE [-s SCHEDULER] [-p [SECONDS]] [-M MASK] [--pe ENGINE] [-b FLAGS] [-o]",
        "-D SERVICE",
        "-C",
        "-R",
        "-S [-n]",
        "-a|e SERVICE -r SERVER [-g|i|m] [-w WEIGHT] [-x UPPER] [-y LOWER] [TUNNEL]",
        "-d SERVICE -r SERVER",
        "[-L [SERVICE|-c|--timeout|--daemon] [-n] [--stats|--rate|--thresholds|--persistent-conn|--tun-info] [--exact] [--nosort]]",
        "-Z [SERVICE]",
        "--set TCP TCPFIN UDP",
        "--start-daemon STATE [--mcast-interface INTERFACE] [--syncid ID]",
        "--stop-daemon STATE",
        "help|info|settings|connections|save|restore|directors|completion",
    ] {
        writeln!(out, ".br\n.B ipvsctl\n{}", escape(line))?;
    }
    section(out, "DESCRIPTION")?;
    text(
        out,
        "ipvsctl does what ipvsadm(8) does, with the same command lines, the same output, the same \
         messages and the same exit codes, but through a director's daemon, ipvsd, which may be on \
         another machine. It needs no root. Names of hosts and ports are looked up where ipvsctl \
         runs. Called through a link of the name ipvsadm, ipvsadm-save or ipvsadm-restore, it is \
         that program. What differs from the original, and why, is in ipvsadm-compatibility.md.",
    )?;
    section(out, "COMMANDS")?;
    option_help(out, &COMMANDS)?;
    section(out, "OPTIONS")?;
    option_help(out, &OPTIONS)?;
    section(out, "WORDS")?;
    for word in args::grammar()
        .get_subcommands()
        .filter(|word| !word.is_hide_set())
    {
        let about = word
            .get_about()
            .map(ToString::to_string)
            .unwrap_or_default();
        writeln!(
            out,
            ".TP\n.B {}\n{}",
            escape(word.get_name()),
            escape(&about)
        )?;
        for arg in word.get_arguments().filter(|arg| arg.get_id() != "help") {
            let value = arg.get_value_names().unwrap_or_default().join(" ");
            let name = match arg.get_long() {
                Some(long) if arg.get_action().takes_values() => format!("--{long} {value}"),
                Some(long) => format!("--{long}"),
                None => value,
            };
            let values: Vec<_> = arg
                .get_possible_values()
                .iter()
                .map(|value| value.get_name().to_owned())
                .collect();
            let mut help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            if !values.is_empty() && arg.get_action().takes_values() {
                help += &format!(": {}", values.join(", "));
            }
            writeln!(
                out,
                ".RS\n.TP\n.B {}\n{}\n.RE",
                escape(&name),
                escape(&help)
            )?;
        }
    }
    section(out, "OPTIONS OF ITS OWN")?;
    option_help(out, &OWN)?;
    section(out, "EXAMPLES")?;
    for (line, text) in EXAMPLES {
        writeln!(out, ".TP\n.B {}\n{}", escape(line), escape(text))?;
    }
    section(out, "ENVIRONMENT")?;
    for (name, text) in [
        (
            "IPVSCTL_ENDPOINT",
            "The director, where neither --endpoint nor --director names one.",
        ),
        (
            "IPVSCTL_CONFIG",
            "The configuration file, instead of those below.",
        ),
        (
            "NO_COLOR",
            "Messages are not coloured, unless --color says always.",
        ),
    ] {
        writeln!(out, ".TP\n.B {name}\n{}", escape(text))?;
    }
    section(out, "FILES")?;
    writeln!(
        out,
        ".TP\n.I ~/.config/ipvsctl/config.toml\n.TQ\n.I /etc/ipvsctl.toml"
    )?;
    text(out, "Directors by name; the first of the two that exists:")?;
    writeln!(
        out,
        ".RS\n.nf\ndefault = \"lb1\"\n[directors.lb1]\nendpoint = \"https://lb1.example.com\"\n\
         ca = \"/etc/ipvsctl/ca.pem\"\ntimeout = 10\n.fi\n.RE"
    )?;
    section(out, "EXIT STATUS")?;
    for (code, text) in [
        ("0", "Done."),
        (
            "1",
            "A listing failed, or some lines of a restore that checks or keeps going.",
        ),
        (
            "2",
            "The command line is faulty, or no director can be reached, or it has no IPVS.",
        ),
        (
            "255",
            "The kernel refused, or an option is unknown. After -R: that of the last line.",
        ),
    ] {
        writeln!(out, ".TP\n.B {code}\n{}", escape(text))?;
    }
    section(out, "SEE ALSO")?;
    writeln!(out, ".BR ipvsadm (8)")
}

fn section(out: &mut dyn Write, title: &str) -> io::Result<()> {
    writeln!(out, ".SH {title}")
}

fn text(out: &mut dyn Write, text: &str) -> io::Result<()> {
    writeln!(out, "{}", escape(text))
}

fn option_help(out: &mut dyn Write, all: &[Explained]) -> io::Result<()> {
    for one in all {
        writeln!(
            out,
            ".TP\n.B {}\n{}.",
            escape(&one.synopsis()),
            escape(one.text)
        )?;
    }
    Ok(())
}

/// Text that roff takes as it is.
fn escape(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}
