//! Lookups in the name service by getent(1).
//!
//! A program that is linked statically, as `ipvsctl` is for a fast start, crashes when glibc loads
//! the NSS modules of `/etc/nsswitch.conf` into it. A process can also be ended at a deadline,
//! getaddrinfo(3) cannot.

use std::{
    ffi::OsStr,
    io::{self, Read},
    os::fd::AsFd,
    process::{Child, ChildStdout, Command, Stdio},
    time::Instant,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Runs `getent DATABASE -- KEYS` and returns what it has printed at its end or at `deadline`.
pub(crate) fn getent<K: AsRef<OsStr>>(
    database: &str,
    keys: impl IntoIterator<Item = K>,
    deadline: Instant,
) -> io::Result<String> {
    let mut child = Command::new("getent")
        .args([database, "--"])
        .args(keys)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut output = Vec::new();
    let read = match child.stdout.take() {
        Some(stdout) => read(stdout, &mut output, deadline),
        None => Ok(()),
    };
    stop(&mut child);
    read?;
    Ok(String::from_utf8_lossy(&output).into_owned())
}

/// Appends to `output` until the end of `stdout` or `deadline`.
fn read(mut stdout: ChildStdout, output: &mut Vec<u8>, deadline: Instant) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let remaining = deadline.saturating_duration_since(Instant::now());
        let remaining = PollTimeout::try_from(remaining).unwrap_or(PollTimeout::MAX);
        let readable = PollFd::new(stdout.as_fd(), PollFlags::POLLIN);
        match poll(&mut [readable], remaining) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(nix::Error::EINTR) => continue,
            Err(error) => return Err(error.into()),
        }
        match stdout.read(&mut buffer)? {
            0 => return Ok(()),
            length => output.extend_from_slice(buffer.get(..length).unwrap_or_default()),
        }
    }
}

/// Kills the process if it still runs, and reaps it.
fn stop(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
