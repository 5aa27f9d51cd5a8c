//! Names, as the machine knows them. `getent` is asked, which comes with the C library: a program
//! that is linked statically, as ipvsctl is so that it starts fast, crashes when the library loads
//! the modules of `/etc/nsswitch.conf` into it. A process that does not answer can be ended, too.

use std::{
    ffi::OsStr,
    io::{self, Read},
    os::fd::AsFd,
    process::{Child, ChildStdout, Command, Stdio},
    time::Instant,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// What `getent DATABASE -- KEYS` prints until `deadline`.
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
    let mut printed = Vec::new();
    let read = match child.stdout.take() {
        Some(stdout) => read(stdout, &mut printed, deadline),
        None => Ok(()),
    };
    end(&mut child);
    read?;
    Ok(String::from_utf8_lossy(&printed).into_owned())
}

fn read(mut from: ChildStdout, into: &mut Vec<u8>, deadline: Instant) -> io::Result<()> {
    let mut part = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let readable = PollFd::new(from.as_fd(), PollFlags::POLLIN);
        match poll(&mut [readable], left) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(nix::Error::EINTR) => continue,
            Err(error) => return Err(error.into()),
        }
        match from.read(&mut part)? {
            0 => return Ok(()),
            length => into.extend_from_slice(part.get(..length).unwrap_or_default()),
        }
    }
}

/// Ends it, where it has not ended by itself.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
