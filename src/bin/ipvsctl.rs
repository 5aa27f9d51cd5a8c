//! The remote client: ipvsadm's command lines for directors anywhere.

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    ExitCode::from(ipvsd::cli::run(env::args_os()))
}
