//! The command-line client: ipvsadm's command lines for local and remote directors.

use std::{
    env, io,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
};

use nix::fcntl::{FcntlArg, fcntl};

/// Whether standard output was closed when the process started.
static STDOUT_IS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Called before `main`: by then, the runtime has opened `/dev/null` in place of a closed descriptor,
/// and everything written to it would be lost without an error.
#[allow(
    unsafe_code,
    reason = "the linker has no other place for functions before main"
)]
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = {
    extern "C" fn check_stdout() {
        let is_closed = fcntl(io::stdout(), FcntlArg::F_GETFD).is_err();
        STDOUT_IS_CLOSED.store(is_closed, Ordering::Relaxed);
    }
    check_stdout
};

fn main() -> ExitCode {
    let stdout_is_closed = STDOUT_IS_CLOSED.load(Ordering::Relaxed);
    ExitCode::from(ipvsd::cli::run(env::args_os(), stdout_is_closed))
}
