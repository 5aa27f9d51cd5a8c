//! Shell completion scripts.

use std::io::{self, Write};

use clap::{Arg, ArgAction};

use super::{
    args::{self, Shell},
    options::GLOBAL_OPTIONS,
    reference::summary,
};
use crate::ipvsadm::{Argument, OPTIONS, OptionSpec};

/// Writes a completion script.
pub(super) fn write(out: &mut dyn Write, shell: Shell) -> io::Result<()> {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    // The generator panics on write errors, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut grammar(), "ipvsctl", &mut script);
    out.write_all(&script)
}

/// The grammar of the subcommands with ipvsadm's options added.
fn grammar() -> clap::Command {
    let is_global = |name| {
        GLOBAL_OPTIONS
            .iter()
            .any(|option| option.syntax.long == name)
    };
    let options = OPTIONS
        .iter()
        // clap adds --help itself.
        .filter(|spec| !is_global(spec.long) && spec.long != "help");
    args::grammar().args(options.map(arg))
}

fn arg(spec: &OptionSpec) -> Arg {
    let arg = Arg::new(spec.long).long(spec.long).help(summary(spec.help));
    let mut letters = spec.short.chars();
    let arg = match letters.next() {
        Some(letter) => arg.short(letter),
        None => arg,
    };
    let arg = letters.fold(arg, Arg::visible_short_alias);
    match spec.argument {
        Argument::None | Argument::Operands(_) => arg.action(ArgAction::SetTrue),
        Argument::Required(placeholder) | Argument::Optional(placeholder) => {
            arg.value_name(placeholder).action(ArgAction::Set)
        }
    }
}
