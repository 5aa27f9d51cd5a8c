//! The command-line client: ipvsadm's command lines for local and remote directors.
//!
//! A command is one process, and its start takes longer than its work. So this program has the C
//! function `main` itself. That of std would also read `/proc/self/maps` and install handlers that
//! report a stack overflow: half of the system calls, and 30 pages, of `ipvsctl -a`.
#![no_main]

use std::{
    env, io,
    os::fd::{AsFd, BorrowedFd},
    panic::catch_unwind,
};

use nix::{
    fcntl::{OFlag, open},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigHandler, Signal, signal},
        stat::Mode,
    },
};

// `make build` links with this script: without its name here, cargo would not link again when it
// changes.
const _: &str = include_str!("ipvsctl.ld");

/// Exit code of a program of std that panics.
const PANICKED: u8 = 101;

/// Called by the C library.
#[allow(unsafe_code, reason = "the name by which the C library calls it")]
#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    let code = catch_unwind(|| {
        ignore_closed_pipes();
        let stdout_is_closed = open_standard_streams();
        // Without the main of std, this works with glibc only, which passes the arguments to the
        // initialization functions of a program (.init_array) too. With another C library it is empty.
        ipvsd::cli::run(env::args_os(), stdout_is_closed)
    });
    code.unwrap_or(PANICKED).into()
}

/// Makes a write to a closed pipe an error, instead of the end of the process.
#[allow(unsafe_code, reason = "a handler could run at any time")]
fn ignore_closed_pipes() {
    // SAFETY: no handler is installed. It does not fail: the signal exists.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) };
}

/// Opens `/dev/null` in place of the standard streams that are closed, so that no socket gets their
/// numbers. Returns whether standard output was closed: everything written to it would be lost
/// without an error.
fn open_standard_streams() -> bool {
    let (input, output, error) = (io::stdin(), io::stdout(), io::stderr());
    let streams = [input.as_fd(), output.as_fd(), error.as_fd()];
    let is_closed = streams_closed(streams);
    for _ in is_closed.iter().filter(|is_closed| **is_closed) {
        // The lowest number that is free.
        if let Ok(file) = open("/dev/null", OFlag::O_RDWR, Mode::empty()) {
            std::mem::forget(file);
        }
    }
    let [_, output, _] = is_closed;
    output
}

fn streams_closed(streams: [BorrowedFd<'_>; 3]) -> [bool; 3] {
    let mut polled = streams.map(|stream| PollFd::new(stream, PollFlags::empty()));
    // It fails only for lack of memory.
    let _ = poll(&mut polled, PollTimeout::ZERO);
    polled.map(|stream| {
        let events = stream.revents().unwrap_or(PollFlags::empty());
        events.contains(PollFlags::POLLNVAL)
    })
}
