//! The script by which a shell completes command lines of `ipvsd`. It needs nothing of the program: no value comes from
//! elsewhere, unlike those of `ipvsctl`.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::{Generator, aot};

use super::args::{Arguments, Shell};

/// Writes the script.
pub fn write_completion(shell: Shell, out: &mut dyn Write) -> io::Result<()> {
    let mut command = Arguments::command();
    command.set_bin_name("ipvsd");
    command.build();
    match shell {
        Shell::Bash => aot::Bash.try_generate(&command, out),
        Shell::Zsh => aot::Zsh.try_generate(&command, out),
        Shell::Fish => aot::Fish.try_generate(&command, out),
    }
}
