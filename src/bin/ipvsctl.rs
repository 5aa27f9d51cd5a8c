//! The command-line client: ipvsadm's command lines for local and remote directors.

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    ExitCode::from(ipvsd::cli::run(env::args_os()))
}
