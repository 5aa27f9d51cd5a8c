//! ^C and SIGTERM, for commands that go on until somebody ends them.

use std::{io, process, thread, time::Duration};

use nix::sys::signal::{SigSet, Signal};

/// Time after which a signal ends the process, whatever it waits for: such as a terminal or a pipe that takes no output.
const PATIENCE: Duration = Duration::from_secs(1);

/// Calls `end` in a thread of its own at the first ^C or SIGTERM. The next one ends the process at once, and so does
/// [`PATIENCE`], in case `end` waits for something. Threads that are started later do not get the signals either.
pub(super) fn at_end(end: impl FnOnce(Signal) + Send + 'static) -> io::Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.thread_block()?;
    let wait = move || {
        // It fails only for sets of signals that do not exist.
        let Ok(signal) = signals.wait() else { return };
        let _ = signals.thread_unblock();
        let late = move || {
            thread::sleep(PATIENCE);
            process::exit(128 + signal as i32);
        };
        // Without the thread, there is the next signal.
        drop(thread::Builder::new().spawn(late));
        end(signal);
    };
    thread::Builder::new().spawn(wait).map(drop)
}
